/* One interface over the two kinds of tokenizer. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "catalog.h"
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

ds_status ds_text_fits(size_t length, const char *where) {
    if (length < UINT32_MAX) return DS_OK;
    return ds_fail(DS_ERR_INPUT, "%s: %zu bytes of text, at most %" PRIu32 " can be tokenized at once", DS_SHOW(where), length,
                   UINT32_MAX - 1);
}

ds_name ds_text_place(const char *text, size_t at) {
    ds_name place;
    size_t line = 1, column = 1;
    for (size_t i = 0; i < at; i++) {
        bool ends = text[i] == '\n', begins = ((unsigned char)text[i] & 0xC0) != 0x80;
        line += ends;
        column = ends ? 1 : column + begins;
    }
    (void)snprintf(place.text, sizeof place.text, "byte %zu (line %zu, column %zu)", at, line, column);
    return place;
}

/* ---- which kind ------------------------------------------------------------------------------------------------------ */

/* JSON begins with a brace, which no pickle does. */
static ds_status begins_with_brace(bool *found, const char *path) {
    ds_status status = DS_OK;
    ds_source source;
    char front[64];
    *found = false;
    DS_TRY(ds_source_open(&source, path));
    size_t length = (size_t)(source.size < sizeof front ? source.size : sizeof front), at = 0;
    status = ds_source_read(&source, front, 0, length);
    while (at < length && strchr(" \t\r\n\xEF\xBB\xBF", front[at]) != NULL && front[at] != '\0') at++;
    *found = status == DS_OK && at < length && front[at] == '{';
    ds_source_close(&source);
done:
    return status;
}

static ds_status open_file(ds_tokenizer *tokenizer, const char *path) {
    ds_status status = DS_OK;
    bool json;
    DS_TRY(begins_with_brace(&json, path));
    if (json)
        DS_TRY(ds_bpe_open_json(&tokenizer->bpe, &tokenizer->pieces, path));
    else
        DS_TRY(ds_charset_open(&tokenizer->charset, &tokenizer->pieces, &tokenizer->vocab, path));
done:
    return status;
}

/* tokenizer.json first: beside vocab.json and merges.txt it alone says how texts are cut. */
static ds_status open_folder(ds_tokenizer *tokenizer, const char *folder) {
    static const char *const kinds[][2] = {
        {"tokenizer.json", NULL}, {"vocab.json", "merges.txt"}, {"encoder.json", "vocab.bpe"}};
    enum { KINDS = sizeof kinds / sizeof *kinds };
    ds_status status = DS_OK;
    ds_text path = {0};
    struct stat info;
    size_t kind = 0;
    for (; kind < KINDS; kind++) {
        path.length = 0;
        DS_TRY(ds_text_printf(&path, "%s/%s", folder, kinds[kind][0]));
        if (lstat(path.bytes, &info) == 0) break;
    }
    if (kind == KINDS)
        status =
            ds_fail(DS_ERR_INPUT,
                    "%s: holds no tokenizer: tokenizer.json, vocab.json with merges.txt, or encoder.json with vocab.bpe is "
                    "expected; a meta.pkl is named itself",
                    DS_SHOW(folder));
    else if (kind == 0)
        status = ds_bpe_open_json(&tokenizer->bpe, &tokenizer->pieces, path.bytes);
    else
        status = ds_bpe_open(&tokenizer->bpe, &tokenizer->pieces, folder, kinds[kind][0], kinds[kind][1]);
done:
    ds_text_release(&path);
    return status;
}

ds_status ds_tokenizer_open(ds_tokenizer **out, const char *path) {
    ds_status status = DS_OK;
    ds_tokenizer *tokenizer = NULL;
    struct stat info;
    *out = NULL;
    DS_NEW(tokenizer, 1);
    if (stat(path, &info) == 0 && S_ISDIR(info.st_mode))
        DS_TRY(open_folder(tokenizer, path));
    else
        DS_TRY(open_file(tokenizer, path));
    if (tokenizer->bpe != NULL) tokenizer->vocab = tokenizer->pieces.count;
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
    return ds_fail(DS_ERR_INPUT, "%s: malformed UTF-8 at %s: \"%s\"", DS_SHOW(where), ds_text_place(text, at).text,
                   ds_escape(text + at, ds_min_size(length - at, 4)).text);
}

ds_status ds_tokenizer_encode(const ds_tokenizer *tokenizer, uint32_t **ids, size_t *count, const char *text, size_t length,
                              const char *where) {
    ds_status status = DS_OK;
    ds_ids made = {0};
    *ids = NULL;
    *count = 0;
    DS_TRY(ds_ids_reserve(&made, 1)); /* an array even when there is no token */
    DS_TRY(ds_text_fits(length, where));
    if (!ds_is_utf8(text, length)) {
        status = malformed(text, length, where);
        goto done;
    }
    if (tokenizer->charset != NULL)
        DS_TRY(ds_charset_encode(&made, tokenizer->charset, text, length, where));
    else
        DS_TRY(ds_bpe_encode(&made, tokenizer->bpe, text, length, where));
    *ids = made.ids;
    *count = made.count;
done:
    if (status != DS_OK) free(made.ids);
    return status;
}
