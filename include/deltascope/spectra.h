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

DS_BEGIN_DECLARATIONS

typedef struct ds_complex {
    double re, im;
} ds_complex;

/* ---- eigenvalues of a general matrix ----------------------------------------------------------------------------- */

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

/* ---- singular values --------------------------------------------------------------------------------------------- */

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

/* How many directions a spectrum (n, ascending, >= 0) fills; all 0 for a zero matrix.
 * Effective rank: exp of the entropy of sigma_i / sum sigma (Roy and Vetterli 2007). Stable rank: ||W||_F^2 / ||W||_2^2.
 * Participation ratio: (sum sigma^2)^2 / sum sigma^4. */
double ds_effective_rank(const double *singular, size_t n);
double ds_stable_rank(const double *singular, size_t n);
double ds_participation_ratio(const double *singular, size_t n);

/* ---- symmetric eigenvalues and determinants ---------------------------------------------------------------------- */

typedef struct ds_symmetric ds_symmetric;
ds_status ds_symmetric_new(ds_symmetric **out, size_t order) DS_MUST_CHECK;
void ds_symmetric_free(ds_symmetric **workspace); /* sets NULL; NULL is fine */

/* values (n) ascending; vectors (n,n), unless NULL: column j belongs to values[j]. The upper triangle is read (dsyevd). */
ds_status ds_symmetric_eigen_approx(double *values, double *vectors, const double *matrix, size_t n,
                                    ds_symmetric *workspace) DS_MUST_CHECK;
/* Product of the pivots of an LU factorisation (dgetrf) of any square matrix. */
ds_status ds_determinant_approx(double *determinant, const double *matrix, size_t n, ds_symmetric *workspace) DS_MUST_CHECK;
/* The same, and *perturbation: up to n roundings of the product, the determinant is that of matrix + E, ||E||_2 <= n u
 * sqrt(||M||_1 ||M||_inf), M = |L| |U| of the factors found (Higham, Accuracy and Stability, Theorem 9.3). */
ds_status ds_determinant_estimate(double *determinant, double *perturbation, const double *matrix, size_t n,
                                  ds_symmetric *workspace) DS_MUST_CHECK;

/* ---- singular values of an operator known by its products -------------------------------------------------------- */

/* A (rows, columns) by what it does to vectors. */
typedef struct ds_linear_map {
    size_t rows, columns;
    ds_status (*apply)(void *context, double *y, const double *x);   /* y (rows) <- A x */
    ds_status (*adjoint)(void *context, double *x, const double *y); /* x (columns) <- A^T y */
    void *context;
} ds_linear_map;

typedef struct ds_lanczos_options {
    size_t count;      /* largest singular values wanted */
    size_t most_steps; /* of the iteration; each takes one apply, one adjoint, and rows + columns doubles */
    double tolerance;  /* a value has converged when its residual is at most tolerance * the largest value */
    uint64_t seed;     /* of the start vector, normal in every direction */
} ds_lanczos_options;

/* The largest singular values of a map, and a quadrature for the density of all of them. */
typedef struct ds_lanczos {
    size_t count, steps; /* count = min(wanted, rows, columns, steps) */
    size_t converged;    /* of the first values, how many meet the tolerance */
    double *values;      /* (count) descending */
    double *residuals;   /* (count) sqrt((|A v - s u|^2 + |A^T u - s v|^2) / 2), unit u and v, by one more product each: some
                            singular value of A is at most this far from s (the symmetric eigenvalue problem of (0 A; A^T 0)) */
    double *left;        /* (count, rows) u */
    double *right;       /* (count, columns) v */
    double *nodes;   /* (steps) descending: the mean over all singular values of f(sigma) is about sum weights f(nodes), with */
    double *weights; /* (steps) >= 0, sum 1: Gauss quadrature of the start vector's spectral measure, one Hutchinson probe,
                            whose standard error is of the order sqrt(2 / min(rows, columns)) (Ubaru, Chen and Saad 2017) */
} ds_lanczos;

/* Golub-Kahan-Lanczos bidiagonalisation with full reorthogonalisation (twice); an invariant subspace is left by a new random
 * vector, so that repeated values are found as often as they occur, and after min(rows, columns) steps all are there. Stops
 * when `count` values have converged. */
ds_status ds_lanczos_run(ds_lanczos *out, const ds_linear_map *map, const ds_lanczos_options *options) DS_MUST_CHECK;
void ds_lanczos_release(ds_lanczos *result);

/* ---- proved enclosures ------------------------------------------------------------------------------------------- */

/* Ball arithmetic (Arb): every statement below is a theorem about the numbers given, taken as exact binary numbers. A
 * ds_certifier serves one thread at a time. */

/* A closed disc holding exactly `multiplicity` eigenvalues, counted algebraically. Discs of one result are disjoint, so a disc
 * with a real centre and multiplicity 1 holds a real eigenvalue. */
typedef struct ds_disc {
    ds_complex centre;
    double radius;
    size_t multiplicity;
} ds_disc;

