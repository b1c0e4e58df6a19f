/* The output: readout of the last state, final norm, logits against the embedding or a table of their own, loss and
 * comparisons of losses (MODEL.md "Forward pass"). */
#include <math.h>

#include "tiles.h"

/* ---- readout and final norm ------------------------------------------------------------------------------------------- */

void REAL_NAME(ds_readout_tile_forward)(const ds_pass *pass, ds_tile tile, void *hidden) {
    const REAL *out = REAL_NAME(ds_sublayer_read)(pass, tile, hidden);
    BACKBONE(pass)->norm_forward(hidden, out, &pass->model->spec, pass->model->final_norm, tile.rows);
}

void REAL_NAME(ds_readout_tile_backward)(const ds_derivative *b, ds_tile tile) {
    const ds_gradient *g = b->gradient;
    const ds_model *model = b->pass.model;
    size_t d = model->spec.hidden;
    const REAL *out = REAL_NAME(ds_sublayer_read)(&b->pass, tile, ROWS(g->x_in, tile, d));
    BACKBONE(&b->pass)->norm_backward(ROWS(g->dx_in, tile, d), ds_partial_at(b, tile, g->layout.norm),
                                      ROWS(g->dhidden, tile, d), out, &model->spec, model->final_norm, tile.rows);
    if (RULE(&b->pass)->read_sums != NULL) RULE(&b->pass)->read_sums(b, tile);
}

ds_status REAL_NAME(ds_readout_forward_task)(void *context, size_t task, size_t worker) {
    const ds_pass *pass = context;
    ds_tile tile = ds_tile_of(pass, task);
    (void)worker;
    RULE(pass)->readout_forward(pass, tile, ROWS(pass->hidden, tile, pass->model->spec.hidden));
    return DS_OK;
}

/* The state's gradient, and the tile's sums, start at zero. */
ds_status REAL_NAME(ds_readout_backward_task)(void *context, size_t task, size_t worker) {
    const ds_derivative *b = context;
    const ds_spec *spec = &b->pass.model->spec;
    ds_tile tile = ds_tile_of(&b->pass, task);
    size_t width = ds_spec_planes(spec) * spec->hidden;
    double *partial = ds_partial_of(b, tile);
    (void)worker;
    if (partial != NULL) memset(partial, 0, b->gradient->layout.count * sizeof *partial);
    memset(ROWS(b->state, tile, width), 0, tile.rows * width * sizeof(REAL));
    RULE(&b->pass)->readout_backward(b, tile);
    return DS_OK;
}

void REAL_NAME(ds_readout_parameters)(ds_derivative *b) {
    const ds_rule_steps *rule = RULE(&b->pass);
    REAL_NAME(ds_sum_norm)(b, b->pass.model->final_norm);
    if (rule->read_parameters != NULL) rule->read_parameters(b);
}

/* ---- logits, one block of the vocabulary at a time -------------------------------------------------------------------- */

/* logits (rows,columns) of vocabulary entries first .. first + columns - 1, scaled. */
static void logits_block(REAL *logits, size_t ld, const ds_model *model, const REAL *hidden, size_t rows, size_t first,
                         size_t columns) {
    size_t d = model->spec.hidden;
    const REAL *table = VALUES(ds_model_head(model)) + first * d;
    REAL scale = (REAL)model->spec.logit_scale;
    REAL_NAME(ds_gemm_nt)(logits, ld, hidden, d, table, d, rows, columns, d);
    if (model->spec.logit_scale == 1) return;
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < columns; i++) logits[r * ld + i] *= scale;
}

void REAL_NAME(ds_logits)(const ds_model *model, const void *hidden, size_t rows, void *logits) {
    logits_block(logits, model->spec.vocab, model, hidden, rows, 0, model->spec.vocab);
}

/* Takes one block of a row's logits into its running sums: everything is relative to the largest logit so far. The block's
 * softmax weights relative to its own maximum are left in `weights` (may be the logits); returns the factor that makes them
 * relative to the new running maximum, and in *shrink that of the sums so far. */
