/* Checkpoints as torch.save writes them: a zip archive with a pickle that describes tensors, and one record per storage. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "catalog.h"
#include "pickle.h"
#include "torch_state.h"
#include "zip_reader.h"

/* One archive being listed. */
typedef struct torch_archive {
    const ds_source *source;
    size_t file_index;
    ds_zip *zip;
    uint8_t *bytes; /* of data.pkl */
    ds_pickle *pickle;
    const ds_zip_entry **records; /* (storages) where each storage of the pickle lies */
} torch_archive;

/* ---- what the file is -------------------------------------------------------------------------------------------- */

/* Says what a file that does not begin like a zip archive seems to be. */
static ds_status refuse_format(const ds_source *source, const uint8_t *front, size_t count) {
    /* PROTO 2, LONG1 of 10 bytes: 0x1950a86a20f9469cfc6c */
    static const uint8_t legacy[] = {0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19};
    enum { TAR_MAGIC = 257 };
    const char *what = "not a PyTorch file: it does not start with a zip local header";
    if (count == 0) {
        what = "not a checkpoint: the file is empty";
    } else if (count >= 4 && memcmp(front, "PK\5\6", 4) == 0) {
        what = "not a checkpoint: the archive has no entries";
    } else if (count >= sizeof legacy && memcmp(front, legacy, sizeof legacy) == 0) {
        what = "PyTorch's legacy format (before 1.6) is not supported; load it and torch.save it again with a newer version";
    } else if (count >= TAR_MAGIC + 5 && memcmp(front + TAR_MAGIC, "ustar", 5) == 0) {
        what = "PyTorch's legacy tar format is not supported; load it and torch.save it again with a newer version";
    } else if (front[0] == 0x80) {
        what = "not a PyTorch file: a bare pickle, or PyTorch's legacy format; expected a zip archive of torch.save";
    }
    return ds_fail(DS_ERR_INPUT, "%s: %s", DS_SHOW(source->path), what);
}

static ds_status check_front(const ds_source *source) {
    uint8_t front[512];
    size_t count = source->size < sizeof front ? (size_t)source->size : sizeof front;
    ds_status status = ds_source_read(source, front, 0, count);
    if (status != DS_OK) return status;
    return count >= 4 && memcmp(front, "PK\3\4", 4) == 0 ? DS_OK : refuse_format(source, front, count);
}

/* ---- small records ----------------------------------------------------------------------------------------------- */

static ds_status refuse(const torch_archive *archive, const char *sentence) {
    return ds_fail(DS_ERR_INPUT, "%s: %s", DS_SHOW(archive->source->path), sentence);
}

/* An integer from 1 to 10, perhaps with a newline. */
static ds_status check_version(const torch_archive *archive, const ds_zip_entry *entry) {
    enum { NEWEST = 10, LONGEST = 20 };
    uint8_t *text = NULL;
    ds_status status = ds_zip_read(&text, archive->zip, entry, LONGEST);
    if (status != DS_OK) return status;
    size_t length = (size_t)entry->size, digits = 0;
    uint64_t version = 0;
    while (digits < length && text[digits] >= '0' && text[digits] <= '9') {
        version = ds_min_size(version * 10 + (uint64_t)(text[digits] - '0'), 1000000);
        digits++;
    }
    bool number = digits > 0 && (digits == length || (digits + 1 == length && text[digits] == '\n'));
    if (!number)
        status = ds_fail(DS_ERR_INPUT, "%s: bad version \"%s\", expected an integer", DS_SHOW(archive->source->path),
                         ds_escape((const char *)text, length).text);
    else if (version < 1 || version > NEWEST)
        status = ds_fail(DS_ERR_INPUT, "%s: unsupported version %" PRIu64 ", expected 1 to %d", DS_SHOW(archive->source->path),
                         version, NEWEST);
    free(text);
    return status;
}

static ds_status check_byteorder(const torch_archive *archive) {
    const ds_zip_entry *entry = ds_zip_find(archive->zip, "byteorder");
    if (entry == NULL) return DS_OK; /* older versions do not say, and mean little */
    uint8_t *text = NULL;
    ds_status status = ds_zip_read(&text, archive->zip, entry, 16);
    if (status != DS_OK) return status;
    if (entry->size != 6 || memcmp(text, "little", 6) != 0)
        status = ds_fail(DS_ERR_INPUT, "%s: byteorder \"%s\" is not supported, expected \"little\"",
                         DS_SHOW(archive->source->path), ds_escape((const char *)text, (size_t)entry->size).text);
    free(text);
    return status;
}

