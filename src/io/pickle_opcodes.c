/* The opcodes: those that build data, each a few lines; the others only have a name, for the message that refuses them. */
#include <string.h>

#include "pickle_machine.h"

static ds_status truncated(void) { return ds_fail(DS_ERR_INPUT, "truncated pickle"); }

/* Little-endian unsigned integer of `width` bytes. */
static ds_status take_unsigned(pickle_machine *machine, uint64_t *out, size_t width) {
    const uint8_t *bytes;
    if (!ds_take_bytes(&machine->cursor, width, &bytes)) return truncated();
    uint64_t value = 0;
    for (size_t i = width; i > 0; i--) value = value << 8 | bytes[i - 1];
    *out = value;
    return DS_OK;
}

/* The stack depth at the last mark, which is removed. */
static ds_status pop_mark(pickle_machine *machine, size_t *depth) {
    if (machine->mark_count == 0) return ds_fail(DS_ERR_INPUT, "no MARK on the stack");
    *depth = machine->marks[--machine->mark_count];
    return DS_OK;
}

/* ---- frame of the program -------------------------------------------------------------------------------------------------
 */

static ds_status op_proto(pickle_machine *machine) {
    uint64_t version = 0;
    if (machine->cursor.left != machine->length - 1) return ds_fail(DS_ERR_INPUT, "PROTO is not the first opcode");
    ds_status status = take_unsigned(machine, &version, 1);
    if (status == DS_OK && (version < 2 || version > 5))
        return ds_fail(DS_ERR_INPUT, "pickle protocol %llu, expected 2 to 5", (unsigned long long)version);
    return status;
}

static ds_status op_frame(pickle_machine *machine) {
    uint64_t length = 0;
    ds_status status = take_unsigned(machine, &length, 8);
    if (status == DS_OK && length > machine->cursor.left)
        return ds_fail(DS_ERR_INPUT, "a frame of %llu bytes, of which %zu are left", (unsigned long long)length,
                       machine->cursor.left);
    return status;
}

static ds_status op_stop(pickle_machine *machine) {
    if (machine->mark_count != 0) return ds_fail(DS_ERR_INPUT, "%zu marks left on the stack at STOP", machine->mark_count);
    ds_status status = pickle_pop(machine, &machine->pickle->root);
    if (status == DS_OK && machine->depth != 0)
        return ds_fail(DS_ERR_INPUT, "stack not empty at STOP: %zu values besides the result", machine->depth);
    machine->stopped = status == DS_OK;
    return status;
}

static ds_status op_mark(pickle_machine *machine) {
    if (machine->mark_count >= PICKLE_ENTRY_LIMIT) return ds_fail(DS_ERR_INPUT, "more than %d marks", PICKLE_ENTRY_LIMIT);
    void *grown = machine->marks;
    ds_status status = ds_grow(&grown, &machine->mark_capacity, machine->mark_count + 1, sizeof *machine->marks);
    machine->marks = grown;
    if (status == DS_OK) machine->marks[machine->mark_count++] = machine->depth;
    return status;
}

/* ---- scalars ----------------------------------------------------------------------------------------------------------------
 */

static ds_status op_none(pickle_machine *machine) { return pickle_push(machine, VALUE_NONE); }
static ds_status op_false(pickle_machine *machine) { return pickle_push(machine, VALUE_FALSE); }
static ds_status op_true(pickle_machine *machine) { return pickle_push(machine, VALUE_TRUE); }

static ds_status push_int(pickle_machine *machine, int64_t integer) {
    if (integer >= 0 && integer < 256) return pickle_push(machine, (ds_value)(VALUE_SMALL_INT + integer));
    return pickle_push_new(machine, (pickle_value){.kind = DS_VALUE_INT, .integer = integer});
}

static ds_status op_binint(pickle_machine *machine) {
    uint64_t value = 0;
    ds_status status = take_unsigned(machine, &value, 4);
    return status == DS_OK ? push_int(machine, (int64_t)(int32_t)(uint32_t)value) : status;
}

static ds_status op_binint1(pickle_machine *machine) {
    uint64_t value = 0;
    ds_status status = take_unsigned(machine, &value, 1);
    return status == DS_OK ? push_int(machine, (int64_t)value) : status;
}

static ds_status op_binint2(pickle_machine *machine) {
    uint64_t value = 0;
    ds_status status = take_unsigned(machine, &value, 2);
    return status == DS_OK ? push_int(machine, (int64_t)value) : status;
}

