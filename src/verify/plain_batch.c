/* The plain model on whole batches in the model room's layout: window by window, (T,dv,d) turned to the published (T,d,dv). */
#include <math.h>
#include <string.h>

#include "plain_model.h"

/* What one state of a window has. */
static size_t state_count(const ds_plain *plain) { return plain->length * plain->spec->hidden * ds_spec_planes(plain->spec); }

static void publish(double *published, const double *state, const ds_plain *plain) {
    size_t d = plain->spec->hidden, dv = ds_spec_planes(plain->spec);
    for (size_t t = 0; t < plain->length; t++, published += d * dv, state += d * dv)
        for (size_t i = 0; i < d; i++)
            for (size_t j = 0; j < dv; j++) published[i * dv + j] = state[j * d + i];
}

static void unpublish(ds_bounded state, size_t window, const ds_plain *plain) {
    size_t d = plain->spec->hidden, dv = ds_spec_planes(plain->spec), first = window * state_count(plain);
    for (size_t t = 0; t < plain->length; t++) {
        for (size_t at = 0; at < d * dv; at++) {
            size_t from = t * d * dv + at, to = first + t * d * dv + at % dv * d + at / dv;
            state.x[to] = plain->published.x[from];
            state.e[to] = plain->published.e[from];
        }
    }
}

void ds_plain_start(ds_bounded state, ds_plain *plain, const ds_batch *batch) {
    for (size_t w = 0; w < batch->sequences; w++) {
        ds_plain_embed(plain->published, plain, batch->tokens + w * batch->length);
        unpublish(state, w, plain);
    }
}

static void take_window(ds_plain *plain, size_t window, const double *values, const double *errors) {
    size_t count = state_count(plain);
    publish(plain->published.x, values + window * count, plain);
    if (errors != NULL)
        publish(plain->published.e, errors + window * count, plain);
    else
        memset(plain->published.e, 0, count * sizeof *plain->published.e);
}

ds_status ds_plain_step(ds_bounded after, ds_plain *plain, size_t windows, ds_bounded before, size_t sublayer) {
    ds_status status = DS_OK;
    for (size_t w = 0; w < windows; w++) {
        take_window(plain, w, before.x, before.e);
        DS_TRY(ds_plain_sublayer(plain, plain->published, sublayer));
        unpublish(after, w, plain);
    }
done:
    return status;
}

ds_status ds_plain_read_window(ds_plain *plain, size_t window, const double *state, size_t sublayer) {
    take_window(plain, window, state, NULL);
    return ds_plain_read(plain, plain->published, sublayer);
}

ds_status ds_plain_finish(ds_bounded hidden, ds_plain *plain, size_t windows, ds_bounded state) {
    ds_status status = DS_OK;
    size_t rows = plain->length * plain->spec->hidden;
    for (size_t w = 0; w < windows; w++) {
        take_window(plain, w, state.x, state.e);
        DS_TRY(ds_plain_readout(plain, (ds_bounded){hidden.x + w * rows, hidden.e + w * rows}, plain->published));
    }
done:
    return status;
}

/* Errors so small that their products vanish, since bounds only ever add; the scale is taken out again. */
ds_status ds_plain_reach(double *reach, ds_plain *plain, size_t windows, ds_bounded before, const double *cotangent,
                         size_t sublayer) {
    ds_status status = DS_OK;
    const double small = 0x1p-200;
    size_t count = state_count(plain), d = plain->spec->hidden, dv = ds_spec_planes(plain->spec);
    ds_arithmetic kept = plain->arithmetic;
    plain->arithmetic = ds_arithmetic_exact();
    *reach = 0;
    for (size_t w = 0; w < windows; w++) {
        take_window(plain, w, before.x, before.e);
        for (size_t i = 0; i < count; i++) plain->published.e[i] *= small;
        DS_TRY(ds_plain_sublayer(plain, plain->published, sublayer));
        for (size_t i = 0; i < count; i++) {
            size_t to = i / (d * dv) * (d * dv) + i % dv * d + i % (d * dv) / dv;
            *reach += fabs(cotangent[w * count + to]) * (plain->published.e[i] / small);
        }
    }
done:
    plain->arithmetic = kept;
    return status;
}

/* Forward: compressor, norm, then gate (two layers), value and branch; the branch's are the projection's d, the scores' h,
 * twice since two products are added, the softmax's T, the weighted values' T, twice, and the output's H h, or d and f;
 * then direction, reading and writing, d each. Backward the same sums are taken over the outputs of what went forward over
 * its inputs: the projections' H h three times, the keys' and values' T, the compressor's K dv. A read over depth has the
 * norms' and the logits' d, and sums over sources and over what they are sums of, each at most twice in either direction.
 * Streams have a norm and a map over all of them, sums over n twice, over n^2 numbers of R, in every half round of Sinkhorn
 * over n four times, and in each Newton-Schulz step three products; over orders where there are some. 128 more are the
 * elementwise ones: at most 8 in each of 16 kernels. */
double ds_derivative_roundings(const ds_spec *spec, size_t length) {
    double d = (double)spec->hidden, width = (double)(spec->heads * spec->head_dim), t = (double)length;
    double channels = (double)spec->value_channels, taps = (double)(spec->state_kernel + 1) * channels;
    double branch = 2 * (d + (double)spec->head_dim) + 4 * width + 6 * t + 2 * (double)spec->mlp_hidden;
    double depth = ds_rule_keeps_history(spec->rule) ? 4 * d + 8 * (double)ds_spec_planes(spec) : 0;
    double n = (double)spec->streams.count, numbers = (double)ds_plain_stream_numbers(spec);
    double halves = 2 * (double)(spec->streams.rounds + 3 * spec->streams.steps);
    double streams = ds_plain_has_streams(spec) ? 4 * n * d + 2 * n * n + 4 * (n + 4) * halves + 2 * numbers : 0;
    return 2 * taps + 6 * d + depth + streams + branch + 2 * (double)(spec->gate_two_layer ? spec->gate_hidden : 1) + channels +
           128;
}
