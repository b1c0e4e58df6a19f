/* What must hold of any pass: causality, invariance, probabilities. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "checks.h"

static const double u64 = 0x1p-53;

/* ---- bits -------------------------------------------------------------------------------------------------------------- */

/* A batch whose tokens may be changed. */
static ds_status copy_batch(ds_batch *out, uint32_t **tokens, const ds_batch *batch) {
    size_t count = batch->sequences * batch->length;
    *tokens = ds_calloc(count, sizeof **tokens);
    if (*tokens == NULL) return DS_ERR_SYSTEM;
    memcpy(*tokens, batch->tokens, count * sizeof **tokens);
    *out = *batch;
    out->tokens = *tokens;
    return DS_OK;
}

/* From position `first` on every token of every window becomes another one. */
static ds_status compare_prefix(ds_worst *worst, const ds_verify *v, const ds_side *side, size_t first) {
    ds_status status = DS_OK;
    const ds_batch *batch = &v->wide.batch;
    size_t row = ds_spec_planes(v->spec) * v->spec->hidden * ds_precision_size(side->precision);
    size_t hidden_row = v->spec->hidden * ds_precision_size(side->precision);
    uint32_t *tokens = NULL;
    ds_batch changed;
    char *state[2] = {NULL, NULL}, *hidden[2] = {NULL, NULL}, *embedded[2] = {NULL, NULL};
    void *out_state = NULL, *out_hidden = NULL;
    DS_TRY(copy_batch(&changed, &tokens, batch));
    for (size_t i = 0; i < batch->sequences * batch->length; i++) {
        if (i % batch->length >= first) tokens[i] = (tokens[i] + 1) % (uint32_t)v->spec->vocab;
    }
    for (size_t i = 0; i < 2; i++) {
        DS_TRY(ds_run_depth(&out_state, &out_hidden, side, i == 0 ? batch : &changed, NULL, NULL));
        state[i] = out_state;
        hidden[i] = out_hidden;
        embedded[i] = ds_alloc_array(batch->sequences * batch->length, row);
        if (embedded[i] == NULL) {
            status = DS_ERR_SYSTEM;
            goto done;
        }
        DS_TRY(ds_embed(side->workspace, side->model, i == 0 ? batch : &changed, embedded[i]));
    }
    for (size_t b = 0; b < batch->sequences; b++) {
        size_t start = b * batch->length;
        bool same = memcmp(state[0] + start * row, state[1] + start * row, first * row) == 0 &&
                    memcmp(hidden[0] + start * hidden_row, hidden[1] + start * hidden_row, first * hidden_row) == 0;
        /* and the change does arrive where it is made, unless both tokens are embedded alike: otherwise the comparison says
         * nothing */
        size_t at = (start + first) * row;
        bool arrives = memcmp(state[0] + at, state[1] + at, row) != 0 || memcmp(embedded[0] + at, embedded[1] + at, row) == 0;
        ds_worst_add(worst, same && arrives ? 0 : 1, 0);
    }
done:
    free(tokens);
    for (size_t i = 0; i < 2; i++) {
        free(state[i]);
        free(hidden[i]);
        free(embedded[i]);
    }
    return status;
}

ds_status ds_check_causality(ds_check_result *result, ds_verify *v) {
    ds_status status = DS_OK;
    ds_worst worst = {0};
    size_t length = v->wide.batch.length;
    if (length < 2 || v->spec->vocab < 2) {
        ds_check_skip(result, "windows of one token have no later token");
        return DS_OK;
    }
    for (size_t i = 0; i < v->side_count; i++) {
        DS_TRY(compare_prefix(&worst, v, &v->sides[i], 1));
        DS_TRY(compare_prefix(&worst, v, &v->sides[i], (length + 1) / 2));
        DS_TRY(compare_prefix(&worst, v, &v->sides[i], length - 1));
    }
    ds_worst_report(result, &worst);
    (void)snprintf(result->detail, sizeof result->detail, "changed from positions 1, %zu and %zu on", (length + 1) / 2,
                   length - 1);
done:
    return status;
}

