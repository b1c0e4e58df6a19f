/* Attention by plain loops (MODEL heading: Attention). */
#include <math.h>
#include <string.h>

#include "plain_model.h"

/* y_t <- a_t y_{t-1} + (1 - a_t) y_t, a = sigmoid(shift c) per head, y_{-1} = 0; a window of one token is not shifted. */
static ds_status shift(ds_bounded y, ds_plain *plain, const double *weight) {
    ds_status status = DS_OK;
    const ds_spec *spec = plain->spec;
    const ds_arithmetic *arithmetic = &plain->arithmetic;
    size_t h = spec->head_dim, heads = ds_spec_kv_heads(spec), width = heads * h;
    if (plain->length == 1) return DS_OK;
    DS_TRY(ds_bounded_linear(plain->mix, plain->context, weight, plain->length, heads, spec->hidden, false, arithmetic));
    ds_bounded_sigmoid(plain->mix, plain->length * heads, false, arithmetic);
    for (size_t t = plain->length; t-- > 0;) {
        for (size_t i = 0; i < width; i++) {
            double a = plain->mix.x[t * heads + i / h], a_error = plain->mix.e[t * heads + i / h];
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

/* LLaMA 3: what turns often within the old context keeps its frequency, what turns seldom is slowed down by the factor, and
 * between there is a straight line. */
static double frequency(const ds_spec *spec, size_t i) {
    const ds_rope_scaling *s = &spec->rope_scaling;
    double w = pow(spec->rope_base, -2 * (double)i / (double)spec->rotary_dim);
    if (s->factor == 0) return w;
    double z = s->original_context * w / (2 * M_PI), a = (z - s->low_freq_factor) / (s->high_freq_factor - s->low_freq_factor);
    if (a <= 0) return w / s->factor;
    return a >= 1 ? w : a * w + (1 - a) * w / s->factor;
}

/* How much an error of a frequency is magnified on that line: z over the width of what lies between. */
static double slope(const ds_spec *spec) {
    const ds_rope_scaling *s = &spec->rope_scaling;
    return s->high_freq_factor / (s->high_freq_factor - s->low_freq_factor) * fmax(1, s->factor);
}

/* Halves, not pairs: features i and i + r/2 turn by t base^(-2i/r). The angle is made of 3 roundings in double, and so is
 * the table of its sines, then kept. */
static void rotate(ds_bounded y, const ds_plain *plain, size_t heads) {
    const ds_spec *spec = plain->spec;
    const ds_arithmetic *arithmetic = &plain->arithmetic;
    size_t h = spec->head_dim, half = spec->rotary_dim / 2;
    for (size_t at = 0; at < plain->length * heads * half; at++) {
        size_t i = at % half, row = at / half, first = row * h + i, second = first + half;
        double angle = (double)(row / heads) * frequency(spec, i);
        double c = cos(angle), s = sin(angle), a = y.x[first], b = y.x[second], e = y.e[first], f = y.e[second];
        double off = (spec->rope_scaling.factor == 0 ? 3 : 8 + 4 * slope(spec)) * arithmetic->sum * angle + 2 * arithmetic->u,
               rounded = ds_rounded(arithmetic, 2, 0, 0);
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
static double score(ds_plain *plain, size_t layer, size_t t, size_t head, double *highest) {
    const ds_spec *spec = plain->spec;
    const ds_arithmetic *a = &plain->arithmetic;
    size_t h = spec->head_dim, query = (t * spec->heads + head) * h, kv_heads = ds_spec_kv_heads(spec);
    size_t shared = head * kv_heads / spec->heads;
    double scale = spec->unscaled_scores ? 1 : 1 / sqrt((double)h), largest = 0, relative = ds_rounded(a, (double)h, 0, 0);
    if (spec->depth_scaled_scores) scale /= (double)(layer + 1);
    *highest = -INFINITY;
    for (size_t s = 0; s <= t; s++) {
        double sum = 0, error = (double)h * a->tiny;
        for (size_t i = 0; i < h; i++) {
            size_t at = (s * kv_heads + shared) * h + i;
            double q = plain->query.x[query + i], k = plain->key.x[at];
            double q_error = plain->query.e[query + i], k_error = plain->key.e[at];
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
static void attend_token(ds_plain *plain, size_t layer, size_t t, size_t head) {
    const ds_spec *spec = plain->spec;
    const ds_arithmetic *a = &plain->arithmetic;
    size_t h = spec->head_dim, width = spec->heads * h, kv_width = ds_spec_kv_heads(spec) * h;
    size_t shared = head * ds_spec_kv_heads(spec) / spec->heads * h;
    ds_bounded out = {plain->heads.x + t * width + head * h, plain->heads.e + t * width + head * h};
    double highest, total = 0, seen = (double)(t + 1);
    double factor = expm1(2 * score(plain, layer, t, head, &highest)), average = 0;
    for (size_t s = 0; s <= t; s++) {
        plain->scores.e[s] = ds_rounded(a, 3, 0, 0) * (highest - plain->scores.x[s]); /* from here on of the weight's own */
        total += plain->scores.x[s] = exp(plain->scores.x[s] - highest);
        average += plain->scores.x[s] * plain->scores.e[s];
    }
    factor += average / total;
    double relative = ds_rounded(a, seen + 8, seen, 0);
    for (size_t i = 0; i < h; i++) {
        double mean = 0, moved = 0, largest = 0, error = 2 * seen * a->tiny;
        for (size_t s = 0; s <= t; s++) mean += plain->scores.x[s] / total * plain->value.x[s * kv_width + shared + i];
        for (size_t s = 0; s <= t; s++) {
            double p = plain->scores.x[s] / total, v = plain->value.x[s * kv_width + shared + i];
            double v_error = plain->value.e[s * kv_width + shared + i];
            moved += p * fabs(v - mean) * (factor + plain->scores.e[s]);
            error += p * (v_error + relative * (fabs(v) + v_error)) + a->tiny * fabs(v);
            largest = fmax(largest, 2 * (fabs(v) + v_error));
        }
        out.e[i] = fmin(moved, largest) + error;
        out.x[i] = ds_settled(mean, &out.e[i], a);
    }
}

static void attend(ds_plain *plain, size_t layer) {
    for (size_t head = 0; head < plain->spec->heads; head++)
        for (size_t t = 0; t < plain->length; t++) attend_token(plain, layer, t, head);
}

static void normalise_heads(ds_bounded y, const ds_plain *plain, const double *weight, size_t heads, double eps) {
    ds_bounded_rmsnorm(y, y, weight, plain->length * heads, plain->spec->head_dim, eps, &plain->arithmetic);
}

static ds_status project(ds_bounded y, ds_plain *plain, size_t layer, ds_plain_part part, size_t heads) {
    return ds_plain_project(y, plain->context, plain, layer, part, heads * plain->spec->head_dim, plain->spec->hidden);
}

ds_status ds_plain_projections(ds_plain *plain, size_t layer) {
    ds_status status = DS_OK;
    const ds_spec *spec = plain->spec;
    DS_TRY(project(plain->query, plain, layer, DS_PLAIN_QUERY, spec->heads));
    DS_TRY(project(plain->key, plain, layer, DS_PLAIN_KEY, ds_spec_kv_heads(spec)));
    DS_TRY(project(plain->value, plain, layer, DS_PLAIN_VALUE, ds_spec_kv_heads(spec)));
    if (spec->k_shift) DS_TRY(shift(plain->key, plain, ds_plain_of(plain, layer, "attn.c_k.shift_proj.weight", NULL)));
    if (spec->v_shift) DS_TRY(shift(plain->value, plain, ds_plain_of(plain, layer, "attn.c_v.shift_proj.weight", NULL)));
done:
    return status;
}

static void rotate_both(ds_plain *plain) {
    rotate(plain->query, plain, plain->spec->heads);
    rotate(plain->key, plain, ds_spec_kv_heads(plain->spec));
}

static void normalise_both(ds_plain *plain, size_t layer) {
    const ds_spec *spec = plain->spec;
    if (!spec->qk_norm || ds_plain_weight(plain, layer, DS_PLAIN_QUERY_NORM) == NULL) return;
    normalise_heads(plain->query, plain, ds_plain_weight(plain, layer, DS_PLAIN_QUERY_NORM), spec->heads, spec->head_norm_eps);
    normalise_heads(plain->key, plain, ds_plain_weight(plain, layer, DS_PLAIN_KEY_NORM), ds_spec_kv_heads(spec),
                    spec->head_norm_eps);
}

/* What the scores see. The published order is rotation, then norm; Qwen3's the other one. */
static ds_status queries_and_keys(ds_plain *plain, size_t layer) {
    ds_status status = DS_OK;
    const ds_spec *spec = plain->spec;
    size_t queries = plain->length * spec->heads * spec->head_dim,
           keys = plain->length * ds_spec_kv_heads(spec) * spec->head_dim;
    DS_TRY(ds_plain_projections(plain, layer));
    ds_bounded_activation(plain->query, queries, spec->q_activation, &plain->arithmetic);
    ds_bounded_activation(plain->key, keys, spec->k_activation, &plain->arithmetic);
    ds_bounded_activation(plain->value, keys, spec->v_activation, &plain->arithmetic);
    if (spec->backbone == &ds_backbone_ddl) {
        rotate_both(plain);
        normalise_both(plain, layer);
    } else {
        normalise_both(plain, layer);
        rotate_both(plain);
    }
done:
    return status;
}

ds_status ds_plain_attention(ds_plain *plain, size_t layer) {
    ds_status status = DS_OK;
    const ds_spec *spec = plain->spec;
    size_t width = spec->heads * spec->head_dim, count = plain->length * width;
    DS_TRY(queries_and_keys(plain, layer));
    attend(plain, layer);
    if (spec->head_norm)
        normalise_heads(plain->heads, plain, ds_plain_of(plain, layer, "attn.subln.weight", NULL), spec->heads,
                        spec->head_norm_eps);
    else if (spec->output_gate)
        normalise_heads(plain->heads, plain, ds_plain_of(plain, layer, "attn.o_norm.weight", NULL), spec->heads,
                        spec->output_norm_eps);
    if (spec->output_gate) {
        DS_TRY(ds_bounded_linear(plain->head_gate, plain->context, ds_plain_of(plain, layer, "attn.g_proj.weight", NULL),
                                 plain->length, width, spec->hidden, false, &plain->arithmetic));
        ds_bounded_gate(plain->heads, plain->head_gate, count, &plain->arithmetic);
    }
    DS_TRY(ds_plain_project(plain->branch, plain->heads, plain, layer, DS_PLAIN_OUTPUT, spec->hidden, width));
done:
    return status;
}
