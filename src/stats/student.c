/* Student's t of a few values. */
#include "student.h"

#include <gsl/gsl_cdf.h>
#include <math.h>

static const double one_sided = 0.025;

ds_moments ds_moments_of(const double *values, size_t n, double scale) {
    ds_moments m = {n, ds_mean(values, n), NAN};
    double farthest = 0, squares = 0, known = 4 * ds_unit_roundoff(DS_F64) * scale;
    if (n < 2) return m;
    for (size_t i = 0; i < n; i++) farthest = fmax(farthest, fabs(values[i] - m.mean));
    if (farthest <= known) {
        m.sd = 0;
        if (fabs(m.mean) <= known) m.mean = 0;
        return m;
    }
    for (size_t i = 0; i < n; i++) {
        double z = (values[i] - m.mean) / farthest; /* far from overflow and underflow */
        squares += z * z;
    }
    m.sd = farthest * sqrt(squares / (double)(n - 1));
    return m;
}

double ds_t_quantile(double df, double tail) { return df >= 1 ? gsl_cdf_tdist_Qinv(tail, df) : NAN; }

double ds_t_below(double mean, double error, double df) {
    return df >= 1 && error > 0 ? gsl_cdf_tdist_P(mean / error, df) : NAN;
}

ds_t_inference ds_t_infer(double mean, double error, double df) {
    ds_t_inference t = {mean, error, df >= 0 ? df : NAN, NAN, NAN, NAN, NAN};
    if (!(df >= 1) || !isfinite(error)) return t;
    double half = error == 0 ? 0 : ds_t_quantile(df, one_sided) * error;
    t.low = mean - half;
    t.high = mean + half;
    if (error == 0) return t;
    t.statistic = mean / error;
    t.p = 2 * gsl_cdf_tdist_Q(fabs(t.statistic), df);
    return t;
}

ds_t_inference ds_t_infer_moments(ds_moments m) { return ds_t_infer(m.mean, m.sd / sqrt((double)m.n), (double)m.n - 1); }
