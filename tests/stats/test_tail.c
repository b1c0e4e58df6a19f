/* Marchenko and Pastur's law against its density. Power-law fits: exponents recovered within their stated error, against a
 * direct search, and refusals. */
#include <math.h>
#include <stdlib.h>

#include "deltascope/stats.h"
#include "support.h"

enum { N = 1500 };

/* P(X > x) = x^(1 - alpha) for x >= 1. */
static void draw(double *x, size_t n, double alpha, ds_random *random) {
    for (size_t i = 0; i < n; i++) x[i] = pow(1 - ds_random_uniform(random), -1 / (alpha - 1));
}

static void test_quantiles_of_a_power_law(void **state) {
    (void)state;
    static const double alphas[] = {1.6, 2.5, 3.7, 6};
    double x[N];
    for (size_t a = 0; a < 4; a++) {
        ds_power_law fit;
        for (size_t i = 0; i < N; i++) x[i] = 3.5 * pow(((double)i + 0.5) / N, -1 / (alphas[a] - 1));
        expect_ok(ds_power_law_fit(&fit, x, N, 10));
        expect_close(fit.alpha, alphas[a], fit.alpha_stderr);
        expect_close(fit.alpha_stderr, (fit.alpha - 1) / sqrt((double)fit.tail), 0);
        assert_true(fit.ks < 0.05 && fit.tail > N / 10);
        assert_false(ds_power_law_rejected(&fit, DS_POWER_LAW_CRITICAL));
    }
}

/* Over many samples the error is distributed as the standard error says; the search for xmin adds some spread. */
static void test_the_standard_error_is_honest(void **state) {
    (void)state;
    ds_random random = ds_random_init(31);
    const int trials = 100;
    int within = 0;
    for (int t = 0; t < trials; t++) {
        double x[N];
        ds_power_law fit;
        draw(x, N, 2.8, &random);
        expect_ok(ds_power_law_fit(&fit, x, N, 10));
        double z = fabs(fit.alpha - 2.8) / fit.alpha_stderr;
        assert_true(z < 6);
        within += z < 1;
    }
    if (!(within >= 40 && within <= 90)) fail_msg("%d of %d within one standard error", within, trials);
}

static void test_against_a_direct_search(void **state) {
    (void)state;
    ds_random random = ds_random_init(32);
    for (int trial = 0; trial < 40; trial++) {
        enum { n = 60, least = 5 };
        double x[n], best = INFINITY, alpha = 0, xmin = 0;
        ds_power_law fit;
        for (size_t i = 0; i < n; i++) x[i] = exp(ds_random_normal(&random));
        for (size_t candidate = 0; candidate < n; candidate++) {
            double sum = 0, count = 0, ks = 0;
            for (size_t i = 0; i < n; i++) {
                if (x[i] < x[candidate]) continue;
                sum += log(x[i] / x[candidate]);
                count++;
            }
            if (count < least) continue;
            double power = 1 + count / sum;
            for (size_t i = 0; i < n; i++) { /* both sides of the step at x_i */
                if (x[i] < x[candidate]) continue;
                double below = 0, upto = 0, model = 1 - pow(x[i] / x[candidate], 1 - power);
                for (size_t j = 0; j < n; j++) {
                    below += x[j] >= x[candidate] && x[j] < x[i];
                    upto += x[j] >= x[candidate] && x[j] <= x[i];
                }
                ks = fmax(ks, fmax(fabs(model - below / count), fabs(upto / count - model)));
            }
            if (ks >= best) continue;
            best = ks;
            alpha = power;
            xmin = x[candidate];
        }
        expect_ok(ds_power_law_fit(&fit, x, n, least));
        expect_close(fit.ks, best, 256 * 0x1p-53);
        expect_close(fit.alpha, alpha, 256 * n * 0x1p-53 * alpha);
        expect_close(fit.xmin, xmin, 8 * 0x1p-53 * xmin);
    }
}

