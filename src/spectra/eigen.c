/* Eigenvalues of a general real matrix: from the Schur form, or with eigenvectors and an error estimate. */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "deltascope/spectra.h"
#include "finite.h"

struct ds_eigen {
    size_t order;
    double *matrix;       /* (n,n) column-major, overwritten by the Schur form */
    double *left, *right; /* (n,n) column-major eigenvectors as LAPACK packs them */
    double *re, *im;      /* (n) */
    double *scale;        /* (n) dgeevx's balancing; not used, but written */
    double *radius;       /* (n) Gershgorin radii */
    double *reach;        /* (n) bounds in LAPACK's order */
    bool *seen;           /* (n) */
    size_t *cluster;      /* (n) */
    double *work;
    size_t work_size;
};

/* dgeevx without balancing: the Schur form is then orthogonally similar to the matrix itself, and the backward error small
 * against its norm. */
static lapack_int call_geevx(ds_eigen *w, lapack_int n, double *work, lapack_int work_size) {
    lapack_int low, high;
    double norm;
    return LAPACKE_dgeevx_work(LAPACK_COL_MAJOR, 'N', 'V', 'V', 'N', n, w->matrix, n, w->re, w->im, w->left, n, w->right, n,
                               &low, &high, w->scale, &norm, NULL, NULL, work, work_size, NULL);
}

static lapack_int call_gees(ds_eigen *w, lapack_int n, double *work, lapack_int work_size) {
    lapack_int selected;
    return LAPACKE_dgees_work(LAPACK_COL_MAJOR, 'N', 'N', NULL, n, w->matrix, n, &selected, w->re, w->im, w->right, n, work,
                              work_size, NULL);
}

ds_status ds_eigen_new(ds_eigen **out, size_t order) {
    ds_status status = DS_OK;
    ds_eigen *w = NULL;
    *out = NULL;
    DS_TRY(ds_check_extent(order));
    DS_TRY(ds_lapack_reserve());
    DS_NEW(w, 1);
    w->order = order;
    DS_NEW_ARRAY(w->matrix, order * order);
    DS_NEW_ARRAY(w->left, order * order);
    DS_NEW_ARRAY(w->right, order * order);
    DS_NEW_ARRAY(w->re, order);
    DS_NEW_ARRAY(w->im, order);
    DS_NEW_ARRAY(w->scale, order);
    DS_NEW_ARRAY(w->radius, order);
    DS_NEW_ARRAY(w->reach, order);
    DS_NEW(w->seen, order);
    DS_NEW(w->cluster, order);
    double most = 1.0, wanted;
    lapack_int n = (lapack_int)ds_max_size(order, 1); /* leading dimensions are at least 1 */
    DS_TRY(ds_check_lapack("dgeevx", call_geevx(w, n, &wanted, -1), &wanted, 1));
    most = fmax(most, wanted);
    DS_TRY(ds_check_lapack("dgees", call_gees(w, n, &wanted, -1), &wanted, 1));
    most = fmax(most, wanted);
    w->work_size = (size_t)most;
    DS_NEW_ARRAY(w->work, w->work_size);
done:
    if (status != DS_OK) ds_eigen_free(&w);
    *out = w;
    return status;
}

void ds_eigen_free(ds_eigen **workspace) {
    ds_eigen *w = *workspace;
    if (w == NULL) return;
    free(w->matrix);
    free(w->left);
    free(w->right);
    free(w->re);
    free(w->im);
    free(w->scale);
    free(w->radius);
    free(w->reach);
    free(w->seen);
    free(w->cluster);
    free(w->work);
    free(w);
    *workspace = NULL;
}

/* Insertion sort of the workspace's values into `values` (and reach into `bounds`), by real, then imaginary part. */
static void sort_values(ds_complex *values, double *bounds, size_t n, const ds_eigen *w) {
    for (size_t i = 0; i < n; i++) {
        ds_complex value = {w->re[i], w->im[i]};
        size_t at = i;
        while (at > 0 && (values[at - 1].re > value.re || (values[at - 1].re == value.re && values[at - 1].im > value.im))) {
            values[at] = values[at - 1];
            if (bounds != NULL) bounds[at] = bounds[at - 1];
            at--;
        }
        values[at] = value;
        if (bounds != NULL) bounds[at] = w->reach[i];
    }
}

/* Of the real Schur form T in w->matrix: the squares above its diagonal blocks, and (|b| - |c|)^2 for each standardised block
 * (a b; c a), whose eigenvalues a +- i sqrt(-bc) leave 2a^2 + b^2 + c^2 - 2(a^2 + |bc|). */
