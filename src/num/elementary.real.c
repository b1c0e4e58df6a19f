#include "elementary.h"

void REAL_NAME(ds_exp)(REAL *y, const REAL *x, size_t count) {
    for (size_t i = 0; i < count; i++) y[i] = real_exp(x[i]);
}

void REAL_NAME(ds_sigmoid)(REAL *y, const REAL *x, size_t count) {
    for (size_t i = 0; i < count; i++) y[i] = real_sigmoid(x[i]);
}

void REAL_NAME(ds_tanh)(REAL *y, const REAL *x, size_t count) {
    for (size_t i = 0; i < count; i++) y[i] = real_tanh(x[i]);
}

void REAL_NAME(ds_silu_forward)(REAL *y, const REAL *x, size_t count) {
    for (size_t i = 0; i < count; i++) y[i] = x[i] * real_sigmoid(x[i]);
}

/* f' = sigma + x sigma (1 - sigma) */
void REAL_NAME(ds_silu_backward)(REAL *dx, const REAL *dy, const REAL *x, size_t count) {
    for (size_t i = 0; i < count; i++) {
        REAL sigma = real_sigmoid(x[i]);
        dx[i] = dy[i] * (sigma * (1 + x[i] * (1 - sigma)));
    }
}

void REAL_NAME(ds_relu_forward)(REAL *y, const REAL *x, size_t count) {
    for (size_t i = 0; i < count; i++) y[i] = x[i] < 0 ? 0 : x[i];
}

void REAL_NAME(ds_relu_backward)(REAL *dx, const REAL *dy, const REAL *x, size_t count) {
    for (size_t i = 0; i < count; i++) dx[i] = x[i] > 0 ? dy[i] : 0;
}

void REAL_NAME(ds_elu1_forward)(REAL *y, const REAL *x, size_t count) {
    for (size_t i = 0; i < count; i++) {
        REAL e = real_exp(x[i]);
        y[i] = x[i] > 0 ? x[i] + 1 : e;
    }
}

void REAL_NAME(ds_elu1_backward)(REAL *dx, const REAL *dy, const REAL *x, size_t count) {
    for (size_t i = 0; i < count; i++) {
        REAL slope = real_exp(x[i] > 0 ? 0 : x[i]);
        dx[i] = dy[i] * slope;
    }
}

void REAL_NAME(ds_swiglu_forward)(REAL *y, const REAL *a, const REAL *b, size_t count) {
    for (size_t i = 0; i < count; i++) y[i] = a[i] * real_sigmoid(a[i]) * b[i];
}

void REAL_NAME(ds_swiglu_backward)(REAL *da, REAL *db, const REAL *dy, const REAL *a, const REAL *b, size_t count) {
    for (size_t i = 0; i < count; i++) {
        REAL sigma = real_sigmoid(a[i]), gradient = dy[i];
        da[i] = gradient * (sigma * (1 + a[i] * (1 - sigma)) * b[i]);
        db[i] = gradient * (a[i] * sigma);
    }
}

void REAL_NAME(ds_swiglu_tangent)(REAL *dy, const REAL *da, const REAL *db, const REAL *a, const REAL *b, size_t count) {
    for (size_t i = 0; i < count; i++) {
        REAL sigma = real_sigmoid(a[i]);
        dy[i] = da[i] * (sigma * (1 + a[i] * (1 - sigma)) * b[i]) + db[i] * (a[i] * sigma);
    }
}
