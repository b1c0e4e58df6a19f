#include "gradflow.h"

#include <math.h>
#include <stdlib.h>

#include "deltascope/num.h"

#include "ablation.h"

/* At most as many as a batch has with one thread, so that every number of threads can have them. */
enum { TOKENS_AT_ONCE = 1024 };

typedef struct flow_task {
    ds_gradflow *flow;
    double *frozen; /* (B,T,dv,d) in double: A_s ... A_{S-1} dloss/dX_S of this batch */
    double residual_mult;
} flow_task;

/* frozen <- A_s frozen for every token, A_s = I - m beta k k^T on each plane (A is symmetric: A^T = A). */
static void apply_frozen(flow_task *task, const ds_gradient_event *event) {
    size_t d = event->hidden, dv = event->planes;
    if (event->delta == NULL || event->delta->k == NULL) return;
    for (size_t t = 0; t < event->sequences * event->length; t++) {
        double c = task->residual_mult * event->delta->beta[t];
        for (size_t j = 0; j < dv; j++) {
            double *plane = task->frozen + (t * dv + j) * d, along = 0;
            for (size_t i = 0; i < d; i++) along += ds_widen_one(event->delta->k, t * d + i, event->precision) * plane[i];
            for (size_t i = 0; i < d; i++) plane[i] -= c * along * ds_widen_one(event->delta->k, t * d + i, event->precision);
        }
    }
}

static void add_norms(flow_task *task, const ds_gradient_event *event) {
    ds_gradflow *flow = task->flow;
    size_t tokens = event->sequences * event->length, width = event->hidden * event->planes;
    for (size_t t = 0; t < tokens; t++) {
        double norm2 = 0;
        const double *frozen = task->frozen + t * width;
        for (size_t i = 0; i < width; i++) norm2 += frozen[i] * frozen[i];
        ds_sum_add(&flow->frozen_norm2[event->index], norm2);
        ds_sum_add(&flow->state_norm2[event->index], event->norm2[t]);
        ds_sum_add(&flow->position_norm2[event->index * flow->length + t % event->length], event->norm2[t]);
    }
}

static ds_status observe(void *context, const ds_gradient_event *event) {
    flow_task *task = context;
    ds_gradflow *flow = task->flow;
    size_t tokens = event->sequences * event->length;
    if (event->index == flow->sublayers) {
        size_t count = tokens * event->hidden * event->planes;
        for (size_t i = 0; i < count; i++) task->frozen[i] = ds_widen_one(event->gradient, i, event->precision);
    } else {
        apply_frozen(task, event);
        ds_path_squares_add(&flow->paths[event->index], event->paths, tokens);
        for (size_t t = 0; event->delta != NULL && t < tokens; t++)
            ds_sum_add(&flow->gate_slope[event->index], event->delta->gate_slope[t]);
    }
    add_norms(task, event);
    return DS_OK;
}

static void keep_parameter_norms(ds_gradflow *flow, const ds_model *model, const ds_gradient *gradient) {
    for (size_t p = 0; p < ds_model_parameters(model); p++) {
        const void *values = ds_gradient_parameter(gradient, p);
        ds_sum squares = {0};
        for (size_t i = 0; i < ds_model_parameter(model, p)->count; i++) {
            double x = ds_widen_one(values, i, ds_model_precision(model));
            ds_sum_add(&squares, x * x);
        }
        flow->parameter_norms[p] = sqrt(ds_sum_value(&squares));
    }
}

static ds_status make_flow(ds_gradflow *flow, const ds_session *session) {
    ds_status status = DS_OK;
    size_t sublayers = ds_spec_sublayers(&session->spec);
    *flow = (ds_gradflow){.sublayers = sublayers, .length = session->length};
    DS_NEW(flow->state_norm2, sublayers + 1);
    DS_NEW(flow->frozen_norm2, sublayers + 1);
    DS_NEW(flow->position_norm2, (sublayers + 1) * session->length);
    DS_NEW(flow->paths, sublayers);
    DS_NEW(flow->gate_slope, sublayers);
    DS_NEW(flow->parameter_norms, ds_model_parameters(session->model));
done:
    return status;
}

