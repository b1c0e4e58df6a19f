/* The model by plain loops: everything but attention. MODEL headings: Forward pass, Delta update, Compressors. */
#include "plain_model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- tensors and buffers ------------------------------------------------------------------------------------------------- */

/* Every buffer and its numbers. */
enum { BUFFERS = 27 };
typedef struct buffer {
    ds_bounded *array;
    size_t count;
} buffer;

static void list_buffers(buffer list[BUFFERS], ds_plain *p) {
    const ds_spec *spec = p->spec;
    size_t length = p->length, width = length * spec->heads * spec->head_dim, d = length * spec->hidden;
    size_t kv_heads = length * ds_spec_kv_heads(spec), kv_width = kv_heads * spec->head_dim;
    size_t rows = ds_plain_depth_rows(spec), numbers = ds_plain_stream_numbers(spec), n = ds_max_size(spec->streams.count, 1);
    const buffer all[BUFFERS] = {{&p->x_in, d},
                                 {&p->context, d},
                                 {&p->branch, d},
                                 {&p->query, width},
                                 {&p->key, kv_width},
                                 {&p->value, kv_width},
                                 {&p->heads, width},
                                 {&p->head_gate, width},
                                 {&p->mix, kv_heads},
                                 {&p->scores, length},
                                 {&p->gate, length * spec->mlp_hidden},
                                 {&p->up, length * spec->mlp_hidden},
                                 {&p->gate_hidden, length * (spec->gate_two_layer ? spec->gate_hidden : 1)},
                                 {&p->beta, length},
                                 {&p->target, length * spec->value_channels},
                                 {&p->logits, spec->vocab},
                                 {&p->published, d * ds_spec_planes(spec)},
                                 {&p->sources, (rows + 2) * spec->hidden},
                                 {&p->slots, rows},
                                 {&p->depth_key, spec->hidden},
                                 {&p->terms, (rows + 2) * ds_spec_planes(spec)},
                                 {&p->unit, d * n},
                                 {&p->stream_alpha, length * numbers},
                                 {&p->stream_beta, length * n},
                                 {&p->mixing, length * n * (n + 2)},
                                 {&p->numbers, numbers},
                                 {&p->squares, 4 * n * n}};
    memcpy(list, all, sizeof all);
}

ds_status ds_plain_init(ds_plain *plain, const ds_model *model, size_t length) {
    ds_status status = DS_OK;
    buffer list[BUFFERS];
    *plain = (ds_plain){.model = model, .spec = ds_model_spec(model), .length = length, .arithmetic = ds_arithmetic_double()};
    list_buffers(list, plain);
    for (size_t i = 0; i < BUFFERS; i++) {
        DS_NEW_ARRAY(list[i].array->x, list[i].count);
        DS_NEW_ARRAY(list[i].array->e, list[i].count);
    }
done:
    if (status != DS_OK) ds_plain_release(plain);
    return status;
}

void ds_plain_release(ds_plain *plain) {
    buffer list[BUFFERS];
    if (plain->spec == NULL) return;
    list_buffers(list, plain);
    for (size_t i = 0; i < BUFFERS; i++) {
        free(list[i].array->x);
        free(list[i].array->e);
    }
    *plain = (ds_plain){0};
}

/* ---- pieces -------------------------------------------------------------------------------------------------------------- */

/* One term of a compressor: state number `at` times weight and read vector, into the sum and into its bound. */
static void add_term(double *sum, double *error, double factor, ds_bounded state, size_t at, double relative) {
    *sum += factor * state.x[at];
    *error += fabs(factor) * (state.e[at] + relative * (fabs(state.x[at]) + state.e[at]));
}

/* TC: y[t,i,j] = sum_s w[i,j,s] X[t-(K-1-s),i,j], then sum_j read[j] y.  CC: y[i,a] = sum_v w[i, left+v-a] X[i,v], then
 * sum_a read[a] y[i,a]. Whoever folds read and w first rounds dv times more in that, then in the sum as without. */
