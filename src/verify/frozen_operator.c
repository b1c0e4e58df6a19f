/* The frozen operators of sampled tokens, and their products over depth, against LAPACK. u is the roundoff of double: what the
 * model computed, in whatever precision, defines the operators; the statements are then about those. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "checks.h"

/* Directions k and strengths m beta of a few tokens through all sublayers. */
typedef struct operator_sample {
    size_t tokens, sublayers, hidden, stride;
    double *k; /* (tokens,S,d) */
    double *c; /* (tokens,S) */
    double mult;
} operator_sample;

static ds_status take(void *context, const ds_observation *seen) {
    operator_sample *sample = context;
    for (size_t i = 0; i < sample->tokens; i++) {
        size_t token = i * sample->stride, at = i * sample->sublayers + seen->sublayer;
        ds_widen(sample->k + at * sample->hidden, seen->delta->k, token * sample->hidden, sample->hidden, seen->precision);
        sample->c[at] = sample->mult * seen->delta->beta[token];
    }
    return DS_OK;
}

static void release(operator_sample *sample) {
    free(sample->k);
    free(sample->c);
}

/* At most 8 tokens, evenly over the batch, as the run's own model sees them. */
static ds_status draw(operator_sample *sample, ds_verify *v) {
    ds_status status = DS_OK;
    const size_t most = 8;
    size_t tokens = v->wide.batch.sequences * v->wide.batch.length;
    ds_observer observer = {DS_OBSERVE_GATES | DS_OBSERVE_DIRECTIONS, take, sample};
    *sample = (operator_sample){.tokens = ds_min_size(tokens, most),
                                .sublayers = ds_spec_sublayers(v->spec),
                                .hidden = v->spec->hidden,
                                .mult = v->spec->residual_mult};
    sample->stride = tokens / sample->tokens;
    DS_NEW_ARRAY(sample->k, sample->tokens * sample->sublayers * sample->hidden);
    DS_NEW_ARRAY(sample->c, sample->tokens * sample->sublayers);
    DS_TRY(ds_run_depth(NULL, NULL, &v->sides[0], &v->wide.batch, NULL, &observer));
done:
    if (status != DS_OK) {
        release(sample);
        *sample = (operator_sample){0};
    }
    return status;
}

/* ---- one operator ---------------------------------------------------------------------------------------------------- */

/* How many of the sampled operators of order n are solved, when 10 n^3 operations each may add up to 5e10: 4 to 64. */
static size_t solved(const operator_sample *sample, double order) {
    double count = 5e10 / (10 * order * order * order);
    count = fmin(fmax(count, 4), 64);
    return ds_min_size((size_t)count, sample->tokens * sample->sublayers);
}

typedef void (*dense_comparison)(ds_worst *worst, const ds_dense_operator *found, double b, double d);

static ds_status compare_dense(ds_check_result *result, ds_verify *v, dense_comparison compare) {
    ds_status status = DS_OK;
    operator_sample sample = {0};
    ds_dense *dense = NULL;
    ds_worst worst = {0};
    DS_TRY(draw(&sample, v));
    DS_TRY(ds_dense_new(&dense, sample.hidden));
    size_t all = sample.tokens * sample.sublayers, count = solved(&sample, (double)sample.hidden);
    for (size_t i = 0; i < count; i++) {
        size_t at = i * all / count;
        const double *k = sample.k + at * sample.hidden;
        ds_dense_operator found;
        DS_TRY(ds_dense_solve(&found, k, sample.c[at], sample.hidden, dense));
        compare(&worst, &found, sample.c[at] * ds_dot_plain(k, k, sample.hidden), (double)sample.hidden);
    }
    ds_worst_report(result, &worst);
    (void)snprintf(result->detail, sizeof result->detail, "%zu operators", count);
done:
    ds_dense_free(&dense);
    release(&sample);
    return status;
}

