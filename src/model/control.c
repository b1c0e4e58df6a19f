/* Controls: models trained with part of their rule left out or fixed. */
#include "control.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "backbone.h"
#include "depth_spec.h"
#include "rule.h"
#include "streams_spec.h"

static const char own_type[] = "deltascope", fixed_gate[] = "fixed-gate:";
static const char rule_key[] = "deltascope_rule", base_key[] = "deltascope_base_rule", backbone_key[] = "deltascope_backbone";

static const ds_force none = {.mode = DS_FORCE_NONE}, closed = {.mode = DS_FORCE_CLOSED};

/* ---- names ------------------------------------------------------------------------------------------------------------ */

static const struct {
    const char *name;
    ds_force trained[2];
    bool gates; /* for rules with gates alone */
} controls[] = {
    {"delta", {{DS_FORCE_NONE, 0}, {DS_FORCE_NONE, 0}}, false},
    {"closed:attn", {{DS_FORCE_CLOSED, 0}, {DS_FORCE_NONE, 0}}, false},
    {"closed:mlp", {{DS_FORCE_NONE, 0}, {DS_FORCE_CLOSED, 0}}, false},
    {"closed:all", {{DS_FORCE_CLOSED, 0}, {DS_FORCE_CLOSED, 0}}, false},
    {"write-only", {{DS_FORCE_WRITE_ONLY, 0}, {DS_FORCE_WRITE_ONLY, 0}}, true},
    {"erase-only", {{DS_FORCE_ERASE_ONLY, 0}, {DS_FORCE_ERASE_ONLY, 0}}, true},
};
enum { CONTROLS = sizeof controls / sizeof *controls };

static bool is_fixed_gate(const char *name) { return strncmp(name, fixed_gate, strlen(fixed_gate)) == 0; }

static bool same_force(ds_force a, ds_force b) { return a.mode == b.mode && !(a.value < b.value || a.value > b.value); }

/* The number of "fixed-gate:B": a decimal, finite. */
static bool parse_gate(double *gate, const char *digits) {
    char *end;
    *gate = strtod(digits, &end);
    return digits[0] != '\0' && digits[strspn(digits, "0123456789+-.eE")] == '\0' && *end == '\0' && isfinite(*gate);
}

static ds_status unknown(const ds_rule *rule, const char *name, const char *where) {
    if (!rule->has_gates)
        return ds_fail(DS_ERR_INPUT,
                       "%s: \"%s\" is no rule for a model without gates (%s), expected \"delta\", \"closed:attn\", "
                       "\"closed:mlp\" or \"closed:all\"",
                       DS_SHOW(where), DS_SHOW(name), rule->title);
    return ds_fail(
        DS_ERR_INPUT,
        "%s: \"%s\" is no rule, expected \"delta\", \"write-only\", \"erase-only\", \"fixed-gate:B\" with a number B, "
        "\"closed:attn\", \"closed:mlp\" or \"closed:all\"",
        DS_SHOW(where), DS_SHOW(name));
}

ds_status ds_control_parse(ds_force trained[2], const ds_rule *rule, const char *name, const char *where) {
    double gate;
    if (strcmp(name, rule->name) == 0) name = controls[0].name;
    for (size_t i = 0; i < CONTROLS; i++) {
        if (strcmp(name, controls[i].name) != 0 || (controls[i].gates && !rule->has_gates)) continue;
        memcpy(trained, controls[i].trained, sizeof controls[i].trained);
        return DS_OK;
    }
    if (!rule->has_gates || !is_fixed_gate(name) || !parse_gate(&gate, name + strlen(fixed_gate)))
        return unknown(rule, name, where);
    trained[0] = trained[1] = (ds_force){DS_FORCE_GATE, gate};
    return DS_OK;
}

void ds_model_set_control(ds_model *model, const ds_force trained[2]) {
    memcpy(model->spec.trained, trained, sizeof model->spec.trained);
}

bool ds_spec_is_control(const ds_spec *spec) {
    return spec->trained[0].mode != DS_FORCE_NONE || spec->trained[1].mode != DS_FORCE_NONE;
}

