/* The parts of a study's page. */
#ifndef DELTASCOPE_REPORT_STUDY_PAGE_H
#define DELTASCOPE_REPORT_STUDY_PAGE_H

#include "deltascope/report.h"

enum {
    DS_STUDY_VARIANTS,
    DS_STUDY_CONTRASTS,
    DS_STUDY_TARGETS,
    DS_STUDY_SWEEPS,
    DS_STUDY_TUNED,
    DS_STUDY_AUDIT,
    DS_STUDY_AUDIT_CONTRASTS,
    DS_STUDY_REFERENCE,
    DS_STUDY_TABLES
};
typedef struct ds_study_table {
    const char *id, *file, *title, *note, *section;
} ds_study_table;
extern const ds_study_table ds_study_tables[DS_STUDY_TABLES];
/* *table <- NULL where the study has nothing for it. */
ds_status ds_study_table_new(ds_table **table, size_t which, const json_t *study) DS_MUST_CHECK;

/* Of a study: what is found first, each kind with its threshold; one paragraph of verdict. */
ds_status ds_study_findings(ds_findings *findings, const json_t *study) DS_MUST_CHECK;
/* The proof that variants were matched, in sentences: all of it. */
ds_status ds_study_matching_words(ds_text *text, const json_t *study) DS_MUST_CHECK;

#endif
