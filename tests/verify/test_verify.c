/* verify: it passes on sound models, and each of its comparisons can fail. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "verify/training_step.h"

#include "forward_case.h"
#include "support.h"

static size_t find(const char *id) {
    for (size_t i = 0; i < ds_check_count(); i++) {
        if (strcmp(ds_check_id(i), id) == 0) return i;
    }
    fail_msg("there is no check %s", id);
    return 0;
}

/* Formulas are in Unicode, and each sign of theirs has a spelling for terminals that have ASCII alone. */
static void expect_formulas(const char *text) {
    static const char *const spelled[] = {"^T",    "^2",  "||", "|k|", "beta ", " beta", "lambda",
                                          "sigma", " - ", "<=", ">=",  "...",   "->"};
    ds_text ascii = {0};
    for (size_t i = 0; i < sizeof spelled / sizeof *spelled; i++) {
        if (strstr(text, spelled[i]) != NULL) fail_msg("\"%s\" in \"%s\"", spelled[i], text);
    }
    expect_ok(ds_text_append_ascii(&ascii, text, strlen(text)));
    if (strstr(ascii.bytes, "\\x") != NULL) fail_msg("\"%s\" has no spelling in ASCII: \"%s\"", text, ascii.bytes);
    ds_text_release(&ascii);
}

static void test_table(void **state) {
    (void)state;
    for (size_t i = 0; i < ds_check_count(); i++) {
        assert_int_equal(find(ds_check_id(i)), i);
        assert_non_null(strchr(ds_check_id(i), '.'));
        assert_true(strlen(ds_check_claim(i)) > 0 && strlen(ds_check_source(i)) > 0);
        assert_true(ds_check_claim(i)[strlen(ds_check_claim(i)) - 1] != '.');
        expect_formulas(ds_check_claim(i));
        expect_formulas(ds_check_source(i));
    }
    assert_string_equal(ds_check_status_name(DS_CHECK_SKIP), "skip");
}

/* Of comparisons that hold the report is the largest ratio in the scale of the largest tolerance, and at most that, in whatever
 * order they come. */
static void test_scale_of_what_holds(void **state) {
    (void)state;
    ds_random random = ds_random_init(0x5ca1e);
    for (int trial = 0; trial < 2000; trial++) {
        enum { MOST = 6 };
        const size_t count = 1 + ds_random_below(&random, MOST);
        double measured[MOST], tolerance[MOST], ratio = 0, largest = 0;
        ds_worst forward = {0}, backward = {0};
        ds_check_result a, b;
        for (size_t i = 0; i < count; i++) {
            const uint64_t kind = ds_random_below(&random, 8);
            tolerance[i] = kind == 0 ? 0 : kind == 1 ? INFINITY : exp(10 * ds_random_normal(&random) - 30);
            measured[i] = kind == 0 ? 0 : kind == 1 ? 1 : kind == 2 ? tolerance[i] : tolerance[i] * ds_random_uniform(&random);
            if (kind > 1) ratio = fmax(ratio, measured[i] / tolerance[i]);
            if (kind > 1) largest = fmax(largest, tolerance[i]);
        }
        for (size_t i = 0; i < count; i++) ds_worst_add(&forward, measured[i], tolerance[i]);
        for (size_t i = count; i-- > 0;) ds_worst_add(&backward, measured[i], tolerance[i]);
        ds_worst_report(&a, &forward);
        ds_worst_report(&b, &backward);
        assert_int_equal(a.status, DS_CHECK_PASS);
        assert_true(a.measured <= a.tolerance);
        if (largest == 0) continue;
        expect_close(a.tolerance, largest, 0);
        expect_close(a.measured, ratio * largest, 0);
        expect_close(b.tolerance, a.tolerance, 0);
        expect_close(b.measured, a.measured, 0);
    }
}

/* The comparison nearest to failing is kept, and no number after a NaN hides it; one that fails is told as it is. */
static void test_worst(void **state) {
    (void)state;
    ds_check_result result = {.status = DS_CHECK_FAIL};
    ds_worst worst = {0};
    ds_worst_report(&result, &worst);
    assert_int_equal(result.status, DS_CHECK_SKIP);
    ds_worst_add(&worst, 1, 4);
    ds_worst_add(&worst, 0.5, 1);
    ds_worst_add(&worst, 3, 100);
    ds_worst_add(&worst, 0, 0);
    ds_worst_report(&result, &worst);
    assert_int_equal(result.status, DS_CHECK_PASS);
    expect_close(result.measured, 50, 0);
    expect_close(result.tolerance, 100, 0);
    ds_worst_add(&worst, 2, 1);
    ds_worst_report(&result, &worst);
    assert_int_equal(result.status, DS_CHECK_FAIL);
    expect_close(result.measured, 2, 0);
    expect_close(result.tolerance, 1, 0);
    ds_worst_add(&worst, NAN, 1);
    ds_worst_add(&worst, 3, 1);
    ds_worst_report(&result, &worst);
    assert_int_equal(result.status, DS_CHECK_FAIL);
    assert_true(isnan(result.measured));
    worst = (ds_worst){0};
    ds_worst_add(&worst, 1e-300, 0);
    ds_worst_report(&result, &worst);
    assert_int_equal(result.status, DS_CHECK_FAIL);
    worst = (ds_worst){0};
    ds_worst_add(&worst, 0, NAN);
    ds_worst_report(&result, &worst);
    assert_int_equal(result.status, DS_CHECK_FAIL);
}

