/* The delta rule, X' = X + m beta k (v - X^T k)^T: its arithmetic (MODEL.md "Delta update"; gradient.h has the derivatives). */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "rule_delta.h"
#include "tiles.h"

/* The form of the update of the sublayer being gone through. */
static ds_delta_form form_of(const ds_pass *pass) {
    return ds_delta_form_of(pass->model->spec.trained[ds_pass_half(pass)], ds_pass_force(pass));
}
static const ds_delta_weights *weights_of(const ds_pass *pass) {
    return ds_delta_weights_of(ds_pass_layer(pass), ds_pass_half(pass));
}

/* ---- read: the state itself when it is scalar, else through a compressor ---------------------------------------------- */

static const void *read_forward(const ds_pass *pass, ds_tile tile, void *x_in) {
    return REAL_NAME(ds_compress_forward)(x_in, pass->state, pass, tile);
}

static void read_backward(const ds_derivative *b, void *dstate, const void *dx_in, size_t token, size_t future) {
    REAL_NAME(ds_compress_backward)(dstate, dx_in, &b->pass, token, future);
}

static const void *read_tangent(const ds_derivative *b, ds_tile tile, void *dx_in) {
    return REAL_NAME(ds_compress_forward)(dx_in, b->state, &b->pass, tile); /* it is linear */
}

/* ---- gate: beta = 2 sigmoid(...) of the normed input, one or two layers; a forced gate needs neither ------------------ */

static void gate_forward(double *beta, const ds_pass *pass, const REAL *context, REAL *hidden, size_t rows) {
    ds_delta_form form = form_of(pass);
    const ds_delta_weights *weights = weights_of(pass);
    size_t width = pass->model->spec.hidden;
    const ds_parameter *last = weights->beta, *bias = weights->beta_bias;
    if (!form.learned) {
        for (size_t t = 0; t < rows; t++) beta[t] = form.beta;
        return;
    }
    if (weights->beta == NULL) {
        REAL_NAME(ds_linear)(hidden, context, weights->beta_in, rows);
        width = weights->beta_in->shape[0];
        REAL_NAME(ds_tanh)(hidden, hidden, rows * width);
        context = hidden;
        last = weights->beta_out;
        bias = weights->out_bias;
    }
    for (size_t t = 0; t < rows; t++)
        beta[t] = REAL_NAME(ds_dot)(VALUES(last), context + t * width, width) + (double)VALUES(bias)[0];
    ds_sigmoid_f64(beta, beta, rows);
    for (size_t t = 0; t < rows; t++) beta[t] *= 2;
}

/* dcontext gains what comes through the gate. */
static void gate_backward(const ds_derivative *b, ds_tile tile, void *dcontext, bool sums) {
    const ds_spec *spec = &b->pass.model->spec;
    const ds_gradient *g = b->gradient;
    const ds_delta_memory *own = g->rule;
    const ds_delta_weights *weights = weights_of(&b->pass);
    if (!form_of(&b->pass).learned) return;
    size_t d = spec->hidden, width = spec->gate_hidden, at = g->layout.rule;
    double *dweight = sums ? ds_partial_at(b, tile, at + ds_delta_partial_of(spec).beta) : NULL;
    double *dbias = sums ? ds_partial_at(b, tile, at + ds_delta_partial_of(spec).beta_bias) : NULL;
    const double *dbeta = own->dbeta + tile.token;
    if (weights->beta != NULL) {
        REAL_NAME(ds_affine_backward)
        (dcontext, dweight, dbias, dbeta, ROWS(g->context, tile, d), VALUES(weights->beta), tile.rows, 1, d);
        return;
    }
    const REAL *hidden = ROWS(g->coefficient_hidden, tile, width);
    REAL *dhidden = ROWS(own->dhidden, tile, width);
    memset(dhidden, 0, tile.rows * width * sizeof *dhidden);
    REAL_NAME(ds_affine_backward)(dhidden, dweight, dbias, dbeta, hidden, VALUES(weights->beta_out), tile.rows, 1, width);
    for (size_t i = 0; i < tile.rows * width; i++) dhidden[i] *= 1 - hidden[i] * hidden[i];
    REAL_NAME(ds_gemm_nn_add)(dcontext, d, dhidden, width, VALUES(weights->beta_in), d, tile.rows, d, width);
}

/* dbeta (rows) along dcontext (rows,d). Rows belong to the tokens from `token` on, or with `same` all to that one;
 * hidden_row (g) is scratch. */