/* dsyevd is backward stable: |error| <= p(d) u ||A||_2 with p(d) of the order of d; three roundings in each entry of A add
 * 3 u b, the d of the inner product in b another d u b. */
static void compare_spectrum(ds_worst *worst, const ds_dense_operator *found, double b, double d) {
    ds_worst_add(worst, found->max_eigenvalue_error, (2 * d + 3) * ds_unit_roundoff(DS_F64) * (1 + fabs(b)));
}

/* Elimination with pivots gives det(A + E), ||E||_2 <= d u ||A||_2, and det(A + E) - det A = tr(adj(A) E) <= ||E||_2 times
 * the sum of the singular values of adj(A): 1 once and |1 - b| d - 1 times. The product of d pivots adds d u |1 - b|. */
static void compare_determinant(ds_worst *worst, const ds_dense_operator *found, double b, double d) {
    double determinant = ds_delta_determinant(b), u = ds_unit_roundoff(DS_F64);
    ds_worst_add(worst, fabs(found->determinant - determinant),
                 d * u * (1 + fabs(b)) * (1 + (d - 1) * fabs(determinant)) + d * u * (fabs(determinant) + fabs(b)));
}

/* A^T A - I: d products in each entry, then dsyevd, each d u ||A||_2^2; b itself d u b, doubled by the square. */
static void compare_orthogonality(ds_worst *worst, const ds_dense_operator *found, double b, double d) {
    ds_worst_add(worst, fabs(found->orthogonality_defect - ds_delta_orthogonality_defect(b)),
                 4 * (d + 3) * ds_unit_roundoff(DS_F64) * (1 + fabs(b)) * (1 + fabs(b)));
}

ds_status ds_check_spectrum(ds_check_result *result, ds_verify *v) { return compare_dense(result, v, compare_spectrum); }
ds_status ds_check_determinant(ds_check_result *result, ds_verify *v) { return compare_dense(result, v, compare_determinant); }
ds_status ds_check_orthogonality(ds_check_result *result, ds_verify *v) {
    return compare_dense(result, v, compare_orthogonality);
}

/* A on the whole state: its matrix column by column, by applying it to the unit states, and the LU determinant of that. */
ds_status ds_check_lift(ds_check_result *result, ds_verify *v) {
    ds_status status = DS_OK;
    operator_sample sample = {0};
    ds_symmetric *solver = NULL;
    double *matrix = NULL;
    ds_worst worst = {0};
    size_t d = v->spec->hidden, dv = v->spec->value_channels, order = d * dv;
    if (dv == 1) {
        ds_check_skip(result, "the state is scalar: this is operator.determinant");
        return DS_OK;
    }
    DS_TRY(draw(&sample, v));
    DS_NEW_ARRAY(matrix, order * order);
    DS_TRY(ds_symmetric_new(&solver, order));
    size_t all = sample.tokens * sample.sublayers, count = order > 1024 ? 1 : solved(&sample, (double)order);
    for (size_t i = 0; i < count; i++) {
        size_t at = (2 * i + 1) * all / (2 * count);
        const double *k = sample.k + at * d;
        double b = sample.c[at] * ds_dot_plain(k, k, d), u = ds_unit_roundoff(DS_F64), n = (double)order, determinant;
        memset(matrix, 0, order * order * sizeof *matrix);
        for (size_t e = 0; e < order; e++) {
            matrix[e * order + e] = 1;
            ds_delta_apply(matrix + e * order, k, sample.c[at], dv, d);
        }
        DS_TRY(ds_determinant_approx(&determinant, matrix, order, solver));
        /* As compare_determinant, in order n: the adjugate's singular values are |1 - b|^dv and |1 - b|^(dv-1). */
        double lifted = pow(1 - b, (double)dv), part = pow(fabs(1 - b), (double)dv - 1);
        double adjugate = (double)dv * part + (n - (double)dv) * fabs(lifted);
        ds_worst_add(&worst, fabs(determinant - lifted),
                     n * u * (1 + fabs(b)) * adjugate + n * u * (fabs(lifted) + (double)dv * part * fabs(b)));
    }
    ds_worst_report(result, &worst);
    (void)snprintf(result->detail, sizeof result->detail, "%zu operators of order %zu", count, order);
done:
    ds_symmetric_free(&solver);
    free(matrix);
    release(&sample);
    return status;
}

