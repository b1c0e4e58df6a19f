/* Attention from the sublayer's input to queries, keys and values as the scores see them (MODEL.md "Attention"): linear
 * projection, shift, and then their transform, which is activation, rotary position, norm of each head. */
#include "tiles.h"

static ds_linear_map map_of(const ds_pass *pass, size_t which) {
    const ds_layer_weights *layer = ds_pass_layer(pass);
    size_t width = ds_pass_width(pass);
    if (layer->qkv != NULL) return ds_map_part(pass->model, layer->qkv, layer->qkv_bias, which * width, width);
    const ds_parameter *const weights[] = {layer->query, layer->key, layer->value};
    const ds_parameter *const biases[] = {layer->query_bias, layer->key_bias, layer->value_bias};
    return ds_map_of(pass->model, weights[which], biases[which]);
}

/* shift NULL: none, or none in a sequence this short. */
static ds_projection projection_of(const ds_pass *pass, size_t which) {
    const ds_spec *spec = &pass->model->spec;
    const ds_layer_weights *layer = ds_pass_layer(pass);
    const ds_workspace *w = pass->workspace;
    if (which == DS_QUERY)
        return (ds_projection){.heads = spec->heads,
                               .map = map_of(pass, which),
                               .norm = layer->query_norm,
                               .activation = spec->q_activation,
                               .rotate = true,
                               .final = w->query};
    if (which == DS_KEY)
        return (ds_projection){.heads = ds_spec_kv_heads(spec),
                               .map = map_of(pass, which),
                               .shift = ds_pass_shifts(pass, spec->k_shift) ? layer->key_shift : NULL,
                               .norm = layer->key_norm,
                               .activation = spec->k_activation,
                               .rotate = true,
                               .final = w->key,
                               .mix = w->key_mix,
                               .edge = w->key_edge};
    return (ds_projection){.heads = ds_spec_kv_heads(spec),
                           .map = map_of(pass, which),
                           .shift = ds_pass_shifts(pass, spec->v_shift) ? layer->value_shift : NULL,
                           .activation = spec->v_activation,
                           .final = w->value,
                           .mix = w->value_mix,
                           .edge = w->value_edge};
}

ds_projection_derivative REAL_NAME(ds_projection_of)(const ds_derivative *b, size_t which) {
    const ds_gradient *g = b->gradient;
    ds_projection forward = projection_of(&b->pass, which);
    if (which == DS_QUERY)
        return (ds_projection_derivative){.forward = forward,
                                          .raw = b->tape->query,
                                          .derivative = g->dquery,
                                          .partial = g->layout.query_norm,
                                          .bias_partial = g->layout.query_bias};
    if (which == DS_KEY)
        return (ds_projection_derivative){.forward = forward,
                                          .raw = b->tape->key,
                                          .mix = b->tape->key_mix,
                                          .derivative = g->dkey,
                                          .dshifted = g->dkey_shifted,
                                          .dmix = g->dkey_mix,
                                          .partial = g->layout.key_norm,
                                          .bias_partial = g->layout.key_bias};
    return (ds_projection_derivative){.forward = forward,
                                      .raw = b->tape->value,
                                      .mix = b->tape->value_mix,
                                      .derivative = g->dvalue,
                                      .dshifted = g->dvalue_shifted,
                                      .dmix = g->dvalue_mix,
                                      .bias_partial = g->layout.value_bias};
}

/* ---- transform -------------------------------------------------------------------------------------------------------- */

/* A tile through its transform again, on the way back; and forward, with a tangent. */
static void transform_tile_backward(const ds_derivative *b, ds_tile tile, ds_derivative_scratch *scratch,
                                    const ds_projection_derivative *p) {
    REAL *dx = ROWS(p->derivative, tile, ds_projection_width(&b->pass, &p->forward));
    REAL_NAME(ds_projection_shifted)(scratch->narrow[0], b, tile, p);
    BACKBONE(&b->pass)->transform_backward(dx, b, tile, p, scratch->narrow[0], scratch->narrow[1]);
}

static void transform_tile_tangent(const ds_derivative *b, ds_tile tile, ds_derivative_scratch *scratch,
                                   const ds_projection_derivative *p, void *tangent) {
    REAL *dx = ROWS(tangent, tile, ds_projection_width(&b->pass, &p->forward));
    REAL_NAME(ds_projection_shifted)(scratch->narrow[0], b, tile, p);
    BACKBONE(&b->pass)->transform_tangent(dx, b, tile, p, scratch->narrow[0], scratch->narrow[1]);
}

