/* --dry-run: what a measurement will cost, told from a short rehearsal of it on fewer and shorter windows. */
#ifndef DELTASCOPE_COMMANDS_REHEARSAL_H
#define DELTASCOPE_COMMANDS_REHEARSAL_H

#include "model_command.h"

/* What is being rehearsed, part by part. */
typedef struct ds_rehearsal ds_rehearsal;

/* Rehearses one part and adds what it will cost. measure: the part on the windows of the run it is given, nothing kept. It
 * works on all windows, or on `most` where that is not 0. */
ds_status ds_rehearse(ds_rehearsal *all, const char *name, size_t most, ds_status (*measure)(void *context, ds_run *run),
                      void *context) DS_MUST_CHECK;
/* The run as it was opened: all windows. */
const ds_run *ds_rehearsal_run(const ds_rehearsal *all);

/* How many windows fit into so many seconds, of those the run has; 0: none does. */
size_t ds_rehearsal_fitting(const ds_rehearsal *all, double seconds);
/* What it adds up to, in words. */
void ds_rehearsal_tell(const ds_rehearsal *all);

/* The run of an invocation as a rehearsal opens it: in silence, by one process. */
ds_run_options ds_rehearsal_options(const ds_invocation *invocation);
/* Opens the run, has `parts` rehearse each part of the command, and shows what it adds up to, NULL: in words, or with --json as
 * numbers; nothing else is written. Without weights the parts open their models themselves. */
ds_status ds_rehearse_command(const ds_invocation *invocation, const ds_run_options *options,
                              ds_status (*parts)(ds_rehearsal *all, void *context),
                              ds_status (*show)(const ds_rehearsal *all, void *context), void *context) DS_MUST_CHECK;
/* Of a command that is nothing but its `measure`, on all windows. */
ds_status ds_dry_run_measure(const ds_invocation *invocation) DS_MUST_CHECK;

#endif
