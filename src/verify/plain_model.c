/* The model by plain loops: everything but attention. MODEL headings: Forward pass, Delta update, Compressors. */
#include "plain_model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- tensors and buffers ------------------------------------------------------------------------------------------------- */

const double *ds_plain_find(const ds_model *model, const char *name, const char *other) {
    for (size_t i = 0; i < ds_model_parameters(model); i++) {
        const ds_parameter *parameter = ds_model_parameter(model, i);
        if (strcmp(parameter->name, name) == 0 || (other != NULL && strcmp(parameter->name, other) == 0))
            return parameter->values;
    }
    return NULL;
}

const double *ds_plain_of(const ds_plain *plain, size_t layer, const char *name, const char *other) {
    char full[96], full_other[96];
    (void)snprintf(full, sizeof full, "transformer.h.%zu.%s", layer, name);
    (void)snprintf(full_other, sizeof full_other, "transformer.h.%zu.%s", layer, other == NULL ? name : other);
    return ds_plain_find(plain->model, full, full_other);
}

ds_status ds_plain_init(ds_plain *plain, const ds_model *model, size_t length) {
    ds_status status = DS_OK;
    const ds_spec *spec = ds_model_spec(model);
    size_t width = length * spec->heads * spec->head_dim;
    *plain = (ds_plain){.model = model, .spec = spec, .length = length};
    DS_NEW_ARRAY(plain->x_in, length * spec->hidden);
    DS_NEW_ARRAY(plain->context, length * spec->hidden);
    DS_NEW_ARRAY(plain->branch, length * spec->hidden);
    DS_NEW_ARRAY(plain->query, width);
    DS_NEW_ARRAY(plain->key, width);
    DS_NEW_ARRAY(plain->value, width);
    DS_NEW_ARRAY(plain->heads, width);
    DS_NEW_ARRAY(plain->head_gate, width);
    DS_NEW_ARRAY(plain->mix, length * spec->heads);
    DS_NEW_ARRAY(plain->scores, length);
    DS_NEW_ARRAY(plain->gate, length * spec->mlp_hidden);
    DS_NEW_ARRAY(plain->up, length * spec->mlp_hidden);
    DS_NEW_ARRAY(plain->gate_hidden, length * (spec->gate_two_layer ? spec->gate_hidden : 1));
    DS_NEW_ARRAY(plain->beta, length);
    DS_NEW_ARRAY(plain->target, length * spec->value_channels);
done:
    if (status != DS_OK) ds_plain_release(plain);
    return status;
}

void ds_plain_release(ds_plain *plain) {
    double *const buffers[] = {plain->x_in,  plain->context, plain->branch,      plain->query, plain->key,
                               plain->value, plain->heads,   plain->head_gate,   plain->mix,   plain->scores,
                               plain->gate,  plain->up,      plain->gate_hidden, plain->beta,  plain->target};
    for (size_t i = 0; i < sizeof buffers / sizeof buffers[0]; i++) free(buffers[i]);
    *plain = (ds_plain){0};
}

/* ---- pieces -------------------------------------------------------------------------------------------------------------- */

typedef struct linear_job {
    double *y;
    const double *x, *weight;
    size_t rows, out, in;
} linear_job;

/* One output feature for all rows. */
static ds_status linear_feature(void *context, size_t index, size_t worker) {
    const linear_job *job = context;
    const double *w = job->weight + index * job->in;
    (void)worker;
    for (size_t t = 0; t < job->rows; t++) {
        const double *x = job->x + t * job->in;
        double sum = 0;
        for (size_t i = 0; i < job->in; i++) sum += w[i] * x[i];
        job->y[t * job->out + index] = sum;
    }
    return DS_OK;
}

/* NOLINTNEXTLINE(readability-non-const-parameter): the job writes y */
ds_status ds_plain_linear(double *y, const double *x, const double *weight, size_t rows, size_t out, size_t in) {
    linear_job job = {y, x, weight, rows, out, in};
    return ds_parallel_for(out, linear_feature, &job);
}

void ds_plain_rmsnorm(double *y, const double *x, const double *weight, size_t rows, size_t width, double eps) {
    for (size_t t = 0; t < rows; t++) {
        double squares = 0;
        for (size_t i = 0; i < width; i++) squares += x[t * width + i] * x[t * width + i];
        double root = sqrt(squares / (double)width + eps);
        for (size_t i = 0; i < width; i++) y[t * width + i] = weight[i] * x[t * width + i] / root;
    }
}

double ds_plain_sigmoid(double x) { return 1 / (1 + exp(-x)); }

