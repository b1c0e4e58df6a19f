/* What a byte-pair encoding is made of: vocabulary, merges, patterns. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "bpe.h"

enum { ALPHABET = 324 /* code points 0 .. 323 can stand for a byte */ };

/* ---- vocabulary -------------------------------------------------------------------------------------------------- */

/* The byte each code point stands for, -1 for none: visible Latin-1 characters stand for themselves; the other bytes are,
 * in order, the code points from 256 on. */
static void fill_alphabet(int16_t byte_of[ALPHABET]) {
    size_t next = 256;
    for (size_t i = 0; i < ALPHABET; i++) byte_of[i] = -1;
    for (int16_t byte = 0; byte < 256; byte++) {
        bool visible = (byte >= 33 && byte <= 126) || (byte >= 161 && byte != 173);
        byte_of[visible ? (size_t)byte : next++] = byte;
    }
}

/* The bytes a spelling stands for, at most as many as it has. */
static ds_status spell(ds_text *bytes, const ds_bpe *bpe, const char *key, const int16_t byte_of[ALPHABET]) {
    ds_status status = DS_OK;
    size_t left = strlen(key), step;
    bytes->length = 0;
    if (left == 0) return ds_fail(DS_ERR_INPUT, "%s: a token is the empty string", DS_SHOW(bpe->path));
    if (bpe->characters) return ds_text_append(bytes, key, left);
    for (const char *at = key; left > 0; at += step, left -= step) {
        uint32_t point;
        step = ds_utf8_decode(&point, at, left);
        if (step == 0 || point >= ALPHABET || byte_of[point] < 0)
            return ds_fail(DS_ERR_INPUT, "%s: token \"%s\" has a character outside GPT-2's alphabet of bytes (at byte %td)",
                           DS_SHOW(bpe->path), DS_SHOW(key), at - key);
        char byte = (char)byte_of[point];
        DS_TRY(ds_text_append(bytes, &byte, 1));
    }
done:
    return status;
}

/* Tokens of one byte, or of one character, are where merging begins. */
static void note_symbol(ds_bpe *bpe, const ds_text *bytes, uint32_t id) {
    uint32_t point;
    if (!bpe->characters && bytes->length == 1) bpe->byte_token[(uint8_t)bytes->bytes[0]] = id;
    if (bpe->characters && ds_utf8_decode(&point, bytes->bytes, bytes->length) == bytes->length)
        bpe->point_token[point] = id + 1;
}

static ds_status check_id(json_int_t *id, const ds_bpe *bpe, const ds_pieces *pieces, const char *key, const json_t *value) {
    *id = json_is_integer(value) ? json_integer_value(value) : -1;
    if (*id >= 0 && (uint64_t)*id < pieces->count) return DS_OK;
    return ds_fail(DS_ERR_INPUT, "%s: the id of token \"%s\" is not an integer from 0 to %zu, one below the number of tokens",
                   DS_SHOW(bpe->path), DS_SHOW(key), pieces->count - 1);
}

static bool is_piece(const ds_pieces *pieces, size_t id, const char *key) {
    const ds_piece *piece = &pieces->entries[id];
    return ds_is_word(key, pieces->bytes.bytes + piece->offset, piece->length);
}

static int compare_bytes(const void *a, const void *b) {
    const ds_whole *x = a, *y = b;
    int order = memcmp(x->bytes, y->bytes, ds_min_size(x->length, y->length));
    return order != 0 ? order : (x->length > y->length) - (x->length < y->length);
}

static ds_status list_wholes(ds_bpe *bpe, const ds_pieces *pieces, json_t *vocabulary) {
    ds_status status = DS_OK;
    const char *key;
    json_t *value;
    DS_NEW(bpe->wholes, json_object_size(vocabulary));
    json_object_foreach(vocabulary, key, value) {
        const ds_piece *piece = &pieces->entries[json_integer_value(value)];
        bpe->wholes[bpe->whole_count++] =
            (ds_whole){pieces->bytes.bytes + piece->offset, piece->length, (uint32_t)json_integer_value(value)};
    }
    qsort(bpe->wholes, bpe->whole_count, sizeof *bpe->wholes, compare_bytes);
done:
    return status;
}

