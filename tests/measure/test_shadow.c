/* Shadow runs against whole runs in both precisions, which find the same errors on another way. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "scratch.h"
#include "support.h"

enum { WINDOWS = 3, LENGTH = 16 };

static json_t *envelopes[32]; /* of all runs, until the test ends */
static size_t envelope_count;

static int forget_runs(void **state) {
    (void)state;
    while (envelope_count > 0) json_decref(envelopes[--envelope_count]);
    return 0;
}

/* The "results" of a run. */
static const json_t *run(const char *command, const char *model, const char *options) {
    const char *program = getenv("DELTASCOPE") != NULL ? getenv("DELTASCOPE") : "build/deltascope";
    const char *result = scratch_path("result.json");
    char line[1024];
    json_error_t error;
    (void)snprintf(line, sizeof line,
                   "%s %s --tokens fixtures/data/val.bin --seq-len %d --sequences %d --quiet --json %s %s fixtures/models/%s",
                   program, command, LENGTH, WINDOWS, result, options, model);
    int status = system(line);
    if (status != 0) fail_msg("exit status %d: %s", status, line);
    json_t *root = json_load_file(result, 0, &error);
    if (root == NULL) fail_msg("%s: %s", result, error.text);
    assert_true(envelope_count < sizeof envelopes / sizeof envelopes[0]);
    envelopes[envelope_count++] = root;
    return json_object_get(root, "results");
}

static double real(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    if (!json_is_number(value)) fail_msg("\"%s\" is not a number", key);
    return json_number_value(value);
}

static double at(const json_t *object, const char *key, size_t index) {
    return json_number_value(json_array_get(json_object_get(object, key), index));
}

/* The windows' losses in float and in double are those of whole runs, bit for bit, hence so are the errors. */
static void losses_are_those_of_whole_runs(void **state) {
    (void)state;
    const char *const models[] = {"ddl-cc-ec", "scalar-kvshift", "additive-small"};
    for (size_t m = 0; m < 3; m++) {
        const json_t *near = run("gates", models[m], "--shadow 3"), *exact = run("gates", models[m], "--precision double");
        const json_t *shadow = json_object_get(near, "shadow");
        double largest = 0;
        for (size_t w = 0; w < WINDOWS; w++) {
            assert_int_equal(json_integer_value(json_array_get(json_object_get(shadow, "windows"), w)), w);
            largest = fmax(largest, fabs(at(near, "sequence_loss", w) - at(exact, "sequence_loss", w)));
        }
        expect_close(real(shadow, "loss_error"), fabs(real(near, "loss") - real(exact, "loss")), 0);
        expect_close(real(shadow, "largest_window_loss_error"), largest, 0);
        assert_true(largest > 0);
        assert_int_equal(json_integer_value(json_object_get(shadow, "tokens")), WINDOWS * LENGTH);
    }
}

/* The extremes of a quantity move by no more than its largest error over tokens. */
static void expect_extremes_within(const json_t *near, const json_t *exact, const char *key, double error) {
    const char *const ends[] = {"min", "max", "mean"};
    for (size_t i = 0; i < 3; i++) {
        double difference = fabs(real(json_object_get(near, key), ends[i]) - real(json_object_get(exact, key), ends[i]));
        /* a mean of n numbers of size at most 2 is itself rounded: n u */
        if (!(difference <= error + WINDOWS * LENGTH * 2 * ds_unit_roundoff(DS_F64)))
            fail_msg("%s of %s: off by %g, at most %g was stated", ends[i], key, difference, error);
    }
}

static void gate_errors_cover_whole_runs(void **state) {
    (void)state;
    const json_t *near = run("gates", "ddl-cc-ec", "--shadow 3"), *exact = run("gates", "ddl-cc-ec", "--precision double");
    const json_t *stated = json_object_get(json_object_get(near, "shadow"), "sublayers");
    for (size_t s = 0; s < json_array_size(stated); s++) {
        const json_t *errors = json_array_get(stated, s);
        const json_t *a = json_array_get(json_object_get(near, "sublayers"), s);
        const json_t *b = json_array_get(json_object_get(exact, "sublayers"), s);
        expect_extremes_within(a, b, "beta", real(errors, "beta_error"));
        expect_extremes_within(a, b, "k_norm2", real(errors, "k_norm2_error"));
        expect_extremes_within(a, b, "eigenvalue", real(errors, "eigenvalue_error"));
        assert_true(real(errors, "direction_error") > 0 && real(errors, "direction_error") < 1e-3);
    }
}

