#include <math.h>
#include <stdlib.h>

#include "rule.h"

/* Tasks are blocks of this many numbers, whatever the number of threads. */
enum { BLOCK = 1 << 16 };

typedef struct init_job {
    const ds_model *model;
    const ds_start *starts; /* of each parameter */
    const size_t *first;    /* first block of each parameter; [parameter_count]: how many blocks in all */
    uint64_t seed;
} init_job;

static void put(const ds_model *model, const ds_parameter *parameter, size_t index, double value) {
    if (model->precision == DS_F32) {
        ((float *)parameter->values)[index] = (float)value;
    } else {
        ((double *)parameter->values)[index] = value;
    }
}

static ds_status fill_block(void *context, size_t block, size_t worker) {
    const init_job *all = context;
    const ds_model *model = all->model;
    (void)worker;
    size_t low = 0, high = model->parameter_count; /* first[low] <= block < first[high] */
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        *(all->first[middle] <= block ? &low : &high) = middle;
    }
    const ds_parameter *parameter = &model->parameters[low];
    const ds_start *start = &all->starts[low];
    size_t from = (block - all->first[low]) * BLOCK, end = ds_min_size(parameter->count, from + BLOCK);
    ds_random stream = ds_random_init(all->seed);
    stream.state = ds_random_u64(&stream) + block; /* seeds that follow one another do not share blocks */
    ds_random random = ds_random_init(ds_random_u64(&stream));
    double normal[2] = {0.0, 0.0};
    for (size_t i = from; i < end; i++) {
        double value = start->scale;
        if (start->kind == DS_START_NORMAL && (i - from) % 2 == 0) ds_random_normal_pair(normal, &random);
        if (start->kind == DS_START_NORMAL) value *= normal[(i - from) % 2];
        if (start->kind == DS_START_UNIFORM) value *= 2.0 * ds_random_uniform(&random) - 1.0;
        if (start->kind == DS_START_LAST_TAP) value = i % start->kernel == start->kernel - 1 ? 1.0 : 0.0;
        put(model, parameter, i, value);
    }
    return DS_OK;
}

void ds_start_set(ds_start *starts, const ds_model *model, const ds_parameter *parameter, ds_start chosen) {
    if (parameter != NULL) starts[parameter - model->parameters] = chosen;
}

static void plan(ds_start *starts, const ds_model *model) {
    const ds_spec *spec = &model->spec;
    const double d = (double)spec->hidden, hidden_std = spec->hidden_init_std_factor / sqrt(d);
    const ds_start output = {DS_START_NORMAL, hidden_std / sqrt((double)spec->layers), 0};
    for (size_t i = 0; i < model->parameter_count; i++)
        starts[i] =
            model->parameters[i].rank >= 2 ? (ds_start){DS_START_NORMAL, hidden_std, 0} : (ds_start){DS_START_CONSTANT, 1.0, 0};
    ds_start_set(starts, model, model->embedding, (ds_start){DS_START_NORMAL, spec->embedding_init_std, 0});
    for (size_t i = 0; i < spec->layers; i++) {
        const ds_layer_weights *layer = &model->layers[i];
        ds_start_set(starts, model, layer->attention, output);
        ds_start_set(starts, model, layer->down, output);
    }
    if (spec->rule->start != NULL) spec->rule->start(starts, model);
}

ds_status ds_model_initialise(ds_model *model, uint64_t seed) {
    ds_status status = DS_OK;
    ds_start *starts = NULL;
    size_t *first = NULL;
    DS_NEW(starts, model->parameter_count);
    DS_NEW(first, model->parameter_count + 1);
    plan(starts, model);
    for (size_t i = 0; i < model->parameter_count; i++)
        first[i + 1] = first[i] + (model->parameters[i].count + BLOCK - 1) / BLOCK;
    init_job all = {model, starts, first, seed};
    DS_TRY(ds_parallel_for(first[model->parameter_count], fill_block, &all));
done:
    free(starts);
    free(first);
    return status;
}