/* Two's complement, little-endian, of any width. */
static ds_status push_long(pickle_machine *machine, size_t width) {
    const uint8_t *bytes;
    if (!ds_take_bytes(&machine->cursor, width, &bytes)) return truncated();
    if (width > 8) return pickle_push_new(machine, (pickle_value){.kind = DS_VALUE_BIG_INT});
    uint64_t value = width > 0 && bytes[width - 1] >= 0x80 ? UINT64_MAX : 0;
    for (size_t i = width; i > 0; i--) value = value << 8 | bytes[i - 1];
    int64_t integer;
    memcpy(&integer, &value, sizeof integer);
    return push_int(machine, integer);
}

static ds_status op_long1(pickle_machine *machine) {
    uint64_t width = 0;
    ds_status status = take_unsigned(machine, &width, 1);
    return status == DS_OK ? push_long(machine, (size_t)width) : status;
}

static ds_status op_long4(pickle_machine *machine) {
    uint64_t width = 0;
    ds_status status = take_unsigned(machine, &width, 4);
    return status == DS_OK ? push_long(machine, (size_t)width) : status;
}

static ds_status op_binfloat(pickle_machine *machine) {
    const uint8_t *bytes;
    if (!ds_take_bytes(&machine->cursor, 8, &bytes)) return truncated();
    uint64_t bits = 0;
    for (size_t i = 0; i < 8; i++) bits = bits << 8 | bytes[i]; /* big-endian, alone among the opcodes */
    pickle_value value = {.kind = DS_VALUE_FLOAT};
    memcpy(&value.real, &bits, sizeof bits);
    return pickle_push_new(machine, value);
}

/* ---- strings ----------------------------------------------------------------------------------------------------------------
 */

static ds_status push_text(pickle_machine *machine, ds_value_kind kind, size_t width) {
    uint64_t length = 0;
    pickle_value value = {.kind = (uint8_t)kind};
    ds_status status = take_unsigned(machine, &length, width);
    if (status != DS_OK) return status;
    if (length > machine->cursor.left || !ds_take_bytes(&machine->cursor, (size_t)length, &value.text))
        return ds_fail(DS_ERR_INPUT, "truncated pickle: a string of %llu bytes runs past its end, %zu bytes away",
                       (unsigned long long)length, machine->cursor.left);
    if (kind == DS_VALUE_STRING && !ds_is_utf8((const char *)value.text, (size_t)length))
        return ds_fail(DS_ERR_INPUT, "a str that is not UTF-8");
    value.count = (uint32_t)length;
    return pickle_push_new(machine, value);
}

static ds_status op_short_binunicode(pickle_machine *machine) { return push_text(machine, DS_VALUE_STRING, 1); }
static ds_status op_binunicode(pickle_machine *machine) { return push_text(machine, DS_VALUE_STRING, 4); }
static ds_status op_binunicode8(pickle_machine *machine) { return push_text(machine, DS_VALUE_STRING, 8); }
static ds_status op_short_bytes(pickle_machine *machine) { return push_text(machine, DS_VALUE_BYTES, 1); }
static ds_status op_bytes(pickle_machine *machine) { return push_text(machine, DS_VALUE_BYTES, 4); }
static ds_status op_bytes8(pickle_machine *machine) { return push_text(machine, DS_VALUE_BYTES, 8); }

/* ---- containers -------------------------------------------------------------------------------------------------------------
 */

static ds_status push_empty(pickle_machine *machine, ds_value_kind kind) {
    return pickle_push_new(machine, (pickle_value){.kind = (uint8_t)kind});
}

static ds_status op_empty_tuple(pickle_machine *machine) { return pickle_tuple(machine, 0); }
static ds_status op_empty_list(pickle_machine *machine) { return push_empty(machine, DS_VALUE_LIST); }
static ds_status op_empty_dict(pickle_machine *machine) { return push_empty(machine, DS_VALUE_DICT); }
static ds_status op_empty_set(pickle_machine *machine) { return push_empty(machine, DS_VALUE_SET); }

static ds_status top_tuple(pickle_machine *machine, size_t count) {
    size_t floor = machine->mark_count == 0 ? 0 : machine->marks[machine->mark_count - 1];
    if (machine->depth - floor < count) return ds_fail(DS_ERR_INPUT, "stack underflow");
    return pickle_tuple(machine, count);
}

