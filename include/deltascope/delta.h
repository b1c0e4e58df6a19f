/* delta: the delta operator itself, A = I - c k k^T with c = m beta, and its products over depth.
 *
 * With b = c |k|^2 (MODEL.md "Delta update"; arXiv:2601.00417, Proposition 2.1) A has the eigenvalue 1 - b along k and 1 on
 * the d - 1 directions orthogonal to it; det A = 1 - b; ||A^T A - I||_2 = |(1 - b)^2 - 1|. On a state of dv channels it acts on
 * each channel, so every eigenvalue appears dv times and the determinant is (1 - b)^dv.
 *
 * Everything is double. Matrices are row-major and contiguous; a direction is (d). */
#ifndef DELTASCOPE_DELTA_H
#define DELTASCOPE_DELTA_H

#include "deltascope/base.h"
#include "deltascope/spectra.h"

DS_BEGIN_DECLARATIONS

/* ---- one operator ------------------------------------------------------------------------------------------------ */

/* CONTRACT "gates": identity b < tol; damped tol <= b < 1 - tol; projection 1 - tol <= b <= 1 + tol; over_relaxed
 * 1 + tol < b <= 2 - tol; reflection b > 2 - tol. */
typedef enum ds_regime {
    DS_REGIME_IDENTITY,
    DS_REGIME_DAMPED,
    DS_REGIME_PROJECTION,
    DS_REGIME_OVER_RELAXED,
    DS_REGIME_REFLECTION,
    DS_REGIME_COUNT
} ds_regime;
ds_regime ds_regime_of(double b, double tolerance); /* b finite, 0 <= tolerance < 1/2 */
const char *ds_regime_name(ds_regime regime);

static inline double ds_delta_eigenvalue(double b) { return 1.0 - b; }
static inline double ds_delta_determinant(double b) { return 1.0 - b; }
/* |(1 - b)^2 - 1| = |b (b - 2)|, the second form without cancellation. */
double ds_delta_orthogonality_defect(double b);
/* log |1 - b|; -infinity for b = 1. */
double ds_delta_log_abs_det(double b);
/* log |1 - c |k|^2| of the operator as given, k (d), with digits left also where c |k|^2 rounds to 1; *bound is on its error,
 * infinite when even twice the working precision cannot tell it from -infinity. */
double ds_delta_log_abs_det_of(double *bound, double c, const double *k, size_t d);

/* x (planes, d) <- A x on each plane. A is symmetric: its adjoint is the same call. */
void ds_delta_apply(double *x, const double *k, double c, size_t planes, size_t d);
/* x (planes, d) <- A x + c k v_j on plane j; v (planes). MODEL.md "Delta update" in the layout of model.h. */
void ds_delta_update(double *x, const double *k, double c, const double *v, size_t planes, size_t d);
/* matrix (d,d) <- A. */
void ds_delta_matrix(double *matrix, const double *k, double c, size_t d);

/* ---- one operator solved densely, to hold theory against LAPACK -------------------------------------------------- */

typedef struct ds_dense_operator {
    double eigenvalue;           /* the one farthest from 1 (dsyevd) */
    double determinant;          /* dgetrf */
    double orthogonality_defect; /* ||A^T A - I||_2 (dsyevd) */
    double max_eigenvalue_error; /* max over all d eigenvalues of |computed - theory|: 1 - b once and 1 otherwise */
} ds_dense_operator;

typedef struct ds_dense ds_dense;
ds_status ds_dense_new(ds_dense **out, size_t hidden) DS_MUST_CHECK;
void ds_dense_free(ds_dense **workspace); /* sets NULL; NULL is fine */
ds_status ds_dense_solve(ds_dense_operator *out, const double *k, double c, size_t d, ds_dense *workspace) DS_MUST_CHECK;

/* ---- products over depth -------------------------------------------------------------------------------------------
 *
 * P = A_{S-1} ... A_0 moves nothing orthogonal to its directions. Let K (d,S) hold them as columns and K = Q R be its
 * Householder factorisation, Q (d,r) orthonormal, r = min(S, d). Then P = I - Q Q^T + Q M Q^T with the core
 *
 *     M = (I - c_{S-1} r_{S-1} r_{S-1}^T) ... (I - c_0 r_0 r_0^T)          (r,r),   r_s = column s of R,
 *
 * so the r values of M are all the eigenvalues and singular values of P that can differ from 1, and ||P - I||_F = ||M - I||_F.
 * (P = I - K T K^T with S x S triangular T is the same thing in the coordinates K; orthonormal ones need no inverse and stay
 * accurate for repeated, nearly parallel and zero directions.) R, Q and M of a prefix are leading parts of those of the
 * whole, so pushing one sublayer costs O(d S) and gives every prefix depth on the way. */

typedef struct ds_product ds_product;
ds_status ds_product_new(ds_product **out, size_t hidden, size_t sublayers) DS_MUST_CHECK; /* for up to so many */
void ds_product_free(ds_product **product);                                                /* sets NULL; NULL is fine */

