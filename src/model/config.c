#include <math.h>
#include <string.h>
#include <strings.h>

#include "config.h"

typedef enum value_kind { COUNT, NUMBER, TRIPLE, FLAG, ACTIVATION, GELU, STRING, ELSEWHERE } value_kind;

/* One key: where its value goes and what it may be. Bounds are inclusive. */
typedef struct config_key {
    const char *name;
    unsigned families; /* that read it */
    value_kind kind;
    size_t offset;
    bool nullable; /* null means "not given" */
    double least, most;
} config_key;

#define AT(member) offsetof(ds_config, member)
#define DDL (1u << DS_FAMILY_DDL)
#define QWEN3 (1u << DS_FAMILY_QWEN3)
#define LLAMA (1u << DS_FAMILY_LLAMA)
#define QWEN2 (1u << DS_FAMILY_QWEN2)
#define HF (QWEN3 | LLAMA | QWEN2)
#define GPT2 (1u << DS_FAMILY_GPT2)
#define NANO (1u << DS_FAMILY_NANOGPT)
/* Families whose backbone any residual rule can be put on: what only a rule reads. */
#define RULED (DDL | QWEN3 | NANO)
#define ANY -HUGE_VAL, HUGE_VAL
/* The least positive number a range names stands for "greater than zero". */
#define POSITIVE 0x1p-1074, HUGE_VAL

