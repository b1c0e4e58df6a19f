/* nanoGPT and GPT-2: LayerNorm; queries, keys and values as they are projected, since positions are in the embedding; the MLP
 * of mlp_plain.real.c. */
#include "backbone_gpt.h"
#include "tiles.h"

static void transform_forward(void *x, const ds_pass *pass, ds_tile tile, const ds_projection *p) {
    (void)x, (void)pass, (void)tile, (void)p;
}

static void transform_derivative(void *dx, const ds_derivative *b, ds_tile tile, const ds_projection_derivative *p,
                                 const void *projected, void *scratch) {
    (void)dx, (void)b, (void)tile, (void)p, (void)projected, (void)scratch;
}

const ds_backbone_steps REAL_NAME(ds_backbone_gpt_steps) = {
    .norm_forward = REAL_NAME(ds_layer_forward),
    .norm_backward = REAL_NAME(ds_layer_backward),
    .norm_tangent = REAL_NAME(ds_layer_tangent),
    .transform_forward = transform_forward,
    .transform_backward = transform_derivative,
    .transform_tangent = transform_derivative,
    .mlp_forward = REAL_NAME(ds_plain_mlp_forward_task),
    .mlp_backward = REAL_NAME(ds_plain_mlp_backward_task),
    .mlp_tangent = REAL_NAME(ds_plain_mlp_tangent_task),
    .mlp_parameters = REAL_NAME(ds_plain_mlp_parameters),
    .mlp_directions = REAL_NAME(ds_plain_mlp_directions),
};
