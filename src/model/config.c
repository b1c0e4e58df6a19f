#include <math.h>
#include <string.h>
#include <strings.h>

#include "config.h"

typedef enum value_kind { COUNT, NUMBER, FLAG, ACTIVATION, STRING } value_kind;

/* One key: where its value goes and what it may be. Bounds are inclusive. */
typedef struct config_key {
    const char *name;
    value_kind kind;
    size_t offset;
    bool nullable; /* null means "not given" */
    double least, most;
} config_key;

#define AT(member) offsetof(ds_config, member)
#define ANY -HUGE_VAL, HUGE_VAL
/* The least positive number a range names stands for "greater than zero". */
#define POSITIVE 0x1p-1074, HUGE_VAL

static const config_key keys[] = {
    {"vocab_size", COUNT, AT(vocab), false, 1, DS_MOST_VOCAB},
    {"num_hidden_layers", COUNT, AT(layers), false, 1, DS_MOST_LAYERS},
    {"num_attention_heads", COUNT, AT(heads), false, 1, DS_MOST_HEADS},
    {"hidden_size", COUNT, AT(hidden), false, 1, DS_MOST_HIDDEN},
    {"head_dim", COUNT, AT(head_dim), false, 1, DS_MOST_HIDDEN},
    {"block_size", COUNT, AT(block_size), false, 1, 0x7fffffff},
    {"hidden_size_base", COUNT, AT(hidden_base), false, 1, DS_MOST_HIDDEN},
    {"num_hidden_layers_base", COUNT, AT(layers_base), true, 1, DS_MOST_LAYERS},
    {"ddl_value_channels", COUNT, AT(value_channels), false, 1, DS_MOST_CHANNELS},
    {"ddl_state_shortconv_kernel_size", COUNT, AT(state_kernel), true, 1, DS_MOST_KERNEL},
    {"input_embed_shortconv_kernel_size", COUNT, AT(input_kernel), false, 1, DS_MOST_KERNEL},
    {"kv_cache_slot_size", COUNT, AT(cache_slot), false, 1, 0x7fffffff},
    {"use_qk_rmsnorm", FLAG, AT(qk_norm), false, ANY},
    {"using_groupnorm", FLAG, AT(head_norm), false, ANY},
    {"use_output_gate", FLAG, AT(output_gate), false, ANY},
    {"use_k_shift", FLAG, AT(k_shift), false, ANY},
    {"use_v_shift", FLAG, AT(v_shift), false, ANY},
    {"ddl_state_dv_shortconv_causal", FLAG, AT(state_kernel_causal), false, ANY},
    {"ddl_beta_single_linear", FLAG, AT(gate_single), false, ANY}, /* known before the next */
    {"ddl_beta_hidden_size", COUNT, AT(gate_hidden), false, 1, DS_MOST_HIDDEN},
    {"ddl_v_sigmoid", FLAG, AT(value_sigmoid), false, ANY},
    {"ddl_v_constant", FLAG, AT(value_constant), false, ANY},
    {"ddl_v_dim1_constant", FLAG, AT(scalar_value_constant), false, ANY},
    {"mup", FLAG, AT(mup), false, ANY},
    {"q_activation", ACTIVATION, AT(q_activation), true, ANY},
    {"k_activation", ACTIVATION, AT(k_activation), true, ANY},
    {"v_activation", ACTIVATION, AT(v_activation), true, ANY},
    {"rope_ratio", NUMBER, AT(rope_ratio), false, 0, 1},
    {"rope_base", NUMBER, AT(rope_base), false, POSITIVE},
    {"rms_norm_eps", NUMBER, AT(rms_norm_eps), false, 0, HUGE_VAL},
    {"ddl_k_eps", NUMBER, AT(k_eps), false, 0, HUGE_VAL},
    {"ddl_v_sigmoid_scale", NUMBER, AT(value_scale), false, ANY},
    {"ddl_v_constant_value", NUMBER, AT(value_constant_value), false, ANY},
    {"ddl_v_dim1_constant_value", NUMBER, AT(scalar_value_constant_value), false, ANY},
    {"residual_branch_mult", NUMBER, AT(residual_mult), true, POSITIVE},
    {"ddl_beta_init", NUMBER, AT(beta_init), false, ANY},
    {"embedding_init_std", NUMBER, AT(embedding_init_std), false, 0, HUGE_VAL},
    {"hidden_init_std_factor", NUMBER, AT(hidden_init_std_factor), false, 0, HUGE_VAL},
    {"ddl_state_read_init", NUMBER, AT(read_init), true, ANY},
    {"parameterization", STRING, AT(parameterization), true, ANY},
};

