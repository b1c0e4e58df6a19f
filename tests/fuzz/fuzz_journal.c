/* The journal of a run. The first byte says what the rest is: a file as it stands, or records, each of a byte for the length,
 * one for the index, and the payload, which are framed here so that they add up. */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "run/journal.h"

static const char front[] = "deltascope journal 1\n", key_text[] = "{\"run\":1}";

static void store(ds_text *file, uint64_t value, size_t bytes) {
    for (size_t i = 0; i < bytes; i++) {
        char byte = (char)(value >> 8 * i);
        MUST(ds_text_append(file, &byte, 1) == DS_OK);
    }
}

static void append_record(ds_text *file, uint32_t *crc, const char *kind, uint64_t index, const void *payload, size_t length) {
    size_t start = file->length;
    char padded[16] = "";
    (void)snprintf(padded, sizeof padded, "%s", kind);
    store(file, length, 8);
    store(file, index, 8);
    MUST(ds_text_append(file, padded, sizeof padded) == DS_OK);
    MUST(ds_text_append(file, payload, length) == DS_OK);
    *crc = ds_crc32(*crc, file->bytes + start, file->length - start);
    store(file, *crc, 4);
}

/* How many records were framed. */
static size_t frame(ds_text *file, const uint8_t *data, size_t size) {
    ds_cursor rest = {data, size};
    uint32_t crc = 0;
    uint8_t length, index;
    const uint8_t *payload;
    size_t count = 0;
    MUST(ds_text_append(file, front, sizeof front - 1) == DS_OK);
    append_record(file, &crc, "key", 0, key_text, sizeof key_text - 1);
    for (; ds_take_u8(&rest, &length) && ds_take_u8(&rest, &index) && ds_take_bytes(&rest, length, &payload); count++)
        append_record(file, &crc, index % 2 == 0 ? "window" : "step", index, payload, length);
    return count;
}

/* A journal that opened takes a record, and has it and all others when it is opened again. */
static void goes_on(ds_journal *journal, const char *path, const json_t *key) {
    static const char payload[] = "more";
    size_t count = ds_journal_count(journal), length;
    char *found;
    MUST(ds_journal_append(journal, "fuzz", 7, payload, sizeof payload) == DS_OK);
    ds_journal_close(&journal);
    MUST(ds_journal_open(&journal, NULL, path, key, true) == DS_OK);
    MUST(ds_journal_count(journal) == count + 1);
    MUST(ds_journal_find(&found, &length, journal, "fuzz", 7) == DS_OK);
    MUST(found != NULL && length > 0);
    free(found);
    ds_journal_close(&journal);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    ds_text file = {0};
    json_t *key = json_loads(key_text, 0, NULL);
    ds_journal *journal;
    bool framed = size > 0 && data[0] % 2 == 1;
    size_t records = framed ? frame(&file, data + 1, size - 1) : 0, start = size > 0 ? 1 : 0, length;
    if (!framed) MUST(ds_text_append(&file, (const char *)data + start, size - start) == DS_OK);
    const char *path = relation_file("journal", file.bytes, file.length);
    ds_status status = ds_journal_open(&journal, NULL, path, key, true);
    if (status != DS_OK) {
        char *kept;
        refusal_is_a_sentence(status);
        MUST(!framed && ds_read_file(&kept, &length, path, 1 << 24) == DS_OK);
        MUST(length == file.length && memcmp(kept, file.bytes, length) == 0); /* what is refused is left alone */
        free(kept);
    } else {
        if (framed) MUST(ds_journal_count(journal) == records);
        for (uint64_t index = 0; index < 256; index++) {
            char *payload;
            MUST(ds_journal_find(&payload, &length, journal, "window", index) == DS_OK);
            MUST(payload == NULL ? length == 0 : length <= file.length);
            free(payload);
        }
        goes_on(journal, path, key);
    }
    json_decref(key);
    ds_text_release(&file);
    return 0;
}
