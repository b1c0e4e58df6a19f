/* A torch archive. The first byte chooses: odd, the rest is the file; even, it is data.pkl, put into an archive with the
 * storages data/0 ... data/7 of 4, 8, ... 512 bytes, so that pickles get past the zip directory. */
#include "archive.h"
#include "fuzz.h"

static const char *make_file(const uint8_t *data, size_t size) {
    enum { STORAGES = 8, SMALLEST = 4 };
    if (size == 0 || data[0] % 2 == 1) return relation_file("a.pt", data + (size > 0), size - (size > 0));
    uint8_t storage[SMALLEST << STORAGES];
    char names[STORAGES][16];
    archive_entry entries[2 + STORAGES] = {{"a/data.pkl", data + 1, size - 1}, {"a/version", "3\n", 2}};
    for (size_t i = 0; i < sizeof storage; i++) storage[i] = (uint8_t)(i * 41 % 127);
    for (size_t i = 0; i < STORAGES; i++) {
        (void)snprintf(names[i], sizeof names[i], "a/data/%zu", i);
        entries[2 + i] = (archive_entry){names[i], storage, (size_t)SMALLEST << i};
    }
    ds_text archive = {0};
    archive_build(&archive, entries, sizeof entries / sizeof entries[0]);
    const char *path = relation_file("a.pt", archive.bytes, archive.length);
    ds_text_release(&archive);
    return path;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    ds_checkpoint *checkpoint;
    ds_status status = ds_checkpoint_open(&checkpoint, make_file(data, size), relation_file("config.json", "{}", 2));
    if (status != DS_OK) {
        refusal_is_a_sentence(status);
        return 0;
    }
    checkpoint_is_consistent(checkpoint);
    ds_checkpoint_close(&checkpoint);
    return 0;
}
