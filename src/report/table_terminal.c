/* A table for people in front of a terminal: aligned, with units below the titles, never wider than asked for. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "table.h"

enum { BAR = 12, NARROWEST_BAR = 6, GAP = 2, NARROWEST_TEXT = 12 };

static const char *first_set(const char *const *names, size_t count) {
    for (size_t i = 0; i < count; i++) {
        const char *value = getenv(names[i]);
        if (value != NULL && *value != '\0') return value;
    }
    return "";
}

ds_terminal ds_terminal_of(int descriptor) {
    static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};
    const char *locale = first_set(names, 3), *term = getenv("TERM"), *plain = getenv("NO_COLOR");
    ds_terminal terminal = {80, false, strcasestr(locale, "UTF-8") != NULL || strcasestr(locale, "UTF8") != NULL};
    struct winsize size;
    if (isatty(descriptor) == 0) return terminal;
    if (ioctl(descriptor, TIOCGWINSZ, &size) == 0 && size.ws_col >= 40) terminal.width = size.ws_col;
    terminal.colour = (plain == NULL || *plain == '\0') && term != NULL && *term != '\0' && strcmp(term, "dumb") != 0;
    return terminal;
}

/* Columns on the screen: characters, not bytes. */
static size_t width_of(const char *text) {
    size_t width = 0;
    for (; *text != '\0'; text++) width += ((unsigned char)*text & 0xC0) != 0x80;
    return width;
}

enum { TITLES = -2, UNITS = -1, HEADS = 2 }; /* rows above the first */

/* Everything the table shows, as strings that the terminal can show. */
typedef struct sheet {
    const ds_table *table;
    const ds_terminal *terminal;
    char **cells;  /* (HEADS + rows, count) */
    size_t *width; /* (count) */
} sheet;

