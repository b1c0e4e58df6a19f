/* Eigenvalues, singular values and determinants of matrices whose values are known, and what must be refused. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "deltascope/spectra.h"
#include "support.h"

static const double U = 0x1p-53;

/* A = X D X^-1 exactly, in integers: X unit lower triangular with integer entries has an integer inverse. `blocks` of D are
 * (re, im; -im, re) where im != 0; `couple` adds a superdiagonal 1 inside D where it keeps the eigenvalues. */
static void make_integer_matrix(double *matrix, const ds_complex *values, size_t n, bool couple, ds_random *random) {
    double x[64] = {0}, inverse[64] = {0}, d[64] = {0}, product[64] = {0};
    assert_true(n <= 8);
    for (size_t i = 0; i < n; i++) {
        d[i * n + i] = values[i].re;
        if (values[i].im > 0.0) d[i * n + i + 1] = values[i].im;
        if (values[i].im < 0.0) d[i * n + i - 1] = values[i].im;
        if (couple && i + 1 < n && values[i].im == 0.0 && values[i + 1].im == 0.0) d[i * n + i + 1] = 1.0;
        x[i * n + i] = 1.0;
        for (size_t j = 0; j < i; j++) x[i * n + j] = (double)ds_random_below(random, 3) - 1.0;
    }
    for (size_t j = 0; j < n; j++) {
        for (size_t i = 0; i < n; i++) {
            double sum = i == j ? 1.0 : 0.0;
            for (size_t l = 0; l < i; l++) sum -= x[i * n + l] * inverse[l * n + j];
            inverse[i * n + j] = sum;
        }
    }
    memset(matrix, 0, n * n * sizeof *matrix);
    for (size_t i = 0; i < n * n; i++) {
        for (size_t l = 0; l < n; l++) product[i] += x[i / n * n + l] * d[l * n + i % n];
    }
    for (size_t i = 0; i < n * n; i++) {
        for (size_t l = 0; l < n; l++) matrix[i] += product[i / n * n + l] * inverse[l * n + i % n];
    }
}

/* Known eigenvalues lie within the stated bounds of the computed ones, and every computed one near a known one. */
static void expect_within(const ds_complex *found, const double *bounds, const ds_complex *known, size_t n) {
    for (size_t i = 0; i < n; i++) {
        double excess = INFINITY, near = INFINITY;
        for (size_t j = 0; j < n; j++) {
            near = fmin(near, hypot(found[i].re - known[j].re, found[i].im - known[j].im));
            excess = fmin(excess, hypot(found[j].re - known[i].re, found[j].im - known[i].im) - bounds[j]);
        }
        expect_close(near, 0.0, bounds[i]);
        expect_close(fmax(excess, 0.0), 0.0, 0.0);
    }
}