char *ds_spec_rule_name(char name[48], const ds_spec *spec) {
    char digits[32];
    const char *found = spec->rule->name;
    if (spec->trained[0].mode == DS_FORCE_GATE) {
        ds_format_real(digits, spec->trained[0].value);
        (void)snprintf(name, 48, "%s%s%s", fixed_gate, digits, strpbrk(digits, ".e") == NULL ? ".0" : "");
        return name;
    }
    for (size_t i = 0; i < CONTROLS && ds_spec_is_control(spec); i++) {
        if (same_force(spec->trained[0], controls[i].trained[0]) && same_force(spec->trained[1], controls[i].trained[1]))
            found = controls[i].name;
    }
    (void)snprintf(name, 48, "%s", found);
    return name;
}

/* ---- configuration ---------------------------------------------------------------------------------------------------- */

ds_status ds_control_read(ds_spec *spec, const json_t *config, const char *where) {
    const json_t *rule = json_object_get(config, rule_key), *backbone = json_object_get(config, backbone_key);
    const char *type = json_string_value(json_object_get(config, "model_type"));
    bool own = type != NULL && strcmp(type, own_type) == 0;
    spec->trained[0] = spec->trained[1] = none;
    if (rule == NULL && backbone == NULL && !own) return DS_OK;
    if (!own)
        return ds_fail(DS_ERR_INPUT,
                       "%s: %s is given, but model_type is not \"%s\": another program would compute another rule",
                       DS_SHOW(where), rule != NULL ? rule_key : backbone_key, own_type);
    if (!json_is_string(rule))
        return ds_fail(DS_ERR_INPUT, "%s: model_type is \"%s\", which needs deltascope_rule, the name of a rule: found %s",
                       DS_SHOW(where), own_type, rule == NULL ? "none" : "no string");
    if (backbone != NULL && (!json_is_string(backbone) || strcmp(json_string_value(backbone), spec->backbone->name) != 0))
        return ds_fail(DS_ERR_INPUT, "%s: unsupported deltascope_backbone, expected \"%s\"", DS_SHOW(where),
                       spec->backbone->name);
    return ds_control_parse(spec->trained, spec->rule, json_string_value(rule), where);
}

const char *ds_told_rule(const json_t *config) {
    const char *base = json_string_value(json_object_get(config, base_key));
    return base != NULL ? base : json_string_value(json_object_get(config, rule_key));
}

bool ds_spec_is_published(const ds_spec *spec) {
    switch (spec->rule->kind) {
    case DS_KIND_ADDITIVE:
        return true;
    case DS_KIND_DELTA:
        return spec->backbone == &ds_backbone_ddl;
    case DS_KIND_DEPTH:
        return spec->backbone == &ds_backbone_qwen3;
    case DS_KIND_STREAMS:
        return spec->backbone == &ds_backbone_nanogpt;
    }
    return false;
}

/* A rule that tensors do not tell goes by its own name, the others are "delta". */
static int put_own(json_t *config, const ds_spec *spec) {
    char name[48];
    const bool named = spec->rule->kind == DS_KIND_DEPTH || spec->rule->kind == DS_KIND_STREAMS;
    static const char *const loaders[] = {"auto_map", "architectures"}; /* they name code that computes the plain rule */
    const char *rule = ds_spec_is_control(spec) ? ds_spec_rule_name(name, spec) : named ? spec->rule->name : controls[0].name;
    for (size_t i = 0; i < sizeof loaders / sizeof *loaders; i++) (void)json_object_del(config, loaders[i]);
    int failed = json_object_set_new(config, "model_type", json_string(own_type)) |
                 json_object_set_new(config, rule_key, json_string(rule)) |
                 json_object_set_new(config, backbone_key, json_string(spec->backbone->name));
    if (named && ds_spec_is_control(spec)) return failed | json_object_set_new(config, base_key, json_string(spec->rule->name));
    (void)json_object_del(config, base_key);
    return failed;
}

