/* Forward mode: the sublayer's derivative along a direction, step by step beside the forward pass. */
#include <math.h>
#include <string.h>

#include "backward_tiles.h"
#include "rule_delta.h"

static void linear(REAL *y, const REAL *x, const ds_parameter *weight, size_t rows) {
    size_t out = weight->shape[0], in = weight->shape[1];
    REAL_NAME(ds_gemm_nt)(y, out, x, in, VALUES(weight), in, rows, out, in);
}

/* ---- gate and value ------------------------------------------------------------------------------------------------------ */

void REAL_NAME(ds_tangent_gate)(const ds_backward_pass *b, double *dbeta, const REAL *dcontext, size_t token, bool same,
                                size_t rows, REAL *hidden_row) {
    const ds_spec *spec = &b->pass.model->spec;
    const ds_gradient *g = b->gradient;
    const ds_delta_weights *weights = &ds_backward_layer(b)->delta[b->half];
    size_t d = spec->hidden, width = spec->gate_hidden;
    for (size_t t = 0; t < rows; t++, dcontext += d) {
        size_t at = same ? token : token + t;
        double beta = g->workspace->beta[at], slope = beta * (1 - beta / 2);
        if (!ds_delta_form_of(b->pass.force).learned) {
            dbeta[t] = 0;
        } else if (weights->beta != NULL) {
            dbeta[t] = slope * REAL_NAME(ds_dot)(VALUES(weights->beta), dcontext, d);
        } else {
            const REAL *hidden = (const REAL *)g->gate_hidden + at * width;
            linear(hidden_row, dcontext, weights->beta_in, 1);
            for (size_t i = 0; i < width; i++) hidden_row[i] *= 1 - hidden[i] * hidden[i];
            dbeta[t] = slope * REAL_NAME(ds_dot)(VALUES(weights->beta_out), hidden_row, width);
        }
    }
}

void REAL_NAME(ds_tangent_value)(const ds_backward_pass *b, double *dvalue, const REAL *dx_in, size_t token, bool same,
                                 size_t rows) {
    const ds_spec *spec = &b->pass.model->spec;
    const ds_delta_weights *weights = &ds_backward_layer(b)->delta[b->half];
    size_t d = spec->hidden, dv = spec->value_channels;
    for (size_t t = 0; t < rows; t++, dx_in += d) {
        const double *target = b->gradient->workspace->target + (same ? token : token + t) * dv;
        for (size_t j = 0; j < dv; j++, dvalue++) {
            *dvalue = weights->value == NULL ? 0 : REAL_NAME(ds_dot)(VALUES(weights->value) + j * d, dx_in, d);
            if (spec->value_sigmoid) *dvalue *= target[j] * (1 - target[j] / spec->value_scale);
        }
    }
}

/* ---- delta update ------------------------------------------------------------------------------------------------------- */

void REAL_NAME(ds_tangent_edit)(const ds_backward_pass *b, double *u, double *du, size_t token, const REAL *k, const REAL *dk,
                                const REAL *dstate, double dbeta, const double *dvalue) {
    const ds_spec *spec = &b->pass.model->spec;
    const ds_gradient *g = b->gradient;
    size_t d = spec->hidden, dv = spec->value_channels;
    const REAL *state = (const REAL *)b->pass.state + token * dv * d;
    ds_delta_form form = ds_delta_form_of(b->pass.force);
    double beta = g->workspace->beta[token];
    for (size_t j = 0; j < dv; j++) {
        double wanted = form.write ? g->workspace->target[token * dv + j] : 0, held = 0, dheld = 0;
        double dwanted = form.write ? dvalue[j] : 0;
        if (form.erase) {
            held = REAL_NAME(ds_dot)(k, state + j * d, d);
            dheld = REAL_NAME(ds_dot)(dk, state + j * d, d);
            if (dstate != NULL) dheld += REAL_NAME(ds_dot)(k, dstate + j * d, d);
        }
        u[j] = spec->residual_mult * beta * (wanted - held);
        du[j] = spec->residual_mult * (dbeta * (wanted - held) + beta * (dwanted - dheld));
    }
}

