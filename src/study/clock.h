/* times.jsonl of a cell: how long it took, and how busy the machine was. The only file of a cell that differs when it is run
 * again. Private to study. */
#ifndef DELTASCOPE_STUDY_CLOCK_H
#define DELTASCOPE_STUDY_CLOCK_H

#include "deltascope/study.h"

/* Lines {"step", "at": "evaluation" or "checkpoint", "updates", "evaluations", "saving": seconds of the cell so far, all its
 * processes together, "load": the average of a minute, "threads", "clock": seconds since 1970}. */
typedef struct ds_cell_clock {
    const ds_folder *folder; /* the cell's; borrowed */
    bool begun;
    ds_text lines;
    double updates, evaluations, saving; /* seconds of earlier processes, up to where this one began */
} ds_cell_clock;

void ds_cell_clock_release(ds_cell_clock *clock);
/* Adds a line; the first time, what earlier processes wrote up to where this one began is kept. */
ds_status ds_cell_clock_mark(ds_cell_clock *clock, const ds_training_mark *mark) DS_MUST_CHECK;
/* *lines <- an array of what the file of a cell holds. */
ds_status ds_cell_clock_read(json_t **lines, const ds_folder *folder, const char *path) DS_MUST_CHECK;

#endif
