#include "deltascope/measure/gradient_flow.h"

#include <math.h>
#include <stdlib.h>

#include "deltascope/stats.h"

/* At most as many as a batch has with one thread, so that every number of threads can have them. */
enum { TOKENS_AT_ONCE = 1024 };

/* What is summed while the windows pass. */
typedef struct flow_sums {
    size_t sublayers, length;
    ds_sum loss;
    ds_sum *state_norm2, *frozen_norm2; /* (S+1) */
    ds_sum *source_norm2, *read_norm2;  /* (S+1), where what was written has gradients of its own: of a history, of streams */
    ds_sum *position_norm2;             /* (S+1, T) */
    ds_path_squares *paths;             /* (S) */
    ds_sum *gate_slope;                 /* (S) */
    double *frozen;                     /* (B,T,dv,d): A_s ... A_{S-1} dloss/dX_S of the batch in hand */
    double *nll;                        /* (B,T) */
    double *sequence_loss;              /* of each window of the run */
    double residual_mult, weight;       /* m of the shortcut; of a target in the loss */
    double output_mult;                 /* m of what is written */
    ds_gradient *gradient;
    const ds_force *forces;
} flow_sums;

/* frozen <- A_s frozen for every token, A_s = I - m beta k k^T on each plane (A is symmetric: A^T = A). */
static void apply_frozen(flow_sums *sums, const ds_gradient_event *event) {
    size_t d = event->hidden, dv = event->planes;
    ds_precision precision = event->precision;
    if (event->delta == NULL || event->delta->k == NULL) return;
    for (size_t t = 0; t < event->sequences * event->length; t++) {
        double c = sums->residual_mult * event->delta->beta[t];
        for (size_t j = 0; j < dv; j++) {
            double *plane = sums->frozen + (t * dv + j) * d, along = 0;
            for (size_t i = 0; i < d; i++) along += ds_real_at(event->delta->k, precision, t * d + i) * plane[i];
            for (size_t i = 0; i < d; i++) plane[i] -= c * along * ds_real_at(event->delta->k, precision, t * d + i);
        }
    }
}

static void add_norms(flow_sums *sums, const ds_gradient_event *event) {
    size_t tokens = event->sequences * event->length, width = event->hidden * event->planes;
    for (size_t t = 0; t < tokens; t++) {
        double norm2 = 0;
        const double *frozen = sums->frozen + t * width;
        for (size_t i = 0; i < width; i++) norm2 += frozen[i] * frozen[i];
        ds_sum_add(&sums->frozen_norm2[event->index], norm2);
        ds_sum_add(&sums->state_norm2[event->index], event->norm2[t]);
        ds_sum_add(&sums->position_norm2[event->index * sums->length + t % event->length], event->norm2[t]);
    }
}

static ds_status observe(void *context, const ds_gradient_event *event) {
    flow_sums *sums = context;
    size_t tokens = event->sequences * event->length;
    if (event->index == sums->sublayers) {
        size_t count = tokens * event->hidden * event->planes;
        for (size_t i = 0; i < count; i++) sums->frozen[i] = ds_real_at(event->gradient, event->precision, i);
    } else {
        apply_frozen(sums, event);
        ds_path_squares_add(&sums->paths[event->index], event->paths, tokens);
        for (size_t t = 0; event->delta != NULL && t < tokens; t++)
            ds_sum_add(&sums->gate_slope[event->index], event->delta->gate_slope[t]);
    }
    add_norms(sums, event);
    return DS_OK;
}

static double squares_of(const void *array, ds_precision precision, size_t first, size_t count) {
    double sum = 0;
    for (size_t i = first; i < first + count; i++) {
        double x = ds_real_at(array, precision, i);
        sum += x * x;
    }
    return sum;
}

/* What sublayer s wrote is whole in plane s+1, and no later read is left, once the gradient has come back to X_{s+1}. */
static ds_status observe_history(void *context, const ds_gradient_event *event) {
    flow_sums *sums = context;
    size_t tokens = event->sequences * event->length, d = event->hidden, s = event->index;
    for (size_t t = 0; t < tokens; t++) {
        double source = squares_of(event->gradient, event->precision, (t * event->planes + s) * d, d), state = source;
        if (event->sum_gradient != NULL) state = squares_of(event->sum_gradient, event->precision, t * d, d);
        if (event->read_gradient != NULL)
            ds_sum_add(&sums->read_norm2[s], squares_of(event->read_gradient, event->precision, t * d, d));
        ds_sum_add(&sums->source_norm2[s], source);
        ds_sum_add(&sums->state_norm2[s], state);
        ds_sum_add(&sums->position_norm2[s * sums->length + t % event->length], state);
    }
    return DS_OK;
}

