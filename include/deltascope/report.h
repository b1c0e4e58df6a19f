/* report: results in neutral form in; JSON, tables (terminal, CSV, Markdown, LaTeX), npz archives and figures out.
 *
 * Files are written whole or not at all. Builders and tables keep their first error and report it once, when they are
 * finished or written, so that filling them reads as a list of facts. */
#ifndef DELTASCOPE_REPORT_H
#define DELTASCOPE_REPORT_H

#include <jansson.h>

#include "deltascope/base.h"
#include "deltascope/stats.h"

DS_BEGIN_DECLARATIONS

/* ---- building JSON ----------------------------------------------------------------------------------------------- */

enum { DS_JSON_DEPTH = 16 };

/* Grows one JSON value. Zero-initialise; begin with ds_json_begin_object(b, NULL) (or _array). Inside an object every call
 * names a key, inside an array the key is NULL. The first failure (DS_ERR_SYSTEM) is kept and later calls do nothing. */
typedef struct ds_json_builder {
    json_t *open[DS_JSON_DEPTH]; /* open[0] is the root; the builder owns it, it owns the rest */
    size_t depth;
    ds_status status;
} ds_json_builder;

void ds_json_begin_object(ds_json_builder *b, const char *key);
void ds_json_begin_array(ds_json_builder *b, const char *key);
void ds_json_end(ds_json_builder *b); /* closes the innermost object or array */
/* Takes over one reference to `value`; NULL means that making it failed. */
void ds_json_put(ds_json_builder *b, const char *key, json_t *value);
void ds_json_put_real(ds_json_builder *b, const char *key, double value); /* null for NaN and infinities */
void ds_json_put_count(ds_json_builder *b, const char *key, uint64_t value);
void ds_json_put_bool(ds_json_builder *b, const char *key, bool value);
void ds_json_put_text(ds_json_builder *b, const char *key, const char *text); /* NULL: null; broken UTF-8 is escaped */
void ds_json_put_reals(ds_json_builder *b, const char *key, const double *values, size_t count);
void ds_json_put_counts(ds_json_builder *b, const char *key, const uint64_t *values, size_t count);
/* The key "warnings" of an open object, an array of sentences; nothing when `warning` is NULL. */
void ds_json_put_warning(ds_json_builder *b, const char *warning);
/* CONTRACT's statistics object, plus "count" and "quantile_rank_error". */
void ds_json_put_stats(ds_json_builder *b, const char *key, const ds_statistics *statistics);
void ds_json_put_summary(ds_json_builder *b, const char *key, ds_summary *summary);
void ds_json_put_histogram(ds_json_builder *b, const char *key, const ds_histogram *histogram);
/* *out <- the finished value (a new reference), or NULL and the first failure. The builder is empty again in both cases. */
ds_status ds_json_finish(json_t **out, ds_json_builder *b) DS_MUST_CHECK;
void ds_json_discard(ds_json_builder *b);

/* A deep copy, or NULL when out of memory: jansson's own is then silently without what there was no memory for. */
json_t *ds_json_copy(const json_t *value);
json_t *ds_json_number(double value); /* a new reference: null for NaN and infinities; NULL when out of memory */

/* ---- the envelope of a result (CONTRACT "JSON: the envelope") ---------------------------------------------------- */

typedef struct ds_envelope {
    const char *command;
    struct {
        const char *path; /* NULL: no checkpoint, "checkpoint": null */
        const char *sha256, *variant, *dtype;
        uint64_t parameters, layers, hidden, heads, value_channels, vocab;
    } checkpoint;
    struct {
        const char *path; /* NULL: no data, "data": null */
        const char *sha256;
        uint64_t seq_len, sequences, offset, tokens;
    } data;
    json_t *options; /* borrowed object, or NULL for none */
    ds_precision precision;
    uint64_t threads;
    double seconds;
    const char *warning; /* what a reader of the results must know; NULL: nothing */
    json_t *results;     /* borrowed */
} ds_envelope;