static ds_status check_records(const torch_archive *archive) {
    ds_status status = DS_OK;
    const ds_zip_entry *versions[] = {ds_zip_find(archive->zip, "version"), ds_zip_find(archive->zip, ".data/version")};
    if (ds_zip_find(archive->zip, "constants.pkl") != NULL)
        return refuse(archive, "a TorchScript archive, expected the state dict of a checkpoint");
    if (ds_zip_find(archive->zip, "data.pkl") == NULL) return refuse(archive, "missing data.pkl");
    if (versions[0] == NULL && versions[1] == NULL) return refuse(archive, "missing version record");
    for (size_t i = 0; i < 2; i++) {
        if (versions[i] != NULL) DS_TRY(check_version(archive, versions[i]));
    }
    DS_TRY(check_byteorder(archive));
done:
    return status;
}

/* What Python loads may still be more than a reader that runs nothing takes. */
static ds_status tell_the_way_out(void) {
    char sentence[2048];
    (void)snprintf(sentence, sizeof sentence, "%s", ds_error_text());
    return ds_fail(DS_ERR_INPUT,
                   "%s; where you trust the file, load it in Python and save the weights alone: "
                   "torch.save(checkpoint[\"model\"], \"weights.pt\")",
                   sentence);
}

static ds_status read_pickle(torch_archive *archive) {
    const ds_zip_entry *entry = ds_zip_find(archive->zip, "data.pkl");
    ds_status status = ds_zip_read(&archive->bytes, archive->zip, entry, DS_PICKLE_LIMIT);
    if (status != DS_OK) return status;
    ds_text where = {0};
    status = ds_text_printf(&where, "%s: data.pkl", DS_SHOW(archive->source->path));
    if (status == DS_OK)
        status = ds_pickle_parse(&archive->pickle, archive->bytes, (size_t)entry->size, DS_PICKLE_TORCH, where.bytes);
    ds_text_release(&where);
    return status == DS_ERR_INPUT ? tell_the_way_out() : status;
}

/* ---- storages ---------------------------------------------------------------------------------------------------- */

static int by_key(const void *a, const void *b, void *context) {
    const ds_pickle_storage *x = ds_pickle_storage_at(context, *(const uint32_t *)a);
    const ds_pickle_storage *y = ds_pickle_storage_at(context, *(const uint32_t *)b);
    int order = memcmp(x->key, y->key, ds_min_size(x->key_length, y->key_length));
    return order != 0 ? order : (x->key_length > y->key_length) - (x->key_length < y->key_length);
}

/* The record of a storage, which must be exactly as long as the pickle says. */
static ds_status find_record(const torch_archive *archive, const ds_zip_entry **out, const ds_pickle_storage *storage) {
    char name[96]; /* keys have at most 64 bytes */
    (void)snprintf(name, sizeof name, "data/%.*s", (int)storage->key_length, storage->key);
    *out = ds_zip_find(archive->zip, name);
    if (*out == NULL) return ds_fail(DS_ERR_INPUT, "%s: missing entry %s", DS_SHOW(archive->source->path), name);
    uint64_t expected = storage->count * storage->dtype->size;
    if ((*out)->size == expected) return DS_OK;
    return ds_fail(DS_ERR_INPUT,
                   "%s: storage size of %s: the record has %" PRIu64 " bytes, the pickle says %" PRIu64 " (%" PRIu64 " x %s)",
                   DS_SHOW(archive->source->path), name, (*out)->size, expected, storage->count, storage->dtype->name);
}

