/* Everything that touches the residual state X (rows,dv,d): embedding, compressors, the delta update. */
#include <math.h>
#include <string.h>

#include "deltascope/num.h"

#include "lanes.h"
#include "vector.h"

/* y += w x, elementwise. */
static void add_product(REAL *restrict y, const REAL *restrict w, const REAL *restrict x, size_t count) {
    for (size_t i = 0; i < count; i++) y[i] += w[i] * x[i];
}

/* sum += x y in double. */
static void add_product_double(double *restrict sum, const REAL *restrict x, const REAL *restrict y, size_t count) {
    for (size_t i = 0; i < count; i++) sum[i] += (double)x[i] * (double)y[i];
}

void REAL_NAME(ds_embed_forward)(REAL *state, const REAL *table, const REAL *taps, const uint32_t *tokens, size_t history,
                                 size_t rows, size_t hidden, size_t channels, size_t kernel) {
    for (size_t t = 0; t < rows; t++) {
        for (size_t j = 0; j < channels; j++, state += hidden) {
            if (taps == NULL) {
                memcpy(state, table + tokens[t] * hidden, hidden * sizeof *state);
                continue;
            }
            memset(state, 0, hidden * sizeof *state);
            for (size_t s = 0; s < kernel; s++) {
                size_t back = kernel - 1 - s;
                if (back > history + t) continue;
                uint32_t token = *(tokens + t - back);
                add_product(state, taps + (j * kernel + s) * hidden, table + token * hidden, hidden);
            }
        }
    }
}

void REAL_NAME(ds_embed_backward)(REAL *demb, const REAL *dstate, const REAL *taps, size_t future, size_t rows, size_t hidden,
                                  size_t channels, size_t kernel) {
    size_t token = channels * hidden;
    for (size_t t = 0; t < rows; t++, demb += hidden, dstate += token) {
        memset(demb, 0, hidden * sizeof *demb);
        for (size_t j = 0; j < channels; j++) {
            if (taps == NULL) {
                for (size_t i = 0; i < hidden; i++) demb[i] += dstate[j * hidden + i];
                continue;
            }
            for (size_t s = 0; s < kernel; s++) {
                size_t ahead = kernel - 1 - s;
                if (t + ahead >= rows + future) continue;
                add_product(demb, taps + (j * kernel + s) * hidden, dstate + ahead * token + j * hidden, hidden);
            }
        }
    }
}

void REAL_NAME(ds_embed_taps_backward)(double *dtaps, const REAL *dstate, const REAL *table, const uint32_t *tokens,
                                       size_t history, size_t rows, size_t hidden, size_t channels, size_t kernel) {
    for (size_t t = 0; t < rows; t++, dstate += channels * hidden) {
        for (size_t j = 0; j < channels; j++) {
            for (size_t s = 0; s < kernel; s++) {
                size_t back = kernel - 1 - s;
                if (back > history + t) continue;
                uint32_t token = *(tokens + t - back);
                add_product_double(dtaps + (j * kernel + s) * hidden, dstate + j * hidden, table + token * hidden, hidden);
            }
        }
    }
}

void REAL_NAME(ds_compress_cc_forward)(REAL *x_in, const REAL *state, const REAL *taps, size_t rows, size_t hidden,
                                       size_t channels) {
    for (size_t t = 0; t < rows; t++, x_in += hidden, state += channels * hidden) {
        size_t i = 0;
        for (; i + VECTOR_LANES <= hidden; i += VECTOR_LANES) { /* the sum stays in a register */
            vector sum = {0};
            for (size_t v = 0; v < channels; v++)
                sum += *(const unaligned_vector *)(taps + v * hidden + i) * *(const unaligned_vector *)(state + v * hidden + i);
            *(unaligned_vector *)(x_in + i) = sum;
        }
        for (; i < hidden; i++) {
            REAL sum = 0;
            for (size_t v = 0; v < channels; v++) sum += taps[v * hidden + i] * state[v * hidden + i];
            x_in[i] = sum;
        }
    }
}

void REAL_NAME(ds_compress_cc_backward)(REAL *dstate, const REAL *dx_in, const REAL *taps, size_t rows, size_t hidden,
                                        size_t channels) {
    for (size_t t = 0; t < rows; t++, dx_in += hidden)
        for (size_t v = 0; v < channels; v++, dstate += hidden) add_product(dstate, taps + v * hidden, dx_in, hidden);
}

void REAL_NAME(ds_compress_cc_taps_backward)(double *dtaps, const REAL *dx_in, const REAL *state, size_t rows, size_t hidden,
                                             size_t channels) {
    for (size_t t = 0; t < rows; t++, dx_in += hidden)
        for (size_t v = 0; v < channels; v++, state += hidden) add_product_double(dtaps + v * hidden, dx_in, state, hidden);
}

void REAL_NAME(ds_compress_tc_forward)(REAL *x_in, const REAL *state, const REAL *taps, const REAL *read, size_t history,
                                       size_t rows, size_t hidden, size_t channels, size_t kernel) {
    size_t token = channels * hidden;
    for (size_t t = 0; t < rows; t++, x_in += hidden, state += token) {
        memset(x_in, 0, hidden * sizeof *x_in);
        for (size_t j = 0; j < channels; j++) {
            for (size_t s = 0; s < kernel; s++) {
                size_t back = kernel - 1 - s;
                if (back > history + t) continue;
                const REAL *x = state + j * hidden - back * token, *w = taps + (j * kernel + s) * hidden;
                REAL factor = read[j];
                for (size_t i = 0; i < hidden; i++) x_in[i] += factor * (w[i] * x[i]);
            }
        }
    }
}