static const config_key keys[] = {
    {"vocab_size", DDL | HF | GPT2 | NANO, COUNT, AT(vocab), false, 1, DS_MOST_VOCAB},
    {"num_hidden_layers", DDL | HF, COUNT, AT(layers), false, 1, DS_MOST_LAYERS},
    {"num_attention_heads", DDL | HF, COUNT, AT(heads), false, 1, DS_MOST_HEADS},
    {"hidden_size", DDL | HF, COUNT, AT(hidden), false, 1, DS_MOST_HIDDEN},
    {"head_dim", DDL, COUNT, AT(head_dim), false, 1, DS_MOST_HIDDEN},
    {"block_size", DDL | NANO, COUNT, AT(block_size), false, 1, 0x7fffffff},
    {"hidden_size_base", DDL, COUNT, AT(hidden_base), false, 1, DS_MOST_HIDDEN},
    {"num_hidden_layers_base", DDL, COUNT, AT(layers_base), true, 1, DS_MOST_LAYERS},
    {"ddl_value_channels", RULED, COUNT, AT(value_channels), false, 1, DS_MOST_CHANNELS},
    {"ddl_state_shortconv_kernel_size", RULED, COUNT, AT(state_kernel), true, 1, DS_MOST_KERNEL},
    {"input_embed_shortconv_kernel_size", RULED, COUNT, AT(input_kernel), false, 1, DS_MOST_KERNEL},
    {"kv_cache_slot_size", DDL, COUNT, AT(cache_slot), false, 1, 0x7fffffff},
    {"use_qk_rmsnorm", DDL, FLAG, AT(qk_norm), false, ANY},
    {"using_groupnorm", DDL, FLAG, AT(head_norm), false, ANY},
    {"use_output_gate", DDL, FLAG, AT(output_gate), false, ANY},
    {"use_k_shift", DDL, FLAG, AT(k_shift), false, ANY},
    {"use_v_shift", DDL, FLAG, AT(v_shift), false, ANY},
    {"ddl_state_dv_shortconv_causal", RULED, FLAG, AT(state_kernel_causal), false, ANY},
    {"ddl_beta_single_linear", RULED, FLAG, AT(gate_single), false, ANY}, /* known before the next */
    {"ddl_beta_hidden_size", RULED, COUNT, AT(gate_hidden), false, 1, DS_MOST_HIDDEN},
    {"ddl_v_sigmoid", RULED, FLAG, AT(value_sigmoid), false, ANY},
    {"ddl_v_constant", RULED, FLAG, AT(value_constant), false, ANY},
    {"ddl_v_dim1_constant", RULED, FLAG, AT(scalar_value_constant), false, ANY},
    {"mup", DDL, FLAG, AT(mup), false, ANY},
    {"q_activation", DDL, ACTIVATION, AT(q_activation), true, ANY},
    {"k_activation", DDL, ACTIVATION, AT(k_activation), true, ANY},
    {"v_activation", DDL, ACTIVATION, AT(v_activation), true, ANY},
    {"rope_ratio", DDL, NUMBER, AT(rope_ratio), false, 0, 1},
    {"rope_base", DDL, NUMBER, AT(rope_base), false, POSITIVE},
    {"rms_norm_eps", DDL | HF, NUMBER, AT(rms_norm_eps), false, 0, HUGE_VAL},
    {"ddl_k_eps", RULED, NUMBER, AT(k_eps), false, 0, HUGE_VAL},
    {"ddl_v_sigmoid_scale", RULED, NUMBER, AT(value_scale), false, ANY},
    {"ddl_v_constant_value", RULED, NUMBER, AT(value_constant_value), false, ANY},
    {"ddl_v_dim1_constant_value", RULED, NUMBER, AT(scalar_value_constant_value), false, ANY},
    {"residual_branch_mult", DDL, NUMBER, AT(residual_mult), true, POSITIVE},
    {"ddl_beta_init", RULED, NUMBER, AT(beta_init), false, ANY},
    {"embedding_init_std", DDL, NUMBER, AT(embedding_init_std), false, 0, HUGE_VAL},
    {"hidden_init_std_factor", DDL, NUMBER, AT(hidden_init_std_factor), false, 0, HUGE_VAL},
    {"ddl_state_read_init", RULED, NUMBER, AT(read_init), true, ANY},
    {"parameterization", DDL, STRING, AT(parameterization), true, ANY},
    {"attnres_mode", RULED, STRING, AT(depth_mode), true, ANY},
    {"attnres_gate_type", RULED, STRING, AT(depth_gate), true, ANY},
    {"attnres_num_blocks", RULED, COUNT, AT(depth_blocks), false, 1, DS_MOST_LAYERS},
    {"attnres_use_null_source", RULED, FLAG, AT(depth_null), true, ANY},
    {"attnres_recency_bias_init", RULED, NUMBER, AT(depth_bias_init), true, ANY},
    {"head_dim", HF, COUNT, AT(head_dim), true, 1, DS_MOST_HIDDEN},
    {"num_key_value_heads", HF, COUNT, AT(kv_heads), true, 1, DS_MOST_HEADS},
    {"intermediate_size", HF, COUNT, AT(mlp_hidden), false, 1, 16 * DS_MOST_HIDDEN},
    {"max_position_embeddings", HF, COUNT, AT(block_size), false, 1, 0x7fffffff},
    {"tie_word_embeddings", HF, FLAG, AT(tied), true, ANY},
    {"attention_bias", QWEN3 | LLAMA, FLAG, AT(attention_bias), true, ANY},
    {"mlp_bias", LLAMA, FLAG, AT(mlp_bias), true, ANY},
    {"tie_word_embeddings", GPT2, FLAG, AT(tied), true, ANY},
    {"n_layer", GPT2 | NANO, COUNT, AT(layers), false, 1, DS_MOST_LAYERS},
    {"n_head", GPT2 | NANO, COUNT, AT(heads), false, 1, DS_MOST_HEADS},
    {"n_embd", GPT2 | NANO, COUNT, AT(hidden), false, 1, DS_MOST_HIDDEN},
    {"n_inner", GPT2, COUNT, AT(mlp_hidden), true, 1, 16 * DS_MOST_HIDDEN},
    {"n_positions", GPT2, COUNT, AT(block_size), false, 1, 0x7fffffff},
    {"layer_norm_epsilon", GPT2, NUMBER, AT(rms_norm_eps), false, 0, HUGE_VAL},
    {"activation_function", GPT2, GELU, AT(activation), false, ANY},
    {"scale_attn_weights", GPT2, FLAG, AT(scores_scaled), false, ANY},
    {"scale_attn_by_inverse_layer_idx", GPT2, FLAG, AT(scores_scaled_by_depth), false, ANY},
    {"reorder_and_upcast_attn", GPT2, FLAG, AT(upcasts), false, ANY},
    {"initializer_range", HF | GPT2, NUMBER, AT(embedding_init_std), false, 0, HUGE_VAL},
    {"bias", NANO, FLAG, AT(attention_bias), false, ANY},
    {"hyper_conn_type", NANO, STRING, AT(hyper_conn_type), true, ANY},
    {"hyper_conn_n", RULED, COUNT, AT(streams), true, 1, DS_MOST_CHANNELS},
    {"hc_num_streams", NANO, COUNT, AT(fork_streams), true, 1, DS_MOST_CHANNELS},
    {"hc_num_fracs", NANO, COUNT, AT(fork_fractions), true, 1, DS_MOST_CHANNELS},
    {"hc_disable", NANO, FLAG, AT(fork_disabled), true, ANY},
    {"mhc", NANO, FLAG, AT(fork_constrained), true, ANY},
    {"v_residual", NANO, FLAG, AT(fork_value_residual), true, ANY},
    {"mhc_h_res_proj", RULED, STRING, AT(matrix_form), true, ANY},
    {"sinkhorn_iters", RULED, COUNT, AT(sinkhorn_rounds), true, 1, DS_MOST_ROUNDS},
    {"sinkhorn_tau", RULED, NUMBER, AT(sinkhorn_temperature), true, POSITIVE},
    {"ns_steps", RULED, COUNT, AT(schulz_steps), true, 0, DS_MOST_ROUNDS},
    {"ns_eps", RULED, NUMBER, AT(schulz_eps), true, 0, HUGE_VAL},
    {"ns_coeffs", RULED, TRIPLE, AT(schulz_coefficients), true, ANY},
    /* means nothing there, or is read with others */
    {"attention_bias", QWEN2, ELSEWHERE, 0, true, ANY},
    {"mlp_bias", QWEN2 | QWEN3, ELSEWHERE, 0, true, ANY},
    {"rope_theta", HF, ELSEWHERE, 0, true, ANY},
    {"rope_parameters", HF, ELSEWHERE, 0, true, ANY},
    {"rope_scaling", HF, ELSEWHERE, 0, true, ANY},
    {"use_sliding_window", QWEN2 | QWEN3, ELSEWHERE, 0, true, ANY},
    {"sliding_window", QWEN2 | QWEN3, ELSEWHERE, 0, true, ANY},
    {"layer_types", QWEN2 | QWEN3, ELSEWHERE, 0, true, ANY},
};