/* WeightWatcher's rule, written down once more: every tail of two or more, |fit - i/n| at its i-th value. */
static void test_weightwatcher_by_hand(void **state) {
    (void)state;
    ds_random random = ds_random_init(34);
    size_t differs = 0;
    for (int trial = 0; trial < 60; trial++) {
        enum { MOST = 50 };
        size_t n = 2 + ds_random_below(&random, MOST - 1), small = 0, tail = 0;
        double x[MOST], best = INFINITY, alpha = NAN, xmin = NAN;
        ds_power_law found, ours;
        for (size_t i = 0; i < n; i++) {
            x[i] = exp((trial % 2 == 0 ? 1 : 4) * ds_random_normal(&random));
            small += x[i] <= 1e-5;
        }
        for (size_t c = 0; c < n; c++) {
            double sum = 0, size = 0, most = 0;
            if (x[c] <= 1e-5) continue;
            for (size_t i = 0; i < n; i++) {
                if (x[i] < x[c]) continue;
                sum += log(x[i] / x[c]);
                size++;
            }
            if (size < 2) continue;
            double power = 1 + size / sum;
            for (size_t i = 0; i < n; i++) {
                double before = 0;
                if (x[i] < x[c]) continue;
                for (size_t j = 0; j < n; j++) before += x[j] >= x[c] && x[j] < x[i];
                most = fmax(most, fabs(1 - pow(x[i] / x[c], 1 - power) - before / size));
            }
            if (most >= best) continue;
            best = most;
            alpha = power;
            xmin = x[c];
            tail = (size_t)size;
        }
        expect_ok(ds_power_law_fit_weightwatcher(&found, x, n));
        expect_ok(ds_power_law_fit(&ours, x, n, 10));
        if (n - small < 2) {
            assert_true(isnan(found.alpha));
            continue;
        }
        assert_int_equal(found.tail, tail);
        expect_close(found.ks, best, 256 * 0x1p-53);
        expect_close(found.alpha, alpha, 256 * MOST * 0x1p-53 * alpha);
        expect_close(found.xmin, xmin, 64 * 0x1p-53 * xmin);
        differs += !(found.alpha == ours.alpha);
    }
    assert_true(differs > 10);
}

/* The search for xmin is in the spread: on true power laws 1.96 of them hold the exponent about as often as they should, and
 * the usual standard error does not. Binomial standard error of a share of 95% of 200: 1.5 points. */
static void test_the_spread_covers(void **state) {
    (void)state;
    enum { TRIALS = 200, SIZE = 60 };
    ds_random random = ds_random_init(35);
    size_t covered = 0, usual = 0;
    for (size_t t = 0; t < TRIALS; t++) {
        double x[SIZE], spread, alpha = 2 + 2 * ds_random_uniform(&random);
        ds_power_law found;
        draw(x, SIZE, alpha, &random);
        for (size_t i = 0; t % 2 == 0 && i < SIZE / 3; i++) x[i] = exp(-fabs(ds_random_normal(&random))); /* below xmin = 1 */
        expect_ok(ds_power_law_fit(&found, x, SIZE, 10));
        expect_ok(ds_power_law_spread(&spread, x, SIZE, 10, t));
        covered += fabs(found.alpha - alpha) <= 1.96 * spread;
        usual += fabs(found.alpha - alpha) <= 1.96 * found.alpha_stderr;
    }
    print_message("1.96 spreads hold the exponent %zu times of %d, 1.96 usual standard errors %zu times\n", covered, TRIALS,
                  usual);
    assert_true(covered >= 182 && usual < covered);
}

static void test_corners_of_the_spread(void **state) {
    (void)state;
    double x[64], one, two, other;
    ds_random random = ds_random_init(36);
    draw(x, 64, 3, &random);
    expect_ok(ds_power_law_spread(&one, x, 64, 10, 5));
    expect_ok(ds_power_law_spread(&two, x, 64, 10, 5));
    expect_ok(ds_power_law_spread(&other, x, 64, 10, 6));
    expect_close(two, one, 0);
    assert_true(other != one && one > 0);
    expect_ok(ds_power_law_spread(&one, x, 9, 10, 5));
    assert_true(isnan(one));
    expect_ok(ds_power_law_spread(&one, NULL, 0, 10, 5));
    assert_true(isnan(one));
    for (size_t i = 0; i < 64; i++) x[i] = 2;
    expect_ok(ds_power_law_spread(&one, x, 64, 10, 5));
    assert_true(isnan(one));
    x[3] = NAN;
    expect_failure(ds_power_law_spread(&one, x, 64, 10, 5), DS_ERR_INPUT, "value 3");
    expect_failure(ds_power_law_fit_weightwatcher(&(ds_power_law){0}, x, 64), DS_ERR_INPUT, "value 3");
}

