/* Weights at initialisation. Private to model. */
#ifndef DELTASCOPE_MODEL_INIT_H
#define DELTASCOPE_MODEL_INIT_H

#include "model_internal.h"

/* Fills the values as the published code initialises them: embedding normal with spec.embedding_init_std; matrices normal with
 * s = hidden_init_std_factor / sqrt(d), output projections with s / sqrt(layers); norms 1; gate biases so that 2*sigmoid(bias)
 * is gate_init, clipped inside (0,2); value biases uniform in +-1/sqrt(d); compressors averaging, 1/K and 1/dv; the input
 * convolution passing the current token. The same numbers for any number of threads; in float the rounded ones of double. */
ds_status ds_model_initialise(ds_model *model, uint64_t seed) DS_MUST_CHECK;

#endif
