/* A tokenizer.json and a text, with a byte 0xFF (which no UTF-8 has) between them. */
#include <string.h>

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const uint8_t *mark = size == 0 ? NULL : memchr(data, 0xFF, size);
    size_t length = mark == NULL ? size : (size_t)(mark - data);
    const char *text = mark == NULL ? "ab 1'" : (const char *)mark + 1;
    ds_tokenizer *tokenizer;
    const char *path = relation_file("tokenizer.json", data, length);
    ds_status status = ds_tokenizer_open(&tokenizer, path);
    if (status != DS_OK) {
        refusal_is_a_sentence(status);
        return 0;
    }
    tokenizer_is_consistent(tokenizer, text, mark == NULL ? strlen(text) : size - length - 1);
    ds_tokenizer_close(&tokenizer);
    return 0;
}
