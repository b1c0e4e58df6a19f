/* Whether a checkpoint is of the delta rule, and of which of its variants. Private to model. */
#ifndef DELTASCOPE_MODEL_DELTA_SPEC_H
#define DELTASCOPE_MODEL_DELTA_SPEC_H

#include "config.h"

/* What tensors say of the rule; `newer`: names of the newer generation, of whatever rule. */
typedef struct ds_delta_evidence {
    const ds_tensor *delta, *temporal, *channel, *input, *newer, *gate_two_layer; /* the first that says so, or NULL */
} ds_delta_evidence;
/* Of a checkpoint whose backbone `spec` has. */
ds_delta_evidence ds_delta_examine(const ds_checkpoint *checkpoint, const ds_spec *spec);
/* What a variant's name says in place of tensors: all point at `said`, or are NULL. */
ds_delta_evidence ds_delta_evidence_of(const char *variant, const ds_tensor *said);

/* Sets rule and what belongs to it in an additive spec where the evidence is of the delta rule; leaves all others as they are.
 * DS_ERR_INPUT where evidence and configuration contradict each other. */
ds_status ds_delta_detect(ds_spec *spec, const ds_config *config, const ds_delta_evidence *evidence,
                          const char *where) DS_MUST_CHECK;

#endif