static double schur_departure(const ds_eigen *w, size_t n) {
    double sum = 0.0;
    for (size_t j = 0; j < n; j++) {
        for (size_t i = 0; i < j; i++) {
            double above = fabs(w->matrix[j * n + i]);
            if (i + 1 == j) above -= fabs(w->matrix[i * n + j]); /* below the diagonal: 0 outside a block */
            sum += above * above;
        }
    }
    return sqrt(sum);
}

ds_status ds_eigenvalues_approx(ds_complex *values, double *departure, const double *matrix, size_t n, ds_eigen *w) {
    ds_status status = DS_OK;
    if (departure != NULL) *departure = 0.0;
    DS_TRY(ds_check_order(n, w->order));
    if (n == 0) goto done;
    DS_TRY(ds_check_finite_input(matrix, n, n));
    ds_transpose(w->matrix, matrix, n, n);
    DS_TRY(ds_check_lapack("dgees", call_gees(w, (lapack_int)n, w->work, (lapack_int)w->work_size), w->re, n));
    DS_TRY(ds_check_lapack("dgees", 0, w->im, n));
    sort_values(values, NULL, n, w);
    if (departure != NULL) {
        *departure = schur_departure(w, n);
        DS_TRY(ds_check_lapack("dgees", 0, departure, 1));
    }
done:
    return status;
}

static ds_status solve_vectors(const double *matrix, size_t n, ds_eigen *w) {
    ds_status status = DS_OK;
    DS_TRY(ds_check_order(n, w->order));
    if (n == 0) goto done;
    DS_TRY(ds_check_finite_input(matrix, n, n));
    ds_transpose(w->matrix, matrix, n, n);
    DS_TRY(ds_check_lapack("dgeevx", call_geevx(w, (lapack_int)n, w->work, (lapack_int)w->work_size), w->re, n));
    DS_TRY(ds_check_lapack("dgeevx", 0, w->im, n));
    DS_TRY(ds_check_lapack("dgeevx", 0, w->left, n * n));
    DS_TRY(ds_check_lapack("dgeevx", 0, w->right, n * n));
done:
    return status;
}

/* Column `j` of a conjugate pair is stored as (real part, imaginary part) in the pair's two columns. */
static size_t pair_start(const ds_eigen *w, size_t j) { return w->im[j] < 0.0 ? j - 1 : j; }
static double imaginary_sign(const ds_eigen *w, size_t j) { return w->im[j] > 0.0 ? 1.0 : w->im[j] < 0.0 ? -1.0 : 0.0; }

ds_status ds_eigenvectors_approx(ds_complex *values, ds_complex *vectors, const double *matrix, size_t n, ds_eigen *w) {
    ds_status status = DS_OK;
    DS_TRY(solve_vectors(matrix, n, w));
    for (size_t j = 0; j < n; j++) {
        values[j] = (ds_complex){w->re[j], w->im[j]};
        const double *real = w->right + pair_start(w, j) * n;
        double sign = imaginary_sign(w, j);
        for (size_t i = 0; i < n; i++) vectors[i * n + j] = (ds_complex){real[i], sign == 0.0 ? 0.0 : sign * real[n + i]};
    }
done:
    return status;
}

/* ||A x - lambda x|| of the real vector or conjugate pair that starts at column j. */
static double residual(const double *matrix, size_t n, size_t j, const ds_eigen *w) {
    const double *real = w->right + j * n, *imag = real + n;
    bool pair = w->im[j] != 0.0;
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) {
        double re = -w->re[j] * real[i], im = 0.0;
        if (pair) {
            re += w->im[j] * imag[i];
            im = -w->re[j] * imag[i] - w->im[j] * real[i];
        }
        for (size_t k = 0; k < n; k++) {
            re += matrix[i * n + k] * real[k];
            if (pair) im += matrix[i * n + k] * imag[k];
        }
        sum += re * re + im * im;
    }
    return sqrt(sum);
}

/* s = |y^H x|, the reciprocal of the eigenvalue's condition number. */
static double alignment(size_t n, size_t j, const ds_eigen *w) {
    const double *x = w->right + j * n, *y = w->left + j * n;
    double re = 0.0, im = 0.0;
    for (size_t i = 0; i < n; i++) {
        re += y[i] * x[i];
        if (w->im[j] != 0.0) {
            re += y[n + i] * x[n + i];
            im += y[i] * x[n + i] - y[n + i] * x[i];
        }
    }
    return hypot(re, im);
}

static double distance(const ds_eigen *w, size_t i, size_t j) { return hypot(w->re[i] - w->re[j], w->im[i] - w->im[j]); }

