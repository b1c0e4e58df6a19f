/* What rules without gates have of every token: weights of the sources of a read, or what parallel streams mix by. Private to
 * token_trace. */
#ifndef DELTASCOPE_MEASURE_TRACE_COEFFICIENTS_H
#define DELTASCOPE_MEASURE_TRACE_COEFFICIENTS_H

#include "deltascope/io.h"
#include "deltascope/measure/token_coefficients.h"

/* Whether the rule has any. */
bool ds_trace_has_coefficients(const ds_spec *spec);
/* Room for them, and its end. */
ds_status ds_trace_coefficients_init(ds_trace_coefficients *out, const ds_spec *spec, size_t tokens) DS_MUST_CHECK;
void ds_trace_coefficients_release(ds_trace_coefficients *coefficients);
/* An observer's: keeps what streams mixed by. */
void ds_trace_coefficients_keep(ds_trace_coefficients *coefficients, const ds_observation *seen);
/* All reads of a batch of one window, by a pass of its own. */
ds_status ds_trace_coefficients_route(ds_trace_coefficients *out, ds_workspace *workspace, const ds_model *model,
                                      const ds_batch *batch) DS_MUST_CHECK;
/* Appends one object a row to an open array. */
void ds_trace_coefficients_put(ds_json_builder *b, const ds_trace_coefficients *coefficients);

#endif
