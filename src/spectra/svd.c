/* Singular values by divide and conquer (dgesdd). */
#include <math.h>
#include <stdlib.h>

#include "deltascope/spectra.h"
#include "finite.h"

struct ds_svd {
    size_t rows, columns;
    double *matrix; /* (rows, columns), overwritten */
    double *values; /* (min) descending */
    double *left;   /* (min, min of either) vectors as LAPACK returns them */
    double *right;
    double *work;
    size_t work_size;
    lapack_int *integers; /* (8 min) */
};

/* Row-major memory is the transpose in column-major: its left singular vectors are the matrix's right ones. */
static lapack_int call_gesdd(ds_svd *w, char job, size_t rows, size_t columns, double *work, lapack_int work_size) {
    lapack_int m = (lapack_int)columns, n = (lapack_int)rows, least = m < n ? m : n;
    return LAPACKE_dgesdd_work(LAPACK_COL_MAJOR, job, m, n, w->matrix, m, w->values, w->right, m, w->left, least, work,
                               work_size, w->integers);
}

ds_status ds_svd_new(ds_svd **out, size_t rows, size_t columns) {
    ds_status status = DS_OK;
    ds_svd *w = NULL;
    *out = NULL;
    DS_TRY(ds_check_extent(rows));
    DS_TRY(ds_check_extent(columns));
    DS_TRY(ds_lapack_reserve());
    DS_NEW(w, 1);
    w->rows = rows;
    w->columns = columns;
    size_t least = ds_min_size(rows, columns);
    DS_NEW_ARRAY(w->matrix, rows * columns);
    DS_NEW_ARRAY(w->values, least);
    DS_NEW_ARRAY(w->left, least * rows);
    DS_NEW_ARRAY(w->right, least * columns);
    DS_NEW_ARRAY(w->integers, 8 * least);
    double wanted = 1.0, most = 1.0;
    if (least > 0) {
        DS_TRY(ds_check_lapack("dgesdd", call_gesdd(w, 'S', rows, columns, &wanted, -1), &wanted, 1));
        most = fmax(most, wanted);
        DS_TRY(ds_check_lapack("dgesdd", call_gesdd(w, 'N', rows, columns, &wanted, -1), &wanted, 1));
        most = fmax(most, wanted);
        /* A smaller but squarer problem may take another path: the documented need of the largest square one. */
        double square = (double)least;
        most = fmax(most, square * (4.0 * square + 7.0) + (double)ds_max_size(rows, columns));
    }
    w->work_size = (size_t)most;
    DS_NEW_ARRAY(w->work, w->work_size);
done:
    if (status != DS_OK) ds_svd_free(&w);
    *out = w;
    return status;
}

void ds_svd_free(ds_svd **workspace) {
    ds_svd *w = *workspace;
    if (w == NULL) return;
    free(w->matrix);
    free(w->values);
    free(w->left);
    free(w->right);
    free(w->work);
    free(w->integers);
    free(w);
    *workspace = NULL;
}

static ds_status solve(ds_svd *w, char job, const double *matrix, size_t rows, size_t columns) {
    ds_status status = DS_OK;
    DS_TRY(ds_check_order(rows, w->rows));
    DS_TRY(ds_check_order(columns, w->columns));
    size_t least = ds_min_size(rows, columns);
    if (least == 0) goto done;
    DS_TRY(ds_check_finite_input(matrix, rows, columns));
    for (size_t i = 0; i < rows * columns; i++) w->matrix[i] = matrix[i];
    lapack_int info = call_gesdd(w, job, rows, columns, w->work, (lapack_int)w->work_size);
    DS_TRY(ds_check_lapack("dgesdd", info, w->values, least));
done:
    return status;
}

ds_status ds_singular_values_approx(double *values, const double *matrix, size_t rows, size_t columns, ds_svd *w) {
    ds_status status = DS_OK;
    DS_TRY(solve(w, 'N', matrix, rows, columns));
    size_t least = ds_min_size(rows, columns);
    for (size_t i = 0; i < least; i++) values[i] = w->values[least - 1 - i];
done:
    return status;
}

ds_status ds_singular_vectors_approx(double *values, double *left, double *right, const double *matrix, size_t rows,
                                     size_t columns, ds_svd *w) {
    ds_status status = DS_OK;
    DS_TRY(solve(w, 'S', matrix, rows, columns));
    size_t least = ds_min_size(rows, columns);
    DS_TRY(ds_check_lapack("dgesdd", 0, w->left, least * rows));
    DS_TRY(ds_check_lapack("dgesdd", 0, w->right, least * columns));
    for (size_t i = 0; i < least; i++) {
        size_t from = least - 1 - i;
        values[i] = w->values[from];
        for (size_t row = 0; row < rows; row++) left[row * least + i] = w->left[row * least + from];
        for (size_t column = 0; column < columns; column++) right[i * columns + column] = w->right[from * columns + column];
    }
done:
    return status;
}

/* Bidiagonalisation applies 2 min reflections, each with an error of a few u in the Frobenius norm <= sqrt(min) largest. */
double ds_singular_values_estimate(double largest, size_t rows, size_t columns) {
    double least = (double)ds_min_size(rows, columns);
    return 4.0 * least * sqrt(least) * ds_unit_roundoff(DS_F64) * largest;
}

/* A value divided by the sum or the largest lies in [0,1]: no overflow, whatever the scale. */
double ds_effective_rank(const double *singular, size_t n) {
    double sum = 0.0, entropy = 0.0;
    for (size_t i = 0; i < n; i++) sum += singular[i];
    for (size_t i = 0; i < n; i++) {
        double share = singular[i] / sum;
        if (share != 0.0) entropy -= share * log(share);
    }
    return sum == 0.0 ? 0.0 : exp(entropy);
}

double ds_stable_rank(const double *singular, size_t n) {
    double largest = n == 0 ? 0.0 : singular[n - 1], sum = 0.0;
    for (size_t i = 0; i < n; i++) sum += (singular[i] / largest) * (singular[i] / largest);
    return largest == 0.0 ? 0.0 : sum;
}

double ds_participation_ratio(const double *singular, size_t n) {
    double largest = n == 0 ? 0.0 : singular[n - 1], squares = 0.0, fourths = 0.0;
    for (size_t i = 0; i < n; i++) {
        double square = (singular[i] / largest) * (singular[i] / largest);
        squares += square;
        fourths += square * square;
    }
    return largest == 0.0 ? 0.0 : squares * squares / fourths;
}
