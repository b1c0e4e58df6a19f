/* A comparison measured through the library is what the program writes. */
#include "deltascope/measure/checkpoint_comparison.h"
#include "program_json.h"
#include "support.h"

#define MODEL(name) "fixtures/models/" name
#define DATA "--tokens", "fixtures/data/val.bin", "--seq-len", "16", "--sequences", "4", "--seed", "5"

static const ds_run_options sample = {.tokens = "fixtures/data/val.bin", .length = 16, .sequences = 4, .seed = 5};

static void count_opened(void *context, const ds_run *run) {
    assert_non_null(run->model);
    ++*(size_t *)context;
}

static void results_are_the_program_s(void **state) {
    (void)state;
    const char *const paths[] = {MODEL("ddl-cc-ec"), MODEL("additive-small"), MODEL("cc-bf16")};
    size_t opened = 0;
    ds_compare_options options = ds_compare_defaults;
    ds_run first;
    json_t *told, *results;
    options.checkpoints = paths;
    options.count = 3;
    options.trajectory = true;
    options.labels = "3,10,200";
    options.opened = count_opened;
    options.context = &opened;
    expect_ok(ds_compare_results(&told, &results, &first, &sample, &options));
    assert_string_equal(ds_checkpoint_path(first.checkpoint), paths[0]); /* the envelope is that of the first */
    assert_int_equal(opened, 3);
    ds_run_close(&first);
    const char *const arguments[] = {"compare", DATA,     "--trajectory", "--labels", "3,10,200",
                                     paths[0],  paths[1], paths[2],       NULL};
    expect_as_written(told, results, program_json(arguments));
}

static void what_cannot_be_compared(void **state) {
    (void)state;
    const char *const paths[] = {MODEL("ddl-cc-ec"), MODEL("nothing")};
    ds_compare_options options = ds_compare_defaults;
    ds_run first;
    json_t *told, *results;
    options.checkpoints = paths;
    options.count = 1;
    expect_failure(ds_compare_results(&told, &results, &first, &sample, &options), DS_ERR_USAGE, "two checkpoints");
    json_decref(told);
    options.count = 2;
    expect_failure(ds_compare_results(&told, &results, &first, &sample, &options), DS_ERR_INPUT, "nothing");
    json_decref(told);
    assert_null(results);
    ds_run_close(&first);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(results_are_the_program_s),
        cmocka_unit_test(what_cannot_be_compared),
    };
    return cmocka_run_group_tests_name("public compare", tests, NULL, NULL);
}