/* Keys the published configuration classes refuse, because their meaning changed. */
static const char *const refused[] = {"n_embd", "n_embd_base",     "d_ff_factor",    "delta_beta_init",
                                      "q_rank", "delta_conv_size", "delta_norm_eps", "delta_use_short_conv",
                                      "rank"};

/* Of what only a rule reads. */
#define RULE_DEFAULTS                                                                                                          \
    .input_kernel = 4, .gate_hidden = 128, .gate_single = true, .value_sigmoid = true, .k_eps = 1e-5, .value_scale = 4.0,      \
    .value_constant_value = 2.0, .scalar_value_constant_value = 2.0, .beta_init = 1.0, .hidden_init_std_factor = 0.5,          \
    .read_init = NAN, .depth_blocks = 8, .depth_bias_init = 3.0, .streams = 4, .fork_fractions = 1, .sinkhorn_rounds = 10,     \
    .sinkhorn_temperature = 0.05, .schulz_steps = 5, .schulz_eps = 1e-7, .schulz_coefficients = {3, -3.2, 1.2}

static const ds_config defaults[DS_FAMILIES] = {
    [DS_FAMILY_DDL] =
        {
            RULE_DEFAULTS,
            .vocab = 50304,
            .layers = 12,
            .heads = 6,
            .hidden = 768,
            .head_dim = 128,
            .block_size = 1024,
            .hidden_base = 1024,
            .qk_norm = true,
            .rope_ratio = 1.0,
            .rope_base = 10000.0,
            .rms_norm_eps = 1e-5,
            .embedding_init_std = 0.02,
        },
    [DS_FAMILY_GPT2] =
        {
            .embedding_init_std = 0.02,
            .vocab = 50257,
            .layers = 12,
            .heads = 12,
            .hidden = 768,
            .block_size = 1024,
            .rope_ratio = 1.0,
            .rms_norm_eps = 1e-5,
            .tied = true,
            .scores_scaled = true,
            .attention_bias = true,
            .activation = DS_MLP_GELU_TANH,
        },
    [DS_FAMILY_NANOGPT] =
        {
            RULE_DEFAULTS,
            .embedding_init_std = 0.02,
            .vocab = 50304,
            .layers = 12,
            .heads = 12,
            .hidden = 768,
            .block_size = 1024,
            .rope_ratio = 1.0,
            .rms_norm_eps = 1e-5,
            .tied = true,
            .scores_scaled = true,
            .attention_bias = true,
            .activation = DS_MLP_GELU,
        },
    [DS_FAMILY_QWEN3] =
        {
            RULE_DEFAULTS,
            .embedding_init_std = 0.02,
            .vocab = 151936,
            .layers = 32,
            .heads = 32,
            .kv_heads = 32,
            .hidden = 4096,
            .mlp_hidden = 22016,
            .block_size = 32768,
            .qk_norm = true,
            .rope_ratio = 1.0,
            .rope_base = 10000.0,
            .rms_norm_eps = 1e-6,
        },
    [DS_FAMILY_LLAMA] =
        {
            .embedding_init_std = 0.02,
            .vocab = 32000,
            .layers = 32,
            .heads = 32,
            .hidden = 4096,
            .mlp_hidden = 11008,
            .block_size = 2048,
            .rope_ratio = 1.0,
            .rope_base = 10000.0,
            .rms_norm_eps = 1e-6,
        },
    [DS_FAMILY_QWEN2] =
        {
            .embedding_init_std = 0.02,
            .vocab = 151936,
            .layers = 32,
            .heads = 32,
            .kv_heads = 32,
            .hidden = 4096,
            .mlp_hidden = 22016,
            .block_size = 32768,
            .rope_ratio = 1.0,
            .rope_base = 10000.0,
            .rms_norm_eps = 1e-6,
        },
};

