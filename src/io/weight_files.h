/* Which file of a folder is the checkpoint. Private to io. */
#ifndef DELTASCOPE_IO_WEIGHT_FILES_H
#define DELTASCOPE_IO_WEIGHT_FILES_H

#include "catalog.h"

/* *out <- folder/name, freed with free(). */
ds_status ds_join(char **out, const char *folder, const char *name) DS_MUST_CHECK;
/* Whether a name is taken, by whatever kind of file: a dangling link or a FIFO in the place of a weight file is an error to be
 * reported when it is opened, not a reason to look elsewhere. */
ds_status ds_is_present(bool *present, const char *path) DS_MUST_CHECK;

/* Names a checkpoint usually has, the first that is taken wins: every other one is the index of shards; those of safetensors
 * come first. */
enum { DS_USUAL_NAMES = 5 };
extern const char *const ds_usual_names[DS_USUAL_NAMES];

/* *path <- the one weight file of a folder that has none of the usual names; freed with free(). None, or several, are refused
 * with what there is instead and what to pass. */
ds_status ds_only_weight_file(char **path, const char *folder) DS_MUST_CHECK;

#endif
