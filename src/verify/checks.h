/* Private to the verify room: what checks share. */
#ifndef DELTASCOPE_VERIFY_CHECKS_H
#define DELTASCOPE_VERIFY_CHECKS_H

#include "deltascope/delta.h"
#include "deltascope/num.h"
#include "deltascope/verify.h"

/* One model to run, and its buffers for the wide batch. */
typedef struct ds_side {
    ds_model *model;
    ds_workspace *workspace;
    ds_precision precision;
    double roundoff;
} ds_side;

/* Windows cut to a length that bounds the cost. */
typedef struct ds_cut {
    uint32_t *tokens, *targets;
    ds_batch batch;
} ds_cut;

struct ds_verify {
    const ds_spec *spec;
    ds_side sides[2]; /* [0] the run's, [1] the double one; the same one twice when the run is in double */
    size_t side_count;
    ds_cut wide, narrow, brief; /* for passes, for the second computation, for differences */
    ds_cut spot;                /* for differences along single entries: begins as brief does */
    size_t entries;             /* of a tensor, 1 to 4 */
    uint64_t seed;
    double loss_rounding[2]; /* of brief and of spot; < 0: not known yet */
};

static inline ds_side *ds_exact(ds_verify *v) { return &v->sides[v->side_count - 1]; }

/* Of several comparisons the one nearest to failing, or failing worst. Zero-initialise. One that fails is reported as it is. Of
 * those that hold, rounding says which is the nearest; so their report is the largest of all tolerances, which kernels hardly
 * move, and the largest error as a part of it: measured / tolerance of the nearest times that. */
typedef struct ds_worst {
    double measured, tolerance, ratio;
    double largest; /* of the finite tolerances */
    size_t count;
} ds_worst;
void ds_worst_add(ds_worst *worst, double measured, double tolerance);
void ds_worst_report(ds_check_result *result, const ds_worst *worst);
void ds_check_skip(ds_check_result *result, const char *reason);

/* Runs the whole depth. state and hidden receive X_S (B,T,dv,d) and the readout (B,T,d), each freed by the caller; either
 * may be NULL. forces and observer as in ds_sublayers. */
ds_status ds_run_depth(void **state, void **hidden, const ds_side *side, const ds_batch *batch, const ds_force *forces,
                       const ds_observer *observer) DS_MUST_CHECK;

/* A bound on what rounding does to the mean loss of a batch in one double pass: of v->brief, or of v->spot. */
ds_status ds_loss_rounding(double *rounding, ds_verify *v, const ds_batch *batch) DS_MUST_CHECK;
/* One token's update as a pass made it, in doubles that equal the pass's own numbers. */
typedef struct ds_edit {
    size_t d, dv, sublayer, token;
    double roundoff;              /* of the pass */
    double mult, beta, k_norm2;   /* m; gate as applied; |k|^2 as reported */
    double kk, b;                 /* |k|^2 of the array k; m beta kk */
    const double *k;              /* (d) */
    const double *before, *after; /* (dv,d) */
    const double *target;         /* (dv) v */
} ds_edit;
typedef ds_status (*ds_edit_check)(void *context, const ds_edit *edit);
/* Calls check for every token and sublayer of a pass over the wide batch under `forces`, on every side. */
ds_status ds_each_edit(ds_verify *v, const ds_force *forces, ds_edit_check check, void *context) DS_MUST_CHECK;
double ds_dot_plain(const double *x, const double *y, size_t count);
double ds_norm_plain(const double *x, size_t count);

/* Checks, by source. Each returns DS_OK also when the claim fails. */
ds_status ds_check_spectrum(ds_check_result *result, ds_verify *v);
ds_status ds_check_determinant(ds_check_result *result, ds_verify *v);
ds_status ds_check_lift(ds_check_result *result, ds_verify *v);
ds_status ds_check_orthogonality(ds_check_result *result, ds_verify *v);
ds_status ds_check_product_determinant(ds_check_result *result, ds_verify *v);
ds_status ds_check_product_norm(ds_check_result *result, ds_verify *v);

ds_status ds_check_overwrite(ds_check_result *result, ds_verify *v);
ds_status ds_check_contraction(ds_check_result *result, ds_verify *v);
ds_status ds_check_rank(ds_check_result *result, ds_verify *v);
ds_status ds_check_complement(ds_check_result *result, ds_verify *v);
ds_status ds_check_direction(ds_check_result *result, ds_verify *v);
ds_status ds_check_gate_range(ds_check_result *result, ds_verify *v);
ds_status ds_check_closed(ds_check_result *result, ds_verify *v);

ds_status ds_check_causality(ds_check_result *result, ds_verify *v);
ds_status ds_check_batch(ds_check_result *result, ds_verify *v);
ds_status ds_check_threads(ds_check_result *result, ds_verify *v);
ds_status ds_check_precision(ds_check_result *result, ds_verify *v);
ds_status ds_check_probabilities(ds_check_result *result, ds_verify *v);

ds_status ds_check_embedding(ds_check_result *result, ds_verify *v);
ds_status ds_check_sublayers(ds_check_result *result, ds_verify *v);
ds_status ds_check_readout(ds_check_result *result, ds_verify *v);
ds_status ds_check_logits(ds_check_result *result, ds_verify *v);
ds_status ds_check_value_form(ds_check_result *result, ds_verify *v);
ds_status ds_check_fused_epsilon(ds_check_result *result, ds_verify *v);

ds_status ds_check_parameter_gradients(ds_check_result *result, ds_verify *v);
ds_status ds_check_state_gradients(ds_check_result *result, ds_verify *v);
ds_status ds_check_gradient_entries(ds_check_result *result, ds_verify *v);
ds_status ds_check_adjoint(ds_check_result *result, ds_verify *v);
ds_status ds_check_paths(ds_check_result *result, ds_verify *v);
ds_status ds_check_gradient_threads(ds_check_result *result, ds_verify *v);
ds_status ds_check_dead_gradients(ds_check_result *result, ds_verify *v);

ds_status ds_check_training_update(ds_check_result *result, ds_verify *v);
ds_status ds_check_training_resume(ds_check_result *result, ds_verify *v);
ds_status ds_check_training_descent(ds_check_result *result, ds_verify *v);

ds_status ds_check_depth_mixing(ds_check_result *result, ds_verify *v);
ds_status ds_check_depth_weights(ds_check_result *result, ds_verify *v);
ds_status ds_check_depth_uniform(ds_check_result *result, ds_verify *v);
ds_status ds_check_depth_slots(ds_check_result *result, ds_verify *v);

ds_status ds_check_stream_reads(ds_check_result *result, ds_verify *v);
ds_status ds_check_stream_sums(ds_check_result *result, ds_verify *v);
ds_status ds_check_stream_products(ds_check_result *result, ds_verify *v);

#endif
