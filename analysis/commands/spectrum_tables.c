#include "spectrum_tables.h"

#include <math.h>
#include <string.h>

static double real_at(const json_t *value, const char *path) {
    const json_t *found = ds_json_at(value, path);
    return json_is_number(found) ? json_number_value(found) : NAN;
}

static double smallest_singular(const json_t *token) { return real_at(token, "singular_values/0"); }
/* With fewer sublayers than features the others stay as they are. */
static double smallest_or_one(const json_t *token) { return fmin(smallest_singular(token), 1); }
/* Results have null for minus infinity, that of a singular product. */
static double or_minus_infinity(double log_det) { return isnan(log_det) ? -INFINITY : log_det; }
static double log_abs_det(const json_t *token) { return or_minus_infinity(real_at(token, "log_abs_det")); }
static double mean_log_abs_det(const json_t *depth) { return or_minus_infinity(real_at(depth, "log_abs_det/mean")); }

static double largest_bound(const json_t *token) {
    const json_t *bounds = json_object_get(token, "eigenvalue_bounds");
    double most = real_at(token, "singular_value_bound");
    for (size_t i = 0; i < json_array_size(bounds); i++) {
        const json_t *bound = json_array_get(bounds, i);
        if (json_is_number(bound)) most = fmax(most, json_number_value(bound));
    }
    return most;
}

static double widest(double most, const json_t *values) {
    for (size_t i = 0; i < json_array_size(values); i++) most = fmax(most, real_at(json_array_get(values, i), "radius"));
    return most;
}
static double largest_radius(const json_t *token) {
    const json_t *certified = json_object_get(token, "certified");
    if (certified == NULL) return NAN;
    return widest(widest(0, json_object_get(certified, "eigenvalues")), json_object_get(certified, "singular_values"));
}

/* The texts below are valid until their function is called again: a table copies its cells. */

/* transformer.h.3.attn.c_q.weight as h.3.attn.c_q, model.layers.3.mlp.up_proj.weight as 3.mlp.up_proj. */
static const char *short_tensor_name(const json_t *weight) {
    static const char *const fronts[] = {"transformer.", "model.layers.", "layers.", "model."};
    static const char back[] = ".weight";
    static char text[128];
    const char *name = json_string_value(json_object_get(weight, "tensor"));
    for (size_t i = 0; i < sizeof fronts / sizeof *fronts; i++) {
        if (strncmp(name, fronts[i], strlen(fronts[i])) != 0) continue;
        name += strlen(fronts[i]);
        break;
    }
    size_t length = strlen(name), end = sizeof back - 1;
    if (length > end && strcmp(name + length - end, back) == 0) length -= end;
    (void)snprintf(text, sizeof text, "%.*s", (int)length, name);
    return text;
}

/* A low rank is named. */
static const char *weight_verdict(const json_t *weight) {
    static char text[48];
    const char *verdict = json_string_value(json_object_get(weight, "verdict"));
    if (strcmp(verdict, "low rank") != 0) return verdict;
    (void)snprintf(text, sizeof text, "low rank %lld", (long long)json_integer_value(json_object_get(weight, "rank")));
    return text;
}

