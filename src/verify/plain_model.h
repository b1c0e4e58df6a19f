/* Private to the verify room: the model a second time, in double, by plain loops over the published layouts and names, one
 * window at a time. It shares no kernel, no folded weight and no parameter slot with the model room: tensors are found by
 * name, the state is (T,d,dv) as published, attention keeps its whole row of scores. */
#ifndef DELTASCOPE_VERIFY_PLAIN_MODEL_H
#define DELTASCOPE_VERIFY_PLAIN_MODEL_H

#include "deltascope/model.h"

/* Buffers for one window; borrows a double model. */
typedef struct ds_plain {
    const ds_model *model;
    const ds_spec *spec;
    size_t length;
    double *x_in, *context, *branch;                 /* (T,d) */
    double *query, *key, *value, *heads, *head_gate; /* (T,H*h) */
    double *mix, *scores;                            /* (T,H), (T) */
    double *gate, *up;                               /* (T,f) */
    double *gate_hidden;                             /* (T,g) */
    double *beta, *target;                           /* (T), (T,dv): of the last sublayer */
} ds_plain;

ds_status ds_plain_init(ds_plain *plain, const ds_model *model, size_t length) DS_MUST_CHECK;
void ds_plain_release(ds_plain *plain);

/* A parameter's values by either of its names; NULL when the model has none of them. `other` may be NULL. */
const double *ds_plain_find(const ds_model *model, const char *name, const char *other);

/* y (rows,out) = x (rows,in) W^T, W (out,in). */
ds_status ds_plain_linear(double *y, const double *x, const double *weight, size_t rows, size_t out, size_t in) DS_MUST_CHECK;
/* state (T,d,dv) = X_0; magnitude (T,d,dv), the same sums of absolute values. */
void ds_plain_embed(double *state, double *magnitude, const ds_plain *plain, const uint32_t *tokens);
/* state (T,d,dv): X_s -> X_{s+1}. */
ds_status ds_plain_sublayer(ds_plain *plain, double *state, size_t sublayer) DS_MUST_CHECK;
/* hidden (T,d) <- RMSNorm(readout(state)). */
void ds_plain_readout(ds_plain *plain, double *hidden, const double *state);

/* h (T,d) of attention and MLP from the normalised context (T,d). */
ds_status ds_plain_attention(ds_plain *plain, size_t layer) DS_MUST_CHECK;
void ds_plain_rmsnorm(double *y, const double *x, const double *weight, size_t rows, size_t width, double eps);
double ds_plain_sigmoid(double x);
/* A parameter of a layer, "transformer.h.LAYER." put in front of both names. */
const double *ds_plain_of(const ds_plain *plain, size_t layer, const char *name, const char *other);

#endif
