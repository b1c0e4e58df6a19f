/* What a trainer holds. Private to train. */
#ifndef DELTASCOPE_TRAIN_TRAINER_H
#define DELTASCOPE_TRAIN_TRAINER_H

#include "deltascope/train.h"

#include "optimiser.h"

struct ds_trainer {
    ds_trainer_options options; /* as given; its strings are borrowed */
    ds_recipe recipe;
    ds_run run;            /* over the validation windows; owns the model */
    ds_tokens *tokens;     /* to train on */
    ds_gradient *gradient; /* for `at_once` windows */
    ds_optimiser optimiser;
    size_t at_once;
    uint32_t *inputs, *targets; /* (at_once, T) */
    double *nll;                /* (at_once, T) */
    double *micro_loss;         /* (accumulation) */
    void *micro_gradients;      /* of those beside the one in hand; NULL before there are several */
    double *window_losses;      /* (val_windows) */
    const char **untouched;     /* (untouched_count): borrowed names */
    size_t untouched_count;
    ds_tensor_write *others; /* (other_count): tensors of the checkpoint that are no parameters, owned */
    size_t other_count;
    bool stores_head; /* the checkpoint has the output head beside the embedding */
    uint64_t step;    /* updates done */
    double windows_seconds;
    bool diverged; /* the last update failed by its numbers */
};

/* Windows that go through the model at once. */
size_t ds_windows_at_once(const ds_recipe *recipe);

/* t->gradient, losses of *done <- of the next update. */
ds_status ds_micro_batches_sum(ds_update *done, ds_trainer *trainer) DS_MUST_CHECK;

/* What ranks do together. */
typedef enum ds_trainer_call {
    DS_CALL_RESTORE, /* of checkpoint-STEP in the folder */
    DS_CALL_UPDATE,
    DS_CALL_EVALUATE,
    DS_CALL_AUDIT,
    DS_CALL_END,
} ds_trainer_call;
/* Number 0 is about to do it, the others with it; nothing for a process alone. ds_trainer_update and ds_trainer_evaluate tell
 * for themselves. */
ds_status ds_trainer_tell(ds_trainer *trainer, ds_trainer_call what, uint64_t step) DS_MUST_CHECK;
/* On the other ranks: does what number 0 tells, until the end. Nothing is written. */
ds_status ds_trainer_follow(ds_trainer *trainer, const ds_training_options *options) DS_MUST_CHECK;

#endif
