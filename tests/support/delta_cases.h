/* Random products of delta operators, biased towards the corners: repeated, nearly parallel, opposite and zero directions,
 * axes, gates at and near 0, 1 and 2, a few beyond. */
#ifndef DELTASCOPE_TESTS_DELTA_CASES_H
#define DELTASCOPE_TESTS_DELTA_CASES_H

#include "deltascope/base.h"

enum { CASE_HIDDEN = 96, CASE_SUBLAYERS = 40 };

typedef struct delta_case {
    size_t hidden, sublayers;
    double beta[CASE_SUBLAYERS];
    double mult;                                     /* m */
    double c[CASE_SUBLAYERS];                        /* m beta, rounded */
    double directions[CASE_SUBLAYERS * CASE_HIDDEN]; /* (S,d) */
} delta_case;

/* d in 1..most_hidden and S in 0..most_sublayers, about one in eight with S > d. With `plain` only gates in [0,2]. */
void make_delta_case(delta_case *out, size_t most_hidden, size_t most_sublayers, bool plain, ds_random *random);
/* Like a plain case, but the last gate is set by bisection where a real pair of eigenvalues meets and turns complex: a
 * defective matrix to within rounding. False when no such gate was met. */
bool make_defective_case(delta_case *out, size_t most_hidden, size_t most_sublayers, ds_random *random);
/* The product by d x d arithmetic: matrix (d,d) <- A_{last-1} ... A_first. */
void multiply_densely(double *matrix, const delta_case *example, size_t first, size_t last);

#endif
