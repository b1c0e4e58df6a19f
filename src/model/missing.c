#include "missing.h"

#include <string.h>

/* Part of a name that one kind of model has and no other; special ones first. */
static const struct {
    const char *part, *family;
} families[] = {
    {".lora_A.", "a LoRA adapter, which is to be merged into its model first"},
    {"gpt_neox.layers.", "GPT-NeoX (Pythia)"},
    {"model.decoder.layers.", "OPT"},
    {".self_attention.query_key_value.", "BLOOM or Falcon"},
    {".attn.c_attn.", "GPT-2 (nanoGPT, Hugging Face)"},
    {"model.layers.0.self_attn.q_norm.", "Qwen3"},
    {"model.layers.0.self_attn.q_proj.", "the Llama family (Llama, Mistral, Qwen)"},
    {"layers.0.attention.wq.", "Llama, in its authors' own names"},
    {"encoder.layer.0.attention.self.", "BERT"},
    {".SelfAttention.", "T5"},
    {".mixer.in_proj.", "Mamba"},
    {"blocks.0.att.", "RWKV"},
    {"language_model.encoder.", "Megatron-LM"},
    {"token_embd.", "GGUF"},
};

const char *ds_family_of(const ds_checkpoint *checkpoint) {
    for (size_t f = 0; f < sizeof families / sizeof *families; f++) {
        for (size_t i = 0; i < ds_checkpoint_count(checkpoint); i++) {
            if (strstr(ds_checkpoint_tensor(checkpoint, i)->name, families[f].part) != NULL) return families[f].family;
        }
    }
    return NULL;
}

/* How much of `name` its beginning and its end have in common with `other`: wrappers and renamed parts stand between. */
static size_t shared(const char *name, const char *other) {
    size_t length = strlen(name), other_length = strlen(other), most = ds_min_size(length, other_length), front = 0, back = 0;
    while (front < most && name[front] == other[front]) front++;
    while (back < most - front && name[length - 1 - back] == other[other_length - 1 - back]) back++;
    return front + back;
}

/* At least two thirds are the same; of equals the shortest. NULL when there is none. */
static const ds_tensor *nearest(const ds_checkpoint *checkpoint, const bool *wanted, const char *name) {
    const ds_tensor *best = NULL;
    size_t most = 2 * strlen(name) / 3, length = 0;
    for (size_t i = 0; i < ds_checkpoint_count(checkpoint); i++) {
        const ds_tensor *tensor = ds_checkpoint_tensor(checkpoint, i);
        if (wanted[i]) continue;
        size_t same = shared(name, tensor->name), own = strlen(tensor->name);
        if (same < most || (same == most && best != NULL && own >= length)) continue;
        most = same;
        length = own;
        best = tensor;
    }
    return best;
}

ds_status ds_missing_tensor(const ds_checkpoint *checkpoint, const ds_spec *spec, const bool *wanted, const char *name,
                            const char *role) {
    ds_status status = DS_OK;
    ds_text sentence = {0};
    const size_t count = ds_checkpoint_count(checkpoint);
    const ds_tensor *near = nearest(checkpoint, wanted, name);
    const bool published = spec->backbone == &ds_backbone_ddl;
    const char *family = published ? ds_family_of(checkpoint) : NULL;
    const char *file =
        ds_checkpoint_files(checkpoint) == 1 ? ds_checkpoint_file(checkpoint, 0) : ds_checkpoint_path(checkpoint);
    DS_TRY(ds_text_printf(&sentence, "%s: missing tensor %s (%s)", DS_SHOW(file), name, role));
    if (near != NULL)
        DS_TRY(ds_text_printf(&sentence, "; the nearest of its %zu tensor%s is %s", count, ds_plural(count),
                              DS_SHOW(near->stored_name)));
    if (family != NULL) DS_TRY(ds_text_printf(&sentence, "; the names are those of %s, not of Deep Delta Learning", family));
    if (published)
        DS_TRY(ds_text_printf(&sentence,
                              "; deltascope inspect lists the tensors, inspect --draft-map FILE drafts a map of their names "
                              "for --map FILE"));
    else
        DS_TRY(ds_text_printf(&sentence, "; expected are the tensors of backbone %s as its configuration describes them",
                              ds_spec_backbone_name(spec)));
    status = ds_fail(DS_ERR_INPUT, "%s", sentence.bytes);
done:
    ds_text_release(&sentence);
    return status;
}
