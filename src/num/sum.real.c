#include "lanes.h"
#include "vector.h"

double REAL_NAME(ds_dot)(const REAL *x, const REAL *y, size_t count) {
    double_lanes a = {0}, b = {0}, c = {0}, d = {0};
    size_t i = 0;
    for (; i + 4 * LANES <= count; i += 4 * LANES) {
        a += LOAD_LANES(x + i) * LOAD_LANES(y + i);
        b += LOAD_LANES(x + i + LANES) * LOAD_LANES(y + i + LANES);
        c += LOAD_LANES(x + i + 2 * LANES) * LOAD_LANES(y + i + 2 * LANES);
        d += LOAD_LANES(x + i + 3 * LANES) * LOAD_LANES(y + i + 3 * LANES);
    }
    for (; i + LANES <= count; i += LANES) a += LOAD_LANES(x + i) * LOAD_LANES(y + i);
    double tail = 0;
    for (; i < count; i++) tail += (double)x[i] * (double)y[i];
    a = (a + b) + (c + d);
    return SUM_LANES(a) + tail;
}

/* Four rows at once share the widened x, and their sums over lanes overlap. */
static inline void dot_four(double *dots, const REAL *x, const REAL *rows, size_t count) {
    enum { ROWS = 4 };
    double_lanes sum[ROWS][4] = {{{0}}};
    double tail[ROWS] = {0};
    size_t i = 0;
    for (; i + 4 * LANES <= count; i += 4 * LANES) {
        UNROLLED
        for (size_t part = 0; part < 4; part++) {
            double_lanes wide = LOAD_LANES(x + i + part * LANES);
            UNROLLED
            for (size_t r = 0; r < ROWS; r++) sum[r][part] += wide * LOAD_LANES(rows + r * count + i + part * LANES);
        }
    }
    for (; i + LANES <= count; i += LANES) {
        UNROLLED
        for (size_t r = 0; r < ROWS; r++) sum[r][0] += LOAD_LANES(x + i) * LOAD_LANES(rows + r * count + i);
    }
    for (; i < count; i++)
        for (size_t r = 0; r < ROWS; r++) tail[r] += (double)x[i] * (double)rows[r * count + i];
    UNROLLED
    for (size_t r = 0; r < ROWS; r++) {
        double_lanes all = (sum[r][0] + sum[r][1]) + (sum[r][2] + sum[r][3]);
        dots[r] = SUM_LANES(all) + tail[r];
    }
}

void REAL_NAME(ds_dot_rows)(double *dots, const REAL *x, const REAL *rows, size_t count_rows, size_t count) {
    size_t r = 0;
    for (; r + 4 <= count_rows; r += 4) dot_four(dots + r, x, rows + r * count, count);
    for (; r < count_rows; r++) dots[r] = REAL_NAME(ds_dot)(x, rows + r * count, count);
}

double REAL_NAME(ds_weighted_difference)(const REAL *w, const REAL *x, const REAL *y, size_t count) {
    double_lanes a = {0}, b = {0};
    size_t i = 0;
    for (; i + 2 * LANES <= count; i += 2 * LANES) {
        a += LOAD_LANES(w + i) * (LOAD_LANES(x + i) - LOAD_LANES(y + i));
        b += LOAD_LANES(w + i + LANES) * (LOAD_LANES(x + i + LANES) - LOAD_LANES(y + i + LANES));
    }
    double tail = 0;
    for (; i < count; i++) tail += (double)w[i] * ((double)x[i] - (double)y[i]);
    a += b;
    return SUM_LANES(a) + tail;
}

/* Over as many lanes as `width`, the last of which overlap those before; then halves against each other. */
static inline __attribute__((always_inline)) REAL max_of(const REAL *x, size_t count, size_t width) {
    enum { MOST = 32 };
    REAL highest[MOST];
    for (size_t l = 0; l < width; l++) highest[l] = x[0];
    for (size_t i = 0; i < count; i += width) {
        const REAL *part = x + ds_min_size(i, count - width);
        for (size_t l = 0; l < width; l++) highest[l] = part[l] > highest[l] ? part[l] : highest[l];
    }
    for (size_t half = width / 2; half > 0; half /= 2)
        for (size_t l = 0; l < half; l++) highest[l] = highest[l + half] > highest[l] ? highest[l + half] : highest[l];
    return highest[0];
}

REAL REAL_NAME(ds_max)(const REAL *x, size_t count) {
    return count >= 32 ? max_of(x, count, 32) : count >= 8 ? max_of(x, count, 8) : max_of(x, count, 1);
}
