/* The two ends of the pass on one tile: embedding, and readout with the output head. */
#include <math.h>

#include "deltascope/num.h"

#include "forward.h"
#include "forward_tiles.h"

static ds_status embed(void *context, size_t task, size_t worker) {
    const ds_pass *pass = context;
    const ds_spec *spec = &pass->model->spec;
    ds_tile tile = ds_tile_of(pass, task);
    size_t d = spec->hidden, dv = spec->value_channels;
    const REAL *table = pass->model->embedding->values, *taps = pass->model->input.taps;
    const uint32_t *tokens = pass->batch->tokens + tile.token;
    REAL *state = (REAL *)pass->state + tile.token * dv * d;
    (void)worker;
    REAL_NAME(ds_embed_forward)(state, table, taps, tokens, tile.first, tile.rows, d, dv, spec->input_kernel);
    return DS_OK;
}

static ds_status readout(void *context, size_t task, size_t worker) {
    const ds_pass *pass = context;
    const ds_spec *spec = &pass->model->spec;
    ds_tile tile = ds_tile_of(pass, task);
    (void)worker;
    REAL *hidden = (REAL *)pass->hidden + tile.token * spec->hidden;
    const REAL *out = REAL_NAME(ds_tile_compress)(hidden, pass, tile, &pass->model->readout);
    const REAL *weight = pass->model->final_norm->values;
    REAL_NAME(ds_rmsnorm_forward)(hidden, NULL, out, weight, tile.rows, spec->hidden, spec->norm_eps);
    return DS_OK;
}

/* logits (rows,columns) of vocabulary entries first .. first + columns - 1, scaled. */
void REAL_NAME(ds_logits_block)(REAL *logits, size_t ld, const ds_model *model, const REAL *hidden, size_t rows, size_t first,
                                size_t columns) {
    size_t d = model->spec.hidden;
    const REAL *table = (const REAL *)model->embedding->values + first * d;
    REAL scale = (REAL)model->spec.logit_scale;
    REAL_NAME(ds_gemm_nt)(logits, ld, hidden, d, table, d, rows, columns, d);
    if (model->spec.logit_scale == 1) return;
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < columns; i++) logits[r * ld + i] *= scale;
}

/* Takes one block of a row's logits into its running sums: everything is relative to the largest logit so far. The block's
 * softmax weights relative to its own maximum are left in `weights` (may be the logits); returns the factor that makes them
 * relative to the new running maximum, and in *shrink that of the sums so far. */
double REAL_NAME(ds_absorb_block)(ds_online *online, double *shrink, REAL *weights, const REAL *logits, size_t columns) {
    double max, sum;
    REAL_NAME(ds_softmax_block)(weights, &max, &sum, logits, columns);
    double highest = max > online->max ? max : online->max, factor = exp(max - highest);
    *shrink = exp(online->max - highest);
    online->sum = online->sum * *shrink + sum * factor;
    online->max = highest;
    return factor;
}

void REAL_NAME(ds_note_target)(ds_online *online, const REAL *logits, size_t target, size_t first, size_t columns) {
    if (target >= first && target < first + columns) online->target = (double)logits[target - first];
}

static void compare_block(const ds_pass *pass, ds_tile tile, ds_scratch *scratch, size_t first, size_t columns) {
    const ds_model *model = pass->model;
    size_t d = model->spec.hidden, tokens = pass->batch->sequences * pass->batch->length;
    REAL *intact = scratch->intact, *weights = scratch->weights, *other = scratch->other;
    const uint32_t *targets = pass->batch->targets + tile.token;
    double factor[DS_TILE_ROWS], shrink[DS_TILE_ROWS], ignored;
    if (pass->intact != NULL) {
        REAL_NAME(ds_logits_block)
        (intact, columns, model, (const REAL *)pass->intact + tile.token * d, tile.rows, first, columns);
        for (size_t t = 0; t < tile.rows; t++) {
            ds_online *online = &pass->intact_online[tile.token + t];
            REAL_NAME(ds_note_target)(online, intact + t * columns, targets[t], first, columns);
            factor[t] = REAL_NAME(ds_absorb_block)(online, &shrink[t], weights + t * columns, intact + t * columns, columns);
        }
    }
    for (size_t c = 0; c < pass->cases; c++) {
        const REAL *hidden = (const REAL *)pass->case_hidden[c] + tile.token * d;
        REAL_NAME(ds_logits_block)(other, columns, model, hidden, tile.rows, first, columns);
        for (size_t t = 0; t < tile.rows; t++) {
            ds_online *online = &pass->case_online[c * tokens + tile.token + t];
            REAL *row = other + t * columns;
            if (pass->intact != NULL)
                online->moment =
                    online->moment * shrink[t] +
                    factor[t] * REAL_NAME(ds_weighted_difference)(weights + t * columns, intact + t * columns, row, columns);
            REAL_NAME(ds_note_target)(online, row, targets[t], first, columns);
            (void)REAL_NAME(ds_absorb_block)(online, &ignored, row, row, columns);
        }
    }
}

static ds_status head(void *context, size_t task, size_t worker) {
    const ds_pass *pass = context;
    ds_tile tile = ds_tile_of(pass, task);
    size_t vocab = pass->model->spec.vocab, tokens = pass->batch->sequences * pass->batch->length;
    const ds_online empty = {.max = -INFINITY};
    for (size_t t = 0; t < tile.rows; t++) {
        if (pass->intact != NULL) pass->intact_online[tile.token + t] = empty;
        for (size_t c = 0; c < pass->cases; c++) pass->case_online[c * tokens + tile.token + t] = empty;
    }
    for (size_t first = 0; first < vocab; first += DS_VOCABULARY_BLOCK)
        compare_block(pass, tile, &pass->workspace->scratch[worker], first, ds_min_size(vocab - first, DS_VOCABULARY_BLOCK));
    return DS_OK;
}

static void logits(const ds_pass *pass, const void *hidden, size_t rows, void *out) {
    REAL_NAME(ds_logits_block)(out, pass->model->spec.vocab, pass->model, hidden, rows, 0, pass->model->spec.vocab);
}

const ds_forward_tasks REAL_NAME(ds_forward_tasks) = {
    .embed = embed,
    .project = REAL_NAME(ds_tile_project),
    .shift = REAL_NAME(ds_tile_shift),
    .attend = REAL_NAME(ds_tile_attend),
    .compress = REAL_NAME(ds_tile_compress_mlp),
    .mlp = REAL_NAME(ds_tile_mlp),
    .readout = readout,
    .head = head,
    .logits = logits,
};
