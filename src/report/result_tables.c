/* From results to a table: the only way there is. A table is described by where its numbers stand in the results. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "table.h"

/* One row in hand: of an array, `key` NULL, or the member `key` of an object. */
typedef struct place {
    const json_t *results, *value;
    const char *key;
    size_t number;
} place;

/* What "/directions/rank/@" leads to: from the results, the row's number in place of every "@". */
static const json_t *find_beside(const place *row, const char *path) {
    char filled[128];
    size_t length = 0;
    for (path++; *path != '\0' && length + 24 < sizeof filled; path++) {
        if (*path == '@')
            length += (size_t)snprintf(filled + length, sizeof filled - length, "%zu", row->number);
        else
            filled[length++] = *path;
    }
    filled[length] = '\0';
    return *path == '\0' ? ds_json_at(row->results, filled) : NULL;
}

static const json_t *find_cell(const place *row, const char *path) {
    return path[0] == '/' ? find_beside(row, path) : ds_json_at(row->value, path);
}

static double number_of(const place *row, const ds_result_column *column) {
    if (column->number != NULL) return column->number(row->value);
    const json_t *found = find_cell(row, column->path);
    return json_is_number(found) ? json_number_value(found) : NAN;
}

/* "#" numbers the rows from 1. */
static int64_t integer_of(const place *row, const ds_result_column *column) {
    if (strcmp(column->path, "#") == 0) return (int64_t)row->number + 1;
    return (int64_t)json_integer_value(find_cell(row, column->path));
}

static const char *text_of(const place *row, const ds_result_column *column) {
    if (column->text != NULL) return column->text(row->value);
    const char *found = column->path == NULL ? row->key : json_string_value(find_cell(row, column->path));
    return found == NULL ? "" : found;
}

static bool has_value(const place *row, const ds_result_column *column) {
    return column->column.kind == DS_COLUMN_TEXT ? text_of(row, column)[0] != '\0' : !isnan(number_of(row, column));
}

static void put_cell(ds_table *table, const place *row, const ds_result_column *column) {
    if (column->column.kind == DS_COLUMN_TEXT)
        ds_table_text(table, text_of(row, column));
    else if (column->column.kind == DS_COLUMN_INTEGER)
        ds_table_integer(table, integer_of(row, column));
    else
        ds_table_real(table, number_of(row, column));
}

/* Calls visit for every row, in order, until it says false. */
typedef bool (*row_visit)(void *context, const place *row);
static void visit_rows(const json_t *results, const json_t *rows, row_visit visit, void *context) {
    place row = {.results = results};
    json_t *value, *object = json_is_object(rows) ? (json_t *)(uintptr_t)rows : NULL; /* iterators lack the const */
    for (; row.number < json_array_size(rows); row.number++) {
        row.value = json_array_get(rows, row.number);
        if (!visit(context, &row)) return;
    }
    json_object_foreach(object, row.key, value) {
        row.value = value;
        if (!visit(context, &row)) return;
        row.number++;
    }
}

/* A table being filled: which columns it has. */
typedef struct filling {
    const ds_result_column **columns; /* (count) */
    size_t count;
    const ds_result_column *wanted; /* of an optional column: looked for */
    bool found;
    ds_table *table;
} filling;

static bool look(void *context, const place *row) {
    filling *all = context;
    all->found = has_value(row, all->wanted);
    return !all->found;
}

static bool fill(void *context, const place *row) {
    const filling *all = context;
    for (size_t c = 0; c < all->count; c++) put_cell(all->table, row, all->columns[c]);
    return true;
}

static void choose_columns(filling *all, const ds_result_table *kind, const json_t *results, const json_t *rows) {
    for (size_t c = 0; c < kind->column_count; c++) {
        all->wanted = &kind->columns[c];
        all->found = !all->wanted->optional;
        if (!all->found) visit_rows(results, rows, look, all);
        if (all->found) all->columns[all->count++] = all->wanted;
    }
}

ds_status ds_result_table_new(ds_table **table, const ds_result_table *kind, const json_t *results) {
    ds_status status = DS_OK;
    const json_t *rows = ds_json_at(results, kind->rows);
    filling all = {.count = 0};
    ds_column *columns = NULL;
    *table = NULL;
    if (rows == NULL || (kind->applies != NULL && !kind->applies(results))) return DS_OK;
    DS_NEW(all.columns, kind->column_count);
    DS_NEW(columns, kind->column_count);
    choose_columns(&all, kind, results, rows);
    for (size_t c = 0; c < all.count; c++) columns[c] = all.columns[c]->column;
    DS_TRY(ds_table_new(table, kind->title, columns, all.count));
    all.table = *table;
    visit_rows(results, rows, fill, &all);
    status = ds_table_check(*table); /* here: a table whose first cell failed has no rows, as one of nothing */
done:
    if (status != DS_OK) ds_table_free(table);
    free((void *)all.columns);
    free(columns);
    return status;
}