static const ds_result_column token_columns[] = {
    DS_CELL("sequence", "window", NULL, DS_COLUMN_INTEGER, 0, "sequence"),
    DS_CELL("position", NULL, NULL, DS_COLUMN_INTEGER, 0, "position"),
    DS_CELL("spectral_radius", "|λ| max", NULL, DS_COLUMN_FIXED, 6, "spectral_radius"),
    DS_CELL_NUMBER("smallest", "σ min", NULL, DS_COLUMN_FIXED, 6, smallest_singular),
    DS_CELL("norm2", "σ max", NULL, DS_COLUMN_FIXED, 6, "norm2"),
    DS_CELL_NUMBER("log_abs_det", "log|det|", NULL, DS_COLUMN_FIXED, 4, log_abs_det),
    DS_CELL("frobenius_defect", "‖P-I‖F", NULL, DS_COLUMN_FIXED, 4, "frobenius_defect"),
    DS_CELL_NUMBER("largest_bound", "± (est.)", NULL, DS_COLUMN_REAL, 2, largest_bound),
    {{"largest_radius", "± proved", NULL, DS_COLUMN_REAL, 2}, NULL, largest_radius, NULL, true},
    DS_CELL_OPTIONAL("contraction", NULL, NULL, DS_COLUMN_TEXT, 0, "certified/verdicts/contraction"),
    DS_CELL_OPTIONAL("invertible", NULL, NULL, DS_COLUMN_TEXT, 0, "certified/verdicts/invertible"),
};
enum { SMALLEST = 3 }; /* its column */
static const ds_result_column depth_columns[] = {
    DS_CELL("depth", NULL, NULL, DS_COLUMN_INTEGER, 0, "depth"),
    DS_CELL_NUMBER("log_abs_det", "log|det|", NULL, DS_COLUMN_FIXED, 3, mean_log_abs_det),
    DS_CELL("smallest", "σ min", NULL, DS_COLUMN_FIXED, 4, "smallest/mean"),
    DS_CELL("span_norm2", "σ max", NULL, DS_COLUMN_FIXED, 4, "span_norm2/mean"),
    DS_CELL("span_radius", "|λ| max", NULL, DS_COLUMN_FIXED, 4, "span_radius/mean"),
    DS_CELL("mean_squared_singular_value", "mean σ²", NULL, DS_COLUMN_FIXED, 4, "mean_squared_singular_value/mean"),
    DS_CELL("departure_from_normality", "non-norm.", NULL, DS_COLUMN_FIXED, 3, "departure_from_normality/mean"),
    DS_CELL("complex_share", "complex", NULL, DS_COLUMN_PERCENT, 0, "complex_share/mean"),
    DS_CELL("singular_value_bound", "σ ±", NULL, DS_COLUMN_REAL, 2, "singular_value_bound"),
};
static const ds_result_column direction_columns[] = {
    DS_CELL("sublayer", NULL, NULL, DS_COLUMN_TEXT, 0, "name"),
    DS_CELL("survival", "survives", NULL, DS_COLUMN_FIXED, 3, "survival/mean"),
    DS_CELL("survival_05", "5%", NULL, DS_COLUMN_FIXED, 3, "survival/quantiles/0.05"),
    DS_CELL("edited_again", "edited again", NULL, DS_COLUMN_FIXED, 3, "edited_again"),
    DS_CELL("undone", NULL, NULL, DS_COLUMN_FIXED, 3, "undone"),
    DS_CELL("effective_rank", "rank", NULL, DS_COLUMN_FIXED, 1, "/directions/over_data/effective_rank/@"),
    DS_CELL("output_head", "in head's", NULL, DS_COLUMN_FIXED, 3, "/directions/alignment/output_head/@"),
    DS_CELL("output_projection", "in W_o's", NULL, DS_COLUMN_FIXED, 3, "/directions/alignment/output_projection/@"),
};
static const ds_result_column weight_columns[] = {
    DS_CELL_TEXT("tensor", NULL, short_tensor_name),
    DS_CELL("spectral_norm", "‖W‖₂", NULL, DS_COLUMN_REAL, 4, "spectral_norm"),
    DS_CELL("stable_rank", "stable", NULL, DS_COLUMN_FIXED, 1, "stable_rank"),
    DS_CELL("effective_rank", "eff.", NULL, DS_COLUMN_FIXED, 1, "effective_rank"),
    DS_CELL("alpha", "α", NULL, DS_COLUMN_FIXED, 2, "alpha"),
    DS_CELL("alpha_stderr", "±", NULL, DS_COLUMN_FIXED, 2, "alpha_stderr"),
    DS_CELL("alpha_weightwatcher", "α ww", NULL, DS_COLUMN_FIXED, 2, "alpha_weightwatcher"),
    DS_CELL("outliers", "out", NULL, DS_COLUMN_INTEGER, 0, "outliers"),
    DS_CELL_TEXT("verdict", "verdict", weight_verdict),
};
static const ds_result_column jacobian_columns[] = {
    DS_CELL("index", NULL, NULL, DS_COLUMN_INTEGER, 0, "#"),
    DS_CELL("value", "σ", NULL, DS_COLUMN_REAL, 7, "value"),
    DS_CELL("residual", "± residual", NULL, DS_COLUMN_REAL, 2, "residual"),
};
static const ds_result_column jacobian_depth_columns[] = {
    DS_CELL("depth", NULL, NULL, DS_COLUMN_INTEGER, 0, "depth"),
    DS_CELL("norm2", "σ max full", NULL, DS_COLUMN_FIXED, 4, "norm2"),
    DS_CELL("residual", "± residual", NULL, DS_COLUMN_REAL, 2, "residual"),
    DS_CELL("frozen_norm2", "σ max frozen", NULL, DS_COLUMN_FIXED, 4, "frozen_norm2"),
    DS_CELL("frozen_span_norm2", "on span", NULL, DS_COLUMN_FIXED, 4, "frozen_span_norm2"),
    DS_CELL("frozen_smallest", "σ min frozen", NULL, DS_COLUMN_FIXED, 4, "frozen_smallest"),
};

