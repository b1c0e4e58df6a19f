/* log.jsonl: an object a line, in the order of the run: {"step", "val_loss"} for an evaluation before update `step`, otherwise
 * an update. Private to train. */
#ifndef DELTASCOPE_TRAIN_LOG_H
#define DELTASCOPE_TRAIN_LOG_H

#include "deltascope/train.h"

typedef struct ds_train_log {
    const ds_folder *folder; /* borrowed */
    int descriptor;          /* -1: not open */
    json_t *steps;           /* array: every update so far, as results have them */
    json_t *evaluations;     /* array: {"step", "val_loss"} */
} ds_train_log;

/* Begins a log, or with `step` > 0 takes up that of a run that had a checkpoint of so many updates: what came after it is cut
 * off. DS_ERR_INPUT when it lacks one of those updates. */
ds_status ds_train_log_open(ds_train_log *log, const ds_folder *folder, uint64_t step) DS_MUST_CHECK;
void ds_train_log_close(ds_train_log *log);
/* Appends a line; it is safe from the end of the process at once, from the machine's after a sync. */
ds_status ds_train_log_update(ds_train_log *log, const ds_update *update, uint64_t accumulation) DS_MUST_CHECK;
ds_status ds_train_log_evaluation(ds_train_log *log, uint64_t step, double loss) DS_MUST_CHECK;
ds_status ds_train_log_sync(const ds_train_log *log) DS_MUST_CHECK;

#endif
