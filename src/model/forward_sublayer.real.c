/* The steps of a sublayer on one tile (MODEL.md "Forward pass", "Delta update", "Attention"). */
#include <math.h>
#include <string.h>

#include "deltascope/num.h"

#include "forward.h"
#include "forward_tiles.h"
#include "rule_delta.h"

#define VALUES(parameter) ((const REAL *)(parameter)->values)

/* y (rows,out) = x (rows,in) W^T for a Linear weight W (out,in). */
static void linear(REAL *y, const REAL *x, const ds_parameter *weight, size_t rows) {
    size_t out = weight->shape[0], in = weight->shape[1];
    REAL_NAME(ds_gemm_nt)(y, out, x, in, VALUES(weight), in, rows, out, in);
}

/* x_in of a tile: the state itself when it is scalar, else compressed into `x_in`. */
const REAL *REAL_NAME(ds_tile_compress)(REAL *x_in, const ds_pass *pass, ds_tile tile, const ds_taps *taps) {
    const ds_spec *spec = &pass->model->spec;
    size_t d = spec->hidden, dv = spec->value_channels, rows = tile.rows, kernel = spec->state_kernel;
    const REAL *state = (const REAL *)pass->state + tile.token * dv * d;
    if (spec->compressor == DS_COMPRESS_NONE) return state;
    if (spec->compressor == DS_COMPRESS_CC)
        REAL_NAME(ds_compress_cc_forward)(x_in, state, taps->taps, rows, d, dv);
    else
        REAL_NAME(ds_compress_tc_forward)(x_in, state, taps->taps, VALUES(taps->read), tile.first, rows, d, dv, kernel);
    return x_in;
}

