/* The two ends of the backward pass: output head with readout, and embedding; and the sums of the tiles' parts. */
#include <math.h>
#include <string.h>

#include "backward_tiles.h"

/* ---- output head ------------------------------------------------------------------------------------------------------- */

/* Where a vocabulary block's logits of a tile are held: (rows,VB). */
static REAL *held_logits(const ds_backward_pass *b, ds_tile tile, size_t block) {
    size_t tokens = b->pass.batch->sequences * b->pass.batch->length;
    return (REAL *)b->gradient->logits + (block % b->gradient->blocks_held * tokens + tile.token) * DS_VOCABULARY_BLOCK;
}

static size_t block_columns(const ds_backward_pass *b, size_t block) {
    return ds_min_size(b->pass.model->spec.vocab - block * DS_VOCABULARY_BLOCK, DS_VOCABULARY_BLOCK);
}

static ds_status loss(void *context, size_t task, size_t worker) {
    const ds_backward_pass *b = context;
    const ds_gradient *g = b->gradient;
    ds_tile tile = ds_tile_of(&b->pass, task);
    size_t d = b->pass.model->spec.hidden;
    ds_online *online = g->workspace->online + tile.token;
    const uint32_t *targets = b->pass.batch->targets + tile.token;
    REAL *weights = g->scratch[worker].logits;
    double ignored;
    for (size_t t = 0; t < tile.rows; t++) online[t] = (ds_online){.max = -INFINITY};
    for (size_t block = 0; block < b->blocks; block++) {
        size_t columns = block_columns(b, block), first = block * DS_VOCABULARY_BLOCK;
        REAL *logits = held_logits(b, tile, block);
        REAL_NAME(ds_logits_block)
        (logits, DS_VOCABULARY_BLOCK, b->pass.model, ROWS(g->hidden, tile, d), tile.rows, first, columns);
        for (size_t t = 0; t < tile.rows; t++, logits += DS_VOCABULARY_BLOCK) {
            REAL_NAME(ds_note_target)(&online[t], logits, targets[t], first, columns);
            (void)REAL_NAME(ds_absorb_block)(&online[t], &ignored, weights, logits, columns);
        }
    }
    for (size_t t = 0; t < tile.rows; t++) g->log_sum[tile.token + t] = online[t].max + log(online[t].sum);
    return DS_OK;
}

/* dlogits = weight scale (softmax - 1 at the target), and through them dhidden += dlogits E. */
static ds_status logits(void *context, size_t task, size_t worker) {
    const ds_backward_pass *b = context;
    const ds_gradient *g = b->gradient;
    const ds_model *model = b->pass.model;
    ds_tile tile = ds_tile_of(&b->pass, task);
    size_t d = model->spec.hidden, ld = DS_VOCABULARY_BLOCK;
    double factor = b->weight * model->spec.logit_scale;
    REAL *dhidden = ROWS(g->dhidden, tile, d);
    (void)worker;
    if (b->block == 0) memset(dhidden, 0, tile.rows * d * sizeof *dhidden);
    size_t held = ds_min_size(b->blocks - b->block, g->blocks_held);
    for (size_t block = b->block; block < b->block + held; block++) {
        size_t columns = block_columns(b, block), first = block * ld;
        REAL *rows = held_logits(b, tile, block);
        if (g->blocks_held < b->blocks)
            REAL_NAME(ds_logits_block)(rows, ld, model, ROWS(g->hidden, tile, d), tile.rows, first, columns);
        for (size_t t = 0; t < tile.rows; t++) {
            REAL *row = rows + t * ld;
            size_t target = b->pass.batch->targets[tile.token + t];
            REAL_NAME(ds_cross_entropy_backward)(row, row, g->log_sum[tile.token + t], factor, columns);
            if (target >= first && target < first + columns) row[target - first] -= (REAL)factor;
        }
        REAL_NAME(ds_gemm_nn_add)
        (dhidden, d, rows, ld, VALUES(model->embedding) + first * d, d, tile.rows, d, columns);
    }
    return DS_OK;
}

