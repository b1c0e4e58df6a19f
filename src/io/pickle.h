/* A restricted pickle machine: it builds inert values in a flat arena and never calls, imports or looks up anything.
 *
 * Python's pickle is a program. This machine runs the opcodes of protocols 2 to 5 that build data. Names of classes and
 * functions are looked up in a table (pickle_globals.c), and "calling" one makes a tensor description, an empty container or an
 * inert object. Names of no table (pickle_names.c) are refused, or, as those of a script's own classes, stand for an opaque
 * object of which nothing but its name and attributes is read. Everything else is refused. Values are numbered records, so a
 * value that contains itself, or is shared 2^40 times, costs nothing to hold, to walk one level of, or to free.
 *
 * Cost: linear in the pickle in time and memory, apart from one sort of each dict's keys. Private to io. */
#ifndef DELTASCOPE_IO_PICKLE_H
#define DELTASCOPE_IO_PICKLE_H

#include "deltascope/io.h"

typedef struct ds_pickle ds_pickle;
typedef uint32_t ds_value; /* the number of a value within its pickle */

typedef enum ds_value_kind {
    DS_VALUE_NONE,
    DS_VALUE_BOOL,
    DS_VALUE_INT,
    DS_VALUE_BIG_INT, /* outside int64: inert */
    DS_VALUE_FLOAT,
    DS_VALUE_STRING, /* well-formed UTF-8, may hold NUL */
    DS_VALUE_BYTES,
    DS_VALUE_TUPLE,
    DS_VALUE_LIST,
    DS_VALUE_SET,
    DS_VALUE_DICT,
    DS_VALUE_GLOBAL,  /* a class, function or dtype, not called */
    DS_VALUE_OBJECT,  /* an instance of an inert class, of the table or opaque */
    DS_VALUE_STORAGE, /* ds_pickle_storage */
    DS_VALUE_TENSOR,  /* ds_pickle_tensor */
} ds_value_kind;

/* Parses exactly one pickle of `length` bytes, which must stay alive and unchanged as long as the result: strings are views.
 * A plain pickle may hold no names at all (None, bool, int, float, str, bytes, tuple, list, set, dict); a torch one those of
 * the table, opaques, storages and tensors. `where` ("FILE: data.pkl", fit for printing) starts every sentence. Checked: the
 * stack holds one value at STOP and nothing follows; no dict holds a string or integer key twice; no more than DS_PICKLE_LIMIT
 * bytes, and of each kind of entry no more than 2^24, so that memory stays below 1 GiB. */
#define DS_PICKLE_LIMIT ((size_t)64 << 20)
typedef enum ds_pickle_names { DS_PICKLE_PLAIN, DS_PICKLE_TORCH } ds_pickle_names;
ds_status ds_pickle_parse(ds_pickle **out, const void *bytes, size_t length, ds_pickle_names names,
                          const char *where) DS_MUST_CHECK;
void ds_pickle_free(ds_pickle **pickle); /* sets NULL; NULL is fine */

ds_value ds_pickle_root(const ds_pickle *pickle);
size_t ds_pickle_values(const ds_pickle *pickle); /* all are below it */
ds_value_kind ds_value_kind_of(const ds_pickle *pickle, ds_value value);
/* For messages: "an int", "a dict", "an argparse.Namespace", ... */
const char *ds_value_describe(const ds_pickle *pickle, ds_value value);

/* Each is false, leaving the outputs alone, when the value is of another kind. A bool is not an int. */
bool ds_value_int(int64_t *out, const ds_pickle *pickle, ds_value value) DS_MUST_CHECK;
bool ds_value_real(double *out, const ds_pickle *pickle, ds_value value) DS_MUST_CHECK;
bool ds_value_bool(bool *out, const ds_pickle *pickle, ds_value value) DS_MUST_CHECK;
/* The dict of attributes of an object that was given one. */
bool ds_value_attributes(ds_value *out, const ds_pickle *pickle, ds_value value) DS_MUST_CHECK;
bool ds_value_string(const char **bytes, size_t *length, const ds_pickle *pickle, ds_value value) DS_MUST_CHECK;

/* Items of a tuple, list or set, pairs of a dict; 0 for every other kind. */
size_t ds_value_count(const ds_pickle *pickle, ds_value value);
ds_value ds_value_item(const ds_pickle *pickle, ds_value value, size_t index); /* tuple, list, set */
ds_value ds_value_key(const ds_pickle *pickle, ds_value dict, size_t index);   /* in the order of insertion */
ds_value ds_value_at(const ds_pickle *pickle, ds_value dict, size_t index);
/* The value under a NUL-terminated string key; a walk over all keys. False when absent or not a dict. */
bool ds_value_find(ds_value *out, const ds_pickle *pickle, ds_value dict, const char *key) DS_MUST_CHECK;

/* ---- what torch adds --------------------------------------------------------------------------------------------- */

typedef struct ds_pickle_dtype {
    const char *name; /* "F32", "I64", "F8_E4M3", ... */
    ds_dtype dtype;
    uint64_t size; /* bytes */
} ds_pickle_dtype;

/* One mention of a storage: the same key may be mentioned many times. */
typedef struct ds_pickle_storage {
    const char *key; /* not NUL-terminated; letters, digits, '_' and '-' only */
    size_t key_length;
    const ds_pickle_dtype *dtype; /* "untyped", one byte, for torch.storage.UntypedStorage */
    uint64_t count;               /* elements; count * dtype->size < 2^63 */
} ds_pickle_storage;

/* A tensor as described, not yet compared with its storage. */
typedef struct ds_pickle_tensor {
    uint32_t storage;      /* index */
    ds_value size, stride; /* tuples of equal length holding integers >= 0 */
    uint64_t offset;       /* elements */
    const ds_pickle_dtype *dtype;
} ds_pickle_tensor;

size_t ds_pickle_storages(const ds_pickle *pickle);
const ds_pickle_storage *ds_pickle_storage_at(const ds_pickle *pickle, size_t index);
size_t ds_pickle_tensors(const ds_pickle *pickle);
const ds_pickle_tensor *ds_pickle_tensor_at(const ds_pickle *pickle, size_t index);
/* The tensor's index, for a value of kind DS_VALUE_TENSOR. */
bool ds_value_tensor(size_t *index, const ds_pickle *pickle, ds_value value) DS_MUST_CHECK;

#endif
