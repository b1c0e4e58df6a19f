/* What differences between two conditions, paired over sequences, say about their mean. */
#include <gsl/gsl_cdf.h>
#include <gsl/gsl_rng.h>
#include <math.h>
#include <stdlib.h>

#include "deltascope/stats.h"

typedef struct comparison {
    ds_paired *out;
    const double *differences; /* (cases, n) */
    size_t n, resamples;
    unsigned long interval_seed, sign_seed;
    double *means; /* (threads, resamples) */
} comparison;

static int compare(const void *left, const void *right) {
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

/* A sum of n terms is known to n u sum|terms|: sums closer than this are the same sum in another order. */
static double same_sum(const double *d, size_t n) {
    double magnitude = 0;
    for (size_t i = 0; i < n; i++) magnitude += fabs(d[i]);
    return 2 * (double)n * ds_unit_roundoff(DS_F64) * magnitude;
}

/* acceleration = sum (d - mean)^3 / (6 (sum (d - mean)^2)^(3/2)): Efron 1987, equation 6.6, for a mean. */
static double acceleration(const double *d, size_t n, double mean, double scale) {
    double squares = 0, cubes = 0;
    for (size_t i = 0; i < n; i++) {
        double e = (d[i] - mean) / scale; /* far from overflow and underflow */
        squares += e * e;
        cubes += e * e * e;
    }
    return cubes / (6 * squares * sqrt(squares));
}

static double order_statistic(const double *sorted, size_t count, double level) {
    double position = level * (double)(count - 1), whole = floor(position);
    size_t i = ds_min_size((size_t)whole, count - 1), next = ds_min_size(i + 1, count - 1);
    return sorted[i] + (position - whole) * (sorted[next] - sorted[i]);
}

/* The level at which BCa reads the bootstrap distribution to get the nominal level of normal quantile z. */
static double corrected_level(double z, double bias, double accelerate) {
    double shifted = bias + z, denominator = 1 - accelerate * shifted;
    if (!(denominator > 0)) return shifted > 0 ? 1 : 0;
    return gsl_cdf_ugaussian_P(bias + shifted / denominator);
}

static void bca_interval(ds_paired *out, const comparison *c, const double *d, double *means, gsl_rng *rng) {
    gsl_rng_set(rng, c->interval_seed);
    double same = same_sum(d, c->n) / (double)c->n, below = 0, scale = 0;
    for (size_t r = 0; r < c->resamples; r++) {
        double sum = 0;
        for (size_t i = 0; i < c->n; i++) sum += d[gsl_rng_uniform_int(rng, c->n)];
        means[r] = sum / (double)c->n;
        below += means[r] < out->mean - same ? 1 : means[r] <= out->mean + same ? 0.5 : 0;
    }
    for (size_t i = 0; i < c->n; i++) scale = fmax(scale, fabs(d[i] - out->mean));
    if (scale <= same) {
        out->low = out->high = out->mean;
        return;
    }
    qsort(means, c->resamples, sizeof *means, compare);
    double share = fmin(fmax(below, 0.5), (double)c->resamples - 0.5) / (double)c->resamples;
    double bias = gsl_cdf_ugaussian_Pinv(share), z = gsl_cdf_ugaussian_Pinv(0.975);
    double accelerate = acceleration(d, c->n, out->mean, scale);
    out->low = order_statistic(means, c->resamples, corrected_level(-z, bias, accelerate));
    out->high = order_statistic(means, c->resamples, corrected_level(z, bias, accelerate));
}

/* Whether the sum with the signs of `pattern` (bit i: minus d[i]) is at least as far from 0. */
static bool is_as_extreme(const double *d, size_t n, uint64_t pattern, double observed) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (pattern >> i & 1) != 0 ? -d[i] : d[i];
    return fabs(sum) >= observed;
}

