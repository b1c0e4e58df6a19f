/* The backbones of Qwen3, LLaMA and Qwen2 as their Hugging Face classes name the parameters: one table, of which each has what
 * its specification says. The arithmetic is in backbone_qwen.real.c. */
#include "backbone_qwen.h"

static size_t vocab(const ds_spec *spec) { return spec->vocab; }
static size_t queries(const ds_spec *spec) { return spec->heads * spec->head_dim; }
static size_t keys(const ds_spec *spec) { return ds_spec_kv_heads(spec) * spec->head_dim; }
static size_t head_dim(const ds_spec *spec) { return spec->head_dim; }
static size_t mlp_width(const ds_spec *spec) { return spec->mlp_hidden; }

static const ds_extent extent_vocab = {"vocab_size", vocab};
static const ds_extent extent_queries = {"num_attention_heads*head_dim", queries};
static const ds_extent extent_keys = {"num_key_value_heads*head_dim", keys};
static const ds_extent extent_head_dim = {"head_dim", head_dim};
static const ds_extent extent_mlp = {"intermediate_size", mlp_width};
#define VOCAB (&extent_vocab)
#define QUERIES (&extent_queries)
#define KEYS (&extent_keys)
#define HEAD_DIM (&extent_head_dim)
#define MLP (&extent_mlp)

static bool has_qk_norm(const ds_spec *spec) { return spec->qk_norm; }
static bool has_qkv_bias(const ds_spec *spec) { return spec->qkv_bias; }
static bool has_output_bias(const ds_spec *spec) { return spec->output_bias; }
static bool has_mlp_bias(const ds_spec *spec) { return spec->mlp_bias; }
static bool has_own_head(const ds_spec *spec) { return spec->own_head; }

#define MODEL(member) offsetof(ds_model, member)
#define LAYER(member) offsetof(ds_layer_weights, member)
static const ds_table_row front[] = {
    {{"model.embed_tokens.weight", {VOCAB, HIDDEN}}, SAME, "token embedding", DS_GROUP_EMBEDDING, NULL, MODEL(embedding)},
};
static const ds_table_row attention[] = {
    {{"input_layernorm.weight", {HIDDEN}}, SAME, "attention pre-norm", DS_GROUP_NORMS, NULL, LAYER(ln_1.weight)},
    {{"self_attn.q_proj.weight", {QUERIES, HIDDEN}}, SAME, "query projection", DS_GROUP_ATTENTION, NULL, LAYER(query)},
    {{"self_attn.q_proj.bias", {QUERIES}}, SAME, "query bias", DS_GROUP_ATTENTION, has_qkv_bias, LAYER(query_bias)},
    {{"self_attn.q_norm.weight", {HEAD_DIM}}, SAME, "query norm", DS_GROUP_NORMS, has_qk_norm, LAYER(query_norm)},
    {{"self_attn.k_proj.weight", {KEYS, HIDDEN}}, SAME, "key projection", DS_GROUP_ATTENTION, NULL, LAYER(key)},
    {{"self_attn.k_proj.bias", {KEYS}}, SAME, "key bias", DS_GROUP_ATTENTION, has_qkv_bias, LAYER(key_bias)},
    {{"self_attn.k_norm.weight", {HEAD_DIM}}, SAME, "key norm", DS_GROUP_NORMS, has_qk_norm, LAYER(key_norm)},
    {{"self_attn.v_proj.weight", {KEYS, HIDDEN}}, SAME, "value projection", DS_GROUP_ATTENTION, NULL, LAYER(value)},
    {{"self_attn.v_proj.bias", {KEYS}}, SAME, "value bias", DS_GROUP_ATTENTION, has_qkv_bias, LAYER(value_bias)},
    {{"self_attn.o_proj.weight", {HIDDEN, QUERIES}}, SAME, "attention output", DS_GROUP_ATTENTION, NULL, LAYER(attention)},
    {{"self_attn.o_proj.bias", {HIDDEN}},
     SAME,
     "attention output bias",
     DS_GROUP_ATTENTION,
     has_output_bias,
     LAYER(attention_bias)},
};
static const ds_table_row mlp[] = {
    {{"post_attention_layernorm.weight", {HIDDEN}}, SAME, "MLP pre-norm", DS_GROUP_NORMS, NULL, LAYER(ln_2.weight)},
    {{"mlp.gate_proj.weight", {MLP, HIDDEN}}, SAME, "MLP gate", DS_GROUP_MLP, NULL, LAYER(gate)},
    {{"mlp.gate_proj.bias", {MLP}}, SAME, "MLP gate bias", DS_GROUP_MLP, has_mlp_bias, LAYER(gate_bias)},
    {{"mlp.up_proj.weight", {MLP, HIDDEN}}, SAME, "MLP up projection", DS_GROUP_MLP, NULL, LAYER(up)},
    {{"mlp.up_proj.bias", {MLP}}, SAME, "MLP up projection bias", DS_GROUP_MLP, has_mlp_bias, LAYER(up_bias)},
    {{"mlp.down_proj.weight", {HIDDEN, MLP}}, SAME, "MLP down projection", DS_GROUP_MLP, NULL, LAYER(down)},
    {{"mlp.down_proj.bias", {HIDDEN}}, SAME, "MLP down projection bias", DS_GROUP_MLP, has_mlp_bias, LAYER(down_bias)},
};
static const ds_table_row back[] = {
    {{"model.norm.weight", {HIDDEN}}, SAME, "final norm", DS_GROUP_NORMS, NULL, MODEL(final_norm.weight)},
    {{"lm_head.weight", {VOCAB, HIDDEN}}, SAME, "output head", DS_GROUP_EMBEDDING, has_own_head, MODEL(own_head)},
};

#define ROWS(rows)                                                                                                             \
    { (rows), sizeof(rows) / sizeof *(rows) }
#define BACKBONE_OF(its_name)                                                                                                  \
    {                                                                                                                          \
        .name = (its_name), .prefix = "model.", .layer_prefix = "model.layers.", .front = ROWS(front),                         \
        .attention = ROWS(attention), .mlp = ROWS(mlp), .back = ROWS(back),                                                    \
        .steps = {&ds_backbone_qwen_steps_f32, &ds_backbone_qwen_steps_f64},                                                   \
    }
const ds_backbone ds_backbone_qwen3 = BACKBONE_OF("qwen3");
const ds_backbone ds_backbone_llama = BACKBONE_OF("llama");
const ds_backbone ds_backbone_qwen2 = BACKBONE_OF("qwen2");
