/* GPT-2's vocabulary and merges as two files: vocab.json with merges.txt, or encoder.json with vocab.bpe. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "bpe.h"
#include "recognise.h"

enum { MAX_VOCAB_BYTES = 1 << 26, MAX_MERGES_BYTES = 1 << 26 };

static ds_status load_vocabulary(json_t **vocabulary, ds_bpe *bpe, ds_pieces *pieces) {
    ds_status status = DS_OK;
    char *bytes = NULL;
    size_t length;
    DS_TRY(ds_read_file(&bytes, &length, bpe->path, MAX_VOCAB_BYTES));
    DS_TRY(ds_json_parse(vocabulary, bytes, length, bpe->path));
    if (!json_is_object(*vocabulary) || json_object_size(*vocabulary) == 0) {
        status = ds_fail(DS_ERR_INPUT, "%s: not a JSON object from tokens to ids", DS_SHOW(bpe->path));
        goto done;
    }
    pieces->count = json_object_size(*vocabulary);
    DS_NEW(pieces->entries, pieces->count);
    DS_TRY(ds_bpe_take_vocabulary(bpe, pieces, *vocabulary, false));
    for (size_t i = 0; i < 256 && status == DS_OK; i++) {
        if (bpe->byte_token[i] == DS_BPE_NONE)
            status =
                ds_fail(DS_ERR_INPUT, "%s: no token for the single byte 0x%02zX; all 256 are expected", DS_SHOW(bpe->path), i);
    }
done:
    free(bytes);
    return status;
}

/* Lines end as they do on Unix or on Windows: no token has a carriage return, which the alphabet spells otherwise. */
static ds_status parse_merges(ds_bpe *bpe, char *bytes, size_t length, ds_merge_source *source) {
    ds_status status = DS_OK;
    status = ds_kind_refuse(source->path, bytes, length, "merges of byte pairs");
    if (status == DS_OK && memchr(bytes, '\0', length) != NULL)
        return ds_fail(DS_ERR_INPUT, "%s: a NUL byte at byte %zu, text expected", DS_SHOW(source->path), strlen(bytes));
    for (char *at = bytes, *end = bytes + length; at < end && status == DS_OK;) {
        char *newline = memchr(at, '\n', (size_t)(end - at));
        char *stop = newline == NULL ? end : newline;
        *stop = '\0'; /* the buffer has a byte beyond its length */
        if (stop > at && stop[-1] == '\r') stop[-1] = '\0';
        source->number++;
        if (source->number > 1 || strncmp(at, "#version", 8) != 0) status = ds_bpe_add_line(bpe, at, source);
        at = stop + 1;
    }
    return status;
}

static ds_status load_merges(ds_bpe *bpe, size_t vocab, ds_merge_source *source) {
    ds_status status = DS_OK;
    char *bytes = NULL;
    size_t length;
    DS_TRY(ds_read_file(&bytes, &length, source->path, MAX_MERGES_BYTES));
    DS_TRY(parse_merges(bpe, bytes, length, source));
    DS_TRY(ds_bpe_index_merges(bpe, vocab, source->path));
done:
    free(bytes);
    return status;
}

ds_status ds_bpe_open(ds_bpe **out, ds_pieces *pieces, const char *folder, const char *vocab, const char *merges) {
    ds_status status = DS_OK;
    ds_text path = {0};
    ds_bpe *bpe = NULL;
    json_t *vocabulary = NULL;
    DS_TRY(ds_text_printf(&path, "%s/%s", folder, vocab));
    DS_TRY(ds_bpe_new(&bpe, path.bytes));
    DS_TRY(ds_bpe_set_cut(bpe, DS_CUT_GPT2));
    DS_TRY(load_vocabulary(&vocabulary, bpe, pieces));
    path.length = 0;
    DS_TRY(ds_text_printf(&path, "%s/%s", folder, merges));
    ds_merge_source source = {.vocabulary = vocabulary, .path = path.bytes, .listed = vocab, .unit = "line"};
    DS_TRY(load_merges(bpe, pieces->count, &source));
done:
    json_decref(vocabulary);
    ds_text_release(&path);
    if (status != DS_OK) ds_bpe_close(&bpe);
    *out = bpe;
    return status;
}
