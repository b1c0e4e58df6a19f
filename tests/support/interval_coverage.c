#include "interval_coverage.h"

#include <gsl/gsl_cdf.h>
#include <math.h>
#include <stdlib.h>

#include "deltascope/stats.h"
#include "support.h"

const char *const shape_names[SHAPES] = {"normal", "exponential", "lognormal"};
const char *const pairs_names[PAIRS] = {"normal", "lognormal", "sums of exponentials"};

static double exponential(ds_random *random) { return -log(1 - ds_random_uniform(random)); }

/* Of mean 0. */
static double draw(shape of, ds_random *random) {
    if (of == SHAPE_EXPONENTIAL) return exponential(random) - 1;
    double normal = ds_random_normal(random);
    return of == SHAPE_LOGNORMAL ? exp(normal) - exp(0.5) : normal;
}

static int ascending(const void *left, const void *right) {
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static double median(double *values, size_t count) {
    qsort(values, count, sizeof *values, ascending);
    return values[count / 2];
}

mean_coverage coverage_of_mean(shape of, size_t n, size_t sets, size_t resamples, uint64_t seed) {
    mean_coverage found = {0};
    double *d = malloc(sets * n * sizeof *d), *widths = malloc(sets * sizeof *widths);
    ds_paired *paired = malloc(sets * sizeof *paired);
    ds_random random = ds_random_init(seed);
    assert_true(d != NULL && widths != NULL && paired != NULL);
    for (size_t i = 0; i < sets * n; i++) d[i] = draw(of, &random);
    expect_ok(ds_paired_bootstrap(paired, d, sets, n, resamples, seed));
    for (size_t i = 0; i < sets; i++) {
        ds_statistics s;
        expect_ok(ds_statistics_compute(&s, d + i * n, n));
        double student = gsl_cdf_tdist_Pinv(0.975, (double)n - 1) * s.std / sqrt((double)n - 1);
        widths[i] = (paired[i].high - paired[i].low) / (2 * student);
        found.held += (paired[i].low <= 0 && 0 <= paired[i].high) / (double)sets;
        found.rejected += (paired[i].p_value <= 0.05) / (double)sets;
        found.rejected_few += (paired[i].p_value <= 0.05 / 8) / (double)sets;
    }
    found.width = median(widths, sets);
    free(d);
    free(widths);
    free(paired);
    return found;
}

/* ---- correlation ------------------------------------------------------------------------------------------------- */

static void draw_pair(double *x, double *y, pairs of, double rho, ds_random *random) {
    double other = sqrt(1 - rho * rho);
    *x = of == PAIRS_SUM ? exponential(random) : ds_random_normal(random);
    *y = rho * *x + other * (of == PAIRS_SUM ? exponential(random) : ds_random_normal(random));
    if (of == PAIRS_LOGNORMAL) {
        *x = exp(*x);
        *y = exp(*y);
    }
}

static double true_pearson(pairs of, double rho) { return of == PAIRS_LOGNORMAL ? expm1(rho) / expm1(1) : rho; }

/* Of normal pairs and what is monotone in them (6/pi) asin(rho/2). Of sums 12 E[F(x) G(y)] - 3 with the distributions
 * F(x) = 1 - exp(-x) and, s = sqrt(1 - rho^2), G(y) = 1 - (rho exp(-y/rho) - s exp(-y/s)) / (rho - s). */
static double true_spearman(pairs of, double rho) {
    if (of != PAIRS_SUM) return 6 / 3.141592653589793 * asin(rho / 2);
    double s = sqrt(1 - rho * rho);
    double first = rho * rho / (6 * (rho + s)), second = s * s / 2 * (1 / (s + rho) - 1 / (2 * s + rho));
    return 12 * (0.5 - (first - second) / (rho - s)) - 3;
}

static double holds(const ds_correlation *c, double truth) { return c->low <= truth && truth <= c->high; }

correlation_coverage coverage_of_correlation(pairs of, double rho, size_t n, size_t sets, uint64_t seed) {
    correlation_coverage found = {0};
    double *x = malloc(2 * n * sizeof *x);
    ds_random random = ds_random_init(seed);
    assert_non_null(x);
    for (size_t i = 0; i < sets; i++) {
        ds_correlation numbers, ranks;
        for (size_t k = 0; k < n; k++) draw_pair(&x[k], &x[n + k], of, rho, &random);
        expect_ok(ds_pearson(&numbers, x, x + n, n));
        expect_ok(ds_spearman(&ranks, x, x + n, n));
        found.pearson += holds(&numbers, true_pearson(of, rho)) / (double)sets;
        found.spearman += holds(&ranks, true_spearman(of, rho)) / (double)sets;
    }
    free(x);
    return found;
}

double share_error(double share, size_t sets) { return 4 * sqrt(share * (1 - share) / (double)sets); }
