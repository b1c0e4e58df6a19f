#include "journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "deltascope/io.h"

static const char magic[] = "deltascope journal 1\n";
enum { MAGIC_BYTES = sizeof magic - 1, KIND_BYTES = 16, HEAD_BYTES = 16 + KIND_BYTES, CRC_BYTES = 4 };

typedef struct entry {
    char kind[KIND_BYTES];
    uint64_t index, offset, length; /* of the payload in the file */
} entry;

struct ds_journal {
    char *path; /* for sentences */
    int descriptor;
    uint32_t crc;   /* of the file so far */
    uint64_t end;   /* bytes that add up */
    entry *entries; /* those found on opening, by kind and index */
    size_t count, capacity;
};

static ds_status system_failure(const ds_journal *journal, const char *what) {
    return ds_fail(DS_ERR_SYSTEM, "%s: %s: %s", DS_SHOW(journal->path), what, strerror(errno));
}

/* ---- bytes ------------------------------------------------------------------------------------------------------- */

static ds_status write_at_end(ds_journal *journal, const void *bytes, size_t count) {
    const char *at = bytes;
    while (count > 0) {
        ssize_t written = pwrite(journal->descriptor, at, count, (off_t)journal->end);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) return system_failure(journal, "a journal record could not be written in full");
        at += written;
        count -= (size_t)written;
        journal->end += (uint64_t)written;
    }
    return DS_OK;
}

static ds_status read_at(const ds_journal *journal, void *bytes, size_t count, uint64_t offset) {
    char *at = bytes;
    while (count > 0) {
        ssize_t got = pread(journal->descriptor, at, count, (off_t)offset);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return system_failure(journal, "the journal could not be read");
        if (got == 0) return ds_fail(DS_ERR_INPUT, "%s: the journal became shorter while it was read", DS_SHOW(journal->path));
        at += got;
        count -= (size_t)got;
        offset += (uint64_t)got;
    }
    return DS_OK;
}

static void store_u64le(uint8_t *bytes, uint64_t value) {
    for (int i = 0; i < 8; i++) bytes[i] = (uint8_t)(value >> (8 * i));
}

static bool kind_fits(const char *kind) {
    size_t length = strlen(kind);
    return length > 0 && length < KIND_BYTES;
}

ds_status ds_journal_append(ds_journal *journal, const char *kind, uint64_t index, const void *payload, size_t length) {
    ds_status status = DS_OK;
    if (journal == NULL) return DS_OK;
    if (!kind_fits(kind)) return ds_fail(DS_ERR_USAGE, "a journal record of kind \"%s\": 1 to 15 bytes are needed", kind);
    uint8_t head[HEAD_BYTES] = {0}, tail[CRC_BYTES];
    store_u64le(head, length);
    store_u64le(head + 8, index);
    memcpy(head + 16, kind, strlen(kind));
    journal->crc = ds_crc32(ds_crc32(journal->crc, head, sizeof head), payload, length);
    for (int i = 0; i < CRC_BYTES; i++) tail[i] = (uint8_t)(journal->crc >> (8 * i));
    DS_TRY(write_at_end(journal, head, sizeof head));
    DS_TRY(write_at_end(journal, payload, length));
    DS_TRY(write_at_end(journal, tail, sizeof tail));
done:
    return status;
}

ds_status ds_journal_sync(ds_journal *journal) {
    if (journal == NULL || fdatasync(journal->descriptor) == 0) return DS_OK;
    return system_failure(journal, "the journal could not be brought to disk");
}

/* ---- the key ----------------------------------------------------------------------------------------------------- */

static char *canonical(const json_t *value) {
    return json_dumps(value, JSON_SORT_KEYS | JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(17));
}

/* Appends the dotted path of the first value, in order of key, in which two trees differ; *a and *b end there (NULL:
 * absent). */
static ds_status first_difference(ds_text *path, const json_t **a, const json_t **b) {
    ds_status status = DS_OK;
    while (json_is_object(*a) && json_is_object(*b)) {
        const char *key, *first = NULL;
        const json_t *objects[] = {*a, *b};
        for (int side = 0; side < 2; side++) {
            json_t *value;
            json_object_foreach((json_t *)(uintptr_t)objects[side], key, value) {
                if (json_equal(value, json_object_get(objects[1 - side], key))) continue;
                if (first == NULL || strcmp(key, first) < 0) first = key;
            }
        }
        if (first == NULL) break;
        DS_TRY(ds_text_printf(path, "%s%s", path->length == 0 ? "" : ".", DS_SHOW(first)));
        *a = json_object_get(objects[0], first);
        *b = json_object_get(objects[1], first);
    }
done:
    return status;
}

