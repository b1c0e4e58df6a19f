#include "zip_reader.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum {
    LOCAL_BYTES = 30,
    CENTRAL_BYTES = 46,
    END_BYTES = 22,
    LOCATOR_BYTES = 20,
    END64_BYTES = 56,
    FLAG_DESCRIPTOR = 1 << 3,
    FLAG_UTF8 = 1 << 11,
    METHOD_DEFLATE = 8,
    ZIP64_FIELD = 1,
    UNICODE_PATH_FIELD = 0x7075, /* another name, which other readers prefer */
    UNIX_KIND = 0170000,         /* of the file mode in the upper half of the external attributes */
    UNIX_REGULAR = 0100000,
};
static const uint32_t LOCAL = 0x04034b50, CENTRAL = 0x02014b50, END = 0x06054b50, LOCATOR = 0x07064b50, END64 = 0x06064b50,
                      DESCRIPTOR = 0x08074b50, MASKED = UINT32_MAX;
/* Room for 1,000,000 entries with names of 200 bytes. */
static const uint64_t DIRECTORY_LIMIT = (uint64_t)256 << 20;

struct ds_zip {
    const ds_source *source;
    char *directory; /* as read; parsing moves the names to its front, each with a NUL */
    ds_zip_entry *entries;
    size_t count;
    size_t top; /* bytes of the folder and its slash at the front of every name */
    uint64_t directory_offset, directory_size;
};

/* "FILE: entry NAME: sentence"; no entry when it is NULL. */
static ds_status refuse(const ds_zip *zip, const ds_zip_entry *entry, const char *format, ...) DS_PRINTF(3, 4);
static ds_status refuse(const ds_zip *zip, const ds_zip_entry *entry, const char *format, ...) {
    char sentence[1024];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    if (entry == NULL) return ds_fail(DS_ERR_INPUT, "%s: %s", DS_SHOW(zip->source->path), sentence);
    return ds_fail(DS_ERR_INPUT, "%s: entry %s: %s", DS_SHOW(zip->source->path), DS_SHOW(entry->name), sentence);
}

/* ---- end records ------------------------------------------------------------------------------------------------- */

/* zip64: the locator right before the end record, the zip64 end record right before the locator. *records moves to it. */
static ds_status read_end64(ds_zip *zip, uint64_t *count, uint64_t *records) {
    ds_status status = DS_OK;
    uint8_t bytes[END64_BYTES + LOCATOR_BYTES];
    uint64_t end = *records;
    bool masked = *count == UINT16_MAX || zip->directory_size == MASKED || zip->directory_offset == MASKED;
    if (end < sizeof bytes) {
        if (masked) return refuse(zip, NULL, "zip64 values without a zip64 end record");
        return DS_OK;
    }
    DS_TRY(ds_source_read(zip->source, bytes, end - sizeof bytes, sizeof bytes));
    const uint8_t *record = bytes, *locator = bytes + END64_BYTES;
    if (ds_load_u32le(locator) != LOCATOR) {
        if (masked) status = refuse(zip, NULL, "zip64 values without a zip64 end record");
        goto done;
    }
    *records = end - sizeof bytes;
    if (ds_load_u64le(locator + 8) != *records || ds_load_u32le(record) != END64 ||
        ds_load_u64le(record + 4) != END64_BYTES - 12)
        return refuse(zip, NULL, "bad zip64 end record: located at %" PRIu64 ", expected a record of %d bytes at %" PRIu64,
                      ds_load_u64le(locator + 8), END64_BYTES, *records);
    if (ds_load_u32le(locator + 4) != 0 || ds_load_u32le(locator + 16) > 1 || ds_load_u32le(record + 16) != 0 ||
        ds_load_u32le(record + 20) != 0)
        return refuse(zip, NULL, "multi-disk archives are not supported");
    uint64_t count64 = ds_load_u64le(record + 32), size64 = ds_load_u64le(record + 40), offset64 = ds_load_u64le(record + 48);
    if (ds_load_u64le(record + 24) != count64 || (*count != UINT16_MAX && *count != count64) ||
        (zip->directory_size != MASKED && zip->directory_size != size64) ||
        (zip->directory_offset != MASKED && zip->directory_offset != offset64))
        return refuse(zip, NULL,
                      "the end records disagree: zip64 says %" PRIu64 " entries, %" PRIu64 " bytes at %" PRIu64
                      "; plain says %" PRIu64 ", %" PRIu64 " at %" PRIu64,
                      count64, size64, offset64, *count, zip->directory_size, zip->directory_offset);
    *count = count64;
    zip->directory_size = size64;
    zip->directory_offset = offset64;
done:
    return status;
}

