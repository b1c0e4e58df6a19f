/* Where the paper's text, the reference files and the fused kernels differ: which form this computation has, and how much the
 * other one would matter on this checkpoint (MODEL heading: Where the published code and the paper's text differ). */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "checks.h"
#include "plain_model.h"

static const double u64 = 0x1p-53;

/* ---- the value branch ---------------------------------------------------------------------------------------------------- */

typedef struct value_check {
    ds_verify *v;
    ds_plain plain;
    ds_batch window;
    double *state;           /* (T,dv,d) */
    ds_bounded after;        /* (T,dv,d) */
    double *target, *linear; /* (T,dv): as the model had it; W_v c */
    double difference, size; /* sums of squares of v - W_v c and of v */
    ds_worst worst;
} value_check;

static ds_status keep_target(void *context, const ds_observation *seen) {
    value_check *check = context;
    memcpy(check->target, seen->delta->target, seen->length * seen->delta->value_channels * sizeof *check->target);
    return DS_OK;
}

/* The model's v and the plain one, whose bound covers both. */
static ds_status compare_value(value_check *check, size_t sublayer) {
    ds_status status = DS_OK;
    const ds_spec *spec = check->v->spec;
    const ds_side *exact = ds_exact(check->v);
    size_t d = spec->hidden, dv = spec->value_channels, length = check->window.length;
    ds_observer observer = {DS_OBSERVE_GATES, keep_target, check};
    char name[96];
    (void)snprintf(name, sizeof name, "ddl_%s.v_proj.weight", sublayer % 2 == 0 ? "attn" : "mlp");
    const double *weight = ds_plain_of(&check->plain, sublayer / 2, name, NULL);
    DS_TRY(ds_plain_step(check->after, &check->plain, 1, (ds_bounded){check->state, NULL}, sublayer));
    DS_TRY(ds_sublayers(exact->workspace, exact->model, &check->window, check->state, sublayer, sublayer + 1, NULL, &observer));
    DS_TRY(ds_plain_linear(check->linear, check->plain.context.x, weight, length, dv, d));
    for (size_t i = 0; i < length * dv; i++) {
        double v = check->target[i];
        ds_worst_add(&check->worst, fabs(v - check->plain.target.x[i]), check->plain.target.e[i]);
        check->difference += (v - check->linear[i]) * (v - check->linear[i]);
        check->size += v * v;
    }
done:
    return status;
}

ds_status ds_check_value_form(ds_check_result *result, ds_verify *v) {
    ds_status status = DS_OK;
    const ds_batch *batch = &v->narrow.batch;
    size_t numbers = batch->length * v->spec->value_channels;
    value_check check = {.v = v};
    if (v->spec->value_constant) {
        ds_check_skip(result, "v is a constant of the configuration");
        return DS_OK;
    }
    DS_TRY(ds_plain_init(&check.plain, ds_exact(v)->model, batch->length));
    check.plain.arithmetic = ds_arithmetic_between(DS_F64);
    DS_NEW_ARRAY(check.state, numbers * v->spec->hidden);
    DS_NEW_ARRAY(check.after.x, numbers * v->spec->hidden);
    DS_NEW_ARRAY(check.after.e, numbers * v->spec->hidden);
    DS_NEW_ARRAY(check.target, numbers);
    DS_NEW_ARRAY(check.linear, numbers);
    for (size_t b = 0; b < batch->sequences; b++) {
        check.window = (ds_batch){batch->tokens + b * batch->length, batch->targets + b * batch->length, 1, batch->length};
        DS_TRY(ds_embed(ds_exact(v)->workspace, ds_exact(v)->model, &check.window, check.state));
        for (size_t s = 0; s < ds_spec_sublayers(v->spec); s++) DS_TRY(compare_value(&check, s));
    }
    ds_worst_report(result, &check.worst);
    double count = (double)(numbers * batch->sequences * ds_spec_sublayers(v->spec));
    (void)snprintf(result->detail, sizeof result->detail, "v has rms %.3g; W_v c, the paper's form, differs by rms %.3g",
                   sqrt(check.size / count), sqrt(check.difference / count));
done:
    ds_plain_release(&check.plain);
    free(check.state);
    free(check.after.x);
    free(check.after.e);
    free(check.target);
    free(check.linear);
    return status;
}

/* ---- the fused kernels' epsilon ------------------------------------------------------------------------------------------ */

typedef struct epsilon_check {
    size_t tokens;
    double *beta, *k_norm2[2]; /* (B,T) */
    size_t which;
} epsilon_check;

