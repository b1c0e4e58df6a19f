/* GPT-2's byte-pair encoding: tokenizer.h says what it is. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <inttypes.h>
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

#include "recognise.h"
#include "tokenizer.h"

enum {
    MAX_VOCAB_BYTES = 1 << 26,
    MAX_MERGES_BYTES = 1 << 26,
    ALPHABET = 324, /* code points 0 .. 323 can stand for a byte */
    CACHE_ENTRIES = 1 << 15,
    CACHED_LENGTH = 64, /* longer pieces hardly repeat */
};
static const uint32_t NONE = UINT32_MAX; /* no rank, no token */

/* Pair (left, right) becomes `result`; the rank is its index. */
typedef struct merge {
    uint32_t left, right, result;
} merge;

typedef struct ranked {
    uint32_t right, rank;
} ranked;

struct ds_bpe {
    pcre2_code *pattern;
    uint32_t byte_token[256];
    size_t merge_count;
    merge *merges;   /* (merge_count) by rank */
    ranked *pairs;   /* (merge_count) by left, then right: a sorted table, which no crafted file can make slow */
    uint32_t *first; /* (vocab + 1) pairs with left part L are first[L] .. first[L+1] - 1 */
};

/* ---- vocab.json -----------------------------------------------------------------------------------------------------------
 */

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

/* The bytes a key of vocab.json spells; NUL-terminated UTF-8 in, at most as many bytes out. */
static ds_status spell(ds_text *bytes, const char *key, const int16_t byte_of[ALPHABET], const char *path) {
    size_t left = strlen(key), step;
    const char *at = key;
    bytes->length = 0;
    for (; left > 0; at += step, left -= step) {
        uint32_t point;
        step = ds_utf8_decode(&point, at, left);
        if (step == 0 || point >= ALPHABET || byte_of[point] < 0)
            return ds_fail(DS_ERR_INPUT, "%s: token \"%s\" has a character outside GPT-2's alphabet of bytes (at byte %td)",
                           DS_SHOW(path), DS_SHOW(key), at - key);
        char byte = (char)byte_of[point];
        ds_status status = ds_text_append(bytes, &byte, 1);
        if (status != DS_OK) return status;
    }
    if (bytes->length == 0) return ds_fail(DS_ERR_INPUT, "%s: a token is the empty string", DS_SHOW(path));
    return DS_OK;
}

static ds_status read_vocabulary(ds_bpe *bpe, ds_pieces *pieces, json_t *vocabulary, const char *path) {
    ds_status status = DS_OK;
    ds_text bytes = {0};
    int16_t byte_of[ALPHABET];
    const char *key;
    json_t *value;
    fill_alphabet(byte_of);
    for (size_t i = 0; i < 256; i++) bpe->byte_token[i] = NONE;
    pieces->count = json_object_size(vocabulary);
    DS_NEW(pieces->entries, pieces->count);
    json_object_foreach(vocabulary, key, value) {
        json_int_t id = json_is_integer(value) ? json_integer_value(value) : -1;
        if (id < 0 || (uint64_t)id >= pieces->count) {
            status = ds_fail(DS_ERR_INPUT,
                             "%s: the id of token \"%s\" is not an integer from 0 to %zu, one below the number of tokens",
                             DS_SHOW(path), DS_SHOW(key), pieces->count - 1);
            goto done;
        }
        if (pieces->entries[id].length != 0) {
            status = ds_fail(DS_ERR_INPUT, "%s: token \"%s\" has id %" JSON_INTEGER_FORMAT " that another token has already",
                             DS_SHOW(path), DS_SHOW(key), id);
            goto done;
        }
        DS_TRY(spell(&bytes, key, byte_of, path));
        DS_TRY(ds_pieces_set(pieces, (size_t)id, bytes.bytes, bytes.length));
        if (bytes.length == 1) bpe->byte_token[(uint8_t)bytes.bytes[0]] = (uint32_t)id;
    }
    for (size_t i = 0; i < 256 && status == DS_OK; i++) {
        if (bpe->byte_token[i] == NONE)
            status = ds_fail(DS_ERR_INPUT, "%s: no token for the single byte 0x%02zX; all 256 are expected", DS_SHOW(path), i);
    }
done:
    ds_text_release(&bytes);
    return status;
}

