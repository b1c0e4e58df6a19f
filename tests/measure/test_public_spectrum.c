/* Spectra through the library's own door: what it tells is what the program writes. */
#include <stdlib.h>
#include <string.h>

#include "deltascope/measure/spectrum.h"

#include "program_json.h"
#include "support.h"

enum { T = 8, WINDOWS = 2 };

static ds_run open_run(const char *model) {
    const ds_run_options options = {
        .checkpoint = model, .tokens = "fixtures/data/val.bin", .length = T, .sequences = WINDOWS, .precision = DS_F32};
    ds_run run;
    expect_ok(ds_run_open(&run, &options));
    return run;
}

static void test_operators_as_written(void **state) {
    static const char *const models[] = {"fixtures/models/ddl-cc-ec", "fixtures/models/scalar-kvshift"};
    static const char *const nulls[] = {"constant-gates", "random-init"};
    (void)state;
    for (size_t m = 0; m < 2; m++) {
        ds_run run = open_run(models[m]);
        ds_spectrum_options options = ds_spectrum_defaults;
        json_t *told, *results;
        options.positions = "all";
        options.certify = true;
        options.null = nulls[m];
        options.samples = 3;
        options.shadow = 1;
        expect_ok(ds_spectrum_results(&told, &results, &run, &options));
        ds_run_close(&run);
        const char *const arguments[] = {"spectrum",  "--tokens",    "fixtures/data/val.bin",
                                         "--seq-len", "8",           "--sequences",
                                         "2",         "--positions", "all",
                                         "--certify", "--null",      nulls[m],
                                         "--samples", "3",           "--shadow",
                                         "1",         models[m],     NULL};
        expect_as_written(told, results, program_json(arguments));
    }
}

static void test_additive_as_written(void **state) {
    (void)state;
    ds_run run = open_run("fixtures/models/additive-small");
    ds_spectrum_options options = ds_spectrum_defaults;
    json_t *told, *results;
    options.weights = options.by_depth = true;
    options.end_to_end = "1:3";
    options.count = 2;
    options.steps = 12;
    expect_ok(ds_spectrum_results(&told, &results, &run, &options));
    ds_run_close(&run);
    const char *const arguments[] = {"spectrum",
                                     "--tokens",
                                     "fixtures/data/val.bin",
                                     "--seq-len",
                                     "8",
                                     "--sequences",
                                     "2",
                                     "--weights",
                                     "--by-depth",
                                     "--end-to-end",
                                     "1:3",
                                     "--count",
                                     "2",
                                     "--steps",
                                     "12",
                                     "fixtures/models/additive-small",
                                     NULL};
    expect_as_written(told, results, program_json(arguments));
}

/* A measurement leaves the run as it was: a second one tells the same. */
static void test_run_unchanged(void **state) {
    (void)state;
    ds_run run = open_run("fixtures/models/scalar-kvshift");
    const size_t batch = run.batch;
    ds_spectrum_options options = ds_spectrum_defaults;
    json_t *told[2], *results[2];
    options.positions = "1:3,0:7,1:0"; /* in no order, and not of every batch */
    options.null = "shuffled-gates";
    options.end_to_end = "1";
    options.by_depth = true;
    for (int i = 0; i < 2; i++) {
        expect_ok(ds_spectrum_results(&told[i], &results[i], &run, &options));
        assert_int_equal(run.batch, batch);
    }
    assert_true(json_equal(told[0], told[1]) && json_equal(results[0], results[1]));
    for (int i = 0; i < 2; i++) {
        json_decref(told[i]);
        json_decref(results[i]);
    }
    ds_run_close(&run);
}

static void test_refusals(void **state) {
    (void)state;
    ds_run run = open_run("fixtures/models/additive-small");
    ds_spectrum_options options = ds_spectrum_defaults;
    json_t *told, *results;
    expect_failure(ds_spectrum_results(&told, &results, &run, &options), DS_ERR_USAGE, "no shortcut operator but the identity");
    json_decref(told);
    options.weights = options.by_depth = true;
    expect_failure(ds_spectrum_results(&told, &results, &run, &options), DS_ERR_USAGE, "--by-depth goes with");
    assert_null(results);
    json_decref(told);
    ds_run_close(&run);
}

/* Rules without operators on features: what they have is told, what they have not is refused with what there is. */
static void test_other_rules(void **state) {
    static const char *const models[] = {"fixtures/depth/delta-attnres", "fixtures/streams/mhc/ckpt.pt"};
    static const char *const words[] = {"singular values of the weights of reads", "singular values of R"};
    (void)state;
    for (size_t m = 0; m < 2; m++) {
        const ds_run_options how = {.checkpoint = models[m],
                                    .tokens = "fixtures/data/val.bin",
                                    .length = T,
                                    .sequences = WINDOWS,
                                    .precision = DS_F32,
                                    .histories = true,
                                    .streams = true};
        ds_run run;
        ds_spectrum_options options = ds_spectrum_defaults;
        json_t *told, *results;
        expect_ok(ds_run_open(&run, &how));
        expect_failure(ds_spectrum_results(&told, &results, &run, &options), DS_ERR_USAGE, words[m]);
        json_decref(told);
        options.end_to_end = "0:3";
        options.by_depth = true;
        expect_failure(ds_spectrum_results(&told, &results, &run, &options), DS_ERR_USAGE, "deltascope depth");
        json_decref(told);
        options = ds_spectrum_defaults;
        options.weights = true;
        options.end_to_end = m == 0 ? NULL : "0:3";
        expect_ok(ds_spectrum_results(&told, &results, &run, &options));
        ds_run_close(&run);
        const char *const arguments[] = {
            "spectrum",  "--tokens", "fixtures/data/val.bin",        "--seq-len", "8", "--sequences", "2",
            "--weights", models[m],  m == 0 ? NULL : "--end-to-end", "0:3",       NULL};
        expect_as_written(told, results, program_json(arguments));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_operators_as_written), cmocka_unit_test(test_additive_as_written),
        cmocka_unit_test(test_run_unchanged),        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_other_rules),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
