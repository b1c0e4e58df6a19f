/* A heat map as SVG, alone or within a page. Cells of one colour are one path; colours are classes, so that a page can give
 * them other values in the dark. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "heat.h"
#include "markup.h"

enum {
    LEVELS = 33,
    PAGE = 680, /* px: 17 cm and a little */
    LETTER = 7, /* advance of the 11.67 px monospace letters, fixed by textLength */
    WORD_GAP = 8,
    LETTER_GAP = 2,
    HEAD = 48,  /* title and legend */
    WORDS = 18, /* the line of words */
    BAND_GAP = 12,
    WIDEST_WORD = 24
};

typedef struct layout {
    const ds_heat *heat;
    size_t names, gap, row; /* px: row names with the gap after them, between columns, height of a row */
    size_t *x;              /* (columns): left edge */
    size_t *width;          /* (columns) */
    size_t *band;           /* (columns) */
    size_t bands, total_width;
} layout;

static size_t shown_width(const char *word) { return ds_min_size(ds_display_width(word), WIDEST_WORD); }

static ds_status plan(layout *l) {
    ds_status status = DS_OK;
    const ds_heat *heat = l->heat;
    DS_NEW(l->x, heat->columns);
    DS_NEW(l->width, heat->columns);
    DS_NEW(l->band, heat->columns);
    l->row = heat->rows <= 16 ? 14 : 9;
    l->gap = ds_heat_is_letters(heat) ? LETTER_GAP : WORD_GAP;
    for (size_t r = 0; r < heat->rows; r++) l->names = ds_max_size(l->names, 6 * ds_display_width(heat->row_names[r]) + 8);
    size_t x = l->names;
    for (size_t c = 0; c < heat->columns; c++) {
        l->width[c] = ds_max_size(shown_width(heat->column_names[c]), 1) * LETTER + l->gap;
        if (x > l->names && x + l->width[c] > PAGE) {
            x = l->names;
            l->bands++;
        }
        l->x[c] = x;
        l->band[c] = l->bands;
        x += l->width[c];
        l->total_width = ds_max_size(l->total_width, x);
    }
    l->bands += heat->columns != 0;
    l->total_width = ds_max_size(l->total_width, 360); /* the legend */
done:
    return status;
}

static void release(layout *l) {
    free(l->x);
    free(l->width);
    free(l->band);
}

static size_t band_height(const layout *l) { return WORDS + l->heat->rows * l->row + BAND_GAP; }
static size_t band_top(const layout *l, size_t band) { return HEAD + band * band_height(l); }

/* ---- colours ----------------------------------------------------------------------------------------------------- */

typedef struct colour {
    double red, green, blue;
} colour;
typedef struct ramp {
    colour from, middle, to;
} ramp;

/* Blue and orange of Okabe and Ito, told apart by every kind of colour vision; the neutral is the page. */
static const ramp ramps[2][2] = {
    {{{243, 243, 241}, {110, 166, 206}, {8, 48, 107}}, {{12, 84, 150}, {243, 243, 241}, {196, 84, 0}}},
    {{{38, 43, 49}, {58, 122, 168}, {215, 236, 250}}, {{110, 190, 245}, {38, 43, 49}, {255, 160, 74}}},
};

static unsigned mix(double a, double b, double share) { return (unsigned)lround(a + (b - a) * share); }

/* The dark one is a page's and comes before the picture's own: it is more specific. */
static ds_status append_palette(ds_text *text, const ds_heat *heat, bool dark) {
    ds_status status = DS_OK;
    const ramp *r = &ramps[dark][heat->diverging];
    for (size_t i = 0; i < LEVELS; i++) {
        double share = 2 * (double)i / (LEVELS - 1);
        const colour *a = share < 1 ? &r->from : &r->middle, *b = share < 1 ? &r->middle : &r->to;
        share -= share < 1 ? 0 : 1;
        DS_TRY(ds_text_printf(text, "%s.c%zu{fill:#%02x%02x%02x}", dark ? ".picture " : "", i, mix(a->red, b->red, share),
                              mix(a->green, b->green, share), mix(a->blue, b->blue, share)));
    }
    status = ds_text_append(text, "\n", 1);
done:
    return status;
}

