#include "archive.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "deltascope/io.h"
#include "support.h"

static void put(ds_text *out, uint64_t value, size_t width) {
    for (size_t i = 0; i < width; i++) {
        char byte = '\0';
        if (i < 8) byte = (char)(value >> 8 * i & 0xFF);
        expect_ok(ds_text_append(out, &byte, 1));
    }
}

static void put_central(ds_text *out, const archive_entry *entry, uint64_t local) {
    size_t name = strlen(entry->name);
    put(out, 0x02014b50, 4);
    put(out, 0, 4);      /* versions */
    put(out, 0x0808, 2); /* descriptor, UTF-8 */
    put(out, 0, 6);      /* stored, no time */
    put(out, ds_crc32(0, entry->bytes, entry->length), 4);
    put(out, entry->length, 4);
    put(out, entry->length, 4);
    put(out, name, 2);
    put(out, 0, 12); /* extra, comment, disk, attributes */
    put(out, local, 4);
    expect_ok(ds_text_append(out, entry->name, name));
}

static void put_ends(ds_text *out, size_t count, uint64_t central) {
    uint64_t size = out->length - central, end64 = out->length;
    put(out, 0x06064b50, 4);
    put(out, 44, 8);
    put(out, 0, 12); /* versions, disks */
    put(out, count, 8);
    put(out, count, 8);
    put(out, size, 8);
    put(out, central, 8);
    put(out, 0x07064b50, 4);
    put(out, 0, 4);
    put(out, end64, 8);
    put(out, 1, 4);
    put(out, 0x06054b50, 4);
    put(out, 0, 4);
    put(out, count, 2);
    put(out, count, 2);
    put(out, size, 4);
    put(out, central, 4);
    put(out, 0, 2);
}

void archive_build(ds_text *out, const archive_entry *entries, size_t count) {
    uint64_t *locals = calloc(count + 1, sizeof *locals);
    assert_non_null(locals);
    out->length = 0;
    for (size_t i = 0; i < count; i++) {
        const archive_entry *entry = &entries[i];
        size_t name = strlen(entry->name);
        locals[i] = out->length;
        put(out, 0x04034b50, 4);
        put(out, 0, 2);
        put(out, 0x0808, 2);
        put(out, 0, 18); /* method, time, checksum, sizes */
        put(out, name, 2);
        put(out, 0, 2);
        expect_ok(ds_text_append(out, entry->name, name));
        expect_ok(ds_text_append(out, entry->bytes, entry->length));
        put(out, 0x08074b50, 4);
        put(out, ds_crc32(0, entry->bytes, entry->length), 4);
        put(out, entry->length, 4);
        put(out, entry->length, 4);
    }
    uint64_t central = out->length;
    for (size_t i = 0; i < count; i++) put_central(out, &entries[i], locals[i]);
    put_ends(out, count, central);
    free(locals);
}

void archive_build_torch(ds_text *out, const void *pickle, size_t length, const void *storage, size_t storage_length) {
    const archive_entry entries[] = {
        {"archive/data.pkl", pickle, length}, {"archive/data/0", storage, storage_length}, {"archive/version", "3\n", 2}};
    archive_build(out, entries, 3);
}

size_t archive_end(const ds_text *archive) { return archive->length - 22; }
size_t archive_locator(const ds_text *archive) { return archive->length - 42; }
size_t archive_end64(const ds_text *archive) { return archive->length - 98; }

static const uint8_t *bytes_at(const ds_text *archive, size_t offset) { return (const uint8_t *)archive->bytes + offset; }

size_t archive_central(const ds_text *archive, size_t index) {
    size_t at = ds_load_u32le(bytes_at(archive, archive_end(archive) + 16));
    for (size_t i = 0; i < index; i++) at += 46u + ds_load_u16le(bytes_at(archive, at + 28));
    return at;
}

size_t archive_local(const ds_text *archive, size_t index) {
    return ds_load_u32le(bytes_at(archive, archive_central(archive, index) + 42));
}

void archive_patch(ds_text *archive, size_t offset, size_t width, uint64_t value) {
    for (size_t i = 0; i < width; i++) archive->bytes[offset + i] = (char)(value >> 8 * i & 0xFF);
}

const char *archive_publish(const ds_text *archive) {
    static char path[64];
    static int descriptor = -1;
    if (descriptor < 0) descriptor = memfd_create("archive", MFD_CLOEXEC);
    assert_true(descriptor >= 0);
    assert_int_equal(ftruncate(descriptor, 0), 0);
    assert_int_equal(pwrite(descriptor, archive->bytes, archive->length, 0), (ssize_t)archive->length);
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", descriptor);
    return path;
}
