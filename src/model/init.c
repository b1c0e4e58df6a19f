#include <math.h>
#include <stdlib.h>

#include <string.h>

#include "backbone.h"
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

/* What output number 0, 1, 2, ... of a SplitMix64 stream begins from: the seed and FNV-1a of a name's first letters, mixed. */
static uint64_t stream_of(uint64_t seed, const char *name, size_t letters) {
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < letters; i++) hash = (hash ^ (unsigned char)name[i]) * 0x100000001b3u;
    ds_random seeds = ds_random_init(seed), names = ds_random_init(hash);
    ds_random both = ds_random_init(ds_random_u64(&seeds) ^ ds_random_u64(&names));
    return ds_random_u64(&both);
}

/* What is drawn once for all parameters of a sublayer. */
static size_t choose(const ds_start *start, const ds_parameter *parameter, uint64_t seed) {
    if (start->kind != DS_START_CHOSEN) return 0;
    const char *name = parameter->older_name;
    ds_random random = ds_random_init(stream_of(seed, name, (size_t)(strrchr(name, '.') + 1 - name)));
    return (size_t)ds_random_below(&random, start->choices);
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
    const size_t chosen = choose(start, parameter, all->seed);
    double normal[2] = {0.0, 0.0};
    for (size_t i = from; i < end; i++) {
        double value = start->scale;
        if (start->kind == DS_START_NORMAL && (i - from) % 2 == 0) ds_random_normal_pair(normal, &random);
        if (start->kind == DS_START_NORMAL) value *= normal[(i - from) % 2];
        if (start->kind == DS_START_UNIFORM) value *= 2.0 * ds_random_uniform(&random) - 1.0;
        if (start->kind == DS_START_LAST_TAP) value = i % start->kernel == start->kernel - 1 ? 1.0 : 0.0;
        if (start->kind == DS_START_CHOSEN) value = start->value(start, chosen, i);
        put(model, parameter, i, value);
    }
    return DS_OK;
}

void ds_start_set(ds_start *starts, const ds_model *model, const ds_parameter *parameter, ds_start chosen) {
    if (parameter != NULL) starts[parameter - model->parameters] = chosen;
}

/* Transformers other than the published one: weights normal with initializer_range, biases 0, norms 1; nanoGPT and GPT-2 divide
 * what ends in the residual by sqrt(2 layers). */
static void start_transformer(ds_start *starts, const ds_model *model) {
    const ds_spec *spec = &model->spec;
    const double std = spec->embedding_init_std;
    const ds_start output = {.kind = DS_START_NORMAL, .scale = std / sqrt(2 * (double)spec->layers)};
    for (size_t i = 0; i < model->parameter_count; i++) {
        const ds_parameter *p = &model->parameters[i];
        const char *last = strrchr(p->name, '.');
        starts[i] = (ds_start){.kind = DS_START_CONSTANT, .scale = strcmp(last, ".bias") == 0 ? 0 : 1};
        if (p->rank >= 2) starts[i] = (ds_start){.kind = DS_START_NORMAL, .scale = std};
    }
    for (size_t i = 0; i < spec->layers && model->positions != NULL; i++) {
        ds_start_set(starts, model, model->layers[i].attention, output);
        ds_start_set(starts, model, model->layers[i].down, output);
    }
}

static void plan(ds_start *starts, const ds_model *model) {
    const ds_spec *spec = &model->spec;
    const double d = (double)spec->hidden, hidden_std = spec->hidden_init_std_factor / sqrt(d);
    const ds_start output = {.kind = DS_START_NORMAL, .scale = hidden_std / sqrt((double)spec->layers)};
    for (size_t i = 0; i < model->parameter_count; i++)
        starts[i] = model->parameters[i].rank >= 2 ? (ds_start){.kind = DS_START_NORMAL, .scale = hidden_std}
                                                   : (ds_start){.kind = DS_START_CONSTANT, .scale = 1.0};
    ds_start_set(starts, model, model->embedding, (ds_start){.kind = DS_START_NORMAL, .scale = spec->embedding_init_std});
    for (size_t i = 0; i < spec->layers; i++) {
        const ds_layer_weights *layer = &model->layers[i];
        ds_start_set(starts, model, layer->attention, output);
        ds_start_set(starts, model, layer->down, output);
    }
}

static void cut_blocks(size_t *first, const ds_model *model) {
    for (size_t i = 0; i < model->parameter_count; i++)
        first[i + 1] = first[i] + (model->parameters[i].count + BLOCK - 1) / BLOCK;
}

ds_status ds_model_initialise(ds_model *model, uint64_t seed) {
    ds_status status = DS_OK;
    ds_start *starts = NULL;
    size_t *first = NULL;
    DS_NEW(starts, model->parameter_count);
    DS_NEW(first, model->parameter_count + 1);
    if (model->spec.backbone == &ds_backbone_ddl)
        plan(starts, model);
    else
        start_transformer(starts, model);
    if (model->spec.rule->start != NULL) model->spec.rule->start(starts, model);
    cut_blocks(first, model);
    init_job all = {model, starts, first, seed};
    DS_TRY(ds_parallel_for(first[model->parameter_count], fill_block, &all));
done:
    free(starts);
    free(first);
    return status;
}

/* ---- by either generation ---------------------------------------------------------------------------------------------- */

