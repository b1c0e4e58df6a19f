/* GELU in both forms, with their derivatives, in double whatever the precision. */
#include <math.h>

#include "deltascope/num.h"

static double normal_distribution(double x) { return 0.5 * erfc(-M_SQRT1_2 * x); }

void REAL_NAME(ds_gelu_forward)(REAL *y, const REAL *x, size_t count) {
    for (size_t i = 0; i < count; i++) y[i] = (REAL)((double)x[i] * normal_distribution((double)x[i]));
}

/* f' = Phi + x phi */
void REAL_NAME(ds_gelu_backward)(REAL *dx, const REAL *dy, const REAL *x, size_t count) {
    const double density = 0.5 * M_2_SQRTPI * M_SQRT1_2; /* 1 / sqrt(2 pi) */
    for (size_t i = 0; i < count; i++) {
        double z = (double)x[i];
        dx[i] = (REAL)((double)dy[i] * (normal_distribution(z) + z * density * exp(-0.5 * z * z)));
    }
}

static const double root = M_2_SQRTPI * M_SQRT1_2 /* sqrt(2 / pi) */, cubic = 0.044715;

void REAL_NAME(ds_gelu_tanh_forward)(REAL *y, const REAL *x, size_t count) {
    for (size_t i = 0; i < count; i++) {
        double z = (double)x[i];
        y[i] = (REAL)(0.5 * z * (1 + tanh(root * (z + cubic * z * z * z))));
    }
}

/* f' = (1 + t)/2 + x/2 (1 - t^2) sqrt(2/pi) (1 + 3 * 0.044715 x^2), t the tanh */
void REAL_NAME(ds_gelu_tanh_backward)(REAL *dx, const REAL *dy, const REAL *x, size_t count) {
    for (size_t i = 0; i < count; i++) {
        double z = (double)x[i], t = tanh(root * (z + cubic * z * z * z));
        double slope = 0.5 * (1 + t) + 0.5 * z * (1 - t * t) * root * (1 + 3 * cubic * z * z);
        dx[i] = (REAL)((double)dy[i] * slope);
    }
}
