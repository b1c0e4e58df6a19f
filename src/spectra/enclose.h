/* The parts of a proved spectrum. Nothing here decides with rounded arithmetic: mag_t bounds upwards, arb_t encloses, and a
 * double result is an exact number whose distance to the ball it stands for is in its radius. */
#ifndef SPECTRA_ENCLOSE_H
#define SPECTRA_ENCLOSE_H

#include <acb_mat.h>
#include <acb_poly.h>
#include <arb_mat.h>
#include <arb_poly.h>

#include "deltascope/spectra.h"

struct ds_certifier {
    size_t hidden, sublayers, order; /* capacities; order = min */
    arb_ptr directions;              /* (S,d) exact */
    arb_ptr c;                       /* (S) m beta_s exact */
    arb_ptr b;                       /* (S) c_s |k_s|^2 exact */
    double *middle;                  /* (n,n) midpoints of the core */
    double *left, *right, *values;   /* (n,n), (n,n), (n) LAPACK's singular vectors and values */
    ds_complex *vectors, *roots;     /* (n,n), (n) LAPACK's eigenvectors and values */
    ds_disc *discs;                  /* (n) */
    ds_disc *again;                  /* (n) of the second attempt */
    ds_interval *intervals;          /* (n) */
    ds_eigen *eigen;
    ds_svd *svd;
};

/* Smallest double >= x, and the double ball around x. */
double ds_mag_upper(const mag_t x);
ds_interval ds_arb_interval(const arb_t x);
/* middle (n,n) <- midpoints rounded to double. */
void ds_arb_middle(double *middle, const arb_mat_t matrix);

/* c and b of every sublayer, exactly. */
void ds_exact_gates(ds_certifier *w, const double *beta, double mult, size_t sublayers, size_t hidden);
/* The core M (n,n) of the product, n = min(S, d), in `bits` of precision. */
void ds_enclose_core(arb_mat_t core, const ds_certifier *w, size_t sublayers, size_t hidden, slong bits);
/* b (n,n) <- diag(z) - w 1^T with w_j = p(z_j) / product over i != j of (z_j - z_i), whose characteristic polynomial is the
 * monic p of degree n, by Lagrange's interpolation (Smith 1970). The points z are the approximate roots, chains of which nearer
 * than `reach` are moved to `spacing` from their mean. Not finite where points coincide. */
void ds_cluster_matrix(acb_mat_t b, const arb_poly_t polynomial, acb_srcptr roots, const arf_t reach, const arf_t spacing,
                       slong bits);
/* Disjoint discs, sorted, for every matrix within `matrix`. */
ds_status ds_arb_eigenvalues(ds_disc *discs, size_t *count, const arb_mat_t matrix, slong bits, ds_certifier *w) DS_MUST_CHECK;
/* The widest disc of the last matrix (n,n) beside what rounding to double explains: above 1 another attempt is worth it. */
double ds_arb_excess(const ds_disc *discs, size_t count, size_t n, const ds_certifier *w);
/* Disjoint intervals, ascending, for every matrix within `matrix`. */
ds_status ds_arb_singular_values(ds_interval *intervals, size_t *count, const arb_mat_t matrix, slong bits,
                                 ds_certifier *w) DS_MUST_CHECK;

#endif
