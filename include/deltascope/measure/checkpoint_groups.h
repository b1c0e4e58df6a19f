/* Groups of checkpoints that differ in their seed alone: the checkpoints of a comparison with the seed as the sampling unit
 * (CONTRACT "compare"). */
#ifndef DELTASCOPE_MEASURE_CHECKPOINT_GROUPS_H
#define DELTASCOPE_MEASURE_CHECKPOINT_GROUPS_H

#include "deltascope/base.h"

DS_BEGIN_DECLARATIONS

typedef struct ds_checkpoint_group {
    const char *name;
    size_t first, count; /* paths[first, first + count) */
} ds_checkpoint_group;

typedef struct ds_checkpoint_groups {
    ds_checkpoint_group *groups; /* (count) */
    const char **paths;          /* (path_count), in the order given */
    size_t count, path_count;
    char **words; /* what names and paths lie in */
} ds_checkpoint_groups;

/* words[count]: each "NAME=CHECKPOINT,CHECKPOINT,...". DS_ERR_USAGE for what is not of that form, a group of one, names or
 * paths that come twice. */
ds_status ds_checkpoint_groups_parse(ds_checkpoint_groups *out, const char *const *words, size_t count) DS_MUST_CHECK;
void ds_checkpoint_groups_release(ds_checkpoint_groups *groups);

DS_END_DECLARATIONS

#endif
