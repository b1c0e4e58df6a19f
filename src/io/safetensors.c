/* safetensors: u64 header length, JSON header, then the tensors back to back (FORMATS: "safetensors"). Stricter than the
 * reference reader: duplicate names are refused, entries are objects, dimensions fit 63 bits. */
#include <stdlib.h>
#include <string.h>

#include "catalog.h"

/* A third of the reference's cap. The limit on the parsed tree (ds_json_parse) leaves room for 280,000 tensors. */
static const uint64_t header_limit = UINT64_C(32) << 20;
enum { LENGTH_BYTES = 8 };

static const struct {
    const char *name;
    unsigned bits;
    ds_dtype dtype;
} dtypes[] = {
    {"F32", 32, DS_DTYPE_F32},      {"F64", 64, DS_DTYPE_F64},          {"F16", 16, DS_DTYPE_F16},
    {"BF16", 16, DS_DTYPE_BF16},    {"BOOL", 8, DS_DTYPE_OTHER},        {"F4", 4, DS_DTYPE_OTHER},
    {"F6_E2M3", 6, DS_DTYPE_OTHER}, {"F6_E3M2", 6, DS_DTYPE_OTHER},     {"U8", 8, DS_DTYPE_OTHER},
    {"I8", 8, DS_DTYPE_OTHER},      {"F8_E5M2", 8, DS_DTYPE_OTHER},     {"F8_E4M3", 8, DS_DTYPE_OTHER},
    {"F8_E8M0", 8, DS_DTYPE_OTHER}, {"F8_E4M3FNUZ", 8, DS_DTYPE_OTHER}, {"F8_E5M2FNUZ", 8, DS_DTYPE_OTHER},
    {"I16", 16, DS_DTYPE_OTHER},    {"U16", 16, DS_DTYPE_OTHER},        {"I32", 32, DS_DTYPE_OTHER},
    {"U32", 32, DS_DTYPE_OTHER},    {"I64", 64, DS_DTYPE_OTHER},        {"U64", 64, DS_DTYPE_OTHER},
    {"C64", 64, DS_DTYPE_OTHER},
};
enum { DTYPE_COUNT = sizeof dtypes / sizeof *dtypes };

/* One header entry; begin and end count from the start of the data. */
typedef struct entry {
    ds_tensor tensor;
    size_t name_length;
    uint64_t begin, end;
} entry;

typedef unsigned long long ull;

static ds_status parse_dtype(entry *out, const json_t *fields, const char *path) {
    const json_t *value = json_object_get(fields, "dtype");
    const char *name = out->tensor.stored_name;
    if (value == NULL) return ds_fail(DS_ERR_INPUT, "%s: missing dtype for %s", DS_SHOW(path), DS_SHOW(name));
    if (!json_is_string(value)) return ds_fail(DS_ERR_INPUT, "%s: dtype of %s is not a string", DS_SHOW(path), DS_SHOW(name));
    for (size_t i = 0; i < DTYPE_COUNT; i++) {
        if (strcmp(json_string_value(value), dtypes[i].name) != 0) continue;
        out->tensor.dtype = dtypes[i].dtype;
        out->tensor.dtype_name = dtypes[i].name;
        return DS_OK;
    }
    return ds_fail(DS_ERR_INPUT, "%s: unknown dtype %s of %s", DS_SHOW(path), DS_SHOW(json_string_value(value)), DS_SHOW(name));
}

static ds_status parse_shape(entry *out, const json_t *fields, const char *path) {
    ds_tensor *tensor = &out->tensor;
    const json_t *value = json_object_get(fields, "shape");
    if (value == NULL) return ds_fail(DS_ERR_INPUT, "%s: missing shape for %s", DS_SHOW(path), DS_SHOW(tensor->stored_name));
    if (!json_is_array(value))
        return ds_fail(DS_ERR_INPUT, "%s: shape of %s is not a list", DS_SHOW(path), DS_SHOW(tensor->stored_name));
    tensor->rank = json_array_size(value);
    if (tensor->rank > DS_MAX_RANK)
        return ds_fail(DS_ERR_INPUT, "%s: too many dimensions: shape of %s has %zu, expected at most %d", DS_SHOW(path),
                       DS_SHOW(tensor->stored_name), tensor->rank, DS_MAX_RANK);
    uint64_t step = 1; /* product of the dimensions behind this one, empty ones counted as 1 */
    tensor->count = 1;
    for (size_t i = tensor->rank; i-- > 0;) {
        const json_t *item = json_array_get(value, i);
        if (!json_is_integer(item))
            return ds_fail(DS_ERR_INPUT, "%s: dimension %zu of %s is not an integer", DS_SHOW(path), i,
                           DS_SHOW(tensor->stored_name));
        json_int_t size = json_integer_value(item);
        if (size < 0)
            return ds_fail(DS_ERR_INPUT, "%s: negative dimension %zu of %s: %lld", DS_SHOW(path), i,
                           DS_SHOW(tensor->stored_name), (long long)size);
        tensor->shape[i] = (uint64_t)size;
        tensor->stride[i] = (int64_t)step;
        tensor->count *= (uint64_t)size; /* at most `step`, which is checked */
        if (!ds_mul_u64(step, size == 0 ? 1 : (uint64_t)size, &step) || step > INT64_MAX)
            return ds_fail(DS_ERR_INPUT, "%s: shape overflow: %s has 2^63 elements or more", DS_SHOW(path),
                           DS_SHOW(tensor->stored_name));
    }
    tensor->extent = tensor->count;
    return DS_OK;
}

