/* The backbones of nanoGPT and of Hugging Face's GPT-2: names of their parameters. nanoGPT's have two generations: its
 * hyper-connection forks store every branch as branch_attn and branch_mlp, and once more. The arithmetic is in
 * backbone_gpt.real.c. */
#include "backbone_gpt.h"

#include <string.h>

static size_t vocab(const ds_spec *spec) { return spec->vocab; }
static size_t positions(const ds_spec *spec) { return spec->positions; }
static size_t projections(const ds_spec *spec) { return 3 * spec->hidden; }
static size_t mlp_width(const ds_spec *spec) { return spec->mlp_hidden; }

static const ds_extent extent_vocab = {"vocab_size", vocab}, extent_qkv = {"3*n_embd", projections};
static const ds_extent extent_block = {"block_size", positions}, extent_positions = {"n_positions", positions};
static const ds_extent extent_mlp = {"width of the MLP", mlp_width};
#define VOCAB (&extent_vocab)
#define QKV (&extent_qkv)
#define MLP (&extent_mlp)

static bool has_norm_bias(const ds_spec *spec) { return spec->norm_bias; }
static bool has_qkv_bias(const ds_spec *spec) { return spec->qkv_bias; }
static bool has_output_bias(const ds_spec *spec) { return spec->output_bias; }
static bool has_mlp_bias(const ds_spec *spec) { return spec->mlp_bias; }
static bool has_own_head(const ds_spec *spec) { return spec->own_head; }

#define MODEL(member) offsetof(ds_model, member)
#define LAYER(member) offsetof(ds_layer_weights, member)
#define FRONT(extent)                                                                                                          \
    {{"transformer.wte.weight", {VOCAB, HIDDEN}}, SAME, "token embedding", DS_GROUP_EMBEDDING, NULL, MODEL(embedding)}, {      \
        {"transformer.wpe.weight", {(extent), HIDDEN}}, SAME, "learned positions", DS_GROUP_EMBEDDING, NULL, MODEL(positions)  \
    }
static const ds_table_row nanogpt_front[] = {FRONT(&extent_block)}, gpt2_front[] = {FRONT(&extent_positions)};
static const ds_table_row nanogpt_attention[] = {
    {{"branch_attn.0.weight", {HIDDEN}},
     {"ln_1.weight", {HIDDEN}},
     "attention pre-norm",
     DS_GROUP_NORMS,
     NULL,
     LAYER(ln_1.weight)},
    {{"branch_attn.0.bias", {HIDDEN}},
     {"ln_1.bias", {HIDDEN}},
     "attention pre-norm bias",
     DS_GROUP_NORMS,
     has_norm_bias,
     LAYER(ln_1.bias)},
    {{"branch_attn.1.c_attn.weight", {QKV, HIDDEN}},
     {"attn.c_attn.weight", {QKV, HIDDEN}},
     "query, key and value projections",
     DS_GROUP_ATTENTION,
     NULL,
     LAYER(qkv)},
    {{"branch_attn.1.c_attn.bias", {QKV}},
     {"attn.c_attn.bias", {QKV}},
     "query, key and value biases",
     DS_GROUP_ATTENTION,
     has_qkv_bias,
     LAYER(qkv_bias)},
    {{"branch_attn.1.c_proj.weight", {HIDDEN, HIDDEN}},
     {"attn.c_proj.weight", {HIDDEN, HIDDEN}},
     "attention output",
     DS_GROUP_ATTENTION,
     NULL,
     LAYER(attention)},
    {{"branch_attn.1.c_proj.bias", {HIDDEN}},
     {"attn.c_proj.bias", {HIDDEN}},
     "attention output bias",
     DS_GROUP_ATTENTION,
     has_output_bias,
     LAYER(attention_bias)},
};
static const ds_table_row nanogpt_mlp[] = {
    {{"branch_mlp.0.weight", {HIDDEN}}, {"ln_2.weight", {HIDDEN}}, "MLP pre-norm", DS_GROUP_NORMS, NULL, LAYER(ln_2.weight)},
    {{"branch_mlp.0.bias", {HIDDEN}},
     {"ln_2.bias", {HIDDEN}},
     "MLP pre-norm bias",
     DS_GROUP_NORMS,
     has_norm_bias,
     LAYER(ln_2.bias)},
    {{"branch_mlp.1.c_fc.weight", {MLP, HIDDEN}},
     {"mlp.c_fc.weight", {MLP, HIDDEN}},
     "MLP up projection",
     DS_GROUP_MLP,
     NULL,
     LAYER(up)},
    {{"branch_mlp.1.c_fc.bias", {MLP}},
     {"mlp.c_fc.bias", {MLP}},
     "MLP up projection bias",
     DS_GROUP_MLP,
     has_mlp_bias,
     LAYER(up_bias)},
    {{"branch_mlp.1.c_proj.weight", {HIDDEN, MLP}},
     {"mlp.c_proj.weight", {HIDDEN, MLP}},
     "MLP down projection",
     DS_GROUP_MLP,
     NULL,
     LAYER(down)},
    {{"branch_mlp.1.c_proj.bias", {HIDDEN}},
     {"mlp.c_proj.bias", {HIDDEN}},
     "MLP down projection bias",
     DS_GROUP_MLP,
     has_mlp_bias,
     LAYER(down_bias)},
};
static const ds_table_row gpt2_attention[] = {
    {{"ln_1.weight", {HIDDEN}}, SAME, "attention pre-norm", DS_GROUP_NORMS, NULL, LAYER(ln_1.weight)},
    {{"ln_1.bias", {HIDDEN}}, SAME, "attention pre-norm bias", DS_GROUP_NORMS, has_norm_bias, LAYER(ln_1.bias)},
    {{"attn.c_attn.weight", {HIDDEN, QKV}}, SAME, "query, key and value projections", DS_GROUP_ATTENTION, NULL, LAYER(qkv)},
    {{"attn.c_attn.bias", {QKV}}, SAME, "query, key and value biases", DS_GROUP_ATTENTION, has_qkv_bias, LAYER(qkv_bias)},
    {{"attn.c_proj.weight", {HIDDEN, HIDDEN}}, SAME, "attention output", DS_GROUP_ATTENTION, NULL, LAYER(attention)},
    {{"attn.c_proj.bias", {HIDDEN}}, SAME, "attention output bias", DS_GROUP_ATTENTION, has_output_bias, LAYER(attention_bias)},
};
static const ds_table_row gpt2_mlp[] = {
    {{"ln_2.weight", {HIDDEN}}, SAME, "MLP pre-norm", DS_GROUP_NORMS, NULL, LAYER(ln_2.weight)},
    {{"ln_2.bias", {HIDDEN}}, SAME, "MLP pre-norm bias", DS_GROUP_NORMS, has_norm_bias, LAYER(ln_2.bias)},
    {{"mlp.c_fc.weight", {HIDDEN, MLP}}, SAME, "MLP up projection", DS_GROUP_MLP, NULL, LAYER(up)},
    {{"mlp.c_fc.bias", {MLP}}, SAME, "MLP up projection bias", DS_GROUP_MLP, has_mlp_bias, LAYER(up_bias)},
    {{"mlp.c_proj.weight", {MLP, HIDDEN}}, SAME, "MLP down projection", DS_GROUP_MLP, NULL, LAYER(down)},
    {{"mlp.c_proj.bias", {HIDDEN}}, SAME, "MLP down projection bias", DS_GROUP_MLP, has_mlp_bias, LAYER(down_bias)},
};
static const ds_table_row back[] = {
    {{"transformer.ln_f.weight", {HIDDEN}}, SAME, "final norm", DS_GROUP_NORMS, NULL, MODEL(final_norm.weight)},
    {{"transformer.ln_f.bias", {HIDDEN}}, SAME, "final norm bias", DS_GROUP_NORMS, has_norm_bias, MODEL(final_norm.bias)},
    {{"lm_head.weight", {VOCAB, HIDDEN}}, SAME, "output head", DS_GROUP_EMBEDDING, has_own_head, MODEL(own_head)},
};

