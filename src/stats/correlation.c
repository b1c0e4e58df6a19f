#include <gsl/gsl_cdf.h>
#include <gsl/gsl_statistics_double.h>
#include <math.h>
#include <stdlib.h>

#include "deltascope/stats.h"

/* atanh(r) is nearly normal with standard error sqrt(inflation / (n - 3)). */
static ds_correlation with_interval(double r, size_t n, double inflation) {
    ds_correlation c = {fmax(-1, fmin(1, r)), NAN, NAN};
    if (isnan(r)) c.coefficient = NAN;
    if (n < 4 || isnan(r)) return c;
    double half = gsl_cdf_ugaussian_Pinv(0.975) * sqrt(inflation / (double)(n - 3)), z = atanh(c.coefficient);
    c.low = tanh(z - half);
    c.high = tanh(z + half);
    return c;
}

static bool varies(const double *x, size_t n) {
    for (size_t i = 1; i < n; i++) {
        if (x[i] != x[0]) return true;
    }
    return false;
}

static ds_status check_finite(const double *x, const double *y, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(x[i]) || !isfinite(y[i]))
            return ds_fail(DS_ERR_INPUT, "pair %zu to be correlated is (%g, %g), expected finite numbers", i, x[i], y[i]);
    }
    return DS_OK;
}

ds_status ds_pearson(ds_correlation *out, const double *x, const double *y, size_t n) {
    ds_status status = DS_OK;
    DS_TRY(check_finite(x, y, n));
    double r = varies(x, n) && varies(y, n) ? gsl_stats_correlation(x, 1, y, 1, n) : NAN;
    *out = with_interval(r, n, 1);
done:
    return status;
}

ds_status ds_spearman(ds_correlation *out, const double *x, const double *y, size_t n) {
    ds_status status = DS_OK;
    double *work = NULL;
    DS_TRY(check_finite(x, y, n));
    DS_NEW_ARRAY(work, 2 * n);
    double r = varies(x, n) && varies(y, n) ? gsl_stats_spearman(x, 1, y, 1, n, work) : NAN;
    *out = with_interval(r, n, 1 + r * r / 2);
done:
    free(work);
    return status;
}