/* ---- parts ------------------------------------------------------------------------------------------------------- */

static ds_status append_head(ds_text *text, const layout *l) {
    ds_status status = DS_OK;
    const ds_heat *heat = l->heat;
    char low[DS_HEAT_END], high[DS_HEAT_END];
    ds_heat_ends(low, high, heat, true);
    DS_TRY(ds_markup(text, "<text class=\"title\" x=\"2\" y=\"13\">"));
    DS_TRY(ds_markup(text, "%s", heat->title));
    if (heat->unit != NULL) DS_TRY(ds_markup(text, " (%s)", heat->unit));
    size_t left = 2 + 6 * ds_display_width(low) + 6, ramp_width = (size_t)LEVELS * 4;
    DS_TRY(ds_markup(text, "</text>\n<text class=\"name\" x=\"2\" y=\"32\">%s</text>\n", low));
    for (size_t i = 0; i < LEVELS; i++)
        DS_TRY(ds_markup(text, "<rect class=\"c%zu\" x=\"%zu\" y=\"24\" width=\"4\" height=\"10\"/>", i, left + 4 * i));
    DS_TRY(ds_markup(text, "\n<rect class=\"frame\" x=\"%zu\" y=\"24\" width=\"%zu\" height=\"10\"/>\n", left, ramp_width));
    DS_TRY(ds_markup(text, "<text class=\"name\" x=\"%zu\" y=\"32\">%s</text>\n", left + ramp_width + 6, high));
done:
    return status;
}

static ds_status append_names(ds_text *text, const layout *l) {
    ds_status status = DS_OK;
    for (size_t band = 0; band < l->bands; band++) {
        for (size_t r = 0; r < l->heat->rows; r++) {
            DS_TRY(ds_markup(text, "<text class=\"name\" text-anchor=\"end\" x=\"%zu\" y=\"%zu\">", l->names - 5,
                             band_top(l, band) + WORDS + r * l->row + l->row / 2 + 3));
            DS_TRY(ds_markup(text, "%s", l->heat->row_names[r]));
            DS_TRY(ds_markup(text, "</text>\n"));
        }
    }
done:
    return status;
}

static ds_status append_words(ds_text *text, const layout *l) {
    ds_status status = DS_OK;
    for (size_t c = 0; c < l->heat->columns; c++) {
        const char *word = l->heat->column_names[c];
        size_t shown = shown_width(word), bytes = ds_display_prefix(word, shown);
        if (shown == 0) continue;
        bool cut = word[bytes] != '\0';
        if (cut) bytes = ds_display_prefix(word, shown - 1);
        DS_TRY(ds_markup(text, "<text class=\"word\" x=\"%zu\" y=\"%zu\" textLength=\"%zu\">", l->x[c] + l->gap / 2,
                         band_top(l, l->band[c]) + WORDS - 5, shown * LETTER));
        DS_TRY(ds_markup(text, "%.*s", (int)bytes, word));
        DS_TRY(ds_markup(text, "%s</text>\n", cut ? "…" : ""));
    }
done:
    return status;
}

static ds_status append_level(ds_text *text, const layout *l, size_t level) {
    ds_status status = DS_OK;
    bool any = false;
    for (size_t c = 0; c < l->heat->columns; c++) {
        size_t y = band_top(l, l->band[c]) + WORDS;
        for (size_t r = 0; r < l->heat->rows; r++) {
            if (ds_heat_level(l->heat, ds_heat_value(l->heat, r, c), LEVELS) != level) continue;
            if (!any) DS_TRY(ds_markup(text, "<path class=\"c%zu\" d=\"", level));
            any = true;
            DS_TRY(ds_markup(text, "M%zu %zuh%zuv%zuh-%zuz", l->x[c], y + r * l->row, l->width[c], l->row, l->width[c]));
        }
    }
    if (any) DS_TRY(ds_markup(text, "\"/>\n"));
done:
    return status;
}