const char *ds_config_key(size_t index) {
    enum { KEYS = sizeof keys / sizeof *keys, REFUSED = sizeof refused / sizeof *refused };
    if (index < KEYS) return keys[index].name;
    return index < KEYS + REFUSED ? refused[index - KEYS] : index == KEYS + REFUSED ? "model_type" : NULL;
}

bool ds_config_reads(ds_family family, const char *name) {
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        if ((keys[i].families & 1u << family) != 0 && strcmp(keys[i].name, name) == 0) return true;
    }
    return false;
}

ds_name ds_config_describe(const json_t *value) {
    char text[64];
    switch (json_typeof(value)) {
    case JSON_STRING: {
        ds_name name = ds_escape(json_string_value(value), json_string_length(value));
        ds_name quoted;
        (void)snprintf(quoted.text, sizeof quoted.text, "\"%.800s\"", name.text);
        return quoted;
    }
    case JSON_INTEGER:
        (void)snprintf(text, sizeof text, "%lld", (long long)json_integer_value(value));
        break;
    case JSON_REAL:
        (void)snprintf(text, sizeof text, "%.17g", json_real_value(value));
        break;
    case JSON_TRUE:
        return ds_escape("true", 4);
    case JSON_FALSE:
        return ds_escape("false", 5);
    case JSON_NULL:
        return ds_escape("null", 4);
    case JSON_ARRAY:
        return ds_escape("an array", 8);
    default:
        return ds_escape("an object", 9);
    }
    return ds_escape(text, strlen(text));
}

static ds_status wrong_type(const char *where, const config_key *key, const json_t *value, const char *expected) {
    return ds_fail(DS_ERR_INPUT, "%s: %s is %s, expected %s%s", where, key->name, ds_config_describe(value).text, expected,
                   key->nullable ? " or null" : "");
}

static ds_status read_count(size_t *out, const config_key *key, const json_t *value, const char *where) {
    if (!json_is_integer(value)) return wrong_type(where, key, value, "a whole number");
    json_int_t number = json_integer_value(value);
    if (number < (json_int_t)key->least || number > (json_int_t)key->most)
        return ds_fail(DS_ERR_INPUT, "%s: %s is out of range: found %lld, expected %.0f to %.0f", where, key->name,
                       (long long)number, key->least, key->most);
    *out = (size_t)number;
    return DS_OK;
}

static ds_status read_number(double *out, const config_key *key, const json_t *value, const char *where) {
    if (!json_is_number(value)) return wrong_type(where, key, value, "a number");
    double number = json_number_value(value);
    if (!isfinite(number)) return ds_fail(DS_ERR_INPUT, "%s: %s is not finite", where, key->name);
    if (!(number >= key->least && number <= key->most)) {
        if (isfinite(key->most))
            return ds_fail(DS_ERR_INPUT, "%s: %s is out of range: found %.17g, expected %g to %g", where, key->name, number,
                           key->least, key->most);
        return ds_fail(DS_ERR_INPUT, "%s: %s is out of range: found %.17g, expected a number %s", where, key->name, number,
                       key->least > 0.0 ? "greater than 0" : "that is not negative");
    }
    *out = number;
    return DS_OK;
}

