#include "deltascope/measure/mean_gates.h"

#include <stdlib.h>
#include <string.h>

#include "deltascope/stats.h"

typedef struct averaging {
    size_t length;
    size_t sublayers;
    ds_sum *sums; /* (S) */
    double *beta; /* (B,S,T): of the batch in hand */
    void *state;  /* (B,T,dv,d) */
} averaging;

static ds_status keep_gates(void *context, const ds_observation *seen) {
    const averaging *all = context;
    for (size_t b = 0; b < seen->sequences; b++)
        memcpy(all->beta + (b * all->sublayers + seen->sublayer) * all->length, seen->delta->beta + b * all->length,
               all->length * sizeof *all->beta);
    return DS_OK;
}

/* The gates need no readout and no loss. */
static ds_status run_batch(void *context, const ds_window_batch *now) {
    ds_status status = DS_OK;
    const averaging *all = context;
    const ds_run *run = now->run;
    const ds_observer observer = {DS_OBSERVE_GATES, keep_gates, context};
    DS_TRY(ds_embed(run->workspace, run->model, &now->batch, all->state));
    DS_TRY(
        ds_sublayers(run->workspace, run->model, &now->batch, all->state, 0, ds_spec_sublayers(&run->spec), NULL, &observer));
done:
    return status;
}

static void fill_record(void *context, double *record, size_t row, size_t rows) {
    const averaging *all = context;
    size_t gates = all->sublayers * all->length;
    (void)rows;
    memcpy(record, all->beta + row * gates, gates * sizeof *record);
}

static ds_status take_record(void *context, size_t window, const double *record) {
    const averaging *all = context;
    (void)window;
    for (size_t i = 0; i < all->sublayers * all->length; i++) ds_sum_add(&all->sums[i / all->length], record[i]);
    return DS_OK;
}

ds_status ds_mean_gates(double *means, ds_run *run) {
    ds_status status = DS_OK;
    size_t sublayers = ds_spec_sublayers(&run->spec);
    averaging all = {.length = run->length, .sublayers = sublayers};
    const ds_window_pass pass = {.label = "mean gates",
                                 .batch = run_batch,
                                 .record_length = sublayers * run->length,
                                 .fill = fill_record,
                                 .take = take_record,
                                 .context = &all};
    double tokens = (double)run->sequences * (double)run->length;
    DS_NEW(all.sums, sublayers);
    DS_NEW(all.beta, run->batch * sublayers * run->length);
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
    free(all.beta);
    free(all.state);
    return status;
}
