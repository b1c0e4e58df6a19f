/* Attention from queries, keys and values to the sublayer's output (MODEL.md "Attention"): scores, weighted values, norm of
 * each head, output gate, output projection. */
#include <math.h>

#include "tiles.h"

/* Query heads that share one head of keys and values. */
static size_t group_of(const ds_spec *spec) { return spec->heads / ds_spec_kv_heads(spec); }

static ds_linear_map output_of(const ds_pass *pass) {
    const ds_layer_weights *layer = ds_pass_layer(pass);
    return ds_map_of(pass->model, layer->attention, layer->attention_bias);
}

/* ---- scores and weighted values --------------------------------------------------------------------------------------- */

/* Adds to each row's count the weights of the `first + row + 1` keys it sees that are 0. */
static void count_zeros(double *zeros, const REAL *weights, size_t ld, size_t rows, size_t first) {
    for (size_t r = 0; r < rows; r++, weights += ld) {
        uint32_t count = 0;
        for (size_t i = 0; i <= first + r; i++) count += weights[i] == 0;
        zeros[r] += count;
    }
}

/* heads (rows,H*h) = causal softmax(q k^T / sqrt(h)) v, one head and one block of query rows at a time. */
static void scores_forward(REAL *heads, const ds_pass *pass, ds_tile tile, ds_scratch *scratch) {
    const ds_spec *spec = &pass->model->spec;
    const ds_workspace *w = pass->workspace;
    size_t width = ds_pass_width(pass), kv_width = ds_pass_kv_width(pass), h = spec->head_dim, group = group_of(spec);
    size_t window = tile.sequence * pass->batch->length;
    double scale = ds_score_scale(spec, pass->sublayer / 2);
    REAL *scores = scratch->scores, *inverse = scratch->inverse;
    double *zeros = (pass->wants & DS_OBSERVE_ATTENTION) != 0 ? w->zero_weights + tile.token : NULL;
    for (size_t row = 0; zeros != NULL && row < tile.rows; row++) zeros[row] = 0;
    for (size_t row = 0; row < tile.rows; row += DS_QUERY_ROWS) {
        size_t rows = ds_min_size(DS_QUERY_ROWS, tile.rows - row), first = tile.first + row, columns = first + rows;
        for (size_t head = 0; head < spec->heads; head++) {
            const REAL *query = (const REAL *)w->query + (window + first) * width + head * h;
            const REAL *key = (const REAL *)w->key + window * kv_width + head / group * h;
            const REAL *value = (const REAL *)w->value + window * kv_width + head / group * h;
            REAL *out = heads + row * width + head * h;
            REAL_NAME(ds_gemm_nt)(scores, columns, query, width, key, kv_width, rows, columns, h);
            REAL_NAME(ds_softmax_causal_forward)(scores, inverse, columns, rows, columns, first, scale);
            if (zeros != NULL) count_zeros(zeros + row, scores, columns, rows, first);
            REAL_NAME(ds_gemm_nn)(out, width, scores, columns, value, kv_width, rows, h, columns);
            REAL_NAME(ds_scale_rows)(out, width, inverse, rows, h);
        }
    }
}

/* One head of one window: P again from queries and keys, then dV += P^T dO, dS = P (dP - sum P dP) / sqrt(h) with dP = dO V^T,
 * dQ = dS K, dK += dS^T Q. */
