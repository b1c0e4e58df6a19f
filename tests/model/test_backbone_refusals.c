/* Configurations and files of plain transformers that contradict themselves, or ask for what is not computed: refused in one
 * sentence each, which names the key or the tensor. */
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "deltascope/model.h"

#include "scratch.h"
#include "support.h"

enum { QWEN3, LLAMA, QWEN2, GPT2, NANOGPT, MODELS };
static const char *const folders[MODELS] = {"qwen3-additive", "hf-llama3", "hf-qwen2", "hf-gpt2", "nanogpt-additive"};

static const char *weights_of(size_t model) {
    static char path[256];
    (void)snprintf(path, sizeof path, "fixtures/backbones/%s/%s", folders[model],
                   model == NANOGPT ? "ckpt.pt" : "model.safetensors");
    return path;
}

/* The model's own configuration: of nanoGPT's what its checkpoint holds. */
static json_t *own_config(size_t model) {
    char path[256];
    if (model == NANOGPT)
        return json_pack("{si si si si sb si ss si}", "n_layer", 3, "n_head", 4, "n_embd", 32, "block_size", 64, "bias", 0,
                         "vocab_size", 65, "hyper_conn_type", "none", "hyper_conn_n", 1);
    (void)snprintf(path, sizeof path, "fixtures/backbones/%s/config.json", folders[model]);
    return json_load_file(path, 0, NULL);
}

/* Loads weights with a configuration; consumes it. */
static ds_status load(const char *weights, json_t *config) {
    static const char name[] = "edited.json";
    ds_checkpoint *checkpoint = NULL;
    ds_model *model = NULL;
    char *text = json_dumps(config, 0);
    assert_non_null(text);
    (void)scratch_write(name, text, strlen(text));
    free(text);
    json_decref(config);
    ds_status status = ds_checkpoint_open(&checkpoint, weights, scratch_path(name));
    if (status == DS_OK) status = ds_model_load(&model, checkpoint, DS_F32);
    ds_model_free(&model);
    ds_checkpoint_close(&checkpoint);
    return status;
}

/* The members of an object text put over a configuration; null stays null. */
static json_t *edited(size_t model, const char *members) {
    json_t *config = own_config(model), *changes = json_loads(members, 0, NULL);
    assert_true(config != NULL && changes != NULL && json_object_update(config, changes) == 0);
    json_decref(changes);
    return config;
}

