/* The tables of a report, each described by where its numbers stand in the results. */
#include <math.h>
#include <string.h>

#include "deltascope/report.h"

typedef struct ds_report_column {
    ds_column column;
    const char *path; /* from the row; NULL: the row's own name */
} ds_report_column;

static const ds_report_column parameters[] = {
    {{"part", NULL, NULL, DS_COLUMN_TEXT, 0}, NULL},
    {{"parameters", NULL, NULL, DS_COLUMN_INTEGER, 0}, ""},
};
static const ds_report_column gates[] = {
    {{"sublayer", NULL, NULL, DS_COLUMN_TEXT, 0}, "name"},
    {{"beta_mean", "β mean", NULL, DS_COLUMN_FIXED, 3}, "beta/mean"},
    {{"beta_05", "β 5%", NULL, DS_COLUMN_FIXED, 3}, "beta/quantiles/0.05"},
    {{"beta_95", "β 95%", NULL, DS_COLUMN_FIXED, 3}, "beta/quantiles/0.95"},
    {{"k_norm2", "‖k‖²", NULL, DS_COLUMN_FIXED, 3}, "k_norm2/mean"},
    {{"eigenvalue", "λ mean", NULL, DS_COLUMN_FIXED, 3}, "eigenvalue/mean"},
    {{"identity", "ident.", NULL, DS_COLUMN_PERCENT, 1}, "regimes/identity"},
    {{"damped", NULL, NULL, DS_COLUMN_PERCENT, 1}, "regimes/damped"},
    {{"projection", "proj.", NULL, DS_COLUMN_PERCENT, 1}, "regimes/projection"},
    {{"over_relaxed", "over", NULL, DS_COLUMN_PERCENT, 1}, "regimes/over_relaxed"},
    {{"reflection", "refl.", NULL, DS_COLUMN_PERCENT, 1}, "regimes/reflection"},
    {{"discrepancy_before", "error before", NULL, DS_COLUMN_FIXED, 3}, "discrepancy/pre_rms"},
    {{"discrepancy_after", "error after", NULL, DS_COLUMN_FIXED, 3}, "discrepancy/post_rms"},
    {{"relative_edit", "edit/‖X‖", NULL, DS_COLUMN_FIXED, 3}, "relative_edit"},
};
static const ds_report_column depths[] = {
    {{"depth", "sublayers", NULL, DS_COLUMN_INTEGER, 0}, "depth"},
    {{"norm2", "largest σ", NULL, DS_COLUMN_FIXED, 4}, "norm2/mean"},
    {{"smallest", "smallest σ", NULL, DS_COLUMN_REAL, 3}, "smallest/quantiles/0.5"},
    {{"log_abs_det", "ln|det|", NULL, DS_COLUMN_FIXED, 2}, "log_abs_det/mean"},
    {{"spectral_radius", "spectral radius", NULL, DS_COLUMN_FIXED, 4}, "spectral_radius/mean"},
    {{"departure", "departure from normality", NULL, DS_COLUMN_FIXED, 3}, "departure_from_normality/mean"},
    {{"complex_share", "complex", NULL, DS_COLUMN_PERCENT, 1}, "complex_share/mean"},
};
static const ds_report_column cases[] = {
    {{"case", NULL, NULL, DS_COLUMN_TEXT, 0}, "name"},
    {{"loss", NULL, "nats", DS_COLUMN_FIXED, 4}, "loss"},
    {{"delta_loss", "Δ loss", "nats", DS_COLUMN_FIXED, 4}, "delta_loss"},
    {{"low", "95% low", "nats", DS_COLUMN_FIXED, 4}, "delta_loss_ci95/0"},
    {{"high", "95% high", "nats", DS_COLUMN_FIXED, 4}, "delta_loss_ci95/1"},
    {{"p_value_holm", "p (Holm)", NULL, DS_COLUMN_REAL, 2}, "p_value_holm"},
    {{"kl", "KL", "nats", DS_COLUMN_FIXED, 4}, "kl"},
};
static const ds_report_column gradient[] = {
    {{"sublayer", NULL, NULL, DS_COLUMN_TEXT, 0}, "name"},
    {{"total", NULL, NULL, DS_COLUMN_REAL, 3}, "total_norm"},
    {{"shortcut", NULL, NULL, DS_COLUMN_REAL, 3}, "shortcut_norm"},
    {{"direction", "through k", NULL, DS_COLUMN_REAL, 3}, "direction_norm"},
    {{"gate", "through β", NULL, DS_COLUMN_REAL, 3}, "gate_norm"},
    {{"value", "through v", NULL, DS_COLUMN_REAL, 3}, "value_norm"},
    {{"cosine", "cos(shortcut, total)", NULL, DS_COLUMN_FIXED, 3}, "cosine_shortcut_total"},
};
static const ds_report_column additive_gradient[] = {
    {{"sublayer", NULL, NULL, DS_COLUMN_TEXT, 0}, "name"},
    {{"total", NULL, NULL, DS_COLUMN_REAL, 3}, "total_norm"},
    {{"shortcut", NULL, NULL, DS_COLUMN_REAL, 3}, "shortcut_norm"},
    {{"branch", "through the branch", NULL, DS_COLUMN_REAL, 3}, "direction_norm"},
    {{"cosine", "cos(shortcut, total)", NULL, DS_COLUMN_FIXED, 3}, "cosine_shortcut_total"},
};
static bool is_additive(const json_t *results) { return !ds_gradient_has_gates(results); }
static const ds_report_column weights[] = {
    {{"tensor", NULL, NULL, DS_COLUMN_TEXT, 0}, "tensor"},
    {{"rows", NULL, NULL, DS_COLUMN_INTEGER, 0}, "rows"},
    {{"columns", NULL, NULL, DS_COLUMN_INTEGER, 0}, "columns"},
    {{"spectral_norm", "largest σ", NULL, DS_COLUMN_REAL, 4}, "spectral_norm"},
    {{"stable_rank", "stable rank", NULL, DS_COLUMN_FIXED, 1}, "stable_rank"},
    {{"effective_rank", "effective rank", NULL, DS_COLUMN_FIXED, 1}, "effective_rank"},
    {{"alpha", "α", NULL, DS_COLUMN_FIXED, 2}, "alpha"},
    {{"alpha_stderr", "± s.e.", NULL, DS_COLUMN_FIXED, 2}, "alpha_stderr"},
    {{"above_mp_edge", "above MP edge", NULL, DS_COLUMN_INTEGER, 0}, "above_mp_edge"},
    {{"verdict", NULL, NULL, DS_COLUMN_TEXT, 0}, "verdict"},
};
static const ds_report_column checks[] = {
    {{"check", NULL, NULL, DS_COLUMN_TEXT, 0}, "id"},          {{"status", NULL, NULL, DS_COLUMN_TEXT, 0}, "status"},
    {{"measured", NULL, NULL, DS_COLUMN_REAL, 2}, "measured"}, {{"tolerance", NULL, NULL, DS_COLUMN_REAL, 2}, "tolerance"},
    {{"claim", NULL, NULL, DS_COLUMN_TEXT, 0}, "claim"},       {{"source", NULL, NULL, DS_COLUMN_TEXT, 0}, "source"},
};

