/* spectrum: eigenvalues of the frozen shortcut operators, one at a time and accumulated over depth. */
#include <stdlib.h>
#include <string.h>

#include "deltascope/measure/weight_alignment.h"
#include "deltascope/measure/end_to_end_jacobian.h"
#include "deltascope/measure/double_precision_shadow.h"
#include "deltascope/measure/accumulated_spectra.h"
#include "deltascope/measure/weight_spectra.h"
#include "model_command.h"

typedef struct spectrum_options {
    const char *positions, *depths, *window, *null, *end_to_end;
    bool certify, weights, by_depth;
    ds_count count, steps, samples;
    double regime_tol;
} spectrum_options;

static const ds_option options[] = {
    {"positions", "LIST", "tokens whose depth product is analysed: all, last, or S:P,S:P,... (last)", DS_OPTION_TEXT,
     offsetof(spectrum_options, positions), 0},
    {"depths", "every|last", "with --positions all: every prefix depth, or the whole product only (every)", DS_OPTION_CHOICE,
     offsetof(spectrum_options, depths), 0},
    {"window", "A:B", "the product of sublayers A to B instead of all", DS_OPTION_TEXT, offsetof(spectrum_options, window), 0},
    {"certify", NULL, "prove a radius for every eigenvalue and singular value, and verdicts, by ball arithmetic",
     DS_OPTION_FLAG, offsetof(spectrum_options, certify), 0},
    {"null", DS_NULL_WORDS, "the same statistics for a null model, beside the learned ones", DS_OPTION_CHOICE,
     offsetof(spectrum_options, null), 0},
    {"weights", NULL, "singular values, power-law tails and Marchenko-Pastur edges of every weight matrix", DS_OPTION_FLAG,
     offsetof(spectrum_options, weights), 0},
    {"end-to-end", "S|S:P",
     "largest singular values of the full Jacobian dX_S/dX_0 over the whole window S, or of its token P alone", DS_OPTION_TEXT,
     offsetof(spectrum_options, end_to_end), 0},
    {"count", "N", "how many of them (8)", DS_OPTION_COUNT, offsetof(spectrum_options, count), 1},
    {"steps", "N", "most steps of the iteration that finds them (64)", DS_OPTION_COUNT, offsetof(spectrum_options, steps), 1},
    {"by-depth", NULL, "with --end-to-end: the largest one at every prefix depth, full beside frozen", DS_OPTION_FLAG,
     offsetof(spectrum_options, by_depth), 0},
    {"samples", "N", "single operators solved densely and held against theory (16)", DS_OPTION_COUNT,
     offsetof(spectrum_options, samples), 1},
    {"regime-tol", "X", "how near 0, 1 and 2 a gate counts as identity, projection, reflection (0.1)", DS_OPTION_TOLERANCE,
     offsetof(spectrum_options, regime_tol), 0},
};
static const spectrum_options defaults = {.positions = "last",
                                          .depths = "every",
                                          .count = {8, false},
                                          .steps = {64, false},
                                          .samples = {16, false},
                                          .regime_tol = 0.1};

typedef struct spectrum_result {
    size_t first, last; /* sublayers first .. last-1 */
    ds_position_list positions;
    ds_study_options study_options;
    ds_journal *journal; /* with --positions all and --out */
    ds_study learned, null;
    ds_operator_check check;
    ds_alignment alignment;
    json_t *sweep;
    bool operators; /* there are operators and data to take them from: all of the above was measured */
    ds_weight_survey weights;
    ds_end_to_end end_to_end;
    ds_shadow shadow;
} spectrum_result;

static void release(spectrum_result *result) {
    ds_study_release(&result->learned);
    ds_study_release(&result->null);
    ds_alignment_release(&result->alignment);
    ds_position_list_release(&result->positions);
    ds_weight_survey_release(&result->weights);
    ds_end_to_end_release(&result->end_to_end);
    json_decref(result->sweep);
    ds_journal_close(&result->journal);
    ds_shadow_release(&result->shadow);
}

