/* Memory, groups and order of AdamW. */
#include "optimiser.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "deltascope/activity.h"
#include "deltascope/num.h"

/* Tasks are blocks of this many numbers, whatever the number of threads. */
enum { BLOCK = 1 << 15 };

/* ---- groups ------------------------------------------------------------------------------------------------------ */

static bool decays(const ds_recipe *recipe, const ds_parameter *parameter) {
    switch (recipe->decay) {
    case DS_DECAY_RANK2:
        return parameter->rank >= 2;
    case DS_DECAY_NOT_NORM:
        return parameter->group != DS_GROUP_NORMS;
    case DS_DECAY_ALL:
        break;
    }
    return true;
}

static void set_terms(ds_optimiser *o, uint64_t step, double clip) {
    const ds_recipe *recipe = o->recipe;
    const double rate = ds_recipe_learning_rate(recipe, step), s = (double)(step + 1);
    for (size_t i = 0; i < ds_model_parameters(o->model); i++) {
        const ds_parameter *parameter = ds_model_parameter(o->model, i);
        bool embedding = parameter->group == DS_GROUP_EMBEDDING;
        double eta = rate * (embedding ? recipe->embedding_lr_multiplier : recipe->hidden_lr_multiplier);
        o->terms[i] = (ds_adamw_terms){.clip = clip,
                                       .beta1 = recipe->beta1,
                                       .beta2 = recipe->beta2,
                                       .keep = 1 - (decays(recipe, parameter) ? eta * recipe->weight_decay : 0),
                                       .rate = eta / (1 - pow(recipe->beta1, s)),
                                       .root = sqrt(1 - pow(recipe->beta2, s)),
                                       .eps = recipe->eps};
    }
}

/* ---- memory ------------------------------------------------------------------------------------------------------ */

/* Bytes of one moment of a tensor, rounded up to where the next may begin. */
static size_t moment_bytes(const ds_optimiser *o, size_t i) {
    return (ds_model_parameter(o->model, i)->count * ds_precision_size(ds_model_precision(o->model)) + 63) / 64 * 64;
}

static ds_status allocate_moments(ds_optimiser *o) {
    ds_status status = DS_OK;
    size_t count = ds_model_parameters(o->model), bytes = 0;
    DS_NEW(o->mean, count);
    DS_NEW(o->square, count);
    for (size_t i = 0; i < count; i++) bytes += o->reached[i] ? 2 * moment_bytes(o, i) : 0;
    o->moments = ds_alloc_array(bytes, 1);
    if (o->moments == NULL) return DS_ERR_SYSTEM;
    memset(o->moments, 0, bytes);
    char *at = o->moments;
    for (size_t i = 0; i < count; i++) {
        if (!o->reached[i]) continue;
        o->mean[i] = at;
        o->square[i] = at + moment_bytes(o, i);
        at += 2 * moment_bytes(o, i);
    }
done:
    return status;
}

static ds_status cut_blocks(ds_optimiser *o) {
    ds_status status = DS_OK;
    size_t count = 0;
    for (size_t i = 0; i < ds_model_parameters(o->model); i++)
        count += o->reached[i] ? (ds_model_parameter(o->model, i)->count + BLOCK - 1) / BLOCK : 0;
    DS_NEW(o->blocks, count);
    DS_NEW(o->block_norm2, count);
    for (size_t i = 0; i < ds_model_parameters(o->model); i++) {
        size_t elements = o->reached[i] ? ds_model_parameter(o->model, i)->count : 0;
        for (size_t first = 0; first < elements; first += BLOCK)
            o->blocks[o->block_count++] = (ds_optimiser_block){i, first, ds_min_size(elements - first, BLOCK)};
    }
done:
    return status;
}

ds_status ds_optimiser_init(ds_optimiser *o, ds_model *model, const ds_recipe *recipe) {
    ds_status status = DS_OK;
    *o = (ds_optimiser){.model = model, .recipe = recipe};
    DS_NEW(o->reached, ds_model_parameters(model));
    DS_NEW(o->terms, ds_model_parameters(model));
    ds_model_reached(o->reached, model, recipe->length);
    DS_TRY(allocate_moments(o));
    DS_TRY(cut_blocks(o));
done:
    return status;
}

void ds_optimiser_release(ds_optimiser *o) {
    void *owned[] = {o->reached, o->mean, o->square, o->moments, o->terms, o->blocks, o->block_norm2};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++) free(owned[i]);
    *o = (ds_optimiser){.model = NULL};
}

