/* One figure: an entry of the table in figure.c. To add one, write its two functions beside the others of its command, its
 * template plots/ID.gp, a line in template.c and a line in the table. */
#ifndef DELTASCOPE_REPORT_FIGURE_H
#define DELTASCOPE_REPORT_FIGURE_H

#include "deltascope/report.h"

/* The least and the greatest number of one column of one block that can be drawn; NaN where there is none. */
typedef struct ds_extent {
    double low, high;
} ds_extent;
enum { DS_DATA_COLUMNS = 10 };

/* The data file, and how far its numbers reach: gnuplot fails on a column without numbers, so templates look there first. */
typedef struct ds_data {
    ds_text text; /* tab-separated blocks under # comments, two blank lines between blocks */
    size_t blocks, room;
    ds_extent *extents; /* (room, DS_DATA_COLUMNS) */
} ds_data;

/* What a template gets beside the data: gnuplot assignments, one a line. */
typedef struct ds_drawing {
    ds_data data;
    ds_text settings; /* "layers = 24\n" ... */
    size_t panels;    /* equal ones that grow with the data, one above another; 0 is 1 */
} ds_drawing;

struct ds_figure {
    const char *id, *title;
    const char *preset; /* named after the paper whose figure it redraws; NULL for none */
    const char *source; /* that paper, and in what the definitions differ: whole sentences for the caption; NULL for none */
    double aspect;      /* height / width */
    size_t coordinates; /* the first columns of its data, which say where; a row with no number after them draws nothing */
    const char *template;
    bool (*applies)(const json_t *results);
    ds_status (*draw)(ds_drawing *drawing, const json_t *results);
    ds_status (*describe)(ds_text *caption, const json_t *results);
};

/* ---- templates, compiled in -------------------------------------------------------------------------------------- */

extern const char ds_plot_style[], ds_plot_gate_distribution[], ds_plot_regime_shares[], ds_plot_discrepancy[],
    ds_plot_edit_sizes[], ds_plot_eigenvalue_beta[], ds_plot_accumulated_eigenvalues[], ds_plot_singular_values[],
    ds_plot_depth_spectrum[], ds_plot_depth_gain[], ds_plot_coherence[], ds_plot_closed_gate_loss[],
    ds_plot_closed_gate_cumulative[], ds_plot_controls[], ds_plot_gradient_paths[], ds_plot_frozen_full[],
    ds_plot_weight_spectra[], ds_plot_checkpoints[], ds_plot_trajectory_loss[], ds_plot_trajectory_gates[],
    ds_plot_training_curves[], ds_plot_gates_over_training[], ds_plot_contrasts[], ds_plot_groups[], ds_plot_study_curves[],
    ds_plot_study_differences[], ds_plot_study_seeds[], ds_plot_study_sweep[], ds_plot_contribution_maps[],
    ds_plot_mass_cause[];

/* ---- reading results --------------------------------------------------------------------------------------------- */

/* Each fails with DS_ERR_INPUT naming the key. `where` names the object for the sentence. */
ds_status ds_result_array(const json_t **out, const json_t *object, const char *key, const char *where) DS_MUST_CHECK;
ds_status ds_result_object(const json_t **out, const json_t *object, const char *key, const char *where) DS_MUST_CHECK;
ds_status ds_result_text(const char **out, const json_t *object, const char *key, const char *where) DS_MUST_CHECK;
/* null is NaN. */
ds_status ds_result_number(double *out, const json_t *object, const char *key, const char *where) DS_MUST_CHECK;
/* An element of an array of numbers; NaN when it is null, absent or no number. */
double ds_result_element(const json_t *array, size_t index);
/* The number ds_json_at finds; null is NaN, anything else DS_ERR_INPUT. */
ds_status ds_result_number_at(double *out, const json_t *value, const char *path, const char *where) DS_MUST_CHECK;
/* Members of an object in bytewise order of their names, whatever order they stand in; borrowed. Free with free(). */
typedef struct ds_member {
    const char *name;
    const json_t *value;
} ds_member;
ds_status ds_members_sorted(ds_member **out, size_t *count, const json_t *object) DS_MUST_CHECK;
/* A caption's sentence about the intervals that rows have at `path`: which they are, or that there are none. */
const char *ds_interval_words(const json_t *rows, const char *path);
/* A sublayer of a figure by layer. */
typedef struct ds_place {
    size_t layer;
    bool mlp;
} ds_place;
/* "3.attn" -> layer 3, mlp false. */
ds_status ds_result_sublayer(ds_place *place, const char *name) DS_MUST_CHECK;

