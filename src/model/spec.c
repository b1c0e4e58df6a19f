#include <math.h>
#include <string.h>

#include "backbone.h"
#include "config.h"
#include "config_keys.h"
#include "control.h"
#include "delta_spec.h"
#include "depth_spec.h"
#include "parameters.h"
#include "rule.h"
#include "spec.h"
#include "streams_spec.h"

const char *ds_spec_variant(const ds_spec *spec) {
    if (spec->rule != &ds_rule_delta) return spec->rule->name;
    switch (spec->compressor) {
    case DS_COMPRESS_TC:
        return spec->input_conv ? "ddl-tc-ec" : "ddl-tc";
    case DS_COMPRESS_CC:
        return spec->input_conv ? "ddl-cc-ec" : "ddl-cc";
    case DS_COMPRESS_NONE:
        break;
    }
    return "ddl-scalar";
}

static const char *const variants[] = {"additive", "ddl-scalar", "ddl-tc", "ddl-tc-ec", "ddl-cc", "ddl-cc-ec"};
enum { VARIANTS = sizeof variants / sizeof *variants };

const char *ds_variant_at(size_t index) {
    if (index < VARIANTS) return variants[index];
    if (index - VARIANTS < DS_DEPTH_RULES) return ds_depth_rule_at(index - VARIANTS)->name;
    const ds_rule *streams = ds_stream_rule_at(index - VARIANTS - DS_DEPTH_RULES);
    return streams != NULL ? streams->name : NULL;
}

char *ds_sublayer_name(char name[32], size_t sublayer) {
    (void)snprintf(name, 32, "%zu.%s", sublayer / 2, sublayer % 2 == 0 ? "attn" : "mlp");
    return name;
}

char *ds_read_name(char name[32], const ds_spec *spec, size_t sublayer) {
    if (sublayer < ds_spec_sublayers(spec)) return ds_sublayer_name(name, sublayer);
    (void)snprintf(name, 32, "final");
    return name;
}

/* ---- what both say together ------------------------------------------------------------------------------------------- */

static size_t usual_mlp_hidden(size_t hidden) { return (size_t)floor(8.0 / 3.0 * (double)hidden); }

/* The part every variant shares. */
static ds_spec base_spec(const ds_config *config) {
    size_t rotary = (size_t)((double)config->head_dim * config->rope_ratio);
    ds_spec spec = {
        .backbone = &ds_backbone_ddl,
        .vocab = config->vocab,
        .layers = config->layers,
        .hidden = config->hidden,
        .heads = config->heads,
        .head_dim = config->head_dim,
        .mlp_hidden = usual_mlp_hidden(config->hidden),
        .block_size = config->block_size,
        .value_channels = 1,
        .qk_norm = config->qk_norm,
        .head_norm = config->head_norm,
        .output_gate = config->output_gate,
        .k_shift = config->k_shift,
        .v_shift = config->v_shift,
        .q_activation = config->q_activation,
        .k_activation = config->k_activation,
        .v_activation = config->v_activation,
        .rotary_dim = rotary - rotary % 2,
        .rope_base = config->rope_base,
        .norm_eps = 1e-5,
        .head_norm_eps = 1e-5,
        .output_norm_eps = config->rms_norm_eps,
        .k_eps = config->k_eps,
        .value_sigmoid = config->value_sigmoid,
        .value_scale = config->value_scale,
        .residual_mult = 1.0,
        .logit_scale = 1.0,
        .gate_init = config->beta_init,
        .embedding_init_std = config->embedding_init_std,
        .hidden_init_std_factor = config->hidden_init_std_factor,
        .read_init = config->read_init,
        .depth_init = config->layers,
    };
    if (ds_config_scales_residual(config) && config->layers_base != 0) spec.depth_init = config->layers_base;
    if (ds_config_scales_logits(config)) spec.logit_scale = (double)config->hidden_base / (double)config->hidden;
    if (config->residual_mult != 0.0) {
        spec.residual_mult = config->residual_mult;
    } else if (ds_config_scales_residual(config) && config->layers_base != 0) {
        spec.residual_mult = (double)config->layers_base / (double)config->layers;
    }
    return spec;
}

/* The MLP's width is what its first matrix says (MODEL.md); anything unusable there is then reported as a wrong shape. */
static void find_mlp_hidden(ds_spec *spec, const ds_checkpoint *checkpoint) {
    const ds_tensor *gate = ds_checkpoint_find(checkpoint, "transformer.h.0.mlp.c_fc1.weight");
    if (gate != NULL && gate->rank == 2 && gate->shape[0] != 0 && gate->shape[0] <= (uint64_t)16 * DS_MOST_HIDDEN)
        spec->mlp_hidden = (size_t)gate->shape[0];
}

