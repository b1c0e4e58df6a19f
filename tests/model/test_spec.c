/* The specification: every fixture and every combination of options is recognised; contradictions are refused by name. */
#include "support.h"

#include <math.h>
#include <string.h>

#include "toy.h"

static void names_sublayers(void **state) {
    (void)state;
    char name[32];
    assert_string_equal(ds_sublayer_name(name, 0), "0.attn");
    assert_string_equal(ds_sublayer_name(name, 7), "3.mlp");
    assert_string_equal(ds_sublayer_name(name, SIZE_MAX), "9223372036854775807.mlp");
}

static void detects_every_fixture(void **state) {
    (void)state;
    static const struct {
        const char *name, *variant;
        size_t channels, kernel;
        bool newer;
    } cases[] = {
        {"additive-small", "additive", 1, 0, false},        {"cc-bf16", "ddl-cc", 4, 4, false},
        {"cc-dv3-noqknorm", "ddl-cc", 3, 3, false},         {"cc-ec-activations", "ddl-cc-ec", 4, 4, true},
        {"cc-ec-vlinear", "ddl-cc-ec", 4, 4, false},        {"ddl-cc-ec", "ddl-cc-ec", 4, 4, false},
        {"scalar-ckpt/ckpt.pt", "ddl-scalar", 1, 0, false}, {"scalar-kvshift", "ddl-scalar", 1, 0, false},
        {"scalar-safetensors", "ddl-scalar", 1, 0, false},  {"scalar-two-layer-gate", "ddl-scalar", 1, 0, false},
        {"tc-ec-sharded", "ddl-tc-ec", 4, 4, false},        {"tc-newer-names", "ddl-tc-ec", 4, 4, true},
        {"tc-output-gate", "ddl-tc", 4, 4, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char path[128];
        ds_checkpoint *checkpoint = NULL;
        ds_spec spec;
        (void)snprintf(path, sizeof path, "fixtures/models/%s", cases[i].name);
        expect_ok(ds_checkpoint_open(&checkpoint, path, NULL));
        expect_ok(ds_spec_detect(&spec, checkpoint));
        assert_string_equal(ds_spec_variant(&spec), cases[i].variant);
        assert_int_equal(spec.value_channels, cases[i].channels);
        assert_int_equal(spec.state_kernel, cases[i].kernel);
        assert_int_equal(spec.newer_names, cases[i].newer);
        assert_int_equal(spec.rotary_dim, strcmp(cases[i].name, "scalar-ckpt/ckpt.pt") == 0 ? 8 : spec.head_dim);
        assert_int_equal(spec.qk_norm, strcmp(cases[i].name, "cc-dv3-noqknorm") != 0);
        assert_int_equal(spec.k_shift && spec.v_shift, strcmp(cases[i].name, "scalar-kvshift") == 0);
        assert_int_equal(spec.gate_two_layer, strcmp(cases[i].name, "scalar-two-layer-gate") == 0);
        assert_int_equal(spec.output_gate, strcmp(cases[i].name, "tc-output-gate") == 0);
        assert_int_equal(spec.value_sigmoid, strcmp(cases[i].name, "cc-ec-vlinear") != 0);
        assert_int_equal(spec.mlp_hidden, (size_t)floor(8.0 / 3.0 * (double)spec.hidden));
        ds_checkpoint_close(&checkpoint);
    }
}

/* A random combination of options; the structure is compared bytewise afterwards, so it is zeroed first. */
static ds_spec random_spec(const char *variant, ds_random *random) {
    ds_spec spec;
    memset(&spec, 0, sizeof spec);
    spec = toy_spec(variant);
    spec.newer_names = ds_random_below(random, 2);
    spec.qk_norm = ds_random_below(random, 2);
    spec.head_norm = ds_random_below(random, 2);
    spec.output_gate = ds_random_below(random, 2);
    spec.k_shift = ds_random_below(random, 2);
    spec.v_shift = ds_random_below(random, 2);
    spec.q_activation = (ds_activation)ds_random_below(random, 4);
    spec.k_activation = (ds_activation)ds_random_below(random, 4);
    spec.v_activation = (ds_activation)ds_random_below(random, 4);
    spec.mlp_hidden = 1 + ds_random_below(random, 40);
    if (spec.rule == &ds_rule_delta) {
        spec.gate_two_layer = ds_random_below(random, 2);
        spec.gate_hidden = spec.gate_two_layer ? 1 + ds_random_below(random, 9) : 0;
        spec.value_constant = ds_random_below(random, 2);
    }
    if (spec.compressor != DS_COMPRESS_NONE) {
        spec.value_channels = 2 + ds_random_below(random, 5);
        spec.state_kernel = 1 + ds_random_below(random, spec.compressor == DS_COMPRESS_CC ? spec.value_channels : 5);
        if (spec.input_conv) spec.input_kernel = 1 + ds_random_below(random, 5);
    }
    return spec;
}

static void expect_equal_specs(const ds_spec *found, const ds_spec *expected) {
    assert_string_equal(ds_spec_variant(found), ds_spec_variant(expected));
#define EQUAL(member) assert_int_equal(found->member, expected->member)
    EQUAL(vocab), EQUAL(layers), EQUAL(hidden), EQUAL(heads), EQUAL(head_dim), EQUAL(mlp_hidden), EQUAL(block_size);
    EQUAL(value_channels), EQUAL(compressor), EQUAL(input_conv), EQUAL(state_kernel), EQUAL(input_kernel);
    EQUAL(qk_norm), EQUAL(head_norm), EQUAL(output_gate), EQUAL(k_shift), EQUAL(v_shift), EQUAL(newer_names);
    EQUAL(q_activation), EQUAL(k_activation), EQUAL(v_activation), EQUAL(rotary_dim);
    EQUAL(gate_two_layer), EQUAL(gate_hidden), EQUAL(value_constant);
#undef EQUAL
}

static void recognises_every_combination(void **state) {
    (void)state;
    static const char *const variants[] = {"additive", "ddl-scalar", "ddl-tc", "ddl-tc-ec", "ddl-cc", "ddl-cc-ec"};
    const uint64_t seed = 413;
    print_message("seed %llu\n", (unsigned long long)seed);
    ds_random random = ds_random_init(seed);
    for (size_t round = 0; round < 120; round++) {
        ds_spec expected = random_spec(variants[round % 6], &random), found;
        toy_checkpoint toy;
        toy_make(&toy, &expected, DS_F32, round);
        ds_checkpoint *checkpoint = toy_open(&toy, NULL, "");
        expect_ok(ds_spec_detect(&found, checkpoint));
        expect_equal_specs(&found, &expected);
        ds_model *model = NULL;
        expect_ok(ds_model_load(&model, checkpoint, DS_F32));
        assert_int_equal(ds_model_parameters(model), ds_model_parameters(toy.model));
        for (size_t i = 0; i < ds_model_parameters(model); i++) {
            const ds_parameter *loaded = ds_model_parameter(model, i), *made = ds_model_parameter(toy.model, i);
            assert_string_equal(loaded->name, made->name);
            assert_int_equal(loaded->count, made->count);
            assert_memory_equal(loaded->values, made->values, made->count * sizeof(float));
        }
        ds_model_free(&model);
        ds_checkpoint_close(&checkpoint);
        toy_release(&toy);
    }
}

static void reads_scales_and_rotary_width(void **state) {
    (void)state;
    static const struct {
        const char *keys;
        double logits, residual;
        size_t rotary;
    } cases[] = {
        {"", 1.0, 1.0, 6},
        {", \"rope_ratio\": 0.9", 1.0, 1.0, 4}, /* int(5.4) = 5, made even */
        {", \"rope_ratio\": 0.25", 1.0, 1.0, 0},
        {", \"rope_ratio\": 0", 1.0, 1.0, 0},
        {", \"mup\": true", 102.4, 1.0, 6},
        {", \"mup\": true, \"hidden_size_base\": 20", 2.0, 1.0, 6},
        {", \"parameterization\": \"completeP\"", 102.4, 1.0, 6}, /* without a base depth: the model's own */
        {", \"parameterization\": \"spectralp\", \"num_hidden_layers_base\": 1", 102.4, 0.5, 6},
        {", \"parameterization\": \"completep\", \"num_hidden_layers_base\": 1, \"residual_branch_mult\": 0.75", 102.4, 0.75,
         6},
        {", \"parameterization\": \"widthmuP\", \"num_hidden_layers_base\": 1", 102.4, 1.0, 6},
        {", \"residual_branch_mult\": 0.3", 1.0, 0.3, 6},
    };
    const ds_spec made = toy_spec("ddl-scalar");
    toy_checkpoint toy;
    toy_make(&toy, &made, DS_F64, 1);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ds_spec spec;
        ds_checkpoint *checkpoint = toy_open(&toy, NULL, cases[i].keys);
        expect_ok(ds_spec_detect(&spec, checkpoint));
        expect_close(spec.logit_scale, cases[i].logits, 0.0);
        expect_close(spec.residual_mult, cases[i].residual, 0.0);
        assert_int_equal(spec.rotary_dim, cases[i].rotary);
        ds_checkpoint_close(&checkpoint);
    }
    toy_release(&toy);
}

