/* The tensors and checksummed records of all files of one checkpoint, collected by format readers, then sealed. */
#include <stdlib.h>
#include <string.h>

#include "catalog.h"

/* Ten times the largest model anybody has split into tensors; each costs a few hundred bytes here. */
enum { MAX_NAME = 4096, MAX_TENSORS = 1 << 20 };

ds_status ds_catalog_open_file(ds_catalog *catalog, const char *path) {
    void *storage = catalog->files;
    ds_status status = ds_grow(&storage, &catalog->file_capacity, catalog->file_count + 1, sizeof *catalog->files);
    catalog->files = storage;
    if (status != DS_OK) return status;
    ds_catalog_file *file = &catalog->files[catalog->file_count];
    memset(file, 0, sizeof *file);
    status = ds_source_open(&file->source, path);
    if (status == DS_OK) catalog->file_count++;
    return status;
}

size_t ds_dtype_size(ds_dtype dtype) {
    switch (dtype) {
    case DS_DTYPE_F32:
        return 4;
    case DS_DTYPE_F64:
        return 8;
    case DS_DTYPE_F16:
    case DS_DTYPE_BF16:
        return 2;
    case DS_DTYPE_OTHER:
        break;
    }
    return 0;
}

ds_rounding ds_dtype_rounding(ds_dtype dtype) {
    switch (dtype) {
    case DS_DTYPE_F64:
        return (ds_rounding){0x1p-53, 0x1p-1074}; /* half of it is no double */
    case DS_DTYPE_F16:
        return (ds_rounding){0x1p-11, 0x1p-25};
    case DS_DTYPE_BF16:
        return (ds_rounding){0x1p-8, 0x1p-134};
    case DS_DTYPE_F32:
    case DS_DTYPE_OTHER:
        break;
    }
    return (ds_rounding){0x1p-24, 0x1p-150};
}

const char *ds_base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash == NULL ? path : slash + 1;
}

static ds_status check_name(const char *name, size_t length, const char *path) {
    const char *fault = NULL;
    if (memchr(name, '\0', length) != NULL) {
        fault = "has a NUL in its name";
    } else if (length > MAX_NAME) {
        fault = "has a name of more than 4096 bytes";
    } else if (!ds_is_utf8(name, length)) {
        fault = "has a name that is not UTF-8";
    } else if (length == 0 || name[length - 1] == '.') {
        fault = "has an empty name";
    }
    if (fault == NULL) return DS_OK;
    return ds_fail(DS_ERR_INPUT, "%s: tensor \"%s\" %s", DS_SHOW(path), ds_escape(name, length).text, fault);
}

/* name NULL: the stored name without wrappers. */
static ds_status append(ds_catalog *catalog, const ds_tensor *tensor, size_t stored_length, const char *name) {
    const char *path = catalog->files[tensor->file_index].source.path;
    if (catalog->tensor_count >= MAX_TENSORS)
        return ds_fail(DS_ERR_INPUT, "%s: the checkpoint has more than %d tensors", DS_SHOW(path), MAX_TENSORS);
    void *storage = catalog->tensors;
    ds_status status = ds_grow(&storage, &catalog->tensor_capacity, catalog->tensor_count + 1, sizeof *catalog->tensors);
    catalog->tensors = storage;
    if (status != DS_OK) return status;
    size_t record_bytes = strlen(tensor->record) + 1, dtype_bytes = strlen(tensor->dtype_name) + 1;
    size_t name_bytes = (name == NULL ? stored_length : strlen(name)) + 1;
    char *strings = ds_calloc(stored_length + 1 + record_bytes + dtype_bytes + name_bytes, 1);
    if (strings == NULL) return DS_ERR_SYSTEM;
    char *own = strings + stored_length + 1 + record_bytes + dtype_bytes;
    ds_tensor *copy = &catalog->tensors[catalog->tensor_count++];
    *copy = *tensor;
    copy->file = path;
    copy->stored_name = memcpy(strings, tensor->stored_name, stored_length);
    copy->record = memcpy(strings + stored_length + 1, tensor->record, record_bytes);
    copy->dtype_name = memcpy(strings + stored_length + 1 + record_bytes, tensor->dtype_name, dtype_bytes);
    if (name == NULL)
        ds_strip_wrappers(own, copy->stored_name);
    else
        memcpy(own, name, name_bytes);
    copy->name = own;
    return DS_OK;
}

