/* The inside of a byte-pair encoding, which its readers fill: vocab.json with merges.txt, tokenizer.json. Private to io. */
#ifndef DELTASCOPE_IO_BPE_H
#define DELTASCOPE_IO_BPE_H

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "tokenizer.h"

/* No rank, no token. */
#define DS_BPE_NONE UINT32_MAX

/* Pair (left, right) becomes `result`; the rank is its index. */
typedef struct ds_merge {
    uint32_t left, right, result;
} ds_merge;

typedef struct ds_ranked {
    uint32_t right, rank;
} ds_ranked;

/* A token of the vocabulary by its bytes. */
typedef struct ds_whole {
    const char *bytes;
    size_t length;
    uint32_t id;
} ds_whole;

struct ds_bpe {
    char *path;          /* of the vocabulary, for sentences */
    pcre2_code *pattern; /* cuts a text into pieces; NULL: the text is one piece */
    bool composed;       /* texts are put into NFC first */
    bool characters;     /* tokens are spelt in characters; otherwise in GPT-2's alphabet of bytes */
    uint32_t byte_token[256];
    uint32_t *point_token; /* (code points) id + 1, 0 for none; NULL unless `characters` */
    size_t merge_count, merge_capacity;
    ds_merge *merges; /* (merge_count) by rank */
    ds_ranked *pairs; /* (merge_count) by left, then right: a sorted table, which no crafted file can make slow */
    uint32_t *first;  /* (vocab + 1) pairs with left part L are first[L] .. first[L+1] - 1 */
    ds_whole *wholes; /* (whole_count) by bytes: pieces that are tokens before any merge; NULL: none are */
    size_t whole_count;
};

/* How a text is cut. */
typedef enum ds_bpe_cut { DS_CUT_NOT, DS_CUT_GPT2, DS_CUT_LLAMA3, DS_CUT_QWEN2 } ds_bpe_cut;
/* As the published files spell the pattern, DS_CUT_NOT for one that is none of these. */
ds_bpe_cut ds_bpe_cut_of(const char *pattern);
ds_status ds_bpe_set_cut(ds_bpe *bpe, ds_bpe_cut cut) DS_MUST_CHECK;

ds_status ds_bpe_new(ds_bpe **out, const char *path) DS_MUST_CHECK;
/* Takes the tokens of a JSON object from spellings to ids, all below pieces->count, none twice. Pieces that are there already
 * are of tokens added beside it: the same spelling may have the same id again. `whole_first`: fills bpe->wholes. */
ds_status ds_bpe_take_vocabulary(ds_bpe *bpe, ds_pieces *pieces, json_t *vocabulary, bool whole_first) DS_MUST_CHECK;
/* The next merge, of two tokens as they are spelt; `place` and `listed` say where it stands and where tokens do. */
typedef struct ds_merge_source {
    const json_t *vocabulary;
    const char *path, *listed; /* "merges.txt"; "vocab.json" */
    const char *unit;          /* "line" */
    size_t number;
} ds_merge_source;
ds_status ds_bpe_add_merge(ds_bpe *bpe, const char *left, const char *right, const ds_merge_source *source) DS_MUST_CHECK;
/* "LEFT RIGHT"; written to while it is split. */
ds_status ds_bpe_add_line(ds_bpe *bpe, char *line, const ds_merge_source *source) DS_MUST_CHECK;
/* After the last merge. */
ds_status ds_bpe_index_merges(ds_bpe *bpe, size_t vocab, const char *path) DS_MUST_CHECK;

#endif