/* An invisible rectangle over each column, whose title browsers show under the pointer. */
static ds_status append_tooltips(ds_text *text, const layout *l) {
    ds_status status = DS_OK;
    for (size_t c = 0; c < l->heat->columns; c++) {
        const char *word = l->heat->column_names[c];
        DS_TRY(ds_markup(text, "<rect class=\"tip\" x=\"%zu\" y=\"%zu\" width=\"%zu\" height=\"%zu\"><title>%zu: ", l->x[c],
                         band_top(l, l->band[c]), l->width[c], WORDS + l->heat->rows * l->row, c));
        DS_TRY(ds_markup(text, "%s", word));
        for (size_t r = 0; r < l->heat->rows; r++) {
            DS_TRY(ds_text_append(text, "\n", 1));
            DS_TRY(ds_markup(text, "%s", l->heat->row_names[r]));
            if (isnan(ds_heat_value(l->heat, r, c)))
                DS_TRY(ds_markup(text, " -"));
            else
                DS_TRY(ds_markup(text, " %.3g", ds_heat_value(l->heat, r, c)));
        }
        DS_TRY(ds_markup(text, "</title></rect>\n"));
    }
done:
    return status;
}

ds_status ds_heat_svg(ds_text *text, const ds_heat *heat) {
    ds_status status = DS_OK;
    layout l = {.heat = heat};
    DS_TRY(plan(&l));
    size_t width = l.total_width + 2, height = HEAD + l.bands * band_height(&l);
    DS_TRY(ds_markup(text,
                     "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%zu\" height=\"%zu\" viewBox=\"0 0 %zu %zu\">\n"
                     "<style>text{fill:#1a1a1a}.title{font:600 13px Helvetica,Arial,sans-serif}"
                     ".name{font:%dpx Helvetica,Arial,sans-serif}"
                     ".word{font:11.67px 'DejaVu Sans Mono',Menlo,Consolas,monospace}"
                     "path{shape-rendering:crispEdges}.frame{fill:none;stroke:#888;stroke-width:.5}.tip{fill:transparent}\n",
                     width, height, width, height, l.row < 10 ? 8 : 10));
    DS_TRY(append_palette(text, heat, false));
    DS_TRY(ds_markup(text, "</style>\n"));
    DS_TRY(append_head(text, &l));
    DS_TRY(append_names(text, &l));
    DS_TRY(append_words(text, &l));
    for (size_t level = 0; level < LEVELS; level++) DS_TRY(append_level(text, &l, level));
    DS_TRY(append_tooltips(text, &l));
    DS_TRY(ds_markup(text, "</svg>\n"));
done:
    release(&l);
    return status;
}

ds_status ds_heat_html(ds_text *text, const ds_heat *heat, const char *caption) {
    ds_status status = DS_OK;
    DS_TRY(ds_markup(text, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                           "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>"));
    DS_TRY(ds_markup(text, "%s", heat->title));
    DS_TRY(ds_markup(text, "</title>\n<style>\n:root{color-scheme:light dark}\n"
                           "body{margin:1.5rem auto;max-width:46rem;padding:0 1rem;background:#fff;color:#1a1a1a;"
                           "font:15px/1.5 Helvetica,Arial,sans-serif}\n.picture{overflow-x:auto}\n"
                           "@media screen and (prefers-color-scheme:dark){body{background:#16191d;color:#e6e6e6}"
                           ".picture text{fill:#e6e6e6}\n"));
    DS_TRY(append_palette(text, heat, true));
    DS_TRY(ds_markup(text, "}\n</style>\n</head>\n<body>\n<div class=\"picture\">\n"));
    DS_TRY(ds_heat_svg(text, heat));
    DS_TRY(ds_markup(text, "</div>\n<p>"));
    DS_TRY(ds_markup(text, "%s", caption));
    status = ds_markup(text, "</p>\n</body>\n</html>\n");
done:
    return status;
}
