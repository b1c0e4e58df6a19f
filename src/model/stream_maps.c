#include "stream_maps.h"

#include <math.h>
#include <string.h>

#include "deltascope/num.h"

#include "rule.h"

ds_stream_kind ds_stream_kind_of(const ds_spec *spec) { return *(const ds_stream_kind *)spec->rule->form; }

ds_stream_shape ds_stream_shape_of(const ds_spec *spec) {
    ds_stream_kind kind = ds_stream_kind_of(spec);
    size_t n = spec->streams.count;
    ds_stream_shape shape = {.streams = n, .hidden = spec->hidden, .groups = 1, .width = n * spec->hidden};
    bool alone = kind == DS_STREAM_FREE || kind == DS_STREAM_DROPPED;
    if (alone) {
        shape.groups = n;
        shape.width = spec->hidden;
    }
    shape.orders = kind == DS_STREAM_PERMUTED ? 1 : 0;
    for (size_t i = 2; shape.orders > 0 && i <= n; i++) shape.orders *= i;
    shape.alpha = shape.orders > 0 ? n + shape.orders : alone ? n + 1 : n * (n + 1);
    shape.beta = alone ? 1 : n;
    return shape;
}

void ds_stream_permutations(unsigned char *rows, size_t streams) {
    size_t count = 1;
    for (size_t i = 2; i <= streams; i++) count *= i;
    for (size_t i = 0; i < streams; i++) rows[i] = (unsigned char)i;
    for (size_t r = 1; r < count; r++) {
        unsigned char *row = rows + r * streams, swapped;
        memcpy(row, row - streams, streams);
        size_t pivot = streams - 2, next = streams - 1;
        while (row[pivot] > row[pivot + 1]) pivot--;
        while (row[next] < row[pivot]) next--;
        swapped = row[pivot], row[pivot] = row[next], row[next] = swapped;
        for (size_t low = pivot + 1, high = streams - 1; low < high; low++, high--)
            swapped = row[low], row[low] = row[high], row[high] = swapped;
    }
}

/* ---- columns ---------------------------------------------------------------------------------------------------------- */

/* Where alpha holds pre of stream s, and number k of R: (s,t) = (k / n, k % n), or an order. */
static size_t pre_at(const ds_stream_maps *m, size_t s) { return m->shape.orders > 0 ? s : s * (m->shape.streams + 1); }
static size_t res_at(const ds_stream_maps *m, size_t k) {
    size_t n = m->shape.streams;
    return m->shape.orders > 0 ? n + k : k / n * (n + 1) + 1 + k % n;
}
static size_t res_count(const ds_stream_maps *m) {
    return m->shape.orders > 0 ? m->shape.orders : m->shape.streams * m->shape.streams;
}

/* Which scale a number of v has: 0 pre, 1 R, 2 post. */
static size_t scale_of(const ds_stream_maps *m, size_t k) {
    size_t n = m->shape.streams;
    if (k >= ds_stream_alphas(&m->shape)) return 2;
    bool pre = m->shape.orders > 0 ? k < n : k % (n + 1) == 0;
    return pre ? 0 : 1;
}

static bool is_free(const ds_stream_maps *m) { return m->kind == DS_STREAM_FREE || m->kind == DS_STREAM_DROPPED; }
static double moved(const ds_stream_maps *m, double v) { return is_free(m) ? tanh(v) : v; }

/* m->x, all of it. */
static void add_up(const ds_stream_maps *m, const double *v) {
    size_t alphas = ds_stream_alphas(&m->shape);
    for (size_t k = 0; k < alphas + m->shape.streams; k++) {
        m->x[k] = k < alphas ? m->alpha[k] : m->beta[k - alphas];
        if (v != NULL) m->x[k] += m->scale[scale_of(m, k)] * moved(m, v[k]);
    }
}

/* ---- what holds whatever the weights say ------------------------------------------------------------------------------ */

