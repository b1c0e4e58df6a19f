/* spectrum: eigenvalues of the frozen shortcut operators, one at a time and accumulated over depth. */
#include <math.h>
#include <string.h>

#include "deltascope/measure/spectrum.h"
#include "model_command.h"
#include "run_notes.h"

typedef struct spectrum_options {
    ds_spectrum_options measured;
    ds_count count, steps, samples; /* as given; they go to `measured` */
} spectrum_options;

static const ds_option option_table[] = {
    {"positions", "LIST", "tokens whose depth product is analysed: all, last, or S:P,S:P,... (last)", DS_OPTION_TEXT,
     offsetof(spectrum_options, measured.positions), 0},
    {"depths", DS_DEPTH_WORDS, "with --positions all: every prefix depth, or the whole product only (every)", DS_OPTION_CHOICE,
     offsetof(spectrum_options, measured.depths), 0},
    {"window", "A:B", "the product of sublayers A to B instead of all", DS_OPTION_TEXT,
     offsetof(spectrum_options, measured.window), 0},
    {"certify", NULL, "prove a radius for every eigenvalue and singular value, and verdicts, by ball arithmetic",
     DS_OPTION_FLAG, offsetof(spectrum_options, measured.certify), 0},
    {"null", DS_NULL_WORDS, "the same statistics for a null model, beside the learned ones", DS_OPTION_CHOICE,
     offsetof(spectrum_options, measured.null), 0},
    {"weights", NULL, "singular values, power-law tails and Marchenko-Pastur edges of every weight matrix", DS_OPTION_FLAG,
     offsetof(spectrum_options, measured.weights), 0},
    {"end-to-end", "S|S:P",
     "largest singular values of the full Jacobian dX_S/dX_0 over the whole window S, or of its token P alone", DS_OPTION_TEXT,
     offsetof(spectrum_options, measured.end_to_end), 0},
    {"count", "N", "how many of them (8)", DS_OPTION_COUNT, offsetof(spectrum_options, count), 1},
    {"steps", "N", "most steps of the iteration that finds them (64)", DS_OPTION_COUNT, offsetof(spectrum_options, steps), 1},
    {"by-depth", NULL, "with --end-to-end: the largest one at every prefix depth, full beside frozen", DS_OPTION_FLAG,
     offsetof(spectrum_options, measured.by_depth), 0},
    {"samples", "N", "single operators solved densely and held against theory (16)", DS_OPTION_COUNT,
     offsetof(spectrum_options, samples), 1},
    {"regime-tol", "X", "how near 0, 1 and 2 a gate counts as identity, projection, reflection (0.1)", DS_OPTION_TOLERANCE,
     offsetof(spectrum_options, measured.regime_tolerance), 0},
};
/* As ds_spectrum_defaults, which is no constant expression. */
static const spectrum_options defaults = {
    .measured = {.positions = "last", .depths = "every", .count = 8, .steps = 64, .samples = 16, .regime_tolerance = 0.1},
    .count = {8, false},
    .steps = {64, false},
    .samples = {16, false},
};

/* ---- tables ------------------------------------------------------------------------------------------------------- */

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

/* transformer.h.3.attn.c_q.weight as h.3.attn.c_q. */
static const char *short_tensor_name(const json_t *weight) {
    static const char front[] = "transformer.", back[] = ".weight";
    static char text[128];
    const char *name = json_string_value(json_object_get(weight, "tensor"));
    if (strncmp(name, front, sizeof front - 1) == 0) name += sizeof front - 1;
    size_t length = strlen(name), end = sizeof back - 1;
    if (length > end && strcmp(name + length - end, back) == 0) length -= end;
    (void)snprintf(text, sizeof text, "%.*s", (int)length, name);
    return text;
}