static void test_known_eigenvalues(void **state) {
    (void)state;
    static const struct {
        ds_complex values[8];
        size_t n;
        bool couple;
        double worst; /* a bound larger than this would be of no use */
    } cases[] = {
        {{{3, 0}}, 1, false, 1e-13},
        {{{-2, 0}, {1, 0}, {5, 0}}, 3, false, 1e-10},
        {{{1, 2}, {1, -2}, {4, 0}, {-3, 0}}, 4, false, 1e-10},
        {{{2, 0}, {2, 0}, {2, 0}, {7, 0}}, 4, false, 1e-2}, /* semisimple, hidden by rounding in X */
        {{{2, 0}, {2, 0}, {7, 0}}, 3, true, 20.0},          /* Jordan block of order 2 */
        {{{1, 0}, {1, 0}, {1, 0}, {1, 0}}, 4, true, 20.0},  /* of order 4 */
        {{{0, 0}, {0, 0}, {0, 0}}, 3, false, 1e-300},
        {{{0, 1}, {0, -1}, {0, 3}, {0, -3}, {6, 0}, {-6, 0}, {1, 1}, {1, -1}}, 8, false, 1e-8},
    };
    ds_random random = ds_random_init(20260201);
    ds_eigen *workspace = NULL;
    expect_ok(ds_eigen_new(&workspace, 8));
    for (size_t at = 0; at < sizeof cases / sizeof *cases; at++) {
        size_t n = cases[at].n;
        for (size_t trial = 0; trial < 20; trial++) {
            double matrix[64], bounds[8], departure;
            ds_complex found[8], approx[8], vectors[64], unsorted[8];
            make_integer_matrix(matrix, cases[at].values, n, cases[at].couple, &random);
            expect_ok(ds_eigenvalues_estimate(found, bounds, matrix, 0.0, n, workspace));
            expect_within(found, bounds, cases[at].values, n);
            for (size_t i = 0; i < n; i++) {
                assert_true(bounds[i] <= cases[at].worst);
                if (i > 0)
                    assert_true(found[i - 1].re < found[i].re ||
                                (found[i - 1].re == found[i].re && found[i - 1].im <= found[i].im));
            }
            expect_ok(ds_eigenvalues_approx(approx, &departure, matrix, n, workspace));
            expect_within(approx, bounds, cases[at].values, n);
            /* Henrici's departure, from the definition and exact eigenvalues */
            double squares = 0.0, norm = ds_frobenius_norm(matrix, n * n), rounding = 64.0 * (double)(n * n) * U * norm * norm;
            for (size_t i = 0; i < n; i++)
                squares += cases[at].values[i].re * cases[at].values[i].re + cases[at].values[i].im * cases[at].values[i].im;
            double worst = 0.0;
            for (size_t i = 0; i < n; i++) worst += 2.0 * (norm + bounds[i]) * bounds[i];
            expect_close(departure * departure, norm * norm - squares, rounding + worst);
            expect_ok(ds_eigenvectors_approx(unsorted, vectors, matrix, n, workspace));
            for (size_t j = 0; j < n; j++) {
                for (size_t i = 0; i < n; i++) { /* A v - lambda v */
                    double re = unsorted[j].im * vectors[i * n + j].im - unsorted[j].re * vectors[i * n + j].re;
                    double im = -unsorted[j].im * vectors[i * n + j].re - unsorted[j].re * vectors[i * n + j].im;
                    for (size_t l = 0; l < n; l++) {
                        re += matrix[i * n + l] * vectors[l * n + j].re;
                        im += matrix[i * n + l] * vectors[l * n + j].im;
                    }
                    expect_close(hypot(re, im), 0.0, 8.0 * (double)n * U * (norm + 1.0));
                }
            }
        }
    }
    ds_eigen_free(&workspace);
}

static void test_departure(void **state) {
    (void)state;
    ds_eigen *workspace = NULL;
    expect_ok(ds_eigen_new(&workspace, 3));
    ds_complex values[3];
    double departure;
    const double rotation[9] = {0.6, -0.8, 0, 0.8, 0.6, 0, 0, 0, -1}; /* normal: 0 to rounding, not to its square root */
    expect_ok(ds_eigenvalues_approx(values, &departure, rotation, 3, workspace));
    expect_close(departure, 0.0, 16.0 * U);
    expect_close(ds_spectral_radius(values, 3), 1.0, 8.0 * U);
    expect_close(ds_complex_share(values, 3), 2.0 / 3.0, U);
    const double triangular[9] = {1, 3, 0, 0, 2, 4, 0, 0, 3};
    expect_ok(ds_eigenvalues_approx(values, &departure, triangular, 3, workspace));
    expect_close(departure, 5.0, 64.0 * U * 5.0);
    const double pair[4] = {1, 8, -2, 1}; /* 1 +- 4i: departure | |8| - |-2| | */
    expect_ok(ds_eigenvalues_approx(values, &departure, pair, 2, workspace));
    expect_close(departure, 6.0, 64.0 * U * 8.0);
    ds_eigen_free(&workspace);
}

