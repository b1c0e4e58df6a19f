#include <math.h>
#include <stdlib.h>

#include "deltascope/stats.h"

ds_status ds_histogram_init(ds_histogram *histogram, double low, double high, size_t bins) {
    ds_status status = DS_OK;
    *histogram = (ds_histogram){.bins = bins};
    if (bins == 0 || !(isfinite(low) && isfinite(high) && low < high))
        return ds_fail(DS_ERR_USAGE, "a histogram of %zu bins over [%g, %g] was asked for, expected bins and a finite range",
                       bins, low, high);
    DS_NEW(histogram->edges, bins + 1);
    DS_NEW(histogram->counts, bins);
    for (size_t i = 0; i < bins; i++) histogram->edges[i] = low + (high - low) * (double)i / (double)bins;
    histogram->edges[bins] = high;
done:
    if (status != DS_OK) ds_histogram_release(histogram);
    return status;
}

void ds_histogram_release(ds_histogram *histogram) {
    free(histogram->edges);
    free(histogram->counts);
    *histogram = (ds_histogram){0};
}

/* Arithmetic finds the bin up to rounding; the edges decide. */
static size_t find_bin(const ds_histogram *h, double x) {
    double low = h->edges[0], guess = (x - low) / (h->edges[h->bins] - low) * (double)h->bins;
    size_t i = ds_min_size((size_t)guess, h->bins - 1);
    while (x < h->edges[i]) i--;
    while (i + 1 < h->bins && x >= h->edges[i + 1]) i++;
    return i;
}

ds_status ds_histogram_add(ds_histogram *h, const double *values, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (isnan(values[i])) return ds_fail(DS_ERR_INPUT, "value %zu to be counted is NaN, expected a number", i);
    }
    for (size_t i = 0; i < count; i++) {
        double x = values[i];
        if (x < h->edges[0])
            h->below++;
        else if (x > h->edges[h->bins])
            h->above++;
        else
            h->counts[find_bin(h, x)]++;
    }
    return DS_OK;
}

ds_status ds_histogram_merge(ds_histogram *h, const ds_histogram *other) {
    bool same = h->bins == other->bins;
    for (size_t i = 0; same && i <= h->bins; i++) same = h->edges[i] == other->edges[i];
    if (!same) return ds_fail(DS_ERR_USAGE, "histograms with different edges cannot be merged");
    for (size_t i = 0; i < h->bins; i++) h->counts[i] += other->counts[i];
    h->below += other->below;
    h->above += other->above;
    return DS_OK;
}
