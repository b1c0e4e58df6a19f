/* What a series of training losses shows: spikes, and an end far above the best. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "result.h"

enum { SMOOTHED = 21, BEFORE = 100 };
static const double most_rise = 0.5, deviations = 8, normal_scale = 1.4826; /* median deviation to standard deviation */

static int by_value(const void *a, const void *b) {
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

/* Of values[count], count <= BEFORE; they are sorted in place. */
static double median(double *values, size_t count) {
    qsort(values, count, sizeof *values, by_value);
    return count % 2 == 1 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

static double smoothed(const double *losses, size_t end) {
    double some[SMOOTHED];
    memcpy(some, losses + end - SMOOTHED, sizeof some);
    return median(some, SMOOTHED);
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

ds_status ds_losses_put_spikes(ds_json_builder *b, const char *key, const double *losses, size_t count) {
    ds_json_begin_array(b, key);
    for (size_t t = BEFORE; t < count; t++) {
        double some[BEFORE];
        memcpy(some, losses + t - BEFORE, sizeof some);
        const double middle = median(some, BEFORE);
        for (size_t i = 0; i < BEFORE; i++) some[i] = fabs(some[i] - middle);
        const double scale = normal_scale * median(some, BEFORE);
        if (!(losses[t] > middle + deviations * scale)) continue;
        ds_json_begin_object(b, NULL);
        ds_json_put_count(b, "update", t);
        ds_json_put_real(b, "loss", losses[t]);
        ds_json_put_real(b, "before", middle);
        ds_json_end(b);
    }
    ds_json_end(b);
    return b->status;
}
