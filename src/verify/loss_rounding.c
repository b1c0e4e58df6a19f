/* What rounding can do to the mean loss of a batch, computed once in double: from samples of the second computation
 * (bounded.h). */
#include <math.h>
#include <stdlib.h>

#include "checks.h"
#include "plain_model.h"

/* Larger than double's, so that what is drawn stands out from the computation's own roundings; small enough for first order. */
static const double drawn = 0x1p-36, u64 = 0x1p-53;

static ds_status mean_loss(double *loss, ds_plain *plain, const ds_batch *batch, ds_bounded state, ds_bounded hidden) {
    ds_status status = DS_OK;
    size_t d = plain->spec->hidden, tokens = batch->sequences * batch->length;
    ds_plain_start(state, plain, batch);
    for (size_t s = 0; s < ds_spec_sublayers(plain->spec); s++) DS_TRY(ds_plain_step(state, plain, batch->sequences, state, s));
    DS_TRY(ds_plain_finish(hidden, plain, batch->sequences, state));
    *loss = 0;
    for (size_t t = 0; t < tokens; t++) {
        double nll, error;
        ds_bounded row = {hidden.x + t * d, hidden.e + t * d};
        DS_TRY(ds_plain_loss(&nll, &error, plain, row, batch->targets[t]));
        *loss += nll / (double)tokens;
    }
done:
    return status;
}

static ds_status measure(double *rounding, const ds_model *model, const ds_batch *batch) {
    ds_status status = DS_OK;
    const ds_spec *spec = ds_model_spec(model);
    size_t tokens = batch->sequences * batch->length, rows = tokens * spec->hidden, count = rows * ds_spec_planes(spec);
    ds_bounded state = {NULL, NULL}, hidden = {NULL, NULL};
    ds_plain plain;
    double loss, largest = 0;
    DS_TRY(ds_plain_init(&plain, model, batch->length));
    DS_NEW_ARRAY(state.x, count);
    DS_NEW_ARRAY(state.e, count);
    DS_NEW_ARRAY(hidden.x, rows);
    DS_NEW_ARRAY(hidden.e, rows);
    plain.arithmetic = ds_arithmetic_exact();
    DS_TRY(mean_loss(&loss, &plain, batch, state, hidden));
    for (uint64_t sample = 1; sample <= DS_SAMPLES; sample++) {
        double moved;
        plain.arithmetic = (ds_arithmetic){.u = drawn, .sum = drawn, .sample = sample};
        DS_TRY(mean_loss(&moved, &plain, batch, state, hidden));
        largest = ds_max_real(largest, fabs(moved - loss));
    }
    *rounding = DS_SAMPLED * u64 / drawn * largest + ((double)tokens + 1) * u64 * fabs(loss);
done:
    ds_plain_release(&plain);
    void *const arrays[] = {state.x, state.e, hidden.x, hidden.e};
    for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++) free(arrays[i]);
    return status;
}

/* Both batches are the same where nothing had to be cut. */
ds_status ds_loss_rounding(double *rounding, ds_verify *v, const ds_batch *batch) {
    ds_status status = DS_OK;
    double *known = &v->loss_rounding[batch->length == v->brief.batch.length ? 0 : 1];
    if (*known < 0) DS_TRY(measure(known, ds_exact(v)->model, batch));
    *rounding = *known;
done:
    return status;
}
