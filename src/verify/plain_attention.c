/* Attention by plain loops (MODEL heading: Attention). */
#include <math.h>
#include <string.h>

#include "plain_model.h"

static double activated(double x, ds_activation activation) {
    switch (activation) {
    case DS_ACT_SILU:
        return x * ds_plain_sigmoid(x);
    case DS_ACT_RELU:
        return x > 0 ? x : 0;
    case DS_ACT_ELU1:
        return x > 0 ? x + 1 : exp(x);
    case DS_ACT_IDENTITY:
        break;
    }
    return x;
}

static ds_status project(double *y, ds_plain *plain, size_t layer, const char *name, const char *other) {
    const ds_spec *spec = plain->spec;
    return ds_plain_linear(y, plain->context, ds_plain_of(plain, layer, name, other), plain->length,
                           spec->heads * spec->head_dim, spec->hidden);
}

/* y_t <- a_t y_{t-1} + (1 - a_t) y_t, a = sigmoid(shift c) per head, y_{-1} = 0; a window of one token is not shifted. */
static ds_status shift(double *y, ds_plain *plain, const double *weight) {
    ds_status status = DS_OK;
    const ds_spec *spec = plain->spec;
    size_t h = spec->head_dim, width = spec->heads * h;
    if (plain->length == 1) return DS_OK;
    DS_TRY(ds_plain_linear(plain->mix, plain->context, weight, plain->length, spec->heads, spec->hidden));
    for (size_t t = plain->length; t-- > 0;) {
        for (size_t i = 0; i < width; i++) {
            double a = ds_plain_sigmoid(plain->mix[t * spec->heads + i / h]);
            double before = t == 0 ? 0 : y[(t - 1) * width + i];
            y[t * width + i] = a * before + (1 - a) * y[t * width + i];
        }
    }
done:
    return status;
}

/* Halves, not pairs: features i and i + r/2 turn by t base^(-2i/r). */
static void rotate(double *y, const ds_plain *plain) {
    const ds_spec *spec = plain->spec;
    size_t h = spec->head_dim, r = spec->rotary_dim;
    for (size_t t = 0; t < plain->length; t++) {
        for (size_t head = 0; head < spec->heads; head++) {
            double *x = y + (t * spec->heads + head) * h;
            for (size_t i = 0; i < r / 2; i++) {
                double angle = (double)t * pow(spec->rope_base, -2 * (double)i / (double)r);
                double a = x[i], b = x[i + r / 2];
                x[i] = a * cos(angle) - b * sin(angle);
                x[i + r / 2] = a * sin(angle) + b * cos(angle);
            }
        }
    }
}

static void activate(double *y, const ds_plain *plain, ds_activation activation) {
    size_t count = plain->length * plain->spec->heads * plain->spec->head_dim;
    for (size_t i = 0; i < count; i++) y[i] = activated(y[i], activation);
}

/* Token t looks at 0 .. t, and nothing later is ever read. */
static void attend(ds_plain *plain) {
    const ds_spec *spec = plain->spec;
    size_t h = spec->head_dim, width = spec->heads * h;
    for (size_t head = 0; head < spec->heads; head++) {
        for (size_t t = 0; t < plain->length; t++) {
            const double *query = plain->query + t * width + head * h;
            double *out = plain->heads + t * width + head * h, highest = -INFINITY, total = 0;
            for (size_t s = 0; s <= t; s++) {
                const double *key = plain->key + s * width + head * h;
                double score = 0;
                for (size_t i = 0; i < h; i++) score += query[i] * key[i];
                plain->scores[s] = score / sqrt((double)h);
                highest = fmax(highest, plain->scores[s]);
            }
            for (size_t s = 0; s <= t; s++) total += plain->scores[s] = exp(plain->scores[s] - highest);
            memset(out, 0, h * sizeof *out);
            for (size_t s = 0; s <= t; s++) {
                for (size_t i = 0; i < h; i++) out[i] += plain->scores[s] / total * plain->value[s * width + head * h + i];
            }
        }
    }
}

ds_status ds_plain_attention(ds_plain *plain, size_t layer) {
    ds_status status = DS_OK;
    const ds_spec *spec = plain->spec;
    size_t rows = plain->length * spec->heads, width = spec->heads * spec->head_dim;
    DS_TRY(project(plain->query, plain, layer, "attn.c_q.weight", NULL));
    DS_TRY(project(plain->key, plain, layer, "attn.c_k.weight", "attn.c_k.linear.weight"));
    DS_TRY(project(plain->value, plain, layer, "attn.c_v.weight", "attn.c_v.linear.weight"));
    if (spec->k_shift) DS_TRY(shift(plain->key, plain, ds_plain_of(plain, layer, "attn.c_k.shift_proj.weight", NULL)));
    if (spec->v_shift) DS_TRY(shift(plain->value, plain, ds_plain_of(plain, layer, "attn.c_v.shift_proj.weight", NULL)));
    activate(plain->query, plain, spec->q_activation);
    activate(plain->key, plain, spec->k_activation);
    activate(plain->value, plain, spec->v_activation);
    rotate(plain->query, plain);
    rotate(plain->key, plain);
    if (spec->qk_norm) {
        const double *query_norm = ds_plain_of(plain, layer, "attn.q_rms.weight", NULL);
        const double *key_norm = ds_plain_of(plain, layer, "attn.k_rms.weight", NULL);
        ds_plain_rmsnorm(plain->query, plain->query, query_norm, rows, spec->head_dim, spec->head_norm_eps);
        ds_plain_rmsnorm(plain->key, plain->key, key_norm, rows, spec->head_dim, spec->head_norm_eps);
    }
    attend(plain);
    if (spec->head_norm)
        ds_plain_rmsnorm(plain->heads, plain->heads, ds_plain_of(plain, layer, "attn.subln.weight", NULL), rows, spec->head_dim,
                         spec->head_norm_eps);
    else if (spec->output_gate)
        ds_plain_rmsnorm(plain->heads, plain->heads, ds_plain_of(plain, layer, "attn.o_norm.weight", NULL), rows,
                         spec->head_dim, spec->output_norm_eps);
    if (spec->output_gate) {
        DS_TRY(project(plain->head_gate, plain, layer, "attn.g_proj.weight", NULL));
        for (size_t i = 0; i < plain->length * width; i++)
            plain->heads[i] *= plain->head_gate[i] * ds_plain_sigmoid(plain->head_gate[i]);
    }
    DS_TRY(ds_plain_linear(plain->branch, plain->heads, ds_plain_of(plain, layer, "attn.c_proj.weight", "attn.o_proj.weight"),
                           plain->length, spec->hidden, width));
done:
    return status;
}