/* Rows of the embedding's gradient that one vocabulary block touches. */
static ds_status head_weights(void *context, size_t task, size_t worker) {
    const ds_backward_pass *b = context;
    const ds_gradient *g = b->gradient;
    size_t d = b->pass.model->spec.hidden, block = b->block + task;
    const ds_tile start = {0};
    (void)worker;
    REAL *rows = (REAL *)g->parameters[b->pass.model->embedding - b->pass.model->parameters] + block * DS_VOCABULARY_BLOCK * d;
    REAL_NAME(ds_gemm_tn_add)
    (rows, d, held_logits(b, start, block), DS_VOCABULARY_BLOCK, g->hidden, d, block_columns(b, block), d,
     b->pass.batch->sequences * b->pass.batch->length);
    return DS_OK;
}

/* Back through the final norm to what the readout gave; the state's gradient starts at zero. */
static ds_status final_norm(void *context, size_t task, size_t worker) {
    const ds_backward_pass *b = context;
    const ds_gradient *g = b->gradient;
    const ds_spec *spec = &b->pass.model->spec;
    ds_tile tile = ds_tile_of(&b->pass, task);
    size_t d = spec->hidden, count = tile.rows * spec->value_channels * d;
    double *partial = ds_partial_of(b, tile);
    (void)worker;
    if (partial != NULL) memset(partial, 0, g->layout.count * sizeof *partial);
    memset(ROWS(b->state, tile, spec->value_channels * d), 0, count * sizeof(REAL));
    const REAL *out = REAL_NAME(ds_tile_compress)(ROWS(g->x_in, tile, d), &b->pass, tile, &b->pass.model->readout);
    REAL_NAME(ds_rmsnorm_backward)
    (ROWS(g->dx_in, tile, d), partial != NULL ? partial + g->layout.norm : NULL, ROWS(g->dhidden, tile, d), out,
     VALUES(b->pass.model->final_norm), tile.rows, d, spec->norm_eps);
    REAL_NAME(ds_backward_taps)(b, tile);
    return DS_OK;
}

/* ---- embedding ------------------------------------------------------------------------------------------------------------ */

static ds_status embeddings(void *context, size_t task, size_t worker) {
    const ds_backward_pass *b = context;
    const ds_gradient *g = b->gradient;
    const ds_model *model = b->pass.model;
    const ds_spec *spec = &model->spec;
    ds_tile tile = ds_tile_of(&b->pass, task);
    size_t d = spec->hidden, dv = spec->value_channels;
    double *partial = ds_partial_of(b, tile);
    const REAL *dstate = ROWS(b->state, tile, dv * d);
    (void)worker;
    REAL_NAME(ds_embed_backward)
    (ROWS(g->embeddings, tile, d), dstate, model->input.taps, b->pass.batch->length - tile.first - tile.rows, tile.rows, d, dv,
     spec->input_kernel);
    if (partial == NULL || model->input.taps == NULL) return DS_OK;
    memset(partial, 0, g->layout.count * sizeof *partial);
    REAL_NAME(ds_embed_taps_backward)
    (partial + g->layout.taps, dstate, VALUES(model->embedding), b->pass.batch->tokens + tile.token, tile.first, tile.rows, d,
     dv, spec->input_kernel);
    return DS_OK;
}

static void scatter(ds_backward_pass *b) {
    const ds_gradient *g = b->gradient;
    size_t d = b->pass.model->spec.hidden;
    REAL *table = g->parameters[b->pass.model->embedding - b->pass.model->parameters];
    const REAL *row = g->embeddings;
    for (size_t t = 0; t < b->pass.batch->sequences * b->pass.batch->length; t++, row += d) {
        REAL *to = table + b->pass.batch->tokens[t] * d;
        for (size_t i = 0; i < d; i++) to[i] += row[i];
    }
}

/* ---- sums over tiles, in order ---------------------------------------------------------------------------------------------- */

static double *gradient_sum(const ds_backward_pass *b, size_t offset, size_t count) {
    size_t tiles = b->pass.batch->sequences * b->pass.tiles, stride = b->gradient->layout.count;
    double *sum = b->gradient->partial + offset; /* of the first tile */
    for (size_t tile = 1; tile < tiles; tile++)
        for (size_t i = 0; i < count; i++) sum[i] += sum[tile * stride + i];
    return sum;
}

