/* Whether a checkpoint is of parallel streams, and of which of their rules. Private to model. */
#ifndef DELTASCOPE_MODEL_STREAMS_SPEC_H
#define DELTASCOPE_MODEL_STREAMS_SPEC_H

#include "config.h"

/* Sets rule and streams in an additive spec, from the configuration (`object` as it stands in the file) and the names and
 * shapes of tensors; leaves all others as they are. DS_ERR_INPUT where the two contradict each other. */
ds_status ds_streams_detect(ds_spec *spec, const ds_config *config, const json_t *object, const ds_checkpoint *checkpoint,
                            const char *where) DS_MUST_CHECK;
enum { DS_STREAM_RULES = 5 };
/* The same from a configuration alone, which says how many there are, or it are as many as usual. */
ds_status ds_streams_set(ds_spec *spec, const ds_config *config, const json_t *object, const ds_rule *rule,
                         const char *where) DS_MUST_CHECK;
/* What the published keys say: *key <- the one that tells, or NULL; *rule <- NULL: by it there are no streams. */
ds_status ds_streams_told(const ds_rule **rule, const char **key, const ds_config *config, const char *where) DS_MUST_CHECK;
/* Sets the published keys that ask for the spec's rule; 0, or the failure of an allocation. */
int ds_streams_put(json_t *config, const ds_spec *spec);
/* NULL beyond the last. */
const ds_rule *ds_stream_rule_at(size_t index);
/* The rule of that name; NULL: none of these. */
const ds_rule *ds_stream_rule_named(const char *name);

#endif
