/* Gradients against differences of the loss, in double.
 *
 * Along a direction u, D(h) = (L(h) - L(-h)) / 2h errs by h^2 and h^4 terms, which Richardson's extrapolation takes away:
 * F(h) = (4 D(h/2) - D(h)) / 3 errs by h^4, and so R = (16 F(h/4) - F(h/2)) / 15 by h^6. The error of F(h/4) is |F(h/4) -
 * F(h/2)| / 15 to first order, far above that of R; it is a sixteenth of that of F(h/2), so that |F(h/2) - F(h)| / 16 says
 * the same once more, and the larger of |F(h/4) - F(h/2)| and this is what the extrapolation may leave: no chance
 * agreement of two numbers passes for convergence. It takes a smooth loss: steps within which an activation crosses its
 * kink are not used (kinks.h).
 *
 * Rounding of L by eta (loss_rounding.c) is eta / h in D(h), and in R = (64 D(h/8) - 20 D(h/4) + D(h/2)) / 45 at most (64
 * 8 + 20 4 + 2) / 45 eta / h < 14 eta / h. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "checks.h"
#include "deltascope/gradient.h"
#include "kinks.h"

enum { MOST_ENTRIES = 4 };
#define ALL_ENTRIES SIZE_MAX

/* Something that moves along a direction and has a loss there. */
typedef struct line {
    ds_verify *v;
    const ds_batch *batch;
    double *values;       /* (count) in place in the model or in a state */
    double *start, *unit; /* (count) where it begins; the direction */
    size_t count;
    size_t entry;    /* the only one that moves; ALL_ENTRIES: all of them do */
    size_t first;    /* the sublayer the state enters; of a parameter unused */
    double *state;   /* (B,T,dv,d) scratch of a pass */
    double rounding; /* of the loss */
    ds_kinks kinks;
    size_t kinked; /* lines of which no step is free of kinks */
    double *nll, *hidden;
    bool parameter;
} line;

static ds_status loss_at(double *loss, line *l, double h) {
    ds_status status = DS_OK;
    const ds_side *exact = ds_exact(l->v);
    const ds_batch *batch = l->batch;
    size_t tokens = batch->sequences * batch->length, first = l->parameter ? 0 : l->first;
    const ds_observer *observer = ds_kinks_watch(&l->kinks);
    for (size_t i = 0; i < l->count; i++) l->values[i] = l->start[i] + h * l->unit[i];
    if (l->parameter) {
        ds_model_refresh(exact->model);
        DS_TRY(ds_embed(exact->workspace, exact->model, batch, l->state));
    }
    DS_TRY(ds_sublayers(exact->workspace, exact->model, batch, l->state, first, ds_spec_sublayers(l->v->spec), NULL, observer));
    DS_TRY(ds_readout(exact->workspace, exact->model, batch, NULL, l->state, l->hidden));
    DS_TRY(ds_head_loss(exact->workspace, exact->model, batch, l->hidden, l->nll));
    *loss = 0;
    for (size_t i = 0; i < tokens; i++) *loss += l->nll[i] / (double)tokens;
done:
    return status;
}

/* A central difference, and whether an activation had another side of its kink at either end than in the middle. */
typedef struct central {
    double slope;
    bool crossed;
} central;
enum { HALVINGS = 4 };

/* D(h), D(h/2), D(h/4), D(h/8); the first `known` are there. */
static ds_status differences(central d[HALVINGS], line *l, double h, size_t known) {
    ds_status status = DS_OK;
    for (size_t i = known; i < HALVINGS; i++) {
        double up, down, step = h / (double)(1u << i);
        ds_kinks_compare(&l->kinks);
        DS_TRY(loss_at(&up, l, step));
        DS_TRY(loss_at(&down, l, -step));
        d[i] = (central){(up - down) / (2 * step), l->kinks.crossed};
    }
done:
    return status;
}

/* Normal numbers of the size of the values; of size 1 where all are 0. An entry alone moves by that size. */
static void choose_direction(line *l, uint64_t seed) {
    ds_random random = ds_random_init(seed);
    double size = ds_norm_plain(l->start, l->count) / sqrt((double)l->count);
    if (!(size > 0)) size = 1;
    for (size_t i = 0; i < l->count; i++) l->unit[i] = l->entry == ALL_ENTRIES ? size * ds_random_normal(&random) : 0;
    if (l->entry != ALL_ENTRIES) l->unit[l->entry] = size;
}

/* Where the line begins, the sides of its kinks. */
static ds_status record_kinks(line *l) {
    ds_status status = DS_OK;
    double loss;
    if (!l->kinks.any) return DS_OK;
    ds_kinks_record(&l->kinks);
    DS_TRY(loss_at(&loss, l, 0));
done:
    return status;
}

/* R of four differences against `along`, unless a kink lies between them; *left is infinite then. */
static void compare_step(ds_worst *sharpest, double *left, double *rounding, const central d[HALVINGS], double h,
                         double loss_rounding, double along) {
    *left = INFINITY;
    *rounding = 14 * loss_rounding / h;
    if (d[0].crossed || d[1].crossed || d[2].crossed || d[3].crossed) return;
    double far = (4 * d[1].slope - d[0].slope) / 3, near = (4 * d[2].slope - d[1].slope) / 3;
    double nearest = (4 * d[3].slope - d[2].slope) / 3;
    *left = fmax(fabs(nearest - near), fabs(near - far) / 16);
    double tolerance = *left + (1 + h) * *rounding;
    if (sharpest->count > 0 && tolerance >= sharpest->tolerance) return;
    *sharpest = (ds_worst){0};
    ds_worst_add(sharpest, fabs((16 * nearest - near) / 15 - along), tolerance);
}

