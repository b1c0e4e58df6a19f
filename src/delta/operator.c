/* One delta operator: regimes, closed forms, application, and its dense counterpart. */
#include <math.h>
#include <stdlib.h>

#include "deltascope/delta.h"
#include "vector.h"

ds_regime ds_regime_of(double b, double tolerance) {
    if (b < tolerance) return DS_REGIME_IDENTITY;
    if (b < 1.0 - tolerance) return DS_REGIME_DAMPED;
    if (b <= 1.0 + tolerance) return DS_REGIME_PROJECTION;
    if (b <= 2.0 - tolerance) return DS_REGIME_OVER_RELAXED;
    return DS_REGIME_REFLECTION;
}

const char *ds_regime_name(ds_regime regime) {
    static const char *const names[DS_REGIME_COUNT] = {"identity", "damped", "projection", "over_relaxed", "reflection"};
    return names[regime];
}

double ds_delta_orthogonality_defect(double b) { return fabs(b * (b - 2.0)); }

/* log1p keeps a nearly closed gate's small logarithm; 1 - b is exact for b in [1/2, 2]. */
double ds_delta_log_abs_det(double b) { return b < 0.5 ? log1p(-b) : log(fabs(1.0 - b)); }

/* high + low = |k|^2 but for n^2 u^2 |k|^2, each product and each sum with its rounding error beside it (Ogita, Rump and Oishi,
 * 2005, Dot2 before its last addition). */
static void square_length(double *high, double *low, const double *k, size_t d) {
    *high = *low = 0.0;
    for (size_t i = 0; i < d; i++) {
        double product = k[i] * k[i], product_error = fma(k[i], k[i], -product);
        double sum = *high + product, added = sum - *high;
        *low += ((*high - (sum - added)) + (product - added)) + product_error;
        *high = sum;
    }
}

/* Near b = 1 the difference 1 - b comes from b in twice the working precision. 1 - first is exact, first being in [1/2, 2].
 * What errs is low (n^2 u^2 relative to b, and n u^2 in its sum), c low and the sum of the second part, n u^2 each. */
double ds_delta_log_abs_det_of(double *bound, double c, const double *k, size_t d) {
    const double u = ds_unit_roundoff(DS_F64), n = (double)d;
    double b = c * ds_dot(k, k, d), value = ds_delta_log_abs_det(b);
    double error = u * (ds_dot_roundings(d) + 1.0) * fabs(b), left = fabs(1.0 - b);
    if (left < 0x1p-10) {
        double high, low;
        square_length(&high, &low, k, d);
        double first = c * high, second = fma(c, high, -first) + c * low;
        left = fabs((1.0 - first) - second);
        error = u * u * (n * n + 4.0 * n + 8.0) * fabs(b) + n * fabs(c) * 0x1p-1073 + u * left;
        value = log(left);
    }
    *bound = (left > error ? error / (left - error) : INFINITY) + 2.0 * u * fabs(value);
    return value;
}

void ds_delta_apply(double *x, const double *k, double c, size_t planes, size_t d) {
    for (size_t j = 0; j < planes; j++) ds_subtract_multiple(x + j * d, c * ds_dot(k, x + j * d, d), k, d);
}

void ds_delta_update(double *x, const double *k, double c, const double *v, size_t planes, size_t d) {
    for (size_t j = 0; j < planes; j++) ds_subtract_multiple(x + j * d, c * (ds_dot(k, x + j * d, d) - v[j]), k, d);
}

void ds_delta_matrix(double *matrix, const double *k, double c, size_t d) {
    for (size_t i = 0; i < d; i++) {
        for (size_t j = 0; j < d; j++) matrix[i * d + j] = (i == j ? 1.0 : 0.0) - c * (k[i] * k[j]);
    }
}

struct ds_dense {
    size_t hidden;
    double *matrix; /* (d,d) A */
    double *square; /* (d,d) A^T A - I */
    double *values; /* (d) */
    ds_symmetric *solver;
};

ds_status ds_dense_new(ds_dense **out, size_t hidden) {
    ds_status status = DS_OK;
    ds_dense *w = NULL;
    *out = NULL;
    DS_NEW(w, 1);
    w->hidden = hidden;
    DS_TRY(ds_symmetric_new(&w->solver, hidden));
    DS_NEW_ARRAY(w->matrix, hidden * hidden);
    DS_NEW_ARRAY(w->square, hidden * hidden);
    DS_NEW_ARRAY(w->values, hidden);
done:
    if (status != DS_OK) ds_dense_free(&w);
    *out = w;
    return status;
}

void ds_dense_free(ds_dense **workspace) {
    ds_dense *w = *workspace;
    if (w == NULL) return;
    ds_symmetric_free(&w->solver);
    free(w->matrix);
    free(w->square);
    free(w->values);
    free(w);
    *workspace = NULL;
}

ds_status ds_dense_solve(ds_dense_operator *out, const double *k, double c, size_t d, ds_dense *w) {
    ds_status status = DS_OK;
    if (d == 0 || d > w->hidden)
        return ds_fail(DS_ERR_USAGE, "a direction of %zu features, expected 1 to the workspace's %zu", d, w->hidden);
    ds_delta_matrix(w->matrix, k, c, d);
    for (size_t i = 0; i < d; i++) {
        for (size_t j = i; j < d; j++) {
            double entry = ds_dot(w->matrix + i * d, w->matrix + j * d, d) - (i == j ? 1.0 : 0.0);
            w->square[i * d + j] = entry;
            w->square[j * d + i] = entry;
        }
    }
    DS_TRY(ds_determinant_approx(&out->determinant, w->matrix, d, w->solver));
    DS_TRY(ds_symmetric_eigen_approx(w->values, NULL, w->square, d, w->solver));
    out->orthogonality_defect = fmax(fabs(w->values[0]), fabs(w->values[d - 1]));
    DS_TRY(ds_symmetric_eigen_approx(w->values, NULL, w->matrix, d, w->solver));
    /* The moved eigenvalue is the first or the last in order: the others are 1. */
    double moved = ds_delta_eigenvalue(c * ds_dot(k, k, d));
    size_t at = moved <= 1.0 ? 0 : d - 1;
    out->eigenvalue = w->values[at];
    out->max_eigenvalue_error = 0.0;
    for (size_t i = 0; i < d; i++)
        out->max_eigenvalue_error = ds_max_real(out->max_eigenvalue_error, fabs(w->values[i] - (i == at ? moved : 1.0)));
done:
    return status;
}
