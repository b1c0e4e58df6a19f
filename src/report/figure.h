/* One figure: an entry of the table in figure.c. To add one, write its two functions beside the others of its command, its template
 * plots/ID.gp, a line in template.c and a line in the table. */
#ifndef DELTASCOPE_REPORT_FIGURE_H
#define DELTASCOPE_REPORT_FIGURE_H

#include "deltascope/report.h"

/* What a template gets beside the data: gnuplot assignments, one a line. */
typedef struct ds_drawing {
    ds_text data;     /* the data file: tab-separated blocks under # comments, two blank lines between blocks */
    ds_text settings; /* "layers = 24\n" ... */
} ds_drawing;

struct ds_figure {
    const char *id, *title;
    double aspect; /* height / width */
    const char *template;
    bool (*applies)(const json_t *results);
    ds_status (*draw)(ds_drawing *drawing, const json_t *results);
    ds_status (*describe)(ds_text *caption, const json_t *results);
};

/* ---- templates, compiled in ------------------------------------------------------------------------------------------------------- */

extern const char ds_plot_style[], ds_plot_gate_distribution[], ds_plot_eigenvalue_beta[], ds_plot_closed_gate_loss[];

/* ---- reading results -------------------------------------------------------------------------------------------------------------- */

/* Each fails with DS_ERR_INPUT naming the key. `where` names the object for the sentence. */
ds_status ds_result_array(const json_t **out, const json_t *object, const char *key, const char *where) DS_MUST_CHECK;
ds_status ds_result_object(const json_t **out, const json_t *object, const char *key, const char *where) DS_MUST_CHECK;
ds_status ds_result_text(const char **out, const json_t *object, const char *key, const char *where) DS_MUST_CHECK;
/* null is NaN. */
ds_status ds_result_number(double *out, const json_t *object, const char *key, const char *where) DS_MUST_CHECK;
/* An element of an array of numbers; NaN when it is null, absent or no number. */
double ds_result_element(const json_t *array, size_t index);
/* "3.attn" -> layer 3, mlp false. */
ds_status ds_result_sublayer(size_t *layer, bool *mlp, const char *name) DS_MUST_CHECK;

/* ---- writing data ----------------------------------------------------------------------------------------------------------------- */

/* Appends numbers, tab-separated and in full precision, ended by a line break. */
ds_status ds_data_row(ds_text *data, const double *values, size_t count) DS_MUST_CHECK;

/* ---- drawing ---------------------------------------------------------------------------------------------------------------------- */

/* Runs FOLDER/ID.gp once for `format` ("svg", ...); the picture FOLDER/ID.format appears whole or not at all. *missing: gnuplot is not
 * installed, nothing was drawn. */
ds_status ds_gnuplot_run(bool *missing, const char *folder, const char *id, const char *format) DS_MUST_CHECK;

/* ---- the figures ------------------------------------------------------------------------------------------------------------------ */

bool ds_gate_distribution_applies(const json_t *results);
ds_status ds_gate_distribution_draw(ds_drawing *drawing, const json_t *results) DS_MUST_CHECK;
ds_status ds_gate_distribution_describe(ds_text *caption, const json_t *results) DS_MUST_CHECK;
bool ds_eigenvalue_beta_applies(const json_t *results);
ds_status ds_eigenvalue_beta_draw(ds_drawing *drawing, const json_t *results) DS_MUST_CHECK;
ds_status ds_eigenvalue_beta_describe(ds_text *caption, const json_t *results) DS_MUST_CHECK;
bool ds_closed_gate_loss_applies(const json_t *results);
ds_status ds_closed_gate_loss_draw(ds_drawing *drawing, const json_t *results) DS_MUST_CHECK;
ds_status ds_closed_gate_loss_describe(ds_text *caption, const json_t *results) DS_MUST_CHECK;

#endif