static void sign_flip_test(ds_paired *out, const comparison *c, const double *d, gsl_rng *rng) {
    double observed = 0;
    for (size_t i = 0; i < c->n; i++) observed += d[i];
    observed = fabs(observed) - same_sum(d, c->n);
    uint64_t hits = 0, patterns = c->n < 64 ? UINT64_C(1) << c->n : UINT64_MAX;
    if (patterns <= c->resamples) {
        for (uint64_t p = 0; p < patterns; p++) hits += is_as_extreme(d, c->n, p, observed);
        out->p_value = (double)hits / (double)patterns;
        return;
    }
    gsl_rng_set(rng, c->sign_seed);
    for (size_t r = 0; r < c->resamples; r++) {
        double sum = 0;
        unsigned long bits = 0;
        for (size_t i = 0; i < c->n; i++) {
            if (i % 32 == 0) bits = gsl_rng_get(rng);
            sum += (bits >> i % 32 & 1) != 0 ? -d[i] : d[i];
        }
        hits += fabs(sum) >= observed;
    }
    out->p_value = (double)(1 + hits) / (double)(1 + c->resamples);
}

static ds_status compare_one(void *context, size_t index, size_t worker) {
    const comparison *c = context;
    const double *d = c->differences + index * c->n;
    ds_paired result = {ds_mean(d, c->n), NAN, NAN, NAN};
    if (c->n > 1) {
        /* gsl_rng_alloc would call the process's error handler when there is no memory */
        gsl_rng rng = {gsl_rng_mt19937, ds_calloc(1, gsl_rng_mt19937->size)};
        if (rng.state == NULL) return DS_ERR_SYSTEM;
        bca_interval(&result, c, d, c->means + worker * c->resamples, &rng);
        sign_flip_test(&result, c, d, &rng);
        free(rng.state);
    }
    c->out[index] = result;
    return DS_OK;
}

ds_status ds_paired_bootstrap(ds_paired *out, const double *differences, size_t cases, size_t n, size_t resamples,
                              uint64_t seed) {
    ds_status status = DS_OK;
    size_t workers = ds_threads();
    ds_random random = ds_random_init(seed);
    comparison c = {.out = out, .differences = differences, .n = n};
    c.resamples = resamples == 0 ? DS_BOOTSTRAP_RESAMPLES : resamples;
    c.interval_seed = (unsigned long)ds_random_u64(&random); /* GSL keeps the low 32 bits: mix before cutting */
    c.sign_seed = (unsigned long)ds_random_u64(&random);
    for (size_t i = 0; i < cases * n; i++) {
        if (!isfinite(differences[i]))
            return ds_fail(DS_ERR_INPUT, "the difference of case %zu in sequence %zu is %g, expected a finite number", i / n,
                           i % n, differences[i]);
    }
    DS_NEW_ARRAY(c.means, workers * c.resamples);
    DS_TRY(ds_parallel_for_within(workers, cases, compare_one, &c));
done:
    free(c.means);
    return status;
}

/* ---- many p-values ----------------------------------------------------------------------------------------------- */

typedef struct ranked {
    double p;
    size_t index;
} ranked;

static int compare_ranked(const void *left, const void *right) {
    const ranked *a = left, *b = right;
    if (a->p != b->p) return a->p < b->p ? -1 : 1;
    return (a->index > b->index) - (a->index < b->index);
}

ds_status ds_holm_adjust(double *adjusted, const double *p_values, size_t count) {
    ds_status status = DS_OK;
    ranked *order = NULL;
    size_t hypotheses = 0;
    double largest = 0;
    DS_NEW(order, count);
    for (size_t i = 0; i < count; i++) {
        if (!isnan(p_values[i])) order[hypotheses++] = (ranked){p_values[i], i};
        adjusted[i] = p_values[i];
    }
    qsort(order, hypotheses, sizeof *order, compare_ranked);
    for (size_t i = 0; i < hypotheses; i++) {
        largest = fmax(largest, fmin(1, (double)(hypotheses - i) * order[i].p));
        adjusted[order[i].index] = largest;
    }
done:
    free(order);
    return status;
}
