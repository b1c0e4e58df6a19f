/* Runs of a study one after the other, or shared among ranks, until somebody is asked to stop. Private to study. */
#ifndef DELTASCOPE_STUDY_SHARED_RUNS_H
#define DELTASCOPE_STUDY_SHARED_RUNS_H

#include "deltascope/study.h"

/* How a run ended, as ranks tell each other. */
enum { DS_RUN_STOPPED, DS_RUN_DIVERGED, DS_RUN_OUTCOME };

typedef struct ds_shared_runs {
    size_t count;
    /* outcome (DS_RUN_OUTCOME), zeros at first <- how it ended; on one rank, whoever is free. */
    ds_status (*run)(void *context, size_t number, double *outcome);
    /* On number 0 alone: it has ended. NULL: nobody wants to know. */
    void (*ended)(void *context, size_t number, const double *outcome);
    void *context;
} ds_shared_runs;

/* *stopped: a run was stopped, or not begun because that was asked for. Files are those of options->folder, which all ranks
 * see: what one has written is there for all in the end. */
ds_status ds_shared_runs_do(bool *stopped, const ds_shared_runs *runs, const ds_study_options *options) DS_MUST_CHECK;

#endif