static ds_status op_tuple1(pickle_machine *machine) { return top_tuple(machine, 1); }
static ds_status op_tuple2(pickle_machine *machine) { return top_tuple(machine, 2); }
static ds_status op_tuple3(pickle_machine *machine) { return top_tuple(machine, 3); }

static ds_status op_tuple(pickle_machine *machine) {
    size_t depth = 0;
    ds_status status = pop_mark(machine, &depth);
    return status == DS_OK ? pickle_tuple(machine, machine->depth - depth) : status;
}

/* A scalar, or a short tuple of scalars: what Python can hash, and at no cost. */
static bool can_be_key(const pickle_machine *machine, ds_value key) {
    enum { LONGEST_TUPLE = 8 };
    const pickle_value *value = pickle_at(machine, key);
    if (value->kind != DS_VALUE_TUPLE) return value->kind < DS_VALUE_TUPLE || value->kind > DS_VALUE_DICT;
    bool scalars = value->count <= LONGEST_TUPLE;
    for (uint32_t i = 0; i < value->count && scalars; i++)
        scalars = pickle_at(machine, machine->pickle->items[value->first + i])->kind < DS_VALUE_TUPLE;
    return scalars;
}

/* The last `count` values go into the container below them. */
static ds_status add_items(pickle_machine *machine, ds_value_kind kind, size_t count) {
    size_t below = machine->depth - count; /* count <= depth, the caller knows */
    size_t floor = machine->mark_count == 0 ? 0 : machine->marks[machine->mark_count - 1];
    if (below <= floor) return ds_fail(DS_ERR_INPUT, "stack underflow");
    ds_value container = machine->stack[below - 1];
    const pickle_value *value = pickle_at(machine, container);
    bool opaque = value->kind == DS_VALUE_OBJECT && value->global == PICKLE_OPAQUE; /* of a class derived from dict or list */
    if (value->kind != kind && !opaque)
        return ds_fail(DS_ERR_INPUT, "items are added to %s, expected %s", ds_value_describe(machine->pickle, container),
                       kind == DS_VALUE_DICT   ? "a dict"
                       : kind == DS_VALUE_LIST ? "a list"
                                               : "a set");
    if (kind == DS_VALUE_DICT) {
        for (size_t i = below; i < machine->depth; i += 2) {
            if (!can_be_key(machine, machine->stack[i]))
                return ds_fail(DS_ERR_INPUT, "bad dict key: it is not a string or another scalar but %s",
                               ds_value_describe(machine->pickle, machine->stack[i]));
        }
        if (count % 2 != 0) return ds_fail(DS_ERR_INPUT, "an odd number of items, %zu, for a dict", count);
    }
    if (!opaque) return pickle_extend(machine, container, count);
    ds_status status = DS_OK;
    for (; status == DS_OK && machine->depth > below; machine->depth--) /* nothing reads them */
        status = pickle_check_use(machine, machine->stack[machine->depth - 1]);
    return status;
}

static ds_status add_items_at_mark(pickle_machine *machine, ds_value_kind kind) {
    size_t depth = 0;
    ds_status status = pop_mark(machine, &depth);
    return status == DS_OK ? add_items(machine, kind, machine->depth - depth) : status;
}

static ds_status add_few(pickle_machine *machine, ds_value_kind kind, size_t count) {
    if (machine->depth < count) return ds_fail(DS_ERR_INPUT, "stack underflow");
    return add_items(machine, kind, count);
}

static ds_status op_append(pickle_machine *machine) { return add_few(machine, DS_VALUE_LIST, 1); }
static ds_status op_setitem(pickle_machine *machine) { return add_few(machine, DS_VALUE_DICT, 2); }
static ds_status op_appends(pickle_machine *machine) { return add_items_at_mark(machine, DS_VALUE_LIST); }
static ds_status op_setitems(pickle_machine *machine) { return add_items_at_mark(machine, DS_VALUE_DICT); }
static ds_status op_additems(pickle_machine *machine) { return add_items_at_mark(machine, DS_VALUE_SET); }

static ds_status op_frozenset(pickle_machine *machine) {
    size_t depth = 0;
    ds_value set = VALUE_NONE;
    ds_status status = pop_mark(machine, &depth);
    if (status == DS_OK) status = pickle_value_new(machine, &set, (pickle_value){.kind = DS_VALUE_SET});
    if (status == DS_OK) status = pickle_extend(machine, set, machine->depth - depth);
    return status == DS_OK ? pickle_push(machine, set) : status;
}