/* [value - radius, value + radius] holding exactly `multiplicity` singular values; intervals of one result are disjoint. */
typedef struct ds_interval {
    double value, radius;
    size_t multiplicity;
} ds_interval;

typedef enum ds_verdict { DS_UNDECIDED, DS_PROVED, DS_REFUTED } ds_verdict;
const char *ds_verdict_name(ds_verdict verdict); /* "undecided", "proved", "refuted" */

typedef struct ds_certifier ds_certifier;
/* For products of up to `sublayers` operators on `hidden` features, and matrices of order up to min(sublayers, hidden). */
ds_status ds_certifier_new(ds_certifier **out, size_t hidden, size_t sublayers) DS_MUST_CHECK;
void ds_certifier_free(ds_certifier **certifier); /* sets NULL; NULL is fine */

/* Views into the certifier, valid until its next use. */
typedef struct ds_certificate {
    size_t order;        /* r = min(S, d): the values that can differ from 1; multiplicities add up to it */
    long precision_bits; /* of the ball arithmetic */
    size_t eigenvalue_count, singular_value_count;
    const ds_disc *eigenvalues;          /* ascending by real, then imaginary part of the centre */
    const ds_interval *singular_values;  /* ascending */
    ds_interval log_abs_det;             /* -infinity, radius 0, when det P = 0 */
    ds_interval frobenius_defect;        /* ||P - I||_F */
    ds_verdict eigenvalues_in_unit_disk; /* every |lambda| <= 1 */
    ds_verdict contraction;              /* every sigma <= 1 */
    ds_verdict radius_below_one;         /* spectral radius < 1 on the span of the directions */
    ds_verdict invertible;               /* det P != 0; never undecided */
} ds_certificate;

/* The product P = A_{S-1} ... A_0 of A_s = I - m beta_s k_s k_s^T with directions (S,d) and beta (S).
 *
 * Core. With S <= d, K = Q L^T for the pivoted Cholesky factor L of the Gram matrix K^T K in balls. Where a pivot cannot be
 * told from zero the rest of the Schur complement, positive semidefinite, has some factor whose rows are no longer than the
 * square roots of its diagonal: those bounds are its balls, so that dependent directions are no special case. P is then
 * Q M Q^T on the span and the identity beside it, M = product of (I - c_s l_s l_s^T), l_s row s of L. With S > d, Q = I.
 * Precision doubles until M is known well, and again while discs are wide: m eigenvalues of one Jordan block feel the m-th root
 * of M's error.
 * Eigenvalues. For LAPACK's approximate eigenvectors X, B = X^-1 M X in balls; Gershgorin's discs, each connected component I
 * apart from the others scaled by its own diagonal matrix (eta on the others), hold exactly |I| eigenvalues, with radius
 * of second order in B's off-diagonal part. A component too wide is tried again with eigenvectors of full precision, then
 * without any: where eigenvectors coincide, by the characteristic polynomial p, enclosed in two to eight times as many bits.
 * diag(z) - w 1^T with w_j = p(z_j) / prod_{i != j} (z_j - z_i) has it too, for any points z (Smith 1970), and Gershgorin's
 * discs for that are as wide as the points of a cluster lie apart: the approximate eigenvalues, those of a cluster moved to a
 * small regular polygon about their mean.
 * Singular values. For LAPACK's U, V made orthogonal to full precision, E = U^T M V in balls: by Weyl's theorem each is within
 * ||E - diag||_F of a diagonal entry, by Kato and Temple's within the square of that over the gap where there is one, up to
 * the factors by which U and V fail to be orthogonal (Ostrowski).
 * Verdicts. b_s = m beta_s |k_s|^2 is computed exactly. det P = prod (1 - b_s). All b_s in [0,2]: every A_s, hence P, is a
 * contraction. All b_s in (0,2) (or k_s = 0): |P x| = |x| forces k_0 . x = 0, so A_0 x = x, and so on to the last: x is
 * orthogonal to the span, so P is a strict contraction on the span. All b_s in {0,2}: P is orthogonal there. Otherwise the
 * enclosures decide. */
ds_status ds_product_enclose(ds_certificate *out, const double *directions, const double *beta, double mult, size_t sublayers,
                             size_t hidden, ds_certifier *certifier) DS_MUST_CHECK;

/* The same enclosures for any matrix (n,n), n at most the certifier's order. Room for n results. */
ds_status ds_eigenvalues_enclose(ds_disc *discs, size_t *count, const double *matrix, size_t n,
                                 ds_certifier *certifier) DS_MUST_CHECK;
ds_status ds_singular_values_enclose(ds_interval *intervals, size_t *count, const double *matrix, size_t n,
                                     ds_certifier *certifier) DS_MUST_CHECK;

/* This room's part of ds_process_hooks (run.h): GMP and FLINT end by ds_give_up when memory runs out. */
void ds_spectra_hooks(void);
/* Appends "NAME VERSION" lines of the libraries this room runs with. */
ds_status ds_spectra_libraries(ds_text *text) DS_MUST_CHECK;

DS_END_DECLARATIONS

#endif
