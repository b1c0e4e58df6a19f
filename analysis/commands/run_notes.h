/* What every command that runs a model says below its tables, from its results. */
#ifndef DELTASCOPE_COMMANDS_RUN_NOTES_H
#define DELTASCOPE_COMMANDS_RUN_NOTES_H

#include "deltascope/run.h"

/* "64 windows of 128 tokens" */
void ds_print_windows(const ds_run *run);
/* What intervals over these windows speak of, where that is not the whole file. */
ds_status ds_print_inference(const ds_run *run, const json_t *results) DS_MUST_CHECK;
/* A line for each limit of the arithmetic that was met, and for each sublayer (the key "limits"). */
void ds_print_limits(const json_t *results, uint64_t tokens);
/* What the repetition in double found (the key "shadow"): nothing without one. */
void ds_print_shadow(const json_t *results);

#endif
