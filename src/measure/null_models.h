/* Null models of a token's directions and gates (directions.h says which). */
#ifndef DELTASCOPE_MEASURE_NULL_MODELS_H
#define DELTASCOPE_MEASURE_NULL_MODELS_H

#include "deltascope/measure/directions.h"

/* Turns the set of tokens first .. first+count-1 into the source's null model. `set` numbers the sets: each draws its own
 * random numbers from the seed. */
void ds_null_apply(ds_directions *directions, size_t first, size_t count, const ds_direction_source *source, size_t set);

#endif
