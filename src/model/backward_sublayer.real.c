/* What both kinds of sublayer share on the way back, and the MLP (gradient.h has the equations). */
#include <math.h>
#include <string.h>

#include "backward_tiles.h"
#include "rule_delta.h"

const REAL *REAL_NAME(ds_backward_x_in)(const ds_backward_pass *b, ds_tile tile) {
    bool scalar = b->pass.model->spec.compressor == DS_COMPRESS_NONE;
    return ROWS(scalar ? b->pass.state : b->gradient->x_in, tile, b->pass.model->spec.hidden);
}

void REAL_NAME(ds_backward_open)(const ds_backward_pass *b, ds_tile tile) {
    const ds_gradient *g = b->gradient;
    const ds_spec *spec = &b->pass.model->spec;
    const REAL *x_in =
        REAL_NAME(ds_tile_compress)(ROWS(g->x_in, tile, spec->hidden), &b->pass, tile, &ds_backward_layer(b)->compress);
    REAL *gate_hidden = spec->gate_two_layer ? ROWS(g->gate_hidden, tile, spec->gate_hidden) : NULL;
    REAL_NAME(ds_tile_enter)(&b->pass, tile, ROWS(g->context, tile, spec->hidden), gate_hidden, x_in, b->half);
}

/* ---- the delta update ------------------------------------------------------------------------------------------------ */

/* One token's u, e and gradients of gate and value before their sigmoids. */
static void edit_backward(const ds_backward_pass *b, size_t token, const REAL *k, const REAL *state, const REAL *dnext) {
    const ds_spec *spec = &b->pass.model->spec;
    const ds_gradient *g = b->gradient;
    size_t d = spec->hidden, dv = spec->value_channels;
    ds_delta_form form = ds_delta_form_of(b->pass.force);
    double beta = g->workspace->beta[token], strength = spec->residual_mult * beta, slope = 0;
    for (size_t j = 0; j < dv; j++) {
        size_t at = token * dv + j;
        double v = g->workspace->target[at], along = REAL_NAME(ds_dot)(k, dnext + j * d, d);
        double wanted = form.write ? v : 0;
        double held = form.erase ? REAL_NAME(ds_dot)(k, state + j * d, d) : 0;
        g->written[at] = strength * (wanted - held);
        g->erased[at] = form.erase ? -strength * along : 0;
        slope += along * (wanted - held);
        g->dvalue[at] = form.write ? strength * along : 0;
        if (spec->value_sigmoid) g->dvalue[at] *= v * (1 - v / spec->value_scale);
    }
    g->gate_slope[token] = strength * slope;
    g->dbeta[token] = form.learned ? strength * slope * (1 - beta / 2) : 0; /* beta' = beta (1 - beta/2) */
}

void REAL_NAME(ds_backward_delta)(const ds_backward_pass *b, ds_tile tile) {
    const ds_spec *spec = &b->pass.model->spec;
    const ds_gradient *g = b->gradient;
    size_t d = spec->hidden, dv = spec->value_channels;
    double *partial = ds_partial_of(b, tile);
    if (partial != NULL) memset(partial, 0, g->layout.count * sizeof *partial);
    const REAL *h = ROWS(b->tape->branch, tile, d), *state = ROWS(b->pass.state, tile, dv * d);
    const REAL *dnext = ROWS(b->state, tile, dv * d);
    REAL *dh = ROWS(g->dbranch, tile, d), *k = ROWS(g->direction, tile, d);
    if (spec->rule != &ds_rule_delta) {
        REAL mult = (REAL)spec->residual_mult;
        for (size_t i = 0; i < tile.rows * d; i++) dh[i] = mult * dnext[i];
        return;
    }
    for (size_t t = 0; t < tile.rows; t++, h += d, dh += d, k += d, state += dv * d, dnext += dv * d) {
        size_t at = (tile.token + t) * dv;
        (void)REAL_NAME(ds_direction_forward)(k, h, d, spec->k_eps);
        edit_backward(b, tile.token + t, k, state, dnext);
        REAL_NAME(ds_rank_one_backward)(dh, dnext, state, g->written + at, g->erased + at, d, dv);
        REAL_NAME(ds_direction_backward)(dh, dh, h, d, spec->k_eps);
    }
}

