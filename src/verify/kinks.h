/* Private to the verify room: on which side of their kink the activations of attention are. relu has a kink itself, elu +
 * 1 in its derivative; between points of a line that all have the same sides the loss is smooth, and differences of it
 * extrapolate. */
#ifndef DELTASCOPE_VERIFY_KINKS_H
#define DELTASCOPE_VERIFY_KINKS_H

#include "plain_model.h"

typedef struct ds_kinks {
    bool any;     /* the model has such activations; without them nothing below is used */
    bool crossed; /* since ds_kinks_compare, some pass had another side than the one recorded */
    bool recording;
    ds_plain plain;
    signed char *sides; /* (layers,B,3,T,H*h) of the sublayers seen, in order: -1, 0, 1 */
    size_t at, windows;
    ds_observer observer; /* of a pass in double */
} ds_kinks;

ds_status ds_kinks_init(ds_kinks *kinks, const ds_model *model, const ds_batch *batch) DS_MUST_CHECK;
void ds_kinks_release(ds_kinks *kinks);
/* The next pass is the one that later ones are compared with. */
void ds_kinks_record(ds_kinks *kinks);
/* Another pass begins, through the same sublayers; NULL when nothing need be observed. */
const ds_observer *ds_kinks_watch(ds_kinks *kinks);
void ds_kinks_compare(ds_kinks *kinks);

#endif
