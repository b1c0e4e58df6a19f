/* How often 95% intervals from N windows of a file hold the mean of all its windows, by how the windows lie. */
#ifndef DELTASCOPE_TESTS_COVERAGE_H
#define DELTASCOPE_TESTS_COVERAGE_H

#include "deltascope/run.h"

enum { COVERAGE_SPREADS = 3 }; /* even, random, consecutive: as in ds_spread */

/* Shares of intervals that hold the mean, over `intervals` of them for each spread. */
typedef struct coverage {
    double share[COVERAGE_SPREADS];
    size_t intervals;
} coverage;

/* losses (cases, windows) of a real file: `draws` pieces of it, each of at least half the file and drawn by the seed, have
 * `taken` windows looked at in each way; a stretch of consecutive ones begins anywhere. */
coverage coverage_of_file(const double *losses, size_t cases, size_t windows, size_t taken, size_t draws, uint64_t seed);

/* `files` simulated ones of `windows` losses: x_w = rho x_{w-1} + e_w, and a sine of `drift` standard deviations with one
 * period in the file, of random phase. */
coverage coverage_of_simulation(double rho, double drift, size_t windows, size_t taken, size_t files, uint64_t seed);

/* Shut gates of the trained model, over the first `windows` windows of the validation text standing for a file; *cases <- how
 * many there are. */
coverage coverage_of_gates(size_t *cases, const char *scopes, size_t windows, size_t taken, size_t draws, uint64_t seed);

/* Four standard errors of a share of 0.95 among that many independent intervals. */
double coverage_error(size_t independent);

/* Prints a line, and fails unless random windows hold the mean as often as an interval claims, or as little more often as it
 * is wider than need be, and even ones at least as often: what drifts is seen in all its phases, so that they may do so more
 * often. The errors are those of so many independent intervals. */
void expect_nominal(const char *what, const coverage *found, size_t random, size_t even);

#endif
