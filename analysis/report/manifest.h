/* The files a report consists of, FOLDER/report.sha256, as sha256sum prints and checks them. A later report into the same
 * folder removes what it does not write itself, and nothing else: only what the list names and what still has the bytes it
 * says. */
#ifndef DELTASCOPE_REPORT_STEPS_MANIFEST_H
#define DELTASCOPE_REPORT_STEPS_MANIFEST_H

#include "deltascope/base.h"

/* Zero-initialise. */
typedef struct ds_manifest {
    char **paths; /* (count): "report.json", "figures/coherence.svg": a plain name, of the folder or of one below it */
    size_t count, capacity;
} ds_manifest;

void ds_manifest_release(ds_manifest *manifest);
/* A file that was written, by its path below the report's folder. */
ds_status ds_manifest_add(ds_manifest *manifest, const char *format, ...) DS_PRINTF(2, 3) DS_MUST_CHECK;
/* Removes the files that the folder's list has and `manifest` has not, then writes the list anew. A file that was changed since
 * it was listed, a link and a folder stay. */
ds_status ds_manifest_replace(const ds_manifest *manifest, const ds_folder *folder) DS_MUST_CHECK;

#endif
