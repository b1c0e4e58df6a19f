/* What every model command does first and last: open the checkpoint and the data, cut the data into windows, and publish the
 * result. */
#ifndef DELTASCOPE_ANALYSIS_SESSION_H
#define DELTASCOPE_ANALYSIS_SESSION_H

#include <jansson.h>

#include "command.h"
#include "deltascope/io.h"
#include "deltascope/model.h"
#include "deltascope/report.h"
#include "journal.h"
#include "progress.h"

typedef struct ds_session {
    const ds_invocation *invocation;
    ds_checkpoint *checkpoint;
    ds_model *model;
    ds_tokens *tokens; /* NULL when the command takes no data, or was given none */
    ds_tokenizer *tokenizer;
    ds_workspace *workspace;
    ds_spec spec;
    size_t length, sequences;   /* T, and how many windows in all */
    size_t group;               /* windows in a batch; results do not depend on it */
    uint64_t offset;            /* token at which window 0 starts */
    uint32_t *ids;              /* (length + 1): one window as read */
    uint32_t *inputs, *targets; /* (group, length) */
    double started;
    ds_text warning; /* what a reader of the results must know; empty: nothing */
} ds_session;

/* Opens everything the command's `takes` asks for, cheap checks first: configuration and data before weights. Tensors that the
 * configuration leaves unused are told on standard error and in the results. */
ds_status ds_session_open(ds_session *session, const ds_invocation *invocation) DS_MUST_CHECK;
void ds_session_close(ds_session *session);
/* A part of the above for a session that is opened by hand up to `spec` and `length`: the data of --tokens or --text, if given, and
 * their windows. */
ds_status ds_session_open_data(ds_session *session) DS_MUST_CHECK;

/* The windows first .. first + batch->sequences - 1, at most `group` of them; valid until the next call. */
ds_status ds_session_batch(ds_session *session, size_t first, ds_batch *batch) DS_MUST_CHECK;

/* Files under --out are named after the command, or after the step of the report that runs it. */

/* Opens OUT/COMMAND.journal (OUT is made if missing) for a run of this checkpoint and its configuration, these data, options and
 * precision, with --resume taking up an earlier run's records. Not part of the key: threads and paths. *journal is NULL without
 * --out. */
ds_status ds_session_journal(ds_journal **journal, const ds_session *session) DS_MUST_CHECK;

/* *envelope <- `results` (borrowed) and the command's options in the envelope of CONTRACT, a new reference. A session without a
 * checkpoint has "checkpoint": null. */
ds_status ds_session_envelope(json_t **envelope, const ds_session *session, json_t *results) DS_MUST_CHECK;
/* Writes what the options ask for: the envelope to --json; under --out (made if missing) the envelope as COMMAND.json, the
 * `tables` as tables/COMMAND.csv, tables/COMMAND-2.csv ..., and every figure the results allow under figures/. The result under
 * --out depends on the inputs alone, byte for byte: how the run went, "threads" and "seconds", is null there and told only by
 * --json. A step of a report leaves tables and figures to the report. */
ds_status ds_session_publish(const ds_session *session, json_t *results, ds_table *const *tables, size_t count) DS_MUST_CHECK;

#endif