static void normalises_as_each_family_does(void **state) {
    (void)state;
    static const char *const variants[] = {"additive", "ddl-scalar"};
    for (size_t i = 0; i < 2; i++) {
        const ds_spec made = toy_spec(variants[i]);
        ds_spec spec;
        toy_checkpoint toy;
        toy_make(&toy, &made, DS_F32, 1);
        ds_checkpoint *checkpoint = toy_open(&toy, NULL, ", \"rms_norm_eps\": 0.125");
        expect_ok(ds_spec_detect(&spec, checkpoint));
        expect_close(spec.norm_eps, i == 0 ? 0.125 : 1e-5, 0.0); /* only the baseline's norms read rms_norm_eps */
        expect_close(spec.head_norm_eps, 1e-5, 0.0);
        expect_close(spec.output_norm_eps, 0.125, 0.0);
        ds_checkpoint_close(&checkpoint);
        toy_release(&toy);
    }
}

/* ---- contradictions ---------------------------------------------------------------------------------------------- */

static void refuses_keys_that_contradict_tensors(void **state) {
    (void)state;
    static const struct {
        const char *variant, *without, *keys, *words;
    } cases[] = {
        {"ddl-scalar", "vocab_size", ", \"vocab_size\": 12",
         "wrong shape of tensor transformer.wte.weight: found (11, 10), expected (12, 10), which is (vocab_size, hidden_size)"},
        {"ddl-scalar", "head_dim", ", \"head_dim\": 7",
         "wrong shape of tensor transformer.h.0.attn.c_q.weight: found (12, 10), expected (14, 10)"},
        {"ddl-scalar", "num_hidden_layers", ", \"num_hidden_layers\": 3", "missing tensor transformer.h.2.ln_1.weight"},
        {"ddl-scalar", "use_output_gate", ", \"use_output_gate\": true", "missing tensor transformer.h.0.attn.o_norm.weight"},
        {"ddl-scalar", "ddl_beta_single_linear", "", NULL},
        {"ddl-scalar", "ddl_beta_single_linear", ", \"ddl_beta_single_linear\": false",
         "missing tensor transformer.h.0.ddl_attn.beta_in.weight"},
        {"ddl-scalar", NULL, ", \"ddl_value_channels\": 4", "ddl_value_channels is 4, but the checkpoint has no compressor"},
        {"ddl-scalar", NULL, ", \"ddl_value_channels\": 1", NULL},
        {"additive", NULL, ", \"ddl_value_channels\": 4", NULL},
        {"ddl-cc", "ddl_value_channels", ", \"ddl_value_channels\": 4",
         "wrong shape of tensor transformer.h.0.compress.read: found (3), expected (4), which is (ddl_value_channels)"},
        {"ddl-cc", "ddl_value_channels", ", \"ddl_value_channels\": 1", "ddl_value_channels is 1, but"},
        {"ddl-cc", "ddl_state_shortconv_kernel_size", "", "found (10, 2), expected (10, 3), which is (hidden_size, ddl_state_"},
        {"ddl-cc", "ddl_state_shortconv_kernel_size", ", \"ddl_state_shortconv_kernel_size\": 4",
         "ddl_state_shortconv_kernel_size is 4, expected at most ddl_value_channels, 3"},
        {"ddl-tc", "ddl_state_shortconv_kernel_size", "", NULL}, /* the default, 4, is what the tensors have */
        {"ddl-tc-ec", "input_embed_shortconv_kernel_size", ", \"input_embed_shortconv_kernel_size\": 3",
         "wrong shape of tensor input_embed.conv.weight: found (30, 1, 4), expected (30, 1, 3)"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const ds_spec made = toy_spec(cases[i].variant);
        ds_spec spec;
        toy_checkpoint toy;
        toy_make(&toy, &made, DS_F32, i);
        ds_checkpoint *checkpoint = toy_open(&toy, cases[i].without, cases[i].keys);
        ds_status status = ds_spec_detect(&spec, checkpoint);
        if (cases[i].words == NULL) expect_ok(status);
        if (cases[i].words != NULL) expect_failure(status, DS_ERR_INPUT, cases[i].words);
        ds_checkpoint_close(&checkpoint);
        toy_release(&toy);
    }
}

static void refuses_a_two_layer_gate_the_configuration_denies(void **state) {
    (void)state;
    ds_spec made = toy_spec("ddl-scalar"), spec;
    made.gate_two_layer = true;
    made.gate_hidden = 5;
    toy_checkpoint toy;
    toy_make(&toy, &made, DS_F32, 3);
    ds_checkpoint *checkpoint = toy_open(&toy, "ddl_beta_single_linear", "");
    expect_failure(ds_spec_detect(&spec, checkpoint), DS_ERR_INPUT, "ddl_beta_single_linear is true, but");
    ds_checkpoint_close(&checkpoint);
    checkpoint = toy_open(&toy, "ddl_beta_hidden_size", "");
    expect_failure(ds_spec_detect(&spec, checkpoint), DS_ERR_INPUT,
                   "wrong shape of tensor transformer.h.0.ddl_attn.beta_in.weight: found (5, 10), expected (128, 10), which is "
                   "(ddl_beta_hidden_size, hidden_size)");
    ds_checkpoint_close(&checkpoint);
    toy_release(&toy);
}

static void every_tensor_is_needed(void **state) {
    (void)state;
    const ds_spec made = toy_spec("ddl-cc-ec");
    toy_checkpoint toy;
    toy_make(&toy, &made, DS_F32, 4);
    const size_t count = toy.count;
    for (size_t i = 0; i < count; i++) {
        ds_spec spec;
        char words[128];
        ds_tensor_write removed = toy.tensors[i];
        (void)snprintf(words, sizeof words, "missing tensor %s (", removed.name);
        toy.tensors[i] = toy.tensors[--toy.count];
        ds_checkpoint *checkpoint = toy_open(&toy, NULL, "");
        if (strcmp(removed.name, "input_embed.conv.weight") == 0) { /* its absence is another variant */
            expect_ok(ds_spec_detect(&spec, checkpoint));
            assert_string_equal(ds_spec_variant(&spec), "ddl-cc");
        } else {
            expect_failure(ds_spec_detect(&spec, checkpoint), DS_ERR_INPUT, words);
        }
        ds_checkpoint_close(&checkpoint);
        toy.tensors[toy.count++] = toy.tensors[i];
        toy.tensors[i] = removed;
    }
    toy_release(&toy);
}

static void every_rank_and_extent_is_checked(void **state) {
    (void)state;
    const ds_spec made = toy_spec("ddl-tc-ec");
    toy_checkpoint toy;
    toy_make(&toy, &made, DS_F32, 5);
    for (size_t i = 0; i < toy.count; i++) {
        ds_spec spec;
        ds_tensor_write *tensor = &toy.tensors[i];
        const size_t *right = tensor->shape;
        size_t wrong[DS_MAX_RANK + 1] = {1}; /* one axis more, in front: as many numbers */
        memcpy(wrong + 1, right, tensor->rank * sizeof *right);
        tensor->shape = wrong;
        tensor->rank++;
        ds_checkpoint *checkpoint = toy_open(&toy, NULL, "");
        assert_int_equal(ds_spec_detect(&spec, checkpoint), DS_ERR_INPUT);
        assert_non_null(strstr(ds_error_text(), "wrong shape of tensor"));
        ds_checkpoint_close(&checkpoint);
        tensor->shape = right;
        tensor->rank--;
    }
    toy_release(&toy);
}

static void a_single_tensor_may_be_spelled_as_in_the_other_generation(void **state) {
    (void)state;
    const ds_spec made = toy_spec("ddl-cc");
    toy_checkpoint toy;
    toy_make(&toy, &made, DS_F32, 6);
    toy_find(&toy, "transformer.h.1.mlp.c_proj.weight")->name = "transformer.h.1.mlp.o_proj.weight";
    ds_checkpoint *checkpoint = toy_open(&toy, NULL, "");
    ds_model *model = NULL;
    expect_ok(ds_model_load(&model, checkpoint, DS_F32));
    bool found = false;
    for (size_t i = 0; i < ds_model_parameters(model); i++)
        found |= strcmp(ds_model_parameter(model, i)->name, "transformer.h.1.mlp.o_proj.weight") == 0;
    assert_true(found);
    ds_model_free(&model);
    ds_checkpoint_close(&checkpoint);
    toy_release(&toy);
}

/* ---- reported sizes and cost ------------------------------------------------------------------------------------- */

/* The same count from the table: every matrix product is with a stored matrix, except attention and the state. */
static double flops_from_table(const ds_model *model, size_t length) {
    const ds_spec *spec = ds_model_spec(model);
    double flops = 0.0;
    for (size_t i = 0; i < ds_model_parameters(model); i++) {
        const ds_parameter *parameter = ds_model_parameter(model, i);
        bool matrix = parameter->rank == 2 && parameter->group != DS_GROUP_COMPRESSOR;
        if (matrix) flops += 2.0 * (double)parameter->count;
    }
    double sublayers = (double)ds_spec_sublayers(spec), d = (double)spec->hidden, dv = (double)spec->value_channels;
    if (spec->rule == &ds_rule_delta) flops += sublayers * 2.0 * (2.0 * d * dv);
    double square = (double)length * (double)spec->heads * (double)spec->head_dim;
    return flops + (double)spec->layers * 2.0 * (2.0 * square) / 2.0;
}

static void counts_operations_as_the_table_does(void **state) {
    (void)state;
    static const char *const variants[] = {"additive", "ddl-scalar", "ddl-tc", "ddl-tc-ec", "ddl-cc", "ddl-cc-ec"};
    ds_random random = ds_random_init(99);
    for (size_t round = 0; round < 60; round++) {
        ds_spec spec = random_spec(variants[round % 6], &random);
        ds_model *model = NULL;
        expect_ok(ds_model_random(&model, &spec, DS_F32, 0));
        /* whole numbers below 2^53: exact in any order */
        expect_close(ds_spec_forward_flops_per_token(&spec, 100 + round), flops_from_table(model, 100 + round), 0.0);
        ds_model_free(&model);
    }
}

static void knows_the_reported_sizes(void **state) {
    (void)state;
    static const char *const variants[] = {"additive", "ddl-scalar", "ddl-tc", "ddl-tc-ec", "ddl-cc", "ddl-cc-ec"};
    for (size_t i = 0; i < 6; i++) {
        ds_spec spec;
        expect_ok(ds_spec_reported(&spec, "medium", variants[i]));
        assert_string_equal(ds_spec_variant(&spec), variants[i]);
        assert_int_equal(spec.layers, 24);
        expect_ok(ds_spec_reported(&spec, "small", variants[i]));
        assert_string_equal(ds_spec_variant(&spec), variants[i]);
        /* 2 N plus attention: N = 123.6 million in matrices and head, for the baseline exactly */
        if (i == 0) expect_close(ds_spec_forward_flops_per_token(&spec, 0), 2.0 * 123550000.0, 2.0 * 50000.0);
    }
    ds_spec spec;
    uint64_t parameters;
    expect_ok(ds_spec_reported(&spec, "demo", "ddl-cc-ec"));
    expect_ok(ds_spec_parameter_count(&parameters, &spec));
    assert_int_equal(parameters, 805436); /* as `train --dry-run` says of fixtures/recipes/shakespeare-config.json */
    expect_failure(ds_spec_reported(&spec, "large", "ddl-cc"), DS_ERR_USAGE, "no reported size is called large");
    expect_failure(ds_spec_reported(&spec, "small", "ddl-cc-"), DS_ERR_USAGE, "no variant is called ddl-cc-");
    expect_failure(ds_spec_reported(&spec, "small", ""), DS_ERR_USAGE, "no variant is called");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_sublayers),
        cmocka_unit_test(detects_every_fixture),
        cmocka_unit_test(recognises_every_combination),
        cmocka_unit_test(reads_scales_and_rotary_width),
        cmocka_unit_test(normalises_as_each_family_does),
        cmocka_unit_test(refuses_keys_that_contradict_tensors),
        cmocka_unit_test(refuses_a_two_layer_gate_the_configuration_denies),
        cmocka_unit_test(every_tensor_is_needed),
        cmocka_unit_test(every_rank_and_extent_is_checked),
        cmocka_unit_test(a_single_tensor_may_be_spelled_as_in_the_other_generation),
        cmocka_unit_test(counts_operations_as_the_table_does),
        cmocka_unit_test(knows_the_reported_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