/* ---- gate, value, norm ----------------------------------------------------------------------------------------------- */

/* dcontext gains what comes through the gate; partial NULL: no parameter gradients. */
static void gate_backward(const ds_backward_pass *b, ds_tile tile, REAL *dcontext, double *partial) {
    const ds_spec *spec = &b->pass.model->spec;
    const ds_gradient *g = b->gradient;
    const ds_delta_weights *weights = &ds_backward_layer(b)->delta[b->half];
    if (spec->rule != &ds_rule_delta || !ds_delta_form_of(b->pass.force).learned) return;
    size_t d = spec->hidden, width = spec->gate_hidden;
    double *dweight = partial != NULL ? partial + g->layout.beta : NULL;
    double *dbias = partial != NULL ? partial + g->layout.beta_bias : NULL;
    const double *dbeta = g->dbeta + tile.token;
    if (weights->beta != NULL) {
        REAL_NAME(ds_affine_backward)
        (dcontext, dweight, dbias, dbeta, ROWS(g->context, tile, d), VALUES(weights->beta), tile.rows, 1, d);
        return;
    }
    const REAL *hidden = ROWS(g->gate_hidden, tile, width);
    REAL *dhidden = ROWS(g->dgate_hidden, tile, width);
    memset(dhidden, 0, tile.rows * width * sizeof *dhidden);
    REAL_NAME(ds_affine_backward)
    (dhidden, dweight, dbias, dbeta, hidden, VALUES(weights->beta_out), tile.rows, 1, width);
    for (size_t i = 0; i < tile.rows * width; i++) dhidden[i] *= 1 - hidden[i] * hidden[i];
    REAL_NAME(ds_gemm_nn_add)(dcontext, d, dhidden, width, VALUES(weights->beta_in), d, tile.rows, d, width);
}

static void value_backward(const ds_backward_pass *b, ds_tile tile, REAL *dx_in, double *partial) {
    const ds_spec *spec = &b->pass.model->spec;
    const ds_gradient *g = b->gradient;
    const ds_delta_weights *weights = &ds_backward_layer(b)->delta[b->half];
    if (weights->value == NULL) return;
    double *dweight = partial != NULL ? partial + g->layout.value : NULL;
    double *dbias = partial != NULL ? partial + g->layout.value_bias : NULL;
    REAL_NAME(ds_affine_backward)
    (dx_in, dweight, dbias, g->dvalue + tile.token * spec->value_channels, REAL_NAME(ds_backward_x_in)(b, tile),
     VALUES(weights->value), tile.rows, spec->value_channels, spec->hidden);
}

static void norm_backward(const ds_backward_pass *b, ds_tile tile, REAL *dx_in, const REAL *dcontext, double *partial) {
    const ds_spec *spec = &b->pass.model->spec;
    const ds_layer_weights *layer = ds_backward_layer(b);
    const ds_parameter *norm = b->half == 0 ? layer->ln_1 : layer->ln_2;
    REAL_NAME(ds_rmsnorm_backward)
    (dx_in, partial != NULL ? partial + b->gradient->layout.norm : NULL, dcontext, REAL_NAME(ds_backward_x_in)(b, tile),
     VALUES(norm), tile.rows, spec->hidden, spec->norm_eps);
}

