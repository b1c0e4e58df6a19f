/* report: every measurement of one checkpoint, put together. The measuring commands run as from the command line, each into
 * DIR/results/NAME.json; everything else is made from these files. */
#ifndef DELTASCOPE_ANALYSIS_REPORT_H
#define DELTASCOPE_ANALYSIS_REPORT_H

#include "manifest.h"
#include "session.h"

/* ---- measuring ------------------------------------------------------------------------------------------------------------------ */

/* Runs what applies to the checkpoint, except the steps named in `skip` (comma separated, NULL for none). With the run's --resume,
 * what the folder's journal says is finished is kept, and the journal of another run is refused. *results <- {"COMMAND": results}; *envelope <- a report's
 * envelope without results. Both new references. The steps' files are added to `files`. */
ds_status ds_report_measure(json_t **results, json_t **envelope, ds_manifest *files, const ds_invocation *invocation,
                            const char *skip) DS_MUST_CHECK;

/* SHA-256 of the canonical form of {"checkpoint", "data", "precision", "results"} without paths, seconds and threads at any depth. */
ds_status ds_report_digest(char digits[65], const json_t *envelope) DS_MUST_CHECK;

/* ---- reading the results ---------------------------------------------------------------------------------------------------------- */

enum { DS_REPORT_FINDINGS = 12 };
typedef struct ds_findings {
    ds_finding rows[DS_REPORT_FINDINGS];
    ds_text where[DS_REPORT_FINDINGS];
    size_t count;
    ds_text verdict;
} ds_findings;
ds_status ds_findings_find(ds_findings *findings, const json_t *envelope) DS_MUST_CHECK;
/* As an array for the report's "findings". */
ds_status ds_findings_json(json_t **out, const ds_findings *findings) DS_MUST_CHECK;
ds_status ds_findings_table(ds_table **table, const ds_findings *findings) DS_MUST_CHECK;
void ds_findings_release(ds_findings *findings); /* a zeroed one is fine */

/* The tables of a report: those that may be shown, some instead of others. */
enum { DS_REPORT_TABLES = 8 };
typedef struct ds_report_table {
    const char *id, *title, *note, *section;
    const char *rows; /* path of an array of objects, or of an object whose keys are the rows' names */
    const struct ds_report_column *columns;
    size_t column_count;
    bool (*applies)(const json_t *results); /* NULL: wherever there are rows */
} ds_report_table;
const ds_report_table *ds_report_table_at(size_t index);
/* *table <- NULL when the results have no such rows, or the table does not apply to them. */
ds_status ds_report_table_new(ds_table **table, const ds_report_table *kind, const json_t *results) DS_MUST_CHECK;

/* ---- writing ---------------------------------------------------------------------------------------------------------------------- */

/* DIR/{report.json,report.html,report.md}, DIR/tables and DIR/figures from a report's complete envelope; each written file is
 * added to `files`. */
ds_status ds_report_write(const char *folder, ds_manifest *files, const json_t *envelope, const ds_findings *findings,
                          bool quiet) DS_MUST_CHECK;

#endif
