#include "null_models.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "deltascope/num.h"
#include "deltascope/stats.h"

ds_null ds_null_of(const char *word) {
    static const struct {
        const char *word;
        ds_null null;
    } kinds[] = {{"shuffled-gates", DS_NULL_SHUFFLED_GATES},
                 {"random-directions", DS_NULL_RANDOM_DIRECTIONS},
                 {"constant-gates", DS_NULL_CONSTANT_GATES},
                 {"random-init", DS_NULL_RANDOM_INIT}};
    for (size_t i = 0; word != NULL && i < sizeof kinds / sizeof kinds[0]; i++) {
        if (strcmp(kinds[i].word, word) == 0) return kinds[i].null;
    }
    return DS_NULL_NONE;
}

static void set_gate(ds_directions *out, size_t cell, double beta, double mult) {
    out->beta[cell] = beta;
    out->c[cell] = mult * beta;
}

/* Fisher and Yates, each sublayer by itself. */
static void shuffle_gates(ds_directions *out, size_t first, size_t count, double mult, ds_random *random) {
    for (size_t s = 0; s < out->sublayers; s++) {
        for (size_t i = count; i-- > 1;) {
            size_t here = (first + i) * out->sublayers + s;
            size_t there = (first + ds_random_below(random, i + 1)) * out->sublayers + s;
            double beta = out->beta[here];
            set_gate(out, here, out->beta[there], mult);
            set_gate(out, there, beta, mult);
        }
    }
}

static void draw_direction(double *k, size_t d, ds_random *random) {
    double length2 = ds_dot_f64(k, k, d);
    for (size_t i = 0; i < d; i++) k[i] = ds_random_normal(random);
    double scale = sqrt(length2 / ds_dot_f64(k, k, d));
    for (size_t i = 0; i < d; i++) k[i] *= scale;
}

void ds_null_apply(ds_directions *out, size_t first, size_t count, const ds_direction_source *source, size_t set) {
    double mult = source->run->spec.residual_mult;
    ds_random seeds = ds_random_init(source->seed);
    seeds.state = ds_random_u64(&seeds) + set; /* seeds that follow one another do not share sets */
    ds_random random = ds_random_init(ds_random_u64(&seeds));
    size_t from = first * out->sublayers, end = (first + count) * out->sublayers;
    if (source->null == DS_NULL_SHUFFLED_GATES) shuffle_gates(out, first, count, mult, &random);
    for (size_t cell = from; source->null == DS_NULL_RANDOM_DIRECTIONS && cell < end; cell++)
        draw_direction(out->k + cell * out->hidden, out->hidden, &random);
    for (size_t cell = from; source->null == DS_NULL_CONSTANT_GATES && cell < end; cell++)
        set_gate(out, cell, source->means[cell % out->sublayers], mult);
}

typedef struct averaging {
    size_t first;
    ds_sum *sums; /* (last - first) */
} averaging;

static ds_status add_gates(void *context, const ds_observation *seen) {
    averaging *task = context;
    if (seen->sublayer < task->first) return DS_OK;
    for (size_t t = 0; t < seen->sequences * seen->length; t++)
        ds_sum_add(&task->sums[seen->sublayer - task->first], seen->delta->beta[t]);
    return DS_OK;
}

ds_status ds_null_mean_gates(double *means, ds_direction_source *source) {
    ds_status status = DS_OK;
    ds_run *run = source->run;
    averaging task = {source->first, NULL};
    ds_observer observer = {DS_OBSERVE_GATES, add_gates, &task};
    ds_progress progress = ds_progress_start(run, "mean gates", (double)run->sequences);
    DS_NEW(task.sums, source->last - source->first);
    for (size_t window = 0; window < run->sequences; window += run->batch) {
        ds_batch batch;
        DS_TRY(ds_direction_source_run(source, window, &batch, &observer));
        ds_progress_update(&progress, (double)(window + batch.sequences));
    }
    double tokens = (double)run->sequences * (double)run->length;
    for (size_t s = 0; s < source->last - source->first; s++) means[s] = ds_sum_value(&task.sums[s]) / tokens;
done:
    ds_progress_finish(&progress);
    free(task.sums);
    return status;
}
