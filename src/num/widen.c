#include <string.h>

#include "deltascope/num.h"

void ds_widen(double *out, const void *array, size_t first, size_t count, ds_precision precision) {
    if (precision == DS_F64) {
        memcpy(out, (const double *)array + first, count * sizeof *out);
        return;
    }
    const float *from = (const float *)array + first;
    for (size_t i = 0; i < count; i++) out[i] = (double)from[i];
}
