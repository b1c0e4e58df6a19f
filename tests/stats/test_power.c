/* What a number of seeds can see, and summaries of runs: series, tables, simulation. */
#include <gsl/gsl_cdf.h>
#include <gsl/gsl_sf_gamma.h>
#include <math.h>

#include "deltascope/stats.h"
#include "seed_rates.h"
#include "support.h"

enum { SEED = 86028, MOST = 64 };

static double normal_below(double x) { return erfc(-x / sqrt(2)) / 2; }

/* P(T <= t), t >= 0, of the non-central t by Guenther's series of incomplete beta functions (Lenth 1989). */
static double noncentral_below(double t, double df, double delta) {
    double x = t * t / (df + t * t), sum = 0, half = delta * delta / 2;
    for (int j = 0; j < 2000; j++) {
        double log_power = j == 0 ? 0 : j * log(half);
        double even = exp(-half + log_power - gsl_sf_lngamma(j + 1.0));
        double odd = delta / sqrt(2) * exp(-half + log_power - gsl_sf_lngamma(j + 1.5));
        sum += even * gsl_sf_beta_inc(j + 0.5, df / 2, x) + odd * gsl_sf_beta_inc(j + 1.0, df / 2, x);
        if (j > half && even < 1e-18) break;
    }
    return normal_below(-delta) + sum / 2;
}

static void test_power(void **state) {
    (void)state;
    ds_random random = ds_random_init(SEED);
    for (int round = 0; round < 60; round++) {
        double df = round % 2 == 0 ? 1 + (double)ds_random_below(&random, 40) : 1 + 30 * ds_random_uniform(&random);
        double delta = 0.01 + 12 * ds_random_uniform(&random), alpha = round % 3 == 0 ? 0.05 / 8 : 0.05;
        double critical = gsl_cdf_tdist_Qinv(alpha / 2, df);
        double expected = 1 - noncentral_below(critical, df, delta) + 1 - noncentral_below(critical, df, -delta);
        expect_close(ds_t_power(df, delta, alpha), expected, 1e-10);
        expect_close(ds_t_power(df, -delta, alpha), expected, 1e-10);
        expect_close(ds_t_power(df, 0, alpha), alpha, 1e-10);
        double power = 0.1 + 0.85 * ds_random_uniform(&random);
        expect_close(ds_t_power(df, ds_t_detectable(df, power, alpha), alpha), power, 1e-10);
    }
    /* Many degrees of freedom: the normal's power. */
    expect_close(ds_t_detectable(1e6, 0.8, 0.05), 1.959963984540054 + 0.8416212335729143, 1e-5);
    assert_true(isnan(ds_t_power(0.5, 1, 0.05)) && isnan(ds_t_detectable(0, 0.8, 0.05)));
}

/* What n seeds can see, and how wide their interval is, in standard deviations of the differences: a published table. */
static void test_table(void **state) {
    (void)state;
    static const struct row {
        size_t n;
        double effect, half;
    } rows[] = {{2, 11.6, 8.98}, {3, 3.26, 2.48},  {4, 2.13, 1.59},  {5, 1.68, 1.24},  {6, 1.43, 1.05},
                {8, 1.16, 0.84}, {10, 1.00, 0.72}, {12, 0.89, 0.64}, {16, 0.75, 0.53}, {20, 0.66, 0.47}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        double n = (double)rows[i].n, effect = ds_t_detectable(n - 1, 0.8, 0.05) / sqrt(n);
        expect_close(effect, rows[i].effect, i == 0 ? 0.051 : 0.005);
        expect_close(gsl_cdf_tdist_Qinv(0.025, n - 1) / sqrt(n), rows[i].half, 0.0051);
        assert_true(ds_seeds_needed(effect * (1 + 1e-9), 0.8, 0.05) == rows[i].n);
        assert_true(ds_seeds_needed(effect * (1 - 1e-9), 0.8, 0.05) == rows[i].n + 1);
    }
    assert_true(ds_seeds_needed(0, 0.8, 0.05) == 0 && ds_seeds_needed(1e-5, 0.8, 0.05) == 0);
    assert_true(ds_seeds_needed(-100, 0.8, 0.05) == 2 && ds_seeds_needed(NAN, 0.8, 0.05) == 0);
}

