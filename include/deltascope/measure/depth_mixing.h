/* How much of what was written at one depth arrives at another: the depth-mixing matrix of any residual rule.
 *
 * v_0 is the embedding as the state holds it and v_{s+1} what sublayer s adds; u_s is what sublayer s reads and u_S what the
 * readout does. Where a read is a weighted sum, u_s = sum_i A[s,i] v_i with one lower triangular A (S+1,S+1) per token; of the
 * additive rule all its entries are 1. The delta rule moves what is there: with the operators A_j = I - m beta k k^T of a token
 * held, X_s = sum_i P_{s,i} W_i, P_{s,i} = A_{s-1} ... A_i, W_0 = X_0 and W_{i+1} = m beta_i k_i v_i^T, and
 *
 *     gain[s,i] = <W_i, P_{s,i} W_i> / |W_i|^2        1: untouched, below 1: erased, below 0: reflected
 *
 * Parallel streams move it too, but by numbers: A[s,i] = pre_s^T R_{s-1} ... R_i post_{i-1} with the coefficients of a token
 * held, v_0 in every stream, and for the readout 1 in the place of pre.
 *
 * contribution[s,i] is |A[s,i]| |v_i|, or |P_{s,i} W_i|, over its sum along the row. Matrices are (S+1,S+1), row by row, means
 * over tokens in order; above the diagonal they are 0. */
#ifndef DELTASCOPE_MEASURE_DEPTH_MIXING_H
#define DELTASCOPE_MEASURE_DEPTH_MIXING_H

#include <jansson.h>

#include "deltascope/measure/read_routing.h"
#include "deltascope/measure/stream_mixing.h"
#include "deltascope/run.h"

DS_BEGIN_DECLARATIONS

/* One row, over tokens. Entropies are in nats, effective sources e^entropy; the first five are of A and unused without it. */
typedef struct ds_mixing_row {
    ds_token_moments row_sum, entropy, effective_sources, max_share, mean_source_age;
    ds_token_moments contribution_entropy, contribution_sources, contribution_max;
} ds_mixing_row;

typedef struct ds_depth_mixing {
    const ds_spec *spec;
    size_t reads, sequences; /* S+1 */
    double loss, *sequence_loss;
    double *source_norm, *state_norm, *read_norm; /* (S+1) means of |v_i| or |W_i|, |X_s|, |u_s| */
    ds_mixing_row *rows;                          /* (S+1) */
    double *contribution;                         /* (S+1,S+1) */
    /* rules whose reads are weighted sums; NULL otherwise */
    double *mean, *token_std, *share;                                 /* (S+1,S+1) of A, and of |A| over its row's sum */
    double *singular_values;                                          /* (S+1) of the mean, descending */
    ds_token_moments forward_gain, backward_gain, inf_norm, one_norm; /* of A: largest row and column sums, signed, absolute */
    ds_read_routing *routing; /* (S+1) attention over depth, and of the additive rule, which has no choice; NULL otherwise */
    /* parallel streams; 0, NULL otherwise */
    size_t streams;
    ds_stream_sublayer *mixing; /* (S) */
    /* the delta rule; NULL otherwise */
    double *gain;     /* (S+1,S+1); NaN where no token has a W_i but 0 */
    double sum_error; /* largest |sum_i P_{S,i} W_i - X_S| / |X_S| of a token */
} ds_depth_mixing;

/* Terms that do not add up to the state, as far as rounding allows, are an error. */
ds_status ds_depth_mixing_measure(ds_depth_mixing *out, ds_run *run) DS_MUST_CHECK;
void ds_depth_mixing_release(ds_depth_mixing *mixing);
/* CONTRACT's results of `depth`; a new reference. */
ds_status ds_depth_mixing_json(json_t **results, const ds_depth_mixing *mixing) DS_MUST_CHECK;
/* Measures, and tells options and results as the program writes them; new references. */
ds_status ds_depth_mixing_results(json_t **options_json, json_t **results, ds_run *run) DS_MUST_CHECK;

DS_END_DECLARATIONS

#endif
