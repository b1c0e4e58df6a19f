/* What attention does between its matrix products: norms, rotary positions, shifts, softmax. */
#include <math.h>

#include "deltascope/num.h"

#include "elementary.h"
#include "lanes.h"

void REAL_NAME(ds_rmsnorm_forward)(REAL *y, REAL *inverse, const REAL *x, const REAL *weight, size_t rows, size_t width,
                                   double eps) {
    for (size_t t = 0; t < rows; t++, x += width, y += width) {
        REAL factor = (REAL)(1 / sqrt(REAL_NAME(ds_dot)(x, x, width) / (double)width + eps));
        for (size_t i = 0; i < width; i++) y[i] = weight[i] * (x[i] * factor);
        if (inverse != NULL) inverse[t] = factor;
    }
}

static REAL norm_factor(const REAL *x, size_t width, double eps) {
    return (REAL)(1 / sqrt(REAL_NAME(ds_dot)(x, x, width) / (double)width + eps));
}

void REAL_NAME(ds_rmsnorm_backward)(REAL *dx, double *dweight, const REAL *dy, const REAL *x, const REAL *weight, size_t rows,
                                    size_t width, double eps) {
    for (size_t t = 0; t < rows; t++, dx += width, dy += width, x += width) {
        REAL factor = norm_factor(x, width, eps);
        if (dweight != NULL)
            for (size_t i = 0; i < width; i++) dweight[i] += (double)(dy[i] * (x[i] * factor));
        for (size_t i = 0; i < width; i++) dx[i] = weight[i] * dy[i];
        REAL back = (REAL)(REAL_NAME(ds_dot)(dx, x, width) * (double)factor * (double)factor / (double)width);
        for (size_t i = 0; i < width; i++) dx[i] = factor * (dx[i] - back * x[i]);
    }
}

void REAL_NAME(ds_rmsnorm_tangent)(REAL *dy, const REAL *dx, const REAL *x, const REAL *weight, size_t rows, size_t width,
                                   double eps) {
    for (size_t t = 0; t < rows; t++, dy += width, dx += width, x += width) {
        REAL factor = norm_factor(x, width, eps);
        REAL back = (REAL)(REAL_NAME(ds_dot)(dx, x, width) * (double)factor * (double)factor / (double)width);
        for (size_t i = 0; i < width; i++) dy[i] = weight[i] * (factor * (dx[i] - back * x[i]));
    }
}

void REAL_NAME(ds_rope_forward)(REAL *x, const REAL *cosine, const REAL *sine, size_t rows, size_t heads, size_t head_dim,
                                size_t rotary_dim) {
    size_t half = rotary_dim / 2;
    for (size_t t = 0; t < rows; t++, cosine += half, sine += half) {
        for (size_t head = 0; head < heads; head++, x += head_dim) {
            for (size_t i = 0; i < half; i++) {
                REAL a = x[i], b = x[i + half];
                x[i] = a * cosine[i] - b * sine[i];
                x[i + half] = a * sine[i] + b * cosine[i];
            }
        }
    }
}

void REAL_NAME(ds_rope_backward)(REAL *dx, const REAL *cosine, const REAL *sine, size_t rows, size_t heads, size_t head_dim,
                                 size_t rotary_dim) {
    size_t half = rotary_dim / 2;
    for (size_t t = 0; t < rows; t++, cosine += half, sine += half) {
        for (size_t head = 0; head < heads; head++, dx += head_dim) {
            for (size_t i = 0; i < half; i++) {
                REAL a = dx[i], b = dx[i + half];
                dx[i] = a * cosine[i] + b * sine[i];
                dx[i + half] = b * cosine[i] - a * sine[i];
            }
        }
    }
}

/* From the last row to the first, because each reads the unshifted row before it. */
void REAL_NAME(ds_shift_forward)(REAL *x, const REAL *previous, const REAL *mix, size_t rows, size_t heads, size_t head_dim) {
    size_t width = heads * head_dim;
    for (size_t t = rows; t-- > 0;) {
        bool first = t == 0 && previous == NULL;
        const REAL *before = t > 0 ? x + (t - 1) * width : previous;
        for (size_t head = 0; head < heads; head++) {
            REAL a = mix[t * heads + head];
            REAL *now = x + t * width + head * head_dim;
            if (first) {
                for (size_t i = 0; i < head_dim; i++) now[i] = (1 - a) * now[i];
            } else {
                const REAL *then = before + head * head_dim;
                for (size_t i = 0; i < head_dim; i++) now[i] = a * then[i] + (1 - a) * now[i];
            }
        }
    }
}

