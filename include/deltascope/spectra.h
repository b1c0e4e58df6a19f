/* spectra: eigenvalues, singular values and determinants of dense matrices, with what is known about their error.
 *
 * A name ends in the strength of its claim:
 *   _approx     what LAPACK returns; promises nothing.
 *   _estimate   comes with an a-posteriori error estimate from residual, conditioning and backward stability: expected to
 *               hold, not proved.
 *   _enclose    a proved enclosure, by ball arithmetic.
 *
 * Matrices are double, row-major and contiguous. Input with a NaN or infinity is DS_ERR_INPUT naming the element; LAPACK
 * failing to converge, or returning a NaN, is DS_ERR_SYSTEM. Nothing is allocated inside a computation: a workspace made for
 * some order serves every smaller one, and one thread at a time. */
#ifndef DELTASCOPE_SPECTRA_H
#define DELTASCOPE_SPECTRA_H

#include "deltascope/base.h"

typedef struct ds_complex {
    double re, im;
} ds_complex;

/* ---- eigenvalues of a general matrix ------------------------------------------------------------------------------------ */

typedef struct ds_eigen ds_eigen;
ds_status ds_eigen_new(ds_eigen **out, size_t order) DS_MUST_CHECK;
void ds_eigen_free(ds_eigen **workspace); /* sets NULL; NULL is fine */

/* values (n) ascending by real, then imaginary part; complex ones in conjugate pairs. From the real Schur form (dgees).
 * *departure, unless NULL, is Henrici's departure from normality sqrt(||A||_F^2 - sum |lambda|^2), taken from the Schur form's
 * off-diagonal part, so that it does not cancel. */
ds_status ds_eigenvalues_approx(ds_complex *values, double *departure, const double *matrix, size_t n,
                                ds_eigen *workspace) DS_MUST_CHECK;

/* values as above, and bounds (n): an estimate of |computed - exact|, where the exact matrix is anywhere within `perturbation`
 * (2-norm, >= 0) of the given one. With e = perturbation + backward error + largest residual, s_i = |y_i^H x_i| (unit left and
 * right eigenvectors) and Gershgorin's theorem for X^-1 (A + E) X, ||E|| <= e: discs of radius n e / s_i hold the eigenvalues,
 * a disc apart from the others to first order e / s_i (Golub and Van Loan, Matrix Computations, 7.2); discs that overlap
 * are one cluster, each of its values good to the cluster's extent. */
ds_status ds_eigenvalues_estimate(ds_complex *values, double *bounds, const double *matrix, double perturbation, size_t n,
                                  ds_eigen *workspace) DS_MUST_CHECK;

/* values (n), not sorted, and vectors (n,n): column j, of unit 2-norm, belongs to values[j]. From dgeevx. */
ds_status ds_eigenvectors_approx(ds_complex *values, ds_complex *vectors, const double *matrix, size_t n,
                                 ds_eigen *workspace) DS_MUST_CHECK;

double ds_spectral_radius(const ds_complex *values, size_t n);  /* max |lambda|; 0 for n = 0 */
double ds_complex_share(const ds_complex *values, size_t n);    /* fraction with a non-zero imaginary part; 0 for n = 0 */
double ds_frobenius_norm(const double *matrix, size_t entries); /* sqrt of the sum of squares, without overflow */

/* ---- singular values ------------------------------------------------------------------------------------------------------
 */

typedef struct ds_svd ds_svd;
ds_status ds_svd_new(ds_svd **out, size_t rows, size_t columns) DS_MUST_CHECK; /* for up to so many of each */
void ds_svd_free(ds_svd **workspace);                                          /* sets NULL; NULL is fine */

/* values (min(rows, columns)) ascending (dgesdd). */
ds_status ds_singular_values_approx(double *values, const double *matrix, size_t rows, size_t columns,
                                    ds_svd *workspace) DS_MUST_CHECK;
/* With r = min(rows, columns): values (r) ascending, left (rows, r) and right (r, columns) orthonormal, so that
 * matrix = left diag(values) right. */
ds_status ds_singular_vectors_approx(double *values, double *left, double *right, const double *matrix, size_t rows,
                                     size_t columns, ds_svd *workspace) DS_MUST_CHECK;
/* Estimate of the absolute error of every computed singular value, given the largest: dgesdd is backward stable and singular
 * values move by at most the norm of the perturbation (Weyl). */
double ds_singular_values_estimate(double largest, size_t rows, size_t columns);

/* ---- symmetric eigenvalues and determinants ---------------------------------------------------------------------------------
 */

typedef struct ds_symmetric ds_symmetric;
ds_status ds_symmetric_new(ds_symmetric **out, size_t order) DS_MUST_CHECK;
void ds_symmetric_free(ds_symmetric **workspace); /* sets NULL; NULL is fine */

/* values (n) ascending; vectors (n,n), unless NULL: column j belongs to values[j]. The upper triangle is read (dsyevd). */
ds_status ds_symmetric_eigen_approx(double *values, double *vectors, const double *matrix, size_t n,
                                    ds_symmetric *workspace) DS_MUST_CHECK;
/* Product of the pivots of an LU factorisation (dgetrf) of any square matrix. */
ds_status ds_determinant_approx(double *determinant, const double *matrix, size_t n, ds_symmetric *workspace) DS_MUST_CHECK;

/* Appends "NAME VERSION" lines of the libraries this room runs with. */
ds_status ds_spectra_libraries(ds_text *text) DS_MUST_CHECK;

#endif