/* From 0 to the column's largest |value| in `width` columns; negative values are drawn thinner. */
static ds_status append_bar(ds_text *text, double value, double largest, size_t width, bool unicode) {
    static const char *const eighths[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
    ds_status status = DS_OK;
    bool fine = unicode && value > 0;
    size_t filled = largest > 0 && isfinite(value) ? (size_t)lround(8 * (double)width * fabs(value) / largest) : 0;
    size_t whole = fine ? filled / 8 : (filled + 4) / 8, part = fine ? filled % 8 : 0;
    const char *block = unicode ? value > 0 ? "█" : "░" : value > 0 ? "#" : "-";
    for (size_t i = 0; i < whole; i++) DS_TRY(ds_text_printf(text, "%s", block));
    DS_TRY(ds_text_printf(text, "%s%*s", eighths[part], (int)(width - whole - (part != 0)), ""));
done:
    return status;
}

static const char *content_of(const sheet *s, long row, size_t c) {
    return s->cells[(size_t)(row + HEADS) * s->table->count + c];
}

/* Bars are drawn when their width is known. */
static ds_status append_content(ds_text *text, const ds_table *table, long row, size_t c, ds_number_style style) {
    const ds_column *column = &table->columns[c];
    const char *unit = ds_column_unit(column), *words = row == TITLES ? column->title : row == UNITS ? unit : "";
    if (column->kind == DS_COLUMN_BAR) return DS_OK;
    if (row >= 0 && column->kind != DS_COLUMN_TEXT) return ds_table_append_number(text, table, (size_t)row, c, style);
    if (row >= 0) words = ds_table_cell(table, (size_t)row, c)->text;
    return words == NULL ? DS_OK : ds_text_append(text, words, strlen(words));
}

static ds_status append_shown(ds_text *text, const char *words, const ds_terminal *terminal) {
    size_t length = strlen(words);
    return terminal->unicode ? ds_text_append(text, words, length) : ds_text_append_ascii(text, words, length);
}

static ds_status fill_sheet(sheet *s) {
    ds_status status = DS_OK;
    const ds_table *table = s->table;
    long rows = (long)ds_table_rows(table);
    ds_text text = {0};
    DS_NEW(s->width, table->count);
    DS_NEW(s->cells, HEADS * table->count + table->filled);
    for (size_t c = 0; c < table->count; c++) {
        ds_number_style style = ds_table_number_style(table, c);
        for (long row = TITLES; row < rows; row++) {
            ds_text cell = {0};
            text.length = 0;
            DS_TRY(ds_text_append(&text, "", 0));
            DS_TRY(append_content(&text, table, row, c, style));
            status = append_shown(&cell, text.bytes, s->terminal);
            s->cells[(size_t)(row + HEADS) * table->count + c] = cell.bytes;
            if (status != DS_OK) goto done;
            s->width[c] = ds_max_size(s->width[c], width_of(cell.bytes));
        }
        if (table->columns[c].kind == DS_COLUMN_BAR) s->width[c] = BAR;
    }
done:
    ds_text_release(&text);
    return status;
}

static void release_sheet(sheet *s) {
    for (size_t i = 0; s->cells != NULL && i < HEADS * s->table->count + s->table->filled; i++) free(s->cells[i]);
    free(s->cells);
    free(s->width);
}

/* Bars give way first, then long texts. A column of width 0 is left out. */
static void fit(sheet *s) {
    size_t total = 0;
    for (size_t c = 0; c < s->table->count; c++) total += s->width[c] + (c == 0 ? 0 : GAP);
    for (size_t c = 1; c < s->table->count; c++) {
        if (s->table->columns[c].kind != DS_COLUMN_BAR || total <= s->terminal->width) continue;
        size_t excess = total - s->terminal->width;
        bool fits = excess + NARROWEST_BAR <= s->width[c];
        total -= fits ? excess : s->width[c] + GAP;
        s->width[c] = fits ? s->width[c] - excess : 0;
    }
    for (size_t c = 0; c < s->table->count; c++) {
        if (s->table->columns[c].kind != DS_COLUMN_TEXT || total <= s->terminal->width) continue;
        size_t spare = s->width[c] > NARROWEST_TEXT ? s->width[c] - NARROWEST_TEXT : 0;
        size_t cut = ds_min_size(spare, total - s->terminal->width);
        s->width[c] -= cut;
        total -= cut;
    }
    for (size_t c = 0; c < s->table->count; c++)
        s->width[c] = ds_min_size(s->width[c], s->terminal->width > GAP ? s->terminal->width - GAP : 1);
}

/* `content` in `width` columns, cut with an ellipsis when it is longer. */
static ds_status append_padded(ds_text *text, const char *content, size_t width, bool right, bool unicode) {
    ds_status status = DS_OK;
    size_t length = width_of(content);
    if (length > width) {
        size_t ellipsis = unicode ? 1 : ds_min_size(2, width), bytes = 0, shown = 0;
        for (; shown < width - ellipsis; shown++) {
            bytes++;
            while (((unsigned char)content[bytes] & 0xC0) == 0x80) bytes++;
        }
        DS_TRY(ds_text_append(text, content, bytes));
        status = unicode ? ds_text_printf(text, "…") : ds_text_append(text, "..", ellipsis);
        goto done;
    }
    if (right) DS_TRY(ds_text_printf(text, "%*s", (int)(width - length), ""));
    DS_TRY(ds_text_printf(text, "%s", content));
    if (!right) DS_TRY(ds_text_printf(text, "%*s", (int)(width - length), ""));
done:
    return status;
}

/* The first column, then columns [from, to). */
static ds_status append_line(ds_text *text, const sheet *s, long row, size_t from, size_t to) {
    ds_status status = DS_OK;
    bool colour = s->terminal->colour;
    for (size_t i = from - 1; i < to; i++) {
        size_t c = i == from - 1 ? 0 : i;
        const ds_column *column = &s->table->columns[c];
        if (s->width[c] == 0) continue;
        const char *paint = !colour                         ? NULL
                            : row == TITLES                 ? "1"
                            : row == UNITS                  ? "2"
                            : column->kind == DS_COLUMN_BAR ? "36"
                                                            : NULL;
        bool right = ds_column_is_number(column) && column->kind != DS_COLUMN_BAR;
        DS_TRY(ds_text_printf(text, "%*s", i == from - 1 ? 0 : GAP, ""));
        if (paint != NULL) DS_TRY(ds_text_printf(text, "\033[%sm", paint));
        if (column->kind == DS_COLUMN_BAR && row >= 0)
            DS_TRY(append_bar(text, ds_table_cell(s->table, (size_t)row, c)->real, ds_table_number_style(s->table, c).largest,
                              s->width[c], s->terminal->unicode));
        else
            DS_TRY(append_padded(text, content_of(s, row, c), s->width[c], right, s->terminal->unicode));
        if (paint != NULL) DS_TRY(ds_text_printf(text, "\033[0m"));
    }
    while (text->length != 0 && text->bytes[text->length - 1] == ' ') text->length--;
    status = ds_text_append(text, "\n", 1);
done:
    return status;
}

static ds_status append_block(ds_text *text, const sheet *s, size_t from, size_t to) {
    ds_status status = DS_OK;
    bool units = false;
    size_t width = s->width[0];
    for (size_t c = from; c < to; c++) width += s->width[c] == 0 ? 0 : GAP + s->width[c];
    for (size_t c = 0; c < s->table->count; c++)
        units = units || ((c == 0 || (c >= from && c < to)) && *content_of(s, UNITS, c) != '\0');
    DS_TRY(append_line(text, s, TITLES, from, to));
    if (units) DS_TRY(append_line(text, s, UNITS, from, to));
    for (size_t i = 0; i < width; i++) DS_TRY(ds_text_printf(text, "%s", s->terminal->unicode ? "─" : "-"));
    DS_TRY(ds_text_append(text, "\n", 1));
    for (size_t row = 0; row < ds_table_rows(s->table); row++) DS_TRY(append_line(text, s, (long)row, from, to));
done:
    return status;
}

/* Columns that do not fit beside each other follow in further blocks that repeat the first column. */
ds_status ds_table_append_terminal(ds_text *text, const ds_table *table, const ds_terminal *terminal) {
    ds_status status = DS_OK;
    sheet s = {.table = table, .terminal = terminal};
    DS_TRY(fill_sheet(&s));
    fit(&s);
    if (*table->title != '\0') {
        DS_TRY(append_shown(text, table->title, terminal));
        DS_TRY(ds_text_append(text, "\n\n", 2));
    }
    size_t from = 1;
    do {
        size_t to = from, width = s.width[0];
        for (; to < table->count; to++) {
            if (s.width[to] == 0) continue;
            if (width > s.width[0] && width + GAP + s.width[to] > terminal->width) break;
            width += GAP + s.width[to];
        }
        if (from > 1) DS_TRY(ds_text_append(text, "\n", 1));
        DS_TRY(append_block(text, &s, from, to));
        from = to;
    } while (from < table->count);
done:
    release_sheet(&s);
    return status;
}