static ds_status read_triple(double out[3], const config_key *key, const json_t *value, const char *where) {
    bool numbers = json_array_size(value) == 3;
    for (size_t i = 0; numbers && i < 3; i++) {
        const json_t *number = json_array_get(value, i);
        numbers = json_is_number(number) && isfinite(json_number_value(number));
        out[i] = json_number_value(number);
    }
    return numbers ? DS_OK : wrong_type(where, key, value, "an array of three numbers");
}

static ds_status read_activation(ds_activation *out, const config_key *key, const json_t *value, const char *where) {
    static const struct {
        const char *name;
        ds_activation activation;
    } names[] = {{"silu", DS_ACT_SILU},
                 {"relu", DS_ACT_RELU},
                 {"elu", DS_ACT_ELU1},
                 {"elu+1", DS_ACT_ELU1},
                 {"identity", DS_ACT_IDENTITY}};
    const char *text = json_string_value(value);
    for (size_t i = 0; text != NULL && i < sizeof names / sizeof *names; i++) {
        if (strcmp(text, names[i].name) == 0) {
            *out = names[i].activation;
            return DS_OK;
        }
    }
    return wrong_type(where, key, value, "one of \"silu\", \"relu\", \"elu\", \"elu+1\", \"identity\"");
}

/* What GPT-2's activation_function may say. */
static ds_status read_gelu(ds_mlp *out, const config_key *key, const json_t *value, const char *where) {
    static const struct {
        const char *name;
        ds_mlp mlp;
    } names[] = {{"gelu_new", DS_MLP_GELU_TANH}, {"gelu_pytorch_tanh", DS_MLP_GELU_TANH}, {"gelu", DS_MLP_GELU}};
    const char *text = json_string_value(value);
    for (size_t i = 0; text != NULL && i < sizeof names / sizeof *names; i++) {
        if (strcmp(text, names[i].name) != 0) continue;
        *out = names[i].mlp;
        return DS_OK;
    }
    return wrong_type(where, key, value, "one of \"gelu_new\", \"gelu_pytorch_tanh\", \"gelu\"");
}

static ds_status read_key(ds_config *config, const config_key *key, const json_t *value, const char *where) {
    if (value == NULL || (key->nullable && json_is_null(value))) return DS_OK;
    void *target = (char *)config + key->offset;
    switch (key->kind) {
    case COUNT:
        return read_count(target, key, value, where);
    case NUMBER:
        return read_number(target, key, value, where);
    case TRIPLE:
        return read_triple(target, key, value, where);
    case ACTIVATION:
        return read_activation(target, key, value, where);
    case GELU:
        return read_gelu(target, key, value, where);
    case FLAG:
        if (!json_is_boolean(value)) return wrong_type(where, key, value, "true or false");
        *(bool *)target = json_is_true(value);
        return DS_OK;
    case STRING:
        if (!json_is_string(value)) return wrong_type(where, key, value, "a string");
        *(const char **)target = json_string_value(value);
        return DS_OK;
    case ELSEWHERE:
        return DS_OK;
    }
    return DS_OK;
}

const char ds_depth_model_type[] = "qwen3_attnres";

/* The types of Hugging Face that are computed here, and how a control of one calls it. */
static const struct {
    const char *model_type;
    ds_family family;
} types[] = {{"qwen3", DS_FAMILY_QWEN3},
             {ds_depth_model_type, DS_FAMILY_QWEN3},
             {"llama", DS_FAMILY_LLAMA},
             {"qwen2", DS_FAMILY_QWEN2},
             {"gpt2", DS_FAMILY_GPT2}};

/* nanoGPT's model_args have no model_type; these three names nobody else uses together. */
static bool is_nanogpt(const json_t *object) {
    return json_object_get(object, "n_layer") != NULL && json_object_get(object, "n_head") != NULL &&
           json_object_get(object, "n_embd") != NULL;
}

/* model_type says which program wrote the file. The published code writes "nanogpt-pro", "nanogptpro" or "nanogpt"; names
 * beginning like these or like the paper's are taken as derived from it, anything else as another architecture. A control's
 * says nothing: its backbone does. */