static ds_status refuse_key(const ds_journal *journal, const json_t *theirs, const json_t *ours) {
    ds_status status = DS_OK;
    ds_text path = {0};
    char *found = NULL, *expected = NULL;
    DS_TRY(first_difference(&path, &theirs, &ours));
    found = theirs == NULL ? ds_strdup("absent") : canonical(theirs);
    expected = ours == NULL ? ds_strdup("absent") : canonical(ours);
    if (found == NULL || expected == NULL) {
        status = ds_fail(DS_ERR_SYSTEM, "%s: out of memory for comparing keys", DS_SHOW(journal->path));
        goto done;
    }
    status = ds_fail(DS_ERR_INPUT,
                     "%s: this is the journal of another run: its %s is %s, this run's is %s; leave out --resume to start anew",
                     DS_SHOW(journal->path), path.length == 0 ? "key" : path.bytes, DS_SHOW(found), DS_SHOW(expected));
done:
    free(found);
    free(expected);
    ds_text_release(&path);
    return status;
}

static ds_status check_key(const ds_journal *journal, const entry *record, const json_t *ours) {
    ds_status status = DS_OK;
    json_t *theirs = NULL;
    char *bytes = NULL;
    DS_NEW(bytes, record->length + 1);
    DS_TRY(read_at(journal, bytes, record->length, record->offset));
    DS_TRY(ds_json_parse(&theirs, bytes, record->length, journal->path));
    if (!json_equal(theirs, ours)) status = refuse_key(journal, theirs, ours);
done:
    free(bytes);
    json_decref(theirs);
    return status;
}

/* ---- opening ----------------------------------------------------------------------------------------------------- */

/* The record at journal->end, or *whole = false when it is cut short or does not add up. */
static ds_status scan_record(ds_journal *journal, entry *record, uint64_t size, bool *whole) {
    ds_status status = DS_OK;
    uint8_t head[HEAD_BYTES], chunk[16384], tail[CRC_BYTES];
    uint64_t left = size - journal->end;
    *whole = false;
    if (left < HEAD_BYTES + CRC_BYTES) return DS_OK;
    DS_TRY(read_at(journal, head, sizeof head, journal->end));
    *record = (entry){.index = ds_load_u64le(head + 8), .offset = journal->end + HEAD_BYTES, .length = ds_load_u64le(head)};
    memcpy(record->kind, head + 16, KIND_BYTES);
    if (record->length > left - HEAD_BYTES - CRC_BYTES || record->kind[KIND_BYTES - 1] != '\0') return DS_OK;
    uint32_t crc = ds_crc32(journal->crc, head, sizeof head);
    for (uint64_t done_bytes = 0; done_bytes < record->length;) {
        size_t count = (size_t)(record->length - done_bytes < sizeof chunk ? record->length - done_bytes : sizeof chunk);
        DS_TRY(read_at(journal, chunk, count, record->offset + done_bytes));
        crc = ds_crc32(crc, chunk, count);
        done_bytes += count;
    }
    DS_TRY(read_at(journal, tail, sizeof tail, record->offset + record->length));
    if (ds_load_u32le(tail) != crc) return DS_OK;
    *whole = true;
    journal->crc = crc;
    journal->end = record->offset + record->length + CRC_BYTES;
done:
    return status;
}

static int by_kind_and_index(const void *left, const void *right) {
    const entry *a = left, *b = right;
    int kinds = strncmp(a->kind, b->kind, KIND_BYTES);
    return kinds != 0 ? kinds : (a->index > b->index) - (a->index < b->index);
}

/* Nothing but a journal is read on or emptied; an empty file is one that had not begun. */
static ds_status check_beginning(const ds_journal *journal, uint64_t size) {
    ds_status status = DS_OK;
    char start[MAGIC_BYTES];
    size_t compared = (size_t)(size < MAGIC_BYTES ? size : MAGIC_BYTES);
    DS_TRY(read_at(journal, start, compared, 0));
    if (memcmp(start, magic, compared) != 0)
        status =
            ds_fail(DS_ERR_INPUT, "%s: not a journal: it does not begin with \"%.*s\"; move it away or choose another folder",
                    DS_SHOW(journal->path), (int)MAGIC_BYTES - 1, magic);
done:
    return status;
}

