/* What derivatives owe each other: the adjoint identity, the split by path, the same bits for any number of threads. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "checks.h"
#include "deltascope/gradient.h"

static const double u64 = 0x1p-53;

/* ---- adjoint ------------------------------------------------------------------------------------------------------------- */

typedef struct adjoint_check {
    ds_verify *v;
    ds_gradient *gradient;
    double *state, *start, *v0, *v1, *w0, *w1; /* (B,T,dv,d): v1 = J v0, w1 = J^T w0 */
    size_t count;
    ds_worst worst;
} adjoint_check;

/* <J v, w> = <v, J^T w> for the window of sublayers: each side carries the roundings of one pass through them. */
static ds_status compare_adjoint(adjoint_check *c, size_t first, size_t last) {
    ds_status status = DS_OK;
    const ds_batch *batch = &c->v->brief.batch;
    ds_random random = ds_random_init(c->v->seed + first + last);
    size_t bytes = c->count * sizeof(double);
    for (size_t i = 0; i < c->count; i++) {
        c->v0[i] = ds_random_normal(&random);
        c->w0[i] = ds_random_normal(&random);
    }
    memcpy(c->v1, c->v0, bytes);
    memcpy(c->w1, c->w0, bytes);
    DS_TRY(ds_linearise(c->gradient, batch, c->state, first, last, NULL));
    DS_TRY(ds_tangent(c->gradient, c->v1));
    DS_TRY(ds_adjoint(c->gradient, c->w1));
    double left = ds_dot_plain(c->v1, c->w0, c->count), right = ds_dot_plain(c->v0, c->w1, c->count);
    double size = ds_norm_plain(c->v1, c->count) * ds_norm_plain(c->w0, c->count) +
                  ds_norm_plain(c->v0, c->count) * ds_norm_plain(c->w1, c->count);
    double roundings = ds_chain_roundings(c->v->spec, batch->length) * (double)(last - first) + sqrt((double)c->count);
    ds_worst_add(&c->worst, fabs(left - right), roundings * u64 * size);
done:
    return status;
}

ds_status ds_check_adjoint(ds_check_result *result, ds_verify *v) {
    ds_status status = DS_OK;
    const ds_batch *batch = &v->brief.batch;
    const ds_side *exact = ds_exact(v);
    const ds_gradient_options options = {0};
    size_t sublayers = ds_spec_sublayers(v->spec);
    adjoint_check c = {.v = v, .count = batch->sequences * batch->length * v->spec->value_channels * v->spec->hidden};
    double **const arrays[] = {&c.state, &c.start, &c.v0, &c.v1, &c.w0, &c.w1};
    for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++) DS_NEW_ARRAY(*arrays[i], c.count);
    DS_TRY(ds_gradient_new(&c.gradient, exact->model, batch->sequences, batch->length, &options));
    DS_TRY(ds_embed(exact->workspace, exact->model, batch, c.start));
    memcpy(c.state, c.start, c.count * sizeof *c.state);
    for (size_t s = 0; s < sublayers; s++) DS_TRY(compare_adjoint(&c, s, s + 1));
    memcpy(c.state, c.start, c.count * sizeof *c.state);
    DS_TRY(compare_adjoint(&c, 0, sublayers));
    ds_worst_report(result, &c.worst);
    (void)snprintf(result->detail, sizeof result->detail, "every sublayer, and all %zu together", sublayers);
done:
    ds_gradient_free(&c.gradient);
    for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++) free(*arrays[i]);
    return status;
}

/* ---- paths --------------------------------------------------------------------------------------------------------------- */

typedef struct path_check {
    ds_verify *v;
    ds_worst worst;
} path_check;

static ds_status compare_paths(void *context, const ds_gradient_event *event) {
    path_check *check = context;
    if (event->paths == NULL || event->index == ds_spec_sublayers(check->v->spec)) return DS_OK;
    ds_path_squares sum = {0};
    ds_path_squares_add(&sum, event->paths, event->sequences * event->length);
    double parts = sqrt(sum.shortcut);
    for (size_t p = 0; p < DS_PATHS; p++) parts += sqrt(sum.parts[p]);
    parts += sqrt(sum.total);
    ds_worst_add(&check->worst, sqrt(sum.error), ds_chain_roundings(check->v->spec, event->length) * u64 * parts);
    return DS_OK;
}

ds_status ds_check_paths(ds_check_result *result, ds_verify *v) {
    ds_status status = DS_OK;
    const ds_batch *batch = &v->brief.batch;
    const ds_gradient_options options = {.paths = true};
    path_check check = {.v = v};
    ds_gradient_observer observer = {compare_paths, &check};
    ds_gradient *gradient = NULL;
    size_t tokens = batch->sequences * batch->length;
    double *nll = NULL;
    DS_NEW_ARRAY(nll, tokens);
    DS_TRY(ds_gradient_new(&gradient, ds_exact(v)->model, batch->sequences, batch->length, &options));
    DS_TRY(ds_backward(gradient, batch, NULL, 1 / (double)tokens, &observer, nll));
    ds_worst_report(result, &check.worst);
done:
    ds_gradient_free(&gradient);
    free(nll);
    return status;
}

/* ---- threads ------------------------------------------------------------------------------------------------------------- */

static ds_status backward_with_threads(ds_gradient **gradient, ds_verify *v, const ds_side *side, size_t threads, double *nll) {
    ds_status status = DS_OK;
    size_t before = ds_threads_here();
    const ds_batch *batch = &v->brief.batch;
    const ds_gradient_options options = {.parameters = true};
    DS_TRY(ds_threads_set_here(threads));
    DS_TRY(ds_gradient_new(gradient, side->model, batch->sequences, batch->length, &options));
    DS_TRY(ds_backward(*gradient, batch, NULL, 1 / (double)(batch->sequences * batch->length), NULL, nll));
done:
    if (ds_threads_set_here(before) != DS_OK && status == DS_OK) status = DS_ERR_SYSTEM;
    return status;
}

ds_status ds_check_gradient_threads(ds_check_result *result, ds_verify *v) {
    ds_status status = DS_OK;
    const ds_side *side = &v->sides[0];
    ds_gradient *one = NULL, *three = NULL;
    ds_worst worst = {0};
    double *nll = NULL;
    DS_NEW_ARRAY(nll, v->brief.batch.sequences * v->brief.batch.length);
    DS_TRY(backward_with_threads(&one, v, side, 1, nll));
    DS_TRY(backward_with_threads(&three, v, side, 3, nll));
    for (size_t i = 0; i < ds_model_parameters(side->model); i++) {
        size_t bytes = ds_model_parameter(side->model, i)->count * ds_precision_size(side->precision);
        bool same = memcmp(ds_gradient_parameter(one, i), ds_gradient_parameter(three, i), bytes) == 0;
        ds_worst_add(&worst, same ? 0 : 1, 0);
    }
    ds_worst_report(result, &worst);
done:
    ds_gradient_free(&one);
    ds_gradient_free(&three);
    free(nll);
    return status;
}