/* TC: y[t,i,j] = sum_s w[i,j,s] X[t-(K-1-s),i,j], then sum_j read[j] y.  CC: y[i,a] = sum_v w[i, left+v-a] X[i,v], then
 * sum_a read[a] y. */
static void compress(double *x_in, const double *state, const double *weight, const double *read, const ds_plain *plain) {
    const ds_spec *spec = plain->spec;
    size_t d = spec->hidden, dv = spec->value_channels, kernel = spec->state_kernel;
    size_t left = spec->state_kernel_causal ? kernel - 1 : (kernel - 1) / 2;
    for (size_t t = 0; t < plain->length; t++) {
        for (size_t i = 0; i < d; i++) {
            double total = 0;
            for (size_t a = 0; a < dv; a++) {
                double y = 0;
                if (spec->compressor == DS_COMPRESS_TC) {
                    for (size_t s = 0; s < kernel; s++) {
                        if (t + s < kernel - 1) continue;
                        y += weight[(i * dv + a) * kernel + s] * state[((t + s - (kernel - 1)) * d + i) * dv + a];
                    }
                } else {
                    for (size_t v = 0; v < dv; v++) {
                        if (left + v < a || left + v - a >= kernel) continue;
                        y += weight[i * kernel + left + v - a] * state[(t * d + i) * dv + v];
                    }
                }
                total += read[a] * y;
            }
            x_in[t * d + i] = total;
        }
    }
}

void ds_plain_embed(double *state, double *magnitude, const ds_plain *plain, const uint32_t *tokens) {
    const ds_spec *spec = plain->spec;
    const double *table = ds_plain_find(plain->model, "transformer.wte.weight", NULL);
    const double *taps = ds_plain_find(plain->model, "input_embed.conv.weight", "input_embed.weight");
    size_t d = spec->hidden, dv = spec->value_channels, kernel = spec->input_kernel;
    for (size_t t = 0; t < plain->length; t++) {
        for (size_t at = 0; at < d * dv; at++) {
            double *x = &state[t * d * dv + at], *size = &magnitude[t * d * dv + at];
            size_t i = at / dv;
            *x = taps == NULL ? table[tokens[t] * d + i] : 0;
            *size = fabs(*x);
            for (size_t s = 0; taps != NULL && s < kernel; s++) {
                if (t + s < kernel - 1) continue;
                double term = taps[at * kernel + s] * table[tokens[t + s - (kernel - 1)] * d + i];
                *x += term;
                *size += fabs(term);
            }
        }
    }
}

/* ---- a sublayer ---------------------------------------------------------------------------------------------------------- */

static ds_status mlp(ds_plain *plain, size_t layer) {
    ds_status status;
    size_t rows = plain->length, d = plain->spec->hidden, f = plain->spec->mlp_hidden;
    DS_TRY(ds_plain_linear(plain->gate, plain->context, ds_plain_of(plain, layer, "mlp.c_fc1.weight", NULL), rows, f, d));
    DS_TRY(ds_plain_linear(plain->up, plain->context, ds_plain_of(plain, layer, "mlp.c_fc2.weight", NULL), rows, f, d));
    for (size_t i = 0; i < rows * f; i++) plain->gate[i] *= ds_plain_sigmoid(plain->gate[i]) * plain->up[i];
    DS_TRY(ds_plain_linear(plain->branch, plain->gate, ds_plain_of(plain, layer, "mlp.c_proj.weight", "mlp.o_proj.weight"),
                           rows, d, f));
done:
    return status;
}

static const double *of_delta(const ds_plain *plain, size_t sublayer, const char *name) {
    char full[64];
    (void)snprintf(full, sizeof full, "ddl_%s.%s", sublayer % 2 == 0 ? "attn" : "mlp", name);
    return ds_plain_of(plain, sublayer / 2, full, NULL);
}