/* Members of i's connected component of overlapping discs, by breadth-first search; returns how many. */
static size_t find_cluster(size_t i, size_t n, ds_eigen *w) {
    size_t members = 1;
    memset(w->seen, 0, n * sizeof *w->seen);
    w->cluster[0] = i;
    w->seen[i] = true;
    for (size_t at = 0; at < members; at++) {
        for (size_t j = 0; j < n; j++) {
            if (w->seen[j] || distance(w, w->cluster[at], j) > w->radius[w->cluster[at]] + w->radius[j]) continue;
            w->seen[j] = true;
            w->cluster[members++] = j;
        }
    }
    return members;
}

/* A disc alone: scaling row and column i of X^-1 (A + E) X by eta shrinks what the others add to disc i by eta and grows the
 * others by at most entry / eta; eta = 2 entry / gap keeps them apart, entry = max_j e / s_j being the largest element. */
static double isolated_bound(size_t i, size_t n, const ds_eigen *w) {
    double gap = INFINITY, entry = 0.0;
    for (size_t j = 0; j < n; j++) {
        if (j == i) continue;
        gap = fmin(gap, distance(w, i, j) - w->radius[i] - w->radius[j]);
        entry = fmax(entry, w->radius[j] / (double)n);
    }
    double shrunk = w->radius[i] / (double)n + 2.0 * w->radius[i] * entry / gap;
    return shrunk < w->radius[i] ? shrunk : w->radius[i];
}

ds_status ds_eigenvalues_estimate(ds_complex *values, double *bounds, const double *matrix, double perturbation, size_t n,
                                  ds_eigen *w) {
    ds_status status = DS_OK;
    if (!(perturbation >= 0.0)) return ds_fail(DS_ERR_USAGE, "a perturbation of norm %g, expected at least 0", perturbation);
    DS_TRY(solve_vectors(matrix, n, w));
    double norm = ds_frobenius_norm(matrix, n * n);
    /* The QR algorithm applies about 2n reflections per column, each with an error of a few u: ||E|| <= c n u ||A||_F. */
    double error = perturbation + 4.0 * (double)n * ds_unit_roundoff(DS_F64) * norm, largest = 0.0;
    for (size_t j = 0; j < n; j++) largest = fmax(largest, residual(matrix, n, pair_start(w, j), w));
    error += largest;
    /* Every eigenvalue of the perturbed matrix is at most its norm: no bound need exceed what that allows. */
    for (size_t j = 0; j < n; j++)
        w->radius[j] = fmin((double)n * error / alignment(n, pair_start(w, j), w), 2.0 * norm + error);
    for (size_t i = 0; i < n; i++) {
        size_t members = find_cluster(i, n, w);
        w->reach[i] = members == 1 ? isolated_bound(i, n, w) : 0.0;
        for (size_t m = 0; members > 1 && m < members; m++)
            w->reach[i] = fmax(w->reach[i], distance(w, i, w->cluster[m]) + w->radius[w->cluster[m]]);
        w->reach[i] = fmin(w->reach[i], hypot(w->re[i], w->im[i]) + norm + error);
    }
    sort_values(values, bounds, n, w);
    DS_TRY(ds_check_lapack("dgeevx", 0, bounds, n));
done:
    return status;
}

double ds_spectral_radius(const ds_complex *values, size_t n) {
    double largest = 0.0;
    for (size_t i = 0; i < n; i++) {
        double modulus = hypot(values[i].re, values[i].im);
        if (!(modulus <= largest)) largest = modulus;
    }
    return largest;
}

double ds_complex_share(const ds_complex *values, size_t n) {
    size_t pairs = 0;
    for (size_t i = 0; i < n; i++) pairs += values[i].im != 0.0;
    return n == 0 ? 0.0 : (double)pairs / (double)n;
}

double ds_frobenius_norm(const double *matrix, size_t entries) {
    double largest = 0.0, sum = 0.0;
    for (size_t i = 0; i < entries; i++) {
        if (!(fabs(matrix[i]) <= largest)) largest = fabs(matrix[i]);
    }
    /* squares of numbers in this range neither overflow nor vanish beside the largest */
    if ((largest > 0x1p-400 && largest < 0x1p400) || largest == 0.0 || !isfinite(largest)) {
        for (size_t i = 0; i < entries; i++) sum += matrix[i] * matrix[i];
        return sqrt(sum);
    }
    for (size_t i = 0; i < entries; i++) sum += (matrix[i] / largest) * (matrix[i] / largest);
    return largest * sqrt(sum);
}