/* ---- shift: y_t <- a_t y_{t-1} + (1 - a_t) y_t, a = sigmoid(W c) ------------------------------------------------------ */

/* The mixing weights, and the tile's last row for the tile after it: what the shift's own step needs. */
static void mix_forward(const ds_pass *pass, ds_tile tile, const ds_projection *p, const REAL *context) {
    size_t heads = p->heads, width = ds_projection_width(pass, p);
    const REAL *last = ROWS(p->final, tile, width) + (tile.rows - 1) * width;
    REAL *mix = ROWS(p->mix, tile, heads), *edge = (REAL *)p->edge + (tile.sequence * pass->tiles + tile.index) * width;
    REAL_NAME(ds_linear)(mix, context, p->shift, tile.rows);
    REAL_NAME(ds_sigmoid)(mix, mix, tile.rows * heads);
    memcpy(edge, last, width * sizeof *edge);
}

static void mix_tangent(REAL *dmix, ds_tile tile, const REAL *dcontext, const ds_projection_derivative *p) {
    size_t heads = p->forward.heads;
    const REAL *mix = ROWS(p->mix, tile, heads);
    REAL_NAME(ds_linear)(dmix, dcontext, p->forward.shift, tile.rows);
    for (size_t i = 0; i < tile.rows * heads; i++) dmix[i] *= mix[i] * (1 - mix[i]);
}

static void shift_forward(const ds_pass *pass, ds_tile tile, const ds_projection *p) {
    size_t heads = p->heads, width = ds_projection_width(pass, p);
    const REAL *edges = p->edge;
    const REAL *previous = tile.index == 0 ? NULL : edges + (tile.sequence * pass->tiles + tile.index - 1) * width;
    REAL_NAME(ds_shift_forward)
    (ROWS(p->final, tile, width), previous, ROWS(p->mix, tile, heads), tile.rows, heads, pass->model->spec.head_dim);
}

/* Gradients of the linear projection and, before its sigmoid, of the mixing weight. */
static void shift_backward(const ds_derivative *b, ds_tile tile, const ds_projection_derivative *p) {
    size_t heads = p->forward.heads, width = ds_projection_width(&b->pass, &p->forward);
    const REAL *mix = ROWS(p->mix, tile, heads);
    REAL *dmix = ROWS(p->dmix, tile, heads);
    REAL_NAME(ds_shift_backward)
    (ROWS(p->dshifted, tile, width), dmix, ROWS(p->derivative, tile, width), ROWS(p->raw, tile, width), mix, tile.first > 0,
     tile.first + tile.rows < b->pass.batch->length, tile.rows, heads, b->pass.model->spec.head_dim);
    for (size_t i = 0; i < tile.rows * heads; i++) dmix[i] *= mix[i] * (1 - mix[i]);
}

static void shift_tangent(const ds_derivative *b, ds_tile tile, const ds_projection_derivative *p) {
    size_t heads = p->forward.heads, width = ds_projection_width(&b->pass, &p->forward);
    REAL_NAME(ds_shift_tangent)
    (ROWS(p->dshifted, tile, width), ROWS(p->derivative, tile, width), ROWS(p->dmix, tile, heads), ROWS(p->raw, tile, width),
     ROWS(p->mix, tile, heads), tile.first > 0, tile.rows, heads, b->pass.model->spec.head_dim);
}

void REAL_NAME(ds_projection_shifted)(REAL *rows, const ds_derivative *b, ds_tile tile, const ds_projection_derivative *p) {
    size_t heads = p->forward.heads, width = ds_projection_width(&b->pass, &p->forward);
    const REAL *raw = ROWS(p->raw, tile, width);
    memcpy(rows, raw, tile.rows * width * sizeof *rows);
    if (p->forward.shift != NULL) REAL_NAME(ds_shift_forward)
    (rows, tile.first > 0 ? raw - width : NULL, ROWS(p->mix, tile, heads), tile.rows, heads, b->pass.model->spec.head_dim);
}

ds_status REAL_NAME(ds_qkv_shift_forward_task)(void *context, size_t task, size_t worker) {
    const ds_pass *pass = context;
    ds_tile tile = ds_tile_of(pass, task);
    (void)worker;
    for (size_t which = 0; which < DS_PROJECTIONS; which++) {
        ds_projection p = projection_of(pass, which);
        if (p.shift == NULL) continue;
        shift_forward(pass, tile, &p);
        BACKBONE(pass)->transform_forward(ROWS(p.final, tile, ds_projection_width(pass, &p)), pass, tile, &p);
    }
    return DS_OK;
}

