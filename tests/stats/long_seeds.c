/* The tables of src/stats/README.md on seeds: how often what is said of a study is wrong. */
#include <math.h>
#include <stdio.h>

#include "seed_rates.h"
#include "support.h"

enum { SEED = 20261129, SETS = 2000 };

static void test_studies(void **state) {
    (void)state;
    static const size_t counts[] = {3, 5, 6, 8, 10, 16};
    (void)printf("| seeds | shape | t holds | Welch | p t | p flips | family | primary | at margin | equivalent | found |\n");
    for (int s = 0; s < SHAPES; s++) {
        for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
            const study_rates r = rates_of_studies((shape)s, counts[i], SETS, SEED + i);
            (void)printf("| %zu | %s | %.1f | %.1f | %.1f | %.1f | %.1f | %.1f | %.1f | %.1f | %.1f |\n", counts[i],
                         shape_names[s], 100 * r.held, 100 * r.welch_held, 100 * r.t, 100 * r.sign_flip, 100 * r.family,
                         100 * r.family_primary, 100 * r.equivalent_at_margin, 100 * r.equivalent, 100 * r.found);
            double due = 0.05 + share_error(0.05, SETS);
            /* A difference of two draws of one shape is symmetric: nothing rejects too often, whatever the shape. */
            assert_true(r.t < due && r.sign_flip < due && r.family < due && r.family_primary < due);
            assert_true(r.held > 1 - due && r.equivalent_at_margin < due);
            if (s == SHAPE_NORMAL) {
                assert_true(fabs(r.found - 0.8) < share_error(0.8, SETS) && fabs(r.t - 0.05) < due - 0.05);
                assert_true(r.welch_held > 1 - due);
            }
        }
    }
}

static void test_crossed(void **state) {
    (void)state;
    static const size_t sizes[][2] = {{2, 2}, {3, 3}, {2, 5}, {5, 3}};
    static const double deviations[][3] = {{1, 1, 1}, {1, 0, 1}, {1, 1, 0.1}, {0, 0, 1}, {0.3, 1, 1}};
    (void)printf("| rows | columns | deviations: rows, columns, rest | held | cells as if independent |\n");
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        for (size_t k = 0; k < sizeof deviations / sizeof deviations[0]; k++) {
            const crossed_rates r = rates_of_crossed(sizes[i][0], sizes[i][1], deviations[k], SETS, SEED + 10 * i + k);
            (void)printf("| %zu | %zu | %g, %g, %g | %.1f | %.1f |\n", sizes[i][0], sizes[i][1], deviations[k][0],
                         deviations[k][1], deviations[k][2], 100 * r.held, 100 * r.cells);
            assert_true(r.held > 0.94);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_studies),
        cmocka_unit_test(test_crossed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
