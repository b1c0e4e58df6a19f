/* The parts of a transformer by the names its own code gives them, and a Linear layer of the plain model whatever its storage:
 * several in one, inputs first, with a bias or without. */
#include <stdlib.h>
#include <string.h>

#include "plain_model.h"

/* Names by kind of backbone; `other` is a second spelling. A bias has its weight's name but for the last word. */
typedef struct part_names {
    const char *name, *other;
} part_names;

enum { DDL, QWEN, GPT, KINDS };
static const char *const layers[KINDS] = {"transformer.h.", "model.layers.", "transformer.h."};
static const char *const prefixes[KINDS] = {"", "model.", ""}; /* of what a rule has beside the layers */

static const part_names names[DS_PLAIN_PARTS][KINDS] = {
    [DS_PLAIN_EMBEDDING] = {{"transformer.wte.weight", NULL},
                            {"model.embed_tokens.weight", NULL},
                            {"transformer.wte.weight", NULL}},
    [DS_PLAIN_POSITIONS] = {[GPT] = {"transformer.wpe.weight", NULL}},
    [DS_PLAIN_HEAD] = {{"lm_head.weight", NULL}, {"lm_head.weight", NULL}, {"lm_head.weight", NULL}},
    [DS_PLAIN_FINAL_NORM] = {{"transformer.ln_f.weight", "ln_f.weight"},
                             {"model.norm.weight", NULL},
                             {"transformer.ln_f.weight", NULL}},
    [DS_PLAIN_ATTENTION_NORM] = {{"ln_1.weight", NULL},
                                 {"input_layernorm.weight", NULL},
                                 {"ln_1.weight", "branch_attn.0.weight"}},
    [DS_PLAIN_MLP_NORM] = {{"ln_2.weight", NULL},
                           {"post_attention_layernorm.weight", NULL},
                           {"ln_2.weight", "branch_mlp.0.weight"}},
    [DS_PLAIN_QUERY] = {{"attn.c_q.weight", NULL}, {"self_attn.q_proj.weight", NULL}},
    [DS_PLAIN_KEY] = {{"attn.c_k.weight", "attn.c_k.linear.weight"}, {"self_attn.k_proj.weight", NULL}},
    [DS_PLAIN_VALUE] = {{"attn.c_v.weight", "attn.c_v.linear.weight"}, {"self_attn.v_proj.weight", NULL}},
    [DS_PLAIN_QKV] = {[GPT] = {"attn.c_attn.weight", "branch_attn.1.c_attn.weight"}},
    [DS_PLAIN_QUERY_NORM] = {{"attn.q_rms.weight", NULL}, {"self_attn.q_norm.weight", NULL}},
    [DS_PLAIN_KEY_NORM] = {{"attn.k_rms.weight", NULL}, {"self_attn.k_norm.weight", NULL}},
    [DS_PLAIN_OUTPUT] = {{"attn.c_proj.weight", "attn.o_proj.weight"},
                         {"self_attn.o_proj.weight", NULL},
                         {"attn.c_proj.weight", "branch_attn.1.c_proj.weight"}},
    [DS_PLAIN_GATE] = {{"mlp.c_fc1.weight", NULL}, {"mlp.gate_proj.weight", NULL}},
    [DS_PLAIN_UP] = {{"mlp.c_fc2.weight", NULL}, {"mlp.up_proj.weight", NULL}, {"mlp.c_fc.weight", "branch_mlp.1.c_fc.weight"}},
    [DS_PLAIN_DOWN] = {{"mlp.c_proj.weight", "mlp.o_proj.weight"},
                       {"mlp.down_proj.weight", NULL},
                       {"mlp.c_proj.weight", "branch_mlp.1.c_proj.weight"}},
};

bool ds_plain_is_gpt(const ds_spec *spec) {
    return spec->backbone == &ds_backbone_nanogpt || spec->backbone == &ds_backbone_gpt2;
}

static size_t kind_of(const ds_spec *spec) {
    if (ds_plain_is_gpt(spec)) return GPT;
    return spec->backbone == &ds_backbone_ddl ? DDL : QWEN;
}

const double *ds_plain_find(const ds_model *model, const char *name, const char *other) {
    for (size_t i = 0; i < ds_model_parameters(model); i++) {
        const ds_parameter *parameter = ds_model_parameter(model, i);
        const char *const own[] = {parameter->name, parameter->older_name};
        for (size_t n = 0; n < 2; n++) {
            if (strcmp(own[n], name) == 0 || (other != NULL && strcmp(own[n], other) == 0)) return parameter->values;
        }
    }
    return NULL;
}

