#include <stdlib.h>
#include <string.h>

#include "parameters.h"

/* Extents as the configuration calls them. */
typedef enum table_extent {
    NONE,
    ONE,
    VOCAB,
    HIDDEN,
    ATTENTION, /* H*h */
    HEADS,
    HEAD_DIM,
    MLP,
    GATE,
    CHANNELS,
    KERNEL,
    INPUT_KERNEL,
    STATE, /* d*dv: row i*dv+j is feature i, channel j */
} table_extent;

typedef enum table_condition {
    ALWAYS,
    IF_INPUT,
    IF_EXPANDED,
    IF_TC,
    IF_CC,
    IF_QK_NORM,
    IF_HEAD_NORM,
    IF_OUTPUT_GATE,
    IF_OUTPUT_NORM,
    IF_KEY_SHIFT,
    IF_KEY_PLAIN,
    IF_VALUE_SHIFT,
    IF_VALUE_PLAIN,
    IF_GATE_ONE,
    IF_GATE_TWO,
    IF_VALUE,
} table_condition;

enum { SHAPE_RANK = 3 };

typedef struct table_spelling {
    const char *name;
    table_extent shape[SHAPE_RANK];
} table_spelling;

typedef struct table_row {
    table_spelling older, newer; /* newer.name NULL: the same */
    const char *role;
    ds_group group;
    table_condition condition;
    size_t slot; /* of the const ds_parameter * in ds_model, ds_layer_weights or ds_delta_weights */
} table_row;

#define SAME                                                                                                                   \
    {                                                                                                                          \
        NULL, { NONE }                                                                                                         \
    }

static const table_row front[] = {
    {{"transformer.wte.weight", {VOCAB, HIDDEN}},
     SAME,
     "token embedding",
     DS_GROUP_EMBEDDING,
     ALWAYS,
     offsetof(ds_model, embedding)},
    {{"input_embed.conv.weight", {STATE, ONE, INPUT_KERNEL}},
     {"input_embed.weight", {HIDDEN, CHANNELS, INPUT_KERNEL}},
     "input convolution",
     DS_GROUP_COMPRESSOR,
     IF_INPUT,
     offsetof(ds_model, input.weight)},
};

