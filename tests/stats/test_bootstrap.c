/* Paired comparisons, Holm's adjustment and correlations against closed forms, enumeration and their own coverage. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "deltascope/stats.h"
#include "support.h"

enum { SEED = 7919 };
static const double u = 0x1p-53;

/* With normal differences and many sequences BCa's interval tends to mean +- 1.96 s / sqrt(n). */
static void test_large_sample(void **state) {
    (void)state;
    enum { N = 2000 };
    double d[N];
    ds_random random = ds_random_init(SEED);
    for (size_t i = 0; i < N; i++) d[i] = 0.02 + 0.3 * ds_random_normal(&random);
    ds_statistics s;
    expect_ok(ds_statistics_compute(&s, d, N));
    ds_paired p;
    expect_ok(ds_paired_bootstrap(&p, d, 1, N, 20000, SEED));
    double half = 1.959963984540054 * s.std / sqrt(N);
    expect_close(p.mean, s.mean, 4 * u * fabs(s.mean));
    /* A 2.5% quantile from R resamples has standard error sqrt(.025 * .975 / R) / density = 0.0189 s/sqrt(n); five of them. */
    double allowed = 5 * 0.0189 * s.std / sqrt(N);
    expect_close(p.low, s.mean - half, allowed);
    expect_close(p.high, s.mean + half, allowed);
    double normal_p = erfc(s.mean / (s.std / sqrt(N)) / sqrt(2));
    expect_close(p.p_value, normal_p, 5 * sqrt(normal_p / 20000) + 0.005);
}

/* The interval of skewed data leans the way the skewness goes. */
static void test_skewness(void **state) {
    (void)state;
    double d[40];
    ds_random random = ds_random_init(SEED);
    for (size_t i = 0; i < 40; i++) d[i] = -log(1 - ds_random_uniform(&random));
    ds_paired p;
    expect_ok(ds_paired_bootstrap(&p, d, 1, 40, 0, SEED));
    assert_true(p.low < p.mean && p.mean < p.high && p.high - p.mean > p.mean - p.low);
}

/* Share of 400 data sets of 16 sequences whose interval holds the truth: nominal 0.95, BCa at n = 16 about 0.92. */
static void test_coverage(void **state) {
    (void)state;
    enum { SETS = 400, N = 16 };
    static double d[SETS * N];
    static ds_paired p[SETS];
    ds_random random = ds_random_init(SEED);
    for (size_t i = 0; i < SETS * N; i++) d[i] = 1 + ds_random_normal(&random);
    expect_ok(ds_paired_bootstrap(p, d, SETS, N, 1000, SEED));
    size_t covered = 0, rejected = 0;
    for (size_t i = 0; i < SETS; i++) covered += p[i].low <= 1 && 1 <= p[i].high;
    for (size_t i = 0; i < SETS * N; i++) d[i] -= 1;
    expect_ok(ds_paired_bootstrap(p, d, SETS, N, 1000, SEED));
    for (size_t i = 0; i < SETS; i++) rejected += p[i].p_value <= 0.05;
    /* 400 draws at 0.92 and at 0.05: four standard errors are 0.054 and 0.044. */
    expect_close((double)covered / SETS, 0.93, 0.055);
    expect_close((double)rejected / SETS, 0.05, 0.044);
}

static void test_few_sequences(void **state) {
    (void)state;
    const double d[] = {0.31, 0.12, 0.27, 0.49};
    ds_paired p;
    expect_ok(ds_paired_bootstrap(&p, d, 1, 1, 0, SEED));
    assert_true(p.mean == d[0] && isnan(p.low) && isnan(p.high) && isnan(p.p_value));
    expect_ok(ds_paired_bootstrap(&p, d, 1, 4, 0, SEED));
    assert_true(p.p_value == 0.125); /* two of the 16 sign patterns */
    assert_true(p.low >= 0.12 && p.low < p.mean && p.mean < p.high && p.high <= 0.49);
    const double same[] = {0.3, 0.3, 0.3}, zero[] = {0, 0, 0, 0};
    expect_ok(ds_paired_bootstrap(&p, same, 1, 3, 0, SEED));
    assert_true(p.low == p.mean && p.high == p.mean && p.p_value == 0.25);
    expect_ok(ds_paired_bootstrap(&p, zero, 1, 4, 0, SEED));
    assert_true(p.mean == 0 && p.low == 0 && p.high == 0 && p.p_value == 1);
    expect_ok(ds_paired_bootstrap(&p, d, 0, 4, 0, SEED));
    const double bad[] = {0.1, 0.2, INFINITY, 0.3};
    expect_failure(ds_paired_bootstrap(&p, bad, 2, 2, 0, SEED), DS_ERR_INPUT, "case 1 in sequence 0 is inf");
}

/* By signs of all 2^12 patterns, written the other way round: count sums from a recursion. */
static size_t count_extreme(const double *d, size_t n, double sum, double observed) {
    if (n == 0) return fabs(sum) >= observed - 1e-12 * observed;
    return count_extreme(d + 1, n - 1, sum + d[0], observed) + count_extreme(d + 1, n - 1, sum - d[0], observed);
}

