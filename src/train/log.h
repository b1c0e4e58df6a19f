/* The logs of a run: log.jsonl, an object a line in the order of the run, and what is made of the same lines for other readers:
 * log.csv, gates.csv where gates are audited, and on request main.log with the lines of llm.c. Private to train. */
#ifndef DELTASCOPE_TRAIN_LOG_H
#define DELTASCOPE_TRAIN_LOG_H

#include "deltascope/train.h"

/* log.jsonl, log.csv, gates.csv, main.log */
enum { DS_LOG_LINES, DS_LOG_CSV, DS_LOG_GATES, DS_LOG_LLMC, DS_LOG_FILES };

typedef struct ds_train_log {
    const ds_folder *folder;       /* borrowed */
    int descriptors[DS_LOG_FILES]; /* -1: not written */
    json_t *steps;                 /* array: every update so far, as results have them */
    json_t *evaluations;           /* array: {"step", "val_loss"} */
    json_t *audits;                /* array: {"step", "gates"} */
} ds_train_log;
extern const ds_train_log ds_train_log_closed; /* before it is opened */

/* Begins a log, or with `step` > 0 takes up that of a run that had a checkpoint of so many updates: what came after it is
 * cut off, in every file. DS_ERR_INPUT when it lacks one of those updates. main.log is written where `options` ask for it, and
 * where the run taken up has one. */
ds_status ds_train_log_open(ds_train_log *log, const ds_training_options *options, uint64_t step) DS_MUST_CHECK;
void ds_train_log_close(ds_train_log *log);
/* Appends a line to each file; it is safe from the end of the process at once, from the machine's after a sync. */
ds_status ds_train_log_update(ds_train_log *log, const ds_update *update, uint64_t accumulation) DS_MUST_CHECK;
ds_status ds_train_log_evaluation(ds_train_log *log, uint64_t step, double loss) DS_MUST_CHECK;
ds_status ds_train_log_audit(ds_train_log *log, uint64_t step, const json_t *gates) DS_MUST_CHECK;
/* The bytes of log.jsonl, as ds_read_file_in has them. */
ds_status ds_train_log_read(char **bytes, size_t *length, const ds_folder *folder) DS_MUST_CHECK;
ds_status ds_train_log_sync(const ds_train_log *log) DS_MUST_CHECK;

#endif