static void head_backward(const ds_derivative *b, size_t window, size_t head, ds_derivative_scratch *scratch) {
    const ds_gradient *g = b->gradient;
    const ds_spec *spec = &b->pass.model->spec;
    const ds_workspace *w = g->workspace;
    size_t h = spec->head_dim, width = ds_pass_width(&b->pass), kv_width = ds_pass_kv_width(&b->pass);
    size_t length = b->pass.batch->length, queries = window * length * width + head * h;
    size_t keys = window * length * kv_width + head / group_of(spec) * h;
    const REAL *query = (const REAL *)w->query + queries, *key = (const REAL *)w->key + keys;
    const REAL *value = (const REAL *)w->value + keys, *dheads = (const REAL *)g->dheads + queries;
    REAL *dquery = (REAL *)g->dquery + queries, *dkey = (REAL *)g->dkey + keys, *dvalue = (REAL *)g->dvalue + keys;
    REAL *p = scratch->weights, *ds = scratch->scores;
    double scale = ds_score_scale(spec, b->pass.sublayer / 2);
    for (size_t first = 0; first < length; first += DS_BACKWARD_QUERY_ROWS) {
        size_t rows = ds_min_size(length - first, DS_BACKWARD_QUERY_ROWS), columns = first + rows, at = first * width;
        REAL_NAME(ds_gemm_nt)(p, columns, query + at, width, key, kv_width, rows, columns, h);
        REAL_NAME(ds_softmax_causal_forward)(p, scratch->inverse, columns, rows, columns, first, scale);
        REAL_NAME(ds_scale_rows)(p, columns, scratch->inverse, rows, columns);
        REAL_NAME(ds_gemm_tn_add)(dvalue, kv_width, p, columns, dheads + at, width, columns, h, rows);
        REAL_NAME(ds_gemm_nt)(ds, columns, dheads + at, width, value, kv_width, rows, columns, h);
        REAL_NAME(ds_softmax_causal_backward)(ds, p, columns, rows, columns, first, scale);
        REAL_NAME(ds_gemm_nn)(dquery + at, width, ds, columns, key, kv_width, rows, h, columns);
        REAL_NAME(ds_gemm_tn_add)(dkey, kv_width, ds, columns, query + at, width, columns, h, rows);
    }
}

/* The heads of one window that share keys and values, one after the other: they add to the same gradients. */
ds_status REAL_NAME(ds_attention_scores_backward_task)(void *context, size_t task, size_t worker) {
    const ds_derivative *b = context;
    const ds_spec *spec = &b->pass.model->spec;
    size_t kv_heads = ds_spec_kv_heads(spec), group = group_of(spec), first = task % kv_heads * group;
    (void)ds_activity_turn(DS_ACTIVITY_ATTENTION);
    for (size_t head = first; head < first + group; head++)
        head_backward(b, task / kv_heads, head, &b->gradient->scratch[worker]);
    return DS_OK;
}

/* dO = dP V + P dV, dP = P (dS - sum P dS), dS = (dQ K^T + Q dK^T) / sqrt(h). */
static void scores_tangent(const ds_derivative *b, ds_tile tile, ds_derivative_scratch *scratch) {
    const ds_gradient *g = b->gradient;
    const ds_workspace *w = g->workspace;
    const ds_spec *spec = &b->pass.model->spec;
    size_t h = spec->head_dim, width = ds_pass_width(&b->pass), kv_width = ds_pass_kv_width(&b->pass);
    size_t window = tile.sequence * b->pass.batch->length;
    const void *dkeys = ds_pass_shifts(&b->pass, spec->k_shift) ? g->dkey_shifted : g->dkey;
    const void *dvalues = ds_pass_shifts(&b->pass, spec->v_shift) ? g->dvalue_shifted : g->dvalue;
    REAL *p = scratch->weights, *ds = scratch->scores;
    double scale = ds_score_scale(spec, b->pass.sublayer / 2);
    for (size_t row = 0; row < tile.rows; row += DS_BACKWARD_QUERY_ROWS) {
        size_t rows = ds_min_size(DS_BACKWARD_QUERY_ROWS, tile.rows - row), first = tile.first + row, columns = first + rows;
        for (size_t head = 0; head < spec->heads; head++) {
            size_t keys = window * kv_width + head / group_of(spec) * h, queries = (window + first) * width + head * h;
            const REAL *query = (const REAL *)w->query + queries, *key = (const REAL *)w->key + keys;
            const REAL *value = (const REAL *)w->value + keys, *dquery = (const REAL *)g->dquery + queries;
            REAL *out = (REAL *)g->dheads + queries;
            REAL_NAME(ds_gemm_nt)(p, columns, query, width, key, kv_width, rows, columns, h);
            REAL_NAME(ds_softmax_causal_forward)(p, scratch->inverse, columns, rows, columns, first, scale);
            REAL_NAME(ds_scale_rows)(p, columns, scratch->inverse, rows, columns);
            REAL_NAME(ds_gemm_nt)(ds, columns, dquery, width, key, kv_width, rows, columns, h);
            REAL_NAME(ds_gemm_nt_add)(ds, columns, query, width, (const REAL *)dkeys + keys, kv_width, rows, columns, h);
            REAL_NAME(ds_softmax_causal_backward)(ds, p, columns, rows, columns, first, scale);
            REAL_NAME(ds_gemm_nn)(out, width, ds, columns, value, kv_width, rows, h, columns);
            REAL_NAME(ds_gemm_nn_add)(out, width, p, columns, (const REAL *)dvalues + keys, kv_width, rows, h, columns);
        }
    }
}

