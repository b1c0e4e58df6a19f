/* The depth-mixing matrix: golden values, plain loops, and what must hold of any model. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "deltascope/measure/depth_mixing.h"

#include "program_json.h"
#include "support.h"

#define MODEL(name) "fixtures/models/" name
#define DATA "--tokens", "fixtures/data/val.bin", "--seq-len", "16", "--sequences", "3", "--offset", "5"

static ds_run open_run(const char *checkpoint, size_t length, size_t sequences, uint64_t offset, ds_precision precision) {
    const ds_run_options options = {.checkpoint = checkpoint,
                                    .tokens = "fixtures/data/val.bin",
                                    .length = length,
                                    .sequences = sequences,
                                    .spread = DS_SPREAD_FROM_OFFSET,
                                    .offset = offset,
                                    .precision = precision,
                                    .histories = true,
                                    .streams = true};
    ds_run run;
    expect_ok(ds_run_open(&run, &options));
    return run;
}

static json_t *load(const char *path) {
    char *bytes;
    size_t length;
    json_t *value;
    expect_ok(ds_read_file(&bytes, &length, path, 1 << 20));
    expect_ok(ds_json_parse(&value, bytes, length, path));
    free(bytes);
    return value;
}

static void expect_matrix(const double *found, const json_t *golden, size_t reads) {
    assert_int_equal(json_array_size(golden), reads);
    for (size_t s = 0; s < reads; s++)
        for (size_t i = 0; i < reads; i++) {
            double expected = json_number_value(json_array_get(json_array_get(golden, s), i));
            expect_close(found[s * reads + i], expected, 1e-9 * fmax(fabs(expected), 1e-3));
        }
}

/* Promised to 1e-9 relative. */
static void golden_gains_and_contributions(void **state) {
    (void)state;
    json_t *golden = load("fixtures/golden/ddl-cc-ec.depth.json");
    ds_run run = open_run(MODEL("ddl-cc-ec"), 32, 2, 0, DS_F64);
    ds_depth_mixing mixing;
    expect_ok(ds_depth_mixing_measure(&mixing, &run));
    double loss = json_number_value(json_object_get(golden, "loss"));
    expect_close(mixing.loss, loss, 1e-9 * loss);
    expect_matrix(mixing.gain, json_object_get(golden, "gain"), mixing.reads);
    expect_matrix(mixing.contribution, json_object_get(golden, "contribution"), mixing.reads);
    assert_true(mixing.sum_error > 0 && mixing.sum_error < 1e-14);
    ds_depth_mixing_release(&mixing);
    ds_run_close(&run);
    json_decref(golden);
}

static void expect_numbers(const double *found, const json_t *golden, size_t count) {
    assert_int_equal(json_array_size(golden), count);
    for (size_t i = 0; i < count; i++) {
        double expected = json_number_value(json_array_get(golden, i));
        expect_close(found[i], expected, 1e-10 * fmax(fabs(expected), 1e-3));
    }
}

static void expect_moments(const ds_token_moments *found, const json_t *golden, const char *key) {
    const json_t *expected = json_object_get(golden, key);
    double scale = 1 + fabs(found->max);
    assert_non_null(expected);
    expect_close(ds_token_moments_mean(found), json_number_value(json_object_get(expected, "mean")), 1e-11 * scale);
    expect_close(ds_token_moments_std(found), json_number_value(json_object_get(expected, "std")), 1e-7 * scale);
    expect_close(found->min, json_number_value(json_object_get(expected, "min")), 1e-11 * scale);
    expect_close(found->max, json_number_value(json_object_get(expected, "max")), 1e-11 * scale);
}

static void expect_row(const ds_depth_mixing *mixing, size_t s, const json_t *golden) {
    const ds_mixing_row *row = &mixing->rows[s];
    expect_numbers(mixing->share + s * mixing->reads, json_object_get(golden, "share"), s + 1);
    expect_numbers(mixing->contribution + s * mixing->reads, json_object_get(golden, "contribution"), s + 1);
    expect_moments(&row->row_sum, golden, "row_sum");
    expect_moments(&row->entropy, golden, "entropy");
    expect_moments(&row->effective_sources, golden, "effective_sources");
    expect_moments(&row->max_share, golden, "max_share");
    expect_moments(&row->mean_source_age, golden, "mean_source_age");
    expect_moments(&row->contribution_entropy, golden, "contribution_entropy");
    expect_moments(&row->contribution_max, golden, "contribution_max");
}

