/* Parallel streams by plain loops, one token at a time: what they mix by, what a sublayer reads of them and writes to them. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "plain_model.h"

/* ---- sizes ------------------------------------------------------------------------------------------------------------ */

typedef enum form { FREE, DROPPED, SINKHORN, PERMUTED, LOGITS } form;

static form form_of(const ds_spec *spec) {
    static const char *const rules[] = {"hc", "hc-identity", "mhc", "mhc-lite", "mhc-static"};
    size_t i = 0;
    while (strcmp(rules[i], ds_rule_name(spec->rule)) != 0) i++;
    return (form)i;
}

static bool each_alone(form f) { return f == FREE || f == DROPPED; } /* a stream has maps of its own */
static size_t orders_of(size_t n) { return n < 2 ? 1 : n * orders_of(n - 1); }
/* Numbers of alpha that one map gives, and of all of a token's. */
static size_t columns(const ds_spec *spec) {
    size_t n = spec->streams.count;
    form f = form_of(spec);
    return f == PERMUTED ? n + orders_of(n) : each_alone(f) ? n + 1 : n * (n + 1);
}
static size_t alphas(const ds_spec *spec) {
    return each_alone(form_of(spec)) ? spec->streams.count * columns(spec) : columns(spec);
}

bool ds_plain_has_streams(const ds_spec *spec) { return ds_rule_kind_of(spec->rule) == DS_KIND_STREAMS; }
size_t ds_plain_stream_mixing(const ds_spec *spec) { return spec->streams.count * (spec->streams.count + 2); }
size_t ds_plain_stream_numbers(const ds_spec *spec) {
    return ds_plain_has_streams(spec) ? alphas(spec) + spec->streams.count : 1;
}

ds_plain_stream_form ds_plain_stream_form_of(const ds_spec *spec) {
    form f = form_of(spec);
    bool rounds = f == LOGITS && !spec->streams.orthostochastic;
    return (ds_plain_stream_form){.rows = f == DROPPED || f == PERMUTED || rounds,
                                  .columns = f == DROPPED || f == PERMUTED || f == SINKHORN,
                                  .fixed = f == DROPPED,
                                  .weights = f == PERMUTED ? orders_of(spec->streams.count) : 0};
}

static const double *weight_of(const ds_plain *plain, size_t s, const char *name) {
    char full[64];
    (void)snprintf(full, sizeof full, "%s.%s", s % 2 == 0 ? "hc_attn" : "hc_mlp", name);
    return ds_plain_of(plain, s / 2, full, NULL);
}

static bool has_maps(const ds_spec *spec) { return spec->streams.dynamic && form_of(spec) != LOGITS; }

/* A bound that holds in any case; a NaN stays one, and fails. */
static double at_most(double bound, double most) { return bound > most ? most : bound; }

static ds_bounded at(ds_bounded array, size_t index) { return (ds_bounded){array.x + index, array.e + index}; }

/* ---- the maps --------------------------------------------------------------------------------------------------------- */

/* z of all tokens: every stream, or all of them side by side, made as long as it is wide, times 1 + gamma. */
static void normalise(ds_plain *plain, ds_bounded state, const double *gamma) {
    const ds_arithmetic *a = &plain->arithmetic;
    size_t n = plain->spec->streams.count, d = plain->spec->hidden, count = plain->length * n * d;
    size_t width = each_alone(form_of(plain->spec)) ? d : n * d;
    ds_bounded z = plain->unit;
    for (size_t i = 0; i < count; i++) { /* published streams lie side by side */
        size_t from = (i / (n * d) * d + i % d) * n + i / d % n;
        z.x[i] = state.x[from];
        z.e[i] = state.e[from];
    }
    ds_bounded_rmsnorm(z, z, NULL, count / width, width, 1e-24 / (double)width, a);
    for (size_t i = 0; i < count; i++) {
        double g = gamma[i % width], value = z.x[i] * (1 + g), error = fabs(1 + g) * z.e[i];
        error += a->stored * fabs(g) * (fabs(z.x[i]) + z.e[i]);
        error += ds_rounded(a, 2, 0, 0) * (fabs(value) + error) + a->tiny;
        z.x[i] = ds_settled(value, &error, a);
        z.e[i] = error;
    }
}

