/* What check looks at in a study.json: statistics that follow from the file's own runs, and the runs themselves. */
#ifndef DELTASCOPE_COMMANDS_STUDY_CLAIMS_H
#define DELTASCOPE_COMMANDS_STUDY_CLAIMS_H

#include "claim_view.h"

bool ds_is_study(const json_t *envelope);
/* Adds the sections "derived" and "training" of a study: its statistics computed anew, and its runs read again from the folder
 * that is given; NULL: the second is an obstacle. `path` names the file in sentences. */
ds_status ds_study_claims(ds_claim_view *view, const json_t *study, const char *path, const char *folder) DS_MUST_CHECK;

#endif