#define LAYER(member) offsetof(ds_layer_weights, member)
static const table_row layer_rows[] = {
    {{"compress.weight", {HIDDEN, KERNEL}}, SAME, "compressor weight", DS_GROUP_COMPRESSOR, IF_CC, LAYER(compress.weight)},
    {{"compress.shortconv.weight", {STATE, KERNEL}},
     {"compress.weight", {HIDDEN, CHANNELS, KERNEL}},
     "compressor weight",
     DS_GROUP_COMPRESSOR,
     IF_TC,
     LAYER(compress.weight)},
    {{"compress.read", {CHANNELS}}, SAME, "compressor read vector", DS_GROUP_COMPRESSOR, IF_EXPANDED, LAYER(compress.read)},
    {{"ln_1.weight", {HIDDEN}}, SAME, "attention pre-norm", DS_GROUP_NORMS, ALWAYS, LAYER(ln_1)},
    {{"attn.c_q.weight", {ATTENTION, HIDDEN}}, SAME, "query projection", DS_GROUP_ATTENTION, ALWAYS, LAYER(query)},
    {{"attn.c_k.weight", {ATTENTION, HIDDEN}}, SAME, "key projection", DS_GROUP_ATTENTION, IF_KEY_PLAIN, LAYER(key)},
    {{"attn.c_k.linear.weight", {ATTENTION, HIDDEN}}, SAME, "key projection", DS_GROUP_ATTENTION, IF_KEY_SHIFT, LAYER(key)},
    {{"attn.c_k.shift_proj.weight", {HEADS, HIDDEN}}, SAME, "key shift", DS_GROUP_ATTENTION, IF_KEY_SHIFT, LAYER(key_shift)},
    {{"attn.c_v.weight", {ATTENTION, HIDDEN}}, SAME, "value projection", DS_GROUP_ATTENTION, IF_VALUE_PLAIN, LAYER(value)},
    {{"attn.c_v.linear.weight", {ATTENTION, HIDDEN}},
     SAME,
     "value projection",
     DS_GROUP_ATTENTION,
     IF_VALUE_SHIFT,
     LAYER(value)},
    {{"attn.c_v.shift_proj.weight", {HEADS, HIDDEN}},
     SAME,
     "value shift",
     DS_GROUP_ATTENTION,
     IF_VALUE_SHIFT,
     LAYER(value_shift)},
    {{"attn.q_rms.weight", {HEAD_DIM}}, SAME, "query norm", DS_GROUP_NORMS, IF_QK_NORM, LAYER(query_norm)},
    {{"attn.k_rms.weight", {HEAD_DIM}}, SAME, "key norm", DS_GROUP_NORMS, IF_QK_NORM, LAYER(key_norm)},
    {{"attn.subln.weight", {HEAD_DIM}}, SAME, "head norm", DS_GROUP_NORMS, IF_HEAD_NORM, LAYER(head_norm)},
    {{"attn.o_norm.weight", {HEAD_DIM}}, SAME, "output norm", DS_GROUP_NORMS, IF_OUTPUT_NORM, LAYER(output_norm)},
    {{"attn.g_proj.weight", {ATTENTION, HIDDEN}}, SAME, "output gate", DS_GROUP_ATTENTION, IF_OUTPUT_GATE, LAYER(output_gate)},
    {{"attn.c_proj.weight", {HIDDEN, ATTENTION}},
     {"attn.o_proj.weight", {HIDDEN, ATTENTION}},
     "attention output",
     DS_GROUP_ATTENTION,
     ALWAYS,
     LAYER(attention)},
};
static const table_row mlp_rows[] = {
    {{"ln_2.weight", {HIDDEN}}, SAME, "MLP pre-norm", DS_GROUP_NORMS, ALWAYS, LAYER(ln_2)},
    {{"mlp.c_fc1.weight", {MLP, HIDDEN}}, SAME, "MLP gate", DS_GROUP_MLP, ALWAYS, LAYER(gate)},
    {{"mlp.c_fc2.weight", {MLP, HIDDEN}}, SAME, "MLP up projection", DS_GROUP_MLP, ALWAYS, LAYER(up)},
    {{"mlp.c_proj.weight", {HIDDEN, MLP}},
     {"mlp.o_proj.weight", {HIDDEN, MLP}},
     "MLP down projection",
     DS_GROUP_MLP,
     ALWAYS,
     LAYER(down)},
};

#define DELTA(member) offsetof(ds_delta_weights, member)
static const table_row delta_rows[] = {
    {{"beta.weight", {ONE, HIDDEN}}, SAME, "delta gate weight", DS_GROUP_DELTA, IF_GATE_ONE, DELTA(beta)},
    {{"beta.bias", {ONE}}, SAME, "delta gate bias", DS_GROUP_DELTA, IF_GATE_ONE, DELTA(beta_bias)},
    {{"beta_in.weight", {GATE, HIDDEN}}, SAME, "delta gate, first layer", DS_GROUP_DELTA, IF_GATE_TWO, DELTA(beta_in)},
    {{"beta_out.weight", {ONE, GATE}}, SAME, "delta gate, second layer", DS_GROUP_DELTA, IF_GATE_TWO, DELTA(beta_out)},
    {{"beta_out.bias", {ONE}}, SAME, "delta gate bias", DS_GROUP_DELTA, IF_GATE_TWO, DELTA(out_bias)},
    {{"v_proj.weight", {CHANNELS, HIDDEN}}, SAME, "delta value weight", DS_GROUP_DELTA, IF_VALUE, DELTA(value)},
    {{"v_proj.bias", {CHANNELS}}, SAME, "delta value bias", DS_GROUP_DELTA, IF_VALUE, DELTA(value_bias)},
};