/* Every storage of the pickle, also of tensors beside the state, must agree with all its mentions and with its record. */
static ds_status match_storages(torch_archive *archive) {
    ds_status status = DS_OK;
    size_t count = ds_pickle_storages(archive->pickle);
    uint32_t *order = NULL;
    DS_NEW(order, count);
    DS_NEW(archive->records, count);
    for (size_t i = 0; i < count; i++) order[i] = (uint32_t)i;
    qsort_r(order, count, sizeof *order, by_key, archive->pickle);
    for (size_t i = 0; i < count; i++) {
        const ds_pickle_storage *storage = ds_pickle_storage_at(archive->pickle, order[i]);
        if (i == 0 || by_key(&order[i - 1], &order[i], archive->pickle) != 0) {
            DS_TRY(find_record(archive, &archive->records[order[i]], storage));
            continue;
        }
        const ds_pickle_storage *before = ds_pickle_storage_at(archive->pickle, order[i - 1]);
        archive->records[order[i]] = archive->records[order[i - 1]];
        if (before->dtype == storage->dtype && before->count == storage->count) continue;
        status = ds_fail(DS_ERR_INPUT, "%s: storage %.*s declared with two %s: %" PRIu64 " x %s and %" PRIu64 " x %s",
                         DS_SHOW(archive->source->path), (int)storage->key_length, storage->key,
                         before->dtype == storage->dtype ? "sizes" : "types", before->count, before->dtype->name,
                         storage->count, storage->dtype->name);
        goto done;
    }
done:
    free(order);
    return status;
}

/* ---- tensors ----------------------------------------------------------------------------------------------------- */

static uint64_t extent_at(const torch_archive *archive, ds_value tuple, size_t index) {
    int64_t value = 0;
    bool integer = ds_value_int(&value, archive->pickle, ds_value_item(archive->pickle, tuple, index));
    return integer ? (uint64_t)value : 0; /* the machine has checked: integers >= 0 */
}

/* Counts the elements, and those from the first to the last addressed one; false when a number does not fit in 63 bits. */
static bool measure(const torch_archive *archive, const ds_pickle_tensor *tensor, uint64_t *count, uint64_t *extent) {
    size_t rank = ds_value_count(archive->pickle, tensor->size);
    uint64_t elements = 1, last = 0;
    bool fits = true;
    for (size_t i = 0; i < rank; i++) {
        if (extent_at(archive, tensor->size, i) == 0) {
            *count = *extent = 0;
            return true;
        }
    }
    for (size_t i = 0; i < rank && fits; i++) {
        uint64_t size = extent_at(archive, tensor->size, i), step = 0;
        fits = ds_mul_u64(elements, size, &elements) && ds_mul_u64(size - 1, extent_at(archive, tensor->stride, i), &step) &&
               ds_add_u64(last, step, &last) && elements <= INT64_MAX && last < INT64_MAX;
    }
    *count = elements;
    *extent = last + 1;
    return fits;
}

/* Element [0, ..., 0] is `offset` elements into the storage; the last one addressed must lie within it too. */
static ds_status check_tensor(const torch_archive *archive, const ds_pickle_tensor *tensor, const char *name, uint64_t *count,
                              uint64_t *extent) {
    const ds_pickle_storage *storage = ds_pickle_storage_at(archive->pickle, tensor->storage);
    uint64_t available = storage->count * storage->dtype->size / tensor->dtype->size;
    bool fits = measure(archive, tensor, count, extent);
    if (fits && tensor->offset <= available && *extent <= available - tensor->offset) return DS_OK;
    return ds_fail(DS_ERR_INPUT,
                   "%s: %s lies outside its storage data/%.*s: it begins at element %" PRIu64 " and %s%" PRIu64
                   " elements, of %" PRIu64,
                   DS_SHOW(archive->source->path), name, (int)storage->key_length, storage->key, tensor->offset,
                   fits ? "spans " : "spans more than ", fits ? *extent : (uint64_t)INT64_MAX, available);
}

