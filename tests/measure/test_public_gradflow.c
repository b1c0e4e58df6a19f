/* Gradient flow through the library's own door: what it tells is what the program writes. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "deltascope/measure/gradient_flow.h"

#include "golden_run.h"
#include "program_json.h"
#include "support.h"

enum { T = 24, WINDOWS = 3 };

static ds_run open_run(const char *model) {
    const ds_run_options options = {
        .checkpoint = model, .tokens = "fixtures/data/val.bin", .length = T, .sequences = WINDOWS, .precision = DS_F32};
    ds_run run;
    expect_ok(ds_run_open(&run, &options));
    return run;
}

static void test_as_written(void **state) {
    static const char *const models[] = {"fixtures/models/additive-small", "fixtures/models/ddl-cc-ec",
                                         "fixtures/models/scalar-kvshift"};
    (void)state;
    for (size_t m = 0; m < 3; m++) {
        ds_run run = open_run(models[m]);
        bool gates = ds_rule_has_gates(run.spec.rule);
        ds_gradflow_options options = ds_gradflow_defaults;
        json_t *told, *results;
        options.per_position = true;
        options.measure = gates;
        options.jacobian = "0:3,2:5";
        options.jacobian_sublayers = "0.mlp";
        expect_ok(ds_gradflow_results(&told, &results, &run, &options));
        ds_run_close(&run);
        const char *const arguments[] = {"gradflow",
                                         "--tokens",
                                         "fixtures/data/val.bin",
                                         "--seq-len",
                                         "24",
                                         "--sequences",
                                         "3",
                                         "--per-position",
                                         "--jacobian",
                                         "0:3,2:5",
                                         "--jacobian-sublayers",
                                         "0.mlp",
                                         models[m],
                                         gates ? "--measure" : NULL,
                                         NULL};
        expect_as_written(told, results, program_json(arguments));
    }
}

/* Forced gates: no estimate of closing them. */
static void test_forced(void **state) {
    (void)state;
    ds_run run = open_run("fixtures/models/ddl-cc-ec");
    ds_gradflow_options options = ds_gradflow_defaults;
    json_t *told, *results;
    options.force = "closed:0.mlp";
    options.memory_mib = 1;
    expect_ok(ds_gradflow_results(&told, &results, &run, &options));
    assert_null(json_object_get(results, "attribution"));
    ds_run_close(&run);
    const char *const arguments[] = {
        "gradflow", "--tokens",     "fixtures/data/val.bin",     "--seq-len", "24", "--sequences", "3",
        "--force",  "closed:0.mlp", "fixtures/models/ddl-cc-ec", NULL};
    expect_as_written(told, results, program_json(arguments));
}

/* A measurement leaves the run as it was: a second one tells the same. */
static void test_run_unchanged(void **state) {
    (void)state;
    ds_run run = open_run("fixtures/models/scalar-kvshift");
    const size_t batch = run.batch;
    ds_gradflow_options options = ds_gradflow_defaults;
    json_t *told[2], *results[2];
    options.measure = true;
    options.jacobian = "last";
    for (int i = 0; i < 2; i++) {
        expect_ok(ds_gradflow_results(&told[i], &results[i], &run, &options));
        assert_int_equal(run.batch, batch);
    }
    assert_true(json_equal(results[0], results[1]));
    for (int i = 0; i < 2; i++) {
        json_decref(told[i]);
        json_decref(results[i]);
    }
    ds_run_close(&run);
}

static void expect_refused(ds_run *run, const ds_gradflow_options *options, const char *words) {
    json_t *told, *results;
    expect_failure(ds_gradflow_results(&told, &results, run, options), DS_ERR_USAGE, words);
    assert_null(results);
    json_decref(told);
}