static void test_sign_flips(void **state) {
    (void)state;
    double d[12], sum = 0;
    ds_random random = ds_random_init(SEED);
    for (size_t i = 0; i < 12; i++) sum += d[i] = 0.4 + ds_random_normal(&random);
    double expected = (double)count_extreme(d, 12, 0, fabs(sum)) / 4096;
    ds_paired exact, sampled;
    expect_ok(ds_paired_bootstrap(&exact, d, 1, 12, 10000, SEED));
    expect_close(exact.p_value, expected, 0.5 / 4096);
    expect_ok(ds_paired_bootstrap(&sampled, d, 1, 12, 4000, SEED));
    expect_close(sampled.p_value, expected, 5 * sqrt(expected / 4000));
}

static void test_determinism(void **state) {
    (void)state;
    enum { CASES = 9, N = 11 };
    double d[CASES * N];
    ds_paired one[CASES], four[CASES], alone, other;
    ds_random random = ds_random_init(SEED);
    for (size_t i = 0; i < CASES * N; i++) d[i] = ds_random_normal(&random);
    expect_ok(ds_threads_set(1));
    expect_ok(ds_paired_bootstrap(one, d, CASES, N, 0, 5));
    expect_ok(ds_threads_set(4));
    expect_ok(ds_paired_bootstrap(four, d, CASES, N, 0, 5));
    assert_memory_equal(one, four, sizeof one);
    expect_ok(ds_paired_bootstrap(&alone, d + 3 * N, 1, N, 0, 5));
    assert_memory_equal(&alone, &one[3], sizeof alone);
    expect_ok(ds_paired_bootstrap(&other, d + 3 * N, 1, N, 0, UINT64_C(5) << 32));
    assert_true(other.low != alone.low); /* the upper half of a seed counts */
    ds_threads_stop();
}

static void test_holm(void **state) {
    (void)state;
    const double p[] = {0.04, NAN, 0.01, 0.03, 0.005}, expected[] = {0.06, NAN, 0.03, 0.06, 0.02};
    double adjusted[5];
    expect_ok(ds_holm_adjust(adjusted, p, 5));
    for (size_t i = 0; i < 5; i++) {
        if (i == 1)
            assert_true(isnan(adjusted[i]));
        else
            expect_close(adjusted[i], expected[i], 4 * u);
    }
    double high[] = {0.9, 0.6};
    expect_ok(ds_holm_adjust(high, high, 2));
    assert_true(high[0] == 1 && high[1] == 1);
    expect_ok(ds_holm_adjust(high, high, 0));
}

static void test_correlation(void **state) {
    (void)state;
    const double x[] = {1.2, 3.4, 2.2, 5.1, 4.7, 0.3, 2.9}, y[] = {0.7, 2.9, 2.4, 3.8, 5.2, 1.1, 2.4};
    double mx = 0, my = 0, xx = 0, yy = 0, xy = 0;
    for (size_t i = 0; i < 7; i++) mx += x[i] / 7, my += y[i] / 7;
    for (size_t i = 0; i < 7; i++) {
        xx += (x[i] - mx) * (x[i] - mx);
        yy += (y[i] - my) * (y[i] - my);
        xy += (x[i] - mx) * (y[i] - my);
    }
    ds_correlation c;
    expect_ok(ds_pearson(&c, x, y, 7));
    expect_close(c.coefficient, xy / sqrt(xx * yy), 32 * u);
    expect_close(atanh(c.high) - atanh(c.low), 2 * 1.959963984540054 / sqrt(4), 1e3 * u);
    /* ranks of x: 2 5 3 7 6 1 4; of y: 1 5 3.5 6 7 2 3.5 */
    const double rx[] = {2, 5, 3, 7, 6, 1, 4}, ry[] = {1, 5, 3.5, 6, 7, 2, 3.5};
    ds_correlation ranks;
    expect_ok(ds_pearson(&ranks, rx, ry, 7));
    expect_ok(ds_spearman(&c, x, y, 7));
    expect_close(c.coefficient, ranks.coefficient, 32 * u);
    assert_true(c.low < ranks.low && ranks.high < c.high);
    expect_ok(ds_pearson(&c, x, x, 7));
    assert_true(c.coefficient > 1 - 8 * u && c.high <= 1);
    const double flat[] = {2, 2, 2, 2};
    expect_ok(ds_pearson(&c, x, flat, 4));
    assert_true(isnan(c.coefficient) && isnan(c.low));
    expect_ok(ds_spearman(&c, x, y, 3));
    assert_true(isnan(c.low) && !isnan(c.coefficient));
    const double bad[] = {1, NAN};
    expect_failure(ds_spearman(&c, x, bad, 2), DS_ERR_INPUT, "pair 1");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_large_sample),  cmocka_unit_test(test_skewness),    cmocka_unit_test(test_coverage),
        cmocka_unit_test(test_few_sequences), cmocka_unit_test(test_sign_flips),  cmocka_unit_test(test_determinism),
        cmocka_unit_test(test_holm),          cmocka_unit_test(test_correlation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
