/* Single operators against theory: what rounding alone does is accepted for any direction and gate, a breach is refused. */
#include <math.h>

#include "deltascope/measure/shortcut_operators.h"
#include "support.h"

/* Directions of four kinds: spread out, two features alone, sizes over many orders of magnitude, far too short to matter. */
static void fill(ds_directions *directions, double most_c, ds_random *random) {
    for (size_t cell = 0; cell < directions->tokens * directions->sublayers; cell++) {
        size_t d = directions->hidden;
        double *k = directions->k + cell * d, squares = 0;
        for (size_t i = 0; i < d; i++) {
            k[i] = ds_random_normal(random);
            if (cell % 4 == 1 && i > 1) k[i] = 0;
            if (cell % 4 == 2) k[i] *= exp(-20 * ds_random_uniform(random));
            squares += k[i] * k[i];
        }
        double length = cell % 4 == 3 ? 1e-9 : 1 - 1e-6 * ds_random_uniform(random);
        for (size_t i = 0; i < d; i++) k[i] *= length / sqrt(squares);
        directions->c[cell] = most_c * ds_random_uniform(random);
    }
}

static void test_sound_operators_hold(void **state) {
    (void)state;
    static const size_t sizes[] = {1, 2, 7, 33, 130};
    const uint64_t seed = 20260731;
    ds_random random = ds_random_init(seed);
    double worst = 0;
    print_message("seed %llu\n", (unsigned long long)seed);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        for (size_t m = 1; m <= 3; m++) { /* beyond 1 the residual multiplier makes operators that stretch */
            ds_directions directions;
            ds_operator_check check;
            expect_ok(ds_directions_init(&directions, 16, 4, sizes[i]));
            fill(&directions, 2 * (double)m, &random);
            expect_ok(ds_operator_check_run(&check, &directions, 64, seed));
            worst = ds_max_real(worst, check.max_eigenvalue_error / check.tolerance);
            worst = ds_max_real(worst, check.max_determinant_error / check.tolerance);
            worst = ds_max_real(worst, check.max_orthogonality_error / check.tolerance);
            ds_directions_release(&directions);
        }
    }
    print_message("largest error %.2g of its tolerance\n", worst);
    assert_true(worst > 0 && worst <= 1);
}

static void test_a_breach_is_refused(void **state) {
    (void)state;
    const double tolerance = ds_operator_tolerance(48, 1), wrong[] = {nextafter(tolerance, 1), 0.5, INFINITY, NAN};
    const ds_operator_check sound = {5, tolerance, tolerance / 3, tolerance / 7, tolerance};
    expect_ok(ds_operator_check_hold(&sound));
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        ds_operator_check broken[] = {sound, sound, sound};
        broken[0].max_eigenvalue_error = broken[1].max_determinant_error = broken[2].max_orthogonality_error = wrong[i];
        for (size_t b = 0; b < 3; b++) expect_failure(ds_operator_check_hold(&broken[b]), DS_ERR_SYSTEM, "break theory");
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_sound_operators_hold), cmocka_unit_test(test_a_breach_is_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