static bool pre_is_fixed(const ds_stream_maps *m) { return m->force.mode == DS_FORCE_MEAN_MIX; }
static bool post_is_fixed(const ds_stream_maps *m) {
    return m->closed || m->force.mode == DS_FORCE_BYPASS || m->force.mode == DS_FORCE_MEAN_MIX;
}
static bool res_is_fixed(const ds_stream_maps *m) {
    unsigned mode = m->force.mode;
    return m->kind == DS_STREAM_DROPPED || mode == DS_FORCE_BYPASS || mode == DS_FORCE_IDENTITY_RES ||
           mode == DS_FORCE_UNIFORM_RES || mode == DS_FORCE_MEAN_MIX || mode == DS_FORCE_MEAN_RES;
}

static void fix_res(double *res, const ds_stream_maps *m) {
    size_t n = m->shape.streams;
    unsigned mode = m->force.mode;
    for (size_t i = 0; i < n * n; i++) {
        double identity = i / n == i % n ? 1 : 0;
        bool mean = mode == DS_FORCE_MEAN_MIX || mode == DS_FORCE_MEAN_RES;
        res[i] = mean ? m->mean[2 * n + i] : mode == DS_FORCE_UNIFORM_RES ? 1 / (double)n : identity;
    }
}

/* ---- forward ---------------------------------------------------------------------------------------------------------- */

static double sigmoid(double x) { return 1 / (1 + exp(-x)); }

/* y (count) <- softmax of x[first], x[first + step], ... */
static void softmax(double *y, const double *x, size_t count, size_t step) {
    double highest = -INFINITY, sum = 0;
    for (size_t i = 0; i < count; i++) highest = fmax(highest, x[i * step]);
    for (size_t i = 0; i < count; i++) sum += y[i] = exp(x[i * step] - highest);
    for (size_t i = 0; i < count; i++) y[i] /= sum;
}

static void pre_and_post(double *pre, double *post, const ds_stream_maps *m) {
    size_t n = m->shape.streams;
    const double *beta = m->x + ds_stream_alphas(&m->shape);
    if (m->kind == DS_STREAM_STATIC) {
        softmax(pre, m->x, n, n + 1);
        softmax(post, beta, n, 1);
        return;
    }
    for (size_t s = 0; s < n; s++) {
        double x = m->x[pre_at(m, s)];
        pre[s] = is_free(m) ? x : sigmoid(x);
        post[s] = is_free(m) ? beta[s] : 2 * sigmoid(beta[s]);
    }
}

/* m->square <- R^T from its logits. */
static void make_square(const ds_stream_maps *m) {
    size_t n = m->shape.streams;
    double *square = m->square, *order = m->dx; /* free until a derivative is taken */
    if (m->kind == DS_STREAM_PERMUTED) {
        memset(square, 0, n * n * sizeof *square);
        softmax(order, m->x + n, m->shape.orders, 1);
        for (size_t r = 0; r < m->shape.orders; r++)
            for (size_t s = 0; s < n; s++) square[s * n + m->permutation[r * n + s]] += order[r];
        return;
    }
    for (size_t k = 0; k < n * n; k++) square[k] = m->x[res_at(m, k)];
    if (is_free(m)) return;
    if (m->kind == DS_STREAM_STATIC && m->spec->orthostochastic) {
        memcpy(order, square, n * n * sizeof *square);
        ds_orthostochastic_forward(square, m->history, order, n, m->spec->steps, m->spec->eps, m->spec->coefficients);
        return;
    }
    for (size_t k = 0; k < n * n; k++) square[k] /= m->spec->temperature;
    ds_sinkhorn_forward(square, m->history, square, n, m->rounds, m->kind == DS_STREAM_SINKHORN);
}

