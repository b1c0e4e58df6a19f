/* Paired comparisons and Holm's adjustment against closed forms, enumeration and what holds of any sample. */
#include <gsl/gsl_cdf.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "deltascope/stats.h"
#include "support.h"

enum { SEED = 7919 };
static const double u = 0x1p-53;

/* With normal differences and many sequences the interval tends to mean +- 1.96 s / sqrt(n). */
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

static void test_few_sequences(void **state) {
    (void)state;
    const double d[] = {0.31, 0.12, 0.27, 0.49, 0.38};
    ds_paired p;
    for (size_t n = 1; n < DS_PAIRED_LEAST; n++) {
        expect_ok(ds_paired_bootstrap(&p, d, 1, n, 0, SEED));
        assert_true(p.mean == ds_mean(d, n) && isnan(p.low) && isnan(p.high) && isnan(p.p_value));
    }
    for (size_t n = DS_PAIRED_LEAST; n <= 5; n++) {
        expect_ok(ds_paired_bootstrap(&p, d, 1, n, 0, SEED));
        assert_true(p.low < p.mean && p.mean < p.high && p.p_value > 0 && p.p_value < 1);
    }
    const double same[] = {0.3, 0.3, 0.3, 0.3}, zero[] = {0, 0, 0, 0};
    expect_ok(ds_paired_bootstrap(&p, same, 1, 4, 0, SEED));
    assert_true(p.low == p.mean && p.high == p.mean && p.p_value == 2.0 / 256);
    expect_ok(ds_paired_bootstrap(&p, zero, 1, 4, 0, SEED));
    assert_true(p.mean == 0 && p.low == 0 && p.high == 0 && p.p_value == 1);
    /* Resamples of the seven equal ones alone, a share of (7/8)^8, have no variance and leave the mean without a bound. */
    const double outlier[] = {1, 1, 1, 1, 1, 1, 1, 9};
    expect_ok(ds_paired_bootstrap(&p, outlier, 1, 8, 0, SEED));
    assert_true(p.mean == 2 && isnan(p.low) && isnan(p.high) && p.p_value > 0.05);
    expect_ok(ds_paired_bootstrap(&p, d, 0, 4, 0, SEED));
    const double bad[] = {0.1, 0.2, INFINITY, 0.3};
    expect_failure(ds_paired_bootstrap(&p, bad, 2, 2, 0, SEED), DS_ERR_INPUT, "case 1 in sequence 0 is inf");
}

/* Of the resamples that go on from i chosen values, how many have a mean as far above the sample's, over its own standard
 * error, as the sample's is above 0. */
static double count_as_far(const double *d, size_t n, size_t i, double *chosen, double t) {
    double count = 0;
    for (size_t k = 0; i < n && k < n; k++) {
        chosen[i] = d[k];
        count += count_as_far(d, n, i + 1, chosen, t);
    }
    if (i < n) return count;
    double mean = ds_mean(chosen, n), squares = 0;
    for (size_t k = 0; k < n; k++) squares += (chosen[k] - mean) * (chosen[k] - mean);
    double apart = mean - ds_mean(d, n), error = sqrt(squares / (double)(n - 1) / (double)n);
    return error < 1e-12 ? apart > 0 : apart / error >= t;
}

/* Every resample in every order, against one for each that differs in what it holds; means near enough to 0 that not all are
 * beaten, far enough that the upper tail is the smaller one. */
static void test_enumeration(void **state) {
    (void)state;
    ds_random random = ds_random_init(SEED);
    for (size_t n = 4; n <= 7; n++) {
        for (int set = 0; set < 4; set++) {
            double d[7], chosen[7];
            for (size_t i = 0; i < n; i++) d[i] = 0.5 - log(1 - ds_random_uniform(&random));
            ds_statistics s;
            ds_paired p;
            expect_ok(ds_statistics_compute(&s, d, n));
            double t = s.mean / (s.std / sqrt((double)n - 1));
            double tail = count_as_far(d, n, 0, chosen, t) / pow((double)n, (double)n);
            expect_ok(ds_paired_bootstrap(&p, d, 1, n, 0, SEED));
            expect_close(p.p_value, 2 * fmax(tail, gsl_cdf_tdist_Q(t, (double)n - 1)), 1e-9);
        }
    }
}

/* What holds of every sample: never narrower than Student's interval, p at most 0.05 exactly where 0 is outside, the other sign
 * the other way round. */
