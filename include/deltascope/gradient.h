/* gradient: exact derivatives of the model: the loss by every parameter, state and embedding; the split of the gradient by the
 * path it took; Jacobians of sublayers, applied to vectors from either side or written out for one token.
 *
 * Notation as model.h: B sequences, T tokens, d hidden, dv value channels, S sublayers; states and their gradients are
 * (B,T,dv,d) of the model's precision. The formulas are the derivatives of MODEL.md's forward pass:
 *
 *   X' = X + m beta k (v - r)^T, r = X^T k;  with G = dloss/dX' and g = G^T k (dv)
 *   shortcut   G - m beta k g^T  (A^T G: k, beta, v held)       dv = m beta g      dbeta = m g . (v - r)
 *   direction  dk = m beta sum_j ((v_j - r_j) G_j - g_j X_j),  dh = (I - k k^T) dk / sqrt(|h|^2 + eps^2)
 *
 * and what reaches h, beta and v flows on through branch, gate and value to x_in, and through the compressor to X. In the
 * additive baseline the shortcut is the identity and all else comes through the branch. Under a ds_force the derivatives are
 * those of the forced pass: a fixed beta passes no gradient on.
 *
 * Results do not depend on the number of threads, bit for bit. How windows are grouped into batches changes no bit of states'
 * gradients; in parameters' it changes the rounding of sums. */
#ifndef DELTASCOPE_GRADIENT_H
#define DELTASCOPE_GRADIENT_H

#include "deltascope/model.h"

DS_BEGIN_DECLARATIONS

/* Buffers, tape and parameter gradients for batches of up to `sequences` windows of up to `length` tokens. Borrows the
 * model. */
typedef struct ds_gradient ds_gradient;
typedef struct ds_gradient_options {
    size_t memory; /* bytes for what the forward pass leaves for the backward pass; 0: 2 GiB. The input state of every sublayer
                        is kept in any case; what does not fit beyond that is computed again. Results do not depend on it. */
    bool parameters; /* keep gradients of parameters; they are zero at first */
    bool paths;      /* split the gradient reaching each state by path; a history, which only grows, has no such paths */
} ds_gradient_options;

ds_status ds_gradient_new(ds_gradient **out, const ds_model *model, size_t sequences, size_t length,
                          const ds_gradient_options *options) DS_MUST_CHECK;
/* *bytes <- what it takes with its workspace, on as many threads as there are, beside the gradients of parameters. */
ds_status ds_gradient_bytes(size_t *bytes, const ds_spec *spec, ds_precision precision, size_t sequences, size_t length,
                            const ds_gradient_options *options) DS_MUST_CHECK;
void ds_gradient_free(ds_gradient **gradient); /* sets NULL; NULL is fine */
void ds_gradient_zero(ds_gradient *gradient);  /* the parameter gradients */
/* Gradient of parameter `index` of the model: its count and layout, of the model's precision. NULL without `parameters`. The
 * tied embedding holds what came from the input and from the output head. */
const void *ds_gradient_parameter(const ds_gradient *gradient, size_t index);
/* All of them as one array of the model's precision, *count numbers: parameters in order, zeros between them. NULL without
 * `parameters`. */
void *ds_gradient_block(ds_gradient *gradient, size_t *count);
/* dloss/dx_emb (B,T,d) of the last ds_backward: of each token's embedding as the input reads it. */
const void *ds_gradient_embeddings(const ds_gradient *gradient);

/* ---- the loss --------------------------------------------------------------------------------------------------------- */

/* One token's share in squared norms and inner products of the gradient reaching X_s; summed over tokens they give those of the
 * batch, or of several batches. */
enum {
    DS_PATH_BRANCH,  /* through h, the branch's output: for the delta rule that is k, the direction */
    DS_PATH_CONTEXT, /* through what the rule computes from the sublayer's normalised input: for the delta rule the gate */
    DS_PATH_INPUT,   /* through what the rule computes from the input itself: for the delta rule the value; for parallel
                      * streams all they mix by */
    DS_PATHS,
};
typedef struct ds_path_squares {
    double shortcut;        /* |.|^2 of the part along the shortcut */
    double parts[DS_PATHS]; /* |.|^2 of each other path's part; 0 where the rule has no such path */
    double total;           /* |dloss/dX_s|^2, computed as one */
    double shortcut_total;  /* <shortcut, total> */
    double error;           /* |shortcut + sum of the parts - total|^2 */
} ds_path_squares;
void ds_path_squares_add(ds_path_squares *sum, const ds_path_squares *tokens, size_t count); /* in order */

