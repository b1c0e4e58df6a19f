/* The input: X_0 from token ids and, where they are learned, positions, x = table[token] + positions[position]: in every plane,
 * or through the input convolution where there is one (MODEL.md "Compressors", EC). */
#include "tiles.h"

/* What is learned for the position that tap s looks at from row t of the tile; NULL: it lies before the window. */
static const REAL *position_at(const ds_model *model, ds_tile tile, size_t t, size_t s) {
    size_t back = model->spec.input_kernel - 1 - s;
    return back > tile.first + t ? NULL : VALUES(model->positions) + (tile.first + t - back) * model->spec.hidden;
}

static void add_positions(REAL *row, const ds_model *model, ds_tile tile) {
    size_t d = model->spec.hidden, planes = ds_spec_planes(&model->spec), kernel = model->spec.input_kernel;
    for (size_t t = 0; t < tile.rows; t++) {
        const REAL *own = VALUES(model->positions) + (tile.first + t) * d, *taps = model->input.taps;
        for (size_t plane = 0; plane < planes; plane++, row += d) {
            for (size_t i = 0; taps == NULL && i < d; i++) row[i] += own[i];
            for (size_t s = 0; taps != NULL && s < kernel; s++, taps += d) {
                const REAL *position = position_at(model, tile, t, s);
                for (size_t i = 0; position != NULL && i < d; i++) row[i] += taps[i] * position[i];
            }
        }
    }
}

static void add_positions_to_taps(double *dtaps, const REAL *dstate, const ds_model *model, ds_tile tile) {
    size_t d = model->spec.hidden, planes = ds_spec_planes(&model->spec), kernel = model->spec.input_kernel;
    for (size_t t = 0; t < tile.rows; t++) {
        double *to = dtaps;
        for (size_t plane = 0; plane < planes; plane++, dstate += d) {
            for (size_t s = 0; s < kernel; s++, to += d) {
                const REAL *position = position_at(model, tile, t, s);
                for (size_t i = 0; position != NULL && i < d; i++) to[i] += (double)dstate[i] * (double)position[i];
            }
        }
    }
}

void REAL_NAME(ds_embed_tile_forward)(const ds_pass *pass, ds_tile tile) {
    const ds_spec *spec = &pass->model->spec;
    size_t d = spec->hidden, planes = ds_spec_planes(spec);
    REAL_NAME(ds_embed_forward)
    (ROWS(pass->state, tile, planes * d), VALUES(pass->model->embedding), pass->model->input.taps,
     pass->batch->tokens + tile.token, tile.first, tile.rows, d, planes, spec->input_kernel);
    if (pass->model->positions != NULL) add_positions(ROWS(pass->state, tile, planes * d), pass->model, tile);
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
    if (model->positions != NULL) add_positions_to_taps(partial + g->layout.taps, dstate, model, tile);
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
