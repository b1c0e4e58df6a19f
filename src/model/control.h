/* Controls as config.json tells them. Private to model. */
#ifndef DELTASCOPE_MODEL_CONTROL_H
#define DELTASCOPE_MODEL_CONTROL_H

#include "deltascope/model.h"

/* spec->trained <- "deltascope_rule" of the configuration, which goes with the model_type "deltascope": the published code
 * would load it as the plain rule, and compute something else in silence. */
ds_status ds_control_read(ds_spec *spec, const json_t *config, const char *where) DS_MUST_CHECK;

/* Whether passes run the sublayers of a half (0 attention, 1 MLP) of the model as it is; when an observer looks on, all run. */
bool ds_half_runs(const ds_spec *spec, size_t half);
/* The rule that a configuration names: "deltascope_base_rule" where "deltascope_rule" is a control of a rule that goes by its
 * name, else "deltascope_rule"; NULL: none. */
const char *ds_told_rule(const json_t *config);

#endif
