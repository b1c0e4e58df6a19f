/* The gradient of an update: those of its micro-batches, each computed by itself, added up in their order. Ranks share them, as
 * many at a time as there are ranks: which of them computed what changes no bit. */
#include <stdlib.h>
#include <string.h>

#include "trainer.h"

/* Adds the gradient of `count` windows from `row` on to what is summed, and their losses to *sum. */
static ds_status pass_windows(double *sum, ds_trainer *t, uint64_t micro, uint64_t row, size_t count) {
    ds_status status = DS_OK;
    const ds_recipe *recipe = &t->recipe;
    const ds_batch batch = {t->inputs, t->targets, count, recipe->length};
    const double targets = (double)recipe->batch * (double)recipe->length, began = ds_seconds();
    for (size_t b = 0; b < count; b++) {
        uint64_t start = ds_recipe_window(recipe, ds_tokens_count(t->tokens), t->step, micro, row + b);
        DS_TRY(
            ds_window_read(t->inputs + b * recipe->length, t->targets + b * recipe->length, t->tokens, start, recipe->length));
    }
    t->windows_seconds += ds_seconds() - began;
    status = ds_backward(t->gradient, &batch, NULL, 1 / (targets * (double)recipe->accumulation), NULL, t->nll);
    t->diverged = status == DS_ERR_INPUT; /* a state or a loss that is not finite: ids were checked when the file was opened */
    DS_TRY(status);
    for (size_t i = 0; i < count * recipe->length; i++) *sum += t->nll[i];
done:
    return status;
}

/* t->gradient <- of one micro-batch; *sum <- the sum of its losses. */
static ds_status pass_micro_batch(double *sum, ds_trainer *t, uint64_t micro) {
    ds_status status = DS_OK;
    *sum = 0;
    ds_gradient_zero(t->gradient);
    for (uint64_t row = 0; row < t->recipe.batch; row += t->at_once)
        DS_TRY(pass_windows(sum, t, micro, row, ds_min_size(t->recipe.batch - row, t->at_once)));
done:
    return status;
}

/* ---- blocks of all parameters' gradients --------------------------------------------------------------------------- */

enum { SLICE = 1 << 15 }; /* numbers in a task */

typedef struct addition {
    void *to;
    const void *from;
    size_t count;
    ds_precision precision;
} addition;

static ds_status add_slice(void *context, size_t index, size_t worker) {
    const addition *all = context;
    const size_t at = index * SLICE, count = ds_min_size(SLICE, all->count - at);
    (void)worker;
    if (all->precision == DS_F32)
        ds_gradient_add_f32((float *)all->to + at, (const float *)all->from + at, count);
    else
        ds_gradient_add_f64((double *)all->to + at, (const double *)all->from + at, count);
    return DS_OK;
}

/* The block of t->gradient += from. */
static ds_status add_block(ds_trainer *t, const void *from) {
    addition all = {.from = from, .precision = ds_model_precision(t->run.model)};
    all.to = ds_gradient_block(t->gradient, &all.count);
    return ds_parallel_for((all.count + SLICE - 1) / SLICE, add_slice, &all);
}

static size_t block_bytes(const ds_trainer *t) {
    size_t count;
    (void)ds_gradient_block(t->gradient, &count);
    return count * ds_precision_size(ds_model_precision(t->run.model));
}

static void copy_block(void *to, ds_trainer *t) {
    size_t count;
    const void *block = ds_gradient_block(t->gradient, &count);
    memcpy(to, block, block_bytes(t));
}

static void set_block(ds_trainer *t, const void *from) {
    size_t count;
    memcpy(ds_gradient_block(t->gradient, &count), from, block_bytes(t));
}

static ds_status allocate(void **bytes, size_t length) {
    if (*bytes == NULL) *bytes = ds_alloc_array(length, 1);
    return *bytes == NULL ? DS_ERR_SYSTEM : DS_OK;
}

/* ---- the sum ------------------------------------------------------------------------------------------------------- */

