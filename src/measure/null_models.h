/* Null models of a token's directions and gates (directions.h says which). */
#ifndef DELTASCOPE_MEASURE_NULL_MODELS_H
#define DELTASCOPE_MEASURE_NULL_MODELS_H

#include "deltascope/measure/directions.h"

/* Turns the set of tokens first .. first+count-1 into the source's null model. `set` numbers the sets: each draws its own random
 * numbers from the seed. */
void ds_null_apply(ds_directions *directions, size_t first, size_t count, const ds_direction_source *source, size_t set);
/* means (last - first) <- each sublayer's mean gate over all the data, by one pass. */
ds_status ds_null_mean_gates(double *means, ds_direction_source *source) DS_MUST_CHECK;

/* One batch from the source's model, from window `window` on, up to the source's last sublayer. */
ds_status ds_direction_source_run(ds_direction_source *source, size_t window, ds_batch *batch,
                                  const ds_observer *observer) DS_MUST_CHECK;

#endif
