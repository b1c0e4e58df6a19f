/* Products over depth: the S x S core against the d x d matrix and LAPACK, over random and corner cases. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "delta_cases.h"
#include "deltascope/delta.h"
#include "support.h"

static const double U = 0x1p-53;
enum { D = CASE_HIDDEN, S = CASE_SUBLAYERS };

typedef struct bench {
    delta_case example;
    ds_product *product;
    ds_product_solver *solver;
    ds_eigen *eigen;
    ds_svd *svd;
    double dense[D * D], other[D * D], dense_bounds[D], dense_singular[D], bounds[S], singular[S];
    ds_complex dense_values[D], values[S];
} bench;

static int set_up(void **state) {
    bench *b = ds_calloc(1, sizeof *b);
    *state = b;
    if (b == NULL) return -1;
    expect_ok(ds_product_new(&b->product, D, S));
    expect_ok(ds_product_solver_new(&b->solver, D, S));
    expect_ok(ds_eigen_new(&b->eigen, D));
    expect_ok(ds_svd_new(&b->svd, D, D));
    return 0;
}

static int tear_down(void **state) {
    bench *b = *state;
    ds_product_free(&b->product);
    ds_product_solver_free(&b->solver);
    ds_eigen_free(&b->eigen);
    ds_svd_free(&b->svd);
    free(b);
    return 0;
}

/* A product has one width; a case of another width needs its own. */
static void load(bench *b) {
    ds_product_free(&b->product);
    expect_ok(ds_product_new(&b->product, b->example.hidden, S));
    expect_ok(ds_product_window(b->product, b->example.directions, b->example.c, 0, b->example.sublayers));
}

/* Every value of the core is an eigenvalue of the dense product, and every dense one is 1 or a value of the core, within the
 * bounds that both state. */
static void compare_eigenvalues(const bench *b, size_t order, size_t d) {
    for (size_t i = 0; i < order; i++) {
        double best = INFINITY;
        for (size_t j = 0; j < d; j++)
            best = fmin(best, hypot(b->values[i].re - b->dense_values[j].re, b->values[i].im - b->dense_values[j].im) -
                                  b->dense_bounds[j]);
        expect_close(fmax(best, 0.0), 0.0, b->bounds[i]);
    }
    for (size_t j = 0; j < d; j++) {
        double best = d > order ? hypot(b->dense_values[j].re - 1.0, b->dense_values[j].im) : INFINITY;
        for (size_t i = 0; i < order; i++)
            best = fmin(best,
                        hypot(b->values[i].re - b->dense_values[j].re, b->values[i].im - b->dense_values[j].im) - b->bounds[i]);
        expect_close(fmax(best, 0.0), 0.0, b->dense_bounds[j]);
    }
}

/* Sorted with the ones that the core leaves out, singular values match one by one. */
static void compare_singular_values(bench *b, size_t order, size_t d, double tolerance) {
    double all[D];
    size_t at = 0, ones = d - order;
    for (size_t i = 0; i < order; i++) {
        while (ones > 0 && b->singular[i] > 1.0) {
            all[at++] = 1.0;
            ones--;
        }
        all[at++] = b->singular[i];
    }
    while (ones-- > 0) all[at++] = 1.0;
    for (size_t i = 0; i < d; i++) expect_close(all[i], b->dense_singular[i], tolerance);
}

