/* Singular values of the full Jacobian across depth against the dense matrix, on every variant. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "deltascope/measure/end_to_end_jacobian.h"
#include "model/streams_spec.h"
#include "support.h"
#include "toy.h"

enum { LENGTH = 3, COUNT = 6 };

typedef struct window {
    ds_model *model;
    ds_gradient *gradient;
    ds_workspace *workspace;
    uint32_t tokens[LENGTH], targets[LENGTH];
    ds_batch batch;
    size_t size, sublayers;
} window;

static void open_window(window *w, const ds_spec *spec) {
    expect_ok(ds_model_random(&w->model, spec, DS_F64, 77));
    expect_ok(ds_gradient_new(&w->gradient, w->model, 1, LENGTH, &(ds_gradient_options){.memory = 0}));
    expect_ok(ds_workspace_new(&w->workspace, w->model, 1, LENGTH));
    for (uint32_t t = 0; t < LENGTH; t++) {
        w->tokens[t] = (3 * t + 1) % 11;
        w->targets[t] = (3 * t + 4) % 11;
    }
    w->batch = (ds_batch){w->tokens, w->targets, 1, LENGTH};
    w->size = LENGTH * ds_spec_planes(spec) * spec->hidden;
    w->sublayers = ds_spec_sublayers(spec);
}

static void close_window(window *w) {
    ds_workspace_free(&w->workspace);
    ds_gradient_free(&w->gradient);
    ds_model_free(&w->model);
}

/* values (count n / LENGTH) ascending: of the matrix whose columns are J e_i, for the elements of `count` tokens from
 * `first`. */
static void solve_densely(double *values, window *w, size_t first, size_t count, size_t last) {
    size_t whole = w->size, n = count * whole / LENGTH, begin = first * whole / LENGTH;
    double *matrix = ds_calloc(n * n, sizeof *matrix), *column = ds_calloc(whole, sizeof *column);
    ds_svd *svd = NULL;
    assert_true(matrix != NULL && column != NULL);
    expect_ok(ds_svd_new(&svd, n, n));
    expect_ok(ds_embed(w->workspace, w->model, &w->batch, column));
    expect_ok(ds_linearise(w->gradient, &w->batch, column, 0, last, NULL));
    for (size_t i = 0; i < n; i++) {
        memset(column, 0, whole * sizeof *column);
        column[begin + i] = 1;
        expect_ok(ds_tangent(w->gradient, column));
        for (size_t row = 0; row < n; row++) matrix[row * n + i] = column[begin + row];
    }
    expect_ok(ds_singular_values_approx(values, matrix, n, n, svd));
    ds_svd_free(&svd);
    free(matrix);
    free(column);
}

static void compare(window *w, size_t last) {
    double exact[LENGTH * 3 * 10], weights = 0;
    ds_lanczos found;
    assert_true(w->size <= sizeof exact / sizeof exact[0]);
    solve_densely(exact, w, 0, LENGTH, last);
    double largest = exact[w->size - 1];
    /* sublayers of about 10 roundings each, over a vector of `size` elements */
    double tolerance = 64 * sqrt(10.0 * (double)last) * (double)w->size * 0x1p-53 * largest;
    expect_ok(ds_jacobian_singular_values(&found, w->gradient, w->workspace, w->model, &w->batch, 0, LENGTH, last,
                                          &(ds_lanczos_options){w->size, w->size, 0, 3}));
    assert_int_equal(found.count, w->size);
    for (size_t i = 0; i < w->size; i++) {
        expect_close(found.values[i], exact[w->size - 1 - i], tolerance);
        expect_close(found.residuals[i], 0, tolerance);
        weights += found.weights[i];
    }
    expect_close(weights, 1, 64 * (double)w->size * 0x1p-53);
    ds_lanczos_release(&found);
    expect_ok(ds_jacobian_singular_values(&found, w->gradient, w->workspace, w->model, &w->batch, 0, LENGTH, last,
                                          &(ds_lanczos_options){COUNT, 64, 0x1p-30, 3}));
    assert_int_equal(found.converged, COUNT);
    for (size_t i = 0; i < COUNT; i++) expect_close(found.values[i], exact[w->size - 1 - i], found.residuals[i] + tolerance);
    ds_lanczos_release(&found);
}

/* The block of one token alone: what it does to itself, through every sublayer. */
static void compare_token(window *w, size_t token, size_t last) {
    double exact[3 * 10];
    size_t n = w->size / LENGTH;
    ds_lanczos found;
    assert_true(n <= sizeof exact / sizeof exact[0]);
    solve_densely(exact, w, token, 1, last);
    double tolerance = 64 * sqrt(10.0 * (double)last) * (double)n * 0x1p-53 * exact[n - 1];
    expect_ok(ds_jacobian_singular_values(&found, w->gradient, w->workspace, w->model, &w->batch, token, 1, last,
                                          &(ds_lanczos_options){n, n, 0, 3}));
    assert_int_equal(found.count, n);
    for (size_t i = 0; i < n; i++) expect_close(found.values[i], exact[n - 1 - i], tolerance);
    ds_lanczos_release(&found);
}

static void expect_dense_values(const ds_spec *spec) {
    window w = {0};
    open_window(&w, spec);
    for (size_t last = 1; last <= w.sublayers; last += w.sublayers - 1) {
        compare(&w, last);
        for (size_t token = 0; token < LENGTH; token++) compare_token(&w, token, last);
    }
    close_window(&w);
}

static void test_against_the_dense_decomposition(void **state) {
    (void)state;
    static const char *const variants[] = {"additive", "ddl-scalar", "ddl-tc", "ddl-tc-ec", "ddl-cc", "ddl-cc-ec"};
    for (size_t v = 0; v < sizeof variants / sizeof variants[0]; v++) {
        const ds_spec spec = toy_spec(variants[v]);
        expect_dense_values(&spec);
    }
}

/* The state of a token is all its streams. */
static void test_streams(void **state) {
    (void)state;
    static const char *const rules[] = {"hc", "hc-identity", "mhc", "mhc-lite", "mhc-static"};
    for (size_t rule = 0; rule < sizeof rules / sizeof *rules; rule++) {
        ds_spec spec = toy_spec("additive");
        spec.rule = ds_stream_rule_named(rules[rule]);
        spec.streams = (ds_stream_spec){.count = 2 + rule % 2, .dynamic = true, .rounds = 6, .temperature = 1};
        expect_dense_values(&spec);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_against_the_dense_decomposition), cmocka_unit_test(test_streams)};
    return cmocka_run_group_tests_name("end_to_end", tests, NULL, NULL);
}
