/* LayerNorm. Its sums and differences are taken in double: x may be far from 0 and nearly constant. */
#include <math.h>

#include "deltascope/num.h"

typedef struct moments {
    double mean, factor; /* factor = 1 / sqrt(var + eps) */
} moments;

static moments moments_of(const REAL *x, size_t width, double eps) {
    double sum = 0, squares = 0;
    for (size_t i = 0; i < width; i++) sum += (double)x[i];
    double mean = sum / (double)width;
    for (size_t i = 0; i < width; i++) squares += ((double)x[i] - mean) * ((double)x[i] - mean);
    return (moments){mean, 1 / sqrt(squares / (double)width + eps)};
}

void REAL_NAME(ds_layernorm_forward)(REAL *y, const REAL *x, const REAL *weight, const REAL *bias, size_t rows, size_t width,
                                     double eps) {
    for (size_t t = 0; t < rows; t++, x += width, y += width) {
        moments m = moments_of(x, width, eps);
        for (size_t i = 0; i < width; i++) {
            double z = ((double)x[i] - m.mean) * m.factor * (double)weight[i];
            y[i] = (REAL)(bias != NULL ? z + (double)bias[i] : z);
        }
    }
}

void REAL_NAME(ds_layernorm_backward)(REAL *dx, double *dweight, double *dbias, const REAL *dy, const REAL *x,
                                      const REAL *weight, size_t rows, size_t width, double eps) {
    for (size_t t = 0; t < rows; t++, dx += width, dy += width, x += width) {
        moments m = moments_of(x, width, eps);
        double along = 0, sum = 0;
        for (size_t i = 0; i < width; i++) {
            double z = ((double)x[i] - m.mean) * m.factor, g = (double)weight[i] * (double)dy[i];
            sum += g;
            along += g * z;
            if (dweight != NULL) dweight[i] += (double)dy[i] * z;
            if (dbias != NULL) dbias[i] += (double)dy[i];
        }
        sum /= (double)width;
        along /= (double)width;
        for (size_t i = 0; i < width; i++) {
            double z = ((double)x[i] - m.mean) * m.factor, g = (double)weight[i] * (double)dy[i];
            dx[i] = (REAL)(m.factor * (g - sum - z * along));
        }
    }
}

void REAL_NAME(ds_layernorm_tangent)(REAL *dy, const REAL *dx, const REAL *x, const REAL *weight, size_t rows, size_t width,
                                     double eps) {
    for (size_t t = 0; t < rows; t++, dy += width, dx += width, x += width) {
        moments m = moments_of(x, width, eps);
        double along = 0, sum = 0;
        for (size_t i = 0; i < width; i++) {
            sum += (double)dx[i];
            along += (double)dx[i] * (((double)x[i] - m.mean) * m.factor);
        }
        sum /= (double)width;
        along /= (double)width;
        for (size_t i = 0; i < width; i++) {
            double z = ((double)x[i] - m.mean) * m.factor;
            dy[i] = (REAL)((double)weight[i] * m.factor * ((double)dx[i] - sum - z * along));
        }
    }
}