void REAL_NAME(ds_shift_backward)(REAL *dx, REAL *dmix, const REAL *dy, const REAL *x, const REAL *mix, bool before, bool after,
                                  size_t rows, size_t heads, size_t head_dim) {
    size_t width = heads * head_dim;
    for (size_t t = 0; t < rows; t++) {
        bool first = t == 0 && !before, last = t + 1 == rows && !after;
        for (size_t head = 0; head < heads; head++, dx += head_dim, dy += head_dim, x += head_dim, mix++) {
            REAL now = 1 - mix[0], next = last ? 0 : mix[heads];
            double slope = -REAL_NAME(ds_dot)(dy, x, head_dim);
            if (!first) slope += REAL_NAME(ds_dot)(dy, x - width, head_dim);
            *dmix++ = (REAL)slope;
            for (size_t i = 0; i < head_dim; i++) dx[i] = now * dy[i];
            if (last) continue;
            for (size_t i = 0; i < head_dim; i++) dx[i] += next * dy[width + i];
        }
    }
}

void REAL_NAME(ds_shift_tangent)(REAL *dy, const REAL *dx, const REAL *dmix, const REAL *x, const REAL *mix, bool before,
                                 size_t rows, size_t heads, size_t head_dim) {
    size_t width = heads * head_dim;
    for (size_t t = 0; t < rows; t++) {
        bool first = t == 0 && !before;
        for (size_t head = 0; head < heads; head++, dy += head_dim, dx += head_dim, x += head_dim, mix++, dmix++) {
            for (size_t i = 0; i < head_dim; i++) dy[i] = (1 - *mix) * dx[i] - *dmix * x[i];
            if (first) continue;
            const REAL *dthen = dx - width, *then = x - width;
            for (size_t i = 0; i < head_dim; i++) dy[i] += *mix * dthen[i] + *dmix * then[i];
        }
    }
}

static double sum(const REAL *x, size_t count) {
    double_lanes a = {0};
    size_t i = 0;
    for (; i + LANES <= count; i += LANES) a += LOAD_LANES(x + i);
    double tail = 0;
    for (; i < count; i++) tail += (double)x[i];
    return SUM_LANES(a) + tail;
}

void REAL_NAME(ds_softmax_causal_forward)(REAL *scores, REAL *inverse, size_t ld, size_t rows, size_t columns, size_t first,
                                          double scale) {
    REAL factor = (REAL)scale;
    for (size_t r = 0; r < rows; r++, scores += ld) {
        size_t seen = first + r + 1;
        REAL highest = REAL_NAME(ds_max)(scores, seen);
        for (size_t i = 0; i < seen; i++) scores[i] = real_exp(factor * (scores[i] - highest));
        for (size_t i = seen; i < columns; i++) scores[i] = 0;
        inverse[r] = (REAL)(1 / sum(scores, seen));
    }
}

void REAL_NAME(ds_softmax_causal_backward)(REAL *dp, const REAL *p, size_t ld, size_t rows, size_t columns, size_t first,
                                           double scale) {
    REAL factor = (REAL)scale;
    for (size_t r = 0; r < rows; r++, dp += ld, p += ld) {
        size_t seen = first + r + 1;
        REAL mean = (REAL)REAL_NAME(ds_dot)(p, dp, seen);
        for (size_t i = 0; i < seen; i++) dp[i] = factor * (p[i] * (dp[i] - mean));
        for (size_t i = seen; i < columns; i++) dp[i] = 0;
    }
}

void REAL_NAME(ds_scale_rows)(REAL *x, size_t ld, const REAL *factor, size_t rows, size_t width) {
    for (size_t r = 0; r < rows; r++, x += ld)
        for (size_t i = 0; i < width; i++) x[i] *= factor[r];
}

void REAL_NAME(ds_softmax_block)(REAL *weights, double *max, double *total, const REAL *logits, size_t count) {
    REAL highest = REAL_NAME(ds_max)(logits, count);
    for (size_t i = 0; i < count; i++) weights[i] = real_exp(logits[i] - highest);
    *max = (double)highest;
    *total = sum(weights, count);
}

void REAL_NAME(ds_cross_entropy_backward)(REAL *dlogits, const REAL *logits, double log_sum, double factor, size_t count) {
    REAL shift = (REAL)log_sum, scale = (REAL)factor;
    for (size_t i = 0; i < count; i++) dlogits[i] = scale * real_exp(logits[i] - shift);
}

void REAL_NAME(ds_affine_backward)(REAL *dx, double *dweight, double *dbias, const double *dy, const REAL *x,
                                   const REAL *weight, size_t rows, size_t outputs, size_t width) {
    for (size_t t = 0; t < rows; t++, dx += width, x += width) {
        for (size_t o = 0; o < outputs; o++) {
            double slope = *dy++;
            const REAL *row = weight + o * width;
            REAL factor = (REAL)slope;
            for (size_t i = 0; i < width; i++) dx[i] += factor * row[i];
            if (dbias != NULL) dbias[o] += slope;
            if (dweight == NULL) continue;
            double *drow = dweight + o * width;
            for (size_t i = 0; i < width; i++) drow[i] += slope * (double)x[i];
        }
    }
}
