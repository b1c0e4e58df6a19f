/* The input: X_0 from token ids, through the input convolution where there is one (MODEL.md "Compressors", EC); without, the
 * embedding in every plane, and with it its learned position. */
#include "tiles.h"

void REAL_NAME(ds_embed_tile_forward)(const ds_pass *pass, ds_tile tile) {
    const ds_spec *spec = &pass->model->spec;
    size_t d = spec->hidden, planes = ds_spec_planes(spec);
    REAL_NAME(ds_embed_forward)
    (ROWS(pass->state, tile, planes * d), VALUES(pass->model->embedding), pass->model->input.taps,
     pass->batch->tokens + tile.token, tile.first, tile.rows, d, planes, spec->input_kernel);
    if (pass->model->positions == NULL) return;
    REAL *row = ROWS(pass->state, tile, planes * d);
    for (size_t t = 0; t < tile.rows; t++) {
        const REAL *position = VALUES(pass->model->positions) + (tile.first + t) * d;
        for (size_t plane = 0; plane < planes; plane++, row += d)
            for (size_t i = 0; i < d; i++) row[i] += position[i];
    }
}

void REAL_NAME(ds_embed_tile_backward)(const ds_derivative *b, ds_tile tile) {
    const ds_gradient *g = b->gradient;
    const ds_model *model = b->pass.model;
    const ds_spec *spec = &model->spec;
    size_t d = spec->hidden, planes = ds_spec_planes(spec), future = b->pass.batch->length - tile.first - tile.rows;
    double *partial = ds_partial_of(b, tile);
    const REAL *dstate = ROWS(b->state, tile, planes * d);
    REAL_NAME(ds_embed_backward)
    (ROWS(g->embeddings, tile, d), dstate, model->input.taps, future, tile.rows, d, planes, spec->input_kernel);
    if (partial == NULL || model->input.taps == NULL) return;
    memset(partial, 0, g->layout.count * sizeof *partial);
    REAL_NAME(ds_embed_taps_backward)
    (partial + g->layout.taps, dstate, VALUES(model->embedding), b->pass.batch->tokens + tile.token, tile.first, tile.rows, d,
     planes, spec->input_kernel);
}

ds_status REAL_NAME(ds_embed_forward_task)(void *context, size_t task, size_t worker) {
    const ds_pass *pass = context;
    (void)worker;
    (void)ds_activity_turn(DS_ACTIVITY_RULE);
    RULE(pass)->embed_forward(pass, ds_tile_of(pass, task));
    return DS_OK;
}

ds_status REAL_NAME(ds_embed_backward_task)(void *context, size_t task, size_t worker) {
    const ds_derivative *b = context;
    (void)worker;
    (void)ds_activity_turn(DS_ACTIVITY_RULE);
    RULE(&b->pass)->embed_backward(b, ds_tile_of(&b->pass, task));
    return DS_OK;
}

/* Rows of the tables gain the gradients of the tokens that read them, in order. */
void REAL_NAME(ds_embed_parameters)(ds_derivative *b) {
    const ds_model *model = b->pass.model;
    size_t d = model->spec.hidden, length = b->pass.batch->length;
    REAL *table = REAL_NAME(ds_gradient_of)(b, model->embedding);
    REAL *positions = model->positions != NULL ? REAL_NAME(ds_gradient_of)(b, model->positions) : NULL;
    const REAL *row = b->gradient->embeddings;
    for (size_t t = 0; t < b->pass.batch->sequences * length; t++, row += d) {
        REAL *to = table + b->pass.batch->tokens[t] * d;
        for (size_t i = 0; i < d; i++) to[i] += row[i];
        for (size_t i = 0; positions != NULL && i < d; i++) positions[t % length * d + i] += row[i];
    }
    if (RULE(&b->pass)->embed_parameters != NULL) RULE(&b->pass)->embed_parameters(b);
}
