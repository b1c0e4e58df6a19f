/* One delta operator: regimes at their edges, closed forms against LAPACK, application against its matrix. */
#include <math.h>
#include <string.h>

#include "deltascope/delta.h"
#include "support.h"

static const double U = 0x1p-53;

static void test_regimes(void **state) {
    (void)state;
    const double tol = 0.125; /* exact, so that the edges are */
    const struct {
        double b;
        ds_regime regime;
    } cases[] = {
        {-0.25, DS_REGIME_IDENTITY},
        {0.0, DS_REGIME_IDENTITY},
        {nextafter(0.125, 0.0), DS_REGIME_IDENTITY},
        {0.125, DS_REGIME_DAMPED},
        {0.5, DS_REGIME_DAMPED},
        {nextafter(0.875, 0.0), DS_REGIME_DAMPED},
        {0.875, DS_REGIME_PROJECTION},
        {1.0, DS_REGIME_PROJECTION},
        {1.125, DS_REGIME_PROJECTION},
        {nextafter(1.125, 2.0), DS_REGIME_OVER_RELAXED},
        {1.875, DS_REGIME_OVER_RELAXED},
        {nextafter(1.875, 2.0), DS_REGIME_REFLECTION},
        {2.0, DS_REGIME_REFLECTION},
        {2.5, DS_REGIME_REFLECTION},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_string_equal(ds_regime_name(ds_regime_of(cases[i].b, tol)), ds_regime_name(cases[i].regime));
    assert_string_equal(ds_regime_name(DS_REGIME_OVER_RELAXED), "over_relaxed");
}

static void test_closed_forms(void **state) {
    (void)state;
    for (int sixteenths = -8; sixteenths <= 40; sixteenths++) {
        double b = sixteenths / 16.0;
        expect_close(ds_delta_orthogonality_defect(b), fabs((1.0 - b) * (1.0 - b) - 1.0), 4.0 * U);
        if (b != 1.0) expect_close(ds_delta_log_abs_det(b), log(fabs(1.0 - b)), 4.0 * U * (1.0 + fabs(log(fabs(1.0 - b)))));
    }
    expect_close(ds_delta_log_abs_det(1e-30), -1e-30, 1e-45);
    assert_true(isinf(ds_delta_log_abs_det(1.0)) && ds_delta_log_abs_det(1.0) < 0.0);
}

/* The largest error of dsyevd and dgetrf on A, of norm at most 1 + |b|: a few u per reflection or elimination step. */
static void test_dense(void **state) {
    (void)state;
    enum { MOST = 48 };
    ds_random random = ds_random_init(20260117);
    ds_dense *workspace = NULL;
    expect_ok(ds_dense_new(&workspace, MOST));
    for (size_t trial = 0; trial < 200; trial++) {
        double k[MOST], norm2 = 0.0;
        size_t d = 1 + ds_random_below(&random, MOST);
        for (size_t i = 0; i < d; i++) k[i] = ds_random_normal(&random) / sqrt((double)d);
        for (size_t i = 0; i < d; i++) norm2 += k[i] * k[i];
        double c = trial % 5 == 0 ? 0.5 * (double)(trial % 6) : 2.3 * ds_random_uniform(&random) - 0.1;
        double b = c * norm2, tolerance = 8.0 * (double)d * U * (1.0 + fabs(b)) * (1.0 + fabs(b));
        ds_dense_operator found;
        expect_ok(ds_dense_solve(&found, k, c, d, workspace));
        expect_close(found.eigenvalue, ds_delta_eigenvalue(b), tolerance);
        expect_close(found.max_eigenvalue_error, 0.0, tolerance);
        expect_close(found.determinant, ds_delta_determinant(b), tolerance * (double)d);
        expect_close(found.orthogonality_defect, ds_delta_orthogonality_defect(b), tolerance);
    }
    double k[MOST + 1] = {0.5};
    ds_dense_operator found;
    expect_failure(ds_dense_solve(&found, k, 1.0, MOST + 1, workspace), DS_ERR_USAGE, "expected 1 to the workspace's 48");
    k[3] = NAN;
    expect_failure(ds_dense_solve(&found, k, 1.0, 5, workspace), DS_ERR_INPUT, "expected a finite number");
    ds_dense_free(&workspace);
}

static void test_application(void **state) {
    (void)state;
    enum { D = 37, PLANES = 3 };
    ds_random random = ds_random_init(20260118);
    double k[D], x[PLANES * D], y[PLANES * D], matrix[D * D], v[PLANES];
    for (size_t i = 0; i < D; i++) k[i] = ds_random_normal(&random) / sqrt((double)D);
    for (size_t i = 0; i < PLANES * D; i++) x[i] = ds_random_normal(&random);
    for (size_t j = 0; j < PLANES; j++) v[j] = ds_random_normal(&random);
    const double c = 1.37;
    ds_delta_matrix(matrix, k, c, D);
    memcpy(y, x, sizeof x);
    ds_delta_apply(y, k, c, PLANES, D);
    for (size_t j = 0; j < PLANES; j++) {
        for (size_t i = 0; i < D; i++) {
            double sum = 0.0;
            for (size_t l = 0; l < D; l++) sum += matrix[i * D + l] * x[j * D + l];
            expect_close(y[j * D + i], sum, 4.0 * D * U);
        }
    }
    ds_delta_update(x, k, c, v, PLANES, D);
    for (size_t j = 0; j < PLANES; j++) {
        for (size_t i = 0; i < D; i++) expect_close(x[j * D + i], y[j * D + i] + c * k[i] * v[j], 16.0 * U);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_regimes),
        cmocka_unit_test(test_closed_forms),
        cmocka_unit_test(test_dense),
        cmocka_unit_test(test_application),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
