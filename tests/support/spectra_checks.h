/* What is asserted of one product: enclosures against a 77-digit computation, estimates against enclosures. */
#ifndef DELTASCOPE_TESTS_SPECTRA_CHECKS_H
#define DELTASCOPE_TESTS_SPECTRA_CHECKS_H

#include "delta_cases.h"
#include "deltascope/delta.h"

/* Widest radii seen so far, so that a test can say the enclosures are of use. */
typedef struct spectra_seen {
    double disc, bound;
    double interval; /* in interval_unit of its product */
    size_t clusters, undecided;
    size_t counted; /* cases whose multiplicities the reference could count, eigenvalues and singular values both */
} spectra_seen;

/* n^(3/2) eps max(1, ||A||_2) of an n x n core A. LAPACK's own acceptance tests let an SVD leave ||A - U S V^T||_1 and the
 * defects of U and V at 50 n eps ||A||_1 each; sqrt(n) goes between the norms. An enclosure made from such factors has to be no
 * wider than the residual and half of both defects together, whichever kernels LAPACK runs on. */
double interval_unit(size_t order, double norm);
enum { INTERVAL_UNITS = 100 };

/* The d x d product at 256 bits, its eigenvalues and those of P^T P by Arb's own algorithms: every disc and interval holds as
 * many as it says, everything else is 1, verdicts are true. */
void check_certificate(const delta_case *example, ds_certifier *certifier, spectra_seen *seen);
/* Approximate eigenvalues and singular values lie within their stated bounds of the enclosed ones. */
void check_estimates(const delta_case *example, ds_certifier *certifier, ds_product_solver *solver, spectra_seen *seen);

#endif