void REAL_NAME(ds_compress_tc_backward)(REAL *dstate, const REAL *dx_in, const REAL *taps, const REAL *read, size_t future,
                                        size_t rows, size_t hidden, size_t channels, size_t kernel) {
    for (size_t t = 0; t < rows; t++, dx_in += hidden) {
        for (size_t j = 0; j < channels; j++, dstate += hidden) {
            for (size_t s = 0; s < kernel; s++) {
                size_t ahead = kernel - 1 - s;
                if (t + ahead >= rows + future) continue;
                const REAL *dx = dx_in + ahead * hidden, *w = taps + (j * kernel + s) * hidden;
                REAL factor = read[j];
                for (size_t i = 0; i < hidden; i++) dstate[i] += factor * (w[i] * dx[i]);
            }
        }
    }
}

void REAL_NAME(ds_compress_tc_taps_backward)(double *products, const REAL *dx_in, const REAL *state, size_t history,
                                             size_t rows, size_t hidden, size_t channels, size_t kernel) {
    size_t token = channels * hidden;
    for (size_t t = 0; t < rows; t++, dx_in += hidden, state += token) {
        for (size_t j = 0; j < channels; j++) {
            for (size_t s = 0; s < kernel; s++) {
                size_t back = kernel - 1 - s;
                if (back > history + t) continue;
                add_product_double(products + (j * kernel + s) * hidden, dx_in, state + j * hidden - back * token, hidden);
            }
        }
    }
}

double REAL_NAME(ds_direction_forward)(REAL *k, const REAL *h, size_t hidden, double eps) {
    double norm2 = REAL_NAME(ds_dot)(h, h, hidden), padded = norm2 + eps * eps;
    REAL factor = (REAL)(1 / sqrt(padded));
    for (size_t i = 0; i < hidden; i++) k[i] = h[i] * factor;
    return norm2 / padded;
}

void REAL_NAME(ds_direction_backward)(REAL *dh, const REAL *dk, const REAL *h, size_t hidden, double eps) {
    double padded = REAL_NAME(ds_dot)(h, h, hidden) + eps * eps, inverse = 1 / sqrt(padded);
    REAL factor = (REAL)inverse, along = (REAL)(REAL_NAME(ds_dot)(h, dk, hidden) / padded);
    for (size_t i = 0; i < hidden; i++) dh[i] = factor * (dk[i] - along * h[i]);
}

bool REAL_NAME(ds_rank_one_update)(REAL *state, const REAL *k, const double *u, size_t hidden, size_t channels) {
    enum { WIDTH = 32 };
    REAL residue[WIDTH] = {0}; /* x - x is 0 for a finite number and NaN for every other */
    for (size_t j = 0; j < channels; j++, state += hidden) {
        REAL factor = (REAL)u[j];
        size_t i = 0;
        for (; i + WIDTH <= hidden; i += WIDTH) {
            for (size_t l = 0; l < WIDTH; l++) {
                REAL x = state[i + l] + k[i + l] * factor;
                state[i + l] = x;
                residue[l] += x - x;
            }
        }
        for (; i < hidden; i++) {
            state[i] += k[i] * factor;
            residue[0] += state[i] - state[i];
        }
    }
    REAL total = 0;
    for (size_t l = 0; l < WIDTH; l++) total += residue[l];
    return total == 0;
}

void REAL_NAME(ds_rank_one_backward)(REAL *dk, const REAL *dnext, const REAL *state, const double *u, const double *e,
                                     size_t hidden, size_t channels) {
    memset(dk, 0, hidden * sizeof *dk);
    for (size_t j = 0; j < channels; j++, dnext += hidden, state += hidden) {
        REAL written = (REAL)u[j], read = (REAL)e[j];
        for (size_t i = 0; i < hidden; i++) dk[i] += written * dnext[i] + read * state[i];
    }
}

bool REAL_NAME(ds_rank_one_update_observed)(REAL *state, double *readout_after, double *state_norm2, double *edit_norm2,
                                            const REAL *k, const double *u, size_t hidden, size_t channels) {
    double before2 = 0, edit2 = 0;
    bool finite = true;
    for (size_t j = 0; j < channels; j++, state += hidden) {
        REAL factor = (REAL)u[j];
        double_lanes read = {0}, norm = {0}, edit = {0};
        double read_tail = 0, norm_tail = 0, edit_tail = 0;
        REAL residue = 0;
        size_t i = 0;
        for (; i + LANES <= hidden; i += LANES) {
            real_lanes old = *(const real_lanes *)(state + i), direction = *(const real_lanes *)(k + i);
            real_lanes new = old + direction *factor;
            *(real_lanes *)(state + i) = new;
            double_lanes x = __builtin_convertvector(old, double_lanes), y = __builtin_convertvector(new, double_lanes);
            read += __builtin_convertvector(direction, double_lanes) * y;
            norm += x * x;
            edit += (y - x) * (y - x);
        }
        for (; i < hidden; i++) {
            double x = (double)state[i];
            state[i] += k[i] * factor;
            double y = (double)state[i];
            read_tail += (double)k[i] * y;
            norm_tail += x * x;
            edit_tail += (y - x) * (y - x);
        }
        readout_after[j] = SUM_LANES(read) + read_tail;
        before2 += SUM_LANES(norm) + norm_tail;
        edit2 += SUM_LANES(edit) + edit_tail;
        for (i = 0; i < hidden; i++) residue += state[i] - state[i];
        finite = finite && residue == 0;
    }
    *state_norm2 = before2;
    *edit_norm2 = edit2;
    return finite;
}
