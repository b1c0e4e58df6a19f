/* How often intervals about a tail's exponent hold it: the numbers of src/stats/README.md. */
#include <math.h>

#include "deltascope/stats.h"
#include "support.h"

static const uint64_t SEED = 20261129;
enum { MOST = 300, TRIALS = 400 };

/* x (n): a law of exponent alpha from 1 on, after `below` values under 1 that follow none. */
static void draw(double *x, size_t n, size_t below, double alpha, ds_random *random) {
    for (size_t i = 0; i < n; i++)
        x[i] = i < below ? exp(-0.7 * fabs(ds_random_normal(random))) : pow(1 - ds_random_uniform(random), -1 / (alpha - 1));
}

static void test_coverage(void **state) {
    (void)state;
    static const size_t sizes[] = {48, 120, 300};
    static const double alphas[] = {2, 3, 4, 6};
    ds_random random = ds_random_init(SEED);
    print_message("seed %llu, %d samples each, shares held by 1.96 spreads and by 1.96 usual standard errors\n",
                  (unsigned long long)SEED, TRIALS);
    for (size_t at = 0; at < 24; at++) {
        size_t n = sizes[at / 8], below = at / 4 % 2 == 0 ? 0 : 2 * n / 3, held = 0, usual = 0;
        double x[MOST], alpha = alphas[at % 4];
        for (size_t t = 0; t < TRIALS; t++) {
            ds_power_law found;
            double spread;
            draw(x, n, below, alpha, &random);
            expect_ok(ds_power_law_fit(&found, x, n, 10));
            expect_ok(ds_power_law_spread(&spread, x, n, 10, ds_random_u64(&random)));
            held += fabs(found.alpha - alpha) <= 1.96 * spread;
            usual += fabs(found.alpha - alpha) <= 1.96 * found.alpha_stderr;
        }
        double share = (double)held / TRIALS, share_usual = (double)usual / TRIALS;
        print_message("%3zu values, %3zu below the law, exponent %g: %5.1f%% %5.1f%%\n", n, below, alpha, 100 * share,
                      100 * share_usual);
        if (!(share >= (below == 0 ? 0.92 : 0.8) && share > share_usual))
            fail_msg("held %zu times of %d, by usual standard errors %zu", held, TRIALS, usual);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_coverage)};
    return cmocka_run_group_tests_name("tail", tests, NULL, NULL);
}