static void test_target(void **state) {
    (void)state;
    ds_random random = ds_random_init(SEED + 1);
    for (int round = 0; round < 20; round++) {
        double runs[MOST], zero[MOST] = {0}, target = 3.28;
        size_t n = 2 + ds_random_below(&random, 10);
        for (size_t i = 0; i < n; i++) runs[i] = 3.279 + 0.003 * ds_random_normal(&random) - target;
        ds_target_test test;
        ds_contrast c;
        expect_ok(ds_target_compare(&test, runs, n, 0));
        expect_ok(ds_contrast_paired(&c, runs, zero, n, 0.005, 0));
        /* Two-sided p is twice the smaller of both one-sided ones. */
        expect_close(test.runs.mean < 0 ? test.p : 1 - test.p, c.t.p / 2, 1e-12);
        expect_close(test.statistic, c.t.statistic, 1e-10 * fabs(c.t.statistic));
        for (size_t i = 0; i < n; i++) runs[i] += target;
        double p = test.p;
        expect_ok(ds_target_compare(&test, runs, n, target));
        expect_close(test.p, p, 1e-9);
    }
    ds_target_test one;
    expect_ok(ds_target_compare(&one, (double[]){3.2}, 1, 3.28));
    assert_true(one.runs.n == 1 && isnan(one.p) && one.runs.mean == 3.2);
}

static void test_ratios(void **state) {
    (void)state;
    const double ratios[] = {0.8, NAN, 0.9, 0.75, 0, INFINITY, 0.85};
    ds_ratio_summary r, turned;
    expect_ok(ds_ratios_summarise(&r, ratios, 7));
    assert_true(r.n == 4 && r.censored == 3);
    expect_close(r.geometric_mean, pow(0.8 * 0.9 * 0.75 * 0.85, 0.25), 1e-15);
    double inverse[7];
    for (size_t i = 0; i < 7; i++) inverse[i] = 1 / ratios[i];
    expect_ok(ds_ratios_summarise(&turned, inverse, 7));
    expect_close(turned.low, 1 / r.high, 1e-14);
    expect_close(turned.p, r.p, 1e-13);
    expect_ok(ds_ratios_summarise(&r, (double[]){2, 2, 2}, 3));
    assert_true(fabs(r.low - 2) < 1e-15 && r.high == r.low && isnan(r.p));
    expect_ok(ds_ratios_summarise(&r, ratios, 0));
    assert_true(r.n == 0 && isnan(r.geometric_mean));
}

/* By counting every outcome of so many fair coins. */
static void test_mcnemar(void **state) {
    (void)state;
    for (unsigned a = 0; a < 7; a++) {
        for (unsigned b = 0; a + b <= 12; b++) {
            unsigned as_far = 0, all = 1U << (a + b), apart = a > b ? a - b : b - a;
            for (unsigned k = 0; k < all; k++) {
                unsigned heads = (unsigned)__builtin_popcount(k), tails = a + b - heads;
                as_far += (heads > tails ? heads - tails : tails - heads) >= apart;
            }
            expect_close(ds_mcnemar(a, b), (double)as_far / all, 1e-14);
        }
    }
}

/* Components found again in many small tables: the mean of 4,000 estimates, five standard errors. */
static void test_two_way(void **state) {
    (void)state;
    enum { SETS = 4000, ROWS = 4, COLUMNS = 3 };
    static const double sds[] = {0.02, 0.01, 0.005};
    ds_random random = ds_random_init(SEED + 2);
    double sums[3] = {0}, squares[3] = {0};
    size_t held = 0;
    for (size_t set = 0; set < SETS; set++) {
        double values[ROWS * COLUMNS], columns[COLUMNS];
        for (size_t j = 0; j < COLUMNS; j++) columns[j] = sds[1] * ds_random_normal(&random);
        for (size_t i = 0; i < ROWS; i++) {
            double row = sds[0] * ds_random_normal(&random);
            for (size_t j = 0; j < COLUMNS; j++)
                values[i * COLUMNS + j] = 3 + row + columns[j] + sds[2] * ds_random_normal(&random);
        }
        const ds_two_way split = ds_two_way_split(values, ROWS, COLUMNS);
        const double found[] = {split.rows, split.columns, split.rest};
        for (size_t k = 0; k < 3; k++) {
            sums[k] += found[k];
            squares[k] += found[k] * found[k];
        }
        held += fabs(split.mean - 3) <= gsl_cdf_tdist_Qinv(0.025, split.df) * split.error;
    }
    for (size_t k = 0; k < 3; k++) {
        double mean = sums[k] / SETS, error = sqrt((squares[k] / SETS - mean * mean) / SETS);
        expect_close(mean, sds[k] * sds[k], 5 * error);
    }
    assert_true((double)held >= 0.94 * SETS);
    /* An exact table: rows 0, 1, columns 0, 2 and nothing left. */
    const ds_two_way exact = ds_two_way_split((double[]){0, 2, 1, 3}, 2, 2);
    assert_true(exact.rows == 0.5 && exact.columns == 2 && exact.rest == 0 && exact.mean == 1.5);
    assert_true(isnan(ds_two_way_split((double[]){0, 2, 1, NAN}, 2, 2).rows));
    assert_true(isnan(ds_two_way_split((double[]){0, 2}, 1, 2).error));
}

