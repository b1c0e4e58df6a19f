/* A journal of a long run, so that one that was killed goes on where it stopped.
 *
 * It is a file beside the results, written only at its end: a key that says which run it belongs to, then one record for each
 * piece of work that is finished. A piece is what the arithmetic makes independent of grouping and of threads (one window), so
 * that a run put together from records has the bytes of one that was never interrupted.
 *
 *   file    "deltascope journal 1\n", record of kind "key" (canonical JSON), records
 *   record  length u64 of the payload | index u64 | kind 16 bytes, zero-padded | payload | crc32 u32      (little-endian)
 *
 * Each CRC-32 continues from the one before it (the first from 0), so it vouches for the whole file up to there. From the first
 * record that is cut short or does not add up, the rest is dropped and computed again. */
#ifndef DELTASCOPE_ANALYSIS_JOURNAL_H
#define DELTASCOPE_ANALYSIS_JOURNAL_H

#include <jansson.h>

#include "deltascope/base.h"

typedef struct ds_journal ds_journal;

/* `resume` false: starts a new journal in place of whatever the file held. `resume` true: takes up the records of an earlier
 * run with an equal key; a journal with another key is DS_ERR_INPUT naming the first difference, a missing or empty one is a
 * run that had not begun. `key` is an object, borrowed. One process at a time may hold a journal. */
ds_status ds_journal_open(ds_journal **out, const char *path, const json_t *key, bool resume) DS_MUST_CHECK;
void ds_journal_close(ds_journal **journal); /* sets NULL; NULL is fine */

/* Everywhere below a NULL journal stands for a run that keeps none: nothing is found, nothing is written. */

/* Records that were there when the journal was opened. */
size_t ds_journal_count(const ds_journal *journal);
/* *payload <- a copy of what an earlier run stored as (kind, index), freed with free(), with a NUL behind its `*length` bytes;
 * NULL when there is none. */
ds_status ds_journal_find(char **payload, size_t *length, const ds_journal *journal, const char *kind,
                          uint64_t index) DS_MUST_CHECK;
/* values (count): *found tells whether they were there. Another number of values is DS_ERR_INPUT. */
ds_status ds_journal_find_reals(bool *found, double *values, size_t count, const ds_journal *journal, const char *kind,
                                uint64_t index) DS_MUST_CHECK;

/* kind: 1 to 15 bytes. What was appended is safe from the end of the process at once, from the machine's after a sync. */
ds_status ds_journal_append(ds_journal *journal, const char *kind, uint64_t index, const void *payload,
                            size_t length) DS_MUST_CHECK;
ds_status ds_journal_sync(ds_journal *journal) DS_MUST_CHECK;

#endif