/* ---- memo -------------------------------------------------------------------------------------------------------------------
 */

static ds_status memo_put(pickle_machine *machine, uint64_t index) {
    ds_value value = VALUE_NONE;
    ds_status status = pickle_top(machine, &value);
    if (status != DS_OK) return status;
    if (index >= machine->length)
        return ds_fail(DS_ERR_INPUT, "memo index %llu in a pickle of %zu bytes", (unsigned long long)index, machine->length);
    if (index >= PICKLE_ENTRY_LIMIT)
        return ds_fail(DS_ERR_INPUT, "memo index %llu, expected less than %d", (unsigned long long)index, PICKLE_ENTRY_LIMIT);
    size_t before = machine->memo_capacity;
    void *grown = machine->memo;
    status = ds_grow(&grown, &machine->memo_capacity, (size_t)index + 1, sizeof value);
    machine->memo = grown;
    if (status != DS_OK) return status;
    memset(machine->memo + before, 0, (machine->memo_capacity - before) * sizeof value);
    if (machine->memo[index] == 0) machine->memo_used++;
    machine->memo[index] = value + 1;
    return DS_OK;
}

static ds_status memo_get(pickle_machine *machine, uint64_t index) {
    if (index >= machine->memo_capacity || machine->memo[index] == 0)
        return ds_fail(DS_ERR_INPUT, "memo %llu is not set", (unsigned long long)index);
    return pickle_push(machine, machine->memo[index] - 1);
}

static ds_status op_binput(pickle_machine *machine) {
    uint64_t index = 0;
    ds_status status = take_unsigned(machine, &index, 1);
    return status == DS_OK ? memo_put(machine, index) : status;
}

static ds_status op_long_binput(pickle_machine *machine) {
    uint64_t index = 0;
    ds_status status = take_unsigned(machine, &index, 4);
    return status == DS_OK ? memo_put(machine, index) : status;
}

static ds_status op_memoize(pickle_machine *machine) { return memo_put(machine, machine->memo_used); }

static ds_status op_binget(pickle_machine *machine) {
    uint64_t index = 0;
    ds_status status = take_unsigned(machine, &index, 1);
    return status == DS_OK ? memo_get(machine, index) : status;
}

static ds_status op_long_binget(pickle_machine *machine) {
    uint64_t index = 0;
    ds_status status = take_unsigned(machine, &index, 4);
    return status == DS_OK ? memo_get(machine, index) : status;
}

/* ---- names ------------------------------------------------------------------------------------------------------------------
 */

static ds_status take_line(pickle_machine *machine, const uint8_t **text, size_t *length) {
    const uint8_t *end = machine->cursor.left == 0 ? NULL : memchr(machine->cursor.at, '\n', machine->cursor.left);
    if (end == NULL) return ds_fail(DS_ERR_INPUT, "truncated pickle: a name that does not end");
    *length = (size_t)(end - machine->cursor.at);
    return ds_take_bytes(&machine->cursor, *length + 1, text) ? DS_OK : truncated();
}

static ds_status op_global(pickle_machine *machine) {
    const uint8_t *module = NULL, *name = NULL;
    size_t module_length = 0, name_length = 0;
    ds_status status = take_line(machine, &module, &module_length);
    if (status == DS_OK) status = take_line(machine, &name, &name_length);
    return status == DS_OK ? pickle_global_push(machine, module, module_length, name, name_length) : status;
}

static ds_status op_stack_global(pickle_machine *machine) {
    ds_value module = VALUE_NONE, name = VALUE_NONE;
    ds_status status = pickle_pop(machine, &name);
    if (status == DS_OK) status = pickle_pop(machine, &module);
    if (status != DS_OK) return status;
    const pickle_value *m = pickle_at(machine, module), *n = pickle_at(machine, name);
    if (m->kind != DS_VALUE_STRING || n->kind != DS_VALUE_STRING)
        return ds_fail(DS_ERR_INPUT, "the name of a global is not a str");
    return pickle_global_push(machine, m->text, m->count, n->text, n->count);
}

/* ---- the table --------------------------------------------------------------------------------------------------------------
 */

