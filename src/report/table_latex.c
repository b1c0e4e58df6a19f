/* Tables as LaTeX: floats that no page is too small for. A table that is wider than the line is scaled down to it, a long one
 * is split, long texts break. */
#include <stdlib.h>
#include <string.h>

#include "table.h"

static ds_status append(ds_text *text, const char *string) { return ds_text_append(text, string, strlen(string)); }

/* ---- text -------------------------------------------------------------------------------------------------------- */

/* What texts of this program contain beyond ASCII, and what LaTeX or a ligature gives a meaning of its own. */
static const struct {
    const char *from, *to;
} latex[] = {
    {"\\", "\\textbackslash{}"},
    {"{", "\\{"},
    {"}", "\\}"},
    {"$", "$\\mathdollar$"}, /* in text it might be of a bitmap font */
    {"&", "\\&"},
    {"#", "\\#"},
    {"_", "\\_"},
    {"%", "\\%"},
    {"~", "\\textasciitilde{}"},
    {"^", "\\textasciicircum{}"},
    {"<", "$<$"},
    {">", "$>$"},
    {"|", "$|$"},
    {"\"", "''"},
    {"`", "{`}"},
    {"--", "-{}-{}"},
    {"[", "{[}"}, /* first of a row it would be an argument of the line break before it, and so would a star */
    {"*", "{*}"},
    {"α", "$\\alpha$"},
    {"β", "$\\beta$"},
    {"γ", "$\\gamma$"},
    {"δ", "$\\delta$"},
    {"Δ", "$\\Delta$"},
    {"ε", "$\\varepsilon$"},
    {"λ", "$\\lambda$"},
    {"μ", "$\\mu$"},
    {"ρ", "$\\rho$"},
    {"σ", "$\\sigma$"},
    {"²", "$^2$"},
    {"₂", "$_2$"},
    {"ᵀ", "$^T$"},
    {"‖", "$\\|$"},
    {"·", "$\\cdot$"},
    {"×", "$\\times$"},
    {"±", "$\\pm$"},
    {"≤", "$\\le$"},
    {"≥", "$\\ge$"},
    {"→", "$\\to$"},
    {"−", "$-$"},
    {"–", "--"},
    {"—", "---"},
    {"─", "--"},
    {"…", "\\ldots{}"},
    {"∞", "$\\infty$"},
    {"’", "'"},
    {"“", "``"},
    {"”", "''"},
    {"␣", "\\_"},
    {"█", "\\#"},
    {"░", "-{}"},
    {"↵", "\\textbackslash{}n"},
    {"⇥", "\\textbackslash{}t"},
    {"\n", " "},
    {"\r", " "},
    {"\t", " "},
};

/* Letters with accents that every font of LaTeX's has or composes: Latin-1, but for those of Icelandic. */
static bool is_latin(uint32_t point) {
    return point >= 0xC0 && point <= 0xFF && strchr("\xD0\xD7\xDE\xF0\xF7\xFE", (int)point) == NULL;
}

/* What begins the string, an entry of the table above; their number when none does. */
static size_t find_symbol(const char *string) {
    size_t i = 0;
    while (i < sizeof latex / sizeof *latex && strncmp(string, latex[i].from, strlen(latex[i].from)) != 0) i++;
    return i;
}

/* Whether a character stands for itself. */
static bool is_plain(uint32_t point) { return (point >= ' ' && point < 0x80) || is_latin(point); }

/* One character, or two hyphens; *taken <- its bytes. Of what no font is sure to have, the
 * bytes are told. */
static ds_status append_character(ds_text *text, size_t *taken, const char *string) {
    ds_status status = DS_OK;
    uint32_t point = 0;
    const size_t symbol = find_symbol(string);
    if (symbol < sizeof latex / sizeof *latex) {
        *taken = strlen(latex[symbol].from);
        return append(text, latex[symbol].to);
    }
    *taken = ds_max_size(ds_utf8_decode(&point, string, strlen(string)), 1);
    if (is_plain(point)) return ds_text_append(text, string, *taken);
    for (size_t i = 0; i < *taken; i++)
        DS_TRY(ds_text_printf(text, "\\penalty500 \\textbackslash{}x%02X", (unsigned char)string[i]));
    status = append(text, "\\penalty500 ");
done:
    return status;
}

/* How wide a text is, in small letters; capitals are twice as wide. */
static size_t count_letters(const char *string) {
    size_t count = 0, taken;
    for (; *string != '\0'; string += taken) {
        uint32_t point = 0;
        taken = ds_max_size(ds_utf8_decode(&point, string, strlen(string)), 1);
        const bool spelled = !is_plain(point) && find_symbol(string) == sizeof latex / sizeof *latex;
        count += spelled ? 4 * taken : *string >= 'A' && *string <= 'Z' ? 2 : 1; /* \xNN each */
    }
    return count;
}

/* No word of fewer letters, be they all W, is wider than the narrowest column of texts. */
enum { LONGEST_WORD = 14 };