/* Without tensors the configuration may say it, under the name that is then compared with the tensors made from it. */
static ds_status say_mlp_hidden(ds_spec *spec, const json_t *config, const char *where) {
    const json_int_t most = (json_int_t)16 * DS_MOST_HIDDEN;
    const json_t *value = json_object_get(config, "intermediate_size");
    if (value == NULL || json_is_null(value)) return DS_OK;
    if (!json_is_integer(value) || json_integer_value(value) < 1 || json_integer_value(value) > most)
        return ds_fail(DS_ERR_INPUT, "%s: intermediate_size is %s, expected a whole number from 1 to %lld", DS_SHOW(where),
                       ds_config_describe(value).text, (long long)most);
    spec->mlp_hidden = (size_t)json_integer_value(value);
    return DS_OK;
}

/* ---- other transformers ------------------------------------------------------------------------------------- */

/* Heads of keys and values that every group of query heads can share. */
static ds_status check_heads(const ds_config *config, size_t kv_heads, size_t head_dim, const char *where) {
    if (head_dim == 0)
        return ds_fail(DS_ERR_INPUT, "%s: the number of heads is %zu, expected a divisor of the hidden size, %zu", where,
                       config->heads, config->hidden);
    if (kv_heads > config->heads || config->heads % kv_heads != 0)
        return ds_fail(DS_ERR_INPUT, "%s: num_key_value_heads is %zu, expected a divisor of num_attention_heads, %zu", where,
                       kv_heads, config->heads);
    if (head_dim % 2 != 0 && config->rope_base > 0)
        return ds_fail(DS_ERR_INPUT, "%s: heads are %zu numbers wide, expected an even width to rotate in halves", where,
                       head_dim);
    if (config->heads * head_dim > DS_MOST_HIDDEN)
        return ds_fail(DS_ERR_INPUT, "%s: num_attention_heads * head_dim is out of range: found %zu * %zu, expected at most %d",
                       where, config->heads, head_dim, DS_MOST_HIDDEN);
    return DS_OK;
}

/* As wide as the configuration says or, where it says nothing, as d/H or as the norm of queries (Qwen3). */
static size_t head_width(const ds_config *config, const ds_checkpoint *checkpoint) {
    if (config->head_dim != 0) return config->head_dim;
    if (config->family != DS_FAMILY_QWEN3) return config->hidden % config->heads == 0 ? config->hidden / config->heads : 0;
    if (checkpoint == NULL) return 128;
    const ds_tensor *norm = ds_checkpoint_find(checkpoint, "model.layers.0.self_attn.q_norm.weight");
    if (norm == NULL) norm = ds_checkpoint_find(checkpoint, "layers.0.self_attn.q_norm.weight");
    return norm != NULL && norm->rank == 1 && norm->shape[0] <= DS_MOST_HIDDEN ? (size_t)norm->shape[0] : 128;
}

/* LayerNorm, learned positions, no gate; everywhere a bias or nowhere. */
static void gpt_spec(ds_spec *spec, const ds_config *config, const ds_checkpoint *checkpoint) {
    spec->rotary_dim = 0;
    spec->positions = config->block_size;
    spec->mlp = config->activation;
    spec->mlp_hidden = config->mlp_hidden != 0 ? config->mlp_hidden : 4 * config->hidden;
    spec->qkv_bias = spec->output_bias = spec->mlp_bias = spec->norm_bias = config->attention_bias;
    spec->unscaled_scores = !config->scores_scaled;
    spec->depth_scaled_scores = config->scores_scaled_by_depth;
    spec->newer_names = config->family == DS_FAMILY_NANOGPT && checkpoint != NULL &&
                        ds_checkpoint_find(checkpoint, "transformer.h.0.branch_attn.0.weight") == NULL;
}

/* Whether the embedding is stored without the backbone's prefix. */
static bool lacks_prefix(const ds_spec *spec, const ds_checkpoint *checkpoint) {
    const char *name = spec->backbone->front.rows[0].older.name;
    if (checkpoint == NULL) return false;
    return ds_checkpoint_find(checkpoint, name) == NULL &&
           ds_checkpoint_find(checkpoint, name + strlen(spec->backbone->prefix)) != NULL;
}