ds_status ds_bpe_take_vocabulary(ds_bpe *bpe, ds_pieces *pieces, json_t *vocabulary, bool whole_first) {
    ds_status status = DS_OK;
    ds_text bytes = {0};
    bool *added = NULL;
    int16_t byte_of[ALPHABET];
    const char *key;
    json_t *value;
    json_int_t id;
    fill_alphabet(byte_of);
    for (size_t i = 0; i < 256; i++) bpe->byte_token[i] = DS_BPE_NONE;
    if (bpe->characters) DS_NEW(bpe->point_token, DS_CODE_POINTS);
    DS_NEW(added, pieces->count);
    for (size_t i = 0; i < pieces->count; i++) added[i] = pieces->entries[i].length != 0;
    json_object_foreach(vocabulary, key, value) {
        DS_TRY(check_id(&id, bpe, pieces, key, value));
        bool again = added[id] && is_piece(pieces, (size_t)id, key);
        if (pieces->entries[id].length != 0 && !again) {
            status = ds_fail(DS_ERR_INPUT, "%s: token \"%s\" has id %" JSON_INTEGER_FORMAT " that another token has already",
                             DS_SHOW(bpe->path), DS_SHOW(key), id);
            goto done;
        }
        added[id] = false; /* what an added token repeats, one spelling of the vocabulary does */
        status = spell(&bytes, bpe, key, byte_of);
        if (status == DS_ERR_INPUT && again) continue; /* the spelling of an added token is its text */
        if (status != DS_OK) goto done;
        note_symbol(bpe, &bytes, (uint32_t)id);
        if (!again) DS_TRY(ds_pieces_set(pieces, (size_t)id, bytes.bytes, bytes.length));
    }
    status = whole_first ? list_wholes(bpe, pieces, vocabulary) : DS_OK;
done:
    ds_text_release(&bytes);
    free(added);
    return status;
}

/* ---- merges ------------------------------------------------------------------------------------------------------ */

static ds_status find_token(uint32_t *id, const char *key, const ds_merge_source *source) {
    const json_t *value = json_object_get(source->vocabulary, key);
    if (value == NULL)
        return ds_fail(DS_ERR_INPUT, "%s: %s %zu: token \"%s\" is not in %s", DS_SHOW(source->path), source->unit,
                       source->number, DS_SHOW(key), source->listed);
    *id = (uint32_t)json_integer_value(value); /* the vocabulary was taken: an integer below the number of tokens */
    return DS_OK;
}

ds_status ds_bpe_add_merge(ds_bpe *bpe, const char *left, const char *right, const ds_merge_source *source) {
    ds_status status = DS_OK;
    ds_text both = {0};
    ds_merge m;
    void *storage = bpe->merges;
    DS_TRY(find_token(&m.left, left, source));
    DS_TRY(find_token(&m.right, right, source));
    DS_TRY(ds_text_printf(&both, "%s%s", left, right));
    DS_TRY(find_token(&m.result, both.bytes, source));
    status = ds_grow(&storage, &bpe->merge_capacity, bpe->merge_count + 1, sizeof *bpe->merges);
    bpe->merges = storage;
    if (status == DS_OK) bpe->merges[bpe->merge_count++] = m;
done:
    ds_text_release(&both);
    return status;
}

ds_status ds_bpe_add_line(ds_bpe *bpe, char *line, const ds_merge_source *source) {
    char *space = strchr(line, ' ');
    if (space == NULL || space == line || space[1] == '\0' || strchr(space + 1, ' ') != NULL)
        return ds_fail(DS_ERR_INPUT, "%s: %s %zu: \"%s\" found, two tokens with one space between them expected",
                       DS_SHOW(source->path), source->unit, source->number, DS_SHOW(line));
    *space = '\0';
    return ds_bpe_add_merge(bpe, line, space + 1, source);
}

static int compare_right(const void *a, const void *b) {
    uint32_t x = ((const ds_ranked *)a)->right, y = ((const ds_ranked *)b)->right;
    return (x > y) - (x < y);
}

