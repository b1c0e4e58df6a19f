/* Symmetric eigenvalues (dsyevd) and determinants (dgetrf). */
#include <math.h>
#include <stdlib.h>

#include "deltascope/spectra.h"
#include "finite.h"

struct ds_symmetric {
    size_t order;
    double *matrix; /* (n,n), overwritten */
    double *work;
    size_t work_size;
    lapack_int *integers;
    size_t integer_count;
};

/* The upper triangle in row-major order is the lower one in column-major. */
static lapack_int call_syevd(ds_symmetric *w, char job, lapack_int n, double *values, double *work, lapack_int work_size,
                             lapack_int *integers, lapack_int integer_count) {
    return LAPACKE_dsyevd_work(LAPACK_COL_MAJOR, job, 'L', n, w->matrix, n, values, work, work_size, integers, integer_count);
}

ds_status ds_symmetric_new(ds_symmetric **out, size_t order) {
    ds_status status = DS_OK;
    ds_symmetric *w = NULL;
    *out = NULL;
    DS_TRY(ds_check_extent(order));
    DS_TRY(ds_lapack_reserve());
    DS_NEW(w, 1);
    w->order = order;
    DS_NEW_ARRAY(w->matrix, order * order);
    double wanted;
    lapack_int integers;
    lapack_int n = (lapack_int)ds_max_size(order, 1);
    DS_TRY(ds_check_lapack("dsyevd", call_syevd(w, 'V', n, &wanted, &wanted, -1, &integers, -1), &wanted, 1));
    w->work_size = (size_t)wanted;
    w->integer_count = ds_max_size((size_t)integers, order); /* dgetrf's pivots live here too */
    DS_NEW_ARRAY(w->work, w->work_size);
    DS_NEW_ARRAY(w->integers, w->integer_count);
done:
    if (status != DS_OK) ds_symmetric_free(&w);
    *out = w;
    return status;
}

void ds_symmetric_free(ds_symmetric **workspace) {
    ds_symmetric *w = *workspace;
    if (w == NULL) return;
    free(w->matrix);
    free(w->work);
    free(w->integers);
    free(w);
    *workspace = NULL;
}

ds_status ds_symmetric_eigen_approx(double *values, double *vectors, const double *matrix, size_t n, ds_symmetric *w) {
    ds_status status = DS_OK;
    DS_TRY(ds_check_order(n, w->order));
    if (n == 0) goto done;
    DS_TRY(ds_check_finite_input(matrix, n, n));
    for (size_t i = 0; i < n * n; i++) w->matrix[i] = matrix[i];
    lapack_int info = call_syevd(w, vectors == NULL ? 'N' : 'V', (lapack_int)n, values, w->work, (lapack_int)w->work_size,
                                 w->integers, (lapack_int)w->integer_count);
    DS_TRY(ds_check_lapack("dsyevd", info, values, n));
    if (vectors == NULL) goto done;
    ds_transpose(vectors, w->matrix, n, n);
    DS_TRY(ds_check_lapack("dsyevd", 0, vectors, n * n));
done:
    return status;
}

ds_status ds_determinant_approx(double *determinant, const double *matrix, size_t n, ds_symmetric *w) {
    ds_status status = DS_OK;
    DS_TRY(ds_check_order(n, w->order));
    DS_TRY(ds_check_finite_input(matrix, n, n));
    *determinant = 1.0;
    if (n == 0) goto done;
    for (size_t i = 0; i < n * n; i++) w->matrix[i] = matrix[i];
    lapack_int info =
        LAPACKE_dgetrf_work(LAPACK_COL_MAJOR, (lapack_int)n, (lapack_int)n, w->matrix, (lapack_int)n, w->integers);
    if (info > 0) info = 0; /* an exactly zero pivot: the determinant is 0, and the product below says so */
    DS_TRY(ds_check_lapack("dgetrf", info, w->matrix, n * n));
    for (size_t i = 0; i < n; i++) {
        *determinant *= w->matrix[i * n + i];
        if (w->integers[i] != (lapack_int)(i + 1)) *determinant = -*determinant;
    }
    DS_TRY(ds_check_lapack("dgetrf", 0, determinant, 1));
done:
    return status;
}

/* The largest row sum of |L| |U|, factors in w->matrix, or with `columns` its largest column sum; scratch sums (n). */
static double factor_norm(const ds_symmetric *w, size_t n, bool columns, double *sums) {
    double largest = 0;
    for (size_t i = 0; i < n; i++) { /* |U| 1, or |L|^T 1 */
        sums[i] = columns ? 1 : 0;
        for (size_t j = columns ? i + 1 : i; j < n; j++) sums[i] += fabs(columns ? w->matrix[i * n + j] : w->matrix[j * n + i]);
    }
    for (size_t i = 0; i < n; i++) {
        double sum = columns ? 0 : sums[i];
        for (size_t j = 0; j < (columns ? i + 1 : i); j++)
            sum += fabs(columns ? w->matrix[i * n + j] : w->matrix[j * n + i]) * sums[j];
        largest = fmax(largest, sum);
    }
    return largest;
}

ds_status ds_determinant_estimate(double *determinant, double *perturbation, const double *matrix, size_t n, ds_symmetric *w) {
    ds_status status = DS_OK;
    double *sums = NULL, u = ds_unit_roundoff(DS_F64);
    *perturbation = 0;
    DS_TRY(ds_determinant_approx(determinant, matrix, n, w));
    if (n == 0) goto done;
    DS_NEW_ARRAY(sums, n);
    *perturbation = (double)n * u * sqrt(factor_norm(w, n, false, sums) * factor_norm(w, n, true, sums));
done:
    free(sums);
    return status;
}