/* Shorter and shorter steps, until rounding outweighs what the extrapolation leaves or that is a millionth of the terms of
 * the gradient's own sum, sharp enough for any error but rounding; the sharpest comparison counts. The gradient's own
 * roundings act on its sum as those of the loss act on the loss: h of what the difference is allowed. Near kinks steps may
 * become shorter. */
static ds_status compare_line(ds_worst *worst, line *l, const double *gradient, uint64_t seed) {
    ds_status status = DS_OK;
    double along = 0, sizes = 0, largest = 0, left = INFINITY, rounding = 0;
    const int longest = -9, shortest = l->kinks.any ? -36 : -24;
    central d[HALVINGS];
    ds_worst sharpest = {0};
    choose_direction(l, seed);
    DS_TRY(record_kinks(l));
    for (size_t i = 0; i < l->count; i++) {
        along += gradient[i] * l->unit[i];
        sizes += fabs(gradient[i] * l->unit[i]);
        largest = ds_max_real(largest, fabs(gradient[i]));
    }
    if (l->entry != ALL_ENTRIES) sizes = largest * fabs(l->unit[l->entry]); /* what cancels in one entry shows in another */
    for (int power = longest; left > fmax(rounding, 0x1p-20 * sizes) && power >= shortest; power -= HALVINGS - 1) {
        double h = ldexp(1, power);
        DS_TRY(differences(d, l, h, power == longest ? 0 : 1));
        compare_step(&sharpest, &left, &rounding, d, h, l->rounding, along);
        d[0] = d[HALVINGS - 1];
    }
    if (sharpest.count > 0)
        ds_worst_add(worst, sharpest.measured, sharpest.tolerance);
    else
        l->kinked++;
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
    DS_TRY(ds_loss_rounding(&l->rounding, v, batch));
    DS_TRY(ds_kinks_init(&l->kinks, ds_exact(v)->model, batch));
    DS_NEW_ARRAY(l->start, most);
    DS_NEW_ARRAY(l->unit, most);
    DS_NEW_ARRAY(l->state, tokens * ds_spec_planes(v->spec) * v->spec->hidden);
    DS_NEW_ARRAY(l->hidden, tokens * v->spec->hidden);
    DS_NEW_ARRAY(l->nll, tokens);
done:
    return status;
}

static void line_release(line *l) {
    ds_kinks_release(&l->kinks);
    free(l->start);
    free(l->unit);
    free(l->state);
    free(l->hidden);
    free(l->nll);
}

/* What was compared, how many lines were not, and where it was nearest. */
static void report(ds_check_result *result, const ds_worst *worst, const char *what, size_t kinked, size_t tokens,
                   const char *where) {
    char without[64] = "";
    ds_worst_report(result, worst);
    if (result->status == DS_CHECK_SKIP) {
        ds_check_skip(result, "no step is short enough to keep clear of the kinks of the activations");
        return;
    }
    if (kinked > 0) (void)snprintf(without, sizeof without, " (%zu more lie too near a kink)", kinked);
    (void)snprintf(result->detail, sizeof result->detail, "%zu %s%s, %zu tokens%s%s", worst->count, what, without, tokens,
                   where[0] == '\0' ? "" : "; nearest to its tolerance: ", where);
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
static ds_status compare_parameters(ds_worst *worst, size_t *where, size_t *kinked, ds_verify *v, const ds_batch *batch,
                                    size_t entries) {
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
    *kinked += l.kinked;
done:
    ds_gradient_free(&gradient);
    line_release(&l);
    return status;
}

ds_status ds_check_parameter_gradients(ds_check_result *result, ds_verify *v) {
    ds_status status = DS_OK;
    const ds_batch *batch = &v->brief.batch;
    ds_worst worst = {0};
    size_t where = 0, kinked = 0;
    DS_TRY(compare_parameters(&worst, &where, &kinked, v, batch, 0));
    report(result, &worst, "tensors", kinked, batch->sequences * batch->length,
           ds_model_parameter(ds_exact(v)->model, where)->name);
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

static ds_status compare_states(ds_worst *worst, size_t *kinked, ds_verify *v, const ds_batch *batch, size_t entries) {
    ds_status status = DS_OK;
    const ds_gradient_options options = {0};
    size_t sublayers = ds_spec_sublayers(v->spec);
    ds_gradient *gradient = NULL;
    state_gradients all = {.count = batch->sequences * batch->length * ds_spec_planes(v->spec) * v->spec->hidden};
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
    *kinked += l.kinked;
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
    size_t kinked = 0;
    DS_TRY(compare_states(&worst, &kinked, v, batch, 0));
    report(result, &worst, "states", kinked, batch->sequences * batch->length, "");
done:
    return status;
}

/* ---- both, entry by entry ------------------------------------------------------------------------------------------------ */

ds_status ds_check_gradient_entries(ds_check_result *result, ds_verify *v) {
    ds_status status = DS_OK;
    const ds_batch *batch = &v->spot.batch;
    ds_worst worst = {0};
    size_t where = 0, kinked = 0;
    DS_TRY(compare_parameters(&worst, &where, &kinked, v, batch, v->entries));
    double ratio = worst.ratio;
    DS_TRY(compare_states(&worst, &kinked, v, batch, v->entries));
    report(result, &worst, "entries", kinked, batch->sequences * batch->length,
           worst.ratio > ratio ? "a state" : ds_model_parameter(ds_exact(v)->model, where)->name);
done:
    return status;
}
