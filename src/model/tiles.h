/* Private to the *.real.c sources of the model room: what they offer each other, by thing. Everything is one worker's, about
 * one tile, unless it says otherwise. */
#ifndef DELTASCOPE_MODEL_TILES_H
#define DELTASCOPE_MODEL_TILES_H

#include <string.h>

#include "deltascope/activity.h"
#include "deltascope/num.h"

#include "backbone.h"
#include "rule.h"

#define VALUES(parameter) ((const REAL *)(parameter)->values)
/* The rows of a tile in an array (B,T,width). */
#define ROWS(array, tile, width) ((REAL *)(array) + (tile).token * (width))

/* The arithmetic of the pass's rule and backbone. */
#define RULE(pass) (ds_pass_rule(pass)->steps[REAL_PRECISION])
#define BACKBONE(pass) (ds_pass_backbone(pass)->steps[REAL_PRECISION])

/* y (rows,out) = x (rows,in) W^T for a Linear weight W (out,in). */
static inline void REAL_NAME(ds_linear)(REAL *y, const REAL *x, const ds_parameter *weight, size_t rows) {
    size_t out = weight->shape[0], in = weight->shape[1];
    REAL_NAME(ds_gemm_nt)(y, out, x, in, VALUES(weight), in, rows, out, in);
}
/* dx (rows,in) gains dy W. */
static inline void REAL_NAME(ds_linear_backward_add)(REAL *dx, const REAL *dy, const ds_parameter *weight, size_t rows) {
    size_t out = weight->shape[0], in = weight->shape[1];
    REAL_NAME(ds_gemm_nn_add)(dx, in, dy, out, VALUES(weight), in, rows, in, out);
}
/* The matrix of a map in its weight. */
static inline const REAL *REAL_NAME(ds_map_values)(const ds_linear_map *map) {
    return VALUES(map->weight) + map->first * (map->inputs_first ? 1 : map->in);
}
/* y (rows,out) = x (rows,in) W^T, without the bias: also the map's tangent. */
static inline void REAL_NAME(ds_map_linear)(REAL *y, const REAL *x, const ds_linear_map *map, size_t rows) {
    size_t out = map->out, in = map->in, stride = map->weight->shape[1];
    const REAL *w = REAL_NAME(ds_map_values)(map);
    if (map->inputs_first)
        REAL_NAME(ds_gemm_nn)(y, out, x, in, w, stride, rows, out, in);
    else
        REAL_NAME(ds_gemm_nt)(y, out, x, in, w, stride, rows, out, in);
}
static inline void REAL_NAME(ds_map_forward)(REAL *y, const REAL *x, const ds_linear_map *map, size_t rows) {
    REAL_NAME(ds_map_linear)(y, x, map, rows);
    if (map->bias == NULL) return;
    const REAL *bias = VALUES(map->bias) + map->first;
    for (size_t row = 0; row < rows; row++, y += map->out)
        for (size_t i = 0; i < map->out; i++) y[i] += bias[i];
}
/* dx (rows,in) = dy W; then gains dy W. */
static inline void REAL_NAME(ds_map_backward)(REAL *dx, const REAL *dy, const ds_linear_map *map, size_t rows) {
    size_t out = map->out, in = map->in, stride = map->weight->shape[1];
    const REAL *w = REAL_NAME(ds_map_values)(map);
    if (map->inputs_first)
        REAL_NAME(ds_gemm_nt)(dx, in, dy, out, w, stride, rows, in, out);
    else
        REAL_NAME(ds_gemm_nn)(dx, in, dy, out, w, stride, rows, in, out);
}
static inline void REAL_NAME(ds_map_backward_add)(REAL *dx, const REAL *dy, const ds_linear_map *map, size_t rows) {
    size_t out = map->out, in = map->in, stride = map->weight->shape[1];
    const REAL *w = REAL_NAME(ds_map_values)(map);
    if (map->inputs_first)
        REAL_NAME(ds_gemm_nt_add)(dx, in, dy, out, w, stride, rows, in, out);
    else
        REAL_NAME(ds_gemm_nn_add)(dx, in, dy, out, w, stride, rows, in, out);
}
/* Keeps a tile's rows of `width` numbers on a tape. */
static inline void REAL_NAME(ds_record)(void *kept, const REAL *rows, ds_tile tile, size_t width) {
    memcpy(ROWS(kept, tile, width), rows, tile.rows * width * sizeof *rows);
}

