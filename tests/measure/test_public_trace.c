/* A trace measured through the library is what the program writes. */
#include <string.h>

#include "deltascope/measure/depth_mixing.h"
#include "deltascope/measure/token_trace.h"
#include "program_json.h"
#include "support.h"

#define MODEL(name) "fixtures/models/" name

static const char *text_of(const json_t *object, const char *key) { return json_string_value(json_object_get(object, key)); }

static void expect_program(const char *checkpoint, const ds_trace_options *options, const char *const *arguments) {
    ds_run run;
    json_t *told, *results;
    expect_ok(ds_run_open(&run, &(ds_run_options){.checkpoint = checkpoint, .length = 14}));
    expect_ok(ds_trace_results(&told, &results, &run, options));
    ds_run_close(&run);
    expect_as_written(told, results, program_json(arguments));
}

static void results_are_the_program_s(void **state) {
    (void)state;
    ds_trace_options options = ds_trace_defaults;
    options.window = (ds_window_source){.tokens = "fixtures/data/val.bin", .offset = 5, .offset_given = true};
    expect_program(MODEL("additive-small"), &options,
                   (const char *const[]){"trace", "--tokens", "fixtures/data/val.bin", "--offset", "5", "--seq-len", "14",
                                         MODEL("additive-small"), NULL});
    options.show = "edit";
    options.force = "mean-gate:0.mlp";
    expect_program(MODEL("cc-bf16"), &options,
                   (const char *const[]){"trace", "--tokens", "fixtures/data/val.bin", "--offset", "5", "--seq-len", "14",
                                         "--show", "edit", "--force", "mean-gate:0.mlp", MODEL("cc-bf16"), NULL});
    options = (ds_trace_options){.window = {.text = "To be, or", .tokenizer = "fixtures/data/meta.pkl"}, .show = "loss"};
    expect_program(MODEL("ddl-cc-ec"), &options,
                   (const char *const[]){"trace", "--text", "To be, or", "--tokenizer", "fixtures/data/meta.pkl", "--seq-len",
                                         "14", "--show", "loss", MODEL("ddl-cc-ec"), NULL});
}

/* The numbers themselves: as many tokens as there are, no loss for the first, no gates where a rule has none. */
static void numbers_have_the_window_s_shape(void **state) {
    (void)state;
    ds_run run;
    ds_trace trace;
    ds_trace_options options = {.window = {.text = "Ab", .tokenizer = "fixtures/data/meta.pkl"}};
    expect_ok(ds_run_open(&run, &(ds_run_options){.checkpoint = MODEL("additive-small"), .length = 14}));
    expect_ok(ds_trace_measure(&trace, &run, &options));
    assert_true(trace.tokens == 2 && run.length == 2 && run.sequences == 1);
    assert_true(trace.loss[0] != trace.loss[0] && trace.loss[1] > 0);
    assert_true(trace.values[0] == NULL && trace.count == trace.sublayers && trace.shown == DS_TRACE_LOSS);
    ds_trace_release(&trace);
    options.show = "gates";
    expect_failure(ds_trace_measure(&trace, &run, &options), DS_ERR_USAGE, "\"gates\"");
    options.show = "beta";
    expect_failure(ds_trace_measure(&trace, &run, &options), DS_ERR_USAGE, "--show loss");
    options = (ds_trace_options){.window = {.text = "Ab"}};
    expect_failure(ds_trace_measure(&trace, &run, &options), DS_ERR_USAGE, "--tokenizer");
    ds_run_close(&run);
}

/* ---- rules without gates ---------------------------------------------------------------------------------------------- */

/* Means of a trace's tokens are what depth says of the same window. */
static void expect_mean(const json_t *numbers, const json_t *expected) {
    double sum = 0;
    size_t t;
    const json_t *number;
    json_array_foreach(numbers, t, number) sum += json_number_value(number);
    assert_true(json_is_number(expected));
    expect_close(sum / (double)json_array_size(numbers), json_number_value(expected), 1e-12);
}

static void expect_means(const json_t *rows, const json_t *expected) {
    size_t i;
    const json_t *row;
    assert_int_equal(json_array_size(rows), json_array_size(expected));
    json_array_foreach(rows, i, row) expect_mean(row, json_array_get(expected, i));
}