static void gate_tangent(const ds_derivative *b, double *dbeta, const REAL *dcontext, size_t token, bool same, size_t rows,
                         REAL *hidden_row) {
    const ds_spec *spec = &b->pass.model->spec;
    const ds_gradient *g = b->gradient;
    const ds_delta_workspace *forward = g->workspace->rule;
    const ds_delta_weights *weights = weights_of(&b->pass);
    size_t d = spec->hidden, width = spec->gate_hidden;
    bool learned = form_of(&b->pass).learned;
    for (size_t t = 0; t < rows; t++, dcontext += d) {
        size_t at = same ? token : token + t;
        double beta = forward->beta[at], slope = beta * (1 - beta / 2);
        if (!learned) {
            dbeta[t] = 0;
        } else if (weights->beta != NULL) {
            dbeta[t] = slope * REAL_NAME(ds_dot)(VALUES(weights->beta), dcontext, d);
        } else {
            const REAL *hidden = (const REAL *)g->coefficient_hidden + at * width;
            REAL_NAME(ds_linear)(hidden_row, dcontext, weights->beta_in, 1);
            for (size_t i = 0; i < width; i++) hidden_row[i] *= 1 - hidden[i] * hidden[i];
            dbeta[t] = slope * REAL_NAME(ds_dot)(VALUES(weights->beta_out), hidden_row, width);
        }
    }
}

/* ---- value: v (rows,dv) from x_in ------------------------------------------------------------------------------------- */

static void value_forward(double *target, const ds_pass *pass, const REAL *x_in, size_t rows) {
    const ds_spec *spec = &pass->model->spec;
    const ds_delta_weights *weights = weights_of(pass);
    size_t d = spec->hidden, dv = spec->value_channels;
    if (weights->value == NULL) {
        for (size_t i = 0; i < rows * dv; i++) target[i] = spec->value_constant_value;
        return;
    }
    for (size_t t = 0; t < rows; t++) {
        REAL_NAME(ds_dot_rows)(target + t * dv, x_in + t * d, VALUES(weights->value), dv, d);
        for (size_t j = 0; j < dv; j++) target[t * dv + j] += (double)VALUES(weights->value_bias)[j];
    }
    if (!spec->value_sigmoid) return;
    ds_sigmoid_f64(target, target, rows * dv);
    for (size_t i = 0; i < rows * dv; i++) target[i] *= spec->value_scale;
}

static void value_backward(const ds_derivative *b, ds_tile tile, const void *x_in, void *dx_in, bool sums) {
    const ds_spec *spec = &b->pass.model->spec;
    const ds_delta_memory *own = b->gradient->rule;
    const ds_delta_weights *weights = weights_of(&b->pass);
    size_t dv = spec->value_channels, at = b->gradient->layout.rule;
    if (weights->value == NULL) return;
    double *dweight = sums ? ds_partial_at(b, tile, at + ds_delta_partial_of(spec).value) : NULL;
    double *dbias = sums ? ds_partial_at(b, tile, at + ds_delta_partial_of(spec).value_bias) : NULL;
    REAL_NAME(ds_affine_backward)
    (dx_in, dweight, dbias, own->dvalue + tile.token * dv, x_in, VALUES(weights->value), tile.rows, dv, spec->hidden);
}

/* dvalue (rows,dv) along dx_in (rows,d); rows as of gate_tangent. */
static void value_tangent(const ds_derivative *b, double *dvalue, const REAL *dx_in, size_t token, bool same, size_t rows) {
    const ds_spec *spec = &b->pass.model->spec;
    const ds_delta_workspace *forward = b->gradient->workspace->rule;
    const ds_delta_weights *weights = weights_of(&b->pass);
    size_t d = spec->hidden, dv = spec->value_channels;
    for (size_t t = 0; t < rows; t++, dx_in += d) {
        const double *target = forward->target + (same ? token : token + t) * dv;
        for (size_t j = 0; j < dv; j++, dvalue++) {
            *dvalue = weights->value == NULL ? 0 : REAL_NAME(ds_dot)(VALUES(weights->value) + j * d, dx_in, d);
            if (spec->value_sigmoid) *dvalue *= target[j] * (1 - target[j] / spec->value_scale);
        }
    }
}

/* ---- both ------------------------------------------------------------------------------------------------------------- */

static void coefficients_forward(const ds_pass *pass, ds_tile tile, const void *context, const void *x_in, void *hidden) {
    ds_delta_workspace *own = pass->workspace->rule;
    gate_forward(own->beta + tile.token, pass, context, hidden, tile.rows);
    value_forward(own->target + tile.token * pass->model->spec.value_channels, pass, x_in, tile.rows);
}

