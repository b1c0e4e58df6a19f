/* What the threads of this process spend their time on: a profile by kinds of work, taken where the work is done.
 *
 * Costs a call for every piece of work while nothing is measured, and two readings of the clock while something is. */
#ifndef DELTASCOPE_ACTIVITY_H
#define DELTASCOPE_ACTIVITY_H

#include "deltascope/base.h"

DS_BEGIN_DECLARATIONS

typedef enum ds_activity {
    DS_ACTIVITY_NONE, /* waits, or is none of ours */
    DS_ACTIVITY_PRODUCTS,
    DS_ACTIVITY_ATTENTION, /* what attention does to scores, beside products */
    DS_ACTIVITY_RULE,      /* reads, coefficients and writes of the residual state, and the way back through them */
    DS_ACTIVITY_HEAD,      /* softmax and loss over the vocabulary, beside products */
    DS_ACTIVITY_OPTIMISER,
    DS_ACTIVITY_OTHER, /* norms, activations, rotations, what is kept for the way back, sums of parameters' gradients */
    DS_ACTIVITIES
} ds_activity;

/* This thread turns to `activity`; returns what it was at, to go back to. */
ds_activity ds_activity_turn(ds_activity activity);
/* Measures from now on, this thread being at DS_ACTIVITY_OTHER; and ends that: seconds (DS_ACTIVITIES) <- of all threads
 * together, 0 for DS_ACTIVITY_NONE. One measurement at a time, while no loop of another thread runs. */
void ds_activity_measure(void);
void ds_activity_finish(double *seconds);

DS_END_DECLARATIONS

#endif