static void test_singular_values(void **state) {
    (void)state;
    enum { ROWS = 33, COLUMNS = 21 };
    ds_random random = ds_random_init(20260202);
    ds_svd *workspace = NULL;
    expect_ok(ds_svd_new(&workspace, ROWS, ROWS));
    for (size_t trial = 0; trial < 60; trial++) {
        size_t rows = ds_random_below(&random, ROWS + 1), columns = ds_random_below(&random, COLUMNS + 1);
        if (trial % 2 == 1) {
            size_t swapped = rows;
            rows = columns;
            columns = swapped;
        }
        size_t least = ds_min_size(rows, columns);
        double matrix[ROWS * ROWS] = {0}, values[ROWS], again[ROWS], left[ROWS * ROWS], right[ROWS * ROWS];
        for (size_t i = 0; i < rows * columns; i++) matrix[i] = ds_random_normal(&random) + 0.3;
        expect_ok(ds_singular_values_approx(values, matrix, rows, columns, workspace));
        expect_ok(ds_singular_vectors_approx(again, left, right, matrix, rows, columns, workspace));
        double bound = least == 0 ? 0.0 : 2.0 * ds_singular_values_estimate(values[least - 1], rows, columns);
        for (size_t i = 0; i < least; i++) {
            expect_close(values[i], again[i], bound);
            assert_true(i == 0 || values[i - 1] <= values[i]);
            for (size_t j = 0; j < least; j++) {
                double uu = 0.0, vv = 0.0;
                for (size_t l = 0; l < rows; l++) uu += left[l * least + i] * left[l * least + j];
                for (size_t l = 0; l < columns; l++) vv += right[i * columns + l] * right[j * columns + l];
                expect_close(uu, i == j, 64.0 * ROWS * U);
                expect_close(vv, i == j, 64.0 * ROWS * U);
            }
        }
        for (size_t at = 0; at < rows * columns; at++) {
            double sum = 0.0;
            for (size_t l = 0; l < least; l++)
                sum += left[at / columns * least + l] * again[l] * right[l * columns + at % columns];
            expect_close(sum, matrix[at], bound);
        }
    }
    const double diagonal[6] = {0, -3, 0, 1e-9, 0, 0};
    double values[2];
    expect_ok(ds_singular_values_approx(values, diagonal, 2, 3, workspace));
    expect_close(values[0], 1e-9, ds_singular_values_estimate(3.0, 2, 3));
    expect_close(values[1], 3.0, ds_singular_values_estimate(3.0, 2, 3));
    ds_svd_free(&workspace);
}

static void test_symmetric(void **state) {
    (void)state;
    enum { N = 30 };
    ds_symmetric *workspace = NULL;
    expect_ok(ds_symmetric_new(&workspace, N));
    /* The second-difference matrix: 2 - 2 cos(pi j / (n + 1)), determinant n + 1. */
    double matrix[N * N] = {0}, values[N], vectors[N * N], determinant;
    for (size_t i = 0; i < N; i++) {
        matrix[i * N + i] = 2.0;
        if (i + 1 < N) matrix[i * N + i + 1] = matrix[(i + 1) * N + i] = -1.0;
    }
    expect_ok(ds_symmetric_eigen_approx(values, vectors, matrix, N, workspace));
    for (size_t j = 0; j < N; j++) {
        expect_close(values[j], 2.0 - 2.0 * cos(acos(-1.0) * (double)(j + 1) / (N + 1)), 16.0 * N * U);
        for (size_t i = 0; i < N; i++) {
            double sum = -values[j] * vectors[i * N + j];
            for (size_t l = 0; l < N; l++) sum += matrix[i * N + l] * vectors[l * N + j];
            expect_close(sum, 0.0, 16.0 * N * U);
        }
    }
    expect_ok(ds_determinant_approx(&determinant, matrix, N, workspace));
    expect_close(determinant, N + 1.0, 8.0 * N * N * U * (N + 1.0));
    const double permutation[9] = {0, 2, 0, 0, 0, 3, 5, 0, 0}, swap[4] = {0, 1, 1, 0}, singular[4] = {1, 2, 2, 4};
    expect_ok(ds_determinant_approx(&determinant, permutation, 3, workspace));
    expect_close(determinant, 30.0, 0.0);
    expect_ok(ds_determinant_approx(&determinant, swap, 2, workspace));
    expect_close(determinant, -1.0, 0.0);
    expect_ok(ds_determinant_approx(&determinant, singular, 2, workspace));
    expect_close(determinant, 0.0, 0.0);
    expect_ok(ds_determinant_approx(&determinant, NULL, 0, workspace));
    expect_close(determinant, 1.0, 0.0);
    ds_symmetric_free(&workspace);
}

