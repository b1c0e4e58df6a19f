/* Each sublayer's mean gate over the data: what mean-gate forces, and what the null model of constant gates has. */
#ifndef DELTASCOPE_MEASURE_MEAN_GATES_H
#define DELTASCOPE_MEASURE_MEAN_GATES_H

#include "deltascope/run.h"

DS_BEGIN_DECLARATIONS

/* means (S), by one pass over all windows. The run's model has gates. */
ds_status ds_mean_gates(double *means, ds_run *run) DS_MUST_CHECK;

DS_END_DECLARATIONS

#endif
