/* Private to the verify room: the model a second time, in double, by plain loops over the published layouts and names, one
 * window at a time. It shares no kernel, no folded weight and no parameter slot with the model room: tensors are found by
 * name, the state is (T,d,dv) as published, attention keeps its whole row of scores. Every number carries a bound on its
 * error. */
#ifndef DELTASCOPE_VERIFY_PLAIN_MODEL_H
#define DELTASCOPE_VERIFY_PLAIN_MODEL_H

#include "bounded.h"

/* Buffers for one window; borrows a double model. */
typedef struct ds_plain {
    const ds_model *model;
    const ds_spec *spec;
    size_t length;
    ds_arithmetic arithmetic;                       /* whose errors are bounded; at first of one computation in double */
    ds_bounded x_in, context, branch;               /* (T,d) */
    ds_bounded query, key, value, heads, head_gate; /* (T,H*h), keys and values (T,KV*h) */
    ds_bounded mix, scores;                         /* (T,KV), (T) */
    ds_bounded gate, up;                            /* (T,f) */
    ds_bounded gate_hidden;                         /* (T,g) */
    ds_bounded beta, target;                        /* (T), (T,dv): of the last sublayer */
    ds_bounded logits;                              /* (V) */
    ds_bounded published;                           /* (T,d,dv): of ds_plain_step; of a history (T,d,planes) */
    ds_bounded sources, slots, depth_key, terms;    /* of one token's read of a history, plain_depth.c */
    ds_bounded unit, stream_alpha, stream_beta;     /* (T,n,d) z, (T,alphas), (T,n): of streams, plain_streams.c */
    ds_bounded mixing, numbers, squares;            /* (T,n(n+2)) pre, post, R; of one token */
} ds_plain;

ds_status ds_plain_init(ds_plain *plain, const ds_model *model, size_t length) DS_MUST_CHECK;
void ds_plain_release(ds_plain *plain);

/* ---- plain_parts.c: parameters by name -------------------------------------------------------------------------------- */

/* A parameter's values by either of its names; NULL when the model has none of them. `other` may be NULL. */
const double *ds_plain_find(const ds_model *model, const char *name, const char *other);
/* A parameter of a layer, "transformer.h.LAYER." or what the backbone has put in front of both names. */
const double *ds_plain_of(const ds_plain *plain, size_t layer, const char *name, const char *other);

/* One of the model itself that its rule has, behind what the backbone puts in front. */
const double *ds_plain_of_rule(const ds_plain *plain, const char *name, const char *other);

/* What every transformer has, under the names of its own code. */
typedef enum ds_plain_part {
    DS_PLAIN_EMBEDDING,
    DS_PLAIN_POSITIONS,
    DS_PLAIN_HEAD,
    DS_PLAIN_FINAL_NORM,
    DS_PLAIN_ATTENTION_NORM,
    DS_PLAIN_MLP_NORM,
    DS_PLAIN_QUERY,
    DS_PLAIN_KEY,
    DS_PLAIN_VALUE,
    DS_PLAIN_QKV, /* the three in one */
    DS_PLAIN_QUERY_NORM,
    DS_PLAIN_KEY_NORM,
    DS_PLAIN_OUTPUT,
    DS_PLAIN_GATE,
    DS_PLAIN_UP,
    DS_PLAIN_DOWN,
    DS_PLAIN_PARTS
} ds_plain_part;
#define DS_PLAIN_NO_LAYER SIZE_MAX
bool ds_plain_is_gpt(const ds_spec *spec); /* LayerNorm, learned positions, an MLP without a gate */
/* NULL: the model has none. layer DS_PLAIN_NO_LAYER: of the model itself. */
const double *ds_plain_weight(const ds_plain *plain, size_t layer, ds_plain_part part);
const double *ds_plain_bias(const ds_plain *plain, size_t layer, ds_plain_part part);
const double *ds_plain_head(const ds_plain *plain); /* (V,d) */
/* y (T,out) = x (T,in) W^T + b of a part, however it is stored. */
ds_status ds_plain_project(ds_bounded y, ds_bounded x, ds_plain *plain, size_t layer, ds_plain_part part, size_t out,
                           size_t in) DS_MUST_CHECK;
/* y (T,d) <- the norm of that name; y may be x. */
void ds_plain_norm(ds_bounded y, ds_bounded x, const ds_plain *plain, size_t layer, ds_plain_part part);

/* y (rows,out) = x (rows,in) W^T, W (out,in). */
ds_status ds_plain_linear(double *y, const double *x, const double *weight, size_t rows, size_t out, size_t in) DS_MUST_CHECK;

