/* Private to the model room: what a recorded sublayer leaves for its backward pass. */
#ifndef DELTASCOPE_MODEL_TAPE_H
#define DELTASCOPE_MODEL_TAPE_H

#include <stdbool.h>

/* The results of the matrix products of one sublayer, of every token of the batch; whatever lies between them is computed again
 * when it is needed. NULL where this half, or this model, has none. */
typedef struct ds_tape {
    void *query, *key, *value; /* (B,T,H*h) as projected: before shift, activation, rotation and norm */
    void *key_mix, *value_mix; /* (B,T,H) shift weights */
    void *gate;                /* (B,T,H*h) output gate before its silu */
    void *heads;               /* (B,T,H*h) attention output before norm and gate */
    void *mlp_gate, *mlp_up;   /* (B,T,f) */
    void *branch;              /* (B,T,d) h */
    bool record_only;          /* leave the state as it is: the sublayer is run again for its tape alone */
} ds_tape;

#endif
