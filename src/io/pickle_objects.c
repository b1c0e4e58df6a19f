/* What names, calls, constructions, attributes and persistent ids become: descriptions of tensors and storages, empty
 * containers, inert objects. Nothing is ever called. */
#include <string.h>

#include "pickle_machine.h"

/* A GLOBAL of no table; its name is kept for sentences. */
static ds_status push_opaque(pickle_machine *machine, const uint8_t *module, size_t module_length, const uint8_t *name,
                             size_t name_length) {
    ds_status status = DS_OK;
    ds_text *names = &machine->pickle->names;
    size_t start = names->length;
    bool class = pickle_name_is_class(name, name_length);
    if (start + module_length + name_length + 2 > PICKLE_NAMES_LIMIT)
        return ds_fail(DS_ERR_INPUT, "names of classes of more than %d bytes", PICKLE_NAMES_LIMIT);
    DS_TRY(ds_text_append(names, (const char *)module, module_length));
    DS_TRY(ds_text_append(names, ".", 1));
    DS_TRY(ds_text_append(names, (const char *)name, name_length));
    DS_TRY(ds_text_append(names, "", 1));
    status = pickle_push_new(
        machine,
        (pickle_value){.kind = DS_VALUE_GLOBAL, .global = PICKLE_OPAQUE, .attributed = class, .name = (uint32_t)start});
done:
    return status;
}

static ds_status refuse_name(const uint8_t *module, size_t module_length, const uint8_t *name, size_t name_length) {
    return ds_fail(DS_ERR_INPUT, "global %s.%s is not allowed", ds_escape((const char *)module, module_length).text,
                   ds_escape((const char *)name, name_length).text);
}

ds_status pickle_refuse_global(const pickle_global *global) {
    return refuse_name((const uint8_t *)global->module, strlen(global->module), (const uint8_t *)global->name,
                       strlen(global->name));
}

ds_status pickle_global_push(pickle_machine *machine, const uint8_t *module, size_t module_length, const uint8_t *name,
                             size_t name_length) {
    bool plain = machine->names == DS_PICKLE_PLAIN;
    size_t index = plain ? SIZE_MAX : pickle_global_find(module, module_length, name, name_length);
    if (index != SIZE_MAX) return pickle_push_new(machine, (pickle_value){.kind = DS_VALUE_GLOBAL, .global = (uint16_t)index});
    if (!plain && pickle_name_is_opaque(module, module_length, name, name_length))
        return push_opaque(machine, module, module_length, name, name_length);
    return refuse_name(module, module_length, name, name_length);
}

static const char *describe(const pickle_machine *machine, ds_value value) { return ds_value_describe(machine->pickle, value); }

static size_t tuple_count(const pickle_machine *machine, ds_value tuple) { return pickle_at(machine, tuple)->count; }

static ds_value tuple_item(const pickle_machine *machine, ds_value tuple, size_t index) {
    return machine->pickle->items[pickle_at(machine, tuple)->first + index];
}

static bool is_kind(const pickle_machine *machine, ds_value value, ds_value_kind kind) {
    return pickle_at(machine, value)->kind == kind;
}

/* ---- storages ---------------------------------------------------------------------------------------------------------------
 */

static bool is_plain_key(const uint8_t *text, size_t length) {
    for (size_t i = 0; i < length; i++) {
        bool letter = (text[i] | 0x20) >= 'a' && (text[i] | 0x20) <= 'z';
        if (!letter && !(text[i] >= '0' && text[i] <= '9') && text[i] != '_' && text[i] != '-') return false;
    }
    return length > 0 && length <= 64;
}