/* Counting sort by left part, then each row by right part. */
ds_status ds_bpe_index_merges(ds_bpe *bpe, size_t vocab, const char *path) {
    ds_status status = DS_OK;
    DS_NEW(bpe->first, vocab + 1);
    DS_NEW(bpe->pairs, bpe->merge_count);
    for (size_t i = 0; i < bpe->merge_count; i++) bpe->first[bpe->merges[i].left]++;
    for (size_t i = 1; i <= vocab; i++) bpe->first[i] += bpe->first[i - 1];
    for (size_t i = bpe->merge_count; i-- > 0;) {
        const ds_merge *m = &bpe->merges[i];
        bpe->pairs[--bpe->first[m->left]] = (ds_ranked){m->right, (uint32_t)i};
    }
    for (size_t left = 0; left < vocab && status == DS_OK; left++) {
        ds_ranked *row = bpe->pairs + bpe->first[left];
        size_t count = bpe->first[left + 1] - bpe->first[left];
        qsort(row, count, sizeof *row, compare_right);
        for (size_t i = 1; i < count && status == DS_OK; i++) {
            if (row[i].right == row[i - 1].right)
                status =
                    ds_fail(DS_ERR_INPUT, "%s: the pair of merge %" PRIu32 " (counted from 0) is also that of merge %" PRIu32,
                            DS_SHOW(path), row[i].rank, row[i - 1].rank);
        }
    }
done:
    return status;
}

/* ---- patterns ---------------------------------------------------------------------------------------------------- */

/* White space is spelt out as Unicode's White_Space: PCRE2's \s also takes U+180E, which lost that property in Unicode 6.3 and
 * is no space to the originals. Every alternative is tried where the last match ended, and one of them always matches. */
#define SPACE "\\p{Z}\\x{9}-\\x{d}\\x{85}"
#define SPACES "[" SPACE "]+(?![^" SPACE "])|[" SPACE "]+"
#define ENDINGS "'s|'t|'re|'ve|'m|'ll|'d"
/* Endings in any case, a word with what stands before it, numbers by `digits`, marks with line ends, white space up to its last
 * line end (written so that nothing is gone over twice), other white space. */
#define BLANK "\\p{Z}\\x{9}\\x{b}\\x{c}\\x{85}"
#define NEWER(digits)                                                                                                          \
    "(?i:" ENDINGS ")|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}" digits "| ?[^" SPACE "\\p{L}\\p{N}]+[\\r\\n]*|"                    \
    "(?:[" BLANK "]*+[\\r\\n]++)++|" SPACES
#define NEWER_PUBLISHED(digits)                                                                                                \
    "(?i:" ENDINGS ")|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}" digits                                                             \
    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

/* As published, and as PCRE2 has to have it. No other pattern of a file is run: some take for ever. */
static const struct {
    const char *published, *text;
} patterns[] = {
    [DS_CUT_GPT2] = {ENDINGS "| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
                     ENDINGS "| ?\\p{L}+| ?\\p{N}+| ?[^" SPACE "\\p{L}\\p{N}]+|" SPACES},
    [DS_CUT_LLAMA3] = {NEWER_PUBLISHED("{1,3}"), NEWER("{1,3}")},
    [DS_CUT_QWEN2] = {NEWER_PUBLISHED(""), NEWER("")},
};

ds_bpe_cut ds_bpe_cut_of(const char *pattern) {
    ds_bpe_cut cut = DS_CUT_QWEN2;
    while (cut != DS_CUT_NOT && strcmp(patterns[cut].published, pattern) != 0) cut--;
    return cut;
}

ds_status ds_bpe_set_cut(ds_bpe *bpe, ds_bpe_cut cut) {
    int error;
    PCRE2_SIZE offset;
    if (cut == DS_CUT_NOT) return DS_OK;
    bpe->pattern = pcre2_compile((PCRE2_SPTR)patterns[cut].text, PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_UCP | PCRE2_ANCHORED,
                                 &error, &offset, NULL);
    if (bpe->pattern == NULL)
        return ds_fail(DS_ERR_SYSTEM, "PCRE2 does not compile a tokenizer's pattern: error %d at byte %zu", error, offset);
    (void)pcre2_jit_compile(bpe->pattern, PCRE2_JIT_COMPLETE); /* without machine code it is interpreted: the same matches */
    return DS_OK;
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

ds_status ds_bpe_new(ds_bpe **out, const char *path) {
    ds_status status = DS_OK;
    ds_bpe *bpe = NULL;
    DS_NEW(bpe, 1);
    bpe->path = ds_strdup(path);
    if (bpe->path == NULL) status = DS_ERR_SYSTEM;
done:
    if (status != DS_OK) ds_bpe_close(&bpe);
    *out = bpe;
    return status;
}

void ds_bpe_close(ds_bpe **bpe) {
    if (*bpe == NULL) return;
    pcre2_code_free((*bpe)->pattern);
    free((*bpe)->path);
    free((*bpe)->point_token);
    free((*bpe)->merges);
    free((*bpe)->pairs);
    free((*bpe)->first);
    free((*bpe)->wholes);
    free(*bpe);
    *bpe = NULL;
}