/* Matrices L U in small integers, rows shuffled, have the determinant prod U_ii exactly; its error is to first order within
 * ||E|| times the sum of the adjugate's singular values |det| / sigma_i, and the product rounds n times. */
static void test_determinant_estimate(void **state) {
    (void)state;
    enum { MOST = 12 };
    ds_symmetric *workspace = NULL;
    ds_svd *svd = NULL;
    expect_ok(ds_symmetric_new(&workspace, MOST));
    expect_ok(ds_svd_new(&svd, MOST, MOST));
    ds_random random = ds_random_init(20261128);
    for (size_t trial = 0; trial < 300; trial++) {
        size_t n = 1 + ds_random_below(&random, MOST);
        double lower[MOST * MOST] = {0}, upper[MOST * MOST] = {0}, matrix[MOST * MOST] = {0}, singular[MOST];
        double exact = 1, found, perturbation, adjugate = 0;
        for (size_t i = 0; i < n; i++) {
            for (size_t j = 0; j < n; j++) {
                if (j < i) lower[i * n + j] = (double)ds_random_below(&random, 7) - 3;
                if (j > i) upper[i * n + j] = (double)ds_random_below(&random, 7) - 3;
            }
            lower[i * n + i] = 1;
            exact *= upper[i * n + i] = 1 + (double)ds_random_below(&random, 3);
        }
        size_t turn = ds_random_below(&random, n); /* n - 1 exchanges each */
        if (n % 2 == 0 && turn % 2 == 1) exact = -exact;
        for (size_t i = 0; i < n; i++)
            for (size_t l = 0; l < n; l++)
                for (size_t j = 0; j < n; j++) matrix[(i + turn) % n * n + j] += lower[i * n + l] * upper[l * n + j];
        expect_ok(ds_determinant_estimate(&found, &perturbation, matrix, n, workspace));
        expect_ok(ds_singular_values_approx(singular, matrix, n, n, svd));
        for (size_t i = 0; i < n; i++) adjugate += fabs(exact) / singular[i];
        expect_close(found, exact, perturbation * adjugate * (1 + 0x1p-10) + (double)n * U * fabs(exact));
        assert_true(perturbation >= (double)n * U); /* |L| |U| holds a column of L, whose largest number is 1 */
        assert_true(perturbation <= (double)(n * n) * U * singular[n - 1] * 64); /* far from what pivots might grow to */
    }
    ds_symmetric_free(&workspace);
    ds_svd_free(&svd);
}

