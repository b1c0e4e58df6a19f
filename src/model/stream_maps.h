/* What parallel streams mix by, of one token and in double: from the numbers that its maps give to what is read of every stream
 * (pre), what every stream gains (post) and how they mix (R), and back. Private to the rules of that kind.
 *
 *     x = static + scale v      v the maps' numbers, or their tanh; of alpha: pre and R, in their stored order; of beta: post
 *     free         pre = x, R^T = x, post = x
 *     Sinkhorn     pre = sigmoid(x), post = 2 sigmoid(x), R^T = Sinkhorn(x), the rows (where it comes from) made 1 last
 *     permuted     the same pre and post, R^T = sum_r w_r Perm_r, w = softmax(x)
 *     static       pre = softmax(x), post = softmax(x), R^T = Sinkhorn(x / temperature), the columns made 1 last; or by
 *                  Newton-Schulz steps                                                     no maps: v = 0 */
#ifndef DELTASCOPE_MODEL_STREAM_MAPS_H
#define DELTASCOPE_MODEL_STREAM_MAPS_H

#include "deltascope/model.h"

typedef enum ds_stream_kind {
    DS_STREAM_FREE,
    DS_STREAM_DROPPED, /* free, but R is made and left out: the streams stay apart */
    DS_STREAM_SINKHORN,
    DS_STREAM_PERMUTED,
    DS_STREAM_STATIC,
} ds_stream_kind;

enum {
    DS_SINKHORN_ROUNDS = 20,    /* of the published code, which no file tells */
    DS_CONVERGED_ROUNDS = 2000, /* in their place where they are made to converge */
    DS_MOST_STREAMS = 64,
    DS_MOST_PERMUTED = 6, /* streams of which all orders are a column */
};

ds_stream_kind ds_stream_kind_of(const ds_spec *spec);

/* Sizes. A group is what one map looks at: one stream, or all of them. */
typedef struct ds_stream_shape {
    size_t streams, hidden;
    size_t groups, width; /* of a token; numbers of one */
    size_t alpha, beta;   /* columns of each map */
    size_t orders;        /* n!, or 0 */
} ds_stream_shape;
ds_stream_shape ds_stream_shape_of(const ds_spec *spec);
static inline size_t ds_stream_alphas(const ds_stream_shape *shape) { return shape->groups * shape->alpha; } /* of a token */
/* pre (n), post (n), R (n,n), R[t][s] from stream s to stream t. */
static inline size_t ds_stream_mixing(size_t streams) { return streams * (streams + 2); }
/* Where a sublayer's gradients of static parts and scales are summed: (alphas), (n), (3: pre, R, post), then gamma's. */
static inline size_t ds_stream_sums(const ds_stream_shape *shape) { return ds_stream_alphas(shape) + shape->streams + 3; }

typedef struct ds_stream_maps {
    ds_stream_kind kind;
    ds_stream_shape shape;
    double *alpha, *beta; /* (alphas), (n): the static parts */
    double scale[3];      /* of pre, R, post */
    const ds_stream_spec *spec;
    size_t rounds;
    ds_force force;
    bool closed;
    const double *mean;               /* (n(n+2)), or NULL */
    const unsigned char *permutation; /* (orders,n): Perm_r[s, permutation[r][s]] = 1 */
    double *x, *dx;                   /* (alphas + n) */
    double *square, *history; /* (n,n); of Sinkhorn (2 rounds,n,n), NULL where no derivative follows, or (steps+6,n,n) */
} ds_stream_maps;

/* mixing (n(n+2)) from v (alphas + n; NULL: 0), before tanh. Returns the largest minus the smallest of the logits of R. */
double ds_stream_maps_forward(double *mixing, const ds_stream_maps *maps, const double *v);
/* dv (alphas + n; may be NULL) <- from dmixing; sums (ds_stream_sums; NULL: not wanted) gains the static parts' and scales'. */
void ds_stream_maps_backward(double *dv, double *sums, const double *dmixing, const ds_stream_maps *maps, const double *v);
/* dmixing <- along dv. */
void ds_stream_maps_tangent(double *dmixing, const double *dv, const ds_stream_maps *maps, const double *v);
/* The orders of `streams` numbers, one a row, as dictionaries have them. */
void ds_stream_permutations(unsigned char *rows, size_t streams);

#endif
