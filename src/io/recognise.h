/* Files that are something else than what was asked for, known by their first bytes. Private to io. */
#ifndef DELTASCOPE_IO_RECOGNISE_H
#define DELTASCOPE_IO_RECOGNISE_H

#include "deltascope/base.h"

enum { DS_KIND_HEAD = 512 }; /* how many bytes from the front are looked at */

typedef struct ds_kind {
    const char *what;   /* "a gzip archive" */
    const char *advice; /* what to do: "unpack it first (gunzip)" */
    size_t evidence;    /* bytes that had to agree */
    bool is_text;       /* people may mean its characters as they stand */
} ds_kind;

/* The kind whose signature `head` (count, from the front of the file) bears; what is NULL when it bears none. Readers ask after
 * what they read themselves has been ruled out: among the kinds are zip archives, pickles and .npy. */
ds_kind ds_kind_of(const uint8_t *head, size_t count);
/* DS_OK unless the bytes bear a signature; then a sentence that says what the file is, what was expected, and what to do. */
ds_status ds_kind_refuse(const char *where, const void *head, size_t count, const char *expected) DS_MUST_CHECK;

#endif
