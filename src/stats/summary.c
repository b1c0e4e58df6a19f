#include <math.h>

#include "sketch.h"
#include "twofold.h"

const double ds_quantile_levels[DS_QUANTILES] = {0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99};
const char *const ds_quantile_names[DS_QUANTILES] = {"0.01", "0.05", "0.25", "0.5", "0.75", "0.95", "0.99"};

typedef struct ds_summary_moments moments;

static double not_a_number(size_t count) { return count == 0 ? NAN : 0; }

double ds_mean(const double *values, size_t count) {
    ds_sum sum = {0};
    for (size_t i = 0; i < count; i++) ds_sum_add(&sum, values[i]);
    return ds_twofold_divide(sum, (double)count).high + not_a_number(count);
}

/* ---- moments ----------------------------------------------------------------------------------------------------------------
 */

static uint64_t finite_count(const moments *m) { return m->count - m->plus_infinities - m->minus_infinities; }

static void moments_add(moments *m, double x) {
    if (m->count == 0 || x < m->min) m->min = x;
    if (m->count == 0 || x > m->max) m->max = x;
    if (isinf(x)) {
        *(x > 0 ? &m->plus_infinities : &m->minus_infinities) += 1;
    } else {
        if (finite_count(m) == 0) m->origin = x;
        ds_sum y = ds_twofold_sum(x, -m->origin);
        m->sum = ds_twofold_add(m->sum, y);
        m->squares = ds_twofold_add(m->squares, ds_twofold_multiply(y, y));
    }
    m->count++;
}

/* With y = x - a = (x - b) + (b - a) = z + d: sum y = sum z + n d, sum y^2 = sum z^2 + 2 d sum z + n d^2. */
static void moments_merge(moments *m, const moments *other) {
    if (other->count == 0) return;
    if (m->count == 0) {
        *m = *other;
        return;
    }
    if (finite_count(m) == 0) m->origin = other->origin;
    ds_sum n = {(double)finite_count(other), 0}, d = ds_twofold_sum(other->origin, -m->origin);
    ds_sum shift = ds_twofold_multiply(n, d);
    ds_sum cross = ds_twofold_add(other->sum, ds_twofold_add(other->sum, shift)); /* 2 sum z + n d */
    if (n.high > 0) {
        m->sum = ds_twofold_add(m->sum, ds_twofold_add(other->sum, shift));
        m->squares = ds_twofold_add(m->squares, ds_twofold_add(other->squares, ds_twofold_multiply(d, cross)));
    }
    m->count += other->count;
    m->plus_infinities += other->plus_infinities;
    m->minus_infinities += other->minus_infinities;
    m->min = fmin(m->min, other->min);
    m->max = fmax(m->max, other->max);
}

static double moments_mean(const moments *m) {
    if (m->count == 0 || (m->plus_infinities != 0 && m->minus_infinities != 0)) return NAN;
    if (m->plus_infinities + m->minus_infinities != 0) return m->plus_infinities != 0 ? INFINITY : -INFINITY;
    ds_sum mean = ds_twofold_divide(m->sum, (double)m->count);
    return ds_twofold_add((ds_sum){m->origin, 0}, mean).high;
}

/* n var = sum y^2 - (sum y)^2 / n. */
static double moments_std(const moments *m) {
    if (m->count == 0 || m->plus_infinities + m->minus_infinities != 0) return NAN;
    ds_sum mean = ds_twofold_divide(m->sum, (double)m->count);
    ds_sum between = ds_twofold_multiply(m->sum, mean);
    double total = ds_twofold_add(m->squares, ds_twofold_negate(between)).high;
    return sqrt(total < 0 ? 0 : total / (double)m->count); /* a NaN stays one */
}

/* ---- summary ----------------------------------------------------------------------------------------------------- */

ds_status ds_summary_init(ds_summary *summary, size_t capacity) {
    *summary = (ds_summary){0};
    return ds_sketch_new(&summary->sketch, capacity == 0 ? DS_SUMMARY_CAPACITY : capacity);
}

void ds_summary_release(ds_summary *summary) {
    ds_sketch_free(&summary->sketch);
    *summary = (ds_summary){0};
}

ds_status ds_summary_add(ds_summary *summary, const double *values, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (isnan(values[i]))
            return ds_fail(DS_ERR_INPUT, "value %llu to be summarised is NaN, expected a number",
                           (unsigned long long)(summary->moments.count + i));
    }
    ds_status status = ds_sketch_add(summary->sketch, values, count);
    if (status != DS_OK) return status;
    moments running = summary->moments;
    for (size_t i = 0; i < count; i++) moments_add(&running, values[i]);
    summary->moments = running;
    return DS_OK;
}

ds_status ds_summary_merge(ds_summary *summary, const ds_summary *other) {
    if (summary->sketch->k != other->sketch->k)
        return ds_fail(DS_ERR_USAGE, "summaries of different capacity (%zu and %zu values) cannot be merged",
                       summary->sketch->k * DS_SKETCH_BUFFERS, other->sketch->k * DS_SKETCH_BUFFERS);
    ds_status status = ds_sketch_merge(summary->sketch, other->sketch);
    if (status == DS_OK) moments_merge(&summary->moments, &other->moments);
    return status;
}

ds_statistics ds_summary_statistics(ds_summary *summary) {
    const moments *m = &summary->moments;
    ds_statistics s = {.count = m->count, .mean = moments_mean(m), .std = moments_std(m), .min = NAN, .max = NAN};
    for (size_t i = 0; i < DS_QUANTILES; i++) s.quantiles[i] = NAN;
    if (m->count == 0) return s;
    s.min = m->min;
    s.max = m->max;
    ds_sketch_quantiles(s.quantiles, summary->sketch, ds_quantile_levels, DS_QUANTILES, m->count);
    s.quantile_rank_error = (double)summary->sketch->rank_error / (double)m->count;
    return s;
}

double ds_summary_quantile(ds_summary *summary, double level) {
    double quantile = NAN;
    if (summary->moments.count != 0 && level >= 0 && level <= 1)
        ds_sketch_quantiles(&quantile, summary->sketch, &level, 1, summary->moments.count);
    return quantile;
}

ds_status ds_statistics_compute(ds_statistics *out, const double *values, size_t count) {
    ds_status status = DS_OK;
    ds_summary summary = {0};
    DS_TRY(ds_summary_init(&summary, ds_max_size(count, 1)));
    DS_TRY(ds_summary_add(&summary, values, count));
    *out = ds_summary_statistics(&summary);
done:
    ds_summary_release(&summary);
    return status;
}