const double *ds_plain_of(const ds_plain *plain, size_t layer, const char *name, const char *other) {
    char full[96], full_other[96];
    const char *prefix = layers[kind_of(plain->spec)];
    (void)snprintf(full, sizeof full, "%s%zu.%s", prefix, layer, name);
    (void)snprintf(full_other, sizeof full_other, "%s%zu.%s", prefix, layer, other == NULL ? name : other);
    return ds_plain_find(plain->model, full, full_other);
}

const double *ds_plain_of_rule(const ds_plain *plain, const char *name, const char *other) {
    char full[96], full_other[96];
    const char *prefix = prefixes[kind_of(plain->spec)];
    (void)snprintf(full, sizeof full, "%s%s", prefix, name);
    (void)snprintf(full_other, sizeof full_other, "%s%s", prefix, other == NULL ? name : other);
    return ds_plain_find(plain->model, full, full_other);
}

static const double *find_part(const ds_plain *plain, size_t layer, part_names part) {
    if (part.name == NULL) return NULL;
    return layer == DS_PLAIN_NO_LAYER ? ds_plain_find(plain->model, part.name, part.other)
                                      : ds_plain_of(plain, layer, part.name, part.other);
}

const double *ds_plain_weight(const ds_plain *plain, size_t layer, ds_plain_part part) {
    return find_part(plain, layer, names[part][kind_of(plain->spec)]);
}

/* "x.weight" as "x.bias". */
static const char *bias_name(char bias[96], const char *weight) {
    if (weight == NULL) return NULL;
    (void)snprintf(bias, 96, "%.*sbias", (int)(strlen(weight) - strlen("weight")), weight);
    return bias;
}

const double *ds_plain_bias(const ds_plain *plain, size_t layer, ds_plain_part part) {
    char name[96], other[96];
    part_names weight = names[part][kind_of(plain->spec)];
    return find_part(plain, layer, (part_names){bias_name(name, weight.name), bias_name(other, weight.other)});
}

const double *ds_plain_head(const ds_plain *plain) {
    return ds_plain_weight(plain, DS_PLAIN_NO_LAYER, plain->spec->own_head ? DS_PLAIN_HEAD : DS_PLAIN_EMBEDDING);
}

/* NOLINTNEXTLINE(readability-non-const-parameter): y is written */
ds_status ds_plain_linear(double *y, const double *x, const double *weight, size_t rows, size_t out, size_t in) {
    ds_arithmetic none = ds_arithmetic_exact();
    return ds_bounded_linear((ds_bounded){y, NULL}, (ds_bounded){(double *)(uintptr_t)x, NULL}, weight, rows, out, in, false,
                             &none);
}

ds_status ds_plain_project(ds_bounded y, ds_bounded x, ds_plain *plain, size_t layer, ds_plain_part part, size_t out,
                           size_t in) {
    ds_status status = DS_OK;
    const bool joined = ds_plain_is_gpt(plain->spec) && part >= DS_PLAIN_QUERY && part <= DS_PLAIN_VALUE;
    const size_t first = joined ? (size_t)(part - DS_PLAIN_QUERY) * out : 0, stride = joined ? 3 * out : out;
    const ds_plain_part stored = joined ? DS_PLAIN_QKV : part;
    const double *weight = ds_plain_weight(plain, layer, stored), *bias = ds_plain_bias(plain, layer, stored);
    double *turned = NULL;
    if (plain->spec->backbone == &ds_backbone_gpt2) {
        DS_NEW_ARRAY(turned, out * in);
        for (size_t o = 0; o < out; o++)
            for (size_t i = 0; i < in; i++) turned[o * in + i] = weight[i * stride + first + o];
        weight = turned;
    } else {
        weight += first * in;
    }
    DS_TRY(ds_bounded_linear(y, x, weight, plain->length, out, in, false, &plain->arithmetic));
    if (bias != NULL) ds_bounded_add_bias(y, bias + first, plain->length, out, plain->arithmetic.u, &plain->arithmetic);
done:
    free(turned);
    return status;
}

void ds_plain_norm(ds_bounded y, ds_bounded x, const ds_plain *plain, size_t layer, ds_plain_part part) {
    const ds_spec *spec = plain->spec;
    const double *weight = ds_plain_weight(plain, layer, part);
    if (ds_plain_is_gpt(spec))
        ds_bounded_layernorm(y, x, weight, ds_plain_bias(plain, layer, part), plain->length, spec->hidden, spec->norm_eps,
                             &plain->arithmetic);
    else
        ds_bounded_rmsnorm(y, x, weight, plain->length, spec->hidden, spec->norm_eps, &plain->arithmetic);
}
