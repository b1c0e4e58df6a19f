/* GPT-2's vocab.json, merges.txt and a text, with a byte 0xFF (which no UTF-8 has) between them. */
#include <string.h>
#include <sys/stat.h>

#include "fuzz.h"

/* Takes what stands before the next 0xFF, or all. */
static ds_cursor take_part(ds_cursor *rest) {
    const uint8_t *end = rest->left == 0 ? NULL : memchr(rest->at, 0xFF, rest->left);
    ds_cursor part = {rest->at, end == NULL ? rest->left : (size_t)(end - rest->at)};
    size_t taken = end == NULL ? rest->left : part.left + 1;
    rest->at += taken;
    rest->left -= taken;
    return part;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    ds_cursor rest = {data, size};
    ds_cursor vocab = take_part(&rest), merges = take_part(&rest), text = take_part(&rest);
    const char *folder = relation_path("gpt2");
    (void)mkdir(folder, 0700);
    (void)relation_file("gpt2/vocab.json", vocab.at, vocab.left);
    (void)relation_file("gpt2/merges.txt", merges.at, merges.left);
    ds_tokenizer *tokenizer;
    ds_status status = ds_tokenizer_open(&tokenizer, folder);
    if (status != DS_OK) {
        refusal_is_a_sentence(status);
        return 0;
    }
    tokenizer_is_consistent(tokenizer, (const char *)text.at, text.left);
    ds_tokenizer_close(&tokenizer);
    return 0;
}
