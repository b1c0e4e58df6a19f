/* Gradients against differences of the loss, in double.
 *
 * Along a direction u, D(h) = (L(h) - L(-h)) / 2h errs by h^2 and h^4 terms, which Richardson's extrapolation takes away: R1
 * = (4 D(h/2) - D(h)) / 3, R2 = (4 D(h/4) - D(h/2)) / 3, R = (16 R2 - R1) / 15 = (64 D(h/4) - 20 D(h/2) + D(h)) / 45. |R2 -
 * R1| is, to first order, the error of R1, far above that of R; kinks of relu within the step do not extrapolate, and then
 * it is of the order of the error, hence the factor 4. Rounding of L by eta becomes at most (64 * 4 + 20 * 2 + 1) / 45 eta /
 * h < 7 eta / h in R. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "checks.h"
#include "deltascope/gradient.h"

static const double u64 = 0x1p-53;

enum { MOST_ENTRIES = 4 };
#define ALL_ENTRIES SIZE_MAX

/* Something that moves along a direction and has a loss there. */
typedef struct line {
    ds_verify *v;
    const ds_batch *batch;
    double *values;       /* (count) in place in the model or in a state */
    double *start, *unit; /* (count) where it begins; the direction */
    size_t count;
    size_t entry;  /* the only one that moves; ALL_ENTRIES: all of them do */
    size_t first;  /* the sublayer the state enters; of a parameter unused */
    double *state; /* (B,T,dv,d) scratch of a pass */
    double *nll, *hidden;
    bool parameter;
} line;

static ds_status loss_at(double *loss, line *l, double h) {
    ds_status status = DS_OK;
    const ds_side *exact = ds_exact(l->v);
    const ds_batch *batch = l->batch;
    size_t tokens = batch->sequences * batch->length, first = l->parameter ? 0 : l->first;
    for (size_t i = 0; i < l->count; i++) l->values[i] = l->start[i] + h * l->unit[i];
    if (l->parameter) {
        ds_model_refresh(exact->model);
        DS_TRY(ds_embed(exact->workspace, exact->model, batch, l->state));
    }
    DS_TRY(ds_sublayers(exact->workspace, exact->model, batch, l->state, first, ds_spec_sublayers(l->v->spec), NULL, NULL));
    DS_TRY(ds_readout(exact->workspace, exact->model, batch, l->state, l->hidden));
    DS_TRY(ds_head_loss(exact->workspace, exact->model, batch, l->hidden, l->nll));
    *loss = 0;
    for (size_t i = 0; i < tokens; i++) *loss += l->nll[i] / (double)tokens;
done:
    return status;
}

/* The derivative along the line, what the extrapolation may leave of it, and what rounding may add. */
static ds_status difference(double *derivative, double *left, double *rounding, line *l, double h) {
    ds_status status = DS_OK;
    double d[3];
    for (size_t i = 0; i < 3; i++) {
        double up, down, step = h / (double)(1u << i);
        DS_TRY(loss_at(&up, l, step));
        DS_TRY(loss_at(&down, l, -step));
        d[i] = (up - down) / (2 * step);
    }
    double coarse = (4 * d[1] - d[0]) / 3, fine = (4 * d[2] - d[1]) / 3;
    *derivative = (16 * fine - coarse) / 15;
    *left = 4 * fabs(fine - coarse);
    *rounding = 7 * ds_chain_roundings(l->v->spec, l->batch->length) * l->v->nll_gain * u64 / h;
done:
    return status;
}

/* Normal numbers of the size of the values; of size 1 where all are 0. An entry alone moves by that size, in later trials
 * less. */
static void choose_direction(line *l, uint64_t seed, size_t trial) {
    ds_random random = ds_random_init(seed + (trial << 32));
    double size = ds_norm_plain(l->start, l->count) / sqrt((double)l->count);
    if (!(size > 0)) size = 1;
    for (size_t i = 0; i < l->count; i++) l->unit[i] = l->entry == ALL_ENTRIES ? size * ds_random_normal(&random) : 0;
    if (l->entry != ALL_ENTRIES) l->unit[l->entry] = ldexp(size, -6 * (int)trial);
}

/* Shorter and shorter steps, until rounding outweighs what the extrapolation leaves or that is a millionth of the terms of the
 * gradient's own sum, sharp enough for any error but rounding; the sharpest comparison counts. */