ds_status REAL_NAME(ds_qkv_shift_tangent_task)(void *context, size_t task, size_t worker) {
    const ds_derivative *b = context;
    ds_tile tile = ds_tile_of(&b->pass, task);
    for (size_t which = 0; which < DS_PROJECTIONS; which++) {
        ds_projection_derivative p = REAL_NAME(ds_projection_of)(b, which);
        if (p.forward.shift == NULL) continue;
        shift_tangent(b, tile, &p);
        transform_tile_tangent(b, tile, &b->gradient->scratch[worker], &p, p.dshifted);
    }
    return DS_OK;
}

/* ---- projection ------------------------------------------------------------------------------------------------------- */

static void record_projections(const ds_pass *pass, ds_tile tile) {
    const ds_spec *spec = &pass->model->spec;
    const ds_workspace *w = pass->workspace;
    const ds_tape *tape = pass->tape;
    size_t width = ds_pass_width(pass), kv_width = ds_pass_kv_width(pass), heads = ds_spec_kv_heads(spec);
    REAL_NAME(ds_record)(tape->query, ROWS(w->query, tile, width), tile, width);
    REAL_NAME(ds_record)(tape->key, ROWS(w->key, tile, kv_width), tile, kv_width);
    REAL_NAME(ds_record)(tape->value, ROWS(w->value, tile, kv_width), tile, kv_width);
    if (spec->output_gate) REAL_NAME(ds_record)(tape->gate, ROWS(w->gate, tile, width), tile, width);
    if (ds_pass_shifts(pass, spec->k_shift)) REAL_NAME(ds_record)(tape->key_mix, ROWS(w->key_mix, tile, heads), tile, heads);
    if (ds_pass_shifts(pass, spec->v_shift))
        REAL_NAME(ds_record)(tape->value_mix, ROWS(w->value_mix, tile, heads), tile, heads);
}

ds_status REAL_NAME(ds_qkv_forward_task)(void *context, size_t task, size_t worker) {
    const ds_pass *pass = context;
    const ds_spec *spec = &pass->model->spec;
    ds_workspace *w = pass->workspace;
    ds_scratch *scratch = &w->scratch[worker];
    ds_tile tile = ds_tile_of(pass, task);
    const REAL *x_in = REAL_NAME(ds_sublayer_read)(pass, tile, scratch->x_in);
    REAL_NAME(ds_sublayer_input_forward)(pass, tile, scratch->context, scratch->coefficient_hidden, x_in);
    for (size_t which = 0; which < DS_PROJECTIONS; which++) {
        ds_projection p = projection_of(pass, which);
        REAL_NAME(ds_map_forward)(ROWS(p.final, tile, ds_projection_width(pass, &p)), scratch->context, &p.map, tile.rows);
        if (p.shift != NULL) mix_forward(pass, tile, &p, scratch->context);
    }
    if (spec->output_gate) REAL_NAME(ds_linear)
    (ROWS(w->gate, tile, ds_pass_width(pass)), scratch->context, ds_pass_layer(pass)->output_gate, tile.rows);
    if (pass->tape != NULL) record_projections(pass, tile);
    for (size_t which = 0; which < DS_PROJECTIONS; which++) {
        ds_projection p = projection_of(pass, which);
        if (p.shift == NULL)
            BACKBONE(pass)->transform_forward(ROWS(p.final, tile, ds_projection_width(pass, &p)), pass, tile, &p);
    }
    return DS_OK;
}

void REAL_NAME(ds_qkv_again)(const ds_derivative *b, ds_tile tile) {
    for (size_t which = 0; which < DS_PROJECTIONS; which++) {
        ds_projection_derivative p = REAL_NAME(ds_projection_of)(b, which);
        REAL *rows = ROWS(p.forward.final, tile, ds_projection_width(&b->pass, &p.forward));
        REAL_NAME(ds_projection_shifted)(rows, b, tile, &p);
        BACKBONE(&b->pass)->transform_forward(rows, &b->pass, tile, &p.forward);
    }
}

ds_status REAL_NAME(ds_qkv_transform_backward_task)(void *context, size_t task, size_t worker) {
    const ds_derivative *b = context;
    ds_tile tile = ds_tile_of(&b->pass, task);
    for (size_t which = 0; which < DS_PROJECTIONS; which++) {
        ds_projection_derivative p = REAL_NAME(ds_projection_of)(b, which);
        transform_tile_backward(b, tile, &b->gradient->scratch[worker], &p);
    }
    return DS_OK;
}

