/* A token file recognised by content: shard, .npy or raw. */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    ds_tokens *tokens;
    ds_status status = ds_tokens_open(&tokens, relation_file("a.bin", data, size), 65536);
    if (status != DS_OK) {
        refusal_is_a_sentence(status);
        return 0;
    }
    tokens_are_consistent(tokens);
    ds_tokens_close(&tokens);
    return 0;
}
