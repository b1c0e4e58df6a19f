/* The model against its second computation, stage by stage: each stage starts from the model's own input to it, so that an
 * error shows where it is made and does not grow on its way. */
#include <math.h>
#include <stdlib.h>

#include "checks.h"
#include "plain_model.h"

/* The change a stage's output undergoes when its input is multiplied by 1 +- SIZE says what one rounding would do to it. */
static const double SIZE = 0x1p-30;
static const double u64 = 0x1p-53;

/* What one stage of one window needs. The model's layout is (T,dv,d), the plain one (T,d,dv). */
typedef struct stage {
    ds_verify *v;
    ds_plain plain;
    size_t length, d, dv, count; /* count: numbers of one window's state */
    double *input, *output, *moved, *other;
    ds_batch window;
} stage;

static void transpose(double *out, const double *in, const stage *s) {
    for (size_t t = 0; t < s->length; t++, in += s->d * s->dv, out += s->d * s->dv) {
        for (size_t i = 0; i < s->d; i++)
            for (size_t j = 0; j < s->dv; j++) out[i * s->dv + j] = in[j * s->d + i];
    }
}

static ds_status stage_init(stage *s, ds_verify *v) {
    ds_status status = DS_OK;
    const ds_spec *spec = v->spec;
    *s = (stage){.v = v,
                 .length = v->narrow.batch.length,
                 .d = spec->hidden,
                 .dv = spec->value_channels,
                 .count = v->narrow.batch.length * spec->hidden * spec->value_channels};
    DS_TRY(ds_plain_init(&s->plain, ds_exact(v)->model, s->length));
    DS_NEW_ARRAY(s->input, s->count);
    DS_NEW_ARRAY(s->output, s->count);
    DS_NEW_ARRAY(s->moved, s->count);
    DS_NEW_ARRAY(s->other, s->count);
done:
    return status;
}

static void stage_release(stage *s) {
    ds_plain_release(&s->plain);
    free(s->input);
    free(s->output);
    free(s->moved);
    free(s->other);
}

static void take_window(stage *s, size_t b) {
    const ds_batch *batch = &s->v->narrow.batch;
    s->window = (ds_batch){batch->tokens + b * s->length, batch->targets + b * s->length, 1, s->length};
}

static void perturb(double *moved, const double *input, size_t count, uint64_t seed) {
    ds_random random = ds_random_init(seed);
    for (size_t i = 0; i < count; i++) moved[i] = input[i] * ((ds_random_u64(&random) >> 63) != 0 ? 1 + SIZE : 1 - SIZE);
}

static double distance(const double *x, const double *y, size_t count) {
    double squares = 0;
    for (size_t i = 0; i < count; i++) squares += (x[i] - y[i]) * (x[i] - y[i]);
    return sqrt(squares);
}

/* other: the plain result in the model's layout's transpose; output, moved: the model's, transposed in place of `input`. */
static void compare(ds_worst *worst, const stage *s, const double *plain, const double *output, const double *moved,
                    size_t count) {
    double gain = distance(moved, output, count) / SIZE, roundings = ds_chain_roundings(s->v->spec, s->length);
    ds_worst_add(worst, distance(plain, output, count), roundings * u64 * (gain + ds_norm_plain(output, count)));
}

/* ---- the stages ---------------------------------------------------------------------------------------------------------- */

/* Sums of K products: each product and each addition rounds once, in both computations. */
ds_status ds_check_embedding(ds_check_result *result, ds_verify *v) {
    ds_status status = DS_OK;
    const ds_side *exact = ds_exact(v);
    ds_worst worst = {0};
    stage s;
    DS_TRY(stage_init(&s, v));
    for (size_t b = 0; b < v->narrow.batch.sequences; b++) {
        take_window(&s, b);
        DS_TRY(ds_embed(exact->workspace, exact->model, &s.window, s.input));
        transpose(s.output, s.input, &s);
        ds_plain_embed(s.other, s.moved, &s.plain, s.window.tokens);
        double kernel = v->spec->input_conv ? (double)v->spec->input_kernel : 0;
        for (size_t i = 0; i < s.count; i++)
            ds_worst_add(&worst, fabs(s.output[i] - s.other[i]), 2 * kernel * u64 * s.moved[i]);
    }
    ds_worst_report(result, &worst);
done:
    stage_release(&s);
    return status;
}

/* s->input: X_s in the model's layout, which becomes X_{s+1}. */
static ds_status compare_sublayer(ds_worst *worst, stage *s, size_t sublayer) {
    ds_status status = DS_OK;
    const ds_side *exact = ds_exact(s->v);
    transpose(s->other, s->input, s);
    perturb(s->moved, s->input, s->count, s->v->seed + sublayer);
    DS_TRY(ds_sublayers(exact->workspace, exact->model, &s->window, s->input, sublayer, sublayer + 1, NULL, NULL));
    DS_TRY(ds_sublayers(exact->workspace, exact->model, &s->window, s->moved, sublayer, sublayer + 1, NULL, NULL));
    DS_TRY(ds_plain_sublayer(&s->plain, s->other, sublayer));
    transpose(s->output, s->moved, s);
    for (size_t i = 0; i < s->count; i++) s->moved[i] = s->output[i];
    transpose(s->output, s->input, s);
    compare(worst, s, s->other, s->output, s->moved, s->count);
done:
    return status;
}

