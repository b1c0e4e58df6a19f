#include "deltascope/measure/mean_gates.h"

#include <stdlib.h>

#include "deltascope/stats.h"

typedef struct averaging {
    ds_sum *sums; /* (S) */
    void *state;  /* (B,T,dv,d) */
} averaging;

static ds_status add_gates(void *context, const ds_observation *seen) {
    const averaging *all = context;
    for (size_t t = 0; t < seen->sequences * seen->length; t++) ds_sum_add(&all->sums[seen->sublayer], seen->delta->beta[t]);
    return DS_OK;
}

/* The gates need no readout and no loss. */
static ds_status run_batch(void *context, const ds_window_batch *now) {
    ds_status status = DS_OK;
    const averaging *all = context;
    const ds_run *run = now->run;
    const ds_observer observer = {DS_OBSERVE_GATES, add_gates, context};
    DS_TRY(ds_embed(run->workspace, run->model, &now->batch, all->state));
    DS_TRY(ds_sublayers(run->workspace, run->model, &now->batch, all->state, 0, ds_spec_sublayers(&run->spec), NULL,
                        &observer));
done:
    return status;
}

ds_status ds_mean_gates(double *means, ds_run *run) {
    ds_status status = DS_OK;
    averaging all = {.sums = NULL};
    const ds_window_pass pass = {.label = "mean gates", .batch = run_batch, .context = &all};
    size_t sublayers = ds_spec_sublayers(&run->spec);
    double tokens = (double)run->sequences * (double)run->length;
    DS_NEW(all.sums, sublayers);
    all.state = ds_alloc_array(run->batch * run->length * ds_spec_planes(&run->spec) * run->spec.hidden,
                               ds_precision_size(run->options.precision));
    if (all.state == NULL) {
        status = DS_ERR_SYSTEM;
        goto done;
    }
    DS_TRY(ds_run_windows(run, &pass));
    for (size_t s = 0; s < sublayers; s++) means[s] = ds_sum_value(&all.sums[s]) / tokens;
done:
    free(all.sums);
    free(all.state);
    return status;
}
