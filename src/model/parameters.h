/* The parameter table: which learned tensors a specification has, under which name of which generation, in which shape, and
 * where the model keeps them (MODEL.md "Parameters by name"). Private to model. */
#ifndef DELTASCOPE_MODEL_PARAMETERS_H
#define DELTASCOPE_MODEL_PARAMETERS_H

#include "model_internal.h"

/* A model whose parameters, labels and typed pointers are in place, but not their values (all NULL). With a checkpoint, each
 * parameter is named as the checkpoint spells it; ds_spec_detect has already found them all. NULL: the names of
 * spec->newer_names. Release with ds_model_free. */
ds_status ds_model_frame(ds_model **out, const ds_spec *spec, ds_precision precision,
                         const ds_checkpoint *checkpoint) DS_MUST_CHECK;
/* Every tensor the specification needs is in the checkpoint, with its shape and a floating dtype; allocates nothing unless one
 * is missing. */
ds_status ds_parameters_check(const ds_spec *spec, const ds_checkpoint *checkpoint) DS_MUST_CHECK;
/* The checkpoint has nothing else but what is no parameter: a tied head stored again, and buffers. */
ds_status ds_parameters_only(const ds_spec *spec, const ds_checkpoint *checkpoint) DS_MUST_CHECK;

#endif
