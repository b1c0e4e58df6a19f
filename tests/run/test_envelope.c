/* Runs opened from plain options, and the envelope around what they measure. */
#include <stdlib.h>
#include <unistd.h>

#include "deltascope/run.h"
#include "support.h"

static const ds_run_options sample = {.checkpoint = "fixtures/models/cc-bf16",
                                      .tokens = "fixtures/data/val.bin",
                                      .length = 16,
                                      .sequences = 3,
                                      .spread = DS_SPREAD_FROM_OFFSET,
                                      .offset = 5,
                                      .precision = DS_F64};

static int64_t whole(const json_t *value, const char *path) { return json_integer_value(ds_json_at(value, path)); }

static void test_envelope(void **state) {
    (void)state;
    ds_run run;
    json_t *out = NULL, *back = NULL, *results = json_pack("{s:f}", "loss", 1.75);
    expect_ok(ds_run_open(&run, &sample));
    expect_ok(ds_run_envelope(&out, &run, "gates", NULL, results));
    char folder[] = "/tmp/deltascope-test-XXXXXX", path[64], *bytes = NULL;
    size_t length;
    assert_non_null(mkdtemp(folder));
    (void)snprintf(path, sizeof path, "%s/result.json", folder);
    expect_ok(ds_json_write(path, out, DS_JSON_READABLE));
    expect_ok(ds_read_file(&bytes, &length, path, 1 << 20));
    expect_ok(ds_json_parse(&back, bytes, length, path));
    assert_true(json_equal(out, back) && bytes[length - 1] == '\n');
    assert_string_equal(json_string_value(json_object_get(back, "schema")), "deltascope/1");
    assert_string_equal(json_string_value(json_object_get(back, "precision")), "double");
    assert_int_equal(whole(back, "checkpoint/value_channels"), run.spec.value_channels);
    assert_int_equal(whole(back, "checkpoint/parameters"), ds_model_parameter_count(run.model));
    assert_int_equal(whole(back, "data/offset"), 5);
    assert_int_equal(whole(back, "data/tokens"), 48);
    assert_true(json_object_size(json_object_get(back, "options")) == 0 &&
                json_equal(json_object_get(back, "results"), results));
    expect_failure(ds_json_write("/nowhere/at/all.json", out, DS_JSON_READABLE), DS_ERR_SYSTEM, "/nowhere/at/all.json");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(folder), 0);
    free(bytes);
    json_decref(back);
    json_decref(out);
    json_decref(results);
    ds_run_close(&run);
}

/* What is not there is null: random weights have no checkpoint, weights alone no data. */
static void test_nothing_measured(void **state) {
    (void)state;
    ds_run run = {.length = 7};
    json_t *out = NULL;
    expect_ok(ds_run_envelope(&out, &run, "bench", NULL, NULL));
    assert_true(json_is_null(json_object_get(out, "checkpoint")) && json_is_null(json_object_get(out, "data")));
    json_decref(out);
    expect_ok(ds_run_open(&run, &(ds_run_options){.checkpoint = sample.checkpoint, .without_weights = true}));
    assert_true(run.model == NULL && run.tokens == NULL && run.length == run.spec.block_size);
    ds_run_close(&run);
    ds_run_close(&run);
}

static void test_refusals(void **state) {
    (void)state;
    ds_run run;
    ds_run_options options = sample;
    options.sequences = 1 << 20;
    expect_failure(ds_run_open(&run, &options), DS_ERR_INPUT, "windows of length 16 were asked for");
    options = sample;
    options.offset = 1 << 30;
    expect_failure(ds_run_open(&run, &options), DS_ERR_INPUT, "too few tokens");
    options = sample;
    options.checkpoint = "/nowhere/at/all";
    expect_failure(ds_run_open(&run, &options), DS_ERR_INPUT, "/nowhere/at/all");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_envelope),
        cmocka_unit_test(test_nothing_measured),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