/* y (T groups,out) = z F, F (width,out). */
static ds_status multiply(ds_bounded y, ds_plain *plain, const double *map, size_t out) {
    ds_status status = DS_OK;
    size_t n = plain->spec->streams.count, d = plain->spec->hidden;
    size_t width = each_alone(form_of(plain->spec)) ? d : n * d;
    double *turned = NULL;
    DS_NEW_ARRAY(turned, out * width);
    for (size_t i = 0; i < width; i++)
        for (size_t k = 0; k < out; k++) turned[k * width + i] = map[i * out + k];
    DS_TRY(ds_bounded_linear(y, plain->unit, turned, plain->length * n * d / width, out, width, false, &plain->arithmetic));
done:
    free(turned);
    return status;
}

/* static + scale v, of one number; v of a free map is a tanh. All in double. */
static void add_moved(ds_bounded x, double start, double scale, const double *v, const double *error, bool squashed,
                      const ds_arithmetic *a) {
    double off = a->stored * fabs(start), moved = v != NULL ? *v : 0, own = v != NULL ? *error : 0;
    if (v != NULL && squashed) {
        moved = tanh(moved);
        own = at_most(own, 2) + 6 * a->sum * fabs(moved);
    }
    off += fabs(scale) * own + (a->stored + 2 * a->sum) * fabs(scale) * (fabs(moved) + own);
    *x.x = start + scale * moved;
    off += v != NULL ? a->sum * (fabs(*x.x) + off) : 0;
    *x.x = ds_settled(*x.x, &off, a);
    *x.e = off;
}

/* Where alpha holds what is read of stream s, and number k of R: from s to t, k = s n + t, or an order. */
static size_t pre_place(const ds_spec *spec, size_t s) { return form_of(spec) == PERMUTED ? s : s * (spec->streams.count + 1); }
static size_t res_place(const ds_spec *spec, size_t k) {
    size_t n = spec->streams.count;
    return form_of(spec) == PERMUTED ? n + k : k / n * (n + 1) + 1 + k % n;
}

static double number(const double *weight) { return weight != NULL ? *weight : 0; }

/* plain->numbers of a token: alpha's, then beta's. */
static void add_up(ds_plain *plain, size_t s, size_t token) {
    const ds_spec *spec = plain->spec;
    const ds_arithmetic *a = &plain->arithmetic;
    size_t n = spec->streams.count, count = alphas(spec);
    bool maps = has_maps(spec), squashed = each_alone(form_of(spec)), logits = form_of(spec) == LOGITS;
    const double *alpha = logits ? NULL : weight_of(plain, s, "static_alpha"), *res = weight_of(plain, s, "H_res_logits");
    const double *beta = weight_of(plain, s, logits ? "H_post_logits" : "static_beta");
    const double *pre = weight_of(plain, s, "H_pre_logits");
    double pre_scale = number(weight_of(plain, s, squashed ? "dynamic_alpha_scale" : "pre_branch_scale"));
    double res_scale = squashed ? pre_scale : number(weight_of(plain, s, "residual_scale"));
    double post_scale = number(weight_of(plain, s, squashed ? "dynamic_beta_scale" : "h_post_scale"));
    for (size_t k = 0; k < count + n; k++) {
        bool post = k >= count, reads = false;
        for (size_t i = 0; !post && i < n; i++) reads = reads || pre_place(spec, i) == k;
        double start = post     ? beta[k - count]
                       : logits ? (reads ? pre[k / (n + 1)] : res[k / (n + 1) * n + k % (n + 1) - 1])
                                : alpha[k];
        ds_bounded v = post ? at(plain->stream_beta, token * n + k - count) : at(plain->stream_alpha, token * count + k);
        add_moved(at(plain->numbers, k), start,
                  post    ? post_scale
                  : reads ? pre_scale
                          : res_scale,
                  maps ? v.x : NULL, v.e, squashed, a);
    }
}

