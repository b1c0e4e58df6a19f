/* Attention over depth, read by read, from the model's own history in double: the weights told of a read, what they do. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "checks.h"
#include "plain_model.h"

static const double u64 = 0x1p-53;

/* A pass's history, and what one read makes of it. */
typedef struct reads {
    const ds_verify *v;
    const ds_side *side;
    const ds_batch *batch;
    ds_plain_depth_form form;
    size_t tokens, d, planes, sublayers;
    void *history;               /* (B,T,planes,d) */
    double *read, *other;        /* (B,T,d) */
    double *weights, *reweighed; /* (B,T,planes) */
    ds_force *forces;
    ds_worst worst;
} reads;

static ds_status reads_init(reads *r, ds_verify *v) {
    ds_status status = DS_OK;
    const ds_spec *spec = v->spec;
    *r = (reads){.v = v,
                 .side = ds_exact(v),
                 .batch = &v->narrow.batch,
                 .form = ds_plain_depth_form_of(spec),
                 .tokens = v->narrow.batch.sequences * v->narrow.batch.length,
                 .d = spec->hidden,
                 .planes = ds_spec_planes(spec),
                 .sublayers = ds_spec_sublayers(spec)};
    DS_NEW_ARRAY(r->read, r->tokens * r->d);
    DS_NEW_ARRAY(r->other, r->tokens * r->d);
    DS_NEW_ARRAY(r->weights, r->tokens * r->planes);
    DS_NEW_ARRAY(r->reweighed, r->tokens * r->planes);
    DS_NEW(r->forces, r->planes);
    DS_TRY(ds_run_depth(&r->history, NULL, r->side, r->batch, NULL, NULL));
done:
    return status;
}

static void reads_release(reads *r) {
    void *const arrays[] = {r->history, r->read, r->other, r->weights, r->reweighed, r->forces};
    for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++) free(arrays[i]);
}

static ds_status read_into(double *read, const reads *r, size_t s) {
    return ds_read(r->side->workspace, r->side->model, r->batch, r->forces, s, r->history, read);
}

static ds_status mix_into(double *weights, const reads *r, size_t s) {
    return ds_mix(r->side->workspace, r->side->model, r->batch, r->forces, s, r->history, weights);
}

static void force_all(reads *r, unsigned mode) {
    for (size_t s = 0; s < ds_spec_forces(r->v->spec); s++) r->forces[s].mode = mode;
}

/* v_i of a token, feature k. */
static double written(const reads *r, size_t t, size_t i, size_t k) {
    return ((const double *)r->history)[(t * r->planes + i) * r->d + k];
}

/* Why weights of outputs do not say all of a read; NULL: they do. A gate alpha may be of either sign, so that terms cancel. */
static const char *why_not_mixed(const ds_spec *spec) {
    if (spec->depth_null) return "a null source is no output of anything";
    if (spec->depth_gate == DS_DEPTH_VECTOR) return "a gate for each feature leaves no one weight of an output";
    if (spec->depth_gate == DS_DEPTH_ALPHA) return "a gate of either sign leaves no bound on what cancels";
    return NULL;
}

/* A source sums up to s + 1 outputs, alpha is kept and multiplied, r and what the gate does to it are summed; weights of an
 * output are sums over sources: in all 4 (s + 1) + 16 roundings of terms that are never negative. */
static ds_status compare_mixed(reads *r, size_t s) {
    ds_status status = DS_OK;
    double roundings = 4 * (double)(s + 1) + 16;
    DS_TRY(read_into(r->read, r, s));
    DS_TRY(mix_into(r->weights, r, s));
    for (size_t at = 0; at < r->tokens * r->d; at++) {
        double sum = 0, size = 0;
        for (size_t i = 0; i <= s; i++) {
            double term = r->weights[at / r->d * (s + 1) + i] * written(r, at / r->d, i, at % r->d);
            sum += term;
            size += fabs(term);
        }
        ds_worst_add(&r->worst, fabs(r->read[at] - sum), 2 * roundings * u64 * size);
    }
done:
    return status;
}

ds_status ds_check_depth_mixing(ds_check_result *result, ds_verify *v) {
    ds_status status = DS_OK;
    const char *reason = why_not_mixed(v->spec);
    reads r = {.v = NULL};
    if (reason != NULL) {
        ds_check_skip(result, reason);
        return DS_OK;
    }
    DS_TRY(reads_init(&r, v));
    for (size_t s = 0; s <= r.sublayers; s++) DS_TRY(compare_mixed(&r, s));
    ds_worst_report(result, &r.worst);
done:
    reads_release(&r);
    return status;
}

/* Why weights of outputs are not those of a softmax; NULL: they are, but for the 1 that a running sum adds. */
static const char *why_not_softmax(const ds_spec *spec, bool single) {
    if (spec->depth_gate != DS_DEPTH_UNGATED) return "a gate scales the weights";
    if (spec->depth_null) return "a null source has a weight that no output has";
    return single ? NULL : "its sources are sums of outputs, which share a weight";
}

