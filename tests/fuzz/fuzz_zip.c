/* The directory of a zip archive. Two readers agree: whatever this one accepts, libzip reads as the same entries with the same
 * bytes. */
#include <stdlib.h>
#include <string.h>
#include <zip.h>

#include "fuzz.h"
#include "io/zip_reader.h"

enum { LIMIT = 1 << 20 };

static void agrees_with_libzip(const ds_zip *zip, const uint8_t *data, size_t size) {
    zip_error_t error;
    zip_error_init(&error);
    zip_source_t *source = zip_source_buffer_create(data, size, 0, &error);
    zip_t *other = source == NULL ? NULL : zip_open_from_source(source, ZIP_RDONLY, &error);
    MUST(other != NULL);
    MUST((size_t)zip_get_num_entries(other, 0) == ds_zip_count(zip));
    for (size_t i = 0; i < ds_zip_count(zip); i++) {
        uint8_t *bytes = NULL;
        zip_stat_t info;
        const char *name = zip_get_name(other, i, ZIP_FL_ENC_RAW);
        MUST(name != NULL && strchr(name, '/') != NULL && zip_stat_index(other, i, 0, &info) == 0);
        const ds_zip_entry *entry = ds_zip_find(zip, strchr(name, '/') + 1);
        MUST(entry != NULL && entry->size == info.size);
        if (entry->size > LIMIT) continue;
        if (ds_zip_read(&bytes, zip, entry, LIMIT) != DS_OK) continue; /* its checksum is wrong */
        zip_file_t *file = zip_fopen_index(other, i, 0);
        uint8_t *copy = malloc((size_t)entry->size + 1);
        MUST(copy != NULL);
        /* libzip knows no checksum that was not computed: it may refuse a crc32 of 0 at the end, after giving the bytes */
        if (file != NULL && zip_fread(file, copy, entry->size) == (zip_int64_t)entry->size)
            MUST(memcmp(copy, bytes, (size_t)entry->size) == 0);
        if (file != NULL) (void)zip_fclose(file);
        free(copy);
        free(bytes);
    }
    zip_discard(other);
    zip_error_fini(&error);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    ds_source source;
    ds_zip *zip;
    MUST(ds_source_open(&source, relation_file("a.zip", data, size)) == DS_OK);
    ds_status status = ds_zip_open(&zip, &source);
    if (status != DS_OK) {
        refusal_is_a_sentence(status);
        MUST(zip == NULL);
    } else {
        uint64_t covered = 0;
        for (size_t i = 0; i < ds_zip_count(zip); i++) {
            const ds_zip_entry *entry = ds_zip_at(zip, i);
            MUST(entry->header < entry->offset && entry->offset <= size && entry->size <= size - entry->offset);
            MUST(ds_zip_find(zip, entry->name) == entry);
            covered += entry->size;
        }
        MUST(covered < size);
        agrees_with_libzip(zip, data, size);
    }
    ds_zip_close(&zip);
    ds_source_close(&source);
    return 0;
}