/* ---- backbone_parts.real.c: what several backbones are made of (backbone.h) -------------------------------------------- */

void REAL_NAME(ds_rms_forward)(void *y, const void *x, const ds_spec *spec, ds_norm norm, size_t rows);
void REAL_NAME(ds_rms_backward)(void *dx, double *dnorm, const void *dy, const void *x, const ds_spec *spec, ds_norm norm,
                                size_t rows);
void REAL_NAME(ds_rms_tangent)(void *dy, const void *dx, const void *x, const ds_spec *spec, ds_norm norm, size_t rows);
void REAL_NAME(ds_layer_forward)(void *y, const void *x, const ds_spec *spec, ds_norm norm, size_t rows);
void REAL_NAME(ds_layer_backward)(void *dx, double *dnorm, const void *dy, const void *x, const ds_spec *spec, ds_norm norm,
                                  size_t rows);
void REAL_NAME(ds_layer_tangent)(void *dy, const void *dx, const void *x, const ds_spec *spec, ds_norm norm, size_t rows);
/* A tile of x (rows,heads,h) to its positions, or a gradient back, in place. */
void REAL_NAME(ds_rotate)(REAL *x, const ds_pass *pass, ds_tile tile, size_t heads);
void REAL_NAME(ds_rotate_back)(REAL *dx, const ds_pass *pass, ds_tile tile, size_t heads);
/* The norm of each head, which p has. */
void REAL_NAME(ds_head_norms)(REAL *x, const ds_pass *pass, ds_tile tile, const ds_projection *p);
void REAL_NAME(ds_head_norms_backward)(REAL *dx, const ds_derivative *b, ds_tile tile, const ds_projection_derivative *p,
                                       const REAL *x);
void REAL_NAME(ds_head_norms_tangent)(REAL *dx, const ds_derivative *b, ds_tile tile, const ds_projection_derivative *p,
                                      const REAL *x);

/* ---- compress.real.c -------------------------------------------------------------------------------------------------- */

/* x_in of a tile of `state` (B,T,dv,d), through the compressor of pass->sublayer: the state itself when it is scalar, else into
 * `x_in`. */
const REAL *REAL_NAME(ds_compress_forward)(REAL *x_in, const void *state, const ds_pass *pass, ds_tile tile);
/* One token's dstate (dv,d) gains what comes from dx_in (B,T,d); `future` tokens of the window follow it. */
void REAL_NAME(ds_compress_backward)(REAL *dstate, const void *dx_in, const ds_pass *pass, size_t token, size_t future);
/* The tile's sums for the compressor's weights, from g->dx_in; after all tiles, on the calling thread, their gradients. */
void REAL_NAME(ds_compress_sums)(const ds_derivative *b, ds_tile tile);
void REAL_NAME(ds_compress_parameters)(ds_derivative *b);
/* dx_in[feature] / dX[feature] in plane `channel` of the same token. */
double REAL_NAME(ds_compress_own_tap)(const ds_pass *pass, size_t channel, size_t feature);
/* The input convolution's, from sums as ds_embed_taps_backward leaves them. */
void REAL_NAME(ds_input_taps_parameters)(ds_derivative *b);

/* ---- sublayer.real.c: where a sublayer joins the state ---------------------------------------------------------------- */

/* From x_in to the branch's input c (rows,d) and the rule's coefficients, which leave `hidden`. */
/* What the sublayer reads of pass->state: x_in, or where it lies in the state. */
const REAL *REAL_NAME(ds_sublayer_read)(const ds_pass *pass, ds_tile tile, REAL *x_in);
void REAL_NAME(ds_sublayer_input_forward)(const ds_pass *pass, ds_tile tile, REAL *context, REAL *hidden, const REAL *x_in);
/* x_in, c and coefficients of a tile again as the forward pass had them, into the gradient's arrays. */
void REAL_NAME(ds_sublayer_input_again)(const ds_derivative *b, ds_tile tile);
/* From the branch's gradient of c (rows,d), which it overwrites, to g->dx_in, by path when asked for. */
void REAL_NAME(ds_sublayer_input_backward)(const ds_derivative *b, ds_tile tile, REAL *dcontext);
/* Tangents of x_in, c and coefficients from the state's. */
void REAL_NAME(ds_sublayer_input_tangent)(const ds_derivative *b, ds_tile tile, size_t worker);
/* x_in of a tile, once computed again. */
const REAL *REAL_NAME(ds_sublayer_x_in)(const ds_derivative *b, ds_tile tile);