static const struct {
    const char *name;
    ds_status (*run)(pickle_machine *machine); /* NULL: refused */
} opcodes[256] = {
    ['('] = {"MARK", op_mark},
    [')'] = {"EMPTY_TUPLE", op_empty_tuple},
    ['.'] = {"STOP", op_stop},
    ['0'] = {"POP", NULL},
    ['1'] = {"POP_MARK", NULL},
    ['2'] = {"DUP", NULL},
    ['B'] = {"BINBYTES", op_bytes},
    ['C'] = {"SHORT_BINBYTES", op_short_bytes},
    ['F'] = {"FLOAT", NULL},
    ['G'] = {"BINFLOAT", op_binfloat},
    ['I'] = {"INT", NULL},
    ['J'] = {"BININT", op_binint},
    ['K'] = {"BININT1", op_binint1},
    ['L'] = {"LONG", NULL},
    ['M'] = {"BININT2", op_binint2},
    ['N'] = {"NONE", op_none},
    ['P'] = {"PERSID", NULL},
    ['Q'] = {"BINPERSID", pickle_persistent},
    ['R'] = {"REDUCE", pickle_reduce},
    ['S'] = {"STRING", NULL},
    ['T'] = {"BINSTRING", NULL},
    ['U'] = {"SHORT_BINSTRING", op_short_bytes},
    ['V'] = {"UNICODE", NULL},
    ['X'] = {"BINUNICODE", op_binunicode},
    [']'] = {"EMPTY_LIST", op_empty_list},
    ['a'] = {"APPEND", op_append},
    ['b'] = {"BUILD", pickle_build},
    ['c'] = {"GLOBAL", op_global},
    ['d'] = {"DICT", NULL},
    ['e'] = {"APPENDS", op_appends},
    ['g'] = {"GET", NULL},
    ['h'] = {"BINGET", op_binget},
    ['i'] = {"INST", NULL},
    ['j'] = {"LONG_BINGET", op_long_binget},
    ['l'] = {"LIST", NULL},
    ['o'] = {"OBJ", NULL},
    ['p'] = {"PUT", NULL},
    ['q'] = {"BINPUT", op_binput},
    ['r'] = {"LONG_BINPUT", op_long_binput},
    ['s'] = {"SETITEM", op_setitem},
    ['t'] = {"TUPLE", op_tuple},
    ['u'] = {"SETITEMS", op_setitems},
    ['}'] = {"EMPTY_DICT", op_empty_dict},
    [0x80] = {"PROTO", op_proto},
    [0x81] = {"NEWOBJ", pickle_new_object},
    [0x82] = {"EXT1", NULL},
    [0x83] = {"EXT2", NULL},
    [0x84] = {"EXT4", NULL},
    [0x85] = {"TUPLE1", op_tuple1},
    [0x86] = {"TUPLE2", op_tuple2},
    [0x87] = {"TUPLE3", op_tuple3},
    [0x88] = {"NEWTRUE", op_true},
    [0x89] = {"NEWFALSE", op_false},
    [0x8a] = {"LONG1", op_long1},
    [0x8b] = {"LONG4", op_long4},
    [0x8c] = {"SHORT_BINUNICODE", op_short_binunicode},
    [0x8d] = {"BINUNICODE8", op_binunicode8},
    [0x8e] = {"BINBYTES8", op_bytes8},
    [0x8f] = {"EMPTY_SET", op_empty_set},
    [0x90] = {"ADDITEMS", op_additems},
    [0x91] = {"FROZENSET", op_frozenset},
    [0x92] = {"NEWOBJ_EX", pickle_new_object_ex},
    [0x93] = {"STACK_GLOBAL", op_stack_global},
    [0x94] = {"MEMOIZE", op_memoize},
    [0x95] = {"FRAME", op_frame},
    [0x96] = {"BYTEARRAY8", op_bytes8},
    [0x97] = {"NEXT_BUFFER", NULL},
    [0x98] = {"READONLY_BUFFER", NULL},
};

ds_status pickle_step(pickle_machine *machine) {
    bool first = machine->cursor.left == machine->length;
    uint8_t code;
    if (!ds_take_u8(&machine->cursor, &code)) return truncated();
    if (first && code != 0x80) return ds_fail(DS_ERR_INPUT, "not a pickle of protocol 2 to 5: it begins with 0x%02X", code);
    if (opcodes[code].name == NULL) return ds_fail(DS_ERR_INPUT, "0x%02X is not an opcode", code);
    if (opcodes[code].run == NULL) return ds_fail(DS_ERR_INPUT, "opcode %s is not supported", opcodes[code].name);
    return opcodes[code].run(machine);
}