/* Streams: what sublayer s wrote is m h, and the streams are the state. */
static ds_status observe_streams(void *context, const ds_gradient_event *event) {
    flow_sums *sums = context;
    size_t tokens = event->sequences * event->length, d = event->hidden, s = event->index;
    double m2 = sums->output_mult * sums->output_mult;
    for (size_t t = 0; t < tokens; t++) {
        ds_sum_add(&sums->state_norm2[s], event->norm2[t]);
        ds_sum_add(&sums->position_norm2[s * sums->length + t % event->length], event->norm2[t]);
        if (event->read_gradient != NULL)
            ds_sum_add(&sums->read_norm2[s], squares_of(event->read_gradient, event->precision, t * d, d));
        if (event->output_gradient != NULL)
            ds_sum_add(&sums->source_norm2[s + 1], squares_of(event->output_gradient, event->precision, t * d, d) / m2);
    }
    return DS_OK;
}

/* v_0, the embedding in every stream, is known once the pass is at its end. */
static void add_embeddings(flow_sums *sums, const ds_batch *batch, const ds_spec *spec, ds_precision precision) {
    const void *found = ds_gradient_embeddings(sums->gradient);
    for (size_t t = 0; t < batch->sequences * batch->length; t++)
        ds_sum_add(&sums->source_norm2[0], squares_of(found, precision, t * spec->hidden, spec->hidden));
}

static ds_status flow_batch(void *context, const ds_window_batch *now) {
    ds_status status = DS_OK;
    flow_sums *sums = context;
    const ds_spec *spec = &now->run->spec;
    const ds_rule_kind kind = ds_rule_kind_of(spec->rule);
    const ds_gradient_observer observer = {kind == DS_KIND_DEPTH     ? observe_history
                                           : kind == DS_KIND_STREAMS ? observe_streams
                                                                     : observe,
                                           sums};
    DS_TRY(ds_backward(sums->gradient, &now->batch, sums->forces, sums->weight, &observer, sums->nll));
    if (kind == DS_KIND_STREAMS) add_embeddings(sums, &now->batch, spec, now->run->options.precision);
    size_t length = now->batch.length;
    for (size_t i = 0; i < now->batch.sequences * length; i++) ds_sum_add(&sums->loss, sums->nll[i]);
    for (size_t b = 0; b < now->batch.sequences; b++)
        sums->sequence_loss[now->windows[b]] = ds_mean(sums->nll + b * length, length);
done:
    return status;
}

/* Of a state that every sublayer rewrites. */
static ds_status update_init(flow_sums *sums, const ds_run *run, size_t batch) {
    ds_status status = DS_OK;
    DS_NEW(sums->frozen_norm2, sums->sublayers + 1);
    DS_NEW(sums->paths, sums->sublayers);
    DS_NEW(sums->gate_slope, sums->sublayers);
    DS_NEW_ARRAY(sums->frozen, batch * run->length * ds_spec_planes(&run->spec) * run->spec.hidden);
done:
    return status;
}

static ds_status sources_init(flow_sums *sums) {
    ds_status status = DS_OK;
    DS_NEW(sums->source_norm2, sums->sublayers + 1);
    DS_NEW(sums->read_norm2, sums->sublayers + 1);
done:
    return status;
}

static ds_status sums_init(flow_sums *sums, const ds_run *run, size_t batch, size_t memory) {
    ds_status status = DS_OK;
    const ds_spec *spec = &run->spec;
    const ds_rule_kind kind = ds_rule_kind_of(spec->rule);
    const bool sources = kind == DS_KIND_DEPTH || kind == DS_KIND_STREAMS;
    const ds_gradient_options options = {.memory = memory, .parameters = true, .paths = !sources};
    size_t sublayers = ds_spec_sublayers(spec);
    sums->sublayers = sublayers;
    sums->length = run->length;
    sums->residual_mult = ds_spec_shortcut_mult(spec);
    sums->output_mult = spec->residual_mult;
    sums->weight = 1 / ((double)run->sequences * (double)run->length);
    DS_NEW(sums->state_norm2, sublayers + 1);
    DS_NEW(sums->position_norm2, (sublayers + 1) * run->length);
    DS_NEW(sums->nll, batch * run->length);
    DS_NEW(sums->sequence_loss, run->sequences);
    DS_TRY(sources ? sources_init(sums) : update_init(sums, run, batch));
    DS_TRY(ds_gradient_new(&sums->gradient, run->model, batch, run->length, &options));
done:
    return status;
}