static ds_status other_backbone(ds_spec *spec, const ds_config *config, const ds_checkpoint *checkpoint, const char *where) {
    static const ds_backbone *const backbones[DS_FAMILIES] = {[DS_FAMILY_QWEN3] = &ds_backbone_qwen3,
                                                              [DS_FAMILY_LLAMA] = &ds_backbone_llama,
                                                              [DS_FAMILY_QWEN2] = &ds_backbone_qwen2,
                                                              [DS_FAMILY_GPT2] = &ds_backbone_gpt2,
                                                              [DS_FAMILY_NANOGPT] = &ds_backbone_nanogpt};
    ds_status status = DS_OK;
    size_t kv_heads = config->kv_heads != 0 ? config->kv_heads : config->heads, width = head_width(config, checkpoint);
    DS_TRY(check_heads(config, kv_heads, width, where));
    *spec = base_spec(config);
    spec->backbone = backbones[config->family];
    spec->rule = &ds_rule_additive;
    spec->kv_heads = kv_heads;
    spec->head_dim = spec->rotary_dim = width;
    spec->mlp_hidden = config->mlp_hidden;
    spec->norm_eps = spec->head_norm_eps = config->rms_norm_eps;
    spec->rope_scaling = config->rope_scaling;
    spec->qkv_bias = config->attention_bias || config->family == DS_FAMILY_QWEN2;
    spec->output_bias = config->attention_bias;
    spec->mlp_bias = config->mlp_bias;
    spec->own_head = !config->tied;
    spec->bare_names = lacks_prefix(spec, checkpoint);
    if (config->family == DS_FAMILY_GPT2 || config->family == DS_FAMILY_NANOGPT) gpt_spec(spec, config, checkpoint);
done:
    return status;
}

double ds_spec_rope_frequency(const ds_spec *spec, size_t pair) {
    const ds_rope_scaling *scaling = &spec->rope_scaling;
    double plain = pow(spec->rope_base, -2.0 * (double)pair / (double)spec->rotary_dim);
    if (scaling->factor == 0) return plain;
    double turns = scaling->original_context * plain / (2 * M_PI);
    double share = (turns - scaling->low_freq_factor) / (scaling->high_freq_factor - scaling->low_freq_factor);
    share = fmin(1, fmax(0, share));
    return share * plain + (1 - share) * plain / scaling->factor;
}

/* The transformer, of the additive rule. checkpoint NULL: what the tensors would tell is as usual. */
static ds_status backbone_spec(ds_spec *spec, const ds_config *config, const ds_checkpoint *checkpoint, const char *where) {
    if (config->family != DS_FAMILY_DDL) return other_backbone(spec, config, checkpoint, where);
    *spec = base_spec(config);
    spec->rule = &ds_rule_additive;
    spec->norm_eps = config->rms_norm_eps;
    if (checkpoint != NULL) find_mlp_hidden(spec, checkpoint);
    return DS_OK;
}

/* Backbones that any rule can be put on; on the others rules have neither keys nor names. */
static bool takes_rules(const ds_spec *spec) {
    return spec->backbone == &ds_backbone_ddl || spec->backbone == &ds_backbone_qwen3 || spec->backbone == &ds_backbone_nanogpt;
}

static ds_status no_place(const ds_spec *spec, const char *rule, const char *where) {
    return ds_fail(DS_ERR_INPUT, "%s: rule %s on backbone %s is unsupported, expected \"ddl\", \"qwen3\" or \"nanogpt\"",
                   DS_SHOW(where), DS_SHOW(rule), spec->backbone->name);
}

ds_status ds_spec_detect(ds_spec *spec, const ds_checkpoint *checkpoint) {
    ds_status status = DS_OK;
    const char *where = ds_checkpoint_config_path(checkpoint);
    const json_t *object = ds_checkpoint_config(checkpoint);
    ds_config config;
    DS_TRY(ds_config_read(&config, object, where));
    bool published = config.family == DS_FAMILY_DDL;
    DS_TRY(backbone_spec(spec, &config, checkpoint, where));
    const ds_delta_evidence evidence = ds_delta_examine(checkpoint, spec);
    spec->newer_names = spec->newer_names || evidence.newer != NULL;
    if (published || (ds_told_rule(object) != NULL && takes_rules(spec)))
        DS_TRY(ds_delta_detect(spec, &config, &evidence, where));
    if (spec->rule == &ds_rule_additive) DS_TRY(ds_depth_detect(spec, &config, object, checkpoint, where));
    if (spec->rule == &ds_rule_additive) DS_TRY(ds_streams_detect(spec, &config, object, checkpoint, where));
    if (spec->rule != &ds_rule_additive && !takes_rules(spec)) DS_TRY(no_place(spec, spec->rule->name, where));
    DS_TRY(ds_control_read(spec, object, where));
    DS_TRY(ds_foreign_check(object, &config, spec, where));
    DS_TRY(ds_parameters_check(spec, checkpoint));
    if (!published) DS_TRY(ds_parameters_only(spec, checkpoint));
done:
    return status;
}

