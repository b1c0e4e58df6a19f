/* What a format reader (safetensors, torch) hands to the checkpoint: tensors, and byte ranges with a checksum. Private to io.
 */
#ifndef DELTASCOPE_IO_CATALOG_H
#define DELTASCOPE_IO_CATALOG_H

#include "deltascope/io.h"

/* A regular file opened for reading (O_NONBLOCK, fstat): FIFOs, devices and folders are refused; the size is fixed at opening,
 * and a file that turns out shorter while it is read is an error. */
typedef struct ds_source {
    int descriptor;
    uint64_t size;
    char *path;
} ds_source;
ds_status ds_source_open(ds_source *source, const char *path) DS_MUST_CHECK;
void ds_source_close(ds_source *source);
/* Exactly `count` bytes at `offset`, or a sentence. */
ds_status ds_source_read(const ds_source *source, void *bytes, uint64_t offset, size_t count) DS_MUST_CHECK;

/* A byte range of a file whose crc32 is known: checked while the file is read (for every record, also those no tensor uses). */
typedef struct ds_record {
    const char *name;
    size_t file_index;
    uint64_t offset, size;
    uint32_t crc32;
} ds_record;

typedef struct ds_catalog ds_catalog;

/* Copies the tensor and its strings. `stored_name` is given, `name` is ignored: prefixes are stripped by the catalog, which
 * refuses duplicates (also those that arise from stripping), empty names, names over 4,096 bytes or with NUL (`name_length`
 * is the length as parsed). shape, stride, count and extent must already have been checked against the file. */
ds_status ds_catalog_add_tensor(ds_catalog *catalog, const ds_tensor *tensor, size_t name_length) DS_MUST_CHECK;
ds_status ds_catalog_add_record(ds_catalog *catalog, const ds_record *record) DS_MUST_CHECK;

/* Format readers: parse and check the structure of one file, adding what it holds. */
ds_status ds_safetensors_list(ds_catalog *catalog, const ds_source *source, size_t file_index) DS_MUST_CHECK;
/* A torch zip archive whose pickle is a state dict, or a dict with one under `model`, `state_dict` or `model_state_dict`. */
ds_status ds_torch_list(ds_catalog *catalog, const ds_source *source, size_t file_index) DS_MUST_CHECK;

#endif
