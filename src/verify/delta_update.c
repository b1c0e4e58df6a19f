/* The delta update of every token, in the pass's own numbers: before, after, k and v as the model left them. Each bound below
 * counts the roundings of X' = fl(X + fl(k fl(u))), u_j = m beta (v_j - k^T X_j): one of the sum, at most u_p |X'|, and two of
 * the product, u_p the pass's roundoff; inner products over d numbers are in double and add d of its roundoffs. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "checks.h"
#include "plain_model.h"

static const double u64 = 0x1p-53;

/* ---- Eq. 2.3 and 2.4 --------------------------------------------------------------------------------------------------- */

/* k^T X' - v = (1 - b) (k^T X - v). */
static ds_status compare_discrepancy(void *context, const ds_edit *e) {
    for (size_t j = 0; j < e->dv; j++) {
        const double *before = e->before + j * e->d, *after = e->after + j * e->d;
        double read = ds_dot_plain(e->k, before, e->d), read_after = ds_dot_plain(e->k, after, e->d);
        double edit = fabs(e->mult * e->beta * (e->target[j] - read)), k = sqrt(e->kk);
        double norm = ds_norm_plain(before, e->d), norm_after = ds_norm_plain(after, e->d);
        double tolerance =
            e->roundoff * (k * norm_after + 2 * e->kk * edit) +
            ((double)e->d + 8) * u64 * (k * norm_after + (1 + fabs(e->b)) * (k * norm + fabs(e->target[j])) + e->kk * edit);
        ds_worst_add(context, fabs((read_after - e->target[j]) - (1 - e->b) * (read - e->target[j])), tolerance);
    }
    return DS_OK;
}

static ds_status force_all(ds_force **forces, const ds_verify *v, ds_force force) {
    *forces = ds_calloc(ds_spec_sublayers(v->spec), sizeof **forces);
    if (*forces == NULL) return DS_ERR_SYSTEM;
    for (size_t s = 0; s < ds_spec_sublayers(v->spec); s++) (*forces)[s] = force;
    return DS_OK;
}

ds_status ds_check_overwrite(ds_check_result *result, ds_verify *v) {
    ds_status status = DS_OK;
    ds_force *forces = NULL;
    ds_worst worst = {0};
    DS_TRY(force_all(&forces, v, (ds_force){DS_FORCE_GATE, 1 / v->spec->residual_mult}));
    DS_TRY(ds_each_edit(v, forces, compare_discrepancy, &worst));
    ds_worst_report(result, &worst);
done:
    free(forces);
    return status;
}

ds_status ds_check_contraction(ds_check_result *result, ds_verify *v) {
    ds_status status = DS_OK;
    ds_worst worst = {0};
    DS_TRY(ds_each_edit(v, NULL, compare_discrepancy, &worst));
    ds_worst_report(result, &worst);
    if (result->status != DS_CHECK_SKIP)
        (void)snprintf(result->detail, sizeof result->detail, "%zu updates of a channel", worst.count);
done:
    return status;
}

/* ---- the shape of the edit --------------------------------------------------------------------------------------------- */

typedef struct rank_check {
    ds_worst worst;
    ds_svd *svd;
    double *edit, *values;
    size_t stride;
} rank_check;

/* Rounding moves every singular value by at most its Frobenius norm (Weyl). */
static ds_status compare_rank(void *context, const ds_edit *e) {
    ds_status status = DS_OK;
    rank_check *check = context;
    size_t count = e->d * e->dv, rank = ds_min_size(e->d, e->dv);
    if (e->token % check->stride != 0) return DS_OK;
    for (size_t i = 0; i < count; i++) check->edit[i] = e->after[i] - e->before[i];
    DS_TRY(ds_singular_values_approx(check->values, check->edit, e->dv, e->d, check->svd));
    double largest = check->values[rank - 1], after = ds_norm_plain(e->after, count);
    ds_worst_add(&check->worst, check->values[rank - 2],
                 e->roundoff * (after + 2 * largest) + ds_singular_values_estimate(largest, e->dv, e->d) +
                     ((double)e->d + 8) * u64 * largest);
done:
    return status;
}

ds_status ds_check_rank(ds_check_result *result, ds_verify *v) {
    ds_status status = DS_OK;
    const size_t d = v->spec->hidden, dv = v->spec->value_channels, tokens = 256;
    rank_check check = {.stride = 1 + v->wide.batch.sequences * v->wide.batch.length / tokens};
    if (ds_min_size(d, dv) == 1) {
        ds_check_skip(result, "the edit of a scalar state is one column");
        return DS_OK;
    }
    DS_NEW_ARRAY(check.edit, d * dv);
    DS_NEW_ARRAY(check.values, ds_min_size(d, dv));
    DS_TRY(ds_svd_new(&check.svd, dv, d));
    DS_TRY(ds_each_edit(v, NULL, compare_rank, &check));
    ds_worst_report(result, &check.worst);
done:
    ds_svd_free(&check.svd);
    free(check.edit);
    free(check.values);
    return status;
}

