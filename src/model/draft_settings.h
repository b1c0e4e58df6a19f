/* Somebody's configuration read as ours, as far as names and shapes allow. Private to model. */
#ifndef DELTASCOPE_MODEL_DRAFT_SETTINGS_H
#define DELTASCOPE_MODEL_DRAFT_SETTINGS_H

#include "config.h"

/* Zero-initialise; release. */
typedef struct ds_draft_settings {
    json_t *renamed;   /* theirs: ours */
    json_t *settings;  /* what the configuration does not say, but shapes do */
    ds_config config;  /* as both together make it */
    bool qk_norm_said; /* whether the configuration tells if queries and keys are normed: tensors tell, too */
} ds_draft_settings;

/* *layers counts from names ({L} of 0 to layers - 1), 0 where there are none. */
ds_status ds_draft_settings_make(ds_draft_settings *out, const ds_checkpoint *checkpoint, size_t layers) DS_MUST_CHECK;
void ds_draft_settings_release(ds_draft_settings *settings);

#endif