static ds_status read_end(ds_zip *zip) {
    ds_status status = DS_OK;
    uint8_t bytes[END_BYTES];
    uint64_t size = zip->source->size;
    if (size < END_BYTES) return refuse(zip, NULL, "no end of central directory: the file has %" PRIu64 " bytes", size);
    DS_TRY(ds_source_read(zip->source, bytes, size - END_BYTES, END_BYTES));
    if (ds_load_u32le(bytes) != END)
        return refuse(zip, NULL,
                      "no end of central directory in the last %d bytes: the file is truncated, or there are bytes "
                      "after the end record, or an archive comment",
                      END_BYTES);
    if (ds_load_u16le(bytes + 20) != 0)
        return refuse(zip, NULL, "ambiguous end of central directory: it announces a comment of %u bytes",
                      ds_load_u16le(bytes + 20));
    if (ds_load_u16le(bytes + 4) != 0 || ds_load_u16le(bytes + 6) != 0)
        return refuse(zip, NULL, "multi-disk archives are not supported");
    uint64_t count = ds_load_u16le(bytes + 10), records = size - END_BYTES;
    if (ds_load_u16le(bytes + 8) != count)
        return refuse(zip, NULL, "multi-disk archives are not supported: %u entries on this disk, %" PRIu64 " in all",
                      ds_load_u16le(bytes + 8), count);
    zip->directory_size = ds_load_u32le(bytes + 12);
    zip->directory_offset = ds_load_u32le(bytes + 16);
    DS_TRY(read_end64(zip, &count, &records));
    if (zip->directory_offset > records || zip->directory_size > records - zip->directory_offset)
        return refuse(zip, NULL,
                      "central directory outside the file: %" PRIu64 " bytes at %" PRIu64 ", the end records are at %" PRIu64,
                      zip->directory_size, zip->directory_offset, records);
    if (zip->directory_size != records - zip->directory_offset)
        return refuse(zip, NULL,
                      "ambiguous central directory: its size is %" PRIu64 ", expected %" PRIu64
                      ": it must end where the end records begin, without a comment or anything else between",
                      zip->directory_size, records - zip->directory_offset);
    if (count == 0) return refuse(zip, NULL, "the archive has no entries");
    if (count > DS_ZIP_ENTRY_LIMIT || zip->directory_size > DIRECTORY_LIMIT)
        return refuse(zip, NULL, "a directory of %" PRIu64 " entries in %" PRIu64 " bytes, expected at most %d in %" PRIu64,
                      count, zip->directory_size, DS_ZIP_ENTRY_LIMIT, DIRECTORY_LIMIT);
    if (count * CENTRAL_BYTES > zip->directory_size)
        return refuse(zip, NULL, "central directory truncated: %" PRIu64 " entries cannot fit in %" PRIu64 " bytes", count,
                      zip->directory_size);
    zip->count = (size_t)count;
done:
    return status;
}

/* ---- directory --------------------------------------------------------------------------------------------------- */