static void compress(const double *weight, const double *read, ds_plain *plain, ds_bounded state) {
    const ds_spec *spec = plain->spec;
    const ds_arithmetic *arithmetic = &plain->arithmetic;
    size_t d = spec->hidden, dv = spec->value_channels, kernel = spec->state_kernel;
    size_t left = spec->state_kernel_causal ? kernel - 1 : (kernel - 1) / 2;
    double roundings = (double)((kernel + 1) * dv) + 4, relative = ds_rounded(arithmetic, roundings, 0, 2);
    for (size_t t = 0; t < plain->length; t++) {
        for (size_t i = 0; i < d; i++) {
            double *total = &plain->x_in.x[t * d + i], *error = &plain->x_in.e[t * d + i];
            *total = 0;
            *error = roundings * arithmetic->tiny;
            for (size_t a = 0; a < dv; a++) {
                for (size_t s = 0; spec->compressor == DS_COMPRESS_TC && s < kernel; s++) {
                    if (t + s < kernel - 1) continue;
                    add_term(total, error, read[a] * weight[(i * dv + a) * kernel + s], state,
                             ((t + s - (kernel - 1)) * d + i) * dv + a, relative);
                }
                for (size_t v = 0; spec->compressor == DS_COMPRESS_CC && v < dv; v++) {
                    if (left + v < a || left + v - a >= kernel) continue;
                    add_term(total, error, read[a] * weight[i * kernel + left + v - a], state, (t * d + i) * dv + v, relative);
                }
            }
            *total = ds_settled(*total, error, arithmetic);
        }
    }
}

/* x_in: the state itself when it is scalar. */
static void read_update(const double *weight, const double *read, ds_plain *plain, ds_bounded state) {
    size_t bytes = plain->length * plain->spec->hidden * sizeof *state.x;
    if (plain->spec->compressor != DS_COMPRESS_NONE) {
        compress(weight, read, plain, state);
        return;
    }
    memcpy(plain->x_in.x, state.x, bytes);
    memcpy(plain->x_in.e, state.e, bytes);
}

/* One number of the embedded input, x = table[token] + positions[t], times `factor` into the sum, and its size. */
static void add_input(double *sum, double *size, double factor, const ds_plain *plain, const uint32_t *tokens, size_t t,
                      size_t i) {
    const double *table = ds_plain_weight(plain, DS_PLAIN_NO_LAYER, DS_PLAIN_EMBEDDING);
    const double *positions = ds_plain_weight(plain, DS_PLAIN_NO_LAYER, DS_PLAIN_POSITIONS);
    size_t d = plain->spec->hidden;
    double own = table[tokens[t] * d + i], position = positions != NULL ? positions[t * d + i] : 0;
    *sum += factor * (own + position);
    *size += fabs(factor) * (fabs(own) + fabs(position));
}

/* Sums of K products, or of 2 K where positions are learned; without a convolution a row of the table as it is stored, or the
 * sum of two. */
void ds_plain_embed(ds_bounded state, const ds_plain *plain, const uint32_t *tokens) {
    const ds_spec *spec = plain->spec;
    const double *taps = ds_plain_of_rule(plain, "input_embed.conv.weight", "input_embed.weight");
    const ds_arithmetic *a = &plain->arithmetic;
    const bool history = ds_rule_keeps_history(spec->rule), positions = spec->positions > 0;
    size_t d = spec->hidden, dv = ds_spec_planes(spec), kernel = spec->input_kernel, terms = positions ? 2 * kernel : kernel;
    double relative = taps == NULL ? ds_rounded(a, positions ? 1 : 0, 0, 1) : ds_rounded(a, (double)terms + 1, 0, 2);
    const bool exact = taps == NULL && !positions && a->stored == 0;
    for (size_t t = 0; t < plain->length; t++) {
        for (size_t at = 0; at < d * dv; at++) {
            double x = 0, size = 0;
            if (history && at % dv != 0) { /* nothing is written yet */
                state.x[t * d * dv + at] = state.e[t * d * dv + at] = 0;
                continue;
            }
            if (taps == NULL) add_input(&x, &size, 1, plain, tokens, t, at / dv);
            for (size_t s = 0; taps != NULL && s < kernel; s++)
                if (t + s >= kernel - 1)
                    add_input(&x, &size, taps[at * kernel + s], plain, tokens, t + s - (kernel - 1), at / dv);
            state.x[t * d * dv + at] = x;
            state.e[t * d * dv + at] = relative * size + (exact ? 0 : (double)(terms + 1) * a->tiny);
        }
    }
    ds_settle(state, plain->length * d * dv, a);
}

