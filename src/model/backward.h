/* Private to the model room: the tape, the buffers of a backward or tangent pass, and its steps. */
#ifndef DELTASCOPE_MODEL_BACKWARD_H
#define DELTASCOPE_MODEL_BACKWARD_H

#include "deltascope/gradient.h"

#include "forward.h"

enum {
    DS_BACKWARD_QUERY_ROWS = 128, /* query rows that share a block of attention scores */
    DS_WEIGHT_ROWS = 256,         /* rows of a weight whose gradient is one task */
    DS_MAX_WEIGHTS = 8,           /* Linear weights of one sublayer */
};

/* Where a tile sums the gradients of a sublayer's small parameters, in double; offsets into ds_gradient.partial. */
typedef struct ds_partial_layout {
    size_t norm;                            /* (d) ln_1 or ln_2, or the final norm */
    size_t taps;                            /* (dv,d) CC, (dv,K,d) TC; or (dv,K,d) of the input convolution */
    size_t value, value_bias;               /* (dv,d), (dv) */
    size_t beta, beta_bias;                 /* (d) or (g), (1) */
    size_t query_norm, key_norm, head_norm; /* (h) */
    size_t count;
} ds_partial_layout;

/* dW (out,in) += dY^T X over all tokens of the batch. */
typedef struct ds_weight_job {
    void *dweight;
    const void *dy, *x; /* (B,T,out), (B,T,in) */
    size_t out, in;
} ds_weight_job;

/* One worker's scratch. */
typedef struct ds_backward_scratch {
    void *memory;
    void *scores, *weights; /* (Q,T) gradients of scores, softmax weights */
    void *inverse;          /* (Q) */
    void *context;          /* (R,d) gradient or tangent of c */
    void *narrow[2];        /* (R,H*h) */
    void *gate_hidden;      /* (g) */
    void *token;            /* (5,dv,d): one token's state gradient by path */
    void *logits;           /* (VB) */
} ds_backward_scratch;

struct ds_gradient {
    const ds_model *model;
    ds_workspace *workspace;
    size_t sequences, length, sublayers;
    ds_precision precision;
    bool paths;
    void **parameters; /* (parameters of the model), or NULL */
    void *parameter_memory;

    /* the tape: state s is X_s, for s = first .. last of what is linearised */
    void **states;      /* (S+1) of (B,T,dv,d) */
    ds_tape *tapes;     /* (S): those from kept_from on own memory, the others share one per half */
    void **tape_memory; /* (S), then the two shared ones */
    size_t kept_from;
    size_t shared_holds[2]; /* which sublayer the shared tape of this half holds now; S: none */
    ds_force *forces;       /* (S) */
    ds_batch batch;         /* of the last linearisation; sequences 0: none. Its ids are not kept. */
    size_t first, last;

    /* of every token of the batch */
    void *state;                             /* (B,T,dv,d) the gradient on its way back; a tangent's copy */
    void *x_in, *context;                    /* (B,T,d) */
    void *dcontext;                          /* (B,T,d) tangent of c */
    void *gate_hidden;                       /* (B,T,g), two-layer gates */
    void *dgate_hidden;                      /* likewise */
    void *direction, *dbranch;               /* (B,T,d) k; dh, or the tangent of h */
    void *dx_in;                             /* (B,T,d) */
    void *dx_direction, *dx_gate, *dx_value; /* (B,T,d) with `paths` */
    double *written, *erased;                /* (B,T,dv) u and e of ds_rank_one_backward */
    double *dbeta, *dvalue;                  /* (B,T), (B,T,dv): before the sigmoid, or tangents of beta and v */
    double *gate_slope;                      /* (B,T) */
    double *norm2;                           /* (B,T) */
    ds_path_squares *squares;                /* (B,T) with `paths` */
    void *gated, *dgate, *dup;               /* (B,T,f) */
    void *heads, *dheads;                    /* (B,T,H*h) */
    void *dquery, *dkey, *dvalues;           /* (B,T,H*h) */
    void *dkey_shifted, *dvalue_shifted;     /* (B,T,H*h) with shifts: gradients before, tangents after the shift */
    void *doutput_gate;                      /* (B,T,H*h) */
    void *dkey_mix, *dvalue_mix;             /* (B,T,H) */
    void *hidden, *dhidden;                  /* (B,T,d) what the head multiplies */
    void *embeddings;                        /* (B,T,d) dloss/dx_emb */
    void *logits;                            /* (blocks_held, B*T, VB) logits, then their gradients */
    size_t blocks_held;                      /* vocabulary blocks */
    double *log_sum;                         /* (B,T) */
    double *partial;                         /* (B,tiles,layout.count) */
    ds_partial_layout layout;
    ds_backward_scratch *scratch; /* (workers) */
};

