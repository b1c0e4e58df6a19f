/* The attention sublayer on the way back (MODEL.md "Attention", gradient.h). */
#include <math.h>
#include <string.h>

#include "backward_tiles.h"

ds_projection REAL_NAME(ds_projection_of)(const ds_backward_pass *b, size_t which) {
    const ds_spec *spec = &b->pass.model->spec;
    const ds_layer_weights *layer = ds_backward_layer(b);
    const ds_gradient *g = b->gradient;
    const ds_workspace *w = g->workspace;
    if (which == DS_QUERY)
        return (ds_projection){.raw = b->tape->query,
                               .final = w->query,
                               .derivative = g->dquery,
                               .activation = spec->q_activation,
                               .rotate = true,
                               .norm = layer->query_norm,
                               .partial = g->layout.query_norm};
    if (which == DS_KEY)
        return (ds_projection){.raw = b->tape->key,
                               .mix = ds_backward_shifts(b, spec->k_shift) ? b->tape->key_mix : NULL,
                               .final = w->key,
                               .derivative = g->dkey,
                               .activation = spec->k_activation,
                               .rotate = true,
                               .norm = layer->key_norm,
                               .partial = g->layout.key_norm};
    return (ds_projection){.raw = b->tape->value,
                           .mix = ds_backward_shifts(b, spec->v_shift) ? b->tape->value_mix : NULL,
                           .final = w->value,
                           .derivative = g->dvalues,
                           .activation = spec->v_activation};
}

void REAL_NAME(ds_projection_shifted)(REAL *rows, const ds_backward_pass *b, ds_tile tile, const ds_projection *projection) {
    const ds_spec *spec = &b->pass.model->spec;
    size_t width = spec->heads * spec->head_dim;
    const REAL *raw = ROWS(projection->raw, tile, width);
    memcpy(rows, raw, tile.rows * width * sizeof *rows);
    if (projection->mix != NULL) REAL_NAME(ds_shift_forward)
    (rows, tile.first > 0 ? raw - width : NULL, ROWS(projection->mix, tile, spec->heads), tile.rows, spec->heads,
     spec->head_dim);
}

void REAL_NAME(ds_activation_backward)(REAL *dx, const REAL *dy, const REAL *x, size_t count, ds_activation activation) {
    switch (activation) {
    case DS_ACT_IDENTITY:
        if (dx != dy) memcpy(dx, dy, count * sizeof *dx);
        break;
    case DS_ACT_SILU:
        REAL_NAME(ds_silu_backward)(dx, dy, x, count);
        break;
    case DS_ACT_RELU:
        REAL_NAME(ds_relu_backward)(dx, dy, x, count);
        break;
    case DS_ACT_ELU1:
        REAL_NAME(ds_elu1_backward)(dx, dy, x, count);
        break;
    }
}

/* Queries, keys and values as the scores see them. */
static void restore_tile(const ds_backward_pass *b, ds_tile tile) {
    size_t width = b->pass.model->spec.heads * b->pass.model->spec.head_dim;
    for (size_t which = 0; which < DS_PROJECTIONS; which++) {
        ds_projection p = REAL_NAME(ds_projection_of)(b, which);
        REAL *rows = ROWS(p.final, tile, width);
        REAL_NAME(ds_projection_shifted)(rows, b, tile, &p);
        REAL_NAME(ds_tile_shape_heads)(rows, &b->pass, tile, p.activation, p.rotate, p.norm);
    }
}

ds_status REAL_NAME(ds_backward_restore)(void *context, size_t task, size_t worker) {
    const ds_backward_pass *b = context;
    ds_tile tile = ds_tile_of(&b->pass, task);
    (void)worker;
    REAL_NAME(ds_backward_open)(b, tile);
    if (b->half == 0) restore_tile(b, tile);
    return DS_OK;
}

/* dheads (rows,H*h): from the output projection's input back to the weighted sum of values. `normed` is scratch. */
static void finish_heads_backward(const ds_backward_pass *b, ds_tile tile, REAL *dheads, REAL *normed) {
    const ds_spec *spec = &b->pass.model->spec;
    const ds_layer_weights *layer = ds_backward_layer(b);
    const ds_gradient *g = b->gradient;
    size_t width = spec->heads * spec->head_dim, rows = tile.rows * spec->heads;
    const REAL *heads = ROWS(b->tape->heads, tile, width);
    if (spec->output_gate) {
        memcpy(normed, heads, tile.rows * width * sizeof *normed);
        REAL_NAME(ds_tile_finish_heads)(normed, NULL, &b->pass, tile);
        REAL_NAME(ds_swiglu_backward)
        (ROWS(g->doutput_gate, tile, width), dheads, dheads, ROWS(b->tape->gate, tile, width), normed, tile.rows * width);
    }
    const ds_parameter *norm = layer->head_norm != NULL ? layer->head_norm : layer->output_norm;
    double eps = layer->head_norm != NULL ? spec->head_norm_eps : spec->output_norm_eps, *partial = ds_partial_of(b, tile);
    if (norm != NULL) REAL_NAME(ds_rmsnorm_backward)
    (dheads, partial != NULL ? partial + g->layout.head_norm : NULL, dheads, heads, VALUES(norm), rows, spec->head_dim, eps);
}