static void sums_release(flow_sums *sums) {
    free(sums->state_norm2);
    free(sums->frozen_norm2);
    free(sums->source_norm2);
    free(sums->read_norm2);
    free(sums->position_norm2);
    free(sums->paths);
    free(sums->gate_slope);
    free(sums->nll);
    free(sums->sequence_loss);
    free(sums->frozen);
    ds_gradient_free(&sums->gradient);
}

/* norms (count) <- square roots of sums; NULL where there are none. */
static ds_status take_roots(double **norms, ds_sum *sums, size_t count) {
    ds_status status = DS_OK;
    if (sums == NULL) return DS_OK;
    DS_NEW(*norms, count);
    for (size_t i = 0; i < count; i++) (*norms)[i] = sqrt(ds_sum_value(&sums[i]));
done:
    return status;
}

static ds_status take_parameter_norms(ds_gradient_flow *flow, const ds_model *model, const ds_gradient *gradient) {
    ds_status status = DS_OK;
    flow->parameters = ds_model_parameters(model);
    DS_NEW(flow->parameter_norm, flow->parameters);
    for (size_t p = 0; p < flow->parameters; p++) {
        const void *values = ds_gradient_parameter(gradient, p);
        ds_sum squares = {0};
        for (size_t i = 0; i < ds_model_parameter(model, p)->count; i++) {
            double x = ds_real_at(values, ds_model_precision(model), i);
            ds_sum_add(&squares, x * x);
        }
        flow->parameter_norm[p] = sqrt(ds_sum_value(&squares));
    }
done:
    return status;
}

static ds_status take_paths(ds_gradient_flow *flow, const flow_sums *sums) {
    ds_status status = DS_OK;
    DS_NEW(flow->paths, sums->sublayers);
    DS_NEW(flow->gate_slope, sums->sublayers);
    for (size_t s = 0; s < sums->sublayers; s++) {
        flow->paths[s] = ds_path_squares_norms(&sums->paths[s]);
        flow->gate_slope[s] = ds_sum_value(&sums->gate_slope[s]);
    }
done:
    return status;
}

static ds_status take_sums(ds_gradient_flow *flow, flow_sums *sums, const ds_run *run) {
    ds_status status = DS_OK;
    size_t sublayers = sums->sublayers;
    *flow = (ds_gradient_flow){.sublayers = sublayers, .length = run->length, .sequences = run->sequences};
    flow->sequence_loss = sums->sequence_loss;
    sums->sequence_loss = NULL;
    flow->loss = ds_sum_value(&sums->loss) / ((double)run->sequences * (double)run->length);
    DS_TRY(take_roots(&flow->state_norm, sums->state_norm2, sublayers + 1));
    DS_TRY(take_roots(&flow->frozen_norm, sums->frozen_norm2, sublayers + 1));
    DS_TRY(take_roots(&flow->source_norm, sums->source_norm2, sublayers + 1));
    DS_TRY(take_roots(&flow->read_norm, sums->read_norm2, sublayers + 1));
    DS_TRY(take_roots(&flow->position_norm, sums->position_norm2, (sublayers + 1) * run->length));
    if (sums->paths != NULL) DS_TRY(take_paths(flow, sums));
    DS_TRY(take_parameter_norms(flow, run->model, sums->gradient));
done:
    return status;
}

ds_status ds_gradient_flow_measure(ds_gradient_flow *out, ds_run *run, const ds_force *forces, size_t memory) {
    ds_status status = DS_OK;
    flow_sums sums = {.forces = forces};
    /* A batch's parameter gradients are rounded when they are added to those before: the cut must not depend on threads. */
    size_t most = ds_min_size(run->batch, ds_max_size(1, TOKENS_AT_ONCE / run->length));
    const ds_window_pass pass = {.label = "gradflow", .most = most, .batch = flow_batch, .context = &sums};
    *out = (ds_gradient_flow){0};
    DS_TRY(sums_init(&sums, run, most, memory));
    DS_TRY(ds_run_windows(run, &pass));
    DS_TRY(take_sums(out, &sums, run));
done:
    sums_release(&sums);
    if (status != DS_OK) ds_gradient_flow_release(out);
    return status;
}

void ds_gradient_flow_release(ds_gradient_flow *flow) {
    free(flow->sequence_loss);
    free(flow->state_norm);
    free(flow->frozen_norm);
    free(flow->source_norm);
    free(flow->read_norm);
    free(flow->position_norm);
    free(flow->paths);
    free(flow->gate_slope);
    free(flow->parameter_norm);
    *flow = (ds_gradient_flow){0};
}