/* n roundings of a sum of n weights, each of which has 4; where 1 was added, 2 more of numbers of size 1 each. */
static ds_status compare_weights(reads *r, size_t s) {
    ds_status status = DS_OK;
    double base = r->form.additive ? 1 : 0, n = (double)(s + 1);
    DS_TRY(mix_into(r->weights, r, s));
    for (size_t t = 0; t < r->tokens; t++) {
        double sum = 0;
        for (size_t i = 0; i <= s; i++) {
            double weight = r->weights[t * (s + 1) + i] - base;
            ds_worst_add(&r->worst, fmax(0, -weight), 0);
            sum += weight;
        }
        bool chooses = !r->form.additive || (s > 0 && s < r->sublayers);
        if (r->form.single && chooses) ds_worst_add(&r->worst, fabs(sum - 1), (n + 8 + 2 * base * n) * u64);
    }
done:
    return status;
}

/* A closed sublayer is taken out of the running sum too: then its weight is 0, not 1. */
ds_status ds_check_depth_weights(ds_check_result *result, ds_verify *v) {
    ds_status status = DS_OK;
    const char *reason =
        ds_spec_is_control(v->spec) ? "outputs of closed sublayers have no weight" : why_not_softmax(v->spec, true);
    reads r = {.v = NULL};
    if (reason != NULL) {
        ds_check_skip(result, reason);
        return DS_OK;
    }
    DS_TRY(reads_init(&r, v));
    for (size_t s = 0; s <= r.sublayers; s++) DS_TRY(compare_weights(&r, s));
    ds_worst_report(result, &r.worst);
done:
    reads_release(&r);
    return status;
}

/* The sum of all outputs rounds s times, and so do the sources and their mean. */
static ds_status compare_uniform(reads *r, size_t s) {
    ds_status status = DS_OK;
    double roundings = 4 * (double)(s + 1) + 16;
    force_all(r, DS_FORCE_UNIFORM);
    DS_TRY(read_into(r->read, r, s));
    DS_TRY(mix_into(r->weights, r, s));
    force_all(r, DS_FORCE_RESIDUAL);
    DS_TRY(read_into(r->other, r, s));
    for (size_t at = 0; at < r->tokens * r->d; at++) {
        double share = r->weights[at / r->d * (s + 1)], size = 0;
        for (size_t i = 0; i <= s; i++) size += share * fabs(written(r, at / r->d, i, at % r->d));
        ds_worst_add(&r->worst, fabs(r->read[at] - share * r->other[at]), roundings * u64 * size);
    }
done:
    return status;
}

ds_status ds_check_depth_uniform(ds_check_result *result, ds_verify *v) {
    ds_status status = DS_OK;
    bool parts = ds_plain_depth_form_of(v->spec).partition;
    const char *reason =
        parts ? why_not_softmax(v->spec, true) : "its sources are no parts of one sum: they overlap or alternate";
    reads r = {.v = NULL};
    if (reason != NULL) {
        ds_check_skip(result, reason);
        return DS_OK;
    }
    DS_TRY(reads_init(&r, v));
    for (size_t s = 0; s < ds_spec_forces(v->spec); s++) DS_TRY(compare_uniform(&r, s));
    ds_worst_report(result, &r.worst);
    (void)snprintf(result->detail, sizeof result->detail, "a norm that follows takes the factor away, up to its eps");
done:
    reads_release(&r);
    return status;
}

/* Without source j the others have alpha_i / (1 - alpha_j): n + 8 roundings of either softmax, 2 of what 1 was added to, all of
 * it divided by what is left. */
static ds_status compare_slots(reads *r, size_t s, size_t closed) {
    ds_status status = DS_OK;
    double base = r->form.additive ? 1 : 0, roundings = 2 * ((double)(s + 1) + 8) + 8;
    force_all(r, DS_FORCE_NONE);
    DS_TRY(mix_into(r->weights, r, s));
    r->forces[closed].mode = DS_FORCE_CLOSED;
    DS_TRY(mix_into(r->reweighed, r, s));
    for (size_t t = 0; t < r->tokens; t++) {
        const double *before = r->weights + t * (s + 1), *after = r->reweighed + t * (s + 1);
        double left = 1 - (before[closed + 1] - base);
        ds_worst_add(&r->worst, fabs(after[closed + 1]), 0);
        for (size_t i = 0; i <= s && left > 0; i++) {
            double expected = (before[i] - base) / left;
            if (i != closed + 1)
                ds_worst_add(&r->worst, fabs(after[i] - base - expected), roundings * u64 * (1 + expected) / left);
        }
    }
done:
    return status;
}

/* The first, the middle and the last sublayer that a later read chooses from. */
ds_status ds_check_depth_slots(ds_check_result *result, ds_verify *v) {
    ds_status status = DS_OK;
    const char *reason = why_not_softmax(v->spec, ds_plain_depth_form_of(v->spec).single);
    reads r = {.v = NULL};
    if (reason == NULL && ds_spec_is_control(v->spec)) reason = "outputs of closed sublayers have no weight";
    if (reason != NULL) {
        ds_check_skip(result, reason);
        return DS_OK;
    }
    DS_TRY(reads_init(&r, v));
    size_t last = ds_spec_forces(v->spec) - 1;
    const size_t closed[] = {0, (last - 1) / 2, last - 1};
    for (size_t c = 0; c < sizeof closed / sizeof closed[0]; c++)
        for (size_t s = closed[c] + 1; s <= last; s++) DS_TRY(compare_slots(&r, s, closed[c]));
    ds_worst_report(result, &r.worst);
done:
    reads_release(&r);
    return status;
}