/* Every number of the golden value, within 1e-9 of it or 1e-11: a deviation of numbers that are the same is a rounding. */
static void expect_tree(const json_t *found, const json_t *golden, const char *path) {
    char place[256];
    const char *key;
    const json_t *value;
    if (json_is_number(golden)) {
        double expected = json_number_value(golden), error = fabs(json_number_value(found) - expected);
        if (!json_is_number(found) || !(error <= 1e-9 * fabs(expected) + 1e-11)) print_error("%s:\n", path);
        assert_true(json_is_number(found));
        expect_close(json_number_value(found), expected, 1e-9 * fabs(expected) + 1e-11);
    }
    if (json_is_string(golden)) assert_string_equal(json_string_value(found), json_string_value(golden));
    if (json_is_null(golden)) assert_true(json_is_null(found));
    json_object_foreach((json_t *)(uintptr_t)golden, key, value) {
        (void)snprintf(place, sizeof place, "%.200s/%.40s", path, key);
        expect_tree(json_object_get(found, key), value, place);
    }
    assert_int_equal(json_array_size(found), json_array_size(golden));
    for (size_t i = 0; i < json_array_size(golden); i++) {
        (void)snprintf(place, sizeof place, "%.200s/%zu", path, i);
        expect_tree(json_array_get(found, i), json_array_get(golden, i), place);
    }
}

/* Attention over depth and the additive rule, around Qwen3. */
static void golden_matrices(void **state) {
    (void)state;
    static const char *const models[] = {"fixtures/depth/attnres-full",       "fixtures/depth/attnres-block",
                                         "fixtures/depth/delta-attnres",      "fixtures/depth/delta-block",
                                         "fixtures/backbones/qwen3-additive", "fixtures/depth/attnres-cumulative-block"};
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        char path[256];
        (void)snprintf(path, sizeof path, "%s.json", models[i]);
        json_t *golden = load(path);
        const json_t *matrix = json_object_get(golden, "depth_matrix");
        ds_run run = open_run(models[i], 32, 2, 0, DS_F64);
        ds_depth_mixing mixing;
        expect_ok(ds_depth_mixing_measure(&mixing, &run));
        double loss = json_number_value(json_object_get(golden, "loss"));
        expect_close(mixing.loss, loss, 1e-11 * loss);
        expect_matrix(mixing.mean, json_object_get(matrix, "mean"), mixing.reads);
        expect_matrix(mixing.token_std, json_object_get(matrix, "token_std"), mixing.reads);
        expect_numbers(mixing.singular_values, json_object_get(matrix, "singular_values_of_mean"), mixing.reads);
        expect_moments(&mixing.forward_gain, matrix, "forward_gain");
        expect_moments(&mixing.backward_gain, matrix, "backward_gain");
        expect_moments(&mixing.inf_norm, matrix, "inf_norm");
        expect_moments(&mixing.one_norm, matrix, "one_norm");
        expect_numbers(mixing.source_norm, json_object_get(golden, "source_norms"), mixing.reads);
        expect_numbers(mixing.state_norm, json_object_get(golden, "state_norms"), mixing.reads);
        expect_numbers(mixing.read_norm, json_object_get(golden, "read_norms"), mixing.reads);
        for (size_t s = 0; s < mixing.reads; s++)
            expect_row(&mixing, s, json_array_get(json_object_get(golden, "depth_rows"), s));
        const json_t *routing = json_object_get(golden, "routing");
        json_t *results;
        expect_ok(ds_depth_mixing_json(&results, &mixing));
        assert_true(json_array_size(routing) >= mixing.reads - 1);
        expect_tree(json_object_get(results, "routing"), routing, "routing");
        json_decref(results);
        ds_depth_mixing_release(&mixing);
        ds_run_close(&run);
        json_decref(golden);
    }
}

/* ---- parallel streams ------------------------------------------------------------------------------------------------- */

static void golden_mixing_of_streams(void **state) {
    (void)state;
    static const char *const models[][2] = {
        {"hc", ""}, {"mhc", "/ckpt.pt"}, {"mhc-lite", "/ckpt.pt"}, {"mhc-static-mixed", "/ckpt.pt"}};
    static const char *const parts[] = {"loss",        "sequence_loss", "depth_matrix", "depth_rows", "source_norms",
                                        "state_norms", "read_norms",    "mixing",       "composite",  "streams"};
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        char path[256];
        json_t *told, *results;
        (void)snprintf(path, sizeof path, "fixtures/streams/%s.json", models[i][0]);
        json_t *golden = load(path);
        (void)snprintf(path, sizeof path, "fixtures/streams/%s%s", models[i][0], models[i][1]);
        ds_run run = open_run(path, 32, 2, 0, DS_F64);
        expect_ok(ds_depth_mixing_results(&told, &results, &run));
        for (size_t k = 0; k < sizeof parts / sizeof *parts; k++)
            expect_tree(json_object_get(results, parts[k]), json_object_get(golden, parts[k]), parts[k]);
        assert_string_equal(json_string_value(json_object_get(results, "kind")), "streams");
        const json_t *mixing = json_array_get(json_object_get(results, "mixing"), 0),
                     *expected = json_array_get(json_object_get(golden, "mixing"), 0);
        assert_true(json_object_size(mixing) == json_object_size(expected));
        ds_run_close(&run);
        json_decref(told);
        json_decref(results);
        json_decref(golden);
    }
}

