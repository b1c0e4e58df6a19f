/* Reading results that may come from anyone's file, writing what gnuplot reads. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "figure.h"

static ds_status unexpected(const json_t *object, const char *key, const char *where, const char *expected) {
    const char *found = json_object_get(object, key) == NULL ? "nothing" : "something else";
    return ds_fail(DS_ERR_INPUT, "results: %s: key \"%s\" holds %s, expected %s", where, key, found, expected);
}

ds_status ds_result_array(const json_t **out, const json_t *object, const char *key, const char *where) {
    *out = json_object_get(object, key);
    return json_is_array(*out) ? DS_OK : unexpected(object, key, where, "an array");
}

ds_status ds_result_object(const json_t **out, const json_t *object, const char *key, const char *where) {
    *out = json_object_get(object, key);
    return json_is_object(*out) ? DS_OK : unexpected(object, key, where, "an object");
}

ds_status ds_result_text(const char **out, const json_t *object, const char *key, const char *where) {
    *out = json_string_value(json_object_get(object, key));
    return *out != NULL ? DS_OK : unexpected(object, key, where, "a string");
}

ds_status ds_result_number(double *out, const json_t *object, const char *key, const char *where) {
    const json_t *value = json_object_get(object, key);
    *out = json_is_number(value) ? json_number_value(value) : NAN;
    return json_is_number(value) || json_is_null(value) ? DS_OK : unexpected(object, key, where, "a number or null");
}

double ds_result_element(const json_t *array, size_t index) {
    const json_t *value = json_array_get(array, index);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

ds_status ds_result_sublayer(size_t *layer, bool *mlp, const char *name) {
    char *end = NULL;
    unsigned long number = strtoul(name, &end, 10);
    bool digit = name[0] >= '0' && name[0] <= '9', short_enough = number < 100000;
    *layer = number;
    *mlp = strcmp(end, ".mlp") == 0;
    if (digit && short_enough && (*mlp || strcmp(end, ".attn") == 0)) return DS_OK;
    return ds_fail(DS_ERR_INPUT, "results: sublayer \"%s\" is named otherwise than LAYER.attn or LAYER.mlp", DS_SHOW(name));
}

ds_status ds_data_row(ds_text *data, const double *values, size_t count) {
    ds_status status = DS_OK;
    char number[32];
    for (size_t i = 0; i < count; i++)
        DS_TRY(ds_text_printf(data, "%s%s", i == 0 ? "" : "\t", ds_format_real(number, values[i])));
    status = ds_text_append(data, "\n", 1);
done:
    return status;
}
