/* Sums, summaries, quantiles and histograms against sorted arrays and 64-bit-mantissa arithmetic. */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "deltascope/stats.h"
#include "support.h"

enum { SEED = 20240611 };
static const double u = 0x1p-53;

static int compare(const void *left, const void *right) {
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static double *draw(size_t count, double center, double spread) {
    ds_random random = ds_random_init(SEED);
    double *values = ds_alloc_array(count, sizeof *values);
    assert_non_null(values);
    for (size_t i = 0; i < count; i++) values[i] = center + spread * ds_random_normal(&random);
    return values;
}

/* Two passes about the first value in the x87 format, which has 11 bits more than a double. */
static void two_pass(double *mean, double *std, const double *values, size_t count) {
    long double sum = 0, squares = 0, origin = values[0];
    for (size_t i = 0; i < count; i++) sum += values[i] - origin;
    long double center = sum / (long double)count;
    for (size_t i = 0; i < count; i++) squares += (values[i] - origin - center) * (values[i] - origin - center);
    *mean = (double)(origin + center);
    *std = (double)sqrtl(squares / (long double)count);
}

static void test_moments(void **state) {
    (void)state;
    const struct {
        size_t count;
        double center, spread;
    } cases[] = {{1, 3.7, 1}, {2, -0.3, 1}, {1000, 0.1, 1.3}, {20011, 1, 1e-10}, {20011, 1e9, 1e-3}, {5000, 0, 1e-120}};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        size_t n = cases[c].count;
        double *values = draw(n, cases[c].center, cases[c].spread), mean, std;
        two_pass(&mean, &std, values, n);
        ds_summary summary;
        expect_ok(ds_summary_init(&summary, 0));
        expect_ok(ds_summary_add(&summary, values, n));
        ds_statistics s = ds_summary_statistics(&summary);
        assert_int_equal(s.count, n);
        /* The reference's own error: n additions at 2^-64, relative to the mean magnitude. */
        double reference = (double)n * 0x1p-64 * (fabs(cases[c].center) + 4 * cases[c].spread);
        expect_close(s.mean, mean, 2 * u * fabs(mean) + reference);
        expect_close(s.std, std, 4 * u * std + (double)n * 0x1p-63 * std);
        expect_close(ds_mean(values, n), mean, 2 * u * fabs(mean) + reference);
        ds_summary_release(&summary);
        free(values);
    }
}

/* mean^2 + std^2 = the mean of squares, by different routes. */
static void test_mean_square(void **state) {
    (void)state;
    double *values = draw(999, 0.7, 1.9);
    ds_statistics s;
    expect_ok(ds_statistics_compute(&s, values, 999));
    long double sum = 0;
    for (size_t i = 0; i < 999; i++) sum += (long double)values[i] * values[i];
    double mean_square = (double)(sum / 999);
    expect_close(mean_square, s.mean * s.mean + s.std * s.std, 16 * u * mean_square);
    assert_true(isnan(ds_mean(values, 0)));
    free(values);
}

static void test_compensation(void **state) {
    (void)state;
    ds_sum sum = {0};
    const double terms[] = {1e16, 3.25, -1e16, 0x1p-30};
    for (size_t i = 0; i < 4; i++) ds_sum_add(&sum, terms[i]);
    assert_true(ds_sum_value(&sum) == 3.25 + 0x1p-30);
}

/* numpy's default definition, from a sorted copy. */
static double quantile_of(const double *sorted, size_t n, double level) {
    double position = level * (double)(n - 1);
    size_t i = (size_t)position, j = i + 1 < n ? i + 1 : i;
    return sorted[i] + (position - (double)i) * (sorted[j] - sorted[i]);
}

static void test_exact_quantiles(void **state) {
    (void)state;
    const size_t counts[] = {1, 2, 3, 7, 255, 256, 257, 1023, 1024};
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
        size_t n = counts[c];
        double *values = draw(n, 2.5, 1.5);
        ds_summary summary;
        expect_ok(ds_summary_init(&summary, 1024));
        for (size_t i = 0; i < n; i += 100) expect_ok(ds_summary_add(&summary, values + i, n - i < 100 ? n - i : 100));
        ds_statistics s = ds_summary_statistics(&summary);
        qsort(values, n, sizeof *values, compare);
        assert_true(s.min == values[0] && s.max == values[n - 1]);
        assert_true(s.quantile_rank_error == 0);
        for (size_t q = 0; q < DS_QUANTILES; q++)
            expect_close(s.quantiles[q], quantile_of(values, n, ds_quantile_levels[q]), 4 * u * fabs(s.max - s.min));
        assert_true(ds_summary_quantile(&summary, 0) == s.min && ds_summary_quantile(&summary, 1) == s.max);
        ds_summary_release(&summary);
        free(values);
    }
}

