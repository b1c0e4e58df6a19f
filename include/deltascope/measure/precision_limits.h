/* Where the numbers of a run stop meaning what their names say, found while the windows pass. */
#ifndef DELTASCOPE_MEASURE_PRECISION_LIMITS_H
#define DELTASCOPE_MEASURE_PRECISION_LIMITS_H

#include "deltascope/io.h"
#include "deltascope/model.h"

DS_BEGIN_DECLARATIONS

typedef enum ds_limit {
    DS_LIMIT_SHORT_DIRECTION, /* |h| near ddl_k_eps: |k|^2 is noticeably below 1, and the eigenvalue depends on ddl_k_eps */
    DS_LIMIT_GATE_CLOSED,     /* beta rounds to 0 */
    DS_LIMIT_GATE_REFLECTING, /* beta rounds to 2 */
    DS_LIMIT_SOFTMAX,         /* an attention weight underflows to 0 */
    DS_LIMITS
} ds_limit;

typedef struct ds_limits {
    size_t sublayers;
    uint64_t tokens;                 /* seen by each sublayer */
    uint64_t (*affected)[DS_LIMITS]; /* (S): tokens */
    double *smallest_k_norm2;        /* (S) */
    double *zero_weights;            /* (S): attention weights that are 0, in all */
} ds_limits;

/* What an observer must want for ds_limits_add. */
enum { DS_LIMITS_WANT = DS_OBSERVE_GATES | DS_OBSERVE_ATTENTION };

ds_status ds_limits_init(ds_limits *limits, const ds_spec *spec) DS_MUST_CHECK;
void ds_limits_release(ds_limits *limits);
void ds_limits_add(ds_limits *limits, const ds_observation *seen);
/* The key "limits" of an open object: an entry for each sublayer and limit that was met, none when all is well. */
void ds_limits_put(ds_json_builder *b, const ds_limits *limits);

DS_END_DECLARATIONS

#endif
