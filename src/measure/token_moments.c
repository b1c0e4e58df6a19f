#include "deltascope/measure/token_moments.h"

#include <math.h>

void ds_token_moments_add(ds_token_moments *m, double x) {
    if (m->count++ == 0) m->origin = m->min = m->max = x;
    ds_sum_add(&m->sum, x - m->origin);
    ds_sum_add(&m->squares, (x - m->origin) * (x - m->origin));
    m->min = fmin(m->min, x);
    m->max = fmax(m->max, x);
}

double ds_token_moments_mean(const ds_token_moments *m) {
    return m->count > 0 ? m->origin + ds_sum_value(&m->sum) / (double)m->count : NAN;
}

double ds_token_moments_std(const ds_token_moments *m) {
    double count = (double)m->count, mean = ds_sum_value(&m->sum) / count;
    return m->count > 0 ? sqrt(fmax(0, ds_sum_value(&m->squares) / count - mean * mean)) : NAN;
}