/* ---- a sublayer ---------------------------------------------------------------------------------------------------------- */

static ds_status mlp(ds_plain *plain, size_t layer) {
    ds_status status;
    size_t d = plain->spec->hidden, f = plain->spec->mlp_hidden, count = plain->length * f;
    DS_TRY(ds_plain_project(plain->up, plain->context, plain, layer, DS_PLAIN_UP, f, d));
    if (plain->spec->mlp == DS_MLP_SWIGLU) {
        DS_TRY(ds_plain_project(plain->gate, plain->context, plain, layer, DS_PLAIN_GATE, f, d));
        ds_bounded_gate(plain->up, plain->gate, count, &plain->arithmetic);
    } else {
        ds_bounded_gelu(plain->up, count, plain->spec->mlp, &plain->arithmetic);
    }
    DS_TRY(ds_plain_project(plain->branch, plain->up, plain, layer, DS_PLAIN_DOWN, d, f));
done:
    return status;
}

static const double *of_delta(const ds_plain *plain, size_t sublayer, const char *name) {
    char full[64];
    (void)snprintf(full, sizeof full, "ddl_%s.%s", sublayer % 2 == 0 ? "attn" : "mlp", name);
    return ds_plain_of(plain, sublayer / 2, full, NULL);
}

static void scale(ds_bounded y, size_t count, double factor, double u, const ds_arithmetic *a) {
    for (size_t i = 0; i < count; i++) {
        y.x[i] *= factor;
        y.e[i] = fabs(factor) * y.e[i] * (1 + u) + u * fabs(y.x[i]);
    }
    ds_settle(y, count, a);
}

/* beta (T) and v (T,dv): their last layers are summed in double. */
static ds_status gate_and_value(ds_plain *plain, size_t sublayer) {
    ds_status status = DS_OK;
    const ds_spec *spec = plain->spec;
    const ds_arithmetic *a = &plain->arithmetic;
    size_t rows = plain->length, d = spec->hidden, dv = spec->value_channels, g = spec->gate_hidden;
    const double *bias = of_delta(plain, sublayer, spec->gate_two_layer ? "beta_out.bias" : "beta.bias");
    if (spec->gate_two_layer) {
        DS_TRY(ds_bounded_linear(plain->gate_hidden, plain->context, of_delta(plain, sublayer, "beta_in.weight"), rows, g, d,
                                 false, a));
        ds_bounded_tanh(plain->gate_hidden, rows * g, a);
        DS_TRY(ds_bounded_linear(plain->beta, plain->gate_hidden, of_delta(plain, sublayer, "beta_out.weight"), rows, 1, g,
                                 true, a));
    } else {
        DS_TRY(ds_bounded_linear(plain->beta, plain->context, of_delta(plain, sublayer, "beta.weight"), rows, 1, d, true, a));
    }
    ds_bounded_add_bias(plain->beta, bias, rows, 1, a->sum, a);
    ds_bounded_sigmoid(plain->beta, rows, true, a);
    scale(plain->beta, rows, 2, 0, a);
    if (spec->trained[sublayer % 2].mode == DS_FORCE_GATE) {
        for (size_t t = 0; t < rows; t++) {
            plain->beta.x[t] = spec->trained[sublayer % 2].value;
            plain->beta.e[t] = 0;
        }
    }
    if (spec->value_constant) {
        for (size_t i = 0; i < rows * dv; i++) {
            plain->target.x[i] = spec->value_constant_value;
            plain->target.e[i] = 0;
        }
        return DS_OK;
    }
    DS_TRY(ds_bounded_linear(plain->target, plain->x_in, of_delta(plain, sublayer, "v_proj.weight"), rows, dv, d, true, a));
    ds_bounded_add_bias(plain->target, of_delta(plain, sublayer, "v_proj.bias"), rows, dv, a->sum, a);
    if (spec->value_sigmoid) {
        ds_bounded_sigmoid(plain->target, rows * dv, true, a);
        scale(plain->target, rows * dv, spec->value_scale, a->sum, a);
    }
done:
    return status;
}