static void expect_read(const json_t *traced, const json_t *read) {
    assert_string_equal(text_of(traced, "name"), text_of(read, "read"));
    assert_true(json_equal(json_object_get(traced, "sources"), json_object_get(read, "sources")));
    if (json_array_size(json_object_get(read, "sources")) == 0) return;
    expect_means(json_object_get(traced, "weights"), json_object_get(read, "weights"));
    expect_mean(json_object_get(traced, "effective_sources"),
                json_object_get(json_object_get(read, "effective_sources"), "mean"));
}

static void expect_sublayer(const json_t *traced, const json_t *mixing) {
    static const char *const keys[] = {"pre", "post"};
    assert_string_equal(text_of(traced, "name"), text_of(mixing, "sublayer"));
    for (size_t k = 0; k < 2; k++) expect_means(json_object_get(traced, keys[k]), json_object_get(mixing, keys[k]));
    size_t to;
    const json_t *row;
    json_array_foreach(json_object_get(traced, "res"), to, row)
        expect_means(row, json_array_get(json_object_get(mixing, "res"), to));
    expect_mean(json_object_get(traced, "off_diagonal"), json_object_get(json_object_get(mixing, "off_diagonal"), "mean"));
}

static void tokens_are_what_depth_has_means_of(void **state) {
    static const char *const models[] = {"fixtures/depth/attnres-full",
                                         "fixtures/depth/delta-block",
                                         "fixtures/depth/delta-attnres",
                                         "fixtures/depth/attnres-cumulative-block",
                                         "fixtures/streams/hc",
                                         "fixtures/streams/mhc-lite/ckpt.pt",
                                         "fixtures/streams/mhc-static-mixed/ckpt.pt"};
    (void)state;
    ds_random random = ds_random_init(4);
    for (size_t m = 0; m < sizeof models / sizeof *models; m++) {
        ds_run_options options = {.checkpoint = models[m],
                                  .length = 8 + ds_random_below(&random, 9),
                                  .precision = DS_F64,
                                  .histories = true,
                                  .streams = true};
        ds_trace_options what = {
            .window = {.tokens = "fixtures/data/val.bin", .offset = ds_random_below(&random, 40), .offset_given = true}};
        ds_run run;
        json_t *told, *results, *depth;
        expect_ok(ds_run_open(&run, &options));
        expect_ok(ds_trace_results(&told, &results, &run, &what));
        json_decref(told);
        ds_run_close(&run);
        options.tokens = what.window.tokens;
        options.spread = DS_SPREAD_FROM_OFFSET;
        options.offset = what.window.offset;
        options.sequences = 1;
        expect_ok(ds_run_open(&run, &options));
        expect_ok(ds_depth_mixing_results(&told, &depth, &run));
        ds_run_close(&run);
        const json_t *rows = json_object_get(results, "sublayers"), *reads = json_object_get(depth, "routing"), *row;
        const json_t *expected = reads != NULL ? reads : json_object_get(depth, "mixing");
        size_t s;
        assert_true(json_array_size(rows) > 0 && json_array_size(rows) == json_array_size(expected));
        json_array_foreach(rows, s, row) {
            if (reads != NULL)
                expect_read(row, json_array_get(expected, s));
            else
                expect_sublayer(row, json_array_get(expected, s));
        }
        json_decref(told);
        json_decref(depth);
        json_decref(results);
    }
}

static void what_a_rule_lacks_is_refused(void **state) {
    (void)state;
    ds_run run;
    ds_trace trace;
    ds_trace_options options = {.window = {.text = "Ab", .tokenizer = "fixtures/data/meta.pkl"}, .show = "mixing"};
    expect_ok(
        ds_run_open(&run, &(ds_run_options){.checkpoint = "fixtures/depth/attnres-full", .length = 14, .histories = true}));
    expect_failure(ds_trace_measure(&trace, &run, &options), DS_ERR_USAGE, "it has --show sources and --show loss");
    options.show = NULL;
    options.force = "closed:0.mlp";
    expect_failure(ds_trace_measure(&trace, &run, &options), DS_ERR_USAGE, "forced cases go with --show loss");
    options.show = "loss";
    expect_ok(ds_trace_measure(&trace, &run, &options));
    assert_true(trace.count == 1 && trace.forced[1] != trace.loss[1]);
    ds_trace_release(&trace);
    ds_run_close(&run);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(results_are_the_program_s),
        cmocka_unit_test(numbers_have_the_window_s_shape),
        cmocka_unit_test(tokens_are_what_depth_has_means_of),
        cmocka_unit_test(what_a_rule_lacks_is_refused),
    };
    return cmocka_run_group_tests_name("public trace", tests, NULL, NULL);
}