/* Text that breaks between words, and where a word is too long for a line, after a sign or else anywhere. */
static ds_status append_latex(ds_text *text, const char *string) {
    ds_status status = DS_OK;
    size_t run = 0, taken;
    for (const char *at = string; *at != '\0'; at += taken) {
        if (run == 0 && *at != ' ') run = strcspn(at, " \n\r\t") > LONGEST_WORD ? 1 : SIZE_MAX;
        DS_TRY(append_character(text, &taken, at));
        if (strchr(" \n\r\t", *at) != NULL) run = 0;
        if (run == 0 || run == SIZE_MAX || at[taken] == '\0' || strchr(" \n\r\t", at[taken]) != NULL) continue;
        const bool sign = strchr("/_.:,;=+|)]}-", *at) != NULL;
        if (sign || run == LONGEST_WORD) DS_TRY(append(text, sign ? "\\penalty100 " : "\\penalty500 "));
        run = sign || run == LONGEST_WORD ? 1 : run + 1;
    }
done:
    return status;
}

/* ---- cells ------------------------------------------------------------------------------------------------------- */

/* "-1.5e-07" as $-1.5 \times 10^{-7}$; a missing value as a dash. */
static ds_status append_latex_number(ds_text *text, const char *number) {
    const char *exponent = strchr(number, 'e');
    if (strcmp(number, "-") == 0) return append(text, "--");
    if (strstr(number, "inf") != NULL) return append(text, *number == '-' ? "$-\\infty$" : "$\\infty$");
    if (exponent != NULL)
        return ds_text_printf(text, "$%.*s \\times 10^{%d}$", (int)(exponent - number), number,
                              (int)strtol(exponent + 1, NULL, 10));
    return ds_text_printf(text, "$%s$", number);
}

static ds_status append_latex_row(ds_text *text, const ds_table *table, size_t row) {
    ds_status status = DS_OK;
    ds_text number = {0};
    bool first = true;
    for (size_t c = 0; c < table->count; c++) {
        if (table->columns[c].kind == DS_COLUMN_BAR) continue;
        if (!first) DS_TRY(append(text, " & "));
        first = false;
        if (table->columns[c].kind == DS_COLUMN_TEXT) {
            DS_TRY(append_latex(text, ds_table_cell(table, row, c)->text));
        } else {
            number.length = 0;
            DS_TRY(ds_table_append_number(&number, table, row, c, ds_table_number_style(table, c)));
            const bool lowest = ds_table_is_lowest(table, row, c);
            if (lowest) DS_TRY(append(text, "\\textbf{"));
            DS_TRY(append_latex_number(text, number.bytes));
            if (lowest) DS_TRY(append(text, "}"));
        }
    }
    status = append(text, " \\\\\n");
done:
    ds_text_release(&number);
    return status;
}

/* A long title stands in lines of a word each, below it its unit. */
static ds_status append_head(ds_text *text, const ds_column *column) {
    enum { LONG_TITLE = 9 };
    ds_status status = DS_OK;
    ds_text word = {0};
    const char *unit = ds_column_unit(column), *title = column->title;
    const char *between = count_letters(title) > LONG_TITLE ? " _" : "";
    if (!ds_column_is_number(column) || (unit == NULL && *between == '\0')) return append_latex(text, title);
    DS_TRY(append(text, "\\begin{tabular}[b]{@{}r@{}}"));
    for (size_t length; *title != '\0'; title += length + (title[length] != '\0')) {
        length = strcspn(title, between);
        word.length = 0;
        DS_TRY(ds_text_append(&word, title, length));
        DS_TRY(append_latex(text, word.bytes));
        if (title[length] != '\0') DS_TRY(append(text, "\\\\"));
    }
    if (unit != NULL) {
        DS_TRY(append(text, "\\\\("));
        DS_TRY(append_latex(text, unit));
        DS_TRY(append(text, ")"));
    }
    status = append(text, "\\end{tabular}");
done:
    ds_text_release(&word);
    return status;
}

/* ---- layout ------------------------------------------------------------------------------------------------------ */

/* Columns of texts are as wide as they need up to SHORT letters; beyond that texts break into lines. Half an em is about a
 * letter. PAGE lines fit a page of article beside a caption of one. */
enum { SHORT = 30, MOST_CELL_LINES = 12, PAGE = 36, CAPTION_LINE = 50 };

typedef struct layout {
    const ds_table *table;
    size_t *letters; /* (columns) of a line of a column whose texts break; 0 elsewhere */
    ds_text caption;
} layout;

static ds_status lay_out(layout *all) {
    ds_status status = DS_OK;
    DS_NEW(all->letters, all->table->count);
    for (size_t c = 0; c < all->table->count; c++) {
        size_t most = 0;
        if (all->table->columns[c].kind != DS_COLUMN_TEXT) continue;
        for (size_t row = 0; row < ds_table_rows(all->table); row++)
            most = ds_max_size(most, count_letters(ds_table_cell(all->table, row, c)->text));
        if (most > SHORT) all->letters[c] = ds_max_size(SHORT, most / MOST_CELL_LINES);
    }
done:
    return status;
}

