/* config.json: defaults, types, ranges, refused keys (MODEL.md "config.json keys and defaults"). */
#include "support.h"

#include <string.h>

#include "model/config.h"

static ds_status read_text(ds_config *config, const char *text) {
    json_t *object = NULL;
    ds_status status = ds_json_parse(&object, text, strlen(text), "config.json");
    if (status == DS_OK) status = ds_config_read(config, object, "config.json");
    json_decref(object);
    return status;
}

static void gives_the_published_defaults(void **state) {
    (void)state;
    ds_config config;
    expect_ok(read_text(&config, "{}"));
    assert_int_equal(config.vocab, 50304);
    assert_int_equal(config.layers, 12);
    assert_int_equal(config.heads, 6);
    assert_int_equal(config.hidden, 768);
    assert_int_equal(config.head_dim, 128);
    assert_int_equal(config.block_size, 1024);
    assert_int_equal(config.hidden_base, 1024);
    assert_int_equal(config.input_kernel, 4);
    assert_int_equal(config.gate_hidden, 128);
    assert_int_equal(config.value_channels, 0);
    assert_int_equal(config.state_kernel, 0);
    assert_true(config.qk_norm && config.gate_single && config.value_sigmoid);
    assert_false(config.head_norm || config.output_gate || config.k_shift || config.v_shift || config.mup);
    assert_false(config.value_constant || config.scalar_value_constant || config.state_kernel_causal);
    expect_close(config.rope_ratio, 1.0, 0.0);
    expect_close(config.rope_base, 10000.0, 0.0);
    expect_close(config.rms_norm_eps, 1e-5, 0.0);
    expect_close(config.k_eps, 1e-5, 0.0);
    expect_close(config.value_scale, 4.0, 0.0);
    expect_close(config.beta_init, 1.0, 0.0);
    assert_int_equal(config.q_activation, DS_ACT_IDENTITY);
}

static void reads_every_kind_of_value(void **state) {
    (void)state;
    ds_config config;
    expect_ok(read_text(&config, "{\"hidden_size\": 96, \"ddl_v_sigmoid_scale\": 3, \"rope_ratio\": 0.5, \"use_k_shift\": true,"
                                 "\"q_activation\": \"elu\", \"k_activation\": \"elu+1\", \"v_activation\": null,"
                                 "\"residual_branch_mult\": null, \"ddl_state_shortconv_kernel_size\": null,"
                                 "\"model_type\": \"nanogptpro\", \"unknown\": [1, {\"n_embd\": 3}], \"dropout\": \"any\"}"));
    assert_int_equal(config.hidden, 96);
    expect_close(config.value_scale, 3.0, 0.0);
    expect_close(config.rope_ratio, 0.5, 0.0);
    assert_true(config.k_shift);
    assert_int_equal(config.q_activation, DS_ACT_ELU1);
    assert_int_equal(config.k_activation, DS_ACT_ELU1);
    assert_int_equal(config.v_activation, DS_ACT_IDENTITY);
    assert_int_equal(config.state_kernel, 0);
}

