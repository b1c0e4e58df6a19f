/* The frozen operators of sampled tokens, and their products over depth, against LAPACK. u is the roundoff of double: what the
 * model computed, in whatever precision, defines the operators; the statements are then about those. */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "checks.h"

static const double u64 = 0x1p-53;

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

/* Of eigenpairs that LAPACK computed for B = alpha I + gamma k k^T, how far its values can be from B's. No constant of
 * LAPACK is assumed: with R = B V - V diag(values) and eta >= ||V^T V - I||_F there is an orthogonal Q, V's polar factor,
 * with ||V - Q||_2 <= eta; so ||B - Q diag(values) Q^T||_2 <= ||R||_F + eta (||B||_2 + max |value|), and by Weyl's theorem that
 * bounds every error. R and V^T V are summed in long double, d + 8 of whose roundoffs are added. */
static double eigenvalue_errors(const double *values, const double *vectors, long double alpha, long double gamma,
                                const double *k, size_t d) {
    const double u = (double)LDBL_EPSILON / 2, n = (double)d;
    long double residuals = 0, defects = 0, kk = 0;
    for (size_t i = 0; i < d; i++) kk += (long double)k[i] * (long double)k[i];
    for (size_t j = 0; j < d; j++) {
        long double along = 0;
        for (size_t i = 0; i < d; i++) along += (long double)k[i] * (long double)vectors[i * d + j];
        for (size_t i = 0; i < d; i++) {
            long double v = vectors[i * d + j], r = (alpha - (long double)values[j]) * v + gamma * along * (long double)k[i];
            residuals += r * r;
        }
    }
    for (size_t i = 0; i < d; i++) { /* V V^T - I has the same norm, and its rows are contiguous */
        for (size_t j = i; j < d; j++) {
            long double dot = i == j ? -1 : 0;
            for (size_t l = 0; l < d; l++) dot += (long double)vectors[i * d + l] * (long double)vectors[j * d + l];
            defects += (i == j ? 1 : 2) * dot * dot;
        }
    }
    double norm = (double)fabsl(alpha) + (double)fabsl(gamma * kk);
    double size = norm + fmax(fabs(values[0]), fabs(values[d - 1]));
    return (double)sqrtl(residuals) + (n + 8) * u * sqrt(n) * size + ((double)sqrtl(defects) + (n + 8) * u * n) * size;
}

/* One operator A = I - c k k^T, with what LAPACK needs. */
typedef struct dense_case {
    const double *k;
    double c, b; /* b = c |k|^2 */
    size_t d;
    double *matrix, *vectors, *values; /* (d,d), (d,d), (d) */
    ds_symmetric *solver;
} dense_case;

typedef ds_status (*dense_comparison)(ds_worst *worst, const dense_case *a);

static ds_status compare_dense(ds_check_result *result, ds_verify *v, dense_comparison compare) {
    ds_status status = DS_OK;
    operator_sample sample = {0};
    ds_worst worst = {0};
    dense_case a = {.d = v->spec->hidden};
    DS_TRY(draw(&sample, v));
    DS_TRY(ds_symmetric_new(&a.solver, a.d));
    DS_NEW_ARRAY(a.matrix, a.d * a.d);
    DS_NEW_ARRAY(a.vectors, a.d * a.d);
    DS_NEW_ARRAY(a.values, a.d);
    size_t all = sample.tokens * sample.sublayers, count = solved(&sample, (double)a.d);
    for (size_t i = 0; i < count; i++) {
        size_t at = i * all / count;
        a.k = sample.k + at * a.d;
        a.c = sample.c[at];
        a.b = a.c * ds_dot_plain(a.k, a.k, a.d);
        ds_delta_matrix(a.matrix, a.k, a.c, a.d);
        DS_TRY(compare(&worst, &a));
    }
    ds_worst_report(result, &worst);
    (void)snprintf(result->detail, sizeof result->detail, "%zu operators", count);
done:
    ds_symmetric_free(&a.solver);
    free(a.matrix);
    free(a.vectors);
    free(a.values);
    release(&sample);
    return status;
}

