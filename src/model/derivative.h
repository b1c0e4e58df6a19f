/* Private to the model room: the buffers of backward passes and tangents, and what the tasks of one share. */
#ifndef DELTASCOPE_MODEL_DERIVATIVE_H
#define DELTASCOPE_MODEL_DERIVATIVE_H

#include "deltascope/gradient.h"

#include "pass.h"

enum {
    DS_BACKWARD_QUERY_ROWS = 128, /* query rows that share a block of attention scores */
    DS_WEIGHT_ROWS = 256,         /* rows of a weight whose gradient is one task */
};

/* Where a tile sums the gradients of a sublayer's small parameters, in double; offsets into ds_gradient.partial. */
typedef struct ds_partial_layout {
    size_t norm;                             /* (d) ln_1 or ln_2, or the final norm; twice with biases */
    size_t taps;                             /* (dv,d) CC, (dv,K,d) TC; or (dv,K,d) of the input convolution */
    size_t query_norm, key_norm, head_norm;  /* (h) */
    size_t query_bias, key_bias, value_bias; /* (H*h), (KV*h) x 2 */
    size_t gate_bias, up_bias;               /* (f) */
    size_t output_bias;                      /* (d) of the branch's last projection */
    size_t rule;                             /* the rule's own */
    size_t count;
} ds_partial_layout;

/* dW (out,in) += dY^T X over all tokens of the batch, in rows of `stride` numbers. Of a weight stored as (in,out), dy and x
 * have changed places. */
typedef struct ds_weight_job {
    void *dweight;
    const void *dy, *x; /* (B,T,out), (B,T,in) */
    size_t out, in, stride;
    size_t groups; /* rows of dy and x for each token */
} ds_weight_job;

/* One worker's scratch. */
typedef struct ds_derivative_scratch {
    void *memory;
    void *scores, *weights; /* (Q,T) gradients of scores, softmax weights */
    void *inverse;          /* (Q) */
    void *context;          /* (R,d) gradient of c */
    void *narrow[2];        /* (R,H*h) */
    void *token;            /* (DS_PATHS+2,planes,d): one token's state gradient by path, the last for their sum */
    void *logits;           /* (VB) */
} ds_derivative_scratch;

struct ds_gradient {
    const ds_model *model;
    ds_workspace *workspace;
    size_t sequences, length, sublayers;
    ds_precision precision;
    bool paths;
    void **parameters; /* (parameters of the model), or NULL */
    void *parameter_memory;
    size_t parameter_bytes;

    /* the tape: state s is X_s, for s = first .. last of what is linearised */
    void **states;      /* (S+1) of (B,T,planes,d); one array for all where the rule keeps its history */
    ds_tape *tapes;     /* (S): those from kept_from on own memory, the others share one per half */
    void **tape_memory; /* (S), then the two shared ones */
    size_t kept_from;
    size_t shared_holds[2]; /* which sublayer the shared tape of this half holds now; S: none */
    ds_force *forces;       /* (ds_spec_forces) */
    ds_batch batch;         /* of the last linearisation; sequences 0: none. Its ids are not kept. */
    size_t first, last;

    /* of every token of the batch */
    void *state;          /* (B,T,planes,d) the gradient on its way back */
    void *x_in, *context; /* (B,T,d) */
    void *dcontext;       /* (B,T,d) tangent of c */
    size_t coefficient_width;
    void *coefficient_hidden;            /* (B,T,width) what the rule's coefficients leave for their derivative */
    void *dbranch;                       /* (B,T,d) dh, or the tangent of h */
    void *dx_in;                         /* (B,T,d) */
    void *dx_paths[DS_PATHS];            /* (B,T,d) with `paths`: what of dx_in came by which path; NULL: not of this rule */
    double *norm2;                       /* (B,T) */
    ds_path_squares *squares;            /* (B,T) with `paths` */
    void *gated, *dgate, *dup;           /* (B,T,f) */
    void *heads, *dheads, *dquery;       /* (B,T,H*h) */
    void *dkey, *dvalue;                 /* (B,T,KV*h) */
    void *dkey_shifted, *dvalue_shifted; /* (B,T,KV*h) with shifts: gradients before, tangents after the shift */
    void *doutput_gate;                  /* (B,T,H*h) */
    void *dkey_mix, *dvalue_mix;         /* (B,T,KV) */
    void *hidden, *dhidden;              /* (B,T,d) what the head multiplies */
    void *embeddings;                    /* (B,T,d) dloss/dx_emb */
    void *logits;                        /* (blocks_held, B*T, logit_stride) logits, then their gradients */
    size_t logit_stride;
    size_t blocks_held; /* vocabulary blocks */
    double *log_sum;    /* (B,T) */
    double *partial;    /* (B,tiles,layout.count) */
    void *rule;         /* the rule's own */
    ds_arrays arrays;   /* owns these, and those of the rule */

    double seconds[2]; /* spent on the way there, and back */

    ds_partial_layout layout;
    ds_weight_job *jobs; /* of the sublayer being gone through */
    size_t job_count, job_capacity;
    ds_derivative_scratch *scratch; /* (workers) */
};

/* What the tasks of one parallel loop share. `pass` comes first: the forward steps take its address. pass.state is the state
 * before the sublayer. */
typedef struct ds_derivative {
    ds_pass pass;
    ds_gradient *gradient;
    const ds_tape *tape;
    void *state;   /* (B,T,planes,d) gradient or tangent, in place */
    bool identity; /* the sublayer leaves the state as it is: nothing of it to go through */
    bool parameters, paths, norms;
    double weight;        /* of each token's nll */
    size_t block, blocks; /* vocabulary blocks of this loop */
} ds_derivative;

/* The tangents of one sublayer at one token along every feature of its x_in, one a row. */
typedef struct ds_token_directions {
    ds_tile token;                    /* a tile of one row */
    void *dx_in, *dcontext, *dbranch; /* (d,d) */
} ds_token_directions;

/* Where one of attention's projections has its derivatives. */
typedef struct ds_projection_derivative {
    ds_projection forward;
    void *raw, *mix;                    /* on the tape: (B,T,heads*h) as projected; (B,T,heads), NULL without shift */
    void *derivative, *dshifted, *dmix; /* gradients or tangents: (B,T,heads*h) x 2, (B,T,heads) */
    size_t partial, bias_partial;       /* of the norm's weight, of the bias */
} ds_projection_derivative;

/* NULL without parameter gradients. */
static inline double *ds_partial_of(const ds_derivative *b, ds_tile tile) {
    if (!b->parameters) return NULL;
    return b->gradient->partial + (tile.sequence * b->pass.tiles + tile.index) * b->gradient->layout.count;
}
/* Where a tile's sum at `offset` goes; NULL without parameter gradients. */
static inline double *ds_partial_at(const ds_derivative *b, ds_tile tile, size_t offset) {
    double *partial = ds_partial_of(b, tile);
    return partial != NULL ? partial + offset : NULL;
}

/* Adds dW += dY^T X to what weights_backward does; weight NULL: nothing to do. */
ds_status ds_weight_job_add(ds_derivative *b, const ds_parameter *weight, const void *dy, const void *x) DS_MUST_CHECK;
ds_status ds_map_job_add(ds_derivative *b, const ds_linear_map *map, const void *dy, const void *x) DS_MUST_CHECK;
/* The same with `groups` rows of dy and x for each token. */
ds_status ds_grouped_job_add(ds_derivative *b, const ds_linear_map *map, const void *dy, const void *x,
                             size_t groups) DS_MUST_CHECK;

#endif
