/* Checkpoints of somebody else: a known model under other names, its matrices turned or several in one, its settings renamed.
 * The values are the model's, so that whoever reads it right gets the same bits. */
#ifndef DELTASCOPE_TESTS_FORK_H
#define DELTASCOPE_TESTS_FORK_H

#include <jansson.h>

#include "deltascope/model.h"

enum { FORK_MOST = 160, FORK_NAME = 128 };

/* How names are made: `rename` writes the fork's spelling of one of our names, of layer 0 where it has one, with {L} for the
 * layer. */
typedef struct fork_style {
    void (*rename)(void *context, char out[FORK_NAME], const char *ours);
    void *context;
    bool turned; /* matrices of layers are stored as (in, out) */
    bool fused;  /* query, key and value in one, gate and up projection in one */
} fork_style;

typedef struct forked {
    ds_tensor_write tensors[FORK_MOST]; /* in the model's order */
    size_t count;
    char names[FORK_MOST][FORK_NAME];
    size_t shapes[FORK_MOST][DS_MAX_RANK];
    void *values[FORK_MOST]; /* owned, where they are not the model's */
    json_t *map;             /* the tensors' part of the map that leads back */
} forked;

void fork_make(forked *out, const ds_model *model, const fork_style *style);
void fork_release(forked *f);

/* Fails the test unless both models have the same parameters, bit by bit. */
void fork_expect_same(const ds_model *found, const ds_model *expected);

#endif