/* LAPACKE itself would return info 0 and NaN. */
static void test_refusals(void **state) {
    (void)state;
    ds_eigen *eigen = NULL;
    ds_svd *svd = NULL;
    ds_symmetric *symmetric = NULL;
    expect_ok(ds_eigen_new(&eigen, 2));
    expect_ok(ds_svd_new(&svd, 2, 2));
    expect_ok(ds_symmetric_new(&symmetric, 2));
    double values[3], bounds[3], small[9] = {0};
    ds_complex roots[3];
    const double bad[] = {NAN, INFINITY, -INFINITY};
    for (size_t i = 0; i < 3; i++) {
        const double matrix[4] = {1, 2, bad[i], 4};
        const double upper[4] = {1, bad[i], 0, 4};
        const char *words = "element [1][0]";
        expect_failure(ds_eigenvalues_approx(roots, NULL, matrix, 2, eigen), DS_ERR_INPUT, words);
        expect_failure(ds_eigenvalues_estimate(roots, bounds, matrix, 0.0, 2, eigen), DS_ERR_INPUT, words);
        expect_failure(ds_eigenvectors_approx(roots, roots, matrix, 2, eigen), DS_ERR_INPUT, words);
        expect_failure(ds_singular_values_approx(values, matrix, 2, 2, svd), DS_ERR_INPUT, words);
        expect_failure(ds_determinant_approx(values, matrix, 2, symmetric), DS_ERR_INPUT, words);
        expect_failure(ds_symmetric_eigen_approx(values, NULL, upper, 2, symmetric), DS_ERR_INPUT, "element [0][1]");
    }
    const char *words = "expected at most the workspace's 2";
    expect_failure(ds_eigenvalues_approx(roots, NULL, small, 3, eigen), DS_ERR_USAGE, words);
    expect_failure(ds_singular_values_approx(values, small, 1, 3, svd), DS_ERR_USAGE, words);
    expect_failure(ds_symmetric_eigen_approx(values, NULL, small, 3, symmetric), DS_ERR_USAGE, words);
    expect_failure(ds_eigenvalues_estimate(roots, bounds, small, NAN, 2, eigen), DS_ERR_USAGE, "expected at least 0");
    ds_eigen_free(&eigen);
    ds_svd_free(&svd);
    ds_symmetric_free(&symmetric);
    expect_failure(ds_eigen_new(&eigen, (size_t)1 << 40), DS_ERR_USAGE, "extent");
    assert_null(eigen);
}

static void test_ranks(void **state) {
    (void)state;
    const double flat[5] = {0, 3e200, 3e200, 3e200, 3e200}, steep[3] = {0, 1e-5, 2e-5}, zero[2] = {0};
    expect_close(ds_effective_rank(flat, 5), 4.0, 32.0 * U);
    expect_close(ds_stable_rank(flat, 5), 4.0, 32.0 * U);
    expect_close(ds_participation_ratio(flat, 5), 4.0, 32.0 * U);
    expect_close(ds_effective_rank(steep, 3), exp(log(3.0) / 3.0 + 2.0 / 3.0 * log(1.5)), 32.0 * U);
    expect_close(ds_stable_rank(steep, 3), 1.25, 32.0 * U);
    expect_close(ds_participation_ratio(steep, 3), 25.0 / 17.0, 32.0 * U);
    expect_close(ds_effective_rank(zero, 2) + ds_stable_rank(zero, 2) + ds_participation_ratio(zero, 0), 0.0, 0.0);
}

static void test_frobenius(void **state) {
    (void)state;
    const double large[2] = {3e200, 4e200}, small[2] = {3e-200, 4e-200}, zero[2] = {0};
    expect_close(ds_frobenius_norm(large, 2) / 5e200, 1.0, 4.0 * U);
    expect_close(ds_frobenius_norm(small, 2) / 5e-200, 1.0, 4.0 * U);
    expect_close(ds_frobenius_norm(zero, 2), 0.0, 0.0);
    const double bad[2] = {NAN, 1.0};
    assert_true(isnan(ds_frobenius_norm(bad, 2)));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_eigenvalues),
        cmocka_unit_test(test_departure),
        cmocka_unit_test(test_singular_values),
        cmocka_unit_test(test_symmetric),
        cmocka_unit_test(test_determinant_estimate),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_frobenius),
        cmocka_unit_test(test_ranks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
