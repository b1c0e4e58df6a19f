/* A trace as people and programs see it: picture, tables, JSON. */
#ifndef DELTASCOPE_COMMANDS_TRACE_VIEW_H
#define DELTASCOPE_COMMANDS_TRACE_VIEW_H

#include "deltascope/io.h"
#include "deltascope/report.h"
#include "deltascope/measure/token_trace.h"

/* What a cell of the picture shows: one of the quantities, or this. */
enum { DS_TRACE_LOSS = DS_TRACE_QUANTITIES };

typedef struct ds_trace_view {
    const ds_trace *trace;
    const ds_tokenizer *tokenizer; /* NULL: labels are ids */
    const uint32_t *ids;           /* (T) */
    size_t shown;                  /* ds_trace_quantity or DS_TRACE_LOSS */
    char **labels, **plain;        /* (T): for pages; for terminals that know ASCII only */
    char **names;                  /* (rows): sublayers, or the forced cases of DS_TRACE_LOSS */
    double *cells;                 /* (rows, T) */
    size_t rows;
} ds_trace_view;

/* "beta", "eigenvalue", "edit", "loss" -> what to show; the words are known to be one of these. */
size_t ds_trace_shown(const char *word);
/* Views `trace`, `tokenizer` and `ids`, which must outlive it. */
ds_status ds_trace_view_init(ds_trace_view *view, const ds_trace *trace, size_t shown, const ds_tokenizer *tokenizer,
                             const uint32_t *ids) DS_MUST_CHECK;
void ds_trace_view_release(ds_trace_view *view);
/* Gates run from 0 to 2, eigenvalues from 1 to -1 (so that a hue means the same); edits and changes of loss to their 95th percentile. A view into `view`. */
ds_status ds_trace_view_heat(ds_heat *heat, const ds_trace_view *view, bool unicode) DS_MUST_CHECK;
/* One sentence or two for the page. */
ds_status ds_trace_view_caption(ds_text *caption, const ds_trace_view *view) DS_MUST_CHECK;
ds_status ds_trace_view_json(json_t **results, const ds_trace_view *view) DS_MUST_CHECK;
/* Long tables: token x sublayer (empty for an additive checkpoint), token x case (empty when nothing was forced). */
ds_status ds_trace_view_gate_table(ds_table **table, const ds_trace_view *view) DS_MUST_CHECK;
ds_status ds_trace_view_case_table(ds_table **table, const ds_trace_view *view) DS_MUST_CHECK;

/* Of the tokens that have one: all but the first. NaN when there is a single token. */
double ds_trace_mean_loss(const double *loss, size_t tokens);

#endif
