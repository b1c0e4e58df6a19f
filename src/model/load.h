/* Filling a model's values from a checkpoint, and whether a stored output head is the embedding. Private to model. */
#ifndef DELTASCOPE_MODEL_LOAD_H
#define DELTASCOPE_MODEL_LOAD_H

#include "model_internal.h"

/* Reads every parameter's values in one pass over the checkpoint; values must be allocated. A NaN or infinity, or an output
 * head that is not the embedding, is DS_ERR_INPUT. */
ds_status ds_model_read(ds_model *model, ds_checkpoint *checkpoint) DS_MUST_CHECK;

/* How lm_head.weight is stored, *head being NULL when it is absent or a parameter. DS_HEAD_EQUAL here only means that shape and
 * dtype allow it: the values are still to be compared with a ds_pair. */
ds_head_tie ds_head_stored(const ds_model *model, const ds_checkpoint *checkpoint, const ds_tensor **head);

/* Embedding and head arriving chunk by chunk in any order, of which one copy is held: sinks of ds_checkpoint_read. */
typedef struct ds_pair {
    void *values;             /* room for all elements */
    size_t size;              /* bytes of one */
    uint64_t embedding, head; /* elements of each seen so far */
    bool different;
} ds_pair;
ds_status ds_pair_embedding(void *pair, const void *values, uint64_t first, size_t count) DS_MUST_CHECK;
ds_status ds_pair_head(void *pair, const void *values, uint64_t first, size_t count) DS_MUST_CHECK;

#endif
