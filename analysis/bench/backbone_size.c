/* Other backbones at the reported sizes, for timing: as wide and as deep, with heads and MLP as their own models of that size
 * have them; and their configurations as a checkpoint spells them. */
#include <string.h>

#include "bench.h"

static const ds_backbone *const rotary[] = {&ds_backbone_qwen3, &ds_backbone_llama, &ds_backbone_qwen2};
static const ds_backbone *const learned[] = {&ds_backbone_gpt2, &ds_backbone_nanogpt};

static const ds_backbone *find(const char *name, const ds_backbone *const *list, size_t count) {
    for (size_t i = 0; i < count; i++) {
        ds_spec spec = {.backbone = list[i]};
        if (strcmp(ds_spec_backbone_name(&spec), name) == 0) return list[i];
    }
    return NULL;
}

void ds_bench_backbone(ds_spec *spec, const char *name) {
    const ds_backbone *turned = find(name, rotary, sizeof rotary / sizeof *rotary);
    const ds_backbone *placed = find(name, learned, sizeof learned / sizeof *learned);
    if (turned != NULL) { /* two or three query heads on one of keys and values */
        spec->backbone = turned;
        spec->kv_heads = spec->heads % 3 == 0 ? spec->heads / 3 : spec->heads / 2;
        spec->qk_norm = turned == &ds_backbone_qwen3;
        spec->qkv_bias = turned == &ds_backbone_qwen2;
    } else if (placed != NULL) { /* heads half as wide, twice as many */
        spec->backbone = placed;
        spec->heads = spec->hidden / (spec->head_dim /= 2);
        spec->qk_norm = false;
        spec->rotary_dim = 0;
        spec->positions = spec->block_size;
        spec->mlp = placed == &ds_backbone_gpt2 ? DS_MLP_GELU_TANH : DS_MLP_GELU;
        spec->mlp_hidden = 4 * spec->hidden;
        spec->qkv_bias = spec->output_bias = spec->mlp_bias = spec->norm_bias = true;
    }
}

void ds_bench_config(FILE *stream, const ds_spec *spec) {
    const char *name = ds_spec_backbone_name(spec);
    if (spec->backbone == &ds_backbone_ddl)
        (void)fprintf(stream,
                      "{\"vocab_size\": %zu, \"num_hidden_layers\": %zu, \"num_attention_heads\": %zu, \"hidden_size\": %zu, "
                      "\"head_dim\": %zu, \"block_size\": %zu, \"ddl_value_channels\": %zu}\n",
                      spec->vocab, spec->layers, spec->heads, spec->hidden, spec->head_dim, spec->block_size,
                      spec->value_channels);
    else if (spec->positions == 0)
        (void)fprintf(stream,
                      "{\"model_type\": \"%s\", \"vocab_size\": %zu, \"num_hidden_layers\": %zu, \"num_attention_heads\": %zu, "
                      "\"num_key_value_heads\": %zu, \"hidden_size\": %zu, \"head_dim\": %zu, \"intermediate_size\": %zu, "
                      "\"max_position_embeddings\": %zu, \"tie_word_embeddings\": true}\n",
                      name, spec->vocab, spec->layers, spec->heads, spec->kv_heads, spec->hidden, spec->head_dim,
                      spec->mlp_hidden, spec->block_size);
    else
        (void)fprintf(stream, "{%s\"vocab_size\": %zu, \"n_layer\": %zu, \"n_head\": %zu, \"n_embd\": %zu, \"%s\": %zu}\n",
                      spec->backbone == &ds_backbone_gpt2 ? "\"model_type\": \"gpt2\", " : "", spec->vocab, spec->layers,
                      spec->heads, spec->hidden, spec->backbone == &ds_backbone_gpt2 ? "n_positions" : "block_size",
                      spec->block_size);
}
