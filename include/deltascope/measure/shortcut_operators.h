/* Spectra of the frozen shortcut operators: one at a time against theory, and accumulated over depth. */
#ifndef DELTASCOPE_MEASURE_SHORTCUT_OPERATORS_H
#define DELTASCOPE_MEASURE_SHORTCUT_OPERATORS_H

#include <jansson.h>

#include "deltascope/delta.h"
#include "deltascope/measure/directions.h"

DS_BEGIN_DECLARATIONS

/* Frozen operators of sampled (token, sublayer) pairs, solved densely and held against theory (CONTRACT "operator"). */
typedef struct ds_operator_check {
    size_t samples;
    double max_eigenvalue_error, max_determinant_error, max_orthogonality_error;
    double tolerance; /* what rounding may do to each: see ds_operator_tolerance */
} ds_operator_check;
/* A breach of the tolerance is refused as ds_operator_check_hold does. */
ds_status ds_operator_check_run(ds_operator_check *out, const ds_directions *directions, size_t samples,
                                uint64_t seed) DS_MUST_CHECK;
/* DS_OK when every error is within the tolerance; otherwise, and for a NaN, DS_ERR_SYSTEM with the errors. */
ds_status ds_operator_check_hold(const ds_operator_check *check) DS_MUST_CHECK;
void ds_operator_check_put(ds_json_builder *b, const ds_operator_check *check); /* the key "operator" of an open object */
/* 6 (d + 2) u |A|^2. LAPACK's symmetric eigenvalues err by at most p(d) u |A|, p(d) modest (Anderson et al., LAPACK Users'
 * Guide, 4.7, where p(d) = d is already generous; its determinant gets twice that). Theory's b = c (k . k) rounds d + 1
 * times and the entries c k_i k_j twice, b <= 2 |A|; A^T A - I doubles both and adds d |A|^2 of its own: 4 (d + 1) + 8 + d +
 * d in all, the most of the three. `norm` is the largest |A| = max(1, |1 - b|): 1 unless m > 1 puts some b outside [0,2]. */
double ds_operator_tolerance(size_t hidden, double norm);

/* The moved eigenvalue over beta in [0,2] along one learned direction (CONTRACT "sweep"); *out is a new reference. */
enum { DS_SWEEP_POINTS = 41 };
ds_status ds_sweep_json(json_t **out, const double *k, double residual_mult, size_t hidden, double tolerance) DS_MUST_CHECK;

/* The accumulated operator of one token. */
typedef struct ds_accumulated {
    size_t order;            /* min(S, d) */
    ds_complex *eigenvalues; /* (order) ascending */
    double *bounds;          /* (order) estimated errors */
    double *singular_values; /* (order) ascending */
    double singular_bound;   /* estimated error of every singular value */
    ds_product_summary summary;
} ds_accumulated;
/* out (directions->tokens) zeroed by the caller; tokens in parallel. */
ds_status ds_accumulated_run(ds_accumulated *out, const ds_directions *directions) DS_MUST_CHECK;
void ds_accumulated_release(ds_accumulated *results, size_t count);

DS_END_DECLARATIONS

#endif