void ds_product_restart(ds_product *product); /* back to depth 0: P = I */
/* P <- (I - c k k^T) P. k and c must be finite, and so must b. */
ds_status ds_product_push(ds_product *product, const double *k, double c) DS_MUST_CHECK;
/* restart, then pushes sublayers first .. last-1 of directions (S,d) and c (S): the window A_{last-1} ... A_first. */
ds_status ds_product_window(ds_product *product, const double *directions, const double *c, size_t first,
                            size_t last) DS_MUST_CHECK;

size_t ds_product_depth(const ds_product *product);             /* sublayers pushed */
size_t ds_product_order(const ds_product *product);             /* r = min(depth, d) */
void ds_product_core(double *core, const ds_product *product);  /* M (r,r) */
double ds_product_log_abs_det(const ds_product *product);       /* sum of log |1 - b_s|; -infinity when some b_s = 1 */
double ds_product_log_abs_det_bound(const ds_product *product); /* on its error, for the directions and c as given */
double ds_product_frobenius_defect(const ds_product *product);  /* ||P - I||_F = ||M - I||_F */
double ds_product_mean_square(const ds_product *product);       /* ||P||_F^2 / d, the mean squared singular value */
/* Bound on the 2-norm of what rounding did to M: the computed M is that close to the core of the exact product in some
 * orthonormal basis, so singular values are, and eigenvalues up to their conditioning. */
double ds_product_rounding(const ds_product *product);

/* x (planes, d) <- P x, and <- P^T x, by S rank-one updates: O(d S) a plane. */
void ds_product_apply(double *x, const ds_product *product, size_t planes);
void ds_product_apply_adjoint(double *x, const ds_product *product, size_t planes);
/* matrix (d,d) <- P. */
void ds_product_matrix(double *matrix, const ds_product *product);

/* survival (depth): k_a^T A_{S-1} ... A_{a+1} k_a / |k_a|^2, the part of what sublayer a wrote along k_a that the end still
 * holds along k_a; 0 for k_a = 0. scratch (d). */
void ds_product_survival(double *survival, const ds_product *product, double *scratch);
/* overlap (depth, depth): k_a^T k_b. */
void ds_product_gram(double *gram, const ds_product *product);

/* How a product adds up along features: the gains by which manifold-constrained hyper-connections judge a residual map. */
typedef struct ds_gains {
    double row_sum_min, row_sum_max;       /* of the entries of P 1: what a constant input becomes */
    double column_sum_min, column_sum_max; /* of the entries of P^T 1: what a constant gradient becomes */
    double amax_forward, amax_backward;    /* max |row sum|, max |column sum| */
} ds_gains;
/* scratch (d). O(d S). */
void ds_product_gains(ds_gains *gains, const ds_product *product, double *scratch);
/* The induced norms max_i sum_j |P_ij| (rows) and max_j sum_i |P_ij| (columns). An isometry may score up to sqrt(d) here.
 * scratch (d,d). O(d^2 S). */
void ds_product_absolute_gains(double *rows, double *columns, const ds_product *product, double *scratch);

/* ---- the spectrum of a product ----------------------------------------------------------------------------------- */

/* Scalars of one accumulated product, names as in CONTRACT "spectrum". */
typedef struct ds_product_summary {
    double log_abs_det, log_abs_det_bound; /* of |det P|, and on its error for the directions and c as given */
    double departure_from_normality, frobenius_defect, mean_squared_singular_value;
    double norm2, smallest, spectral_radius; /* of P: where d > r its d - r values that are exactly 1 take part */
    double span_norm2, span_radius;          /* of M alone: P on the span of its directions */
    double complex_share;                    /* of M's eigenvalues, the fraction in conjugate pairs */
    /* Two identities checked on every product: sum log sigma = log |det P|, and norm2 <= 1 where every b is in [0,2]. An error
     * above its tolerance, or not comparable with it, is a fault of arithmetic. */
    double determinant_error,
        determinant_tolerance;          /* |sum log sigma - sum log |1 - b||; 0, 0 where a sigma is below resolution */
    double norm_excess, norm_tolerance; /* max(0, norm2 - 1); 0, 0 where some b is outside [0,2] */
} ds_product_summary;

typedef struct ds_product_solver ds_product_solver;
ds_status ds_product_solver_new(ds_product_solver **out, size_t hidden, size_t sublayers) DS_MUST_CHECK;
void ds_product_solver_free(ds_product_solver **solver); /* sets NULL; NULL is fine */

/* With r = ds_product_order: eigenvalues (r) ascending by real, then imaginary part; bounds (r) an estimate of each one's error
 * against the exact product; singular_values (r) ascending. Any of the three, and summary, may be NULL; without bounds no
 * eigenvectors are computed. *singular_bound, unless NULL: the same estimate for every singular value. */
ds_status ds_product_spectrum_estimate(ds_complex *eigenvalues, double *bounds, double *singular_values, double *singular_bound,
                                       ds_product_summary *summary, const ds_product *product,
                                       ds_product_solver *solver) DS_MUST_CHECK;

/* singular (r) ascending: the singular values of K, the directions side by side, for ds_effective_rank and its kin. They are
 * those of R. */
ds_status ds_product_directions_approx(double *singular, const ds_product *product, ds_product_solver *solver) DS_MUST_CHECK;

DS_END_DECLARATIONS

#endif
