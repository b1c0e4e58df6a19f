/* The backbone of the published code: RMSNorm; activation, rotary position and then the norm of each head; the gated MLP of
 * mlp.real.c (MODEL.md "Forward pass", "Attention"). */
#include "backbone_ddl.h"
#include "tiles.h"

/* ---- norm ------------------------------------------------------------------------------------------------------------- */

static void norm_forward(void *y, const void *x, const ds_spec *spec, const ds_parameter *weight, size_t rows) {
    REAL_NAME(ds_rmsnorm_forward)(y, NULL, x, VALUES(weight), rows, spec->hidden, spec->norm_eps);
}

static void norm_backward(void *dx, double *dweight, const void *dy, const void *x, const ds_spec *spec,
                          const ds_parameter *weight, size_t rows) {
    REAL_NAME(ds_rmsnorm_backward)(dx, dweight, dy, x, VALUES(weight), rows, spec->hidden, spec->norm_eps);
}

static void norm_tangent(void *dy, const void *dx, const void *x, const ds_spec *spec, const ds_parameter *weight,
                         size_t rows) {
    REAL_NAME(ds_rmsnorm_tangent)(dy, dx, x, VALUES(weight), rows, spec->hidden, spec->norm_eps);
}

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

/* ---- rotary position -------------------------------------------------------------------------------------------------- */

typedef void (*rotation)(REAL *x, const REAL *cosine, const REAL *sine, size_t rows, size_t heads, size_t head_dim,
                         size_t rotary_dim);

/* One of the rotation's kernels on a tile of x (rows,H,h). */
static void rotate(REAL *x, const ds_pass *pass, ds_tile tile, rotation kernel) {
    const ds_spec *spec = &pass->model->spec;
    size_t half = spec->rotary_dim / 2;
    const REAL *cosine = (const REAL *)pass->workspace->cosine + tile.first * half;
    const REAL *sine = (const REAL *)pass->workspace->sine + tile.first * half;
    if (half > 0) kernel(x, cosine, sine, tile.rows, spec->heads, spec->head_dim, spec->rotary_dim);
}

/* ---- transform -------------------------------------------------------------------------------------------------------- */

/* What of the transform comes before the norm. */
static void rotated_forward(REAL *x, const ds_pass *pass, ds_tile tile, const ds_projection *p) {
    activation_forward(x, tile.rows * ds_pass_width(pass), p->activation);
    if (p->rotate) rotate(x, pass, tile, REAL_NAME(ds_rope_forward));
}

static void transform_forward(void *x, const ds_pass *pass, ds_tile tile, const ds_projection *p) {
    const ds_spec *spec = &pass->model->spec;
    rotated_forward(x, pass, tile, p);
    if (p->norm == NULL) return;
    REAL_NAME(ds_rmsnorm_forward)
    (x, NULL, x, VALUES(p->norm), tile.rows * spec->heads, spec->head_dim, spec->head_norm_eps);
}

static void transform_backward(void *dx, const ds_derivative *b, ds_tile tile, const ds_projection_derivative *p,
                               const void *shifted, void *rotated) {
    const ds_spec *spec = &b->pass.model->spec;
    size_t width = ds_pass_width(&b->pass);
    if (p->forward.norm != NULL) {
        memcpy(rotated, shifted, tile.rows * width * sizeof(REAL));
        rotated_forward(rotated, &b->pass, tile, &p->forward);
        REAL_NAME(ds_rmsnorm_backward)
        (dx, ds_partial_at(b, tile, p->partial), dx, rotated, VALUES(p->forward.norm), tile.rows * spec->heads, spec->head_dim,
         spec->head_norm_eps);
    }
    if (p->forward.rotate) rotate(dx, &b->pass, tile, REAL_NAME(ds_rope_backward));
    activation_backward(dx, shifted, tile.rows * width, p->forward.activation);
}

static void transform_tangent(void *dx, const ds_derivative *b, ds_tile tile, const ds_projection_derivative *p,
                              const void *shifted, void *rotated) {
    const ds_spec *spec = &b->pass.model->spec;
    size_t width = ds_pass_width(&b->pass);
    activation_backward(dx, shifted, tile.rows * width, p->forward.activation);
    if (p->forward.rotate) rotate(dx, &b->pass, tile, REAL_NAME(ds_rope_forward));
    if (p->forward.norm == NULL) return;
    memcpy(rotated, shifted, tile.rows * width * sizeof(REAL));
    rotated_forward(rotated, &b->pass, tile, &p->forward);
    REAL_NAME(ds_rmsnorm_tangent)
    (dx, dx, rotated, VALUES(p->forward.norm), tile.rows * spec->heads, spec->head_dim, spec->head_norm_eps);
}

const ds_backbone_steps REAL_NAME(ds_backbone_ddl_steps) = {
    .norm_forward = norm_forward,
    .norm_backward = norm_backward,
    .norm_tangent = norm_tangent,
    .transform_forward = transform_forward,
    .transform_backward = transform_backward,
    .transform_tangent = transform_tangent,
    .mlp_forward = REAL_NAME(ds_mlp_forward_task),
    .mlp_backward = REAL_NAME(ds_mlp_backward_task),
    .mlp_tangent = REAL_NAME(ds_mlp_tangent_task),
    .mlp_parameters = REAL_NAME(ds_mlp_parameters),
    .mlp_directions = REAL_NAME(ds_mlp_directions),
};
