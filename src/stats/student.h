/* Student's t of a few values: what every statement about seeds is made of. */
#ifndef DELTASCOPE_STATS_STUDENT_H
#define DELTASCOPE_STATS_STUDENT_H

#include "deltascope/stats.h"

typedef struct ds_moments {
    size_t n;
    double mean, sd; /* sd NaN for n < 2; 0 where all values are equal but for rounding */
} ds_moments;
/* `scale`: the largest magnitude that went into the values; they are known to 4 u scale. A mean of equal values that is nearer
 * to 0 is 0. */
ds_moments ds_moments_of(const double *values, size_t n, double scale);

/* t(df, 1 - tail); NaN for df < 1. */
double ds_t_quantile(double df, double tail);
/* The share of Student's t below mean / error; NaN for df < 1, and where error is 0. */
double ds_t_below(double mean, double error, double df);
/* NaN but for the mean where df < 1. With error 0 the interval is [mean, mean], and there is no p-value. */
ds_t_inference ds_t_infer(double mean, double error, double df);
ds_t_inference ds_t_infer_moments(ds_moments moments);

#endif
