/* Plain transformers drawn at random over the options of their classes, and the configurations that say so. */
#include "random_model.h"
#include "support.h"

static bool coin(ds_random *r) { return ds_random_below(r, 2) == 0; }
static size_t pick(ds_random *r, const size_t *values, size_t count) { return values[ds_random_below(r, count)]; }
#define PICK(r, ...) pick((r), (const size_t[]){__VA_ARGS__}, sizeof((const size_t[]){__VA_ARGS__}) / sizeof(size_t))

static const ds_backbone *const backbones[] = {&ds_backbone_qwen3, &ds_backbone_llama, &ds_backbone_qwen2, &ds_backbone_gpt2,
                                               &ds_backbone_nanogpt};
enum { BACKBONES = sizeof backbones / sizeof backbones[0] };

/* Qwen3, LLaMA, Qwen2: any number of query heads on one of keys and values, any even width. */
static void draw_rotary(ds_spec *spec, ds_random *r) {
    size_t group = 1 + ds_random_below(r, 3);
    spec->kv_heads = 1 + ds_random_below(r, 3);
    spec->heads = group * spec->kv_heads;
    spec->head_dim = spec->rotary_dim = PICK(r, 2, 4, 6, 8);
    spec->hidden = PICK(r, 1, 3, 8, 12, 20);
    spec->rope_base = (double)PICK(r, 2, 100, 10000, 1000000);
    spec->qk_norm = spec->backbone == &ds_backbone_qwen3;
    bool bias = spec->backbone != &ds_backbone_qwen2 && coin(r);
    spec->qkv_bias = bias || spec->backbone == &ds_backbone_qwen2;
    spec->output_bias = bias;
    spec->mlp_bias = spec->backbone == &ds_backbone_llama && coin(r);
    spec->own_head = coin(r);
    spec->bare_names = coin(r);
    if (coin(r))
        spec->rope_scaling = (ds_rope_scaling){.factor = (double)PICK(r, 1, 4, 8),
                                               .low_freq_factor = 1,
                                               .high_freq_factor = (double)PICK(r, 2, 4),
                                               .original_context = (double)PICK(r, 8, 128)};
}

/* GPT-2 and nanoGPT: LayerNorm, learned positions. */
static void draw_learned(ds_spec *spec, ds_random *r) {
    const bool gpt2 = spec->backbone == &ds_backbone_gpt2;
    spec->heads = spec->kv_heads = 1 + ds_random_below(r, 3);
    spec->head_dim = PICK(r, 2, 3, 8); /* of one number LayerNorm leaves nothing */
    spec->hidden = spec->heads * spec->head_dim;
    spec->rotary_dim = 0;
    spec->rope_base = 0;
    spec->positions = spec->block_size;
    spec->mlp = gpt2 && coin(r) ? DS_MLP_GELU_TANH : DS_MLP_GELU;
    spec->qkv_bias = spec->output_bias = spec->mlp_bias = spec->norm_bias = gpt2 || coin(r);
    spec->mlp_hidden = gpt2 && coin(r) ? 1 + ds_random_below(r, 24) : 4 * spec->hidden;
    spec->own_head = gpt2 && coin(r);
    spec->bare_names = gpt2 && coin(r);
    spec->newer_names = !gpt2 && coin(r);
    spec->unscaled_scores = gpt2 && coin(r);
    spec->depth_scaled_scores = gpt2 && coin(r);
}

void random_backbone_draw(random_model *m, uint64_t seed) {
    ds_random r = ds_random_init(seed * 0x9e3779b97f4a7c15u + 3);
    ds_spec *spec = &m->spec;
    *m = (random_model){.seed = seed};
    expect_ok(ds_spec_reported(spec, "tiny", "additive"));
    spec->backbone = backbones[ds_random_below(&r, BACKBONES)];
    spec->qk_norm = false;
    spec->vocab = PICK(&r, 2, 17, 65);
    spec->layers = 1 + ds_random_below(&r, 3);
    spec->block_size = PICK(&r, 1, 2, 8, 24);
    spec->mlp_hidden = 1 + ds_random_below(&r, 24);
    spec->norm_eps = spec->head_norm_eps = coin(&r) ? 1e-6 : 1e-3;
    if (spec->backbone == &ds_backbone_gpt2 || spec->backbone == &ds_backbone_nanogpt)
        draw_learned(spec, &r);
    else
        draw_rotary(spec, &r);
    if (spec->backbone == &ds_backbone_nanogpt) spec->norm_eps = 1e-5;
    m->dtype = (const ds_dtype[]){DS_DTYPE_F32, DS_DTYPE_F64, DS_DTYPE_F16, DS_DTYPE_BF16}[ds_random_below(&r, 4)];
    m->with_head = !spec->own_head && coin(&r);
    m->gain = coin(&r) ? 0.3 : 1;
    m->embedding = coin(&r) ? 0.02 : 0.5;
    m->has_zeros = ds_random_below(&r, 16) == 0;
    m->same_tokens = ds_random_below(&r, 8) == 0;
    m->length = coin(&r) ? spec->block_size : 1 + ds_random_below(&r, spec->block_size);
    m->windows = 1 + ds_random_below(&r, 3);
    m->precision = coin(&r) ? DS_F32 : DS_F64;
}

