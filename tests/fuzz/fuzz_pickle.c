/* The pickle machine. Every value can be walked one level; a plain pickle is a torch pickle too; no pickle is the
 * front of another. */
#include <string.h>

#include "fuzz.h"
#include "io/pickle.h"

static void walk(const ds_pickle *pickle, ds_value value, const uint8_t *data, size_t size, size_t depth, size_t *budget) {
    if (depth > 64 || *budget == 0) return;
    --*budget;
    const char *text;
    size_t length, index;
    int64_t integer;
    ds_value_kind kind = ds_value_kind_of(pickle, value);
    MUST(ds_value_describe(pickle, value)[0] != '\0');
    MUST(ds_value_int(&integer, pickle, value) == (kind == DS_VALUE_INT));
    if (ds_value_string(&text, &length, pickle, value)) {
        MUST(kind == DS_VALUE_STRING && ds_is_utf8(text, length));
        MUST((const uint8_t *)text >= data && length <= size && (const uint8_t *)text - data <= (ptrdiff_t)(size - length));
    }
    if (ds_value_tensor(&index, pickle, value)) MUST(index < ds_pickle_tensors(pickle));
    for (size_t i = 0; i < ds_value_count(pickle, value); i++) {
        if (kind == DS_VALUE_DICT) {
            walk(pickle, ds_value_key(pickle, value, i), data, size, depth + 1, budget);
            walk(pickle, ds_value_at(pickle, value, i), data, size, depth + 1, budget);
        } else {
            walk(pickle, ds_value_item(pickle, value, i), data, size, depth + 1, budget);
        }
    }
}

static ds_status parse(ds_pickle **pickle, const uint8_t *data, size_t size, ds_pickle_names names) {
    ds_status status = ds_pickle_parse(pickle, data, size, names, relation_path("a.pkl"));
    if (status != DS_OK) refusal_is_a_sentence(status);
    MUST((status == DS_OK) == (*pickle != NULL));
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    ds_pickle *torch, *plain, *shorter;
    (void)parse(&torch, data, size, DS_PICKLE_TORCH);
    (void)parse(&plain, data, size, DS_PICKLE_PLAIN);
    MUST(plain == NULL || torch != NULL);
    if (torch != NULL) {
        size_t budget = 10000;
        walk(torch, ds_pickle_root(torch), data, size, 0, &budget);
        for (size_t i = 0; i < ds_pickle_tensors(torch); i++) {
            const ds_pickle_tensor *tensor = ds_pickle_tensor_at(torch, i);
            MUST(tensor->storage < ds_pickle_storages(torch));
            MUST(ds_value_count(torch, tensor->size) == ds_value_count(torch, tensor->stride));
        }
        MUST(parse(&shorter, data, size - 1, DS_PICKLE_TORCH) == DS_ERR_INPUT);
    }
    if (plain != NULL) {
        size_t budget = 10000;
        walk(plain, ds_pickle_root(plain), data, size, 0, &budget);
        MUST(ds_pickle_tensors(plain) == 0);
        MUST(torch == NULL || ds_value_kind_of(plain, ds_pickle_root(plain)) == ds_value_kind_of(torch, ds_pickle_root(torch)));
    }
    ds_pickle_free(&plain);
    ds_pickle_free(&torch);
    return 0;
}
