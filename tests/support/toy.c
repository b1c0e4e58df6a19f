#include <stdlib.h>
#include <string.h>

#include "scratch.h"
#include "support.h"
#include "toy.h"

ds_spec toy_spec(const char *variant) {
    ds_spec spec;
    expect_ok(ds_spec_reported(&spec, "small", variant));
    spec.vocab = 11;
    spec.layers = 2;
    spec.heads = 2;
    spec.head_dim = spec.rotary_dim = 6;
    spec.hidden = 10;
    spec.mlp_hidden = 26; /* floor(8 * 10 / 3) */
    spec.block_size = 16;
    if (spec.compressor != DS_COMPRESS_NONE) spec.value_channels = 3;
    if (spec.compressor == DS_COMPRESS_CC) spec.state_kernel = 2;
    return spec;
}

void toy_make(toy_checkpoint *toy, const ds_spec *spec, ds_precision precision, uint64_t seed) {
    *toy = (toy_checkpoint){0};
    expect_ok(ds_model_random(&toy->model, spec, precision, seed));
    toy->count = ds_model_parameters(toy->model);
    assert_true(toy->count <= TOY_MOST_TENSORS - 4);
    for (size_t i = 0; i < toy->count; i++) {
        const ds_parameter *parameter = ds_model_parameter(toy->model, i);
        toy->tensors[i] = (ds_tensor_write){parameter->name, precision, parameter->rank, parameter->shape, parameter->values};
    }
}

void toy_release(toy_checkpoint *toy) { ds_model_free(&toy->model); }

ds_tensor_write *toy_find(toy_checkpoint *toy, const char *name) {
    for (size_t i = 0; i < toy->count; i++) {
        if (strcmp(toy->tensors[i].name, name) == 0) return &toy->tensors[i];
    }
    fail_msg("the toy model has no tensor %s", name);
    return NULL;
}

void toy_remove(toy_checkpoint *toy, const char *name) {
    ds_tensor_write *tensor = toy_find(toy, name);
    *tensor = toy->tensors[--toy->count];
}

static const char *activation_name(ds_activation activation) {
    static const char *const names[] = {"identity", "silu", "relu", "elu+1"};
    return names[activation];
}

/* Every key the specification depends on, one "key": value each. */
static json_t *config_of(const ds_spec *spec) {
    json_t *config = json_pack("{si si si si si si}", "vocab_size", (int)spec->vocab, "num_hidden_layers", (int)spec->layers,
                               "num_attention_heads", (int)spec->heads, "head_dim", (int)spec->head_dim, "hidden_size",
                               (int)spec->hidden, "block_size", (int)spec->block_size);
    assert_non_null(config);
    const struct {
        const char *key;
        json_t *value;
    } more[] = {
        {"use_qk_rmsnorm", json_boolean(spec->qk_norm)},
        {"using_groupnorm", json_boolean(spec->head_norm)},
        {"use_output_gate", json_boolean(spec->output_gate)},
        {"use_k_shift", json_boolean(spec->k_shift)},
        {"use_v_shift", json_boolean(spec->v_shift)},
        {"q_activation", json_string(activation_name(spec->q_activation))},
        {"k_activation", json_string(activation_name(spec->k_activation))},
        {"v_activation", json_string(activation_name(spec->v_activation))},
        {"ddl_beta_single_linear", json_boolean(!spec->gate_two_layer)},
        {"ddl_beta_hidden_size", json_integer(spec->gate_two_layer ? (json_int_t)spec->gate_hidden : 128)},
        {"ddl_v_sigmoid", json_boolean(spec->value_sigmoid)},
    };
    for (size_t i = 0; i < sizeof more / sizeof *more; i++)
        assert_int_equal(json_object_set_new(config, more[i].key, more[i].value), 0);
    const char *constant = spec->compressor == DS_COMPRESS_NONE ? "ddl_v_dim1_constant" : "ddl_v_constant";
    assert_int_equal(json_object_set_new(config, constant, json_boolean(spec->value_constant)), 0);
    if (spec->compressor != DS_COMPRESS_NONE) {
        assert_int_equal(json_object_set_new(config, "ddl_value_channels", json_integer((json_int_t)spec->value_channels)), 0);
        assert_int_equal(
            json_object_set_new(config, "ddl_state_shortconv_kernel_size", json_integer((json_int_t)spec->state_kernel)), 0);
    }
    if (spec->input_conv)
        assert_int_equal(
            json_object_set_new(config, "input_embed_shortconv_kernel_size", json_integer((json_int_t)spec->input_kernel)), 0);
    return config;
}

ds_checkpoint *toy_open(const toy_checkpoint *toy, const char *without, const char *keys) {
    json_t *config = config_of(ds_model_spec(toy->model));
    if (without != NULL) assert_int_equal(json_object_del(config, without), 0);
    char *text = json_dumps(config, 0);
    assert_non_null(text);
    ds_text whole = {0};
    text[strlen(text) - 1] = '\0'; /* the closing brace */
    expect_ok(ds_text_printf(&whole, "%s%s}", text, keys));
    static const char *folder, *weights; /* one folder, written again and again */
    if (folder == NULL) {
        folder = scratch_path("toy");
        weights = scratch_path("toy/model.safetensors");
    }
    (void)scratch_write("toy/config.json", whole.bytes, whole.length);
    expect_ok(ds_safetensors_write(weights, toy->tensors, toy->count));
    ds_checkpoint *checkpoint = NULL;
    expect_ok(ds_checkpoint_open(&checkpoint, folder, NULL));
    free(text);
    ds_text_release(&whole);
    json_decref(config);
    return checkpoint;
}