static void put_options(ds_json_builder *b, const ds_invocation *invocation, const ds_run *run) {
    (void)run;
    const spectrum_options *own = invocation->own;
    ds_json_put_text(b, "positions", own->positions);
    ds_json_put_text(b, "depths", own->depths);
    ds_json_put_text(b, "window", own->window);
    ds_json_put_bool(b, "certify", own->certify);
    ds_json_put_text(b, "null", own->null);
    ds_json_put_bool(b, "weights", own->weights);
    if (own->end_to_end != NULL) ds_json_put_text(b, "end_to_end", own->end_to_end);
    ds_json_put_count(b, "count", own->count.value);
    ds_json_put_count(b, "steps", own->steps.value);
    ds_json_put_count(b, "samples", own->samples.value);
    ds_json_put_real(b, "regime_tol", own->regime_tol);
    ds_json_put_count(b, "seed", invocation->common.seed.value);
}

static ds_status measure_operators(spectrum_result *result, const ds_invocation *invocation, ds_run *run, const spectrum_options *own) {
    ds_status status = DS_OK;
    uint64_t seed = invocation->common.seed.value;
    ds_null kind = ds_null_of(own->null);
    ds_direction_source learned = {0}, null = {0};
    DS_TRY(ds_window_parse(&result->first, &result->last, own->window, ds_spec_sublayers(&run->spec)));
    DS_TRY(ds_position_list_parse(&result->positions, own->positions, run->sequences, run->length));
    if (result->positions.all) DS_TRY(ds_command_journal(&result->journal, invocation, run));
    result->study_options =
        (ds_study_options){&result->positions, strcmp(own->depths, "every") == 0, own->certify, seed, result->journal};
    DS_TRY(ds_direction_source_init(&learned, run, result->first, result->last, DS_NULL_NONE, seed));
    DS_TRY(ds_study_run(&result->learned, &learned, &result->study_options));
    const ds_directions *sample = &result->learned.sample;
    DS_TRY(ds_operator_check_run(&result->check, sample, own->samples.value, seed));
    DS_TRY(ds_sweep_json(&result->sweep, sample->k, run->spec.residual_mult, run->spec.hidden, own->regime_tol));
    DS_TRY(ds_alignment_run(&result->alignment, sample, run->model, result->first, seed));
    if (kind == DS_NULL_NONE) goto done;
    DS_TRY(ds_direction_source_init(&null, run, result->first, result->last, kind, seed));
    DS_TRY(ds_study_run(&result->null, &null, &result->study_options));
done:
    ds_direction_source_release(&learned);
    ds_direction_source_release(&null);
    return status;
}

static ds_status measure(spectrum_result *result, const ds_invocation *invocation, ds_run *run, const spectrum_options *own) {
    ds_status status = DS_OK;
    uint64_t seed = invocation->common.seed.value;
    if (result->operators) DS_TRY(measure_operators(result, invocation, run, own));
    DS_TRY(ds_shadow_run(&result->shadow, run, invocation->common.shadow.value));
    if (own->weights) DS_TRY(ds_weight_survey_run(&result->weights, run->model, seed));
    if (own->end_to_end != NULL)
        DS_TRY(ds_end_to_end_run(&result->end_to_end, run,
                                 &(ds_end_to_end_options){.place = own->end_to_end,
                                                          .count = own->count.value,
                                                          .steps = own->steps.value,
                                                          .by_depth = own->by_depth,
                                                          .seed = seed}));
done:
    return status;
}

static ds_status put_operators(ds_json_builder *b, spectrum_result *result, const spectrum_options *own) {
    ds_status status = DS_OK;
    ds_json_put_counts(b, "window", (const uint64_t[]){result->first, result->last - 1}, 2);
    ds_operator_check_put(b, &result->check);
    ds_json_put(b, "sweep", json_incref(result->sweep));
    DS_TRY(ds_study_put(b, &result->learned));
    ds_alignment_put(b, &result->alignment);
    ds_json_end(b);
    if (own->null == NULL) goto done;
    ds_json_begin_object(b, "null");
    ds_json_put_text(b, "kind", own->null);
    DS_TRY(ds_study_put(b, &result->null));
    ds_json_end(b);
    ds_json_end(b);
done:
    return status;
}

