/* A training loss, smoothed, against the best it has been. */
#include <stdlib.h>
#include <string.h>

#include "deltascope/train.h"

const double ds_loss_most_rise = 0.5;

static int by_value(const void *a, const void *b) {
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

void ds_loss_watch_add(ds_loss_watch *watch, double loss) {
    double sorted[DS_LOSS_SMOOTHED];
    watch->recent[watch->seen++ % DS_LOSS_SMOOTHED] = loss;
    if (watch->seen < DS_LOSS_SMOOTHED) return;
    memcpy(sorted, watch->recent, sizeof sorted);
    qsort(sorted, DS_LOSS_SMOOTHED, sizeof *sorted, by_value);
    const double now = sorted[DS_LOSS_SMOOTHED / 2];
    const bool first = watch->seen == DS_LOSS_SMOOTHED;
    watch->risen = !first && now > watch->least + ds_loss_most_rise ? watch->risen + 1 : 0;
    if (first || now < watch->least) watch->least = now;
}
