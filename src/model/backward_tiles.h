/* Private to the *.real.c sources of the backward pass and the tangents: what they offer each other. */
#ifndef DELTASCOPE_MODEL_BACKWARD_TILES_H
#define DELTASCOPE_MODEL_BACKWARD_TILES_H

#include "deltascope/num.h"

#include "backward.h"
#include "forward_tiles.h"

#define VALUES(parameter) ((const REAL *)(parameter)->values)
/* The rows of a tile in an array (B,T,width). */
#define ROWS(array, tile, width) ((REAL *)(array) + (tile).token * (width))

/* One of attention's three projections on its way to the scores. */
typedef struct ds_projection {
    void *raw, *mix;  /* on the tape: (B,T,H*h), (B,T,H) or NULL without shift */
    void *final;      /* (B,T,H*h) in the workspace */
    void *derivative; /* (B,T,H*h) gradient or tangent */
    ds_activation activation;
    bool rotate;
    const ds_parameter *norm; /* or NULL */
    size_t partial;           /* of the norm's weight */
} ds_projection;
enum { DS_QUERY, DS_KEY, DS_VALUE, DS_PROJECTIONS };
ds_projection REAL_NAME(ds_projection_of)(const ds_backward_pass *b, size_t which);
/* A tile's projection after its shift. */
void REAL_NAME(ds_projection_shifted)(REAL *rows, const ds_backward_pass *b, ds_tile tile, const ds_projection *projection);
/* dx = f'(x) dy. */
void REAL_NAME(ds_activation_backward)(REAL *dx, const REAL *dy, const REAL *x, size_t count, ds_activation activation);

/* A sequence of length 1 is not shifted (MODEL.md). */
static inline bool ds_backward_shifts(const ds_backward_pass *b, bool wanted) { return wanted && b->pass.batch->length > 1; }
static inline const ds_layer_weights *ds_backward_layer(const ds_backward_pass *b) {
    return &b->pass.model->layers[b->pass.layer];
}

/* x_in, c, beta and v of a tile as the forward pass had them. */
void REAL_NAME(ds_backward_open)(const ds_backward_pass *b, ds_tile tile);
/* x_in of a tile, once open. */
const REAL *REAL_NAME(ds_backward_x_in)(const ds_backward_pass *b, ds_tile tile);
/* From the gradient at the new state: dh, and what reaches beta and v; zeroes the tile's partial sums. */
void REAL_NAME(ds_backward_delta)(const ds_backward_pass *b, ds_tile tile);
/* From the branch's gradient of c (rows,d), which it overwrites, to dx_in, by path when asked for. */
void REAL_NAME(ds_backward_close)(const ds_backward_pass *b, ds_tile tile, REAL *dcontext);
/* Sums of a compressor's gradient over the tile, from dx_in. */
void REAL_NAME(ds_backward_taps)(const ds_backward_pass *b, ds_tile tile);

ds_status REAL_NAME(ds_backward_enter)(void *context, size_t task, size_t worker);
ds_status REAL_NAME(ds_backward_restore)(void *context, size_t task, size_t worker);
ds_status REAL_NAME(ds_backward_scores)(void *context, size_t task, size_t worker);
ds_status REAL_NAME(ds_backward_unshape)(void *context, size_t task, size_t worker);
ds_status REAL_NAME(ds_backward_leave)(void *context, size_t task, size_t worker);
ds_status REAL_NAME(ds_backward_mlp)(void *context, size_t task, size_t worker);
ds_status REAL_NAME(ds_backward_expand)(void *context, size_t task, size_t worker);
ds_status REAL_NAME(ds_backward_weights)(void *context, size_t task, size_t worker);
ds_status REAL_NAME(ds_tangent_enter)(void *context, size_t task, size_t worker);
ds_status REAL_NAME(ds_tangent_shift)(void *context, size_t task, size_t worker);
ds_status REAL_NAME(ds_tangent_attend)(void *context, size_t task, size_t worker);
ds_status REAL_NAME(ds_tangent_mlp)(void *context, size_t task, size_t worker);
ds_status REAL_NAME(ds_tangent_token)(ds_backward_pass *b, double *jacobian, size_t sequence, size_t position);

/* Pieces of forward mode that a window's tiles and a single token's directions share. Rows belong to the tokens from `token` on,
 * or with `same` all to that one. */
void REAL_NAME(ds_tangent_gate)(const ds_backward_pass *b, double *dbeta, const REAL *dcontext, size_t token, bool same,
                                size_t rows, REAL *hidden_row);
void REAL_NAME(ds_tangent_value)(const ds_backward_pass *b, double *dvalue, const REAL *dx_in, size_t token, bool same,
                                 size_t rows);
/* u of X' = X + k u^T and its tangent for one token; dk is the direction's tangent, dstate the state's (NULL: zero). */
void REAL_NAME(ds_tangent_edit)(const ds_backward_pass *b, double *u, double *du, size_t token, const REAL *k, const REAL *dk,
                                const REAL *dstate, double dbeta, const double *dvalue);
/* Through activation, rotation and norm of the tile's projection, dx in place; linear_x is the shifted projection itself, rotated
 * is scratch of its size. */
void REAL_NAME(ds_tangent_shape)(REAL *dx, const ds_backward_pass *b, ds_tile tile, const ds_projection *p,
                                 const REAL *linear_x, REAL *rotated);
/* Through the norm of each head and the output gate, dheads in place; heads and gate are the tile's own, normed is scratch. */
void REAL_NAME(ds_tangent_finish)(REAL *dheads, const REAL *dgate, const REAL *heads, const REAL *gate, REAL *normed,
                                  const ds_backward_pass *b, ds_tile tile);

#endif
