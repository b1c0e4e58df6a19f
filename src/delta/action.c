/* What a product does to vectors: application, survival of writes, gains along features. */
#include <math.h>
#include <string.h>

#include "product.h"
#include "vector.h"

void ds_product_apply(double *x, const ds_product *p, size_t planes) {
    for (size_t s = 0; s < p->depth; s++) ds_delta_apply(x, p->directions + s * p->hidden, p->c[s], planes, p->hidden);
}

void ds_product_apply_adjoint(double *x, const ds_product *p, size_t planes) {
    for (size_t s = p->depth; s-- > 0;) ds_delta_apply(x, p->directions + s * p->hidden, p->c[s], planes, p->hidden);
}

/* Row i of P is (P^T e_i)^T. */
void ds_product_matrix(double *matrix, const ds_product *p) {
    size_t d = p->hidden;
    memset(matrix, 0, d * d * sizeof *matrix);
    for (size_t i = 0; i < d; i++) matrix[i * d + i] = 1.0;
    ds_product_apply_adjoint(matrix, p, d);
}

/* In the coordinates of Q, where k_s is column s of R. */
void ds_product_survival(double *survival, const ds_product *p, double *scratch) {
    size_t order = ds_product_order(p);
    for (size_t a = 0; a < p->depth; a++) {
        const double *r = p->triangle + a * p->stride;
        size_t used = ds_min_size(a + 1, order);
        double norm2 = ds_dot(r, r, used);
        memset(scratch, 0, order * sizeof *scratch);
        memcpy(scratch, r, used * sizeof *scratch);
        for (size_t s = a + 1; s < p->depth; s++)
            ds_delta_apply(scratch, p->triangle + s * p->stride, p->c[s], 1, ds_min_size(s + 1, order));
        survival[a] = norm2 > 0.0 ? ds_dot(r, scratch, used) / norm2 : 0.0;
    }
}

void ds_product_gram(double *gram, const ds_product *p) {
    size_t n = p->depth, d = p->hidden;
    for (size_t a = 0; a < n; a++) {
        for (size_t b = 0; b <= a; b++)
            gram[a * n + b] = gram[b * n + a] = ds_dot(p->directions + a * d, p->directions + b * d, d);
    }
}

static void find_range(double *least, double *most, const double *x, size_t n) {
    *least = INFINITY;
    *most = -INFINITY;
    for (size_t i = 0; i < n; i++) {
        *least = fmin(*least, x[i]);
        *most = fmax(*most, x[i]);
    }
}

void ds_product_gains(ds_gains *gains, const ds_product *p, double *scratch) {
    size_t d = p->hidden;
    for (size_t i = 0; i < d; i++) scratch[i] = 1.0;
    ds_product_apply(scratch, p, 1);
    find_range(&gains->row_sum_min, &gains->row_sum_max, scratch, d);
    for (size_t i = 0; i < d; i++) scratch[i] = 1.0;
    ds_product_apply_adjoint(scratch, p, 1);
    find_range(&gains->column_sum_min, &gains->column_sum_max, scratch, d);
    gains->amax_forward = fmax(fabs(gains->row_sum_min), fabs(gains->row_sum_max));
    gains->amax_backward = fmax(fabs(gains->column_sum_min), fabs(gains->column_sum_max));
}

void ds_product_absolute_gains(double *rows, double *columns, const ds_product *p, double *scratch) {
    size_t d = p->hidden;
    ds_product_matrix(scratch, p);
    *rows = *columns = 0.0;
    for (size_t i = 0; i < d; i++) {
        double row = 0.0;
        for (size_t j = 0; j < d; j++) row += scratch[i * d + j] = fabs(scratch[i * d + j]);
        *rows = fmax(*rows, row);
    }
    for (size_t i = 1; i < d; i++) ds_subtract_multiple(scratch, -1.0, scratch + i * d, d);
    for (size_t j = 0; j < d; j++) *columns = fmax(*columns, scratch[j]);
}
