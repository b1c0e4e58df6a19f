/* nanoGPT's meta.pkl and a text: one byte for the length of the text, the text, the pickle. */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    size_t length = size == 0 ? 0 : ds_min_size(data[0], size - 1);
    const uint8_t *pickle = data + (size > 0) + length;
    ds_tokenizer *tokenizer;
    ds_status status = ds_tokenizer_open(&tokenizer, relation_file("meta.pkl", pickle, size - (size_t)(pickle - data)));
    if (status != DS_OK) {
        refusal_is_a_sentence(status);
        return 0;
    }
    tokenizer_is_consistent(tokenizer, (const char *)data + 1, length);
    ds_tokenizer_close(&tokenizer);
    return 0;
}
