/* The tables of a report. */
#include "table.h"

static const ds_result_column parameters[] = {
    DS_CELL("part", NULL, NULL, DS_COLUMN_TEXT, 0, NULL),
    DS_CELL("parameters", NULL, NULL, DS_COLUMN_INTEGER, 0, ""),
};
static const ds_result_column gates[] = {
    DS_CELL("sublayer", NULL, NULL, DS_COLUMN_TEXT, 0, "name"),
    DS_CELL("beta_mean", "β mean", NULL, DS_COLUMN_FIXED, 3, "beta/mean"),
    DS_CELL("beta_05", "β 5%", NULL, DS_COLUMN_FIXED, 3, "beta/quantiles/0.05"),
    DS_CELL("beta_95", "β 95%", NULL, DS_COLUMN_FIXED, 3, "beta/quantiles/0.95"),
    DS_CELL("k_norm2", "‖k‖²", NULL, DS_COLUMN_FIXED, 3, "k_norm2/mean"),
    DS_CELL("eigenvalue", "λ mean", NULL, DS_COLUMN_FIXED, 3, "eigenvalue/mean"),
    DS_CELL("identity", "ident.", NULL, DS_COLUMN_PERCENT, 1, "regimes/identity"),
    DS_CELL("damped", NULL, NULL, DS_COLUMN_PERCENT, 1, "regimes/damped"),
    DS_CELL("projection", "proj.", NULL, DS_COLUMN_PERCENT, 1, "regimes/projection"),
    DS_CELL("over_relaxed", "over", NULL, DS_COLUMN_PERCENT, 1, "regimes/over_relaxed"),
    DS_CELL("reflection", "refl.", NULL, DS_COLUMN_PERCENT, 1, "regimes/reflection"),
    DS_CELL("discrepancy_before", "error before", NULL, DS_COLUMN_FIXED, 3, "discrepancy/pre_rms"),
    DS_CELL("discrepancy_after", "error after", NULL, DS_COLUMN_FIXED, 3, "discrepancy/post_rms"),
    DS_CELL("relative_edit", "edit/‖X‖", NULL, DS_COLUMN_FIXED, 3, "relative_edit"),
};
static const ds_result_column depths[] = {
    DS_CELL("depth", "sublayers", NULL, DS_COLUMN_INTEGER, 0, "depth"),
    DS_CELL("norm2", "largest σ", NULL, DS_COLUMN_FIXED, 4, "norm2/mean"),
    DS_CELL("smallest", "smallest σ", NULL, DS_COLUMN_REAL, 3, "smallest/quantiles/0.5"),
    DS_CELL("log_abs_det", "ln|det|", NULL, DS_COLUMN_FIXED, 2, "log_abs_det/mean"),
    DS_CELL("spectral_radius", "spectral radius", NULL, DS_COLUMN_FIXED, 4, "spectral_radius/mean"),
    DS_CELL("departure", "departure from normality", NULL, DS_COLUMN_FIXED, 3, "departure_from_normality/mean"),
    DS_CELL("complex_share", "complex", NULL, DS_COLUMN_PERCENT, 1, "complex_share/mean"),
};
static const ds_result_column cases[] = {
    DS_CELL("case", NULL, NULL, DS_COLUMN_TEXT, 0, "name"),
    DS_CELL("loss", NULL, "nats", DS_COLUMN_FIXED, 4, "loss"),
    DS_CELL("delta_loss", "Δ loss", "nats", DS_COLUMN_FIXED, 4, "delta_loss"),
    DS_CELL("low", "95% low", "nats", DS_COLUMN_FIXED, 4, "delta_loss_ci95/0"),
    DS_CELL("high", "95% high", "nats", DS_COLUMN_FIXED, 4, "delta_loss_ci95/1"),
    DS_CELL("p_value_holm", "p (Holm)", NULL, DS_COLUMN_REAL, 2, "p_value_holm"),
    DS_CELL("kl", "KL", "nats", DS_COLUMN_FIXED, 4, "kl"),
};
static const ds_result_column gradient[] = {
    DS_CELL("sublayer", NULL, NULL, DS_COLUMN_TEXT, 0, "name"),
    DS_CELL("total", NULL, NULL, DS_COLUMN_REAL, 3, "total_norm"),
    DS_CELL("shortcut", NULL, NULL, DS_COLUMN_REAL, 3, "shortcut_norm"),
    DS_CELL("direction", "through k", NULL, DS_COLUMN_REAL, 3, "direction_norm"),
    DS_CELL("gate", "through β", NULL, DS_COLUMN_REAL, 3, "gate_norm"),
    DS_CELL("value", "through v", NULL, DS_COLUMN_REAL, 3, "value_norm"),
    DS_CELL("cosine", "cos(shortcut, total)", NULL, DS_COLUMN_FIXED, 3, "cosine_shortcut_total"),
};
static const ds_result_column additive_gradient[] = {
    DS_CELL("sublayer", NULL, NULL, DS_COLUMN_TEXT, 0, "name"),
    DS_CELL("total", NULL, NULL, DS_COLUMN_REAL, 3, "total_norm"),
    DS_CELL("shortcut", NULL, NULL, DS_COLUMN_REAL, 3, "shortcut_norm"),
    DS_CELL("branch", "through the branch", NULL, DS_COLUMN_REAL, 3, "direction_norm"),
    DS_CELL("cosine", "cos(shortcut, total)", NULL, DS_COLUMN_FIXED, 3, "cosine_shortcut_total"),
};
static bool is_additive(const json_t *results) { return !ds_gradient_has_gates(results); }
static const ds_result_column weights[] = {
    DS_CELL("tensor", NULL, NULL, DS_COLUMN_TEXT, 0, "tensor"),
    DS_CELL("rows", NULL, NULL, DS_COLUMN_INTEGER, 0, "rows"),
    DS_CELL("columns", NULL, NULL, DS_COLUMN_INTEGER, 0, "columns"),
    DS_CELL("rank", NULL, NULL, DS_COLUMN_INTEGER, 0, "rank"),
    DS_CELL("spectral_norm", "largest σ", NULL, DS_COLUMN_REAL, 4, "spectral_norm"),
    DS_CELL("stable_rank", "stable rank", NULL, DS_COLUMN_FIXED, 1, "stable_rank"),
    DS_CELL("effective_rank", "effective rank", NULL, DS_COLUMN_FIXED, 1, "effective_rank"),
    DS_CELL("alpha", "α", NULL, DS_COLUMN_FIXED, 2, "alpha"),
    DS_CELL("alpha_stderr", "± s.e.", NULL, DS_COLUMN_FIXED, 2, "alpha_stderr"),
    DS_CELL("alpha_weightwatcher", "α (WeightWatcher)", NULL, DS_COLUMN_FIXED, 2, "alpha_weightwatcher"),
    DS_CELL("outliers", NULL, NULL, DS_COLUMN_INTEGER, 0, "outliers"),
    DS_CELL("verdict", NULL, NULL, DS_COLUMN_TEXT, 0, "verdict"),
};
static const ds_result_column checks[] = {
    DS_CELL("check", NULL, NULL, DS_COLUMN_TEXT, 0, "id"),
    DS_CELL("status", NULL, NULL, DS_COLUMN_TEXT, 0, "status"),
    DS_CELL("measured", NULL, NULL, DS_COLUMN_REAL, 2, "measured"),
    DS_CELL("tolerance", NULL, NULL, DS_COLUMN_REAL, 2, "tolerance"),
    DS_CELL("claim", NULL, NULL, DS_COLUMN_TEXT, 0, "claim"),
    DS_CELL("source", NULL, NULL, DS_COLUMN_TEXT, 0, "source"),
};

