/* Verification through the library's own door: what it tells is what the program writes. */
#include <stdlib.h>
#include <string.h>

#include "deltascope/measure/verification.h"

#include "program_json.h"
#include "support.h"

static ds_run open_run(const char *model, size_t batch) {
    const ds_run_options options = {.checkpoint = model,
                                    .tokens = "fixtures/data/val.bin",
                                    .length = 16,
                                    .sequences = 3,
                                    .batch = batch,
                                    .precision = DS_F32};
    ds_run run;
    expect_ok(ds_run_open(&run, &options));
    return run;
}

static void test_as_written(void **state) {
    static const char *const models[] = {"fixtures/models/additive-small", "fixtures/models/ddl-cc-ec",
                                         "fixtures/models/scalar-kvshift"};
    (void)state;
    for (size_t m = 0; m < 3; m++) {
        ds_run run = open_run(models[m], 0);
        ds_verification_options options = ds_verification_defaults;
        json_t *told, *results;
        options.only = "update,pass,head,second";
        options.skip = "pass.threads";
        expect_ok(ds_verification_results(&told, &results, &run, &options));
        ds_run_close(&run);
        const char *const arguments[] = {
            "verify", "--tokens", "fixtures/data/val.bin",   "--seq-len", "16",           "--sequences",
            "3",      "--only",   "update,pass,head,second", "--skip",    "pass.threads", models[m],
            NULL};
        expect_as_written(told, results, program_json(arguments));
    }
}

typedef struct heard {
    char ids[16][64];
    size_t count;
} heard;

static void hear(void *context, const ds_verified *check) {
    heard *all = context;
    assert_true(all->count < 16);
    (void)snprintf(all->ids[all->count++], sizeof all->ids[0], "%s", check->id);
}

/* Each check is told when it is finished, once and in order. */
static void test_finished(void **state) {
    (void)state;
    heard all = {.count = 0};
    const ds_verification_options options = {.only = "update", .skip = "update.gate", .finished = hear, .context = &all};
    ds_run run = open_run("fixtures/models/ddl-cc-ec", 0);
    ds_verification verification;
    expect_ok(ds_verification_measure(&verification, &run, &options));
    assert_int_equal(all.count, verification.count);
    assert_true(all.count > 3);
    for (size_t i = 0; i < all.count; i++) {
        assert_string_equal(all.ids[i], verification.checks[i].id);
        assert_int_equal(strncmp(all.ids[i], "update.", 7), 0);
        assert_string_not_equal(all.ids[i], "update.gate");
        assert_int_equal(verification.checks[i].result.status, DS_CHECK_PASS);
    }
    ds_verification_release(&verification);
    ds_run_close(&run);
}

/* The first two windows are verified, also where a batch holds one: long windows and few threads. */
static void test_grouping(void **state) {
    (void)state;
    json_t *told[2], *results[2];
    const ds_verification_options options = {.only = "second,pass.precision"};
    for (size_t i = 0; i < 2; i++) {
        ds_run run = open_run("fixtures/models/ddl-cc-ec", i + 1);
        assert_int_equal(run.batch, i + 1);
        expect_ok(ds_verification_results(&told[i], &results[i], &run, &options));
        ds_run_close(&run);
    }
    assert_true(json_equal(results[0], results[1]));
    for (size_t i = 0; i < 2; i++) {
        json_decref(told[i]);
        json_decref(results[i]);
    }
}

static void test_refusals(void **state) {
    (void)state;
    const ds_verification_options only = {.only = "update,none"}, skip = {.skip = ""}, part = {.only = "upd"};
    const ds_verification_options missing = {.only = "head", .reference = "fixtures/no-such-file"};
    ds_run run = open_run("fixtures/models/scalar-kvshift", 0);
    ds_verification verification;
    expect_failure(ds_verification_check(&only), DS_ERR_USAGE, "--only: there is no check \"none\"");
    expect_failure(ds_verification_check(&skip), DS_ERR_USAGE, "--skip: there is no check \"\"");
    expect_failure(ds_verification_measure(&verification, &run, &part), DS_ERR_USAGE, "there is no check \"upd\"");
    expect_failure(ds_verification_measure(&verification, &run, &missing), DS_ERR_INPUT, "no-such-file");
    assert_int_equal(verification.count, 0);
    ds_run_close(&run);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_as_written),
        cmocka_unit_test(test_finished),
        cmocka_unit_test(test_grouping),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