ds_status ds_gradflow_run(ds_gradflow *flow, ds_session *session, const ds_force *gates, size_t memory) {
    ds_status status = DS_OK;
    ds_gradient *gradient = NULL;
    double *nll = NULL, targets = (double)session->sequences * (double)session->length;
    ds_sum loss = {0};
    const ds_spec *spec = &session->spec;
    const ds_gradient_options options = {.memory = memory, .parameters = true, .paths = true};
    flow_task task = {.flow = flow, .residual_mult = spec->residual_mult};
    ds_gradient_observer observer = {observe, &task};
    ds_progress progress = ds_progress_start("gradflow", (double)session->sequences, session->invocation->common.quiet);
    DS_TRY(make_flow(flow, session));
    /* A batch's parameter gradients are rounded when they are added to those before: the cut must not depend on threads. */
    session->group = ds_min_size(session->group, ds_max_size(1, TOKENS_AT_ONCE / session->length));
    DS_NEW(nll, session->group * session->length);
    DS_NEW_ARRAY(task.frozen, session->group * session->length * spec->value_channels * spec->hidden);
    DS_TRY(ds_gradient_new(&gradient, session->model, session->group, session->length, &options));
    for (size_t first = 0; first < session->sequences; first += session->group) {
        ds_batch batch;
        DS_TRY(ds_session_batch(session, first, &batch));
        DS_TRY(ds_backward(gradient, &batch, gates, 1 / targets, &observer, nll));
        for (size_t i = 0; i < batch.sequences * batch.length; i++) ds_sum_add(&loss, nll[i]);
        ds_progress_update(&progress, (double)(first + batch.sequences));
    }
    flow->loss = ds_sum_value(&loss) / targets;
    keep_parameter_norms(flow, session->model, gradient);
done:
    ds_progress_finish(&progress);
    ds_gradient_free(&gradient);
    free(task.frozen);
    free(nll);
    if (status != DS_OK) ds_gradflow_release(flow);
    return status;
}

void ds_gradflow_release(ds_gradflow *flow) {
    free(flow->state_norm2);
    free(flow->frozen_norm2);
    free(flow->position_norm2);
    free(flow->paths);
    free(flow->gate_slope);
    free(flow->parameter_norms);
    *flow = (ds_gradflow){0};
}

double ds_gradflow_state_norm(const ds_gradflow *flow, size_t state) { return sqrt(ds_sum_value(&flow->state_norm2[state])); }

/* ---- attribution ---- */

static ds_status measure_closing(double *measured, ds_session *session) {
    ds_status status = DS_OK;
    ds_case_list list = {0};
    ds_ablation *ablation = NULL;
    double *baseline = NULL, *loss = NULL, *kl = NULL;
    DS_TRY(ds_case_list_parse(&list, &session->spec, "closed", "each"));
    size_t group = ds_min_size(session->group, ds_ablation_sequences(session->model, &list, session->length));
    ds_progress progress = ds_progress_start("closing gates", (double)session->sequences, session->invocation->common.quiet);
    DS_NEW(baseline, group);
    DS_NEW(loss, list.count * group);
    DS_NEW(kl, list.count * group);
    DS_TRY(ds_ablation_new(&ablation, session->model, &list, group, session->length));
    session->group = group;
    for (size_t first = 0; first < session->sequences; first += group) {
        ds_batch batch;
        DS_TRY(ds_session_batch(session, first, &batch));
        DS_TRY(ds_ablation_run(ablation, session->workspace, &batch, baseline, loss, kl, NULL, NULL));
        for (size_t c = 0; c < list.count; c++) {
            for (size_t b = 0; b < batch.sequences; b++)
                measured[c] += (loss[c * batch.sequences + b] - baseline[b]) / (double)session->sequences;
        }
        ds_progress_update(&progress, (double)(first + batch.sequences));
    }
    ds_progress_finish(&progress);
done:
    ds_ablation_free(&ablation);
    ds_case_list_release(&list);
    free(baseline);
    free(loss);
    free(kl);
    return status;
}

ds_status ds_attribution_run(ds_attribution *out, ds_session *session, const ds_gradflow *flow, bool measure) {
    ds_status status = DS_OK;
    *out = (ds_attribution){.sublayers = flow->sublayers};
    DS_NEW(out->estimated, flow->sublayers);
    for (size_t s = 0; s < flow->sublayers; s++) out->estimated[s] = -ds_sum_value(&flow->gate_slope[s]);
    if (measure) {
        DS_NEW(out->measured, flow->sublayers);
        DS_TRY(measure_closing(out->measured, session));
        DS_TRY(ds_pearson(&out->pearson, out->estimated, out->measured, flow->sublayers));
        DS_TRY(ds_spearman(&out->spearman, out->estimated, out->measured, flow->sublayers));
    }
done:
    if (status != DS_OK) ds_attribution_release(out);
    return status;
}

void ds_attribution_release(ds_attribution *attribution) {
    free(attribution->estimated);
    free(attribution->measured);
    *attribution = (ds_attribution){0};
}
