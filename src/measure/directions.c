#include "deltascope/measure/directions.h"

#include <stdlib.h>
#include <string.h>

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
    *directions = (ds_directions){0};
}

void ds_directions_copy(ds_directions *out, size_t to, const ds_directions *other, size_t from) {
    size_t gates = out->sublayers, features = gates * out->hidden;
    memcpy(out->k + to * features, other->k + from * features, features * sizeof *out->k);
    memcpy(out->beta + to * gates, other->beta + from * gates, gates * sizeof *out->beta);
    memcpy(out->c + to * gates, other->c + from * gates, gates * sizeof *out->c);
}

/* ---- the source ---- */

static ds_status use_initial_weights(ds_direction_source *source) {
    ds_status status = DS_OK;
    ds_run *run = source->run;
    DS_TRY(ds_model_random(&source->model, &run->spec, ds_model_precision(run->model), source->seed));
    DS_TRY(ds_workspace_new(&source->workspace, source->model, run->batch, run->length));
done:
    return status;
}

ds_status ds_direction_source_init(ds_direction_source *source, ds_run *run, size_t first, size_t last, ds_null null,
                                   uint64_t seed) {
    ds_status status = DS_OK;
    const size_t budget = (size_t)256 << 20;
    const ds_spec *spec = &run->spec;
    size_t window = run->length * (last - first) * spec->hidden * sizeof(double);
    run->batch = ds_min_size(run->batch, ds_max_size(1, budget / window));
    *source = (ds_direction_source){.run = run, .null = null, .seed = seed, .first = first, .last = last};
    source->state = ds_alloc_array(run->batch * run->length * spec->value_channels * spec->hidden,
                                   ds_precision_size(ds_model_precision(run->model)));
    if (source->state == NULL) {
        status = DS_ERR_SYSTEM;
        goto done;
    }
    if (null == DS_NULL_RANDOM_INIT) DS_TRY(use_initial_weights(source));
    if (null == DS_NULL_CONSTANT_GATES) {
        DS_NEW(source->means, last - first);
        DS_TRY(ds_null_mean_gates(source->means, source));
    }
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

ds_status ds_direction_source_run(ds_direction_source *source, size_t window, ds_batch *batch, const ds_observer *observer) {
    ds_status status = DS_OK;
    ds_run *run = source->run;
    const ds_model *model = source->model != NULL ? source->model : run->model;
    ds_workspace *workspace = source->model != NULL ? source->workspace : run->workspace;
    DS_TRY(ds_run_batch(run, window, batch));
    DS_TRY(ds_embed(workspace, model, batch, source->state));
    DS_TRY(ds_sublayers(workspace, model, batch, source->state, 0, source->last, NULL, observer));
done:
    return status;
}

/* ---- taking them from a pass ---- */

typedef struct taking {
    ds_directions *out;
    const ds_direction_source *source;
    const ds_position_list *positions; /* NULL: every token of the batch */
    size_t window;                     /* the batch begins with */
} taking;

static void take(const taking *task, const ds_observation *seen, size_t token, size_t row) {
    const ds_direction_source *source = task->source;
    ds_directions *out = task->out;
    size_t d = out->hidden, cell = row * out->sublayers + seen->sublayer - source->first;
    double *k = out->k + cell * d;
    if (seen->precision == DS_F32) {
        const float *from = (const float *)seen->delta->k + token * d;
        for (size_t j = 0; j < d; j++) k[j] = from[j];
    } else {
        memcpy(k, (const double *)seen->delta->k + token * d, d * sizeof *k);
    }
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
        if (at.sequence < task->window || at.sequence - task->window >= seen->sequences) continue;
        take(task, seen, (at.sequence - task->window) * seen->length + at.position, i);
    }
    return DS_OK;
}

static bool batch_is_wanted(const ds_position_list *positions, size_t first, size_t count) {
    for (size_t i = 0; i < positions->count; i++) {
        if (positions->at[i].sequence >= first && positions->at[i].sequence - first < count) return true;
    }
    return false;
}

ds_status ds_directions_gather(ds_directions *out, ds_direction_source *source, const ds_position_list *positions) {
    ds_run *run = source->run;
    ds_status status = ds_directions_init(out, positions->count, source->last - source->first, run->spec.hidden);
    if (status != DS_OK) return status;
    taking task = {out, source, positions, 0};
    ds_observer observer = {DS_OBSERVE_GATES | DS_OBSERVE_DIRECTIONS, observe, &task};
    ds_progress progress = ds_progress_start(run, "directions", (double)run->sequences);
    for (size_t first = 0; first < run->sequences; first += run->batch) {
        ds_batch batch;
        if (!batch_is_wanted(positions, first, run->batch)) continue;
        task.window = first;
        DS_TRY(ds_direction_source_run(source, first, &batch, &observer));
        ds_progress_update(&progress, (double)(first + batch.sequences));
    }
    ds_null_apply(out, 0, out->tokens, source, 0);
done:
    ds_progress_finish(&progress);
    if (status != DS_OK) ds_directions_release(out);
    return status;
}

ds_status ds_directions_stream(ds_direction_source *source, ds_direction_visit visit, void *context) {
    ds_status status = DS_OK;
    ds_run *run = source->run;
    ds_directions batch_directions = {0};
    taking task = {.out = &batch_directions, .source = source};
    ds_observer observer = {DS_OBSERVE_GATES | DS_OBSERVE_DIRECTIONS, observe, &task};
    ds_progress progress = ds_progress_start(run, "spectrum", (double)run->sequences);
    DS_TRY(ds_directions_init(&batch_directions, run->batch * run->length, source->last - source->first,
                              run->spec.hidden));
    for (size_t first = 0; first < run->sequences; first += run->batch) {
        ds_batch batch;
        DS_TRY(ds_direction_source_run(source, first, &batch, &observer));
        batch_directions.tokens = batch.sequences * batch.length;
        for (size_t b = 0; b < batch.sequences; b++)
            ds_null_apply(&batch_directions, b * batch.length, batch.length, source, first + b);
        DS_TRY(visit(context, &batch_directions, first * run->length));
        ds_progress_update(&progress, (double)(first + batch.sequences));
    }
done:
    ds_progress_finish(&progress);
    ds_directions_release(&batch_directions);
    return status;
}