/* Well-formed UTF-8 in non-empty parts, none of which climbs or could be cut short by a C string. */
static bool is_plain_name(const char *name, size_t length) {
    if (length == 0 || length > DS_ZIP_NAME_LIMIT || !ds_is_utf8(name, length) || memchr(name, '\0', length) != NULL ||
        memchr(name, '\\', length) != NULL)
        return false;
    for (size_t start = 0; start <= length;) {
        const char *slash = start == length ? NULL : memchr(name + start, '/', length - start);
        size_t part = slash == NULL ? length - start : (size_t)(slash - name) - start;
        if (part == 0 || (part == 1 && name[start] == '.') || (part == 2 && name[start] == '.' && name[start + 1] == '.'))
            return false;
        start += part + 1;
    }
    return true;
}

/* Replaces the masked ones of `count` values by those of the zip64 field, which must hold exactly these. */
static bool take_zip64(ds_cursor extra, uint64_t *const *values, size_t count) {
    bool seen = false;
    size_t masked = 0;
    for (size_t i = 0; i < count; i++) masked += *values[i] == MASKED;
    while (extra.left > 0) {
        uint16_t id, size;
        ds_cursor field = {0};
        if (!ds_take_u16le(&extra, &id) || !ds_take_u16le(&extra, &size) || !ds_take_bytes(&extra, size, &field.at))
            return false;
        if (id != ZIP64_FIELD) continue;
        field.left = size;
        if (seen) return false;
        seen = true;
        for (size_t i = 0; i < count; i++) {
            if (*values[i] == MASKED && !ds_take_u64le(&field, values[i])) return false;
        }
        if (field.left != 0) return false;
    }
    return seen || masked == 0;
}

/* Whether a field of this kind is present. */
static bool has_field(ds_cursor extra, uint16_t wanted) {
    uint16_t id, size;
    const uint8_t *bytes;
    while (ds_take_u16le(&extra, &id) && ds_take_u16le(&extra, &size) && ds_take_bytes(&extra, size, &bytes)) {
        if (id == wanted) return true;
    }
    return false;
}

static ds_status check_method(const ds_zip *zip, const ds_zip_entry *entry, uint64_t stored, uint16_t method) {
    if (method == METHOD_DEFLATE) return refuse(zip, entry, "compressed entry (deflate); torch.save never compresses");
    if (method != 0) return refuse(zip, entry, "unsupported compression method %u; torch.save never compresses", method);
    if ((entry->flags & ~(FLAG_DESCRIPTOR | FLAG_UTF8)) != 0)
        return refuse(zip, entry, "unsupported entry flags 0x%04X (encrypted, patched or masked)", entry->flags);
    if (stored != entry->size)
        return refuse(zip, entry, "%" PRIu64 " bytes stored for %" PRIu64 ", but it is not compressed", stored, entry->size);
    return DS_OK;
}

/* One central header; its name is moved to `names`, which may overwrite the header itself. */
static ds_status parse_central(ds_zip *zip, ds_zip_entry *entry, ds_cursor *cursor, char *names, size_t *length) {
    const uint8_t *header, *name;
    ds_cursor extra = {0};
    size_t number = (size_t)(entry - zip->entries) + 1;
    if (!ds_take_bytes(cursor, CENTRAL_BYTES, &header) || ds_load_u32le(header) != CENTRAL)
        return refuse(zip, NULL, "central directory truncated: entry %zu of %zu has no header", number, zip->count);
    *length = ds_load_u16le(header + 28);
    extra.left = ds_load_u16le(header + 30);
    if (!ds_take_bytes(cursor, *length, &name) || !ds_take_bytes(cursor, extra.left, &extra.at))
        return refuse(zip, NULL, "central directory truncated in entry %zu of %zu", number, zip->count);
    if (!is_plain_name((const char *)name, *length))
        return refuse(zip, NULL, "bad entry name \"%s\"", ds_escape((const char *)name, *length).text);
    uint16_t method = ds_load_u16le(header + 10), comment = ds_load_u16le(header + 32), disk = ds_load_u16le(header + 34);
    uint32_t kind = ds_load_u32le(header + 38) >> 16 & UNIX_KIND;
    uint64_t stored = ds_load_u32le(header + 20);
    *entry = (ds_zip_entry){.name = names,
                            .header = ds_load_u32le(header + 42),
                            .size = ds_load_u32le(header + 24),
                            .crc32 = ds_load_u32le(header + 16),
                            .flags = ds_load_u16le(header + 8)};
    memmove(names, name, *length);
    names[*length] = '\0';
    uint64_t *const values[] = {&entry->size, &stored, &entry->header};
    if (!take_zip64(extra, values, 3)) return refuse(zip, entry, "bad zip64 field");
    if (has_field(extra, UNICODE_PATH_FIELD)) return refuse(zip, entry, "a second name (Unicode path field), expected one");
    if (kind != 0 && kind != UNIX_REGULAR) return refuse(zip, entry, "not a regular file but a link, folder or device");
    if (comment != 0) return refuse(zip, entry, "a comment of %u bytes, expected none", comment);
    if (disk != 0) return refuse(zip, entry, "on disk %u; multi-disk archives are not supported", disk);
    return check_method(zip, entry, stored, method);
}