/* 1 - b once, the first or the last in order, and 1 otherwise. b as computed carries the d + 1 roundings of c |k|^2. */
static ds_status compare_spectrum(ds_worst *worst, const dense_case *a) {
    ds_status status = DS_OK;
    double moved = ds_delta_eigenvalue(a->b), error = 0;
    size_t at = moved <= 1 ? 0 : a->d - 1;
    DS_TRY(ds_symmetric_eigen_approx(a->values, a->vectors, a->matrix, a->d, a->solver));
    for (size_t i = 0; i < a->d; i++) error = ds_max_real(error, fabs(a->values[i] - (i == at ? moved : 1)));
    ds_worst_add(worst, error,
                 eigenvalue_errors(a->values, a->vectors, 1, -(long double)a->c, a->k, a->d) +
                     u64 * (((double)a->d + 1) * fabs(a->b) + fabs(moved)));
done:
    return status;
}

/* Elimination with pivots gives det(A + E); ||E||_2 comes from the factors it found, and 3 roundings of each entry of A add at
 * most 3 u (1 + |b|) sqrt(d). det(A + E) - det A = tr(adj(A) E) <= ||E||_2 times the sum of the singular values of adj(A): 1
 * once and |1 - b| d - 1 times. The product of d pivots adds d u |1 - b|, and b's own roundings (d + 1) u |b|. */
static ds_status compare_determinant(ds_worst *worst, const dense_case *a) {
    ds_status status = DS_OK;
    double d = (double)a->d, determinant = ds_delta_determinant(a->b), found, perturbation;
    DS_TRY(ds_determinant_estimate(&found, &perturbation, a->matrix, a->d, a->solver));
    perturbation += 3 * u64 * (1 + fabs(a->b)) * sqrt(d);
    ds_worst_add(worst, fabs(found - determinant),
                 perturbation * (1 + (d - 1) * fabs(determinant)) + (d + 1) * u64 * (fabs(determinant) + fabs(a->b)));
done:
    return status;
}

/* A^T A - I = -c (2 - b) k k^T. The matrix handed to LAPACK is the product of A as stored; the bound is on values of the exact
 * one, so that it holds what forming both did as well. The claim b (b - 2) adds what b's own d + 1 roundings do to it. */
static ds_status compare_orthogonality(ds_worst *worst, const dense_case *a) {
    ds_status status = DS_OK;
    size_t d = a->d;
    double *square = NULL;
    long double b = 0;
    DS_NEW_ARRAY(square, d * d);
    for (size_t i = 0; i < d; i++) {
        for (size_t j = i; j < d; j++)
            square[i * d + j] = square[j * d + i] = ds_dot_plain(a->matrix + i * d, a->matrix + j * d, d) - (i == j ? 1 : 0);
        b += (long double)a->k[i] * (long double)a->k[i] * (long double)a->c;
    }
    DS_TRY(ds_symmetric_eigen_approx(a->values, a->vectors, square, d, a->solver));
    double found = fmax(fabs(a->values[0]), fabs(a->values[d - 1]));
    ds_worst_add(worst, fabs(found - ds_delta_orthogonality_defect(a->b)),
                 eigenvalue_errors(a->values, a->vectors, 0, -(long double)a->c * (2 - b), a->k, d) +
                     u64 * ((double)d + 5) * fabs(a->b) * (2 + 2 * fabs(a->b)));
done:
    free(square);
    return status;
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
        double b = sample.c[at] * ds_dot_plain(k, k, d), n = (double)order, determinant, perturbation;
        memset(matrix, 0, order * order * sizeof *matrix);
        for (size_t e = 0; e < order; e++) {
            matrix[e * order + e] = 1;
            ds_delta_apply(matrix + e * order, k, sample.c[at], dv, d);
        }
        DS_TRY(ds_determinant_estimate(&determinant, &perturbation, matrix, order, solver));
        /* As compare_determinant, in order n: the adjugate's singular values are |1 - b|^dv and |1 - b|^(dv-1). Entries of A
         * come of 3 roundings, and of the one-term sum k_i c. */
        perturbation += 4 * u64 * (1 + fabs(b)) * sqrt(n);
        double lifted = pow(1 - b, (double)dv), part = pow(fabs(1 - b), (double)dv - 1);
        double adjugate = (double)dv * part + (n - (double)dv) * fabs(lifted);
        ds_worst_add(&worst, fabs(determinant - lifted),
                     perturbation * adjugate + n * u64 * fabs(lifted) +
                         ((double)d + 1 + (double)dv) * u64 * (double)dv * part * (1 + fabs(b)));
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
