/* Largest singular values of a map known by its products: Golub and Kahan's bidiagonalisation as a Lanczos process. With
 * orthonormal columns U (rows, k), V (columns, k) and B (k,k) upper bidiagonal with alpha on and beta above the diagonal,
 *
 *     A V = U B,     A^T U = V B^T + beta_k v_{k+1} e_k^T,
 *
 * so the singular values of B are A's on a growing subspace, and those at the top are the first to be right. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "deltascope/spectra.h"

typedef struct process {
    const ds_linear_map *map;
    size_t most, steps; /* k */
    double *left;       /* (most, rows) row j: u_j */
    double *right;      /* (most + 1, columns) row j: v_j */
    double *alpha, *beta;
    double *bidiagonal, *values, *p, *q; /* (most,most), (most): B and its singular value decomposition */
    double scale;                        /* the largest alpha or beta: no more than the norm of A */
    ds_svd *svd;
    ds_random random;
} process;

/* Lanes of partial sums, combined in a fixed order. */
static double dot(const double *x, const double *y, size_t n) {
    enum { LANES = 16 };
    double lane[LANES] = {0}, sum = 0;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        for (size_t l = 0; l < LANES; l++) lane[l] += x[i + l] * y[i + l];
    }
    for (; i < n; i++) sum += x[i] * y[i];
    for (size_t l = 0; l < LANES; l++) sum += lane[l];
    return sum;
}

static void subtract(double *restrict x, double a, const double *restrict y, size_t n) {
    for (size_t i = 0; i < n; i++) x[i] -= a * y[i];
}

/* x (n) <- x minus its part in the span of the first `count` rows of basis; twice is enough (Kahan and Parlett). */
static void orthogonalise(double *x, const double *basis, size_t count, size_t n) {
    for (int round = 0; round < 2; round++) {
        for (size_t j = 0; j < count; j++) subtract(x, dot(basis + j * n, x, n), basis + j * n, n);
    }
}

/* Makes x a unit vector and returns its length. What is left of x after orthogonalisation is rounding when it is below c n u of
 * what it was computed from: the space spanned so far is invariant; then x becomes a new random direction, and the length 0. */
static double normalise(process *w, double *x, const double *basis, size_t count, size_t n) {
    double length = sqrt(dot(x, x, n));
    double floor = 4.0 * sqrt((double)n) * ds_unit_roundoff(DS_F64) * w->scale;
    bool fresh = !(length > floor);
    while (!(length > floor)) {
        for (size_t i = 0; i < n; i++) x[i] = ds_random_normal(&w->random);
        orthogonalise(x, basis, count, n);
        length = sqrt(dot(x, x, n));
        floor = 0x1p-20;
    }
    for (size_t i = 0; i < n; i++) x[i] /= length;
    return fresh ? 0.0 : length;
}

static ds_status check_finite(const double *x, size_t n, const char *which) {
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(x[i]))
            return ds_fail(DS_ERR_INPUT, "the %s product of a linear map is %g at element %zu, expected a finite number", which,
                           x[i], i);
    }
    return DS_OK;
}

/* Adds u_k and alpha_k, then v_{k+1} and beta_k. */
static ds_status step(process *w) {
    ds_status status = DS_OK;
    const ds_linear_map *map = w->map;
    size_t k = w->steps, m = map->rows, n = map->columns;
    double *u = w->left + k * m, *v = w->right + k * n, *next = v + n;
    DS_TRY(map->apply(map->context, u, v));
    DS_TRY(check_finite(u, m, "forward"));
    if (k > 0) subtract(u, w->beta[k - 1], u - m, m);
    if (k == 0) w->scale = sqrt(dot(u, u, m));
    orthogonalise(u, w->left, k, m);
    w->alpha[k] = k < m ? normalise(w, u, w->left, k, m) : 0.0;
    w->scale = fmax(w->scale, w->alpha[k]);
    DS_TRY(map->adjoint(map->context, next, u));
    DS_TRY(check_finite(next, n, "adjoint"));
    subtract(next, w->alpha[k], v, n);
    orthogonalise(next, w->right, k + 1, n);
    w->beta[k] = k + 1 < n ? normalise(w, next, w->right, k + 1, n) : 0.0;
    w->scale = fmax(w->scale, w->beta[k]);
    w->steps = k + 1;
done:
    return status;
}

static ds_status decompose(process *w) {
    size_t k = w->steps;
    memset(w->bidiagonal, 0, k * k * sizeof *w->bidiagonal);
    for (size_t i = 0; i < k; i++) {
        w->bidiagonal[i * k + i] = w->alpha[i];
        if (i + 1 < k) w->bidiagonal[i * k + i + 1] = w->beta[i];
    }
    return ds_singular_vectors_approx(w->values, w->p, w->q, w->bidiagonal, k, k, w->svd);
}

/* How many of the largest values are right to the tolerance, as the process knows: residual beta_k |last element of p|. */
static size_t count_converged(const process *w, size_t wanted, double tolerance) {
    size_t k = w->steps, found = 0;
    double allowed = tolerance * w->values[k - 1];
    while (found < ds_min_size(wanted, k) && w->beta[k - 1] * fabs(w->p[(k - 1) * k + k - 1 - found]) <= allowed) found++;
    return found;
}

