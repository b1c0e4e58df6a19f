/* Gradient flow: CONTRACT "gradflow". What reaches every state, by which path, and what the frozen shortcut alone would carry. */
#ifndef DELTASCOPE_MEASURE_GRADIENT_FLOW_H
#define DELTASCOPE_MEASURE_GRADIENT_FLOW_H

#include <jansson.h>

#include "deltascope/gradient.h"
#include "deltascope/report.h"
#include "deltascope/run.h"
#include "deltascope/stats.h"

typedef struct ds_gradflow {
    size_t sublayers, length;
    double loss;         /* mean over all targets */
    ds_sum *state_norm2; /* (S+1): |dloss/dX_s|^2 over the whole run */
    ds_sum *
        frozen_norm2; /* (S+1): |A_s ... A_{S-1} dloss/dX_S|^2, k and beta held; state_norm2 in the additive baseline's A = I */
    ds_sum *position_norm2;  /* (S+1, T): over sequences */
    ds_path_squares *paths;  /* (S) */
    ds_sum *gate_slope;      /* (S): dloss/d(gate scale) */
    double *parameter_norms; /* (parameters) */
} ds_gradflow;

/* Runs all windows of the run; gates (S) or NULL. `memory`: see ds_gradient_options. */
ds_status ds_gradflow_run(ds_gradflow *flow, ds_run *run, const ds_force *gates, size_t memory) DS_MUST_CHECK;
void ds_gradflow_release(ds_gradflow *flow);
double ds_gradflow_state_norm(const ds_gradflow *flow, size_t state);

/* The gradient's estimate of what closing each gate does to the loss, -dloss/d(gate scale), beside what closing it does. */
typedef struct ds_attribution {
    size_t sublayers;
    double *estimated, *measured; /* (S); measured NULL when it was not asked for */
    ds_correlation pearson, spearman;
} ds_attribution;
ds_status ds_attribution_run(ds_attribution *out, ds_run *run, const ds_gradflow *flow, bool measure) DS_MUST_CHECK;
void ds_attribution_release(ds_attribution *attribution);

/* Jacobians of the full non-linear sublayer at one token (its own d dv x d dv block), beside the frozen operator A. `sublayers`
 * lists names or indices, comma separated, or is NULL for all. *out is a new reference to CONTRACT's "jacobians". */
ds_status ds_jacobians_json(json_t **out, ds_run *run, const ds_force *gates, const char *positions,
                            const char *sublayers) DS_MUST_CHECK;
/* A row for each of them. */
ds_status ds_jacobians_table(ds_table **table, const json_t *jacobians) DS_MUST_CHECK;

#endif
