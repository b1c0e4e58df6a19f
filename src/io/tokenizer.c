/* One interface over the two kinds of tokenizer. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tokenizer.h"

struct ds_tokenizer {
    uint64_t vocab;
    ds_pieces pieces;
    ds_charset *charset; /* exactly one of the two */
    ds_bpe *bpe;
};

ds_status ds_pieces_set(ds_pieces *pieces, size_t id, const char *bytes, size_t length) {
    pieces->entries[id] = (ds_piece){pieces->bytes.length, length};
    return ds_text_append(&pieces->bytes, bytes, length);
}

ds_status ds_ids_reserve(ds_ids *ids, size_t more) {
    void *storage = ids->ids;
    size_t needed;
    if (!ds_add_size(ids->count, more, &needed)) return ds_fail(DS_ERR_SYSTEM, "out of memory: more than 2^64 tokens");
    ds_status status = ds_grow(&storage, &ids->capacity, needed, sizeof *ids->ids);
    ids->ids = storage;
    return status;
}

ds_status ds_tokenizer_open(ds_tokenizer **out, const char *path) {
    ds_status status = DS_OK;
    ds_tokenizer *tokenizer = NULL;
    struct stat info;
    *out = NULL;
    DS_NEW(tokenizer, 1);
    if (stat(path, &info) == 0 && S_ISDIR(info.st_mode)) {
        DS_TRY(ds_bpe_open(&tokenizer->bpe, &tokenizer->pieces, path));
        tokenizer->vocab = tokenizer->pieces.count;
    } else {
        DS_TRY(ds_charset_open(&tokenizer->charset, &tokenizer->pieces, &tokenizer->vocab, path));
    }
done:
    if (status != DS_OK) ds_tokenizer_close(&tokenizer);
    *out = tokenizer;
    return status;
}

void ds_tokenizer_close(ds_tokenizer **tokenizer) {
    if (*tokenizer == NULL) return;
    ds_charset_close(&(*tokenizer)->charset);
    ds_bpe_close(&(*tokenizer)->bpe);
    free((*tokenizer)->pieces.entries);
    ds_text_release(&(*tokenizer)->pieces.bytes);
    free(*tokenizer);
    *tokenizer = NULL;
}

uint64_t ds_tokenizer_vocab(const ds_tokenizer *tokenizer) { return tokenizer->vocab; }

const char *ds_tokenizer_piece(const ds_tokenizer *tokenizer, uint32_t id, size_t *length) {
    const ds_pieces *pieces = &tokenizer->pieces;
    if (id >= pieces->count || pieces->entries[id].length == 0) return NULL;
    *length = pieces->entries[id].length;
    return pieces->bytes.bytes + pieces->entries[id].offset;
}

static ds_status malformed(const char *text, size_t length, const char *where) {
    size_t at = 0, step = 0;
    uint32_t point;
    while ((step = ds_utf8_decode(&point, text + at, length - at)) != 0) at += step;
    return ds_fail(DS_ERR_INPUT, "%s: malformed UTF-8 at byte %zu: \"%s\"", DS_SHOW(where), at,
                   ds_escape(text + at, ds_min_size(length - at, 4)).text);
}

ds_status ds_tokenizer_encode(const ds_tokenizer *tokenizer, uint32_t **ids, size_t *count, const char *text, size_t length,
                              const char *where) {
    ds_status status = DS_OK;
    ds_ids made = {0};
    *ids = NULL;
    *count = 0;
    DS_TRY(ds_ids_reserve(&made, 1)); /* an array even when there is no token */
    if (length >= UINT32_MAX) {
        status = ds_fail(DS_ERR_INPUT, "%s: %zu bytes of text, at most %" PRIu32 " can be tokenized at once", DS_SHOW(where),
                         length, UINT32_MAX - 1);
        goto done;
    }
    if (!ds_is_utf8(text, length)) {
        status = malformed(text, length, where);
        goto done;
    }
    if (tokenizer->charset != NULL)
        DS_TRY(ds_charset_encode(&made, tokenizer->charset, text, length, where));
    else
        DS_TRY(ds_bpe_encode(&made, tokenizer->bpe, text, length));
    *ids = made.ids;
    *count = made.count;
done:
    if (status != DS_OK) free(made.ids);
    return status;
}
