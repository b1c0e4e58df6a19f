/* report: every measurement of one checkpoint, put together. The measuring commands run as from the command line, each into
 * DIR/results/NAME.json; everything else is made from these files. */
#ifndef DELTASCOPE_REPORT_STEPS_REPORT_H
#define DELTASCOPE_REPORT_STEPS_REPORT_H

#include "cli/command.h"
#include "deltascope/report.h"
#include "deltascope/run.h"
#include "report/manifest.h"

/* ---- measuring --------------------------------------------------------------------------------------------------- */

/* Appends the names of the steps, as --skip takes them. */
ds_status ds_report_step_words(ds_text *text, const char *between, const char *before_last) DS_MUST_CHECK;
/* Opens the checkpoint, once, and runs what applies to it, except the steps named in `skip` (comma separated, NULL for
 * none). With the run's --resume, what the folder's journal says is finished is kept, and the journal of another run is
 * refused, without `force` the finished report of another checkpoint too (DS_ERR_USAGE).
 * *results <- {"COMMAND": results}; *envelope <- a report's envelope without results. Both new references. The
 * steps' files are added to `files`. */
ds_status ds_report_measure(json_t **results, json_t **envelope, ds_manifest *files, const ds_invocation *invocation,
                            const char *skip, bool force) DS_MUST_CHECK;

/* Rehearses every step that would be measured, for --dry-run (commands/rehearsal.h). */
struct ds_rehearsal;
ds_status ds_report_rehearse(struct ds_rehearsal *all, const char *skip) DS_MUST_CHECK;

/* The steps, in the order they are measured: each one's name, and the command whose results it adds to. */
size_t ds_report_step_count(void);
const char *ds_report_step_name(size_t index);
const char *ds_report_step_command(size_t index);
/* Adds to {"COMMAND": results} what one more step of the command says. */
ds_status ds_report_join(json_t *results, const char *command, json_t *more) DS_MUST_CHECK;

/* ---- writing ----------------------------------------------------------------------------------------------------- */

/* DIR/{report.json,report.html,report.md}, DIR/tables and DIR/figures from a report's complete envelope; each written file is
 * added to `files`. Of the invocation, --columns, --sign and --quiet count: report.json is signed as it is written. */
ds_status ds_report_write(const ds_folder *folder, ds_manifest *files, const json_t *envelope, const ds_findings *findings,
                          const ds_invocation *invocation) DS_MUST_CHECK;

#endif