static void test_refusals(void **state) {
    (void)state;
    ds_run delta = open_run("fixtures/models/ddl-cc-ec"), additive = open_run("fixtures/models/additive-small");
    const ds_gradflow_options alone = {.jacobian_sublayers = "0.mlp"};
    const ds_gradflow_options measured = {.measure = true}, both = {.measure = true, .force = "closed:0.mlp"};
    const ds_gradflow_options large = {.memory_mib = UINT64_MAX}, all = {.jacobian = "all"};
    const ds_gradflow_options unknown = {.jacobian = "last", .jacobian_sublayers = "0.mlp,none"};
    const ds_gradflow_options gate = {.force = "closed:99.mlp"};
    expect_failure(ds_gradflow_check(&alone), DS_ERR_USAGE, "--jacobian-sublayers goes with --jacobian");
    expect_refused(&delta, &alone, "--jacobian-sublayers goes with --jacobian");
    expect_refused(&additive, &measured, "--measure compares the intact model");
    expect_refused(&delta, &both, "--measure compares the intact model");
    expect_refused(&delta, &large, "--memory 18446744073709551615 is out of range");
    expect_refused(&delta, &all, "all would be a dense problem");
    expect_refused(&delta, &unknown, "not \"none\"");
    expect_refused(&delta, &gate, "--force");
    ds_run_close(&delta);
    ds_run_close(&additive);
}

/* Numbers, not only JSON: where A is the identity, the frozen shortcut carries the last state's gradient everywhere. */
static void test_numbers(void **state) {
    (void)state;
    ds_run run = open_run("fixtures/models/additive-small");
    ds_gradflow flow;
    expect_ok(ds_gradflow_measure(&flow, &run, &ds_gradflow_defaults));
    const size_t last = flow.flow.sublayers;
    assert_int_equal(last, ds_spec_sublayers(&run.spec));
    assert_int_equal(flow.flow.length, T);
    assert_null(flow.attribution.estimated);
    assert_null(flow.jacobians.of);
    for (size_t s = 0; s <= last; s++) {
        double squares = 0, norm = flow.flow.state_norm[s];
        for (size_t t = 0; t < T; t++) squares += flow.flow.position_norm[s * T + t] * flow.flow.position_norm[s * T + t];
        expect_close(squares, norm * norm,
                     (T + 4) * 0x1p-53 * norm * norm); /* T roundings of squares, T of their sum, 2 roots */
        expect_close(flow.flow.frozen_norm[s], flow.flow.frozen_norm[last], 0);
    }
    ds_gradflow_release(&flow);
    ds_run_close(&run);
}

/* ---- attention over depth ---------------------------------------------------------------------------------------- */

static void expect_norms(const double *found, const json_t *golden, const char *key, size_t count) {
    const json_t *values = json_object_get(golden, key);
    assert_int_equal(json_array_size(values), count);
    for (size_t i = 0; i < count; i++) {
        double expected = json_number_value(json_array_get(values, i));
        if (!(fabs(found[i] - expected) <= fmax(1e-9 * expected, 1e-12))) print_error("%s %zu:\n", key, i);
        expect_close(found[i], expected, fmax(1e-9 * expected, 1e-12));
    }
}

/* Sources, reads, states and parameters: promised to 1e-9 relative, 1e-12 absolute. */
static void expect_golden_norms(ds_run *run, const char *folder, const char *name) {
    char file[64];
    ds_gradflow flow;
    (void)snprintf(file, sizeof file, "%s/%s.json", folder, name);
    json_t *whole = json_load_file(file, 0, NULL);
    const json_t *golden = json_object_get(whole, "gradflow"), *parameters = json_object_get(golden, "parameters");
    assert_non_null(golden);
    expect_ok(ds_gradflow_measure(&flow, run, &ds_gradflow_defaults));
    size_t reads = flow.flow.sublayers + 1;
    expect_norms(flow.flow.source_norm, golden, "sources", reads);
    expect_norms(flow.flow.read_norm, golden, "reads", reads);
    expect_norms(flow.flow.state_norm, golden, "states", reads);
    assert_int_equal(json_object_size(parameters), flow.flow.parameters);
    for (size_t p = 0; p < flow.flow.parameters; p++) {
        const json_t *value = json_object_get(parameters, ds_model_parameter(run->model, p)->name);
        assert_true(json_is_number(value));
        expect_close(flow.flow.parameter_norm[p], json_number_value(value), fmax(1e-9 * json_number_value(value), 1e-12));
    }
    ds_gradflow_release(&flow);
    json_decref(whole);
}

