/* How often statements about made-up studies are wrong. */
#ifndef DELTASCOPE_TESTS_SEED_RATES_H
#define DELTASCOPE_TESTS_SEED_RATES_H

#include "interval_coverage.h"

/* Shares of studies of four variants whose runs have a share of their noise in common with those of the same seed, and which do
 * not differ but where it is said. */
typedef struct study_rates {
    double held, welch_held;       /* intervals of a difference that hold it: paired; n against n + 2, nothing shared */
    double t, sign_flip;           /* p < 0.05 of one contrast */
    double family, family_primary; /* any of four contrasts called better or worse: by Holm alone; the primary first */
    double equivalent_at_margin;   /* called equivalent, the difference being the margin, of 3 standard deviations */
    double equivalent;             /* the same, the difference being 0 */
    double found;                  /* p < 0.05, the difference being what power 0.8 takes */
} study_rates;
study_rates rates_of_studies(shape of, size_t n, size_t sets, uint64_t seed);

/* Intervals of crossed seeds that hold the mean: row, column and own effects are normal with these deviations; `cells`: by a t
 * interval that takes cells for independent. */
typedef struct crossed_rates {
    double held, cells;
} crossed_rates;
crossed_rates rates_of_crossed(size_t rows, size_t columns, const double deviations[3], size_t sets, uint64_t seed);

#endif
