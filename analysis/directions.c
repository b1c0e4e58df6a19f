#include "directions.h"

#include <stdlib.h>

typedef struct gathering {
    ds_directions *out;
    const ds_position_list *positions;
    size_t first; /* window the batch begins with */
    double residual_mult;
} gathering;

static ds_status observe(void *context, const ds_observation *seen) {
    const gathering *task = context;
    ds_directions *out = task->out;
    for (size_t i = 0; i < task->positions->count; i++) {
        ds_position at = task->positions->at[i];
        if (at.sequence < task->first || at.sequence >= task->first + seen->sequences) continue;
        size_t token = (at.sequence - task->first) * seen->length + at.position, cell = i * out->sublayers + seen->sublayer;
        double *k = out->k + cell * out->hidden;
        for (size_t j = 0; j < out->hidden; j++)
            k[j] = seen->precision == DS_F32 ? (double)((const float *)seen->k)[token * out->hidden + j]
                                             : ((const double *)seen->k)[token * out->hidden + j];
        out->beta[cell] = seen->beta[token];
        out->c[cell] = task->residual_mult * seen->beta[token];
    }
    return DS_OK;
}

static bool batch_is_wanted(const ds_position_list *positions, size_t first, size_t count) {
    for (size_t i = 0; i < positions->count; i++) {
        if (positions->at[i].sequence >= first && positions->at[i].sequence - first < count) return true;
    }
    return false;
}

ds_status ds_directions_gather(ds_directions *out, ds_session *session, const ds_position_list *positions) {
    ds_status status = DS_OK;
    void *state = NULL;
    gathering task = {.out = out, .positions = positions, .residual_mult = session->spec.residual_mult};
    ds_observer observer = {DS_OBSERVE_GATES | DS_OBSERVE_DIRECTIONS, observe, &task};
    ds_progress progress = ds_progress_start("directions", (double)session->sequences, session->invocation->common.quiet);
    *out = (ds_directions){
        .tokens = positions->count, .sublayers = ds_spec_sublayers(&session->spec), .hidden = session->spec.hidden};
    DS_NEW_ARRAY(out->k, out->tokens * out->sublayers * out->hidden);
    DS_NEW(out->beta, out->tokens * out->sublayers);
    DS_NEW(out->c, out->tokens * out->sublayers);
    state = ds_alloc_array(session->group * session->length * session->spec.value_channels * out->hidden,
                           ds_precision_size(ds_model_precision(session->model)));
    if (state == NULL) {
        status = DS_ERR_SYSTEM;
        goto done;
    }
    for (size_t first = 0; first < session->sequences; first += session->group) {
        ds_batch batch;
        if (!batch_is_wanted(positions, first, session->group)) continue;
        task.first = first;
        DS_TRY(ds_session_batch(session, first, &batch));
        DS_TRY(ds_embed(session->workspace, session->model, &batch, state));
        DS_TRY(ds_sublayers(session->workspace, session->model, &batch, state, 0, out->sublayers, NULL, &observer));
        ds_progress_update(&progress, (double)(first + batch.sequences));
    }
done:
    ds_progress_finish(&progress);
    free(state);
    if (status != DS_OK) ds_directions_release(out);
    return status;
}

void ds_directions_release(ds_directions *directions) {
    free(directions->k);
    free(directions->beta);
    free(directions->c);
    *directions = (ds_directions){0};
}
