/* Weights at initialisation. Private to model. */
#ifndef DELTASCOPE_MODEL_INIT_H
#define DELTASCOPE_MODEL_INIT_H

#include "model_internal.h"

/* How one parameter starts. */
typedef struct ds_start ds_start;
struct ds_start {
    enum { DS_START_CONSTANT, DS_START_NORMAL, DS_START_UNIFORM, DS_START_LAST_TAP, DS_START_CHOSEN } kind;
    double scale;  /* the constant, the standard deviation, or the half width */
    size_t kernel; /* LAST_TAP: of every `kernel` numbers the last is 1, the others 0 */
    /* CHOSEN: element i, where one of `choices` was drawn for all parameters of the sublayer, by their names but for the last
     * word. */
    double (*value)(const ds_start *start, size_t chosen, size_t i);
    size_t choices;
};
/* starts (parameters of the model): sets that of `parameter`; NULL: nothing to do. */
void ds_start_set(ds_start *starts, const ds_model *model, const ds_parameter *parameter, ds_start chosen);

/* Fills the values as either generation of the published code does, element by element (model.h, ds_model_initial); other
 * backbones as their own code does, whichever generation is asked for. */
ds_status ds_model_start(ds_model *model, ds_initialisation which, uint64_t seed) DS_MUST_CHECK;

/* Fills the values as the published code initialises them: embedding normal with spec.embedding_init_std; matrices normal with
 * s = hidden_init_std_factor / sqrt(d), output projections with s / sqrt(layers); norms 1; gate biases so that 2*sigmoid(bias)
 * is gate_init, clipped inside (0,2); value biases uniform in +-1/sqrt(d); compressors averaging, 1/K and 1/dv; the input
 * convolution passing the current token. The same numbers for any number of threads; in float the rounded ones of double. */
ds_status ds_model_initialise(ds_model *model, uint64_t seed) DS_MUST_CHECK;

#endif