void REAL_NAME(ds_backward_taps)(const ds_backward_pass *b, ds_tile tile) {
    const ds_spec *spec = &b->pass.model->spec;
    size_t d = spec->hidden, dv = spec->value_channels;
    double *partial = ds_partial_of(b, tile);
    if (partial == NULL || spec->compressor == DS_COMPRESS_NONE) return;
    const REAL *dx_in = ROWS(b->gradient->dx_in, tile, d), *state = ROWS(b->pass.state, tile, dv * d);
    partial += b->gradient->layout.taps;
    if (spec->compressor == DS_COMPRESS_CC)
        REAL_NAME(ds_compress_cc_taps_backward)(partial, dx_in, state, tile.rows, d, dv);
    else
        REAL_NAME(ds_compress_tc_taps_backward)(partial, dx_in, state, tile.first, tile.rows, d, dv, spec->state_kernel);
}

void REAL_NAME(ds_backward_close)(const ds_backward_pass *b, ds_tile tile, REAL *dcontext) {
    const ds_gradient *g = b->gradient;
    size_t d = b->pass.model->spec.hidden, bytes = tile.rows * d * sizeof(REAL);
    double *partial = ds_partial_of(b, tile);
    REAL *dx_in = ROWS(g->dx_in, tile, d);
    if (b->paths) {
        REAL *through_gate = ROWS(g->dx_gate, tile, d), *through_value = ROWS(g->dx_value, tile, d);
        norm_backward(b, tile, ROWS(g->dx_direction, tile, d), dcontext, NULL);
        memset(through_gate, 0, bytes);
        gate_backward(b, tile, through_gate, NULL);
        norm_backward(b, tile, through_gate, through_gate, NULL);
        memset(through_value, 0, bytes);
        value_backward(b, tile, through_value, NULL);
    }
    gate_backward(b, tile, dcontext, partial);
    norm_backward(b, tile, dx_in, dcontext, partial);
    value_backward(b, tile, dx_in, partial);
    REAL_NAME(ds_backward_taps)(b, tile);
}

/* ---- back to the state ----------------------------------------------------------------------------------------------- */

/* One token's state gradient (dv,d) gains what comes from x_in; dx_in (B,T,d). Nothing comes through a closed sublayer. */
static void compress_backward(const ds_backward_pass *b, REAL *dstate, const void *dx_in, size_t token, size_t future) {
    const ds_spec *spec = &b->pass.model->spec;
    size_t d = spec->hidden, dv = spec->value_channels;
    const REAL *row = (const REAL *)dx_in + token * d;
    if (b->taps == NULL) return;
    if (spec->compressor == DS_COMPRESS_NONE)
        for (size_t i = 0; i < d; i++) dstate[i] += row[i];
    else if (spec->compressor == DS_COMPRESS_CC)
        REAL_NAME(ds_compress_cc_backward)(dstate, row, b->taps->taps, 1, d, dv);
    else
        REAL_NAME(ds_compress_tc_backward)
    (dstate, row, b->taps->taps, VALUES(b->taps->read), future, 1, d, dv, spec->state_kernel);
}

/* `parts` (5,dv,d) starts with the shortcut's; the rest is scratch. */
static ds_path_squares measure(const ds_backward_pass *b, REAL *parts, const REAL *total, size_t token, size_t future) {
    const ds_gradient *g = b->gradient;
    const void *const dx_in[] = {g->dx_direction, g->dx_gate, g->dx_value};
    size_t count = b->pass.model->spec.value_channels * b->pass.model->spec.hidden;
    REAL *sum = parts + 4 * count;
    memset(parts + count, 0, 3 * count * sizeof *parts);
    for (size_t p = 0; p < 3; p++) compress_backward(b, parts + (p + 1) * count, dx_in[p], token, future);
    for (size_t i = 0; i < count; i++)
        sum[i] = (parts[i] + parts[i + count] + parts[i + 2 * count] + parts[i + 3 * count]) - total[i];
    double norms[5];
    for (size_t p = 0; p < 5; p++) norms[p] = REAL_NAME(ds_dot)(parts + p * count, parts + p * count, count);
    return (ds_path_squares){.shortcut = norms[0],
                             .parts = {norms[1], norms[2], norms[3]},
                             .total = REAL_NAME(ds_dot)(total, total, count),
                             .shortcut_total = REAL_NAME(ds_dot)(parts, total, count),
                             .error = norms[4]};
}