ds_status ds_check_batch(ds_check_result *result, ds_verify *v) {
    ds_status status = DS_OK;
    ds_worst worst = {0};
    const ds_batch *batch = &v->wide.batch;
    void *together = NULL, *alone = NULL;
    for (size_t i = 0; i < v->side_count; i++) {
        size_t bytes = batch->length * v->spec->hidden * ds_precision_size(v->sides[i].precision);
        DS_TRY(ds_run_depth(NULL, &together, &v->sides[i], batch, NULL, NULL));
        for (size_t b = 0; b < batch->sequences; b++) {
            size_t start = b * batch->length;
            ds_batch one = {batch->tokens + start, batch->targets + start, 1, batch->length};
            DS_TRY(ds_run_depth(NULL, &alone, &v->sides[i], &one, NULL, NULL));
            ds_worst_add(&worst, memcmp((char *)together + b * bytes, alone, bytes) == 0 ? 0 : 1, 0);
            free(alone);
            alone = NULL;
        }
        free(together);
        together = NULL;
    }
    ds_worst_report(result, &worst);
done:
    free(together);
    free(alone);
    return status;
}

/* The pass of one side with so many threads: a workspace belongs to a number of threads. */
static ds_status run_with_threads(void **hidden, const ds_side *side, const ds_batch *batch, size_t threads) {
    ds_status status = DS_OK;
    size_t before = ds_threads_here();
    ds_side other = *side;
    other.workspace = NULL;
    DS_TRY(ds_threads_set_here(threads));
    DS_TRY(ds_workspace_new(&other.workspace, side->model, batch->sequences, batch->length));
    DS_TRY(ds_run_depth(NULL, hidden, &other, batch, NULL, NULL));
done:
    ds_workspace_free(&other.workspace);
    if (ds_threads_set_here(before) != DS_OK && status == DS_OK) status = DS_ERR_SYSTEM;
    return status;
}

ds_status ds_check_threads(ds_check_result *result, ds_verify *v) {
    ds_status status = DS_OK;
    ds_worst worst = {0};
    const ds_batch *batch = &v->wide.batch;
    void *one = NULL, *three = NULL;
    for (size_t i = 0; i < v->side_count; i++) {
        size_t bytes = batch->sequences * batch->length * v->spec->hidden * ds_precision_size(v->sides[i].precision);
        DS_TRY(run_with_threads(&one, &v->sides[i], batch, 1));
        DS_TRY(run_with_threads(&three, &v->sides[i], batch, 3));
        ds_worst_add(&worst, memcmp(one, three, bytes) == 0 ? 0 : 1, 0);
        free(one);
        free(three);
        one = three = NULL;
    }
    ds_worst_report(result, &worst);
done:
    free(one);
    free(three);
    return status;
}

/* ---- probabilities ----------------------------------------------------------------------------------------------------- */

/* sum over v of exp(z_v - z_target - nll) = 1 with logits z made one row at a time, bit for bit those of the loss. There a
 * term's exponent, of at most 2 max |z|, rounds once and exp 3 times, which moves the sum by as many roundings; sums over
 * blocks and their exponents are in double, and so is all that is done here: V + 16 roundings, and 4 of each exponent. */
ds_status ds_check_probabilities(ds_check_result *result, ds_verify *v) {
    ds_status status = DS_OK;
    const ds_batch *batch = &v->narrow.batch;
    size_t tokens = batch->sequences * batch->length, vocab = v->spec->vocab;
    void *hidden = NULL, *logits = NULL;
    double *nll = NULL, *z = NULL;
    ds_worst worst = {0};
    DS_NEW_ARRAY(nll, tokens);
    DS_NEW_ARRAY(z, vocab);
    for (size_t i = 0; i < v->side_count; i++) {
        const ds_side *side = &v->sides[i];
        logits = ds_alloc_array(vocab, sizeof(double));
        if (logits == NULL) DS_TRY(DS_ERR_SYSTEM);
        DS_TRY(ds_run_depth(NULL, &hidden, side, batch, NULL, NULL));
        DS_TRY(ds_head_loss(side->workspace, side->model, batch, hidden, nll));
        for (size_t t = 0; t < tokens; t++) {
            DS_TRY(ds_head_logits(side->model, hidden, t, 1, logits));
            ds_widen(z, logits, 0, vocab, side->precision);
            double sum = 0, largest = 0;
            for (size_t k = 0; k < vocab; k++) {
                sum += exp(z[k] - z[batch->targets[t]] - nll[t]);
                largest = fmax(largest, fabs(z[k]));
            }
            ds_worst_add(&worst, fabs(sum - 1),
                         side->roundoff * (4 + 2 * largest) + ((double)vocab + 16 + 4 * (2 * largest + fabs(nll[t]))) * u64);
        }
        free(hidden);
        free(logits);
        hidden = logits = NULL;
    }
    ds_worst_report(result, &worst);
done:
    free(hidden);
    free(logits);
    free(nll);
    free(z);
    return status;
}
