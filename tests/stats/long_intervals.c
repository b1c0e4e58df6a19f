/* The tables of src/stats/README.md: how often intervals and p-values keep what they claim, by the shape of the values and
 * their number. */
#include <math.h>
#include <stdio.h>

#include "interval_coverage.h"
#include "support.h"

enum { SEED = 20261128, SETS = 10000, RESAMPLES = 2000 };

static const size_t counts[] = {4, 5, 6, 7, 8, 9, 10, 12, 16, 24, 32, 64};
enum { COUNTS = sizeof counts / sizeof *counts };

/* Normal: never less than claimed. Exponential: what src/stats/README.md says of every number of windows. */
static const double least_held[SHAPES] = {0.95, 0.935, 0.88};
static const double most_rejected_few[SHAPES] = {0.05 / 8, 0.020, 0.036};

static void test_means(void **state) {
    (void)state;
    (void)printf("| windows | shape | intervals that hold the mean | p <= 0.05 | p <= 0.05/8 | width over Student's |\n");
    for (size_t c = 0; c < COUNTS; c++) {
        for (int s = 0; s < SHAPES; s++) {
            mean_coverage found = coverage_of_mean((shape)s, counts[c], SETS, RESAMPLES, SEED + c);
            (void)printf("| %zu | %s | %.1f%% | %.2f%% | %.2f%% | %.2f |\n", counts[c], shape_names[s], 100 * found.held,
                         100 * found.rejected, 100 * found.rejected_few, found.width);
            assert_true(found.held > least_held[s] - share_error(least_held[s], SETS));
            assert_true(found.rejected < 1 - least_held[s] + share_error(least_held[s], SETS));
            assert_true(found.rejected_few < most_rejected_few[s] + share_error(most_rejected_few[s], SETS));
        }
    }
}

/* Why it is this interval: every other one holds less, of skewed differences at 8 windows below all. */
static void test_others(void **state) {
    (void)state;
    static const size_t few[] = {8, 16, 64};
    (void)printf("| windows | shape | Student | bootstrap-t | BCa | sign flips |\n");
    for (size_t c = 0; c < sizeof few / sizeof *few; c++) {
        for (int s = 0; s < SHAPES; s++) {
            other_coverage found = coverage_of_others((shape)s, few[c], SETS, RESAMPLES / 2, SEED + c);
            (void)printf("| %zu | %s | %.1f%% | %.1f%% | %.1f%% | %.1f%% |\n", few[c], shape_names[s], 100 * found.student,
                         100 * found.bootstrap_t, 100 * found.bca, 100 * found.sign_flips);
            double lost = share_error(0.95, SETS);
            if (s == SHAPE_NORMAL) assert_true(fabs(found.student - 0.95) < lost && found.bca < 0.95 + lost);
            if (s != SHAPE_NORMAL) assert_true(found.student < 0.95 && found.bca < 0.95 && found.sign_flips < 0.95);
        }
    }
}

static void test_correlations(void **state) {
    (void)state;
    static const size_t pairs_counts[] = {5, 6, 8, 12, 16, 24, 48};
    static const double rhos[] = {0, 0.5, 0.9, 0.99};
    const size_t sets = 4000;
    (void)printf("| pairs | rho | how many | Pearson | Spearman | Fisher alone | Bonett and Wright alone |\n");
    for (int p = 0; p < PAIRS; p++) {
        for (size_t r = 0; r < sizeof rhos / sizeof *rhos; r++) {
            for (size_t c = 0; c < sizeof pairs_counts / sizeof *pairs_counts; c++) {
                correlation_coverage found = coverage_of_correlation((pairs)p, rhos[r], pairs_counts[c], sets, SEED + c);
                (void)printf("| %s | %.2f | %zu | %.1f%% | %.1f%% | %.1f%% | %.1f%% |\n", pairs_names[p], rhos[r],
                             pairs_counts[c], 100 * found.pearson, 100 * found.spearman, 100 * found.fisher,
                             100 * found.bonett_wright);
                assert_true(found.pearson > 0.92 - share_error(0.92, sets));
                assert_true(found.spearman > 0.94 - share_error(0.94, sets));
            }
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_means),
        cmocka_unit_test(test_others),
        cmocka_unit_test(test_correlations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