/* ('storage', class, key, location, number of elements) -> storage */
static ds_status parse_storage(const pickle_machine *machine, ds_pickle_storage *out, ds_value id) {
    if (!is_kind(machine, id, DS_VALUE_TUPLE))
        return ds_fail(DS_ERR_INPUT, "bad persistent id: %s, expected a tuple", describe(machine, id));
    if (tuple_count(machine, id) != 5)
        return ds_fail(DS_ERR_INPUT, "bad persistent id: a tuple of %zu items, expected 5", tuple_count(machine, id));
    const pickle_value *tag = pickle_at(machine, tuple_item(machine, id, 0));
    const pickle_value *class = pickle_at(machine, tuple_item(machine, id, 1));
    const pickle_value *key = pickle_at(machine, tuple_item(machine, id, 2));
    const pickle_value *count = pickle_at(machine, tuple_item(machine, id, 4));
    if (tag->kind != DS_VALUE_STRING || tag->count != 7 || memcmp(tag->text, "storage", 7) != 0)
        return ds_fail(DS_ERR_INPUT, "bad persistent id: it does not begin with 'storage'");
    if (class->kind != DS_VALUE_GLOBAL || pickle_global_of(class)->rule != RULE_STORAGE)
        return ds_fail(DS_ERR_INPUT, "bad storage type: %s, expected a storage class of torch",
                       describe(machine, tuple_item(machine, id, 1)));
    if (key->kind != DS_VALUE_STRING || !is_plain_key(key->text, key->count))
        return ds_fail(DS_ERR_INPUT, "bad storage key \"%s\", expected up to 64 letters and digits",
                       key->kind == DS_VALUE_STRING ? ds_escape((const char *)key->text, key->count).text
                                                    : describe(machine, tuple_item(machine, id, 2)));
    if (!is_kind(machine, tuple_item(machine, id, 3), DS_VALUE_STRING))
        return ds_fail(DS_ERR_INPUT, "bad storage location: %s, expected a str", describe(machine, tuple_item(machine, id, 3)));
    const ds_pickle_dtype *dtype = pickle_global_of(class)->dtype;
    if (count->kind != DS_VALUE_INT || count->integer < 0 || (uint64_t)count->integer > (uint64_t)INT64_MAX / dtype->size)
        return ds_fail(DS_ERR_INPUT, "bad storage size of storage %.*s: expected elements that fit in 2^63 bytes",
                       (int)key->count, (const char *)key->text);
    *out = (ds_pickle_storage){(const char *)key->text, key->count, dtype, (uint64_t)count->integer};
    return DS_OK;
}

ds_status pickle_persistent(pickle_machine *machine) {
    ds_status status = DS_OK;
    ds_value id;
    ds_pickle *pickle = machine->pickle;
    ds_pickle_storage storage;
    if (machine->names == DS_PICKLE_PLAIN) return ds_fail(DS_ERR_INPUT, "opcode BINPERSID is not supported here");
    DS_TRY(pickle_pop(machine, &id));
    DS_TRY(parse_storage(machine, &storage, id));
    if (pickle->storage_count >= PICKLE_TENSOR_LIMIT)
        return ds_fail(DS_ERR_INPUT, "more than %d mentions of storages", PICKLE_TENSOR_LIMIT);
    void *grown = pickle->storages;
    status = ds_grow(&grown, &pickle->storage_capacity, pickle->storage_count + 1, sizeof storage);
    pickle->storages = grown;
    if (status != DS_OK) goto done;
    pickle->storages[pickle->storage_count] = storage;
    DS_TRY(pickle_push_new(machine, (pickle_value){.kind = DS_VALUE_STORAGE, .index = (uint32_t)pickle->storage_count}));
    pickle->storage_count++;
done:
    return status;
}

/* ---- tensors ----------------------------------------------------------------------------------------------------------------
 */

static ds_status bad_arguments(const char *function) { return ds_fail(DS_ERR_INPUT, "bad %s arguments", function); }

static ds_status check_extents(const pickle_machine *machine, ds_value tuple, const char *what) {
    if (!is_kind(machine, tuple, DS_VALUE_TUPLE))
        return ds_fail(DS_ERR_INPUT, "bad %s: %s, expected a tuple", what, describe(machine, tuple));
    for (size_t i = 0; i < tuple_count(machine, tuple); i++) {
        ds_value item = tuple_item(machine, tuple, i);
        if (!is_kind(machine, item, DS_VALUE_INT))
            return ds_fail(DS_ERR_INPUT, "bad %s: item %zu is %s, expected an int", what, i, describe(machine, item));
        if (pickle_at(machine, item)->integer < 0)
            return ds_fail(DS_ERR_INPUT, "negative %s %lld, expected >= 0", what, (long long)pickle_at(machine, item)->integer);
    }
    return DS_OK;
}

static ds_status check_hooks(const pickle_machine *machine, ds_value hooks) {
    if (is_kind(machine, hooks, DS_VALUE_NONE) || is_kind(machine, hooks, DS_VALUE_DICT)) return DS_OK;
    return ds_fail(DS_ERR_INPUT, "bad backward hooks: %s, expected a dict", describe(machine, hooks));
}