static void check_against_dense(bench *b) {
    size_t d = b->example.hidden, depth = b->example.sublayers;
    load(b);
    size_t order = ds_product_order(b->product);
    assert_int_equal(order, ds_min_size(d, depth));
    multiply_densely(b->dense, &b->example, 0, depth);
    double norm = ds_frobenius_norm(b->dense, d * d), rounding = ds_product_rounding(b->product);
    /* d x d arithmetic sums d terms for each of S factors */
    double dense_rounding = 4.0 * U * (double)(depth * (d + 4)) * fmax(norm, 1.0) + rounding;
    double singular_bound;
    ds_product_summary summary;
    expect_ok(
        ds_product_spectrum_estimate(b->values, b->bounds, b->singular, &singular_bound, &summary, b->product, b->solver));
    expect_ok(ds_eigenvalues_estimate(b->dense_values, b->dense_bounds, b->dense, dense_rounding, d, b->eigen));
    expect_ok(ds_singular_values_approx(b->dense_singular, b->dense, d, d, b->svd));
    double tolerance = dense_rounding + singular_bound + ds_singular_values_estimate(norm, d, d);
    compare_eigenvalues(b, order, d);
    compare_singular_values(b, order, d, tolerance);
    expect_close(summary.norm2, b->dense_singular[d - 1], tolerance);
    expect_close(summary.smallest, b->dense_singular[0], tolerance);
    for (size_t i = 0; i < d * d; i++) b->other[i] = b->dense[i] - (i % (d + 1) == 0 ? 1.0 : 0.0);
    expect_close(summary.frobenius_defect, ds_frobenius_norm(b->other, d * d), tolerance * sqrt((double)d));
    expect_close(summary.mean_squared_singular_value * (double)d, norm * norm, 2.0 * norm * tolerance * sqrt((double)d));
    expect_close(summary.determinant_error, 0.0, summary.determinant_tolerance);
    expect_close(summary.norm_excess, 0.0, summary.norm_tolerance);
    ds_product_matrix(b->other, b->product);
    for (size_t i = 0; i < d * d; i++) expect_close(b->other[i], b->dense[i], dense_rounding);
}

static void test_against_dense(void **state) {
    bench *b = *state;
    ds_random random = ds_random_init(20260119);
    for (size_t trial = 0; trial < 150; trial++) {
        make_delta_case(&b->example, trial < 120 ? 24 : D, trial < 120 ? 16 : S, false, &random);
        check_against_dense(b);
    }
}

/* On generic directions the two agree far beyond what has to be allowed for the worst. */
static void test_generic_accuracy(void **state) {
    bench *b = *state;
    ds_random random = ds_random_init(20260120);
    b->example.hidden = D;
    b->example.sublayers = 24;
    for (size_t s = 0; s < 24; s++) {
        for (size_t i = 0; i < D; i++)
            b->example.directions[s * D + i] = ds_random_normal(&random) / sqrt((double)D) + (i == 0 ? 0.5 : 0.0);
        b->example.c[s] = 0.7 + 0.2 * ds_random_uniform(&random);
    }
    check_against_dense(b);
    for (size_t i = 0; i < 24; i++) assert_true(b->bounds[i] < 1e-10); /* of use: ten digits */
    ds_complex approx[24];
    double departure, core[24 * 24], squares = 0.0;
    ds_product_core(core, b->product);
    expect_ok(ds_eigenvalues_approx(approx, &departure, core, 24, b->eigen));
    for (size_t i = 0; i < 24; i++) {
        expect_close(approx[i].re, b->values[i].re, b->bounds[i]);
        expect_close(approx[i].im, b->values[i].im, b->bounds[i]);
        squares += approx[i].re * approx[i].re + approx[i].im * approx[i].im;
    }
    double norm = ds_frobenius_norm(core, 24 * 24);
    expect_close(departure * departure, norm * norm - squares, 24.0 * 24.0 * U * norm * norm);
    assert_true(departure > 0.1);
}