#define COLUMNS(c) (c), sizeof(c) / sizeof *(c)
static const ds_result_table tables[DS_REPORT_TABLES] = {
    {"table-parameters", "Parameters by part", NULL, "checkpoint", "inspect/parameters", COLUMNS(parameters), NULL},
    {"table-gates", "Gates by sublayer",
     "b = mβ‖k‖²; λ = 1 − b is the one moved eigenvalue. Shares are of tokens: identity b < 0.1, damped to 0.9, projection to "
     "1.1, over-relaxed to 1.9, reflection beyond. Error is the root mean square of kᵀX − vᵀ.",
     "gates", "gates/sublayers", COLUMNS(gates), NULL},
    {"table-depths", "The accumulated shortcut by depth",
     "Of the product of the frozen operators of the first sublayers, over all tokens: means, and the median of the smallest σ. "
     "Complex: share of the eigenvalues that can differ from 1.",
     "spectrum", "spectrum/distribution", COLUMNS(depths), NULL},
    {"table-cases", "Forced gates",
     "Δ loss against the intact model on the same windows; intervals over windows, paired: bootstrap-t, at least Student's; p "
     "of "
     "no change, adjusted by Holm over the cases of one run (closed gates, and the controls, are one run each).",
     "ablation", "ablate/cases", COLUMNS(cases), NULL},
    {"table-gradient", "Gradient by sublayer",
     "Frobenius norms over the batch of the gradient reaching the sublayer's input, and of its parts through Aᵀ and through "
     "k, β and v; parts add as vectors, not as norms.",
     "gradient", "gradflow/sublayers", COLUMNS(gradient), ds_gradient_has_gates},
    {"table-gradient", "Gradient by sublayer",
     "Frobenius norms over the batch of the gradient reaching the sublayer's input, and of its parts through the shortcut, "
     "which is the identity, and through the branch; parts add as vectors, not as norms.",
     "gradient", "gradflow/sublayers", COLUMNS(additive_gradient), is_additive},
    {"table-weights", "Weight matrices",
     "Rank: singular values above what rounding to the stored type can make. α: exponent of a power law fitted to the upper "
     "tail of the squared singular values, and by WeightWatcher's rule for where the tail begins. Outliers: singular values "
     "beyond the bulk that independent entries would have. "
     "Between which words an undecided matrix lies is in the results.",
     "weights", "spectrum/weights", COLUMNS(weights), NULL},
    {"table-checks", "Checks", "Passed when measured ≤ tolerance; tolerances are derived from the arithmetic's rounding.",
     "checks", "verify/checks", COLUMNS(checks), NULL},
};

const ds_result_table *ds_report_table_at(size_t index) { return &tables[index]; }

const ds_column_set ds_report_column_sets[DS_REPORT_TABLES + 1] = {
    DS_COLUMN_SET(parameters), DS_COLUMN_SET(gates),    DS_COLUMN_SET(depths),
    DS_COLUMN_SET(cases),      DS_COLUMN_SET(gradient), DS_COLUMN_SET(additive_gradient),
    DS_COLUMN_SET(weights),    DS_COLUMN_SET(checks),   DS_COLUMN_SET(ds_findings_columns)};