/* Keys the published configuration classes refuse, because their meaning changed. */
static const char *const refused[] = {"n_embd", "n_embd_base",     "d_ff_factor",    "delta_beta_init",
                                      "q_rank", "delta_conv_size", "delta_norm_eps", "delta_use_short_conv",
                                      "rank"};

static const ds_config defaults = {
    .vocab = 50304,
    .layers = 12,
    .heads = 6,
    .hidden = 768,
    .head_dim = 128,
    .block_size = 1024,
    .hidden_base = 1024,
    .input_kernel = 4,
    .gate_hidden = 128,
    .qk_norm = true,
    .gate_single = true,
    .value_sigmoid = true,
    .rope_ratio = 1.0,
    .rope_base = 10000.0,
    .rms_norm_eps = 1e-5,
    .k_eps = 1e-5,
    .value_scale = 4.0,
    .value_constant_value = 2.0,
    .scalar_value_constant_value = 2.0,
    .beta_init = 1.0,
    .embedding_init_std = 0.02,
    .hidden_init_std_factor = 0.5,
    .read_init = NAN,
};

const char *ds_config_key(size_t index) {
    enum { KEYS = sizeof keys / sizeof *keys, REFUSED = sizeof refused / sizeof *refused };
    if (index < KEYS) return keys[index].name;
    return index < KEYS + REFUSED ? refused[index - KEYS] : index == KEYS + REFUSED ? "model_type" : NULL;
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

static ds_status read_key(ds_config *config, const config_key *key, const json_t *value, const char *where) {
    if (value == NULL || (key->nullable && json_is_null(value))) return DS_OK;
    void *target = (char *)config + key->offset;
    switch (key->kind) {
    case COUNT:
        return read_count(target, key, value, where);
    case NUMBER:
        return read_number(target, key, value, where);
    case ACTIVATION:
        return read_activation(target, key, value, where);
    case FLAG:
        if (!json_is_boolean(value)) return wrong_type(where, key, value, "true or false");
        *(bool *)target = json_is_true(value);
        return DS_OK;
    case STRING:
        if (!json_is_string(value)) return wrong_type(where, key, value, "a string");
        *(const char **)target = json_string_value(value);
        return DS_OK;
    }
    return DS_OK;
}

/* model_type says which program wrote the file. The published code writes "nanogpt-pro", "nanogptpro" or "nanogpt"; names
 * beginning like these or like the paper's are taken as derived from it, anything else as another architecture. */
static ds_status check_model_type(const json_t *object, const char *where) {
    static const char *const families[] = {"nanogpt", "ddl", "deep-delta", "deep_delta", "deepdelta", "deltascope"};
    const json_t *value = json_object_get(object, "model_type");
    if (value == NULL) return DS_OK;
    if (!json_is_string(value))
        return ds_fail(DS_ERR_INPUT, "%s: model_type is %s, expected a string", where, ds_config_describe(value).text);
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        if (strncasecmp(json_string_value(value), families[i], strlen(families[i])) == 0) return DS_OK;
    }
    return ds_fail(DS_ERR_INPUT, "%s: unsupported model_type %s, expected \"nanogpt-pro\" or another name of the family", where,
                   ds_config_describe(value).text);
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

ds_status ds_config_read(ds_config *config, const json_t *object, const char *where) {
    static const char *const abandoned[] = {"muP", "mup"};
    ds_status status = DS_OK;
    *config = defaults;
    if (!json_is_object(object)) return ds_fail(DS_ERR_INPUT, "%s: expected a JSON object", where);
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        if (json_object_get(object, refused[i]) != NULL)
            return ds_fail(DS_ERR_INPUT, "%s: unsupported key %s (the published code refuses it)", where, refused[i]);
    }
    DS_TRY(check_model_type(object, where));
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const json_t *value = json_object_get(object, keys[i].name);
        /* The width of a gate's hidden layer means nothing where there is none; the published code lets it be 0 then. */
        if (keys[i].offset == AT(gate_hidden) && config->gate_single && json_is_integer(value)) continue;
        DS_TRY(read_key(config, &keys[i], value, where));
    }
    if (config->heads * config->head_dim > DS_MOST_HIDDEN)
        return ds_fail(DS_ERR_INPUT, "%s: num_attention_heads * head_dim is out of range: found %zu * %zu, expected at most %d",
                       where, config->heads, config->head_dim, DS_MOST_HIDDEN);
    if (is_one_of(config->parameterization, abandoned, sizeof abandoned / sizeof *abandoned))
        return ds_fail(DS_ERR_INPUT, "%s: unsupported parameterization \"%s\", expected \"widthmuP\" for scaled logits", where,
                       config->parameterization);
done:
    return status;
}
