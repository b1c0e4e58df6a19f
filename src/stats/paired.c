/* What differences between two conditions, paired over sequences, say about their mean. */
#include <gsl/gsl_cdf.h>
#include <math.h>
#include <stdlib.h>

#include "deltascope/stats.h"

const char ds_paired_method[] = "bootstrap-t, on each side at least student-t";

/* t = (mean - mean of all) / standard error of one resample, and for how many equally likely resamples it stands. */
typedef struct replicate {
    double t, weight;
} replicate;

/* Replicates, ascending, and what shares of them are shares of: `total`, in which drawn ones count the sample itself, as far
 * out as the farthest, with weight `own`. */
typedef struct distribution {
    replicate *replicates;
    size_t count;
    double own, total;
} distribution;

/* One row's differences from their mean, over the largest of them: far from overflow and underflow. */
typedef struct row {
    double *z; /* (n) */
    size_t n;
    double mean, scale;
    double same; /* sums of n of z that are nearer are equal, but for rounding */
} row;

typedef struct comparison {
    ds_paired *out;
    const double *differences; /* (cases, n) */
    size_t n, resamples, capacity;
    uint64_t seed;
    double *z;             /* (threads, n) */
    replicate *replicates; /* (threads, capacity) */
} comparison;

static const double one_sided = 0.025;

static bool is_enumerated(size_t n) { return n <= DS_PAIRED_ENUMERATED; }

/* n^n: resamples that differ in what stands where. */
static double ordered_resamples(size_t n) {
    double count = 1;
    for (size_t i = 0; i < n; i++) count *= (double)n;
    return count;
}

/* (2n-1 over n): resamples that differ in how often what occurs. */
static size_t distinct_resamples(size_t n) {
    size_t count = 1;
    for (size_t i = 1; i <= n; i++) count = count * (n - 1 + i) / i;
    return count;
}

/* A sum of n terms is known to n u sum|terms|: sums closer than this are the same sum in another order. */
static double same_sum(const double *d, size_t n) {
    double magnitude = 0;
    for (size_t i = 0; i < n; i++) magnitude += fabs(d[i]);
    return 2 * (double)n * ds_unit_roundoff(DS_F64) * magnitude;
}

static row row_of(double *z, const double *d, size_t n) {
    row r = {.z = z, .n = n, .mean = ds_mean(d, n)};
    for (size_t i = 0; i < n; i++) r.scale = fmax(r.scale, fabs(d[i] - r.mean));
    r.same = same_sum(d, n);
    if (r.scale <= r.same / (double)n) {
        r.scale = 0;
        return r;
    }
    for (size_t i = 0; i < n; i++) z[i] = (d[i] - r.mean) / r.scale;
    r.same /= r.scale;
    return r;
}

/* sum and squares of a resample's z. Without variance t is infinite; 0 where it is the mean itself again and again. */
static double studentised(const row *r, double sum, double squares) {
    double n = (double)r->n, rest = squares - sum * sum / n;
    if (rest <= 4 * n * ds_unit_roundoff(DS_F64) * squares || squares == 0) {
        if (fabs(sum) <= r->same) return 0;
        return sum > 0 ? INFINITY : -INFINITY;
    }
    return sum / n / sqrt(rest / (n - 1) / n);
}

/* ---- the distribution of t --------------------------------------------------------------------------------------- */

static int compare_replicates(const void *left, const void *right) {
    double a = ((const replicate *)left)->t, b = ((const replicate *)right)->t;
    return (a > b) - (a < b);
}

/* chosen (n), not descending: one resample for all that differ from it in order, n! over the product of the factorials of
 * repetitions. */
static replicate replicate_of(const row *r, const size_t *chosen) {
    double sum = 0, squares = 0, weight = 1;
    size_t repeated = 0;
    for (size_t i = 0; i < r->n; i++) {
        double z = r->z[chosen[i]];
        sum += z;
        squares += z * z;
        repeated = i > 0 && chosen[i] == chosen[i - 1] ? repeated + 1 : 1;
        weight = weight * (double)(i + 1) / (double)repeated; /* an integer after every step */
    }
    return (replicate){studentised(r, sum, squares), weight};
}

/* The next of the sequences that do not descend, in lexical order; false after the last. */
static bool next_choice(size_t *chosen, size_t n) {
    size_t at = n;
    while (at > 0 && chosen[at - 1] == n - 1) at--;
    if (at == 0) return false;
    size_t larger = chosen[at - 1] + 1;
    for (size_t i = at - 1; i < n; i++) chosen[i] = larger;
    return true;
}

static distribution enumerate(const row *r, replicate *replicates) {
    distribution all = {replicates, 0, 0, ordered_resamples(r->n)};
    size_t chosen[DS_PAIRED_ENUMERATED] = {0};
    do {
        replicates[all.count++] = replicate_of(r, chosen);
    } while (next_choice(chosen, r->n));
    return all;
}

