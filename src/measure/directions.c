#include "deltascope/measure/directions.h"

#include <stdlib.h>
#include <string.h>

#include "deltascope/measure/mean_gates.h"
#include "null_models.h"

ds_status ds_directions_init(ds_directions *out, size_t tokens, size_t sublayers, size_t hidden) {
    ds_status status = DS_OK;
    *out = (ds_directions){.tokens = tokens, .sublayers = sublayers, .hidden = hidden};
    DS_NEW_ARRAY(out->k, tokens * sublayers * hidden);
    DS_NEW(out->beta, tokens * sublayers);
    DS_NEW(out->c, tokens * sublayers);
done:
    if (status != DS_OK) ds_directions_release(out);
    return status;
}

void ds_directions_release(ds_directions *directions) {
    free(directions->k);
    free(directions->beta);
    free(directions->c);
    directions->k = directions->beta = directions->c = NULL;
    directions->tokens = 0;
}

void ds_directions_copy(ds_directions *out, size_t to, const ds_directions *other, size_t from) {
    size_t gates = out->sublayers, features = gates * out->hidden;
    memcpy(out->k + to * features, other->k + from * features, features * sizeof *out->k);
    memcpy(out->beta + to * gates, other->beta + from * gates, gates * sizeof *out->beta);
    memcpy(out->c + to * gates, other->c + from * gates, gates * sizeof *out->c);
}

/* ---- the source ------------------------------------------------------------------------------------------------- */

static ds_status use_initial_weights(ds_direction_source *source) {
    ds_status status = DS_OK;
    ds_run *run = source->run;
    DS_TRY(ds_model_random(&source->model, &run->spec, ds_model_precision(run->model), source->seed));
    DS_TRY(ds_workspace_new(&source->workspace, source->model, source->most, run->length));
done:
    return status;
}

/* source->means <- of the sublayers first .. last-1. */
static ds_status find_means(ds_direction_source *source) {
    ds_status status = DS_OK;
    DS_NEW(source->means, ds_spec_sublayers(&source->run->spec));
    DS_TRY(ds_mean_gates(source->means, source->run));
    memmove(source->means, source->means + source->first, (source->last - source->first) * sizeof *source->means);
done:
    return status;
}

ds_status ds_direction_source_init(ds_direction_source *source, ds_run *run, size_t first, size_t last, ds_null null,
                                   uint64_t seed) {
    ds_status status = DS_OK;
    const size_t budget = (size_t)256 << 20; /* of bytes, for the directions of a batch */
    const ds_spec *spec = &run->spec;
    size_t window = run->length * (last - first) * spec->hidden * sizeof(double);
    *source = (ds_direction_source){.run = run, .null = null, .seed = seed, .first = first, .last = last};
    source->most = ds_min_size(run->batch, ds_max_size(1, budget / window));
    source->state = ds_alloc_array(source->most * run->length * spec->value_channels * spec->hidden,
                                   ds_precision_size(ds_model_precision(run->model)));
    if (source->state == NULL) {
        status = DS_ERR_SYSTEM;
        goto done;
    }
    if (null == DS_NULL_RANDOM_INIT) DS_TRY(use_initial_weights(source));
    if (null == DS_NULL_CONSTANT_GATES) DS_TRY(find_means(source));
done:
    if (status != DS_OK) ds_direction_source_release(source);
    return status;
}

void ds_direction_source_release(ds_direction_source *source) {
    ds_workspace_free(&source->workspace);
    ds_model_free(&source->model);
    free(source->means);
    free(source->state);
    *source = (ds_direction_source){0};
}

/* ---- taking them from a pass ------------------------------------------------------------------------------------ */

typedef struct taking {
    ds_directions *out;
    ds_direction_source *source;
    const ds_position_list *positions; /* NULL: every token of the batch */
    const ds_window_batch *now;
    ds_direction_visit visit; /* of every batch; NULL: none */
    void *context;
} taking;

