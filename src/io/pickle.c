/* The arena, the run loop, the finishing pass and the accessors of the pickle machine. */
#include "pickle.h"

#include <stdlib.h>
#include <string.h>

#include "pickle_machine.h"

enum { SMALL_INTS = 256 };

/* ---- building blocks --------------------------------------------------------------------------------------------- */

ds_status pickle_value_new(pickle_machine *machine, ds_value *out, pickle_value value) {
    ds_pickle *pickle = machine->pickle;
    if (pickle->value_count >= PICKLE_ENTRY_LIMIT) return ds_fail(DS_ERR_INPUT, "more than %d values", PICKLE_ENTRY_LIMIT);
    void *grown = pickle->values;
    ds_status status = ds_grow(&grown, &pickle->value_capacity, pickle->value_count + 1, sizeof value);
    pickle->values = grown;
    if (status != DS_OK) return status;
    *out = (ds_value)pickle->value_count;
    pickle->values[pickle->value_count++] = value;
    return DS_OK;
}

ds_status pickle_push(pickle_machine *machine, ds_value value) {
    if (machine->depth >= PICKLE_ENTRY_LIMIT)
        return ds_fail(DS_ERR_INPUT, "more than %d values on the stack", PICKLE_ENTRY_LIMIT);
    void *grown = machine->stack;
    ds_status status = ds_grow(&grown, &machine->stack_capacity, machine->depth + 1, sizeof value);
    machine->stack = grown;
    if (status == DS_OK) machine->stack[machine->depth++] = value;
    return status;
}

ds_status pickle_push_new(pickle_machine *machine, pickle_value value) {
    ds_value id = VALUE_NONE;
    ds_status status = pickle_value_new(machine, &id, value);
    return status == DS_OK ? pickle_push(machine, id) : status;
}

ds_status pickle_top(const pickle_machine *machine, ds_value *out) {
    size_t floor = machine->mark_count == 0 ? 0 : machine->marks[machine->mark_count - 1];
    if (machine->depth <= floor) return ds_fail(DS_ERR_INPUT, "stack underflow");
    *out = machine->stack[machine->depth - 1];
    return DS_OK;
}

ds_status pickle_check_use(const pickle_machine *machine, ds_value value) {
    const pickle_value *used = pickle_at(machine, value);
    if (used->kind != DS_VALUE_GLOBAL || pickle_global_of(used)->rule != RULE_MEMBER) return DS_OK;
    return pickle_refuse_global(pickle_global_of(used));
}

ds_status pickle_pop(pickle_machine *machine, ds_value *out) {
    ds_status status = pickle_top(machine, out);
    if (status == DS_OK) status = pickle_check_use(machine, *out);
    if (status == DS_OK) machine->depth--;
    return status;
}

/* items[*first ...] <- the last `count` values of the stack. */
static ds_status move_items(pickle_machine *machine, uint32_t *first, size_t count) {
    ds_status status = DS_OK;
    ds_pickle *pickle = machine->pickle;
    if (pickle->item_count + count > PICKLE_ENTRY_LIMIT)
        return ds_fail(DS_ERR_INPUT, "more than %d items of tuples, lists and dicts", PICKLE_ENTRY_LIMIT);
    for (size_t i = machine->depth - count; status == DS_OK && i < machine->depth; i++)
        status = pickle_check_use(machine, machine->stack[i]);
    if (status != DS_OK) return status;
    void *grown = pickle->items;
    status = ds_grow(&grown, &pickle->item_capacity, pickle->item_count + count, sizeof *pickle->items);
    pickle->items = grown;
    if (status != DS_OK) return status;
    machine->depth -= count;
    memcpy(pickle->items + pickle->item_count, machine->stack + machine->depth, count * sizeof *pickle->items);
    *first = (uint32_t)pickle->item_count; /* every item was pushed by its own opcode: fewer than DS_PICKLE_LIMIT */
    pickle->item_count += count;
    return DS_OK;
}

ds_status pickle_tuple(pickle_machine *machine, size_t count) {
    if (count == 0) return pickle_push(machine, VALUE_EMPTY_TUPLE);
    pickle_value tuple = {.kind = DS_VALUE_TUPLE, .count = (uint32_t)count};
    ds_status status = move_items(machine, &tuple.first, count);
    return status == DS_OK ? pickle_push_new(machine, tuple) : status;
}

