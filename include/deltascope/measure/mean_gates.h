/* Each sublayer's means over the data: of its gate, which mean-gate forces and the null model of constant gates has; of what
 * parallel streams mix by, which mean-mix and mean-res force. */
#ifndef DELTASCOPE_MEASURE_MEAN_GATES_H
#define DELTASCOPE_MEASURE_MEAN_GATES_H

#include "deltascope/run.h"

DS_BEGIN_DECLARATIONS

/* How many numbers a sublayer has of each token: its gate, or pre, post and R as ds_stream_observation has them. */
size_t ds_mean_length(const ds_spec *spec);
/* means (S,ds_mean_length), by one pass over all windows. The run's model has gates or parallel streams. */
ds_status ds_mean_gates(double *means, ds_run *run) DS_MUST_CHECK;

DS_END_DECLARATIONS

#endif