static double absorb_block(ds_online *online, double *shrink, REAL *weights, const REAL *logits, size_t columns) {
    double max, sum;
    REAL_NAME(ds_softmax_block)(weights, &max, &sum, logits, columns);
    double highest = max > online->max ? max : online->max, factor = exp(max - highest);
    *shrink = exp(online->max - highest);
    online->sum = online->sum * *shrink + sum * factor;
    online->max = highest;
    return factor;
}

static void note_target(ds_online *online, const REAL *logits, size_t target, size_t first, size_t columns) {
    if (target >= first && target < first + columns) online->target = (double)logits[target - first];
}

/* ---- comparisons ------------------------------------------------------------------------------------------------------ */

static void compare_block(const ds_pass *pass, ds_tile tile, ds_scratch *scratch, size_t first, size_t columns) {
    const ds_model *model = pass->model;
    size_t d = model->spec.hidden, tokens = pass->batch->sequences * pass->batch->length;
    REAL *intact = scratch->intact, *weights = scratch->weights, *other = scratch->other;
    const uint32_t *targets = pass->batch->targets + tile.token;
    double factor[DS_TILE_ROWS], shrink[DS_TILE_ROWS], ignored;
    if (pass->intact != NULL) {
        const REAL *hidden = (const REAL *)pass->intact + tile.token * d;
        logits_block(intact, columns, model, hidden, tile.rows, first, columns);
        for (size_t t = 0; t < tile.rows; t++) {
            ds_online *online = &pass->intact_online[tile.token + t];
            note_target(online, intact + t * columns, targets[t], first, columns);
            factor[t] = absorb_block(online, &shrink[t], weights + t * columns, intact + t * columns, columns);
        }
    }
    for (size_t c = 0; c < pass->cases; c++) {
        const REAL *hidden = (const REAL *)pass->case_hidden[c] + tile.token * d;
        logits_block(other, columns, model, hidden, tile.rows, first, columns);
        for (size_t t = 0; t < tile.rows; t++) {
            ds_online *online = &pass->case_online[c * tokens + tile.token + t];
            REAL *row = other + t * columns;
            if (pass->intact != NULL)
                online->moment =
                    online->moment * shrink[t] +
                    factor[t] * REAL_NAME(ds_weighted_difference)(weights + t * columns, intact + t * columns, row, columns);
            note_target(online, row, targets[t], first, columns);
            (void)absorb_block(online, &ignored, row, row, columns);
        }
    }
}

ds_status REAL_NAME(ds_head_compare_task)(void *context, size_t task, size_t worker) {
    const ds_pass *pass = context;
    ds_tile tile = ds_tile_of(pass, task);
    size_t vocab = pass->model->spec.vocab, tokens = pass->batch->sequences * pass->batch->length;
    const ds_online empty = {.max = -INFINITY};
    (void)ds_activity_turn(DS_ACTIVITY_HEAD);
    for (size_t t = 0; t < tile.rows; t++) {
        if (pass->intact != NULL) pass->intact_online[tile.token + t] = empty;
        for (size_t c = 0; c < pass->cases; c++) pass->case_online[c * tokens + tile.token + t] = empty;
    }
    for (size_t first = 0; first < vocab; first += DS_VOCABULARY_BLOCK)
        compare_block(pass, tile, &pass->workspace->scratch[worker], first, ds_min_size(vocab - first, DS_VOCABULARY_BLOCK));
    return DS_OK;
}

/* ---- loss ------------------------------------------------------------------------------------------------------------- */

/* Where a vocabulary block's logits of a tile are held: (rows, logit_stride). */
static REAL *held_logits(const ds_derivative *b, ds_tile tile, size_t block) {
    const ds_gradient *g = b->gradient;
    size_t tokens = b->pass.batch->sequences * b->pass.batch->length;
    return (REAL *)g->logits + (block % g->blocks_held * tokens + tile.token) * g->logit_stride;
}

static size_t block_columns(const ds_derivative *b, size_t block) {
    return ds_min_size(b->pass.model->spec.vocab - block * DS_VOCABULARY_BLOCK, DS_VOCABULARY_BLOCK);
}