ds_status pickle_extend(pickle_machine *machine, ds_value container, size_t count) {
    if (count == 0) return DS_OK;
    pickle_chunk chunk = {.count = (uint32_t)count};
    ds_status status = move_items(machine, &chunk.first, count);
    void *grown = machine->chunks;
    if (status == DS_OK) status = ds_grow(&grown, &machine->chunk_capacity, machine->chunk_count + 1, sizeof chunk);
    machine->chunks = grown;
    if (status != DS_OK) return status;
    uint32_t index = (uint32_t)machine->chunk_count++;
    machine->chunks[index] = chunk;
    pickle_value *value = pickle_at(machine, container);
    if (value->first == 0)
        value->first = index;
    else
        machine->chunks[value->last].next = index;
    value->last = index;
    value->count += chunk.count;
    return DS_OK;
}

/* ---- finishing ------------------------------------------------------------------------------------------------------------
 */

/* Rewrites `items` so that each container's lie in one run. */
static ds_status gather_items(pickle_machine *machine) {
    ds_pickle *pickle = machine->pickle;
    ds_value *gathered = ds_calloc(pickle->item_count, sizeof *gathered);
    if (gathered == NULL) return DS_ERR_SYSTEM;
    size_t used = 0;
    for (size_t i = 0; i < pickle->value_count; i++) {
        pickle_value *value = &pickle->values[i];
        if (value->kind < DS_VALUE_TUPLE || value->kind > DS_VALUE_DICT) continue;
        size_t start = used;
        pickle_chunk whole = {.first = value->first, .count = value->count};
        const pickle_chunk *chunk = value->kind == DS_VALUE_TUPLE ? &whole : &machine->chunks[value->first];
        for (;;) {
            if (chunk->count != 0) memcpy(gathered + used, pickle->items + chunk->first, chunk->count * sizeof *gathered);
            used += chunk->count;
            if (chunk->next == 0) break;
            chunk = &machine->chunks[chunk->next];
        }
        value->first = (uint32_t)start;
    }
    free(pickle->items);
    pickle->items = gathered;
    return DS_OK;
}

/* Orders the keys that can be compared (strings bytewise, integers) so that equal ones become neighbours. */
static int compare_keys(const void *a, const void *b, void *context) {
    const ds_pickle *pickle = context;
    const pickle_value *x = &pickle->values[*(const ds_value *)a], *y = &pickle->values[*(const ds_value *)b];
    if (x->kind != y->kind) return (x->kind > y->kind) - (x->kind < y->kind);
    if (x->kind == DS_VALUE_INT) return (x->integer > y->integer) - (x->integer < y->integer);
    int order = memcmp(x->text, y->text, ds_min_size(x->count, y->count));
    return order != 0 ? order : (x->count > y->count) - (x->count < y->count);
}

static ds_status check_keys(ds_pickle *pickle, const pickle_value *dict, ds_value *keys) {
    size_t count = 0;
    for (uint32_t i = 0; i < dict->count; i += 2) {
        ds_value key = pickle->items[dict->first + i];
        uint8_t kind = pickle->values[key].kind;
        if (kind == DS_VALUE_STRING || kind == DS_VALUE_INT) keys[count++] = key;
    }
    qsort_r(keys, count, sizeof *keys, compare_keys, pickle);
    for (size_t i = 1; i < count; i++) {
        if (compare_keys(&keys[i - 1], &keys[i], pickle) != 0) continue;
        const pickle_value *key = &pickle->values[keys[i]];
        if (key->kind == DS_VALUE_INT) return ds_fail(DS_ERR_INPUT, "duplicate key %lld in a dict", (long long)key->integer);
        return ds_fail(DS_ERR_INPUT, "duplicate key \"%s\" in a dict", ds_escape((const char *)key->text, key->count).text);
    }
    return DS_OK;
}