const ds_column_set ds_spectrum_column_sets[DS_SPECTRUM_COLUMN_SETS] = {
    DS_COLUMN_SET(token_columns),  DS_COLUMN_SET(depth_columns),    DS_COLUMN_SET(direction_columns),
    DS_COLUMN_SET(weight_columns), DS_COLUMN_SET(jacobian_columns), DS_COLUMN_SET(jacobian_depth_columns)};

#define COLUMNS(list) .columns = (list), .column_count = sizeof(list) / sizeof(list)[0]

static ds_result_table accumulated_table(ds_spectrum_tables *kinds, const char *id, char *title, const json_t *results,
                                         const char *tokens, const char *depths) {
    const json_t *distribution = ds_json_at(results, depths);
    if (distribution == NULL) return (ds_result_table){.id = id, .title = title, .rows = tokens, COLUMNS(kinds->tokens)};
    size_t length = strlen(title);
    (void)snprintf(title + length, DS_SPECTRUM_TITLE - length, ", %llu tokens: means on the span",
                   (unsigned long long)json_integer_value(ds_json_at(results, "directions/tokens")));
    return (ds_result_table){.id = id, .title = title, .rows = depths, COLUMNS(depth_columns)};
}

void ds_spectrum_tables_describe(ds_spectrum_tables *kinds, const json_t *results, const ds_run *run) {
    const json_t *null = ds_json_at(results, "null/kind"), *whole = json_object_get(results, "end_to_end");
    const json_t *singular = ds_json_at(results, "accumulated/0/singular_values");
    const json_t *position = json_object_get(whole, "position");
    size_t count = (size_t)json_integer_value(ds_json_at(results, "directions/alignment/directions"));
    size_t sequence = (size_t)json_integer_value(json_object_get(whole, "sequence"));
    size_t size = (size_t)json_integer_value(json_object_get(whole, "size"));
    char place[64];
    _Static_assert(sizeof token_columns == sizeof kinds->tokens, "every column has its place");
    memcpy(kinds->tokens, token_columns, sizeof token_columns);
    if (run->spec.hidden > json_array_size(singular)) kinds->tokens[SMALLEST].number = smallest_or_one;
    (void)snprintf(kinds->learned, DS_SPECTRUM_TITLE, "Shortcut accumulated over depth");
    (void)snprintf(kinds->null, DS_SPECTRUM_TITLE, "Null model %s over depth", null == NULL ? "" : json_string_value(null));
    (void)snprintf(kinds->directions, DS_SPECTRUM_TITLE,
                   "Directions: survival, later edits, rank, share in top %zu (random %.3f)", count,
                   (double)count / (double)run->spec.hidden);
    (void)snprintf(place, sizeof place, position != NULL ? "token %zu:%zu" : "window %zu", sequence,
                   (size_t)json_integer_value(position));
    (void)snprintf(kinds->jacobian, DS_SPECTRUM_TITLE, "Jacobian dX_S/dX_0 of %s, %zu x %zu: largest singular values", place,
                   size, size);
    const ds_result_table tables[DS_SPECTRUM_TABLES] = {
        accumulated_table(kinds, "shortcut", kinds->learned, results, "accumulated", "distribution"),
        {.id = "directions", .title = kinds->directions, .rows = "directions/sublayers", COLUMNS(direction_columns)},
        accumulated_table(kinds, "null", kinds->null, results, "null/accumulated", "null/distribution"),
        {.id = "weights",
         .title = "Weights: ranks, power-law tail, outliers; ww: by WeightWatcher's rule",
         .rows = "weights",
         COLUMNS(weight_columns)},
        {.id = "jacobian", .title = kinds->jacobian, .rows = "end_to_end/singular_values", COLUMNS(jacobian_columns)},
        {.id = "depths",
         .title = "Full Jacobian against frozen shortcuts, by depth",
         .rows = "end_to_end/by_depth",
         COLUMNS(jacobian_depth_columns)},
    };
    memcpy(kinds->tables, tables, sizeof tables);
}
