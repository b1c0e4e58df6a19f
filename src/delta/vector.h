/* Dot product and update of unit-stride vectors. The dot keeps DS_LANES partial sums, written as vectors so that the compiler uses
 * the machine's without reassociating anything; they are combined in a fixed order. */
#ifndef DELTA_VECTOR_H
#define DELTA_VECTOR_H

#include <stddef.h>

enum { DS_OCTETS = 4, DS_LANES = 8 * DS_OCTETS }; /* enough chains of additions to hide their latency */
typedef double ds_octet __attribute__((vector_size(8 * sizeof(double)), aligned(sizeof(double)), may_alias));

static inline double ds_dot(const double *x, const double *y, size_t n) {
    ds_octet sum[DS_OCTETS] = {{0}, {0}, {0}, {0}};
    size_t i = 0;
    for (; i + DS_LANES <= n; i += DS_LANES) {
        const ds_octet *a = (const ds_octet *)(x + i), *b = (const ds_octet *)(y + i);
        sum[0] += a[0] * b[0];
        sum[1] += a[1] * b[1];
        sum[2] += a[2] * b[2];
        sum[3] += a[3] * b[3];
    }
    ds_octet lane = (sum[0] + sum[1]) + (sum[2] + sum[3]);
    double total = ((lane[0] + lane[1]) + (lane[2] + lane[3])) + ((lane[4] + lane[5]) + (lane[6] + lane[7])), rest = 0;
    for (; i < n; i++) rest += x[i] * y[i];
    return total + rest;
}

/* x <- x - a y */
static inline void ds_subtract_multiple(double *restrict x, double a, const double *restrict y, size_t n) {
    for (size_t i = 0; i < n; i++) x[i] -= a * y[i];
}

/* Longest chain of roundings in ds_dot, relative to |x|.|y|: one product, the additions of a lane, five levels of combining
 * lanes and one for the rest; or a product, the additions of the rest, and one. */
static inline double ds_dot_roundings(size_t n) {
    size_t lane = n / DS_LANES + 7, rest = n % DS_LANES + 2;
    return (double)(lane > rest ? lane : rest);
}

#endif
