/* The backbone of the published code, a transformer with RMSNorm, rotary positions and a gated MLP: its parameters (MODEL.md
 * "Parameters by name"). The arithmetic is in backbone_ddl.real.c. */
#include "backbone_ddl.h"

static size_t vocab(const ds_spec *spec) { return spec->vocab; }
static size_t attention_width(const ds_spec *spec) { return spec->heads * spec->head_dim; }
static size_t heads(const ds_spec *spec) { return spec->heads; }
static size_t head_dim(const ds_spec *spec) { return spec->head_dim; }
static size_t mlp_width(const ds_spec *spec) { return spec->mlp_hidden; }

static const ds_extent extent_vocab = {"vocab_size", vocab};
static const ds_extent extent_attention = {"num_attention_heads*head_dim", attention_width};
static const ds_extent extent_heads = {"num_attention_heads", heads}, extent_head_dim = {"head_dim", head_dim};
static const ds_extent extent_mlp = {"rows of mlp.c_fc1", mlp_width};
#define VOCAB (&extent_vocab)
#define ATTENTION (&extent_attention)
#define HEADS (&extent_heads)
#define HEAD_DIM (&extent_head_dim)
#define MLP (&extent_mlp)

static bool has_qk_norm(const ds_spec *spec) { return spec->qk_norm; }
static bool has_head_norm(const ds_spec *spec) { return spec->head_norm; }
static bool has_output_gate(const ds_spec *spec) { return spec->output_gate; }
static bool has_output_norm(const ds_spec *spec) { return spec->output_gate && !spec->head_norm; }
static bool has_key_shift(const ds_spec *spec) { return spec->k_shift; }
static bool has_plain_key(const ds_spec *spec) { return !spec->k_shift; }
static bool has_value_shift(const ds_spec *spec) { return spec->v_shift; }
static bool has_plain_value(const ds_spec *spec) { return !spec->v_shift; }

#define MODEL(member) offsetof(ds_model, member)
#define LAYER(member) offsetof(ds_layer_weights, member)
static const ds_table_row front[] = {
    {{"transformer.wte.weight", {VOCAB, HIDDEN}}, SAME, "token embedding", DS_GROUP_EMBEDDING, NULL, MODEL(embedding)},
};
static const ds_table_row attention[] = {
    {{"ln_1.weight", {HIDDEN}}, SAME, "attention pre-norm", DS_GROUP_NORMS, NULL, LAYER(ln_1.weight)},
    {{"attn.c_q.weight", {ATTENTION, HIDDEN}}, SAME, "query projection", DS_GROUP_ATTENTION, NULL, LAYER(query)},
    {{"attn.c_k.weight", {ATTENTION, HIDDEN}}, SAME, "key projection", DS_GROUP_ATTENTION, has_plain_key, LAYER(key)},
    {{"attn.c_k.linear.weight", {ATTENTION, HIDDEN}}, SAME, "key projection", DS_GROUP_ATTENTION, has_key_shift, LAYER(key)},
    {{"attn.c_k.shift_proj.weight", {HEADS, HIDDEN}}, SAME, "key shift", DS_GROUP_ATTENTION, has_key_shift, LAYER(key_shift)},
    {{"attn.c_v.weight", {ATTENTION, HIDDEN}}, SAME, "value projection", DS_GROUP_ATTENTION, has_plain_value, LAYER(value)},
    {{"attn.c_v.linear.weight", {ATTENTION, HIDDEN}},
     SAME,
     "value projection",
     DS_GROUP_ATTENTION,
     has_value_shift,
     LAYER(value)},
    {{"attn.c_v.shift_proj.weight", {HEADS, HIDDEN}},
     SAME,
     "value shift",
     DS_GROUP_ATTENTION,
     has_value_shift,
     LAYER(value_shift)},
    {{"attn.q_rms.weight", {HEAD_DIM}}, SAME, "query norm", DS_GROUP_NORMS, has_qk_norm, LAYER(query_norm)},
    {{"attn.k_rms.weight", {HEAD_DIM}}, SAME, "key norm", DS_GROUP_NORMS, has_qk_norm, LAYER(key_norm)},
    {{"attn.subln.weight", {HEAD_DIM}}, SAME, "head norm", DS_GROUP_NORMS, has_head_norm, LAYER(head_norm)},
    {{"attn.o_norm.weight", {HEAD_DIM}}, SAME, "output norm", DS_GROUP_NORMS, has_output_norm, LAYER(output_norm)},
    {{"attn.g_proj.weight", {ATTENTION, HIDDEN}}, SAME, "output gate", DS_GROUP_ATTENTION, has_output_gate, LAYER(output_gate)},
    {{"attn.c_proj.weight", {HIDDEN, ATTENTION}},
     {"attn.o_proj.weight", {HIDDEN, ATTENTION}},
     "attention output",
     DS_GROUP_ATTENTION,
     NULL,
     LAYER(attention)},
};
static const ds_table_row mlp[] = {
    {{"ln_2.weight", {HIDDEN}}, SAME, "MLP pre-norm", DS_GROUP_NORMS, NULL, LAYER(ln_2.weight)},
    {{"mlp.c_fc1.weight", {MLP, HIDDEN}}, SAME, "MLP gate", DS_GROUP_MLP, NULL, LAYER(gate)},
    {{"mlp.c_fc2.weight", {MLP, HIDDEN}}, SAME, "MLP up projection", DS_GROUP_MLP, NULL, LAYER(up)},
    {{"mlp.c_proj.weight", {HIDDEN, MLP}},
     {"mlp.o_proj.weight", {HIDDEN, MLP}},
     "MLP down projection",
     DS_GROUP_MLP,
     NULL,
     LAYER(down)},
};
static const ds_table_row back[] = {
    {{"ln_f.weight", {HIDDEN}}, SAME, "final norm", DS_GROUP_NORMS, NULL, MODEL(final_norm.weight)},
};

#define ROWS(rows)                                                                                                             \
    { (rows), sizeof(rows) / sizeof *(rows) }
const ds_backbone ds_backbone_ddl = {
    .name = "ddl",
    .prefix = "",
    .layer_prefix = "transformer.h.",
    .front = ROWS(front),
    .attention = ROWS(attention),
    .mlp = ROWS(mlp),
    .back = ROWS(back),
    .steps = {&ds_backbone_ddl_steps_f32, &ds_backbone_ddl_steps_f64},
};
