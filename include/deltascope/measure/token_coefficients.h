/* What rules without gates have of every token: the part of token_trace.h that only they have. */
#ifndef DELTASCOPE_MEASURE_TOKEN_COEFFICIENTS_H
#define DELTASCOPE_MEASURE_TOKEN_COEFFICIENTS_H

#include "deltascope/model.h"

DS_BEGIN_DECLARATIONS

/* One read of attention over depth, its sources and numbers (T,2N+2) as ds_route has them, or the numbers (T,n(n+2)) that a
 * sublayer mixes parallel streams by: pre, post, R[to][from]. */
typedef struct ds_trace_row {
    ds_read_source *sources; /* (count); NULL for streams */
    size_t count, width;     /* numbers of a token */
    double *numbers;         /* (T,width) */
} ds_trace_row;
typedef struct ds_trace_coefficients {
    size_t count; /* rows: sublayers, and the readout where it is routed; 0 of rules that have neither */
    size_t sublayers, tokens, streams;
    ds_trace_row *rows;
} ds_trace_coefficients;

DS_END_DECLARATIONS

#endif