#define COLUMNS(c) (c), sizeof(c) / sizeof *(c)
static const ds_report_table tables[DS_REPORT_TABLES] = {
    {"table-parameters", "Parameters by part", NULL, "checkpoint", "inspect/parameters", COLUMNS(parameters), NULL},
    {"table-gates", "Gates by sublayer",
     "b = mβ‖k‖²; λ = 1 − b is the one moved eigenvalue. Shares are of tokens: identity b < 0.1, damped to 0.9, projection to "
     "1.1, "
     "over-relaxed to 1.9, reflection beyond. Error is the root mean square of k^T X − v^T.",
     "gates", "gates/sublayers", COLUMNS(gates), NULL},
    {"table-depths", "The accumulated shortcut by depth",
     "Of the product of the frozen operators of the first sublayers, over all tokens: means, and the median of the smallest σ. "
     "Complex: share of the eigenvalues that can differ from 1.",
     "spectrum", "spectrum/distribution", COLUMNS(depths), NULL},
    {"table-cases", "Forced gates",
     "Δ loss against the intact model on the same windows; intervals from a paired bootstrap over windows; p adjusted by Holm "
     "over the cases of one run (closed gates, and the controls, are one run each).",
     "ablation", "ablate/cases", COLUMNS(cases), NULL},
    {"table-gradient", "Gradient by sublayer",
     "Frobenius norms over the batch of the gradient reaching the sublayer's input, and of its parts through A^T and through "
     "k, "
     "β and v; parts add as vectors, not as norms.",
     "gradient", "gradflow/sublayers", COLUMNS(gradient), ds_gradient_has_gates},
    {"table-gradient", "Gradient by sublayer",
     "Frobenius norms over the batch of the gradient reaching the sublayer's input, and of its parts through the shortcut, "
     "which "
     "is the identity, and through the branch; parts add as vectors, not as norms.",
     "gradient", "gradflow/sublayers", COLUMNS(additive_gradient), is_additive},
    {"table-weights", "Weight matrices",
     "α: exponent of a power law fitted to the upper tail of the squared singular values; MP edge: what a random matrix of "
     "this "
     "shape and variance would reach. How verdicts depend on their thresholds is in the results.",
     "weights", "spectrum/weights", COLUMNS(weights), NULL},
    {"table-checks", "Checks", "Passed when measured ≤ tolerance; tolerances are derived from the arithmetic's rounding.",
     "checks", "verify/checks", COLUMNS(checks), NULL},
};

const ds_report_table *ds_report_table_at(size_t index) { return &tables[index]; }

static void put_cell(ds_table *table, const ds_report_column *column, const json_t *row, const char *name) {
    const json_t *value = column->path == NULL || column->path[0] == '\0' ? row : ds_json_at(row, column->path);
    if (column->path == NULL) {
        ds_table_text(table, name);
    } else if (column->column.kind == DS_COLUMN_TEXT) {
        ds_table_text(table, json_is_string(value) ? json_string_value(value) : "");
    } else if (column->column.kind == DS_COLUMN_INTEGER) {
        ds_table_integer(table, (int64_t)json_integer_value(value));
    } else {
        ds_table_real(table, json_is_number(value) ? json_number_value(value) : NAN);
    }
}

enum { MOST_COLUMNS = 16 };

ds_status ds_report_table_new(ds_table **table, const ds_report_table *kind, const json_t *results) {
    ds_status status = DS_OK;
    const json_t *rows = ds_json_at(results, kind->rows);
    ds_column columns[MOST_COLUMNS];
    *table = NULL;
    if (json_array_size(rows) == 0 && json_object_size(rows) == 0) return DS_OK;
    if (kind->applies != NULL && !kind->applies(results)) return DS_OK;
    for (size_t c = 0; c < kind->column_count; c++) columns[c] = kind->columns[c].column;
    DS_TRY(ds_table_new(table, kind->title, columns, kind->column_count));
    for (size_t i = 0; i < json_array_size(rows); i++) {
        for (size_t c = 0; c < kind->column_count; c++) put_cell(*table, &kind->columns[c], json_array_get(rows, i), "");
    }
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)rows, key, value) {
        for (size_t c = 0; c < kind->column_count; c++) put_cell(*table, &kind->columns[c], value, key);
    }
done:
    return status;
}
