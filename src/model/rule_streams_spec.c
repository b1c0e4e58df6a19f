#include "streams_spec.h"

#include <string.h>

#include "control.h"
#include "rule_streams.h"

const ds_rule *ds_stream_rule_at(size_t index) { return index < DS_STREAM_RULES ? &ds_stream_rules[index] : NULL; }

const ds_rule *ds_stream_rule_named(const char *name) {
    for (size_t i = 0; i < DS_STREAM_RULES; i++)
        if (strcmp(ds_stream_rules[i].name, name) == 0) return &ds_stream_rules[i];
    return NULL;
}

static const ds_rule *rule_of(ds_stream_kind kind) {
    size_t i = 0;
    while (*(const ds_stream_kind *)ds_stream_rules[i].form != kind) i++;
    return &ds_stream_rules[i];
}

/* ---- tensors ---------------------------------------------------------------------------------------------------------- */

/* The first tensor that says so, or NULL. */
typedef struct tensor_evidence {
    const ds_tensor *any, *logits, *alpha, *beta, *post_logits, *own_map, *shared_map, *scale;
    bool apart; /* branches are stored as the published nanoGPT does, not as branch_attn */
} tensor_evidence;

static bool ends(const char *name, const char *with) {
    size_t length = strlen(name), tail = strlen(with);
    return length >= tail && strcmp(name + length - tail, with) == 0;
}

static bool is_of_streams(const char *name) {
    return (strstr(name, ".hc_attn.") != NULL || strstr(name, ".hc_mlp.") != NULL) && strstr(name, ".branch.") == NULL;
}

static tensor_evidence examine(const ds_checkpoint *checkpoint) {
    tensor_evidence found = {0};
    const struct {
        const char *name;
        const ds_tensor **slot;
    } names[] = {{".H_res_logits", &found.logits},         {".H_post_logits", &found.post_logits},
                 {".static_alpha", &found.alpha},          {".static_beta", &found.beta},
                 {".dynamic_alpha_scale", &found.own_map}, {".h_post_scale", &found.shared_map},
                 {".dynamic_alpha_fn", &found.scale}};
    for (size_t i = 0; i < ds_checkpoint_count(checkpoint); i++) {
        const ds_tensor *tensor = ds_checkpoint_tensor(checkpoint, i);
        if (ends(tensor->name, ".ln_1.weight")) found.apart = true;
        if (!is_of_streams(tensor->name)) continue;
        if (found.any == NULL) found.any = tensor;
        for (size_t k = 0; k < sizeof names / sizeof *names; k++)
            if (ends(tensor->name, names[k].name) && *names[k].slot == NULL) *names[k].slot = tensor;
    }
    return found;
}

/* What the tensors alone are; NULL: of no rule. Names that two rules share are told apart by the layout. */
static const ds_rule *rule_by_tensors(const tensor_evidence *found) {
    if (found->logits != NULL) return rule_of(DS_STREAM_STATIC);
    if (found->shared_map != NULL)
        return rule_of(found->alpha != NULL && found->alpha->rank == 1 ? DS_STREAM_PERMUTED : DS_STREAM_SINKHORN);
    if (found->own_map != NULL || found->alpha != NULL) return rule_of(found->apart ? DS_STREAM_DROPPED : DS_STREAM_FREE);
    return NULL;
}

/* ---- configuration ---------------------------------------------------------------------------------------------------- */

/* What the configuration says: a rule, or with `told` that there is none. */
typedef struct claim {
    const ds_rule *rule;
    bool told;
    const char *key; /* that says so */
} claim;

static const struct {
    const char *type;
    ds_stream_kind kind;
} types[] = {{"hc", DS_STREAM_FREE}, {"mhc", DS_STREAM_SINKHORN}, {"mhc_lite", DS_STREAM_PERMUTED}};

static ds_status read_type(claim *said, const ds_config *config, const char *where) {
    *said = (claim){.told = true, .key = "hyper_conn_type"};
    if (strcmp(config->hyper_conn_type, "none") == 0 || config->streams == 1) return DS_OK;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(config->hyper_conn_type, types[i].type) == 0) said->rule = rule_of(types[i].kind);
    if (said->rule != NULL) return DS_OK;
    return ds_fail(DS_ERR_INPUT, "%s: unsupported hyper_conn_type \"%s\", expected \"none\", \"hc\", \"mhc\" or \"mhc_lite\"",
                   where, DS_SHOW(config->hyper_conn_type));
}