static void forced_gates_too(void **state) {
    (void)state;
    const json_t *near = run("ablate", "ddl-cc-ec", "--scopes each,all --shadow 3");
    const json_t *exact = run("ablate", "ddl-cc-ec", "--scopes each,all --precision double");
    const json_t *shadow = json_object_get(near, "shadow"), *stated = json_object_get(shadow, "cases");
    double worst = 0;
    for (size_t c = 0; c < json_array_size(stated); c++) {
        const json_t *a = json_array_get(json_object_get(near, "cases"), c);
        const json_t *b = json_array_get(json_object_get(exact, "cases"), c);
        double loss = 0, delta = 0;
        for (size_t w = 0; w < WINDOWS; w++) {
            double one = at(a, "sequence_loss", w), other = at(b, "sequence_loss", w);
            double base = at(json_object_get(near, "baseline"), "sequence_loss", w),
                   other_base = at(json_object_get(exact, "baseline"), "sequence_loss", w);
            loss = fmax(loss, fabs(one - other));
            delta = fmax(delta, fabs((one - base) - (other - other_base)));
        }
        worst = fmax(worst, delta);
        expect_close(real(json_array_get(stated, c), "loss_error"), loss, 0);
        expect_close(real(json_array_get(stated, c), "delta_loss_error"), delta, 0);
    }
    expect_close(real(shadow, "delta_loss_error"), worst, 0);
    assert_true(worst > 0);
}

/* log|det| by the determinant, singular values by Weyl's inequality, against the spectra of both precisions. */
static void accumulated_operators_stay_within_the_bound(void **state) {
    (void)state;
    const json_t *near = run("spectrum", "ddl-cc-ec", "--positions 0:5,1:9,2:15 --shadow 3");
    const json_t *exact = run("spectrum", "ddl-cc-ec", "--positions 0:5,1:9,2:15 --precision double");
    const json_t *shadow = json_object_get(near, "shadow");
    double bound = real(shadow, "accumulated_operator_bound"), log_det = real(shadow, "log_abs_det_error");
    for (size_t i = 0; i < 3; i++) {
        const json_t *a = json_array_get(json_object_get(near, "accumulated"), i);
        const json_t *b = json_array_get(json_object_get(exact, "accumulated"), i);
        double solver = real(a, "singular_value_bound") + real(b, "singular_value_bound");
        /* both logarithms are sums of a term a sublayer, each as exact as the logarithm of a number near its zero allows */
        double rounding = 100 * ds_unit_roundoff(DS_F64) * (1 + fabs(real(b, "log_abs_det"))) + 1e3 * ds_unit_roundoff(DS_F64);
        assert_true(fabs(real(a, "log_abs_det") - real(b, "log_abs_det")) <= log_det + rounding);
        for (size_t j = 0; j < json_array_size(json_object_get(a, "singular_values")); j++)
            assert_true(fabs(at(a, "singular_values", j) - at(b, "singular_values", j)) <= bound + solver);
    }
    assert_true(bound > 0 && bound < 1e-2);
}

/* A subsample is spread over the data; more windows than there are is all of them. */
static void the_sample_is_named(void **state) {
    (void)state;
    const json_t *two = json_object_get(json_object_get(run("gates", "cc-bf16", "--shadow 2"), "shadow"), "windows");
    const json_t *all = json_object_get(json_object_get(run("gates", "cc-bf16", "--shadow 99"), "shadow"), "windows");
    assert_int_equal(json_array_size(two), 2);
    assert_int_equal(json_integer_value(json_array_get(two, 0)), 0);
    assert_int_equal(json_integer_value(json_array_get(two, 1)), 1);
    assert_int_equal(json_array_size(all), WINDOWS);
    assert_null(json_object_get(run("gates", "cc-bf16", ""), "shadow"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(losses_are_those_of_whole_runs, forget_runs),
        cmocka_unit_test_teardown(gate_errors_cover_whole_runs, forget_runs),
        cmocka_unit_test_teardown(forced_gates_too, forget_runs),
        cmocka_unit_test_teardown(accumulated_operators_stay_within_the_bound, forget_runs),
        cmocka_unit_test_teardown(the_sample_is_named, forget_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