static ds_status parse_offsets(entry *out, const json_t *fields, const char *path) {
    const json_t *value = json_object_get(fields, "data_offsets");
    const char *name = out->tensor.stored_name;
    if (value == NULL) return ds_fail(DS_ERR_INPUT, "%s: missing data_offsets for %s", DS_SHOW(path), DS_SHOW(name));
    const json_t *begin = json_array_get(value, 0), *end = json_array_get(value, 1);
    if (!json_is_array(value) || json_array_size(value) != 2 || !json_is_integer(begin) || !json_is_integer(end) ||
        json_integer_value(begin) < 0 || json_integer_value(end) < 0)
        return ds_fail(DS_ERR_INPUT, "%s: invalid data_offsets of %s: expected two non-negative integers", DS_SHOW(path),
                       DS_SHOW(name));
    out->begin = (uint64_t)json_integer_value(begin);
    out->end = (uint64_t)json_integer_value(end);
    if (out->end < out->begin)
        return ds_fail(DS_ERR_INPUT, "%s: invalid data_offsets of %s: begin %llu is beyond end %llu", DS_SHOW(path),
                       DS_SHOW(name), (ull)out->begin, (ull)out->end);
    return DS_OK;
}

/* The bytes the shape asks for are the bytes the offsets span. */
static ds_status check_size(const entry *item, const char *path) {
    const ds_tensor *tensor = &item->tensor;
    unsigned width = 0;
    for (size_t i = 0; i < DTYPE_COUNT; i++) {
        if (tensor->dtype_name == dtypes[i].name) width = dtypes[i].bits;
    }
    uint64_t bits, span = item->end - item->begin;
    if (!ds_mul_u64(tensor->count, width, &bits))
        return ds_fail(DS_ERR_INPUT, "%s: shape overflow: %s has %llu elements of %u bits", DS_SHOW(path),
                       DS_SHOW(tensor->stored_name), (ull)tensor->count, width);
    if (bits % 8 != 0)
        return ds_fail(DS_ERR_INPUT, "%s: %s is not a whole number of bytes: %llu bits of %s", DS_SHOW(path),
                       DS_SHOW(tensor->stored_name), (ull)bits, tensor->dtype_name);
    if (bits / 8 != span)
        return ds_fail(
            DS_ERR_INPUT, "%s: shape and data_offsets disagree for %s: %llu elements of %s take %llu bytes, found %llu",
            DS_SHOW(path), DS_SHOW(tensor->stored_name), (ull)tensor->count, tensor->dtype_name, (ull)(bits / 8), (ull)span);
    return DS_OK;
}

static ds_status parse_entry(entry *out, const char *name, size_t name_length, const json_t *fields, const char *path) {
    *out = (entry){.tensor = {.stored_name = name, .record = ""}, .name_length = name_length};
    if (!json_is_object(fields)) return ds_fail(DS_ERR_INPUT, "%s: entry of %s is not an object", DS_SHOW(path), DS_SHOW(name));
    ds_status status = parse_dtype(out, fields, path);
    if (status == DS_OK) status = parse_shape(out, fields, path);
    if (status == DS_OK) status = parse_offsets(out, fields, path);
    if (status == DS_OK) status = check_size(out, path);
    return status;
}

static ds_status check_metadata(json_t *metadata, const char *path) {
    if (json_is_null(metadata)) return DS_OK; /* as the reference reads it */
    if (!json_is_object(metadata)) return ds_fail(DS_ERR_INPUT, "%s: __metadata__ must be an object", DS_SHOW(path));
    const char *key;
    json_t *value;
    json_object_foreach(metadata, key, value) {
        if (!json_is_string(value))
            return ds_fail(DS_ERR_INPUT, "%s: __metadata__ values must be strings: \"%s\" is not", DS_SHOW(path), DS_SHOW(key));
    }
    return DS_OK;
}

static int by_range(const void *left, const void *right) {
    const entry *a = left, *b = right;
    if (a->begin != b->begin) return a->begin < b->begin ? -1 : 1;
    return a->end < b->end ? -1 : a->end > b->end;
}

