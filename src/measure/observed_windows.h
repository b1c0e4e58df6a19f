/* Private to the measure room: what an observer saw of a window as numbers that can be kept or sent, and shown to it again. */
#ifndef DELTASCOPE_MEASURE_OBSERVED_WINDOWS_H
#define DELTASCOPE_MEASURE_OBSERVED_WINDOWS_H

#include "deltascope/run.h"

/* The norms, gates and attention weights of a batch in hand, window by window: `length` numbers each. */
typedef struct ds_observed {
    size_t sublayers, tokens, channels; /* of a window; 0 channels: a rule without gates */
    size_t length;
    size_t sequences;
    double *windows; /* (sequences, length) */
} ds_observed;

ds_status ds_observed_init(ds_observed *observed, const ds_run *run, size_t sequences) DS_MUST_CHECK;
void ds_observed_release(ds_observed *observed);
/* An observer's function: takes what it is shown into the ds_observed that is its context. */
ds_status ds_observed_take(void *observed, const ds_observation *observation);
/* Shows `window` (observed->length) to the observer, sublayer by sublayer, as one window. Neither states nor
 * directions are there; an MLP has no attention weight that is 0. */
ds_status ds_observed_show(const ds_observed *observed, const double *window, const ds_observer *observer) DS_MUST_CHECK;

#endif
