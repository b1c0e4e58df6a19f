/* How often intervals hold the truth: a slice of long_intervals.c. */
#include "interval_coverage.h"
#include "support.h"

enum { SEED = 104729, SETS = 1000, RESAMPLES = 1000 };

/* At least 93% for normal and 90% for exponential differences, and p-values accordingly: what is measured with more sets lies
 * four standard errors above. */
static void test_means(void **state) {
    (void)state;
    static const size_t counts[] = {4, 7, 24};
    static const double least[] = {[SHAPE_NORMAL] = 0.93, [SHAPE_EXPONENTIAL] = 0.90};
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
        for (int s = SHAPE_NORMAL; s <= SHAPE_EXPONENTIAL; s++) {
            mean_coverage found = coverage_of_mean((shape)s, counts[c], SETS, RESAMPLES, SEED + c);
            assert_true(found.held > least[s] && found.rejected < 1 - least[s]);
            assert_true(found.held < 0.995 && found.width > 0.999);
        }
    }
}

static void test_correlations(void **state) {
    (void)state;
    static const size_t counts[] = {5, 8, 16};
    static const double rhos[] = {0, 0.9, 0.99};
    for (size_t c = 0; c < 3; c++) {
        for (int p = 0; p < PAIRS; p++) {
            correlation_coverage found =
                coverage_of_correlation((pairs)p, rhos[(c + (size_t)p) % 3], counts[c], SETS, SEED + c);
            assert_true(found.pearson > 0.9 && found.spearman > 0.93);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_means),
        cmocka_unit_test(test_correlations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
