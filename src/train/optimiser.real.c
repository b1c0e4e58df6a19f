#include <math.h>

#include "deltascope/num.h"

#include "optimiser.h"

void REAL_NAME(ds_adamw)(REAL *restrict weight, REAL *restrict mean, REAL *restrict square, const REAL *restrict gradient,
                         size_t count, const ds_adamw_terms *terms) {
    const ds_adamw_terms t = *terms;
    for (size_t i = 0; i < count; i++) {
        double g = t.clip * (double)gradient[i];
        double m = t.beta1 * (double)mean[i] + (1 - t.beta1) * g;
        double v = t.beta2 * (double)square[i] + (1 - t.beta2) * g * g;
        mean[i] = (REAL)m;
        square[i] = (REAL)v;
        weight[i] = (REAL)((double)weight[i] * t.keep - t.rate * m / (sqrt(v) / t.root + t.eps));
    }
}

void REAL_NAME(ds_gradient_add)(REAL *restrict to, const REAL *restrict from, size_t count) {
    for (size_t i = 0; i < count; i++) to[i] += from[i];
}