bool ds_spec_suppose(ds_spec *spec, const ds_config *config, size_t number) {
    static const ds_tensor said = {.name = "", .file = ""};
    const ds_delta_evidence evidence = ds_delta_evidence_of(variants[number / 2], &said);
    if (backbone_spec(spec, config, NULL, "") != DS_OK) return false;
    spec->newer_names = number % 2 == 1;
    return ds_delta_detect(spec, config, &evidence, "") == DS_OK;
}

/* ---- a configuration alone --------------------------------------------------------------------------------------------- */

static ds_status no_variant(const char *variant) {
    ds_status status = DS_OK;
    ds_text names = {0};
    for (size_t i = 0; ds_variant_at(i) != NULL; i++)
        DS_TRY(ds_text_printf(&names, "%s%s", i == 0 ? "" : ds_variant_at(i + 1) == NULL ? " or " : ", ", ds_variant_at(i)));
    status = ds_fail(DS_ERR_USAGE, "no variant is called %s, expected %s", DS_SHOW(variant), names.bytes);
done:
    ds_text_release(&names);
    return status;
}

/* What published keys say of streams may not be another rule than the variant. */
static ds_status check_told(const ds_spec *spec, const ds_config *config, const json_t *object, const char *where) {
    ds_status status = DS_OK;
    const char *type = json_string_value(json_object_get(object, "model_type")), *key;
    const ds_rule *told;
    DS_TRY(ds_streams_told(&told, &key, config, where));
    if (key != NULL && told != spec->rule && (told != NULL || spec->rule->kind == DS_KIND_STREAMS))
        return ds_fail(DS_ERR_INPUT, "%s: by %s the rule is %s, but the variant is %s", DS_SHOW(where), key,
                       told != NULL ? told->name : ds_rule_additive.name, ds_spec_variant(spec));
    if (type != NULL && strcmp(type, ds_depth_model_type) == 0 && spec->rule->kind != DS_KIND_DEPTH)
        return ds_fail(DS_ERR_INPUT, "%s: model_type \"%s\" is of attention over depth, but the variant is %s", DS_SHOW(where),
                       ds_depth_model_type, ds_spec_variant(spec));
done:
    return status;
}

/* The variant's name in place of the tensors that would tell. */
static ds_status set_variant(ds_spec *spec, const ds_config *config, const json_t *object, const char *where,
                             const char *variant) {
    ds_status status = DS_OK;
    const ds_tensor said = {.file = where, .name = variant};
    const ds_delta_evidence evidence = ds_delta_evidence_of(variant, &said);
    const bool expanded = evidence.temporal != NULL || evidence.channel != NULL;
    const ds_rule *depth = ds_depth_rule_named(variant), *streams = ds_stream_rule_named(variant);
    if (evidence.delta != NULL && config->value_channels != 0 && expanded != (config->value_channels > 1))
        return ds_fail(DS_ERR_INPUT, "%s: ddl_value_channels is %zu, but %s has %s", DS_SHOW(where), config->value_channels,
                       DS_SHOW(variant), expanded ? "an expanded state: expected at least 2" : "a scalar state: expected 1");
    if (strcmp(variant, ds_rule_additive.name) != 0 && !takes_rules(spec)) DS_TRY(no_place(spec, variant, where));
    DS_TRY(ds_delta_detect(spec, config, &evidence, where));
    if (depth != NULL) DS_TRY(ds_depth_set(spec, config, depth, where));
    if (streams != NULL) DS_TRY(ds_streams_set(spec, config, object, streams, where));
    if (strcmp(ds_spec_variant(spec), variant) != 0) DS_TRY(no_variant(variant));
    DS_TRY(check_told(spec, config, object, where));
done:
    return status;
}

ds_status ds_spec_from_config(ds_spec *spec, const json_t *config, const char *where, const char *variant, bool newer_names) {
    ds_status status = DS_OK;
    ds_config read;
    DS_TRY(ds_config_read(&read, config, where));
    DS_TRY(backbone_spec(spec, &read, NULL, where));
    spec->newer_names = newer_names && takes_rules(spec);
    DS_TRY(set_variant(spec, &read, config, where, variant));
    if (read.family == DS_FAMILY_DDL) DS_TRY(say_mlp_hidden(spec, config, where));
    DS_TRY(ds_control_read(spec, config, where));
done:
    return status;
}