static ds_status check_dicts(ds_pickle *pickle) {
    ds_status status = DS_OK;
    ds_value *keys = NULL;
    size_t longest = 0;
    for (size_t i = 0; i < pickle->value_count; i++) {
        const pickle_value *value = &pickle->values[i];
        if (value->kind == DS_VALUE_DICT) longest = ds_max_size(longest, value->count / 2);
    }
    DS_NEW(keys, longest);
    for (size_t i = 0; i < pickle->value_count; i++) {
        if (pickle->values[i].kind == DS_VALUE_DICT) DS_TRY(check_keys(pickle, &pickle->values[i], keys));
    }
done:
    free(keys);
    return status;
}

/* ---- running --------------------------------------------------------------------------------------------------------------
 */

static ds_status add_constants(pickle_machine *machine) {
    const pickle_value constants[] = {[VALUE_NONE] = {.kind = DS_VALUE_NONE},
                                      [VALUE_FALSE] = {.kind = DS_VALUE_BOOL, .integer = 0},
                                      [VALUE_TRUE] = {.kind = DS_VALUE_BOOL, .integer = 1},
                                      [VALUE_EMPTY_TUPLE] = {.kind = DS_VALUE_TUPLE}};
    ds_status status = DS_OK;
    ds_value id = VALUE_NONE;
    for (size_t i = 0; i < sizeof constants / sizeof constants[0]; i++) DS_TRY(pickle_value_new(machine, &id, constants[i]));
    for (int64_t i = 0; i < SMALL_INTS; i++)
        DS_TRY(pickle_value_new(machine, &id, (pickle_value){.kind = DS_VALUE_INT, .integer = i}));
    DS_NEW(machine->chunks, 8);
    machine->chunk_capacity = 8;
    machine->chunk_count = 1;
done:
    return status;
}

static ds_status run(pickle_machine *machine, const char *where) {
    while (!machine->stopped) {
        size_t position = machine->length - machine->cursor.left;
        ds_status status = pickle_step(machine);
        if (status == DS_ERR_INPUT) return ds_fail_prefix(status, "%s: byte %zu", where, position);
        if (status != DS_OK) return status;
    }
    if (machine->cursor.left != 0)
        return ds_fail(DS_ERR_INPUT, "%s: %zu bytes after STOP, expected none", where, machine->cursor.left);
    return DS_OK;
}

ds_status ds_pickle_parse(ds_pickle **out, const void *bytes, size_t length, ds_pickle_names names, const char *where) {
    ds_status status = DS_OK;
    pickle_machine machine = {.names = names, .cursor = {bytes, length}, .length = length};
    *out = NULL;
    if (length > DS_PICKLE_LIMIT)
        return ds_fail(DS_ERR_INPUT, "%s: a pickle of %zu bytes, expected at most %zu", where, length, DS_PICKLE_LIMIT);
    DS_NEW(machine.pickle, 1);
    DS_TRY(add_constants(&machine));
    DS_TRY(run(&machine, where));
    DS_TRY(gather_items(&machine));
    status = check_dicts(machine.pickle);
    if (status == DS_ERR_INPUT) status = ds_fail_prefix(status, "%s", where);
done:
    free(machine.stack);
    free(machine.marks);
    free(machine.memo);
    free(machine.chunks);
    if (status == DS_OK)
        *out = machine.pickle;
    else
        ds_pickle_free(&machine.pickle);
    return status;
}

void ds_pickle_free(ds_pickle **pickle) {
    if (*pickle == NULL) return;
    free((*pickle)->values);
    free((*pickle)->items);
    free((*pickle)->storages);
    free((*pickle)->tensors);
    ds_text_release(&(*pickle)->names);
    free(*pickle);
    *pickle = NULL;
}

/* ---- accessors --------------------------------------------------------------------------------------------------------------
 */

ds_value ds_pickle_root(const ds_pickle *pickle) { return pickle->root; }

size_t ds_pickle_values(const ds_pickle *pickle) { return pickle->value_count; }

ds_value_kind ds_value_kind_of(const ds_pickle *pickle, ds_value value) { return (ds_value_kind)pickle->values[value].kind; }