/* ---- norm of each head, output gate ----------------------------------------------------------------------------------- */

/* The norm of each head, or that before the output gate; NULL: none. */
static const ds_parameter *head_norm(const ds_pass *pass, double *eps) {
    const ds_layer_weights *layer = ds_pass_layer(pass);
    *eps = layer->head_norm != NULL ? pass->model->spec.head_norm_eps : pass->model->spec.output_norm_eps;
    return layer->head_norm != NULL ? layer->head_norm : layer->output_norm;
}

static void head_norm_forward(REAL *heads, const ds_pass *pass, ds_tile tile) {
    const ds_spec *spec = &pass->model->spec;
    double eps;
    const ds_parameter *norm = head_norm(pass, &eps);
    if (norm == NULL) return;
    REAL_NAME(ds_rmsnorm_forward)(heads, NULL, heads, VALUES(norm), tile.rows * spec->heads, spec->head_dim, eps);
}

/* heads in place; gate (rows,H*h) before its silu, or NULL. */
static void heads_forward(REAL *heads, const REAL *gate, const ds_pass *pass, ds_tile tile) {
    head_norm_forward(heads, pass, tile);
    if (gate != NULL) REAL_NAME(ds_swiglu_forward)(heads, gate, heads, tile.rows * ds_pass_width(pass));
}

/* dheads (rows,H*h): from the output projection's input back to the weighted values. `normed` is scratch. */
static void heads_backward(const ds_derivative *b, ds_tile tile, REAL *dheads, REAL *normed) {
    const ds_spec *spec = &b->pass.model->spec;
    const ds_gradient *g = b->gradient;
    size_t width = ds_pass_width(&b->pass), rows = tile.rows * spec->heads;
    const REAL *heads = ROWS(b->tape->heads, tile, width);
    double eps;
    const ds_parameter *norm = head_norm(&b->pass, &eps);
    if (spec->output_gate) {
        memcpy(normed, heads, tile.rows * width * sizeof *normed);
        head_norm_forward(normed, &b->pass, tile);
        REAL_NAME(ds_swiglu_backward)
        (ROWS(g->doutput_gate, tile, width), dheads, dheads, ROWS(b->tape->gate, tile, width), normed, tile.rows * width);
    }
    double *dnorm = ds_partial_at(b, tile, g->layout.head_norm);
    if (norm != NULL) REAL_NAME(ds_rmsnorm_backward)(dheads, dnorm, dheads, heads, VALUES(norm), rows, spec->head_dim, eps);
}

void REAL_NAME(ds_heads_tangent)(REAL *dheads, const REAL *dgate, const REAL *heads, const REAL *gate, REAL *normed,
                                 const ds_derivative *b, ds_tile tile) {
    const ds_spec *spec = &b->pass.model->spec;
    size_t rows = tile.rows * spec->heads, count = rows * spec->head_dim;
    double eps;
    const ds_parameter *norm = head_norm(&b->pass, &eps);
    if (norm != NULL) REAL_NAME(ds_rmsnorm_tangent)(dheads, dheads, heads, VALUES(norm), rows, spec->head_dim, eps);
    if (!spec->output_gate) return;
    memcpy(normed, heads, count * sizeof *normed);
    head_norm_forward(normed, &b->pass, tile);
    REAL_NAME(ds_swiglu_tangent)(dheads, dgate, dheads, gate, normed, count);
}

/* ---- the sublayer's second half --------------------------------------------------------------------------------------- */