/* Standard deviation of a weight in the newer code: f / sqrt(in) * min(1, sqrt(out / in)). */
static double by_fan(const ds_parameter *parameter, double factor) {
    double out = (double)parameter->shape[0], in = (double)parameter->count / out;
    return factor / sqrt(in) * fmin(1.0, sqrt(out / in));
}

/* A parameter like most others of the published code. */
static ds_start drawn(const ds_parameter *p, const ds_spec *spec, ds_initialisation which) {
    const double f = spec->hidden_init_std_factor;
    if (p->rank < 2) return (ds_start){.kind = DS_START_CONSTANT, .scale = 1};
    return (ds_start){.kind = DS_START_NORMAL, .scale = which == DS_INIT_OLDER ? f / sqrt((double)spec->hidden) : by_fan(p, f)};
}

static void start_weights(ds_start *starts, const ds_model *model, ds_initialisation which) {
    const ds_spec *spec = &model->spec;
    for (size_t i = 0; i < model->parameter_count; i++) starts[i] = drawn(&model->parameters[i], spec, which);
    for (size_t i = 0; i < spec->layers; i++) {
        const ds_parameter *outputs[] = {model->layers[i].attention, model->layers[i].down};
        double divisor = which == DS_INIT_OLDER ? sqrt((double)spec->layers) : (double)spec->depth_init;
        for (size_t half = 0; half < 2; half++) starts[outputs[half] - model->parameters].scale /= divisor;
    }
    ds_start_set(starts, model, model->embedding, (ds_start){.kind = DS_START_NORMAL, .scale = spec->embedding_init_std});
}

/* On another backbone gates and values are drawn as in the published code all the same. */
static void start_delta(ds_start *starts, const ds_model *model, ds_initialisation which) {
    for (size_t i = 0; i < model->parameter_count && model->spec.rule->kind == DS_KIND_DELTA; i++) {
        const ds_parameter *p = &model->parameters[i];
        if (p->group == DS_GROUP_DELTA) starts[i] = drawn(p, &model->spec, which);
    }
}

/* The older code draws the taps of compressors like all matrices. */
static void start_compressors(ds_start *starts, const ds_model *model, ds_initialisation which) {
    const ds_spec *spec = &model->spec;
    const ds_start drawn = {.kind = DS_START_NORMAL, .scale = spec->hidden_init_std_factor / sqrt((double)spec->hidden)};
    for (size_t i = 0; i <= spec->layers; i++) {
        const ds_taps *taps = i < spec->layers ? &model->layers[i].compress : &model->readout;
        if (which == DS_INIT_OLDER) ds_start_set(starts, model, taps->weight, drawn);
        if (isfinite(spec->read_init))
            ds_start_set(starts, model, taps->read, (ds_start){.kind = DS_START_CONSTANT, .scale = spec->read_init});
    }
}

/* Elements 2p and 2p + 1 come from outputs 2p and 2p + 1. */
static double element(const ds_start *start, uint64_t stream, size_t chosen, size_t i) {
    const uint64_t golden = 0x9E3779B97F4A7C15u; /* SplitMix64's step */
    ds_random random = ds_random_init(stream + (i - i % 2) * golden);
    double normal[2];
    switch (start->kind) {
    case DS_START_CONSTANT:
        return start->scale;
    case DS_START_LAST_TAP:
        return i % start->kernel == start->kernel - 1 ? 1.0 : 0.0;
    case DS_START_UNIFORM:
        random = ds_random_init(stream + i * golden);
        return start->scale * (2.0 * ds_random_uniform(&random) - 1.0);
    case DS_START_CHOSEN:
        return start->value(start, chosen, i);
    case DS_START_NORMAL:
        break;
    }
    ds_random_normal_pair(normal, &random);
    return start->scale * normal[i % 2];
}

static ds_status start_block(void *context, size_t block, size_t worker) {
    const init_job *all = context;
    const ds_model *model = all->model;
    size_t i = 0;
    (void)worker;
    while (all->first[i + 1] <= block) i++;
    const ds_parameter *p = &model->parameters[i];
    const ds_start *start = &all->starts[i];
    uint64_t stream = stream_of(all->seed, p->older_name, strlen(p->older_name));
    size_t from = (block - all->first[i]) * BLOCK, chosen = choose(start, p, all->seed);
    for (size_t n = from; n < ds_min_size(p->count, from + BLOCK); n++) put(model, p, n, element(start, stream, chosen, n));
    return DS_OK;
}

ds_status ds_model_start(ds_model *model, ds_initialisation which, uint64_t seed) {
    ds_status status = DS_OK;
    ds_start *starts = NULL;
    size_t *first = NULL;
    DS_NEW(starts, model->parameter_count);
    DS_NEW(first, model->parameter_count + 1);
    if (model->spec.backbone == &ds_backbone_ddl)
        start_weights(starts, model, which);
    else
        start_transformer(starts, model);
    start_delta(starts, model, which);
    if (model->spec.rule->start != NULL) model->spec.rule->start(starts, model);
    start_compressors(starts, model, which);
    cut_blocks(first, model);
    init_job all = {model, starts, first, seed};
    DS_TRY(ds_parallel_for(first[model->parameter_count], start_block, &all));
done:
    free(starts);
    free(first);
    return status;
}