/* "...hc_attn.branch.1.c_attn.weight" is "...branch_attn.1.c_attn.weight" again, or "...attn.c_attn.weight". */
static bool twin(char parameter[64], const char *name, size_t which) {
    static const struct {
        const char *copy, *own;
    } parts[] = {{".hc_attn.branch.norm.", ".ln_1."},
                 {".hc_attn.branch.attn.", ".attn."},
                 {".hc_attn.branch.", ".branch_attn."},
                 {".hc_mlp.branch.0.", ".ln_2."},
                 {".hc_mlp.branch.1.", ".mlp."},
                 {".hc_mlp.branch.", ".branch_mlp."},
                 {".attn_branch.norm.", ".ln_1."},
                 {".attn_branch.attn.", ".attn."}};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        const char *at = strstr(name, parts[i].copy);
        if (at == NULL || which-- > 0) continue;
        int length = snprintf(parameter, 64, "%.*s%s%s", (int)(at - name), name, parts[i].own, at + strlen(parts[i].copy));
        return length < 64;
    }
    return false;
}

#define ROWS(rows)                                                                                                             \
    { (rows), sizeof(rows) / sizeof *(rows) }
const ds_backbone ds_backbone_nanogpt = {
    .name = "nanogpt",
    .prefix = "",
    .twin = twin,
    .layer_prefix = "transformer.h.",
    .front = ROWS(nanogpt_front),
    .attention = ROWS(nanogpt_attention),
    .mlp = ROWS(nanogpt_mlp),
    .back = ROWS(back),
    .steps = {&ds_backbone_gpt_steps_f32, &ds_backbone_gpt_steps_f64},
};
const ds_backbone ds_backbone_gpt2 = {
    .name = "gpt2",
    .prefix = "transformer.",
    .layer_prefix = "transformer.h.",
    .inputs_first = true,
    .front = ROWS(gpt2_front),
    .attention = ROWS(gpt2_attention),
    .mlp = ROWS(gpt2_mlp),
    .back = ROWS(back),
    .steps = {&ds_backbone_gpt_steps_f32, &ds_backbone_gpt_steps_f64},
};
