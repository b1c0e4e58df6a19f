/* The parts of a proved spectrum. Nothing here decides with rounded arithmetic: mag_t bounds upwards, arb_t encloses, and a
 * double result is an exact number whose distance to the ball it stands for is in its radius. */
#ifndef SPECTRA_ENCLOSE_H
#define SPECTRA_ENCLOSE_H

#include <acb_mat.h>
#include <arb_mat.h>

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
/* Disjoint discs, sorted, for every matrix within `matrix`. */
ds_status ds_arb_eigenvalues(ds_disc *discs, size_t *count, const arb_mat_t matrix, slong bits, ds_certifier *w) DS_MUST_CHECK;
/* Disjoint intervals, ascending, for every matrix within `matrix`. */
ds_status ds_arb_singular_values(ds_interval *intervals, size_t *count, const arb_mat_t matrix, slong bits,
                                 ds_certifier *w) DS_MUST_CHECK;

#endif
