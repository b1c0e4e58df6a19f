/* Where in a training checkpoint's pickle the state of the model is, and what in it may be the configuration. Private to io. */
#ifndef DELTASCOPE_IO_TORCH_STATE_H
#define DELTASCOPE_IO_TORCH_STATE_H

#include "pickle.h"

/* *state <- the dict that holds the model's tensors, wherever up to four string keys lead: the only one that has names of the
 * model; else, the optimizer's not counted, the only one under a usual name ("model", "state_dict", ...), or the whole pickle;
 * else the only one that has tensors by the names of modules. Several of the best kind are refused, naming them. `wanted` is
 * the way to it, keys joined by points, or NULL. `where` is the file's path. */
ds_status ds_torch_state(ds_value *state, const ds_pickle *pickle, const char *wanted, const char *where) DS_MUST_CHECK;

/* *entries <- an object of what may be configurations by the way to each ("model_args", "config.model", ...), the likeliest
 * first: dicts, and the attributes of objects, with string keys. What JSON cannot hold becomes an object that names its class:
 * no setting takes one. Of 8 levels at most; one of more than 10,000 values is left out. */
ds_status ds_torch_configurations(json_t **entries, const ds_pickle *pickle) DS_MUST_CHECK;

#endif