static const char *flag(bool value) { return value ? "true" : "false"; }

/* Older programs write rope_theta and rope_scaling, newer ones rope_parameters. */
static void put_rope(ds_text *text, const ds_spec *spec, bool newer) {
    const ds_rope_scaling *s = &spec->rope_scaling;
    if (newer)
        expect_ok(ds_text_printf(text, ", \"rope_parameters\": {\"rope_theta\": %.17g", spec->rope_base));
    else
        expect_ok(ds_text_printf(text, ", \"rope_theta\": %.17g, \"rope_scaling\": %s", spec->rope_base,
                                 s->factor == 0 ? "null" : "{\"unused\": 0"));
    if (s->factor != 0)
        expect_ok(ds_text_printf(text,
                                 ", \"rope_type\": \"llama3\", \"factor\": %.17g, \"low_freq_factor\": %.17g, "
                                 "\"high_freq_factor\": %.17g, \"original_max_position_embeddings\": %.17g",
                                 s->factor, s->low_freq_factor, s->high_freq_factor, s->original_context));
    if (newer || s->factor != 0) expect_ok(ds_text_printf(text, "}"));
}

static void put_rotary(ds_text *text, const random_model *m) {
    const ds_spec *spec = &m->spec;
    expect_ok(ds_text_printf(text,
                             "{\"model_type\": \"%s\", \"vocab_size\": %zu, \"num_hidden_layers\": %zu, \"hidden_size\": %zu, "
                             "\"num_attention_heads\": %zu, \"num_key_value_heads\": %zu, \"intermediate_size\": %zu, "
                             "\"max_position_embeddings\": %zu, \"rms_norm_eps\": %.17g, \"hidden_act\": \"silu\", "
                             "\"tie_word_embeddings\": %s",
                             ds_spec_backbone_name(spec), spec->vocab, spec->layers, spec->hidden, spec->heads, spec->kv_heads,
                             spec->mlp_hidden, spec->block_size, spec->norm_eps, flag(!spec->own_head)));
    bool told = spec->backbone != &ds_backbone_qwen3 && spec->hidden == spec->heads * spec->head_dim && m->seed % 2 == 0;
    bool seen = spec->backbone == &ds_backbone_qwen3 && m->seed % 2 == 0; /* the norm of queries tells */
    if (!told && !seen) expect_ok(ds_text_printf(text, ", \"head_dim\": %zu", spec->head_dim));
    if (spec->backbone != &ds_backbone_qwen2)
        expect_ok(ds_text_printf(text, ", \"attention_bias\": %s", flag(spec->output_bias)));
    if (spec->backbone == &ds_backbone_llama) expect_ok(ds_text_printf(text, ", \"mlp_bias\": %s", flag(spec->mlp_bias)));
    put_rope(text, spec, m->seed % 3 == 0);
}

static void put_learned(ds_text *text, const random_model *m) {
    const ds_spec *spec = &m->spec;
    const bool gpt2 = spec->backbone == &ds_backbone_gpt2;
    expect_ok(ds_text_printf(text, "{\"vocab_size\": %zu, \"n_layer\": %zu, \"n_head\": %zu, \"n_embd\": %zu, \"%s\": %zu",
                             spec->vocab, spec->layers, spec->heads, spec->hidden, gpt2 ? "n_positions" : "block_size",
                             spec->block_size));
    if (!gpt2) {
        expect_ok(ds_text_printf(text, ", \"bias\": %s, \"hyper_conn_type\": \"%s\", \"hyper_conn_n\": %d",
                                 flag(spec->norm_bias), m->seed % 2 == 0 ? "none" : "mhc", m->seed % 2 == 0 ? 4 : 1));
        return;
    }
    expect_ok(ds_text_printf(text,
                             ", \"model_type\": \"gpt2\", \"layer_norm_epsilon\": %.17g, \"activation_function\": \"%s\", "
                             "\"scale_attn_weights\": %s, \"scale_attn_by_inverse_layer_idx\": %s, \"tie_word_embeddings\": %s",
                             spec->norm_eps,
                             spec->mlp == DS_MLP_GELU ? "gelu"
                             : m->seed % 2 == 0       ? "gelu_new"
                                                      : "gelu_pytorch_tanh",
                             flag(!spec->unscaled_scores), flag(spec->depth_scaled_scores), flag(!spec->own_head)));
    if (spec->mlp_hidden == 4 * spec->hidden)
        expect_ok(ds_text_printf(text, ", \"n_inner\": null"));
    else
        expect_ok(ds_text_printf(text, ", \"n_inner\": %zu", spec->mlp_hidden));
}

void random_backbone_config(ds_text *text, const random_model *m) {
    if (m->spec.positions > 0)
        put_learned(text, m);
    else
        put_rotary(text, m);
    expect_ok(ds_text_printf(text, "}"));
}
