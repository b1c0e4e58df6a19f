#include "lanes.h"

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

REAL REAL_NAME(ds_max)(const REAL *x, size_t count) {
    enum { WIDTH = 32 };
    REAL highest[WIDTH];
    for (size_t l = 0; l < WIDTH; l++) highest[l] = x[0];
    size_t i = 0;
    for (; i + WIDTH <= count; i += WIDTH)
        for (size_t l = 0; l < WIDTH; l++) highest[l] = x[i + l] > highest[l] ? x[i + l] : highest[l];
    for (; i < count; i++) highest[0] = x[i] > highest[0] ? x[i] : highest[0];
    REAL result = highest[0];
    for (size_t l = 1; l < WIDTH; l++) result = highest[l] > result ? highest[l] : result;
    return result;
}