ds_status REAL_NAME(ds_head_loss_task)(void *context, size_t task, size_t worker) {
    const ds_derivative *b = context;
    const ds_gradient *g = b->gradient;
    ds_tile tile = ds_tile_of(&b->pass, task);
    size_t d = b->pass.model->spec.hidden;
    (void)ds_activity_turn(DS_ACTIVITY_HEAD);
    ds_online *online = g->workspace->online + tile.token;
    const uint32_t *targets = b->pass.batch->targets + tile.token;
    REAL *weights = g->scratch[worker].logits;
    double ignored;
    for (size_t t = 0; t < tile.rows; t++) online[t] = (ds_online){.max = -INFINITY};
    for (size_t block = 0; block < b->blocks; block++) {
        size_t columns = block_columns(b, block), first = block * DS_VOCABULARY_BLOCK;
        REAL *logits = held_logits(b, tile, block);
        logits_block(logits, g->logit_stride, b->pass.model, ROWS(g->hidden, tile, d), tile.rows, first, columns);
        for (size_t t = 0; t < tile.rows; t++, logits += g->logit_stride) {
            note_target(&online[t], logits, targets[t], first, columns);
            (void)absorb_block(&online[t], &ignored, weights, logits, columns);
        }
    }
    for (size_t t = 0; t < tile.rows; t++) g->log_sum[tile.token + t] = online[t].max + log(online[t].sum);
    return DS_OK;
}

/* dlogits = weight scale (softmax - 1 at the target), and through them dhidden += dlogits E. */
ds_status REAL_NAME(ds_head_backward_task)(void *context, size_t task, size_t worker) {
    const ds_derivative *b = context;
    const ds_gradient *g = b->gradient;
    const ds_model *model = b->pass.model;
    ds_tile tile = ds_tile_of(&b->pass, task);
    size_t d = model->spec.hidden, ld = g->logit_stride;
    double factor = b->weight * model->spec.logit_scale;
    REAL *dhidden = ROWS(g->dhidden, tile, d);
    (void)worker;
    (void)ds_activity_turn(DS_ACTIVITY_HEAD);
    if (b->block == 0) memset(dhidden, 0, tile.rows * d * sizeof *dhidden);
    size_t held = ds_min_size(b->blocks - b->block, g->blocks_held);
    for (size_t block = b->block; block < b->block + held; block++) {
        size_t columns = block_columns(b, block), first = block * DS_VOCABULARY_BLOCK;
        REAL *rows = held_logits(b, tile, block);
        if (g->blocks_held < b->blocks) logits_block(rows, ld, model, ROWS(g->hidden, tile, d), tile.rows, first, columns);
        for (size_t t = 0; t < tile.rows; t++) {
            REAL *row = rows + t * ld;
            size_t target = b->pass.batch->targets[tile.token + t];
            REAL_NAME(ds_cross_entropy_backward)(row, row, g->log_sum[tile.token + t], factor, columns);
            if (target >= first && target < first + columns) row[target - first] -= (REAL)factor;
        }
        REAL_NAME(ds_gemm_nn_add)
        (dhidden, d, rows, ld, VALUES(ds_model_head(model)) + first * d, d, tile.rows, d, columns);
    }
    return DS_OK;
}

/* Rows of the table's gradient that one vocabulary block touches. */
ds_status REAL_NAME(ds_head_weight_task)(void *context, size_t task, size_t worker) {
    const ds_derivative *b = context;
    const ds_gradient *g = b->gradient;
    size_t d = b->pass.model->spec.hidden, block = b->block + task;
    const ds_tile start = {0};
    (void)worker;
    REAL *rows = REAL_NAME(ds_gradient_of)(b, ds_model_head(b->pass.model)) + block * DS_VOCABULARY_BLOCK * d;
    REAL_NAME(ds_gemm_tn_add)
    (rows, d, held_logits(b, start, block), g->logit_stride, g->hidden, d, block_columns(b, block), d,
     b->pass.batch->sequences * b->pass.batch->length);
    return DS_OK;
}
