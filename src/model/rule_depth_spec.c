#include "depth_spec.h"

#include <string.h>

#include "control.h"
#include "rule_depth.h"

/* The published code's attnres_mode; `cumulative` where its tensors have a recency bias. */
static const struct {
    const char *mode, *rule, *cumulative;
} modes[] = {
    {"full", "attnres-full", "attnres-cumulative-full"},
    {"block", "attnres-block", "attnres-cumulative-block"},
    {"delta", "delta-attnres", NULL},
    {"delta_block", "delta-attnres-block", NULL},
    {"delta_replace", "delta-replace", NULL},
    {"full_additive", "full-additive", NULL},
};
static const char default_mode[] = "block";

const ds_rule *ds_depth_rule_at(size_t index) { return &ds_depth_rules[index]; }

const ds_rule *ds_depth_rule_named(const char *name) {
    for (size_t i = 0; i < DS_DEPTH_RULES; i++)
        if (strcmp(ds_depth_rules[i].name, name) == 0) return &ds_depth_rules[i];
    return NULL;
}

/* ---- tensors ---------------------------------------------------------------------------------------------------------- */

/* The first tensor that says so, or NULL. */
typedef struct tensor_evidence {
    const ds_tensor *query, *bias, *logit, *alpha, *vector, *null, *readout;
} tensor_evidence;

static bool ends(const char *name, const char *with) {
    size_t length = strlen(name), tail = strlen(with);
    return length >= tail && strcmp(name + length - tail, with) == 0;
}

/* Of a layer: "3.attn_" or "3.mlp_" before the rest. */
static tensor_evidence examine(const ds_checkpoint *checkpoint) {
    tensor_evidence found = {0};
    const struct {
        const char *name;
        const ds_tensor **slot;
    } names[] = {{"final_res_proj.weight", &found.readout}, {"final_res_norm.weight", &found.readout},
                 {"_res_proj.weight", &found.query},        {"_res_bias", &found.bias},
                 {"_res_gate_logit", &found.logit},         {"_res_alpha", &found.alpha},
                 {"_res_gate_proj.weight", &found.vector},  {"_null_source", &found.null}};
    for (size_t i = 0; i < ds_checkpoint_count(checkpoint); i++) {
        const ds_tensor *tensor = ds_checkpoint_tensor(checkpoint, i);
        for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
            if (!ends(tensor->name, names[k].name)) continue;
            if (*names[k].slot == NULL) *names[k].slot = tensor;
            break;
        }
    }
    return found;
}

/* ---- configuration ---------------------------------------------------------------------------------------------------- */

/* The rule by its published mode. */
static ds_status by_mode(const ds_rule **rule, const ds_config *config, const tensor_evidence *found, const char *where) {
    const char *mode = config->depth_mode != NULL ? config->depth_mode : default_mode;
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        if (strcmp(mode, modes[i].mode) != 0) continue;
        const char *name = found->bias != NULL ? modes[i].cumulative : modes[i].rule;
        if (name != NULL) *rule = ds_depth_rule_named(name);
        if (name != NULL) return DS_OK;
        return ds_fail(DS_ERR_INPUT,
                       "%s: attnres_mode is \"%s\", but %s has tensor %s of a recency bias, expected \"full\" or \"block\"",
                       where, modes[i].mode, found->bias->file, found->bias->name);
    }
    return ds_fail(DS_ERR_INPUT,
                   "%s: unsupported attnres_mode \"%s\", expected \"full\", \"block\", \"delta\", \"delta_block\", "
                   "\"delta_replace\" or \"full_additive\"",
                   where, DS_SHOW(mode));
}

/* NULL: the configuration names no rule of depth. */
static ds_status find_rule(const ds_rule **rule, const ds_config *config, const json_t *object, const tensor_evidence *found,
                           const char *where) {
    const char *type = json_string_value(json_object_get(object, "model_type"));
    const char *named = ds_told_rule(object);
    *rule = named != NULL ? ds_depth_rule_named(named) : NULL;
    if (*rule != NULL) return DS_OK;
    if (named == NULL && type != NULL && strcmp(type, ds_depth_model_type) == 0) return by_mode(rule, config, found, where);
    if (found->query == NULL) return DS_OK;
    return ds_fail(DS_ERR_INPUT,
                   "%s: %s has tensor %s of attention over depth, which neither model_type \"%s\" nor deltascope_rule asks for",
                   where, found->query->file, found->query->name, ds_depth_model_type);
}

