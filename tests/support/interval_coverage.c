#include "interval_coverage.h"

#include <gsl/gsl_cdf.h>
#include <math.h>
#include <stdlib.h>

#include "deltascope/stats.h"
#include "support.h"

const char *const shape_names[SHAPES] = {"normal", "exponential", "lognormal"};
const char *const pairs_names[PAIRS] = {"normal", "lognormal", "sums of exponentials"};

static double exponential(ds_random *random) { return -log(1 - ds_random_uniform(random)); }

double shape_draw(shape of, ds_random *random) {
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
    for (size_t i = 0; i < sets * n; i++) d[i] = shape_draw(of, &random);
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

/* ---- other methods ----------------------------------------------------------------------------------------------- */

/* One data set of mean 0: its mean and standard error, and those of its resamples. */
typedef struct sample {
    const double *d;
    size_t n, resamples;
    double mean, error;
    double *means, *t; /* (resamples) ascending */
} sample;

static void moments(double *mean, double *error, const double *d, size_t n) {
    ds_statistics s;
    expect_ok(ds_statistics_compute(&s, d, n));
    *mean = s.mean;
    *error = s.std / sqrt((double)n - 1);
}

static void resample(sample *s, ds_random *random) {
    double *drawn = malloc(s->n * sizeof *drawn);
    assert_non_null(drawn);
    moments(&s->mean, &s->error, s->d, s->n);
    for (size_t r = 0; r < s->resamples; r++) {
        double sum = 0, squares = 0, n = (double)s->n;
        for (size_t i = 0; i < s->n; i++) sum += drawn[i] = s->d[ds_random_below(random, s->n)];
        for (size_t i = 0; i < s->n; i++) squares += (drawn[i] - sum / n) * (drawn[i] - sum / n);
        s->means[r] = sum / n;
        s->t[r] = (sum / n - s->mean) / fmax(sqrt(squares / (n - 1) / n), 1e-12);
    }
    qsort(s->means, s->resamples, sizeof *s->means, ascending);
    qsort(s->t, s->resamples, sizeof *s->t, ascending);
    free(drawn);
}

static bool student_holds(const sample *s) { return fabs(s->mean / s->error) <= gsl_cdf_tdist_Pinv(0.975, (double)s->n - 1); }

static bool bootstrap_t_holds(const sample *s) {
    size_t tail = (size_t)(0.025 * (double)s->resamples);
    return s->t[tail] <= s->mean / s->error && s->mean / s->error <= s->t[s->resamples - 1 - tail];
}

/* Efron 1987, equations 2.3 and 6.6. */
static bool bca_holds(const sample *s) {
    double squares = 0, cubes = 0, below = 0, ends[2], count = (double)s->resamples;
    for (size_t i = 0; i < s->n; i++) {
        double e = s->d[i] - s->mean;
        squares += e * e;
        cubes += e * e * e;
    }
    for (size_t r = 0; r < s->resamples; r++) below += s->means[r] < s->mean;
    double bias = gsl_cdf_ugaussian_Pinv(fmin(fmax(below, 0.5), count - 0.5) / count);
    double accelerate = cubes / (6 * squares * sqrt(squares));
    for (int end = 0; end < 2; end++) {
        double z = bias + (end == 0 ? -1 : 1) * 1.959963984540054;
        ends[end] = s->means[(size_t)((count - 1) * gsl_cdf_ugaussian_P(bias + z / (1 - accelerate * z)))];
    }
    return ends[0] <= 0 && 0 <= ends[1];
}

static bool sign_flips_hold(const sample *s, ds_random *random) {
    double observed = fabs(s->mean) * (double)s->n * (1 - 1e-12);
    size_t hits = 1;
    for (size_t r = 0; r < s->resamples; r++) {
        double sum = 0;
        for (size_t i = 0; i < s->n; i++) sum += ds_random_u64(random) >> 63 != 0 ? s->d[i] : -s->d[i];
        hits += fabs(sum) >= observed;
    }
    return (double)hits > 0.05 * ((double)s->resamples + 1);
}

other_coverage coverage_of_others(shape of, size_t n, size_t sets, size_t resamples, uint64_t seed) {
    other_coverage found = {0};
    ds_random random = ds_random_init(seed);
    double *d = malloc(n * sizeof *d), share = 1 / (double)sets;
    sample s = {.d = d, .n = n, .resamples = resamples};
    s.means = malloc(resamples * sizeof *s.means);
    s.t = malloc(resamples * sizeof *s.t);
    assert_true(d != NULL && s.means != NULL && s.t != NULL);
    for (size_t i = 0; i < sets; i++) {
        for (size_t k = 0; k < n; k++) d[k] = shape_draw(of, &random);
        resample(&s, &random);
        found.student += share * student_holds(&s);
        found.bootstrap_t += share * bootstrap_t_holds(&s);
        found.bca += share * bca_holds(&s);
        found.sign_flips += share * sign_flips_hold(&s, &random);
    }
    free(d);
    free(s.means);
    free(s.t);
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

/* The interval atanh(r) -+ 1.96 standard errors, which is [1, 1] at r = 1. */
static double normal_holds(double r, double inflation, size_t n, double truth) {
    double half = 1.959963984540054 * sqrt(inflation / ((double)n - 3)), z = atanh(r);
    return tanh(z - half) <= truth && truth <= tanh(z + half);
}

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
        double r = ranks.coefficient;
        found.fisher += normal_holds(numbers.coefficient, 1, n, true_pearson(of, rho)) / (double)sets;
        found.bonett_wright += normal_holds(r, 1 + r * r / 2, n, true_spearman(of, rho)) / (double)sets;
    }
    free(x);
    return found;
}

double share_error(double share, size_t sets) { return 4 * sqrt(share * (1 - share) / (double)sets); }