static ds_status find_family(ds_family *family, const json_t *object, const char *where) {
    static const char *const derived[] = {"nanogpt", "ddl", "deep-delta", "deep_delta", "deepdelta", "deltascope"};
    const json_t *value = json_object_get(object, "model_type");
    *family = value == NULL && is_nanogpt(object) ? DS_FAMILY_NANOGPT : DS_FAMILY_DDL;
    if (value == NULL) return DS_OK;
    if (!json_is_string(value))
        return ds_fail(DS_ERR_INPUT, "%s: model_type is %s, expected a string", where, ds_config_describe(value).text);
    const char *backbone = json_string_value(json_object_get(object, "deltascope_backbone"));
    bool control = strcmp(json_string_value(value), "deltascope") == 0 && backbone != NULL;
    if (control && strcmp(backbone, "nanogpt") == 0) *family = DS_FAMILY_NANOGPT;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (strcmp(control ? backbone : json_string_value(value), types[i].model_type) != 0) continue;
        *family = types[i].family;
        return DS_OK;
    }
    for (size_t i = 0; i < sizeof derived / sizeof *derived; i++) {
        if (strncasecmp(json_string_value(value), derived[i], strlen(derived[i])) == 0) return DS_OK;
    }
    return ds_fail(DS_ERR_INPUT,
                   "%s: unsupported model_type %s, expected \"nanogpt-pro\" or another name of the family, or \"qwen3\", "
                   "\"qwen3_attnres\", \"llama\", \"qwen2\" or \"gpt2\"",
                   where, ds_config_describe(value).text);
}

static bool is_one_of(const char *text, const char *const *words, size_t count) {
    for (size_t i = 0; text != NULL && i < count; i++) {
        if (strcmp(text, words[i]) == 0) return true;
    }
    return false;
}

bool ds_config_scales_residual(const ds_config *config) {
    static const char *const words[] = {"completeP", "completep", "spectralP", "SpectralP", "spectralp"};
    return is_one_of(config->parameterization, words, sizeof words / sizeof *words);
}

bool ds_config_scales_logits(const ds_config *config) {
    static const char *const words[] = {"widthmuP", "widthmup"};
    return config->mup || ds_config_scales_residual(config) ||
           is_one_of(config->parameterization, words, sizeof words / sizeof *words);
}

/* What of GPT-2 is not computed. */
static ds_status check_gpt(const ds_config *config, const char *where) {
    if (!config->upcasts) return DS_OK;
    return ds_fail(DS_ERR_INPUT, "%s: unsupported reorder_and_upcast_attn true, expected false", where);
}

ds_status ds_config_read(ds_config *config, const json_t *object, const char *where) {
    static const char *const abandoned[] = {"muP", "mup"};
    ds_status status = DS_OK;
    ds_family family;
    *config = defaults[DS_FAMILY_DDL];
    if (!json_is_object(object)) return ds_fail(DS_ERR_INPUT, "%s: expected a JSON object", where);
    DS_TRY(find_family(&family, object, where));
    *config = defaults[family];
    config->family = family;
    for (size_t i = 0; i < sizeof refused / sizeof *refused && family == DS_FAMILY_DDL; i++) {
        if (json_object_get(object, refused[i]) != NULL)
            return ds_fail(DS_ERR_INPUT, "%s: unsupported key %s (the published code refuses it)", where, refused[i]);
    }
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const json_t *value = json_object_get(object, keys[i].name);
        if ((keys[i].families & 1u << family) == 0) continue;
        /* The width of a gate's hidden layer means nothing where there is none; the published code lets it be 0 then. */
        if (keys[i].offset == AT(gate_hidden) && config->gate_single && json_is_integer(value)) continue;
        DS_TRY(read_key(config, &keys[i], value, where));
    }
    if (json_is_null(json_object_get(object, "num_key_value_heads"))) config->kv_heads = 0;
    if ((HF & 1u << family) != 0) {
        DS_TRY(ds_rope_read(config, object, where));
        DS_TRY(ds_sliding_check(config, object, where));
    }
    DS_TRY(check_gpt(config, where));
    if (config->heads * config->head_dim > DS_MOST_HIDDEN)
        return ds_fail(DS_ERR_INPUT, "%s: num_attention_heads * head_dim is out of range: found %zu * %zu, expected at most %d",
                       where, config->heads, config->head_dim, DS_MOST_HIDDEN);
    if (is_one_of(config->parameterization, abandoned, sizeof abandoned / sizeof *abandoned))
        return ds_fail(DS_ERR_INPUT, "%s: unsupported parameterization \"%s\", expected \"widthmuP\" for scaled logits", where,
                       config->parameterization);
done:
    return status;
}