/* The gate as the tensors have it; the configuration may only deny it, or ask for one that is not there. */
static ds_status find_gate(ds_spec *spec, const ds_config *config, const tensor_evidence *found, const char *where) {
    const ds_tensor *gate = found->logit != NULL ? found->logit : found->alpha != NULL ? found->alpha : found->vector;
    bool none =
        config->depth_gate == NULL || strcmp(config->depth_gate, "bias") == 0 || strcmp(config->depth_gate, "none") == 0;
    if (none && gate != NULL)
        return ds_fail(DS_ERR_INPUT, "%s: attnres_gate_type is \"%s\", but %s has tensor %s of a gate", where,
                       config->depth_gate != NULL ? config->depth_gate : "bias", gate->file, gate->name);
    if (!none && gate == NULL)
        return ds_fail(DS_ERR_INPUT, "%s: attnres_gate_type is \"%s\", but no tensor is a gate of it, expected \"bias\"", where,
                       DS_SHOW(config->depth_gate));
    spec->depth_gate = found->logit != NULL    ? DS_DEPTH_LOGIT
                       : found->alpha != NULL  ? DS_DEPTH_ALPHA
                       : found->vector != NULL ? DS_DEPTH_VECTOR
                                               : DS_DEPTH_UNGATED;
    return DS_OK;
}

/* What the rule has no place for would be left out in silence. */
static ds_status check_rule(const ds_spec *spec, const ds_config *config, const tensor_evidence *found, const char *where) {
    const ds_depth_form *form = ds_depth_form_of(spec);
    const struct {
        const ds_tensor *tensor;
        bool wanted;
        const char *what;
    } parts[] = {{found->readout, form->routes_readout, "a readout that is routed"},
                 {found->bias, form->takes_bias, "a recency bias"},
                 {found->null, form->takes_null && config->depth_null, "a null source"}};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (parts[i].tensor == NULL || parts[i].wanted) continue;
        return ds_fail(DS_ERR_INPUT, "%s: %s has tensor %s of %s, which %s%s has not", where, parts[i].tensor->file,
                       parts[i].tensor->name, parts[i].what, spec->rule->name,
                       form->takes_null && i == 2 ? " without attnres_use_null_source" : "");
    }
    if (config->depth_null && !form->takes_null)
        return ds_fail(DS_ERR_INPUT, "%s: attnres_use_null_source is true, which %s has no place for", where, spec->rule->name);
    return DS_OK;
}

static void set_rule(ds_spec *spec, const ds_config *config, const ds_rule *rule) {
    spec->rule = rule;
    spec->depth_blocks = config->depth_blocks;
    spec->depth_null = config->depth_null;
    spec->depth_bias_init = config->depth_bias_init;
}

ds_status ds_depth_detect(ds_spec *spec, const ds_config *config, const json_t *object, const ds_checkpoint *checkpoint,
                          const char *where) {
    ds_status status = DS_OK;
    const ds_rule *rule = NULL;
    const tensor_evidence found = examine(checkpoint);
    DS_TRY(find_rule(&rule, config, object, &found, where));
    if (rule == NULL) return DS_OK;
    set_rule(spec, config, rule);
    DS_TRY(check_rule(spec, config, &found, where));
    DS_TRY(find_gate(spec, config, &found, where));
done:
    return status;
}

/* ---- a configuration alone -------------------------------------------------------------------------------------------- */

const char *ds_depth_mode(const ds_spec *spec) {
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        if (strcmp(modes[i].rule, spec->rule->name) == 0) return modes[i].mode;
        if (modes[i].cumulative != NULL && strcmp(modes[i].cumulative, spec->rule->name) == 0) return modes[i].mode;
    }
    return NULL;
}

static ds_status gate_by_name(ds_depth_gate *gate, const char *name, const char *where) {
    static const struct {
        const char *name;
        ds_depth_gate gate;
    } gates[] = {{"bias", DS_DEPTH_UNGATED},
                 {"none", DS_DEPTH_UNGATED},
                 {"sigmoid_scalar", DS_DEPTH_LOGIT},
                 {"sigmoid_vector", DS_DEPTH_VECTOR},
                 {"learnable_alpha", DS_DEPTH_ALPHA}};
    *gate = DS_DEPTH_UNGATED;
    for (size_t i = 0; name != NULL && i < sizeof gates / sizeof *gates; i++) {
        if (strcmp(name, gates[i].name) != 0) continue;
        *gate = gates[i].gate;
        return DS_OK;
    }
    if (name == NULL) return DS_OK;
    return ds_fail(DS_ERR_INPUT,
                   "%s: unsupported attnres_gate_type \"%s\", expected \"bias\", \"sigmoid_scalar\", \"sigmoid_vector\" or "
                   "\"learnable_alpha\"",
                   DS_SHOW(where), DS_SHOW(name));
}

ds_status ds_depth_set(ds_spec *spec, const ds_config *config, const ds_rule *rule, const char *where) {
    ds_status status = DS_OK;
    const tensor_evidence none = {0};
    set_rule(spec, config, rule);
    if (config->depth_mode != NULL && strcmp(config->depth_mode, ds_depth_mode(spec)) != 0)
        return ds_fail(DS_ERR_INPUT, "%s: attnres_mode is \"%s\", but the variant is %s, which is \"%s\"", DS_SHOW(where),
                       DS_SHOW(config->depth_mode), rule->name, ds_depth_mode(spec));
    DS_TRY(check_rule(spec, config, &none, where));
    DS_TRY(gate_by_name(&spec->depth_gate, config->depth_gate, where));
done:
    return status;
}
