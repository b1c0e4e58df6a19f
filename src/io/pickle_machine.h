/* The inside of the pickle machine, shared by pickle*.c: values, the stack, the table of names. */
#ifndef DELTASCOPE_IO_PICKLE_MACHINE_H
#define DELTASCOPE_IO_PICKLE_MACHINE_H

#include "pickle.h"

/* What a name of the table may be used for. */
typedef enum pickle_rule {
    RULE_VALUE,       /* neither called nor built: a dtype, a storage class, torch.Tensor */
    RULE_STORAGE,     /* the same, and may stand in a persistent id */
    RULE_FUNCTION,    /* a call gives an inert object */
    RULE_MAKER,       /* the same, which may get attributes */
    RULE_CLASS,       /* the same, and so does a construction */
    RULE_OPAQUE,      /* of no table: as a class, and items may be added; only a class may be called */
    RULE_MEMBER,      /* only called, as (class or object of no table, name): gives an opaque, "Class.name" */
    RULE_DICT,        /* a call gives an empty dict, which may get attributes */
    RULE_LIST,        /* a call gives an empty list */
    RULE_TENSOR_V1,   /* torch._utils._rebuild_tensor(storage, offset, size, stride) */
    RULE_TENSOR_V2,   /* ... (storage, offset, size, stride, requires_grad, hooks [, metadata]) */
    RULE_TENSOR_V3,   /* ... (storage, offset, size, stride, requires_grad, hooks, dtype [, metadata]) */
    RULE_PARAMETER,   /* (tensor, requires_grad, hooks [, state]) */
    RULE_SUBCLASS,    /* (function, class, arguments, state) */
    RULE_UNSUPPORTED, /* a tensor whose values are not one strided storage */
} pickle_rule;

typedef struct pickle_global {
    const char *module, *name;
    pickle_rule rule;
    const ds_pickle_dtype *dtype; /* of a storage class or a dtype */
} pickle_global;

extern const pickle_global pickle_globals[]; /* sorted by module, then name */
extern const size_t pickle_global_count;
/* SIZE_MAX when the table has no such name. Python 2's and numpy 2's spellings of a module are found as well. */
size_t pickle_global_find(const uint8_t *module, size_t module_length, const uint8_t *name, size_t name_length);

/* A name of no table, in pickle_names.c: whether it may stand for an inert opaque, and whether it is written as classes are.
 * All of one pickle's take PICKLE_NAMES_LIMIT bytes at most: a memo could repeat one for less than it costs. */
enum { PICKLE_NAME_LIMIT = 255, PICKLE_NAMES_LIMIT = 1 << 24, PICKLE_OPAQUE = UINT16_MAX };
bool pickle_name_is_opaque(const uint8_t *module, size_t module_length, const uint8_t *name, size_t name_length);
/* "Name", or of a class in a class, "Outer.Inner". */
bool pickle_name_is_allowed(const uint8_t *name, size_t length);
bool pickle_name_is_class(const uint8_t *name, size_t length);

typedef struct pickle_value {
    uint8_t kind;    /* ds_value_kind */
    bool attributed; /* BUILD may give it attributes; of an opaque GLOBAL: it is written as a class */
    uint16_t global; /* of a GLOBAL or OBJECT; PICKLE_OPAQUE for a name of no table */
    uint32_t count;  /* bytes of a string, items of a container (2 per pair) */
    union {
        int64_t integer; /* BOOL, INT */
        double real;
        const uint8_t *text;
        struct {
            uint32_t first, last; /* while running: chunks of a list, set or dict; else `first` is an index into `items` */
        };
        struct {
            uint32_t name;       /* of an opaque GLOBAL or OBJECT: where it begins in `names` */
            uint32_t attributes; /* of an OBJECT: a dict, or VALUE_NONE */
        };
        uint32_t index; /* of a storage or tensor */
    };
} pickle_value;

/* A run of items of one container; its chunks form a list in the order they were added. */
typedef struct pickle_chunk {
    uint32_t first, count, next;
} pickle_chunk;