/* The tile's dh is in g->dbranch: X' = X + k u^T gives dX' = dX + dk u^T + k du^T. */
static void delta_tangent(const ds_backward_pass *b, ds_tile tile) {
    const ds_spec *spec = &b->pass.model->spec;
    const ds_gradient *g = b->gradient;
    size_t d = spec->hidden, dv = spec->value_channels;
    const REAL *h = ROWS(b->tape->branch, tile, d);
    REAL *dstate = ROWS(b->state, tile, dv * d), *dh = ROWS(g->dbranch, tile, d), *k = ROWS(g->direction, tile, d);
    for (size_t t = 0; t < tile.rows; t++, h += d, dh += d, k += d, dstate += dv * d) {
        size_t token = tile.token + t;
        double *u = g->written + token * dv, *du = g->erased + token * dv;
        if (spec->rule != &ds_rule_delta) {
            (void)REAL_NAME(ds_rank_one_update)(dstate, dh, &spec->residual_mult, d, 1);
            continue;
        }
        (void)REAL_NAME(ds_direction_forward)(k, h, d, spec->k_eps);
        REAL_NAME(ds_direction_backward)(dh, dh, h, d, spec->k_eps);
        REAL_NAME(ds_tangent_edit)(b, u, du, token, k, dh, dstate, g->dbeta[token], g->dvalue + token * dv);
        (void)REAL_NAME(ds_rank_one_update)(dstate, dh, u, d, dv);
        (void)REAL_NAME(ds_rank_one_update)(dstate, k, du, d, dv);
    }
}

/* ---- into the branch ------------------------------------------------------------------------------------------------------ */

void REAL_NAME(ds_tangent_shape)(REAL *dx, const ds_backward_pass *b, ds_tile tile, const ds_projection *p,
                                 const REAL *linear_x, REAL *rotated) {
    const ds_spec *spec = &b->pass.model->spec;
    const ds_workspace *w = b->gradient->workspace;
    size_t width = spec->heads * spec->head_dim, half = spec->rotary_dim / 2;
    REAL_NAME(ds_activation_backward)(dx, dx, linear_x, tile.rows * width, p->activation);
    if (p->rotate && half > 0) REAL_NAME(ds_rope_forward)
    (dx, (const REAL *)w->cosine + tile.first * half, (const REAL *)w->sine + tile.first * half, tile.rows, spec->heads,
     spec->head_dim, spec->rotary_dim);
    if (p->norm == NULL) return;
    memcpy(rotated, linear_x, tile.rows * width * sizeof *rotated);
    REAL_NAME(ds_tile_shape_heads)(rotated, &b->pass, tile, p->activation, p->rotate, NULL);
    REAL_NAME(ds_rmsnorm_tangent)
    (dx, dx, rotated, VALUES(p->norm), tile.rows * spec->heads, spec->head_dim, spec->head_norm_eps);
}

static void shape_tile(const ds_backward_pass *b, ds_tile tile, ds_backward_scratch *scratch, const ds_projection *p) {
    REAL *linear_x = scratch->narrow[0];
    size_t width = b->pass.model->spec.heads * b->pass.model->spec.head_dim;
    REAL_NAME(ds_projection_shifted)(linear_x, b, tile, p);
    REAL_NAME(ds_tangent_shape)(ROWS(p->derivative, tile, width), b, tile, p, linear_x, scratch->narrow[1]);
}

/* a = sigmoid(W c). */
static void mix_tangent(REAL *dmix, const ds_backward_pass *b, ds_tile tile, const REAL *dcontext, const ds_parameter *weight,
                        void *mixes) {
    size_t heads = b->pass.model->spec.heads;
    const REAL *mix = ROWS(mixes, tile, heads);
    linear(dmix, dcontext, weight, tile.rows);
    for (size_t i = 0; i < tile.rows * heads; i++) dmix[i] *= mix[i] * (1 - mix[i]);
}

static void project_tangent(const ds_backward_pass *b, ds_tile tile, ds_backward_scratch *scratch, const REAL *dcontext) {
    const ds_spec *spec = &b->pass.model->spec;
    const ds_layer_weights *layer = ds_backward_layer(b);
    const ds_gradient *g = b->gradient;
    const ds_parameter *weights[] = {layer->query, layer->key, layer->value};
    size_t width = spec->heads * spec->head_dim;
    for (size_t which = 0; which < DS_PROJECTIONS; which++) {
        ds_projection p = REAL_NAME(ds_projection_of)(b, which);
        linear(ROWS(p.derivative, tile, width), dcontext, weights[which], tile.rows);
        if (p.mix == NULL)
            shape_tile(b, tile, scratch, &p);
        else if (which == DS_KEY)
            mix_tangent(ROWS(g->dkey_mix, tile, spec->heads), b, tile, dcontext, layer->key_shift, p.mix);
        else
            mix_tangent(ROWS(g->dvalue_mix, tile, spec->heads), b, tile, dcontext, layer->value_shift, p.mix);
    }
    if (spec->output_gate) linear(ROWS(g->doutput_gate, tile, width), dcontext, layer->output_gate, tile.rows);
}