/* Everything that adds up; *begun is false when there is not even a key. */
static ds_status scan(ds_journal *journal, uint64_t size, const json_t *key, bool *begun) {
    ds_status status = DS_OK;
    entry record;
    bool whole = false;
    *begun = false;
    if (size < MAGIC_BYTES) goto done;
    journal->end = MAGIC_BYTES;
    DS_TRY(scan_record(journal, &record, size, &whole));
    if (!whole) goto done;
    if (strcmp(record.kind, "key") != 0) {
        status = ds_fail(DS_ERR_INPUT, "%s: the first record of a journal is its key, not \"%s\"", DS_SHOW(journal->path),
                         DS_SHOW(record.kind));
        goto done;
    }
    DS_TRY(check_key(journal, &record, key));
    *begun = true;
    for (;;) {
        DS_TRY(scan_record(journal, &record, size, &whole));
        if (!whole) break;
        void *storage = journal->entries;
        DS_TRY(ds_grow(&storage, &journal->capacity, journal->count + 1, sizeof *journal->entries));
        journal->entries = storage;
        journal->entries[journal->count++] = record;
    }
    if (journal->count > 0) qsort(journal->entries, journal->count, sizeof *journal->entries, by_kind_and_index);
done:
    return status;
}

static ds_status begin(ds_journal *journal, const json_t *key) {
    ds_status status = DS_OK;
    char *text = canonical(key);
    if (text == NULL) return ds_fail(DS_ERR_SYSTEM, "%s: out of memory for the key", DS_SHOW(journal->path));
    journal->crc = 0;
    journal->end = 0;
    if (ftruncate(journal->descriptor, 0) != 0) {
        status = system_failure(journal, "the journal could not be emptied");
        goto done;
    }
    DS_TRY(write_at_end(journal, magic, MAGIC_BYTES));
    DS_TRY(ds_journal_append(journal, "key", 0, text, strlen(text)));
    DS_TRY(ds_journal_sync(journal));
    ds_sync_folder_of(journal->path); /* of a folder that has moved, another's is harmless */
done:
    free(text);
    return status;
}

/* What no journal can be, a link, a pipe, a device, gives way in a folder of ours: the thing itself, nothing behind it. */
static ds_status make_way(const ds_folder *folder, const char *path) {
    struct stat info;
    int found = ds_folder_find(folder, path, O_PATH);
    bool other = found >= 0 && fstat(found, &info) == 0 && !S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode);
    if (found >= 0) (void)close(found);
    return other ? ds_folder_remove(folder, path) : DS_OK;
}

/* Opened and locked: the lock goes with the process, however it ends. */
static ds_status open_file(ds_journal *journal, const ds_folder *folder, const char *path, struct stat *info) {
    if (folder != NULL) {
        ds_status status = make_way(folder, path);
        if (status != DS_OK) return status;
    }
    journal->descriptor = ds_folder_find(folder, path, O_RDWR | O_CREAT);
    if (journal->descriptor < 0 && errno == EMLINK)
        return ds_fail(DS_ERR_SYSTEM,
                       "%s: the file has another name (a hard link), and what lies there would be changed: put a copy in its "
                       "place, or remove it",
                       DS_SHOW(journal->path));
    if (journal->descriptor < 0) return system_failure(journal, "the journal cannot be opened");
    if (fstat(journal->descriptor, info) != 0) return system_failure(journal, "the journal cannot be examined");
    if (!S_ISREG(info->st_mode)) return ds_fail(DS_ERR_INPUT, "%s: a journal is a regular file", DS_SHOW(journal->path));
    if (flock(journal->descriptor, LOCK_EX | LOCK_NB) != 0) {
        if (errno == EWOULDBLOCK)
            return ds_fail(DS_ERR_SYSTEM, "%s: another process holds this journal", DS_SHOW(journal->path));
        return system_failure(journal, "the journal cannot be locked");
    }
    return fstat(journal->descriptor, info) == 0 ? DS_OK : system_failure(journal, "the journal cannot be examined");
}

