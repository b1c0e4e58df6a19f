/* How often 95% intervals of made-up values hold what the values were made with. */
#ifndef DELTASCOPE_TESTS_INTERVAL_COVERAGE_H
#define DELTASCOPE_TESTS_INTERVAL_COVERAGE_H

#include <stddef.h>
#include <stdint.h>

#include "deltascope/base.h"

typedef enum shape { SHAPE_NORMAL, SHAPE_EXPONENTIAL, SHAPE_LOGNORMAL, SHAPES } shape;
extern const char *const shape_names[SHAPES];
/* Of mean 0. */
double shape_draw(shape of, ds_random *random);

/* Of the paired differences of one condition: independent, of that shape. */
typedef struct mean_coverage {
    double held;         /* share of intervals that hold the mean */
    double rejected;     /* share of p-values of a mean that is 0 at most 0.05 */
    double rejected_few; /* at most 0.05 / 8, as the first of eight has to be after Holm */
    double width;        /* median, over that of Student's interval */
} mean_coverage;
mean_coverage coverage_of_mean(shape of, size_t n, size_t sets, size_t resamples, uint64_t seed);

/* Shares of intervals by other methods that hold the mean, each computed the plain way; of sign flips, of tests that do not
 * reject mean 0 at 0.05. */
typedef struct other_coverage {
    double student, bootstrap_t, bca, sign_flips;
} other_coverage;
other_coverage coverage_of_others(shape of, size_t n, size_t sets, size_t resamples, uint64_t seed);

/* Pairs of independent draws: normal of correlation rho; both sides of those to the power of e; (e, rho e + sqrt(1 - rho^2) f)
 * of exponentials e and f, which no monotone change of the sides makes normal. */
typedef enum pairs { PAIRS_NORMAL, PAIRS_LOGNORMAL, PAIRS_SUM, PAIRS } pairs;
extern const char *const pairs_names[PAIRS];
typedef struct correlation_coverage {
    double pearson, spearman;     /* shares of intervals that hold the true coefficient */
    double fisher, bonett_wright; /* the same of intervals by normal theory alone, for numbers and for ranks */
} correlation_coverage;
correlation_coverage coverage_of_correlation(pairs of, double rho, size_t n, size_t sets, uint64_t seed);

/* Four standard errors of a share among `sets`. */
double share_error(double share, size_t sets);

#endif