static ds_status load_vocabulary(json_t **vocabulary, ds_bpe *bpe, ds_pieces *pieces, const char *path) {
    ds_status status = DS_OK;
    char *bytes = NULL;
    size_t length;
    DS_TRY(ds_read_file(&bytes, &length, path, MAX_VOCAB_BYTES));
    DS_TRY(ds_json_parse(vocabulary, bytes, length, path));
    if (!json_is_object(*vocabulary) || json_object_size(*vocabulary) == 0) {
        status = ds_fail(DS_ERR_INPUT, "%s: not a JSON object from tokens to ids", DS_SHOW(path));
        goto done;
    }
    DS_TRY(read_vocabulary(bpe, pieces, *vocabulary, path));
done:
    free(bytes);
    return status;
}

/* ---- merges.txt -----------------------------------------------------------------------------------------------------------
 */

static ds_status find_token(uint32_t *id, const json_t *vocabulary, const char *key, size_t line, const char *path) {
    const json_t *value = json_object_get(vocabulary, key);
    if (value == NULL)
        return ds_fail(DS_ERR_INPUT, "%s: line %zu: token \"%s\" is not in vocab.json", DS_SHOW(path), line, DS_SHOW(key));
    *id = (uint32_t)json_integer_value(value); /* read_vocabulary saw an integer below the number of tokens */
    return DS_OK;
}

/* "LEFT RIGHT", NUL-terminated; written to while it is split. */
static ds_status parse_merge(merge *m, char *text, const json_t *vocabulary, size_t line, const char *path) {
    char *space = strchr(text, ' ');
    if (space == NULL || space == text || space[1] == '\0' || strchr(space + 1, ' ') != NULL)
        return ds_fail(DS_ERR_INPUT, "%s: line %zu: \"%s\" found, two tokens with one space between them expected",
                       DS_SHOW(path), line, DS_SHOW(text));
    ds_status status = DS_OK;
    char *right = space + 1;
    *space = '\0';
    DS_TRY(find_token(&m->left, vocabulary, text, line, path));
    DS_TRY(find_token(&m->right, vocabulary, right, line, path));
    memmove(space, right, strlen(right) + 1);
    DS_TRY(find_token(&m->result, vocabulary, text, line, path));
done:
    return status;
}

static ds_status parse_merges(ds_bpe *bpe, char *bytes, size_t length, const json_t *vocabulary, const char *path) {
    ds_status status = DS_OK;
    size_t capacity = 0, line = 0;
    if (memchr(bytes, '\0', length) != NULL)
        return ds_fail(DS_ERR_INPUT, "%s: a NUL byte at byte %zu, text expected", DS_SHOW(path), strlen(bytes));
    for (char *at = bytes, *end = bytes + length; at < end;) {
        char *newline = memchr(at, '\n', (size_t)(end - at));
        char *stop = newline == NULL ? end : newline;
        *stop = '\0'; /* the buffer has a byte beyond its length */
        line++;
        if (line > 1 || strncmp(at, "#version", 8) != 0) {
            void *storage = bpe->merges;
            status = ds_grow(&storage, &capacity, bpe->merge_count + 1, sizeof *bpe->merges);
            bpe->merges = storage;
            if (status != DS_OK) break;
            status = parse_merge(&bpe->merges[bpe->merge_count], at, vocabulary, line, path);
            if (status != DS_OK) break;
            bpe->merge_count++;
        }
        at = stop + 1;
    }
    return status;
}

static int compare_right(const void *a, const void *b) {
    uint32_t x = ((const ranked *)a)->right, y = ((const ranked *)b)->right;
    return (x > y) - (x < y);
}