static void expect_all(const char *name, ds_verify *verify, bool delta) {
    for (size_t i = 0; i < ds_check_count(); i++) {
        ds_check_result result;
        expect_ok(ds_verify_check(&result, verify, i));
        if (result.status == DS_CHECK_FAIL)
            fail_msg("%s: %s: measured %g, tolerance %g (%s)", name, ds_check_id(i), result.measured, result.tolerance,
                     result.detail);
        expect_formulas(result.detail);
        if (result.status == DS_CHECK_SKIP) {
            assert_true(isnan(result.measured) && result.detail[0] != '\0');
            continue;
        }
        assert_true(result.measured <= result.tolerance);
        assert_true(delta || strncmp(ds_check_id(i), "operator.", 9) != 0);
    }
}

/* Every variant, in float with double beside it and in double alone; one window, so that the second is made of it. */
static void test_sound_models(void **state) {
    (void)state;
    for (size_t i = 0; i < forward_model_count; i++) {
        forward_case single = forward_case_open(forward_models[i], DS_F32, 1, 24);
        forward_case exact = forward_case_open(forward_models[i], DS_F64, 1, 24);
        ds_verify *verify = NULL;
        print_message("%s\n", forward_models[i]);
        expect_ok(ds_verify_new(&verify, single.model, exact.model, &single.batch, 20261121));
        expect_all(forward_models[i], verify, single.spec->rule == &ds_rule_delta);
        ds_verify_free(&verify);
        if (i % 4 == 0) {
            expect_ok(ds_verify_new(&verify, exact.model, exact.model, &exact.batch, 7));
            expect_all(forward_models[i], verify, single.spec->rule == &ds_rule_delta);
            ds_verify_free(&verify);
        }
        forward_case_close(&single);
        forward_case_close(&exact);
    }
}

/* An update as the formulas have it passes; each mistake an optimiser can make with one number does not. */
static void test_adamw_mistakes(void **state) {
    (void)state;
    ds_random random = ds_random_init(20261128);
    for (size_t trial = 0; trial < 200; trial++) {
        const ds_adamw_number before = {ds_random_normal(&random), 1e-3 * ds_random_normal(&random),
                                        1e-6 * ds_random_uniform(&random)};
        const double s = 1 + (double)ds_random_below(&random, 50), g = 1e-3 * ds_random_normal(&random);
        const ds_adamw_plain p = {s, 1e-3 * (1 + ds_random_uniform(&random)), 0.1, 0.5, 0.9, 0.95, 1e-8};
        double clipped = p.clip * g, m = p.beta1 * before.mean + (1 - p.beta1) * clipped;
        double v = p.beta2 * before.square + (1 - p.beta2) * clipped * clipped;
        double keep = 1 - p.eta * p.decay, rate = p.eta / (1 - pow(p.beta1, s)), root = sqrt(1 - pow(p.beta2, s));
        double right = before.weight * keep - rate * m / (sqrt(v) / root + p.eps);
        const ds_adamw_number after[] = {
            {right, m, v},
            {before.weight * keep - rate * m / sqrt(v / (root * root) + p.eps), m, v}, /* eps inside the root */
            {before.weight * keep - rate * m / ((sqrt(v) + p.eps) / root), m, v},      /* before the correction */
            {before.weight * keep - rate * m / (sqrt(v) / root), m, v},                /* none */
            {before.weight - rate * m / (sqrt(v) / root + p.eps), m, v},               /* no decay */
            {(before.weight - rate * m / (sqrt(v) / root + p.eps)) * keep, m, v},      /* decay last */
            {before.weight * keep - p.eta * m / (sqrt(v) / root + p.eps), m, v},       /* no correction of m */
            {before.weight * keep - rate * m / (sqrt(v) + p.eps), m, v},               /* none of v */
            {right, p.beta1 * before.mean + (1 - p.beta1) * g, v},                     /* not clipped */
            {right, m, p.beta2 * before.square + (1 - p.beta2) * g * g},               /* nor here */
            {right, m * (1 + 0x1p-40), v},
            {right, m, v * (1 + 0x1p-40)},
            {right * (1 + 0x1p-40), m, v},
            {NAN, m, v},
        };
        for (size_t i = 0; i < sizeof after / sizeof *after; i++) {
            ds_check_result result = {.status = DS_CHECK_SKIP};
            ds_worst worst = {0};
            ds_adamw_compare(&worst, &before, &after[i], g, &p, 0);
            ds_worst_report(&result, &worst);
            if (s > 10 && (i == 6 || i == 7)) continue; /* the correction fades */
            if (result.status != (i == 0 ? DS_CHECK_PASS : DS_CHECK_FAIL)) fail_msg("trial %zu: update %zu", trial, i);
        }
    }
}