/* ---- the additive rule by plain loops --------------------------------------------------------------------------------- */

typedef struct plain {
    double *norm; /* (S+1,T) |v_i| */
    size_t tokens;
} plain;

static ds_status keep_edits(void *context, const ds_observation *seen) {
    plain *kept = context;
    for (size_t t = 0; t < kept->tokens; t++) {
        double before = 0, edit = 0;
        for (size_t i = 0; i < seen->hidden; i++) {
            double x = ds_real_at(seen->before, seen->precision, t * seen->hidden + i);
            double y = ds_real_at(seen->after, seen->precision, t * seen->hidden + i);
            before += x * x;
            edit += (y - x) * (y - x);
        }
        if (seen->sublayer == 0) kept->norm[t] = sqrt(before);
        kept->norm[(seen->sublayer + 1) * kept->tokens + t] = sqrt(edit);
    }
    return DS_OK;
}

static void additive_rows_as_plain_loops_do(void **state) {
    (void)state;
    ds_run run = open_run(MODEL("additive-small"), 9, 1, 3, DS_F64);
    ds_depth_mixing mixing;
    ds_batch batch;
    double nll[9];
    size_t reads = ds_spec_sublayers(&run.spec) + 1, tokens = 9;
    plain kept = {calloc(reads * tokens, sizeof(double)), tokens};
    const ds_observer observer = {DS_OBSERVE_STATES, keep_edits, &kept};
    assert_non_null(kept.norm);
    expect_ok(ds_depth_mixing_measure(&mixing, &run));
    expect_ok(ds_run_window(&run, 0, &batch));
    expect_ok(ds_forward(run.workspace, run.model, &batch, NULL, &observer, nll));
    for (size_t s = 0; s < reads; s++) {
        double highest = 0, entropies = 0;
        for (size_t i = 0; i < reads; i++) {
            double share = 0;
            for (size_t t = 0; t < tokens && i <= s; t++) {
                double sum = 0;
                for (size_t k = 0; k <= s; k++) sum += kept.norm[k * tokens + t];
                double mine = kept.norm[i * tokens + t] / sum;
                share += mine / (double)tokens;
                entropies -= mine * log(mine) / (double)tokens;
                highest = fmax(highest, mine);
            }
            expect_close(mixing.contribution[s * reads + i], share, 1e-13);
            expect_close(mixing.mean[s * reads + i], i <= s ? 1 : 0, 0);
            expect_close(mixing.token_std[s * reads + i], 0, 0);
            expect_close(mixing.share[s * reads + i], i <= s ? 1 / (double)(s + 1) : 0, 1e-15);
        }
        const ds_mixing_row *row = &mixing.rows[s];
        expect_close(ds_token_moments_mean(&row->contribution_entropy), entropies, 1e-13);
        expect_close(row->contribution_max.max, highest, 1e-13);
        expect_close(ds_token_moments_mean(&row->effective_sources), (double)(s + 1), 1e-12 * (double)reads);
        expect_close(ds_token_moments_mean(&row->mean_source_age), (double)s / 2, 1e-12 * (double)reads);
        expect_close(mixing.read_norm[s], mixing.state_norm[s], 1e-13 * mixing.state_norm[s]);
    }
    expect_close(mixing.forward_gain.min, (double)reads, 0);
    expect_close(mixing.one_norm.max, (double)reads, 0);
    free(kept.norm);
    ds_depth_mixing_release(&mixing);
    ds_run_close(&run);
}

/* ---- any model -------------------------------------------------------------------------------------------------------- */