/* The element type: the storage's own, or for version 3 the one named in the arguments. */
static ds_status tensor_dtype(const pickle_machine *machine, ds_pickle_tensor *tensor, const pickle_global *function,
                              ds_value arguments) {
    const ds_pickle_dtype *stored = machine->pickle->storages[tensor->storage].dtype;
    bool untyped = strcmp(stored->name, "untyped") == 0;
    tensor->dtype = stored;
    if (function->rule == RULE_TENSOR_V3) {
        const pickle_value *named = pickle_at(machine, tuple_item(machine, arguments, 6));
        if (named->kind != DS_VALUE_GLOBAL || pickle_global_of(named)->rule != RULE_VALUE ||
            pickle_global_of(named)->dtype == NULL)
            return ds_fail(DS_ERR_INPUT, "bad %s arguments: %s, expected a dtype", function->name,
                           describe(machine, tuple_item(machine, arguments, 6)));
        tensor->dtype = pickle_global_of(named)->dtype;
    }
    if (untyped != (function->rule == RULE_TENSOR_V3))
        return ds_fail(DS_ERR_INPUT, "bad storage type for %s: %s", function->name, stored->name);
    return DS_OK;
}

static ds_status rebuild_tensor(pickle_machine *machine, const pickle_global *function, ds_value arguments) {
    ds_status status = DS_OK;
    ds_pickle *pickle = machine->pickle;
    ds_pickle_tensor tensor;
    size_t count = tuple_count(machine, arguments);
    size_t least = function->rule == RULE_TENSOR_V1 ? 4 : function->rule == RULE_TENSOR_V2 ? 6 : 7;
    if (count < least || count > least + (least > 4))
        return ds_fail(DS_ERR_INPUT, "bad %s arguments: %zu, expected %zu", function->name, count, least);
    const pickle_value *storage = pickle_at(machine, tuple_item(machine, arguments, 0));
    const pickle_value *offset = pickle_at(machine, tuple_item(machine, arguments, 1));
    if (storage->kind != DS_VALUE_STORAGE)
        return ds_fail(DS_ERR_INPUT, "bad storage argument: %s, expected a storage",
                       describe(machine, tuple_item(machine, arguments, 0)));
    if (offset->kind != DS_VALUE_INT)
        return ds_fail(DS_ERR_INPUT, "bad storage offset: %s, expected an int",
                       describe(machine, tuple_item(machine, arguments, 1)));
    if (offset->integer < 0)
        return ds_fail(DS_ERR_INPUT, "negative storage offset %lld, expected >= 0", (long long)offset->integer);
    tensor = (ds_pickle_tensor){.storage = storage->index,
                                .size = tuple_item(machine, arguments, 2),
                                .stride = tuple_item(machine, arguments, 3),
                                .offset = (uint64_t)offset->integer};
    DS_TRY(check_extents(machine, tensor.size, "size"));
    DS_TRY(check_extents(machine, tensor.stride, "stride"));
    if (tuple_count(machine, tensor.size) != tuple_count(machine, tensor.stride))
        return ds_fail(DS_ERR_INPUT, "%zu sizes but %zu strides", tuple_count(machine, tensor.size),
                       tuple_count(machine, tensor.stride));
    if (least > 4 && !is_kind(machine, tuple_item(machine, arguments, 4), DS_VALUE_BOOL)) return bad_arguments(function->name);
    if (least > 4) DS_TRY(check_hooks(machine, tuple_item(machine, arguments, 5)));
    DS_TRY(tensor_dtype(machine, &tensor, function, arguments));
    if (pickle->tensor_count >= PICKLE_TENSOR_LIMIT) return ds_fail(DS_ERR_INPUT, "more than %d tensors", PICKLE_TENSOR_LIMIT);
    void *grown = pickle->tensors;
    status = ds_grow(&grown, &pickle->tensor_capacity, pickle->tensor_count + 1, sizeof tensor);
    pickle->tensors = grown;
    if (status != DS_OK) goto done;
    pickle->tensors[pickle->tensor_count] = tensor;
    DS_TRY(pickle_push_new(machine, (pickle_value){.kind = DS_VALUE_TENSOR, .index = (uint32_t)pickle->tensor_count}));
    pickle->tensor_count++;
done:
    return status;
}

/* A parameter is its tensor. */
static ds_status rebuild_parameter(pickle_machine *machine, const pickle_global *function, ds_value arguments) {
    size_t expected = strcmp(function->name, "_rebuild_parameter") == 0 ? 3 : 4;
    if (tuple_count(machine, arguments) != expected) return bad_arguments(function->name);
    ds_value tensor = tuple_item(machine, arguments, 0);
    if (!is_kind(machine, tensor, DS_VALUE_TENSOR))
        return ds_fail(DS_ERR_INPUT, "bad %s arguments: %s, expected a tensor", function->name, describe(machine, tensor));
    if (!is_kind(machine, tuple_item(machine, arguments, 1), DS_VALUE_BOOL)) return bad_arguments(function->name);
    ds_status status = check_hooks(machine, tuple_item(machine, arguments, 2));
    return status == DS_OK ? pickle_push(machine, tensor) : status;
}

