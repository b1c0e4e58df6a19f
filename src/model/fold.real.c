#include <math.h>

#include "deltascope/num.h"

#include "fold.h"

void REAL_NAME(ds_unfold_taps)(REAL *taps, const REAL *weight, size_t channels, size_t kernel, size_t hidden) {
    for (size_t j = 0; j < channels; j++) {
        for (size_t s = 0; s < kernel; s++) {
            REAL *plane = taps + (j * kernel + s) * hidden;
            for (size_t i = 0; i < hidden; i++) plane[i] = weight[(i * channels + j) * kernel + s];
        }
    }
}

void REAL_NAME(ds_unfold_taps_backward)(REAL *dweight, REAL *dread, const double *products, const REAL *taps, const REAL *read,
                                        size_t channels, size_t kernel, size_t hidden) {
    for (size_t j = 0; j < channels; j++) {
        double scale = read != NULL ? (double)read[j] : 1, slope = 0;
        for (size_t s = 0; s < kernel; s++, products += hidden, taps += hidden) {
            for (size_t i = 0; i < hidden; i++) {
                dweight[(i * channels + j) * kernel + s] += (REAL)(scale * products[i]);
                slope += (double)taps[i] * products[i];
            }
        }
        if (read != NULL) dread[j] += (REAL)slope;
    }
}

void REAL_NAME(ds_fold_channels)(REAL *taps, const REAL *weight, const REAL *read, size_t channels, size_t kernel,
                                 size_t hidden, size_t left) {
    for (size_t v = 0; v < channels; v++) {
        /* 0 <= left + v - a < kernel */
        size_t first = left + v + 1 > kernel ? left + v + 1 - kernel : 0;
        size_t end = ds_min_size(channels, left + v + 1);
        for (size_t i = 0; i < hidden; i++) {
            double sum = 0.0;
            for (size_t a = first; a < end; a++) sum += (double)read[a] * (double)weight[i * kernel + left + v - a];
            taps[v * hidden + i] = (REAL)sum;
        }
    }
}

void REAL_NAME(ds_fold_channels_backward)(REAL *dweight, REAL *dread, const double *dtaps, const REAL *weight, const REAL *read,
                                          size_t channels, size_t kernel, size_t hidden, size_t left) {
    for (size_t a = 0; a < channels; a++) {
        double slope = 0;
        for (size_t v = 0; v < channels; v++) {
            size_t s = left + v - a; /* wraps when negative */
            if (s >= kernel) continue;
            for (size_t i = 0; i < hidden; i++) {
                slope += (double)weight[i * kernel + s] * dtaps[v * hidden + i];
                dweight[i * kernel + s] += (REAL)((double)read[a] * dtaps[v * hidden + i]);
            }
        }
        dread[a] += (REAL)slope;
    }
}

size_t REAL_NAME(ds_first_nonfinite)(const REAL *values, size_t count) {
    /* x - x is 0 for finite x and NaN otherwise: blocks are screened without a branch per value. */
    const size_t block = 4096;
    for (size_t start = 0; start < count; start += block) {
        size_t end = ds_min_size(count, start + block);
        int suspicious = 0;
        for (size_t i = start; i < end; i++) suspicious |= !(values[i] - values[i] == (REAL)0);
        if (!suspicious) continue;
        for (size_t i = start; i < end; i++) {
            if (!isfinite(values[i])) return i;
        }
    }
    return count;
}
