/* What several backbones are made of: RMSNorm and LayerNorm before branches and head, RMSNorm of each head, rotary
 * positions. */
#include "tiles.h"

/* ---- norm ------------------------------------------------------------------------------------------------------------- */

void REAL_NAME(ds_rms_forward)(void *y, const void *x, const ds_spec *spec, ds_norm norm, size_t rows) {
    REAL_NAME(ds_rmsnorm_forward)(y, NULL, x, VALUES(norm.weight), rows, spec->hidden, spec->norm_eps);
}

void REAL_NAME(ds_rms_backward)(void *dx, double *dnorm, const void *dy, const void *x, const ds_spec *spec, ds_norm norm,
                                size_t rows) {
    REAL_NAME(ds_rmsnorm_backward)(dx, dnorm, dy, x, VALUES(norm.weight), rows, spec->hidden, spec->norm_eps);
}

void REAL_NAME(ds_rms_tangent)(void *dy, const void *dx, const void *x, const ds_spec *spec, ds_norm norm, size_t rows) {
    REAL_NAME(ds_rmsnorm_tangent)(dy, dx, x, VALUES(norm.weight), rows, spec->hidden, spec->norm_eps);
}

static const REAL *bias_of(ds_norm norm) { return norm.bias != NULL ? VALUES(norm.bias) : NULL; }

void REAL_NAME(ds_layer_forward)(void *y, const void *x, const ds_spec *spec, ds_norm norm, size_t rows) {
    REAL_NAME(ds_layernorm_forward)(y, x, VALUES(norm.weight), bias_of(norm), rows, spec->hidden, spec->norm_eps);
}

void REAL_NAME(ds_layer_backward)(void *dx, double *dnorm, const void *dy, const void *x, const ds_spec *spec, ds_norm norm,
                                  size_t rows) {
    double *dbias = dnorm != NULL && norm.bias != NULL ? dnorm + spec->hidden : NULL;
    REAL_NAME(ds_layernorm_backward)(dx, dnorm, dbias, dy, x, VALUES(norm.weight), rows, spec->hidden, spec->norm_eps);
}

void REAL_NAME(ds_layer_tangent)(void *dy, const void *dx, const void *x, const ds_spec *spec, ds_norm norm, size_t rows) {
    REAL_NAME(ds_layernorm_tangent)(dy, dx, x, VALUES(norm.weight), rows, spec->hidden, spec->norm_eps);
}

/* ---- rotary position -------------------------------------------------------------------------------------------------- */

typedef void (*rotation)(REAL *x, const REAL *cosine, const REAL *sine, size_t rows, size_t heads, size_t head_dim,
                         size_t rotary_dim);

static void rotate(REAL *x, const ds_pass *pass, ds_tile tile, size_t heads, rotation kernel) {
    const ds_spec *spec = &pass->model->spec;
    size_t half = spec->rotary_dim / 2;
    const REAL *cosine = (const REAL *)pass->workspace->cosine + tile.first * half;
    const REAL *sine = (const REAL *)pass->workspace->sine + tile.first * half;
    if (half > 0) kernel(x, cosine, sine, tile.rows, heads, spec->head_dim, spec->rotary_dim);
}

void REAL_NAME(ds_rotate)(REAL *x, const ds_pass *pass, ds_tile tile, size_t heads) {
    rotate(x, pass, tile, heads, REAL_NAME(ds_rope_forward));
}

void REAL_NAME(ds_rotate_back)(REAL *dx, const ds_pass *pass, ds_tile tile, size_t heads) {
    rotate(dx, pass, tile, heads, REAL_NAME(ds_rope_backward));
}

/* ---- norm of each head ------------------------------------------------------------------------------------------------ */

void REAL_NAME(ds_head_norms)(REAL *x, const ds_pass *pass, ds_tile tile, const ds_projection *p) {
    const ds_spec *spec = &pass->model->spec;
    REAL_NAME(ds_rmsnorm_forward)
    (x, NULL, x, VALUES(p->norm), tile.rows * p->heads, spec->head_dim, spec->head_norm_eps);
}

void REAL_NAME(ds_head_norms_backward)(REAL *dx, const ds_derivative *b, ds_tile tile, const ds_projection_derivative *p,
                                       const REAL *x) {
    const ds_spec *spec = &b->pass.model->spec;
    REAL_NAME(ds_rmsnorm_backward)
    (dx, ds_partial_at(b, tile, p->partial), dx, x, VALUES(p->forward.norm), tile.rows * p->forward.heads, spec->head_dim,
     spec->head_norm_eps);
}

void REAL_NAME(ds_head_norms_tangent)(REAL *dx, const ds_derivative *b, ds_tile tile, const ds_projection_derivative *p,
                                      const REAL *x) {
    const ds_spec *spec = &b->pass.model->spec;
    REAL_NAME(ds_rmsnorm_tangent)
    (dx, dx, x, VALUES(p->forward.norm), tile.rows * p->forward.heads, spec->head_dim, spec->head_norm_eps);
}
