/* The additive rule, X' = X + m h: its arithmetic. The state is one plane, which is also what sublayers read. */
#include <math.h>
#include <string.h>

#include "rule_additive.h"
#include "tiles.h"

static const void *read_forward(const ds_pass *pass, ds_tile tile, void *x_in) {
    (void)x_in;
    return ROWS(pass->state, tile, pass->model->spec.hidden);
}

static void read_backward(const ds_derivative *b, void *dstate, const void *dx_in, size_t token, size_t future) {
    size_t d = b->pass.model->spec.hidden;
    REAL *to = dstate;
    const REAL *row = (const REAL *)dx_in + token * d;
    (void)future;
    for (size_t i = 0; i < d; i++) to[i] += row[i];
}

static const void *read_tangent(const ds_derivative *b, ds_tile tile, void *dx_in) {
    (void)dx_in;
    return ROWS(b->state, tile, b->pass.model->spec.hidden);
}

static void mix(const ds_pass *pass, ds_tile tile, double *weights) {
    for (size_t i = 0; i < tile.rows * (pass->sublayer + 1); i++) weights[i] = 1;
}

static size_t write_forward(const ds_pass *pass, ds_tile tile, void *h) {
    const ds_spec *spec = &pass->model->spec;
    ds_workspace *w = pass->workspace;
    size_t d = spec->hidden, not_finite = tile.rows;
    bool closed = ds_sublayer_is_identity(spec, pass->sublayer, ds_pass_force(pass));
    bool observed = (pass->wants & DS_OBSERVE_GATES) != 0;
    REAL *state = ROWS(pass->state, tile, d);
    const REAL *row = h;
    for (size_t t = 0; t < tile.rows; t++, row += d, state += d) {
        bool finite = true;
        if (!observed) {
            finite = closed || REAL_NAME(ds_rank_one_update)(state, row, &spec->residual_mult, d, 1);
        } else {
            double state_norm2 = REAL_NAME(ds_dot)(state, state, d), edit_norm2 = 0, along;
            if (!closed)
                finite = REAL_NAME(ds_rank_one_update_observed)(state, &along, &state_norm2, &edit_norm2, row,
                                                                &spec->residual_mult, d, 1);
            w->state_norm[tile.token + t] = sqrt(state_norm2);
            w->edit_norm[tile.token + t] = sqrt(edit_norm2);
        }
        if (!finite && not_finite == tile.rows) not_finite = t;
    }
    return not_finite;
}

static void write_backward(const ds_derivative *b, ds_tile tile) {
    const ds_spec *spec = &b->pass.model->spec;
    size_t d = spec->hidden;
    REAL mult = (REAL)spec->residual_mult, *dh = ROWS(b->gradient->dbranch, tile, d);
    const REAL *dnext = ROWS(b->state, tile, d);
    for (size_t i = 0; i < tile.rows * d; i++) dh[i] = mult * dnext[i];
}

static void write_tangent(const ds_derivative *b, ds_tile tile) {
    const ds_spec *spec = &b->pass.model->spec;
    size_t d = spec->hidden;
    REAL *dstate = ROWS(b->state, tile, d), *dh = ROWS(b->gradient->dbranch, tile, d);
    for (size_t t = 0; t < tile.rows; t++, dh += d, dstate += d)
        (void)REAL_NAME(ds_rank_one_update)(dstate, dh, &spec->residual_mult, d, 1);
}

/* I + m dh/dx_in. */
static ds_status token_jacobian(const ds_derivative *b, double *jacobian, const ds_token_directions *v) {
    size_t d = b->pass.model->spec.hidden;
    memset(jacobian, 0, d * d * sizeof *jacobian);
    for (size_t i = 0; i < d; i++) jacobian[i * d + i] = 1;
    for (size_t input = 0; input < d; input++) {
        const REAL *along = (const REAL *)v->dbranch + input * d;
        for (size_t i = 0; i < d; i++) jacobian[i * d + input] += (double)along[i] * b->pass.model->spec.residual_mult;
    }
    return DS_OK;
}

const ds_rule_steps REAL_NAME(ds_rule_additive_steps) = {
    .embed_forward = REAL_NAME(ds_embed_tile_forward),
    .embed_backward = REAL_NAME(ds_embed_tile_backward),
    .readout_forward = REAL_NAME(ds_readout_tile_forward),
    .readout_backward = REAL_NAME(ds_readout_tile_backward),
    .read_forward = read_forward,
    .read_backward = read_backward,
    .read_tangent = read_tangent,
    .mix = mix,
    .write_forward = write_forward,
    .write_backward = write_backward,
    .write_tangent = write_tangent,
    .token_jacobian = token_jacobian,
};
