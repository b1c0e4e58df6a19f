/* Arithmetic in twice the working precision (Dekker 1971; Joldes, Muller, Popescu 2017): an unevaluated sum high + low. */
#ifndef DELTASCOPE_STATS_TWOFOLD_H
#define DELTASCOPE_STATS_TWOFOLD_H

#include <math.h>

#include "deltascope/stats.h"

/* a + b exactly. */
static inline ds_sum ds_twofold_sum(double a, double b) {
    double s = a + b, t = s - a;
    return (ds_sum){s, (a - (s - t)) + (b - t)};
}
/* a * b exactly. */
static inline ds_sum ds_twofold_product(double a, double b) {
    double p = a * b;
    return (ds_sum){p, fma(a, b, -p)};
}
/* Relative error of the following: a few u^2. */
static inline ds_sum ds_twofold_add(ds_sum a, ds_sum b) {
    ds_sum s = ds_twofold_sum(a.high, b.high), t = ds_twofold_sum(a.low, b.low);
    s = ds_twofold_sum(s.high, s.low + t.high);
    return ds_twofold_sum(s.high, s.low + t.low);
}
static inline ds_sum ds_twofold_multiply(ds_sum a, ds_sum b) {
    ds_sum p = ds_twofold_product(a.high, b.high);
    return ds_twofold_sum(p.high, p.low + (a.high * b.low + a.low * b.high));
}
static inline ds_sum ds_twofold_divide(ds_sum a, double b) {
    double q = a.high / b;
    return ds_twofold_sum(q, (fma(-q, b, a.high) + a.low) / b);
}
static inline ds_sum ds_twofold_negate(ds_sum a) { return (ds_sum){-a.high, -a.low}; }

#endif
