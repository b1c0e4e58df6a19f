/* Parallel streams, token by token, from the model's own pass in double: what R's sums are, what products of it do to streams
 * that nothing is written to, and what a read is made of. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "checks.h"
#include "plain_model.h"

static const double u64 = 0x1p-53;

/* A pass, and what its streams mixed by. */
typedef struct mixed {
    const ds_side *side;
    const ds_batch *batch;
    size_t tokens, n, d, sublayers, length; /* of a token's pre, post and R */
    double *mixing;                         /* (S,B,T,n(n+2)) */
    double *range;                          /* (S,B,T) of logits before Sinkhorn */
    double *states;                         /* (S+1,B,T,n,d) */
    double *matrices;                       /* of one token: products, (4,n,n) */
    double *columns, *bounds;               /* of one token: (2,n,S+1); of one feature: (4,n) */
    double *written, *errors;               /* of one token: (S+1,d) */
    double *read;                           /* (B,T,d) */
    ds_worst worst;
} mixed;

static ds_status keep(void *context, const ds_observation *seen) {
    mixed *m = context;
    size_t state = m->tokens * m->n * m->d, s = seen->sublayer;
    memcpy(m->mixing + s * m->tokens * m->length, seen->streams->mixing, m->tokens * m->length * sizeof *m->mixing);
    for (size_t t = 0; t < m->tokens; t++)
        m->range[s * m->tokens + t] = seen->streams->logit_range != NULL ? seen->streams->logit_range[t] : 0;
    memcpy(m->states + s * state, seen->before, state * sizeof *m->states);
    memcpy(m->states + (s + 1) * state, seen->after, state * sizeof *m->states);
    return DS_OK;
}

static ds_status mixed_init(mixed *m, ds_verify *v, unsigned mode) {
    ds_status status = DS_OK;
    const ds_spec *spec = v->spec;
    size_t n = spec->streams.count, tokens = v->narrow.batch.sequences * v->narrow.batch.length;
    size_t sublayers = ds_spec_sublayers(spec), d = spec->hidden, length = ds_plain_stream_mixing(spec);
    ds_force *forces = NULL;
    *m = (mixed){.side = ds_exact(v), .batch = &v->narrow.batch, .tokens = tokens, .n = n, .d = d, .sublayers = sublayers};
    m->length = length;
    const ds_observer observer = {DS_OBSERVE_GATES | DS_OBSERVE_STATES, keep, m};
    const struct {
        double **array;
        size_t count;
    } arrays[] = {{&m->mixing, sublayers * tokens * length},
                  {&m->range, sublayers * tokens},
                  {&m->states, (sublayers + 1) * tokens * n * d},
                  {&m->matrices, 4 * n * n},
                  {&m->columns, 2 * n * (sublayers + 1)},
                  {&m->bounds, 4 * n},
                  {&m->written, (sublayers + 1) * d},
                  {&m->errors, (sublayers + 1) * d},
                  {&m->read, tokens * d}};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) DS_NEW_ARRAY(*arrays[i].array, arrays[i].count);
    DS_NEW(forces, sublayers);
    for (size_t s = 0; s < sublayers; s++) forces[s].mode = mode;
    DS_TRY(ds_run_depth(NULL, NULL, m->side, m->batch, forces, &observer));
done:
    free(forces);
    return status;
}

static void mixed_release(mixed *m) {
    void *const arrays[] = {m->mixing, m->range, m->states, m->matrices, m->columns, m->bounds, m->written, m->errors, m->read};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) free(arrays[i]);
}

static const double *pre_of(const mixed *m, size_t s, size_t t) { return m->mixing + (s * m->tokens + t) * m->length; }
static const double *post_of(const mixed *m, size_t s, size_t t) { return pre_of(m, s, t) + m->n; }
static const double *res_of(const mixed *m, size_t s, size_t t) { return pre_of(m, s, t) + 2 * m->n; }
static const double *state_of(const mixed *m, size_t s, size_t t) { return m->states + (s * m->tokens + t) * m->n * m->d; }

