/* What the accumulated operator does along features: the gains by which manifold-constrained hyper-connections judge a residual
 * map ("Amax"), and what a perfect isometry scores on them at the same width. */
#ifndef DELTASCOPE_MEASURE_DEPTH_GAINS_H
#define DELTASCOPE_MEASURE_DEPTH_GAINS_H

#include "deltascope/delta.h"
#include "deltascope/stats.h"
#include "deltascope/measure/directions.h"

DS_BEGIN_DECLARATIONS

enum { DS_GAIN_TOKENS = 64 }; /* absolute gains need the d x d matrix: they are measured on so many tokens, evenly spaced */

typedef enum ds_gain {
    DS_GAIN_ROW_SUM_MIN, /* of the entries of P 1 */
    DS_GAIN_ROW_SUM_MAX,
    DS_GAIN_COLUMN_SUM_MIN, /* of the entries of P^T 1 */
    DS_GAIN_COLUMN_SUM_MAX,
    DS_GAIN_ABSOLUTE_ROW,    /* max_i sum_j |P_ij|, forward */
    DS_GAIN_ABSOLUTE_COLUMN, /* max_j sum_i |P_ij|, backward */
    DS_GAIN_ISOMETRY_ROW,    /* the same two for the exact reflections along the same directions, an isometry */
    DS_GAIN_ISOMETRY_COLUMN,
    DS_GAIN_NORM2, /* beside them: the 2-norm, which no isometry exceeds */
    DS_GAINS
} ds_gain;

typedef struct ds_gain_survey {
    size_t tokens;
    double *values;        /* (DS_GAINS, tokens) */
    double one_reflection; /* mean of max_i sum_j |A_ij| for A = I - 2 u u^T, u uniform on the sphere in d dimensions */
} ds_gain_survey;
ds_status ds_gain_survey_run(ds_gain_survey *out, const ds_directions *directions, uint64_t seed) DS_MUST_CHECK;
void ds_gain_survey_release(ds_gain_survey *survey);
ds_status ds_gain_survey_put(ds_json_builder *b, const ds_gain_survey *survey) DS_MUST_CHECK; /* the key "gains" */

DS_END_DECLARATIONS

#endif