static ds_status call(pickle_machine *machine, const pickle_value *callable, ds_value arguments);

/* (function, class, arguments, state): the call it wraps, which may not be another of its kind. */
static ds_status rebuild_subclass(pickle_machine *machine, const pickle_global *function, ds_value arguments) {
    if (tuple_count(machine, arguments) != 4) return bad_arguments(function->name);
    const pickle_value *inner = pickle_at(machine, tuple_item(machine, arguments, 0));
    const pickle_value *class = pickle_at(machine, tuple_item(machine, arguments, 1));
    ds_value inner_arguments = tuple_item(machine, arguments, 2);
    if (inner->kind != DS_VALUE_GLOBAL || class->kind != DS_VALUE_GLOBAL || pickle_global_of(class)->rule != RULE_VALUE ||
        !is_kind(machine, inner_arguments, DS_VALUE_TUPLE))
        return bad_arguments(function->name);
    pickle_rule wrapped = pickle_global_of(inner)->rule;
    if (wrapped < RULE_TENSOR_V1 || wrapped > RULE_PARAMETER) return bad_arguments(function->name);
    const pickle_value function_copy = *inner; /* values move when they grow */
    return call(machine, &function_copy, inner_arguments);
}

/* ---- calls ------------------------------------------------------------------------------------------------------------------
 */

/* getattr(Colour, "RED"), as Python writes members of enumerations, classes in classes and bound methods. Of a class or object
 * of no table it is an opaque of a longer name; a longer chain of them than a name may be is nobody's. */
static ds_status name_member(pickle_machine *machine, const pickle_global *function, ds_value arguments) {
    if (tuple_count(machine, arguments) != 2) return pickle_refuse_global(function);
    const pickle_value *owner = pickle_at(machine, tuple_item(machine, arguments, 0));
    const pickle_value *member = pickle_at(machine, tuple_item(machine, arguments, 1));
    bool opaque = owner->global == PICKLE_OPAQUE &&
                  (owner->kind == DS_VALUE_OBJECT || (owner->kind == DS_VALUE_GLOBAL && owner->attributed));
    if (!opaque || member->kind != DS_VALUE_STRING) return pickle_refuse_global(function);
    char of[2 * PICKLE_NAME_LIMIT]; /* a copy: names move when they grow */
    const char *name = describe(machine, tuple_item(machine, arguments, 0));
    size_t length = strlen(name);
    if (length > sizeof of || !pickle_name_is_allowed(member->text, member->count))
        return refuse_name((const uint8_t *)name, length, member->text, member->count);
    memcpy(of, name, length);
    return push_opaque(machine, (const uint8_t *)of, length, member->text, member->count);
}

static ds_status call(pickle_machine *machine, const pickle_value *callable, ds_value arguments) {
    const pickle_global *function = pickle_global_of(callable);
    pickle_value object = {.kind = DS_VALUE_OBJECT, .global = callable->global, .attributes = VALUE_NONE};
    switch (function->rule) {
    case RULE_VALUE:
    case RULE_STORAGE:
        return ds_fail(DS_ERR_INPUT, "%s.%s is not a function", function->module, function->name);
    case RULE_FUNCTION:
    case RULE_MAKER:
    case RULE_CLASS:
        object.attributed = function->rule != RULE_FUNCTION;
        return pickle_push_new(machine, object);
    case RULE_OPAQUE:
        object.attributed = true;
        object.name = callable->name;
        return pickle_push_new(machine, object);
    case RULE_MEMBER:
        return name_member(machine, function, arguments);
    case RULE_DICT:
        /* the only argument a dict class may have is defaultdict's factory: items come by SETITEMS */
        if (tuple_count(machine, arguments) > 0 &&
            (strcmp(function->name, "defaultdict") != 0 || tuple_count(machine, arguments) > 1))
            return bad_arguments(function->name);
        return pickle_push_new(machine, (pickle_value){.kind = DS_VALUE_DICT, .attributed = true});
    case RULE_LIST:
        return pickle_push_new(machine, (pickle_value){.kind = DS_VALUE_LIST});
    case RULE_TENSOR_V1:
    case RULE_TENSOR_V2:
    case RULE_TENSOR_V3:
        return rebuild_tensor(machine, function, arguments);
    case RULE_PARAMETER:
        return rebuild_parameter(machine, function, arguments);
    case RULE_SUBCLASS:
        return rebuild_subclass(machine, function, arguments);
    case RULE_UNSUPPORTED:
        break;
    }
    return ds_fail(DS_ERR_INPUT, "%s is not supported", function->name);
}

