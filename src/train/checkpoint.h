/* Checkpoints of a run in its folder. Private to train. */
#ifndef DELTASCOPE_TRAIN_CHECKPOINT_H
#define DELTASCOPE_TRAIN_CHECKPOINT_H

#include "trainer.h"

enum { DS_STATE_BYTES = 1 << 22 }; /* of a trainer_state.json, at most */

/* What its state tells of a run, borrowed. */
typedef struct ds_checkpoint_tale {
    const json_t *identity;            /* what the run is known by */
    const json_t *steps, *evaluations; /* so far, as results have them */
    uint64_t evaluate;                 /* as in ds_training_options */
    bool interrupted;                  /* written because the run was stopped: of use until the next */
} ds_checkpoint_tale;
/* checkpoint-N of the updates done, complete once this returns. */
ds_status ds_checkpoint_save(const ds_trainer *trainer, const ds_folder *folder, const ds_checkpoint_tale *tale) DS_MUST_CHECK;
/* *out <- the configuration of a model that started from `config`: what the published code cannot express gets a type of our
 * own. */
ds_status ds_checkpoint_config_for(json_t **out, const json_t *config, const ds_spec *spec) DS_MUST_CHECK;
/* The trainer as it was after `step` updates. */
ds_status ds_checkpoint_restore(ds_trainer *trainer, const ds_folder *folder, uint64_t step) DS_MUST_CHECK;
/* Takes a checkpoint away, complete or not. */
ds_status ds_checkpoint_remove(const ds_folder *folder, uint64_t step) DS_MUST_CHECK;

/* Checkpoints that lie in a folder, complete or not, in order of their numbers. */
typedef struct ds_checkpoint_list {
    uint64_t *steps;
    size_t count, capacity;
} ds_checkpoint_list;
ds_status ds_checkpoint_find_all(ds_checkpoint_list *list, const ds_folder *folder) DS_MUST_CHECK;
void ds_checkpoint_list_release(ds_checkpoint_list *list);
/* *state <- trainer_state.json of a checkpoint, a new reference; NULL when it is not complete. */
ds_status ds_checkpoint_state(json_t **state, const ds_folder *folder, uint64_t step) DS_MUST_CHECK;

#endif