static int put_published(json_t *config, const ds_spec *spec) {
    if (spec->rule->kind == DS_KIND_STREAMS) return ds_streams_put(config, spec);
    if (spec->rule->kind != DS_KIND_DEPTH) return 0;
    return json_object_set_new(config, "model_type", json_string(ds_depth_model_type)) |
           json_object_set_new(config, "attnres_mode", json_string(ds_depth_mode(spec)));
}

ds_status ds_spec_put_rule(json_t *config, const ds_spec *spec) {
    const bool own = ds_spec_is_control(spec) || !ds_spec_is_published(spec) || json_object_get(config, rule_key) != NULL;
    if ((own ? put_own(config, spec) : put_published(config, spec)) == 0) return DS_OK;
    return ds_fail(DS_ERR_SYSTEM, "out of memory for a configuration");
}

const char *ds_spec_backbone_name(const ds_spec *spec) { return spec->backbone->name; }

/* ---- what a control does ---------------------------------------------------------------------------------------------- */

bool ds_sublayer_is_identity(const ds_spec *spec, size_t sublayer, ds_force force) {
    return spec->rule->is_identity(spec->trained[sublayer % 2], force);
}

bool ds_half_runs(const ds_spec *spec, size_t half) { return !ds_sublayer_is_identity(spec, half, none); }

bool ds_spec_has_operators(const ds_spec *spec) {
    return spec->rule->has_operators && spec->trained[0].mode != DS_FORCE_WRITE_ONLY &&
           spec->trained[1].mode != DS_FORCE_WRITE_ONLY;
}

double ds_spec_shortcut_mult(const ds_spec *spec) { return ds_spec_has_operators(spec) ? spec->residual_mult : 0; }

static void close_half(bool *reached, const ds_model *model, const ds_layer_weights *layer, size_t half) {
    const ds_parameter *attention[] = {layer->ln_1.weight, layer->ln_1.bias,   layer->query,      layer->key,
                                       layer->value,       layer->qkv,         layer->qkv_bias,   layer->query_bias,
                                       layer->key_bias,    layer->value_bias,  layer->attention,  layer->attention_bias,
                                       layer->key_shift,   layer->value_shift, layer->query_norm, layer->key_norm,
                                       layer->head_norm,   layer->output_norm, layer->output_gate};
    const ds_parameter *mlp[] = {layer->ln_2.weight, layer->ln_2.bias, layer->gate,    layer->up,
                                 layer->down,        layer->gate_bias, layer->up_bias, layer->down_bias};
    for (size_t i = 0; half == 0 && i < sizeof attention / sizeof *attention; i++) ds_unreach(reached, model, attention[i]);
    for (size_t i = 0; half == 1 && i < sizeof mlp / sizeof *mlp; i++) ds_unreach(reached, model, mlp[i]);
    if (!model->spec.rule->is_identity(closed, none)) return; /* the rule says what is left of it */
    for (size_t i = 0; i < DS_RULE_SLOTS; i++) ds_unreach(reached, model, layer->rule[half][i]);
}

void ds_model_reached(bool *reached, const ds_model *model, size_t length) {
    const ds_spec *spec = &model->spec;
    for (size_t i = 0; i < model->parameter_count; i++) reached[i] = true;
    for (size_t i = 0; i < spec->layers; i++) {
        const ds_layer_weights *layer = &model->layers[i];
        for (size_t half = 0; half < 2; half++) {
            bool shut = same_force(spec->trained[half], closed);
            if (shut) close_half(reached, model, layer, half);
            if (spec->rule->unreached != NULL && (!shut || !spec->rule->is_identity(closed, none)))
                spec->rule->unreached(reached, model, layer, half, spec->trained[half]);
        }
        if (same_force(spec->trained[0], closed) && same_force(spec->trained[1], closed)) {
            ds_unreach(reached, model, layer->compress.weight);
            ds_unreach(reached, model, layer->compress.read);
        }
        if (length > 1) continue; /* one token is not shifted */
        ds_unreach(reached, model, layer->key_shift);
        ds_unreach(reached, model, layer->value_shift);
    }
}