ds_status ds_envelope_json(json_t **out, const ds_envelope *envelope) DS_MUST_CHECK;

/* ---- writing JSON ------------------------------------------------------------------------------------------------ */

/* READABLE: two-space indentation, short lists on one line, keys in the order of insertion. CANONICAL: no white space, keys
 * sorted bytewise: equal contents give equal bytes. Both: every real number is the shortest decimal that reads back as the same
 * double, always with a point or an exponent. */
typedef enum ds_json_style { DS_JSON_READABLE, DS_JSON_CANONICAL } ds_json_style;
ds_status ds_json_print(ds_text *text, const json_t *value, ds_json_style style) DS_MUST_CHECK; /* appends */
/* With a final newline; "-" is standard output. */
ds_status ds_json_write(const char *path, const json_t *value, ds_json_style style) DS_MUST_CHECK;
/* The shortest decimal that reads back as `value`, in at least 32 bytes; "nan", "inf", "-inf" otherwise. Returns `text`. */
char *ds_format_real(char text[32], double value);

/* ---- tables ------------------------------------------------------------------------------------------------------ */

typedef enum ds_column_kind {
    DS_COLUMN_TEXT,    /* ds_table_text */
    DS_COLUMN_INTEGER, /* ds_table_integer */
    DS_COLUMN_REAL,    /* ds_table_real: `digits` significant digits of the column's largest value, points aligned */
    DS_COLUMN_FIXED,   /* ds_table_real: `digits` digits after the point */
    DS_COLUMN_PERCENT, /* ds_table_real: a fraction, shown as a percentage with `digits` after the point; CSV has the fraction
                        */
    DS_COLUMN_BAR, /* ds_table_real: a small bar from 0 to the column's largest |value|, negative ones thinner; terminal only */
} ds_column_kind;

typedef struct ds_column {
    const char *key;   /* CSV header: a_machine_name */
    const char *title; /* for people (UTF-8; Greek letters become LaTeX mathematics); NULL: the key */
    const char *unit;  /* "nats", "tokens", NULL for none */
    ds_column_kind kind;
    int digits;
} ds_column;

/* Cells are given row by row, left to right; each call must fit its column's kind. Strings are copied. NaN is a missing
 * value ("-", empty in CSV). */
typedef struct ds_table ds_table;
ds_status ds_table_new(ds_table **out, const char *title, const ds_column *columns, size_t count) DS_MUST_CHECK;
void ds_table_free(ds_table **table); /* sets NULL; NULL is fine */
void ds_table_text(ds_table *table, const char *text);
void ds_table_integer(ds_table *table, int64_t value);
void ds_table_real(ds_table *table, double value);
size_t ds_table_rows(const ds_table *table);

typedef enum ds_table_format { DS_TABLE_TERMINAL, DS_TABLE_CSV, DS_TABLE_MARKDOWN, DS_TABLE_LATEX } ds_table_format;
/* How a terminal wants it. */
typedef struct ds_terminal {
    size_t width; /* columns; text is cut with an ellipsis before a line gets longer */
    bool colour, unicode;
} ds_terminal;
/* Of a stream: width from the terminal or 80, colour only on a terminal without NO_COLOR, unicode by the locale variables. */
ds_terminal ds_terminal_of(FILE *stream);

/* Appends the whole table. `terminal` matters for DS_TABLE_TERMINAL only and may be NULL (80 columns, plain). */
ds_status ds_table_format_text(ds_text *text, const ds_table *table, ds_table_format format,
                               const ds_terminal *terminal) DS_MUST_CHECK;
ds_status ds_table_print(FILE *stream, const ds_table *table) DS_MUST_CHECK; /* DS_TABLE_TERMINAL as ds_terminal_of says */
ds_status ds_table_write(const char *path, const ds_table *table, ds_table_format format) DS_MUST_CHECK;

