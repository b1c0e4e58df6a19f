#include "deltascope/measure/mean_gates.h"

#include <stdlib.h>
#include <string.h>

#include "deltascope/stats.h"

typedef struct averaging {
    size_t sublayers, width; /* numbers of a token */
    size_t numbers;          /* of a window, in a sublayer */
    ds_sum *sums;            /* (S,width) */
    double *kept;            /* (B,S,T,width): of the batch in hand */
    void *state;             /* (B,T,planes,d) */
} averaging;

size_t ds_mean_length(const ds_spec *spec) {
    if (ds_rule_kind_of(spec->rule) != DS_KIND_STREAMS) return 1;
    return spec->streams.count * (spec->streams.count + 2);
}

static ds_status keep_numbers(void *context, const ds_observation *seen) {
    const averaging *all = context;
    const double *found = seen->streams != NULL ? seen->streams->mixing : seen->delta->beta;
    for (size_t b = 0; b < seen->sequences; b++)
        memcpy(all->kept + (b * all->sublayers + seen->sublayer) * all->numbers, found + b * all->numbers,
               all->numbers * sizeof *all->kept);
    return DS_OK;
}

/* They need no readout and no loss. */
static ds_status run_batch(void *context, const ds_window_batch *now) {
    ds_status status = DS_OK;
    const averaging *all = context;
    const ds_run *run = now->run;
    const ds_observer observer = {DS_OBSERVE_GATES, keep_numbers, context};
    DS_TRY(ds_embed(run->workspace, run->model, &now->batch, all->state));
    DS_TRY(
        ds_sublayers(run->workspace, run->model, &now->batch, all->state, 0, ds_spec_sublayers(&run->spec), NULL, &observer));
done:
    return status;
}

static void fill_record(void *context, double *record, size_t row, size_t rows) {
    const averaging *all = context;
    size_t count = all->sublayers * all->numbers;
    (void)rows;
    memcpy(record, all->kept + row * count, count * sizeof *record);
}

static ds_status take_record(void *context, size_t window, const double *record) {
    const averaging *all = context;
    (void)window;
    for (size_t i = 0; i < all->sublayers * all->numbers; i++)
        ds_sum_add(&all->sums[i / all->numbers * all->width + i % all->width], record[i]);
    return DS_OK;
}

ds_status ds_mean_gates(double *means, ds_run *run) {
    ds_status status = DS_OK;
    size_t sublayers = ds_spec_sublayers(&run->spec), width = ds_mean_length(&run->spec), numbers = run->length * width;
    averaging all = {.sublayers = sublayers, .width = width, .numbers = numbers};
    const ds_window_pass pass = {.label = "mean gates",
                                 .batch = run_batch,
                                 .record_length = sublayers * numbers,
                                 .fill = fill_record,
                                 .take = take_record,
                                 .context = &all};
    double tokens = (double)run->sequences * (double)run->length;
    DS_NEW(all.sums, sublayers * width);
    DS_NEW(all.kept, run->batch * sublayers * numbers);
    all.state = ds_alloc_array(run->batch * run->length * ds_spec_planes(&run->spec) * run->spec.hidden,
                               ds_precision_size(run->options.precision));
    if (all.state == NULL) {
        status = DS_ERR_SYSTEM;
        goto done;
    }
    DS_TRY(ds_run_windows(run, &pass));
    for (size_t i = 0; i < sublayers * width; i++) means[i] = ds_sum_value(&all.sums[i]) / tokens;
done:
    free(all.sums);
    free(all.kept);
    free(all.state);
    return status;
}
