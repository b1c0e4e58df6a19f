/* What the two kinds of tokenizer, characters and byte pairs, share. Private to io. */
#ifndef DELTASCOPE_IO_TOKENIZER_H
#define DELTASCOPE_IO_TOKENIZER_H

#include "deltascope/io.h"

enum { DS_CODE_POINTS = 0x110000 };

/* Bytes of a text are counted in 32 bits. */
ds_status ds_text_fits(size_t length, const char *where) DS_MUST_CHECK;

/* "byte 3 (line 1, column 4)", lines and columns (characters) counted from 1, for a sentence about that byte of a text. */
ds_name ds_text_place(const char *text, size_t at);

/* *out, to be freed with free(), <- a well-formed text in NFC: marks are ordered, and what composes is composed. Characters
 * newer than libunistring stay as they are. O(n log n) in the longest run of marks. */
ds_status ds_nfc(char **out, size_t *out_length, const char *text, size_t length) DS_MUST_CHECK;

/* The bytes of every id. A piece of length 0 is an id without one. */
typedef struct ds_piece {
    size_t offset, length; /* in ds_pieces.bytes */
} ds_piece;

typedef struct ds_pieces {
    ds_piece *entries; /* (count) */
    size_t count;
    ds_text bytes;
} ds_pieces;

/* `id` < count and without bytes so far. */
ds_status ds_pieces_set(ds_pieces *pieces, size_t id, const char *bytes, size_t length) DS_MUST_CHECK;

/* Ids in the making. */
typedef struct ds_ids {
    uint32_t *ids; /* (count) */
    size_t count, capacity;
} ds_ids;

/* Makes room for `more` ids beyond count. */
ds_status ds_ids_reserve(ds_ids *ids, size_t more) DS_MUST_CHECK;

/* Characters (nanoGPT's meta.pkl): one id per code point; longer keys of the table are decoded and never made. */
typedef struct ds_charset ds_charset;
ds_status ds_charset_open(ds_charset **out, ds_pieces *pieces, uint64_t *vocab, const char *path) DS_MUST_CHECK;
void ds_charset_close(ds_charset **charset);
/* `text` is well-formed UTF-8. */
ds_status ds_charset_encode(ds_ids *ids, const ds_charset *charset, const char *text, size_t length,
                            const char *where) DS_MUST_CHECK;

/* Byte-pair encoding as GPT-2 has it (Radford et al. 2019, and its encoder.py; after Sennrich, Haddow, Birch 2016): the text is
 * cut into pieces by a pattern; within a piece, which starts as single bytes, the adjacent pair of lowest rank is merged
 * wherever it occurs, from left to right, until no pair has a rank. O(n log n) for a piece of n bytes. */
typedef struct ds_bpe ds_bpe;
/* Two files of a folder: vocab.json and merges.txt, or what OpenAI called encoder.json and vocab.bpe. */
ds_status ds_bpe_open(ds_bpe **out, ds_pieces *pieces, const char *folder, const char *vocab, const char *merges) DS_MUST_CHECK;
/* A tokenizer.json that holds a byte-pair encoding. */
ds_status ds_bpe_open_json(ds_bpe **out, ds_pieces *pieces, const char *path) DS_MUST_CHECK;
void ds_bpe_close(ds_bpe **bpe);
/* `text` is well-formed UTF-8 of less than 2^32 - 1 bytes. */
ds_status ds_bpe_encode(ds_ids *ids, const ds_bpe *bpe, const char *text, size_t length, const char *where) DS_MUST_CHECK;

#endif