#define LLAMA3(members) "{\"rope_scaling\": {\"rope_type\": \"llama3\", " members "}}"
static const struct {
    size_t model;
    const char *members, *words;
} cases[] = {
    {QWEN3, "{\"model_type\": \"mistral\"}", "unsupported model_type \"mistral\""},
    {QWEN3, "{\"model_type\": \"qwen3_moe\"}", "unsupported model_type \"qwen3_moe\""},
    {QWEN3, "{\"model_type\": \"llama\"}", "unsupported tensor model.layers.0.self_attn.k_norm.weight"},
    {LLAMA, "{\"model_type\": \"qwen3\"}", "missing tensor model.layers.0.self_attn.q_norm.weight"},
    {LLAMA, "{\"model_type\": \"qwen2\"}", "missing tensor model.layers.0.self_attn.q_proj.bias"},
    {QWEN2, "{\"model_type\": \"llama\"}", "unsupported tensor model.layers.0.self_attn.k_proj.bias"},
    {QWEN3, "{\"num_key_value_heads\": 3}", "num_key_value_heads is 3, expected a divisor of num_attention_heads, 4"},
    {QWEN3, "{\"num_key_value_heads\": 8}", "num_key_value_heads is 8, expected a divisor"},
    {QWEN3, "{\"num_key_value_heads\": null}", "wrong shape of tensor model.layers.0.self_attn.k_proj.weight"},
    {QWEN3, "{\"head_dim\": 6}", "wrong shape of tensor model.layers.0.self_attn.q_proj.weight"},
    {QWEN3, "{\"head_dim\": 7}", "expected an even width"},
    {LLAMA, "{\"num_attention_heads\": 5, \"head_dim\": null}",
     "the number of heads is 5, expected a divisor of the hidden size"},
    {QWEN3, "{\"tie_word_embeddings\": false}", "missing tensor lm_head.weight (output head)"},
    {LLAMA, "{\"tie_word_embeddings\": true}", "tensor lm_head.weight differs from model.embed_tokens.weight"},
    {LLAMA, "{\"num_hidden_layers\": 2}", "unsupported tensor model.layers.2."},
    {LLAMA, "{\"num_hidden_layers\": 4}", "missing tensor model.layers.3.input_layernorm.weight"},
    {LLAMA, "{\"attention_bias\": true}", "missing tensor model.layers.0.self_attn.q_proj.bias"},
    {LLAMA, "{\"mlp_bias\": true}", "missing tensor model.layers.0.mlp.gate_proj.bias"},
    {LLAMA, "{\"hidden_act\": \"gelu\"}", "hidden_act is \"gelu\""},
    {LLAMA, "{\"partial_rotary_factor\": 0.5}", "partial_rotary_factor is 0.5"},
    {LLAMA, "{\"rope_scaling\": {\"type\": \"linear\", \"factor\": 2}}", "unsupported rotation of type \"linear\""},
    {LLAMA, "{\"rope_scaling\": {\"type\": \"dynamic\", \"factor\": 2}}", "unsupported rotation of type \"dynamic\""},
    {LLAMA, "{\"rope_scaling\": {\"rope_type\": \"yarn\"}}", "unsupported rotation of type \"yarn\""},
    {LLAMA, "{\"rope_scaling\": {\"rope_type\": \"longrope\"}}", "unsupported rotation of type \"longrope\""},
    {LLAMA, "{\"rope_scaling\": {\"type\": \"mrope\"}}", "unsupported rotation of type \"mrope\""},
    {LLAMA, "{\"rope_scaling\": {\"type\": \"llama3\", \"rope_type\": \"linear\"}}",
     "says rope_type \"linear\" and type \"llama3\""},
    {LLAMA, "{\"rope_parameters\": {\"rope_type\": \"linear\"}}", "rope_parameters are of type \"linear\", rope_scaling is"},
    {LLAMA, "{\"rope_parameters\": {\"rope_theta\": 10000}}", "rope_theta is 500, but 10000 in rope_parameters"},
    {LLAMA, "{\"rope_parameters\": {\"partial_rotary_factor\": 0.25}}", "partial_rotary_factor of rope_parameters is 0.25"},
    {LLAMA, "{\"rope_scaling\": 3}", "rope_scaling is 3, expected an object or null"},
    {LLAMA, "{\"rope_theta\": 0}", "rope_theta is 0, expected a number greater than 0"},
    {LLAMA, LLAMA3("\"factor\": 4, \"low_freq_factor\": 1, \"high_freq_factor\": 4"),
     "original_max_position_embeddings of the llama3 rotation is absent"},
    {LLAMA, LLAMA3("\"factor\": 0, \"low_freq_factor\": 1, \"high_freq_factor\": 4, \"original_max_position_embeddings\": 8"),
     "factor of the llama3 rotation is 0"},
    {LLAMA, LLAMA3("\"factor\": 4, \"low_freq_factor\": 4, \"high_freq_factor\": 4, \"original_max_position_embeddings\": 8"),
     "high_freq_factor is 4, expected more than low_freq_factor"},
    {QWEN2, "{\"use_sliding_window\": true, \"max_window_layers\": 3}", "use_sliding_window is true and a layer slides"},
    {QWEN2, "{\"use_sliding_window\": true, \"layer_types\": [\"full_attention\", \"sliding_attention\"]}", "a layer slides"},
    {GPT2, "{\"activation_function\": \"relu\"}", "activation_function is \"relu\", expected one of \"gelu_new\""},
    {GPT2, "{\"reorder_and_upcast_attn\": true}", "unsupported reorder_and_upcast_attn true"},
    {GPT2, "{\"add_cross_attention\": true}", "add_cross_attention is true"},
    {GPT2, "{\"n_head\": 5}", "the number of heads is 5, expected a divisor of the hidden size, 32"},
    {GPT2, "{\"n_positions\": 65}",
     "wrong shape of tensor wpe.weight: found (64, 32), expected (65, 32), which is (n_positions, hidden_size)"},
    {GPT2, "{\"n_inner\": 64}", "wrong shape of tensor h.0.mlp.c_fc.weight"},
    {GPT2, "{\"tie_word_embeddings\": false}", "missing tensor lm_head.weight (output head)"},
    {GPT2, "{\"n_layer\": 2}", "unsupported tensor h.2."},
    {GPT2, "{\"position_embedding_type\": \"rope\"}", "position_embedding_type is \"rope\""},
    {GPT2, "{\"norm_type\": \"rmsnorm\"}", "norm_type is \"rmsnorm\""},
    {NANOGPT, "{\"hyper_conn_type\": \"mhc\", \"hyper_conn_n\": 4}", "missing tensor transformer.h.0.hc_attn.static_alpha"},
    {NANOGPT, "{\"hyper_conn_type\": \"mhc_lite\", \"hyper_conn_n\": 7}", "7 streams are out of range, expected 2 to 6"},
    {NANOGPT, "{\"hyper_conn_type\": \"dhc\", \"hyper_conn_n\": 2}", "unsupported hyper_conn_type \"dhc\""},
    {NANOGPT, "{\"bias\": true}", "missing tensor transformer.h.0.branch_attn.0.bias"},
    {NANOGPT, "{\"block_size\": 65}", "wrong shape of tensor transformer.wpe.weight"},
    {NANOGPT, "{\"n_layer\": 2}", "unsupported tensor transformer.h.2."},
};