const char *ds_value_describe(const ds_pickle *pickle, ds_value value) {
    static const char *const kinds[] = {
        [DS_VALUE_NONE] = "None",         [DS_VALUE_BOOL] = "a bool",       [DS_VALUE_INT] = "an int",
        [DS_VALUE_BIG_INT] = "a big int", [DS_VALUE_FLOAT] = "a float",     [DS_VALUE_STRING] = "a str",
        [DS_VALUE_BYTES] = "bytes",       [DS_VALUE_TUPLE] = "a tuple",     [DS_VALUE_LIST] = "a list",
        [DS_VALUE_SET] = "a set",         [DS_VALUE_DICT] = "a dict",       [DS_VALUE_GLOBAL] = "a class or function",
        [DS_VALUE_OBJECT] = "an object",  [DS_VALUE_STORAGE] = "a storage", [DS_VALUE_TENSOR] = "a tensor"};
    const pickle_value *v = &pickle->values[value];
    if (v->kind != DS_VALUE_GLOBAL && v->kind != DS_VALUE_OBJECT) return kinds[v->kind];
    return v->global == PICKLE_OPAQUE ? pickle->names.bytes + v->name : pickle_globals[v->global].name;
}

bool ds_value_int(int64_t *out, const ds_pickle *pickle, ds_value value) {
    if (pickle->values[value].kind != DS_VALUE_INT) return false;
    *out = pickle->values[value].integer;
    return true;
}

bool ds_value_real(double *out, const ds_pickle *pickle, ds_value value) {
    if (pickle->values[value].kind != DS_VALUE_FLOAT) return false;
    *out = pickle->values[value].real;
    return true;
}

bool ds_value_bool(bool *out, const ds_pickle *pickle, ds_value value) {
    if (pickle->values[value].kind != DS_VALUE_BOOL) return false;
    *out = pickle->values[value].integer != 0;
    return true;
}

bool ds_value_attributes(ds_value *out, const ds_pickle *pickle, ds_value value) {
    const pickle_value *v = &pickle->values[value];
    if (v->kind != DS_VALUE_OBJECT || v->attributes == VALUE_NONE) return false;
    *out = v->attributes;
    return true;
}

bool ds_value_string(const char **bytes, size_t *length, const ds_pickle *pickle, ds_value value) {
    const pickle_value *v = &pickle->values[value];
    if (v->kind != DS_VALUE_STRING) return false;
    *bytes = (const char *)v->text;
    *length = v->count;
    return true;
}

size_t ds_value_count(const ds_pickle *pickle, ds_value value) {
    const pickle_value *v = &pickle->values[value];
    if (v->kind == DS_VALUE_DICT) return v->count / 2;
    return v->kind == DS_VALUE_TUPLE || v->kind == DS_VALUE_LIST || v->kind == DS_VALUE_SET ? v->count : 0;
}

ds_value ds_value_item(const ds_pickle *pickle, ds_value value, size_t index) {
    return pickle->items[pickle->values[value].first + index];
}

ds_value ds_value_key(const ds_pickle *pickle, ds_value dict, size_t index) { return ds_value_item(pickle, dict, 2 * index); }

ds_value ds_value_at(const ds_pickle *pickle, ds_value dict, size_t index) {
    return ds_value_item(pickle, dict, 2 * index + 1);
}

bool ds_value_find(ds_value *out, const ds_pickle *pickle, ds_value dict, const char *key) {
    size_t length = strlen(key);
    if (pickle->values[dict].kind != DS_VALUE_DICT) return false;
    for (size_t i = 0; i < ds_value_count(pickle, dict); i++) {
        const pickle_value *found = &pickle->values[ds_value_key(pickle, dict, i)];
        if (found->kind != DS_VALUE_STRING || found->count != length || memcmp(found->text, key, length) != 0) continue;
        *out = ds_value_at(pickle, dict, i);
        return true;
    }
    return false;
}

size_t ds_pickle_storages(const ds_pickle *pickle) { return pickle->storage_count; }
const ds_pickle_storage *ds_pickle_storage_at(const ds_pickle *pickle, size_t index) { return &pickle->storages[index]; }
size_t ds_pickle_tensors(const ds_pickle *pickle) { return pickle->tensor_count; }
const ds_pickle_tensor *ds_pickle_tensor_at(const ds_pickle *pickle, size_t index) { return &pickle->tensors[index]; }

bool ds_value_tensor(size_t *index, const ds_pickle *pickle, ds_value value) {
    if (pickle->values[value].kind != DS_VALUE_TENSOR) return false;
    *index = pickle->values[value].index;
    return true;
}
