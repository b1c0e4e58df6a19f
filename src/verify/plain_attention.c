/* Attention by plain loops (MODEL heading: Attention). */
#include <math.h>
#include <string.h>

#include "plain_model.h"

static ds_status project(ds_bounded y, ds_plain *plain, size_t layer, const char *name, const char *other) {
    const ds_spec *spec = plain->spec;
    return ds_bounded_linear(y, plain->context, ds_plain_of(plain, layer, name, other), plain->length,
                             spec->heads * spec->head_dim, spec->hidden, false, &plain->arithmetic);
}

/* y_t <- a_t y_{t-1} + (1 - a_t) y_t, a = sigmoid(shift c) per head, y_{-1} = 0; a window of one token is not shifted. */
static ds_status shift(ds_bounded y, ds_plain *plain, const double *weight) {
    ds_status status = DS_OK;
    const ds_spec *spec = plain->spec;
    const ds_arithmetic *arithmetic = &plain->arithmetic;
    size_t h = spec->head_dim, width = spec->heads * h;
    if (plain->length == 1) return DS_OK;
    DS_TRY(ds_bounded_linear(plain->mix, plain->context, weight, plain->length, spec->heads, spec->hidden, false, arithmetic));
    ds_bounded_sigmoid(plain->mix, plain->length * spec->heads, false, arithmetic);
    for (size_t t = plain->length; t-- > 0;) {
        for (size_t i = 0; i < width; i++) {
            double a = plain->mix.x[t * spec->heads + i / h], a_error = plain->mix.e[t * spec->heads + i / h];
            double *now = &y.x[t * width + i], *error = &y.e[t * width + i];
            double then = t == 0 ? 0 : y.x[(t - 1) * width + i], then_error = t == 0 ? 0 : y.e[(t - 1) * width + i];
            double size = a * (fabs(then) + then_error) + (1 - a) * (fabs(*now) + *error);
            *error = (a + a_error) * then_error + (1 - a + a_error) * *error + a_error * fabs(then - *now);
            *error += ds_rounded(arithmetic, 3, 0, 0) * (size + *error) + 2 * arithmetic->tiny;
            *now = a * then + (1 - a) * *now;
        }
    }
    ds_settle(y, plain->length * width, arithmetic);
done:
    return status;
}

/* Halves, not pairs: features i and i + r/2 turn by t base^(-2i/r). The angle is made of 3 roundings in double, and so is
 * the table of its sines, then kept. */
static void rotate(ds_bounded y, const ds_plain *plain) {
    const ds_spec *spec = plain->spec;
    const ds_arithmetic *arithmetic = &plain->arithmetic;
    size_t h = spec->head_dim, half = spec->rotary_dim / 2;
    for (size_t at = 0; at < plain->length * spec->heads * half; at++) {
        size_t i = at % half, row = at / half, first = row * h + i, second = first + half;
        double angle = (double)(row / spec->heads) * pow(spec->rope_base, -2 * (double)i / (double)spec->rotary_dim);
        double c = cos(angle), s = sin(angle), a = y.x[first], b = y.x[second], e = y.e[first], f = y.e[second];
        double off = 3 * arithmetic->sum * angle + 2 * arithmetic->u, rounded = ds_rounded(arithmetic, 2, 0, 0);
        y.x[first] = a * c - b * s;
        y.x[second] = a * s + b * c;
        double extra = (off + rounded) * (fabs(a) + fabs(b) + e + f) + 2 * arithmetic->tiny;
        y.e[first] = fabs(c) * e + fabs(s) * f + extra;
        y.e[second] = fabs(s) * e + fabs(c) * f + extra;
        y.x[first] = ds_settled(y.x[first], &y.e[first], arithmetic);
        y.x[second] = ds_settled(y.x[second], &y.e[second], arithmetic);
    }
}

/* Scores of token t and one head; returns the largest of their errors. */
static double score(ds_plain *plain, size_t t, size_t head, double *highest) {
    const ds_spec *spec = plain->spec;
    const ds_arithmetic *a = &plain->arithmetic;
    size_t h = spec->head_dim, width = spec->heads * h, query = t * width + head * h;
    double scale = 1 / sqrt((double)h), largest = 0, relative = ds_rounded(a, (double)h, 0, 0);
    *highest = -INFINITY;
    for (size_t s = 0; s <= t; s++) {
        double sum = 0, error = (double)h * a->tiny;
        for (size_t i = 0; i < h; i++) {
            double q = plain->query.x[query + i], k = plain->key.x[s * width + head * h + i];
            double q_error = plain->query.e[query + i], k_error = plain->key.e[s * width + head * h + i];
            sum += q * k;
            error += (fabs(q) + q_error) * k_error + q_error * fabs(k);
            error += relative * (fabs(q) + q_error) * (fabs(k) + k_error);
        }
        error *= scale;
        plain->scores.x[s] = ds_settled(scale * sum, &error, a);
        *highest = fmax(*highest, plain->scores.x[s]);
        largest = fmax(largest, error);
    }
    return largest;
}