static ds_status read_directory(ds_zip *zip) {
    ds_status status = DS_OK;
    size_t size = (size_t)zip->directory_size;
    DS_NEW(zip->directory, size);
    DS_NEW(zip->entries, zip->count);
    DS_TRY(ds_source_read(zip->source, zip->directory, zip->directory_offset, size));
    ds_cursor cursor = {(const uint8_t *)zip->directory, size};
    char *names = zip->directory; /* a name and its NUL always fit where its header was */
    for (size_t i = 0; i < zip->count; i++) {
        size_t length = 0;
        DS_TRY(parse_central(zip, &zip->entries[i], &cursor, names, &length));
        names += length + 1;
    }
    if (cursor.left != 0)
        return refuse(zip, NULL, "central directory size: %zu bytes are left after its %zu entries", cursor.left, zip->count);
done:
    return status;
}

/* ---- local headers ----------------------------------------------------------------------------------------------- */

static int by_position(const void *a, const void *b) {
    const ds_zip_entry *x = a, *y = b;
    return (x->header > y->header) - (x->header < y->header);
}

/* The header and the name lie before the directory. */
static ds_status check_position(const ds_zip *zip, const ds_zip_entry *entry) {
    uint64_t room = zip->directory_offset;
    if (entry->header >= zip->source->size || entry->size > zip->source->size)
        return refuse(zip, entry, "entry outside the file: its header is at %" PRIu64 ", its data has %" PRIu64 " bytes",
                      entry->header, entry->size);
    if (entry->header > room || room - entry->header < LOCAL_BYTES + strlen(entry->name))
        return refuse(zip, entry, "bad local header: at %" PRIu64 ", where the central directory is", entry->header);
    return DS_OK;
}

/* Sets entry->offset. The local header may leave its checksum and sizes to the descriptor. */
static ds_status check_local(const ds_zip *zip, ds_zip_entry *entry) {
    ds_status status = DS_OK;
    uint8_t bytes[LOCAL_BYTES + DS_ZIP_NAME_LIMIT], *extra = NULL;
    size_t length = strlen(entry->name);
    uint64_t room = zip->directory_offset;
    DS_TRY(ds_source_read(zip->source, bytes, entry->header, LOCAL_BYTES + length));
    if (ds_load_u32le(bytes) != LOCAL) return refuse(zip, entry, "bad local header at %" PRIu64, entry->header);
    if (ds_load_u16le(bytes + 26) != length || memcmp(bytes + LOCAL_BYTES, entry->name, length) != 0)
        return refuse(zip, entry, "local and central headers disagree: the local name is \"%s\"",
                      ds_escape((char *)bytes + LOCAL_BYTES, ds_min_size(ds_load_u16le(bytes + 26), length)).text);
    if (ds_load_u16le(bytes + 6) != entry->flags || ds_load_u16le(bytes + 8) != 0)
        return refuse(zip, entry, "local and central headers disagree in flags or compression method");
    size_t extra_length = ds_load_u16le(bytes + 28);
    entry->offset = entry->header + LOCAL_BYTES + length + extra_length;
    if (entry->offset > room || entry->size > room - entry->offset)
        return refuse(zip, entry,
                      "entry data outside the file: %" PRIu64 " bytes at %" PRIu64 ", the central directory is at %" PRIu64,
                      entry->size, entry->offset, room);
    uint64_t stored = ds_load_u32le(bytes + 18), size = ds_load_u32le(bytes + 22);
    if (stored == MASKED || size == MASKED) {
        uint64_t *const values[] = {&size, &stored};
        DS_NEW(extra, extra_length);
        DS_TRY(ds_source_read(zip->source, extra, entry->offset - extra_length, extra_length));
        if (!take_zip64((ds_cursor){extra, extra_length}, values, 2)) {
            status = refuse(zip, entry, "bad zip64 field in the local header");
            goto done;
        }
    }
    bool deferred = (entry->flags & FLAG_DESCRIPTOR) != 0;
    uint32_t crc = ds_load_u32le(bytes + 14);
    if ((crc != entry->crc32 && !(deferred && crc == 0)) || (size != entry->size && !(deferred && size == 0)) ||
        (stored != entry->size && !(deferred && stored == 0)))
        status = refuse(zip, entry,
                        "local and central headers disagree: crc32 %08X and %" PRIu64 " bytes, expected %08X and %" PRIu64, crc,
                        size, entry->crc32, entry->size);
done:
    free(extra);
    return status;
}

