#include "shared_runs.h"

#include <stdlib.h>

typedef struct sharing {
    const ds_shared_runs *runs;
    const ds_study_options *options;
    double *outcomes; /* (count, DS_RUN_OUTCOME) */
} sharing;

static bool is_asked_to_stop(const ds_study_options *options) {
    return options->stop != NULL && options->stop(options->context);
}

static double *outcome_of(const sharing *all, size_t number) { return all->outcomes + number * DS_RUN_OUTCOME; }

static ds_status run_some(void *context, size_t first, size_t count) {
    ds_status status = DS_OK;
    const sharing *all = context;
    for (size_t i = first; i < first + count; i++) {
        double *outcome = outcome_of(all, i);
        outcome[DS_RUN_STOPPED] = is_asked_to_stop(all->options);
        if (outcome[DS_RUN_STOPPED] == 0) DS_TRY(all->runs->run(all->runs->context, i, outcome));
    }
done:
    return status;
}

static ds_status tell_some(void *context, size_t first, size_t count) {
    const sharing *all = context;
    for (size_t i = first; i < first + count && all->runs->ended != NULL; i++) {
        if (outcome_of(all, i)[DS_RUN_STOPPED] == 0) all->runs->ended(all->runs->context, i, outcome_of(all, i));
    }
    return DS_OK;
}

ds_status ds_shared_runs_do(bool *stopped, const ds_shared_runs *runs, const ds_study_options *options) {
    ds_status status = DS_OK;
    sharing all = {.runs = runs, .options = options};
    bool *finished = NULL;
    *stopped = false;
    DS_NEW(all.outcomes, runs->count * DS_RUN_OUTCOME);
    DS_NEW(finished, runs->count);
    const ds_ranks_work work = {.count = runs->count,
                                .most = 1,
                                .length = DS_RUN_OUTCOME,
                                .results = all.outcomes,
                                .finished = finished,
                                .compute = run_some,
                                .keep = tell_some,
                                .context = &all};
    if (ds_ranks_count(options->ranks) > 1) DS_TRY(ds_ranks_do(options->ranks, &work));
    for (size_t i = 0; ds_ranks_count(options->ranks) == 1 && i < runs->count; i++) {
        DS_TRY(run_some(&all, i, 1));
        DS_TRY(tell_some(&all, i, 1));
    }
    for (size_t i = 0; i < runs->count; i++) *stopped = *stopped || outcome_of(&all, i)[DS_RUN_STOPPED] != 0;
done:
    free(all.outcomes);
    free(finished);
    return status;
}
