/* Correlations against closed forms, and what their intervals are where pairs are few or on a line. */
#include <math.h>

#include "deltascope/stats.h"
#include "support.h"

enum { SEED = 7919, N = 7 };
static const double u = 0x1p-53;
static const double x[N] = {1.2, 3.4, 2.2, 5.1, 4.7, 0.3, 2.9}, y[N] = {0.7, 2.9, 2.4, 3.8, 5.2, 1.1, 2.4};

/* Pearson's coefficient by its definition, in long double, leaving pair `out` out (N: none). */
static double by_definition(const double *a, const double *b, size_t out) {
    long double count = 0, ma = 0, mb = 0, aa = 0, bb = 0, ab = 0;
    for (size_t i = 0; i < N; i++) {
        if (i == out) continue;
        count++;
        ma += a[i];
        mb += b[i];
    }
    for (size_t i = 0; i < N; i++) {
        if (i == out) continue;
        long double da = a[i] - ma / count, db = b[i] - mb / count;
        aa += da * da;
        bb += db * db;
        ab += da * db;
    }
    return (double)(ab / sqrtl(aa * bb));
}

static void test_coefficients(void **state) {
    (void)state;
    /* ranks of x: 2 5 3 7 6 1 4; of y: 1 5 3.5 6 7 2 3.5 */
    const double rx[] = {2, 5, 3, 7, 6, 1, 4}, ry[] = {1, 5, 3.5, 6, 7, 2, 3.5};
    ds_correlation c;
    expect_ok(ds_pearson(&c, x, y, N));
    expect_close(c.coefficient, by_definition(x, y, N), 32 * u);
    expect_ok(ds_spearman(&c, x, y, N));
    expect_close(c.coefficient, by_definition(rx, ry, N), 32 * u);
}

/* z -+ the wider of 1.96 / sqrt(n - 3) and t(6) = 2.4469 of the jackknife's standard errors. */
static void test_interval(void **state) {
    (void)state;
    double z = atanh(by_definition(x, y, N)), left[N], mean = 0, squares = 0;
    for (size_t i = 0; i < N; i++) mean += (left[i] = atanh(by_definition(x, y, i))) / N;
    for (size_t i = 0; i < N; i++) squares += (left[i] - mean) * (left[i] - mean);
    double jackknife = 2.446911851 * sqrt(squares * (N - 1) / N), normal = 1.959963984540054 / 2;
    ds_correlation c;
    expect_ok(ds_pearson(&c, x, y, N));
    expect_close(atanh(c.low), z - fmax(jackknife, normal), 1e-8);
    expect_close(atanh(c.high), z + fmax(jackknife, normal), 1e-8);
}

/* n ranks in the same order do not make a coefficient of 1 certain, and say more the more they are. */
static void test_same_order(void **state) {
    (void)state;
    double rising[40], falling[40], before = -1;
    for (size_t i = 0; i < 40; i++) falling[i] = -(rising[i] = exp((double)i));
    for (size_t n = DS_CORRELATION_LEAST; n <= 40; n++) {
        ds_correlation up, down;
        expect_ok(ds_spearman(&up, rising, rising, n));
        expect_ok(ds_spearman(&down, rising, falling, n));
        assert_true(up.coefficient > 1 - 8 * u && up.high == 1 && up.low > before &&
                    up.low < 1 - 6.0 / (double)(n * n * n - n));
        assert_true(down.low == -1 && down.high == -up.low);
        before = up.low;
    }
}

static void test_none(void **state) {
    (void)state;
    const double flat[] = {2, 2, 2, 2, 2, 2, 2}, nearly[] = {2, 2, 2, 2, 2, 2, 3}, bad[] = {1, NAN};
    ds_correlation c;
    expect_ok(ds_pearson(&c, x, flat, N));
    assert_true(isnan(c.coefficient) && isnan(c.low) && isnan(c.high));
    expect_ok(ds_spearman(&c, x, nearly, N)); /* without the last pair there is nothing to correlate */
    assert_true(!isnan(c.coefficient) && isnan(c.low) && isnan(c.high));
    expect_ok(ds_pearson(&c, x, x, N)); /* all points on a line */
    assert_true(c.coefficient > 1 - 8 * u && isnan(c.low) && isnan(c.high));
    for (size_t n = 2; n < DS_CORRELATION_LEAST; n++) {
        expect_ok(ds_spearman(&c, x, y, n));
        assert_true(isnan(c.low) && isnan(c.high) && !isnan(c.coefficient));
    }
    expect_failure(ds_spearman(&c, x, bad, 2), DS_ERR_INPUT, "pair 1");
}

/* What holds of any pairs: between -1 and 1, about the coefficient, the other sign the other way round, and for ranks nothing
 * but the order counts. */
static void test_any_pairs(void **state) {
    (void)state;
    ds_random random = ds_random_init(SEED);
    for (int set = 0; set < 200; set++) {
        double a[30], b[30], minus[30], bent[30];
        size_t n = DS_CORRELATION_LEAST + ds_random_below(&random, 30 - DS_CORRELATION_LEAST + 1);
        for (size_t i = 0; i < n; i++) {
            a[i] = ds_random_normal(&random);
            b[i] = a[i] + exp(2 * ds_random_normal(&random));
            minus[i] = -b[i];
            bent[i] = cbrt(b[i]);
        }
        ds_correlation p, q, s, t;
        expect_ok(ds_pearson(&p, a, b, n));
        expect_ok(ds_pearson(&q, a, minus, n));
        expect_ok(ds_spearman(&s, a, b, n));
        expect_ok(ds_spearman(&t, a, bent, n));
        assert_true(-1 <= p.low && p.low < p.coefficient && p.coefficient < p.high && p.high <= 1);
        assert_true(q.coefficient == -p.coefficient && q.low == -p.high && q.high == -p.low);
        assert_true(s.low < s.high && s.coefficient == t.coefficient && s.low == t.low && s.high == t.high);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_coefficients), cmocka_unit_test(test_interval),  cmocka_unit_test(test_same_order),
        cmocka_unit_test(test_none),         cmocka_unit_test(test_any_pairs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
