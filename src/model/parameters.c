#include <stdlib.h>
#include <string.h>

#include "backbone.h"
#include "missing.h"
#include "parameters.h"
#include "rule.h"

static size_t hidden(const ds_spec *spec) { return spec->hidden; }
const ds_extent ds_extent_hidden = {"hidden_size", hidden};

/* ---- walking it ------------------------------------------------------------------------------------------------------- */

/* One parameter the specification needs, while the table is walked. */
typedef struct table_entry {
    ds_label label;
    const ds_extent *const *extents;
    ds_group group;
    size_t rank;
    size_t shape[DS_TABLE_RANK];
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

/* A name without the backbone's prefix where the checkpoint has none. */
static const char *bare(const ds_spec *spec, const char *name) {
    size_t length = strlen(spec->backbone->prefix);
    return spec->bare_names && strncmp(name, spec->backbone->prefix, length) == 0 ? name + length : name;
}

static void spell(table_entry *expected, const table_place *at, const ds_table_row *row, bool newer) {
    const ds_table_spelling *spelling = newer && row->newer.name != NULL ? &row->newer : &row->older;
    const char *name = at->layer == SIZE_MAX ? bare(at->spec, spelling->name) : spelling->name;
    (void)snprintf(expected->label.name, sizeof expected->label.name, "%s%s", bare(at->spec, at->prefix), name);
    expected->extents = spelling->shape;
    expected->rank = 0;
    for (size_t i = 0; i < DS_TABLE_RANK && spelling->shape[i] != NULL; i++)
        expected->shape[expected->rank++] = spelling->shape[i]->of(at->spec);
    expected->tensor = at->checkpoint == NULL ? NULL : ds_checkpoint_find(at->checkpoint, expected->label.name);
}

static ds_status walk_rows(const table_place *at, ds_table_rows table, table_visit visit, void *context) {
    ds_status status = DS_OK;
    for (size_t i = 0; i < table.count; i++) {
        const ds_table_row *row = &table.rows[i];
        if (row->holds != NULL && !row->holds(at->spec)) continue;
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

static ds_status walk_layer(const ds_spec *spec, const ds_checkpoint *checkpoint, size_t layer, table_visit visit,
                            void *context) {
    ds_status status = DS_OK;
    char prefix[48], suffix[48], rule_prefix[64], rule_suffix[64];
    const ds_backbone *backbone = spec->backbone;
    const ds_rule *rule = spec->rule;
    (void)snprintf(prefix, sizeof prefix, "%s%zu.", backbone->layer_prefix, layer);
    (void)snprintf(suffix, sizeof suffix, " of layer %zu", layer);
    table_place at = {spec, checkpoint, prefix, suffix, layer, 0};
    table_place own = {spec, checkpoint, rule_prefix, rule_suffix, layer, 0};
    DS_TRY(walk_rows(&at, rule->layer, visit, context));
    for (size_t half = 0; half < 2; half++) {
        DS_TRY(walk_rows(&at, half == 0 ? backbone->attention : backbone->mlp, visit, context));
        if (rule->sublayer.count == 0) continue;
        (void)snprintf(rule_prefix, sizeof rule_prefix, "%s%s", prefix, rule->prefixes[half]);
        (void)snprintf(rule_suffix, sizeof rule_suffix, "%s, %s", suffix, half == 0 ? "attention" : "MLP");
        own.base = offsetof(ds_layer_weights, rule) + half * sizeof((ds_layer_weights *)0)->rule[0];
        DS_TRY(walk_rows(&own, rule->sublayer, visit, context));
    }
done:
    return status;
}

static ds_status walk(const ds_spec *spec, const ds_checkpoint *checkpoint, table_visit visit, void *context) {
    ds_status status = DS_OK;
    const table_place whole = {spec, checkpoint, "", "", SIZE_MAX, 0};
    const table_place own = {spec, checkpoint, spec->backbone->prefix, "", SIZE_MAX, 0};
    DS_TRY(walk_rows(&whole, spec->backbone->front, visit, context));
    DS_TRY(walk_rows(&own, spec->rule->front, visit, context));
    for (size_t layer = 0; layer < spec->layers; layer++) DS_TRY(walk_layer(spec, checkpoint, layer, visit, context));
    DS_TRY(walk_rows(&own, spec->rule->back, visit, context));
    DS_TRY(walk_rows(&whole, spec->backbone->back, visit, context));
done:
    return status;
}

/* ---- checking against a checkpoint ------------------------------------------------------------------------------------ */

static ds_status wrong_shape(const ds_checkpoint *checkpoint, const table_entry *expected) {
    const ds_tensor *tensor = expected->tensor;
    ds_text found = {0}, wanted = {0}, keys = {0};
    ds_status status = DS_OK;
    for (size_t i = 0; i < tensor->rank; i++)
        DS_TRY(ds_text_printf(&found, "%s%llu", i == 0 ? "" : ", ", (unsigned long long)tensor->shape[i]));
    for (size_t i = 0; i < expected->rank; i++) {
        DS_TRY(ds_text_printf(&wanted, "%s%zu", i == 0 ? "" : ", ", expected->shape[i]));
        DS_TRY(ds_text_printf(&keys, "%s%s", i == 0 ? "" : ", ", expected->extents[i]->name));
    }
    bool renamed = strcmp(tensor->stored_name, expected->label.name) != 0;
    status = ds_fail(DS_ERR_INPUT, "%s: wrong shape of tensor %s%s%s%s: found (%s), expected (%s), which is (%s) of %s",
                     tensor->file, expected->label.name, renamed ? ", stored as " : "",
                     renamed ? DS_SHOW(tensor->stored_name) : "", renamed ? "," : "", tensor->rank == 0 ? "" : found.bytes,
                     wanted.bytes, keys.bytes, ds_checkpoint_config_path(checkpoint));
done:
    ds_text_release(&found);
    ds_text_release(&wanted);
    ds_text_release(&keys);
    return status;
}

typedef struct checking {
    const ds_spec *spec;
    const ds_checkpoint *checkpoint;
    bool *wanted; /* a flag per tensor of the checkpoint, made when one is missing */
} checking;

static ds_status mark(void *context, const table_entry *expected) {
    const checking *now = context;
    if (expected->tensor != NULL) now->wanted[expected->tensor - ds_checkpoint_tensor(now->checkpoint, 0)] = true;
    return DS_OK;
}

static ds_status missing(checking *now, const table_entry *expected) {
    ds_status status = DS_OK;
    DS_NEW(now->wanted, ds_checkpoint_count(now->checkpoint) + 1);
    DS_TRY(walk(now->spec, now->checkpoint, mark, now));
    status = ds_missing_tensor(now->checkpoint, now->spec, now->wanted, expected->label.name, expected->label.role);
done:
    free(now->wanted);
    return status;
}

static ds_status check(void *context, const table_entry *expected) {
    checking *now = context;
    const ds_tensor *tensor = expected->tensor;
    if (tensor == NULL) return missing(now, expected);
    bool equal = tensor->rank == expected->rank;
    for (size_t i = 0; equal && i < expected->rank; i++) equal = tensor->shape[i] == expected->shape[i];
    if (!equal) return wrong_shape(now->checkpoint, expected);
    if (tensor->dtype == DS_DTYPE_OTHER)
        return ds_fail(DS_ERR_INPUT, "%s: dtype %s unsupported for tensor %s, expected F32, F64, F16 or BF16", tensor->file,
                       tensor->dtype_name, expected->label.name);
    return DS_OK;
}

ds_status ds_parameters_check(const ds_spec *spec, const ds_checkpoint *checkpoint) {
    checking now = {spec, checkpoint, NULL};
    return walk(spec, checkpoint, check, &now);
}

ds_status ds_parameters_only(const ds_spec *spec, const ds_checkpoint *checkpoint) {
    ds_status status = DS_OK;
    checking now = {spec, checkpoint, NULL};
    DS_NEW(now.wanted, ds_checkpoint_count(checkpoint) + 1);
    DS_TRY(walk(spec, checkpoint, mark, &now));
    for (size_t i = 0; i < ds_checkpoint_count(checkpoint); i++) {
        const ds_tensor *tensor = ds_checkpoint_tensor(checkpoint, i);
        if (now.wanted[i] || strcmp(tensor->name, "lm_head.weight") == 0 || ds_tensor_effect(tensor) == NULL) continue;
        if (ds_is_twin(spec, checkpoint, tensor)) continue;
        status = ds_fail(DS_ERR_INPUT,
                         "%s: unsupported tensor %s (%s): a model of backbone %s with this configuration (%s) has none of that "
                         "name",
                         tensor->file, DS_SHOW(tensor->stored_name), ds_tensor_effect(tensor), spec->backbone->name,
                         ds_checkpoint_config_path(checkpoint));
        goto done;
    }
done:
    free(now.wanted);
    return status;
}

/* ---- building --------------------------------------------------------------------------------------------------------- */

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
                                .count = 1,
                                .stored = model->precision == DS_F32 ? DS_DTYPE_F32 : DS_DTYPE_F64};
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