/* ---- heat maps --------------------------------------------------------------------------------------------------- */

/* Values of rows x columns laid out as text is: the columns' words from left to right, a cell per row below each, wrapped into
 * as many bands as the width needs. */
typedef struct ds_heat {
    const char *title; /* what a cell shows */
    const char *unit;  /* NULL for none */
    size_t rows, columns;
    const char *const *row_names;    /* (rows) */
    const char *const *column_names; /* (columns): UTF-8 without control characters; empty is fine */
    const double *values;            /* (rows, columns), row-major; NaN: no value, no cell */
    double low,
        high; /* ends of the scale, not equal, in either order; what lies beyond is drawn as the end, as the legend says */
    bool diverging; /* the middle of the scale is neutral, `low` blue and `high` orange; otherwise `low` is neutral */
} ds_heat;

/* Each appends. On a terminal without colour: numbers where words leave room for them, else digits: 0 (low) to 9 (high), diverging 1 to 9. */
ds_status ds_heat_terminal(ds_text *text, const ds_heat *heat, const ds_terminal *terminal) DS_MUST_CHECK;
/* A picture for a page of 17 cm; the values of a column show as its tooltip. */
ds_status ds_heat_svg(ds_text *text, const ds_heat *heat) DS_MUST_CHECK;
/* A page that needs nothing beside itself, light or dark as the reader's system is. `caption` is plain text. */
ds_status ds_heat_html(ds_text *text, const ds_heat *heat, const char *caption) DS_MUST_CHECK;

/* ---- npz archives ------------------------------------------------------------------------------------------------ */

/* numpy.load's archive of named arrays, stored, zip64 where needed, equal contents giving equal bytes. Rows are appended to any
 * array at any time and wait in unlinked temporary files, so that memory does not grow with them. */
typedef struct ds_npz ds_npz;
ds_status ds_npz_open(ds_npz **out, const char *path) DS_MUST_CHECK;
/* Declares an array of shape (rows, trailing[0], ..., trailing[rank - 1]); dtype is numpy's little-endian spelling: "<f8",
 * "<f4", "<u4",
 * "<i8", "|u1", ... Indices count up from 0. */
ds_status ds_npz_array(ds_npz *npz, size_t *index, const char *name, const char *dtype, const size_t *trailing,
                       size_t rank) DS_MUST_CHECK;
/* Appends `rows` rows, row-major, host byte order. */
ds_status ds_npz_append(ds_npz *npz, size_t index, const void *values, size_t rows) DS_MUST_CHECK;
ds_status ds_npz_commit(ds_npz **npz) DS_MUST_CHECK; /* frees and sets NULL, also on failure */
void ds_npz_discard(ds_npz **npz);                   /* leaves what was there before; NULL is fine */

/* ---- figures ----------------------------------------------------------------------------------------------------- */

/* A figure is drawn from saved results alone: FOLDER/ID.tsv holds what is drawn, FOLDER/ID.gp is a gnuplot script that stands
 * by itself (gnuplot -e "format='pdf'" ID.gp redraws it), FOLDER/ID.{svg,png,pdf,tex} are the pictures; tex is TikZ. The same results give the
 * same bytes in the data file, whether they come from the run or from a file read back. */
enum { DS_FIGURE_SVG = 1, DS_FIGURE_PNG = 2, DS_FIGURE_PDF = 4, DS_FIGURE_TEX = 8 };

typedef struct ds_figure ds_figure; /* an entry of a constant table */
size_t ds_figure_count(void);
const ds_figure *ds_figure_at(size_t index);
const ds_figure *ds_figure_find(const char *id); /* by id or preset; NULL when there is none */
const char *ds_figure_id(const ds_figure *figure);
const char *ds_figure_title(const ds_figure *figure);
/* The name under which it redraws a published figure; NULL for none. The caption says which, and in what definitions differ. */
const char *ds_figure_preset(const ds_figure *figure);