ds_status REAL_NAME(ds_backward_enter)(void *context, size_t task, size_t worker) {
    const ds_backward_pass *b = context;
    const ds_gradient *g = b->gradient;
    const ds_spec *spec = &b->pass.model->spec;
    ds_tile tile = ds_tile_of(&b->pass, task);
    size_t d = spec->hidden, width = spec->heads * spec->head_dim, bytes = tile.rows * width * sizeof(REAL);
    REAL_NAME(ds_backward_open)(b, tile);
    restore_tile(b, tile);
    REAL_NAME(ds_backward_delta)(b, tile);
    if (b->parameters) {
        REAL *heads = ROWS(g->heads, tile, width);
        memcpy(heads, ROWS(b->tape->heads, tile, width), bytes);
        REAL_NAME(ds_tile_finish_heads)
        (heads, spec->output_gate ? ROWS(b->tape->gate, tile, width) : NULL, &b->pass, tile);
    }
    REAL *dheads = ROWS(g->dheads, tile, width);
    REAL_NAME(ds_gemm_nn)
    (dheads, width, ROWS(g->dbranch, tile, d), d, VALUES(ds_backward_layer(b)->attention), width, tile.rows, width, d);
    finish_heads_backward(b, tile, dheads, g->scratch[worker].narrow[0]);
    memset(ROWS(g->dkey, tile, width), 0, bytes);
    memset(ROWS(g->dvalues, tile, width), 0, bytes);
    return DS_OK;
}

/* One head of one window: P again from queries and keys, then dV += P^T dO, dS = P (dP - sum P dP) / sqrt(h) with dP = dO V^T,
 * dQ = dS K, dK += dS^T Q. */
ds_status REAL_NAME(ds_backward_scores)(void *context, size_t task, size_t worker) {
    const ds_backward_pass *b = context;
    const ds_gradient *g = b->gradient;
    const ds_spec *spec = &b->pass.model->spec;
    const ds_workspace *w = g->workspace;
    ds_backward_scratch *scratch = &g->scratch[worker];
    size_t h = spec->head_dim, width = spec->heads * h, length = b->pass.batch->length;
    size_t offset = task / spec->heads * length * width + task % spec->heads * h;
    const REAL *query = (const REAL *)w->query + offset, *key = (const REAL *)w->key + offset;
    const REAL *value = (const REAL *)w->value + offset, *dheads = (const REAL *)g->dheads + offset;
    REAL *dquery = (REAL *)g->dquery + offset, *dkey = (REAL *)g->dkey + offset, *dvalue = (REAL *)g->dvalues + offset;
    REAL *p = scratch->weights, *ds = scratch->scores;
    double scale = 1 / sqrt((double)h);
    for (size_t first = 0; first < length; first += DS_BACKWARD_QUERY_ROWS) {
        size_t rows = ds_min_size(length - first, DS_BACKWARD_QUERY_ROWS), columns = first + rows, at = first * width;
        REAL_NAME(ds_gemm_nt)(p, columns, query + at, width, key, width, rows, columns, h);
        REAL_NAME(ds_softmax_causal_forward)(p, scratch->inverse, columns, rows, columns, first, scale);
        REAL_NAME(ds_scale_rows)(p, columns, scratch->inverse, rows, columns);
        REAL_NAME(ds_gemm_tn_add)(dvalue, width, p, columns, dheads + at, width, columns, h, rows);
        REAL_NAME(ds_gemm_nt)(ds, columns, dheads + at, width, value, width, rows, columns, h);
        REAL_NAME(ds_softmax_causal_backward)(ds, p, columns, rows, columns, first, scale);
        REAL_NAME(ds_gemm_nn)(dquery + at, width, ds, columns, key, width, rows, h, columns);
        REAL_NAME(ds_gemm_tn_add)(dkey, width, ds, columns, query + at, width, columns, h, rows);
    }
    return DS_OK;
}

