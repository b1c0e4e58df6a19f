#include <stdlib.h>
#include <string.h>

#include "shards.h"

enum { MAX_SHARDS = 10000, MAX_FILE_NAME = 255 };
static const uint64_t index_limit = UINT64_C(32) << 20;

static ds_status check_shard_name(const char *tensor, const char *name, const char *path) {
    const char *fault = NULL;
    size_t length = strlen(name);
    if (length == 0) {
        fault = "invalid shard name: empty";
    } else if (length > MAX_FILE_NAME) {
        fault = "invalid shard name: more than 255 bytes";
    } else if (name[0] == '/') {
        fault = "absolute shard name";
    } else if (strpbrk(name, "/\\") != NULL || strcmp(name, "..") == 0) {
        fault = "shard name leaves the folder";
    } else if (name[0] == '.') {
        fault = "invalid shard name: not a regular file of the folder";
    }
    for (size_t i = 0; fault == NULL && i < length; i++) {
        if ((unsigned char)name[i] < 0x20 || name[i] == 0x7F) fault = "invalid shard name: control character";
    }
    if (fault == NULL) return DS_OK;
    return ds_fail(DS_ERR_INPUT, "%s: %s: \"%s\" of %s, expected a plain file name", DS_SHOW(path), fault, DS_SHOW(name),
                   DS_SHOW(tensor));
}

static int by_text(const void *left, const void *right) {
    return strcmp(*(const char *const *)left, *(const char *const *)right);
}

/* Collects the distinct names of the map. */
static ds_status collect(ds_shards *shards, json_t *map) {
    ds_status status = DS_OK;
    const char *tensor;
    json_t *value;
    size_t count = 0;
    DS_NEW(shards->names, json_object_size(map));
    json_object_foreach(map, tensor, value) {
        if (!json_is_string(value)) {
            status = ds_fail(DS_ERR_INPUT, "%s: weight_map of %s is not a file name", DS_SHOW(shards->path), DS_SHOW(tensor));
            goto done;
        }
        DS_TRY(check_shard_name(tensor, json_string_value(value), shards->path));
        shards->names[count++] = json_string_value(value);
    }
    if (count > 1) qsort(shards->names, count, sizeof *shards->names, by_text);
    for (size_t i = 0; i < count; i++) {
        if (i == 0 || strcmp(shards->names[i], shards->names[shards->count - 1]) != 0)
            shards->names[shards->count++] = shards->names[i];
    }
    if (shards->count == 0) {
        status = ds_fail(DS_ERR_INPUT, "%s: weight_map is empty, expected at least one tensor", DS_SHOW(shards->path));
    } else if (shards->count > MAX_SHARDS) {
        status = ds_fail(DS_ERR_INPUT, "%s: %zu shards, expected at most %d", DS_SHOW(shards->path), shards->count, MAX_SHARDS);
    }
done:
    return status;
}

ds_status ds_shards_init(ds_shards *shards, const char *index_path) {
    ds_status status = DS_OK;
    char *bytes = NULL;
    size_t length;
    *shards = (ds_shards){.path = ds_strdup(index_path)};
    if (shards->path == NULL) return DS_ERR_SYSTEM;
    DS_TRY(ds_read_file(&bytes, &length, index_path, index_limit));
    DS_TRY(ds_json_parse(&shards->index, bytes, length, index_path));
    json_t *map = json_object_get(shards->index, "weight_map");
    if (!json_is_object(map)) {
        status = ds_fail(DS_ERR_INPUT, "%s: missing weight_map, expected an object of tensor: file", DS_SHOW(index_path));
        goto done;
    }
    DS_TRY(collect(shards, map));
done:
    free(bytes);
    return status;
}

/* Every mapped tensor is among the stored ones. */
static ds_status check_mapped(const ds_shards *shards, const ds_catalog *catalog, json_t *map) {
    ds_status status = DS_OK;
    const char **stored = NULL, *name;
    json_t *value;
    DS_NEW(stored, catalog->tensor_count);
    for (size_t i = 0; i < catalog->tensor_count; i++) stored[i] = catalog->tensors[i].stored_name;
    if (catalog->tensor_count > 1) qsort(stored, catalog->tensor_count, sizeof *stored, by_text);
    json_object_foreach(map, name, value) {
        if (catalog->tensor_count > 0 && bsearch(&name, stored, catalog->tensor_count, sizeof *stored, by_text) != NULL)
            continue;
        status = ds_fail(DS_ERR_INPUT, "%s: missing tensor %s: weight_map says it is in %s, which does not hold it",
                         DS_SHOW(shards->path), DS_SHOW(name), DS_SHOW(json_string_value(value)));
        goto done;
    }
done:
    free(stored);
    return status;
}

ds_status ds_shards_check(const ds_shards *shards, const ds_catalog *catalog) {
    json_t *map = json_object_get(shards->index, "weight_map");
    for (size_t i = 0; i < catalog->tensor_count; i++) {
        const ds_tensor *tensor = &catalog->tensors[i];
        const char *mapped = json_string_value(json_object_get(map, tensor->stored_name));
        if (mapped == NULL)
            return ds_fail(DS_ERR_INPUT, "%s: %s is stored in %s but not in weight_map", DS_SHOW(shards->path),
                           DS_SHOW(tensor->stored_name), DS_SHOW(tensor->file));
        if (strcmp(mapped, shards->names[tensor->file_index]) != 0)
            return ds_fail(DS_ERR_INPUT, "%s: weight_map says %s is in %s, found in %s", DS_SHOW(shards->path),
                           DS_SHOW(tensor->stored_name), DS_SHOW(mapped), DS_SHOW(shards->names[tensor->file_index]));
    }
    return check_mapped(shards, catalog, map);
}

void ds_shards_release(ds_shards *shards) {
    json_decref(shards->index);
    free(shards->path);
    free(shards->names);
    *shards = (ds_shards){0};
}