/* A prefix of a push sequence, a restart and a window all give the bits of the shorter product. */
static void test_prefixes_and_windows(void **state) {
    bench *b = *state;
    ds_random random = ds_random_init(20260121);
    ds_product *prefix = NULL;
    double core[S * S], expected[S * S];
    for (size_t trial = 0; trial < 20; trial++) {
        make_delta_case(&b->example, trial < 10 ? 24 : D, trial < 10 ? 16 : S, false, &random);
        load(b);
        size_t d = b->example.hidden, depth = b->example.sublayers;
        expect_ok(ds_product_new(&prefix, d, S));
        for (size_t s = 0; s <= depth; s++) {
            expect_ok(ds_product_window(b->product, b->example.directions, b->example.c, 0, s));
            size_t order = ds_product_order(prefix);
            assert_int_equal(order, ds_product_order(b->product));
            ds_product_core(core, prefix);
            ds_product_core(expected, b->product);
            assert_memory_equal(core, expected, order * order * sizeof *core);
            assert_true(ds_product_log_abs_det(prefix) == ds_product_log_abs_det(b->product));
            if (s < depth) expect_ok(ds_product_push(prefix, b->example.directions + s * d, b->example.c[s]));
        }
        size_t first = depth / 3, last = depth - depth / 4;
        expect_ok(ds_product_window(b->product, b->example.directions, b->example.c, first, last));
        multiply_densely(b->dense, &b->example, first, last);
        ds_product_matrix(b->other, b->product);
        double tolerance = 4.0 * U * (double)(depth * (d + 4)) * fmax(ds_frobenius_norm(b->dense, d * d), 1.0);
        for (size_t i = 0; i < d * d; i++) expect_close(b->other[i], b->dense[i], tolerance);
        ds_product_free(&prefix);
    }
}

static void test_actions(void **state) {
    bench *b = *state;
    ds_random random = ds_random_init(20260122);
    for (size_t trial = 0; trial < 40; trial++) {
        make_delta_case(&b->example, 24, 16, false, &random);
        load(b);
        size_t d = b->example.hidden, depth = b->example.sublayers;
        double x[D], y[D], scratch[D], survival[S], gram[S * S], rows, columns, all_rows = 0.0, all_columns = 0.0;
        multiply_densely(b->dense, &b->example, 0, depth);
        double norm = fmax(ds_frobenius_norm(b->dense, d * d), 1.0);
        double tolerance = 8.0 * U * (double)(d * (depth + 4) * d) * norm;
        for (size_t i = 0; i < d; i++) x[i] = y[i] = ds_random_normal(&random);
        ds_product_apply(y, b->product, 1);
        ds_gains gains, expected = {INFINITY, -INFINITY, INFINITY, -INFINITY, 0.0, 0.0};
        for (size_t i = 0; i < d; i++) {
            double sum = 0.0, row = 0.0, column = 0.0, rows_here = 0.0, columns_here = 0.0;
            for (size_t j = 0; j < d; j++) {
                sum += b->dense[i * d + j] * x[j];
                row += b->dense[i * d + j];
                column += b->dense[j * d + i];
                rows_here += fabs(b->dense[i * d + j]);
                columns_here += fabs(b->dense[j * d + i]);
            }
            expect_close(y[i], sum, tolerance);
            expected.row_sum_min = fmin(expected.row_sum_min, row);
            expected.row_sum_max = fmax(expected.row_sum_max, row);
            expected.column_sum_min = fmin(expected.column_sum_min, column);
            expected.column_sum_max = fmax(expected.column_sum_max, column);
            all_rows = fmax(all_rows, rows_here);
            all_columns = fmax(all_columns, columns_here);
        }
        ds_product_gains(&gains, b->product, scratch);
        expect_close(gains.row_sum_min, expected.row_sum_min, tolerance);
        expect_close(gains.row_sum_max, expected.row_sum_max, tolerance);
        expect_close(gains.column_sum_min, expected.column_sum_min, tolerance);
        expect_close(gains.column_sum_max, expected.column_sum_max, tolerance);
        expect_close(gains.amax_forward, fmax(-expected.row_sum_min, expected.row_sum_max), tolerance);
        expect_close(gains.amax_backward, fmax(-expected.column_sum_min, expected.column_sum_max), tolerance);
        ds_product_absolute_gains(&rows, &columns, b->product, b->other);
        expect_close(rows, all_rows, tolerance);
        expect_close(columns, all_columns, tolerance);
        ds_product_survival(survival, b->product, scratch);
        ds_product_gram(gram, b->product);
        for (size_t a = 0; a < depth; a++) {
            const double *k = b->example.directions + a * d;
            multiply_densely(b->dense, &b->example, a + 1, depth);
            double norm2 = 0.0, sum = 0.0;
            for (size_t i = 0; i < d; i++) norm2 += k[i] * k[i];
            for (size_t i = 0; i < d * d; i++) sum += k[i / d] * b->dense[i] * k[i % d];
            expect_close(survival[a], norm2 > 0.0 ? sum / norm2 : 0.0, tolerance);
            expect_close(gram[a * depth + a], norm2, 4.0 * (double)d * U * norm2);
            assert_true(gram[a] == gram[a * depth]);
        }
    }
}