/* state (T,d,dv) = X_0. */
void ds_plain_embed(ds_bounded state, const ds_plain *plain, const uint32_t *tokens);
/* state (T,d,dv): X_s -> X_{s+1}, bounds of errors in X_s to those of X_{s+1}. */
ds_status ds_plain_sublayer(ds_plain *plain, ds_bounded state, size_t sublayer) DS_MUST_CHECK;
/* hidden (T,d) <- RMSNorm(readout(state)). */
ds_status ds_plain_readout(ds_plain *plain, ds_bounded hidden, ds_bounded state) DS_MUST_CHECK;
/* Of one row hidden (d): plain->logits, and the loss of a target. */
ds_status ds_plain_loss(double *nll, double *error, ds_plain *plain, ds_bounded hidden, uint32_t target) DS_MUST_CHECK;

/* x_in and the normalised context (T,d) of a sublayer. */
ds_status ds_plain_read(ds_plain *plain, ds_bounded state, size_t sublayer) DS_MUST_CHECK;
/* From the context: queries, keys and values as their activations see them; h (T,d). */
ds_status ds_plain_projections(ds_plain *plain, size_t layer) DS_MUST_CHECK;
ds_status ds_plain_attention(ds_plain *plain, size_t layer) DS_MUST_CHECK;

/* ---- plain_depth.c: attention over depth, whose state is (T,d,planes) --------------------------------------------------- */

/* What tells reads of these rules apart in statements about them. */
typedef struct ds_plain_depth_form {
    bool additive;  /* r is added to the sum of all outputs */
    bool single;    /* a source is one output */
    bool partition; /* every output is in one source */
} ds_plain_depth_form;
ds_plain_depth_form ds_plain_depth_form_of(const ds_spec *spec);
size_t ds_plain_depth_rows(const ds_spec *spec); /* sources of a read at most; 1 under other rules */
/* x_in (T,d) of a sublayer, S being the readout; what a sublayer adds. */
ds_status ds_plain_depth_read(ds_plain *plain, ds_bounded state, size_t sublayer) DS_MUST_CHECK;
void ds_plain_depth_write(ds_plain *plain, ds_bounded state, size_t sublayer);

/* ---- plain_streams.c: parallel streams, whose state is (T,d,n) ------------------------------------------------------- */

bool ds_plain_has_streams(const ds_spec *spec);
size_t ds_plain_stream_mixing(const ds_spec *spec);  /* n(n+2): pre, post and R of a token */
size_t ds_plain_stream_numbers(const ds_spec *spec); /* what they are made of; 1 under other rules */
/* Which sums of R the rule makes 1: those of rows, what a stream receives; of columns, what it sends out. */
typedef struct ds_plain_stream_form {
    bool rows, columns;
    bool fixed;     /* R is the identity */
    size_t weights; /* of a mixture of orders; 0: it is none */
} ds_plain_stream_form;
ds_plain_stream_form ds_plain_stream_form_of(const ds_spec *spec);
/* plain->mixing and x_in (T,d) of a sublayer; what it makes of the streams; hidden (T,d). */
ds_status ds_plain_stream_read(ds_plain *plain, ds_bounded state, size_t sublayer) DS_MUST_CHECK;
void ds_plain_stream_write(ds_plain *plain, ds_bounded state, size_t sublayer);
void ds_plain_stream_readout(ds_plain *plain, ds_bounded hidden, ds_bounded state);

/* ---- in the model's layout, (T,dv,d) of each of `windows` windows
 * ------------------------------------------------------------ */

void ds_plain_start(ds_bounded state, ds_plain *plain, const ds_batch *batch);
/* after <- X_{s+1} from `before` X_s, whose errors are bounded by before.e (NULL: none). */
ds_status ds_plain_step(ds_bounded after, ds_plain *plain, size_t windows, ds_bounded before, size_t sublayer) DS_MUST_CHECK;
/* x_in and context of one window of the batch. */
ds_status ds_plain_read_window(ds_plain *plain, size_t window, const double *state, size_t sublayer) DS_MUST_CHECK;
/* hidden (windows,T,d); errors of the state as above. */
ds_status ds_plain_finish(ds_bounded hidden, ds_plain *plain, size_t windows, ds_bounded state) DS_MUST_CHECK;

/* sum over all numbers of |cotangent_i| after.e_i, where after.e is what errors before.e become in a sublayer without further
 * roundings: |cotangent|^T |J| before.e with absolute values of every factor of J, an upper bound of what a derivative's own
 * roundings multiply. (windows,T,dv,d). */
ds_status ds_plain_reach(double *reach, ds_plain *plain, size_t windows, ds_bounded before, const double *cotangent,
                         size_t sublayer) DS_MUST_CHECK;
/* How many roundings follow one another at most in a sublayer's derivative, in either direction: the lengths of its sums. */
double ds_derivative_roundings(const ds_spec *spec, size_t length);

#endif
