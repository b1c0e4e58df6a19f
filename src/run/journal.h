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
#ifndef DELTASCOPE_RUN_JOURNAL_H
#define DELTASCOPE_RUN_JOURNAL_H

#include "deltascope/run.h"

/* `resume` false: starts a new journal in place of the one that is there. `resume` true: takes up the records of an earlier
 * run with an equal key; a journal with another key is DS_ERR_INPUT naming the first difference, a missing or empty one is a
 * run that had not begun. `key` is an object, borrowed. One process at a time may hold a journal. A file that is no journal is
 * never emptied. Below a folder (NULL: the path as it is) a link or special file of that name gives way to the journal. */
ds_status ds_journal_open(ds_journal **out, const ds_folder *folder, const char *path, const json_t *key,
                          bool resume) DS_MUST_CHECK;
/* A journal in memory, of `bytes` as ds_journal_bytes gave them on another rank: finds what that one finds. */
ds_status ds_journal_open_copy(ds_journal **out, const void *bytes, size_t length, const json_t *key) DS_MUST_CHECK;
/* *bytes <- all of the file up to its sound end, freed with free(). */
ds_status ds_journal_bytes(void **bytes, size_t *length, const ds_journal *journal) DS_MUST_CHECK;
/* Records that were there when the journal was opened. */
size_t ds_journal_count(const ds_journal *journal);

#endif
