/* Tables as CSV (RFC 4180) and Markdown, and the choice among all formats. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "table.h"

static ds_status append(ds_text *text, const char *string) { return ds_text_append(text, string, strlen(string)); }

/* ---- CSV --------------------------------------------------------------------------------------------------------- */

static ds_status append_field(ds_text *text, const char *field) {
    ds_status status = DS_OK;
    if (strpbrk(field, ",\"\r\n") == NULL) return append(text, field);
    DS_TRY(append(text, "\""));
    for (; *field != '\0'; field++) DS_TRY(ds_text_append(text, *field == '"' ? "\"\"" : field, *field == '"' ? 2 : 1));
    status = append(text, "\"");
done:
    return status;
}

/* What a spreadsheet would take for a formula is handed to it as text, as it marks text itself: behind an apostrophe. A sign
 * alone computes nothing. */
static ds_status append_text_field(ds_text *text, const char *field) {
    ds_status status = DS_OK;
    ds_text marked = {0};
    if (field[0] == '\0' || strchr("=+-@\t\r", field[0]) == NULL || field[1] == '\0') return append_field(text, field);
    DS_TRY(ds_text_printf(&marked, "'%s", field));
    status = append_field(text, marked.bytes);
done:
    ds_text_release(&marked);
    return status;
}

static ds_status append_csv_cell(ds_text *text, const ds_table *table, size_t row, size_t column) {
    const ds_cell *cell = ds_table_cell(table, row, column);
    char number[32];
    switch (table->columns[column].kind) {
    case DS_COLUMN_TEXT:
        return append_text_field(text, cell->text);
    case DS_COLUMN_INTEGER:
        return ds_text_printf(text, "%" PRId64, cell->integer);
    default:
        return isnan(cell->real) ? DS_OK : append(text, ds_format_real(number, cell->real));
    }
}

ds_status ds_table_append_csv(ds_text *text, const ds_table *table) {
    ds_status status = DS_OK;
    for (size_t line = 0; line <= ds_table_rows(table); line++) {
        bool first = true;
        for (size_t c = 0; c < table->count; c++) {
            if (table->columns[c].kind == DS_COLUMN_BAR) continue;
            if (!first) DS_TRY(append(text, ","));
            DS_TRY(line == 0 ? append_field(text, table->columns[c].key) : append_csv_cell(text, table, line - 1, c));
            first = false;
        }
        DS_TRY(append(text, "\r\n"));
    }
done:
    return status;
}

/* ---- Markdown ---------------------------------------------------------------------------------------------------- */

static ds_status append_markdown(ds_text *text, const char *string) {
    ds_status status = DS_OK;
    for (; *string != '\0'; string++) {
        if (strchr("|\\`*_<>[]", *string) != NULL) DS_TRY(append(text, "\\"));
        DS_TRY(ds_text_append(text, *string == '\n' ? " " : string, 1));
    }
done:
    return status;
}

static ds_status append_markdown_number(ds_text *text, const ds_table *table, size_t row, size_t c) {
    ds_status status = DS_OK;
    const char *mark = ds_table_is_lowest(table, row, c) ? "**" : "";
    DS_TRY(append(text, mark));
    DS_TRY(ds_table_append_number(text, table, row, c, ds_table_number_style(table, c)));
    DS_TRY(append(text, mark));
done:
    return status;
}

static ds_status append_markdown_row(ds_text *text, const ds_table *table, size_t row) {
    ds_status status = DS_OK;
    for (size_t c = 0; c < table->count; c++) {
        const ds_column *column = &table->columns[c];
        if (column->kind == DS_COLUMN_BAR) continue;
        DS_TRY(append(text, "| "));
        if (column->kind == DS_COLUMN_TEXT)
            DS_TRY(append_markdown(text, ds_table_cell(table, row, c)->text));
        else
            DS_TRY(append_markdown_number(text, table, row, c));
        DS_TRY(append(text, " "));
    }
    status = append(text, "|\n");
done:
    return status;
}

ds_status ds_table_append_markdown(ds_text *text, const ds_table *table) {
    ds_status status = DS_OK;
    for (size_t c = 0; c < table->count; c++) {
        const char *unit = ds_column_unit(&table->columns[c]);
        if (table->columns[c].kind == DS_COLUMN_BAR) continue;
        DS_TRY(append(text, "| "));
        DS_TRY(append_markdown(text, table->columns[c].title));
        if (unit != NULL) DS_TRY(ds_text_printf(text, " (%s)", unit));
        DS_TRY(append(text, " "));
    }
    DS_TRY(append(text, "|\n"));
    for (size_t c = 0; c < table->count; c++) {
        if (table->columns[c].kind != DS_COLUMN_BAR)
            DS_TRY(append(text, ds_column_is_number(&table->columns[c]) ? "|---:" : "|:---"));
    }
    DS_TRY(append(text, "|\n"));
    for (size_t row = 0; row < ds_table_rows(table); row++) DS_TRY(append_markdown_row(text, table, row));
done:
    return status;
}

/* ---- any format -------------------------------------------------------------------------------------------------- */

ds_status ds_table_format_text(ds_text *text, const ds_table *table, ds_table_format format, const ds_terminal *terminal) {
    static const ds_terminal plain = {80, false, false};
    ds_status status = ds_table_check(table);
    if (status != DS_OK) return status;
    if (table->filled % table->count != 0)
        return ds_fail(DS_ERR_USAGE, "table \"%s\": the last row has %zu cells, expected %zu", table->title,
                       table->filled % table->count, table->count);
    switch (format) {
    case DS_TABLE_CSV:
        return ds_table_append_csv(text, table);
    case DS_TABLE_MARKDOWN:
        return ds_table_append_markdown(text, table);
    case DS_TABLE_LATEX:
        return ds_table_append_latex(text, table);
    default:
        return ds_table_append_terminal(text, table, terminal != NULL ? terminal : &plain);
    }
}

ds_status ds_table_write(const ds_folder *folder, const char *path, const ds_table *table, ds_table_format format) {
    ds_status status = DS_OK;
    ds_text text = {0};
    DS_TRY(ds_table_format_text(&text, table, format, NULL));
    status = ds_write_file_in(folder, path, text.bytes, text.length);
done:
    ds_text_release(&text);
    return status;
}

ds_status ds_table_write_files(const ds_folder *folder, const char *name, const ds_table *table) {
    static const struct {
        ds_table_format format;
        const char *ending;
    } formats[] = {{DS_TABLE_CSV, "csv"}, {DS_TABLE_LATEX, "tex"}};
    ds_status status = DS_OK;
    ds_text path = {0};
    for (size_t f = 0; f < sizeof formats / sizeof *formats; f++) {
        path.length = 0;
        DS_TRY(ds_text_printf(&path, "%s.%s", name, formats[f].ending));
        DS_TRY(ds_table_write(folder, path.bytes, table, formats[f].format));
    }
done:
    ds_text_release(&path);
    return status;
}
