/* How a trained model uses its gates: CONTRACT "gates", streaming over windows. */
#ifndef DELTASCOPE_MEASURE_GATES_H
#define DELTASCOPE_MEASURE_GATES_H

#include <jansson.h>

#include "deltascope/delta.h"
#include "deltascope/measure/double_precision_shadow.h"
#include "deltascope/measure/precision_limits.h"
#include "deltascope/run.h"
#include "deltascope/stats.h"

DS_BEGIN_DECLARATIONS

/* What is kept of one sublayer; memory does not grow with the data. Sums run over tokens in order. */
typedef struct ds_gate_usage {
    ds_summary beta, k_norm2, eigenvalue;
    ds_histogram histogram; /* of beta over [0, 2] */
    uint64_t regimes[DS_REGIME_COUNT], tokens;
    ds_sum pre2, post2, readout2, target2; /* squares over tokens and channels */
    ds_sum edit, relative_edit;            /* over tokens */
} ds_gate_usage;

typedef struct ds_gate_census {
    size_t sublayers, channels; /* 0 sublayers for an additive checkpoint */
    double residual_mult, tolerance;
    ds_gate_usage *usage; /* (sublayers) */
} ds_gate_census;

/* `tolerance`: how near 0, 1 and 2 a gate must be to count as identity, projection and reflection. */
ds_status ds_gate_census_init(ds_gate_census *census, const ds_spec *spec, double tolerance) DS_MUST_CHECK;
void ds_gate_census_release(ds_gate_census *census);
/* Adds what one sublayer did; call for every batch in order of windows. Wants DS_OBSERVE_GATES. */
ds_status ds_gate_census_add(ds_gate_census *census, const ds_observation *observation) DS_MUST_CHECK;
double ds_gate_share(const ds_gate_usage *usage, size_t regime);
/* Root mean square of k^T X - v^T over tokens and channels, before the edit and after it. */
double ds_gate_discrepancy(const ds_gate_census *census, size_t sublayer, bool after);
/* The "sublayers" array of CONTRACT; a new reference in *out. */
ds_status ds_gate_census_json(json_t **out, ds_gate_census *census) DS_MUST_CHECK;

/* ---- the whole measurement --------------------------------------------------------------------------------------- */

typedef struct ds_gates_options {
    double regime_tolerance; /* as `tolerance` above */
    const char *per_token;   /* FILE.npz to write with a row for every token; NULL: none */
    size_t shadow;           /* windows repeated in double */
} ds_gates_options;
extern const ds_gates_options ds_gates_defaults;

typedef struct ds_gates {
    ds_gate_census census;
    ds_limits limits;
    ds_shadow shadow;
    size_t sequences;
    double *sequence_loss; /* (sequences): mean loss of each window, nats */
    double loss;           /* their mean */
} ds_gates;

ds_status ds_gates_measure(ds_gates *out, ds_run *run, const ds_gates_options *options) DS_MUST_CHECK;
void ds_gates_release(ds_gates *gates);
/* CONTRACT's results of `gates`; a new reference. */
ds_status ds_gates_json(json_t **results, ds_gates *gates) DS_MUST_CHECK;
/* Measures, and tells options and results as the program writes them; new references. */
ds_status ds_gates_results(json_t **options_json, json_t **results, ds_run *run, const ds_gates_options *options) DS_MUST_CHECK;

/* ---- an audit ---------------------------------------------------------------------------------------------------- */

/* That a model has gates to audit; otherwise DS_ERR_USAGE says what it has instead, after `what` was asked for. */
ds_status ds_gate_audit_check(const ds_spec *spec, const char *what) DS_MUST_CHECK;
/* *gates <- of every sublayer what a trajectory needs, over the run's windows: an array of {"name", "beta_mean",
 * "k_norm2_mean", "eigenvalue_mean", "relative_edit", "regimes"}, each the number that the whole measurement has; a
 * new reference. */
ds_status ds_gate_audit(json_t **gates, ds_run *run) DS_MUST_CHECK;

DS_END_DECLARATIONS

#endif