/* What is left of the edit after its part along k: the rounding of the sum and of the product, never more. */
static ds_status compare_complement(void *context, const ds_edit *e) {
    for (size_t j = 0; j < e->dv; j++) {
        const double *before = e->before + j * e->d, *after = e->after + j * e->d;
        double along = 0, left = 0, edit = 0;
        for (size_t i = 0; i < e->d; i++) along += e->k[i] * (after[i] - before[i]);
        for (size_t i = 0; i < e->d; i++) {
            double change = after[i] - before[i], rest = e->kk > 0 ? change - along / e->kk * e->k[i] : change;
            left += rest * rest;
            edit += change * change;
        }
        edit = sqrt(edit);
        ds_worst_add(context, sqrt(left),
                     e->roundoff * (ds_norm_plain(after, e->d) + 2 * edit) + ((double)e->d + 8) * u64 * edit);
    }
    return DS_OK;
}

ds_status ds_check_complement(ds_check_result *result, ds_verify *v) {
    ds_status status = DS_OK;
    ds_worst worst = {0};
    DS_TRY(ds_each_edit(v, NULL, compare_complement, &worst));
    ds_worst_report(result, &worst);
done:
    return status;
}

/* ---- direction and gate ------------------------------------------------------------------------------------------------ */

typedef struct extremes {
    ds_worst worst;
    double lowest, highest;
} extremes;

/* k = fl(h fl(1/sqrt(|h|^2 + eps^2))): two roundings in each number, four in the square. */
static ds_status compare_direction(void *context, const ds_edit *e) {
    extremes *seen = context;
    double tolerance = (4 * e->roundoff + ((double)e->d + 8) * u64) * fmax(e->k_norm2, 1);
    seen->lowest = seen->worst.count == 0 ? e->k_norm2 : fmin(seen->lowest, e->k_norm2);
    ds_worst_add(&seen->worst, fmax(fabs(e->kk - e->k_norm2), e->k_norm2 - 1), tolerance);
    return DS_OK;
}

ds_status ds_check_direction(ds_check_result *result, ds_verify *v) {
    ds_status status = DS_OK;
    extremes seen = {0};
    DS_TRY(ds_each_edit(v, NULL, compare_direction, &seen));
    ds_worst_report(result, &seen.worst);
    (void)snprintf(result->detail, sizeof result->detail, "1 − ‖k‖² is at most %.3g", 1 - seen.lowest);
done:
    return status;
}

static ds_status compare_gate(void *context, const ds_edit *e) {
    extremes *seen = context;
    if (seen->worst.count == 0) seen->lowest = seen->highest = e->beta;
    seen->lowest = fmin(seen->lowest, e->beta);
    seen->highest = fmax(seen->highest, e->beta);
    ds_worst_add(&seen->worst, fabs(e->beta - 1), 1);
    return DS_OK;
}

/* 2 sigmoid never leaves [0,2], not by one rounding: the tolerance has none in it. */
ds_status ds_check_gate_range(ds_check_result *result, ds_verify *v) {
    ds_status status = DS_OK;
    extremes seen = {0};
    DS_TRY(ds_each_edit(v, NULL, compare_gate, &seen));
    ds_worst_report(result, &seen.worst);
    (void)snprintf(result->detail, sizeof result->detail, "gates from %.6g to %.6g; measured is |β − 1|", seen.lowest,
                   seen.highest);
done:
    return status;
}

/* ---- closed gates ------------------------------------------------------------------------------------------------------ */

typedef struct closed_check {
    size_t size; /* of one number */
    ds_worst worst;
} closed_check;

static ds_status compare_closed(void *context, const ds_observation *seen) {
    closed_check *check = context;
    size_t bytes = seen->sequences * seen->length * seen->planes * seen->hidden * ds_precision_size(seen->precision);
    ds_worst_add(&check->worst, memcmp(seen->before, seen->after, bytes) == 0 ? 0 : 1, 0);
    return DS_OK;
}

/* Watched, so that the sublayers do run; and unwatched, where nothing need be computed: X_S is X_0 either way. */
ds_status ds_check_closed(ds_check_result *result, ds_verify *v) {
    ds_status status = DS_OK;
    closed_check check = {0};
    ds_observer observer = {DS_OBSERVE_STATES, compare_closed, &check};
    ds_force *forces = NULL;
    void *state = NULL, *start = NULL;
    size_t count = v->wide.batch.sequences * v->wide.batch.length * ds_spec_planes(v->spec) * v->spec->hidden;
    bool streams = ds_plain_has_streams(v->spec); /* which mix without an output too */
    DS_TRY(force_all(&forces, v, (ds_force){streams ? DS_FORCE_BYPASS : DS_FORCE_CLOSED, 0}));
    for (size_t i = 0; i < v->side_count; i++) {
        const ds_side *side = &v->sides[i];
        size_t bytes = count * ds_precision_size(side->precision);
        DS_TRY(ds_run_depth(NULL, NULL, side, &v->wide.batch, forces, &observer));
        DS_TRY(ds_run_depth(&state, NULL, side, &v->wide.batch, forces, NULL));
        start = ds_alloc_array(bytes, 1);
        if (start == NULL) DS_TRY(DS_ERR_SYSTEM);
        DS_TRY(ds_embed(side->workspace, side->model, &v->wide.batch, start));
        ds_worst_add(&check.worst, memcmp(state, start, bytes) == 0 ? 0 : 1, 0);
        free(state);
        free(start);
        state = start = NULL;
    }
    ds_worst_report(result, &check.worst);
    if (streams) (void)snprintf(result->detail, sizeof result->detail, "by bypass: without an output alone the streams mix on");
done:
    free(forces);
    free(state);
    free(start);
    return status;
}