static ds_status coefficient_parameters(ds_derivative *b) {
    ds_status status = DS_OK;
    const ds_delta_memory *own = b->gradient->rule;
    const ds_delta_weights *weights = weights_of(&b->pass);
    ds_delta_partial at = ds_delta_partial_of(&b->pass.model->spec);
    size_t first = b->gradient->layout.rule;
    REAL_NAME(ds_sum_tiles)(b, weights->value, first + at.value);
    REAL_NAME(ds_sum_tiles)(b, weights->value_bias, first + at.value_bias);
    REAL_NAME(ds_sum_tiles)(b, weights->beta != NULL ? weights->beta : weights->beta_out, first + at.beta);
    REAL_NAME(ds_sum_tiles)(b, weights->beta != NULL ? weights->beta_bias : weights->out_bias, first + at.beta_bias);
    if (form_of(&b->pass).learned) DS_TRY(ds_weight_job_add(b, weights->beta_in, own->dhidden, b->gradient->context));
done:
    return status;
}

static void coefficients_tangent(const ds_derivative *b, ds_tile tile, const void *dcontext, const void *dx_in, size_t worker) {
    const ds_delta_memory *own = b->gradient->rule;
    REAL *hidden_row = b->gradient->workspace->scratch[worker].coefficient_hidden;
    gate_tangent(b, own->dbeta + tile.token, dcontext, tile.token, false, tile.rows, hidden_row);
    value_tangent(b, own->dvalue + tile.token * b->pass.model->spec.value_channels, dx_in, tile.token, false, tile.rows);
}

/* ---- the update ------------------------------------------------------------------------------------------------------- */

/* One token's X <- X + m beta k (v - k^T X)^T, h becoming k in place. False when the new state is not finite. */
static bool update_forward(const ds_pass *pass, ds_delta_form form, size_t token, REAL *state, REAL *h) {
    const ds_spec *spec = &pass->model->spec;
    ds_workspace *w = pass->workspace;
    ds_delta_workspace *own = w->rule;
    size_t d = spec->hidden, dv = spec->value_channels;
    bool observed = (pass->wants & DS_OBSERVE_GATES) != 0;
    double *readout = own->readout + token * dv, *readout_after = own->readout_after + token * dv, *u = own->u + token * dv;
    const double *target = own->target + token * dv;
    double strength = spec->residual_mult * own->beta[token];
    own->k_norm2[token] = REAL_NAME(ds_direction_forward)(h, h, d, spec->k_eps);
    REAL_NAME(ds_dot_rows)(readout, h, state, dv, d);
    for (size_t j = 0; j < dv; j++) {
        double wanted = form.write ? target[j] : 0;
        double held = form.erase ? readout[j] : 0;
        u[j] = strength * (wanted - held);
    }
    if (!form.learned && form.beta == 0) { /* not even a zero is added: the state keeps its bits */
        memcpy(readout_after, readout, dv * sizeof *readout);
        if (observed) w->state_norm[token] = sqrt(REAL_NAME(ds_dot)(state, state, dv * d));
        w->edit_norm[token] = 0;
        return true;
    }
    if (!observed) return REAL_NAME(ds_rank_one_update)(state, h, u, d, dv);
    double state_norm2, edit_norm2;
    bool finite = REAL_NAME(ds_rank_one_update_observed)(state, readout_after, &state_norm2, &edit_norm2, h, u, d, dv);
    w->state_norm[token] = sqrt(state_norm2);
    w->edit_norm[token] = sqrt(edit_norm2);
    return finite;
}

static size_t write_forward(const ds_pass *pass, ds_tile tile, void *h) {
    const ds_spec *spec = &pass->model->spec;
    const ds_delta_workspace *own = pass->workspace->rule;
    ds_delta_form form = form_of(pass);
    size_t d = spec->hidden, count = spec->value_channels * d, not_finite = tile.rows;
    REAL *state = ROWS(pass->state, tile, count), *row = h;
    for (size_t t = 0; t < tile.rows; t++, row += d, state += count) {
        bool finite = update_forward(pass, form, tile.token + t, state, row);
        if (!finite && not_finite == tile.rows) not_finite = t;
    }
    if ((pass->wants & DS_OBSERVE_DIRECTIONS) != 0) memcpy(ROWS(own->directions, tile, d), h, tile.rows * d * sizeof(REAL));
    return not_finite;
}