/* Attention or MLP: tangents of x_in, c, beta, v, and of attention's projections. */
ds_status REAL_NAME(ds_tangent_enter)(void *context, size_t task, size_t worker) {
    const ds_backward_pass *b = context;
    const ds_gradient *g = b->gradient;
    const ds_spec *spec = &b->pass.model->spec;
    const ds_layer_weights *layer = ds_backward_layer(b);
    ds_tile tile = ds_tile_of(&b->pass, task);
    size_t d = spec->hidden;
    (void)REAL_NAME(ds_backward_restore)(context, task, worker);
    ds_pass along = b->pass; /* the compressor is linear */
    along.state = b->state;
    const REAL *dx_in = REAL_NAME(ds_tile_compress)(ROWS(g->dx_in, tile, d), &along, tile, &layer->compress);
    REAL *dcontext = ROWS(g->dcontext, tile, d);
    REAL_NAME(ds_rmsnorm_tangent)
    (dcontext, dx_in, REAL_NAME(ds_backward_x_in)(b, tile), VALUES(b->half == 0 ? layer->ln_1 : layer->ln_2), tile.rows, d,
     spec->norm_eps);
    if (spec->rule == &ds_rule_delta) {
        REAL_NAME(ds_tangent_gate)
        (b, g->dbeta + tile.token, dcontext, tile.token, false, tile.rows, g->scratch[worker].gate_hidden);
        REAL_NAME(ds_tangent_value)
        (b, g->dvalue + tile.token * spec->value_channels, dx_in, tile.token, false, tile.rows);
    }
    if (b->half == 0) project_tangent(b, tile, &g->scratch[worker], dcontext);
    return DS_OK;
}

/* ---- attention -------------------------------------------------------------------------------------------------------------- */

static void shift_tangent(const ds_backward_pass *b, ds_tile tile, ds_backward_scratch *scratch, ds_projection p, void *shifted,
                          void *dmix) {
    const ds_spec *spec = &b->pass.model->spec;
    size_t width = spec->heads * spec->head_dim;
    REAL_NAME(ds_shift_tangent)
    (ROWS(shifted, tile, width), ROWS(p.derivative, tile, width), ROWS(dmix, tile, spec->heads), ROWS(p.raw, tile, width),
     ROWS(p.mix, tile, spec->heads), tile.first > 0, tile.rows, spec->heads, spec->head_dim);
    p.derivative = shifted;
    shape_tile(b, tile, scratch, &p);
}

ds_status REAL_NAME(ds_tangent_shift)(void *context, size_t task, size_t worker) {
    const ds_backward_pass *b = context;
    const ds_gradient *g = b->gradient;
    ds_tile tile = ds_tile_of(&b->pass, task);
    ds_projection key = REAL_NAME(ds_projection_of)(b, DS_KEY), value = REAL_NAME(ds_projection_of)(b, DS_VALUE);
    if (key.mix != NULL) shift_tangent(b, tile, &g->scratch[worker], key, g->dkey_shifted, g->dkey_mix);
    if (value.mix != NULL) shift_tangent(b, tile, &g->scratch[worker], value, g->dvalue_shifted, g->dvalue_mix);
    return DS_OK;
}

/* dO = dP V + P dV, dP = P (dS - sum P dS), dS = (dQ K^T + Q dK^T) / sqrt(h). */
static void attention_tangent(const ds_backward_pass *b, ds_tile tile, ds_backward_scratch *scratch) {
    const ds_gradient *g = b->gradient;
    const ds_workspace *w = g->workspace;
    const ds_spec *spec = &b->pass.model->spec;
    size_t h = spec->head_dim, width = spec->heads * h, window = tile.sequence * b->pass.batch->length * width;
    const void *dkeys = ds_backward_shifts(b, spec->k_shift) ? g->dkey_shifted : g->dkey;
    const void *dvalues = ds_backward_shifts(b, spec->v_shift) ? g->dvalue_shifted : g->dvalues;
    REAL *p = scratch->weights, *ds = scratch->scores;
    double scale = 1 / sqrt((double)h);
    for (size_t row = 0; row < tile.rows; row += DS_BACKWARD_QUERY_ROWS) {
        size_t rows = ds_min_size(DS_BACKWARD_QUERY_ROWS, tile.rows - row), first = tile.first + row, columns = first + rows;
        for (size_t head = 0; head < spec->heads; head++) {
            size_t keys = window + head * h, queries = keys + first * width;
            const REAL *query = (const REAL *)w->query + queries, *key = (const REAL *)w->key + keys;
            const REAL *value = (const REAL *)w->value + keys, *dquery = (const REAL *)g->dquery + queries;
            REAL *out = (REAL *)g->dheads + queries;
            REAL_NAME(ds_gemm_nt)(p, columns, query, width, key, width, rows, columns, h);
            REAL_NAME(ds_softmax_causal_forward)(p, scratch->inverse, columns, rows, columns, first, scale);
            REAL_NAME(ds_scale_rows)(p, columns, scratch->inverse, rows, columns);
            REAL_NAME(ds_gemm_nt)(ds, columns, dquery, width, key, width, rows, columns, h);
            REAL_NAME(ds_gemm_nt_add)(ds, columns, query, width, (const REAL *)dkeys + keys, width, rows, columns, h);
            REAL_NAME(ds_softmax_causal_backward)(ds, p, columns, rows, columns, first, scale);
            REAL_NAME(ds_gemm_nn)(out, width, ds, columns, value, width, rows, h, columns);
            REAL_NAME(ds_gemm_nn_add)(out, width, p, columns, (const REAL *)dvalues + keys, width, rows, h, columns);
        }
    }
}

