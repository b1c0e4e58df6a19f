/* Qwen3, LLaMA and Qwen2: RMSNorm; the norm of each head where there is one, and then the rotation; the gated MLP of
 * mlp.real.c. */
#include "backbone_qwen.h"
#include "tiles.h"

static void transform_forward(void *x, const ds_pass *pass, ds_tile tile, const ds_projection *p) {
    if (p->norm != NULL) REAL_NAME(ds_head_norms)(x, pass, tile, p);
    if (p->rotate) REAL_NAME(ds_rotate)(x, pass, tile, p->heads);
}

static void transform_backward(void *dx, const ds_derivative *b, ds_tile tile, const ds_projection_derivative *p,
                               const void *projected, void *scratch) {
    (void)scratch;
    if (p->forward.rotate) REAL_NAME(ds_rotate_back)(dx, &b->pass, tile, p->forward.heads);
    if (p->forward.norm != NULL) REAL_NAME(ds_head_norms_backward)(dx, b, tile, p, projected);
}

static void transform_tangent(void *dx, const ds_derivative *b, ds_tile tile, const ds_projection_derivative *p,
                              const void *projected, void *scratch) {
    (void)scratch;
    if (p->forward.norm != NULL) REAL_NAME(ds_head_norms_tangent)(dx, b, tile, p, projected);
    if (p->forward.rotate) REAL_NAME(ds_rotate)(dx, &b->pass, tile, p->forward.heads);
}

const ds_backbone_steps REAL_NAME(ds_backbone_qwen_steps) = {
    .norm_forward = REAL_NAME(ds_rms_forward),
    .norm_backward = REAL_NAME(ds_rms_backward),
    .norm_tangent = REAL_NAME(ds_rms_tangent),
    .transform_forward = transform_forward,
    .transform_backward = transform_backward,
    .transform_tangent = transform_tangent,
    .mlp_forward = REAL_NAME(ds_mlp_forward_task),
    .mlp_backward = REAL_NAME(ds_mlp_backward_task),
    .mlp_tangent = REAL_NAME(ds_mlp_tangent_task),
    .mlp_parameters = REAL_NAME(ds_mlp_parameters),
    .mlp_directions = REAL_NAME(ds_mlp_directions),
};