/* <P x, y> = <x, P^T y>. */
static void test_adjoint(void **state) {
    bench *b = *state;
    ds_random random = ds_random_init(20260123);
    for (size_t trial = 0; trial < 40; trial++) {
        make_delta_case(&b->example, D, S, true, &random);
        load(b);
        size_t d = b->example.hidden;
        double x[2 * D], y[2 * D], px[2 * D], py[2 * D], left = 0.0, right = 0.0;
        for (size_t i = 0; i < 2 * d; i++) {
            x[i] = px[i] = ds_random_normal(&random);
            y[i] = py[i] = ds_random_normal(&random);
        }
        ds_product_apply(px, b->product, 2);
        ds_product_apply_adjoint(py, b->product, 2);
        for (size_t i = 0; i < 2 * d; i++) {
            left += px[i] * y[i];
            right += x[i] * py[i];
        }
        expect_close(left, right, 8.0 * (double)(d * (S + 4)) * U);
    }
}

/* Singular values of R against those of the directions themselves. */
static void test_directions(void **state) {
    bench *b = *state;
    ds_random random = ds_random_init(20260124);
    for (size_t trial = 0; trial < 40; trial++) {
        make_delta_case(&b->example, D, S, false, &random);
        load(b);
        size_t d = b->example.hidden, depth = b->example.sublayers, order = ds_product_order(b->product);
        expect_ok(ds_product_directions_approx(b->singular, b->product, b->solver));
        expect_ok(ds_singular_values_approx(b->dense_singular, b->example.directions, depth, d, b->svd));
        double norm = ds_frobenius_norm(b->example.directions, depth * d);
        for (size_t i = 0; i < order; i++)
            expect_close(b->singular[i], b->dense_singular[i], 8.0 * (double)((depth + 1) * (d + 1)) * U * norm);
    }
}

static void test_refusals(void **state) {
    (void)state;
    double k[3] = {0.6, 0.0, 0.8};
    ds_product *product = NULL;
    expect_failure(ds_product_new(&product, 0, 4), DS_ERR_USAGE, "at least 1");
    expect_ok(ds_product_new(&product, 3, 2));
    expect_failure(ds_product_push(product, k, NAN), DS_ERR_INPUT, "sublayer 0");
    k[1] = INFINITY;
    expect_failure(ds_product_push(product, k, 1.0), DS_ERR_INPUT, "expected finite");
    k[1] = 0.0;
    assert_int_equal(ds_product_depth(product), 0);
    expect_ok(ds_product_push(product, k, 1.0));
    expect_ok(ds_product_push(product, k, 1.0));
    expect_failure(ds_product_push(product, k, 1.0), DS_ERR_USAGE, "at most 2");
    ds_product_solver *solver = NULL;
    expect_ok(ds_product_solver_new(&solver, 3, 1));
    expect_failure(ds_product_spectrum_estimate(NULL, NULL, NULL, NULL, NULL, product, solver), DS_ERR_USAGE,
                   "solver's 1 and 1");
    ds_product_solver_free(&solver);
    ds_product_free(&product);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_dense),
        cmocka_unit_test(test_generic_accuracy),
        cmocka_unit_test(test_prefixes_and_windows),
        cmocka_unit_test(test_actions),
        cmocka_unit_test(test_adjoint),
        cmocka_unit_test(test_directions),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