ds_status REAL_NAME(ds_backward_expand)(void *context, size_t task, size_t worker) {
    const ds_backward_pass *b = context;
    const ds_gradient *g = b->gradient;
    const ds_spec *spec = &b->pass.model->spec;
    ds_tile tile = ds_tile_of(&b->pass, task);
    size_t d = spec->hidden, dv = spec->value_channels, count = dv * d;
    REAL *state = ROWS(b->state, tile, count), *parts = g->scratch[worker].token;
    for (size_t t = 0; t < tile.rows; t++, state += count) {
        size_t token = tile.token + t, future = b->pass.batch->length - 1 - (tile.first + t);
        if (b->tape != NULL && spec->rule == &ds_rule_delta)
            (void)REAL_NAME(ds_rank_one_update)(state, (REAL *)g->direction + token * d, g->erased + token * dv, d, dv);
        if (b->paths) memcpy(parts, state, count * sizeof *parts);
        compress_backward(b, state, g->dx_in, token, future);
        if (b->paths) g->squares[token] = measure(b, parts, state, token, future);
        if (b->norms) g->norm2[token] = REAL_NAME(ds_dot)(state, state, count);
    }
    return DS_OK;
}

/* ---- weights: one task per block of rows, all tokens at once ------------------------------------------------------------ */

ds_status REAL_NAME(ds_backward_weights)(void *context, size_t task, size_t worker) {
    const ds_backward_pass *b = context;
    const ds_weight_job *job = b->jobs;
    size_t blocks, tokens = b->pass.batch->sequences * b->pass.batch->length;
    (void)worker;
    while (blocks = (job->out + DS_WEIGHT_ROWS - 1) / DS_WEIGHT_ROWS, task >= blocks) {
        task -= blocks;
        job++;
    }
    size_t first = task * DS_WEIGHT_ROWS, rows = ds_min_size(job->out - first, DS_WEIGHT_ROWS);
    REAL_NAME(ds_gemm_tn_add)
    ((REAL *)job->dweight + first * job->in, job->in, (const REAL *)job->dy + first, job->out, job->x, job->in, rows, job->in,
     tokens);
    return DS_OK;
}

/* ---- MLP --------------------------------------------------------------------------------------------------------------- */

ds_status REAL_NAME(ds_backward_mlp)(void *context, size_t task, size_t worker) {
    const ds_backward_pass *b = context;
    const ds_gradient *g = b->gradient;
    const ds_layer_weights *layer = ds_backward_layer(b);
    ds_tile tile = ds_tile_of(&b->pass, task);
    size_t d = b->pass.model->spec.hidden, f = b->pass.model->spec.mlp_hidden, count = tile.rows * f;
    const REAL *gate = ROWS(b->tape->mlp_gate, tile, f), *up = ROWS(b->tape->mlp_up, tile, f);
    REAL *dgate = ROWS(g->dgate, tile, f), *dup = ROWS(g->dup, tile, f), *dcontext = g->scratch[worker].context;
    REAL_NAME(ds_backward_open)(b, tile);
    REAL_NAME(ds_backward_delta)(b, tile);
    if (b->parameters) REAL_NAME(ds_swiglu_forward)(ROWS(g->gated, tile, f), gate, up, count);
    REAL_NAME(ds_gemm_nn)(dup, f, ROWS(g->dbranch, tile, d), d, VALUES(layer->down), f, tile.rows, f, d);
    REAL_NAME(ds_swiglu_backward)(dgate, dup, dup, gate, up, count);
    REAL_NAME(ds_gemm_nn)(dcontext, d, dgate, f, VALUES(layer->gate), d, tile.rows, d, f);
    REAL_NAME(ds_gemm_nn_add)(dcontext, d, dup, f, VALUES(layer->up), d, tile.rows, d, f);
    REAL_NAME(ds_backward_close)(b, tile, dcontext);
    return DS_OK;
}
