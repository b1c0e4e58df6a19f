/* Torch zip archives assembled for tests, byte by byte as torch.save lays them out, and the parts that tests break. */
#ifndef DELTASCOPE_TESTS_ARCHIVE_H
#define DELTASCOPE_TESTS_ARCHIVE_H

#include <stddef.h>
#include <stdint.h>

#include "deltascope/base.h"

typedef struct archive_entry {
    const char *name; /* with the folder */
    const void *bytes;
    size_t length;
} archive_entry;

/* Stored entries with data descriptors, the central directory, the zip64 end record and locator, the end record. Checksums and
 * sizes are 0 in local headers. */
void archive_build(ds_text *out, const archive_entry *entries, size_t count);
/* A pickle, the version record and one storage record "data/0" under the folder "archive". */
void archive_build_torch(ds_text *out, const void *pickle, size_t length, const void *storage, size_t storage_length);

/* Byte offsets of the parts. */
size_t archive_end(const ds_text *archive);
size_t archive_locator(const ds_text *archive);
size_t archive_end64(const ds_text *archive);
size_t archive_central(const ds_text *archive, size_t index);
size_t archive_local(const ds_text *archive, size_t index);
/* Replaces `width` bytes by a little-endian integer. */
void archive_patch(ds_text *archive, size_t offset, size_t width, uint64_t value);
/* A path under which the archive can be read until the next call; it is not on any disk. */
const char *archive_publish(const ds_text *archive);

#endif