static void scales_by_parameterization(void **state) {
    (void)state;
    static const struct {
        const char *text;
        bool logits, residual;
    } cases[] = {
        {"{}", false, false},
        {"{\"mup\": true}", true, false},
        {"{\"mup\": false}", false, false},
        {"{\"parameterization\": null}", false, false},
        {"{\"parameterization\": \"standard\"}", false, false},
        {"{\"parameterization\": \"widthmuP\"}", true, false},
        {"{\"parameterization\": \"widthmup\"}", true, false},
        {"{\"parameterization\": \"completeP\"}", true, true},
        {"{\"parameterization\": \"completep\"}", true, true},
        {"{\"parameterization\": \"spectralP\"}", true, true},
        {"{\"parameterization\": \"SpectralP\"}", true, true},
        {"{\"parameterization\": \"spectralp\"}", true, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ds_config config;
        json_t *object = NULL;
        expect_ok(ds_json_parse(&object, cases[i].text, strlen(cases[i].text), "config.json"));
        expect_ok(ds_config_read(&config, object, "config.json"));
        assert_int_equal(ds_config_scales_logits(&config), cases[i].logits);
        assert_int_equal(ds_config_scales_residual(&config), cases[i].residual);
        json_decref(object);
    }
}

static void refuses_with_a_sentence(void **state) {
    (void)state;
    static const struct {
        const char *text, *words;
    } cases[] = {
        {"[1, 2]", "config.json: expected a JSON object"},
        {"{\"n_embd\": 32}", "config.json: unsupported key n_embd"},
        {"{\"n_embd_base\": 32}", "unsupported key n_embd_base"},
        {"{\"d_ff_factor\": 4}", "unsupported key d_ff_factor"},
        {"{\"delta_beta_init\": 1}", "unsupported key delta_beta_init"},
        {"{\"delta_use_short_conv\": true}", "unsupported key delta_use_short_conv"},
        {"{\"delta_conv_size\": 4}", "unsupported key delta_conv_size"},
        {"{\"delta_norm_eps\": 1}", "unsupported key delta_norm_eps"},
        {"{\"q_rank\": null}", "unsupported key q_rank"},
        {"{\"rank\": 4}", "unsupported key rank"},
        {"{\"hidden_size\": \"32\"}", "config.json: hidden_size is \"32\", expected a whole number"},
        {"{\"hidden_size\": 32.0}", "hidden_size is 32, expected a whole number"},
        {"{\"hidden_size\": true}", "hidden_size is true, expected a whole number"},
        {"{\"hidden_size\": null}", "hidden_size is null, expected a whole number"},
        {"{\"hidden_size\": [32]}", "hidden_size is an array, expected a whole number"},
        {"{\"hidden_size\": 0}", "hidden_size is out of range: found 0, expected 1 to"},
        {"{\"hidden_size\": 4294967328}", "hidden_size is out of range: found 4294967328"},
        {"{\"num_attention_heads\": -2, \"head_dim\": -16}", "num_attention_heads is out of range: found -2"},
        {"{\"num_hidden_layers\": 0}", "num_hidden_layers is out of range"},
        {"{\"num_hidden_layers\": 2000000000}", "num_hidden_layers is out of range"},
        {"{\"block_size\": -64}", "block_size is out of range: found -64"},
        {"{\"block_size\": 1000000000000000}", "block_size is out of range"},
        {"{\"num_attention_heads\": 4096, \"head_dim\": 4096}", "num_attention_heads * head_dim is out of range"},
        {"{\"ddl_v_sigmoid\": \"no\"}", "ddl_v_sigmoid is \"no\", expected true or false"},
        {"{\"ddl_v_sigmoid\": 1}", "ddl_v_sigmoid is 1, expected true or false"},
        {"{\"ddl_k_eps\": -1e-5}", "ddl_k_eps is out of range: found -1.0000000000000001e-05"},
        {"{\"ddl_k_eps\": \"1e-5\"}", "ddl_k_eps is \"1e-5\", expected a number"},
        {"{\"rope_ratio\": 1.5}", "rope_ratio is out of range: found 1.5, expected 0 to 1"},
        {"{\"rope_base\": 0}", "rope_base is out of range: found 0, expected a number greater than 0"},
        {"{\"residual_branch_mult\": 0.0}", "residual_branch_mult is out of range"},
        {"{\"ddl_beta_single_linear\": false, \"ddl_beta_hidden_size\": 0}", "ddl_beta_hidden_size is out of range"},
        {"{\"ddl_beta_hidden_size\": -1, \"ddl_beta_single_linear\": false}", "ddl_beta_hidden_size is out of range"},
        {"{\"ddl_beta_hidden_size\": 8.0}", "ddl_beta_hidden_size is 8, expected a whole number"},
        {"{\"kv_cache_slot_size\": 0}", "kv_cache_slot_size is out of range"},
        {"{\"q_activation\": \"gelu\"}", "q_activation is \"gelu\", expected one of"},
        {"{\"q_activation\": 3}", "q_activation is 3, expected one of"},
        {"{\"model_type\": 7}", "model_type is 7, expected a string"},
        {"{\"model_type\": \"mistral\"}", "unsupported model_type \"mistral\""},
        {"{\"model_type\": \"gpt_neox\"}", "unsupported model_type \"gpt_neox\""},
        {"{\"parameterization\": \"mup\"}", "unsupported parameterization \"mup\""},
        {"{\"parameterization\": 3}", "parameterization is 3, expected a string"},
        {"{\"model_type\": \"a\\u001b[31m\"}", "unsupported model_type \"a\\x1B[31m\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ds_config config;
        expect_failure(read_text(&config, cases[i].text), DS_ERR_INPUT, cases[i].words);
    }
}

/* The width of a layer that is not there. */
static void ignores_the_width_of_no_layer(void **state) {
    (void)state;
    ds_config config;
    expect_ok(read_text(&config, "{\"ddl_beta_single_linear\": true, \"ddl_beta_hidden_size\": 0}"));
    assert_true(config.gate_single);
    expect_ok(read_text(&config, "{\"ddl_beta_hidden_size\": -128}"));
    expect_ok(read_text(&config, "{\"ddl_beta_hidden_size\": 8, \"ddl_beta_single_linear\": false}"));
    assert_int_equal(config.gate_hidden, 8);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_the_published_defaults),  cmocka_unit_test(reads_every_kind_of_value),
        cmocka_unit_test(scales_by_parameterization),    cmocka_unit_test(refuses_with_a_sentence),
        cmocka_unit_test(ignores_the_width_of_no_layer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