static void contradictions_are_refused(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect_failure(load(weights_of(cases[i].model), edited(cases[i].model, cases[i].members)), DS_ERR_INPUT,
                       cases[i].words);
}

/* What changes nothing, or says the same otherwise. */
static void other_spellings_are_taken(void **state) {
    (void)state;
    static const struct {
        size_t model;
        const char *members;
    } same[] = {
        {QWEN3, "{\"head_dim\": null}"},
        {QWEN3, "{\"use_sliding_window\": true, \"max_window_layers\": 3, \"layer_types\": null}"},
        {QWEN3, "{\"sliding_window\": 8, \"use_sliding_window\": false}"},
        {LLAMA, "{\"head_dim\": null, \"hidden_act\": \"swish\", \"pretraining_tp\": 2}"},
        {LLAMA, "{\"rope_parameters\": {\"rope_theta\": 500, \"type\": \"default\"}, \"rope_scaling\": null}"},
        {QWEN2, "{\"attention_bias\": false, \"rope_scaling\": {\"rope_type\": \"default\"}}"},
        {GPT2, "{\"n_inner\": 128, \"n_ctx\": 64, \"activation_function\": \"gelu\", \"norm_type\": \"LayerNorm\"}"},
        {GPT2, "{\"scale_attn_weights\": false, \"scale_attn_by_inverse_layer_idx\": true}"},
        {NANOGPT, "{\"hyper_conn_type\": \"mhc\", \"hyper_conn_n\": 1, \"dropout\": 0.2}"},
        {NANOGPT, "{\"hyper_conn_type\": null}"},
    };
    for (size_t i = 0; i < sizeof same / sizeof *same; i++)
        expect_ok(load(weights_of(same[i].model), edited(same[i].model, same[i].members)));
}