/* With the whole sample as the tail, an exponential law is no power law and a power law is one. */
static void test_rejection(void **state) {
    (void)state;
    ds_random random = ds_random_init(33);
    int rejected = 0;
    const int trials = 200;
    double x[N];
    ds_power_law fit;
    for (size_t i = 0; i < N; i++) x[i] = 1 - log(1 - ds_random_uniform(&random));
    expect_ok(ds_power_law_fit(&fit, x, N, N));
    assert_int_equal(fit.tail, N);
    assert_true(ds_power_law_rejected(&fit, DS_POWER_LAW_CRITICAL));
    for (int t = 0; t < trials; t++) {
        draw(x, N, 2.2, &random);
        expect_ok(ds_power_law_fit(&fit, x, N, N));
        rejected += ds_power_law_rejected(&fit, DS_POWER_LAW_CRITICAL);
    }
    if (!(rejected >= 1 && rejected <= 24)) fail_msg("%d of %d rejected at the 5%% level", rejected, trials);
}

static void test_corners(void **state) {
    (void)state;
    ds_power_law fit;
    const double few[3] = {1, 2, 4}, equal[12] = {3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3}, negative[4] = {-1, 0, 2, 3};
    expect_ok(ds_power_law_fit(&fit, NULL, 0, 10));
    assert_true(isnan(fit.alpha) && fit.tail == 0 && ds_power_law_rejected(&fit, DS_POWER_LAW_CRITICAL));
    expect_ok(ds_power_law_fit(&fit, few, 3, 10));
    assert_true(isnan(fit.ks) && isnan(fit.xmin));
    expect_ok(ds_power_law_fit(&fit, equal, 12, 10));
    assert_int_equal(fit.tail, 0);
    expect_ok(ds_power_law_fit(&fit, negative, 4, 2)); /* 2 and 3 are left */
    assert_int_equal(fit.tail, 2);
    expect_close(fit.alpha, 1 + 2 / log(1.5), 64 * 0x1p-53);
    expect_failure(ds_power_law_fit(&fit, (const double[]){1, NAN}, 2, 2), DS_ERR_INPUT, "value 1");
    expect_failure(ds_power_law_fit(&fit, (const double[]){INFINITY}, 1, 2), DS_ERR_INPUT, "value 0");
}

/* The closed form against the density's integral by the midpoint rule after x = middle + half sin t, which removes the roots
 * at both ends (for ratio 1 the one at 0 stays integrable). */
static void test_marchenko_pastur(void **state) {
    (void)state;
    enum { STEPS = 4000 };
    static const double ratios[] = {0.003, 0.1, 0.37, 0.8, 0.999, 1};
    for (size_t r = 0; r < sizeof ratios / sizeof *ratios; r++) {
        double q = ratios[r], middle = 1 + q, half = 2 * sqrt(q), sum = 0, step = M_PI / STEPS;
        for (int i = 0; i < STEPS; i++) {
            double t = -M_PI / 2 + (i + 0.5) * step, x = middle + half * sin(t), root = half * cos(t);
            double end = middle + half * sin(t + 0.5 * step);
            sum += root * root / (2 * M_PI * q * x) * step;
            expect_close(ds_marchenko_pastur(end, q), sum, q < 1 ? 1e-6 / (1 - sqrt(q)) : 1e-3);
        }
        expect_close(ds_marchenko_pastur(middle - half, q), 0, 1e-7 / q);
        expect_close(ds_marchenko_pastur(middle + half * (1 + 1e-12), q), 1, 0);
    }
    assert_true(isnan(ds_marchenko_pastur(NAN, 0.5)));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quantiles_of_a_power_law),
        cmocka_unit_test(test_the_standard_error_is_honest),
        cmocka_unit_test(test_against_a_direct_search),
        cmocka_unit_test(test_weightwatcher_by_hand),
        cmocka_unit_test(test_the_spread_covers),
        cmocka_unit_test(test_corners_of_the_spread),
        cmocka_unit_test(test_rejection),
        cmocka_unit_test(test_corners),
        cmocka_unit_test(test_marchenko_pastur),
    };
    return cmocka_run_group_tests_name("tail", tests, NULL, NULL);
}