/* beta (rows) = 2 sigmoid(...) of the normed context, one or two layers; a forced gate needs neither. */
static void gate_forward(double *beta, const ds_pass *pass, const ds_delta_weights *weights, const REAL *context, REAL *hidden,
                         size_t rows) {
    size_t width = pass->model->spec.hidden;
    const ds_parameter *last = weights->beta, *bias = weights->beta_bias;
    ds_delta_form form = ds_delta_form_of(pass->force);
    if (!form.learned) {
        for (size_t t = 0; t < rows; t++) beta[t] = form.beta;
        return;
    }
    if (weights->beta == NULL) {
        linear(hidden, context, weights->beta_in, rows);
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

/* target v (rows,dv) from the compressed state. */
static void value_forward(double *target, const ds_spec *spec, const ds_delta_weights *weights, const REAL *x_in, size_t rows) {
    size_t d = spec->hidden, dv = spec->value_channels;
    if (weights->value == NULL) {
        for (size_t i = 0; i < rows * dv; i++) target[i] = spec->value_constant_value;
        return;
    }
    for (size_t t = 0; t < rows; t++)
        for (size_t j = 0; j < dv; j++)
            target[t * dv + j] =
                REAL_NAME(ds_dot)(VALUES(weights->value) + j * d, x_in + t * d, d) + (double)VALUES(weights->value_bias)[j];
    if (!spec->value_sigmoid) return;
    ds_sigmoid_f64(target, target, rows * dv);
    for (size_t i = 0; i < rows * dv; i++) target[i] *= spec->value_scale;
}

/* From x_in to the branch's input c (rows,d) and the tile's beta and v; gate_hidden (rows,g) of a two-layer gate. */
void REAL_NAME(ds_tile_enter)(const ds_pass *pass, ds_tile tile, REAL *context, REAL *gate_hidden, const REAL *x_in,
                              size_t half) {
    const ds_spec *spec = &pass->model->spec;
    const ds_layer_weights *layer = &pass->model->layers[pass->layer];
    const ds_parameter *norm = half == 0 ? layer->ln_1 : layer->ln_2;
    REAL_NAME(ds_rmsnorm_forward)(context, NULL, x_in, VALUES(norm), tile.rows, spec->hidden, spec->norm_eps);
    if (spec->rule != &ds_rule_delta) return;
    ds_workspace *workspace = pass->workspace;
    gate_forward(workspace->beta + tile.token, pass, &layer->delta[half], context, gate_hidden, tile.rows);
    value_forward(workspace->target + tile.token * spec->value_channels, spec, &layer->delta[half], x_in, tile.rows);
}

/* Keeps a tile's rows of `width` numbers on a tape. */
static void record(void *kept, const REAL *rows, ds_tile tile, size_t width) {
    memcpy((REAL *)kept + tile.token * width, rows, tile.rows * width * sizeof *rows);
}

/* One token's delta update X <- X + m beta k (v - k^T X)^T, h becoming k in place. False when the new state is not finite. */
static bool delta_forward(const ds_pass *pass, size_t token, REAL *state, REAL *h) {
    const ds_spec *spec = &pass->model->spec;
    ds_workspace *w = pass->workspace;
    size_t d = spec->hidden, dv = spec->value_channels;
    ds_delta_form form = ds_delta_form_of(pass->force);
    bool observed = (pass->wants & DS_OBSERVE_GATES) != 0, closed = !form.learned && form.beta == 0;
    double *readout = w->readout + token * dv, *readout_after = w->readout_after + token * dv; /* then u, when not observed */
    const double *target = w->target + token * dv;
    double strength = spec->residual_mult * w->beta[token];
    w->k_norm2[token] = REAL_NAME(ds_direction_forward)(h, h, d, spec->k_eps);
    for (size_t j = 0; j < dv; j++) {
        readout[j] = REAL_NAME(ds_dot)(h, state + j * d, d);
        double wanted = form.write ? target[j] : 0;
        double held = form.erase ? readout[j] : 0;
        readout_after[j] = strength * (wanted - held);
    }
    if (closed) { /* not even a zero is added: the state keeps its bits */
        memcpy(readout_after, readout, dv * sizeof *readout);
        if (observed) w->state_norm[token] = sqrt(REAL_NAME(ds_dot)(state, state, dv * d));
        w->edit_norm[token] = 0;
        return true;
    }
    if (!observed) return REAL_NAME(ds_rank_one_update)(state, h, readout_after, d, dv);
    double state_norm2, edit_norm2;
    bool finite =
        REAL_NAME(ds_rank_one_update_observed)(state, readout_after, &state_norm2, &edit_norm2, h, readout_after, d, dv);
    w->state_norm[token] = sqrt(state_norm2);
    w->edit_norm[token] = sqrt(edit_norm2);
    return finite;
}

/* The additive baseline: X <- X + m h. */
static bool add_forward(const ds_pass *pass, size_t token, REAL *state, const REAL *h) {
    const ds_spec *spec = &pass->model->spec;
    ds_workspace *w = pass->workspace;
    bool closed = pass->force.mode == DS_FORCE_CLOSED;
    if ((pass->wants & DS_OBSERVE_GATES) == 0)
        return closed || REAL_NAME(ds_rank_one_update)(state, h, &spec->residual_mult, spec->hidden, 1);
    double state_norm2 = REAL_NAME(ds_dot)(state, state, spec->hidden), edit_norm2 = 0, readout_after;
    bool finite = closed || REAL_NAME(ds_rank_one_update_observed)(state, &readout_after, &state_norm2, &edit_norm2, h,
                                                                   &spec->residual_mult, spec->hidden, 1);
    w->state_norm[token] = sqrt(state_norm2);
    w->edit_norm[token] = sqrt(edit_norm2);
    return finite;
}

/* The branch's output h is in scratch->branch: rewrites the tile's state with it. */
static void leave_branch(const ds_pass *pass, ds_tile tile, ds_scratch *scratch) {
    const ds_spec *spec = &pass->model->spec;
    ds_workspace *workspace = pass->workspace;
    size_t d = spec->hidden, token_size = spec->value_channels * d;
    REAL *h = scratch->branch, *state = (REAL *)pass->state + tile.token * token_size;
    if (pass->tape != NULL) {
        record(pass->tape->branch, h, tile, d);
        if (pass->tape->record_only) return;
    }
    if ((pass->wants & DS_OBSERVE_STATES) != 0)
        memcpy((REAL *)workspace->before + tile.token * token_size, state, tile.rows * token_size * sizeof *state);
    size_t *not_finite = &workspace->not_finite[tile.sequence * pass->tiles + tile.index];
    *not_finite = pass->batch->length;
    for (size_t t = 0; t < tile.rows; t++, h += d, state += token_size) {
        bool finite = spec->rule == &ds_rule_delta ? delta_forward(pass, tile.token + t, state, h)
                                                   : add_forward(pass, tile.token + t, state, h);
        if (!finite && *not_finite == pass->batch->length) *not_finite = tile.first + t;
    }
    if ((pass->wants & DS_OBSERVE_DIRECTIONS) != 0)
        memcpy((REAL *)workspace->directions + tile.token * d, scratch->branch, tile.rows * d * sizeof *h);
}

/* ---- attention ------------------------------------------------------------------------------------------------------ */

static void activate(REAL *x, size_t count, ds_activation activation) {
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

/* Activation, rotary position, then the norm of each head (norm NULL: none). */
void REAL_NAME(ds_tile_shape_heads)(REAL *x, const ds_pass *pass, ds_tile tile, ds_activation activation, bool rotate,
                                    const ds_parameter *norm) {
    const ds_spec *spec = &pass->model->spec;
    const ds_workspace *w = pass->workspace;
    size_t r = spec->rotary_dim, heads = spec->heads, head_dim = spec->head_dim, position = tile.first * r / 2;
    activate(x, tile.rows * heads * head_dim, activation);
    if (rotate && r > 0) {
        const REAL *cosine = (const REAL *)w->cosine + position, *sine = (const REAL *)w->sine + position;
        REAL_NAME(ds_rope_forward)(x, cosine, sine, tile.rows, heads, head_dim, r);
    }
    if (norm == NULL) return;
    REAL_NAME(ds_rmsnorm_forward)(x, NULL, x, VALUES(norm), tile.rows * heads, head_dim, spec->head_norm_eps);
}

static void finish_query(const ds_pass *pass, ds_tile tile) {
    const ds_spec *spec = &pass->model->spec;
    REAL *query = (REAL *)pass->workspace->query + tile.token * spec->heads * spec->head_dim;
    REAL_NAME(ds_tile_shape_heads)(query, pass, tile, spec->q_activation, true, pass->model->layers[pass->layer].query_norm);
}

static void finish_key(const ds_pass *pass, ds_tile tile) {
    const ds_spec *spec = &pass->model->spec;
    REAL *key = (REAL *)pass->workspace->key + tile.token * spec->heads * spec->head_dim;
    REAL_NAME(ds_tile_shape_heads)(key, pass, tile, spec->k_activation, true, pass->model->layers[pass->layer].key_norm);
}

static void finish_value(const ds_pass *pass, ds_tile tile) {
    const ds_spec *spec = &pass->model->spec;
    REAL *value = (REAL *)pass->workspace->value + tile.token * spec->heads * spec->head_dim;
    REAL_NAME(ds_tile_shape_heads)(value, pass, tile, spec->v_activation, false, NULL);
}

/* Leaves what the shift step needs: the mixing weights, and the tile's last row for the tile after it. */
static void prepare_shift(REAL *mix, REAL *edge, const REAL *projection, const ds_pass *pass, ds_tile tile, const REAL *context,
                          const ds_parameter *weight) {
    const ds_spec *spec = &pass->model->spec;
    size_t width = spec->heads * spec->head_dim;
    mix += tile.token * spec->heads;
    linear(mix, context, weight, tile.rows);
    REAL_NAME(ds_sigmoid)(mix, mix, tile.rows * spec->heads);
    memcpy(edge + (tile.sequence * pass->tiles + tile.index) * width, projection + (tile.rows - 1) * width,
           width * sizeof *edge);
}

/* A sequence of length 1 is not shifted (MODEL.md). */
static bool shifts(const ds_pass *pass, bool wanted) { return wanted && pass->batch->length > 1; }

ds_status REAL_NAME(ds_tile_project)(void *context, size_t task, size_t worker) {
    const ds_pass *pass = context;
    const ds_spec *spec = &pass->model->spec;
    const ds_layer_weights *layer = &pass->model->layers[pass->layer];
    ds_workspace *w = pass->workspace;
    ds_scratch *scratch = &w->scratch[worker];
    ds_tile tile = ds_tile_of(pass, task);
    size_t offset = tile.token * spec->heads * spec->head_dim;
    const REAL *x_in = REAL_NAME(ds_tile_compress)(scratch->x_in, pass, tile, &layer->compress);
    REAL_NAME(ds_tile_enter)(pass, tile, scratch->context, scratch->gate_hidden, x_in, 0);
    REAL *query = (REAL *)w->query + offset, *key = (REAL *)w->key + offset, *value = (REAL *)w->value + offset;
    linear(query, scratch->context, layer->query, tile.rows);
    linear(key, scratch->context, layer->key, tile.rows);
    linear(value, scratch->context, layer->value, tile.rows);
    if (spec->output_gate) linear((REAL *)w->gate + offset, scratch->context, layer->output_gate, tile.rows);
    if (pass->tape != NULL) {
        size_t width = spec->heads * spec->head_dim;
        record(pass->tape->query, query, tile, width);
        record(pass->tape->key, key, tile, width);
        record(pass->tape->value, value, tile, width);
        if (spec->output_gate) record(pass->tape->gate, (REAL *)w->gate + offset, tile, width);
    }
    finish_query(pass, tile);
    if (shifts(pass, spec->k_shift))
        prepare_shift(w->key_mix, w->key_edge, key, pass, tile, scratch->context, layer->key_shift);
    else
        finish_key(pass, tile);
    if (shifts(pass, spec->v_shift))
        prepare_shift(w->value_mix, w->value_edge, value, pass, tile, scratch->context, layer->value_shift);
    else
        finish_value(pass, tile);
    return DS_OK;
}

static void shift_tile(REAL *x, const REAL *edge, const REAL *mix, const ds_pass *pass, ds_tile tile) {
    const ds_spec *spec = &pass->model->spec;
    size_t heads = spec->heads, h = spec->head_dim, width = heads * h;
    const REAL *previous = tile.index == 0 ? NULL : edge + (tile.sequence * pass->tiles + tile.index - 1) * width;
    REAL_NAME(ds_shift_forward)(x + tile.token * width, previous, mix + tile.token * heads, tile.rows, heads, h);
}

ds_status REAL_NAME(ds_tile_shift)(void *context, size_t task, size_t worker) {
    const ds_pass *pass = context;
    const ds_spec *spec = &pass->model->spec;
    ds_workspace *w = pass->workspace;
    ds_tile tile = ds_tile_of(pass, task);
    (void)worker;
    if (pass->tape != NULL) {
        size_t first = tile.token * spec->heads;
        if (shifts(pass, spec->k_shift)) record(pass->tape->key_mix, (REAL *)w->key_mix + first, tile, spec->heads);
        if (shifts(pass, spec->v_shift)) record(pass->tape->value_mix, (REAL *)w->value_mix + first, tile, spec->heads);
    }
    if (shifts(pass, spec->k_shift)) {
        shift_tile(w->key, w->key_edge, w->key_mix, pass, tile);
        finish_key(pass, tile);
    }
    if (shifts(pass, spec->v_shift)) {
        shift_tile(w->value, w->value_edge, w->value_mix, pass, tile);
        finish_value(pass, tile);
    }
    return DS_OK;
}

/* Adds to each row's count the weights of the `first + row + 1` keys it sees that are 0. */
static void count_zeros(double *zeros, const REAL *weights, size_t ld, size_t rows, size_t first) {
    for (size_t r = 0; r < rows; r++, weights += ld) {
        uint32_t count = 0;
        for (size_t i = 0; i <= first + r; i++) count += weights[i] == 0;
        zeros[r] += count;
    }
}

/* heads (rows,H*h) = causal softmax(q k^T / sqrt(h)) v, one head and one block of query rows at a time. */
static void attention_forward(REAL *heads, const ds_pass *pass, ds_tile tile, ds_scratch *scratch) {
    const ds_spec *spec = &pass->model->spec;
    const ds_workspace *w = pass->workspace;
    size_t width = spec->heads * spec->head_dim, h = spec->head_dim, window = tile.sequence * pass->batch->length;
    double scale = 1 / sqrt((double)h);
    REAL *scores = scratch->scores, *inverse = scratch->inverse;
    double *zeros = (pass->wants & DS_OBSERVE_ATTENTION) != 0 ? w->zero_weights + tile.token : NULL;
    for (size_t row = 0; zeros != NULL && row < tile.rows; row++) zeros[row] = 0;
    for (size_t row = 0; row < tile.rows; row += DS_QUERY_ROWS) {
        size_t rows = ds_min_size(DS_QUERY_ROWS, tile.rows - row), first = tile.first + row, columns = first + rows;
        for (size_t head = 0; head < spec->heads; head++) {
            const REAL *query = (const REAL *)w->query + (window + first) * width + head * h;
            const REAL *key = (const REAL *)w->key + window * width + head * h;
            const REAL *value = (const REAL *)w->value + window * width + head * h;
            REAL *out = heads + row * width + head * h;
            REAL_NAME(ds_gemm_nt)(scores, columns, query, width, key, width, rows, columns, h);
            REAL_NAME(ds_softmax_causal_forward)(scores, inverse, columns, rows, columns, first, scale);
            if (zeros != NULL) count_zeros(zeros + row, scores, columns, rows, first);
            REAL_NAME(ds_gemm_nn)(out, width, scores, columns, value, width, rows, h, columns);
            REAL_NAME(ds_scale_rows)(out, width, inverse, rows, h);
        }
    }
}

/* What follows the weighted sum of values: the norm of each head, then the output gate (rows,H*h) before its silu. */
void REAL_NAME(ds_tile_finish_heads)(REAL *heads, const REAL *gate, const ds_pass *pass, ds_tile tile) {
    const ds_spec *spec = &pass->model->spec;
    const ds_layer_weights *layer = &pass->model->layers[pass->layer];
    size_t rows = tile.rows * spec->heads, h = spec->head_dim;
    if (layer->head_norm != NULL)
        REAL_NAME(ds_rmsnorm_forward)(heads, NULL, heads, VALUES(layer->head_norm), rows, h, spec->head_norm_eps);
    else if (layer->output_norm != NULL)
        REAL_NAME(ds_rmsnorm_forward)(heads, NULL, heads, VALUES(layer->output_norm), rows, h, spec->output_norm_eps);
    if (gate != NULL) REAL_NAME(ds_swiglu_forward)(heads, gate, heads, rows * h);
}

/* Within a window the tiles with most keys come first, so that threads finish together. */
ds_status REAL_NAME(ds_tile_attend)(void *context, size_t task, size_t worker) {
    const ds_pass *pass = context;
    const ds_spec *spec = &pass->model->spec;
    const ds_layer_weights *layer = &pass->model->layers[pass->layer];
    ds_scratch *scratch = &pass->workspace->scratch[worker];
    ds_tile tile = ds_tile_at(pass, task / pass->tiles, pass->tiles - 1 - task % pass->tiles);
    size_t width = spec->heads * spec->head_dim;
    REAL *heads = scratch->heads;
    attention_forward(heads, pass, tile, scratch);
    if (pass->tape != NULL) record(pass->tape->heads, heads, tile, width);
    const REAL *gate = spec->output_gate ? (const REAL *)pass->workspace->gate + tile.token * width : NULL;
    REAL_NAME(ds_tile_finish_heads)(heads, gate, pass, tile);
    linear(scratch->branch, heads, layer->attention, tile.rows);
    leave_branch(pass, tile, scratch);
    return DS_OK;
}

/* ---- MLP ------------------------------------------------------------------------------------------------------------ */

ds_status REAL_NAME(ds_tile_compress_mlp)(void *context, size_t task, size_t worker) {
    const ds_pass *pass = context;
    const ds_layer_weights *layer = &pass->model->layers[pass->layer];
    ds_tile tile = ds_tile_of(pass, task);
    (void)worker;
    (void)REAL_NAME(ds_tile_compress)((REAL *)pass->workspace->x_in + tile.token * pass->model->spec.hidden, pass, tile,
                                      &layer->compress);
    return DS_OK;
}

ds_status REAL_NAME(ds_tile_mlp)(void *context, size_t task, size_t worker) {
    const ds_pass *pass = context;
    const ds_spec *spec = &pass->model->spec;
    const ds_layer_weights *layer = &pass->model->layers[pass->layer];
    ds_scratch *scratch = &pass->workspace->scratch[worker];
    ds_tile tile = ds_tile_of(pass, task);
    const REAL *x_in = spec->compressor == DS_COMPRESS_TC
                           ? (const REAL *)pass->workspace->x_in + tile.token * spec->hidden
                           : REAL_NAME(ds_tile_compress)(scratch->x_in, pass, tile, &layer->compress);
    REAL_NAME(ds_tile_enter)(pass, tile, scratch->context, scratch->gate_hidden, x_in, 1);
    size_t offset = tile.token * spec->mlp_hidden;
    REAL *gate = pass->tape != NULL ? (REAL *)pass->tape->mlp_gate + offset : scratch->gate;
    REAL *up = pass->tape != NULL ? (REAL *)pass->tape->mlp_up + offset : scratch->up;
    linear(gate, scratch->context, layer->gate, tile.rows);
    linear(up, scratch->context, layer->up, tile.rows);
    REAL_NAME(ds_swiglu_forward)(scratch->gate, gate, up, tile.rows * spec->mlp_hidden);
    linear(scratch->branch, scratch->gate, layer->down, tile.rows);
    leave_branch(pass, tile, scratch);
    return DS_OK;
}
