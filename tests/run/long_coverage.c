/* The table of src/run/README.md: how often 95% intervals of 64 windows hold the mean of their file, by how the windows lie. */
#include "coverage.h"
#include "support.h"

enum { SEED = 20260801, TAKEN = 64 };

static void test_simulated_text(void **state) {
    (void)state;
    enum { FILES = 2000, WINDOWS = 2000 };
    static const struct {
        const char *what;
        double rho, drift;
        bool nominal; /* consecutive windows are as good as any */
    } texts[] = {{"independent losses", 0, 0, true},
                 {"AR(1), rho = 0.3", 0.3, 0, false},
                 {"AR(1), rho = 0.6", 0.6, 0, false},
                 {"AR(1), rho = 0.9", 0.9, 0, false},
                 {"AR(1), rho = 0.3, slow drift", 0.3, 0.5, false}};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        coverage found = coverage_of_simulation(texts[i].rho, texts[i].drift, WINDOWS, TAKEN, FILES, SEED + i);
        expect_nominal(texts[i].what, &found, FILES, FILES);
        assert_int_equal(found.share[DS_SPREAD_CONSECUTIVE] > 0.95 - coverage_error(FILES), texts[i].nominal);
    }
}

/* All windows of the validation text. */
static void test_trained_model(void **state) {
    (void)state;
    enum { WINDOWS = 871 };
    size_t cases;
    coverage found = coverage_of_gates(&cases, "each,attn,mlp,all", WINDOWS, TAKEN, 400, SEED);
    expect_nominal("gates shut on held-out text", &found, found.intervals, cases * (WINDOWS / TAKEN));
    assert_true(found.share[DS_SPREAD_CONSECUTIVE] < 0.7);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_simulated_text),
        cmocka_unit_test(test_trained_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
