/* What Student's test can see: the non-central t distribution. */
#include <gsl/gsl_cdf.h>
#include <math.h>

#include "deltascope/stats.h"

/* y = log sqrt(chi^2_df / df) has density proportional to exp(df (y - (e^(2y) - 1) / 2)), largest at 0, where the exponent is
 * 0. */
static double log_density(double df, double y) { return df * (y - expm1(2 * y) / 2); }

/* Where the density, between 0 and `far`, has fallen to e^-40. */
static double edge(double df, double far) {
    double near = 0;
    for (int i = 0; i < 60; i++) {
        double middle = near + (far - near) / 2;
        *(log_density(df, middle) > -40 ? &near : &far) = middle;
    }
    return far;
}

static double normal_below(double x) { return erfc(-x / sqrt(2)) / 2; }

/* E[P(Z > c e^y - noncentrality) + P(Z < -c e^y - noncentrality)] by the trapezoidal rule, whose error falls like e^(-1/h) for
 * such integrands: smooth on the whole line and falling to nothing either way. Steps resolve the density, of width
 * 1 / sqrt(2 df), and the normal's rise, of width 1 / noncentrality. */
double ds_t_power(double df, double noncentrality, double alpha) {
    if (!(df >= 1) || !isfinite(noncentrality) || !(alpha > 0 && alpha < 1)) return NAN;
    double critical = gsl_cdf_tdist_Qinv(alpha / 2, df), shift = fabs(noncentrality);
    double from = edge(df, -40 / df - 1), to = edge(df, 3), found = 0, all = 0;
    double step = fmin(0.1, fmin(0.4 / sqrt(df), 0.6 / shift));
    size_t steps = (size_t)ceil(fmin((to - from) / step, 1e8));
    for (size_t i = 0; i <= steps; i++) {
        double y = from + (to - from) * (double)i / (double)steps;
        double weight = exp(log_density(df, y)), threshold = critical * exp(y);
        found += weight * (normal_below(shift - threshold) + normal_below(-shift - threshold));
        all += weight;
    }
    return found / all;
}

/* The root of power - ds_t_power between two bounds by false position, an end that stays twice counting half (the Illinois
 * rule: a few steps where bisection takes fifty). */
double ds_t_detectable(double df, double power, double alpha) {
    double low = 0, high = 1, missing = power - alpha, excess;
    int stayed = 0;
    if (!(df >= 1) || !(power > alpha && power < 1)) return NAN;
    while ((excess = ds_t_power(df, high, alpha) - power) < 0) {
        low = high;
        missing = -excess;
        high *= 2;
    }
    while (high - low > 1e-12 * high && excess > 0 && missing > 0) {
        double between = low + (high - low) * missing / (missing + excess);
        double beyond = ds_t_power(df, between, alpha) - power;
        if (fabs(beyond) < 1e-14) return between;
        if (beyond > 0) {
            high = between;
            excess = beyond;
            if (stayed < 0) missing /= 2;
        } else {
            low = between;
            missing = -beyond;
            if (stayed > 0) excess /= 2;
        }
        stayed = beyond > 0 ? -1 : 1;
    }
    return high;
}

static bool suffices(size_t n, double effect, double power, double alpha) {
    return ds_t_power((double)n - 1, effect * sqrt((double)n), alpha) >= power;
}

size_t ds_seeds_needed(double effect, double power, double alpha) {
    size_t too_few = 1, enough = 2;
    const size_t most = 1000000;
    if (!(fabs(effect) > 0) || !isfinite(effect)) return 0;
    for (; !suffices(enough, effect, power, alpha); enough *= 2) {
        if (enough > most) return 0;
        too_few = enough;
    }
    while (enough - too_few > 1) {
        size_t middle = too_few + (enough - too_few) / 2;
        *(suffices(middle, effect, power, alpha) ? &enough : &too_few) = middle;
    }
    return enough <= most ? enough : 0;
}
