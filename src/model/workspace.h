/* Private to the model room: the buffers of a pass, and how a batch is cut into tiles. */
#ifndef DELTASCOPE_MODEL_WORKSPACE_H
#define DELTASCOPE_MODEL_WORKSPACE_H

#include "deltascope/model.h"

#include "arrays.h"

enum {
    DS_TILE_ROWS = 512,         /* tokens of one window that share a matrix product */
    DS_QUERY_ROWS = 128,        /* query rows that share a block of attention scores */
    DS_VOCABULARY_BLOCK = 1024, /* columns of logits held at a time */
};

/* One worker's scratch. The pointers of the second group share memory with the first. */
typedef struct ds_scratch {
    void *memory;
    void *x_in, *context, *branch;  /* (R,d): what is read of the state, its norm c, the branch's output h */
    void *gate, *up;                /* (R,f): the MLP's two projections */
    void *coefficient_hidden;       /* (R,width): what the rule's coefficients leave for their derivative */
    void *heads;                    /* (R,H*h): attention output */
    void *scores;                   /* (Q,T) */
    void *inverse;                  /* (Q): 1 / sum of each row of scores */
    void *intact, *weights, *other; /* (R,VB): blocks of logits and their softmax weights */
} ds_scratch;

/* Running log-sum-exp of one token's logits, and for a comparison the running sum of p (z - y). */
typedef struct ds_online {
    double max, sum, target, moment;
} ds_online;

struct ds_workspace {
    ds_spec spec;
    ds_precision precision;
    size_t sequences, length; /* capacity */
    size_t workers;
    void *state;               /* (B,T,planes,d) */
    void *hidden;              /* (B,T,d) */
    void *x_in;                /* (B,T,d): where the read needs other tokens' states; else NULL */
    void *query;               /* (B,T,H*h) */
    void *key, *value;         /* (B,T,KV*h) */
    void *gate;                /* (B,T,H*h): output gate before its silu; NULL without */
    void *key_mix, *value_mix; /* (B,T,KV): shift weights; NULL without */
    void *key_edge;            /* (B,tiles,KV*h): each tile's last row before the shift; NULL without */
    void *value_edge;
    void *cosine, *sine;            /* (T,r/2) */
    double *state_norm, *edit_norm; /* (B,T) */
    size_t *not_finite;             /* (B,tiles): first position whose new state is not finite, else T */
    ds_online *online;              /* (B,T) */
    void *before;                   /* (B,T,planes,d): made when an observer first asks */
    double *zero_weights;           /* (B,T): likewise */
    void *rule;                     /* the rule's own */
    const double *mean_mixing;      /* borrowed: (S,n(n+2)), or NULL (model.h) */
    ds_arrays arrays;               /* owns these, and those of the rule */
    ds_scratch *scratch;            /* (workers) */
};

/* The cut depends on the window length alone: tiles of DS_TILE_ROWS tokens, the last one shorter. */
static inline size_t ds_tile_count(size_t length) { return (length + DS_TILE_ROWS - 1) / DS_TILE_ROWS; }

/* Makes sure that what the observer wants to see can be kept. */
ds_status ds_workspace_observe(ds_workspace *workspace, unsigned wants) DS_MUST_CHECK;

#endif