void REAL_NAME(ds_tangent_finish)(REAL *dheads, const REAL *dgate, const REAL *heads, const REAL *gate, REAL *normed,
                                  const ds_backward_pass *b, ds_tile tile) {
    const ds_spec *spec = &b->pass.model->spec;
    const ds_layer_weights *layer = ds_backward_layer(b);
    size_t rows = tile.rows * spec->heads, count = rows * spec->head_dim;
    const ds_parameter *norm = layer->head_norm != NULL ? layer->head_norm : layer->output_norm;
    if (norm != NULL) REAL_NAME(ds_rmsnorm_tangent)
    (dheads, dheads, heads, VALUES(norm), rows, spec->head_dim,
     layer->head_norm != NULL ? spec->head_norm_eps : spec->output_norm_eps);
    if (!spec->output_gate) return;
    memcpy(normed, heads, count * sizeof *normed);
    REAL_NAME(ds_tile_finish_heads)(normed, NULL, &b->pass, tile);
    REAL_NAME(ds_swiglu_tangent)(dheads, dgate, dheads, gate, normed, count);
}

ds_status REAL_NAME(ds_tangent_attend)(void *context, size_t task, size_t worker) {
    const ds_backward_pass *b = context;
    const ds_gradient *g = b->gradient;
    const ds_spec *spec = &b->pass.model->spec;
    ds_backward_scratch *scratch = &g->scratch[worker];
    ds_tile tile = ds_tile_at(&b->pass, task / b->pass.tiles, b->pass.tiles - 1 - task % b->pass.tiles);
    size_t width = spec->heads * spec->head_dim;
    attention_tangent(b, tile, scratch);
    REAL *dheads = ROWS(g->dheads, tile, width), *dgate = spec->output_gate ? ROWS(g->doutput_gate, tile, width) : NULL;
    REAL_NAME(ds_tangent_finish)
    (dheads, dgate, ROWS(b->tape->heads, tile, width), spec->output_gate ? ROWS(b->tape->gate, tile, width) : NULL,
     scratch->narrow[0], b, tile);
    linear(ROWS(g->dbranch, tile, spec->hidden), dheads, ds_backward_layer(b)->attention, tile.rows);
    delta_tangent(b, tile);
    return DS_OK;
}

/* ---- MLP ---------------------------------------------------------------------------------------------------------------------- */

ds_status REAL_NAME(ds_tangent_mlp)(void *context, size_t task, size_t worker) {
    const ds_backward_pass *b = context;
    const ds_gradient *g = b->gradient;
    const ds_layer_weights *layer = ds_backward_layer(b);
    ds_tile tile = ds_tile_of(&b->pass, task);
    size_t d = b->pass.model->spec.hidden, f = b->pass.model->spec.mlp_hidden;
    REAL *dgate = ROWS(g->dgate, tile, f), *dup = ROWS(g->dup, tile, f);
    (void)worker;
    linear(dgate, ROWS(g->dcontext, tile, d), layer->gate, tile.rows);
    linear(dup, ROWS(g->dcontext, tile, d), layer->up, tile.rows);
    REAL_NAME(ds_swiglu_tangent)
    (dgate, dgate, dup, ROWS(b->tape->mlp_gate, tile, f), ROWS(b->tape->mlp_up, tile, f), tile.rows * f);
    linear(ROWS(g->dbranch, tile, d), dgate, layer->down, tile.rows);
    delta_tangent(b, tile);
    return DS_OK;
}