static double range_of(const ds_stream_maps *m) {
    double low = INFINITY, high = -INFINITY;
    for (size_t k = 0; k < res_count(m); k++) {
        low = fmin(low, m->x[res_at(m, k)]);
        high = fmax(high, m->x[res_at(m, k)]);
    }
    return m->kind == DS_STREAM_STATIC ? (high - low) / m->spec->temperature : high - low;
}

double ds_stream_maps_forward(double *mixing, const ds_stream_maps *m, const double *v) {
    size_t n = m->shape.streams;
    double *pre = mixing, *post = mixing + n, *res = mixing + 2 * n;
    add_up(m, v);
    pre_and_post(pre, post, m);
    if (pre_is_fixed(m)) memcpy(pre, m->mean, 2 * n * sizeof *pre);
    if (m->closed || m->force.mode == DS_FORCE_BYPASS) memset(post, 0, n * sizeof *post);
    if (res_is_fixed(m)) {
        fix_res(res, m);
        return range_of(m);
    }
    make_square(m);
    for (size_t i = 0; i < n * n; i++) res[i] = m->square[i % n * n + i / n];
    return range_of(m);
}

/* ---- backward --------------------------------------------------------------------------------------------------------- */

/* d (count) <- p (d - <p, d>): the softmax's Jacobian, which is symmetric. */
static void softmax_derivative(double *d, const double *p, size_t count) {
    double mean = 0;
    for (size_t i = 0; i < count; i++) mean += p[i] * d[i];
    for (size_t i = 0; i < count; i++) d[i] = p[i] * (d[i] - mean);
}

/* d (n) <- through what makes pre (twice = 1) or post (2) of x. */
static void squash_derivative(double *d, const ds_stream_maps *m, const double *x, size_t step, double twice) {
    size_t n = m->shape.streams;
    double p[DS_MOST_STREAMS];
    if (is_free(m)) return;
    if (m->kind == DS_STREAM_STATIC) {
        softmax(p, x, n, step);
        softmax_derivative(d, p, n);
        return;
    }
    for (size_t s = 0; s < n; s++) {
        double open = sigmoid(x[s * step]);
        d[s] *= twice * open * (1 - open);
    }
}

/* dres (n,n), of R, to dlogits (res_count). */
static void res_backward(double *dlogits, const double *dres, const ds_stream_maps *m) {
    size_t n = m->shape.streams;
    double *square = m->square;
    make_square(m);
    if (m->kind == DS_STREAM_PERMUTED) {
        double *order = m->dx;
        for (size_t r = 0; r < m->shape.orders; r++) {
            dlogits[r] = 0;
            for (size_t s = 0; s < n; s++) dlogits[r] += dres[m->permutation[r * n + s] * n + s];
        }
        softmax_derivative(dlogits, order, m->shape.orders);
        return;
    }
    for (size_t k = 0; k < n * n; k++) dlogits[k] = dres[k % n * n + k / n];
    if (is_free(m)) return;
    if (m->kind == DS_STREAM_STATIC && m->spec->orthostochastic) {
        for (size_t k = 0; k < n * n; k++) square[k] = m->x[res_at(m, k)];
        ds_orthostochastic_backward(dlogits, m->history, square, n, m->spec->steps, m->spec->eps, m->spec->coefficients);
        return;
    }
    ds_sinkhorn_backward(dlogits, m->history, n, m->rounds, m->kind == DS_STREAM_SINKHORN);
    for (size_t k = 0; k < n * n; k++) dlogits[k] /= m->spec->temperature;
}

static size_t squash_step(const ds_stream_maps *m) { return m->shape.orders > 0 ? 1 : m->shape.streams + 1; }

