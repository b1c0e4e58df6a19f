/* --shadow N: how far a float run can be trusted. N windows, evenly spaced over the data, are run once more in float and in
 * double side by side, sublayer by sublayer; what differs is the float run's error, up to the double run's own, which is 2^29
 * times smaller. An estimate for the whole run, since only N windows are seen. */
#ifndef DELTASCOPE_MEASURE_DOUBLE_PRECISION_SHADOW_H
#define DELTASCOPE_MEASURE_DOUBLE_PRECISION_SHADOW_H

#include "deltascope/measure/ablation.h"
#include "deltascope/measure/precision_limits.h"
#include "deltascope/run.h"
#include "deltascope/stats.h"

DS_BEGIN_DECLARATIONS

/* Largest absolute errors over the tokens of the sample. */
typedef struct ds_shadow_errors {
    double beta, k_norm2, eigenvalue, direction; /* direction: |k_float - k_double| */
} ds_shadow_errors;

typedef struct ds_shadow_case {
    double loss, delta_loss, kl; /* largest absolute errors over the windows */
} ds_shadow_case;

typedef struct ds_shadow {
    size_t count, sublayers;
    size_t *windows;            /* (count) */
    double *loss, *double_loss; /* (count): mean loss of each window in float and in double */
    ds_shadow_errors *errors;   /* (S); all 0 for an additive checkpoint */
    double log_abs_det;         /* largest error over tokens of log|det P|, P = A_{S-1} ... A_0 */
    double product;             /* bounds |P_float - P_double|_2, hence every singular value's error (Weyl), over tokens */
    ds_limits limits;           /* of the float run, over the sample */
    const ds_case_list *list;   /* NULL until ds_shadow_cases */
    ds_shadow_case *cases;      /* (cases) */
    ds_model *model;            /* in double */
    ds_workspace *workspace;    /* for one window of it */
} ds_shadow;

/* Repeats `wanted` windows of a float run in double. Does nothing for 0: then count is 0. */
ds_status ds_shadow_run(ds_shadow *out, ds_run *run, size_t wanted) DS_MUST_CHECK;
/* The same for forced gates: baseline (sequences), loss and kl (cases, sequences) as the float run found them. */
ds_status ds_shadow_cases(ds_shadow *shadow, ds_run *run, const ds_case_list *list, const double *baseline, const double *loss,
                          const double *kl) DS_MUST_CHECK;
void ds_shadow_release(ds_shadow *shadow);
/* The key "shadow" of an open object; nothing when count is 0. */
void ds_shadow_put(ds_json_builder *b, const ds_shadow *shadow);

DS_END_DECLARATIONS

#endif