/* Norms of a sum of squares, as `gradflow` reports them. A ratio whose denominator is 0 is 0. */
typedef struct ds_path_norms {
    double shortcut, parts[DS_PATHS], total, cosine_shortcut_total, sum_error;
} ds_path_norms;
ds_path_norms ds_path_squares_norms(const ds_path_squares *sum);

/* What only the delta rule has. */
typedef struct ds_delta_gradient {
    const double *gate_slope; /* (B,T) beta dloss/dbeta: the derivative when the applied gate is scaled */
    const double *beta;       /* (B,T) gate as applied */
    const void *k;            /* (B,T,d) direction; NULL when the gate is closed */
} ds_delta_gradient;

/* What is known once the gradient has reached X_index; arrays are valid during the call only. The sublayer is the one between
 * X_index and X_index+1; its arrays are NULL at X_S, where what reads is the readout. */
typedef struct ds_gradient_event {
    size_t index, sequences, length, hidden, planes;
    ds_precision precision;
    const void *state;            /* (B,T,planes,d) X_index */
    const void *gradient;         /* (B,T,planes,d) dloss/dX_index */
    const double *norm2;          /* (B,T) its squared Frobenius norm, token by token */
    const void *read_gradient;    /* (B,T,d) dloss/du_index: what returns through what it reads, at X_S through the head's input
                                   * of parallel streams; NULL: nothing does */
    const void *output_gradient;  /* (B,T,d) dloss/dh, h being what the branch gives; likewise, and NULL at X_S */
    const void *sum_gradient;     /* (B,T,d) of the running sum of a history, where it is a thing beside what it sums up: dloss
                                       by all reads of the sum from here on; NULL under other rules, and at X_0 */
    const ds_path_squares *paths; /* (B,T); NULL without `paths` */
    const ds_delta_gradient *delta; /* NULL under other rules */
} ds_gradient_event;
typedef struct ds_gradient_observer {
    ds_status (*state)(void *context, const ds_gradient_event *event); /* on the calling thread, X_S first, X_0 last */
    void *context;
} ds_gradient_observer;

/* Forward and backward of  loss = weight * sum over the batch of nll:  with weight = 1 / (all targets of the run) the
 * gradients of several batches add up to those of the mean loss. Parameter gradients accumulate. nll (B,T) as ds_head_loss
 * gives it; forces as in ds_sublayers; observer may be NULL. */
ds_status ds_backward(ds_gradient *gradient, const ds_batch *batch, const ds_force *forces, double weight,
                      const ds_gradient_observer *observer, double *nll) DS_MUST_CHECK;

/* Seconds that all calls of ds_backward together took until every loss was known, and from then on. */
void ds_gradient_seconds(const ds_gradient *gradient, double *forward, double *backward);

/* ---- Jacobians -------------------------------------------------------------------------------------------------------- */

/* Runs sublayers first .. last-1 on `state` in place, as ds_sublayers, and keeps what the functions below need, until the next
 * ds_linearise or ds_backward. (After ds_backward the whole depth is linearised.) */
ds_status ds_linearise(ds_gradient *gradient, const ds_batch *batch, void *state, size_t first, size_t last,
                       const ds_force *forces) DS_MUST_CHECK;
/* In place, for the linearised window: tangent at X_first -> J tangent at X_last;  cotangent at X_last -> J^T cotangent at
 * X_first, J = dX_last / dX_first. <J v, w> = <v, J^T w> to rounding. */
ds_status ds_tangent(ds_gradient *gradient, void *tangent) DS_MUST_CHECK;
ds_status ds_adjoint(ds_gradient *gradient, void *cotangent) DS_MUST_CHECK;

/* jacobian (d*dv, d*dv) <- dX_{s+1}[t] / dX_s[t] of one linearised sublayer at one token, the window's other tokens held: row
 * i*dv + j is output feature i, channel j; columns are inputs likewise, the published order. By forward mode in the model's
 * precision: d passes, since only x_in sees more than the shortcut. */
ds_status ds_token_jacobian(ds_gradient *gradient, double *jacobian, size_t sublayer, size_t sequence,
                            size_t position) DS_MUST_CHECK;

DS_END_DECLARATIONS

#endif
