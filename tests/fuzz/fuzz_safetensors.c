/* A safetensors file. The first byte chooses: odd, the rest is the file; even, two bytes are the size of the data (repeating
 * the input) and the rest is the header, to which the right length is given. */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

static const char *make_file(const uint8_t *data, size_t size) {
    enum { PREFIX = 8 };
    if (size < 3 || data[0] % 2 == 1) return relation_file("a.safetensors", data + (size > 0), size - (size > 0));
    size_t header = size - 3, payload = (size_t)data[1] << 8 | data[2];
    uint8_t *file = malloc(PREFIX + header + payload + 1);
    MUST(file != NULL);
    for (size_t i = 0; i < PREFIX; i++) file[i] = (uint8_t)((uint64_t)header >> (8 * i));
    memcpy(file + PREFIX, data + 3, header);
    for (size_t i = 0; i < payload; i++) file[PREFIX + header + i] = data[i % size];
    const char *path = relation_file("a.safetensors", file, PREFIX + header + payload);
    free(file);
    return path;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    ds_checkpoint *checkpoint;
    ds_status status = ds_checkpoint_open(&checkpoint, make_file(data, size), relation_file("config.json", "{}", 2));
    if (status != DS_OK) {
        refusal_is_a_sentence(status);
        MUST(checkpoint == NULL);
        return 0;
    }
    checkpoint_is_consistent(checkpoint);
    ds_checkpoint_close(&checkpoint);
    MUST(checkpoint == NULL);
    return 0;
}