/* Of the fork whose configuration has hc_num_streams. */
static ds_status read_fork(claim *said, const ds_config *config, const char *where) {
    *said = (claim){.told = true, .key = "hc_num_streams"};
    if (config->fork_fractions != 1)
        return ds_fail(DS_ERR_INPUT, "%s: unsupported hc_num_fracs %zu, expected 1", where, config->fork_fractions);
    if (config->fork_value_residual)
        return ds_fail(DS_ERR_INPUT,
                       "%s: unsupported v_residual true, expected false: values of the first layer are not mixed in", where);
    if (config->fork_disabled || config->fork_streams == 1) return DS_OK;
    said->key = "mhc";
    said->rule = rule_of(config->fork_constrained ? DS_STREAM_STATIC : DS_STREAM_DROPPED);
    return DS_OK;
}

static ds_status read_published(claim *said, const ds_config *config, const char *where) {
    *said = (claim){.rule = NULL};
    if (config->hyper_conn_type != NULL) return read_type(said, config, where);
    if (config->fork_streams != 0) return read_fork(said, config, where);
    return DS_OK;
}

ds_status ds_streams_told(const ds_rule **rule, const char **key, const ds_config *config, const char *where) {
    claim said;
    ds_status status = read_published(&said, config, where);
    *rule = said.rule;
    *key = said.told ? said.key : NULL;
    return status;
}

static ds_status read_claim(claim *said, const ds_config *config, const json_t *object, const char *where) {
    const char *named = ds_told_rule(object);
    *said = (claim){.rule = named != NULL ? ds_stream_rule_named(named) : NULL, .key = "deltascope_rule"};
    return said->rule != NULL ? DS_OK : read_published(said, config, where);
}

/* The rule that both mean. The free one and that with its mixing left out have the same tensors. */
static ds_status settle(const ds_rule **rule, const claim *said, const tensor_evidence *found, const char *where) {
    const ds_rule *own = rule_by_tensors(found);
    *rule = said->rule != NULL ? said->rule : own;
    if (said->rule == NULL && said->told && found->any != NULL)
        return ds_fail(DS_ERR_INPUT, "%s: by %s there are no hyper-connections, but %s has tensor %s of them", where, said->key,
                       found->any->file, found->any->name);
    if (said->rule == NULL || own == NULL || own == said->rule) return DS_OK;
    const ds_rule *alike[] = {rule_of(DS_STREAM_FREE), rule_of(DS_STREAM_DROPPED)};
    if ((own == alike[0] && said->rule == alike[1]) || (own == alike[1] && said->rule == alike[0])) return DS_OK;
    const ds_tensor *tensor = found->logits != NULL       ? found->logits
                              : found->shared_map != NULL ? found->alpha != NULL ? found->alpha : found->shared_map
                                                          : found->any;
    return ds_fail(DS_ERR_INPUT, "%s: %s asks for rule %s, but %s has tensor %s as rule %s has it", where, said->key,
                   said->rule->name, tensor->file, tensor->name, own->name);
}

/* ---- streams ---------------------------------------------------------------------------------------------------------- */

/* How many a configuration says, 0: it does not; *key <- where. */
static size_t streams_told(const char **key, const ds_config *config, const json_t *object) {
    *key = config->fork_streams != 0 ? "hc_num_streams" : "hyper_conn_n";
    if (config->fork_streams != 0) return config->fork_streams;
    return json_is_integer(json_object_get(object, *key)) ? config->streams : 0;
}

/* The tensors have the say; what contradicts them is refused. */
static ds_status count_streams(ds_spec *spec, const ds_config *config, const json_t *object, const tensor_evidence *found,
                               const char *where) {
    const char *key;
    const ds_tensor *tensor = ds_stream_kind_of(spec) == DS_STREAM_STATIC ? found->post_logits : found->beta;
    size_t told = streams_told(&key, config, object);
    spec->streams.count = told != 0 ? told : config->streams;
    if (tensor != NULL && tensor->rank == 1 && tensor->shape[0] <= DS_MOST_HIDDEN) {
        spec->streams.count = (size_t)tensor->shape[0];
        if (told != 0 && told != spec->streams.count)
            return ds_fail(DS_ERR_INPUT, "%s: %s is %zu, but %s has tensor %s of %zu streams", where, key, told, tensor->file,
                           tensor->name, spec->streams.count);
    }
    size_t most = ds_stream_kind_of(spec) == DS_STREAM_PERMUTED ? DS_MOST_PERMUTED : DS_MOST_STREAMS;
    if (spec->streams.count >= 2 && spec->streams.count <= most) return DS_OK;
    return ds_fail(DS_ERR_INPUT, "%s: %zu streams are out of range, expected 2 to %zu for rule %s%s", where,
                   spec->streams.count, most, spec->rule->name,
                   most == DS_MOST_PERMUTED ? ", whose tensors have a column for every order of them" : "");
}