ds_status ds_catalog_add_tensor(ds_catalog *catalog, const ds_tensor *tensor, size_t name_length) {
    ds_status status = check_name(tensor->stored_name, name_length, catalog->files[tensor->file_index].source.path);
    return status == DS_OK ? append(catalog, tensor, name_length, NULL) : status;
}

ds_status ds_catalog_add_view(ds_catalog *catalog, const ds_tensor *view, const char *name) {
    ds_status status = check_name(name, strlen(name), catalog->files[view->file_index].source.path);
    return status == DS_OK ? append(catalog, view, strlen(view->stored_name), name) : status;
}

/* Names are views of const text to everybody else; here they are what `append` and `add_record` allocated. */
static void release_text(const char *text) { free((void *)(uintptr_t)text); }

void ds_catalog_drop(ds_catalog *catalog, const bool *dropped, size_t count) {
    size_t kept = 0;
    for (size_t i = 0; i < catalog->tensor_count; i++) {
        if (i < count && dropped[i])
            release_text(catalog->tensors[i].stored_name);
        else
            catalog->tensors[kept++] = catalog->tensors[i];
    }
    catalog->tensor_count = kept;
}

ds_status ds_catalog_add_record(ds_catalog *catalog, const ds_record *record) {
    void *storage = catalog->records;
    ds_status status = ds_grow(&storage, &catalog->record_capacity, catalog->record_count + 1, sizeof *catalog->records);
    catalog->records = storage;
    if (status != DS_OK) return status;
    char *name = ds_strdup(record->name);
    if (name == NULL) return DS_ERR_SYSTEM;
    catalog->records[catalog->record_count] = *record;
    catalog->records[catalog->record_count++].name = name;
    return DS_OK;
}

static int by_name(const void *left, const void *right) {
    return strcmp(((const ds_tensor *)left)->name, ((const ds_tensor *)right)->name);
}

static int by_place(const void *left, const void *right) {
    const ds_record *a = left, *b = right;
    if (a->file_index != b->file_index) return a->file_index < b->file_index ? -1 : 1;
    return a->offset < b->offset ? -1 : a->offset > b->offset;
}

ds_status ds_catalog_seal(ds_catalog *catalog) {
    if (catalog->record_count > 1) qsort(catalog->records, catalog->record_count, sizeof *catalog->records, by_place);
    if (catalog->tensor_count > 1) qsort(catalog->tensors, catalog->tensor_count, sizeof *catalog->tensors, by_name);
    for (size_t i = 1; i < catalog->tensor_count; i++) {
        const ds_tensor *a = &catalog->tensors[i - 1], *b = &catalog->tensors[i];
        if (strcmp(a->name, b->name) != 0) continue;
        if (a->file_index != b->file_index)
            return ds_fail(DS_ERR_INPUT, "%s: duplicate tensor %s, stored in %s as well", DS_SHOW(a->file), DS_SHOW(a->name),
                           DS_SHOW(b->file));
        return ds_fail(DS_ERR_INPUT, "%s: duplicate tensor %s, stored as \"%s\" and as \"%s\"", DS_SHOW(a->file),
                       DS_SHOW(a->name), DS_SHOW(a->stored_name), DS_SHOW(b->stored_name));
    }
    return DS_OK;
}

const ds_tensor *ds_catalog_find(const ds_catalog *catalog, const char *name) {
    ds_tensor key = {.name = name};
    if (catalog->tensor_count == 0) return NULL;
    return bsearch(&key, catalog->tensors, catalog->tensor_count, sizeof key, by_name);
}

void ds_catalog_release(ds_catalog *catalog) {
    for (size_t i = 0; i < catalog->tensor_count; i++) release_text(catalog->tensors[i].stored_name);
    for (size_t i = 0; i < catalog->record_count; i++) release_text(catalog->records[i].name);
    for (size_t i = 0; i < catalog->file_count; i++) ds_source_close(&catalog->files[i].source);
    free(catalog->tensors);
    free(catalog->records);
    free(catalog->files);
    json_decref(catalog->configurations);
    *catalog = (ds_catalog){0};
}