/* ---- products over depth --------------------------------------------------------------------------------------------- */

typedef void (*product_comparison)(ds_worst *worst, const ds_product_summary *found, const double *b, size_t sublayers,
                                   double error);

static ds_status compare_products(ds_check_result *result, ds_verify *v, product_comparison compare) {
    ds_status status = DS_OK;
    operator_sample sample = {0};
    ds_product *product = NULL;
    ds_product_solver *solver = NULL;
    double *b = NULL;
    ds_worst worst = {0};
    DS_TRY(draw(&sample, v));
    DS_TRY(ds_product_new(&product, sample.hidden, sample.sublayers));
    DS_TRY(ds_product_solver_new(&solver, sample.hidden, sample.sublayers));
    DS_NEW_ARRAY(b, sample.sublayers);
    for (size_t i = 0; i < sample.tokens; i++) {
        const double *k = sample.k + i * sample.sublayers * sample.hidden, *c = sample.c + i * sample.sublayers;
        ds_product_summary found;
        double error;
        for (size_t s = 0; s < sample.sublayers; s++)
            b[s] = c[s] * ds_dot_plain(k + s * sample.hidden, k + s * sample.hidden, sample.hidden);
        DS_TRY(ds_product_window(product, k, c, 0, sample.sublayers));
        DS_TRY(ds_product_spectrum_estimate(NULL, NULL, NULL, &error, &found, product, solver));
        compare(&worst, &found, b, sample.sublayers, error);
    }
    ds_worst_report(result, &worst);
    if (result->status != DS_CHECK_SKIP)
        (void)snprintf(result->detail, sizeof result->detail, "%zu products of %zu operators", worst.count, sample.sublayers);
done:
    ds_product_free(&product);
    ds_product_solver_free(&solver);
    free(b);
    release(&sample);
    return status;
}

/* The summary's tolerance is the sum of what each singular value's error does to its logarithm; 0 where one is too small to
 * have a correct digit, and then there is nothing to compare. */
static void compare_log_determinant(ds_worst *worst, const ds_product_summary *found, const double *b, size_t sublayers,
                                    double error) {
    double sum = 0, moduli = 0, d = (double)sublayers;
    (void)error;
    if (!(found->determinant_tolerance > 0)) return;
    for (size_t s = 0; s < sublayers; s++) {
        sum += log(fabs(1 - b[s]));
        /* b_s carries some roundings from |k|^2, as the product's own does */
        moduli += fabs(log(fabs(1 - b[s]))) + (1 + fabs(b[s])) / fabs(1 - b[s]);
    }
    ds_worst_add(worst, fmax(found->determinant_error, fabs(found->log_abs_det - sum)),
                 found->determinant_tolerance + (d + 2) * ds_unit_roundoff(DS_F64) * moduli);
}

/* `error` bounds what rounding did to any singular value. */
static void compare_norm(ds_worst *worst, const ds_product_summary *found, const double *b, size_t sublayers, double error) {
    double bound = 1;
    for (size_t s = 0; s < sublayers; s++) bound *= fmax(1, fabs(1 - b[s]));
    ds_worst_add(worst, fmax(0, found->norm2 - bound), error);
}

ds_status ds_check_product_determinant(ds_check_result *result, ds_verify *v) {
    return compare_products(result, v, compare_log_determinant);
}
ds_status ds_check_product_norm(ds_check_result *result, ds_verify *v) { return compare_products(result, v, compare_norm); }