static ds_status compare_direction(ds_worst *sharpest, line *l, const double *gradient) {
    ds_status status = DS_OK;
    double along = 0, sizes = 0, largest = 0, left, rounding = 0;
    for (size_t i = 0; i < l->count; i++) {
        along += gradient[i] * l->unit[i];
        sizes += fabs(gradient[i] * l->unit[i]);
        largest = ds_max_real(largest, fabs(gradient[i]));
    }
    if (l->entry != ALL_ENTRIES) sizes = largest * fabs(l->unit[l->entry]); /* what cancels in one entry shows in another */
    double own = ds_chain_roundings(l->v->spec, l->batch->length) * (double)ds_spec_sublayers(l->v->spec) * u64 * sizes;
    *sharpest = (ds_worst){0};
    left = INFINITY;
    const double sharp = 0x1p-20 * sizes;
    for (int power = -9; left > fmax(rounding, sharp) && power >= -24; power -= 3) {
        double derivative, h = ldexp(1, power);
        DS_TRY(difference(&derivative, &left, &rounding, l, h));
        double tolerance = left + rounding + own;
        if (sharpest->count > 0 && tolerance >= sharpest->tolerance) continue;
        *sharpest = (ds_worst){0};
        ds_worst_add(sharpest, fabs(derivative - along), tolerance);
    }
done:
    return status;
}

/* Where the model has relu, a kink close by shifts every difference alike and no step shows it. Another direction has its kinks
 * elsewhere, and of one entry shorter steps do not reach it; a wrong gradient stays wrong. */
static ds_status compare_line(ds_worst *worst, line *l, const double *gradient, uint64_t seed) {
    ds_status status = DS_OK;
    const ds_spec *spec = l->v->spec;
    bool kinks = spec->q_activation == DS_ACT_RELU || spec->k_activation == DS_ACT_RELU || spec->v_activation == DS_ACT_RELU;
    ds_worst best = {0};
    for (size_t trial = 0; trial < (kinks ? 4 : 1) && (trial == 0 || best.ratio > 1); trial++) {
        ds_worst found;
        choose_direction(l, seed, trial);
        DS_TRY(compare_direction(&found, l, gradient));
        if (trial == 0 || found.ratio < best.ratio) best = found;
    }
    ds_worst_add(worst, best.measured, best.tolerance);
done:
    return status;
}

/* Along one random direction, or along so many entries alone: that of the largest derivative, the first and the last, where
 * blocks of kernels end, and one drawn at random. */
static ds_status compare_values(ds_worst *worst, line *l, const double *gradient, size_t entries, uint64_t seed) {
    ds_status status = DS_OK;
    ds_random random = ds_random_init(seed ^ l->count);
    size_t chosen[MOST_ENTRIES] = {0, 0, l->count - 1, ds_random_below(&random, l->count)};
    for (size_t i = 1; i < l->count; i++) {
        if (fabs(gradient[i]) > fabs(gradient[chosen[0]])) chosen[0] = i;
    }
    l->entry = ALL_ENTRIES;
    if (entries == 0) DS_TRY(compare_line(worst, l, gradient, seed));
    for (size_t e = 0; e < entries; e++) {
        bool known = false;
        for (size_t i = 0; i < e; i++) known = known || chosen[i] == chosen[e];
        if (known) continue;
        l->entry = chosen[e];
        DS_TRY(compare_line(worst, l, gradient, seed));
    }
done:
    return status;
}

static ds_status line_init(line *l, ds_verify *v, const ds_batch *batch, bool parameter, size_t most) {
    ds_status status = DS_OK;
    size_t tokens = batch->sequences * batch->length;
    *l = (line){.v = v, .batch = batch, .parameter = parameter};
    DS_TRY(ds_verify_amplification(v));
    DS_NEW_ARRAY(l->start, most);
    DS_NEW_ARRAY(l->unit, most);
    DS_NEW_ARRAY(l->state, tokens * v->spec->value_channels * v->spec->hidden);
    DS_NEW_ARRAY(l->hidden, tokens * v->spec->hidden);
    DS_NEW_ARRAY(l->nll, tokens);
done:
    return status;
}

static void line_release(line *l) {
    free(l->start);
    free(l->unit);
    free(l->state);
    free(l->hidden);
    free(l->nll);
}

/* ---- parameters ---------------------------------------------------------------------------------------------------------- */

static ds_status compare_parameter(ds_worst *worst, line *l, const ds_gradient *gradient, size_t index, size_t entries) {
    ds_status status = DS_OK;
    ds_model *model = ds_exact(l->v)->model;
    const ds_parameter *parameter = ds_model_parameter(model, index);
    l->values = parameter->values;
    l->count = parameter->count;
    memcpy(l->start, l->values, l->count * sizeof *l->start);
    status = compare_values(worst, l, ds_gradient_parameter(gradient, index), entries, l->v->seed + index);
    memcpy(l->values, l->start, l->count * sizeof *l->start);
    ds_model_refresh(model);
    return status;
}

static ds_status backward(ds_gradient *gradient, const line *l, const ds_gradient_observer *observer) {
    size_t tokens = l->batch->sequences * l->batch->length;
    return ds_backward(gradient, l->batch, NULL, 1 / (double)tokens, observer, l->nll);
}