static const table_row back[] = {
    {{"readout.weight", {HIDDEN, KERNEL}},
     SAME,
     "readout weight",
     DS_GROUP_COMPRESSOR,
     IF_CC,
     offsetof(ds_model, readout.weight)},
    {{"readout.shortconv.weight", {STATE, KERNEL}},
     {"readout.weight", {HIDDEN, CHANNELS, KERNEL}},
     "readout weight",
     DS_GROUP_COMPRESSOR,
     IF_TC,
     offsetof(ds_model, readout.weight)},
    {{"readout.read", {CHANNELS}},
     SAME,
     "readout read vector",
     DS_GROUP_COMPRESSOR,
     IF_EXPANDED,
     offsetof(ds_model, readout.read)},
    {{"ln_f.weight", {HIDDEN}}, SAME, "final norm", DS_GROUP_NORMS, ALWAYS, offsetof(ds_model, final_norm)},
};

static bool holds(const ds_spec *spec, table_condition condition) {
    switch (condition) {
    case ALWAYS:
        return true;
    case IF_INPUT:
        return spec->input_conv;
    case IF_EXPANDED:
        return spec->compressor != DS_COMPRESS_NONE;
    case IF_TC:
        return spec->compressor == DS_COMPRESS_TC;
    case IF_CC:
        return spec->compressor == DS_COMPRESS_CC;
    case IF_QK_NORM:
        return spec->qk_norm;
    case IF_HEAD_NORM:
        return spec->head_norm;
    case IF_OUTPUT_GATE:
        return spec->output_gate;
    case IF_OUTPUT_NORM:
        return spec->output_gate && !spec->head_norm;
    case IF_KEY_SHIFT:
        return spec->k_shift;
    case IF_KEY_PLAIN:
        return !spec->k_shift;
    case IF_VALUE_SHIFT:
        return spec->v_shift;
    case IF_VALUE_PLAIN:
        return !spec->v_shift;
    case IF_GATE_ONE:
        return !spec->gate_two_layer;
    case IF_GATE_TWO:
        return spec->gate_two_layer;
    case IF_VALUE:
        return !spec->value_constant;
    }
    return false;
}

static size_t extent_of(const ds_spec *spec, table_extent extent) {
    switch (extent) {
    case NONE:
        return 0;
    case ONE:
        return 1;
    case VOCAB:
        return spec->vocab;
    case HIDDEN:
        return spec->hidden;
    case ATTENTION:
        return spec->heads * spec->head_dim;
    case HEADS:
        return spec->heads;
    case HEAD_DIM:
        return spec->head_dim;
    case MLP:
        return spec->mlp_hidden;
    case GATE:
        return spec->gate_hidden;
    case CHANNELS:
        return spec->value_channels;
    case KERNEL:
        return spec->state_kernel;
    case INPUT_KERNEL:
        return spec->input_kernel;
    case STATE:
        return spec->hidden * spec->value_channels;
    }
    return 0;
}

static const char *extent_name(table_extent extent) {
    static const char *const names[] = {"",
                                        "1",
                                        "vocab_size",
                                        "hidden_size",
                                        "num_attention_heads*head_dim",
                                        "num_attention_heads",
                                        "head_dim",
                                        "rows of mlp.c_fc1",
                                        "ddl_beta_hidden_size",
                                        "ddl_value_channels",
                                        "ddl_state_shortconv_kernel_size",
                                        "input_embed_shortconv_kernel_size",
                                        "hidden_size*ddl_value_channels"};
    return names[extent];
}

/* One parameter the specification needs, while the table is walked. */
typedef struct table_entry {
    ds_label label;
    const table_extent *extents;
    ds_group group;
    size_t rank;
    size_t shape[SHAPE_RANK];
    const ds_tensor *tensor; /* NULL without a checkpoint, or when it is missing */
    size_t layer;            /* SIZE_MAX: the slot is in ds_model, otherwise in its layer */
    size_t slot;
} table_entry;

typedef ds_status (*table_visit)(void *context, const table_entry *expected);

/* Where in the table the walk is. */
typedef struct table_place {
    const ds_spec *spec;
    const ds_checkpoint *checkpoint;
    const char *prefix, *suffix; /* of names, of roles */
    size_t layer, base;          /* base is added to the rows' slots */
} table_place;