/* A number of the configuration that the shapes depend on, drawn and moved. */
static void numbers_that_contradict_shapes(void **state) {
    (void)state;
    static const char *const keys[MODELS][6] = {
        {"vocab_size", "hidden_size", "num_hidden_layers", "intermediate_size", "head_dim", "num_attention_heads"},
        {"vocab_size", "hidden_size", "num_hidden_layers", "intermediate_size", "head_dim", "num_attention_heads"},
        {"vocab_size", "hidden_size", "num_hidden_layers", "intermediate_size", "num_key_value_heads", "num_attention_heads"},
        {"vocab_size", "n_embd", "n_layer", "n_positions", "n_embd", "n_layer"},
        {"vocab_size", "n_embd", "n_layer", "block_size", "n_embd", "n_layer"},
    };
    const uint64_t seed = 20261128;
    ds_random random = ds_random_init(seed);
    for (size_t i = 0; i < 100; i++) {
        size_t model = ds_random_below(&random, MODELS);
        const char *key = keys[model][ds_random_below(&random, 6)];
        json_t *config = own_config(model);
        json_int_t value = json_integer_value(json_object_get(config, key)),
                   change = 1 + (json_int_t)ds_random_below(&random, 3);
        if (ds_random_below(&random, 2) == 0 && value > change) change = -change;
        assert_int_equal(json_object_set_new(config, key, json_integer(value + change)), 0);
        ds_error_clear();
        if (load(weights_of(model), config) != DS_ERR_INPUT)
            fail_msg("draw %zu of seed %llu: %s of %s moved by %lld is taken", i, (unsigned long long)seed, key, folders[model],
                     (long long)change);
    }
}

/* Tensors that no page names, by renaming one in the header: what was there is missing, or what is there is unknown. */
static void renamed_tensors_are_refused(void **state) {
    (void)state;
    static const struct {
        size_t model;
        const char *from, *to, *words;
    } names[] = {
        {LLAMA, "\"model.norm.weight\"", "\"model.morm.weight\"", "missing tensor model.norm.weight (final norm)"},
        {QWEN3, "\"model.layers.1.mlp.up_proj.weight\"", "\"model.layers.1.mlp.xp_proj.weight\"",
         "missing tensor model.layers.1.mlp.up_proj.weight"},
        {GPT2, "\"h.1.attn.c_proj.bias\"", "\"h.1.attn.q_attn.bias\"", "missing tensor h.1.attn.c_proj.bias"},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *bytes, path[256];
        size_t length, width = strlen(names[i].from);
        (void)snprintf(path, sizeof path, "%s", weights_of(names[i].model));
        expect_ok(ds_read_file(&bytes, &length, path, 1 << 20));
        size_t at = 8;
        while (at + width < length && memcmp(bytes + at, names[i].from, width) != 0) at++;
        assert_true(at + width < length && strlen(names[i].to) == width);
        memcpy(bytes + at, names[i].to, width);
        (void)scratch_write("renamed.safetensors", bytes, length);
        free(bytes);
        expect_failure(load(scratch_path("renamed.safetensors"), own_config(names[i].model)), DS_ERR_INPUT, names[i].words);
    }
}

/* Positions that were never learned. */
static void windows_beyond_the_positions(void **state) {
    (void)state;
    for (size_t m = GPT2; m <= NANOGPT; m++) {
        ds_checkpoint *checkpoint;
        ds_model *model;
        ds_workspace *workspace = NULL;
        json_t *config = own_config(m);
        char *text = json_dumps(config, 0);
        (void)scratch_write("positions.json", text, strlen(text));
        free(text);
        json_decref(config);
        expect_ok(ds_checkpoint_open(&checkpoint, weights_of(m), scratch_path("positions.json")));
        expect_ok(ds_model_load(&model, checkpoint, DS_F64));
        ds_checkpoint_close(&checkpoint);
        expect_failure(ds_workspace_new(&workspace, model, 1, 65), DS_ERR_USAGE, "the model has learned positions for 64");
        expect_ok(ds_workspace_new(&workspace, model, 1, 64));
        ds_workspace_free(&workspace);
        ds_model_free(&model);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(contradictions_are_refused),     cmocka_unit_test(other_spellings_are_taken),
        cmocka_unit_test(numbers_that_contradict_shapes), cmocka_unit_test(renamed_tensors_are_refused),
        cmocka_unit_test(windows_beyond_the_positions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