/* The branch's output h (rows,d) enters the state; h is overwritten. */
void REAL_NAME(ds_sublayer_output_forward)(const ds_pass *pass, ds_tile tile, REAL *h);
/* From the gradient at the new state to g->dbranch; starts the tile's sums at zero. */
void REAL_NAME(ds_sublayer_output_backward)(const ds_derivative *b, ds_tile tile);
/* b->state from the state's tangent to the new state's, from g->dbranch. */
void REAL_NAME(ds_sublayer_output_tangent)(const ds_derivative *b, ds_tile tile);

/* Gradients of what both kinds of sublayer have, on the calling thread. */
ds_status REAL_NAME(ds_sublayer_parameters)(ds_derivative *b);

ds_status REAL_NAME(ds_read_forward_task)(void *context, size_t task, size_t worker);
ds_status REAL_NAME(ds_read_alone_task)(void *context, size_t task, size_t worker);
ds_status REAL_NAME(ds_mix_task)(void *context, size_t task, size_t worker);
ds_status REAL_NAME(ds_route_task)(void *context, size_t task, size_t worker);
ds_status REAL_NAME(ds_state_backward_task)(void *context, size_t task, size_t worker);
ds_status REAL_NAME(ds_inputs_again_task)(void *context, size_t task, size_t worker);
ds_status REAL_NAME(ds_inputs_tangent_task)(void *context, size_t task, size_t worker);

/* ---- attention_projections.real.c ------------------------------------------------------------------------------------- */

ds_projection_derivative REAL_NAME(ds_projection_of)(const ds_derivative *b, size_t which);
/* A tile's projection after its shift. */
void REAL_NAME(ds_projection_shifted)(REAL *rows, const ds_derivative *b, ds_tile tile, const ds_projection_derivative *p);
/* Queries, keys and values of a tile again as the scores see them. */
void REAL_NAME(ds_qkv_again)(const ds_derivative *b, ds_tile tile);
ds_status REAL_NAME(ds_qkv_parameters)(ds_derivative *b);

ds_status REAL_NAME(ds_qkv_forward_task)(void *context, size_t task, size_t worker);
ds_status REAL_NAME(ds_qkv_shift_forward_task)(void *context, size_t task, size_t worker);
ds_status REAL_NAME(ds_qkv_transform_backward_task)(void *context, size_t task, size_t worker);
ds_status REAL_NAME(ds_qkv_backward_task)(void *context, size_t task, size_t worker);
ds_status REAL_NAME(ds_qkv_tangent_task)(void *context, size_t task, size_t worker);
ds_status REAL_NAME(ds_qkv_shift_tangent_task)(void *context, size_t task, size_t worker);

/* ---- attention_scores.real.c ------------------------------------------------------------------------------------------ */

/* Through the norm of each head and the output gate, dheads in place; heads and gate are the tile's own, normed is scratch. */
void REAL_NAME(ds_heads_tangent)(REAL *dheads, const REAL *dgate, const REAL *heads, const REAL *gate, REAL *normed,
                                 const ds_derivative *b, ds_tile tile);
ds_status REAL_NAME(ds_attention_output_parameters)(ds_derivative *b);

ds_status REAL_NAME(ds_attention_forward_task)(void *context, size_t task, size_t worker);
ds_status REAL_NAME(ds_attention_output_backward_task)(void *context, size_t task, size_t worker);
ds_status REAL_NAME(ds_attention_scores_backward_task)(void *context, size_t task, size_t worker);
ds_status REAL_NAME(ds_attention_tangent_task)(void *context, size_t task, size_t worker);

/* ---- mlp.real.c ------------------------------------------------------------------------------------------------------- */

ds_status REAL_NAME(ds_mlp_parameters)(ds_derivative *b);
/* Tangents of one token's h, rows of dbranch (count,d), from those of c (count,d); first, second (count,f) are scratch. */
void REAL_NAME(ds_mlp_directions)(const ds_derivative *b, ds_tile token, void *dbranch, const void *dcontext, size_t count,
                                  void *first, void *second);