ds_status pickle_reduce(pickle_machine *machine) {
    ds_value callable = VALUE_NONE, arguments = VALUE_NONE;
    ds_status status = pickle_pop(machine, &arguments);
    if (status == DS_OK) status = pickle_top(machine, &callable);
    if (status != DS_OK) return status;
    machine->depth--;
    if (!is_kind(machine, callable, DS_VALUE_GLOBAL))
        return ds_fail(DS_ERR_INPUT, "REDUCE calls %s, expected a function", describe(machine, callable));
    if (!is_kind(machine, arguments, DS_VALUE_TUPLE))
        return ds_fail(DS_ERR_INPUT, "REDUCE with %s for arguments, expected a tuple", describe(machine, arguments));
    const pickle_value value = *pickle_at(machine, callable); /* a copy: values move when they grow */
    if (value.global == PICKLE_OPAQUE && !value.attributed)
        return ds_fail(DS_ERR_INPUT, "a call of the function %s is not allowed", describe(machine, callable));
    return call(machine, &value, arguments);
}

static ds_status construct(pickle_machine *machine, ds_value class, ds_value arguments, const char *opcode) {
    const pickle_value value = *pickle_at(machine, class);
    pickle_rule rule = value.kind == DS_VALUE_GLOBAL ? pickle_global_of(&value)->rule : RULE_VALUE;
    if (rule != RULE_CLASS && rule != RULE_DICT && rule != RULE_OPAQUE)
        return ds_fail(DS_ERR_INPUT, "%s constructs %s, expected a class", opcode, describe(machine, class));
    if (!is_kind(machine, arguments, DS_VALUE_TUPLE))
        return ds_fail(DS_ERR_INPUT, "%s with %s for arguments, expected a tuple", opcode, describe(machine, arguments));
    return call(machine, &value, arguments);
}

ds_status pickle_new_object(pickle_machine *machine) {
    ds_value class = VALUE_NONE, arguments = VALUE_NONE;
    ds_status status = pickle_pop(machine, &arguments);
    if (status == DS_OK) status = pickle_pop(machine, &class);
    return status == DS_OK ? construct(machine, class, arguments, "NEWOBJ") : status;
}

/* With keyword arguments, a dict that nothing reads. */
ds_status pickle_new_object_ex(pickle_machine *machine) {
    ds_value class = VALUE_NONE, arguments = VALUE_NONE, keywords = VALUE_NONE;
    ds_status status = pickle_pop(machine, &keywords);
    if (status == DS_OK) status = pickle_pop(machine, &arguments);
    if (status == DS_OK) status = pickle_pop(machine, &class);
    if (status == DS_OK && !is_kind(machine, keywords, DS_VALUE_DICT))
        return ds_fail(DS_ERR_INPUT, "NEWOBJ_EX with %s for keyword arguments, expected a dict", describe(machine, keywords));
    return status == DS_OK ? construct(machine, class, arguments, "NEWOBJ_EX") : status;
}

/* Of an object, a dict of attributes is remembered, for a configuration; all others are dropped. They have been built, so every
 * name in them has been checked. */
ds_status pickle_build(pickle_machine *machine) {
    ds_value attributes = VALUE_NONE, target = VALUE_NONE;
    ds_status status = pickle_pop(machine, &attributes);
    if (status == DS_OK) status = pickle_pop(machine, &target);
    if (status != DS_OK) return status;
    pickle_value *value = pickle_at(machine, target);
    if (!value->attributed || value->kind == DS_VALUE_GLOBAL)
        return ds_fail(DS_ERR_INPUT, "BUILD is not allowed on %s", describe(machine, target));
    if (value->kind == DS_VALUE_DICT && !is_kind(machine, attributes, DS_VALUE_DICT))
        return ds_fail(DS_ERR_INPUT, "BUILD gives a dict %s for attributes, expected a dict", describe(machine, attributes));
    if (value->kind == DS_VALUE_OBJECT && is_kind(machine, attributes, DS_VALUE_DICT)) value->attributes = attributes;
    return pickle_push(machine, target);
}
