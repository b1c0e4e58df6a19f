/* Quantiles in fixed memory: the buffers of Manku, Rajagopalan and Lindsay (SIGMOD 1998).
 *
 * The values are held in DS_SKETCH_BUFFERS buffers of k, each value of a buffer standing for `weight` values. When all buffers
 * are full, those at the lowest level are collapsed into one: of their merged sequence, every value repeated by its weight,
 * the values at positions o, o + W, o + 2W, ... remain, each of weight W = the sum of the weights. Until the first collapse
 * nothing is lost.
 *
 * Rank error. For any x let c be how many places of the merged sequence hold values <= x. The collapsed buffer says
 * W * #{j: o + jW <= c}, which differs from c by at most max(o - 1, W - o): (W - 1)/2 for odd W with o = (W + 1)/2, W/2 for
 * even W with o alternately W/2 and W/2 + 1. Errors of successive collapses add, so the sum of floor(W/2) over all collapses
 * bounds the error of any rank. */
#ifndef DELTASCOPE_STATS_SKETCH_H
#define DELTASCOPE_STATS_SKETCH_H

#include "deltascope/base.h"

enum { DS_SKETCH_BUFFERS = 16 };

typedef struct ds_sketch {
    size_t k;       /* values in one buffer */
    double *values; /* buffer i: values[i k .. i k + fill), (reserved) in all; grows to DS_SKETCH_BUFFERS * k */
    size_t reserved;
    double *spare; /* (k), from the first collapse on */
    struct ds_sketch_buffer {
        size_t fill;
        uint64_t weight;
        unsigned level;
    } buffers[DS_SKETCH_BUFFERS]; /* fill 0: empty; 0 < fill < k only for `filling` */
    size_t filling;               /* the buffer that takes new values, DS_SKETCH_BUFFERS: none */
    bool upper;                   /* which middle an even collapse takes next */
    uint64_t rank_error;
} ds_sketch;

ds_status ds_sketch_new(ds_sketch **out, size_t capacity) DS_MUST_CHECK;
void ds_sketch_free(ds_sketch **sketch);
ds_status ds_sketch_add(ds_sketch *sketch, const double *values, size_t count) DS_MUST_CHECK;
/* `other` has the same k. */
ds_status ds_sketch_merge(ds_sketch *sketch, const ds_sketch *other) DS_MUST_CHECK;
/* quantiles[i] <- at levels[i], increasing, each in [0, 1]; `count` values have been added, count > 0. Sorts inside buffers. */
void ds_sketch_quantiles(double *quantiles, ds_sketch *sketch, const double *levels, size_t levels_count, uint64_t count);

#endif
