/* What runs of one kind say that differ in their seed: means, a target, ratios, crossed seeds, the error of their windows. */
#include <gsl/gsl_cdf.h>
#include <math.h>
#include <stdlib.h>

#include "student.h"

static int compare_values(const void *left, const void *right) {
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static double median_of(const double *sorted, size_t count) {
    if (count == 0) return NAN;
    double low = sorted[(count - 1) / 2], high = sorted[count / 2];
    return isinf(high) ? high : low + (high - low) / 2;
}

ds_status ds_seed_summarise(ds_seed_summary *out, const double *values, size_t count) {
    ds_status status = DS_OK;
    double *sorted, scale = 0;
    size_t n = 0;
    DS_NEW_ARRAY(sorted, count);
    for (size_t i = 0; i < count; i++) {
        sorted[i] = isfinite(values[i]) ? values[i] : INFINITY;
        if (!isfinite(values[i])) continue;
        scale = fmax(scale, fabs(values[i]));
        n++;
    }
    qsort(sorted, count, sizeof *sorted, compare_values);
    const ds_moments m = ds_moments_of(sorted, n, scale); /* the finite ones come first: the same sum in whatever order */
    const ds_t_inference t = ds_t_infer_moments(m);
    *out = (ds_seed_summary){n, count - n, m.mean, m.sd, t.low, t.high, median_of(sorted, count)};
done:
    free(sorted);
    return status;
}

ds_status ds_target_compare(ds_target_test *out, const double *values, size_t count, double target) {
    ds_status status = DS_OK;
    ds_seed_summary runs;
    DS_TRY(ds_seed_summarise(&runs, values, count));
    double above = runs.mean - target, error = runs.sd / sqrt((double)runs.n), df = (double)runs.n - 1;
    *out = (ds_target_test){runs, target, error > 0 ? above / error : NAN, df, ds_t_below(above, error, df)};
done:
    return status;
}

ds_status ds_ratios_summarise(ds_ratio_summary *out, const double *ratios, size_t count) {
    ds_status status = DS_OK;
    double *logs, scale = 1; /* a ratio known to u leaves its logarithm known to u */
    size_t n = 0;
    DS_NEW_ARRAY(logs, count);
    for (size_t i = 0; i < count; i++) {
        if (!isfinite(ratios[i]) || !(ratios[i] > 0)) continue;
        logs[n] = log(ratios[i]);
        scale = fmax(scale, fabs(logs[n++]));
    }
    const ds_t_inference t = ds_t_infer_moments(ds_moments_of(logs, n, scale));
    *out = (ds_ratio_summary){n, count - n, exp(t.mean), exp(t.low), exp(t.high), t.p};
done:
    free(logs);
    return status;
}

double ds_mcnemar(size_t only_a, size_t only_b) {
    size_t n = only_a + only_b;
    return n == 0 ? 1 : fmin(1, 2 * gsl_cdf_binomial_P((unsigned)ds_min_size(only_a, only_b), 0.5, (unsigned)n));
}

/* ---- crossed seeds ----------------------------------------------------------------------------------------------- */

/* Mean squares of rows, of columns and of what is left. */
typedef struct mean_squares {
    double rows, columns, rest;
} mean_squares;

static double mean_of_line(const double *values, size_t stride, size_t count) {
    ds_sum sum = {0, 0};
    for (size_t i = 0; i < count; i++) ds_sum_add(&sum, values[i * stride]);
    return ds_sum_value(&sum) / (double)count;
}

static mean_squares mean_squares_of(const double *values, size_t rows, size_t columns, double mean) {
    mean_squares ms = {0, 0, 0};
    for (size_t i = 0; i < rows; i++) {
        double row = mean_of_line(values + i * columns, 1, columns) - mean;
        ms.rows += row * row;
    }
    for (size_t j = 0; j < columns; j++) {
        double column = mean_of_line(values + j, columns, rows) - mean;
        ms.columns += column * column;
        for (size_t i = 0; i < rows; i++) {
            double rest = values[i * columns + j] - mean_of_line(values + i * columns, 1, columns) - column;
            ms.rest += rest * rest;
        }
    }
    double r = (double)rows - 1, c = (double)columns - 1;
    return (mean_squares){ms.rows * (c + 1) / r, ms.columns * (r + 1) / c, ms.rest / (r * c)};
}

/* The error of the mean where mean square `square` has `df` degrees of freedom, if its interval is the widest so far. */
static void widen(ds_two_way *out, double square, double df, double cells) {
    if (!(square > 0) || !(df >= 1)) return;
    double error = sqrt(square / cells);
    if (out->error > 0 && ds_t_quantile(out->df, 0.025) * out->error >= ds_t_quantile(df, 0.025) * error) return;
    out->error = error;
    out->df = df;
}

ds_two_way ds_two_way_split(const double *values, size_t rows, size_t columns) {
    ds_two_way out = {ds_mean(values, rows * columns), NAN, NAN, NAN, NAN, NAN};
    if (rows < 2 || columns < 2 || !isfinite(out.mean)) return out;
    const mean_squares ms = mean_squares_of(values, rows, columns, out.mean);
    double r = (double)rows - 1, c = (double)columns - 1, both = ms.rows + ms.columns - ms.rest;
    out.rest = ms.rest;
    out.rows = (ms.rows - ms.rest) / (c + 1);
    out.columns = (ms.columns - ms.rest) / (r + 1);
    out.error = 0;
    out.df = fmin(r, c);
    double cells = (r + 1) * (c + 1);
    widen(&out, ms.rows, r, cells);
    widen(&out, ms.columns, c, cells);
    widen(&out, both, both * both / (ms.rows * ms.rows / r + ms.columns * ms.columns / c + ms.rest * ms.rest / (r * c)), cells);
    return out;
}

ds_status ds_window_error(double *error, const double *differences, size_t seeds, size_t windows) {
    ds_status status = DS_OK;
    double *means, scale = 0;
    DS_NEW_ARRAY(means, windows);
    for (size_t w = 0; w < windows; w++) means[w] = mean_of_line(differences + w, windows, seeds);
    for (size_t i = 0; i < seeds * windows; i++) scale = fmax(scale, fabs(differences[i]));
    double effective = ds_serial_correlation(means, windows).effective;
    *error = ds_moments_of(means, windows, scale).sd / sqrt(isnan(effective) ? (double)windows : effective);
done:
    free(means);
    return status;
}
