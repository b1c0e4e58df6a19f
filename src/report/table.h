/* What a table holds; how it is laid out is each format's own affair. */
#ifndef DELTASCOPE_REPORT_TABLE_H
#define DELTASCOPE_REPORT_TABLE_H

#include "deltascope/report.h"

typedef union ds_cell {
    char *text;
    int64_t integer;
    double real;
} ds_cell;

struct ds_table {
    char *title;
    char *label, *note, *checkpoint; /* of its caption in LaTeX; NULL: none */
    ds_column *columns; /* their strings copied */
    size_t count;
    ds_cell *cells; /* (rows, count) */
    size_t filled, capacity;
    ds_status status; /* the first failure while cells were given */
    ds_text failure;  /* its sentence */
};

/* The first failure while cells were given, with its sentence. */
ds_status ds_table_check(const ds_table *table) DS_MUST_CHECK;
static inline const ds_cell *ds_table_cell(const ds_table *table, size_t row, size_t column) {
    return &table->cells[row * table->count + column];
}
static inline bool ds_column_is_number(const ds_column *column) { return column->kind != DS_COLUMN_TEXT; }

/* How the numbers of one column are written for people: all with the same digits after the point, or all with an exponent. */
typedef struct ds_number_style {
    int decimals;
    bool scientific;
    double largest; /* |value| over the column; 0 when there is none */
} ds_number_style;
ds_number_style ds_table_number_style(const ds_table *table, size_t column);
/* Appends a number of a column that is neither text nor a bar; "-" when it is missing. */
ds_status ds_table_append_number(ds_text *text, const ds_table *table, size_t row, size_t column,
                                 ds_number_style style) DS_MUST_CHECK;
/* Whether this number is the lowest of a column that sets it off. */
bool ds_table_is_lowest(const ds_table *table, size_t row, size_t column);
/* "%" for percentages, the column's unit otherwise; NULL for none. */
const char *ds_column_unit(const ds_column *column);

enum { DS_FINDINGS_COLUMNS = 4 };
extern const ds_column ds_findings_columns[DS_FINDINGS_COLUMNS];

ds_status ds_table_append_terminal(ds_text *text, const ds_table *table, const ds_terminal *terminal) DS_MUST_CHECK;
ds_status ds_table_append_csv(ds_text *text, const ds_table *table) DS_MUST_CHECK;
ds_status ds_table_append_markdown(ds_text *text, const ds_table *table) DS_MUST_CHECK;
ds_status ds_table_append_latex(ds_text *text, const ds_table *table) DS_MUST_CHECK;

#endif