static void spell(table_entry *expected, const table_place *at, const table_row *row, bool newer) {
    const table_spelling *spelling = newer && row->newer.name != NULL ? &row->newer : &row->older;
    (void)snprintf(expected->label.name, sizeof expected->label.name, "%s%s", at->prefix, spelling->name);
    expected->extents = spelling->shape;
    expected->rank = 0;
    for (size_t i = 0; i < SHAPE_RANK && spelling->shape[i] != NONE; i++)
        expected->shape[expected->rank++] = extent_of(at->spec, spelling->shape[i]);
    expected->tensor = at->checkpoint == NULL ? NULL : ds_checkpoint_find(at->checkpoint, expected->label.name);
}

static ds_status walk_rows(const table_place *at, const table_row *rows, size_t count, table_visit visit, void *context) {
    ds_status status = DS_OK;
    for (size_t i = 0; i < count; i++) {
        const table_row *row = &rows[i];
        if (!holds(at->spec, row->condition)) continue;
        table_entry expected = {.group = row->group, .layer = at->layer, .slot = at->base + row->slot};
        (void)snprintf(expected.label.older_name, sizeof expected.label.older_name, "%s%s", at->prefix, row->older.name);
        (void)snprintf(expected.label.role, sizeof expected.label.role, "%s%s", row->role, at->suffix);
        /* A checkpoint is of one generation; single tensors spelled as in the other are still recognised. */
        if (at->checkpoint != NULL && row->newer.name != NULL) {
            spell(&expected, at, row, !at->spec->newer_names);
        }
        if (expected.tensor == NULL) spell(&expected, at, row, at->spec->newer_names);
        DS_TRY(visit(context, &expected));
    }
done:
    return status;
}

#define ROWS(rows) (rows), sizeof(rows) / sizeof *(rows)

static ds_status walk_layer(const ds_spec *spec, const ds_checkpoint *checkpoint, size_t layer, table_visit visit,
                            void *context) {
    ds_status status = DS_OK;
    char prefix[48], suffix[48], delta_prefix[64], delta_suffix[64];
    (void)snprintf(prefix, sizeof prefix, "transformer.h.%zu.", layer);
    (void)snprintf(suffix, sizeof suffix, " of layer %zu", layer);
    table_place at = {spec, checkpoint, prefix, suffix, layer, 0};
    table_place delta = {spec, checkpoint, delta_prefix, delta_suffix, layer, 0};
    for (size_t half = 0; half < 2; half++) {
        DS_TRY(half == 0 ? walk_rows(&at, ROWS(layer_rows), visit, context) : walk_rows(&at, ROWS(mlp_rows), visit, context));
        if (spec->rule != &ds_rule_delta) continue;
        (void)snprintf(delta_prefix, sizeof delta_prefix, "%sddl_%s.", prefix, half == 0 ? "attn" : "mlp");
        (void)snprintf(delta_suffix, sizeof delta_suffix, "%s, %s", suffix, half == 0 ? "attention" : "MLP");
        delta.base = offsetof(ds_layer_weights, delta) + half * sizeof(ds_delta_weights);
        DS_TRY(walk_rows(&delta, ROWS(delta_rows), visit, context));
    }
done:
    return status;
}

static ds_status walk(const ds_spec *spec, const ds_checkpoint *checkpoint, table_visit visit, void *context) {
    ds_status status = DS_OK;
    const table_place whole = {spec, checkpoint, "", "", SIZE_MAX, 0};
    DS_TRY(walk_rows(&whole, ROWS(front), visit, context));
    for (size_t layer = 0; layer < spec->layers; layer++) DS_TRY(walk_layer(spec, checkpoint, layer, visit, context));
    DS_TRY(walk_rows(&whole, ROWS(back), visit, context));
done:
    return status;
}

/* ---- checking against a checkpoint ------------------------------------------------------------------------------------- */

