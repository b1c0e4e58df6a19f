/* Jacobians J of full non-linear sublayers at one token, densely (the token's own d dv x d dv block, the window's other tokens
 * held), beside the frozen operator A = I - m beta k k^T of the paper's Proposition 2.1. */
#ifndef DELTASCOPE_MEASURE_SUBLAYER_JACOBIANS_H
#define DELTASCOPE_MEASURE_SUBLAYER_JACOBIANS_H

#include "deltascope/run.h"
#include "deltascope/spectra.h"

DS_BEGIN_DECLARATIONS

typedef struct ds_sublayer_jacobian {
    size_t sublayer;
    ds_position at;
    double *singular_values; /* (n) ascending */
    ds_complex *eigenvalues; /* (n) */
    double frobenius, spectral_radius, log_abs_det, trace, departure_from_normality;
    double distance_to_frozen; /* |J - A|_F / |J|_F */
    double frozen_b;           /* m beta |k|^2: A has the eigenvalue 1 - b dv times and 1 otherwise; 0 where A = I */
    double frozen_log_abs_det; /* log |1 - b|; 0 where A = I */
} ds_sublayer_jacobian;

typedef struct ds_sublayer_jacobians {
    size_t size, channels; /* n = d dv; dv */
    size_t count;
    ds_sublayer_jacobian *of; /* (count): by token, then by depth; NULL when nothing was measured */
} ds_sublayer_jacobians;

/* forces (S) or NULL. positions: as ds_position_list_parse has them but for "all", which is DS_ERR_USAGE. `sublayers` lists
 * names or indices, comma separated, or is NULL for all; others are DS_ERR_USAGE. */
ds_status ds_sublayer_jacobians_measure(ds_sublayer_jacobians *out, ds_run *run, const ds_force *forces, const char *positions,
                                        const char *sublayers) DS_MUST_CHECK;
void ds_sublayer_jacobians_release(ds_sublayer_jacobians *jacobians);
/* CONTRACT's "jacobians" of gradflow, into the open object. */
void ds_sublayer_jacobians_put(ds_json_builder *b, const ds_sublayer_jacobians *jacobians);

DS_END_DECLARATIONS

#endif
