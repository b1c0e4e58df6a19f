/* A result file measured again, from the options it records. What the file says is a stranger's: it decides which measurement
 * is made, and nothing about which files are opened. */
#ifndef DELTASCOPE_COMMANDS_REMEASURE_H
#define DELTASCOPE_COMMANDS_REMEASURE_H

#include "drawn_claims.h"

/* A part of a result: what it says of one command. */
typedef struct ds_claimed_part {
    const char *command;  /* its name, borrowed from the command table */
    bool chosen;          /* by name */
    bool measured;        /* or as much of it as was drawn */
    bool cut;             /* its rows are claims by themselves */
    size_t claims, drawn; /* how many it has, and how many of them are in the sample; 0 before it is measured */
    char *obstacle;       /* why a chosen one could not be measured, a sentence; or NULL */
    json_t *options;      /* {STEP: options} as told by the measurement; NULL before it */
    json_t *results;      /* NULL before it */
} ds_claimed_part;

enum { DS_CLAIMED_PARTS = 8 };
typedef struct ds_claimed {
    const json_t *envelope; /* as loaded, borrowed */
    ds_sample sample;
    ds_given_file reference; /* of verify --reference */
    ds_claimed_part parts[DS_CLAIMED_PARTS];
    size_t count;
    const char *unmeasured; /* the command whose results these are, where none of them can be measured again; or NULL */
} ds_claimed;

/* Whether it is a report, whose results stand by command and whose options by step. */
bool ds_claimed_is_report(const json_t *envelope);
/* The parts a result file has, all chosen and all in the sample; none, and its command, for one of ours that cannot be measured
 * again. DS_ERR_INPUT, naming `path`, for what is no result of ours. */
ds_status ds_claimed_find(ds_claimed *claimed, const json_t *envelope, const char *path) DS_MUST_CHECK;
void ds_claimed_release(ds_claimed *claimed); /* a zeroed one is fine */
/* Why the results of such a command cannot be measured again, and what is left to do. */
const char *ds_claimed_why_unmeasured(const char *command);
/* Leaves chosen only the parts named (comma separated); DS_ERR_USAGE for names of none. */
ds_status ds_claimed_choose(ds_claimed *claimed, const char *names) DS_MUST_CHECK;

/* Opens the run that the file records, `given` naming checkpoint, configuration and data. Data are opened only where the
 * file has them. */
ds_status ds_claimed_open(ds_run *run, const ds_claimed *claimed, const ds_run_options *given) DS_MUST_CHECK;
/* Whether something in it was made with a reference. */
bool ds_claimed_has_reference(const ds_claimed *claimed);
/* Measures what is drawn of the chosen parts. One that the run cannot measure gets an obstacle; `reason` (or NULL) is the
 * obstacle of all that are not inspect. */
ds_status ds_claimed_measure(ds_claimed *claimed, ds_run *run, const char *reason) DS_MUST_CHECK;

#endif