/* What lies between the data of an entry and the next header: nothing, or the descriptor, with or without its signature,
 * with sizes of 32 or 64 bits. */
static ds_status check_gap(const ds_zip *zip, const ds_zip_entry *entry, uint64_t next) {
    uint64_t end = entry->offset + entry->size;
    if (next < end)
        return refuse(zip, entry, "overlapping entries: its data ends at %" PRIu64 ", what follows begins at %" PRIu64, end,
                      next);
    uint64_t gap = next - end;
    if ((entry->flags & FLAG_DESCRIPTOR) == 0) {
        if (gap == 0) return DS_OK;
        return refuse(zip, entry, "%" PRIu64 " bytes after its data belong to no entry", gap);
    }
    if (gap == 0 && entry->size == 0) return DS_OK; /* the header has said it all */
    if (gap != 12 && gap != 16 && gap != 20 && gap != 24)
        return refuse(zip, entry, "%" PRIu64 " bytes after its data, expected a data descriptor and no unreferenced bytes",
                      gap);
    uint8_t bytes[24];
    ds_status status = ds_source_read(zip->source, bytes, end, (size_t)gap);
    if (status != DS_OK) return status;
    const uint8_t *at = bytes;
    bool matches = true;
    if (gap % 8 == 0) {
        matches = ds_load_u32le(at) == DESCRIPTOR;
        at += 4;
    }
    matches = matches && ds_load_u32le(at) == entry->crc32;
    for (size_t i = 0; i < 2; i++) {
        uint64_t size = gap < 20 ? ds_load_u32le(at + 4 + 4 * i) : ds_load_u64le(at + 4 + 8 * i);
        matches = matches && (size == entry->size || (gap < 20 && size == MASKED)); /* masked: the zip64 field says it */
    }
    return matches ? DS_OK : refuse(zip, entry, "the data descriptor and the central header disagree");
}

static ds_status check_layout(ds_zip *zip) {
    qsort(zip->entries, zip->count, sizeof *zip->entries, by_position);
    if (zip->entries[0].header != 0)
        return refuse(zip, NULL, "the file does not start with a local header: %" PRIu64 " unreferenced bytes come first",
                      zip->entries[0].header);
    for (size_t i = 0; i < zip->count; i++) {
        ds_status status = check_position(zip, &zip->entries[i]);
        if (status != DS_OK) return status;
    }
    for (size_t i = 0; i < zip->count; i++) {
        ds_zip_entry *entry = &zip->entries[i];
        ds_status status = check_local(zip, entry);
        if (status == DS_OK) status = check_gap(zip, entry, i + 1 < zip->count ? entry[1].header : zip->directory_offset);
        if (status != DS_OK) return status;
    }
    return DS_OK;
}

