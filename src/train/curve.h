/* Private to the train room: the losses of a run as a few means, however many updates it has. */
#ifndef DELTASCOPE_TRAIN_CURVE_H
#define DELTASCOPE_TRAIN_CURVE_H

#include "deltascope/base.h"

enum { DS_CURVE_POINTS = 12 };

/* Means over equal stretches of what has been added, the last one unfinished. Zero-initialise. */
typedef struct ds_loss_curve {
    double mean[DS_CURVE_POINTS];
    size_t count;
    uint64_t stretch, in_last; /* losses in each point; in the last one */
} ds_loss_curve;

void ds_loss_curve_add(ds_loss_curve *curve, double loss);

#endif
