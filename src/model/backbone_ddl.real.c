/* The backbone of the published code: RMSNorm; activation, rotary position and then the norm of each head; the gated MLP of
 * mlp.real.c (MODEL.md "Forward pass", "Attention"). */
#include "backbone_ddl.h"
#include "tiles.h"

/* ---- activation ------------------------------------------------------------------------------------------------------- */

static void activation_forward(REAL *x, size_t count, ds_activation activation) {
    switch (activation) {
    case DS_ACT_IDENTITY:
        break;
    case DS_ACT_SILU:
        REAL_NAME(ds_silu_forward)(x, x, count);
        break;
    case DS_ACT_RELU:
        REAL_NAME(ds_relu_forward)(x, x, count);
        break;
    case DS_ACT_ELU1:
        REAL_NAME(ds_elu1_forward)(x, x, count);
        break;
    }
}

/* dx = f'(x) dx, so also the tangent. */
static void activation_backward(REAL *dx, const REAL *x, size_t count, ds_activation activation) {
    switch (activation) {
    case DS_ACT_IDENTITY:
        break;
    case DS_ACT_SILU:
        REAL_NAME(ds_silu_backward)(dx, dx, x, count);
        break;
    case DS_ACT_RELU:
        REAL_NAME(ds_relu_backward)(dx, dx, x, count);
        break;
    case DS_ACT_ELU1:
        REAL_NAME(ds_elu1_backward)(dx, dx, x, count);
        break;
    }
}

/* ---- transform -------------------------------------------------------------------------------------------------------- */

/* What of the transform comes before the norm. */
static void rotated_forward(REAL *x, const ds_pass *pass, ds_tile tile, const ds_projection *p) {
    activation_forward(x, tile.rows * ds_projection_width(pass, p), p->activation);
    if (p->rotate) REAL_NAME(ds_rotate)(x, pass, tile, p->heads);
}

static void transform_forward(void *x, const ds_pass *pass, ds_tile tile, const ds_projection *p) {
    rotated_forward(x, pass, tile, p);
    if (p->norm != NULL) REAL_NAME(ds_head_norms)(x, pass, tile, p);
}

static void transform_backward(void *dx, const ds_derivative *b, ds_tile tile, const ds_projection_derivative *p,
                               const void *shifted, void *rotated) {
    size_t count = tile.rows * ds_projection_width(&b->pass, &p->forward);
    if (p->forward.norm != NULL) {
        memcpy(rotated, shifted, count * sizeof(REAL));
        rotated_forward(rotated, &b->pass, tile, &p->forward);
        REAL_NAME(ds_head_norms_backward)(dx, b, tile, p, rotated);
    }
    if (p->forward.rotate) REAL_NAME(ds_rotate_back)(dx, &b->pass, tile, p->forward.heads);
    activation_backward(dx, shifted, count, p->forward.activation);
}

static void transform_tangent(void *dx, const ds_derivative *b, ds_tile tile, const ds_projection_derivative *p,
                              const void *shifted, void *rotated) {
    size_t count = tile.rows * ds_projection_width(&b->pass, &p->forward);
    activation_backward(dx, shifted, count, p->forward.activation);
    if (p->forward.rotate) REAL_NAME(ds_rotate)(dx, &b->pass, tile, p->forward.heads);
    if (p->forward.norm == NULL) return;
    memcpy(rotated, shifted, count * sizeof(REAL));
    rotated_forward(rotated, &b->pass, tile, &p->forward);
    REAL_NAME(ds_head_norms_tangent)(dx, b, tile, p, rotated);
}

const ds_backbone_steps REAL_NAME(ds_backbone_ddl_steps) = {
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