static ds_status sum_alone(double *losses, ds_trainer *t) {
    ds_status status = DS_OK;
    const uint64_t count = t->recipe.accumulation;
    if (count > 1) DS_TRY(allocate(&t->micro_gradients, block_bytes(t)));
    for (uint64_t micro = 0; micro < count; micro++) {
        DS_TRY(pass_micro_batch(&losses[micro], t, micro));
        if (micro > 0) DS_TRY(add_block(t, t->micro_gradients));
        if (micro + 1 < count) copy_block(t->micro_gradients, t);
    }
done:
    return status;
}

/* Some of the micro-batches, one after the other: what a rank leaves of one is the sum of its losses, then its block. */
typedef struct sharing {
    ds_trainer *trainer;
    uint64_t first; /* micro-batch */
    size_t length;  /* of one's numbers */
} sharing;

static double *left_of(const sharing *all, size_t number) {
    return (double *)all->trainer->micro_gradients + number * all->length;
}

static ds_status compute_some(void *context, size_t first, size_t count) {
    ds_status status = DS_OK;
    const sharing *all = context;
    for (size_t i = first; i < first + count; i++) {
        DS_TRY(pass_micro_batch(left_of(all, i), all->trainer, all->first + i));
        copy_block(left_of(all, i) + 1, all->trainer);
    }
done:
    return status;
}

static ds_status share_some(double *losses, const sharing *all, size_t count, bool *finished) {
    ds_status status = DS_OK;
    ds_trainer *t = all->trainer;
    const ds_ranks_work work = {.count = count,
                                .most = 1,
                                .length = all->length,
                                .results = t->micro_gradients,
                                .finished = finished,
                                .compute = compute_some,
                                .context = (void *)(uintptr_t)all};
    memset(finished, 0, count * sizeof *finished);
    status = ds_ranks_do(t->run.options.ranks, &work);
    t->diverged = status == DS_ERR_INPUT; /* on whichever rank */
    DS_TRY(status);
    for (size_t i = 0; i < count; i++) losses[all->first + i] = *left_of(all, i);
done:
    return status;
}

/* t->gradient is any rank's own before all have come in: the sum so far is kept elsewhere meanwhile. */
static ds_status sum_together(double *losses, ds_trainer *t) {
    ds_status status = DS_OK;
    const uint64_t micros = t->recipe.accumulation;
    const size_t at_once = ds_min_size(ds_ranks_count(t->run.options.ranks), micros), bytes = block_bytes(t);
    sharing all = {.trainer = t, .length = 1 + (bytes + sizeof(double) - 1) / sizeof(double)};
    bool *finished = NULL;
    DS_NEW(finished, at_once);
    DS_TRY(allocate(&t->micro_gradients, (at_once + 1) * all.length * sizeof(double)));
    double *sum = left_of(&all, at_once);
    for (; all.first < micros; all.first += at_once) {
        const size_t count = ds_min_size(at_once, micros - all.first);
        DS_TRY(share_some(losses, &all, count, finished));
        const bool begins = all.first == 0;
        set_block(t, begins ? left_of(&all, 0) + 1 : sum);
        for (size_t i = begins; i < count; i++) DS_TRY(add_block(t, left_of(&all, i) + 1));
        copy_block(sum, t);
    }
done:
    free(finished);
    return status;
}

ds_status ds_micro_batches_sum(ds_update *done, ds_trainer *t) {
    ds_status status = DS_OK;
    const ds_recipe *recipe = &t->recipe;
    DS_TRY(ds_ranks_count(t->run.options.ranks) > 1 ? sum_together(t->micro_loss, t) : sum_alone(t->micro_loss, t));
    done->loss = 0;
    for (uint64_t micro = 0; micro < recipe->accumulation; micro++) {
        t->micro_loss[micro] /= (double)recipe->batch * (double)recipe->length;
        done->loss += t->micro_loss[micro];
    }
    done->loss /= (double)recipe->accumulation;
    done->micro_loss = t->micro_loss;
done:
    return status;
}