/* ---- pre and post ----------------------------------------------------------------------------------------------------- */

/* y (count) <- softmax of x[0], x[step], ...: exponents that err by e at most move a weight by exp(2 e); each rounds once for
 * its distance from the highest, and 3 times in exp. */
static void softmax(ds_bounded y, ds_bounded x, size_t count, size_t step, const ds_arithmetic *a) {
    double highest = -INFINITY, worst = 0, total = 0, average = 0;
    for (size_t i = 0; i < count; i++) {
        highest = fmax(highest, x.x[i * step]);
        worst = ds_max_real(worst, x.e[i * step]);
    }
    for (size_t i = 0; i < count; i++) {
        y.e[i] = highest - x.x[i * step];
        total += y.x[i] = exp(-y.e[i]);
    }
    for (size_t i = 0; i < count; i++) {
        y.x[i] /= total;
        average += y.x[i] * y.e[i];
    }
    for (size_t i = 0; i < count; i++)
        y.e[i] = at_most(y.x[i] * (expm1(2 * worst) + a->sum * (y.e[i] + average) + ds_rounded(a, 0, (double)count + 8, 0)), 1);
    ds_settle(y, count, a);
}

/* mixing: pre (n), post (n), before R. */
static void pre_and_post(ds_bounded mixing, const ds_plain *plain) {
    const ds_spec *spec = plain->spec;
    const ds_arithmetic *a = &plain->arithmetic;
    size_t n = spec->streams.count, count = alphas(spec);
    ds_bounded post = at(mixing, n), beta = at(plain->numbers, count);
    if (form_of(spec) == LOGITS) {
        softmax(mixing, plain->numbers, n, n + 1, a);
        softmax(post, beta, n, 1, a);
        return;
    }
    for (size_t s = 0; s < n; s++) {
        mixing.x[s] = plain->numbers.x[pre_place(spec, s)];
        mixing.e[s] = plain->numbers.e[pre_place(spec, s)];
        post.x[s] = beta.x[s];
        post.e[s] = beta.e[s];
    }
    if (each_alone(form_of(spec))) return;
    ds_bounded_sigmoid(mixing, 2 * n, true, a);
    for (size_t s = 0; s < n; s++) {
        post.x[s] *= 2;
        post.e[s] *= 2;
    }
}

/* ---- R ---------------------------------------------------------------------------------------------------------------- */

/* potential <- -log sum exp of logits + other along lines; *largest gains the sizes of the numbers that round. */
static void balance(double *potential, double *largest, const double *logits, const double *other, size_t n, bool rows) {
    for (size_t i = 0; i < n; i++) {
        double highest = -INFINITY, sum = 0;
        for (size_t k = 0; k < n; k++) highest = fmax(highest, logits[rows ? i * n + k : k * n + i] + other[k]);
        for (size_t k = 0; k < n; k++) sum += exp(logits[rows ? i * n + k : k * n + i] + other[k] - highest);
        potential[i] = -highest - log(sum);
        *largest = ds_max_real(*largest, fabs(potential[i]));
    }
}

/* square (n,n) = exp(logits + u 1^T + 1 v^T), u and v balanced in turn. A logarithm of a sum moves by no more than the largest
 * error of an exponent, so that each of the K halves adds at most the logits' own error to that of its potential: 2 K + 1 times
 * that in all. A rounding in one half acts on all later ones as an error of the logits does. */
