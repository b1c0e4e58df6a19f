/* Products of delta operators over depth, kept as directions, their Householder factorisation and the core M. */
#include "product.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "vector.h"

ds_status ds_product_new(ds_product **out, size_t hidden, size_t sublayers) {
    ds_status status = DS_OK;
    ds_product *p = NULL;
    *out = NULL;
    if (hidden == 0) return ds_fail(DS_ERR_USAGE, "a product of operators on 0 features, expected at least 1");
    DS_NEW(p, 1);
    p->hidden = hidden;
    p->capacity = sublayers;
    p->stride = ds_min_size(hidden, sublayers);
    DS_NEW_ARRAY(p->directions, sublayers * hidden);
    DS_NEW_ARRAY(p->reflectors, p->stride * hidden);
    DS_NEW_ARRAY(p->triangle, sublayers * p->stride);
    DS_NEW_ARRAY(p->core, p->stride * p->stride);
    DS_NEW_ARRAY(p->tau, p->stride);
    DS_NEW_ARRAY(p->c, sublayers);
    DS_NEW_ARRAY(p->b, sublayers);
    DS_NEW_ARRAY(p->rows, DS_COLUMNS * hidden);
    ds_product_restart(p);
done:
    if (status != DS_OK) ds_product_free(&p);
    *out = p;
    return status;
}

void ds_product_free(ds_product **product) {
    ds_product *p = *product;
    if (p == NULL) return;
    free(p->directions);
    free(p->reflectors);
    free(p->triangle);
    free(p->core);
    free(p->tau);
    free(p->c);
    free(p->b);
    free(p->rows);
    free(p);
    *product = NULL;
}

void ds_product_restart(ds_product *p) {
    p->depth = 0;
    p->log_abs_det = p->log_error = 0.0;
    p->growth = 1.0;
    p->moved = 0.0;
    p->contracts = true;
}

/* The reflection I - tau v v^T, v_0 = 1, that takes x (n) to (alpha, 0, ..., 0); v overwrites x[1..]. Returns alpha. The sign
 * opposes x_0, so that nothing cancels. */
static double reflect(double *x, double *tau, size_t n) {
    double square = ds_dot(x + 1, x + 1, n - 1);
    bool safe = square > 0x1p-900 && square < 0x1p900; /* nothing overflowed, and what underflowed does not count */
    double tail = safe ? sqrt(square) : ds_frobenius_norm(x + 1, n - 1);
    *tau = 0.0;
    if (tail == 0.0) return x[0];
    double alpha = -copysign(hypot(x[0], tail), x[0]);
    *tau = (alpha - x[0]) / alpha;
    double scale = 1.0 / (x[0] - alpha);
    for (size_t i = 1; i < n; i++) x[i] *= scale;
    return alpha;
}

/* x (columns,d) <- H_{last-1} ... H_first x, columns constant. The whole of each reflector takes part, zeros and all: aligned,
 * which is worth the few products. */
static inline __attribute__((always_inline)) void apply_reflectors(double *x, const ds_product *p, size_t first, size_t last,
                                                                   size_t columns) {
    size_t d = p->hidden;
    double projection[DS_COLUMNS];
    if (first == last) return;
    const double *v = p->reflectors + first * d;
    for (size_t c = 0; c < columns; c++) projection[c] = ds_dot(v, x + c * d, d);
    for (size_t j = first; j < last; j++, v += d) {
        for (size_t c = 0; c < columns; c++) projection[c] *= p->tau[j];
        if (j + 1 < last)
            ds_subtract_and_dot(projection, x, projection, v, v + d, columns, d);
        else
            for (size_t c = 0; c < columns; c++) ds_subtract_multiple(x + c * d, projection[c], v, d);
    }
}

/* Column s of R from x, its direction with all earlier reflectors applied, and, while s < d, reflector s. */
static void finish_column(ds_product *p, size_t s, double *x) {
    size_t d = p->hidden;
    double *column = p->triangle + s * p->stride;
    memcpy(column, x, ds_min_size(s, d) * sizeof *x);
    if (s >= d) return;
    column[s] = reflect(x + s, &p->tau[s], d - s);
    double *v = p->reflectors + s * d;
    memset(v, 0, s * sizeof *v);
    v[s] = 1.0;
    memcpy(v + s + 1, x + s + 1, (d - s - 1) * sizeof *x);
}

/* Columns s .. s+columns-1 of R, columns being 1 or DS_COLUMNS: each reflector passes over all of them at once. */
static void factor(ds_product *p, size_t s, size_t columns) {
    size_t d = p->hidden, known = ds_min_size(s, d);
    double *x = p->rows;
    memcpy(x, p->directions + s * d, columns * d * sizeof *x);
    if (columns == DS_COLUMNS)
        apply_reflectors(x, p, 0, known, DS_COLUMNS);
    else
        apply_reflectors(x, p, 0, known, 1);
    for (size_t c = 0; c < columns; c++) {
        apply_reflectors(x + c * d, p, known, ds_min_size(s + c, d), 1);
        finish_column(p, s + c, x + c * d);
    }
}