/* ---- reported sizes and cost ------------------------------------------------------------------------------------------ */

ds_status ds_spec_reported(ds_spec *spec, const char *size, const char *variant) {
    static const struct {
        const char *name;
        size_t vocab, layers, heads, head_dim, hidden, block_size;
    } sizes[] = {
        {"tiny", 512, 2, 2, 32, 64, 64},  /* not reported: the same shape, for trying */
        {"demo", 65, 4, 4, 32, 128, 128}, /* not reported: that of `make train-demo` */
        {"small", 50304, 12, 6, 128, 768, 1024},
        {"medium", 50304, 24, 8, 128, 1024, 1024},
    };
    static const ds_tensor said = {.name = "", .file = ""};
    size_t i = 0;
    while (i < sizeof sizes / sizeof *sizes && strcmp(size, sizes[i].name) != 0) i++;
    if (i == sizeof sizes / sizeof *sizes)
        return ds_fail(DS_ERR_USAGE, "no reported size is called %s, expected tiny, demo, small or medium", DS_SHOW(size));
    *spec = (ds_spec){
        .backbone = &ds_backbone_ddl,
        .vocab = sizes[i].vocab,
        .layers = sizes[i].layers,
        .heads = sizes[i].heads,
        .head_dim = sizes[i].head_dim,
        .hidden = sizes[i].hidden,
        .block_size = sizes[i].block_size,
        .rule = strcmp(variant, "additive") != 0 ? &ds_rule_delta : &ds_rule_additive,
        .value_channels = 1,
        .qk_norm = true,
        .rotary_dim = sizes[i].head_dim,
        .rope_base = 10000.0,
        .norm_eps = 1e-5,
        .head_norm_eps = 1e-5,
        .output_norm_eps = 1e-5,
        .k_eps = 1e-5,
        .value_sigmoid = true,
        .value_scale = 4.0,
        .residual_mult = 1.0,
        .logit_scale = 1.0,
        .gate_init = 1.0,
        .embedding_init_std = 0.02,
        .hidden_init_std_factor = 0.5,
        .read_init = NAN,
        .depth_init = sizes[i].layers,
    };
    spec->mlp_hidden = usual_mlp_hidden(spec->hidden);
    const ds_delta_evidence evidence = ds_delta_evidence_of(variant, &said);
    if (evidence.temporal != NULL) spec->compressor = DS_COMPRESS_TC;
    if (evidence.channel != NULL) spec->compressor = DS_COMPRESS_CC;
    if (spec->compressor != DS_COMPRESS_NONE) {
        spec->value_channels = spec->state_kernel = 4;
        spec->input_conv = evidence.input != NULL;
        spec->input_kernel = spec->input_conv ? 4 : 0;
    }
    if (strcmp(ds_spec_variant(spec), variant) == 0) return DS_OK;
    return ds_fail(DS_ERR_USAGE,
                   "no variant is called %s at a reported size, expected additive, ddl-scalar, ddl-tc, ddl-tc-ec, "
                   "ddl-cc or ddl-cc-ec",
                   DS_SHOW(variant));
}

double ds_spec_head_flops_per_token(const ds_spec *spec) { return 2.0 * (double)spec->hidden * (double)spec->vocab; }

double ds_spec_rule_flops_per_token(const ds_spec *spec) { return 2.0 * (double)spec->layers * spec->rule->flops(spec); }

double ds_spec_forward_flops_per_token(const ds_spec *spec, size_t length) {
    double d = (double)spec->hidden, width = (double)(spec->heads * spec->head_dim);
    double heads = (double)ds_spec_kv_heads(spec), kv_width = heads * (double)spec->head_dim;
    double shifts = (double)(spec->k_shift + spec->v_shift);
    double matrices = d * ((spec->output_gate ? 3.0 : 2.0) * width + 2.0 * kv_width);
    matrices += shifts * d * heads + (spec->mlp == DS_MLP_SWIGLU ? 3.0 : 2.0) * d * (double)spec->mlp_hidden;
    matrices += spec->rule->flops(spec); /* of two sublayers, multiplications and additions together */
    /* q k^T and the weighted values: T x T x H*h each, half of it causal. */
    double attention = (double)length * width;
    return 2.0 * (double)spec->layers * (matrices + attention) + ds_spec_head_flops_per_token(spec);
}
