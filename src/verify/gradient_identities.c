/* What derivatives owe each other: the adjoint identity, the split by path, the same bits for any number of threads. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "checks.h"
#include "deltascope/gradient.h"
#include "plain_model.h"

static const double u64 = 0x1p-53;

/* ---- adjoint ------------------------------------------------------------------------------------------------------------- */

typedef struct adjoint_check {
    ds_verify *v;
    ds_gradient *gradient;
    ds_plain plain;
    double *states, *tangents;         /* (S+1,B,T,dv,d): X_s, and a tangent carried through all sublayers */
    double *state, *v0, *v1, *w0, *w1; /* (B,T,dv,d): v1 = J v0, w1 = J^T w0 */
    size_t count;
    ds_worst worst;
} adjoint_check;

static void draw_vector(double *x, size_t count, uint64_t seed) {
    ds_random random = ds_random_init(seed);
    for (size_t i = 0; i < count; i++) x[i] = ds_random_normal(&random);
}

static ds_status linearise(adjoint_check *c, size_t first, size_t last) {
    memcpy(c->state, c->states + first * c->count, c->count * sizeof *c->state);
    return ds_linearise(c->gradient, &c->v->brief.batch, c->state, first, last, NULL);
}

/* <J v, w> = <v, J^T w> of what is linearised, where J v and J^T w both err by at most the roundings of a sublayer times
 * `reach` (ds_plain_reach), and the two sums by as many as they have terms. */
static ds_status compare_adjoint(adjoint_check *c, double reach) {
    ds_status status = DS_OK;
    size_t bytes = c->count * sizeof(double);
    double left = 0, right = 0, size = 0;
    memcpy(c->v1, c->v0, bytes);
    memcpy(c->w1, c->w0, bytes);
    DS_TRY(ds_tangent(c->gradient, c->v1));
    DS_TRY(ds_adjoint(c->gradient, c->w1));
    for (size_t i = 0; i < c->count; i++) {
        left += c->v1[i] * c->w0[i];
        right += c->v0[i] * c->w1[i];
        size += fabs(c->v1[i] * c->w0[i]) + fabs(c->v0[i] * c->w1[i]);
    }
    double roundings = ds_derivative_roundings(c->v->spec, c->v->brief.batch.length);
    ds_worst_add(&c->worst, fabs(left - right), 2 * roundings * u64 * reach + (double)c->count * u64 * size);
done:
    return status;
}

static ds_status reach_of(double *reach, adjoint_check *c, const double *tangent, const double *cotangent, size_t s) {
    for (size_t i = 0; i < c->count; i++) c->state[i] = fabs(tangent[i]);
    return ds_plain_reach(reach, &c->plain, c->v->brief.batch.sequences, (ds_bounded){c->states + s * c->count, c->state},
                          cotangent, s);
}

/* Every sublayer with vectors of its own; on the way states and a tangent from X_0 to X_S. */
static ds_status compare_each(adjoint_check *c) {
    ds_status status = DS_OK;
    size_t bytes = c->count * sizeof(double);
    for (size_t s = 0; s < ds_spec_sublayers(c->v->spec); s++) {
        double reach, *next = c->tangents + (s + 1) * c->count;
        draw_vector(c->v0, c->count, c->v->seed + 2 * s);
        draw_vector(c->w0, c->count, c->v->seed + 2 * s + 1);
        DS_TRY(reach_of(&reach, c, c->v0, c->w0, s));
        DS_TRY(linearise(c, s, s + 1));
        memcpy(c->states + (s + 1) * c->count, c->state, bytes);
        memcpy(next, next - c->count, bytes);
        DS_TRY(ds_tangent(c->gradient, next));
        DS_TRY(compare_adjoint(c, reach));
    }
done:
    return status;
}

/* All sublayers together: each one's own roundings reach the product by way of the tangent before it and the cotangent
 * behind. */
static ds_status compare_all(adjoint_check *c) {
    ds_status status = DS_OK;
    size_t sublayers = ds_spec_sublayers(c->v->spec), bytes = c->count * sizeof(double);
    double total = 0;
    memcpy(c->v0, c->tangents, bytes);
    draw_vector(c->w0, c->count, c->v->seed + 2 * sublayers);
    memcpy(c->w1, c->w0, bytes);
    for (size_t s = sublayers; s-- > 0;) {
        double reach;
        DS_TRY(reach_of(&reach, c, c->tangents + s * c->count, c->w1, s));
        total += reach;
        DS_TRY(linearise(c, s, s + 1));
        DS_TRY(ds_adjoint(c->gradient, c->w1));
    }
    DS_TRY(linearise(c, 0, sublayers));
    DS_TRY(compare_adjoint(c, total));
done:
    return status;
}

ds_status ds_check_adjoint(ds_check_result *result, ds_verify *v) {
    ds_status status = DS_OK;
    const ds_batch *batch = &v->brief.batch;
    const ds_side *exact = ds_exact(v);
    const ds_gradient_options options = {0};
    size_t sublayers = ds_spec_sublayers(v->spec);
    adjoint_check c = {.v = v, .count = batch->sequences * batch->length * ds_spec_planes(v->spec) * v->spec->hidden};
    double **const arrays[] = {&c.state, &c.v0, &c.v1, &c.w0, &c.w1};
    DS_TRY(ds_plain_init(&c.plain, exact->model, batch->length));
    for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++) DS_NEW_ARRAY(*arrays[i], c.count);
    DS_NEW_ARRAY(c.states, (sublayers + 1) * c.count);
    DS_NEW_ARRAY(c.tangents, (sublayers + 1) * c.count);
    DS_TRY(ds_gradient_new(&c.gradient, exact->model, batch->sequences, batch->length, &options));
    DS_TRY(ds_embed(exact->workspace, exact->model, batch, c.states));
    draw_vector(c.tangents, c.count, v->seed + 2 * sublayers + 1);
    DS_TRY(compare_each(&c));
    DS_TRY(compare_all(&c));
    ds_worst_report(result, &c.worst);
    (void)snprintf(result->detail, sizeof result->detail, "every sublayer, and all %zu together", sublayers);