static distribution draw(const row *r, replicate *replicates, size_t resamples, uint64_t seed) {
    ds_random random = ds_random_init(seed);
    for (size_t k = 0; k < resamples; k++) {
        double sum = 0, squares = 0;
        for (size_t i = 0; i < r->n; i++) {
            double z = r->z[(ds_random_u64(&random) >> 32) * r->n >> 32]; /* n < 2^32: each as likely but for n / 2^32 */
            sum += z;
            squares += z * z;
        }
        replicates[k] = (replicate){studentised(r, sum, squares), 1};
    }
    return (distribution){replicates, resamples, 1, (double)resamples + 1};
}

/* The value farthest out that more than one_sided of the distribution reaches: t is beyond it exactly where `beyond` is at most
 * one_sided. */
static double quantile(const distribution *all, bool upper) {
    double weight = all->own;
    size_t i = 0;
    for (; i + 1 < all->count; i++) {
        weight += all->replicates[upper ? all->count - 1 - i : i].weight;
        if (weight > one_sided * all->total) break;
    }
    return all->replicates[upper ? all->count - 1 - i : i].t;
}

/* The share of the distribution at least as far out as t. */
static double beyond(const distribution *all, double t, bool upper) {
    double weight = all->own;
    for (size_t i = 0; i < all->count; i++) {
        double other = all->replicates[i].t;
        if (upper ? other >= t : other <= t) weight += all->replicates[i].weight;
    }
    return weight / all->total;
}

/* ---- one comparison ---------------------------------------------------------------------------------------------- */

static double smaller_tail(double upper, double lower) { return fmin(1, 2 * fmin(upper, lower)); }

static void infer(ds_paired *out, const row *r, const distribution *all) {
    double n = (double)r->n, squares = 0;
    for (size_t i = 0; i < r->n; i++) squares += r->z[i] * r->z[i];
    double error = sqrt(squares / (n - 1) / n) * r->scale, t = r->mean / error;
    double student = gsl_cdf_tdist_Pinv(1 - one_sided, n - 1);
    double low = r->mean - error * fmax(student, quantile(all, true));
    double high = r->mean - error * fmin(-student, quantile(all, false));
    if (isfinite(low) && isfinite(high)) {
        out->low = low;
        out->high = high;
    }
    out->p_value = smaller_tail(fmax(beyond(all, t, true), gsl_cdf_tdist_Q(t, n - 1)),
                                fmax(beyond(all, t, false), gsl_cdf_tdist_P(t, n - 1)));
}

static ds_status compare_one(void *context, size_t index, size_t worker) {
    const comparison *c = context;
    const double *d = c->differences + index * c->n;
    ds_paired *out = &c->out[index];
    const row r = row_of(c->z + worker * c->n, d, c->n);
    *out = (ds_paired){r.mean, NAN, NAN, NAN};
    if (c->n < DS_PAIRED_LEAST) return DS_OK;
    if (r.scale == 0) {
        out->low = out->high = r.mean;
        out->p_value = fabs(r.mean) <= r.same / (double)c->n ? 1 : ds_paired_smallest_p(c->n, c->resamples);
        return DS_OK;
    }
    replicate *own = c->replicates + worker * c->capacity;
    distribution all = is_enumerated(c->n) ? enumerate(&r, own) : draw(&r, own, c->resamples, c->seed);
    qsort(all.replicates, all.count, sizeof *all.replicates, compare_replicates);
    infer(out, &r, &all);
    return DS_OK;
}

ds_status ds_paired_bootstrap(ds_paired *out, const double *differences, size_t cases, size_t n, size_t resamples,
                              uint64_t seed) {
    ds_status status = DS_OK;
    size_t workers = ds_threads();
    comparison c = {.out = out, .differences = differences, .n = n, .seed = seed};
    c.resamples = resamples == 0 ? DS_BOOTSTRAP_RESAMPLES : resamples;
    c.capacity = is_enumerated(n) ? distinct_resamples(n) : c.resamples;
    for (size_t i = 0; i < cases * n; i++) {
        if (!isfinite(differences[i]))
            return ds_fail(DS_ERR_INPUT, "the difference of case %zu in sequence %zu is %g, expected a finite number", i / n,
                           i % n, differences[i]);
    }
    DS_NEW_ARRAY(c.z, workers * n);
    DS_NEW_ARRAY(c.replicates, workers * c.capacity);
    DS_TRY(ds_parallel_for_within(workers, cases, compare_one, &c));
done:
    free(c.z);
    free(c.replicates);
    return status;
}

/* ---- what so many sequences can decide --------------------------------------------------------------------------- */

size_t ds_paired_resamples(size_t hypotheses) { return ds_max_size(DS_BOOTSTRAP_RESAMPLES, 100 * hypotheses); }

double ds_paired_smallest_p(size_t n, size_t resamples) {
    if (n < DS_PAIRED_LEAST) return NAN;
    return 2 / (is_enumerated(n) ? ordered_resamples(n) : (double)resamples + 1);
}

size_t ds_paired_needed(size_t hypotheses) {
    size_t n = DS_PAIRED_LEAST;
    while (!((double)hypotheses * ds_paired_smallest_p(n, ds_paired_resamples(hypotheses)) < DS_SIGNIFICANCE)) n++;
    return n;
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