static void sinkhorn(ds_bounded square, size_t n, size_t rounds, bool rows_last, const ds_arithmetic *a) {
    double u[64] = {0}, v[64] = {0}, largest = 0, worst = 0, halves = 2 * (double)rounds; /* of at most so many streams */
    for (size_t i = 0; i < n * n; i++) {
        largest = ds_max_real(largest, fabs(square.x[i]));
        worst = ds_max_real(worst, square.e[i]);
    }
    for (size_t half = 0; half < 2 * rounds; half++) {
        bool rows = (half % 2 == 1) == rows_last;
        balance(rows ? u : v, &largest, square.x, rows ? v : u, n, rows);
    }
    double rounding = a->sum * (6 * largest + (double)n + 8);
    double exponent = (2 * halves + 1) * worst + (a->sample == 0 ? 2 * halves * halves : halves) * rounding;
    for (size_t i = 0; i < n * n; i++) {
        square.x[i] = exp(square.x[i] + u[i / n] + v[i % n]);
        square.e[i] = square.x[i] * (expm1(exponent) + 4 * a->sum) + a->tiny;
    }
}

/* c <- first c0 + a b, b transposed or not; n + 1 roundings. */
static void add_product(ds_bounded c, double first, ds_bounded c0, ds_bounded left, ds_bounded right, bool transposed, size_t n,
                        const ds_arithmetic *a) {
    double relative = ds_rounded(a, 0, (double)n + 2, 0);
    for (size_t i = 0; i < n * n; i++) {
        double sum = first * c0.x[i], size = fabs(sum), error = fabs(first) * c0.e[i];
        for (size_t k = 0; k < n; k++) {
            size_t l = i / n * n + k, r = transposed ? i % n * n + k : k * n + i % n;
            sum += left.x[l] * right.x[r];
            size += fabs(left.x[l] * right.x[r]);
            error += fabs(left.x[l]) * right.e[r] + left.e[l] * (fabs(right.x[r]) + right.e[r]);
        }
        c.x[i] = sum;
        c.e[i] = error + relative * (size + error);
    }
    ds_settle(c, n * n, a);
}

/* square <- Y*Y, Y after Newton-Schulz steps of logits of norm 1. plain->squares has room for four more of its size. */
static void orthostochastic(ds_bounded square, const ds_plain *plain) {
    const ds_arithmetic *a = &plain->arithmetic;
    const ds_stream_spec *streams = &plain->spec->streams;
    size_t n = streams->count, count = n * n;
    const double *c = streams->coefficients;
    ds_bounded gram = at(plain->squares, count), factor = at(plain->squares, 2 * count), next = at(plain->squares, 3 * count);
    double squares = 0, errors = 0;
    for (size_t i = 0; i < count; i++) {
        squares += square.x[i] * square.x[i];
        errors += square.e[i] * square.e[i];
    }
    double size = sqrt(squares) + streams->eps, off = sqrt(errors), low = fmax(sqrt(squares) - off, 0) + streams->eps;
    for (size_t i = 0; i < count; i++) {
        double value = square.x[i] / size, error = low > 0 ? square.e[i] / low + fabs(value) * (off / low) : 2;
        square.e[i] = error + ds_rounded(a, 0, (double)count + 4, 0) * (fabs(value) + error);
        square.x[i] = value;
    }
    ds_settle(square, count, a);
    for (size_t step = 0; step < streams->steps; step++) {
        add_product(gram, 0, square, square, square, true, n, a);
        add_product(factor, 0, square, gram, gram, false, n, a);
        for (size_t i = 0; i < count; i++) {
            factor.e[i] = fabs(c[1]) * gram.e[i] + fabs(c[2]) * factor.e[i];
            factor.x[i] = c[1] * gram.x[i] + c[2] * factor.x[i];
            factor.e[i] += 4 * a->sum * (fabs(c[1] * gram.x[i]) + fabs(factor.x[i]) + factor.e[i]);
        }
        ds_settle(factor, count, a);
        add_product(next, c[0], square, factor, square, false, n, a);
        memcpy(square.x, next.x, count * sizeof *next.x);
        memcpy(square.e, next.e, count * sizeof *next.e);
    }
    for (size_t i = 0; i < count; i++) {
        square.e[i] = 2 * fabs(square.x[i]) * square.e[i] + square.e[i] * square.e[i];
        square.x[i] *= square.x[i];
        square.e[i] += a->sum * (square.x[i] + square.e[i]);
    }
}