static ds_status wrong_shape(const ds_checkpoint *checkpoint, const table_entry *expected) {
    const ds_tensor *tensor = expected->tensor;
    ds_text found = {0}, wanted = {0}, keys = {0};
    ds_status status = DS_OK;
    for (size_t i = 0; i < tensor->rank; i++)
        DS_TRY(ds_text_printf(&found, "%s%llu", i == 0 ? "" : ", ", (unsigned long long)tensor->shape[i]));
    for (size_t i = 0; i < expected->rank; i++) {
        DS_TRY(ds_text_printf(&wanted, "%s%zu", i == 0 ? "" : ", ", expected->shape[i]));
        DS_TRY(ds_text_printf(&keys, "%s%s", i == 0 ? "" : ", ", extent_name(expected->extents[i])));
    }
    status = ds_fail(DS_ERR_INPUT, "%s: wrong shape of tensor %s: found (%s), expected (%s), which is (%s) of %s", tensor->file,
                     expected->label.name, tensor->rank == 0 ? "" : found.bytes, wanted.bytes, keys.bytes,
                     ds_checkpoint_config_path(checkpoint));
done:
    ds_text_release(&found);
    ds_text_release(&wanted);
    ds_text_release(&keys);
    return status;
}

static ds_status check(void *context, const table_entry *expected) {
    const ds_checkpoint *checkpoint = context;
    const ds_tensor *tensor = expected->tensor;
    if (tensor == NULL) {
        bool single = ds_checkpoint_files(checkpoint) == 1;
        return ds_fail(DS_ERR_INPUT, "%s: missing tensor %s (%s)",
                       single ? ds_checkpoint_file(checkpoint, 0) : ds_checkpoint_path(checkpoint), expected->label.name,
                       expected->label.role);
    }
    bool equal = tensor->rank == expected->rank;
    for (size_t i = 0; equal && i < expected->rank; i++) equal = tensor->shape[i] == expected->shape[i];
    if (!equal) return wrong_shape(checkpoint, expected);
    if (tensor->dtype == DS_DTYPE_OTHER)
        return ds_fail(DS_ERR_INPUT, "%s: dtype %s unsupported for tensor %s, expected F32, F64, F16 or BF16", tensor->file,
                       tensor->dtype_name, expected->label.name);
    return DS_OK;
}

ds_status ds_parameters_check(const ds_spec *spec, const ds_checkpoint *checkpoint) {
    union {
        const ds_checkpoint *in;
        void *out;
    } context = {.in = checkpoint}; /* the visitor only reads it */
    return walk(spec, checkpoint, check, context.out);
}

/* ---- building ------------------------------------------------------------------------------------------------------------ */

static ds_status count_one(void *context, const table_entry *expected) {
    (void)expected;
    ++*(size_t *)context;
    return DS_OK;
}

/* The next free entry of the table is the one at model->parameter_count. */
static ds_status place_one(void *context, const table_entry *expected) {
    ds_model *model = context;
    size_t index = model->parameter_count++;
    ds_parameter *parameter = &model->parameters[index];
    model->labels[index] = expected->label;
    *parameter = (ds_parameter){.name = model->labels[index].name,
                                .older_name = model->labels[index].older_name,
                                .role = model->labels[index].role,
                                .group = expected->group,
                                .rank = expected->rank,
                                .count = 1};
    for (size_t i = 0; i < expected->rank; i++) {
        parameter->shape[i] = expected->shape[i];
        if (!ds_mul_size(parameter->count, expected->shape[i], &parameter->count))
            return ds_fail(DS_ERR_USAGE, "parameter %s has more than 2^64 elements", parameter->name);
    }
    char *owner = expected->layer == SIZE_MAX ? (char *)model : (char *)&model->layers[expected->layer];
    *(const ds_parameter **)(void *)(owner + expected->slot) = parameter;
    return DS_OK;
}

ds_status ds_model_frame(ds_model **out, const ds_spec *spec, ds_precision precision, const ds_checkpoint *checkpoint) {
    ds_status status = DS_OK;
    ds_model *model = NULL;
    size_t count = 0;
    DS_TRY(walk(spec, checkpoint, count_one, &count));
    DS_NEW(model, 1);
    model->spec = *spec;
    model->precision = precision;
    DS_NEW(model->parameters, count);
    DS_NEW(model->labels, count);
    DS_NEW(model->layers, spec->layers);
    DS_TRY(walk(spec, checkpoint, place_one, model));
    *out = model;
    model = NULL;
done:
    ds_model_free(&model);
    return status;
}
