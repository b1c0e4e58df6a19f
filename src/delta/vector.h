/* Dot product and update of unit-stride vectors. The dot keeps DS_LANES partial sums, combined in a fixed order: the compiler
 * may then use its vector units without reassociating anything. */
#ifndef DELTA_VECTOR_H
#define DELTA_VECTOR_H

#include <stddef.h>

enum { DS_LANES = 16 };

static inline double ds_dot(const double *x, const double *y, size_t n) {
    double lane[DS_LANES] = {0};
    size_t i = 0;
    for (; i + DS_LANES <= n; i += DS_LANES) {
        for (size_t l = 0; l < DS_LANES; l++) lane[l] += x[i + l] * y[i + l];
    }
    for (size_t l = 0; i < n; i++, l++) lane[l] += x[i] * y[i];
    for (size_t width = DS_LANES / 2; width > 0; width /= 2) {
        for (size_t l = 0; l < width; l++) lane[l] += lane[l + width];
    }
    return lane[0];
}

/* x <- x - a y */
static inline void ds_subtract_multiple(double *restrict x, double a, const double *restrict y, size_t n) {
    for (size_t i = 0; i < n; i++) x[i] -= a * y[i];
}

/* Longest chain of roundings in ds_dot, relative to |x|.|y|: one product, then the additions of a lane, then of the lanes. */
static inline double ds_dot_roundings(size_t n) { return (double)(n / DS_LANES) + 6.0; }

#endif