/* Shortest data: a single token. */
static void test_one_token(void **state) {
    (void)state;
    forward_case c = forward_case_open("tc-ec-sharded", DS_F64, 1, 1);
    ds_verify *verify = NULL;
    ds_check_result result;
    expect_ok(ds_verify_new(&verify, c.model, c.model, &c.batch, 1));
    expect_all(c.name, verify, true);
    expect_ok(ds_verify_check(&result, verify, find("pass.causality")));
    assert_int_equal(result.status, DS_CHECK_SKIP);
    ds_verify_free(&verify);
    forward_case_close(&c);
}

/* Weights that differ between the two precisions are found by comparing them. (Not those of c_proj by a common factor: k has no
 * length to carry it.) */
static void test_other_weights_fail(void **state) {
    (void)state;
    forward_case single = forward_case_open("scalar-safetensors", DS_F32, 2, 24);
    forward_case exact = forward_case_open("scalar-safetensors", DS_F64, 2, 24);
    ds_verify *verify = NULL;
    ds_check_result result;
    for (size_t i = 0; i < ds_model_parameters(single.model); i++) {
        const ds_parameter *parameter = ds_model_parameter(single.model, i);
        if (strcmp(parameter->name, "transformer.h.0.mlp.c_fc1.weight") != 0) continue;
        float *values = parameter->values;
        for (size_t j = 0; j < parameter->count; j++) values[j] *= 1.001f;
    }
    ds_model_refresh(single.model);
    expect_ok(ds_verify_new(&verify, single.model, exact.model, &single.batch, 3));
    expect_ok(ds_verify_check(&result, verify, find("pass.precision")));
    assert_int_equal(result.status, DS_CHECK_FAIL);
    assert_true(result.measured > result.tolerance);
    expect_ok(ds_verify_check(&result, verify, find("second.sublayers")));
    assert_int_equal(result.status, DS_CHECK_PASS);
    ds_verify_free(&verify);
    expect_failure(ds_verify_new(&verify, exact.model, single.model, &exact.batch, 3), DS_ERR_USAGE, "double");
    forward_case_close(&single);
    forward_case_close(&exact);
}

/* Checks that change a model put it back. */
static void test_models_unchanged(void **state) {
    (void)state;
    forward_case c = forward_case_open("tc-ec-sharded", DS_F64, 2, 16);
    double eps = c.spec->k_eps, *before[256];
    ds_verify *verify = NULL;
    size_t count = ds_model_parameters(c.model);
    assert_true(count <= 256);
    for (size_t i = 0; i < count; i++) {
        const ds_parameter *parameter = ds_model_parameter(c.model, i);
        before[i] = malloc(parameter->count * sizeof(double));
        assert_non_null(before[i]);
        memcpy(before[i], parameter->values, parameter->count * sizeof(double));
    }
    expect_ok(ds_verify_new(&verify, c.model, c.model, &c.batch, 5));
    expect_all(c.name, verify, true);
    for (size_t i = 0; i < count; i++) {
        const ds_parameter *parameter = ds_model_parameter(c.model, i);
        assert_memory_equal(before[i], parameter->values, parameter->count * sizeof(double));
        free(before[i]);
    }
    expect_close(c.spec->k_eps, eps, 0);
    ds_verify_free(&verify);
    forward_case_close(&c);
}

static int run(const char *arguments) {
    char line[512];
    const char *program = getenv("DELTASCOPE") != NULL ? getenv("DELTASCOPE") : "build/deltascope";
    (void)snprintf(line, sizeof line, "%s verify %s >/dev/null 2>&1", program, arguments);
    int status = system(line);
    return status < 0 || status % 256 != 0 ? -1 : status / 256;
}

static void test_command(void **state) {
    (void)state;
    assert_int_equal(run("--list"), 0);
    assert_int_equal(run(""), DS_ERR_USAGE);
    assert_int_equal(run("--tokens fixtures/data/val.bin --seq-len 16 fixtures/models/tc-newer-names"), 0);
    assert_int_equal(run("--tokens fixtures/data/val.bin --only update,pass.batch fixtures/models/cc-bf16"), 0);
    assert_int_equal(run("--tokens fixtures/data/val.bin --only updat fixtures/models/cc-bf16"), DS_ERR_USAGE);
    assert_int_equal(run("--tokens fixtures/data/val.bin --skip update,,pass fixtures/models/cc-bf16"), DS_ERR_USAGE);
    assert_int_equal(run("--tokens fixtures/data/absent.bin fixtures/models/cc-bf16"), DS_ERR_INPUT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_scale_of_what_holds),
        cmocka_unit_test(test_worst),
        cmocka_unit_test(test_sound_models),
        cmocka_unit_test(test_adamw_mistakes),
        cmocka_unit_test(test_one_token),
        cmocka_unit_test(test_other_weights_fail),
        cmocka_unit_test(test_models_unchanged),
        cmocka_unit_test(test_command),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    ds_threads_stop();
    return failed;
}
