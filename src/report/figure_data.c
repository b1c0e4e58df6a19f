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

/* An interval that does not exist is null, and has no ends. */
static bool lies_in_null(const json_t *value, const char *path) {
    char around[64];
    const char *last = strrchr(path, '/');
    if (last == NULL || (size_t)(last - path) >= sizeof around) return false;
    (void)snprintf(around, sizeof around, "%.*s", (int)(last - path), path);
    return json_is_null(ds_json_at(value, around));
}

ds_status ds_result_number_at(double *out, const json_t *value, const char *path, const char *where) {
    const json_t *found = ds_json_at(value, path);
    *out = json_is_number(found) ? json_number_value(found) : NAN;
    if (json_is_number(found) || json_is_null(found) || lies_in_null(value, path)) return DS_OK;
    return ds_fail(DS_ERR_INPUT, "results: %s: \"%s\" holds %s, expected a number or null", where, path,
                   found == NULL ? "nothing" : "something else");
}

ds_status ds_result_sublayer(ds_place *place, const char *name) {
    char *end = NULL;
    unsigned long number = strtoul(name, &end, 10);
    bool digit = name[0] >= '0' && name[0] <= '9', short_enough = number < 100000;
    *place = (ds_place){number, strcmp(end, ".mlp") == 0};
    if (digit && short_enough && (place->mlp || strcmp(end, ".attn") == 0)) return DS_OK;
    return ds_fail(DS_ERR_INPUT, "results: sublayer \"%s\" is named otherwise than LAYER.attn or LAYER.mlp", DS_SHOW(name));
}

static int by_name(const void *a, const void *b) { return strcmp(((const ds_member *)a)->name, ((const ds_member *)b)->name); }

ds_status ds_members_sorted(ds_member **out, size_t *count, const json_t *object) {
    ds_status status = DS_OK;
    const char *name;
    json_t *value, *open = (json_t *)(uintptr_t)object; /* iterators lack the const */
    *count = 0;
    DS_NEW(*out, json_object_size(object));
    json_object_foreach(open, name, value)(*out)[(*count)++] = (ds_member){name, value};
    qsort(*out, *count, sizeof **out, by_name);
done:
    return status;
}

/* gnuplot computes with the numbers it draws: near the end of the range its ticks and margins would overflow. */
static bool can_be_drawn(double value) { return fabs(value) <= 1e290; }

static ds_extent widen(ds_extent extent, double value) {
    if (!can_be_drawn(value)) return extent;
    return (ds_extent){isnan(extent.low) ? value : fmin(extent.low, value),
                       isnan(extent.high) ? value : fmax(extent.high, value)};
}

ds_status ds_data_row(ds_data *data, const double *values, size_t count) {
    ds_status status = DS_OK;
    char number[32];
    ds_extent *extents = &data->extents[(data->blocks - 1) * DS_DATA_COLUMNS];
    for (size_t i = 0; i < count; i++) {
        DS_TRY(ds_text_printf(&data->text, "%s%s", i == 0 ? "" : "\t", ds_format_real(number, values[i])));
        extents[i] = widen(extents[i], values[i]);
    }
    status = ds_text_append(&data->text, "\n", 1);
done:
    return status;
}

ds_status ds_data_block(ds_data *data, const char *name, const char *columns) {
    ds_status status = DS_OK;
    DS_TRY(ds_grow((void **)&data->extents, &data->room, data->blocks + 1, DS_DATA_COLUMNS * sizeof *data->extents));
    for (size_t c = 0; c < DS_DATA_COLUMNS; c++) data->extents[data->blocks * DS_DATA_COLUMNS + c] = (ds_extent){NAN, NAN};
    status = ds_text_printf(&data->text, "%s# %s\n# %s\n", data->blocks == 0 ? "" : "\n\n", name, columns);
    data->blocks++;
done:
    return status;
}

bool ds_data_shows_something(const ds_data *data, size_t coordinates) {
    for (size_t i = 0; i < data->blocks * DS_DATA_COLUMNS; i++) {
        if (i % DS_DATA_COLUMNS >= coordinates && !isnan(data->extents[i].low)) return true;
    }
    return false;
}

static ds_status append_array(ds_text *settings, const ds_data *data, bool high) {
    ds_status status = DS_OK;
    size_t count = data->blocks * DS_DATA_COLUMNS;
    char number[32];
    DS_TRY(ds_text_printf(settings, "array %s[%zu] = [", high ? "highs" : "lows", count));
    for (size_t i = 0; i < count; i++) {
        double value = high ? data->extents[i].high : data->extents[i].low;
        DS_TRY(ds_text_printf(settings, "%s%s", i == 0 ? "" : ",", isnan(value) ? "NaN" : ds_format_real(number, value)));
    }
    status = ds_text_printf(settings, "]\n");
done:
    return status;
}

