/* The loaded model as the forward and backward passes see it: typed access to the parameter table, no names. Private to the
 * model room.
 *
 * Every `const ds_parameter *` below points into model->parameters (so `p - model->parameters` is its index, for gradients) and
 * is NULL when this model has no such tensor. Their `values` are row-major as stored, of the model's precision; Linear weights
 * are (out, in). Compressor, readout and input convolution weights are stored with feature and channel interleaved, in three
 * shapes; kernels use the planes of ds_taps instead, which ds_model_refresh recomputes. */
#ifndef DELTASCOPE_MODEL_INTERNAL_H
#define DELTASCOPE_MODEL_INTERNAL_H

#include "deltascope/model.h"

enum { DS_RULE_SLOTS = 11 }; /* parameters a residual rule may have per sublayer */

/* A compressor, a readout or the input convolution. K = spec.state_kernel, or spec.input_kernel for the input.
 *   TC     taps (dv,K,d): taps[j][s][i] = w[i,j,s];  read (dv)
 *   CC     taps (dv,d):   taps[v][i] = w_eff[i,v] = sum_a read[a] w[i, left+v-a];  read is folded in
 *   input  taps (dv,K,d): as TC;  read is NULL */
typedef struct ds_taps {
    const ds_parameter
        *weight; /* CC (d,K); TC and input (d*dv,K), (d*dv,1,K) or (d,dv,K): row i*dv+j, all the same memory order */
    const ds_parameter *read; /* (dv) */
    void *taps;               /* derived, 64-byte aligned, of the model's precision; NULL when the model has none */
} ds_taps;

/* A norm before a branch or the head; bias NULL: none. */
typedef struct ds_norm {
    const ds_parameter *weight, *bias; /* (d) */
} ds_norm;

/* A Linear layer y = x W^T + b as kernels see it: all outputs of a stored weight, or `out` of them from `first` on. */
typedef struct ds_linear_map {
    const ds_parameter *weight, *bias; /* bias NULL: none */
    size_t first, out, in;
    bool inputs_first; /* stored as (in,out) */
} ds_linear_map;

typedef struct ds_layer_weights {
    ds_taps compress; /* expanded state only; used before attention and before the MLP */
    ds_norm ln_1, ln_2;
    const ds_parameter *query, *key, *value, *attention;                     /* (H*h,d), (KV*h,d) x 2, (d,H*h) */
    const ds_parameter *qkv, *qkv_bias;                                      /* all three in one: then the others are NULL */
    const ds_parameter *query_bias, *key_bias, *value_bias, *attention_bias; /* (H*h), (KV*h) x 2, (d) */
    const ds_parameter *key_shift, *value_shift;                             /* (H,d) */
    const ds_parameter *query_norm, *key_norm;                               /* (h): q_rms, k_rms */
    const ds_parameter *head_norm, *output_norm;                             /* (h): subln, o_norm */
    const ds_parameter *output_gate;                                         /* (H*h,d): g_proj */
    const ds_parameter *gate, *up, *down;                /* (f,d), (f,d), (d,f): of the MLP; gate NULL: it has none */
    const ds_parameter *gate_bias, *up_bias, *down_bias; /* (f), (f), (d) */
    const ds_parameter *rule[2][DS_RULE_SLOTS];          /* 0 attention, 1 MLP: the residual rule's own */
} ds_layer_weights;

typedef struct ds_label {
    char name[64], older_name[64], role[64];
} ds_label;

struct ds_model {
    ds_spec spec;
    ds_precision precision;
    size_t parameter_count;
    ds_parameter *parameters; /* in table order */
    ds_label *labels;         /* the strings of parameters[i] */
    void *values;             /* one block for all parameters, each starting at a 64-byte boundary */
    void *derived;            /* one block for all taps, likewise */

    const ds_parameter *embedding; /* (V,d): token embedding and, tied, output head */
    const ds_parameter *positions; /* (positions,d): added to the embedding */
    const ds_parameter *own_head;  /* (V,d): the output head where it is not tied */
    ds_taps input;                 /* EC, else all NULL */
    ds_taps readout;               /* expanded state only */
    ds_norm final_norm;
    const ds_parameter *read_query; /* (1,d): attention over depth, where the readout is routed */
    const ds_parameter *read_norm;  /* (d) */
    ds_layer_weights *layers;       /* (layers) */
};

/* The table that logits are products with. */
static inline const ds_parameter *ds_model_head(const ds_model *model) {
    return model->own_head != NULL ? model->own_head : model->embedding;
}

#endif
