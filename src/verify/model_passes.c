/* How checks run the model: whole passes, token by token, and how much it amplifies small changes. */
#include <math.h>
#include <stdlib.h>

#include "checks.h"

double ds_dot_plain(const double *x, const double *y, size_t count) {
    double sum = 0;
    for (size_t i = 0; i < count; i++) sum += x[i] * y[i];
    return sum;
}

double ds_norm_plain(const double *x, size_t count) { return sqrt(ds_dot_plain(x, x, count)); }

ds_status ds_run_depth(void **state_out, void **hidden_out, const ds_side *side, const ds_batch *batch, const ds_force *forces,
                       const ds_observer *observer) {
    ds_status status = DS_OK;
    const ds_spec *spec = ds_model_spec(side->model);
    size_t tokens = batch->sequences * batch->length, size = ds_precision_size(side->precision);
    char *state = NULL, *hidden = NULL;
    DS_NEW_ARRAY(state, tokens * spec->value_channels * spec->hidden * size);
    DS_TRY(ds_embed(side->workspace, side->model, batch, state));
    DS_TRY(ds_sublayers(side->workspace, side->model, batch, state, 0, ds_spec_sublayers(spec), forces, observer));
    if (hidden_out != NULL) {
        DS_NEW_ARRAY(hidden, tokens * spec->hidden * size);
        DS_TRY(ds_readout(side->workspace, side->model, batch, state, hidden));
        *hidden_out = hidden;
        hidden = NULL;
    }
    if (state_out != NULL) {
        *state_out = state;
        state = NULL;
    }
done:
    free(state);
    free(hidden);
    return status;
}

/* ---- token by token ------------------------------------------------------------------------------------------------------ */

typedef struct edit_walk {
    const ds_spec *spec;
    const ds_side *side;
    double *k, *before, *after; /* one token */
    ds_edit_check check;
    void *context;
} edit_walk;

static ds_status visit_sublayer(void *context, const ds_observation *seen) {
    ds_status status = DS_OK;
    edit_walk *walk = context;
    size_t d = seen->hidden, dv = seen->planes, size = d * dv;
    for (size_t t = 0; t < seen->sequences * seen->length; t++) {
        ds_widen(walk->k, seen->delta->k, t * d, d, seen->precision);
        ds_widen(walk->before, seen->before, t * size, size, seen->precision);
        ds_widen(walk->after, seen->after, t * size, size, seen->precision);
        ds_edit edit = {.d = d,
                        .dv = dv,
                        .sublayer = seen->sublayer,
                        .token = t,
                        .roundoff = walk->side->roundoff,
                        .mult = walk->spec->residual_mult,
                        .beta = seen->delta->beta[t],
                        .k_norm2 = seen->delta->k_norm2[t],
                        .kk = ds_dot_plain(walk->k, walk->k, d),
                        .k = walk->k,
                        .before = walk->before,
                        .after = walk->after,
                        .target = seen->delta->target + t * dv};
        edit.b = edit.mult * edit.beta * edit.kk;
        DS_TRY(walk->check(walk->context, &edit));
    }
done:
    return status;
}

ds_status ds_each_edit(ds_verify *v, const ds_force *forces, ds_edit_check check, void *context) {
    ds_status status = DS_OK;
    const ds_spec *spec = v->spec;
    edit_walk walk = {.spec = spec, .check = check, .context = context};
    ds_observer observer = {DS_OBSERVE_GATES | DS_OBSERVE_DIRECTIONS | DS_OBSERVE_STATES, visit_sublayer, &walk};
    DS_NEW_ARRAY(walk.k, spec->hidden);
    DS_NEW_ARRAY(walk.before, spec->hidden * spec->value_channels);
    DS_NEW_ARRAY(walk.after, spec->hidden * spec->value_channels);
    for (size_t i = 0; i < v->side_count; i++) {
        walk.side = &v->sides[i];
        DS_TRY(ds_run_depth(NULL, NULL, walk.side, &v->wide.batch, forces, &observer));
    }
done:
    free(walk.k);
    free(walk.before);
    free(walk.after);
    return status;
}

/* ---- amplification ------------------------------------------------------------------------------------------------------- */

static void perturb(double *x, size_t count, double size, ds_random *random) {
    for (size_t i = 0; i < count; i++) x[i] *= (ds_random_u64(random) >> 63) != 0 ? 1 + size : 1 - size;
}

/* Readout and nll of the double model, each state multiplied by 1 +- size on the way. */
static ds_status perturbed_pass(double *hidden, double *nll, ds_verify *v, double size) {
    ds_status status = DS_OK;
    const ds_side *side = ds_exact(v);
    const ds_batch *batch = &v->wide.batch;
    size_t count = batch->sequences * batch->length * v->spec->value_channels * v->spec->hidden;
    ds_random random = ds_random_init(v->seed);
    double *state = NULL;
    DS_NEW_ARRAY(state, count);
    DS_TRY(ds_embed(side->workspace, side->model, batch, state));
    for (size_t s = 0; s < ds_spec_sublayers(v->spec); s++) {
        perturb(state, count, size, &random);
        DS_TRY(ds_sublayers(side->workspace, side->model, batch, state, s, s + 1, NULL, NULL));
    }
    perturb(state, count, size, &random);
    DS_TRY(ds_readout(side->workspace, side->model, batch, state, hidden));
    DS_TRY(ds_head_loss(side->workspace, side->model, batch, hidden, nll));
done:
    free(state);
    return status;
}

ds_status ds_verify_amplification(ds_verify *v) {
    ds_status status = DS_OK;
    /* Small enough for first order, large enough that rounding does not show. */
    const double size = 0x1p-30;
    size_t tokens = v->wide.batch.sequences * v->wide.batch.length, count = tokens * v->spec->hidden;
    double *hidden[2] = {NULL, NULL}, *nll[2] = {NULL, NULL}, squares = 0, largest = 0;
    if (v->hidden_gain >= 0) return DS_OK;
    for (size_t i = 0; i < 2; i++) {
        DS_NEW_ARRAY(hidden[i], count);
        DS_NEW_ARRAY(nll[i], tokens);
        DS_TRY(perturbed_pass(hidden[i], nll[i], v, i == 0 ? 0 : size));
    }
    for (size_t i = 0; i < count; i++) squares += (hidden[1][i] - hidden[0][i]) * (hidden[1][i] - hidden[0][i]);
    for (size_t i = 0; i < tokens; i++) largest = fmax(largest, fabs(nll[1][i] - nll[0][i]));
    v->hidden_gain = sqrt(squares) / size;
    v->nll_gain = largest / size;
done:
    for (size_t i = 0; i < 2; i++) {
        free(hidden[i]);
        free(nll[i]);
    }
    return status;
}

double ds_chain_roundings(const ds_spec *spec, size_t length) {
    size_t longest = ds_max_size(ds_max_size(spec->hidden * spec->value_channels, spec->mlp_hidden),
                                 ds_max_size(spec->heads * spec->head_dim, length));
    return 4 * (8 + sqrt((double)longest));
}