/* How far the rank of x in `sorted` is from `wanted`, as a fraction of n; equal values share their ranks. */
static double rank_distance(const double *sorted, size_t n, double x, double wanted) {
    size_t below = 0, upto = 0;
    while (below < n && sorted[below] < x) below++;
    for (upto = below; upto < n && sorted[upto] <= x;) upto++;
    double low = (double)below - 1, high = (double)upto; /* interpolation reaches one rank further on either side */
    return wanted < low ? (low - wanted) / (double)n : wanted > high ? (wanted - high) / (double)n : 0;
}

static void expect_ranks(ds_summary *summary, const double *values, size_t n) {
    double *sorted = ds_alloc_array(n, sizeof *sorted);
    assert_non_null(sorted);
    memcpy(sorted, values, n * sizeof *values);
    qsort(sorted, n, sizeof *sorted, compare);
    ds_statistics s = ds_summary_statistics(summary);
    assert_int_equal(s.count, n);
    assert_true(s.min == sorted[0] && s.max == sorted[n - 1]);
    for (size_t i = 0; i <= 128; i++) {
        double level = (double)i / 128;
        double found = rank_distance(sorted, n, ds_summary_quantile(summary, level), level * (double)(n - 1));
        if (!(found <= s.quantile_rank_error)) fail_msg("level %g: rank error %g > %g", level, found, s.quantile_rank_error);
    }
    free(sorted);
}

/* The bound holds for random, sorted, reversed, alternating and few-valued input, and stays small. */
static void test_sketch_bound(void **state) {
    (void)state;
    size_t n = 200003;
    double *values = draw(n, 0, 1);
    for (int order = 0; order < 5; order++) {
        if (order == 1 || order == 2) qsort(values, n, sizeof *values, compare);
        if (order == 2) {
            for (size_t i = 0; i < n / 2; i++) {
                double swap = values[i];
                values[i] = values[n - 1 - i];
                values[n - 1 - i] = swap;
            }
        }
        if (order == 3) {
            for (size_t i = 1; i < n; i += 2) values[i] = -values[i];
        }
        if (order == 4) {
            for (size_t i = 0; i < n; i++) values[i] = floor(values[i]);
        }
        ds_summary summary;
        expect_ok(ds_summary_init(&summary, 4096));
        for (size_t i = 0; i < n; i += 997) expect_ok(ds_summary_add(&summary, values + i, n - i < 997 ? n - i : 997));
        expect_ranks(&summary, values, n);
        double error = ds_summary_statistics(&summary).quantile_rank_error;
        /* 782 buffers of 256 under a tree of height 4 (16 + 15 + ...): (h - 1)/(2 k) with k = 256. */
        assert_true(error > 0 && error < 4.0 / (2 * 256));
        ds_summary_release(&summary);
    }
    free(values);
}

static void test_merge(void **state) {
    (void)state;
    size_t n = 60000;
    double *values = draw(n, 3, 0.25);
    const size_t cuts[] = {0, 1, 900, 1024, 5000, 59999, 60000};
    for (size_t c = 0; c < sizeof cuts / sizeof *cuts; c++) {
        ds_summary a, b;
        expect_ok(ds_summary_init(&a, 1024));
        expect_ok(ds_summary_init(&b, 1024));
        expect_ok(ds_summary_add(&a, values, cuts[c]));
        expect_ok(ds_summary_add(&b, values + cuts[c], n - cuts[c]));
        expect_ok(ds_summary_merge(&a, &b));
        expect_ranks(&a, values, n);
        double mean, std;
        two_pass(&mean, &std, values, n);
        ds_statistics s = ds_summary_statistics(&a);
        expect_close(s.mean, mean, 2 * u * mean + (double)n * 0x1p-64 * mean);
        expect_close(s.std, std, 4 * u * std + (double)n * 0x1p-63 * std);
        ds_summary_release(&a);
        ds_summary_release(&b);
    }
    ds_summary small, large;
    expect_ok(ds_summary_init(&small, 256));
    expect_ok(ds_summary_init(&large, 512));
    expect_failure(ds_summary_merge(&small, &large), DS_ERR_USAGE, "different capacity");
    ds_summary_release(&small);
    ds_summary_release(&large);
    free(values);
}