/* One channel of one token: X <- X + c k, c = m beta (v - k^T X), without v for a model that never writes, without k^T X for
 * one that never erases. k^T X is summed in double, c rounded when it is kept. */
static void update_channel(ds_plain *plain, ds_bounded x, ds_bounded k, size_t t, size_t j, ds_force trained) {
    const bool writes = trained.mode != DS_FORCE_ERASE_ONLY, erases = trained.mode != DS_FORCE_WRITE_ONLY;
    const ds_arithmetic *a = &plain->arithmetic;
    size_t d = plain->spec->hidden, dv = plain->spec->value_channels;
    double beta = plain->beta.x[t], beta_error = plain->beta.e[t], m = plain->spec->residual_mult;
    double read = 0, error = 0, relative = ds_rounded(a, 0, (double)d, 0);
    for (size_t i = 0; i < d && erases; i++) {
        double value = x.x[i * dv + j], off = x.e[i * dv + j];
        read += k.x[i] * value;
        error += (fabs(k.x[i]) + k.e[i]) * off + k.e[i] * fabs(value);
        error += relative * (fabs(k.x[i]) + k.e[i]) * (fabs(value) + off);
    }
    double wanted = (writes ? plain->target.x[t * dv + j] : 0) - read, change = m * beta * wanted;
    error += (writes ? plain->target.e[t * dv + j] : 0) + a->sum * (fabs(wanted) + error);
    error = fabs(m) * (beta_error * fabs(wanted) + (beta + beta_error) * error);
    error += ds_rounded(a, 1, 2, 0) * (fabs(change) + error);
    change = ds_settled(change, &error, a);
    for (size_t i = 0; i < d; i++) {
        double *value = &x.x[i * dv + j], *off = &x.e[i * dv + j], step = change * k.x[i];
        double step_error = k.e[i] * (fabs(change) + error) + fabs(k.x[i]) * error;
        step_error += a->u * (fabs(step) + step_error);
        *value += step;
        *off += step_error;
        *off += a->u * (fabs(*value) + *off) + a->tiny;
        *value = ds_settled(*value, off, a);
    }
}

/* X <- X + m beta k (v^T - k^T X), k = h / sqrt(|h|^2 + eps^2); additive X + m h. */
static void update(ds_plain *plain, ds_bounded state, ds_force trained) {
    const ds_spec *spec = plain->spec;
    const ds_arithmetic *a = &plain->arithmetic;
    size_t d = spec->hidden, dv = spec->value_channels;
    if (trained.mode == DS_FORCE_CLOSED) return;
    for (size_t t = 0; t < plain->length; t++) {
        ds_bounded h = {plain->branch.x + t * d, plain->branch.e + t * d};
        ds_bounded x = {state.x + t * d * dv, state.e + t * d * dv};
        if (spec->rule == &ds_rule_additive) {
            for (size_t i = 0; i < d; i++) {
                double step = spec->residual_mult * h.x[i], error = fabs(spec->residual_mult) * h.e[i];
                x.x[i] += step;
                x.e[i] += error + 2 * a->u * (fabs(step) + error);
                x.e[i] += a->u * (fabs(x.x[i]) + x.e[i]) + a->tiny;
            }
            ds_settle(x, d, a);
            continue;
        }
        ds_bounded_direction(h, d, spec->k_eps, a);
        for (size_t j = 0; j < dv; j++) update_channel(plain, x, h, t, j, trained);
    }
}

