/* Gradient flow: CONTRACT "gradflow". What reaches every state and parameter, by which path, and what the frozen shortcut alone
 * would carry. */
#ifndef DELTASCOPE_MEASURE_GRADIENT_FLOW_H
#define DELTASCOPE_MEASURE_GRADIENT_FLOW_H

#include <jansson.h>

#include "deltascope/gradient.h"
#include "deltascope/measure/gate_attribution.h"
#include "deltascope/measure/sublayer_jacobians.h"
#include "deltascope/run.h"

DS_BEGIN_DECLARATIONS

/* Norms are Frobenius norms over all windows of the run, S sublayers of T tokens. */
typedef struct ds_gradient_flow {
    size_t sublayers, length, parameters; /* S, T, and tensors of parameters */
    size_t sequences;                     /* windows */
    double loss;                          /* mean over all targets, nats */
    double *sequence_loss;                /* (sequences): mean loss of each window */
    double *state_norm;                   /* (S+1): |dloss/dX_s|; of a history that of its running sum, or else of v_s */
    double *frozen_norm;                  /* (S+1): |A_s ... A_{S-1} dloss/dX_S|, k and beta held; |dloss/dX_S| where A = I */
    double *source_norm, *read_norm;      /* (S+1) of a history, else NULL: |dloss/dv_s|; |dloss/du_s|, back through one read */
    double *position_norm;                /* (S+1, T): state_norm of one position, over windows */
    ds_path_norms *paths;                 /* (S): of what reaches X_s; a history has none, nor frozen_norm */
    double *gate_slope;                   /* (S): dloss/d(gate scale); 0 without gates */
    double *parameter_norm;               /* (parameters): |dloss/dW|, in the model's order */
} ds_gradient_flow;

/* forces (ds_spec_forces) or NULL. `memory`: see ds_gradient_options. */
ds_status ds_gradient_flow_measure(ds_gradient_flow *out, ds_run *run, const ds_force *forces, size_t memory) DS_MUST_CHECK;
void ds_gradient_flow_release(ds_gradient_flow *flow);

/* ---- the whole measurement --------------------------------------------------------------------------------------- */

typedef struct ds_gradflow_options {
    const char *force;              /* gates forced while the gradient flows, as ds_gates_parse has them; NULL: none */
    const char *jacobian;           /* tokens at which ds_sublayer_jacobians_measure solves; NULL: none */
    const char *jacobian_sublayers; /* of which sublayers; NULL: all. Goes with `jacobian` */
    bool per_position;              /* norms by position in the JSON */
    bool measure;                   /* close each gate and measure; goes with neither `force` nor a checkpoint without gates */
    uint64_t memory_mib; /* MiB for what the forward pass leaves for the backward pass; 0: 2048. Results do not depend on it */
} ds_gradflow_options;
extern const ds_gradflow_options ds_gradflow_defaults;

typedef struct ds_gradflow {
    ds_gradient_flow flow;
    ds_gate_attribution attribution; /* without `estimated` where gates are forced, or there are none */
    ds_sublayer_jacobians jacobians;
    bool per_position;
    const ds_model *model; /* of the run: names of reads and parameters */
} ds_gradflow;

/* Refuses options that no run could have: DS_ERR_USAGE. ds_gradflow_measure does so too. */
ds_status ds_gradflow_check(const ds_gradflow_options *options) DS_MUST_CHECK;
ds_status ds_gradflow_measure(ds_gradflow *out, ds_run *run, const ds_gradflow_options *options) DS_MUST_CHECK;
void ds_gradflow_release(ds_gradflow *gradflow);
/* CONTRACT's results of `gradflow`; a new reference. */
ds_status ds_gradflow_json(json_t **results, const ds_gradflow *gradflow) DS_MUST_CHECK;
/* Measures, and tells options and results as the program writes them; new references. */
ds_status ds_gradflow_results(json_t **options_json, json_t **results, ds_run *run,
                              const ds_gradflow_options *options) DS_MUST_CHECK;

DS_END_DECLARATIONS

#endif
