#include <stdlib.h>
#include <string.h>

#include "table.h"

static char *copy(const char *text) { return text == NULL ? NULL : ds_strdup(text); }

ds_status ds_table_new(ds_table **out, const char *title, const ds_column *columns, size_t count) {
    ds_status status = DS_OK;
    ds_table *table = NULL;
    *out = NULL;
    if (count == 0) return ds_fail(DS_ERR_USAGE, "a table without columns was asked for");
    DS_NEW(table, 1);
    DS_NEW(table->columns, count);
    table->count = count;
    table->title = copy(title == NULL ? "" : title);
    if (table->title == NULL) status = DS_ERR_SYSTEM;
    for (size_t i = 0; i < count; i++) {
        ds_column *column = &table->columns[i];
        *column = columns[i];
        column->key = copy(columns[i].key);
        column->title = copy(columns[i].title != NULL ? columns[i].title : columns[i].key);
        column->unit = copy(columns[i].unit);
        if (column->key == NULL || column->title == NULL || (columns[i].unit != NULL && column->unit == NULL))
            status = DS_ERR_SYSTEM;
    }
done:
    if (status != DS_OK) ds_table_free(&table);
    *out = table;
    return status;
}

static void free_string(const char *text) { free((char *)(uintptr_t)text); }

static void free_column(ds_table *table, size_t column) {
    for (size_t i = column; i < table->filled && table->columns[column].kind == DS_COLUMN_TEXT; i += table->count)
        free(table->cells[i].text);
    free_string(table->columns[column].key);
    free_string(table->columns[column].title);
    free_string(table->columns[column].unit);
}

void ds_table_free(ds_table **pointer) {
    ds_table *table = *pointer;
    if (table == NULL) return;
    for (size_t c = 0; c < table->count; c++) free_column(table, c);
    free(table->columns);
    free(table->cells);
    free(table->title);
    free(table->label);
    free(table->note);
    free(table->checkpoint);
    ds_text_release(&table->failure);
    free(table);
    *pointer = NULL;
}

static void fail(ds_table *table, ds_status status) {
    table->status = status;
    (void)!ds_text_printf(&table->failure, "%s", ds_error_text()); /* without memory the status alone remains */
}

void ds_table_describe(ds_table *table, const char *label, const char *note) {
    free(table->label);
    free(table->note);
    table->label = copy(label);
    table->note = copy(note);
    if (table->status == DS_OK && ((label != NULL && table->label == NULL) || (note != NULL && table->note == NULL)))
        fail(table, DS_ERR_SYSTEM);
}

void ds_table_attribute(ds_table *table, const char *checkpoint) {
    free(table->checkpoint);
    table->checkpoint = copy(checkpoint);
    if (table->status == DS_OK && checkpoint != NULL && table->checkpoint == NULL) fail(table, DS_ERR_SYSTEM);
}

static void add(ds_table *table, bool fits, const char *given, ds_cell cell) {
    if (table->status != DS_OK) return;
    const ds_column *column = &table->columns[table->filled % table->count];
    void *cells = table->cells;
    ds_status status = DS_OK;
    if (!fits)
        status = ds_fail(DS_ERR_USAGE, "table \"%s\": column \"%s\" was given %s", table->title, column->key, given);
    else
        status = ds_grow(&cells, &table->capacity, table->filled + 1, sizeof *table->cells);
    table->cells = cells;
    if (status != DS_OK)
        fail(table, status);
    else
        table->cells[table->filled++] = cell;
}

static ds_column_kind next_kind(const ds_table *table) { return table->columns[table->filled % table->count].kind; }

void ds_table_text(ds_table *table, const char *text) {
    if (table->status != DS_OK) return;
    ds_text visible = {0};
    ds_status status = ds_text_append_visible(&visible, text);
    if (status == DS_OK) status = ds_text_append(&visible, "", 0); /* there are bytes also of no text */
    ds_cell cell = {.text = visible.bytes};
    if (status != DS_OK)
        fail(table, status);
    else
        add(table, next_kind(table) == DS_COLUMN_TEXT, "a text", cell);
    if (table->status != DS_OK) free(cell.text);
}

void ds_table_integer(ds_table *table, int64_t value) {
    add(table, next_kind(table) == DS_COLUMN_INTEGER, "an integer", (ds_cell){.integer = value});
}

void ds_table_real(ds_table *table, double value) {
    ds_column_kind kind = next_kind(table);
    add(table, kind != DS_COLUMN_TEXT && kind != DS_COLUMN_INTEGER, "a real number", (ds_cell){.real = value});
}

ds_status ds_table_check(const ds_table *table) {
    if (table->status == DS_OK) return DS_OK;
    return ds_fail(table->status, "%s", table->failure.bytes != NULL ? table->failure.bytes : "out of memory");
}

static bool is_among(size_t wanted, const size_t *all, size_t count) {
    size_t i = 0;
    while (i < count && all[i] != wanted) i++;
    return i < count;
}

/* from (as many as come back): the columns the list names. */
static size_t find_columns(size_t *from, const ds_table *table, const char *list) {
    const char *word;
    size_t count = 0;
    for (size_t length; ds_next_word(&list, &word, &length);) {
        for (size_t c = 0; c < table->count && count < table->count; c++) {
            if (ds_is_word(table->columns[c].key, word, length) && !is_among(c, from, count)) from[count++] = c;
        }
    }
    return count;
}

ds_status ds_table_choose(ds_table *table, const char *list) {
    ds_status status = DS_OK;
    const size_t rows = ds_table_rows(table);
    size_t *from = NULL;
    ds_column *columns = NULL;
    ds_cell *cells = NULL;
    DS_TRY(ds_table_check(table));
    DS_NEW(from, table->count);
    const size_t count = find_columns(from, table, list);
    if (count == 0) goto done;
    DS_NEW(columns, count);
    DS_NEW(cells, ds_max_size(rows * count, 1));
    for (size_t c = 0; c < count; c++) columns[c] = table->columns[from[c]];
    for (size_t i = 0; i < rows * count; i++) cells[i] = *ds_table_cell(table, i / count, from[i % count]);
    for (size_t c = 0; c < table->count; c++) {
        if (!is_among(c, from, count)) free_column(table, c);
    }
    free(table->columns);
    free(table->cells);
    table->columns = columns;
    table->cells = cells;
    table->count = count;
    table->filled = table->capacity = rows * count;
    columns = NULL;
    cells = NULL;
done:
    free(from);
    free(columns);
    free(cells);
    return status;
}

size_t ds_table_rows(const ds_table *table) { return table->filled / table->count; }