/* Ending in ? when a threshold moved by DS_SHAPE_SHARE changes it. */
static const char *weight_verdict(const json_t *weight) {
    static char text[32];
    (void)snprintf(text, sizeof text, "%s%s", json_string_value(json_object_get(weight, "verdict")),
                   json_is_true(json_object_get(weight, "verdict_stable")) ? "" : "?");
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
enum { TOKEN_COLUMNS = sizeof token_columns / sizeof token_columns[0], SMALLEST = 3 };
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
    DS_CELL("above_mp_edge", "> MP", NULL, DS_COLUMN_INTEGER, 0, "above_mp_edge"),
    DS_CELL("above_randomised", "shuf.", NULL, DS_COLUMN_INTEGER, 0, "randomised/above_mp_edge"),
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

enum { TABLES = 6, TITLE = 192 };
#define COLUMNS(list) .columns = (list), .column_count = sizeof(list) / sizeof(list)[0]
/* The tables of results, and their titles and columns that follow the results. */
typedef struct table_kinds {
    ds_result_table tables[TABLES];
    ds_result_column tokens[TOKEN_COLUMNS];
    char learned[TITLE], directions[TITLE], null[TITLE], jacobian[TITLE];
} table_kinds;

static ds_result_table accumulated_table(table_kinds *kinds, char *title, const json_t *results, const char *tokens,
                                         const char *depths) {
    const json_t *distribution = ds_json_at(results, depths);
    if (distribution == NULL) return (ds_result_table){.title = title, .rows = tokens, COLUMNS(kinds->tokens)};
    size_t length = strlen(title);
    (void)snprintf(title + length, TITLE - length, ", %llu tokens: means on the span",
                   (unsigned long long)json_integer_value(ds_json_at(results, "directions/tokens")));
    return (ds_result_table){.title = title, .rows = depths, COLUMNS(depth_columns)};
}

static void describe_tables(table_kinds *kinds, const json_t *results, const ds_run *run) {
    const json_t *null = ds_json_at(results, "null/kind"), *whole = json_object_get(results, "end_to_end");
    const json_t *singular = ds_json_at(results, "accumulated/0/singular_values");
    const json_t *position = json_object_get(whole, "position");
    size_t count = (size_t)json_integer_value(ds_json_at(results, "directions/alignment/directions"));
    size_t sequence = (size_t)json_integer_value(json_object_get(whole, "sequence"));
    size_t size = (size_t)json_integer_value(json_object_get(whole, "size"));
    char place[64];
    memcpy(kinds->tokens, token_columns, sizeof token_columns);
    if (run->spec.hidden > json_array_size(singular)) kinds->tokens[SMALLEST].number = smallest_or_one;
    (void)snprintf(kinds->learned, TITLE, "Shortcut accumulated over depth");
    (void)snprintf(kinds->null, TITLE, "Null model %s over depth", null == NULL ? "" : json_string_value(null));
    (void)snprintf(kinds->directions, TITLE, "Directions: survival, later edits, rank, share in top %zu (random %.3f)", count,
                   (double)count / (double)run->spec.hidden);
    (void)snprintf(place, sizeof place, position != NULL ? "token %zu:%zu" : "window %zu", sequence,
                   (size_t)json_integer_value(position));
    (void)snprintf(kinds->jacobian, TITLE, "Jacobian dX_S/dX_0 of %s, %zu x %zu: largest singular values", place, size, size);
    const ds_result_table tables[TABLES] = {
        accumulated_table(kinds, kinds->learned, results, "accumulated", "distribution"),
        {.title = kinds->directions, .rows = "directions/sublayers", COLUMNS(direction_columns)},
        accumulated_table(kinds, kinds->null, results, "null/accumulated", "null/distribution"),
        {.title = "Weights: ranks, power-law tail, values above the Marchenko-Pastur edge",
         .rows = "weights",
         COLUMNS(weight_columns)},
        {.title = kinds->jacobian, .rows = "end_to_end/singular_values", COLUMNS(jacobian_columns)},
        {.title = "Full Jacobian against frozen shortcuts, by depth",
         .rows = "end_to_end/by_depth",
         COLUMNS(jacobian_depth_columns)},
    };
    memcpy(kinds->tables, tables, sizeof tables);
}

/* ---- on the terminal ---------------------------------------------------------------------------------------------- */

/* The mean |k_a . k_b| over pairs of sublayers. */
static double mean_coherence(const json_t *coherence, size_t sublayers) {
    double sum = 0;
    for (size_t a = 0; a < sublayers; a++) {
        for (size_t b = 0; b < sublayers; b++) {
            if (a != b) sum += json_number_value(json_array_get(json_array_get(coherence, a), b));
        }
    }
    return sum / (double)(sublayers * (sublayers - 1));
}

static void print_operators(const json_t *results) {
    const json_t *check = json_object_get(results, "operator"), *directions = json_object_get(results, "directions");
    const json_t *gains = json_object_get(results, "gains");
    size_t sublayers = json_array_size(json_object_get(directions, "sublayers"));
    (void)printf("%zu operators against theory: eigenvalues within %.2g,\ndeterminants %.2g, orthogonality %.2g\n",
                 (size_t)json_integer_value(json_object_get(check, "samples")), real_at(check, "max_eigenvalue_error"),
                 real_at(check, "max_determinant_error"), real_at(check, "max_orthogonality_error"));
    if (sublayers > 1)
        (void)printf("coherence of a token's directions %.4f (random ones: %.4f);\n"
                     "effective rank %.2f, participation ratio %.2f of %zu\n",
                     mean_coherence(json_object_get(directions, "coherence"), sublayers),
                     real_at(directions, "random_coherence"), real_at(directions, "effective_rank"),
                     real_at(directions, "participation_ratio"), sublayers);
    (void)printf("largest absolute row sum %.3f, column sum %.3f, 2-norm %.4f;\n"
                 "exact reflections along the same directions, an isometry: %.3f, %.3f, 1;\n"
                 "one random reflection: %.3f\n",
                 real_at(gains, "absolute_row/mean"), real_at(gains, "absolute_column/mean"), real_at(gains, "norm2/mean"),
                 real_at(gains, "isometry_row/mean"), real_at(gains, "isometry_column/mean"), real_at(gains, "one_reflection"));
}

static ds_status publish(const ds_invocation *invocation, const ds_run *run, const ds_told *told) {
    ds_status status = DS_OK;
    bool operators = json_object_get(told->results, "operator") != NULL;
    table_kinds kinds;
    ds_table *tables[TABLES] = {NULL};
    size_t made = 0;
    describe_tables(&kinds, told->results, run);
    DS_TRY(ds_command_publish_results(tables, &made, invocation, run, told, kinds.tables, TABLES));
    if (!invocation->common.table) goto done;
    if (operators) print_operators(told->results);
    for (size_t i = 0; i < made; i++) {
        if (i > 0 || operators) (void)printf("\n");
        DS_TRY(ds_table_print(stdout, tables[i]));
    }
    ds_print_shadow(told->results);
done:
    for (size_t i = 0; i < TABLES; i++) ds_table_free(&tables[i]);
    return status;
}

static ds_status run_command(const ds_invocation *invocation) {
    ds_status status = DS_OK;
    const spectrum_options *own = invocation->own;
    ds_spectrum_options options = own->measured;
    ds_run run = {0};
    ds_told told = {NULL, NULL};
    ds_journal_plan journal;
    ds_text path = {0};
    options.count = own->count.value;
    options.steps = own->steps.value;
    options.samples = own->samples.value;
    options.shadow = invocation->common.shadow.value;
    options.journal = &journal;
    DS_TRY(ds_command_open(&run, invocation));
    DS_TRY(ds_command_journal_plan(&journal, &path, invocation));
    DS_TRY(ds_spectrum_results(&told.options, &told.results, &run, &options));
    DS_TRY(publish(invocation, &run, &told));
done:
    ds_text_release(&path);
    ds_told_release(&told);
    ds_run_close(&run);
    return status;
}

const ds_command ds_command_spectrum = {
    .name = "spectrum",
    .operands = "CHECKPOINT",
    .least_operands = 1,
    .most_operands = 1,
    .summary = "Eigenvalues of the shortcut operators, single and over depth",
    .description =
        "Frozen operators A = I - m beta k k^T of sampled tokens, built densely and solved by LAPACK, against theory; the "
        "moved "
        "eigenvalue over beta in [0, 2] along a learned direction; and the operator accumulated over depth P = A_{S-1} ... "
        "A_0: "
        "for chosen tokens the eigenvalues and singular values that can differ from 1, each with an estimate of its error or, "
        "with --certify, a proved radius; for all tokens their distributions at every prefix depth, and the values of at most "
        "1,024 of them, evenly spaced.\n"
        "Directions: coherence beside that of random ones, effective rank, what is left of a write at the end, later edits of "
        "the same direction, alignment with the strongest directions of the weights.\n"
        "--weights looks at the weight matrices themselves and needs no data; --end-to-end at the full Jacobian across depth. "
        "An additive checkpoint has these two only.\n"
        "With --positions all and --out, solved tokens are kept in DIR/spectrum.journal: an interrupted run goes on with "
        "--resume and ends with the bytes it would have had.",
    .examples = "  deltascope spectrum --tokens val.bin checkpoint/\n"
                "  deltascope spectrum --tokens val.bin --positions 0:0,3:32 --certify checkpoint/\n"
                "  deltascope spectrum --weights checkpoint/\n"
                "  deltascope spectrum --tokens val.bin --end-to-end 0:32 --count 4 checkpoint/\n"
                "  deltascope spectrum --tokens val.bin --positions all --null shuffled-gates --json s.json checkpoint/\n",
    .takes = DS_TAKES_MODEL | DS_TAKES_SHADOW | DS_TAKES_RESUME | DS_DATA_OPTIONAL,
    .options = option_table,
    .option_count = sizeof option_table / sizeof option_table[0],
    .defaults = &defaults,
    .own_size = sizeof defaults,
    .run = run_command,
};
