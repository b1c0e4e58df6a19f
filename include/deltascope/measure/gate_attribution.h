/* The gradient's first-order estimate of what closing each gate does to the loss, -dloss/d(gate scale), beside what closing it
 * does. */
#ifndef DELTASCOPE_MEASURE_GATE_ATTRIBUTION_H
#define DELTASCOPE_MEASURE_GATE_ATTRIBUTION_H

#include "deltascope/run.h"
#include "deltascope/stats.h"

DS_BEGIN_DECLARATIONS

typedef struct ds_gate_attribution {
    size_t sublayers;
    double *estimated;                /* (S) nats */
    double *measured;                 /* (S) nats; NULL when it was not asked for */
    ds_correlation pearson, spearman; /* of the two; only with `measured` */
} ds_gate_attribution;

/* gate_slope (S): dloss/d(gate scale) of the intact model. `measure`: closes each gate over all windows of the run as well. */
ds_status ds_gate_attribution_measure(ds_gate_attribution *out, ds_run *run, const double *gate_slope,
                                      bool measure) DS_MUST_CHECK;
void ds_gate_attribution_release(ds_gate_attribution *attribution);
/* CONTRACT's "attribution" of gradflow, into the open object. */
void ds_gate_attribution_put(ds_json_builder *b, const ds_gate_attribution *attribution);

DS_END_DECLARATIONS

#endif