/* ---- sums of R -------------------------------------------------------------------------------------------------------- */

/* Sums of the rows and columns that are farthest from 1. */
static void farthest(double *row, double *column, const double *matrix, size_t n) {
    *row = *column = 0;
    for (size_t i = 0; i < n; i++) {
        double across = 0, down = 0;
        for (size_t k = 0; k < n; k++) {
            across += matrix[i * n + k];
            down += matrix[k * n + i];
        }
        *row = ds_max_real(*row, fabs(across - 1));
        *column = ds_max_real(*column, fabs(down - 1));
    }
}

/* How far an exact sum of R can be from 1. The last normalisation is by a logarithm of at most twice the range of the logits,
 * rounded; what it is taken from rounds once more, by log n on average over the line, and a sum has n + 8. A mixture of orders
 * has the sum of its weights. */
static double sum_tolerance(const mixed *m, const ds_plain_stream_form *form, size_t s, size_t t) {
    double n = (double)m->n;
    if (form->weights > 0) return (2 * (double)form->weights + 2 * n + 16) * u64;
    return form->fixed ? 0 : (2 * m->range[s * m->tokens + t] + 2 * log(n) + 2 * n + 16) * u64;
}

static void compare_sums(mixed *m, const ds_plain_stream_form *form, double defect[2], double *largest) {
    for (size_t at = 0; at < m->sublayers * m->tokens; at++) {
        const double *res = m->mixing + at * m->length + 2 * m->n;
        double row, column, tolerance = sum_tolerance(m, form, at / m->tokens, at % m->tokens);
        farthest(&row, &column, res, m->n);
        if (form->rows) ds_worst_add(&m->worst, row, tolerance);
        if (form->columns) ds_worst_add(&m->worst, column, tolerance);
        defect[0] = ds_max_real(defect[0], row);
        defect[1] = ds_max_real(defect[1], column);
        for (size_t i = 0; i < m->n * m->n; i++) {
            ds_worst_add(&m->worst, ds_max_real(0, -res[i]), 0);
            if (i / m->n != i % m->n) *largest = ds_max_real(*largest, res[i]);
        }
    }
}

/* Less than this between streams is nothing in either precision: the gradient of such logits is 0 in float. */
static const double never = 0x1p-126;

ds_status ds_check_stream_sums(ds_check_result *result, ds_verify *v) {
    ds_status status = DS_OK;
    const ds_plain_stream_form form = ds_plain_stream_form_of(v->spec);
    mixed m = {.n = 0};
    double defect[2] = {0, 0}, largest = 0;
    if (!form.rows && !form.columns) {
        ds_check_skip(result, "R is free, or doubly stochastic only in the limit of Newton-Schulz steps");
        return DS_OK;
    }
    DS_TRY(mixed_init(&m, v, DS_FORCE_NONE));
    compare_sums(&m, &form, defect, &largest);
    ds_worst_report(result, &m.worst);
    if (form.rows && form.columns)
        (void)snprintf(result->detail, sizeof result->detail, "what a stream receives and what it sends out");
    else
        (void)snprintf(result->detail, sizeof result->detail, "what a stream %s; what it %s is off by at most %.3g%s",
                       form.rows ? "receives" : "sends out", form.rows ? "sends out" : "receives", defect[form.rows ? 1 : 0],
                       largest < never ? "; nothing ever moves between streams, and no gradient of it is left" : "");
done:
    mixed_release(&m);
    return status;
}

/* ---- products of R ---------------------------------------------------------------------------------------------------- */

static void multiply(double *product, const double *left, const double *right, size_t n) {
    for (size_t i = 0; i < n * n; i++) {
        product[i] = 0;
        for (size_t k = 0; k < n; k++) product[i] += left[i / n * n + k] * right[k * n + i % n];
    }
}

/* X_S against (R_{S-1} ... R_0 1) x, and the sums of that product: n + 2 roundings of every product in either, on absolute
 * values. An exact sum of every R is one of the product, whose error adds up. */
