/* Whether a series of training losses ends far above its best. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "result.h"

enum { SMOOTHED = 21 };
static const double most_rise = 0.5;

static int by_value(const void *a, const void *b) {
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

static double smoothed(const double *losses, size_t end) {
    double some[SMOOTHED];
    memcpy(some, losses + end - SMOOTHED, sizeof some);
    qsort(some, SMOOTHED, sizeof *some, by_value);
    return some[SMOOTHED / 2];
}

bool ds_losses_end_high(const double *losses, size_t count) {
    const size_t last = (count + 19) / 20;
    double least = HUGE_VAL;
    size_t risen = 0;
    for (size_t end = SMOOTHED; end <= count; end++) {
        double now = smoothed(losses, end);
        risen = now > least + most_rise ? risen + 1 : 0;
        if (now < least) least = now;
    }
    return count > SMOOTHED && risen >= last;
}
