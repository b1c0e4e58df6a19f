/* The float pass against the double one, stage by stage, each from the float pass's own numbers.
 *
 * With Phi_s the double model's sublayer and x_s the float pass's states, the two passes' ends differ by the sum over s of
 * what Phi_S-1 ... Phi_s+1 make of the difference of x_s+1 and Phi_s(x_s): each stage's own error is all there is to
 * bound. Worst cases of a stage exceed what ever happens by orders of magnitude, so that its errors are drawn (bounded.h):
 * each token's, in norm, is held against the largest of its samples. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "checks.h"
#include "plain_model.h"

typedef struct stages {
    const ds_side *side, *exact; /* the float pass, the double model */
    const ds_batch *batch;
    ds_plain plain;
    size_t tokens, d, count;               /* count: numbers of a state */
    void *raw, *raw_hidden;                /* of the float pass */
    double *before, *after, *other, *base; /* (B,T,dv,d): the float pass's, in double; what double makes of `before`, twice */
    ds_bounded sample;                     /* (B,T,dv,d) */
    double *largest;                       /* (B,T) of the samples' distances */
    double *nll;                           /* (2,B,T) */
    ds_worst worst;
} stages;

static ds_status stages_init(stages *s, ds_verify *v) {
    ds_status status = DS_OK;
    const ds_batch *batch = &v->brief.batch;
    size_t tokens = batch->sequences * batch->length;
    *s = (stages){.side = &v->sides[0],
                  .exact = ds_exact(v),
                  .batch = batch,
                  .tokens = tokens,
                  .d = v->spec->hidden,
                  .count = tokens * v->spec->hidden * ds_spec_planes(v->spec)};
    DS_TRY(ds_plain_init(&s->plain, s->exact->model, batch->length));
    double **const states[] = {&s->before, &s->after, &s->other, &s->base, &s->sample.x, &s->sample.e};
    for (size_t i = 0; i < sizeof states / sizeof states[0]; i++) DS_NEW_ARRAY(*states[i], s->count);
    DS_NEW_ARRAY(s->largest, tokens);
    DS_NEW_ARRAY(s->nll, 2 * tokens);
    s->raw = ds_alloc_array(s->count, sizeof(double));
    s->raw_hidden = ds_alloc_array(tokens * s->d, sizeof(double));
    if (s->raw == NULL || s->raw_hidden == NULL) status = DS_ERR_SYSTEM;
done:
    return status;
}

static void stages_release(stages *s) {
    ds_plain_release(&s->plain);
    void *const arrays[] = {s->before,   s->after, s->other,      s->base, s->sample.x,
                            s->sample.e, s->raw,   s->raw_hidden, s->nll,  s->largest};
    for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++) free(arrays[i]);
}

static double distance(const double *x, const double *y, size_t count) {
    double squares = 0;
    for (size_t i = 0; i < count; i++) squares += (x[i] - y[i]) * (x[i] - y[i]);
    return sqrt(squares);
}

/* A stage by plain loops from `before`, in the arithmetic set. */
typedef ds_status (*plain_stage)(stages *s, size_t sublayer);

static ds_status plain_start(stages *s, size_t sublayer) {
    (void)sublayer;
    ds_plain_start(s->sample, &s->plain, s->batch);
    return DS_OK;
}

static ds_status plain_step(stages *s, size_t sublayer) {
    return ds_plain_step(s->sample, &s->plain, s->batch->sequences, (ds_bounded){s->before, NULL}, sublayer);
}

static ds_status plain_finish(stages *s, size_t sublayer) {
    (void)sublayer;
    return ds_plain_finish(s->sample, &s->plain, s->batch->sequences, (ds_bounded){s->before, NULL});
}

/* Of rows already in `before`. */
static ds_status plain_loss(stages *s, size_t sublayer) {
    ds_status status = DS_OK;
    double error;
    (void)sublayer;
    memset(s->sample.e, 0, s->d * sizeof *s->sample.e);
    for (size_t t = 0; t < s->tokens; t++) {
        ds_bounded row = {s->before + t * s->d, s->sample.e};
        DS_TRY(ds_plain_loss(&s->sample.x[t], &error, &s->plain, row, s->batch->targets[t]));
    }
done:
    return status;
}