ds_status ds_data_extents(ds_text *settings, const ds_data *data) {
    ds_status status = DS_OK;
    DS_TRY(append_array(settings, data, false));
    DS_TRY(append_array(settings, data, true));
    status = ds_text_printf(settings,
                            "low(block,column) = 1.*lows[block*%d+column]\nhigh(block,column) = 1.*highs[block*%d+column]\n",
                            DS_DATA_COLUMNS, DS_DATA_COLUMNS);
done:
    return status;
}

void ds_data_release(ds_data *data) {
    ds_text_release(&data->text);
    free(data->extents);
    *data = (ds_data){0};
}

enum { MOST_PATHS = DS_DATA_COLUMNS - 1 };

static ds_status name_columns(ds_text *columns, const char *first, const char *const *paths, size_t count) {
    ds_status status = DS_OK;
    DS_TRY(ds_text_printf(columns, "%s", first));
    for (size_t i = 0; i < count; i++) DS_TRY(ds_text_printf(columns, "%s%s", columns->length == 0 ? "" : "\t", paths[i]));
done:
    return status;
}

static ds_status place_row(ds_place *place, bool *drawn, const ds_kind_rows *of, const json_t *row) {
    ds_status status = DS_OK;
    const char *name;
    *drawn = of->place == NULL || of->place(place, row);
    if (of->place != NULL) goto done;
    DS_TRY(ds_result_text(&name, row, "name", of->where));
    DS_TRY(ds_result_sublayer(place, name));
done:
    return status;
}

ds_status ds_data_kinds(ds_data *data, size_t *layers, const ds_kind_rows *of, const char *columns, ds_draw_row draw,
                        void *context) {
    ds_status status = DS_OK;
    size_t after = 0;
    for (int mlp = 0; mlp < 2; mlp++) {
        DS_TRY(ds_data_block(data, mlp ? "MLP" : "attention", columns));
        for (size_t i = 0; i < json_array_size(of->rows); i++) {
            const json_t *row = json_array_get(of->rows, i);
            ds_place place;
            bool drawn;
            DS_TRY(place_row(&place, &drawn, of, row));
            if (!drawn || place.mlp != mlp) continue;
            DS_TRY(draw(data, row, place, context));
            after = ds_max_size(after, place.layer + 1);
        }
    }
    if (layers != NULL) *layers = after;
done:
    return status;
}

typedef struct numbers {
    const char *where;
    const char *const *paths;
    size_t count;
} numbers;

static ds_status draw_numbers(ds_data *data, const json_t *row, ds_place place, void *context) {
    ds_status status = DS_OK;
    const numbers *wanted = context;
    double values[DS_DATA_COLUMNS] = {(double)place.layer};
    for (size_t p = 0; p < wanted->count; p++)
        DS_TRY(ds_result_number_at(&values[p + 1], row, wanted->paths[p], wanted->where));
    DS_TRY(ds_data_row(data, values, wanted->count + 1));
done:
    return status;
}

ds_status ds_data_by_kind(ds_drawing *drawing, const ds_kind_rows *of, const char *columns, const char *const *paths,
                          size_t count) {
    ds_status status = DS_OK;
    size_t layers;
    ds_text names = {0};
    DS_TRY(name_columns(&names, "layer", paths, count));
    DS_TRY(ds_data_kinds(&drawing->data, &layers, of, columns == NULL ? names.bytes : columns, draw_numbers,
                         &(numbers){of->where, paths, count}));
    status = ds_text_printf(&drawing->settings, "layers = %zu\n", layers);
done:
    ds_text_release(&names);
    return status;
}

ds_status ds_data_rows(ds_data *data, const char *name, const json_t *rows, const char *where, const char *const *paths,
                       size_t count) {
    ds_status status = DS_OK;
    ds_text columns = {0};
    DS_TRY(name_columns(&columns, "", paths, count));
    DS_TRY(ds_data_block(data, name, columns.bytes));
    for (size_t i = 0; i < json_array_size(rows); i++) {
        double values[DS_DATA_COLUMNS];
        for (size_t p = 0; p < count; p++) DS_TRY(ds_result_number_at(&values[p], json_array_get(rows, i), paths[p], where));
        DS_TRY(ds_data_row(data, values, count));
    }
done:
    ds_text_release(&columns);
    return status;
}
