/* Power laws in the upper tail. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "deltascope/stats.h"

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Which distances between the empirical distribution and the fit count at a value. */
typedef enum sides { BOTH_SIDES, BELOW } sides;

/* Largest distance between the empirical distribution of x (n, ascending) and 1 - (x/x_0)^(1-alpha), on both sides of a step or
 * only before it; once it has reached `enough`, that much is known. */
static double distance(const double *logs, size_t n, double alpha, sides counted, double enough) {
    double largest = 0;
    for (size_t i = 0; i < n && !(largest >= enough); i++) {
        double fitted = -expm1((1 - alpha) * (logs[i] - logs[0]));
        double before = fitted - (double)i / (double)n, after = (double)(i + 1) / (double)n - fitted;
        largest = fmax(largest, counted == BOTH_SIDES ? fmax(before, after) : fabs(before));
    }
    return largest;
}

/* logs (n) ascending. */
static void search(ds_power_law *out, const double *logs, size_t n, size_t least, sides counted) {
    size_t best = n;
    ds_sum above = {0};
    *out = (ds_power_law){NAN, NAN, NAN, NAN, 0};
    for (size_t at = n; at-- > 0;) { /* sum of logs from `at` on */
        ds_sum_add(&above, logs[at]);
        size_t tail = n - at;
        if (tail < ds_max_size(least, 2) || (at > 0 && logs[at - 1] == logs[at])) continue;
        double excess = ds_sum_value(&above) - (double)tail * logs[at];
        if (!(excess > 0)) continue; /* all equal: no power describes a point */
        double alpha = 1 + (double)tail / excess, ks = distance(logs + at, tail, alpha, counted, out->ks);
        if (ks >= out->ks) continue; /* never for the first: out->ks is NaN */
        *out = (ds_power_law){alpha, (alpha - 1) / sqrt((double)tail), 0, ks, tail};
        best = at;
    }
    out->xmin = best < n ? exp(logs[best]) : NAN;
}

/* *logs (*n) <- of the values above `floor`, ascending; the caller's to free. */
static ds_status take_logs(double **logs, size_t *n, const double *values, size_t count, double floor) {
    ds_status status = DS_OK;
    *n = 0;
    DS_NEW_ARRAY(*logs, count);
    for (size_t i = 0; i < count; i++) {
        if (!isfinite(values[i])) {
            status =
                ds_fail(DS_ERR_INPUT, "value %zu to be fitted by a power law is %g, expected a finite number", i, values[i]);
            goto done;
        }
        if (values[i] > floor) (*logs)[(*n)++] = values[i];
    }
    qsort(*logs, *n, sizeof **logs, ascending);
    for (size_t i = 0; i < *n; i++) (*logs)[i] = log((*logs)[i]);
done:
    return status;
}

static ds_status fit(ds_power_law *out, const double *values, size_t count, double floor, size_t least, sides counted) {
    ds_status status = DS_OK;
    double *logs = NULL;
    size_t n;
    *out = (ds_power_law){NAN, NAN, NAN, NAN, 0};
    DS_TRY(take_logs(&logs, &n, values, count, floor));
    search(out, logs, n, least, counted);
done:
    free(logs);
    return status;
}

ds_status ds_power_law_fit(ds_power_law *out, const double *values, size_t count, size_t least) {
    return fit(out, values, count, 0, least, BOTH_SIDES);
}

ds_status ds_power_law_fit_weightwatcher(ds_power_law *out, const double *values, size_t count) {
    return fit(out, values, count, DS_WEIGHTWATCHER_FLOOR, 2, BELOW);
}

/* Linear interpolation between order statistics. */
static double quantile_of(const double *sorted, size_t n, double level) {
    double at = level * (double)(n - 1);
    size_t low = (size_t)at, high = ds_min_size(low + 1, n - 1);
    return sorted[low] + (at - (double)low) * (sorted[high] - sorted[low]);
}

ds_status ds_power_law_spread(double *spread, const double *values, size_t count, size_t least, uint64_t seed) {
    ds_status status = DS_OK;
    double *logs = NULL, *drawn = NULL, alphas[DS_POWER_LAW_DRAWS];
    size_t *times = NULL, n, found = 0;
    ds_random random = ds_random_init(seed);
    *spread = NAN;
    DS_TRY(take_logs(&logs, &n, values, count, 0));
    DS_NEW_ARRAY(drawn, n);
    DS_NEW(times, n);
    for (size_t draw = 0; n >= least && draw < DS_POWER_LAW_DRAWS; draw++) {
        ds_power_law one;
        for (size_t i = 0; i < n; i++) times[ds_random_below(&random, n)]++;
        for (size_t i = 0, next = 0; i < n; i++) { /* in order, as the logs are */
            for (; times[i] > 0; times[i]--) drawn[next++] = logs[i];
        }
        search(&one, drawn, n, least, BOTH_SIDES);
        if (!isnan(one.alpha)) alphas[found++] = one.alpha;
    }
    if (found < 2) goto done;
    qsort(alphas, found, sizeof *alphas, ascending);
    *spread = 0.5 * (quantile_of(alphas, found, 0.8413447460685429) - quantile_of(alphas, found, 0.15865525393145705));
done:
    free(logs);
    free(drawn);
    free(times);
    return status;
}

bool ds_power_law_rejected(const ds_power_law *fit, double critical) {
    double n = (double)fit->tail;
    return !((fit->ks - 0.2 / n) * (sqrt(n) + 0.26 + 0.5 / sqrt(n)) <= critical);
}
