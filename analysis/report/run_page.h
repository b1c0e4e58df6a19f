/* The page of a training run: what came of it in words, its curves, recipe, digests and checkpoints. */
#ifndef DELTASCOPE_REPORT_STEPS_RUN_PAGE_H
#define DELTASCOPE_REPORT_STEPS_RUN_PAGE_H

#include <jansson.h>

#include "deltascope/base.h"

typedef enum ds_run_ending { DS_RUN_FINISHED, DS_RUN_STOPPED, DS_RUN_DIVERGED } ds_run_ending;
/* Writes report.html and report.md, and tables/{findings,recipe,digests,checkpoints,gates}.csv and .tex, into the folder of a
 * run whose figures are there and whose results, those of train.json or as far as it went, `envelope` has. It holds no time:
 * equal runs have equal pages. */
ds_status ds_run_page_write(const ds_folder *folder, const json_t *envelope, ds_run_ending ending) DS_MUST_CHECK;

#endif