static ds_status keep_norm(void *context, const ds_observation *seen) {
    epsilon_check *check = context;
    memcpy(check->k_norm2[check->which], seen->delta->k_norm2, check->tokens * sizeof *seen->delta->k_norm2);
    memcpy(check->beta, seen->delta->beta, check->tokens * sizeof *seen->delta->beta);
    return DS_OK;
}

static ds_status mean_loss(double *loss, const ds_side *side, const ds_batch *batch, double *nll) {
    ds_status status = DS_OK;
    size_t tokens = batch->sequences * batch->length;
    DS_TRY(ds_forward(side->workspace, side->model, batch, NULL, NULL, nll));
    *loss = 0;
    for (size_t i = 0; i < tokens; i++) *loss += nll[i] / (double)tokens;
done:
    return status;
}

/* q = |h|^2 / (|h|^2 + eps^2) gives |h|^2 = eps^2 q / (1 - q), so eps sqrt(d) makes it q / (q + d (1 - q)). q is known to two
 * roundings, hence 1 - q, and d times that to 2 d; the division is by at least 1. Both epsilons start from the same states. */
static ds_status compare_epsilon(ds_worst *worst, double *moved, ds_verify *v, double eps, epsilon_check *check) {
    ds_status status = DS_OK;
    const ds_side *exact = ds_exact(v);
    const ds_batch *batch = &v->narrow.batch;
    const double d = (double)v->spec->hidden;
    ds_observer observer = {DS_OBSERVE_GATES, keep_norm, check};
    size_t count = check->tokens * v->spec->hidden * v->spec->value_channels;
    double *state = NULL, *copy = NULL;
    DS_NEW_ARRAY(state, count);
    DS_NEW_ARRAY(copy, count);
    DS_TRY(ds_embed(exact->workspace, exact->model, batch, state));
    for (size_t s = 0; s < ds_spec_sublayers(v->spec); s++) {
        memcpy(copy, state, count * sizeof *copy);
        ds_model_set_direction_eps(exact->model, eps * sqrt(d));
        check->which = 1;
        DS_TRY(ds_sublayers(exact->workspace, exact->model, batch, copy, s, s + 1, NULL, &observer));
        ds_model_set_direction_eps(exact->model, eps);
        check->which = 0;
        DS_TRY(ds_sublayers(exact->workspace, exact->model, batch, state, s, s + 1, NULL, &observer));
        for (size_t i = 0; i < check->tokens; i++) {
            double q = check->k_norm2[0][i], fused = check->k_norm2[1][i];
            ds_worst_add(worst, fabs(fused - q / (q + d * (1 - q))), (4 * d + 8) * u64);
            moved[0] = fmax(moved[0], fabs(q - fused));
            moved[1] = fmax(moved[1], fabs(v->spec->residual_mult * check->beta[i] * (q - fused)));
        }
    }
done:
    ds_model_set_direction_eps(exact->model, eps);
    free(state);
    free(copy);
    return status;
}

ds_status ds_check_fused_epsilon(ds_check_result *result, ds_verify *v) {
    ds_status status = DS_OK;
    const ds_side *exact = ds_exact(v);
    const ds_batch *batch = &v->narrow.batch;
    const double eps = v->spec->k_eps, fused = eps * sqrt((double)v->spec->hidden);
    double moved[2] = {0, 0}, loss[2] = {0, 0}, *nll = NULL;
    epsilon_check check = {.tokens = batch->sequences * batch->length};
    ds_worst worst = {0};
    DS_NEW_ARRAY(nll, check.tokens);
    DS_NEW_ARRAY(check.beta, check.tokens);
    DS_NEW_ARRAY(check.k_norm2[0], check.tokens);
    DS_NEW_ARRAY(check.k_norm2[1], check.tokens);
    DS_TRY(compare_epsilon(&worst, moved, v, eps, &check));
    DS_TRY(mean_loss(&loss[0], exact, batch, nll));
    ds_model_set_direction_eps(exact->model, fused);
    DS_TRY(mean_loss(&loss[1], exact, batch, nll));
    ds_worst_report(result, &worst);
    (void)snprintf(result->detail, sizeof result->detail,
                   "it would move ‖k‖² by at most %.3g, an eigenvalue by %.3g, the loss by %.3g nats", moved[0], moved[1],
                   fabs(loss[1] - loss[0]));
done:
    ds_model_set_direction_eps(exact->model, eps);
    free(nll);
    free(check.beta);
    free(check.k_norm2[0]);
    free(check.k_norm2[1]);
    return status;
}
