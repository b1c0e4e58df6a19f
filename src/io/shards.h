/* The index of a sharded checkpoint: {"metadata": ..., "weight_map": {tensor: file}}. Private to io. */
#ifndef DELTASCOPE_IO_SHARDS_H
#define DELTASCOPE_IO_SHARDS_H

#include "catalog.h"

typedef struct ds_shards {
    json_t *index;
    char *path;         /* of the index */
    const char **names; /* the distinct file names, in bytewise order; views into the index */
    size_t count;
} ds_shards;

/* Reads the index. Every shard is one plain file name: no '/', '\\' or control byte, no leading dot. At most 512 shards (all
 * are open at once). `metadata` is not looked at: its total_size is informational, wrong in published checkpoints, and what it
 * could tell is told exactly by the shards. */
ds_status ds_shards_init(ds_shards *shards, const char *index_path) DS_MUST_CHECK;
/* Every stored tensor of the sealed catalog is mapped to the file that holds it, and every mapped tensor is stored. File i of
 * the catalog is shard i. */
ds_status ds_shards_check(const ds_shards *shards, const ds_catalog *catalog) DS_MUST_CHECK;
void ds_shards_release(ds_shards *shards); /* a zeroed one is fine */

#endif
