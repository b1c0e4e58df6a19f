/* What every model command does first and last: open the run its options describe, and publish the result. */
#ifndef DELTASCOPE_COMMANDS_MODEL_COMMAND_H
#define DELTASCOPE_COMMANDS_MODEL_COMMAND_H

#include "cli/command.h"
#include "deltascope/report.h"
#include "deltascope/run.h"

/* The run that an invocation's first operand and common options describe, data only where the command takes them. */
ds_run_options ds_command_run_options(const ds_invocation *invocation);
/* Opens it; what a reader of the results must know is told on standard error too. */
ds_status ds_command_open(ds_run *run, const ds_invocation *invocation) DS_MUST_CHECK;
/* What a reader of the run's results must know, on standard error. */
void ds_command_warn(const ds_run *run);
/* The command's own options as its result tells them; a new reference. */
ds_status ds_command_options(json_t **options, const ds_invocation *invocation, const ds_run *run) DS_MUST_CHECK;

/* Files under --out are named after the command, or after the step of the report that runs it. */

/* Where the command keeps its journal: OUT/COMMAND.journal, `path` (released by the caller) holds it; plan->path NULL without --out. */
ds_status ds_command_journal_plan(ds_journal_plan *plan, ds_text *path, const ds_invocation *invocation) DS_MUST_CHECK;
/* The journal OUT/COMMAND.journal; *journal is NULL without --out. */
ds_status ds_command_journal(ds_journal **journal, const ds_invocation *invocation, ds_run *run) DS_MUST_CHECK;
/* What a measurement tells: its options and results as JSON, owned here, and the tables made of them. */
typedef struct ds_told {
    json_t *options, *results;
} ds_told;
void ds_told_release(ds_told *told);

/* Publishes as the options ask: the envelope to --json; under --out (made if missing) the envelope as COMMAND.json, the tables as
 * tables/COMMAND.csv, tables/COMMAND-2.csv ..., and every figure the results allow under figures/. The result under --out depends on
 * the inputs alone, byte for byte: how the run went, "threads" and "seconds", is null there and told only by --json. */
ds_status ds_command_publish_tables(const ds_invocation *invocation, const ds_run *run, const ds_told *told,
                                    ds_table *const *tables, size_t count) DS_MUST_CHECK;
/* Makes tables of the results, as `kinds` (count) describe them, and publishes all as above. tables (count) <- those that apply,
 * in order, freed by the caller; *made <- how many. */
ds_status ds_command_publish_results(ds_table **tables, size_t *made, const ds_invocation *invocation, const ds_run *run,
                                     const ds_told *told, const ds_result_table *kinds, size_t count) DS_MUST_CHECK;
/* Writes what the options ask for: the envelope to --json; under --out (made if missing) the envelope as COMMAND.json, the
 * `tables` as tables/COMMAND.csv, tables/COMMAND-2.csv ..., and every figure the results allow under figures/. The result under
 * --out depends on the inputs alone, byte for byte: how the run went, "threads" and "seconds", is null there and told only by
 * --json. A step of a report leaves tables and figures to the report. */
ds_status ds_command_publish(const ds_invocation *invocation, const ds_run *run, json_t *results, ds_table *const *tables,
                             size_t count) DS_MUST_CHECK;

#endif
