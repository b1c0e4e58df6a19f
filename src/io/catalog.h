/* What a format reader (safetensors, torch) hands to the checkpoint: tensors, and byte ranges with a checksum. Private to io.
 */
#ifndef DELTASCOPE_IO_CATALOG_H
#define DELTASCOPE_IO_CATALOG_H

#include <time.h>

#include "deltascope/io.h"

/* ---- files ------------------------------------------------------------------------------------------------------- */

/* A regular file opened for reading (O_NONBLOCK, fstat): FIFOs, devices and folders are refused; the size is fixed at opening,
 * and a file that turns out shorter while it is read is an error. A file that is not there is DS_ERR_INPUT, one that may not be
 * read DS_ERR_SYSTEM. */
typedef struct ds_source {
    int descriptor;
    uint64_t size;
    struct timespec modified;
    char *path;
} ds_source;
ds_status ds_source_open(ds_source *source, const char *path) DS_MUST_CHECK;
/* Below a folder, where no link is followed; folder NULL: as ds_source_open. */
ds_status ds_source_open_in(ds_source *source, const ds_folder *folder, const char *path) DS_MUST_CHECK;
void ds_source_close(ds_source *source);
/* Exactly `count` bytes at `offset`, or a sentence. */
ds_status ds_source_read(const ds_source *source, void *bytes, uint64_t offset, size_t count) DS_MUST_CHECK;
/* Fails when the file's size or time of modification is no longer what it was at opening. */
ds_status ds_source_check_unchanged(const ds_source *source) DS_MUST_CHECK;

/* ---- the catalog ------------------------------------------------------------------------------------------------- */

/* A byte range of a file whose crc32 is known: checked while the file is read (for every record, also those no tensor uses).
 * The ranges of one file are disjoint. */
typedef struct ds_record {
    const char *name;
    size_t file_index;
    uint64_t offset, size;
    uint32_t crc32;
} ds_record;

enum { DS_DIGEST_TEXT = 65 }; /* SHA-256 as hexadecimal digits, and the NUL */

typedef struct ds_catalog_file {
    ds_source source; /* open from listing to closing: what is read is what was checked */
    char digest[DS_DIGEST_TEXT];
} ds_catalog_file;

/* Zero-initialise; open files, list them, seal, read; release. After sealing, tensors are in order of name and unique, and
 * records in order of file and offset. */
typedef struct ds_catalog {
    ds_catalog_file *files;
    ds_tensor *tensors;
    ds_record *records;
    size_t file_count, tensor_count, record_count;
    size_t file_capacity, tensor_capacity, record_capacity;
    char digest[DS_DIGEST_TEXT]; /* of all files together */
    const char *wanted_state;    /* given: the entry of a training checkpoint that holds the state; NULL: the only one */
    json_t *configurations;      /* found: an object of what may be configurations, by the entry; NULL: none was looked for */
} ds_catalog;

/* Adds a file; its index is file_count - 1. */
ds_status ds_catalog_open_file(ds_catalog *catalog, const char *path) DS_MUST_CHECK;
/* Copies the tensor and its strings. `stored_name` is given, `name` is ignored: wrappers are stripped by the catalog, which
 * refuses duplicates (also those that arise from stripping; when sealed), empty names, names over 4,096 bytes, with NUL
 * (`name_length` is the length as parsed) or not in UTF-8. shape, stride, count and extent must already have been checked
 * against the file. */
ds_status ds_catalog_add_tensor(ds_catalog *catalog, const ds_tensor *tensor, size_t name_length) DS_MUST_CHECK;
/* A tensor that is listed already, seen in another way, under a name of its own; dropping the first `count` as marked. */
ds_status ds_catalog_add_view(ds_catalog *catalog, const ds_tensor *view, const char *name) DS_MUST_CHECK;
void ds_catalog_drop(ds_catalog *catalog, const bool *dropped, size_t count);
ds_status ds_catalog_add_record(ds_catalog *catalog, const ds_record *record) DS_MUST_CHECK;
ds_status ds_catalog_seal(ds_catalog *catalog) DS_MUST_CHECK;
const ds_tensor *ds_catalog_find(const ds_catalog *catalog, const char *name); /* after sealing; NULL when absent */
/* ds_checkpoint_read on a sealed catalog. */
ds_status ds_catalog_read(ds_catalog *catalog, const ds_tensor_read *reads, size_t count) DS_MUST_CHECK;
void ds_catalog_release(ds_catalog *catalog);

/* name <- the stored name without the segments that wrapper modules add ("module", "_orig_mod", ...), wherever they stand, how
 * often they do; the last segment stays. Room for as many bytes as the stored name has, and the NUL. */
void ds_strip_wrappers(char *name, const char *stored_name);
const char *ds_next_part(const char *name); /* behind the next point; NULL when there is none */
/* Takes off the one prefix that all of the model's tensors share ("net." of "net.transformer.wte.weight"), and calls an output
 * head stored alone by the name of the embedding it is tied to. Before sealing. In tensor_names.c. */
void ds_catalog_rename(ds_catalog *catalog);
/* Bytes of one element as stored; 0 for DS_DTYPE_OTHER. */
size_t ds_dtype_size(ds_dtype dtype);
/* The part of a path behind its last '/'. */
const char *ds_base_name(const char *path);

/* ---- format readers: parse and check the structure of one file, adding what it holds --------------------------------------
 */

ds_status ds_safetensors_list(ds_catalog *catalog, const ds_source *source, size_t file_index) DS_MUST_CHECK;
/* A torch zip archive whose pickle is a state dict, or a dict with one somewhere in it (torch_state.h). */
ds_status ds_torch_list(ds_catalog *catalog, const ds_source *source, size_t file_index) DS_MUST_CHECK;

#endif