/* Counting sort by left part, then each row by right part. */
static ds_status index_merges(ds_bpe *bpe, size_t vocab, const char *path) {
    ds_status status = DS_OK;
    DS_NEW(bpe->first, vocab + 1);
    DS_NEW(bpe->pairs, bpe->merge_count);
    for (size_t i = 0; i < bpe->merge_count; i++) bpe->first[bpe->merges[i].left]++;
    for (size_t i = 1; i <= vocab; i++) bpe->first[i] += bpe->first[i - 1];
    for (size_t i = bpe->merge_count; i-- > 0;) {
        const merge *m = &bpe->merges[i];
        bpe->pairs[--bpe->first[m->left]] = (ranked){m->right, (uint32_t)i};
    }
    for (size_t left = 0; left < vocab && status == DS_OK; left++) {
        ranked *row = bpe->pairs + bpe->first[left];
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

static ds_status load_merges(ds_bpe *bpe, size_t vocab, const json_t *vocabulary, const char *path) {
    ds_status status = DS_OK;
    char *bytes = NULL;
    size_t length;
    DS_TRY(ds_read_file(&bytes, &length, path, MAX_MERGES_BYTES));
    DS_TRY(ds_kind_refuse(path, bytes, length, "GPT-2's merges.txt"));
    DS_TRY(parse_merges(bpe, bytes, length, vocabulary, path));
    DS_TRY(index_merges(bpe, vocab, path));
done:
    free(bytes);
    return status;
}

/* ---- opening ----------------------------------------------------------------------------------------------------------------
 */

/* GPT-2's pattern. White space is spelt out as Unicode's White_Space: PCRE2's \s also takes U+180E, which lost that property
 * in Unicode 6.3 and is no space to the original. Every alternative is tried where the last match ended. */
#define SPACE "\\p{Z}\\x{9}-\\x{d}\\x{85}"
static ds_status compile_pattern(pcre2_code **pattern) {
    static const char text[] =
        "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^" SPACE "\\p{L}\\p{N}]+|[" SPACE "]+(?![^" SPACE "])|[" SPACE "]+";
    int code;
    PCRE2_SIZE offset;
    *pattern = pcre2_compile((PCRE2_SPTR)text, sizeof text - 1, PCRE2_UTF | PCRE2_UCP | PCRE2_ANCHORED, &code, &offset, NULL);
    if (*pattern == NULL)
        return ds_fail(DS_ERR_SYSTEM, "PCRE2 does not compile GPT-2's pattern: error %d at byte %zu", code, offset);
    (void)pcre2_jit_compile(*pattern, PCRE2_JIT_COMPLETE); /* without machine code it is interpreted: the same matches */
    return DS_OK;
}

ds_status ds_bpe_open(ds_bpe **out, ds_pieces *pieces, const char *folder) {
    ds_status status = DS_OK;
    ds_text path = {0};
    ds_bpe *bpe = NULL;
    json_t *vocabulary = NULL;
    DS_NEW(bpe, 1);
    DS_TRY(compile_pattern(&bpe->pattern));
    DS_TRY(ds_text_printf(&path, "%s/vocab.json", folder));
    DS_TRY(load_vocabulary(&vocabulary, bpe, pieces, path.bytes));
    path.length = 0;
    DS_TRY(ds_text_printf(&path, "%s/merges.txt", folder));
    DS_TRY(load_merges(bpe, pieces->count, vocabulary, path.bytes));
done:
    json_decref(vocabulary);
    ds_text_release(&path);
    if (status != DS_OK) ds_bpe_close(&bpe);
    *out = bpe;
    return status;
}

void ds_bpe_close(ds_bpe **bpe) {
    if (*bpe == NULL) return;
    pcre2_code_free((*bpe)->pattern);
    free((*bpe)->merges);
    free((*bpe)->pairs);
    free((*bpe)->first);
    free(*bpe);
    *bpe = NULL;
}

/* ---- merging one piece ------------------------------------------------------------------------------------------------------
 */

/* A doubly linked list over the positions of a piece's bytes: a token sits where its first byte was. */
typedef struct symbol {
    uint32_t id, previous, next; /* id NONE: absorbed by a token on the left */
} symbol;

/* A piece met before: its bytes in the text and its ids among those already made. */
typedef struct remembered {
    uint32_t offset, length; /* length 0: nothing */
    size_t first_id;
    uint32_t id_count;
} remembered;

typedef struct workspace {
    size_t capacity; /* bytes of a piece */
    symbol *symbols; /* (capacity) */
    /* (3 capacity) candidates rank * 2^32 + position: a binary heap in front, candidates that wait at the end. A piece of n
     * bytes starts with n - 1 pairs and each of its at most n - 1 merges makes at most 2. */
    uint64_t *heap;
    size_t heap_count, waiting;
    remembered *cache; /* (cache_mask + 1) by hash of the piece; a newer piece takes the place of an older one */
    size_t cache_mask;
} workspace;

static uint32_t rank_of(const ds_bpe *bpe, uint32_t left, uint32_t right) {
    size_t low = bpe->first[left], high = bpe->first[left + 1];
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (bpe->pairs[middle].right == right) return bpe->pairs[middle].rank;
        if (bpe->pairs[middle].right < right)
            low = middle + 1;
        else
            high = middle;
    }
    return NONE;
}

static void heap_push(workspace *w, uint64_t candidate) {
    size_t at = w->heap_count++;
    for (; at > 0 && w->heap[(at - 1) / 2] > candidate; at = (at - 1) / 2) w->heap[at] = w->heap[(at - 1) / 2];
    w->heap[at] = candidate;
}

static uint64_t heap_pop(workspace *w) {
    uint64_t smallest = w->heap[0], last = w->heap[--w->heap_count];
    size_t at = 0;
    for (size_t child; (child = 2 * at + 1) < w->heap_count; at = child) {
        if (child + 1 < w->heap_count && w->heap[child + 1] < w->heap[child]) child++;
        if (last <= w->heap[child]) break;
        w->heap[at] = w->heap[child];
    }
    w->heap[at] = last;
    return smallest;
}

/* The pair that starts at `position`, if it has a rank, becomes a candidate of the next round. */
static void wait_for(workspace *w, const ds_bpe *bpe, size_t position, size_t length) {
    const symbol *left = &w->symbols[position];
    if (left->next == length) return;
    uint32_t rank = rank_of(bpe, left->id, w->symbols[left->next].id);
    if (rank != NONE) w->heap[3 * w->capacity - ++w->waiting] = (uint64_t)rank << 32 | position;
}

static void start_round(workspace *w) {
    while (w->waiting > 0) heap_push(w, w->heap[3 * w->capacity - w->waiting--]);
}

/* Merges the pair at `position` unless an earlier merge has changed it. */
static void apply_merge(workspace *w, const ds_bpe *bpe, const merge *m, size_t position, size_t length) {
    symbol *left = &w->symbols[position];
    if (left->id != m->left || left->next == length || w->symbols[left->next].id != m->right) return;
    symbol *right = &w->symbols[left->next];
    left->id = m->result;
    left->next = right->next;
    right->id = NONE;
    if (left->next < length) w->symbols[left->next].previous = (uint32_t)position;
    wait_for(w, bpe, position, length);
    if (position > 0) wait_for(w, bpe, left->previous, length);
}

/* One round per rank: all its pairs, leftmost first, before any pair that these merges create. */
static ds_status merge_piece(ds_ids *ids, workspace *w, const ds_bpe *bpe, const uint8_t *bytes, size_t length) {
    if (length > w->capacity) {
        size_t capacity = ds_max_size(length, 2 * w->capacity);
        free(w->symbols);
        free(w->heap);
        w->symbols = ds_alloc_array(capacity, sizeof *w->symbols);
        w->heap = ds_alloc_array(capacity, 3 * sizeof *w->heap);
        if (w->symbols == NULL || w->heap == NULL) return DS_ERR_SYSTEM;
        w->capacity = capacity;
    }
    for (size_t i = 0; i < length; i++)
        w->symbols[i] = (symbol){bpe->byte_token[bytes[i]], (uint32_t)(i - 1), (uint32_t)(i + 1)};
    for (size_t i = 0; i + 1 < length; i++) wait_for(w, bpe, i, length);
    start_round(w);
    while (w->heap_count > 0) {
        uint64_t rank = w->heap[0] >> 32;
        while (w->heap_count > 0 && w->heap[0] >> 32 == rank)
            apply_merge(w, bpe, &bpe->merges[rank], heap_pop(w) & UINT32_MAX, length);
        start_round(w);
    }
    for (size_t i = 0; i < length; i = w->symbols[i].next) ids->ids[ids->count++] = w->symbols[i].id;
    return DS_OK;
}

/* ---- a text ------------------------------------------------------------------------------------------------------ */

static size_t hash_piece(const uint8_t *bytes, size_t length) {
    uint64_t hash = 0xCBF29CE484222325u; /* FNV-1a */
    for (size_t i = 0; i < length; i++) hash = (hash ^ bytes[i]) * 0x100000001B3u;
    return (size_t)(hash ^ hash >> 32);
}

static ds_status encode_piece(ds_ids *ids, workspace *w, const ds_bpe *bpe, const char *text, size_t offset, size_t length) {
    const uint8_t *bytes = (const uint8_t *)text + offset;
    ds_status status = ds_ids_reserve(ids, length);
    if (status != DS_OK) return status;
    if (length > CACHED_LENGTH) return merge_piece(ids, w, bpe, bytes, length);
    remembered *slot = &w->cache[hash_piece(bytes, length) & w->cache_mask];
    if (slot->length == length && memcmp(text + slot->offset, bytes, length) == 0) {
        memcpy(ids->ids + ids->count, ids->ids + slot->first_id, slot->id_count * sizeof *ids->ids);
        ids->count += slot->id_count;
        return DS_OK;
    }
    size_t first = ids->count;
    status = merge_piece(ids, w, bpe, bytes, length);
    *slot = (remembered){(uint32_t)offset, (uint32_t)length, first, (uint32_t)(ids->count - first)};
    return status;
}

ds_status ds_bpe_encode(ds_ids *ids, const ds_bpe *bpe, const char *text, size_t length) {
    ds_status status = DS_OK;
    workspace w = {0};
    pcre2_match_data *match = pcre2_match_data_create(1, NULL);
    if (match == NULL) return ds_fail(DS_ERR_SYSTEM, "out of memory: PCRE2 match data");
    while (w.cache_mask < length && w.cache_mask < CACHE_ENTRIES - 1) w.cache_mask = 2 * w.cache_mask + 1;
    DS_NEW(w.cache, w.cache_mask + 1);
    for (size_t at = 0; at < length;) {
        /* the UTF-8 is known to be good: checking it again at every piece would make the whole quadratic */
        int found = pcre2_match(bpe->pattern, (PCRE2_SPTR)text, length, at, PCRE2_NO_UTF_CHECK, match, NULL);
        size_t end = found > 0 ? pcre2_get_ovector_pointer(match)[1] : at;
        if (end <= at) { /* every character is in one of the pattern's classes */
            status = ds_fail(DS_ERR_SYSTEM, "PCRE2 failed on text to tokenize, at byte %zu: error %d", at, found);
            goto done;
        }
        DS_TRY(encode_piece(ids, &w, bpe, text, at, end - at));
        at = end;
    }
done:
    pcre2_match_data_free(match);
    free(w.symbols);
    free(w.heap);
    free(w.cache);
    return status;
}
