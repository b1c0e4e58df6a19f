#include "inspection_rows.h"

#include <inttypes.h>
#include <string.h>

#include "deltascope/measure/checkpoint_inspection.h"

static const char *text_at(const json_t *value, const char *path) { return json_string_value(ds_json_at(value, path)); }

static uint64_t count_at(const json_t *value, const char *path) {
    return (uint64_t)json_integer_value(ds_json_at(value, path));
}

/* "65x32"; a single number for a vector. */
static void put_shape(ds_json_builder *b, const json_t *shape) {
    char text[DS_MAX_RANK * 22] = "";
    for (size_t axis = 0, used = 0; axis < json_array_size(shape); axis++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%" JSON_INTEGER_FORMAT, axis == 0 ? "" : "x",
                                 json_integer_value(json_array_get(shape, axis)));
    ds_json_put_text(b, "shape", text);
}

static void append_oddity(char *text, size_t capacity, uint64_t count, const char *what) {
    size_t used = strlen(text);
    if (count != 0) (void)snprintf(text + used, capacity - used, ", %" PRIu64 " %s", count, what);
}

/* The name taken apart, narrow enough for a terminal: the layer in front, oddities behind the role. */
static void put_narrow(ds_json_builder *b, const char *name, const char *role, const json_t *health) {
    static const char *const prefixes[] = {"transformer.h.", "model.layers.", "layers.", "h."};
    const char *within = name, *of_layer = strstr(role, " of layer ");
    char layer[32] = "", text[256];
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        size_t length = strlen(prefixes[i]), digits = 0;
        if (strncmp(name, prefixes[i], length) == 0) digits = strspn(name + length, "0123456789");
        if (digits == 0 || digits >= sizeof layer || name[length + digits] != '.') continue;
        memcpy(layer, name + length, digits);
        within += length + digits + 1;
        break;
    }
    (void)snprintf(text, sizeof text, "%.*s", (int)(of_layer == NULL ? strlen(role) : (size_t)(of_layer - role)), role);
    append_oddity(text, sizeof text, count_at(health, "nan"), "NaN");
    append_oddity(text, sizeof text, count_at(health, "inf"), "Inf");
    if (ds_zero_rows_are_odd(name)) append_oddity(text, sizeof text, count_at(health, "zero_rows"), "zero");
    ds_json_put_text(b, "layer", layer);
    ds_json_put_text(b, "within", DS_SHOW(within));
    ds_json_put_text(b, "role_and_oddities", text);
}

/* health NULL: a tensor that cannot be read as numbers. */
static void put_tensor(ds_json_builder *b, const json_t *tensor, const json_t *health) {
    const char *name = text_at(tensor, "name"), *role = text_at(tensor, "role");
    if (role == NULL) role = "unused";
    ds_json_begin_object(b, NULL);
    ds_json_put_text(b, "tensor", DS_SHOW(name));
    ds_json_put_text(b, "dtype", text_at(tensor, "dtype"));
    put_shape(b, ds_json_at(tensor, "shape"));
    ds_json_put_text(b, "role", role);
    ds_json_put_count(b, "nan", count_at(health, "nan"));
    ds_json_put_count(b, "inf", count_at(health, "inf"));
    ds_json_put_count(b, "zero_rows", count_at(health, "zero_rows"));
    put_narrow(b, name, role, health);
    ds_json_end(b);
}

/* "health" lists tensors in the order of "tensors", without those that cannot be read. */
static void put_tensors(ds_json_builder *b, const json_t *results) {
    const json_t *tensors = json_object_get(results, "tensors"), *healths = json_object_get(results, "health");
    ds_json_begin_array(b, "tensors");
    for (size_t i = 0, next = 0; i < json_array_size(tensors); i++) {
        const json_t *tensor = json_array_get(tensors, i), *health = json_array_get(healths, next);
        bool readable = health != NULL && strcmp(text_at(health, "tensor"), text_at(tensor, "name")) == 0;
        put_tensor(b, tensor, readable ? health : NULL);
        next += readable;
    }
    ds_json_end(b);
}

static void put_group(ds_json_builder *b, const char *name, uint64_t count, uint64_t total) {
    ds_json_begin_object(b, NULL);
    ds_json_put_text(b, "group", name);
    ds_json_put_count(b, "parameters", count);
    ds_json_put_real(b, "share", (double)count / (double)total);
    ds_json_end(b);
}

static void put_groups(ds_json_builder *b, const json_t *results) {
    const json_t *parameters = json_object_get(results, "parameters");
    uint64_t total = count_at(parameters, "total");
    ds_json_begin_array(b, "groups");
    for (size_t g = 0; g < DS_GROUP_COUNT; g++) {
        const char *name = ds_group_name((ds_group)g);
        put_group(b, name, count_at(parameters, name), total);
    }
    put_group(b, "total", total, total);
    ds_json_end(b);
}

ds_status ds_inspection_rows(json_t **rows, const json_t *results) {
    ds_json_builder b = {0};
    ds_json_begin_object(&b, NULL);
    put_tensors(&b, results);
    put_groups(&b, results);
    ds_json_end(&b);
    return ds_json_finish(rows, &b);
}

static ds_status put_roles(ds_json_builder *b, const json_t *roles) {
    ds_status status = DS_OK;
    enum { SHOWN = 4 };
    ds_text text = {0};
    for (size_t i = 0; i < json_array_size(roles) && i <= SHOWN; i++)
        DS_TRY(ds_text_printf(&text, "%s%s", i == 0 ? "" : "; ",
                              i == SHOWN ? "..." : json_string_value(json_array_get(roles, i))));
    ds_json_put_text(b, "roles", text.bytes == NULL ? "nothing by its shape" : text.bytes);
done:
    ds_text_release(&text);
    return status;
}

ds_status ds_draft_rows(json_t **rows, const json_t *tensors) {
    ds_status status = DS_OK;
    ds_json_builder b = {0};
    ds_json_begin_array(&b, NULL);
    for (size_t i = 0; i < json_array_size(tensors) && status == DS_OK; i++) {
        const json_t *tensor = json_array_get(tensors, i);
        ds_json_begin_object(&b, NULL);
        ds_json_put_text(&b, "tensor", DS_SHOW(text_at(tensor, "name")));
        ds_json_put_text(&b, "dtype", text_at(tensor, "dtype"));
        put_shape(&b, ds_json_at(tensor, "shape"));
        status = put_roles(&b, json_object_get(tensor, "roles"));
        ds_json_end(&b);
    }
    ds_json_end(&b);
    if (status == DS_OK) return ds_json_finish(rows, &b);
    ds_json_discard(&b);
    return status;
}