ds_status REAL_NAME(ds_mlp_forward_task)(void *context, size_t task, size_t worker);
ds_status REAL_NAME(ds_mlp_backward_task)(void *context, size_t task, size_t worker);
ds_status REAL_NAME(ds_mlp_tangent_task)(void *context, size_t task, size_t worker);

/* ---- mlp_plain.real.c: without a gate --------------------------------------------------------------------------------- */

ds_status REAL_NAME(ds_plain_mlp_parameters)(ds_derivative *b);
void REAL_NAME(ds_plain_mlp_directions)(const ds_derivative *b, ds_tile token, void *dbranch, const void *dcontext,
                                        size_t count, void *first, void *second);
ds_status REAL_NAME(ds_plain_mlp_forward_task)(void *context, size_t task, size_t worker);
ds_status REAL_NAME(ds_plain_mlp_backward_task)(void *context, size_t task, size_t worker);
ds_status REAL_NAME(ds_plain_mlp_tangent_task)(void *context, size_t task, size_t worker);

/* ---- embed.real.c, head.real.c ---------------------------------------------------------------------------------------- */

/* What today's rules have as their two ends (rule.h). */
void REAL_NAME(ds_embed_tile_forward)(const ds_pass *pass, ds_tile tile);
void REAL_NAME(ds_embed_tile_backward)(const ds_derivative *b, ds_tile tile);
void REAL_NAME(ds_readout_tile_forward)(const ds_pass *pass, ds_tile tile, void *hidden);
void REAL_NAME(ds_readout_tile_backward)(const ds_derivative *b, ds_tile tile);

void REAL_NAME(ds_embed_parameters)(ds_derivative *b);
ds_status REAL_NAME(ds_embed_forward_task)(void *context, size_t task, size_t worker);
ds_status REAL_NAME(ds_embed_backward_task)(void *context, size_t task, size_t worker);

void REAL_NAME(ds_logits)(const ds_model *model, const void *hidden, size_t rows, void *logits);
void REAL_NAME(ds_readout_parameters)(ds_derivative *b);
ds_status REAL_NAME(ds_readout_forward_task)(void *context, size_t task, size_t worker);
ds_status REAL_NAME(ds_readout_backward_task)(void *context, size_t task, size_t worker);
ds_status REAL_NAME(ds_head_compare_task)(void *context, size_t task, size_t worker);
ds_status REAL_NAME(ds_head_loss_task)(void *context, size_t task, size_t worker);
ds_status REAL_NAME(ds_head_backward_task)(void *context, size_t task, size_t worker);
ds_status REAL_NAME(ds_head_weight_task)(void *context, size_t task, size_t worker);

/* ---- parameters.real.c: gradients of parameters ----------------------------------------------------------------------- */

REAL *REAL_NAME(ds_gradient_of)(const ds_derivative *b, const ds_parameter *parameter);
/* Of `count` numbers at `offset` of every tile's sums: their sum over the tiles, in order. */
double *REAL_NAME(ds_tile_sums)(const ds_derivative *b, size_t offset, size_t count);
/* Adds them to the gradient of a parameter; NULL: nothing to do. */
void REAL_NAME(ds_sum_tiles)(ds_derivative *b, const ds_parameter *parameter, size_t offset);
/* Both parameters of a norm, from their sums at layout.norm. */
void REAL_NAME(ds_sum_norm)(ds_derivative *b, ds_norm norm);
/* The tile's sums for a map's bias from the gradient dy (rows,out) of what it was added to; after all tiles, their total.
 * Without a bias there is nothing to do. */
void REAL_NAME(ds_bias_sums)(const ds_derivative *b, ds_tile tile, const ds_linear_map *map, size_t offset, const REAL *dy);
void REAL_NAME(ds_sum_bias)(ds_derivative *b, const ds_linear_map *map, size_t offset);
ds_status REAL_NAME(ds_weights_backward_task)(void *context, size_t task, size_t worker);

/* ---- token_jacobian.real.c -------------------------------------------------------------------------------------------- */

ds_status REAL_NAME(ds_token_jacobian)(ds_derivative *b, double *jacobian, size_t sequence, size_t position);

#endif