/* *where <- the tensor nearest to its tolerance. */
static ds_status compare_parameters(ds_worst *worst, size_t *where, ds_verify *v, const ds_batch *batch, size_t entries) {
    ds_status status = DS_OK;
    ds_model *model = ds_exact(v)->model;
    const ds_gradient_options options = {.parameters = true};
    ds_gradient *gradient = NULL;
    size_t most = 0;
    line l;
    for (size_t i = 0; i < ds_model_parameters(model); i++) most = ds_max_size(most, ds_model_parameter(model, i)->count);
    DS_TRY(line_init(&l, v, batch, true, most));
    DS_TRY(ds_gradient_new(&gradient, model, batch->sequences, batch->length, &options));
    DS_TRY(backward(gradient, &l, NULL));
    for (size_t i = 0; i < ds_model_parameters(model); i++) {
        double before = worst->ratio;
        DS_TRY(compare_parameter(worst, &l, gradient, i, entries));
        if (worst->ratio > before) *where = i;
    }
done:
    ds_gradient_free(&gradient);
    line_release(&l);
    return status;
}

ds_status ds_check_parameter_gradients(ds_check_result *result, ds_verify *v) {
    ds_status status = DS_OK;
    const ds_batch *batch = &v->brief.batch;
    ds_worst worst = {0};
    size_t where = 0;
    DS_TRY(compare_parameters(&worst, &where, v, batch, 0));
    ds_worst_report(result, &worst);
    (void)snprintf(result->detail, sizeof result->detail, "%zu tensors, %zu tokens; nearest to its tolerance: %s", worst.count,
                   batch->sequences * batch->length, ds_model_parameter(ds_exact(v)->model, where)->name);
done:
    return status;
}

/* ---- states -------------------------------------------------------------------------------------------------------------- */

typedef struct state_gradients {
    double *states, *gradients; /* (S+1,B,T,dv,d) */
    size_t count;               /* of one state */
} state_gradients;

static ds_status keep_state(void *context, const ds_gradient_event *event) {
    state_gradients *all = context;
    memcpy(all->states + event->index * all->count, event->state, all->count * sizeof *all->states);
    memcpy(all->gradients + event->index * all->count, event->gradient, all->count * sizeof *all->gradients);
    return DS_OK;
}

static ds_status compare_states(ds_worst *worst, ds_verify *v, const ds_batch *batch, size_t entries) {
    ds_status status = DS_OK;
    const ds_gradient_options options = {0};
    size_t sublayers = ds_spec_sublayers(v->spec);
    ds_gradient *gradient = NULL;
    state_gradients all = {.count = batch->sequences * batch->length * v->spec->value_channels * v->spec->hidden};
    ds_gradient_observer observer = {keep_state, &all};
    line l;
    DS_TRY(line_init(&l, v, batch, false, all.count));
    DS_NEW_ARRAY(all.states, (sublayers + 1) * all.count);
    DS_NEW_ARRAY(all.gradients, (sublayers + 1) * all.count);
    DS_TRY(ds_gradient_new(&gradient, ds_exact(v)->model, batch->sequences, batch->length, &options));
    DS_TRY(backward(gradient, &l, &observer));
    l.values = l.state;
    l.count = all.count;
    for (size_t s = 0; s <= sublayers; s++) {
        l.first = s;
        memcpy(l.start, all.states + s * all.count, all.count * sizeof *l.start);
        DS_TRY(compare_values(worst, &l, all.gradients + s * all.count, entries, v->seed + s));
    }
done:
    ds_gradient_free(&gradient);
    free(all.states);
    free(all.gradients);
    line_release(&l);
    return status;
}

ds_status ds_check_state_gradients(ds_check_result *result, ds_verify *v) {
    ds_status status = DS_OK;
    const ds_batch *batch = &v->brief.batch;
    ds_worst worst = {0};
    DS_TRY(compare_states(&worst, v, batch, 0));
    ds_worst_report(result, &worst);
    (void)snprintf(result->detail, sizeof result->detail, "%zu states, %zu tokens", worst.count,
                   batch->sequences * batch->length);
done:
    return status;
}

/* ---- both, entry by entry ------------------------------------------------------------------------------------------------ */

ds_status ds_check_gradient_entries(ds_check_result *result, ds_verify *v) {
    ds_status status = DS_OK;
    const ds_batch *batch = &v->spot.batch;
    ds_worst worst = {0};
    size_t where = 0;
    DS_TRY(compare_parameters(&worst, &where, v, batch, v->entries));
    double ratio = worst.ratio;
    DS_TRY(compare_states(&worst, v, batch, v->entries));
    ds_worst_report(result, &worst);
    (void)snprintf(result->detail, sizeof result->detail, "%zu entries, %zu tokens; nearest to its tolerance: %s", worst.count,
                   batch->sequences * batch->length,
                   worst.ratio > ratio ? "a state" : ds_model_parameter(ds_exact(v)->model, where)->name);
done:
    return status;
}
