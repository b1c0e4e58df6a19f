/* Every reader over every hostile sample and every fuzz input, for MemorySanitizer: no branch and no message depends on memory
 * nobody wrote. Prints how many inputs were read and how many of them were accepted. */
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/pickle.h"
#include "io/zip_reader.h"
#include "relations.h"

static size_t inputs, accepted;

static void count(ds_status status) {
    inputs++;
    accepted += status == DS_OK;
    MUST(status == DS_OK || strlen(ds_error_text()) > 10);
}

static void read_checkpoint(const char *path) {
    ds_checkpoint *checkpoint;
    ds_status status = ds_checkpoint_open(&checkpoint, path, NULL);
    count(status);
    if (status == DS_OK) checkpoint_is_consistent(checkpoint);
    ds_checkpoint_close(&checkpoint);
}

static void read_as_tokens(const char *path) {
    ds_tokens *tokens;
    ds_status status = ds_tokens_open(&tokens, path, 65536);
    count(status);
    if (status == DS_OK) tokens_are_consistent(tokens);
    ds_tokens_close(&tokens);
}

static void read_as_zip(const char *path) {
    ds_source source;
    ds_zip *zip;
    if (ds_source_open(&source, path) != DS_OK) return;
    ds_status status = ds_zip_open(&zip, &source);
    count(status);
    for (size_t i = 0; status == DS_OK && i < ds_zip_count(zip); i++) {
        uint8_t *bytes;
        count(ds_zip_read(&bytes, zip, ds_zip_at(zip, i), 1 << 20));
        free(bytes);
    }
    ds_zip_close(&zip);
    ds_source_close(&source);
}

/* The bytes of any file as each of the things a reader makes of bytes; also without the first one, which chooses in most fuzz
 * inputs. */
static void read_as_everything(const char *path) {
    char *bytes;
    size_t length;
    if (ds_read_file(&bytes, &length, path, 1 << 22) != DS_OK) return;
    for (size_t skip = 0; skip < 2 && skip <= length; skip++) {
        const char *from = bytes + skip, *config = relation_file("config.json", "{}", 2);
        ds_checkpoint *checkpoint;
        ds_pickle *pickle;
        ds_tokenizer *tokenizer;
        json_t *value;
        count(ds_pickle_parse(&pickle, from, length - skip, DS_PICKLE_TORCH, path));
        ds_pickle_free(&pickle);
        count(ds_json_parse(&value, from, length - skip, path));
        json_decref(value);
        const char *copy = relation_file("any", from, length - skip);
        ds_status status = ds_checkpoint_open(&checkpoint, copy, config);
        count(status);
        if (status == DS_OK) checkpoint_is_consistent(checkpoint);
        ds_checkpoint_close(&checkpoint);
        status = ds_tokenizer_open(&tokenizer, copy);
        count(status);
        if (status == DS_OK) tokenizer_is_consistent(tokenizer, "\n az", 4);
        ds_tokenizer_close(&tokenizer);
        read_as_tokens(copy);
        read_as_zip(copy);
    }
    free(bytes);
}

static int visit(const char *path, const struct stat *info, int kind, struct FTW *walk) {
    (void)info, (void)walk;
    if (kind == FTW_D) read_checkpoint(path);
    if (kind == FTW_F) read_as_everything(path);
    return 0;
}

int main(void) {
    (void)relation_path("any"); /* the folder is there before the first refusal names it */
    MUST(nftw("fixtures/hostile", visit, 16, FTW_PHYS) == 0 && nftw("fixtures/fuzz", visit, 16, FTW_PHYS) == 0);
    ds_tokenizer *tokenizer;
    MUST(ds_tokenizer_open(&tokenizer, "fixtures/tokenizer/gpt2") == DS_OK);
    tokenizer_is_consistent(tokenizer, "It's 2 o'clock\n\n caf\xC3\xA9", 23);
    ds_tokenizer_close(&tokenizer);
    (void)printf("%zu readings, %zu of them accepted\n", inputs, accepted);
    return 0;
}
