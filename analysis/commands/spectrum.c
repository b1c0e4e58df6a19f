/* spectrum: eigenvalues of the frozen shortcut operators, one at a time and accumulated over depth. */
#include <math.h>

#include "cli/standard_streams.h"
#include "deltascope/measure/spectrum.h"
#include "model_command.h"
#include "rehearsal.h"
#include "run_notes.h"
#include "spectrum_tables.h"

typedef struct spectrum_options {
    ds_spectrum_options measured;
    ds_count count, steps, samples; /* as given; they go to `measured` */
} spectrum_options;

static const ds_option option_table[] = {
    {"positions", "LIST", "tokens whose depth product is analysed: all, last, or S:P,S:P,... (last)", DS_OPTION_TEXT,
     offsetof(spectrum_options, measured.positions), 0, NULL},
    {"depths", DS_DEPTH_WORDS, "with --positions all: every prefix depth, or the whole product only (every)", DS_OPTION_CHOICE,
     offsetof(spectrum_options, measured.depths), 0, NULL},
    {"window", "A:B", "the product of sublayers A to B instead of all", DS_OPTION_TEXT,
     offsetof(spectrum_options, measured.window), 0, NULL},
    {"certify", NULL, "prove a radius for every eigenvalue and singular value, and verdicts, by ball arithmetic",
     DS_OPTION_FLAG, offsetof(spectrum_options, measured.certify), 0, NULL},
    {"null", DS_NULL_WORDS, "the same statistics for a null model, beside the learned ones", DS_OPTION_CHOICE,
     offsetof(spectrum_options, measured.null), 0, NULL},
    {"weights", NULL, "singular values, power-law tails and Marchenko-Pastur edges of every weight matrix", DS_OPTION_FLAG,
     offsetof(spectrum_options, measured.weights), 0, NULL},
    {"end-to-end", "S|S:P",
     "largest singular values of the full Jacobian dX_S/dX_0 over the whole window S, or of its token P alone", DS_OPTION_TEXT,
     offsetof(spectrum_options, measured.end_to_end), 0, NULL},
    {"count", "N", "how many of them (8)", DS_OPTION_COUNT, offsetof(spectrum_options, count), 1, NULL},
    {"steps", "N", "most steps of the iteration that finds them (64)", DS_OPTION_COUNT, offsetof(spectrum_options, steps), 1,
     NULL},
    {"by-depth", NULL, "with --end-to-end: the largest one at every prefix depth, full beside frozen", DS_OPTION_FLAG,
     offsetof(spectrum_options, measured.by_depth), 0, NULL},
    {"samples", "N", "single operators solved densely and held against theory, at most 1000000 (16)", DS_OPTION_COUNT,
     offsetof(spectrum_options, samples), 1, NULL},
    {"regime-tol", "X", "how near 0, 1 and 2 a gate counts as identity, projection, reflection (0.1)", DS_OPTION_TOLERANCE,
     offsetof(spectrum_options, measured.regime_tolerance), 0, NULL},
};
/* As ds_spectrum_defaults, which is no constant expression. */
static const spectrum_options defaults = {
    .measured = {.positions = "last", .depths = "every", .count = 8, .steps = 64, .samples = 16, .regime_tolerance = 0.1},
    .count = {8, false},
    .steps = {64, false},
    .samples = {16, false},
};

static double real_at(const json_t *value, const char *path) {
    const json_t *found = ds_json_at(value, path);
    return json_is_number(found) ? json_number_value(found) : NAN;
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
    ds_spectrum_tables kinds;
    ds_table *tables[DS_SPECTRUM_TABLES] = {NULL};
    size_t made = 0;
    ds_spectrum_tables_describe(&kinds, told->results, run);
    DS_TRY(ds_command_publish_results(tables, &made, invocation, run, told, kinds.tables, DS_SPECTRUM_TABLES));
    if (!invocation->common.table) goto done;
    if (operators) print_operators(told->results);
    for (size_t i = 0; i < made; i++) {
        if (i > 0 || operators) (void)printf("\n");
        DS_TRY(ds_print_table(tables[i]));
    }
    ds_print_shadow(told->results);
done:
    for (size_t i = 0; i < DS_SPECTRUM_TABLES; i++) ds_table_free(&tables[i]);
    return status;
}

static ds_status measure(json_t **told, json_t **results, ds_run *run, const ds_invocation *invocation,
                         const ds_journal_plan *journal) {
    const spectrum_options *own = invocation->own;
    ds_spectrum_options options = own->measured;
    options.count = own->count.value;
    options.steps = own->steps.value;
    options.samples = own->samples.value;
    options.shadow = invocation->common.shadow.value;
    options.journal = journal;
    return ds_spectrum_results(told, results, run, &options);
}

static ds_status run_command(const ds_invocation *invocation) {
    ds_status status = DS_OK;
    ds_run run = {0};
    ds_told told = {NULL, NULL};
    ds_journal_plan journal;
    ds_text path = {0};
    DS_TRY(ds_command_open(&run, invocation));
    DS_TRY(ds_command_journal_plan(&journal, &path, invocation));
    DS_TRY(measure(&told.options, &told.results, &run, invocation, &journal));
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
        "An additive checkpoint and one of parallel streams have these two only, attention over depth --weights alone.\n"
        "With --positions all and --out, solved tokens are kept in DIR/spectrum.journal: an interrupted run goes on with "
        "--resume and ends with the bytes it would have had.",
    .examples = "  deltascope spectrum --tokens val.bin checkpoint/\n"
                "  deltascope spectrum --tokens val.bin --positions 0:0,3:32 --certify checkpoint/\n"
                "  deltascope spectrum --weights checkpoint/\n"
                "  deltascope spectrum --tokens val.bin --end-to-end 0:32 --count 4 checkpoint/\n"
                "  deltascope spectrum --tokens val.bin --positions all --null shuffled-gates --json s.json checkpoint/\n",
    .takes = DS_TAKES_MODEL | DS_TAKES_SHADOW | DS_TAKES_RESUME | DS_DATA_OPTIONAL | DS_TAKES_HISTORIES | DS_TAKES_STREAMS |
             DS_TAKES_RANKS | DS_TAKES_REHEARSAL,
    .options = option_table,
    .option_count = sizeof option_table / sizeof option_table[0],
    .defaults = &defaults,
    .own_size = sizeof defaults,
    .column_sets = ds_spectrum_column_sets,
    .column_set_count = DS_SPECTRUM_COLUMN_SETS,
    .run = run_command,
    .dry_run = ds_dry_run_measure,
    .measure = measure,
};
