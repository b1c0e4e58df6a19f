/* Byte-pair encoding of a text: tokenizer.h says what it is, bpe.h what it is made of. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "bpe.h"

enum {
    CACHE_ENTRIES = 1 << 15,
    CACHED_LENGTH = 64, /* longer pieces hardly repeat */
};

/* ---- merging one piece ------------------------------------------------------------------------------------------------------
 */

/* A doubly linked list over the positions of a piece's bytes: a token sits where its first byte was. */
typedef struct symbol {
    uint32_t id, previous, next; /* id DS_BPE_NONE: absorbed by a token on the left */
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
    return DS_BPE_NONE;
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
    if (rank != DS_BPE_NONE) w->heap[3 * w->capacity - ++w->waiting] = (uint64_t)rank << 32 | position;
}

static void start_round(workspace *w) {
    while (w->waiting > 0) heap_push(w, w->heap[3 * w->capacity - w->waiting--]);
}

/* Merges the pair at `position` unless an earlier merge has changed it. */
static void apply_merge(workspace *w, const ds_bpe *bpe, const ds_merge *m, size_t position, size_t length) {
    symbol *left = &w->symbols[position];
    if (left->id != m->left || left->next == length || w->symbols[left->next].id != m->right) return;
    symbol *right = &w->symbols[left->next];
    left->id = m->result;
    left->next = right->next;
    right->id = DS_BPE_NONE;
    if (left->next < length) w->symbols[left->next].previous = (uint32_t)position;
    wait_for(w, bpe, position, length);
    if (position > 0) wait_for(w, bpe, left->previous, length);
}

/* Of the byte or character at the front, `step` bytes long; DS_BPE_NONE where it has none. */
static uint32_t first_token(const ds_bpe *bpe, const char *bytes, size_t length, size_t *step) {
    uint32_t point = 0;
    *step = 1;
    if (!bpe->characters) return bpe->byte_token[(uint8_t)bytes[0]];
    *step = ds_utf8_decode(&point, bytes, length);
    return bpe->point_token[point] - 1; /* 0 wraps to none */
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
    size_t before = UINT32_MAX;
    for (size_t i = 0, step; i < length; before = i, i += step) {
        uint32_t id = first_token(bpe, (const char *)bytes + i, length - i, &step);
        w->symbols[i] = (symbol){id, (uint32_t)before, (uint32_t)(i + step)};
    }
    for (size_t i = 0; i < length; i = w->symbols[i].next) wait_for(w, bpe, i, length);
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

/* The id of a piece that is a token as it is. */
static uint32_t whole_token(const ds_bpe *bpe, const char *bytes, size_t length) {
    size_t low = 0, high = bpe->whole_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const ds_whole *whole = &bpe->wholes[middle];
        int order = memcmp(whole->bytes, bytes, ds_min_size(whole->length, length));
        if (order == 0 && whole->length == length) return whole->id;
        if (order < 0 || (order == 0 && whole->length < length))
            low = middle + 1;
        else
            high = middle;
    }
    return DS_BPE_NONE;
}

static ds_status encode_piece(ds_ids *ids, workspace *w, const ds_bpe *bpe, const char *text, size_t offset, size_t length) {
    const uint8_t *bytes = (const uint8_t *)text + offset;
    ds_status status = ds_ids_reserve(ids, length);
    if (status != DS_OK) return status;
    uint32_t whole = whole_token(bpe, text + offset, length);
    if (whole != DS_BPE_NONE) {
        ids->ids[ids->count++] = whole;
        return DS_OK;
    }
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

static ds_status no_token(const ds_bpe *bpe, const char *text, size_t at, size_t step, const char *where) {
    ds_name place = ds_text_place(text, at);
    const char *form = bpe->composed ? " of the text in NFC" : "";
    if (bpe->characters)
        return ds_fail(DS_ERR_INPUT, "%s: character \"%s\" at %s%s has no token in %s", DS_SHOW(where),
                       ds_escape(text + at, step).text, place.text, form, DS_SHOW(bpe->path));
    return ds_fail(DS_ERR_INPUT, "%s: the value 0x%02X of %s%s has no token in %s", DS_SHOW(where), (uint8_t)text[at],
                   place.text, form, DS_SHOW(bpe->path));
}

/* Every byte or character of the text has a token. */
static ds_status check_text(const ds_bpe *bpe, const char *text, size_t length, const char *where) {
    for (size_t at = 0, step; at < length; at += step) {
        if (first_token(bpe, text + at, length - at, &step) == DS_BPE_NONE) return no_token(bpe, text, at, step, where);
    }
    return DS_OK;
}

/* Where the piece that begins at `at` ends. */
static ds_status cut(size_t *end, const ds_bpe *bpe, pcre2_match_data *match, const char *text, size_t length, size_t at) {
    *end = length;
    if (bpe->pattern == NULL) return DS_OK;
    /* the UTF-8 is known to be good: checking it again at every piece would make the whole quadratic */
    int found = pcre2_match(bpe->pattern, (PCRE2_SPTR)text, length, at, PCRE2_NO_UTF_CHECK, match, NULL);
    *end = found > 0 ? pcre2_get_ovector_pointer(match)[1] : at;
    if (*end > at) return DS_OK; /* every character is in one of the pattern's classes */
    return ds_fail(DS_ERR_SYSTEM, "PCRE2 failed on text to tokenize, at byte %zu: error %d", at, found);
}

/* The pieces of a text, one after the other. */
static ds_status encode_pieces(ds_ids *ids, workspace *w, const ds_bpe *bpe, const char *text, size_t length) {
    ds_status status = DS_OK;
    pcre2_match_data *match = pcre2_match_data_create(1, NULL);
    if (match == NULL) return ds_fail(DS_ERR_SYSTEM, "out of memory: PCRE2 match data");
    while (w->cache_mask < length && w->cache_mask < CACHE_ENTRIES - 1) w->cache_mask = 2 * w->cache_mask + 1;
    DS_NEW(w->cache, w->cache_mask + 1);
    for (size_t at = 0, end; at < length; at = end) {
        DS_TRY(cut(&end, bpe, match, text, length, at));
        DS_TRY(encode_piece(ids, w, bpe, text, at, end - at));
    }
done:
    pcre2_match_data_free(match);
    return status;
}

ds_status ds_bpe_encode(ds_ids *ids, const ds_bpe *bpe, const char *text, size_t length, const char *where) {
    ds_status status = DS_OK;
    workspace w = {0};
    char *composed = NULL;
    if (bpe->composed) {
        DS_TRY(ds_nfc(&composed, &length, text, length));
        text = composed;
    }
    DS_TRY(ds_text_fits(length, where)); /* some characters grow in NFC */
    DS_TRY(check_text(bpe, text, length, where));
    status = encode_pieces(ids, &w, bpe, text, length);
done:
    free(composed);
    free(w.symbols);
    free(w.heap);
    free(w.cache);
    return status;
}
