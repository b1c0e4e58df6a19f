/* The double model against its second computation, stage by stage: each stage starts from the model's own input to it, so
 * that an error shows where it is made and does not grow on its way. Numbers are compared one by one, each with the bound
 * that the second computation carries with it (bounded.h). */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "checks.h"
#include "plain_model.h"

typedef struct stages {
    const ds_side *exact;
    const ds_batch *batch;
    ds_plain plain;
    size_t tokens, rows, count; /* count: numbers of a state */
    double *before, *own, *nll; /* (B,T,dv,d) X_s; (B,T,d) readout; (B,T) */
    ds_bounded other, hidden;   /* the plain computation, and how far the model may be from it */
    ds_worst worst;
} stages;

static ds_status stages_init(stages *s, ds_verify *v) {
    ds_status status = DS_OK;
    const ds_batch *batch = &v->narrow.batch;
    size_t tokens = batch->sequences * batch->length, rows = tokens * v->spec->hidden;
    *s =
        (stages){.exact = ds_exact(v), .batch = batch, .tokens = tokens, .rows = rows, .count = rows * ds_spec_planes(v->spec)};
    DS_TRY(ds_plain_init(&s->plain, s->exact->model, batch->length));
    s->plain.arithmetic = ds_arithmetic_between(DS_F64);
    double **const states[] = {&s->before, &s->other.x, &s->other.e};
    for (size_t i = 0; i < sizeof states / sizeof states[0]; i++) DS_NEW_ARRAY(*states[i], s->count);
    DS_NEW_ARRAY(s->hidden.x, rows);
    DS_NEW_ARRAY(s->hidden.e, rows);
    DS_NEW_ARRAY(s->own, rows);
    DS_NEW_ARRAY(s->nll, tokens);
done:
    return status;
}

static void stages_release(stages *s) {
    ds_plain_release(&s->plain);
    void *const arrays[] = {s->before, s->own, s->nll, s->other.x, s->other.e, s->hidden.x, s->hidden.e};
    for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++) free(arrays[i]);
}

static void compare(stages *s, const double *found, ds_bounded other, size_t count) {
    for (size_t i = 0; i < count; i++) ds_worst_add(&s->worst, fabs(found[i] - other.x[i]), other.e[i]);
}

/* X_s in `before` becomes X_{s+1}. */
static ds_status step(stages *s, size_t sublayer) {
    ds_status status = DS_OK;
    DS_TRY(ds_plain_step(s->other, &s->plain, s->batch->sequences, (ds_bounded){s->before, NULL}, sublayer));
    DS_TRY(ds_sublayers(s->exact->workspace, s->exact->model, s->batch, s->before, sublayer, sublayer + 1, NULL, NULL));
    compare(s, s->before, s->other, s->count);
done:
    return status;
}

/* From the model's X_S to what the head multiplies, in `own`. */
static ds_status finish(stages *s) {
    ds_status status = DS_OK;
    DS_TRY(ds_embed(s->exact->workspace, s->exact->model, s->batch, s->before));
    DS_TRY(ds_sublayers(s->exact->workspace, s->exact->model, s->batch, s->before, 0, ds_spec_sublayers(s->plain.spec), NULL,
                        NULL));
    DS_TRY(ds_readout(s->exact->workspace, s->exact->model, s->batch, NULL, s->before, s->own));
    DS_TRY(ds_plain_finish(s->hidden, &s->plain, s->batch->sequences, (ds_bounded){s->before, NULL}));
    compare(s, s->own, s->hidden, s->rows);
done:
    return status;
}

/* ---- the second computation
 * ------------------------------------------------------------------------------------------------ */

ds_status ds_check_embedding(ds_check_result *result, ds_verify *v) {
    ds_status status = DS_OK;
    stages s;
    DS_TRY(stages_init(&s, v));
    DS_TRY(ds_embed(s.exact->workspace, s.exact->model, s.batch, s.before));
    ds_plain_start(s.other, &s.plain, s.batch);
    compare(&s, s.before, s.other, s.count);
    ds_worst_report(result, &s.worst);
done:
    stages_release(&s);
    return status;
}

ds_status ds_check_sublayers(ds_check_result *result, ds_verify *v) {
    ds_status status = DS_OK;
    size_t where = 0;
    char name[32];
    stages s;
    DS_TRY(stages_init(&s, v));
    DS_TRY(ds_embed(s.exact->workspace, s.exact->model, s.batch, s.before));
    for (size_t sublayer = 0; sublayer < ds_spec_sublayers(v->spec); sublayer++) {
        double before = s.worst.ratio;
        DS_TRY(step(&s, sublayer));
        if (s.worst.ratio > before) where = sublayer;
    }
    ds_worst_report(result, &s.worst);
    (void)snprintf(result->detail, sizeof result->detail, "%zu tokens of %zu windows; largest for its size at %s",
                   s.batch->length, s.batch->sequences, ds_sublayer_name(name, where));
done:
    stages_release(&s);
    return status;
}

ds_status ds_check_readout(ds_check_result *result, ds_verify *v) {
    ds_status status = DS_OK;
    stages s;
    DS_TRY(stages_init(&s, v));
    DS_TRY(finish(&s));
    ds_worst_report(result, &s.worst);
done:
    stages_release(&s);
    return status;
}

/* The loss is the log-sum-exp of a row's logits less the target's. */
ds_status ds_check_logits(ds_check_result *result, ds_verify *v) {
    ds_status status = DS_OK;
    size_t d = v->spec->hidden, vocab = v->spec->vocab;
    double *logits = NULL;
    stages s;
    DS_TRY(stages_init(&s, v));
    DS_NEW_ARRAY(logits, vocab);
    DS_TRY(finish(&s));
    s.worst = (ds_worst){0};
    memset(s.hidden.e, 0, s.rows * sizeof *s.hidden.e);
    DS_TRY(ds_head_loss(s.exact->workspace, s.exact->model, s.batch, s.own, s.nll));
    for (size_t t = 0; t < s.tokens; t++) {
        double nll, error;
        DS_TRY(ds_plain_loss(&nll, &error, &s.plain, (ds_bounded){s.own + t * d, s.hidden.e}, s.batch->targets[t]));
        ds_worst_add(&s.worst, fabs(s.nll[t] - nll), error);
        DS_TRY(ds_head_logits(s.exact->model, s.own, t, 1, logits));
        compare(&s, logits, s.plain.logits, vocab);
    }
    ds_worst_report(result, &s.worst);
done:
    stages_release(&s);
    free(logits);
    return status;
}