/* The results figures are drawn from: those of one envelope, as {"COMMAND": results}; of a `report` envelope, whose results
 * already have that form, all of them. *out is a new object reference. Several may be combined with json_object_update. */
ds_status ds_figure_results(json_t **out, const json_t *envelope) DS_MUST_CHECK;
/* What a path like "beta/quantiles/0.05" or "delta_loss_ci95/0" leads to, keys and indices separated by slashes; NULL for nothing. */
const json_t *ds_result_at(const json_t *value, const char *path);
/* Whether some part of gradflow's gradient passes a gate or a value. Additive sublayers have neither: what does not pass the
 * identity passes their branch. */
bool ds_gradient_has_gates(const json_t *results);
/* Whether `results` hold what the figure needs (an additive checkpoint has no gates to draw). */
bool ds_figure_applies(const ds_figure *figure, const json_t *results);
/* Appends one or two sentences: what is measured, on how much data, with which interval. `envelope` supplies checkpoint and
 * data and may be NULL. */
ds_status ds_figure_caption(ds_text *caption, const ds_figure *figure, const json_t *results,
                            const json_t *envelope) DS_MUST_CHECK;

typedef struct ds_figure_options {
    unsigned formats; /* DS_FIGURE_* in any combination; 0: data and script only */
    double width_cm;  /* 0: 8.5, a single column */
    bool dark;        /* dark background */
} ds_figure_options;
/* Writes data, script and pictures into an existing folder. *drawn tells whether the pictures were made: false when gnuplot is
 * not installed, which is not an error (ds_error_text() says what is missing). Results of the wrong form are DS_ERR_INPUT
 * naming the key. */
ds_status ds_figure_write(bool *drawn, const char *folder, const ds_figure *figure, const json_t *results,
                          const ds_figure_options *options) DS_MUST_CHECK;

/* ---- pages ------------------------------------------------------------------------------------------------------- */

/* A report as one document. Everything is borrowed; strings are plain UTF-8 text, ids letters, digits and hyphens, each used
 * once in a page. */
typedef struct ds_page_figure {
    const char *id, *title, *caption;
    const char *command; /* that redraws it */
    const char *svg;     /* the whole picture as gnuplot wrote it; NULL: it could not be drawn */
} ds_page_figure;

typedef struct ds_page_table {
    const char *id, *title;
    const char *note; /* what its columns mean; NULL for none */
    const ds_table *table;
} ds_page_table;

/* One kind of finding: what is looked for, from which threshold on it counts, and where it was found. */
typedef struct ds_finding {
    const char *kind, *threshold;
    size_t count;         /* how often */
    const char *where;    /* "3.mlp (62%), ..."; "none" */
    const char *evidence; /* id of the figure or table that shows it */
    bool alarm;           /* to be set off from the others */
} ds_finding;

enum { DS_PAGE_FIGURES = 24, DS_PAGE_TABLES = 4 };
typedef struct ds_page_section {
    const char *id, *title, *lead;
    ds_page_figure figures[DS_PAGE_FIGURES];
    size_t figure_count;
    ds_page_table tables[DS_PAGE_TABLES];
    size_t table_count;
} ds_page_section;

typedef struct ds_page {
    const char *title, *verdict;
    const ds_finding *findings;
    size_t finding_count;
    const ds_page_section *sections;
    size_t section_count;
    const char *footer; /* how it was made */
} ds_page;

/* Each appends. HTML: one file that needs nothing beside itself, no script, light or dark as the reader's system is. Markdown
 * refers to figures/ID.svg. */
ds_status ds_page_html(ds_text *text, const ds_page *page) DS_MUST_CHECK;
ds_status ds_page_markdown(ds_text *text, const ds_page *page) DS_MUST_CHECK;

/* Appends "NAME VERSION" lines of the libraries this room runs with. */
ds_status ds_report_libraries(ds_text *text) DS_MUST_CHECK;

DS_END_DECLARATIONS

#endif
