/* Intervals from windows spread over a file hold the mean of the file as often as they claim; those of consecutive windows do
 * not. long_coverage has more of the same. */
#include "coverage.h"
#include "support.h"

enum { SEED = 20260701 };

static void test_simulated_text(void **state) {
    (void)state;
    enum { FILES = 400 };
    coverage independent = coverage_of_simulation(0, 0, 1000, 48, FILES, SEED);
    expect_nominal("independent losses", &independent, FILES, FILES);
    assert_true(independent.share[DS_SPREAD_CONSECUTIVE] > 0.95 - coverage_error(FILES));
    coverage neighbours = coverage_of_simulation(0.5, 0, 1000, 48, FILES, SEED + 1);
    expect_nominal("AR(1), rho = 0.5", &neighbours, FILES, FILES);
    assert_true(neighbours.share[DS_SPREAD_CONSECUTIVE] < 0.95 - coverage_error(FILES));
    coverage drift = coverage_of_simulation(0.3, 0.5, 1000, 48, FILES, SEED + 2);
    expect_nominal("AR(1), rho = 0.3, slow drift", &drift, FILES, FILES);
    assert_true(drift.share[DS_SPREAD_CONSECUTIVE] < 0.95 - coverage_error(FILES));
}

/* Placements of even windows differ in little but their phase, of which each case has windows / taken. */
static void test_trained_model(void **state) {
    (void)state;
    enum { WINDOWS = 480, TAKEN = 48 };
    size_t cases;
    coverage found = coverage_of_gates(&cases, "attn,mlp", WINDOWS, TAKEN, 300, SEED);
    expect_nominal("gates shut on held-out text", &found, found.intervals, cases * (WINDOWS / TAKEN));
    assert_true(found.share[DS_SPREAD_CONSECUTIVE] < 0.85);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_simulated_text),
        cmocka_unit_test(test_trained_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
