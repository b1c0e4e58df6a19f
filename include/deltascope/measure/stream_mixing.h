/* What parallel streams mix by: the part of depth_mixing.h that only they have. */
#ifndef DELTASCOPE_MEASURE_STREAM_MIXING_H
#define DELTASCOPE_MEASURE_STREAM_MIXING_H

#include "deltascope/measure/token_moments.h"

DS_BEGIN_DECLARATIONS

/* Numbers of a small matrix that mixes streams, [to][from]. A gain is the largest |sum| of a row (forward) or a column
 * (backward), a deviation the largest distance of such a sum from 1. */
enum {
    DS_MATRIX_FORWARD_GAIN,
    DS_MATRIX_BACKWARD_GAIN,
    DS_MATRIX_INF_NORM,
    DS_MATRIX_ONE_NORM,
    DS_MATRIX_SPECTRAL_NORM,
    DS_MATRIX_IDENTITY_DISTANCE, /* |R - I|_F */
    DS_MATRIX_SPECTRAL_RADIUS,
    DS_MATRIX_SMALLEST_SINGULAR,
    DS_MATRIX_SECOND_SINGULAR,
    DS_MATRIX_SECOND_EIGENVALUE, /* by modulus */
    DS_MATRIX_COLUMN_DEVIATION,
    DS_MATRIX_ROW_DEVIATION,
    DS_MATRIX_NUMBERS,
};
/* What a sublayer mixes parallel streams by, over tokens; prefix: R_s ... R_0, suffix: R_{S-1} ... R_s. */
typedef struct ds_stream_sublayer {
    ds_token_moments *entries; /* (n(n+2)) pre, post, R[to][from] */
    ds_token_moments own[DS_MATRIX_NUMBERS], prefix[DS_MATRIX_NUMBERS], suffix[DS_MATRIX_NUMBERS];
    ds_token_moments off_diagonal;  /* share of |R| */
    ds_token_moments pre_post;      /* <pre, post> */
    ds_token_moments row_entropy;   /* mean over rows of that of their shares, in nats; of no meaning with negative entries */
    ds_token_moments stream_cosine; /* mean over pairs of streams before the sublayer */
    ds_token_moments logit_range;   /* before Sinkhorn; none where there is none */
    double min_entry, over_30;      /* of R; share of tokens with a range above 30 */
} ds_stream_sublayer;

DS_END_DECLARATIONS

#endif