/* Back through norm, rotation and activation, in place. */
ds_status REAL_NAME(ds_backward_unshape)(void *context, size_t task, size_t worker) {
    const ds_backward_pass *b = context;
    const ds_gradient *g = b->gradient;
    const ds_spec *spec = &b->pass.model->spec;
    ds_tile tile = ds_tile_of(&b->pass, task);
    size_t width = spec->heads * spec->head_dim, half = spec->rotary_dim / 2;
    REAL *linear = g->scratch[worker].narrow[0], *rotated = g->scratch[worker].narrow[1];
    double *partial = ds_partial_of(b, tile);
    for (size_t which = 0; which < DS_PROJECTIONS; which++) {
        ds_projection p = REAL_NAME(ds_projection_of)(b, which);
        REAL *dx = ROWS(p.derivative, tile, width);
        REAL_NAME(ds_projection_shifted)(linear, b, tile, &p);
        if (p.norm != NULL) {
            memcpy(rotated, linear, tile.rows * width * sizeof *rotated);
            REAL_NAME(ds_tile_shape_heads)(rotated, &b->pass, tile, p.activation, p.rotate, NULL);
            REAL_NAME(ds_rmsnorm_backward)
            (dx, partial != NULL ? partial + p.partial : NULL, dx, rotated, VALUES(p.norm), tile.rows * spec->heads,
             spec->head_dim, spec->head_norm_eps);
        }
        if (p.rotate && half > 0) REAL_NAME(ds_rope_backward)
        (dx, (const REAL *)g->workspace->cosine + tile.first * half, (const REAL *)g->workspace->sine + tile.first * half,
         tile.rows, spec->heads, spec->head_dim, spec->rotary_dim);
        REAL_NAME(ds_activation_backward)(dx, dx, linear, tile.rows * width, p.activation);
    }
    return DS_OK;
}

/* Back through the shift: gradients of the linear projection and, before its sigmoid, of the mixing weight. */
static void shift_backward(const ds_backward_pass *b, ds_tile tile, REAL *dlinear, REAL *dmix, const ds_projection *p) {
    const ds_spec *spec = &b->pass.model->spec;
    size_t width = spec->heads * spec->head_dim;
    const REAL *mix = ROWS(p->mix, tile, spec->heads);
    REAL_NAME(ds_shift_backward)
    (dlinear, dmix, ROWS(p->derivative, tile, width), ROWS(p->raw, tile, width), mix, tile.first > 0,
     tile.first + tile.rows < b->pass.batch->length, tile.rows, spec->heads, spec->head_dim);
    for (size_t i = 0; i < tile.rows * spec->heads; i++) dmix[i] *= mix[i] * (1 - mix[i]);
}

static void add_input_gradient(REAL *dcontext, const REAL *dy, const ds_parameter *weight, size_t rows) {
    size_t out = weight->shape[0], in = weight->shape[1];
    REAL_NAME(ds_gemm_nn_add)(dcontext, in, dy, out, VALUES(weight), in, rows, in, out);
}

ds_status REAL_NAME(ds_backward_leave)(void *context, size_t task, size_t worker) {
    const ds_backward_pass *b = context;
    const ds_gradient *g = b->gradient;
    const ds_spec *spec = &b->pass.model->spec;
    const ds_layer_weights *layer = ds_backward_layer(b);
    ds_tile tile = ds_tile_of(&b->pass, task);
    size_t d = spec->hidden, width = spec->heads * spec->head_dim;
    REAL *dcontext = g->scratch[worker].context, *dkey = ROWS(g->dkey, tile, width), *dvalue = ROWS(g->dvalues, tile, width);
    memset(dcontext, 0, tile.rows * d * sizeof *dcontext);
    ds_projection key = REAL_NAME(ds_projection_of)(b, DS_KEY), value = REAL_NAME(ds_projection_of)(b, DS_VALUE);
    if (key.mix != NULL) {
        dkey = ROWS(g->dkey_shifted, tile, width);
        shift_backward(b, tile, dkey, ROWS(g->dkey_mix, tile, spec->heads), &key);
        add_input_gradient(dcontext, ROWS(g->dkey_mix, tile, spec->heads), layer->key_shift, tile.rows);
    }
    if (value.mix != NULL) {
        dvalue = ROWS(g->dvalue_shifted, tile, width);
        shift_backward(b, tile, dvalue, ROWS(g->dvalue_mix, tile, spec->heads), &value);
        add_input_gradient(dcontext, ROWS(g->dvalue_mix, tile, spec->heads), layer->value_shift, tile.rows);
    }
    add_input_gradient(dcontext, ROWS(g->dquery, tile, width), layer->query, tile.rows);
    add_input_gradient(dcontext, dkey, layer->key, tile.rows);
    add_input_gradient(dcontext, dvalue, layer->value, tile.rows);
    if (spec->output_gate) add_input_gradient(dcontext, ROWS(g->doutput_gate, tile, width), layer->output_gate, tile.rows);
    REAL_NAME(ds_backward_close)(b, tile, dcontext);
    return DS_OK;
}