static ds_status process_new(process *w, const ds_linear_map *map, const ds_lanczos_options *options) {
    ds_status status = DS_OK;
    size_t least = ds_min_size(map->rows, map->columns), most = ds_min_size(options->most_steps, least), cells;
    *w = (process){.map = map, .most = most, .random = ds_random_init(options->seed)};
    if (most == 0 || options->count == 0)
        return ds_fail(DS_ERR_USAGE, "%zu singular values of a %zu x %zu map in %zu steps, expected at least 1 of each",
                       options->count, map->rows, map->columns, options->most_steps);
    if (!ds_mul_size(most + 1, ds_max_size(map->rows, map->columns), &cells))
        return ds_fail(DS_ERR_USAGE, "a %zu x %zu map is too large", map->rows, map->columns);
    DS_NEW_ARRAY(w->left, most * map->rows);
    DS_NEW_ARRAY(w->right, (most + 1) * map->columns);
    DS_NEW_ARRAY(w->alpha, most);
    DS_NEW_ARRAY(w->beta, most);
    DS_NEW_ARRAY(w->bidiagonal, most * most);
    DS_NEW_ARRAY(w->values, most);
    DS_NEW_ARRAY(w->p, most * most);
    DS_NEW_ARRAY(w->q, most * most);
    DS_TRY(ds_svd_new(&w->svd, most, most));
    for (size_t i = 0; i < map->columns; i++) w->right[i] = ds_random_normal(&w->random);
    (void)normalise(w, w->right, NULL, 0, map->columns);
done:
    return status;
}

static void process_release(process *w) {
    free(w->left);
    free(w->right);
    free(w->alpha);
    free(w->beta);
    free(w->bidiagonal);
    free(w->values);
    free(w->p);
    free(w->q);
    ds_svd_free(&w->svd);
}

/* Vectors of the i-th largest value: u = U p, v = V q. */
static void combine(ds_lanczos *out, const process *w, size_t i) {
    size_t k = w->steps, m = w->map->rows, n = w->map->columns, at = k - 1 - i;
    double *u = out->left + i * m, *v = out->right + i * n;
    memset(u, 0, m * sizeof *u);
    memset(v, 0, n * sizeof *v);
    for (size_t j = 0; j < k; j++) {
        subtract(u, -w->p[j * k + at], w->left + j * m, m);
        subtract(v, -w->q[at * k + j], w->right + j * n, n);
    }
}

/* Against the map itself: what the process lost to rounding, its own and the map's, is in it. */
static ds_status find_residual(ds_lanczos *out, size_t i, double *forward, double *backward, const ds_linear_map *map) {
    ds_status status = DS_OK;
    size_t m = map->rows, n = map->columns;
    DS_TRY(map->apply(map->context, forward, out->right + i * n));
    DS_TRY(map->adjoint(map->context, backward, out->left + i * m));
    subtract(forward, out->values[i], out->left + i * m, m);
    subtract(backward, out->values[i], out->right + i * n, n);
    out->residuals[i] = sqrt(0.5 * (dot(forward, forward, m) + dot(backward, backward, n)));
done:
    return status;
}

static ds_status collect(ds_lanczos *out, process *w, double tolerance) {
    ds_status status = DS_OK;
    size_t k = w->steps, m = w->map->rows, n = w->map->columns;
    DS_NEW(out->values, out->count);
    DS_NEW(out->residuals, out->count);
    DS_NEW_ARRAY(out->left, out->count * m);
    DS_NEW_ARRAY(out->right, out->count * n);
    DS_NEW(out->nodes, k);
    DS_NEW(out->weights, k);
    for (size_t i = 0; i < k; i++) { /* v_1 = V e_1: its weight in right vector i is q_i's first element squared */
        double first = w->q[(k - 1 - i) * k];
        out->nodes[i] = w->values[k - 1 - i];
        out->weights[i] = first * first;
    }
    for (size_t i = 0; i < out->count; i++) {
        out->values[i] = w->values[k - 1 - i];
        combine(out, w, i);
    }
    for (size_t i = 0; i < out->count; i++) /* the bases have served: their memory is scratch */
        DS_TRY(find_residual(out, i, w->left, w->right, w->map));
    while (out->converged < out->count && out->residuals[out->converged] <= tolerance * out->values[0]) out->converged++;
done:
    return status;
}

/* The process starts on the smaller side: then it is complete after min(rows, columns) steps. */
ds_status ds_lanczos_run(ds_lanczos *out, const ds_linear_map *map, const ds_lanczos_options *options) {
    ds_status status = DS_OK;
    process w = {0};
    bool wide = map->columns > map->rows;
    ds_linear_map tall = wide ? (ds_linear_map){map->columns, map->rows, map->adjoint, map->apply, map->context} : *map;
    *out = (ds_lanczos){0};
    DS_TRY(process_new(&w, &tall, options));
    while (w.steps < w.most) {
        DS_TRY(step(&w));
        bool last = w.steps == w.most;
        if (!last && (w.steps < options->count || w.steps % 4 != 0)) continue;
        DS_TRY(decompose(&w));
        if (count_converged(&w, options->count, options->tolerance) == options->count) break;
    }
    out->steps = w.steps;
    out->count = ds_min_size(options->count, w.steps);
    DS_TRY(collect(out, &w, options->tolerance));
    if (wide) {
        double *left = out->left;
        out->left = out->right;
        out->right = left;
    }
done:
    process_release(&w);
    if (status != DS_OK) ds_lanczos_release(out);
    return status;
}

void ds_lanczos_release(ds_lanczos *result) {
    free(result->values);
    free(result->residuals);
    free(result->left);
    free(result->right);
    free(result->nodes);
    free(result->weights);
    *result = (ds_lanczos){0};
}
