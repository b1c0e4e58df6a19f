/* The full Jacobian across depth, dX_s/dX_0 of a whole window or of one token in it, known by its products with vectors:
 * CONTRACT "end_to_end". */
#ifndef DELTASCOPE_MEASURE_END_TO_END_JACOBIAN_H
#define DELTASCOPE_MEASURE_END_TO_END_JACOBIAN_H

#include "deltascope/gradient.h"
#include "deltascope/stats.h"
#include "deltascope/spectra.h"
#include "deltascope/run.h"

DS_BEGIN_DECLARATIONS

typedef struct ds_end_to_end_options {
    const char *place; /* "S", a window, or "S:P", the own block of one token of it */
    size_t count;      /* largest singular values */
    size_t steps;      /* of the iteration, at most; fewer when they would need more than about a GiB */
    bool by_depth;     /* also the largest one at every prefix depth */
    uint64_t seed;
} ds_end_to_end_options;

/* One prefix depth s: the largest singular value of dX_s/dX_0, everything differentiated, and what the shortcuts alone would
 * do: of the frozen operators of the window's tokens, side by side the same map with k, beta and v held. */
typedef struct ds_depth_norm {
    double full, residual;
    double frozen_norm2, frozen_span_norm2, frozen_smallest; /* over tokens; on the span of their directions */
} ds_depth_norm;

typedef struct ds_end_to_end {
    ds_position at;
    bool token;          /* the own block of the token at `at`; otherwise its whole window */
    size_t size, depths; /* size = T planes d, of a token planes d; depths 0 unless asked for */
    double tolerance;    /* relative residual at which a value counts as converged */
    ds_lanczos found;
    ds_depth_norm *by_depth; /* (depths) */
} ds_end_to_end;

ds_status ds_end_to_end_run(ds_end_to_end *out, ds_run *run, const ds_end_to_end_options *options) DS_MUST_CHECK;
void ds_end_to_end_release(ds_end_to_end *result);
void ds_end_to_end_put(ds_json_builder *b, const ds_end_to_end *result); /* the key "end_to_end" of an open object */

/* Singular values of dX_last/dX_0 for one window (batch->sequences = 1); of its tokens first .. first + count - 1, what they
 * do to one another. */
ds_status ds_jacobian_singular_values(ds_lanczos *out, ds_gradient *gradient, ds_workspace *workspace, const ds_model *model,
                                      const ds_batch *batch, size_t first, size_t count, size_t last,
                                      const ds_lanczos_options *options) DS_MUST_CHECK;

DS_END_DECLARATIONS

#endif