ds_status ds_journal_open(ds_journal **out, const ds_folder *folder, const char *path, const json_t *key, bool resume) {
    ds_status status = DS_OK;
    ds_journal *journal = NULL;
    ds_text shown = {0};
    struct stat info;
    bool begun = false;
    *out = NULL;
    DS_NEW(journal, 1);
    journal->descriptor = -1;
    DS_TRY(ds_folder_show(&shown, folder, path));
    journal->path = shown.bytes;
    DS_TRY(open_file(journal, folder, path, &info));
    DS_TRY(check_beginning(journal, (uint64_t)info.st_size));
    if (resume) DS_TRY(scan(journal, (uint64_t)info.st_size, key, &begun));
    if (!begun) {
        DS_TRY(begin(journal, key));
    } else if (ftruncate(journal->descriptor, (off_t)journal->end) != 0) {
        status = system_failure(journal, "the journal's damaged end could not be dropped");
    }
done:
    if (status != DS_OK) ds_journal_close(&journal);
    *out = journal;
    return status;
}

ds_status ds_journal_open_copy(ds_journal **out, const void *bytes, size_t length, const json_t *key) {
    ds_status status = DS_OK;
    ds_journal *journal = NULL;
    bool begun = false;
    *out = NULL;
    DS_NEW(journal, 1);
    journal->descriptor = memfd_create("journal", MFD_CLOEXEC);
    journal->path = ds_strdup("the journal that rank 0 keeps");
    if (journal->path == NULL || journal->descriptor < 0) {
        status = ds_fail(DS_ERR_SYSTEM, "out of memory for a copy of the journal that rank 0 keeps");
        goto done;
    }
    DS_TRY(write_at_end(journal, bytes, length));
    DS_TRY(scan(journal, length, key, &begun));
done:
    if (status != DS_OK) ds_journal_close(&journal);
    *out = journal;
    return status;
}

void ds_journal_close(ds_journal **pointer) {
    ds_journal *journal = *pointer;
    if (journal == NULL) return;
    if (journal->descriptor >= 0) (void)close(journal->descriptor);
    free(journal->entries);
    free(journal->path);
    free(journal);
    *pointer = NULL;
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

ds_status ds_journal_bytes(void **bytes, size_t *length, const ds_journal *journal) {
    ds_status status = DS_OK;
    char *all = NULL;
    DS_NEW(all, journal->end);
    DS_TRY(read_at(journal, all, journal->end, 0));
    *bytes = all;
    *length = journal->end;
    all = NULL;
done:
    free(all);
    return status;
}

size_t ds_journal_count(const ds_journal *journal) { return journal == NULL ? 0 : journal->count; }

ds_status ds_journal_find(char **payload, size_t *length, const ds_journal *journal, const char *kind, uint64_t index) {
    ds_status status = DS_OK;
    entry wanted = {.index = index};
    const entry *found = NULL;
    *payload = NULL;
    *length = 0;
    if (kind_fits(kind)) {
        memcpy(wanted.kind, kind, strlen(kind));
        if (journal != NULL && journal->count > 0)
            found = bsearch(&wanted, journal->entries, journal->count, sizeof *journal->entries, by_kind_and_index);
    }
    if (found == NULL) return DS_OK;
    DS_NEW(*payload, found->length + 1);
    DS_TRY(read_at(journal, *payload, found->length, found->offset));
    *length = found->length;
done:
    if (status != DS_OK) {
        free(*payload);
        *payload = NULL;
    }
    return status;
}

ds_status ds_journal_find_reals(bool *found, double *values, size_t count, const ds_journal *journal, const char *kind,
                                uint64_t index) {
    ds_status status = DS_OK;
    char *payload = NULL;
    size_t length;
    *found = false;
    DS_TRY(ds_journal_find(&payload, &length, journal, kind, index));
    if (payload == NULL) goto done;
    if (length != count * sizeof *values) {
        status = ds_fail(DS_ERR_INPUT, "%s: record %s %llu holds %zu bytes, %zu values need %zu", DS_SHOW(journal->path), kind,
                         (unsigned long long)index, length, count, count * sizeof *values);
        goto done;
    }
    memcpy(values, payload, length);
    *found = true;
done:
    free(payload);
    return status;
}