enum { DS_FIGURE_SERIES = 6 }; /* as many in a panel as colours and shapes tell apart */

/* "names_a", "names_b": the labels of both sides of the contrasts that are wanted (all with NULL). */
ds_status ds_contrast_labels(ds_text *settings, const json_t *contrasts,
                             bool (*wanted)(const void *context, const json_t *contrast), const void *context) DS_MUST_CHECK;

/* ---- writing data ------------------------------------------------------------------------------------------------ */

/* Appends numbers, tab-separated and in full precision, ended by a line break; at most DS_DATA_COLUMNS. */
ds_status ds_data_row(ds_data *data, const double *values, size_t count) DS_MUST_CHECK;
/* Begins a block: its name and its columns under #, two blank lines after the block before. */
ds_status ds_data_block(ds_data *data, const char *name, const char *columns) DS_MUST_CHECK;
/* Rows that belong to sublayers, drawn by layer. */
typedef struct ds_kind_rows {
    const json_t *rows; /* an array of objects */
    const char *where;
    bool (*place)(ds_place *place, const json_t *row); /* false leaves the row out; NULL: every row has a sublayer's "name" */
} ds_kind_rows;
/* Appends what is drawn of one row. */
typedef ds_status (*ds_draw_row)(ds_data *data, const json_t *row, ds_place place, void *context);
/* A block of the attention sublayers, then one of the MLPs. *layers, unless NULL: one more than the last layer there is. */
ds_status ds_data_kinds(ds_data *data, size_t *layers, const ds_kind_rows *of, const char *columns, ds_draw_row draw,
                        void *context) DS_MUST_CHECK;
/* The same for rows of layer and the numbers at `paths`, which name the columns where `columns` is NULL. Sets `layers`. */
ds_status ds_data_by_kind(ds_drawing *drawing, const ds_kind_rows *of, const char *columns, const char *const *paths,
                          size_t count) DS_MUST_CHECK;
/* One block: the numbers at `paths` of every object of `rows`. */
ds_status ds_data_rows(ds_data *data, const char *name, const json_t *rows, const char *where, const char *const *paths,
                       size_t count) DS_MUST_CHECK;
/* Whether some column after the first `coordinates` has a number that can be drawn. */
bool ds_data_shows_something(const ds_data *data, size_t coordinates);
/* The extents as gnuplot's functions low(block, column) and high(block, column): blocks from 0, columns from 1. */
ds_status ds_data_extents(ds_text *settings, const ds_data *data) DS_MUST_CHECK;
void ds_data_release(ds_data *data);

/* ---- several checkpoints, a series each ---------------------------------------------------------------------------- */

/* What checkpoints.gp is told of its axes; scale: "gates" (0 to 2), "changes" (holds 0), "sizes" (from 0) or "powers". */
typedef struct ds_series_axes {
    const char *x, *y, *scale;
    bool joined; /* a line through the points */
} ds_series_axes;
/* Labels as words that neither gnuplot nor TeX reads as their own; a long one loses its middle. What would look like a label
 * before it gets a number, so that no two labels of a figure share a word. Zero-initialise. */