/* What R is made by. */
static ds_status read_matrix(ds_stream_spec *streams, const ds_rule *rule, const ds_config *config, const char *where) {
    *streams = (ds_stream_spec){.count = streams->count, .rounds = DS_SINKHORN_ROUNDS, .temperature = 1};
    if (rule != rule_of(DS_STREAM_STATIC)) return DS_OK;
    streams->rounds = config->sinkhorn_rounds;
    streams->temperature = config->sinkhorn_temperature;
    streams->steps = config->schulz_steps;
    streams->eps = config->schulz_eps;
    memcpy(streams->coefficients, config->schulz_coefficients, sizeof streams->coefficients);
    const char *name = config->matrix_form != NULL ? config->matrix_form : "sinkhorn";
    streams->orthostochastic = strcmp(name, "orthostochastic") == 0;
    if (streams->orthostochastic || strcmp(name, "sinkhorn") == 0) return DS_OK;
    return ds_fail(DS_ERR_INPUT, "%s: unsupported mhc_h_res_proj \"%s\", expected \"sinkhorn\" or \"orthostochastic\"", where,
                   DS_SHOW(name));
}

ds_status ds_streams_detect(ds_spec *spec, const ds_config *config, const json_t *object, const ds_checkpoint *checkpoint,
                            const char *where) {
    ds_status status = DS_OK;
    const ds_rule *rule = NULL;
    const tensor_evidence found = examine(checkpoint);
    claim said;
    DS_TRY(read_claim(&said, config, object, where));
    DS_TRY(settle(&rule, &said, &found, where));
    if (rule == NULL) return DS_OK;
    spec->rule = rule;
    DS_TRY(count_streams(spec, config, object, &found, where));
    DS_TRY(read_matrix(&spec->streams, rule, config, where));
    spec->streams.dynamic = found.scale != NULL || (found.any != NULL && found.alpha == NULL && found.logits == NULL);
done:
    return status;
}

/* ---- a configuration alone -------------------------------------------------------------------------------------------- */

ds_status ds_streams_set(ds_spec *spec, const ds_config *config, const json_t *object, const ds_rule *rule, const char *where) {
    ds_status status = DS_OK;
    const tensor_evidence none = {.any = NULL};
    spec->rule = rule;
    DS_TRY(count_streams(spec, config, object, &none, where));
    DS_TRY(read_matrix(&spec->streams, rule, config, where));
    spec->streams.dynamic = ds_stream_kind_of(spec) != DS_STREAM_STATIC;
    /* the fork that has these two names branches as the published nanoGPT does, the other one does not */
    if (spec->backbone == &ds_backbone_nanogpt)
        spec->newer_names = ds_stream_kind_of(spec) == DS_STREAM_STATIC || ds_stream_kind_of(spec) == DS_STREAM_DROPPED;
done:
    return status;
}

/* The keys of one program and of the other: of those that do not ask for the rule none stays. */
int ds_streams_put(json_t *config, const ds_spec *spec) {
    static const char *const keys[] = {"hyper_conn_type", "hyper_conn_n", "hc_num_streams", "mhc"};
    const ds_stream_kind kind = ds_stream_kind_of(spec);
    const char *type = NULL;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (types[i].kind == kind) type = types[i].type;
    for (size_t i = 0; i < 2; i++) (void)json_object_del(config, keys[i + (type != NULL ? 2 : 0)]);
    return json_object_set_new(config, keys[type != NULL ? 1 : 2], json_integer((json_int_t)spec->streams.count)) |
           (type != NULL ? json_object_set_new(config, keys[0], json_string(type))
                         : json_object_set_new(config, keys[3], json_boolean(kind == DS_STREAM_STATIC)));
}