static size_t lines_of(const layout *all, size_t row) {
    size_t lines = 1;
    for (size_t c = 0; c < all->table->count; c++) {
        if (all->letters[c] == 0) continue;
        const size_t letters = count_letters(ds_table_cell(all->table, row, c)->text);
        lines = ds_max_size(lines, 1 + letters * 5 / (4 * all->letters[c])); /* a line is rarely full */
    }
    return lines;
}

static ds_status append_columns(ds_text *text, const layout *all) {
    ds_status status = DS_OK;
    DS_TRY(append(text, "\\begin{tabular}{@{}"));
    for (size_t c = 0; c < all->table->count; c++) {
        if (all->table->columns[c].kind == DS_COLUMN_BAR) continue;
        if (all->letters[c] > 0)
            DS_TRY(ds_text_printf(text, ">{\\raggedright\\arraybackslash}p{%zuem}", (all->letters[c] + 1) / 2));
        else
            DS_TRY(append(text, ds_column_is_number(&all->table->columns[c]) ? "r" : "l"));
    }
    status = append(text, "@{}}\n\\toprule\n");
done:
    return status;
}

static ds_status append_heads(ds_text *text, const ds_table *table) {
    ds_status status = DS_OK;
    bool first = true;
    for (size_t c = 0; c < table->count; c++) {
        if (table->columns[c].kind == DS_COLUMN_BAR) continue;
        if (!first) DS_TRY(append(text, " & "));
        first = false;
        DS_TRY(append_head(text, &table->columns[c]));
    }
    status = append(text, " \\\\\n\\midrule\n");
done:
    return status;
}

/* Title, note and checkpoint, as sentences. */
static ds_status make_caption(ds_text *caption, const ds_table *table) {
    ds_status status = DS_OK;
    DS_TRY(append(caption, table->title));
    if (table->note != NULL) DS_TRY(ds_text_printf(caption, ". %s", table->note));
    if (table->checkpoint != NULL) {
        DS_TRY(ds_text_printf(caption,
                              "%s Checkpoint: ", caption->length > 0 && caption->bytes[caption->length - 1] == '.' ? "" : "."));
        DS_TRY(ds_short_path(caption, table->checkpoint, DS_CAPTION_PATH));
    }
done:
    return status;
}

static ds_status append_caption(ds_text *text, const ds_table *table, const char *caption) {
    ds_status status = DS_OK;
    DS_TRY(append(text, "\\caption{"));
    DS_TRY(append_latex(text, caption));
    DS_TRY(append(text, "}\n"));
    if (table->label != NULL) DS_TRY(ds_text_printf(text, "\\label{tab:%s}\n", table->label));
done:
    return status;
}

/* One float: as many rows from *row on as a page takes. */
static ds_status append_part(ds_text *text, const layout *all, size_t *row) {
    ds_status status = DS_OK;
    const ds_table *table = all->table;
    const size_t rows = ds_table_rows(table), begun = *row;
    size_t used = begun > 0 ? 0 : count_letters(all->caption.bytes) / CAPTION_LINE;
    DS_TRY(append(text, "\\begin{table}[htbp]\n\\centering\n"));
    DS_TRY(begun == 0 ? append_caption(text, table, all->caption.bytes)
                      : append(text, "\\tablename~\\thetable{} (continued)\\par\\medskip\n"));
    DS_TRY(append(text, "\\setbox0\\hbox{%\n"));
    DS_TRY(append_columns(text, all));
    DS_TRY(append_heads(text, table));
    for (; *row < rows && (*row == begun || used + lines_of(all, *row) <= PAGE); ++*row) {
        used += lines_of(all, *row);
        DS_TRY(append_latex_row(text, table, *row));
    }
    DS_TRY(append(text, "\\bottomrule\n\\end{tabular}}%\n"
                        "\\ifdim\\wd0>\\linewidth\\resizebox{\\linewidth}{!}{\\box0}\\else\\box0\\fi\n\\end{table}\n"));
done:
    return status;
}

ds_status ds_table_append_latex(ds_text *text, const ds_table *table) {
    enum { MOST_FLOATS = 12 }; /* that LaTeX holds back before a page is made of them */
    ds_status status = DS_OK;
    layout all = {.table = table};
    size_t row = 0, parts = 0;
    DS_TRY(lay_out(&all));
    DS_TRY(make_caption(&all.caption, table));
    DS_TRY(append(text, "% \\usepackage{array,booktabs,graphicx}\n"));
    do {
        if (parts > 0 && parts % MOST_FLOATS == 0) DS_TRY(append(text, "\\clearpage\n"));
        DS_TRY(append_part(text, &all, &row));
        parts++;
    } while (row < ds_table_rows(table));
done:
    free(all.letters);
    ds_text_release(&all.caption);
    return status;
}