/* One token's u, e and gradients of gate and value before their sigmoids. */
static void update_backward(const ds_derivative *b, ds_delta_form form, size_t token, const REAL *k, const REAL *state,
                            const REAL *dnext) {
    const ds_spec *spec = &b->pass.model->spec;
    const ds_delta_memory *own = b->gradient->rule;
    const ds_delta_workspace *forward = b->gradient->workspace->rule;
    size_t d = spec->hidden, dv = spec->value_channels;
    double beta = forward->beta[token], strength = spec->residual_mult * beta, slope = 0;
    double *u = own->u + token * dv, *e = own->e + token * dv;
    REAL_NAME(ds_dot_rows)(e, k, dnext, dv, d); /* each becomes u_j and e_j below */
    if (form.erase) REAL_NAME(ds_dot_rows)(u, k, state, dv, d);
    for (size_t j = 0; j < dv; j++) {
        size_t at = token * dv + j;
        double v = forward->target[at], along = e[j];
        double wanted = form.write ? v : 0;
        double held = form.erase ? u[j] : 0;
        u[j] = strength * (wanted - held);
        e[j] = form.erase ? -strength * along : 0;
        slope += along * (wanted - held);
        own->dvalue[at] = form.write ? strength * along : 0;
        if (spec->value_sigmoid) own->dvalue[at] *= v * (1 - v / spec->value_scale);
    }
    own->gate_slope[token] = strength * slope;
    own->dbeta[token] = form.learned ? strength * slope * (1 - beta / 2) : 0; /* beta' = beta (1 - beta/2) */
}

static void write_backward(const ds_derivative *b, ds_tile tile) {
    const ds_spec *spec = &b->pass.model->spec;
    const ds_delta_memory *own = b->gradient->rule;
    ds_delta_form form = form_of(&b->pass);
    size_t d = spec->hidden, dv = spec->value_channels;
    const REAL *h = ROWS(b->tape->branch, tile, d), *state = ROWS(b->pass.state, tile, dv * d);
    const REAL *dnext = ROWS(b->state, tile, dv * d);
    REAL *dh = ROWS(b->gradient->dbranch, tile, d), *k = ROWS(own->k, tile, d);
    for (size_t t = 0; t < tile.rows; t++, h += d, dh += d, k += d, state += dv * d, dnext += dv * d) {
        size_t at = (tile.token + t) * dv;
        (void)REAL_NAME(ds_direction_forward)(k, h, d, spec->k_eps);
        update_backward(b, form, tile.token + t, k, state, dnext);
        REAL_NAME(ds_rank_one_backward)(dh, dnext, state, own->u + at, own->e + at, d, dv);
        REAL_NAME(ds_direction_backward)(dh, dh, h, d, spec->k_eps);
    }
}

/* dX += k e^T. */
static void shortcut_backward(const ds_derivative *b, void *dstate, size_t token) {
    const ds_spec *spec = &b->pass.model->spec;
    const ds_delta_memory *own = b->gradient->rule;
    size_t d = spec->hidden, dv = spec->value_channels;
    (void)REAL_NAME(ds_rank_one_update)(dstate, (const REAL *)own->k + token * d, own->e + token * dv, d, dv);
}