static void take(const taking *task, const ds_observation *seen, size_t token, size_t row) {
    const ds_direction_source *source = task->source;
    ds_directions *out = task->out;
    size_t d = out->hidden, cell = row * out->sublayers + seen->sublayer - source->first;
    double *k = out->k + cell * d;
    for (size_t j = 0; j < d; j++) k[j] = ds_real_at(seen->delta->k, seen->precision, token * d + j);
    out->beta[cell] = seen->delta->beta[token];
    out->c[cell] = source->run->spec.residual_mult * seen->delta->beta[token];
}

static ds_status observe(void *context, const ds_observation *seen) {
    const taking *task = context;
    const ds_position_list *list = task->positions;
    size_t tokens = seen->sequences * seen->length;
    if (seen->sublayer < task->source->first) return DS_OK;
    for (size_t t = 0; list == NULL && t < tokens; t++) take(task, seen, t, t);
    for (size_t i = 0; list != NULL && i < list->count; i++) {
        ds_position at = list->at[i];
        for (size_t b = 0; b < seen->sequences; b++) {
            if (task->now->windows[b] == at.sequence) take(task, seen, b * seen->length + at.position, i);
        }
    }
    return DS_OK;
}

static ds_status take_batch(void *context, const ds_window_batch *now) {
    ds_status status = DS_OK;
    taking *task = context;
    ds_direction_source *source = task->source;
    const ds_run *run = source->run;
    const ds_model *model = source->model != NULL ? source->model : run->model;
    ds_workspace *workspace = source->model != NULL ? source->workspace : run->workspace;
    const ds_observer observer = {DS_OBSERVE_GATES | DS_OBSERVE_DIRECTIONS, observe, task};
    const ds_batch *batch = &now->batch;
    task->now = now;
    DS_TRY(ds_embed(workspace, model, batch, source->state));
    DS_TRY(ds_sublayers(workspace, model, batch, source->state, 0, source->last, NULL, &observer));
    if (task->visit == NULL) goto done;
    task->out->tokens = batch->sequences * batch->length;
    for (size_t b = 0; b < batch->sequences; b++)
        ds_null_apply(task->out, b * batch->length, batch->length, source, now->windows[b]);
    DS_TRY(task->visit(task->context, task->out, now->windows[0] * batch->length));
done:
    return status;
}

/* windows (as many as the run has) <- those that hold a position, ascending; returns how many. */
static size_t wanted_windows(size_t *windows, const ds_run *run, const ds_position_list *positions) {
    size_t count = 0;
    for (size_t w = 0; w < run->sequences; w++) {
        size_t i = 0;
        while (i < positions->count && positions->at[i].sequence != w) i++;
        if (i < positions->count) windows[count++] = w;
    }
    return count;
}

ds_status ds_directions_gather(ds_directions *out, ds_direction_source *source, const ds_position_list *positions) {
    ds_status status = DS_OK;
    ds_run *run = source->run;
    taking task = {.out = out, .source = source, .positions = positions};
    ds_window_pass pass = {.label = "directions", .most = source->most, .batch = take_batch, .context = &task};
    size_t *windows = NULL;
    *out = (ds_directions){.tokens = 0};
    DS_NEW(windows, run->sequences);
    DS_TRY(ds_directions_init(out, positions->count, source->last - source->first, run->spec.hidden));
    pass.selected = windows;
    pass.selected_count = wanted_windows(windows, run, positions);
    DS_TRY(ds_run_windows(run, &pass));
    ds_null_apply(out, 0, out->tokens, source, 0);
done:
    free(windows);
    if (status != DS_OK) ds_directions_release(out);
    return status;
}

ds_status ds_directions_stream(ds_direction_source *source, ds_direction_visit visit, void *context) {
    ds_status status = DS_OK;
    ds_run *run = source->run;
    ds_directions of_batch = {0};
    taking task = {.out = &of_batch, .source = source, .visit = visit, .context = context};
    const ds_window_pass pass = {.label = "spectrum", .most = source->most, .batch = take_batch, .context = &task};
    DS_TRY(ds_directions_init(&of_batch, source->most * run->length, source->last - source->first, run->spec.hidden));
    DS_TRY(ds_run_windows(run, &pass));
done:
    ds_directions_release(&of_batch);
    return status;
}