/* The place of t in the order number `r` of `count` things, in dictionaries' order: digits of r in factorials. */
static size_t ordered(size_t r, size_t t, size_t count) {
    bool used[8] = {false}; /* of at most so many things */
    size_t found = 0;
    for (size_t place = 0; place <= t; place++) {
        size_t rest = orders_of(count - 1 - place), skip = r / rest;
        r %= rest;
        for (found = 0; used[found] || skip > 0; found++) skip -= used[found] ? 0 : 1;
        used[found] = true;
    }
    return found;
}

/* square (n,n) <- sum_r w_r Perm_r, w the softmax of the last of the token's numbers of alpha. */
static void mix_orders(ds_bounded square, const ds_plain *plain) {
    const ds_arithmetic *a = &plain->arithmetic;
    size_t n = plain->spec->streams.count, orders = orders_of(n);
    ds_bounded logits = at(plain->numbers, n);
    softmax(logits, logits, orders, 1, a);
    memset(square.x, 0, n * n * sizeof *square.x);
    memset(square.e, 0, n * n * sizeof *square.e);
    for (size_t r = 0; r < orders; r++)
        for (size_t s = 0; s < n; s++) {
            square.x[s * n + ordered(r, s, n)] += logits.x[r];
            square.e[s * n + ordered(r, s, n)] += logits.e[r];
        }
    for (size_t i = 0; i < n * n; i++) square.e[i] += ds_rounded(a, 0, (double)orders, 0) * (square.x[i] + square.e[i]);
}

/* res (n,n), R[t,s], of one token. */
static void make_res(ds_bounded res, ds_plain *plain) {
    const ds_spec *spec = plain->spec;
    const ds_arithmetic *a = &plain->arithmetic;
    size_t n = spec->streams.count;
    form f = form_of(spec);
    ds_bounded square = plain->squares; /* R^T */
    for (size_t k = 0; k < n * n && f != PERMUTED; k++) {
        double by = f == LOGITS && !spec->streams.orthostochastic ? spec->streams.temperature : 1;
        square.x[k] = plain->numbers.x[res_place(spec, k)] / by;
        square.e[k] = plain->numbers.e[res_place(spec, k)] / by + (by != 1 ? a->sum * fabs(square.x[k]) : 0);
        if (f == DROPPED) square.x[k] = k / n == k % n ? 1 : 0;
        if (f == DROPPED) square.e[k] = 0;
    }
    ds_settle(square, n * n, a);
    if (f == PERMUTED) mix_orders(square, plain);
    if (f == LOGITS && spec->streams.orthostochastic) orthostochastic(square, plain);
    if (f == SINKHORN || (f == LOGITS && !spec->streams.orthostochastic))
        sinkhorn(square, n, spec->streams.rounds, f == SINKHORN, a);
    ds_settle(square, n * n, a);
    for (size_t i = 0; i < n * n; i++) {
        res.x[i] = square.x[i % n * n + i / n];
        res.e[i] = square.e[i % n * n + i / n];
    }
}

/* ---- a sublayer ------------------------------------------------------------------------------------------------------- */

/* sum and error gain weight times value, both kept; the weight is made in double and rounded when used. */
static void add_weighed(double *sum, double *error, ds_bounded weight, ds_bounded value, double relative) {
    double own = fabs(*weight.x) + *weight.e, size = fabs(*value.x) + *value.e;
    *sum += *weight.x * *value.x;
    *error += fabs(*weight.x) * *value.e + *weight.e * size + relative * own * size;
}

