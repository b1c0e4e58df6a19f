/* JSON from strangers: what jansson leaves open (depth, memory) is decided by one scan before it sees a byte. */
#include <string.h>

#include "deltascope/io.h"

#include "recognise.h"

enum { MAX_DEPTH = 100 };

/* What jansson 2.14's tree costs on a 64-bit machine, rounded up: an empty object takes 240 bytes with its buckets, a member
 * 100 to 140 besides its key, an array 100, an element 40 with its slot. Text costs at most what the input has. */
static const uint64_t container_bytes = 256, member_bytes = 144, tree_limit = UINT64_C(512) << 20;

/* Follows strings and brackets only: whatever else is wrong, jansson says. */
static ds_status scan(const char *bytes, size_t length, const char *where) {
    size_t depth = 0;
    uint64_t tree = 0;
    bool in_string = false;
    for (size_t i = 0; i < length; i++) {
        char c = bytes[i];
        if (in_string) {
            if (c == '\\') i++;
            in_string = c != '"';
        } else if (c == '"') {
            in_string = true;
        } else if (c == '[' || c == '{') {
            tree += container_bytes + member_bytes;
            if (++depth > MAX_DEPTH)
                return ds_fail(DS_ERR_INPUT, "%s: invalid JSON: nesting too deep: more than %d levels at byte %zu",
                               DS_SHOW(where), MAX_DEPTH, i);
        } else if (c == ']' || c == '}') {
            if (depth > 0) depth--;
        } else if (c == ',') {
            tree += member_bytes;
        }
    }
    if (tree > tree_limit)
        return ds_fail(DS_ERR_INPUT,
                       "%s: JSON too large: its values would take about %llu MiB of memory, expected at most %llu",
                       DS_SHOW(where), (unsigned long long)(tree >> 20), (unsigned long long)(tree_limit >> 20));
    return DS_OK;
}

/* jansson 2.14 takes an allocation that failed for a syntax error, or drops a character and goes on; so its allocator notes
 * failures for us where the hooks are installed. */
static json_malloc_t jansson_malloc;
static json_free_t jansson_free;
static _Thread_local bool starved;

static void *allocate(size_t size) {
    void *memory = jansson_malloc(size);
    if (memory == NULL) starved = true;
    return memory;
}

void ds_io_hooks(void) {
    if (jansson_malloc != NULL) return;
    json_get_alloc_funcs(&jansson_malloc, &jansson_free);
    json_set_alloc_funcs(allocate, jansson_free);
}

/* Where the fault is, for people: the last member name (a string before a colon) in front of it; "" when there is none. */
static ds_name key_before(const char *bytes, size_t length) {
    size_t start = 0, end = 0, key_start = 0, key_end = 0;
    bool in_string = false;
    for (size_t i = 0; i < length; i++) {
        char c = bytes[i];
        if (c == '"') {
            in_string = !in_string;
            if (in_string) start = i + 1;
            end = i;
        } else if (in_string && c == '\\') {
            i++;
        } else if (!in_string && c == ':' && end >= start) {
            key_start = start;
            key_end = end;
        }
    }
    return ds_escape(bytes + key_start, key_end - key_start);
}

static ds_status parse_failure(const json_error_t *error, const char *bytes, size_t length, const char *where) {
    const char *meaning = "";
    switch (json_error_code(error)) {
    case json_error_end_of_input_expected:
        meaning = "trailing characters after the value: ";
        break;
    case json_error_numeric_overflow:
        meaning = "number out of range: ";
        break;
    case json_error_duplicate_key:
        meaning = "duplicate key: ";
        break;
    case json_error_null_character:
    case json_error_null_byte_in_key:
        meaning = "NUL in a name or string: ";
        break;
    default:
        break;
    }
    size_t position = error->position < 0 ? 0 : ds_min_size((size_t)error->position, length);
    ds_name key = key_before(bytes, position);
    return ds_fail(DS_ERR_INPUT, "%s: invalid JSON: %s%s (line %d, column %d%s%s)", DS_SHOW(where), meaning,
                   DS_SHOW(error->text), error->line, error->column, key.text[0] == '\0' ? "" : ", after key ", key.text);
}

ds_status ds_json_parse(json_t **out, const char *bytes, size_t length, const char *where) {
    *out = NULL;
    const ds_kind kind = ds_kind_of((const uint8_t *)bytes, ds_min_size(length, DS_KIND_HEAD));
    if (kind.what != NULL)
        return ds_fail(DS_ERR_INPUT, "%s: invalid JSON: this is %s: %s", DS_SHOW(where), kind.what, kind.advice);
    if (!ds_is_utf8(bytes, length)) return ds_fail(DS_ERR_INPUT, "%s: invalid JSON: invalid UTF-8", DS_SHOW(where));
    ds_status status = scan(bytes, length, where);
    if (status != DS_OK) return status;
    starved = false;
    json_error_t error;
    *out = json_loadb(bytes, length, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    if (starved) {
        json_decref(*out);
        *out = NULL;
        return ds_fail(DS_ERR_SYSTEM, "%s: out of memory while parsing JSON", DS_SHOW(where));
    }
    return *out != NULL ? DS_OK : parse_failure(&error, bytes, length, where);
}