void ds_stream_maps_backward(double *dv, double *sums, const double *dmixing, const ds_stream_maps *m, const double *v) {
    size_t n = m->shape.streams, alphas = ds_stream_alphas(&m->shape), count = res_count(m);
    double part[DS_MOST_STREAMS], *dx = m->dx, *dlogits = m->dx + alphas + n;
    add_up(m, v);
    memset(dlogits, 0, count * sizeof *dlogits);
    if (!res_is_fixed(m)) res_backward(dlogits, dmixing + 2 * n, m);
    for (size_t k = 0; k < count; k++) dx[res_at(m, k)] = dlogits[k];
    memcpy(part, dmixing, n * sizeof *part);
    squash_derivative(part, m, m->x, squash_step(m), 1);
    for (size_t s = 0; s < n; s++) dx[pre_at(m, s)] = pre_is_fixed(m) ? 0 : part[s];
    memcpy(part, dmixing + n, n * sizeof *part);
    squash_derivative(part, m, m->x + alphas, 1, 2);
    for (size_t s = 0; s < n; s++) dx[alphas + s] = post_is_fixed(m) ? 0 : part[s];
    for (size_t k = 0; k < alphas + n; k++) {
        size_t which = scale_of(m, k);
        double own = v != NULL ? moved(m, v[k]) : 0;
        if (sums != NULL) sums[k] += dx[k];
        if (sums != NULL && m->force.mode != DS_FORCE_STATIC) sums[alphas + n + which] += dx[k] * own;
        if (dv != NULL) dv[k] = dx[k] * m->scale[which] * (is_free(m) ? 1 - own * own : 1);
    }
}

/* ---- tangent ---------------------------------------------------------------------------------------------------------- */

/* dres (n,n) <- along dlogits (res_count), which it overwrites. */
static void res_tangent(double *dres, double *dlogits, const ds_stream_maps *m) {
    size_t n = m->shape.streams;
    make_square(m);
    if (m->kind == DS_STREAM_PERMUTED) {
        softmax_derivative(dlogits, m->dx, m->shape.orders);
        memset(dres, 0, n * n * sizeof *dres);
        for (size_t r = 0; r < m->shape.orders; r++)
            for (size_t s = 0; s < n; s++) dres[m->permutation[r * n + s] * n + s] += dlogits[r];
        return;
    }
    for (size_t k = 0; k < n * n; k++) dlogits[k] /= is_free(m) ? 1 : m->spec->temperature;
    if (!is_free(m)) ds_sinkhorn_tangent(dlogits, m->history, n, m->rounds, m->kind == DS_STREAM_SINKHORN);
    for (size_t k = 0; k < n * n; k++) dres[k % n * n + k / n] = dlogits[k];
}

void ds_stream_maps_tangent(double *dmixing, const double *dv, const ds_stream_maps *m, const double *v) {
    size_t n = m->shape.streams, alphas = ds_stream_alphas(&m->shape), count = res_count(m);
    double *dlogits = m->dx + alphas + n, *dpre = dmixing, *dpost = dmixing + n;
    add_up(m, v);
    for (size_t k = 0; k < count; k++) {
        size_t at = res_at(m, k);
        double own = moved(m, v[at]);
        dlogits[k] = m->scale[1] * dv[at] * (is_free(m) ? 1 - own * own : 1);
    }
    memset(dmixing + 2 * n, 0, n * n * sizeof *dmixing);
    if (!res_is_fixed(m)) res_tangent(dmixing + 2 * n, dlogits, m);
    for (size_t s = 0; s < n; s++) {
        double pre = moved(m, v[pre_at(m, s)]), post = moved(m, v[alphas + s]);
        dpre[s] = m->scale[0] * dv[pre_at(m, s)] * (is_free(m) ? 1 - pre * pre : 1);
        dpost[s] = m->scale[2] * dv[alphas + s] * (is_free(m) ? 1 - post * post : 1);
    }
    squash_derivative(dpre, m, m->x, squash_step(m), 1);
    squash_derivative(dpost, m, m->x + alphas, 1, 2);
    if (pre_is_fixed(m)) memset(dpre, 0, n * sizeof *dpre);
    if (post_is_fixed(m)) memset(dpost, 0, n * sizeof *dpost);
}