/* ---- names ------------------------------------------------------------------------------------------------------- */

static int fold(char c) { return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : (unsigned char)c; }

static int compare_folded(const char *a, const char *b) {
    while (*a != '\0' && fold(*a) == fold(*b)) a++, b++;
    return fold(*a) - fold(*b);
}

static int by_name(const void *a, const void *b) {
    return compare_folded(((const ds_zip_entry *)a)->name, ((const ds_zip_entry *)b)->name);
}

/* All names start with the folder of the first, which is then dropped; the rest is sorted and must be unique. */
static ds_status check_names(ds_zip *zip) {
    const char *first = zip->entries[0].name, *slash = strchr(first, '/');
    if (slash == NULL) return refuse(zip, NULL, "entry %s is not in a folder, expected every entry in one", DS_SHOW(first));
    size_t top = (size_t)(slash - first) + 1;
    for (size_t i = 0; i < zip->count; i++) {
        if (strncmp(zip->entries[i].name, first, top) != 0)
            return refuse(zip, NULL, "entry %s is outside the archive folder %s", DS_SHOW(zip->entries[i].name),
                          ds_escape(first, top).text);
    }
    zip->top = top;
    for (size_t i = 0; i < zip->count; i++) zip->entries[i].name += top;
    qsort(zip->entries, zip->count, sizeof *zip->entries, by_name);
    for (size_t i = 1; i < zip->count; i++) {
        if (by_name(&zip->entries[i - 1], &zip->entries[i]) == 0)
            return refuse(zip, NULL, "duplicate entry %s", DS_SHOW(zip->entries[i].name));
    }
    return DS_OK;
}

/* ---- public ------------------------------------------------------------------------------------------------------ */

ds_status ds_zip_open(ds_zip **out, const ds_source *source) {
    ds_status status = DS_OK;
    ds_zip *zip = NULL;
    *out = NULL;
    DS_NEW(zip, 1);
    zip->source = source;
    DS_TRY(read_end(zip));
    DS_TRY(read_directory(zip));
    DS_TRY(check_layout(zip));
    DS_TRY(check_names(zip));
    *out = zip;
    return DS_OK;
done:
    ds_zip_close(&zip);
    return status;
}

void ds_zip_close(ds_zip **zip) {
    if (*zip == NULL) return;
    free((*zip)->directory);
    free((*zip)->entries);
    free(*zip);
    *zip = NULL;
}

size_t ds_zip_count(const ds_zip *zip) { return zip->count; }

const ds_zip_entry *ds_zip_at(const ds_zip *zip, size_t index) { return &zip->entries[index]; }

const ds_zip_entry *ds_zip_find(const ds_zip *zip, const char *name) {
    ds_zip_entry key = {.name = name};
    const ds_zip_entry *found = bsearch(&key, zip->entries, zip->count, sizeof key, by_name);
    return found != NULL && strcmp(found->name, name) == 0 ? found : NULL;
}

ds_status ds_zip_read(uint8_t **bytes, const ds_zip *zip, const ds_zip_entry *entry, uint64_t limit) {
    ds_status status = DS_OK;
    uint8_t *data = NULL;
    *bytes = NULL;
    if (entry->size > limit)
        return refuse(zip, NULL, "entry %s has %" PRIu64 " bytes, expected at most %" PRIu64, DS_SHOW(entry->name), entry->size,
                      limit);
    DS_NEW(data, (size_t)entry->size);
    DS_TRY(ds_source_read(zip->source, data, entry->offset, (size_t)entry->size));
    uint32_t crc = ds_crc32(0, data, (size_t)entry->size);
    if (entry->crc32 != 0 && crc != entry->crc32) {
        status = refuse(zip, NULL, "crc mismatch in %s: %08X, expected %08X", DS_SHOW(entry->name), crc, entry->crc32);
        goto done;
    }
    *bytes = data;
    data = NULL;
done:
    free(data);
    return status;
}
