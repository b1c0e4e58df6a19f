/* ds_json_parse: what is accepted is bounded in depth and equal to itself after printing and parsing again. */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

static size_t depth_of(const json_t *value) {
    size_t deepest = 0, index;
    const char *key;
    json_t *item;
    if (json_is_array(value)) {
        json_array_foreach(value, index, item) deepest = ds_max_size(deepest, depth_of(item));
        return deepest + 1;
    }
    if (!json_is_object(value)) return 0;
    json_object_foreach((json_t *)(uintptr_t)value, key, item) deepest = ds_max_size(deepest, depth_of(item));
    return deepest + 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    json_t *value, *again;
    ds_status status = ds_json_parse(&value, (const char *)data, size, relation_path("a.json"));
    if (status != DS_OK) {
        refusal_is_a_sentence(status);
        MUST(value == NULL);
        return 0;
    }
    MUST(depth_of(value) <= 100);
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(17));
    MUST(text != NULL);
    MUST(ds_json_parse(&again, text, strlen(text), "again.json") == DS_OK);
    MUST(json_equal(value, again));
    json_decref(again);
    json_decref(value);
    free(text);
    return 0;
}
