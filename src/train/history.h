/* What the updates and evaluations of a run add up to: its best evaluation, its spikes, and the history that
 * trainer_state.json tells. Private to train. */
#ifndef DELTASCOPE_TRAIN_HISTORY_H
#define DELTASCOPE_TRAIN_HISTORY_H

#include "deltascope/train.h"

/* The first evaluation with the least loss, borrowed; NULL where there is none. */
const json_t *ds_history_best(const json_t *evaluations);
/* Puts what readers of other trainers' states look for: "best_metric", "best_global_step", "max_steps", "logging_steps" and
 * "log_history", at most about 2,000 entries of it however long the run: {"step", "loss", "grad_norm", "learning_rate"} every
 * logging_steps updates, the loss their mean, and {"step", "eval_loss"}. "step" counts the updates done, as global_step does.
 * `evaluate` as in ds_training_options. */
void ds_history_put(ds_json_builder *b, const json_t *steps, const json_t *evaluations, uint64_t total, uint64_t evaluate);

#endif
