#include <math.h>
#include <stdlib.h>

#include "init.h"

/* How one parameter starts. */
typedef struct start_rule {
    enum { CONSTANT, NORMAL, UNIFORM, LAST_TAP } kind;
    double scale;  /* the constant, the standard deviation, or the half width */
    size_t kernel; /* LAST_TAP: of every `kernel` numbers the last is 1, the others 0 */
} start_rule;

/* Tasks are blocks of this many numbers, whatever the number of threads. */
enum { BLOCK = 1 << 16 };

typedef struct init_job {
    const ds_model *model;
    const start_rule *rules; /* of each parameter */
    const size_t *first;     /* first block of each parameter; [parameter_count]: how many blocks in all */
    uint64_t seed;
} init_job;

static void put(const ds_model *model, const ds_parameter *parameter, size_t index, double value) {
    if (model->precision == DS_F32) {
        ((float *)parameter->values)[index] = (float)value;
    } else {
        ((double *)parameter->values)[index] = value;
    }
}

/* Both numbers of Box and Muller: one logarithm and one angle for two, which halves the time a large model takes. */
static void draw_normal_pair(double normal[2], ds_random *random) {
    const double two_pi = 6.283185307179586476925286766559;
    double radius = sqrt(-2.0 * log(1.0 - ds_random_uniform(random)));
    double angle = two_pi * ds_random_uniform(random);
    normal[0] = radius * cos(angle);
    normal[1] = radius * sin(angle);
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
    const start_rule *rule = &all->rules[low];
    size_t from = (block - all->first[low]) * BLOCK, end = ds_min_size(parameter->count, from + BLOCK);
    ds_random stream = ds_random_init(all->seed);
    stream.state = ds_random_u64(&stream) + block; /* seeds that follow one another do not share blocks */
    ds_random random = ds_random_init(ds_random_u64(&stream));
    double normal[2] = {0.0, 0.0};
    for (size_t i = from; i < end; i++) {
        double value = rule->scale;
        if (rule->kind == NORMAL && (i - from) % 2 == 0) draw_normal_pair(normal, &random);
        if (rule->kind == NORMAL) value *= normal[(i - from) % 2];
        if (rule->kind == UNIFORM) value *= 2.0 * ds_random_uniform(&random) - 1.0;
        if (rule->kind == LAST_TAP) value = i % rule->kernel == rule->kernel - 1 ? 1.0 : 0.0;
        put(model, parameter, i, value);
    }
    return DS_OK;
}

static void set(start_rule *rules, const ds_model *model, const ds_parameter *parameter, start_rule chosen) {
    if (parameter != NULL) rules[parameter - model->parameters] = chosen;
}

static void plan(start_rule *rules, const ds_model *model) {
    const ds_spec *spec = &model->spec;
    const double d = (double)spec->hidden, hidden_std = spec->hidden_init_std_factor / sqrt(d);
    const start_rule average = {CONSTANT, 1.0 / (double)ds_max_size(spec->state_kernel, 1), 0};
    const start_rule read = {CONSTANT, 1.0 / (double)spec->value_channels, 0};
    const start_rule output = {NORMAL, hidden_std / sqrt((double)spec->layers), 0};
    const double open = fmin(fmax(spec->gate_init / 2.0, 1e-6), 1.0 - 1e-6); /* the published clip */
    const start_rule gate = {CONSTANT, log(open) - log1p(-open), 0};
    const start_rule bias = {UNIFORM, 1.0 / sqrt(d), 0};
    for (size_t i = 0; i < model->parameter_count; i++)
        rules[i] = model->parameters[i].rank >= 2 ? (start_rule){NORMAL, hidden_std, 0} : (start_rule){CONSTANT, 1.0, 0};
    set(rules, model, model->embedding, (start_rule){NORMAL, spec->embedding_init_std, 0});
    set(rules, model, model->input.weight, (start_rule){LAST_TAP, 1.0, spec->input_kernel});
    set(rules, model, model->readout.weight, average);
    set(rules, model, model->readout.read, read);
    for (size_t i = 0; i < spec->layers; i++) {
        const ds_layer_weights *layer = &model->layers[i];
        set(rules, model, layer->compress.weight, average);
        set(rules, model, layer->compress.read, read);
        set(rules, model, layer->attention, output);
        set(rules, model, layer->down, output);
        for (size_t j = 0; j < 2; j++) {
            set(rules, model, layer->delta[j].beta_bias, gate);
            set(rules, model, layer->delta[j].out_bias, gate);
            set(rules, model, layer->delta[j].value_bias, bias);
        }
    }
}

ds_status ds_model_initialise(ds_model *model, uint64_t seed) {
    ds_status status = DS_OK;
    start_rule *rules = NULL;
    size_t *first = NULL;
    DS_NEW(rules, model->parameter_count);
    DS_NEW(first, model->parameter_count + 1);
    plan(rules, model);
    for (size_t i = 0; i < model->parameter_count; i++)
        first[i + 1] = first[i] + (model->parameters[i].count + BLOCK - 1) / BLOCK;
    init_job all = {model, rules, first, seed};
    DS_TRY(ds_parallel_for(first[model->parameter_count], fill_block, &all));
done:
    free(rules);
    free(first);
    return status;
}
