/* How checks run the model: whole passes, and token by token. */
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
    DS_NEW_ARRAY(state, tokens * ds_spec_planes(spec) * spec->hidden * size);
    DS_TRY(ds_embed(side->workspace, side->model, batch, state));
    DS_TRY(ds_sublayers(side->workspace, side->model, batch, state, 0, ds_spec_sublayers(spec), forces, observer));
    if (hidden_out != NULL) {
        DS_NEW_ARRAY(hidden, tokens * spec->hidden * size);
        DS_TRY(ds_readout(side->workspace, side->model, batch, forces, state, hidden));
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
