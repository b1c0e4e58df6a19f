/* A trace measured through the library is what the program writes. */
#include <string.h>

#include "deltascope/measure/token_trace.h"
#include "program_json.h"
#include "support.h"

#define MODEL(name) "fixtures/models/" name

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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(results_are_the_program_s),
        cmocka_unit_test(numbers_have_the_window_s_shape),
    };
    return cmocka_run_group_tests_name("public trace", tests, NULL, NULL);
}