static void golden_norms_of_histories(void **state) {
    static const char *const models[] = {"attnres-full", "attnres-block", "attnres-cumulative-block", "delta-attnres",
                                         "delta-block"};
    (void)state;
    for (size_t m = 0; m < sizeof models / sizeof *models; m++) {
        ds_run run = open_golden("fixtures/depth", models[m], "", DS_F64);
        ds_gradflow_options options = {.jacobian = "last"};
        expect_golden_norms(&run, "fixtures/depth", models[m]);
        expect_refused(&run, &options, "maps no state to another, so it has no Jacobian");
        options = (ds_gradflow_options){.measure = true};
        expect_refused(&run, &options, "closed gates, which the rule");
        ds_run_close(&run);
    }
}

static void golden_norms_of_streams(void **state) {
    static const struct {
        const char *name, *file;
    } models[] = {{"hc", ""},
                  {"mhc", "/ckpt.pt"},
                  {"mhc-lite", "/ckpt.pt"},
                  {"mhc-static", "/ckpt.pt"},
                  {"mhc-static-mixed", "/ckpt.pt"}};
    (void)state;
    for (size_t m = 0; m < sizeof models / sizeof *models; m++) {
        ds_run run = open_golden("fixtures/streams", models[m].name, models[m].file, DS_F64);
        ds_gradflow_options options = {.jacobian = "last"};
        expect_golden_norms(&run, "fixtures/streams", models[m].name);
        expect_refused(&run, &options, "mixes whole streams");
        options = (ds_gradflow_options){.measure = true};
        expect_refused(&run, &options, "closed gates, which the rule");
        ds_run_close(&run);
    }
}

static json_t *force(const char *cases, const char *model) {
    const char *const words[] = {
        "gradflow", "--tokens", "fixtures/data/val.bin", "--seq-len", "8", "--sequences", "2", "--force", cases, model, NULL};
    return program_json(words);
}

/* A sublayer that is closed returns nothing through what it reads; the routed readout can be forced. */
static void the_program_tells_of_histories(void **state) {
    (void)state;
    json_t *written = force("closed:1.mlp,uniform:final", "fixtures/depth/attnres-full");
    const json_t *states = ds_json_at(written, "results/states"), *reads = ds_json_at(written, "results/reads");
    assert_string_equal(json_string_value(ds_json_at(json_array_get(states, 6), "read")), "final");
    for (size_t s = 0; s < 7; s++) assert_true((json_number_value(json_array_get(reads, s)) == 0) == (s == 3));
    assert_null(ds_json_at(written, "results/sublayers"));
    json_decref(written);
}

/* What the outputs of a bypassed sublayer would be worth is not asked; a closed one returns nothing through its output, but its
 * streams mix on, and what they mix by is read from the state. */
static void the_program_tells_of_streams(void **state) {
    (void)state;
    json_t *written = force("closed:1.attn,bypass:0.mlp", "fixtures/streams/mhc/ckpt.pt");
    const json_t *sources = ds_json_at(written, "results/sources"), *reads = ds_json_at(written, "results/reads");
    const json_t *states = ds_json_at(written, "results/states");
    size_t count = json_array_size(states);
    assert_true(json_array_size(sources) == count && json_array_size(reads) == count);
    for (size_t s = 0; s < count; s++) {
        assert_int_equal(json_number_value(json_array_get(sources, s)) == 0, s == 2 || s == 3);
        assert_int_equal(json_number_value(json_array_get(reads, s)) == 0, s == 1 || s == 2);
        assert_true(ds_json_real_at(json_array_get(states, s), "grad_norm") > 0);
    }
    assert_null(ds_json_at(written, "results/sublayers"));
    json_decref(written);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_as_written),
        cmocka_unit_test(test_forced),
        cmocka_unit_test(test_run_unchanged),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(golden_norms_of_histories),
        cmocka_unit_test(golden_norms_of_streams),
        cmocka_unit_test(the_program_tells_of_histories),
        cmocka_unit_test(the_program_tells_of_streams),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
