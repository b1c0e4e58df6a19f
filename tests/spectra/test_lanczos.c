/* Lanczos singular values against dense LAPACK: tall, wide, of full and low rank, with repeated values; both, and proved
 * intervals, against values that are known. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "deltascope/spectra.h"
#include "matrix_kinds.h"
#include "support.h"

enum { MOST = 40 };

typedef struct dense {
    size_t rows, columns;
    double entries[MOST * MOST];
} dense;

static ds_status apply(void *context, double *y, const double *x) {
    const dense *a = context;
    for (size_t i = 0; i < a->rows; i++) {
        y[i] = 0;
        for (size_t j = 0; j < a->columns; j++) y[i] += a->entries[i * a->columns + j] * x[j];
    }
    return DS_OK;
}

static ds_status adjoint(void *context, double *x, const double *y) {
    const dense *a = context;
    memset(x, 0, a->columns * sizeof *x);
    for (size_t i = 0; i < a->rows; i++) {
        for (size_t j = 0; j < a->columns; j++) x[j] += a->entries[i * a->columns + j] * y[i];
    }
    return DS_OK;
}

static ds_linear_map map_of(dense *a) { return (ds_linear_map){a->rows, a->columns, apply, adjoint, a}; }

static void fill(dense *a, size_t rows, size_t columns, size_t rank, ds_random *random) {
    double left[MOST * MOST] = {0}, right[MOST * MOST] = {0};
    a->rows = rows;
    a->columns = columns;
    for (size_t i = 0; i < rows * rank; i++) left[i] = ds_random_normal(random);
    for (size_t i = 0; i < rank * columns; i++) right[i] = ds_random_normal(random);
    for (size_t i = 0; i < rows * columns; i++) {
        a->entries[i] = 0;
        for (size_t j = 0; j < rank; j++) a->entries[i] += left[i / columns * rank + j] * right[j * columns + i % columns];
    }
}

/* As many steps as there are values: everything is found, to the error of a backward stable method. */
static void expect_complete(dense *a) {
    size_t least = ds_min_size(a->rows, a->columns);
    double exact[MOST], weights = 0;
    ds_svd *svd = NULL;
    ds_lanczos found;
    ds_linear_map map = map_of(a);
    expect_ok(ds_svd_new(&svd, a->rows, a->columns));
    expect_ok(ds_singular_values_approx(exact, a->entries, a->rows, a->columns, svd));
    expect_ok(ds_lanczos_run(&found, &map, &(ds_lanczos_options){least, least, 0, 7}));
    double largest = exact[least - 1], tolerance = 16 * (double)(a->rows + a->columns) * 0x1p-53 * largest;
    assert_int_equal(found.count, least);
    for (size_t i = 0; i < least; i++) {
        expect_close(found.values[i], exact[least - 1 - i], tolerance);
        expect_close(found.residuals[i], 0, tolerance);
        expect_close(found.nodes[i], found.values[i], 0);
        weights += found.weights[i];
    }
    expect_close(weights, 1, 16 * (double)least * 0x1p-53);
    ds_lanczos_release(&found);
    ds_svd_free(&svd);
}

static void test_full_length_equals_the_dense_decomposition(void **state) {
    (void)state;
    ds_random random = ds_random_init(11);
    dense a;
    for (int trial = 0; trial < 60; trial++) {
        size_t rows = 1 + ds_random_below(&random, MOST), columns = 1 + ds_random_below(&random, MOST);
        fill(&a, rows, columns, 1 + ds_random_below(&random, ds_min_size(rows, columns)), &random);
        expect_complete(&a);
    }
}

/* One Krylov space sees a repeated value once: the others need the fresh vectors. */
static void test_repeated_values_are_all_found(void **state) {
    (void)state;
    dense a = {.rows = 24, .columns = 24};
    for (size_t i = 0; i < 24; i++) a.entries[i * 24 + i] = 1;
    expect_complete(&a);
    for (size_t i = 0; i < 24; i++) a.entries[i * 24 + i] = i < 10 ? 3.25 : 0.5;
    expect_complete(&a);
    memset(a.entries, 0, sizeof a.entries);
    expect_complete(&a);
}

/* A few steps: the residual says how far some singular value is. */
static void test_residuals_bound_the_error(void **state) {
    (void)state;
    ds_random random = ds_random_init(12);
    dense a;
    for (int trial = 0; trial < 60; trial++) {
        size_t rows = 20 + ds_random_below(&random, 21), columns = 20 + ds_random_below(&random, 21);
        double exact[MOST];
        ds_svd *svd = NULL;
        ds_lanczos found;
        fill(&a, rows, columns, 20, &random);
        ds_linear_map map = map_of(&a);
        size_t least = ds_min_size(rows, columns);
        expect_ok(ds_svd_new(&svd, rows, columns));
        expect_ok(ds_singular_values_approx(exact, a.entries, rows, columns, svd));
        expect_ok(ds_lanczos_run(&found, &map, &(ds_lanczos_options){3, 4 + ds_random_below(&random, 6), 1e-3, 5}));
        for (size_t i = 0; i < found.count; i++) {
            double nearest = INFINITY;
            for (size_t j = 0; j < least; j++) nearest = fmin(nearest, fabs(exact[j] - found.values[i]));
            if (!(nearest <= found.residuals[i] + 64 * 40 * 0x1p-53 * exact[least - 1]))
                fail_msg("off by %g, residual %g", nearest, found.residuals[i]);
            if (i < found.converged) assert_true(found.residuals[i] <= 1e-3 * found.values[0]);
        }
        ds_lanczos_release(&found);
        ds_svd_free(&svd);
    }
}