done:
    ds_gradient_free(&c.gradient);
    ds_plain_release(&c.plain);
    for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++) free(*arrays[i]);
    free(c.states);
    free(c.tangents);
    return status;
}

/* ---- paths --------------------------------------------------------------------------------------------------------------- */

typedef struct path_check {
    ds_verify *v;
    ds_plain plain;
    double *next, *ones; /* (B,T,dv,d): the gradient behind the sublayer; 1 everywhere */
    size_t count;
    ds_worst worst;
} path_check;

/* The parts and the whole are each J^T of the gradient behind, by the same kernels: every number of it errs by the
 * roundings of a sublayer times |gradient|^T |J|, whose sum over all numbers is at least its norm. */
static ds_status compare_paths(void *context, const ds_gradient_event *event) {
    ds_status status = DS_OK;
    path_check *check = context;
    if (event->index < ds_spec_sublayers(check->v->spec)) {
        ds_path_squares sum = {0};
        double reach, roundings = ds_derivative_roundings(check->v->spec, event->length);
        ds_path_squares_add(&sum, event->paths, event->sequences * event->length);
        DS_TRY(ds_plain_reach(&reach, &check->plain, event->sequences,
                              (ds_bounded){(double *)(uintptr_t)event->state, check->ones}, check->next, event->index));
        ds_worst_add(&check->worst, sqrt(sum.error), 2 * roundings * u64 * reach);
    }
    memcpy(check->next, event->gradient, check->count * sizeof *check->next);
done:
    return status;
}

ds_status ds_check_paths(ds_check_result *result, ds_verify *v) {
    ds_status status = DS_OK;
    const ds_batch *batch = &v->brief.batch;
    const ds_gradient_options options = {.paths = true};
    size_t tokens = batch->sequences * batch->length;
    path_check check = {.v = v, .count = tokens * v->spec->hidden * ds_spec_planes(v->spec)};
    ds_gradient_observer observer = {compare_paths, &check};
    ds_gradient *gradient = NULL;
    double *nll = NULL;
    if (ds_rule_keeps_history(v->spec->rule)) {
        ds_check_skip(result, "a history only grows: its gradient takes no path that could be split off");
        return DS_OK;
    }
    DS_TRY(ds_plain_init(&check.plain, ds_exact(v)->model, batch->length));
    DS_NEW_ARRAY(nll, tokens);
    DS_NEW_ARRAY(check.next, check.count);
    DS_NEW_ARRAY(check.ones, check.count);
    for (size_t i = 0; i < check.count; i++) check.ones[i] = 1;
    DS_TRY(ds_gradient_new(&gradient, ds_exact(v)->model, batch->sequences, batch->length, &options));
    DS_TRY(ds_backward(gradient, batch, NULL, 1 / (double)tokens, &observer, nll));
    ds_worst_report(result, &check.worst);
done:
    ds_gradient_free(&gradient);
    ds_plain_release(&check.plain);
    free(nll);
    free(check.next);
    free(check.ones);
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

/* ---- dead parameters -------------------------------------------------------------------------------------------------- */

static void name_dead(char *detail, size_t size, const ds_model *model, const bool *reached) {
    size_t used = 0, dead = 0;
    for (size_t p = 0; p < ds_model_parameters(model); p++) dead += !reached[p];
    used += (size_t)snprintf(detail, size, "%zu tensor%s", dead, ds_plural(dead));
    for (size_t p = 0; p < ds_model_parameters(model) && used < size; p++) {
        if (!reached[p])
            used += (size_t)snprintf(detail + used, size - used, "%s%s", used < 16 ? ": " : ", ",
                                     ds_model_parameter(model, p)->name);
    }
}

ds_status ds_check_dead_gradients(ds_check_result *result, ds_verify *v) {
    ds_status status = DS_OK;
    const ds_side *side = ds_exact(v);
    const ds_batch *batch = &v->brief.batch;
    const ds_gradient_options options = {.parameters = true};
    size_t count = ds_model_parameters(side->model);
    ds_gradient *gradient = NULL;
    double *nll = NULL;
    bool *reached = NULL;
    ds_worst worst = {0};
    DS_NEW(reached, count);
    DS_NEW_ARRAY(nll, batch->sequences * batch->length);
    ds_model_reached(reached, side->model, batch->length);
    DS_TRY(ds_gradient_new(&gradient, side->model, batch->sequences, batch->length, &options));
    DS_TRY(ds_backward(gradient, batch, NULL, 1 / (double)(batch->sequences * batch->length), NULL, nll));
    for (size_t p = 0; p < count; p++) {
        const double *values = ds_gradient_parameter(gradient, p);
        for (size_t i = 0; !reached[p] && i < ds_model_parameter(side->model, p)->count; i++)
            ds_worst_add(&worst, fabs(values[i]), 0);
    }
    if (worst.count == 0) {
        ds_check_skip(result, "the loss depends on every parameter");
        goto done;
    }
    ds_worst_report(result, &worst);
    name_dead(result->detail, sizeof result->detail, side->model, reached);
done:
    ds_gradient_free(&gradient);
    free(nll);
    free(reached);
    return status;
}