static void compare_product(mixed *m, const ds_plain_stream_form *form, size_t t, double gain[2]) {
    size_t n = m->n, last = m->sublayers;
    double *product = m->matrices, *next = product + n * n, *sizes = next + n * n, *bound = sizes + n * n;
    double roundings = 2 * (double)last * (double)(n + 2) * u64, tolerance = 0, row, column;
    for (size_t i = 0; i < n * n; i++) product[i] = sizes[i] = i / n == i % n ? 1 : 0;
    for (size_t s = 0; s < last; s++) {
        tolerance += sum_tolerance(m, form, s, t);
        multiply(next, res_of(m, s, t), product, n);
        memcpy(product, next, n * n * sizeof *next);
        for (size_t i = 0; i < n * n; i++) bound[i] = fabs(res_of(m, s, t)[i]);
        multiply(next, bound, sizes, n);
        memcpy(sizes, next, n * n * sizeof *next);
    }
    farthest(&row, &column, product, n);
    if (form->rows) ds_worst_add(&m->worst, row, (tolerance + roundings) * (1 + row));
    if (form->columns) ds_worst_add(&m->worst, column, (tolerance + roundings) * (1 + column));
    for (size_t i = 0; i < n; i++) {
        double sum = 0, size = 0, down = 0;
        for (size_t k = 0; k < n; k++) {
            sum += product[i * n + k];
            down += product[k * n + i];
            size += sizes[i * n + k];
        }
        gain[0] = ds_max_real(gain[0], fabs(sum));
        gain[1] = ds_max_real(gain[1], fabs(down));
        for (size_t k = 0; k < m->d; k++) {
            double x = state_of(m, 0, t)[k];
            ds_worst_add(&m->worst, fabs(state_of(m, last, t)[i * m->d + k] - sum * x), roundings * size * fabs(x));
        }
    }
}

ds_status ds_check_stream_products(ds_check_result *result, ds_verify *v) {
    ds_status status = DS_OK;
    const ds_plain_stream_form form = ds_plain_stream_form_of(v->spec);
    double gain[2] = {0, 0};
    mixed m = {.n = 0};
    DS_TRY(mixed_init(&m, v, DS_FORCE_CLOSED));
    for (size_t t = 0; t < m.tokens; t++) compare_product(&m, &form, t, gain);
    ds_worst_report(result, &m.worst);
    (void)snprintf(result->detail, sizeof result->detail, "gains of the product: forward %.6g, backward %.6g", gain[0],
                   gain[1]);
done:
    mixed_release(&m);
    return status;
}

/* ---- what a read is made of ------------------------------------------------------------------------------------------- */

/* written[s+1] <- (X' - R X) / post along the stream that gains the most of it, and how far that may be from m f. */
static void recover(mixed *m, size_t s, size_t t) {
    size_t n = m->n, d = m->d, most = 0;
    const double *post = post_of(m, s, t), *before = state_of(m, s, t), *after = state_of(m, s + 1, t);
    for (size_t i = 1; i < n; i++) most = fabs(post[i]) > fabs(post[most]) ? i : most;
    const double *row = res_of(m, s, t) + most * n;
    for (size_t k = 0; k < d; k++) {
        double rest = after[most * d + k], size = fabs(rest), *value = &m->written[(s + 1) * d + k];
        for (size_t i = 0; i < n; i++) {
            rest -= row[i] * before[i * d + k];
            size += fabs(row[i] * before[i * d + k]);
        }
        *value = post[most] != 0 ? rest / post[most] : 0;
        m->errors[(s + 1) * d + k] = post[most] != 0 ? 2 * (double)(n + 8) * u64 * size / fabs(post[most]) : 0;
    }
}

/* columns (n,S+1) <- what becomes of every v_i in the streams before sublayer s+1. */
static void advance(mixed *m, size_t s, size_t t) {
    size_t n = m->n, reads = m->sublayers + 1;
    double *next = m->columns + n * reads;
    const double *res = res_of(m, s, t);
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j <= s; j++) {
            next[i * reads + j] = 0;
            for (size_t k = 0; k < n; k++) next[i * reads + j] += res[i * n + k] * m->columns[k * reads + j];
        }
        next[i * reads + s + 1] = post_of(m, s, t)[i];
    }
    memcpy(m->columns, next, n * reads * sizeof *next);
}