/* Looking in between changes nothing. */
static void test_same_bits(void **state) {
    (void)state;
    size_t n = 30000;
    double *values = draw(n, 0, 1);
    ds_summary a, b;
    expect_ok(ds_summary_init(&a, 1024));
    expect_ok(ds_summary_init(&b, 1024));
    for (size_t i = 0; i < n; i += 1000) {
        expect_ok(ds_summary_add(&a, values + i, 1000));
        (void)ds_summary_statistics(&a);
    }
    expect_ok(ds_summary_add(&b, values, n));
    ds_statistics x = ds_summary_statistics(&a), y = ds_summary_statistics(&b);
    assert_memory_equal(&x, &y, sizeof x);
    ds_summary_release(&a);
    ds_summary_release(&b);
    free(values);
}

static void test_not_numbers(void **state) {
    (void)state;
    ds_summary summary;
    expect_ok(ds_summary_init(&summary, 0));
    ds_statistics s = ds_summary_statistics(&summary);
    assert_true(s.count == 0 && isnan(s.mean) && isnan(s.std) && isnan(s.min) && isnan(s.quantiles[3]));
    const double good[] = {1.5, -2.25, 7}, bad[] = {4, NAN}, infinite[] = {-INFINITY, -INFINITY};
    expect_ok(ds_summary_add(&summary, good, 3));
    expect_failure(ds_summary_add(&summary, bad, 2), DS_ERR_INPUT, "value 4 to be summarised is NaN");
    assert_int_equal(ds_summary_statistics(&summary).count, 3);
    expect_ok(ds_summary_add(&summary, infinite, 2));
    s = ds_summary_statistics(&summary);
    assert_true(s.mean == -INFINITY && isnan(s.std) && s.min == -INFINITY && s.max == 7 && s.quantiles[3] == -2.25);
    assert_true(s.quantiles[0] == -INFINITY);
    ds_summary_release(&summary);
}

static void test_histogram(void **state) {
    (void)state;
    ds_histogram h, other;
    expect_ok(ds_histogram_init(&h, -0.3, 1.7, 7));
    assert_true(h.edges[0] == -0.3 && h.edges[7] == 1.7);
    expect_ok(ds_histogram_add(&h, h.edges, 8)); /* each edge in the bin it begins, the last in the last */
    for (size_t i = 0; i < 7; i++) assert_int_equal(h.counts[i], i == 6 ? 2 : 1);
    double *values = draw(5000, 0.6, 0.9);
    expect_ok(ds_histogram_add(&h, values, 5000));
    uint64_t total = h.below + h.above;
    for (size_t i = 0; i < h.bins; i++) {
        uint64_t expected = i == 6 ? 2 : 1;
        for (size_t j = 0; j < 5000; j++)
            expected += values[j] >= h.edges[i] && (values[j] < h.edges[i + 1] || (i == 6 && values[j] == h.edges[7]));
        assert_int_equal(h.counts[i], expected);
        total += h.counts[i];
    }
    assert_int_equal(total, 5008);
    const double outside[] = {-INFINITY, INFINITY, 1.75};
    uint64_t above = h.above;
    expect_ok(ds_histogram_add(&h, outside, 3));
    assert_int_equal(h.above, above + 2);
    const double bad = NAN;
    expect_failure(ds_histogram_add(&h, &bad, 1), DS_ERR_INPUT, "NaN");
    uint64_t first = h.counts[0];
    expect_ok(ds_histogram_merge(&h, &h));
    assert_int_equal(h.counts[0], 2 * first);
    expect_ok(ds_histogram_init(&other, -0.3, 1.7, 8));
    expect_failure(ds_histogram_merge(&h, &other), DS_ERR_USAGE, "different edges");
    ds_histogram_release(&other);
    expect_failure(ds_histogram_init(&other, 1, 1, 8), DS_ERR_USAGE, "finite range");
    ds_histogram_release(&h);
    free(values);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_moments),         cmocka_unit_test(test_mean_square),          cmocka_unit_test(test_compensation),
        cmocka_unit_test(test_exact_quantiles), cmocka_unit_test(test_sketch_bound), cmocka_unit_test(test_merge),
        cmocka_unit_test(test_same_bits),       cmocka_unit_test(test_not_numbers),  cmocka_unit_test(test_histogram),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