/* From shifted queries, keys and values to the sublayer's input. */
ds_status REAL_NAME(ds_qkv_backward_task)(void *context, size_t task, size_t worker) {
    const ds_derivative *b = context;
    const ds_gradient *g = b->gradient;
    const ds_spec *spec = &b->pass.model->spec;
    ds_tile tile = ds_tile_of(&b->pass, task);
    REAL *dcontext = g->scratch[worker].context;
    memset(dcontext, 0, tile.rows * spec->hidden * sizeof *dcontext);
    ds_projection_derivative all[DS_PROJECTIONS];
    for (size_t which = 0; which < DS_PROJECTIONS; which++) {
        ds_projection_derivative *p = &all[which];
        *p = REAL_NAME(ds_projection_of)(b, which);
        if (p->forward.shift == NULL) continue;
        shift_backward(b, tile, p);
        REAL_NAME(ds_linear_backward_add)(dcontext, ROWS(p->dmix, tile, p->forward.heads), p->forward.shift, tile.rows);
    }
    for (size_t which = 0; which < DS_PROJECTIONS; which++) {
        const ds_projection_derivative *p = &all[which];
        size_t width = ds_projection_width(&b->pass, &p->forward);
        const REAL *dlinear = ROWS(p->forward.shift != NULL ? p->dshifted : p->derivative, tile, width);
        REAL_NAME(ds_map_backward_add)(dcontext, dlinear, &p->forward.map, tile.rows);
        REAL_NAME(ds_bias_sums)(b, tile, &p->forward.map, p->bias_partial, dlinear);
    }
    if (spec->output_gate) REAL_NAME(ds_linear_backward_add)
    (dcontext, ROWS(g->doutput_gate, tile, ds_pass_width(&b->pass)), ds_pass_layer(&b->pass)->output_gate, tile.rows);
    REAL_NAME(ds_sublayer_input_backward)(b, tile, dcontext);
    return DS_OK;
}

ds_status REAL_NAME(ds_qkv_parameters)(ds_derivative *b) {
    ds_status status = DS_OK;
    const ds_gradient *g = b->gradient;
    const ds_layer_weights *layer = ds_pass_layer(&b->pass);
    for (size_t which = 0; which < DS_PROJECTIONS; which++) {
        ds_projection_derivative p = REAL_NAME(ds_projection_of)(b, which);
        bool shifted = p.forward.shift != NULL;
        DS_TRY(ds_map_job_add(b, &p.forward.map, shifted ? p.dshifted : p.derivative, g->context));
        REAL_NAME(ds_sum_bias)(b, &p.forward.map, p.bias_partial);
        DS_TRY(ds_weight_job_add(b, p.forward.shift, p.dmix, g->context));
        REAL_NAME(ds_sum_tiles)(b, p.forward.norm, p.partial);
    }
    DS_TRY(ds_weight_job_add(b, layer->output_gate, g->doutput_gate, g->context));
    DS_TRY(REAL_NAME(ds_sublayer_parameters)(b));
done:
    return status;
}

/* Tangents of the input, and of the projections up to their shift or, without one, to the end. */
ds_status REAL_NAME(ds_qkv_tangent_task)(void *context, size_t task, size_t worker) {
    const ds_derivative *b = context;
    const ds_gradient *g = b->gradient;
    const ds_spec *spec = &b->pass.model->spec;
    ds_tile tile = ds_tile_of(&b->pass, task);
    REAL_NAME(ds_sublayer_input_again)(b, tile);
    REAL_NAME(ds_qkv_again)(b, tile);
    REAL_NAME(ds_sublayer_input_tangent)(b, tile, worker);
    const REAL *dcontext = ROWS(g->dcontext, tile, spec->hidden);
    for (size_t which = 0; which < DS_PROJECTIONS; which++) {
        ds_projection_derivative p = REAL_NAME(ds_projection_of)(b, which);
        REAL_NAME(ds_map_linear)
        (ROWS(p.derivative, tile, ds_projection_width(&b->pass, &p.forward)), dcontext, &p.forward.map, tile.rows);
        if (p.forward.shift != NULL)
            mix_tangent(ROWS(p.dmix, tile, p.forward.heads), tile, dcontext, &p);
        else
            transform_tile_tangent(b, tile, &g->scratch[worker], &p, p.derivative);
    }
    if (spec->output_gate) REAL_NAME(ds_linear)
    (ROWS(g->doutput_gate, tile, ds_pass_width(&b->pass)), dcontext, ds_pass_layer(&b->pass)->output_gate, tile.rows);
    return DS_OK;
}