/* M <- (I - c r r^T) M; M first gains a row and a column of the identity while s < d. */
static void update_core(ds_product *p, size_t s, double c) {
    size_t order = ds_min_size(s + 1, p->hidden);
    const double *r = p->triangle + s * p->stride;
    double *w = p->rows;
    if (s < p->hidden) {
        for (size_t i = 0; i < s; i++) p->core[i * p->stride + s] = p->core[s * p->stride + i] = 0.0;
        p->core[s * p->stride + s] = 1.0;
    }
    memset(w, 0, order * sizeof *w);
    for (size_t i = 0; i < order; i++) ds_subtract_multiple(w, -r[i], p->core + i * p->stride, order);
    for (size_t i = 0; i < order; i++) ds_subtract_multiple(p->core + i * p->stride, c * r[i], w, order);
}

/* Column s of R multiplied into the core, and the scalars carried along. */
static void absorb(ds_product *p, size_t s) {
    double b = p->b[s], error;
    update_core(p, s, p->c[s]);
    p->log_abs_det += ds_delta_log_abs_det_of(&error, p->c[s], p->directions + s * p->hidden, p->hidden);
    p->log_error += error + ds_unit_roundoff(DS_F64) * fabs(p->log_abs_det);
    p->growth *= fmax(1.0, fabs(1.0 - b));
    p->moved += fabs(b);
    p->contracts = p->contracts && b >= 0.0 && b <= 2.0;
}

/* Up to DS_COLUMNS sublayers: nothing is pushed when one of them is refused. */
static ds_status push(ds_product *p, const double *k, const double *c, size_t count) {
    size_t d = p->hidden, s = p->depth;
    if (count > p->capacity - s)
        return ds_fail(DS_ERR_USAGE, "sublayer %zu pushed on a product of at most %zu", s + count - 1, p->capacity);
    for (size_t i = 0; i < count; i++) {
        double b = c[i] * ds_dot(k + i * d, k + i * d, d);
        if (!isfinite(b))
            return ds_fail(DS_ERR_INPUT, "sublayer %zu: m beta |k|^2 is %g and m beta is %g, expected finite numbers", s + i, b,
                           c[i]);
        p->b[s + i] = b;
    }
    memcpy(p->directions + s * d, k, count * d * sizeof *k);
    memcpy(p->c + s, c, count * sizeof *c);
    factor(p, s, count);
    for (size_t i = 0; i < count; i++) absorb(p, s + i);
    p->depth = s + count;
    return DS_OK;
}

ds_status ds_product_push(ds_product *p, const double *k, double c) { return push(p, k, &c, 1); }

ds_status ds_product_window(ds_product *p, const double *directions, const double *c, size_t first, size_t last) {
    ds_status status = DS_OK;
    ds_product_restart(p);
    for (size_t s = first, count; s < last; s += count) {
        count = last - s < DS_COLUMNS ? 1 : DS_COLUMNS;
        DS_TRY(push(p, directions + s * p->hidden, c + s, count));
    }
done:
    return status;
}

size_t ds_product_depth(const ds_product *p) { return p->depth; }
size_t ds_product_order(const ds_product *p) { return ds_min_size(p->depth, p->hidden); }
double ds_product_log_abs_det(const ds_product *p) { return p->log_abs_det; }
double ds_product_log_abs_det_bound(const ds_product *p) { return p->log_error; }

void ds_product_core(double *core, const ds_product *p) {
    size_t order = ds_product_order(p);
    for (size_t i = 0; i < order; i++) memcpy(core + i * order, p->core + i * p->stride, order * sizeof *core);
}

double ds_product_frobenius_defect(const ds_product *p) {
    size_t order = ds_product_order(p);
    double sum = 0.0;
    for (size_t i = 0; i < order; i++) {
        for (size_t j = 0; j < order; j++) {
            double entry = p->core[i * p->stride + j] - (i == j ? 1.0 : 0.0);
            sum += entry * entry;
        }
    }
    return sqrt(sum);
}

double ds_product_mean_square(const ds_product *p) {
    size_t order = ds_product_order(p);
    double sum = (double)(p->hidden - order);
    for (size_t i = 0; i < order; i++) sum += ds_dot(p->core + i * p->stride, p->core + i * p->stride, order);
    return sum / (double)p->hidden;
}

/* Three sources, each carried through the other factors, whose norms multiply to at most `growth`:
 *   R is exact for directions within f |k_s|, f = reflectors x roundings of a dot, an update and the reflector's own in both;
 *   factor s moves by 2 b_s f;
 *   M's own update s errs by b_s u x (roundings of w and of the term) ||M||_F, and u ||M||_F in the subtraction. */
double ds_product_rounding(const ds_product *p) {
    const double u = ds_unit_roundoff(DS_F64);
    double order = (double)ds_product_order(p), depth = (double)p->depth;
    double direction = (order + 1.0) * (2.0 * ds_dot_roundings(p->hidden) + 6.0);
    double update = (order + 3.0) * sqrt(order);
    return u * p->growth * (p->moved * (2.0 * direction + update) + depth * sqrt(order));
}