/* Of one feature: sizes (n) of what is in the streams, of absolute values alone, and of what rounding has done to them. */
static void advance_bounds(mixed *m, size_t s, size_t t, size_t k) {
    size_t n = m->n;
    double *size = m->bounds, *error = size + n, *next = error + n, *off = next + n;
    const double *res = res_of(m, s, t), *post = post_of(m, s, t);
    double value = fabs(m->written[(s + 1) * m->d + k]), own = m->errors[(s + 1) * m->d + k];
    for (size_t i = 0; i < n; i++) {
        next[i] = fabs(post[i]) * value;
        off[i] = fabs(post[i]) * own;
        for (size_t j = 0; j < n; j++) {
            next[i] += fabs(res[i * n + j]) * size[j];
            off[i] += fabs(res[i * n + j]) * error[j];
        }
        off[i] += 2 * (double)(n + 8) * u64 * (next[i] + off[i]);
    }
    memcpy(size, next, 2 * n * sizeof *next);
}

/* u_s, or the sum of the streams after the last sublayer, against sum_i A[s,i] v_i. */
static void compare_read(mixed *m, size_t s, size_t t, size_t k, double found) {
    size_t n = m->n, reads = m->sublayers + 1;
    double sum = 0, size = 0, error = 0;
    for (size_t i = 0; i < n; i++) {
        double weight = s < m->sublayers ? pre_of(m, s, t)[i] : 1;
        for (size_t j = 0; j <= s; j++) sum += weight * m->columns[i * reads + j] * m->written[j * m->d + k];
        size += fabs(weight) * m->bounds[i];
        error += fabs(weight) * m->bounds[n + i];
    }
    double roundings = 2 * (double)((s + 1) * (n + 2) + n * (s + 1) + 8) * u64;
    ds_worst_add(&m->worst, fabs(found - sum), error + roundings * (size + error));
}

static double last_sum(const mixed *m, size_t t, size_t k) {
    double sum = 0;
    for (size_t i = 0; i < m->n; i++) sum += state_of(m, m->sublayers, t)[i * m->d + k];
    return sum;
}

/* The outputs of a token, read after read; a feature's bounds begin again for every one of them. */
static void compare_reads(mixed *m, size_t s, size_t t) {
    size_t n = m->n, reads = m->sublayers + 1;
    memset(m->columns, 0, n * reads * sizeof *m->columns);
    for (size_t i = 0; i < n; i++) m->columns[i * reads] = 1;
    memcpy(m->written, state_of(m, 0, t), m->d * sizeof *m->written);
    memset(m->errors, 0, m->d * sizeof *m->errors);
    for (size_t j = 0; j < s; j++) {
        recover(m, j, t);
        advance(m, j, t);
    }
    for (size_t k = 0; k < m->d; k++) {
        for (size_t i = 0; i < n; i++) {
            m->bounds[i] = fabs(m->written[k]);
            m->bounds[n + i] = 0;
        }
        for (size_t j = 0; j < s; j++) advance_bounds(m, j, t, k);
        compare_read(m, s, t, k, s < m->sublayers ? m->read[t * m->d + k] : last_sum(m, t, k));
    }
}

ds_status ds_check_stream_reads(ds_check_result *result, ds_verify *v) {
    ds_status status = DS_OK;
    mixed m = {.n = 0};
    DS_TRY(mixed_init(&m, v, DS_FORCE_NONE));
    for (size_t s = 0; s <= m.sublayers; s++) {
        if (s < m.sublayers) DS_TRY(ds_read(m.side->workspace, m.side->model, m.batch, NULL, s, state_of(&m, s, 0), m.read));
        for (size_t t = 0; t < m.tokens; t++) compare_reads(&m, s, t);
    }
    ds_worst_report(result, &m.worst);
done:
    mixed_release(&m);
    return status;
}