static REAL *gradient_of(const ds_backward_pass *b, const ds_parameter *parameter) {
    return b->gradient->parameters[parameter - b->pass.model->parameters];
}

static void reduce(ds_backward_pass *b, const ds_parameter *parameter, size_t offset) {
    if (parameter == NULL) return;
    const double *sum = gradient_sum(b, offset, parameter->count);
    REAL *gradient = gradient_of(b, parameter);
    for (size_t i = 0; i < parameter->count; i++) gradient[i] += (REAL)sum[i];
}

/* From dtaps (dv,d), w_eff[i,v] = sum_a read[a] w[i, left+v-a]. */
static void unfold_channels(const ds_backward_pass *b, const ds_taps *taps, const double *dtaps) {
    const ds_spec *spec = &b->pass.model->spec;
    size_t d = spec->hidden, dv = spec->value_channels, kernel = spec->state_kernel;
    size_t left = spec->state_kernel_causal ? kernel - 1 : (kernel - 1) / 2;
    const REAL *weight = VALUES(taps->weight), *read = VALUES(taps->read);
    REAL *dweight = gradient_of(b, taps->weight), *dread = gradient_of(b, taps->read);
    for (size_t a = 0; a < dv; a++) {
        double slope = 0;
        for (size_t v = 0; v < dv; v++) {
            size_t s = left + v - a; /* wraps when negative */
            if (s >= kernel) continue;
            for (size_t i = 0; i < d; i++) {
                slope += (double)weight[i * kernel + s] * dtaps[v * d + i];
                dweight[i * kernel + s] += (REAL)((double)read[a] * dtaps[v * d + i]);
            }
        }
        dread[a] += (REAL)slope;
    }
}

static void reduce_taps(ds_backward_pass *b, const ds_taps *taps, size_t offset) {
    const ds_spec *spec = &b->pass.model->spec;
    size_t d = spec->hidden, dv = spec->value_channels;
    if (taps->weight == NULL) return;
    bool state = taps->read != NULL;
    size_t kernel = state ? spec->state_kernel : spec->input_kernel;
    if (state && spec->compressor == DS_COMPRESS_CC) {
        unfold_channels(b, taps, gradient_sum(b, offset, dv * d));
        return;
    }
    const double *products = gradient_sum(b, offset, dv * kernel * d);
    const REAL *planes = taps->taps;
    REAL *dweight = gradient_of(b, taps->weight);
    for (size_t j = 0; j < dv; j++) {
        double read = state ? (double)VALUES(taps->read)[j] : 1, slope = 0;
        for (size_t s = 0; s < kernel; s++, products += d, planes += d) {
            for (size_t i = 0; i < d; i++) {
                dweight[(i * dv + j) * kernel + s] += (REAL)(read * products[i]);
                slope += (double)planes[i] * products[i];
            }
        }
        if (state) gradient_of(b, taps->read)[j] += (REAL)slope;
    }
}

const ds_backward_tasks REAL_NAME(ds_backward_tasks) = {
    .enter = REAL_NAME(ds_backward_enter),
    .restore = REAL_NAME(ds_backward_restore),
    .scores = REAL_NAME(ds_backward_scores),
    .unshape = REAL_NAME(ds_backward_unshape),
    .leave = REAL_NAME(ds_backward_leave),
    .mlp = REAL_NAME(ds_backward_mlp),
    .expand = REAL_NAME(ds_backward_expand),
    .weights = REAL_NAME(ds_backward_weights),
    .loss = loss,
    .logits = logits,
    .head_weights = head_weights,
    .final_norm = final_norm,
    .embeddings = embeddings,
    .scatter = scatter,
    .reduce = reduce,
    .reduce_taps = reduce_taps,
    .tangent_enter = REAL_NAME(ds_tangent_enter),
    .tangent_shift = REAL_NAME(ds_tangent_shift),
    .tangent_attend = REAL_NAME(ds_tangent_attend),
    .tangent_mlp = REAL_NAME(ds_tangent_mlp),
    .token_jacobian = REAL_NAME(ds_tangent_token),
};