typedef struct ds_labels {
    ds_text words;        /* for a setting: each with a space behind it */
    ds_text given, taken; /* every label, and the word it has, in the same order, each with a NUL */
} ds_labels;
/* The label gets its word, which may not be drawn. */
ds_status ds_labels_note(const char **word, ds_labels *labels, const char *label) DS_MUST_CHECK;
/* Appends it to the words as well. */
ds_status ds_labels_add(ds_labels *labels, const char *label) DS_MUST_CHECK;
/* The words so far; "" for none. */
const char *ds_labels_words(const ds_labels *labels);
void ds_labels_release(ds_labels *labels);
/* Settings and panels for the blocks there are: x, value, interval or band from, to. */
ds_status ds_series_finish(ds_drawing *drawing, const ds_labels *names, const ds_series_axes *axes) DS_MUST_CHECK;

/* ---- drawing ----------------------------------------------------------------------------------------------------- */

/* gnuplot with the figure's script and data, or NULL where it is not installed; closed with ds_helper_close. */
ds_status ds_gnuplot_open(ds_helper **gnuplot, const char *id, const ds_text *script, const ds_text *data) DS_MUST_CHECK;
/* Draws the figure in every format `wanted` (DS_FIGURE_*); FOLDER/ID.FORMAT appears whole or not at all. *drawn: those that
 * came out. A gnuplot that fails (it may have been built without cairo) is no error of ours: ds_error_text() says what it
 * complained of. */
ds_status ds_gnuplot_draw(unsigned *drawn, ds_helper *gnuplot, const ds_folder *folder, const char *id,
                          unsigned wanted) DS_MUST_CHECK;

/* ---- the figures ------------------------------------------------------------------------------------------------- */

#define DS_FIGURE(name)                                                                                                        \
    bool ds_##name##_applies(const json_t *results);                                                                           \
    ds_status ds_##name##_draw(ds_drawing *drawing, const json_t *results) DS_MUST_CHECK;                                      \
    ds_status ds_##name##_describe(ds_text *caption, const json_t *results) DS_MUST_CHECK

DS_FIGURE(gate_distribution);
DS_FIGURE(regime_shares);
DS_FIGURE(discrepancy);
DS_FIGURE(edit_sizes);
DS_FIGURE(eigenvalue_beta);
DS_FIGURE(accumulated_eigenvalues);
DS_FIGURE(singular_values);
DS_FIGURE(depth_spectrum);
DS_FIGURE(depth_gain);
DS_FIGURE(coherence);
DS_FIGURE(closed_gate_loss);
DS_FIGURE(closed_gate_cumulative);
DS_FIGURE(controls);
DS_FIGURE(gradient_paths);
DS_FIGURE(frozen_full);
DS_FIGURE(weight_spectra);
DS_FIGURE(compare_gates);
DS_FIGURE(compare_costs);
DS_FIGURE(trajectory_loss);
DS_FIGURE(trajectory_gates);
DS_FIGURE(contribution_maps);
DS_FIGURE(effective_sources);
DS_FIGURE(largest_share);
DS_FIGURE(mass_cause);
DS_FIGURE(rule_gains);
DS_FIGURE(source_gradients);
DS_FIGURE(source_sizes);
DS_FIGURE(contrasts);
DS_FIGURE(group_gates);
DS_FIGURE(group_discrepancy);
DS_FIGURE(group_regimes);
DS_FIGURE(group_costs);
DS_FIGURE(group_gradients);
DS_FIGURE(study_tokens);
DS_FIGURE(study_flops);
DS_FIGURE(study_seconds);
DS_FIGURE(study_differences);
DS_FIGURE(study_seeds);
DS_FIGURE(study_sweep);
DS_FIGURE(training_curves);
DS_FIGURE(gates_over_training);

DS_FIGURE(merged_gates);
DS_FIGURE(merged_eigenvalues);
DS_FIGURE(merged_edits);
DS_FIGURE(merged_costs);
DS_FIGURE(merged_smallest);
DS_FIGURE(merged_gains);
DS_FIGURE(merged_gradients);
DS_FIGURE(merged_exponents);

#endif
