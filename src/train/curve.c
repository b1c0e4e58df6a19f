#include "curve.h"

/* Once there is no room for another point, each two become one. */
void ds_loss_curve_add(ds_loss_curve *curve, double loss) {
    if (curve->stretch == 0) curve->stretch = 1;
    if (curve->count == DS_CURVE_POINTS && curve->in_last == curve->stretch) {
        for (size_t i = 0; i < DS_CURVE_POINTS / 2; i++) curve->mean[i] = (curve->mean[2 * i] + curve->mean[2 * i + 1]) / 2;
        curve->count = DS_CURVE_POINTS / 2;
        curve->stretch *= 2;
        curve->in_last = curve->stretch;
    }
    if (curve->count == 0 || curve->in_last == curve->stretch) {
        curve->mean[curve->count++] = 0;
        curve->in_last = 0;
    }
    double *last = &curve->mean[curve->count - 1];
    *last += (loss - *last) / (double)++curve->in_last;
}