/* Most values, items, stack entries, marks and memo entries each. A byte of pickle makes at most one of them, of 16 bytes at
 * most: this bounds memory well below what DS_PICKLE_LIMIT bytes could ask for; 100,000 tensors with their optimizer need
 * about half of it. Tensors and storages take more room, and a real checkpoint has far fewer. */
enum { PICKLE_ENTRY_LIMIT = 1 << 24, PICKLE_TENSOR_LIMIT = 1 << 21 };

/* Values every pickle has, so that they cost nothing: None, False, True, (), 0 ... 255. */
enum { VALUE_NONE, VALUE_FALSE, VALUE_TRUE, VALUE_EMPTY_TUPLE, VALUE_SMALL_INT };

struct ds_pickle {
    pickle_value *values;
    ds_value *items;
    ds_pickle_storage *storages;
    ds_pickle_tensor *tensors;
    size_t value_count, value_capacity;
    size_t item_count, item_capacity;
    size_t storage_count, storage_capacity;
    size_t tensor_count, tensor_capacity;
    ds_text names; /* "module.name" of opaque globals, each with a NUL */
    ds_value root;
};

typedef struct pickle_machine {
    ds_pickle *pickle;
    ds_pickle_names names;
    ds_cursor cursor;
    size_t length; /* of the whole pickle */
    ds_value *stack;
    size_t depth, stack_capacity;
    size_t *marks; /* stack depths */
    size_t mark_count, mark_capacity;
    ds_value *memo; /* value + 1; 0 where nothing was stored */
    size_t memo_capacity, memo_used;
    pickle_chunk *chunks; /* chunk 0 ends every list */
    size_t chunk_count, chunk_capacity;
    bool stopped;
} pickle_machine;

/* The building blocks, in pickle.c. */
ds_status pickle_value_new(pickle_machine *machine, ds_value *out, pickle_value value) DS_MUST_CHECK;
ds_status pickle_push(pickle_machine *machine, ds_value value) DS_MUST_CHECK;
ds_status pickle_push_new(pickle_machine *machine, pickle_value value) DS_MUST_CHECK;
/* The last value, which stays. Fails when nothing lies above the last mark. */
ds_status pickle_top(const pickle_machine *machine, ds_value *out) DS_MUST_CHECK;
/* Fails for what may only be called: it is refused wherever else it stands. */
ds_status pickle_check_use(const pickle_machine *machine, ds_value value) DS_MUST_CHECK;
/* Both of the above; the value is taken away. */
ds_status pickle_pop(pickle_machine *machine, ds_value *out) DS_MUST_CHECK;
/* Moves the last `count` values of the stack into a new tuple, which is pushed. */
ds_status pickle_tuple(pickle_machine *machine, size_t count) DS_MUST_CHECK;
/* Moves the last `count` values of the stack to the end of a list, set or dict. */
ds_status pickle_extend(pickle_machine *machine, ds_value container, size_t count) DS_MUST_CHECK;
static inline pickle_value *pickle_at(const pickle_machine *machine, ds_value value) { return &machine->pickle->values[value]; }

/* One opcode, in pickle_opcodes.c. */
ds_status pickle_step(pickle_machine *machine) DS_MUST_CHECK;

/* The row of the table a GLOBAL or OBJECT stands for, or the one of all opaques. In pickle_globals.c. */
const pickle_global *pickle_global_of(const pickle_value *value);

/* What classes and functions do, in pickle_objects.c. */
ds_status pickle_global_push(pickle_machine *machine, const uint8_t *module, size_t module_length, const uint8_t *name,
                             size_t name_length) DS_MUST_CHECK;
ds_status pickle_refuse_global(const pickle_global *global) DS_MUST_CHECK;
ds_status pickle_reduce(pickle_machine *machine) DS_MUST_CHECK;
ds_status pickle_new_object(pickle_machine *machine) DS_MUST_CHECK;
ds_status pickle_new_object_ex(pickle_machine *machine) DS_MUST_CHECK;
ds_status pickle_build(pickle_machine *machine) DS_MUST_CHECK;
ds_status pickle_persistent(pickle_machine *machine) DS_MUST_CHECK;

#endif