static ds_status make_results(json_t **results, spectrum_result *result, const spectrum_options *own) {
    ds_status status = DS_OK;
    ds_json_builder b = {0};
    ds_json_begin_object(&b, NULL);
    if (result->operators) DS_TRY(put_operators(&b, result, own));
    if (own->weights) ds_weight_survey_put(&b, &result->weights);
    if (own->end_to_end != NULL) ds_end_to_end_put(&b, &result->end_to_end);
    ds_shadow_put(&b, &result->shadow);
    ds_json_end(&b);
    DS_TRY(ds_json_finish(results, &b));
done:
    ds_json_discard(&b);
    return status;
}

enum { MOST_TABLES = 6 };

static ds_status make_tables(ds_table **tables, size_t *count, spectrum_result *result, const spectrum_options *own) {
    ds_status status = DS_OK;
    if (result->operators) {
        DS_TRY(ds_study_table(&tables[(*count)++], &result->learned, NULL));
        DS_TRY(ds_study_directions_table(&tables[(*count)++], &result->learned, &result->alignment));
        if (own->null != NULL) DS_TRY(ds_study_table(&tables[(*count)++], &result->null, own->null));
    }
    if (own->weights) DS_TRY(ds_weight_survey_table(&tables[(*count)++], &result->weights));
    if (own->end_to_end != NULL) DS_TRY(ds_end_to_end_table(&tables[(*count)++], &result->end_to_end));
    if (result->end_to_end.depths > 0) DS_TRY(ds_depth_norm_table(&tables[(*count)++], &result->end_to_end));
done:
    return status;
}

static ds_status publish(const ds_invocation *invocation, const ds_run *run, spectrum_result *result, const spectrum_options *own) {
    ds_status status = DS_OK;
    json_t *results = NULL;
    ds_table *tables[MOST_TABLES] = {NULL};
    size_t count = 0;
    DS_TRY(make_tables(tables, &count, result, own));
    DS_TRY(make_results(&results, result, own));
    DS_TRY(ds_command_publish(invocation, run, results, tables, count));
    if (!invocation->common.table) goto done;
    if (result->operators) {
        (void)printf("%zu operators against theory: eigenvalues within %.2g,\ndeterminants %.2g, orthogonality %.2g\n",
                     result->check.samples, result->check.max_eigenvalue_error, result->check.max_determinant_error,
                     result->check.max_orthogonality_error);
        ds_study_print(stdout, &result->learned);
    }
    for (size_t i = 0; i < count; i++) {
        if (i > 0 || result->operators) (void)printf("\n");
        DS_TRY(ds_table_print(stdout, tables[i]));
    }
    ds_shadow_print(stdout, &result->shadow);
done:
    json_decref(results);
    for (size_t i = 0; i < MOST_TABLES; i++) ds_table_free(&tables[i]);
    return status;
}

/* What can be measured of this checkpoint, with or without data. */
static ds_status plan(spectrum_result *result, const ds_run *run, const spectrum_options *own) {
    bool data = run->tokens != NULL;
    result->operators = data && ds_rule_has_operators(run->spec.rule);
    if (!data && (own->end_to_end != NULL || !own->weights))
        return ds_fail(DS_ERR_USAGE, "spectrum needs either --tokens FILE or --text FILE with --tokenizer PATH; without data "
                                     "there is --weights alone");
    if (!ds_rule_has_operators(run->spec.rule) && !own->weights && own->end_to_end == NULL)
        return ds_fail(DS_ERR_USAGE, "an additive checkpoint has no shortcut operator but the identity: --weights and "
                                     "--end-to-end S are what there is to show");
    if (own->by_depth && own->end_to_end == NULL) return ds_fail(DS_ERR_USAGE, "--by-depth goes with --end-to-end S");
    return DS_OK;
}

static ds_status run_command(const ds_invocation *invocation) {
    ds_status status = DS_OK;
    const spectrum_options *own = invocation->own;
    ds_run run = {0};
    spectrum_result result = {0};
    DS_TRY(ds_command_open(&run, invocation));
    DS_TRY(plan(&result, &run, own));
    DS_TRY(measure(&result, invocation, &run, own));
    DS_TRY(publish(invocation, &run, &result, own));
done:
    release(&result);
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
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .defaults = &defaults,
    .own_size = sizeof defaults,
    .put_options = put_options,
    .run = run_command,
};