/* What the tasks of one parallel loop share. `pass` comes first: the forward steps take its address. pass.state is the state
 * before the sublayer. */
typedef struct ds_backward_pass {
    ds_pass pass;
    ds_gradient *gradient;
    const ds_tape *tape;
    size_t half; /* 0 attention, 1 MLP */
    void *state; /* (B,T,dv,d) gradient or tangent, in place */
    bool parameters, paths, norms;
    const ds_taps *taps;  /* the compressor that expand and close go back through */
    double weight;        /* of each token's nll */
    size_t block, blocks; /* vocabulary blocks of this loop */
    ds_weight_job jobs[DS_MAX_WEIGHTS];
    size_t job_count;
} ds_backward_pass;

static inline double *ds_partial_of(const ds_backward_pass *b, ds_tile tile) {
    if (!b->parameters) return NULL;
    return b->gradient->partial + (tile.sequence * b->pass.tiles + tile.index) * b->gradient->layout.count;
}

/* Steps, each a task per tile unless said otherwise. */
typedef struct ds_backward_tasks {
    /* attention: enter, scores (per window and head), unshape, leave; MLP: mlp; then both expand, and weights (per job block) */
    ds_task enter, scores, unshape, leave, mlp, expand, weights;
    ds_task restore; /* attention's part of enter that needs no gradient */
    /* the ends: logits and loss; gradient of the logits of some vocabulary blocks and through them of hidden; of the embedding's rows
     * (per block); final norm; embeddings; taps of the input convolution */
    ds_task loss, logits, head_weights, final_norm, embeddings;
    /* on the calling thread: adds the embeddings' gradients to the table; the tiles' partial sums to the parameters */
    void (*scatter)(ds_backward_pass *b);
    void (*reduce)(ds_backward_pass *b, const ds_parameter *parameter, size_t offset);
    void (*reduce_taps)(ds_backward_pass *b, const ds_taps *taps, size_t offset);
    /* forward mode */
    ds_task tangent_enter, tangent_shift, tangent_attend, tangent_mlp;
    ds_status (*token_jacobian)(ds_backward_pass *b, double *jacobian, size_t sequence, size_t position);
} ds_backward_tasks;
extern const ds_backward_tasks ds_backward_tasks_f32, ds_backward_tasks_f64;

static inline const ds_backward_tasks *ds_backward_tasks_of(const ds_gradient *gradient) {
    return gradient->precision == DS_F32 ? &ds_backward_tasks_f32 : &ds_backward_tasks_f64;
}

/* The pass that goes through sublayer `s`, its tape filled. */
ds_status ds_backward_sublayer_begin(ds_backward_pass *b, ds_gradient *gradient, size_t s) DS_MUST_CHECK;
/* Gradient b->state at X_{s+1} -> at X_s. */
ds_status ds_backward_sublayer(ds_backward_pass *b, size_t s) DS_MUST_CHECK;
bool ds_backward_closed(const ds_gradient *gradient, size_t s); /* the sublayer leaves the state as it is */

#endif
