/* One window, token by token: what every gate did, and what the loss of each token becomes when gates are forced. */
#ifndef DELTASCOPE_MEASURE_TOKEN_TRACE_H
#define DELTASCOPE_MEASURE_TOKEN_TRACE_H

#include "deltascope/measure/ablation.h"
#include "deltascope/model.h"

typedef enum ds_trace_quantity { DS_TRACE_BETA, DS_TRACE_EIGENVALUE, DS_TRACE_EDIT, DS_TRACE_QUANTITIES } ds_trace_quantity;

/* T tokens, S sublayers. Losses stand at the token that is predicted, in nats: the first token has none (NaN). */
typedef struct ds_trace {
    size_t tokens, sublayers;
    double *values[DS_TRACE_QUANTITIES]; /* (S, T): gate beta, 1 - m beta |k|^2, |edit|_F / |X before|_F; NULL when additive */
    double *loss;                        /* (T): intact */
    size_t count;                        /* forced cases */
    const ds_case **cases;               /* (count): views into `list` */
    ds_case_list list;
    double *forced; /* (count, T): losses */
} ds_trace;

/* `force`: comma-separated names of ablate's cases ("closed:3.mlp", "open-from:4", ...); "MODE:each" stands for that mode on each
 * sublayer alone; NULL: no case. mean-gate is the mean over this window. An unknown name is DS_ERR_USAGE. */
ds_status ds_trace_init(ds_trace *trace, const ds_spec *spec, const char *force, size_t tokens) DS_MUST_CHECK;
void ds_trace_release(ds_trace *trace);
/* ids (T). `values` are those of the intact model, or with `under_force` those under the first case. */
ds_status ds_trace_run(ds_trace *trace, const ds_model *model, const uint32_t *ids, bool under_force) DS_MUST_CHECK;

#endif
