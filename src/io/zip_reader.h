/* The directory of a zip archive as torch.save writes it: stored entries only, one after the other, under one folder.
 *
 * Stricter than zip readers are, so that no two readers can see two archives in one file:
 *   - the end record is the last 22 bytes of the file (no comment, nothing after it); a zip64 end record, where there is one,
 *     stands right before it, and both agree;
 *   - the directory ends where the end records begin, and holds exactly the entries they count;
 *   - entries are stored (method 0), not encrypted; a local header says what the directory says (its checksum and sizes
 *     may be 0 when a data descriptor follows the data, which then says it);
 *   - every byte before the directory belongs to exactly one entry: its header, its data or its descriptor, so there is nothing
 *     that the directory does not list;
 *   - names are well-formed UTF-8 without NUL, backslash, empty, "." or ".." parts, and differ by more than case.
 * Cost: O(n log n) for n entries; the directory and 40 bytes per entry are held in memory. Private to io. */
#ifndef DELTASCOPE_IO_ZIP_READER_H
#define DELTASCOPE_IO_ZIP_READER_H

#include "catalog.h"

enum { DS_ZIP_ENTRY_LIMIT = 1000000, DS_ZIP_NAME_LIMIT = 1024 };

typedef struct ds_zip_entry {
    const char *name; /* without the folder all entries are in */
    uint64_t header;  /* byte offset in the file of the local header */
    uint64_t offset;  /* ... of the data */
    uint64_t size;    /* bytes of data */
    uint32_t crc32;   /* 0: not computed by the writer */
    uint16_t flags;
} ds_zip_entry;

typedef struct ds_zip ds_zip;

/* Reads and checks everything above. `source` must stay open as long as the result. */
ds_status ds_zip_open(ds_zip **out, const ds_source *source) DS_MUST_CHECK;
void ds_zip_close(ds_zip **zip); /* sets NULL; NULL is fine */

size_t ds_zip_count(const ds_zip *zip);
const ds_zip_entry *ds_zip_at(const ds_zip *zip, size_t index);       /* in order of name, case folded */
const ds_zip_entry *ds_zip_find(const ds_zip *zip, const char *name); /* exactly this name; NULL when absent; O(log n) */
/* The data of an entry of at most `limit` bytes, with its checksum verified; *bytes is freed with free(). */
ds_status ds_zip_read(uint8_t **bytes, const ds_zip *zip, const ds_zip_entry *entry, uint64_t limit) DS_MUST_CHECK;

#endif