ds_status ds_check_sublayers(ds_check_result *result, ds_verify *v) {
    ds_status status = DS_OK;
    const ds_side *exact = ds_exact(v);
    ds_worst worst = {0};
    size_t where = 0;
    stage s;
    DS_TRY(stage_init(&s, v));
    for (size_t b = 0; b < v->narrow.batch.sequences; b++) {
        take_window(&s, b);
        DS_TRY(ds_embed(exact->workspace, exact->model, &s.window, s.input));
        for (size_t sublayer = 0; sublayer < ds_spec_sublayers(v->spec); sublayer++) {
            double before = worst.ratio;
            DS_TRY(compare_sublayer(&worst, &s, sublayer));
            if (worst.ratio > before) where = sublayer;
        }
    }
    ds_worst_report(result, &worst);
    char name[32];
    (void)snprintf(result->detail, sizeof result->detail, "%zu tokens of %zu windows; largest for its size at %s", s.length,
                   v->narrow.batch.sequences, ds_sublayer_name(name, where));
done:
    stage_release(&s);
    return status;
}

ds_status ds_check_readout(ds_check_result *result, ds_verify *v) {
    ds_status status = DS_OK;
    const ds_side *exact = ds_exact(v);
    ds_worst worst = {0};
    stage s;
    DS_TRY(stage_init(&s, v));
    for (size_t b = 0; b < v->narrow.batch.sequences; b++) {
        take_window(&s, b);
        DS_TRY(ds_embed(exact->workspace, exact->model, &s.window, s.input));
        DS_TRY(ds_sublayers(exact->workspace, exact->model, &s.window, s.input, 0, ds_spec_sublayers(v->spec), NULL, NULL));
        perturb(s.other, s.input, s.count, v->seed);
        DS_TRY(ds_readout(exact->workspace, exact->model, &s.window, s.other, s.moved));
        DS_TRY(ds_readout(exact->workspace, exact->model, &s.window, s.input, s.output));
        transpose(s.other, s.input, &s);
        ds_plain_readout(&s.plain, s.input, s.other);
        compare(&worst, &s, s.input, s.output, s.moved, s.length * s.d);
    }
    ds_worst_report(result, &worst);
done:
    stage_release(&s);
    return status;
}

/* One row: logits by plain sums of d products, each d + 1 roundings of the sum of absolute products, in both computations; the
 * loss, log-sum-exp of them less the target's, moves by no more than twice the largest logit error, and by the V terms of its
 * own sum. */
static ds_status compare_row(ds_worst *worst, const stage *s, const double *hidden, double *logits, const double *model_logits,
                             double nll, uint32_t target) {
    ds_status status = DS_OK;
    const ds_spec *spec = s->v->spec;
    const double *table = ds_plain_find(s->plain.model, "transformer.wte.weight", NULL);
    double highest = -INFINITY, sum = 0, error = 0;
    DS_TRY(ds_plain_linear(logits, hidden, table, 1, spec->vocab, spec->hidden));
    for (size_t k = 0; k < spec->vocab; k++) {
        double size = 0;
        for (size_t i = 0; i < spec->hidden; i++) size += fabs(hidden[i] * table[k * spec->hidden + i]);
        double tolerance = 2 * ((double)spec->hidden + 2) * u64 * fabs(spec->logit_scale) * size;
        logits[k] *= spec->logit_scale;
        ds_worst_add(worst, fabs(logits[k] - model_logits[k]), tolerance);
        error = fmax(error, tolerance);
        highest = fmax(highest, logits[k]);
    }
    for (size_t k = 0; k < spec->vocab; k++) sum += exp(logits[k] - highest);
    ds_worst_add(worst, fabs(highest + log(sum) - logits[target] - nll),
                 2 * error + ((double)spec->vocab + 8) * u64 + 4 * u64 * (fabs(highest) + fabs(logits[target])));
done:
    return status;
}

ds_status ds_check_logits(ds_check_result *result, ds_verify *v) {
    ds_status status = DS_OK;
    const ds_side *exact = ds_exact(v);
    const ds_batch *batch = &v->narrow.batch;
    size_t tokens = batch->sequences * batch->length;
    void *hidden = NULL;
    double *nll = NULL, *logits = NULL, *model_logits = NULL;
    ds_worst worst = {0};
    stage s;
    DS_TRY(stage_init(&s, v));
    DS_NEW_ARRAY(nll, tokens);
    DS_NEW_ARRAY(logits, v->spec->vocab);
    DS_NEW_ARRAY(model_logits, v->spec->vocab);
    DS_TRY(ds_run_depth(NULL, &hidden, exact, batch, NULL, NULL));
    DS_TRY(ds_head_loss(exact->workspace, exact->model, batch, hidden, nll));
    for (size_t t = 0; t < tokens; t++) {
        DS_TRY(ds_head_logits(exact->model, hidden, t, 1, model_logits));
        DS_TRY(compare_row(&worst, &s, (const double *)hidden + t * s.d, logits, model_logits, nll[t], batch->targets[t]));
    }
    ds_worst_report(result, &worst);
done:
    stage_release(&s);
    free(hidden);
    free(nll);
    free(logits);
    free(model_logits);
    return status;
}
