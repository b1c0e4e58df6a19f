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

void REAL_NAME(ds_relu_forward)(REAL *y, const REAL *x, size_t count) {
    for (size_t i = 0; i < count; i++) y[i] = x[i] < 0 ? 0 : x[i];
}

void REAL_NAME(ds_elu1_forward)(REAL *y, const REAL *x, size_t count) {
    for (size_t i = 0; i < count; i++) {
        REAL e = real_exp(x[i]);
        y[i] = x[i] > 0 ? x[i] + 1 : e;
    }
}

void REAL_NAME(ds_swiglu_forward)(REAL *y, const REAL *a, const REAL *b, size_t count) {
    for (size_t i = 0; i < count; i++) y[i] = a[i] * real_sigmoid(a[i]) * b[i];
}
