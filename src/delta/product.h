#ifndef DELTA_PRODUCT_H
#define DELTA_PRODUCT_H

#include "deltascope/delta.h"

struct ds_product {
    size_t hidden, capacity; /* d, and the most sublayers */
    size_t stride;           /* min(d, capacity): the largest order of the core */
    size_t depth;
    double *directions;            /* (capacity, d) k_s */
    double *reflectors;            /* (stride, d) Householder vector s: zeros, a 1 at element s, the rest */
    double *triangle;              /* (capacity, stride) row s: column s of R, elements beyond s not used */
    double *core;                  /* (stride, stride) M in its leading part */
    double *tau;                   /* (stride) */
    double *c;                     /* (capacity) */
    double *b;                     /* (capacity) m beta |k|^2 */
    double *rows;                  /* (DS_COLUMNS, d) scratch of a push */
    double log_abs_det, log_error; /* sum of log |1 - b_s|, and what rounding in the b_s may have done to it */
    double growth;                 /* product of max(1, |1 - b_s|) >= norm of every partial product */
    double moved;                  /* sum of |b_s| */
    bool contracts;
};

#endif
