/* Progress of long work on standard error, with the time left; shown only on a terminal and not with --quiet. */
#ifndef DELTASCOPE_ANALYSIS_PROGRESS_H
#define DELTASCOPE_ANALYSIS_PROGRESS_H

#include "deltascope/base.h"

typedef struct ds_progress {
    const char *label;
    double total, started, shown; /* units of work; seconds */
    bool visible, drawn;
} ds_progress;

/* `total` is in any unit of work, the same as `done` below. */
ds_progress ds_progress_start(const char *label, double total, bool quiet);
void ds_progress_update(ds_progress *progress, double done);
void ds_progress_finish(ds_progress *progress); /* wipes the line */

#endif
