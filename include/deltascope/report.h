/* report: results in neutral form in; tables (terminal, CSV, Markdown, LaTeX), pages and figures out.
 *
 * Files are written whole or not at all. Tables keep their first error and report it once, when they are written, so that
 * filling them reads as a list of facts. */
#ifndef DELTASCOPE_REPORT_H
#define DELTASCOPE_REPORT_H

#include <jansson.h>

#include "deltascope/io.h"

DS_BEGIN_DECLARATIONS

/* ---- tables ------------------------------------------------------------------------------------------------------ */

typedef enum ds_column_kind {
    DS_COLUMN_TEXT,    /* ds_table_text */
    DS_COLUMN_INTEGER, /* ds_table_integer */
    DS_COLUMN_REAL,    /* ds_table_real: `digits` significant digits of the column's largest value, points aligned */
    DS_COLUMN_FIXED,   /* ds_table_real: `digits` digits after the point */
    DS_COLUMN_LOWEST,  /* the same, the lowest number of the column set off where letters can be bold */
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
/* Keeps the columns LIST names, comma separated by their keys, in its order; a table that has none of them stays as it is. */
ds_status ds_table_choose(ds_table *table, const char *list) DS_MUST_CHECK;
/* For LaTeX: the label is tab:LABEL, the note follows the title in the caption. NULL: none. Copied. */
void ds_table_describe(ds_table *table, const char *label, const char *note);
/* For LaTeX: the caption ends with the checkpoint, a long path without its middle. NULL: none. Copied. */
void ds_table_attribute(ds_table *table, const char *checkpoint);
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
/* Of what a descriptor leads to: width from the terminal or 80, colour only on a terminal without NO_COLOR, unicode by the
 * locale variables. */
ds_terminal ds_terminal_of(int descriptor);

/* Appends the whole table. LaTeX is a float with caption and label, no wider than the line, or several where a page is too
 * small for it; its first line names the packages it needs. `terminal` matters for DS_TABLE_TERMINAL only and may be NULL (80
 * columns, plain). */
ds_status ds_table_format_text(ds_text *text, const ds_table *table, ds_table_format format,
                               const ds_terminal *terminal) DS_MUST_CHECK;
ds_status ds_table_write(const ds_folder *folder, const char *path, const ds_table *table,
                         ds_table_format format) DS_MUST_CHECK;
/* NAME.csv for programs and NAME.tex for papers. */
ds_status ds_table_write_files(const ds_folder *folder, const char *name, const ds_table *table) DS_MUST_CHECK;

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

/* Each appends. On a terminal without colour: numbers where words leave room for them, else digits: 0 (low) to 9 (high),
 * diverging 1 to 9. */
ds_status ds_heat_terminal(ds_text *text, const ds_heat *heat, const ds_terminal *terminal) DS_MUST_CHECK;
/* A picture for a page of 17 cm; the values of a column show as its tooltip. */
ds_status ds_heat_svg(ds_text *text, const ds_heat *heat) DS_MUST_CHECK;
/* A page that needs nothing beside itself, light or dark as the reader's system is. `caption` is plain text. */
ds_status ds_heat_html(ds_text *text, const ds_heat *heat, const char *caption) DS_MUST_CHECK;

/* ---- figures ----------------------------------------------------------------------------------------------------- */

/* A figure is drawn from saved results alone: FOLDER/ID.tsv holds what is drawn, FOLDER/ID.gp is a gnuplot script that stands
 * by itself (gnuplot -e "format='pdf'" ID.gp redraws it), FOLDER/ID.{svg,png,pdf,tex} are the pictures; tex is TikZ. The same
 * results give the same bytes in the data file, whether they come from the run or from a file read back. */
enum { DS_FIGURE_SVG = 1, DS_FIGURE_PNG = 2, DS_FIGURE_PDF = 4, DS_FIGURE_TEX = 8 };

typedef struct ds_figure ds_figure; /* an entry of a constant table */
size_t ds_figure_count(void);
const ds_figure *ds_figure_at(size_t index);
const ds_figure *ds_figure_find(const char *id); /* by id or preset; NULL when there is none */
/* What the figure becomes of several checkpoints (ds_results_merge), a series each; NULL where that has no meaning. */
const ds_figure *ds_figure_merged(const ds_figure *figure);
const char *ds_figure_id(const ds_figure *figure);
const char *ds_figure_title(const ds_figure *figure);
/* The name under which it redraws a published figure; NULL for none. The caption says which, and in what definitions differ. */
const char *ds_figure_preset(const ds_figure *figure);

/* The results figures are drawn from: those of one envelope, as {"COMMAND": results}; of a `report` envelope, whose results
 * already have that form, all of them. *out is a new object reference. Several may be combined with json_object_update. */
ds_status ds_figure_results(json_t **out, const json_t *envelope) DS_MUST_CHECK;
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
/* What came of a figure. None of this is an error: where a picture that was asked for is missing, ds_error_text() says why. */
typedef struct ds_figure_outcome {
    bool empty;        /* the results hold no finite number for it: none of its files is there */
    bool no_gnuplot;   /* not installed: data and script alone */
    unsigned pictures; /* DS_FIGURE_*: those drawn; gnuplot may fail on one format (without cairo) and not on others */
} ds_figure_outcome;
/* Writes data, script and pictures into the folder; gnuplot runs elsewhere, in a folder of its own. A picture that was asked
 * for and not drawn is not in the folder afterwards, whatever was before. Results of the wrong form are DS_ERR_INPUT naming the
 * key. */
ds_status ds_figure_write(ds_figure_outcome *outcome, const ds_folder *folder, const ds_figure *figure, const json_t *results,
                          const ds_figure_options *options) DS_MUST_CHECK;

/* ---- pages ------------------------------------------------------------------------------------------------------- */

/* A report as one document. Everything is borrowed; strings are plain UTF-8 text, ids letters, digits and hyphens, each used
 * once in a page. */
typedef struct ds_page_figure {
    const char *id, *title, *caption;
    const char *command; /* that redraws it */
    const char *svg;     /* the whole picture as gnuplot wrote it; NULL: it could not be drawn */
    const char *missing; /* why a picture is missing; NULL or empty when none is */
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

/* Each appends. HTML: one file that needs nothing beside itself, light or dark as the reader's system is; its script only sorts
 * tables. Markdown
 * refers to figures/ID.svg. */
ds_status ds_page_html(ds_text *text, const ds_page *page) DS_MUST_CHECK;
ds_status ds_page_markdown(ds_text *text, const ds_page *page) DS_MUST_CHECK;

/* How many initial tensors variants share and that they are equal, and whether batches were: two sentences. */
ds_status ds_study_shared_words(ds_text *text, const json_t *study) DS_MUST_CHECK;
/* Everything about a study that can be told from study.json alone, into a folder: report.html, report.md, tables, figures.
 * `command` makes it again. The same study gives the same bytes. */
ds_status ds_study_page(const ds_folder *folder, const json_t *study, const char *command) DS_MUST_CHECK;

/* ---- which checkpoint -------------------------------------------------------------------------------------------- */

/* Appends a path fit to be printed, of at most `most` bytes: a longer one keeps both ends and loses its middle. */
enum { DS_CAPTION_PATH = 40 };
ds_status ds_short_path(ds_text *text, const char *path, size_t most) DS_MUST_CHECK;
/* Appends " Checkpoint: PATH (ddl-cc, 4 layers, d = 128, 4 value channels)." of an envelope's "checkpoint"; nothing where that
 * does not say its variant. */
ds_status ds_checkpoint_words(ds_text *text, const json_t *checkpoint) DS_MUST_CHECK;

/* ---- reading results --------------------------------------------------------------------------------------------- */

enum { DS_REPORT_FINDINGS = 12 };
typedef struct ds_findings {
    ds_finding rows[DS_REPORT_FINDINGS];
    ds_text where[DS_REPORT_FINDINGS];
    size_t count;
    ds_text verdict;
} ds_findings;
ds_status ds_findings_find(ds_findings *findings, const json_t *envelope) DS_MUST_CHECK;
/* As an array for the report's "findings". */
ds_status ds_findings_json(json_t **out, const ds_findings *findings) DS_MUST_CHECK;
ds_status ds_findings_table(ds_table **table, const ds_findings *findings) DS_MUST_CHECK;
void ds_findings_release(ds_findings *findings); /* a zeroed one is fine */

/* Where so many windows can give no p-value below DS_SIGNIFICANCE, whatever the differences: the fewest that can. 0 where they
 * are enough, and where `results`, of ablate or compare, do not say how they were judged. */
size_t ds_windows_needed(const json_t *results, size_t windows);
/* Appends that as a sentence; nothing where windows are enough. */
ds_status ds_windows_note(ds_text *text, const json_t *results, size_t windows) DS_MUST_CHECK;

/* Appends what a contrast of seeds says (of "contrasts", of compare or of a study): who is better and by how much, or what so
 * many seeds could have seen, in one to four sentences. */
ds_status ds_contrast_sentence(ds_text *text, const json_t *contrast) DS_MUST_CHECK;

/* The tables of a report: those that may be shown, some instead of others. */
enum { DS_REPORT_TABLES = 8 };

/* A table of results is described by where its numbers stand in them. */
typedef struct ds_result_column {
    ds_column column; /* the first member: ds_column_set finds it here */
    /* From the row, as ds_json_at has it. NULL: the row's own name, the key of an object's member. One that begins with a slash
     * starts at the results instead, every "@" in it the row's number. An integer column's "#" is
     * the row's number from 1. A missing number is an empty cell. */
    const char *path;
    /* Instead of a path: a number made from the row, or a text; NULL elsewhere. */
    double (*number)(const json_t *row); /* not for DS_COLUMN_INTEGER */
    const char *(*text)(const json_t *row);
    bool optional; /* the column is left out when no row has a value for it */
} ds_result_column;

/* The columns of one table, by themselves or as parts of ds_result_column. */
typedef struct ds_column_set {
    const void *first;
    size_t count, size; /* size: bytes from one to the next */
} ds_column_set;
#define DS_COLUMN_SET(columns)                                                                                                 \
    { (columns), sizeof(columns) / sizeof *(columns), sizeof *(columns) }
static inline const ds_column *ds_column_set_at(const ds_column_set *set, size_t index) {
    return (const ds_column *)((const char *)set->first + index * set->size);
}

/* One column: DS_CELL(key, title, unit, kind, digits, path), as ds_column and `path` above. */
#define DS_CELL(key, title, unit, kind, digits, path)                                                                          \
    { {key, title, unit, kind, digits}, path, NULL, NULL, false }
#define DS_CELL_OPTIONAL(key, title, unit, kind, digits, path)                                                                 \
    { {key, title, unit, kind, digits}, path, NULL, NULL, true }
#define DS_CELL_NUMBER(key, title, unit, kind, digits, function)                                                               \
    { {key, title, unit, kind, digits}, NULL, function, NULL, false }
#define DS_CELL_TEXT(key, title, function)                                                                                     \
    { {key, title, NULL, DS_COLUMN_TEXT, 0}, NULL, NULL, function, false }

typedef struct ds_result_table {
    const char *id, *title, *note, *section;
    const char *rows; /* path of an array of objects, or of an object whose keys are the rows' names */
    const ds_result_column *columns;
    size_t column_count;
    bool (*applies)(const json_t *results); /* NULL: wherever there are rows */
} ds_result_table;
const ds_result_table *ds_report_table_at(size_t index);
extern const ds_column_set ds_report_column_sets[DS_REPORT_TABLES + 1]; /* and of the findings */
/* *table <- NULL when the results do not have the rows' array or object, or the table does not apply to them. */
ds_status ds_result_table_new(ds_table **table, const ds_result_table *kind, const json_t *results) DS_MUST_CHECK;

/* ---- saved results ----------------------------------------------------------------------------------------------- */

enum { DS_RESULTS_MOST_BYTES = 1 << 30 }; /* of a saved file */

/* One envelope of deltascope/1, below `folder` unless that is NULL; DS_ERR_INPUT naming the file otherwise. *out is a new
 * reference. */
ds_status ds_envelope_load(json_t **out, const ds_folder *folder, const char *path) DS_MUST_CHECK;
/* *results <- {"COMMAND": results} of all files together, *envelope <- the first file's, both new references. Files of
 * different checkpoints are refused; only runs of train, which may start from any, stand side by side: {"train": {"runs":
 * [results, ...]}}, each with a "label", the name of the folder its file lies in. A log.jsonl of
 * train is read as its results so far. `loaded` (or NULL) sees each file's envelope. */
ds_status ds_results_load(json_t **results, json_t **envelope, const char *const *paths, size_t count,
                          ds_status (*loaded)(const char *path, const json_t *envelope)) DS_MUST_CHECK;

/* One file a checkpoint, each under its label: *results <- {"merged": [{"label", COMMAND: results}...], "same_data"}, or, all
 * being runs of train, {"train": {"runs": ...}} as above; *envelope <- what they have in common, their data where these are the
 * same; new references. */
ds_status ds_results_merge(json_t **results, json_t **envelope, const char *const *paths, const char *const *labels,
                           size_t count, ds_status (*loaded)(const char *path, const json_t *envelope)) DS_MUST_CHECK;

/* Appends "NAME VERSION" lines of the libraries this room runs with. */
ds_status ds_report_libraries(ds_text *text) DS_MUST_CHECK;

DS_END_DECLARATIONS

#endif