/* `found` of the float pass against `exact` of double, token by token of `row` numbers. */
static ds_status compare(stages *s, const double *found, const double *exact, size_t row, plain_stage stage, size_t sublayer) {
    ds_status status = DS_OK;
    s->plain.arithmetic = ds_arithmetic_exact();
    DS_TRY(stage(s, sublayer));
    memcpy(s->base, s->sample.x, s->tokens * row * sizeof *s->base);
    memset(s->largest, 0, s->tokens * sizeof *s->largest);
    for (uint64_t sample = 1; sample <= DS_SAMPLES; sample++) {
        s->plain.arithmetic = ds_arithmetic_between(s->side->precision);
        s->plain.arithmetic.sample = sample;
        DS_TRY(stage(s, sublayer));
        for (size_t t = 0; t < s->tokens; t++)
            s->largest[t] = ds_max_real(s->largest[t], distance(s->sample.x + t * row, s->base + t * row, row));
    }
    for (size_t t = 0; t < s->tokens; t++)
        ds_worst_add(&s->worst, distance(found + t * row, exact + t * row, row), DS_SAMPLED * s->largest[t]);
done:
    return status;
}

static ds_status start(stages *s) {
    ds_status status = DS_OK;
    DS_TRY(ds_embed(s->side->workspace, s->side->model, s->batch, s->raw));
    ds_widen(s->before, s->raw, 0, s->count, s->side->precision);
    DS_TRY(ds_embed(s->exact->workspace, s->exact->model, s->batch, s->other));
    DS_TRY(compare(s, s->before, s->other, s->count / s->tokens, plain_start, 0));
done:
    return status;
}

/* X_s in `before` and `raw` becomes X_{s+1}. */
static ds_status step(stages *s, size_t sublayer) {
    ds_status status = DS_OK;
    memcpy(s->other, s->before, s->count * sizeof *s->before);
    DS_TRY(ds_sublayers(s->exact->workspace, s->exact->model, s->batch, s->other, sublayer, sublayer + 1, NULL, NULL));
    DS_TRY(ds_sublayers(s->side->workspace, s->side->model, s->batch, s->raw, sublayer, sublayer + 1, NULL, NULL));
    ds_widen(s->after, s->raw, 0, s->count, s->side->precision);
    DS_TRY(compare(s, s->after, s->other, s->count / s->tokens, plain_step, sublayer));
    memcpy(s->before, s->after, s->count * sizeof *s->before);
done:
    return status;
}

/* Readout and losses; hidden rows take the place of the state. */
static ds_status finish(stages *s) {
    ds_status status = DS_OK;
    DS_TRY(ds_readout(s->exact->workspace, s->exact->model, s->batch, NULL, s->before, s->other));
    DS_TRY(ds_readout(s->side->workspace, s->side->model, s->batch, NULL, s->raw, s->raw_hidden));
    ds_widen(s->after, s->raw_hidden, 0, s->tokens * s->d, s->side->precision);
    DS_TRY(compare(s, s->after, s->other, s->d, plain_finish, 0));
    memcpy(s->before, s->after, s->tokens * s->d * sizeof *s->before);
    DS_TRY(ds_head_loss(s->side->workspace, s->side->model, s->batch, s->raw_hidden, s->nll));
    DS_TRY(ds_head_loss(s->exact->workspace, s->exact->model, s->batch, s->before, s->nll + s->tokens));
    DS_TRY(compare(s, s->nll, s->nll + s->tokens, 1, plain_loss, 0));
done:
    return status;
}

/* How far the two whole passes end up apart: not held against anything, since what a stage adds later ones multiply. */
static ds_status describe(ds_check_result *result, const stages *s) {
    ds_status status = DS_OK;
    size_t rows = s->tokens * s->d;
    double largest = 0, *other = s->nll + s->tokens;
    void *exact = NULL;
    DS_TRY(ds_run_depth(NULL, &exact, s->exact, s->batch, NULL, NULL));
    DS_TRY(ds_head_loss(s->exact->workspace, s->exact->model, s->batch, exact, other));
    double norm = ds_norm_plain(exact, rows);
    for (size_t t = 0; t < s->tokens; t++) largest = ds_max_real(largest, fabs(s->nll[t] - other[t]));
    (void)snprintf(result->detail, sizeof result->detail,
                   "a token of one stage; in all the readout differs by %.3g of its norm, a token's loss by at most %.3g nats",
                   norm > 0 ? distance(s->before, exact, rows) / norm : 0, largest);
done:
    free(exact);
    return status;
}

ds_status ds_check_precision(ds_check_result *result, ds_verify *v) {
    ds_status status = DS_OK;
    stages s;
    if (v->sides[0].precision == DS_F64) {
        ds_check_skip(result, "the run is in double");
        return DS_OK;
    }
    DS_TRY(stages_init(&s, v));
    DS_TRY(start(&s));
    for (size_t sublayer = 0; sublayer < ds_spec_sublayers(v->spec); sublayer++) DS_TRY(step(&s, sublayer));
    DS_TRY(finish(&s));
    ds_worst_report(result, &s.worst);
    DS_TRY(describe(result, &s));
done:
    stages_release(&s);
    return status;
}