/* Mean of sigma^2 over all values is ||A||_F^2 / n: the quadrature has it with the stated standard error. */
static void test_density_has_the_right_second_moment(void **state) {
    (void)state;
    ds_random random = ds_random_init(13);
    dense a;
    double squares = 0, estimate = 0;
    const int probes = 200;
    fill(&a, 40, 30, 30, &random);
    ds_linear_map map = map_of(&a);
    for (size_t i = 0; i < 40 * 30; i++) squares += a.entries[i] * a.entries[i];
    for (int p = 0; p < probes; p++) {
        ds_lanczos found;
        expect_ok(ds_lanczos_run(&found, &map, &(ds_lanczos_options){1, 6, 0, (uint64_t)p}));
        for (size_t i = 0; i < found.steps; i++) estimate += found.weights[i] * found.nodes[i] * found.nodes[i] / probes;
        ds_lanczos_release(&found);
    }
    /* one probe's relative standard deviation is at most sqrt(2 n sum sigma^4) / sum sigma^2 / sqrt(n); 4 / 3 here: 5 sigma */
    expect_close(estimate / (squares / 30), 1, 5 * sqrt(2.0 / 30 * 16.0 / 9 / probes));
}

static int descending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x < y) - (x > y);
}

/* Singular values over twelve orders of magnitude, each known: errors stay below the smallest. By eigenvalues of A^T A
 * everything below 1e-8 would be lost. */
static void test_twelve_orders(void **state) {
    (void)state;
    enum { TRIALS = 30, FEW = 8 };
    ds_random random = ds_random_init(52);
    for (size_t trial = 0; trial < TRIALS; trial++) {
        bool proved = trial % 3 == 0; /* takes square ones */
        dense a = {.rows = proved ? FEW : 2 + ds_random_below(&random, MOST - 1)};
        a.columns = proved ? FEW : 2 + ds_random_below(&random, MOST - 1);
        size_t least = ds_min_size(a.rows, a.columns);
        double known[MOST], found[MOST], tolerance = 16 * (double)(a.rows + a.columns) * 0x1p-53;
        ds_svd *svd = NULL;
        ds_lanczos lanczos;
        ds_linear_map map = map_of(&a);
        for (size_t i = 0; i < least; i++) known[i] = pow(10, -12 * ds_random_uniform(&random));
        known[0] = 1;
        known[least - 1] = 1e-12;
        matrix_of_singular_values(a.entries, known, a.rows, a.columns, &random);
        qsort(known, least, sizeof *known, descending);
        expect_ok(ds_svd_new(&svd, a.rows, a.columns));
        expect_ok(ds_singular_values_approx(found, a.entries, a.rows, a.columns, svd));
        expect_ok(ds_lanczos_run(&lanczos, &map, &(ds_lanczos_options){least, least, 0, trial}));
        assert_true(tolerance < 0.2e-12);
        for (size_t i = 0; i < least; i++) {
            expect_close(found[least - 1 - i], known[i], tolerance);
            expect_close(lanczos.values[i], known[i], tolerance);
        }
        if (proved) {
            ds_certifier *certifier = NULL;
            ds_interval intervals[FEW];
            size_t count, at = 0;
            expect_ok(ds_certifier_new(&certifier, FEW, FEW));
            expect_ok(ds_singular_values_enclose(intervals, &count, a.entries, FEW, certifier));
            for (size_t i = count; i-- > 0;) {
                for (size_t held = 0; held < intervals[i].multiplicity; held++)
                    expect_close(intervals[i].value, known[at++], intervals[i].radius + tolerance);
            }
            assert_int_equal(at, FEW);
            ds_certifier_free(&certifier);
        }
        ds_lanczos_release(&lanczos);
        ds_svd_free(&svd);
    }
}

static ds_status broken(void *context, double *y, const double *x) {
    (void)context, (void)x;
    y[0] = NAN;
    return DS_OK;
}

static void test_refusals(void **state) {
    (void)state;
    dense a = {.rows = 2, .columns = 2};
    ds_lanczos found;
    ds_linear_map map = map_of(&a), bad = {1, 1, broken, broken, NULL};
    expect_failure(ds_lanczos_run(&found, &map, &(ds_lanczos_options){0, 4, 0, 1}), DS_ERR_USAGE, "0 singular values");
    expect_failure(ds_lanczos_run(&found, &map, &(ds_lanczos_options){1, 0, 0, 1}), DS_ERR_USAGE, "in 0 steps");
    expect_failure(ds_lanczos_run(&found, &bad, &(ds_lanczos_options){1, 1, 0, 1}), DS_ERR_INPUT, "expected a finite number");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_full_length_equals_the_dense_decomposition),
        cmocka_unit_test(test_repeated_values_are_all_found),
        cmocka_unit_test(test_residuals_bound_the_error),
        cmocka_unit_test(test_density_has_the_right_second_moment),
        cmocka_unit_test(test_twelve_orders),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests_name("lanczos", tests, NULL, NULL);
}