/* Sorted by place, each tensor begins where the one before ends, and the last ends with the file. */
static ds_status check_cover(const entry *entries, size_t count, uint64_t data_bytes, const char *path) {
    uint64_t edge = 0;
    for (size_t i = 0; i < count; i++) {
        const char *name = entries[i].tensor.stored_name;
        if (entries[i].begin != edge)
            return ds_fail(DS_ERR_INPUT, "%s: %s data_offsets: %s begins at byte %llu of the data, expected %llu",
                           DS_SHOW(path), entries[i].begin < edge ? "overlapping" : "invalid", DS_SHOW(name),
                           (ull)entries[i].begin, (ull)edge);
        edge = entries[i].end;
        if (edge > data_bytes)
            return ds_fail(DS_ERR_INPUT, "%s: truncated: %s ends at byte %llu of the data, the file has %llu", DS_SHOW(path),
                           DS_SHOW(name), (ull)edge, (ull)data_bytes);
    }
    if (edge != data_bytes)
        return ds_fail(DS_ERR_INPUT,
                       "%s: file has bytes no tensor covers: tensors end at byte %llu of the data, the file has %llu",
                       DS_SHOW(path), (ull)edge, (ull)data_bytes);
    return DS_OK;
}

/* JSON knows "-0" and jansson drops its sign, but the reference takes no such integer. */
static bool has_negative_zero(const char *text, size_t length) {
    bool in_string = false;
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '"') in_string = !in_string;
        if (in_string && text[i] == '\\') i++;
        if (in_string || text[i] != '-' || i + 1 == length || text[i + 1] != '0') continue;
        if (i + 2 == length || strchr(".eE", text[i + 2]) == NULL) return true;
    }
    return false;
}

static ds_status list_header(ds_catalog *catalog, json_t *header, uint64_t data_begin, const ds_source *source,
                             size_t file_index) {
    ds_status status = DS_OK;
    entry *entries = NULL;
    size_t count = 0;
    const char *name;
    size_t name_length;
    json_t *fields;
    DS_NEW(entries, json_object_size(header));
    json_object_keylen_foreach(header, name, name_length, fields) {
        if (strcmp(name, "__metadata__") == 0) {
            DS_TRY(check_metadata(fields, source->path));
        } else {
            DS_TRY(parse_entry(&entries[count++], name, name_length, fields, source->path));
        }
    }
    if (count > 1) qsort(entries, count, sizeof *entries, by_range);
    DS_TRY(check_cover(entries, count, source->size - data_begin, source->path));
    for (size_t i = 0; i < count; i++) {
        entries[i].tensor.file_index = file_index;
        entries[i].tensor.offset = data_begin + entries[i].begin;
        DS_TRY(ds_catalog_add_tensor(catalog, &entries[i].tensor, entries[i].name_length));
    }
done:
    free(entries);
    return status;
}

ds_status ds_safetensors_list(ds_catalog *catalog, const ds_source *source, size_t file_index) {
    ds_status status = DS_OK;
    json_t *header = NULL;
    char *text = NULL;
    ds_text where = {0};
    uint8_t prefix[LENGTH_BYTES];
    if (source->size < LENGTH_BYTES)
        return ds_fail(DS_ERR_INPUT, "%s: file too small: %llu bytes, a safetensors file has at least %d",
                       DS_SHOW(source->path), (ull)source->size, LENGTH_BYTES);
    DS_TRY(ds_source_read(source, prefix, 0, sizeof prefix));
    uint64_t length = ds_load_u64le(prefix), room = source->size - LENGTH_BYTES;
    if (length > header_limit) {
        status = ds_fail(DS_ERR_INPUT, "%s: header too large, or not safetensors: %llu bytes, expected at most %llu",
                         DS_SHOW(source->path), (ull)length, (ull)header_limit);
        goto done;
    }
    if (length > room) {
        status = ds_fail(DS_ERR_INPUT, "%s: header length exceeds file: %llu bytes, %llu are left", DS_SHOW(source->path),
                         (ull)length, (ull)room);
        goto done;
    }
    DS_NEW_ARRAY(text, (size_t)length);
    DS_TRY(ds_source_read(source, text, LENGTH_BYTES, (size_t)length));
    DS_TRY(ds_text_printf(&where, "%s: header", source->path));
    DS_TRY(ds_json_parse(&header, text, (size_t)length, where.bytes));
    if (!json_is_object(header)) {
        status = ds_fail(DS_ERR_INPUT, "%s: header is not a JSON object", DS_SHOW(source->path));
        goto done;
    }
    if (has_negative_zero(text, (size_t)length)) {
        status = ds_fail(DS_ERR_INPUT, "%s: invalid JSON: \"-0\" in the header, expected integers without a sign",
                         DS_SHOW(source->path));
        goto done;
    }
    free(text); /* before the entries are built: a header of 32 MiB is not needed twice */
    text = NULL;
    DS_TRY(list_header(catalog, header, LENGTH_BYTES + length, source, file_index));
done:
    ds_text_release(&where);
    json_decref(header);
    free(text);
    return status;
}