/* beta (T) and v (T,dv). */
static ds_status gate_and_value(ds_plain *plain, size_t sublayer) {
    ds_status status = DS_OK;
    const ds_spec *spec = plain->spec;
    size_t rows = plain->length, d = spec->hidden, dv = spec->value_channels, g = spec->gate_hidden;
    const double *bias = of_delta(plain, sublayer, spec->gate_two_layer ? "beta_out.bias" : "beta.bias");
    if (spec->gate_two_layer) {
        DS_TRY(ds_plain_linear(plain->gate_hidden, plain->context, of_delta(plain, sublayer, "beta_in.weight"), rows, g, d));
        for (size_t i = 0; i < rows * g; i++) plain->gate_hidden[i] = tanh(plain->gate_hidden[i]);
        DS_TRY(ds_plain_linear(plain->beta, plain->gate_hidden, of_delta(plain, sublayer, "beta_out.weight"), rows, 1, g));
    } else {
        DS_TRY(ds_plain_linear(plain->beta, plain->context, of_delta(plain, sublayer, "beta.weight"), rows, 1, d));
    }
    for (size_t t = 0; t < rows; t++) plain->beta[t] = 2 * ds_plain_sigmoid(plain->beta[t] + bias[0]);
    if (spec->trained[sublayer % 2].mode == DS_FORCE_GATE)
        for (size_t t = 0; t < rows; t++) plain->beta[t] = spec->trained[sublayer % 2].value;
    if (spec->value_constant) {
        for (size_t i = 0; i < rows * dv; i++) plain->target[i] = spec->value_constant_value;
        return DS_OK;
    }
    bias = of_delta(plain, sublayer, "v_proj.bias");
    DS_TRY(ds_plain_linear(plain->target, plain->x_in, of_delta(plain, sublayer, "v_proj.weight"), rows, dv, d));
    for (size_t i = 0; i < rows * dv; i++) {
        plain->target[i] += bias[i % dv];
        if (spec->value_sigmoid) plain->target[i] = spec->value_scale * ds_plain_sigmoid(plain->target[i]);
    }
done:
    return status;
}

/* X <- X + m beta k (w v^T - e k^T X), k = h / sqrt(|h|^2 + eps^2); w = 0 for a model that never writes, e = 0 for one that
 * never erases. */
static void update(ds_plain *plain, double *state, ds_force trained) {
    const ds_spec *spec = plain->spec;
    double writes = trained.mode == DS_FORCE_ERASE_ONLY ? 0 : 1, erases = trained.mode == DS_FORCE_WRITE_ONLY ? 0 : 1;
    if (trained.mode == DS_FORCE_CLOSED) return;
    size_t d = spec->hidden, dv = spec->value_channels;
    for (size_t t = 0; t < plain->length; t++) {
        const double *h = plain->branch + t * d;
        double *x = state + t * d * dv, squares = spec->k_eps * spec->k_eps;
        if (spec->rule == &ds_rule_additive) {
            for (size_t i = 0; i < d; i++) x[i] += spec->residual_mult * h[i];
            continue;
        }
        for (size_t i = 0; i < d; i++) squares += h[i] * h[i];
        double length = sqrt(squares);
        for (size_t j = 0; j < dv; j++) {
            double read = 0;
            for (size_t i = 0; i < d; i++) read += h[i] / length * x[i * dv + j];
            double change = spec->residual_mult * plain->beta[t] * (writes * plain->target[t * dv + j] - erases * read);
            for (size_t i = 0; i < d; i++) x[i * dv + j] += change * (h[i] / length);
        }
    }
}

ds_status ds_plain_sublayer(ds_plain *plain, double *state, size_t sublayer) {
    ds_status status = DS_OK;
    const ds_spec *spec = plain->spec;
    size_t layer = sublayer / 2, rows = plain->length, d = spec->hidden;
    const double *norm = ds_plain_of(plain, layer, sublayer % 2 == 0 ? "ln_1.weight" : "ln_2.weight", NULL);
    if (spec->compressor == DS_COMPRESS_NONE)
        memcpy(plain->x_in, state, rows * d * sizeof *state);
    else
        compress(plain->x_in, state, ds_plain_of(plain, layer, "compress.weight", "compress.shortconv.weight"),
                 ds_plain_of(plain, layer, "compress.read", NULL), plain);
    ds_plain_rmsnorm(plain->context, plain->x_in, norm, rows, d, spec->norm_eps);
    if (spec->rule == &ds_rule_delta) DS_TRY(gate_and_value(plain, sublayer));
    DS_TRY(sublayer % 2 == 0 ? ds_plain_attention(plain, layer) : mlp(plain, layer));
    update(plain, state, spec->trained[sublayer % 2]);
done:
    return status;
}

void ds_plain_readout(ds_plain *plain, double *hidden, const double *state) {
    const ds_spec *spec = plain->spec;
    const double *norm = ds_plain_find(plain->model, "transformer.ln_f.weight", "ln_f.weight");
    if (spec->compressor == DS_COMPRESS_NONE)
        memcpy(plain->x_in, state, plain->length * spec->hidden * sizeof *state);
    else
        compress(plain->x_in, state, ds_plain_find(plain->model, "readout.weight", "readout.shortconv.weight"),
                 ds_plain_find(plain->model, "readout.read", NULL), plain);
    ds_plain_rmsnorm(hidden, plain->x_in, norm, plain->length, spec->hidden, spec->norm_eps);
}
