/* The delta rule's own, shared by rule_delta.c and rule_delta.real.c. Private to them. */
#ifndef DELTASCOPE_MODEL_RULE_DELTA_H
#define DELTASCOPE_MODEL_RULE_DELTA_H

#include "rule.h"

/* What forces make of X' = X + m beta k (w v^T - e k^T X), w and e being 0 or 1. */
typedef struct ds_delta_form {
    bool learned; /* beta is what the weights say, otherwise `beta` */
    double beta;
    bool write, erase; /* w = 1, e = 1 */
} ds_delta_form;
/* Of what the model always does and a force on top of it: a forced gate wins, what either leaves out is left out. */
ds_delta_form ds_delta_form_of(ds_force trained, ds_force force);

/* Gate beta(c) and value v(x_in) of one sublayer. */
typedef struct ds_delta_weights {
    const ds_parameter *beta, *beta_bias;              /* (1,d), (1): one linear layer */
    const ds_parameter *beta_in, *beta_out, *out_bias; /* (g,d), (1,g), (1): two layers; then the pair above is NULL */
    const ds_parameter *value, *value_bias;            /* (dv,d), (dv); NULL when the value is constant */
} ds_delta_weights;
_Static_assert(sizeof(ds_delta_weights) <= sizeof((ds_layer_weights *)0)->rule[0], "more slots are needed");
static inline const ds_delta_weights *ds_delta_weights_of(const ds_layer_weights *layer, size_t half) {
    return (const ds_delta_weights *)(const void *)layer->rule[half];
}

/* Between read and write, of every token of a batch. */
typedef struct ds_delta_workspace {
    double *beta, *k_norm2;                   /* (B,T) */
    double *target, *readout, *readout_after; /* (B,T,dv) v; k^T X before and after the update */
    double *u;                                /* (B,T,dv): X' = X + k u^T */
    void *directions;                         /* (B,T,d) k: made when an observer first asks */
    ds_delta_observation seen;
} ds_delta_workspace;

/* On the way back: dX = A^T G with g = G^T k, dk = G u + X e. Forward: tangents. */
typedef struct ds_delta_memory {
    double *u, *e;      /* (B,T,dv) u of X' = X + k u^T; gradient of k^T X */
    double *du;         /* (B,T,dv) tangent of u */
    double *dbeta;      /* (B,T) before the sigmoid; or tangent of beta */
    double *dvalue;     /* (B,T,dv) before the sigmoid; or tangent of v */
    double *gate_slope; /* (B,T) */
    void *k;            /* (B,T,d) */
    void *dhidden;      /* (B,T,g), two-layer gates */
    ds_delta_gradient seen;
} ds_delta_memory;

/* Where a tile sums gradients of a sublayer's weights: offsets from layout.rule. */
typedef struct ds_delta_partial {
    size_t value, value_bias, beta, beta_bias, count; /* (dv,d), (dv), (d) or (g), (1) */
} ds_delta_partial;
static inline ds_delta_partial ds_delta_partial_of(const ds_spec *spec) {
    size_t d = spec->hidden, dv = spec->value_channels, gate = ds_max_size(d, spec->gate_hidden);
    return (ds_delta_partial){
        .value_bias = dv * d, .beta = dv * d + dv, .beta_bias = dv * d + dv + gate, .count = dv * d + dv + gate + 1};
}

extern const ds_rule_steps ds_rule_delta_steps_f32, ds_rule_delta_steps_f64;

#endif
