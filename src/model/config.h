/* config.json as typed values: MODEL.md "config.json keys and defaults", and those of other transformers; checked as the
 * published configuration classes check (whole numbers, booleans and strings are never converted into one another). Private to
 * model. */
#ifndef DELTASCOPE_MODEL_CONFIG_H
#define DELTASCOPE_MODEL_CONFIG_H

#include "deltascope/model.h"

/* Whose configuration it is: of the published code and what derives from it, of a class of Hugging Face, or nanoGPT's. */
typedef enum ds_family {
    DS_FAMILY_DDL,
    DS_FAMILY_QWEN3,
    DS_FAMILY_LLAMA,
    DS_FAMILY_QWEN2,
    DS_FAMILY_GPT2,
    DS_FAMILY_NANOGPT,
    DS_FAMILIES
} ds_family;

typedef struct ds_config {
    ds_family family;
    size_t vocab, layers, heads, hidden, head_dim, block_size;
    size_t hidden_base, layers_base;   /* layers_base 0: not given */
    size_t value_channels;             /* 0: not given (4 when the state is expanded) */
    size_t state_kernel, input_kernel; /* state_kernel 0: not given (TC: 4, CC: value_channels) */
    size_t gate_hidden;
    size_t cache_slot; /* kv_cache_slot_size: checked as the published code does, not used */
    bool qk_norm, head_norm, output_gate, k_shift, v_shift, state_kernel_causal;
    size_t kv_heads, mlp_hidden; /* kv_heads 0: as many as heads; head_dim 0: not given (Hugging Face) */
    bool tied, attention_bias, mlp_bias;
    bool scores_scaled, scores_scaled_by_depth, upcasts; /* of GPT-2 */
    ds_mlp activation;
    size_t streams;              /* hyper_conn_n */
    const char *hyper_conn_type; /* NULL: not given; a view into the JSON value */
    size_t fork_streams;         /* of the nanoGPT fork with static hyper-connections: hc_num_streams, 0: not given */
    size_t fork_fractions;       /* hc_num_fracs */
    bool fork_disabled, fork_constrained, fork_value_residual; /* hc_disable, mhc, v_residual */
    const char *matrix_form;                                   /* mhc_h_res_proj; NULL: not given */
    size_t sinkhorn_rounds, schulz_steps;                      /* sinkhorn_iters, ns_steps */
    double sinkhorn_temperature, schulz_eps, schulz_coefficients[3];
    ds_rope_scaling rope_scaling;
    bool gate_single, value_sigmoid, value_constant, scalar_value_constant, mup;
    ds_activation q_activation, k_activation, v_activation;
    double rope_ratio, rope_base, rms_norm_eps, k_eps;
    double value_scale, value_constant_value, scalar_value_constant_value;
    double residual_mult; /* 0: not given */
    double beta_init, embedding_init_std, hidden_init_std_factor;
    double read_init;                    /* NaN: not given */
    const char *depth_mode, *depth_gate; /* attention over depth: attnres_mode, attnres_gate_type; NULL: not given */
    size_t depth_blocks;
    bool depth_null;
    double depth_bias_init;
    const char *parameterization; /* NULL: not given; a view into the JSON value */
} ds_config;

/* Bounds that keep every product of extents far from overflow; the reported models stay a thousand times below them. */
enum {
    DS_MOST_VOCAB = 1 << 28,
    DS_MOST_HIDDEN = 1 << 20,
    DS_MOST_LAYERS = 1 << 16,
    DS_MOST_HEADS = 1 << 12,
    DS_MOST_CHANNELS = 1 << 10,
    DS_MOST_KERNEL = 1 << 12,
    DS_MOST_ROUNDS = 1 << 12,
};

/* `where` is the configuration's path, for sentences. Known keys of another type or out of range, and keys the published code
 * refuses, are DS_ERR_INPUT; what unknown ones may say is for config_keys.h. */
ds_status ds_config_read(ds_config *config, const json_t *object, const char *where) DS_MUST_CHECK;
/* The model_type of attention over depth around Qwen3. */
extern const char ds_depth_model_type[];
/* Whether the family reads the key, or knows that it means nothing there. */
bool ds_config_reads(ds_family family, const char *name);
/* Of config_rope.c: the rotation of Hugging Face's classes, in both spellings; windows that slide, which are refused. */
ds_status ds_rope_read(ds_config *config, const json_t *object, const char *where) DS_MUST_CHECK;
ds_status ds_sliding_check(const ds_config *config, const json_t *object, const char *where) DS_MUST_CHECK;
/* Whether logits are scaled by hidden_base / hidden, and the residual multiplier m by layers_base / layers. */
bool ds_config_scales_logits(const ds_config *config);
bool ds_config_scales_residual(const ds_config *config);
/* The name of a key that is read or refused; NULL beyond the last. */
const char *ds_config_key(size_t index);
/* A value as a reader of the file would recognise it: short, escaped. */
ds_name ds_config_describe(const json_t *value);

#endif