static ds_status add_tensor(const torch_archive *archive, ds_catalog *catalog, const ds_pickle_tensor *source, ds_text *name) {
    ds_name shown = ds_escape(name->bytes, name->length);
    const ds_zip_entry *record = archive->records[source->storage];
    ds_tensor tensor = {.stored_name = name->bytes,
                        .file = archive->source->path,
                        .record = record->name,
                        .dtype_name = source->dtype->name,
                        .dtype = source->dtype->dtype,
                        .rank = ds_value_count(archive->pickle, source->size),
                        .file_index = archive->file_index};
    if (tensor.rank > DS_MAX_RANK)
        return ds_fail(DS_ERR_INPUT, "%s: %s has %zu dimensions, expected at most %d", DS_SHOW(archive->source->path),
                       shown.text, tensor.rank, DS_MAX_RANK);
    ds_status status = check_tensor(archive, source, shown.text, &tensor.count, &tensor.extent);
    if (status != DS_OK) return status;
    for (size_t i = 0; i < tensor.rank; i++) {
        tensor.shape[i] = extent_at(archive, source->size, i);
        tensor.stride[i] = (int64_t)extent_at(archive, source->stride, i);
    }
    tensor.offset = record->offset + source->offset * source->dtype->size; /* within the record, just checked */
    return ds_catalog_add_tensor(catalog, &tensor, name->length);
}

/* Tensors beside the state are held to the same rules, so that a file is consistent or refused; nothing is made of them. */
static ds_status check_tensors(const torch_archive *archive) {
    for (size_t i = 0; i < ds_pickle_tensors(archive->pickle); i++) {
        uint64_t count, extent;
        ds_status status = check_tensor(archive, ds_pickle_tensor_at(archive->pickle, i), "a tensor", &count, &extent);
        if (status != DS_OK) return status;
    }
    return DS_OK;
}

/* ---- the state dict ---------------------------------------------------------------------------------------------- */

static ds_status add_state(const torch_archive *archive, ds_catalog *catalog, ds_value state) {
    ds_status status = DS_OK;
    const ds_pickle *pickle = archive->pickle;
    ds_text name = {0}; /* the catalog wants a NUL behind it */
    for (size_t i = 0; i < ds_value_count(pickle, state); i++) {
        const char *key = NULL;
        size_t length = 0, index = 0;
        ds_value value = ds_value_at(pickle, state, i);
        if (!ds_value_string(&key, &length, pickle, ds_value_key(pickle, state, i))) {
            status = ds_fail(DS_ERR_INPUT, "%s: a key of the state dict is not a string but %s", DS_SHOW(archive->source->path),
                             ds_value_describe(pickle, ds_value_key(pickle, state, i)));
            goto done;
        }
        if (!ds_value_tensor(&index, pickle, value)) {
            status = ds_fail(DS_ERR_INPUT, "%s: %s is not a tensor but %s", DS_SHOW(archive->source->path),
                             ds_escape(key, length).text, ds_value_describe(pickle, value));
            goto done;
        }
        name.length = 0;
        DS_TRY(ds_text_append(&name, key, length));
        DS_TRY(add_tensor(archive, catalog, ds_pickle_tensor_at(pickle, index), &name));
    }
done:
    ds_text_release(&name);
    return status;
}

static ds_status add_records(const torch_archive *archive, ds_catalog *catalog) {
    for (size_t i = 0; i < ds_zip_count(archive->zip); i++) {
        const ds_zip_entry *entry = ds_zip_at(archive->zip, i);
        if (entry->crc32 == 0) continue; /* not computed, or nothing to check */
        ds_record record = {entry->name, archive->file_index, entry->offset, entry->size, entry->crc32};
        ds_status status = ds_catalog_add_record(catalog, &record);
        if (status != DS_OK) return status;
    }
    return DS_OK;
}

ds_status ds_torch_list(ds_catalog *catalog, const ds_source *source, size_t file_index) {
    ds_status status = DS_OK;
    torch_archive archive = {.source = source, .file_index = file_index};
    ds_value state = 0;
    DS_TRY(check_front(source));
    DS_TRY(ds_zip_open(&archive.zip, source));
    DS_TRY(check_records(&archive));
    DS_TRY(read_pickle(&archive));
    DS_TRY(ds_torch_state(&state, archive.pickle, catalog->wanted_state, source->path));
    if (catalog->configurations == NULL) DS_TRY(ds_torch_configurations(&catalog->configurations, archive.pickle));
    DS_TRY(match_storages(&archive));
    DS_TRY(add_state(&archive, catalog, state));
    DS_TRY(check_tensors(&archive));
    DS_TRY(add_records(&archive, catalog));
done:
    free(archive.records);
    ds_pickle_free(&archive.pickle);
    free(archive.bytes);
    ds_zip_close(&archive.zip);
    return status;
}
