/* Parallel streams (n,d): what is read of them and how they mix. */
#include <string.h>

#include "deltascope/num.h"

static void add_multiple(REAL *restrict y, const REAL *restrict x, REAL weight, size_t count) {
    for (size_t i = 0; i < count; i++) y[i] += weight * x[i];
}

void REAL_NAME(ds_mix_planes_forward)(REAL *out, const REAL *planes, const double *weights, size_t outputs, size_t channels,
                                      size_t hidden) {
    memset(out, 0, outputs * hidden * sizeof *out);
    for (size_t t = 0; t < outputs; t++)
        for (size_t s = 0; s < channels; s++)
            add_multiple(out + t * hidden, planes + s * hidden, (REAL)weights[t * channels + s], hidden);
}

void REAL_NAME(ds_mix_planes_backward)(REAL *dplanes, const REAL *dout, const double *weights, size_t outputs, size_t channels,
                                       size_t hidden) {
    for (size_t s = 0; s < channels; s++)
        for (size_t t = 0; t < outputs; t++)
            add_multiple(dplanes + s * hidden, dout + t * hidden, (REAL)weights[t * channels + s], hidden);
}

void REAL_NAME(ds_mix_planes_weights_backward)(double *dweights, const REAL *dout, const REAL *planes, size_t outputs,
                                               size_t channels, size_t hidden) {
    for (size_t t = 0; t < outputs; t++)
        REAL_NAME(ds_dot_rows)(dweights + t * channels, dout + t * hidden, planes, channels, hidden);
}
