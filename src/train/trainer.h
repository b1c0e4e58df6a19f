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

/* What ranks do together, as number 0 tells the others. */
typedef enum ds_trainer_act {
    DS_ACT_RESTORE, /* checkpoint-STEP of the folder */
    DS_ACT_UPDATE,
    DS_ACT_EVALUATE,
    DS_ACT_AUDIT,
    DS_ACT_END,
} ds_trainer_act;
typedef struct ds_trainer_call {
    ds_trainer_act act;
    uint64_t step;
} ds_trainer_call;
/* Number 0 is about to do it, the others with it; nothing for a process alone, and for those others. ds_trainer_update and
 * ds_trainer_evaluate tell for themselves. */
ds_status ds_trainer_tell(ds_trainer *trainer, ds_trainer_act act, uint64_t step) DS_MUST_CHECK;

#endif