/* Crossed seeds: without the rows' share the interval would claim as many independent runs as there are cells. */
static void test_crossed(void **state) {
    (void)state;
    double a[12], b[12] = {0};
    for (size_t i = 0; i < 12; i++) a[i] = (double)(i / 3) + 0.01 * (double)(i * i % 5);
    ds_contrast crossed, cells;
    expect_ok(ds_contrast_crossed(&crossed, a, b, 4, 3, 0.005, 0));
    expect_ok(ds_contrast_paired(&cells, a, b, 12, 0.005, 0));
    const ds_two_way split = ds_two_way_split(a, 4, 3);
    assert_true(crossed.t.error == split.error && crossed.t.df == split.df && crossed.t.mean == cells.t.mean);
    assert_true(crossed.t.high - crossed.t.low > 2 * (cells.t.high - cells.t.low) && isnan(crossed.sign_flip.p));
    expect_ok(ds_contrast_crossed(&crossed, a, b, 1, 12, 0.005, 0));
    assert_true(crossed.t.p == cells.t.p && crossed.sign_flip.p == cells.sign_flip.p);
    a[5] = NAN;
    expect_ok(ds_contrast_crossed(&crossed, a, b, 4, 3, 0.005, 0));
    assert_true(isnan(crossed.t.low) && crossed.diverged_a == 1);
}

/* Independent windows: sd / sqrt(windows). Windows that come in runs of four alike are worth about a quarter. */
static void test_window_error(void **state) {
    (void)state;
    enum { WINDOWS = 4000, SEEDS = 3 };
    static double d[SEEDS * WINDOWS];
    ds_random random = ds_random_init(SEED + 3);
    double error, alike = 0;
    for (size_t i = 0; i < sizeof d / sizeof d[0]; i++) d[i] = 0.2 * ds_random_normal(&random);
    expect_ok(ds_window_error(&error, d, SEEDS, WINDOWS));
    expect_close(error, 0.2 / sqrt(3.0 * WINDOWS), 0.05 * 0.2 / sqrt(3.0 * WINDOWS));
    for (size_t w = 0; w < WINDOWS; w++) d[w] = alike = 0.6 * alike + 0.2 * ds_random_normal(&random);
    expect_ok(ds_window_error(&error, d, 1, WINDOWS));
    double expected = 0.2 / (1 - 0.6) / sqrt(WINDOWS);
    expect_close(error, expected, 0.1 * expected);
    expect_ok(ds_window_error(&error, d, 1, 1));
    assert_true(isnan(error));
}

/* A slice of long_seeds.c. */
static void test_error_rates(void **state) {
    (void)state;
    enum { SETS = 600 };
    double due = 0.05 + share_error(0.05, SETS);
    const study_rates r = rates_of_studies(SHAPE_NORMAL, 6, SETS, SEED + 4);
    assert_true(r.held > 1 - due && r.welch_held > 1 - due && r.t < due && r.sign_flip < due);
    assert_true(r.family < due && r.family_primary < due && r.equivalent_at_margin < due && r.equivalent > 0.95);
    assert_true(fabs(r.found - 0.8) < share_error(0.8, SETS));
    const double deviations[] = {1, 1, 1};
    const crossed_rates crossed = rates_of_crossed(3, 3, deviations, SETS, SEED + 5);
    assert_true(crossed.held > 1 - due && crossed.cells < 0.9);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_power),   cmocka_unit_test(test_table),        cmocka_unit_test(test_target),
        cmocka_unit_test(test_ratios),  cmocka_unit_test(test_mcnemar),      cmocka_unit_test(test_two_way),
        cmocka_unit_test(test_crossed), cmocka_unit_test(test_window_error), cmocka_unit_test(test_error_rates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