ds_status ds_optimiser_new(ds_optimiser **out, ds_model *model, const ds_recipe *recipe) {
    ds_status status = DS_OK;
    ds_optimiser *o = NULL;
    *out = NULL;
    DS_NEW(o, 1);
    DS_TRY(ds_optimiser_init(o, model, recipe));
    *out = o;
    o = NULL;
done:
    ds_optimiser_free(&o);
    return status;
}

void ds_optimiser_free(ds_optimiser **optimiser) {
    if (*optimiser == NULL) return;
    ds_optimiser_release(*optimiser);
    free(*optimiser);
    *optimiser = NULL;
}

/* ---- the update -------------------------------------------------------------------------------------------------- */

static ds_status norm_block(void *context, size_t index, size_t worker) {
    ds_optimiser *o = context;
    const ds_optimiser_block *block = &o->blocks[index];
    const void *g = ds_gradient_parameter(o->gradient, block->parameter);
    (void)worker;
    (void)ds_activity_turn(DS_ACTIVITY_OPTIMISER);
    o->block_norm2[index] = ds_model_precision(o->model) == DS_F32
                                ? ds_dot_f32((const float *)g + block->first, (const float *)g + block->first, block->count)
                                : ds_dot_f64((const double *)g + block->first, (const double *)g + block->first, block->count);
    return DS_OK;
}

/* That of the norms of its tensors. */
static ds_status norm_of(double *norm, ds_optimiser *o) {
    ds_status status = DS_OK;
    double total = 0, began = ds_seconds();
    DS_TRY(ds_parallel_for(o->block_count, norm_block, o));
    for (size_t i = 0; i < o->block_count;) {
        double norm2 = 0, tensor;
        for (size_t parameter = o->blocks[i].parameter; i < o->block_count && o->blocks[i].parameter == parameter; i++)
            norm2 += o->block_norm2[i];
        tensor = sqrt(norm2);
        total += tensor * tensor;
    }
    *norm = sqrt(total);
    o->norm_seconds += ds_seconds() - began;
done:
    return status;
}

static ds_status update_block(void *context, size_t index, size_t worker) {
    ds_optimiser *o = context;
    const ds_optimiser_block *block = &o->blocks[index];
    size_t i = block->parameter, at = block->first;
    const void *g = ds_gradient_parameter(o->gradient, i);
    void *values = ds_model_parameter(o->model, i)->values;
    (void)worker;
    (void)ds_activity_turn(DS_ACTIVITY_OPTIMISER);
    if (ds_model_precision(o->model) == DS_F32)
        ds_adamw_f32((float *)values + at, (float *)o->mean[i] + at, (float *)o->square[i] + at, (const float *)g + at,
                     block->count, &o->terms[i]);
    else
        ds_adamw_f64((double *)values + at, (double *)o->mean[i] + at, (double *)o->square[i] + at, (const double *)g + at,
                     block->count, &o->terms[i]);
    return DS_OK;
}

static ds_status update(ds_optimiser *o, uint64_t step, double clip) {
    ds_status status = DS_OK;
    double began = ds_seconds();
    set_terms(o, step, clip);
    DS_TRY(ds_parallel_for(o->block_count, update_block, o));
    ds_model_refresh(o->model);
    o->update_seconds += ds_seconds() - began;
done:
    return status;
}

ds_status ds_optimiser_step(ds_update *done, ds_optimiser *o, const ds_gradient *gradient) {
    ds_status status = DS_OK;
    const double against_zero = 1e-6; /* of torch's clip_grad_norm_ */
    o->gradient = gradient;
    done->learning_rate = ds_recipe_learning_rate(o->recipe, done->step);
    DS_TRY(norm_of(&done->gradient_norm, o));
    if (!isfinite(done->loss) || !isfinite(done->gradient_norm))
        return ds_fail(DS_ERR_INPUT, "the loss is %g and the norm of its gradient %g, expected finite numbers", done->loss,
                       done->gradient_norm);
    done->clip_coefficient = o->recipe->clip > 0 ? fmin(1, o->recipe->clip / (done->gradient_norm + against_zero)) : 1;
    DS_TRY(update(o, done->step, done->clip_coefficient));
done:
    return status;
}

void *ds_optimiser_mean(const ds_optimiser *o, size_t index) { return o->mean[index]; }
void *ds_optimiser_square(const ds_optimiser *o, size_t index) { return o->square[index]; }
