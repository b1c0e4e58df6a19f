/* A heat map for a terminal: coloured cells where there is colour, numbers or digits where there is none. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "heat.h"

enum { WIDEST_WORD = 20, NUMBER = 5, LEVELS = 11 };

/* Of the 256 colours every terminal has: blue, neutral, orange; and neutral to blue. */
static const int diverging_colours[LEVELS] = {25, 32, 74, 110, 152, 253, 223, 216, 209, 202, 166};
static const int sequential_colours[LEVELS] = {255, 254, 189, 153, 117, 75, 69, 33, 26, 20, 18};

typedef struct layout {
    const ds_heat *heat;
    const ds_terminal *terminal;
    size_t names;  /* columns of the row names, with the gap after them */
    size_t gap;    /* between columns */
    size_t *width; /* (columns), without the gap */
    bool numbers;  /* cells hold numbers rather than digits */
} layout;

static ds_status plan(layout *l) {
    ds_status status = DS_OK;
    const ds_heat *heat = l->heat;
    size_t total = 0;
    DS_NEW(l->width, heat->columns);
    for (size_t r = 0; r < heat->rows; r++) l->names = ds_max_size(l->names, ds_display_width(heat->row_names[r]) + 1);
    for (size_t c = 0; c < heat->columns; c++) {
        l->width[c] = ds_min_size(ds_max_size(ds_display_width(heat->column_names[c]), 1), WIDEST_WORD);
        total += l->width[c];
    }
    l->numbers = !l->terminal->colour && 2 * total >= 5 * heat->columns; /* words of 2.5 letters or more on average */
    for (size_t c = 0; c < heat->columns && l->numbers; c++) l->width[c] = ds_max_size(l->width[c], NUMBER);
    l->gap = ds_heat_is_letters(heat) ? 0 : 1;
done:
    return status;
}

/* As many columns as fit, one at least. */
static size_t band_end(const layout *l, size_t from) {
    size_t used = l->names, to = from;
    while (to < l->heat->columns && (to == from || used + l->width[to] <= l->terminal->width)) used += l->width[to++] + l->gap;
    return to;
}

static void trim(ds_text *text) {
    while (text->length != 0 && text->bytes[text->length - 1] == ' ') text->length--;
}

/* `word` cut to `width` columns and filled up with spaces. */
static ds_status append_word(ds_text *text, const char *word, size_t width, bool unicode) {
    ds_status status = DS_OK;
    size_t shown = ds_display_width(word);
    if (shown <= width) {
        DS_TRY(ds_text_printf(text, "%s%*s", word, (int)(width - shown), ""));
    } else {
        const char *ellipsis = unicode ? "…" : "~";
        DS_TRY(ds_text_append(text, word, ds_display_prefix(word, width - 1)));
        DS_TRY(ds_text_printf(text, "%s", ellipsis));
    }
done:
    return status;
}

static ds_status append_words(ds_text *text, const layout *l, size_t from, size_t to) {
    ds_status status = DS_OK;
    DS_TRY(ds_text_printf(text, "%*s", (int)l->names, ""));
    for (size_t c = from; c < to; c++) {
        DS_TRY(append_word(text, l->heat->column_names[c], l->width[c], l->terminal->unicode));
        if (c + 1 < to) DS_TRY(ds_text_printf(text, "%*s", (int)l->gap, ""));
    }
    trim(text);
    status = ds_text_append(text, "\n", 1);
done:
    return status;
}

static ds_status append_cell(ds_text *text, const layout *l, double value, size_t width) {
    const ds_heat *heat = l->heat;
    if (isnan(value)) return ds_text_printf(text, "%*s", (int)width, "");
    if (l->terminal->colour) {
        const int *colours = heat->diverging ? diverging_colours : sequential_colours;
        return ds_text_printf(text, "\033[48;5;%dm%*s\033[0m", colours[ds_heat_level(heat, value, LEVELS)], (int)width, "");
    }
    if (l->numbers) return ds_text_printf(text, "%-*.*f", (int)width, fabs(value) < 99.5 ? 2 : 0, value);
    size_t digit = heat->diverging ? 1 + ds_heat_level(heat, value, 9) : ds_heat_level(heat, value, 10);
    return ds_text_printf(text, "%zu%*s", digit, (int)width - 1, "");
}

static ds_status append_row(ds_text *text, const layout *l, size_t row, size_t from, size_t to) {
    ds_status status = DS_OK;
    DS_TRY(append_word(text, l->heat->row_names[row], l->names - 1, l->terminal->unicode));
    DS_TRY(ds_text_append(text, " ", 1));
    for (size_t c = from; c < to; c++) {
        size_t width = l->width[c] + (c + 1 < to ? l->gap : 0);
        DS_TRY(append_cell(text, l, ds_heat_value(l->heat, row, c), width));
    }
    trim(text);
    status = ds_text_append(text, "\n", 1);
done:
    return status;
}

static ds_status append_legend(ds_text *text, const layout *l) {
    ds_status status = DS_OK;
    const ds_heat *heat = l->heat;
    char low[DS_HEAT_END], high[DS_HEAT_END];
    ds_heat_ends(low, high, heat, l->terminal->unicode);
    size_t length = strlen(heat->title);
    DS_TRY(l->terminal->unicode ? ds_text_append(text, heat->title, length) : ds_text_append_ascii(text, heat->title, length));
    if (heat->unit != NULL) DS_TRY(ds_text_printf(text, " (%s)", heat->unit));
    if (l->terminal->colour) {
        DS_TRY(ds_text_printf(text, "\n%s ", low));
        for (size_t i = 0; i < LEVELS; i++)
            DS_TRY(append_cell(text, l, heat->low + (heat->high - heat->low) * ((double)i + 0.5) / LEVELS, 2));
        DS_TRY(ds_text_printf(text, " %s", high));
    } else if (!l->numbers && heat->diverging) {
        DS_TRY(ds_text_printf(text, "\ndigits: 1 is %s, 5 is %.3g, 9 is %s", low, (heat->low + heat->high) / 2, high));
    } else if (!l->numbers) {
        DS_TRY(ds_text_printf(text, "\ndigits: 0 is %s, 9 is %s", low, high));
    }
    status = ds_text_printf(text, "\n");
done:
    return status;
}

ds_status ds_heat_terminal(ds_text *text, const ds_heat *heat, const ds_terminal *terminal) {
    ds_status status = DS_OK;
    layout l = {.heat = heat, .terminal = terminal};
    DS_TRY(plan(&l));
    DS_TRY(append_legend(text, &l));
    for (size_t from = 0, to; from < heat->columns; from = to) {
        to = band_end(&l, from);
        DS_TRY(ds_text_append(text, "\n", 1));
        DS_TRY(append_words(text, &l, from, to));
        for (size_t r = 0; r < heat->rows; r++) DS_TRY(append_row(text, &l, r, from, to));
    }
done:
    free(l.width);
    return status;
}