/* u of X' = X + k u^T and its tangent for one token; dk is the direction's tangent, dstate the state's (NULL: zero). */
static void update_tangent(const ds_derivative *b, double *u, double *du, size_t token, const REAL *k, const REAL *dk,
                           const REAL *dstate, double dbeta, const double *dvalue) {
    const ds_spec *spec = &b->pass.model->spec;
    const ds_delta_workspace *forward = b->gradient->workspace->rule;
    ds_delta_form form = form_of(&b->pass);
    size_t d = spec->hidden, dv = spec->value_channels;
    const REAL *state = (const REAL *)b->pass.state + token * dv * d;
    double beta = forward->beta[token];
    for (size_t j = 0; j < dv; j++) {
        double wanted = form.write ? forward->target[token * dv + j] : 0, held = 0, dheld = 0;
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

/* dX' = dX + dk u^T + k du^T. */
static void write_tangent(const ds_derivative *b, ds_tile tile) {
    const ds_spec *spec = &b->pass.model->spec;
    const ds_delta_memory *own = b->gradient->rule;
    size_t d = spec->hidden, dv = spec->value_channels;
    const REAL *h = ROWS(b->tape->branch, tile, d);
    REAL *dstate = ROWS(b->state, tile, dv * d), *dh = ROWS(b->gradient->dbranch, tile, d), *k = ROWS(own->k, tile, d);
    for (size_t t = 0; t < tile.rows; t++, h += d, dh += d, k += d, dstate += dv * d) {
        size_t token = tile.token + t;
        double *u = own->u + token * dv, *du = own->du + token * dv;
        REAL *dk = dh; /* in place */
        (void)REAL_NAME(ds_direction_forward)(k, h, d, spec->k_eps);
        REAL_NAME(ds_direction_backward)(dk, dh, h, d, spec->k_eps);
        update_tangent(b, u, du, token, k, dk, dstate, own->dbeta[token], own->dvalue + token * dv);
        (void)REAL_NAME(ds_rank_one_update)(dstate, dk, u, d, dv);
        (void)REAL_NAME(ds_rank_one_update)(dstate, k, du, d, dv);
    }
}

/* ---- one token's Jacobian --------------------------------------------------------------------------------------------- */

/* A, row i*dv + j of the published order. */
static void put_shortcut(double *jacobian, const REAL *k, double strength, size_t d, size_t dv) {
    size_t size = d * dv;
    memset(jacobian, 0, size * size * sizeof *jacobian);
    for (size_t i = 0; i < d; i++) {
        for (size_t j = 0; j < dv; j++) {
            double *row = jacobian + (i * dv + j) * size;
            row[i * dv + j] = 1;
            if (strength == 0) continue;
            for (size_t l = 0; l < d; l++) row[l * dv + j] -= strength * (double)k[i] * (double)k[l];
        }
    }
}

/* dk u^T + k du^T along feature `input` of x_in, into column input*dv + j of the Jacobian, times this channel's tap. */
static void add_column(const ds_derivative *b, double *jacobian, const REAL *k, const REAL *dk, const double *u,
                       const double *du, size_t input) {
    size_t d = b->pass.model->spec.hidden, dv = b->pass.model->spec.value_channels, size = d * dv;
    for (size_t column = 0; column < dv; column++) {
        double tap = REAL_NAME(ds_compress_own_tap)(&b->pass, column, input);
        for (size_t i = 0; i < d; i++)
            for (size_t j = 0; j < dv; j++)
                jacobian[(i * dv + j) * size + input * dv + column] += tap * ((double)dk[i] * u[j] + (double)k[i] * du[j]);
    }
}

static ds_status token_jacobian(const ds_derivative *b, double *jacobian, const ds_token_directions *v) {
    ds_status status = DS_OK;
    const ds_spec *spec = &b->pass.model->spec;
    const ds_delta_workspace *forward = b->gradient->workspace->rule;
    size_t d = spec->hidden, dv = spec->value_channels, token = v->token.token;
    const REAL *h = ROWS(b->tape->branch, v->token, d);
    REAL *dh = v->dbranch, *k = NULL;
    double *dbeta = NULL, *dvalue = NULL, *u = NULL, *du = NULL;
    DS_NEW_ARRAY(k, d);
    DS_NEW_ARRAY(dbeta, d);
    DS_NEW_ARRAY(dvalue, d * dv);
    DS_NEW_ARRAY(u, dv);
    DS_NEW_ARRAY(du, dv);
    gate_tangent(b, dbeta, v->dcontext, token, true, d, b->gradient->workspace->scratch[0].coefficient_hidden);
    value_tangent(b, dvalue, v->dx_in, token, true, d);
    (void)REAL_NAME(ds_direction_forward)(k, h, d, spec->k_eps);
    put_shortcut(jacobian, k, form_of(&b->pass).erase ? spec->residual_mult * forward->beta[token] : 0, d, dv);
    for (size_t i = 0; i < d; i++) {
        REAL *dk = dh + i * d; /* in place */
        REAL_NAME(ds_direction_backward)(dk, dk, h, d, spec->k_eps);
        update_tangent(b, u, du, token, k, dk, NULL, dbeta[i], dvalue + i * dv);
        add_column(b, jacobian, k, dk, u, du, i);
    }
done:
    free(k);
    free(dbeta);
    free(dvalue);
    free(u);
    free(du);
    return status;
}

const ds_rule_steps REAL_NAME(ds_rule_delta_steps) = {
    .embed_forward = REAL_NAME(ds_embed_tile_forward),
    .embed_backward = REAL_NAME(ds_embed_tile_backward),
    .embed_parameters = REAL_NAME(ds_input_taps_parameters),
    .readout_forward = REAL_NAME(ds_readout_tile_forward),
    .readout_backward = REAL_NAME(ds_readout_tile_backward),
    .read_forward = read_forward,
    .read_backward = read_backward,
    .read_sums = REAL_NAME(ds_compress_sums),
    .read_parameters = REAL_NAME(ds_compress_parameters),
    .read_tangent = read_tangent,
    .coefficients_forward = coefficients_forward,
    .context_backward = gate_backward,
    .input_backward = value_backward,
    .coefficient_parameters = coefficient_parameters,
    .coefficients_tangent = coefficients_tangent,
    .write_forward = write_forward,
    .write_backward = write_backward,
    .shortcut_backward = shortcut_backward,
    .write_tangent = write_tangent,
    .token_jacobian = token_jacobian,
};
