/* Everything that touches the residual state X (rows,dv,d): embedding, compressors, the delta update. */
#include <math.h>
#include <string.h>

#include "deltascope/num.h"

#include "lanes.h"

/* y += w x, elementwise. */
static void add_product(REAL *restrict y, const REAL *restrict w, const REAL *restrict x, size_t count) {
    for (size_t i = 0; i < count; i++) y[i] += w[i] * x[i];
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

void REAL_NAME(ds_compress_cc_forward)(REAL *x_in, const REAL *state, const REAL *taps, size_t rows, size_t hidden,
                                       size_t channels) {
    for (size_t t = 0; t < rows; t++, x_in += hidden) {
        memset(x_in, 0, hidden * sizeof *x_in);
        for (size_t v = 0; v < channels; v++, state += hidden) add_product(x_in, taps + v * hidden, state, hidden);
    }
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

double REAL_NAME(ds_direction_forward)(REAL *k, const REAL *h, size_t hidden, double eps) {
    double norm2 = REAL_NAME(ds_dot)(h, h, hidden), padded = norm2 + eps * eps;
    REAL factor = (REAL)(1 / sqrt(padded));
    for (size_t i = 0; i < hidden; i++) k[i] = h[i] * factor;
    return norm2 / padded;
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
