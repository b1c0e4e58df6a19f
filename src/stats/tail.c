/* Power laws in the upper tail. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "deltascope/stats.h"

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Largest distance between the empirical distribution of x (n, ascending) and 1 - (x/x_0)^(1-alpha), on both sides of a
 * step. */
static double distance(const double *logs, size_t n, double alpha) {
    double largest = 0;
    for (size_t i = 0; i < n; i++) {
        double fitted = -expm1((1 - alpha) * (logs[i] - logs[0]));
        largest = fmax(largest, fmax(fitted - (double)i / (double)n, (double)(i + 1) / (double)n - fitted));
    }
    return largest;
}

ds_status ds_power_law_fit(ds_power_law *out, const double *values, size_t count, size_t least) {
    ds_status status = DS_OK;
    double *logs = NULL;
    size_t n = 0;
    *out = (ds_power_law){NAN, NAN, NAN, NAN, 0};
    DS_NEW_ARRAY(logs, count);
    for (size_t i = 0; i < count; i++) {
        if (!isfinite(values[i])) {
            status =
                ds_fail(DS_ERR_INPUT, "value %zu to be fitted by a power law is %g, expected a finite number", i, values[i]);
            goto done;
        }
        if (values[i] > 0) logs[n++] = values[i];
    }
    qsort(logs, n, sizeof *logs, ascending);
    double xmin_of_best = NAN;
    ds_sum above = {0};
    for (size_t i = 0; i < n; i++) logs[i] = log(logs[i]);
    for (size_t at = n; at-- > 0;) { /* sum of logs from `at` on */
        ds_sum_add(&above, logs[at]);
        size_t tail = n - at;
        if (tail < ds_max_size(least, 2) || (at > 0 && logs[at - 1] == logs[at])) continue;
        double excess = ds_sum_value(&above) - (double)tail * logs[at];
        if (!(excess > 0)) continue; /* all equal: no power describes a point */
        double alpha = 1 + (double)tail / excess, ks = distance(logs + at, tail, alpha);
        if (ks >= out->ks) continue; /* never for the first: out->ks is NaN */
        *out = (ds_power_law){alpha, (alpha - 1) / sqrt((double)tail), 0, ks, tail};
        xmin_of_best = exp(logs[at]);
    }
    out->xmin = xmin_of_best;
done:
    free(logs);
    return status;
}

bool ds_power_law_rejected(const ds_power_law *fit, double critical) {
    double n = (double)fit->tail;
    return !((fit->ks - 0.2 / n) * (sqrt(n) + 0.26 + 0.5 / sqrt(n)) <= critical);
}
