/* A trace as people see it, made from its results: picture, caption, tables. */
#ifndef DELTASCOPE_COMMANDS_TRACE_VIEW_H
#define DELTASCOPE_COMMANDS_TRACE_VIEW_H

#include <jansson.h>

#include "deltascope/measure/token_trace.h"
#include "deltascope/report.h"

typedef struct ds_trace_view {
    const json_t *results;
    ds_trace_quantity shown; /* what a cell of the picture shows */
    size_t tokens, rows;     /* rows: sublayers, or forced cases where losses are shown */
    const char **labels;     /* (T): of tokens, for pages; borrowed from the results, as are the names */
    char **plain;            /* (T): for terminals that know ASCII only */
    const char **names;      /* (rows) */
    double *cells;           /* (rows, T) */
} ds_trace_view;

/* Views `results`, which must outlive it; `options` are those the results were measured with, `tokenizer` NULL where there is
 * none. */
ds_status ds_trace_view_init(ds_trace_view *view, const json_t *options, const json_t *results,
                             const ds_tokenizer *tokenizer) DS_MUST_CHECK;
void ds_trace_view_release(ds_trace_view *view);
/* Gates run from 0 to 2, eigenvalues from 1 to -1 (so that a hue means the same); edits and changes of loss to their 95th
 * percentile. A view into `view`. */
ds_status ds_trace_view_heat(ds_heat *heat, const ds_trace_view *view, bool unicode) DS_MUST_CHECK;
/* One sentence or two for the page. */
ds_status ds_trace_view_caption(ds_text *caption, const ds_trace_view *view) DS_MUST_CHECK;
enum { DS_TRACE_GATE_COLUMNS = 8, DS_TRACE_CASE_COLUMNS = 6 };
extern const ds_column ds_trace_gate_columns[DS_TRACE_GATE_COLUMNS], ds_trace_case_columns[DS_TRACE_CASE_COLUMNS];
/* Long tables: token x sublayer (empty for a rule without gates), token x case (empty when nothing was forced). */
ds_status ds_trace_gate_table(ds_table **table, const json_t *results) DS_MUST_CHECK;
ds_status ds_trace_case_table(ds_table **table, const json_t *results) DS_MUST_CHECK;

#endif
