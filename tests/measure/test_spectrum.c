/* Single operators against theory: what rounding alone does is accepted for any direction and gate, a breach is refused. */
#include <math.h>

#include "deltascope/measure/direction_overlap.h"
#include "deltascope/measure/shortcut_operators.h"
#include "deltascope/spectra.h"
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

/* rows (n,d) <- U diag(s) V^T with s on the diagonal, U and V each a product of two reflections. */
static void with_singular_values(double *rows, const double *s, size_t n, size_t d, ds_random *random) {
    double w[512];
    for (size_t i = 0; i < n * d; i++) rows[i] = i / d == i % d ? s[i / d] : 0;
    for (size_t side = 0; side < 4; side++) {
        bool left = side % 2 == 0;
        size_t length = left ? n : d, others = left ? d : n, step = left ? d : 1, other_step = left ? 1 : d;
        double squares = 0;
        assert_true(length <= sizeof w / sizeof *w);
        for (size_t i = 0; i < length; i++) {
            w[i] = ds_random_normal(random);
            squares += w[i] * w[i];
        }
        for (size_t o = 0; o < others; o++) {
            double along = 0;
            for (size_t i = 0; i < length; i++) along += w[i] * rows[o * other_step + i * step];
            for (size_t i = 0; i < length; i++) rows[o * other_step + i * step] -= 2 * along / squares * w[i];
        }
    }
}

/* The effective rank moves by at most exp(H) (|log p| + H) / sum for each unit that a singular value moves. */
static double rank_tolerance(const double *s, size_t least, double error) {
    double sum = 0, most = 0, rank = ds_effective_rank(s, least);
    for (size_t i = 0; i < least; i++) sum += s[i];
    for (size_t i = 0; i < least; i++) most = fmax(most, fabs(log(s[i] / sum)));
    return rank * (most + log(rank)) / sum * (double)least * error + 8 * (double)least * 0x1p-53 * rank;
}

/* d log ratio = 4 sum s ds / sum s^2 - 4 sum s^3 ds / sum s^4. */
static double participation_tolerance(const double *s, size_t least, double error) {
    double sums[5] = {0};
    for (size_t i = 0; i < least; i++) {
        for (int power = 1; power <= 4; power++) sums[power] += pow(s[i], power);
    }
    double relative = 4 * error * (sums[1] / sums[2] + sums[3] / sums[4]) + 8 * (double)least * 0x1p-53;
    return relative * ds_participation_ratio(s, least);
}

/* Known singular values over up to sixteen orders of magnitude: what square roots of a Gram matrix's eigenvalues cannot see. */
static void test_ranks_of_known_singular_values(void **state) {
    enum { MOST = 300 };
    static const struct {
        size_t tokens, hidden;
        double decades;
    } cases[] = {{256, 128, 10}, {64, 128, 16}, {100, 100, 6}, {17, 33, 12}, {40, 8, 8}, {1, 5, 0}};
    const uint64_t seed = 20261128;
    ds_random random = ds_random_init(seed);
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t n = cases[i].tokens, d = cases[i].hidden, least = ds_min_size(n, d);
        double s[MOST], effective, participation;
        ds_directions directions;
        for (size_t j = 0; j < least; j++) s[least - 1 - j] = pow(10, -cases[i].decades * (double)j / (double)least);
        expect_ok(ds_directions_init(&directions, n, 1, d));
        with_singular_values(directions.k, s, n, d, &random);
        expect_ok(ds_sublayer_ranks(&effective, &participation, &directions));
        /* LAPACK's error, and that of two reflections of n and two of d elements: 2 (length + 4) u |K|_F each. */
        double error = ds_singular_values_estimate(1, n, d) + 4 * (double)(n + d + 8) * 0x1p-53 * sqrt((double)least);
        double expected = ds_effective_rank(s, least), tolerance = rank_tolerance(s, least, error);
        print_message("%zu x %zu: effective rank %.12g, error %.2g of %.2g\n", n, d, effective, fabs(effective - expected),
                      tolerance);
        expect_close(effective, expected, tolerance);
        expect_close(participation, ds_participation_ratio(s, least), participation_tolerance(s, least, error));
        ds_directions_release(&directions);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sound_operators_hold),
        cmocka_unit_test(test_a_breach_is_refused),
        cmocka_unit_test(test_ranks_of_known_singular_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
