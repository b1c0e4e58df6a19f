/* Dot product and update of unit-stride vectors. The dot keeps DS_LANES partial sums, written as vectors so that the compiler
 * uses the machine's without reassociating anything; they are combined in a fixed order. */
#ifndef DELTA_VECTOR_H
#define DELTA_VECTOR_H

#include <stddef.h>

enum { DS_OCTETS = 4, DS_LANES = 8 * DS_OCTETS }; /* enough chains of additions to hide their latency */
enum { DS_COLUMNS = 4 };                          /* vectors that one pass can take: as many as have their sums in registers */
typedef double ds_octet __attribute__((vector_size(8 * sizeof(double)), aligned(sizeof(double)), may_alias));

typedef struct ds_lanes {
    ds_octet sum[DS_OCTETS];
} ds_lanes;

static inline void ds_lanes_add(ds_lanes *lanes, const double *x, const double *y) {
    const ds_octet *a = (const ds_octet *)x, *b = (const ds_octet *)y;
    for (size_t o = 0; o < DS_OCTETS; o++) lanes->sum[o] += a[o] * b[o];
}

/* The rest of a dot product, whose first whole groups of DS_LANES elements are in `lanes`. */
static inline double ds_lanes_finish(const ds_lanes *lanes, const double *x, const double *y, size_t from, size_t n) {
    ds_octet lane = (lanes->sum[0] + lanes->sum[1]) + (lanes->sum[2] + lanes->sum[3]);
    double total = ((lane[0] + lane[1]) + (lane[2] + lane[3])) + ((lane[4] + lane[5]) + (lane[6] + lane[7])), rest = 0;
    for (size_t i = from; i < n; i++) rest += x[i] * y[i];
    return total + rest;
}

static inline double ds_dot(const double *x, const double *y, size_t n) {
    ds_lanes lanes = {{{0}}};
    size_t i = 0;
    for (; i + DS_LANES <= n; i += DS_LANES) ds_lanes_add(&lanes, x + i, y + i);
    return ds_lanes_finish(&lanes, x, y, i, n);
}

/* x <- x - a y */
static inline void ds_subtract_multiple(double *restrict x, double a, const double *restrict y, size_t n) {
    for (size_t i = 0; i < n; i++) x[i] -= a * y[i];
}

/* x (columns,n): row c less a_c y; dots_c <- z . the new row c: the same bits as one after the other, in one pass. With a
 * constant `columns` everything but the rows stays in registers. */
static inline __attribute__((always_inline)) void ds_subtract_and_dot(double *dots, double *restrict x, const double *a,
                                                                      const double *restrict y, const double *restrict z,
                                                                      size_t columns, size_t n) {
    ds_lanes lanes[DS_COLUMNS] = {{{{0}}}};
    size_t i = 0;
    for (; i + DS_LANES <= n; i += DS_LANES) {
        for (size_t o = 0; o < DS_OCTETS; o++) {
            ds_octet along = ((const ds_octet *)(y + i))[o], onto = ((const ds_octet *)(z + i))[o];
            for (size_t c = 0; c < columns; c++) {
                ds_octet *row = (ds_octet *)(x + c * n + i) + o;
                *row -= a[c] * along;
                lanes[c].sum[o] += onto * *row;
            }
        }
    }
    for (size_t c = 0; c < columns; c++) {
        ds_subtract_multiple(x + c * n + i, a[c], y + i, n - i);
        dots[c] = ds_lanes_finish(&lanes[c], z, x + c * n, i, n);
    }
}

/* Longest chain of roundings in ds_dot, relative to |x|.|y|: one product, the additions of a lane, five levels of combining
 * lanes and one for the rest; or a product, the additions of the rest, and one. */
static inline double ds_dot_roundings(size_t n) {
    size_t lane = n / DS_LANES + 7, rest = n % DS_LANES + 2;
    return (double)(lane > rest ? lane : rest);
}

#endif
