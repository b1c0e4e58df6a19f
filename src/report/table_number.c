#include <inttypes.h>
#include <math.h>

#include "table.h"

const char *ds_column_unit(const ds_column *column) { return column->kind == DS_COLUMN_PERCENT ? "%" : column->unit; }

ds_number_style ds_table_number_style(const ds_table *table, size_t column) {
    const ds_column *c = &table->columns[column];
    ds_number_style style = {.decimals = c->digits};
    if (c->kind == DS_COLUMN_TEXT || c->kind == DS_COLUMN_INTEGER) return style;
    for (size_t row = 0; row < ds_table_rows(table); row++) {
        double size = fabs(ds_table_cell(table, row, column)->real);
        if (isfinite(size) && size > style.largest) style.largest = size;
    }
    if (c->kind != DS_COLUMN_REAL) return style;
    int digits = c->digits < 1 ? 1 : c->digits;
    int exponent = style.largest > 0 ? (int)floor(log10(style.largest)) : 0;
    style.scientific = exponent < -4 || exponent > (digits > 6 ? digits : 6);
    style.decimals = style.scientific ? digits - 1 : exponent < digits ? digits - 1 - exponent : 0;
    return style;
}

bool ds_table_is_lowest(const ds_table *table, size_t row, size_t column) {
    double own = ds_table_cell(table, row, column)->real;
    if (table->columns[column].kind != DS_COLUMN_LOWEST || !isfinite(own)) return false;
    for (size_t other = 0; other < ds_table_rows(table); other++) {
        if (ds_table_cell(table, other, column)->real < own) return false;
    }
    return true;
}

ds_status ds_table_append_number(ds_text *text, const ds_table *table, size_t row, size_t column, ds_number_style style) {
    const ds_cell *cell = ds_table_cell(table, row, column);
    ds_column_kind kind = table->columns[column].kind;
    if (kind == DS_COLUMN_INTEGER) return ds_text_printf(text, "%" PRId64, cell->integer);
    double x = kind == DS_COLUMN_PERCENT ? 100 * cell->real : cell->real;
    if (isnan(x)) return ds_text_printf(text, "-");
    if (isinf(x)) return ds_text_printf(text, x > 0 ? "inf" : "-inf");
    if (style.scientific && x != 0) return ds_text_printf(text, "%.*e", style.decimals, x);
    bool vanishes = x != 0 && fabs(x) < 0.5 * pow(10, -style.decimals);
    if (vanishes && kind != DS_COLUMN_PERCENT) return ds_text_printf(text, "%.0e", x);
    return ds_text_printf(text, "%.*f", style.decimals, vanishes || x == 0 ? 0.0 : x);
}
