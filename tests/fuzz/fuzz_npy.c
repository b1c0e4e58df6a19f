/* A .npy token file. The first byte chooses: odd, the rest is the file; even, it is a header, to which magic, version, length
 * and 64 bytes of data are given. */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

enum { MAX_HEADER = 4096, DATA = 64, FRONT = 10 };

static const char *make_file(const uint8_t *data, size_t size) {
    uint8_t file[FRONT + MAX_HEADER + DATA] = "\x93NUMPY\1";
    if (size < 1 || data[0] % 2 == 1 || size - 1 > MAX_HEADER)
        return relation_file("a.npy", data + (size > 0), size - (size > 0));
    size_t header = size - 1;
    file[8] = (uint8_t)header;
    file[9] = (uint8_t)(header >> 8);
    memcpy(file + FRONT, data + 1, header);
    for (size_t i = 0; i < DATA; i += 2) file[FRONT + header + i] = (uint8_t)(3 * i);
    return relation_file("a.npy", file, FRONT + header + DATA);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    ds_tokens *tokens;
    ds_status status = ds_tokens_open(&tokens, make_file(data, size), 65536);
    if (status != DS_OK) {
        refusal_is_a_sentence(status);
        return 0;
    }
    tokens_are_consistent(tokens);
    ds_tokens_close(&tokens);
    return 0;
}
