/* Building JSON as a list of facts: the first failure is kept and reported at the end. */
#include <math.h>
#include <string.h>

#include "deltascope/io.h"

json_t *ds_json_number(double value) { return isfinite(value) ? json_real(value) : json_null(); }

static void fail(ds_json_builder *b, ds_status status) {
    if (b->status == DS_OK) b->status = status;
}

static ds_status out_of_memory(void) { return ds_fail(DS_ERR_SYSTEM, "out of memory while results are put together"); }

/* Adds `value` where the builder stands, stealing it; returns whether it is there now. */
static bool attach(ds_json_builder *b, const char *key, json_t *value) {
    bool added = false;
    json_t *parent = b->depth == 0 ? NULL : b->open[b->depth - 1];
    if (b->status != DS_OK) {
        json_decref(value);
    } else if (value == NULL) {
        fail(b, out_of_memory());
    } else if (parent == NULL || json_is_object(parent) != (key != NULL)) {
        json_decref(value);
        fail(b, ds_fail(DS_ERR_USAGE, "a result's member %s",
                        parent == NULL ? "stands outside the one object or array"
                        : key == NULL  ? "of an object lacks its key"
                                       : "of an array has a key"));
    } else {
        added = (key != NULL ? json_object_set_new(parent, key, value) : json_array_append_new(parent, value)) == 0;
        if (!added) fail(b, out_of_memory());
    }
    return added;
}

static void begin(ds_json_builder *b, const char *key, json_t *container) {
    if (b->status == DS_OK && b->depth == DS_JSON_DEPTH)
        fail(b, ds_fail(DS_ERR_USAGE, "results are nested deeper than %d", DS_JSON_DEPTH));
    bool root = b->status == DS_OK && b->open[0] == NULL && key == NULL && container != NULL;
    if (root || attach(b, key, container)) b->open[b->depth++] = container;
}

void ds_json_begin_object(ds_json_builder *b, const char *key) { begin(b, key, json_object()); }

void ds_json_begin_array(ds_json_builder *b, const char *key) { begin(b, key, json_array()); }

void ds_json_end(ds_json_builder *b) {
    if (b->status != DS_OK) return;
    if (b->depth == 0)
        fail(b, ds_fail(DS_ERR_USAGE, "a result is closed that was not begun"));
    else
        b->depth--;
}

void ds_json_put(ds_json_builder *b, const char *key, json_t *value) { (void)attach(b, key, value); }

void ds_json_put_real(ds_json_builder *b, const char *key, double value) { ds_json_put(b, key, ds_json_number(value)); }

void ds_json_put_count(ds_json_builder *b, const char *key, uint64_t value) {
    ds_json_put(b, key, value <= INT64_MAX ? json_integer((json_int_t)value) : json_real((double)value));
}

void ds_json_put_bool(ds_json_builder *b, const char *key, bool value) { ds_json_put(b, key, json_boolean(value)); }

void ds_json_put_text(ds_json_builder *b, const char *key, const char *text) {
    if (text == NULL)
        ds_json_put(b, key, json_null());
    else
        ds_json_put(b, key, json_string(ds_is_utf8(text, strlen(text)) ? text : DS_SHOW(text)));
}

void ds_json_put_reals(ds_json_builder *b, const char *key, const double *values, size_t count) {
    ds_json_begin_array(b, key);
    for (size_t i = 0; i < count; i++) ds_json_put_real(b, NULL, values[i]);
    ds_json_end(b);
}

void ds_json_put_counts(ds_json_builder *b, const char *key, const uint64_t *values, size_t count) {
    ds_json_begin_array(b, key);
    for (size_t i = 0; i < count; i++) ds_json_put_count(b, NULL, values[i]);
    ds_json_end(b);
}

ds_status ds_json_finish(json_t **out, ds_json_builder *b) {
    *out = NULL;
    if (b->status == DS_OK && b->open[0] == NULL) fail(b, ds_fail(DS_ERR_USAGE, "a result was finished before it was begun"));
    if (b->status == DS_OK && b->depth != 0)
        fail(b, ds_fail(DS_ERR_USAGE, "a result was finished with %zu levels open", b->depth));
    ds_status status = b->status;
    if (status == DS_OK) *out = json_incref(b->open[0]);
    ds_json_discard(b);
    return status;
}

void ds_json_discard(ds_json_builder *b) {
    json_decref(b->open[0]);
    *b = (ds_json_builder){0};
}

json_t *ds_json_copy(const json_t *value) {
    json_t *copy = json_deep_copy(value);
    if (json_equal(copy, value)) return copy;
    json_decref(copy);
    return NULL;
}