/* What was just written is untouched, shares add up to 1, and the largest is at least what a uniform one would be. */
static void expect_sane(const ds_depth_mixing *mixing, double unit) {
    for (size_t s = 0; s < mixing->reads; s++) {
        double sum = 0;
        for (size_t i = 0; i < mixing->reads; i++) sum += mixing->contribution[s * mixing->reads + i];
        expect_close(sum, 1, 1e-12);
        assert_true(mixing->rows[s].contribution_max.min >= (1 - 1e-12) / (double)(s + 1));
        assert_true(ds_token_moments_mean(&mixing->rows[s].contribution_sources) <= (double)(s + 1) * (1 + 1e-12));
        if (mixing->gain != NULL) expect_close(mixing->gain[s * mixing->reads + s], 1, 1e-12);
    }
    assert_true(mixing->sum_error >= 0 && mixing->sum_error < 1e4 * unit);
}

static void terms_add_up_in_every_variant(void **state) {
    (void)state;
    static const char *const models[] = {MODEL("additive-small"), MODEL("scalar-kvshift"), MODEL("tc-ec-sharded"),
                                         MODEL("cc-bf16"),        MODEL("ddl-cc-ec"),      MODEL("option-scalar-completep")};
    for (size_t i = 0; i < 2 * sizeof models / sizeof *models; i++) {
        ds_precision precision = i % 2 == 0 ? DS_F32 : DS_F64;
        ds_run run = open_run(models[i / 2], 11, 2, 7, precision);
        ds_depth_mixing mixing;
        expect_ok(ds_depth_mixing_measure(&mixing, &run));
        expect_sane(&mixing, ds_unit_roundoff(precision));
        ds_depth_mixing_release(&mixing);
        ds_run_close(&run);
    }
}

/* Of a control without the erase every operator is the identity, and one without the write adds nothing. */
static void controls_carry_or_write_nothing(void **state) {
    (void)state;
    static const unsigned modes[] = {DS_FORCE_WRITE_ONLY, DS_FORCE_ERASE_ONLY, DS_FORCE_CLOSED};
    for (size_t k = 0; k < 3; k++) {
        ds_run run = open_run(MODEL("cc-bf16"), 8, 1, 2, DS_F64);
        const ds_force trained[2] = {{modes[k], 0}, {modes[k], 0}};
        ds_depth_mixing mixing;
        ds_model_set_control(run.model, trained);
        run.spec = *ds_model_spec(run.model);
        expect_ok(ds_depth_mixing_measure(&mixing, &run));
        for (size_t s = 0; s < mixing.reads; s++) {
            if (k == 0) expect_close(mixing.gain[s * mixing.reads], 1, 1e-12);
            if (k > 0) expect_close(mixing.contribution[s * mixing.reads], 1, 0);
            if (k > 0 && s > 0) assert_true(isnan(mixing.gain[s * mixing.reads + s]));
        }
        ds_depth_mixing_release(&mixing);
        ds_run_close(&run);
    }
}

/* ---- the program ------------------------------------------------------------------------------------------------------ */

static void results_are_the_program_s(void **state) {
    (void)state;
    static const char *const models[] = {MODEL("additive-small"), MODEL("scalar-two-layer-gate"), MODEL("tc-ec-sharded"),
                                         "fixtures/streams/mhc-lite/ckpt.pt"};
    for (size_t i = 0; i < 4; i++) {
        ds_run run = open_run(models[i], 16, 3, 5, DS_F32);
        json_t *told, *results;
        expect_ok(ds_depth_mixing_results(&told, &results, &run));
        ds_run_close(&run);
        expect_as_written(told, results, program_json((const char *const[]){"depth", DATA, models[i], NULL}));
    }
}

/* Neither threads nor batches change a bit. */
static void bits_depend_on_nothing_else(void **state) {
    (void)state;
    json_t *first = NULL;
    for (size_t turn = 0; turn < 3; turn++) {
        expect_ok(ds_threads_set(turn == 1 ? 3 : 1));
        ds_run run = open_run(MODEL("tc-ec-sharded"), 13, 5, 1, DS_F32);
        json_t *told, *results;
        if (turn == 2) run.batch = 1;
        expect_ok(ds_depth_mixing_results(&told, &results, &run));
        ds_run_close(&run);
        json_decref(told);
        assert_true(turn == 0 || json_equal(first, results));
        if (turn > 0) json_decref(results);
        if (turn == 0) first = results;
    }
    json_decref(first);
    expect_ok(ds_threads_set(0));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_gains_and_contributions), cmocka_unit_test(golden_matrices),
        cmocka_unit_test(golden_mixing_of_streams),       cmocka_unit_test(additive_rows_as_plain_loops_do),
        cmocka_unit_test(terms_add_up_in_every_variant),  cmocka_unit_test(controls_carry_or_write_nothing),
        cmocka_unit_test(results_are_the_program_s),      cmocka_unit_test(bits_depend_on_nothing_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
