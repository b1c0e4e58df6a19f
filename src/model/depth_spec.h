/* Whether a checkpoint is of attention over depth, and of which of its rules. Private to model. */
#ifndef DELTASCOPE_MODEL_DEPTH_SPEC_H
#define DELTASCOPE_MODEL_DEPTH_SPEC_H

#include "config.h"
#include "depth_sources.h"

/* Sets rule and what belongs to it in an additive spec, from the configuration (`object` as it stands in the file) and the
 * names of tensors; leaves all others as they are. DS_ERR_INPUT where the two contradict each other. */
ds_status ds_depth_detect(ds_spec *spec, const ds_config *config, const json_t *object, const ds_checkpoint *checkpoint,
                          const char *where) DS_MUST_CHECK;
/* The same from a configuration alone that does not contradict the rule; the gate is what it asks for. */
ds_status ds_depth_set(ds_spec *spec, const ds_config *config, const ds_rule *rule, const char *where) DS_MUST_CHECK;
/* The attnres_mode that asks for the spec's rule in the published code; cumulative forms share theirs with others. */
const char *ds_depth_mode(const ds_spec *spec);
/* Of DS_DEPTH_RULES; the rule of that name, or NULL: none of these. */
const ds_rule *ds_depth_rule_at(size_t index);
const ds_rule *ds_depth_rule_named(const char *name);

#endif
