/* A run seen over fewer, shorter windows measures what a run opened over those windows measures, to the last bit. */
#include <stdlib.h>
#include <string.h>

#include "deltascope/measure.h"
#include "support.h"

/* Consecutive windows of any length begin at the offset: window 0 is the first window of both. */
static ds_run_options options_of(size_t length, size_t windows) {
    return (ds_run_options){.checkpoint = "fixtures/models/ddl-cc-ec",
                            .tokens = "fixtures/data/val.bin",
                            .spread = DS_SPREAD_FROM_OFFSET,
                            .offset = 5,
                            .length = length,
                            .sequences = windows,
                            .batch = 3};
}

static json_t *gates_of(ds_run *run) {
    json_t *options, *results;
    expect_ok(ds_gates_results(&options, &results, run, &ds_gates_defaults));
    json_decref(options);
    return results;
}

static json_t *gradients_of(ds_run *run) {
    json_t *options, *results;
    expect_ok(ds_gradflow_results(&options, &results, run, &ds_gradflow_defaults));
    json_decref(options);
    return results;
}

static void expect_same(const ds_run *whole, size_t length, size_t windows) {
    json_t *(*const measures[])(ds_run *) = {gates_of, gradients_of};
    for (size_t m = 0; m < sizeof measures / sizeof *measures; m++) {
        ds_run shorter = ds_run_shorter(whole, length, windows), opened;
        const ds_run_options options = options_of(length, windows);
        expect_ok(ds_run_open(&opened, &options));
        assert_int_equal(shorter.length, opened.length);
        assert_int_equal(shorter.sequences, opened.sequences);
        json_t *found = measures[m](&shorter), *expected = measures[m](&opened);
        assert_true(json_equal(found, expected));
        json_decref(found);
        json_decref(expected);
        ds_run_close(&opened);
    }
}

static void shorter_runs_are_runs(void **state) {
    (void)state;
    enum { LENGTH = 32, WINDOWS = 6 };
    ds_random random = ds_random_init(8);
    ds_run whole;
    const ds_run_options options = options_of(LENGTH, WINDOWS);
    expect_ok(ds_run_open(&whole, &options));
    for (int trial = 0; trial < 4; trial++) expect_same(&whole, LENGTH, 1 + (size_t)ds_random_below(&random, WINDOWS));
    for (int trial = 0; trial < 4; trial++) expect_same(&whole, 1 + (size_t)ds_random_below(&random, LENGTH), 1);
    ds_run more = ds_run_shorter(&whole, 2 * LENGTH, 2 * WINDOWS); /* at most what there is */
    assert_int_equal(more.length, LENGTH);
    assert_int_equal(more.sequences, WINDOWS);
    ds_run_close(&whole);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(shorter_runs_are_runs)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
