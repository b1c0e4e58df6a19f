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
/* The same with options that differ from the command line's. */
ds_status ds_command_open_as(ds_run *run, const ds_invocation *invocation, const ds_run_options *options) DS_MUST_CHECK;
/* What a reader of the run's results must know, on standard error, from the warning numbered `first` on. */
void ds_command_warn(const ds_run *run, size_t first);
/* Warns on standard error of a file that is not what it was when it was written: a digest it states or its signature does not
 * hold. */
ds_status ds_command_warn_changed(const char *path, const json_t *envelope) DS_MUST_CHECK;
/* *folder <- what --out names, opened and locked by the first call, borrowed. DS_ERR_SYSTEM while another run writes there. */
ds_status ds_command_folder(ds_folder **folder, const ds_invocation *invocation) DS_MUST_CHECK;
/* The same on every rank: number 0 opens and locks it first, the others come in once it has. */
ds_status ds_command_shared_folder(ds_folder **folder, const ds_invocation *invocation) DS_MUST_CHECK;
/* Where the command keeps its journal: OUT/COMMAND.journal. `path` holds it and is released by the caller; plan->path is
 * NULL without --out. */
ds_status ds_command_journal_plan(ds_journal_plan *plan, ds_text *path, const ds_invocation *invocation) DS_MUST_CHECK;

/* What a measurement tells: its options and results as JSON, owned here. */
typedef struct ds_told {
    json_t *options, *results;
} ds_told;
void ds_told_release(ds_told *told);

/* Leaves the tables the columns of --columns, and publishes as the options ask: the envelope to --json; under --out (made if
 * missing) the envelope as COMMAND.json, the tables as tables/COMMAND.csv and .tex, tables/COMMAND-2.csv ..., and every figure
 * the results allow under figures/. */
ds_status ds_command_publish_tables(const ds_invocation *invocation, const ds_run *run, const ds_told *told,
                                    ds_table *const *tables, size_t count) DS_MUST_CHECK;
/* *table <- of the results, as `kind` describes it, labelled COMMAND-ID; NULL where it does not apply. */
ds_status ds_command_table(ds_table **table, const char *command, const ds_result_table *kind,
                           const json_t *results) DS_MUST_CHECK;
/* Makes tables of the results, as `kinds` (count) describe them, and publishes all as above. tables (count) <- those that
 * apply, in order, freed by the caller; *made <- how many. */
ds_status ds_command_publish_results(ds_table **tables, size_t *made, const ds_invocation *invocation, const ds_run *run,
                                     const ds_told *told, const ds_result_table *kinds, size_t count) DS_MUST_CHECK;
/* Every figure the envelope's results allow, under figures/ of the folder. */
ds_status ds_command_write_figures(const ds_invocation *invocation, const ds_folder *folder,
                                   const json_t *envelope) DS_MUST_CHECK;
/* Writes an envelope as it stands under --out: it depends on the inputs alone, byte for byte. How the run went becomes
 * null in it; then it is signed, with a signer. */
ds_status ds_command_write_lasting(const ds_folder *folder, const char *path, json_t *envelope,
                                   const ds_signer *signer) DS_MUST_CHECK;

#endif