ds_status ds_plain_stream_read(ds_plain *plain, ds_bounded state, size_t sublayer) {
    ds_status status = DS_OK;
    const ds_spec *spec = plain->spec;
    const ds_arithmetic *a = &plain->arithmetic;
    size_t n = spec->streams.count, d = spec->hidden;
    double relative = ds_rounded(a, (double)n + 1, 0, 0);
    if (has_maps(spec)) {
        normalise(plain, state, weight_of(plain, sublayer, "norm.gamma"));
        DS_TRY(multiply(plain->stream_alpha, plain, weight_of(plain, sublayer, "dynamic_alpha_fn"), columns(spec)));
        DS_TRY(multiply(plain->stream_beta, plain, weight_of(plain, sublayer, "dynamic_beta_fn"),
                        each_alone(form_of(spec)) ? 1 : n));
    }
    for (size_t t = 0; t < plain->length; t++) {
        ds_bounded mixing = at(plain->mixing, t * ds_plain_stream_mixing(spec));
        add_up(plain, sublayer, t);
        pre_and_post(mixing, plain);
        make_res(at(mixing, 2 * n), plain);
        for (size_t i = t * d; i < (t + 1) * d; i++) {
            double sum = 0, error = a->tiny;
            for (size_t s = 0; s < n; s++) add_weighed(&sum, &error, at(mixing, s), at(state, i * n + s), relative);
            plain->x_in.x[i] = ds_settled(sum, &error, a);
            plain->x_in.e[i] = error;
        }
    }
done:
    return status;
}

/* X[t] <- sum_s R[t,s] X[s] + m post[t] f. */
void ds_plain_stream_write(ds_plain *plain, ds_bounded state, size_t sublayer) {
    const ds_spec *spec = plain->spec;
    const ds_arithmetic *a = &plain->arithmetic;
    size_t n = spec->streams.count, d = spec->hidden;
    double m = spec->trained[sublayer % 2].mode == DS_FORCE_CLOSED ? 0 : spec->residual_mult;
    double relative = ds_rounded(a, (double)n + 3, 1, 0), next[64], off[64]; /* of at most so many streams */
    for (size_t i = 0; i < plain->length * d; i++) {
        ds_bounded mixing = at(plain->mixing, i / d * ds_plain_stream_mixing(spec));
        for (size_t t = 0; t < n; t++) {
            double weight = m * mixing.x[n + t], error = fabs(m) * mixing.e[n + t];
            next[t] = 0;
            off[t] = a->tiny;
            for (size_t s = 0; s < n; s++)
                add_weighed(&next[t], &off[t], at(mixing, 2 * n + t * n + s), at(state, i * n + s), relative);
            if (m != 0) add_weighed(&next[t], &off[t], (ds_bounded){&weight, &error}, at(plain->branch, i), relative);
        }
        for (size_t t = 0; t < n; t++) {
            state.x[i * n + t] = ds_settled(next[t], &off[t], a);
            state.e[i * n + t] = off[t];
        }
    }
}

/* hidden (T,d) <- every stream normed, then their sum. */
void ds_plain_stream_readout(ds_plain *plain, ds_bounded hidden, ds_bounded state) {
    const ds_arithmetic *a = &plain->arithmetic;
    size_t n = plain->spec->streams.count, count = plain->length * plain->spec->hidden;
    for (size_t s = 0; s < n; s++) {
        for (size_t i = 0; i < count; i++) {
            plain->x_in.x[i] = state.x[i * n + s];
            plain->x_in.e[i] = state.e[i * n + s];
        }
        ds_plain_norm(plain->context, plain->x_in, plain, DS_PLAIN_NO_LAYER, DS_PLAIN_FINAL_NORM);
        for (size_t i = 0; i < count; i++) {
            double sum = plain->context.x[i] + (s > 0 ? hidden.x[i] : 0),
                   error = plain->context.e[i] + (s > 0 ? hidden.e[i] : 0);
            error += s > 0 ? a->u * (fabs(sum) + error) : 0;
            hidden.x[i] = ds_settled(sum, &error, a);
            hidden.e[i] = error;
        }
    }
}