ds_status REAL_NAME(ds_attention_forward_task)(void *context, size_t task, size_t worker) {
    const ds_pass *pass = context;
    ds_scratch *scratch = &pass->workspace->scratch[worker];
    ds_tile tile = ds_tile_longest_first(pass, task);
    size_t width = ds_pass_width(pass);
    const ds_linear_map output = output_of(pass);
    REAL *heads = scratch->heads;
    const ds_activity before = ds_activity_turn(DS_ACTIVITY_ATTENTION);
    scores_forward(heads, pass, tile, scratch);
    (void)ds_activity_turn(before);
    if (pass->tape != NULL) REAL_NAME(ds_record)(pass->tape->heads, heads, tile, width);
    heads_forward(heads, pass->model->spec.output_gate ? ROWS(pass->workspace->gate, tile, width) : NULL, pass, tile);
    REAL_NAME(ds_map_forward)(scratch->branch, heads, &output, tile.rows);
    REAL_NAME(ds_sublayer_output_forward)(pass, tile, scratch->branch);
    return DS_OK;
}

/* From the new state to the weighted values, everything in between computed again. */
ds_status REAL_NAME(ds_attention_output_backward_task)(void *context, size_t task, size_t worker) {
    const ds_derivative *b = context;
    const ds_gradient *g = b->gradient;
    const ds_spec *spec = &b->pass.model->spec;
    ds_tile tile = ds_tile_of(&b->pass, task);
    size_t d = spec->hidden, width = ds_pass_width(&b->pass), kv_width = ds_pass_kv_width(&b->pass);
    const ds_linear_map output = output_of(&b->pass);
    REAL_NAME(ds_sublayer_input_again)(b, tile);
    REAL_NAME(ds_qkv_again)(b, tile);
    REAL_NAME(ds_sublayer_output_backward)(b, tile);
    if (b->parameters) {
        REAL *heads = ROWS(g->heads, tile, width);
        memcpy(heads, ROWS(b->tape->heads, tile, width), tile.rows * width * sizeof *heads);
        heads_forward(heads, spec->output_gate ? ROWS(b->tape->gate, tile, width) : NULL, &b->pass, tile);
    }
    REAL *dheads = ROWS(g->dheads, tile, width);
    REAL_NAME(ds_map_backward)(dheads, ROWS(g->dbranch, tile, d), &output, tile.rows);
    REAL_NAME(ds_bias_sums)(b, tile, &output, g->layout.output_bias, ROWS(g->dbranch, tile, d));
    heads_backward(b, tile, dheads, g->scratch[worker].narrow[0]);
    memset(ROWS(g->dkey, tile, kv_width), 0, tile.rows * kv_width * sizeof *dheads); /* which the scores add to */
    memset(ROWS(g->dvalue, tile, kv_width), 0, tile.rows * kv_width * sizeof *dheads);
    return DS_OK;
}

ds_status REAL_NAME(ds_attention_output_parameters)(ds_derivative *b) {
    double eps;
    const ds_linear_map output = output_of(&b->pass);
    REAL_NAME(ds_sum_tiles)(b, head_norm(&b->pass, &eps), b->gradient->layout.head_norm);
    REAL_NAME(ds_sum_bias)(b, &output, b->gradient->layout.output_bias);
    return ds_map_job_add(b, &output, b->gradient->dbranch, b->gradient->heads);
}

ds_status REAL_NAME(ds_attention_tangent_task)(void *context, size_t task, size_t worker) {
    const ds_derivative *b = context;
    const ds_gradient *g = b->gradient;
    const ds_spec *spec = &b->pass.model->spec;
    ds_derivative_scratch *scratch = &g->scratch[worker];
    ds_tile tile = ds_tile_longest_first(&b->pass, task);
    size_t width = ds_pass_width(&b->pass);
    const ds_linear_map output = output_of(&b->pass);
    scores_tangent(b, tile, scratch);
    REAL *dheads = ROWS(g->dheads, tile, width), *dgate = spec->output_gate ? ROWS(g->doutput_gate, tile, width) : NULL;
    const REAL *gate = spec->output_gate ? ROWS(b->tape->gate, tile, width) : NULL;
    REAL_NAME(ds_heads_tangent)(dheads, dgate, ROWS(b->tape->heads, tile, width), gate, scratch->narrow[0], b, tile);
    REAL_NAME(ds_map_linear)(ROWS(g->dbranch, tile, spec->hidden), dheads, &output, tile.rows);
    REAL_NAME(ds_sublayer_output_tangent)(b, tile);
    return DS_OK;
}
