/* What `inspect` shows of a checkpoint whose names are not ours: every tensor with the roles it could fill, and the draft of a
 * map. */
#ifndef DELTASCOPE_COMMANDS_DRAFT_VIEW_H
#define DELTASCOPE_COMMANDS_DRAFT_VIEW_H

#include "model_command.h"

/* For a model that could not be built: `failure` is the status whose sentence is stored, and is returned with it. Where it was
 * not the checkpoint's names, shapes or configuration that failed, nothing is shown. */
ds_status ds_draft_explain(const ds_invocation *invocation, ds_status failure) DS_MUST_CHECK;
/* Writes the draft to `path`, and shows the same. */
ds_status ds_draft_write(const ds_invocation *invocation, const char *path) DS_MUST_CHECK;

#endif