/* Token t looks at 0 .. t, and nothing later is ever read. Scores that err by E change weights p by factors within
 * e^(+-2E), and since they keep adding up to 1 that moves sum p v by sum |dp| |v - mean|; and no mean leaves the range of
 * its values. A weight's own roundings: the difference to the largest score and its scaling, exp, sum and division. */
static void attend_token(ds_plain *plain, size_t t, size_t head) {
    const ds_spec *spec = plain->spec;
    const ds_arithmetic *a = &plain->arithmetic;
    size_t h = spec->head_dim, width = spec->heads * h;
    ds_bounded out = {plain->heads.x + t * width + head * h, plain->heads.e + t * width + head * h};
    double highest, total = 0, seen = (double)(t + 1);
    double factor = expm1(2 * score(plain, t, head, &highest)), average = 0;
    for (size_t s = 0; s <= t; s++) {
        plain->scores.e[s] = ds_rounded(a, 3, 0, 0) * (highest - plain->scores.x[s]); /* from here on of the weight's own */
        total += plain->scores.x[s] = exp(plain->scores.x[s] - highest);
        average += plain->scores.x[s] * plain->scores.e[s];
    }
    factor += average / total;
    double relative = ds_rounded(a, seen + 8, seen, 0);
    for (size_t i = 0; i < h; i++) {
        double mean = 0, moved = 0, largest = 0, error = 2 * seen * a->tiny;
        for (size_t s = 0; s <= t; s++) mean += plain->scores.x[s] / total * plain->value.x[s * width + head * h + i];
        for (size_t s = 0; s <= t; s++) {
            double p = plain->scores.x[s] / total, v = plain->value.x[s * width + head * h + i];
            double v_error = plain->value.e[s * width + head * h + i];
            moved += p * fabs(v - mean) * (factor + plain->scores.e[s]);
            error += p * (v_error + relative * (fabs(v) + v_error)) + a->tiny * fabs(v);
            largest = fmax(largest, 2 * (fabs(v) + v_error));
        }
        out.e[i] = fmin(moved, largest) + error;
        out.x[i] = ds_settled(mean, &out.e[i], a);
    }
}

static void attend(ds_plain *plain) {
    for (size_t head = 0; head < plain->spec->heads; head++)
        for (size_t t = 0; t < plain->length; t++) attend_token(plain, t, head);
}

static void normalise_heads(ds_bounded y, const ds_plain *plain, const double *weight, double eps) {
    ds_bounded_rmsnorm(y, y, weight, plain->length * plain->spec->heads, plain->spec->head_dim, eps, &plain->arithmetic);
}

ds_status ds_plain_projections(ds_plain *plain, size_t layer) {
    ds_status status = DS_OK;
    const ds_spec *spec = plain->spec;
    DS_TRY(project(plain->query, plain, layer, "attn.c_q.weight", NULL));
    DS_TRY(project(plain->key, plain, layer, "attn.c_k.weight", "attn.c_k.linear.weight"));
    DS_TRY(project(plain->value, plain, layer, "attn.c_v.weight", "attn.c_v.linear.weight"));
    if (spec->k_shift) DS_TRY(shift(plain->key, plain, ds_plain_of(plain, layer, "attn.c_k.shift_proj.weight", NULL)));
    if (spec->v_shift) DS_TRY(shift(plain->value, plain, ds_plain_of(plain, layer, "attn.c_v.shift_proj.weight", NULL)));
done:
    return status;
}

ds_status ds_plain_attention(ds_plain *plain, size_t layer) {
    ds_status status = DS_OK;
    const ds_spec *spec = plain->spec;
    size_t width = spec->heads * spec->head_dim, count = plain->length * width;
    DS_TRY(ds_plain_projections(plain, layer));
    ds_bounded_activation(plain->query, count, spec->q_activation, &plain->arithmetic);
    ds_bounded_activation(plain->key, count, spec->k_activation, &plain->arithmetic);
    ds_bounded_activation(plain->value, count, spec->v_activation, &plain->arithmetic);
    rotate(plain->query, plain);
    rotate(plain->key, plain);
    if (spec->qk_norm) {
        normalise_heads(plain->query, plain, ds_plain_of(plain, layer, "attn.q_rms.weight", NULL), spec->head_norm_eps);
        normalise_heads(plain->key, plain, ds_plain_of(plain, layer, "attn.k_rms.weight", NULL), spec->head_norm_eps);
    }
    attend(plain);
    if (spec->head_norm)
        normalise_heads(plain->heads, plain, ds_plain_of(plain, layer, "attn.subln.weight", NULL), spec->head_norm_eps);
    else if (spec->output_gate)
        normalise_heads(plain->heads, plain, ds_plain_of(plain, layer, "attn.o_norm.weight", NULL), spec->output_norm_eps);
    if (spec->output_gate) {
        DS_TRY(project(plain->head_gate, plain, layer, "attn.g_proj.weight", NULL));
        ds_bounded_gate(plain->heads, plain->head_gate, count, &plain->arithmetic);
    }
    DS_TRY(ds_bounded_linear(plain->branch, plain->heads, ds_plain_of(plain, layer, "attn.c_proj.weight", "attn.o_proj.weight"),
                             plain->length, spec->hidden, width, false, &plain->arithmetic));
done:
    return status;
}
