/* Correlation coefficients, and intervals that hold for skewed values too. */
#include <gsl/gsl_cdf.h>
#include <gsl/gsl_statistics_double.h>
#include <math.h>
#include <stdlib.h>

#include "deltascope/stats.h"

const char ds_correlation_method[] = "normal theory and jackknife of z, the wider";

static bool varies(const double *x, size_t n) {
    for (size_t i = 1; i < n; i++) {
        if (x[i] != x[0]) return true;
    }
    return false;
}

/* NaN when one side is constant or as good as constant; work (2n). */
static double coefficient(bool of_ranks, const double *x, const double *y, size_t n, double *work) {
    if (!varies(x, n) || !varies(y, n)) return NAN;
    double r = of_ranks ? gsl_stats_spearman(x, 1, y, 1, n, work) : gsl_stats_correlation(x, 1, y, 1, n);
    return isnan(r) ? NAN : fmax(-1, fmin(1, r));
}

/* The largest coefficient that z is taken of: of numbers, what rounding can tell from 1; of ranks, half way from 1 to the next
 * smaller coefficient. */
static double limit_of(bool of_ranks, size_t n) {
    double m = (double)n;
    return of_ranks ? 1 - 6 / (m * m * m - m) : 1 - 4 * m * ds_unit_roundoff(DS_F64);
}

static double z_of(double r, double limit) { return isnan(r) ? NAN : atanh(fmax(-limit, fmin(limit, r))); }

/* The jackknife's standard error of z; NaN when a side is constant but for one pair. work (5n) */
static double jackknife(bool of_ranks, const double *x, const double *y, size_t n, double *work) {
    double *left_x = work, *left_y = work + n, *z = work + 2 * n, *own = work + 3 * n, count = (double)n, squares = 0;
    for (size_t out = 0; out < n; out++) {
        for (size_t i = 0; i + 1 < n; i++) {
            left_x[i] = x[i < out ? i : i + 1];
            left_y[i] = y[i < out ? i : i + 1];
        }
        z[out] = z_of(coefficient(of_ranks, left_x, left_y, n - 1, own), limit_of(of_ranks, n - 1));
    }
    double mean = ds_mean(z, n);
    for (size_t i = 0; i < n; i++) squares += (z[i] - mean) * (z[i] - mean);
    return sqrt(squares * (count - 1) / count);
}

static ds_status correlate(ds_correlation *out, const double *x, const double *y, size_t n, bool of_ranks) {
    ds_status status = DS_OK;
    double *work = NULL;
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(x[i]) || !isfinite(y[i]))
            return ds_fail(DS_ERR_INPUT, "pair %zu to be correlated is (%g, %g), expected finite numbers", i, x[i], y[i]);
    }
    DS_NEW_ARRAY(work, 5 * n);
    double r = coefficient(of_ranks, x, y, n, work), count = (double)n;
    *out = (ds_correlation){r, NAN, NAN};
    if (isnan(r) || n < DS_CORRELATION_LEAST) goto done;
    double limit = limit_of(of_ranks, n), z = z_of(r, limit), inflation = of_ranks ? 1 + r * r / 2 : 1;
    double free_of_shape = gsl_cdf_tdist_Pinv(0.975, count - 1) * jackknife(of_ranks, x, y, n, work);
    double half = ds_max_real(gsl_cdf_ugaussian_Pinv(0.975) * sqrt(inflation / (count - 3)), free_of_shape);
    if (isnan(half) || (!of_ranks && fabs(r) > limit)) goto done;
    out->low = r < -limit ? -1 : tanh(z - half);
    out->high = r > limit ? 1 : tanh(z + half);
done:
    free(work);
    return status;
}

ds_status ds_pearson(ds_correlation *out, const double *x, const double *y, size_t n) { return correlate(out, x, y, n, false); }

ds_status ds_spearman(ds_correlation *out, const double *x, const double *y, size_t n) { return correlate(out, x, y, n, true); }