ds_status ds_plain_read(ds_plain *plain, ds_bounded state, size_t sublayer) {
    ds_status status = DS_OK;
    size_t layer = sublayer / 2;
    if (ds_rule_keeps_history(plain->spec->rule))
        DS_TRY(ds_plain_depth_read(plain, state, sublayer));
    else if (ds_plain_has_streams(plain->spec))
        DS_TRY(ds_plain_stream_read(plain, state, sublayer));
    else
        read_update(ds_plain_of(plain, layer, "compress.weight", "compress.shortconv.weight"),
                    ds_plain_of(plain, layer, "compress.read", NULL), plain, state);
    ds_plain_norm(plain->context, plain->x_in, plain, layer, sublayer % 2 == 0 ? DS_PLAIN_ATTENTION_NORM : DS_PLAIN_MLP_NORM);
done:
    return status;
}

ds_status ds_plain_sublayer(ds_plain *plain, ds_bounded state, size_t sublayer) {
    ds_status status = DS_OK;
    DS_TRY(ds_plain_read(plain, state, sublayer));
    if (plain->spec->rule == &ds_rule_delta) DS_TRY(gate_and_value(plain, sublayer));
    DS_TRY(sublayer % 2 == 0 ? ds_plain_attention(plain, sublayer / 2) : mlp(plain, sublayer / 2));
    if (ds_rule_keeps_history(plain->spec->rule))
        ds_plain_depth_write(plain, state, sublayer);
    else if (ds_plain_has_streams(plain->spec))
        ds_plain_stream_write(plain, state, sublayer);
    else
        update(plain, state, plain->spec->trained[sublayer % 2]);
done:
    return status;
}

/* ---- output -------------------------------------------------------------------------------------------------------------- */

ds_status ds_plain_readout(ds_plain *plain, ds_bounded hidden, ds_bounded state) {
    ds_status status = DS_OK;
    if (ds_plain_has_streams(plain->spec)) {
        ds_plain_stream_readout(plain, hidden, state);
        return DS_OK;
    }
    if (ds_rule_keeps_history(plain->spec->rule))
        DS_TRY(ds_plain_depth_read(plain, state, ds_spec_sublayers(plain->spec)));
    else
        read_update(ds_plain_of_rule(plain, "readout.weight", "readout.shortconv.weight"),
                    ds_plain_of_rule(plain, "readout.read", NULL), plain, state);
    ds_plain_norm(hidden, plain->x_in, plain, DS_PLAIN_NO_LAYER, DS_PLAIN_FINAL_NORM);
done:
    return status;
}

/* log sum exp z is moved by no more than the largest error of a z. Its own roundings: a term's exponent rounds once, exp 3
 * times, so that the logarithm of their sum moves by the mean of these over the distribution; the sum is in double, block
 * by block. */
ds_status ds_plain_loss(double *nll, double *error, ds_plain *plain, ds_bounded hidden, uint32_t target) {
    ds_status status = DS_OK;
    const ds_spec *spec = plain->spec;
    const ds_arithmetic *a = &plain->arithmetic;
    const double *table = ds_plain_head(plain);
    double highest = -INFINITY, total = 0, moved = 0, largest = 0;
    ds_bounded z = plain->logits;
    DS_TRY(ds_bounded_linear(z, hidden, table, 1, spec->vocab, spec->hidden, false, a));
    if (spec->logit_scale != 1) scale(z, spec->vocab, spec->logit_scale, 2 * a->u, a);
    for (size_t k = 0; k < spec->vocab; k++) {
        highest = fmax(highest, z.x[k]);
        largest = fmax(largest, z.e[k]);
    }
    for (size_t k = 0; k < spec->vocab; k++) {
        double weight = exp(z.x[k] - highest);
        total += weight;
        moved += weight * a->u * (4 + highest - z.x[k]);
    }
    *nll = highest + log(total) - z.x[target];
    double sums = ds_rounded(a, 0, (double)spec->vocab + 16, 0) + 4 * a->sum * (fabs(highest) + fabs(z.x[target]) + log(total));
    *error = largest + z.e[target] + moved / total + sums;
    *nll = ds_settled(*nll, error, a);
done:
    return status;
}
