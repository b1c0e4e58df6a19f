/* A missing tensor: the sentence names the one that stands in its place, and whose names a file of another program has. */
#include <string.h>

#include "deltascope/model.h"
#include "support.h"
#include "toy.h"

static const uint64_t seed = 20261204;

static void expect_words(const toy_checkpoint *toy, const char *first, const char *second) {
    ds_spec spec;
    ds_checkpoint *checkpoint = toy_open(toy, NULL, "");
    if (ds_spec_detect(&spec, checkpoint) != DS_ERR_INPUT || strstr(ds_error_text(), first) == NULL ||
        strstr(ds_error_text(), second) == NULL)
        fail_msg("\"%s\" and \"%s\" expected in \"%s\"", first, second, ds_error_text());
    ds_checkpoint_close(&checkpoint);
}

/* The name with a part in front, a part in the middle, a letter changed, or another ending. */
static void rename_one(char renamed[160], const char *name, ds_random *random) {
    const char *dot = strrchr(name, '.');
    size_t length = strlen(name);
    switch (ds_random_below(random, 4)) {
    case 0:
        (void)snprintf(renamed, 160, "inner_%s", name);
        return;
    case 1:
        (void)snprintf(renamed, 160, "%.*s.inner%s", (int)(dot - name), name, dot);
        return;
    case 2:
        (void)snprintf(renamed, 160, "%s_packed", name);
        return;
    default:
        (void)snprintf(renamed, 160, "%s", name);
        renamed[length / 2 + ds_random_below(random, length / 2)] = 'z';
    }
}

static void the_renamed_tensor_is_named(void **state) {
    (void)state;
    static const char *const variants[] = {"additive", "ddl-scalar", "ddl-tc", "ddl-cc"};
    ds_random random = ds_random_init(seed);
    for (size_t v = 0; v < sizeof variants / sizeof *variants; v++) {
        ds_spec spec = toy_spec(variants[v]);
        toy_checkpoint toy;
        toy_make(&toy, &spec, DS_F32, 4);
        for (size_t round = 0; round < 40; round++) {
            char renamed[160], missing[160], near[240];
            ds_tensor_write *tensor = &toy.tensors[ds_random_below(&random, toy.count)];
            const char *name = tensor->name;
            rename_one(renamed, name, &random);
            tensor->name = renamed;
            (void)snprintf(missing, sizeof missing, "missing tensor %s (", name);
            (void)snprintf(near, sizeof near, "; the nearest of its %zu tensors is %s", toy.count, renamed);
            expect_words(&toy, missing, near);
            tensor->name = name;
        }
        toy_release(&toy);
    }
}

/* What the model has a use for stands in nobody's place. */
static void a_wanted_tensor_is_not_named(void **state) {
    (void)state;
    ds_spec spec = toy_spec("ddl-scalar"), found;
    toy_checkpoint toy;
    toy_make(&toy, &spec, DS_F32, 4);
    toy_remove(&toy, "transformer.h.0.ln_1.weight");
    ds_checkpoint *checkpoint = toy_open(&toy, NULL, "");
    expect_failure(ds_spec_detect(&found, checkpoint), DS_ERR_INPUT,
                   "missing tensor transformer.h.0.ln_1.weight (attention pre-norm of layer 0)");
    assert_null(strstr(ds_error_text(), "nearest"));
    assert_null(strstr(ds_error_text(), "names are those"));
    ds_checkpoint_close(&checkpoint);
    toy_release(&toy);
}

static void names_of_other_programs_are_known(void **state) {
    (void)state;
    static const struct {
        const char *names[3], *family;
    } cases[] = {
        {{"transformer.h.0.mlp.c_fc.weight", "transformer.wpe.weight", "transformer.h.0.attn.c_attn.weight"}, "GPT-2"},
        {{"wte.weight", "h.0.attn.c_attn.bias", "h.0.mlp.c_fc.weight"}, "GPT-2"},
        {{"model.embed_tokens.weight", "model.layers.0.self_attn.q_proj.weight", "model.norm.weight"}, "the Llama family"},
        {{"model.layers.0.self_attn.q_norm.weight", "model.layers.0.self_attn.q_proj.weight", "model.norm.weight"}, "Qwen3"},
        {{"tok_embeddings.weight", "layers.0.attention.wq.weight", "norm.weight"}, "Llama, in its authors' own names"},
        {{"gpt_neox.embed_in.weight", "gpt_neox.layers.0.attention.dense.weight", "embed_out.weight"}, "GPT-NeoX"},
        {{"base_model.model.transformer.h.0.attn.c_attn.lora_A.weight", "b", "c"}, "a LoRA adapter"},
        {{"bert.encoder.layer.0.attention.self.query.weight", "b", "c"}, "BERT"},
        {{"backbone.layers.0.mixer.in_proj.weight", "b", "c"}, "Mamba"},
    };
    static const float values[4] = {1.5F, -2.25F, 3.125F, 0.75F};
    const size_t shape[] = {4};
    ds_spec spec = toy_spec("ddl-scalar");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char words[96];
        toy_checkpoint toy;
        toy_make(&toy, &spec, DS_F32, 4);
        toy.count = 0;
        for (size_t n = 0; n < 3; n++)
            toy.tensors[toy.count++] = (ds_tensor_write){cases[i].names[n], DS_F32, 1, shape, values};
        (void)snprintf(words, sizeof words, "; the names are those of %s", cases[i].family);
        expect_words(&toy, "missing tensor transformer.wte.weight (token embedding)", words);
        toy_release(&toy);
    }
}

int main(void) {
    (void)printf("seed %llu\n", (unsigned long long)seed);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_renamed_tensor_is_named),
        cmocka_unit_test(a_wanted_tensor_is_not_named),
        cmocka_unit_test(names_of_other_programs_are_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