static void test_any_sample(void **state) {
    (void)state;
    ds_random random = ds_random_init(SEED);
    for (int set = 0; set < 300; set++) {
        double d[40], minus[40], shift = 1.5 * ds_random_uniform(&random);
        size_t n = DS_PAIRED_LEAST + ds_random_below(&random, 40 - DS_PAIRED_LEAST + 1);
        for (size_t i = 0; i < n; i++) d[i] = set % 2 == 0 ? ds_random_normal(&random) : exp(ds_random_normal(&random)) - 1.6;
        for (size_t i = 0; i < n; i++) minus[i] = -(d[i] += shift);
        ds_statistics s;
        ds_paired p, q;
        expect_ok(ds_statistics_compute(&s, d, n));
        expect_ok(ds_paired_bootstrap(&p, d, 1, n, 1000, SEED));
        expect_ok(ds_paired_bootstrap(&q, minus, 1, n, 1000, SEED));
        double error = s.std / sqrt((double)n - 1), half = gsl_cdf_tdist_Pinv(0.975, (double)n - 1) * error;
        double rounding = 64 * u * (fabs(s.mean) + half);
        assert_true(p.low <= s.mean - half + rounding && p.high >= s.mean + half - rounding);
        assert_true(p.p_value >= 2 * gsl_cdf_tdist_Q(fabs(s.mean) / error, (double)n - 1) * (1 - 1e-9));
        assert_int_equal(p.p_value <= 0.05, p.low > 0 || p.high < 0);
        assert_true(q.mean == -p.mean && q.low == -p.high && q.high == -p.low);
        expect_close(q.p_value, p.p_value, 1e-12 * p.p_value); /* Student's tails are computed apart */
    }
}

/* However many hypotheses there are: with as many sequences as are said to be needed a clear difference stays below 0.05 after
 * Holm, with fewer none can. */
static void test_many_hypotheses(void **state) {
    (void)state;
    static const size_t hypotheses[] = {1, 2, 6, 7, 8, 33, 78, 79, 400, 2000, 100000};
    for (size_t h = 0; h < sizeof hypotheses / sizeof *hypotheses; h++) {
        size_t m = hypotheses[h], resamples = ds_paired_resamples(m), needed = ds_paired_needed(m);
        double d[64];
        assert_true((double)m * ds_paired_smallest_p(needed, resamples) < 0.05);
        assert_true(!((double)m * ds_paired_smallest_p(needed - 1, resamples) < 0.05));
        for (size_t i = 0; i < 64; i++) d[i] = 1 + 1e-9 * (i == 0 ? 64 : -(double)i); /* one above their mean */
        for (size_t n = needed; n <= 64 && m <= 2000; n += 20) {
            ds_paired p;
            expect_ok(ds_paired_bootstrap(&p, d, 1, n, resamples, SEED));
            assert_true((double)m * p.p_value < 0.05 && p.low > 0.99);
        }
    }
    assert_int_equal(ds_paired_needed(6), 4);
    assert_int_equal(ds_paired_needed(7), 5); /* 7 * 2 / 4^4 = 0.055 */
    assert_true(isnan(ds_paired_smallest_p(DS_PAIRED_LEAST - 1, 10000)));
}

static void test_determinism(void **state) {
    (void)state;
    enum { CASES = 9, MOST = 11 };
    double d[CASES * MOST];
    ds_paired one[CASES], four[CASES], alone, other;
    ds_random random = ds_random_init(SEED);
    for (size_t i = 0; i < CASES * MOST; i++) d[i] = ds_random_normal(&random);
    for (size_t n = 6; n <= MOST; n += 5) { /* counted, drawn */
        expect_ok(ds_threads_set(1));
        expect_ok(ds_paired_bootstrap(one, d, CASES, n, 0, 5));
        expect_ok(ds_threads_set(4));
        expect_ok(ds_paired_bootstrap(four, d, CASES, n, 0, 5));
        assert_memory_equal(one, four, sizeof one);
        expect_ok(ds_paired_bootstrap(&alone, d + 3 * n, 1, n, 0, 5));
        assert_memory_equal(&alone, &one[3], sizeof alone);
        expect_ok(ds_paired_bootstrap(&other, d + 3 * n, 1, n, 0, UINT64_C(5) << 32));
        bool differs = other.p_value != alone.p_value || other.low != alone.low || other.high != alone.high;
        assert_int_equal(differs, n > DS_PAIRED_ENUMERATED); /* the upper half of a seed counts */
    }
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_large_sample), cmocka_unit_test(test_skewness),   cmocka_unit_test(test_few_sequences),
        cmocka_unit_test(test_enumeration),  cmocka_unit_test(test_any_sample), cmocka_unit_test(test_many_hypotheses),
        cmocka_unit_test(test_determinism),  cmocka_unit_test(test_holm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
