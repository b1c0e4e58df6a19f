/* What the bytes of a raw token file betray of how they were made. A file of uint16 ids says nothing about itself; read as
 * such, ids of 32 or 64 bits, text or single bytes would give a loss and no complaint. Private to io. */
#ifndef DELTASCOPE_IO_TOKEN_EVIDENCE_H
#define DELTASCOPE_IO_TOKEN_EVIDENCE_H

#include "deltascope/base.h"

/* Zero-initialise; add all bytes in order, in pieces that begin at multiples of 8. */
typedef struct ds_token_evidence {
    uint64_t bytes;
    uint64_t seen[8][256]; /* how often each value stood at each place modulo 8 */
} ds_token_evidence;
void ds_token_evidence_add(ds_token_evidence *evidence, const uint8_t *bytes, size_t count);

/* The file was made otherwise; `bits` is minus the binary logarithm of a bound on the chance that honest uint16 ids look so. */
typedef struct ds_token_guess {
    const char *like;   /* "64-bit token ids (three of four uint16 are 0)"; NULL: like uint16 ids */
    const char *advice; /* what to do then */
    double bits;
} ds_token_guess;
/* From this many bits on a file is refused, from the smaller number on its reader is warned. */
enum { DS_TOKEN_CERTAIN = 24, DS_TOKEN_DOUBTFUL = 6 };

/* `vocab` bounds the ids: at most 2^32. */
ds_token_guess ds_token_guess_of(const ds_token_evidence *evidence, uint64_t vocab);

#endif
