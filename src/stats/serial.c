/* How much neighbours in a series resemble each other, and how many independent values they are worth. */
#include <math.h>

#include "deltascope/stats.h"

ds_serial ds_serial_correlation(const double *values, size_t n) {
    const size_t least = 8;
    ds_serial serial = {NAN, NAN};
    double mean = ds_mean(values, n), squares = 0, products = 0, scale = 0;
    for (size_t i = 0; i < n; i++) scale = fmax(scale, fabs(values[i] - mean));
    if (n < least || !(scale > 0) || !isfinite(scale)) return serial;
    for (size_t i = 0; i < n; i++) {
        double here = (values[i] - mean) / scale; /* far from overflow and underflow */
        squares += here * here;
        if (i + 1 < n) products += here * ((values[i + 1] - mean) / scale);
    }
    serial.lag1 = products / squares;
    serial.effective = fmin(fmax((double)n * (1 - serial.lag1) / (1 + serial.lag1), 1), (double)n);
    return serial;
}
