/* One number per token, summed over many. */
#ifndef DELTASCOPE_MEASURE_TOKEN_MOMENTS_H
#define DELTASCOPE_MEASURE_TOKEN_MOMENTS_H

#include "deltascope/stats.h"

DS_BEGIN_DECLARATIONS

/* Mean, population standard deviation and extremes of one number per token, in the memory of six. */
typedef struct ds_token_moments {
    uint64_t count;
    double origin, min, max; /* origin: the first */
    ds_sum sum, squares;     /* of x - origin */
} ds_token_moments;
void ds_token_moments_add(ds_token_moments *moments, double x);
double ds_token_moments_mean(const ds_token_moments *moments);
double ds_token_moments_std(const ds_token_moments *moments);

DS_END_DECLARATIONS

#endif
