/* Certificates: against a 77-digit computation, at the corners by hand, and as the measure of the estimates. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "deltascope/spectra.h"
#include "spectra_checks.h"
#include "support.h"

static const uint64_t SEED = 20260301;

static void test_against_reference(void **state) {
    (void)state;
    static delta_case example;
    ds_random random = ds_random_init(SEED);
    ds_certifier *certifier = NULL;
    spectra_seen seen = {0};
    expect_ok(ds_certifier_new(&certifier, 8, 10));
    for (size_t trial = 0; trial < 150; trial++) {
        make_delta_case(&example, 8, trial % 10 == 9 ? 10 : 6, false, &random);
        check_certificate(&example, certifier, &seen);
    }
    print_message("seed %llu: widest disc %.2g, widest interval %.2g units, %zu clusters, %zu undecided, %zu of 150 counted\n",
                  (unsigned long long)SEED, seen.disc, seen.interval, seen.clusters, seen.undecided, seen.counted);
    assert_true(seen.disc < 1e-9 && seen.interval < INTERVAL_UNITS && seen.counted > 120);
    ds_certifier_free(&certifier);
}

static void test_near_defective(void **state) {
    (void)state;
    static delta_case example;
    ds_random random = ds_random_init(SEED + 1);
    ds_certifier *certifier = NULL;
    ds_product_solver *solver = NULL;
    spectra_seen seen = {0};
    expect_ok(ds_certifier_new(&certifier, 8, 6));
    expect_ok(ds_product_solver_new(&solver, 8, 6));
    for (size_t found = 0; found < 40;) {
        if (!make_defective_case(&example, 8, 6, &random)) continue;
        check_certificate(&example, certifier, &seen);
        check_estimates(&example, certifier, solver, &seen);
        found++;
    }
    print_message("seed %llu: widest disc %.2g, widest estimate %.2g\n", (unsigned long long)SEED + 1, seen.disc, seen.bound);
    assert_true(seen.disc < 1e-12); /* eigenvectors of full precision tell the pair apart */
    ds_product_solver_free(&solver);
    ds_certifier_free(&certifier);
}

static void test_estimates(void **state) {
    (void)state;
    static delta_case example;
    ds_random random = ds_random_init(SEED + 2);
    ds_certifier *certifier = NULL;
    ds_product_solver *solver = NULL;
    spectra_seen seen = {0};
    expect_ok(ds_certifier_new(&certifier, 32, 16));
    expect_ok(ds_product_solver_new(&solver, 32, 16));
    for (size_t trial = 0; trial < 1000; trial++) {
        make_delta_case(&example, 32, trial % 10 == 0 ? 16 : 8, false, &random);
        check_estimates(&example, certifier, solver, &seen);
    }
    ds_product_solver_free(&solver);
    ds_certifier_free(&certifier);
}

/* Directions and gates whose products are known exactly. */
static const struct {
    const char *what;
    double directions[3][4], beta[3];
    size_t sublayers;
    double low, high; /* smallest and largest eigenvalue, all real */
    double smallest;  /* singular value */
    ds_verdict disk, contraction, radius, invertible;
} by_hand[] = {
    {"one closed gate", {{0.6, 0.8, 0, 0}}, {0}, 1, 1, 1, 1, DS_PROVED, DS_PROVED, DS_REFUTED, DS_PROVED},
    {"a projection", {{1, 0, 0, 0}}, {1}, 1, 0, 0, 0, DS_PROVED, DS_PROVED, DS_PROVED, DS_REFUTED},
    {"a reflection", {{0, 1, 0, 0}}, {2}, 1, -1, -1, 1, DS_PROVED, DS_PROVED, DS_REFUTED, DS_PROVED},
    {"undone", {{0, 1, 0, 0}, {0, 1, 0, 0}}, {2, 2}, 2, 1, 1, 1, DS_PROVED, DS_PROVED, DS_REFUTED, DS_PROVED},
    {"an expansion", {{0, 0, 1, 0}}, {2.5}, 1, -1.5, -1.5, 1.5, DS_REFUTED, DS_REFUTED, DS_REFUTED, DS_PROVED},
    {"a negative gate", {{0, 0, 1, 0}}, {-0.5}, 1, 1.5, 1.5, 1.5, DS_REFUTED, DS_REFUTED, DS_REFUTED, DS_PROVED},
    {"an expansion taken back",
     {{0, 0, 1, 0}, {0, 0, 1, 0}},
     {3, 0.75},
     2,
     -0.5,
     1,
     0.5,
     DS_UNDECIDED,
     DS_UNDECIDED,
     DS_UNDECIDED,
     DS_PROVED},
    {"zero directions", {{0}, {0}}, {1, 2}, 2, 1, 1, 1, DS_PROVED, DS_PROVED, DS_PROVED, DS_PROVED},
    {"three times the same",
     {{1, 0, 0, 0}, {1, 0, 0, 0}, {1, 0, 0, 0}},
     {0.5, 0.5, 0.5},
     3,
     0.125,
     1,
     0.125,
     DS_PROVED,
     DS_PROVED,
     DS_PROVED,
     DS_PROVED},
    {"orthogonal and alike",
     {{1, 0, 0, 0}, {0, 1, 0, 0}, {0, 0, 0, 1}},
     {0.75, 0.75, 0.75},
     3,
     0.25,
     0.25,
     0.25,
     DS_PROVED,
     DS_PROVED,
     DS_PROVED,
     DS_PROVED},
    {"two projections", {{1, 0, 0, 0}, {0, 1, 0, 0}}, {1, 1}, 2, 0, 0, 0, DS_PROVED, DS_PROVED, DS_PROVED, DS_REFUTED},
    {"no sublayer", {{0}}, {0}, 0, 1, 1, 1, DS_PROVED, DS_PROVED, DS_PROVED, DS_PROVED},
};

static void test_by_hand(void **state) {
    (void)state;
    ds_certifier *certifier = NULL;
    expect_ok(ds_certifier_new(&certifier, 4, 3));
    for (size_t at = 0; at < sizeof by_hand / sizeof *by_hand; at++) {
        ds_certificate found;
        expect_ok(ds_product_enclose(&found, &by_hand[at].directions[0][0], by_hand[at].beta, 1.0, by_hand[at].sublayers, 4,
                                     certifier));
        size_t total = 0;
        for (size_t i = 0; i < found.eigenvalue_count; i++) total += found.eigenvalues[i].multiplicity;
        assert_int_equal(total, by_hand[at].sublayers);
        if (total > 0) {
            const ds_disc *first = found.eigenvalues, *last = first + found.eigenvalue_count - 1;
            expect_close(first->centre.re, by_hand[at].low, first->radius);
            expect_close(last->centre.re, by_hand[at].high, last->radius);
            assert_true(first->radius < 1e-15 && last->radius < 1e-15 && first->centre.im == 0.0);
            expect_close(found.singular_values[0].value, by_hand[at].smallest, found.singular_values[0].radius);
            assert_true(found.singular_values[0].radius < 1e-15);
        }
        if (found.eigenvalues_in_unit_disk != by_hand[at].disk || found.contraction != by_hand[at].contraction ||
            found.radius_below_one != by_hand[at].radius || found.invertible != by_hand[at].invertible)
            fail_msg("%s: disk %s, contraction %s, radius %s, invertible %s", by_hand[at].what,
                     ds_verdict_name(found.eigenvalues_in_unit_disk), ds_verdict_name(found.contraction),
                     ds_verdict_name(found.radius_below_one), ds_verdict_name(found.invertible));
    }
    ds_certifier_free(&certifier);
}

/* A Jordan block, a rotation, a rank-one matrix: known spectra without a product behind them. */
static void test_matrices(void **state) {
    (void)state;
    const double jordan[9] = {3, 1, 0, 0, 3, 1, 0, 0, 3}, rotation[9] = {0.5, -0.75, 0, 0.75, 0.5, 0, 0, 0, 2};
    const double ones[9] = {1, 1, 1, 1, 1, 1, 1, 1, 1};
    ds_certifier *certifier = NULL;
    ds_disc discs[3];
    ds_interval intervals[3];
    size_t count;
    expect_ok(ds_certifier_new(&certifier, 3, 3));
    expect_ok(ds_eigenvalues_enclose(discs, &count, jordan, 3, certifier));
    assert_int_equal(count, 1);
    assert_int_equal(discs[0].multiplicity, 3);
    expect_close(discs[0].centre.re, 3.0, discs[0].radius);
    assert_true(discs[0].radius < 1e-13);
    expect_ok(ds_eigenvalues_enclose(discs, &count, rotation, 3, certifier));
    assert_int_equal(count, 3);
    expect_close(discs[0].centre.im, -0.75, discs[0].radius);
    expect_close(discs[1].centre.im, 0.75, discs[1].radius);
    expect_close(discs[2].centre.re, 2.0, discs[2].radius);
    expect_ok(ds_singular_values_enclose(intervals, &count, ones, 3, certifier));
    assert_int_equal(count, 2);
    assert_int_equal(intervals[0].multiplicity, 2);
    expect_close(intervals[0].value, 0.0, intervals[0].radius);
    assert_true(intervals[0].radius < INTERVAL_UNITS * interval_unit(3, 3));
    expect_close(intervals[1].value, 3.0, intervals[1].radius);
    ds_certifier_free(&certifier);
}

/* matrix (n,n) <- similar to itself by I + t e_i e_j^T, t = +-1: exact while the integers and quarters stay below 2^50. */
static void mix(double *matrix, size_t n, ds_random *random) {
    size_t i = ds_random_below(random, n), j = (i + 1 + ds_random_below(random, n - 1)) % n;
    double t = ds_random_below(random, 2) == 0 ? 1 : -1;
    for (size_t l = 0; l < n; l++) matrix[i * n + l] += t * matrix[j * n + l];
    for (size_t l = 0; l < n; l++) matrix[l * n + j] -= t * matrix[l * n + i];
    for (size_t l = 0; l < n * n; l++) assert_true(fabs(matrix[l]) < 0x1p50);
}

enum { JORDAN = 10 };
typedef struct jordan {
    double matrix[JORDAN * JORDAN];
    ds_complex values[JORDAN]; /* distinct */
    size_t n, count, multiplicity[JORDAN];
} jordan;

/* A Jordan block of `size` at row `at`, for value + i imaginary and its conjugate where that is not 0. */
static void put_block(jordan *out, size_t size, double value, double imaginary) {
    size_t width = imaginary != 0 ? 2 : 1, n = out->n;
    for (size_t b = 0; b < size; b++) {
        for (size_t c = 0; c < width; c++) {
            size_t row = out->n + b * width + c;
            out->matrix[row * JORDAN + row] = value;
            if (width == 2) out->matrix[row * JORDAN + row + 1 - 2 * c] = c == 0 ? -imaginary : imaginary;
            if (b + 1 < size) out->matrix[row * JORDAN + row + width] = 1;
        }
    }
    out->n = n + size * width;
    for (size_t c = 0; c < width; c++) {
        out->multiplicity[out->count] = size;
        out->values[out->count++] = (ds_complex){value, c == 0 ? imaginary : -imaginary};
    }
}

/* Blocks of sizes 1 to 5 with eigenvalues a quarter apart or more, hidden by an exact similarity. */
static void make_jordan(jordan *out, ds_random *random) {
    double value = -1.25, packed[JORDAN * JORDAN];
    *out = (jordan){.n = 0};
    put_block(out, 2 + ds_random_below(random, 4), value, 0); /* one is defective */
    if (ds_random_below(random, 3) == 0) {                    /* and may have another eigenvector */
        size_t size = 1 + ds_random_below(random, 3);
        put_block(out, size, value, 0);
        out->multiplicity[0] += size;
        out->count = 1;
    }
    while (out->n < JORDAN && out->count < 6) {
        size_t left = JORDAN - out->n, size = 1 + ds_random_below(random, left < 3 ? left : 3);
        bool complex_pair = 2 * size <= left && ds_random_below(random, 3) == 0;
        value += 0.25 * (double)(1 + ds_random_below(random, 3));
        put_block(out, size, value, complex_pair ? 0.5 : 0);
    }
    size_t n = out->n;
    for (size_t i = 0; i < n * n; i++) packed[i] = out->matrix[i / n * JORDAN + i % n];
    memcpy(out->matrix, packed, n * n * sizeof *packed);
    for (size_t step = 2 * n; step-- > 0;) mix(out->matrix, n, random);
}

/* Every eigenvalue of a defective matrix stands in a disc of its own, far narrower than the distance to the next. */
static void test_defective_clusters(void **state) {
    (void)state;
    ds_random random = ds_random_init(SEED + 6);
    ds_certifier *certifier = NULL;
    double widest = 0;
    size_t largest = 0;
    expect_ok(ds_certifier_new(&certifier, JORDAN, JORDAN));
    for (size_t trial = 0; trial < 40; trial++) {
        jordan known;
        ds_disc discs[JORDAN];
        size_t count;
        make_jordan(&known, &random);
        expect_ok(ds_eigenvalues_enclose(discs, &count, known.matrix, known.n, certifier));
        assert_int_equal(count, known.count);
        for (size_t i = 0; i < known.count; i++) {
            size_t held = 0;
            for (size_t d = 0; d < count; d++) {
                double off = hypot(discs[d].centre.re - known.values[i].re, discs[d].centre.im - known.values[i].im);
                if (!(off <= discs[d].radius)) continue;
                assert_int_equal(discs[d].multiplicity, known.multiplicity[i]);
                held++;
            }
            assert_int_equal(held, 1);
            largest = ds_max_size(largest, known.multiplicity[i]);
        }
        for (size_t d = 0; d < count; d++) widest = ds_max_real(widest, discs[d].radius);
    }
    print_message("seed %llu: multiplicities up to %zu, widest disc %.2g\n", (unsigned long long)SEED + 6, largest, widest);
    assert_true(largest >= 5 && widest < 1e-13); /* eigenvalues are 0.25 apart */
    ds_certifier_free(&certifier);
}

/* k_0 = (1, 0), k_1 = (1, 1) with b = 5/4 and 10: trace -3, determinant 9/4, so that -3/2 is a double eigenvalue of the product
 * with one eigenvector. Once, and twice on axes of their own. */
static void test_defective_products(void **state) {
    (void)state;
    const double directions[16] = {1, 0, 0, 0, 1, 1, 0, 0, 0, 0, 1, 0, 0, 0, 1, 1}, beta[4] = {1.25, 5, 1.25, 5};
    ds_certifier *certifier = NULL;
    expect_ok(ds_certifier_new(&certifier, 4, 4));
    for (size_t sublayers = 2; sublayers <= 4; sublayers += 2) {
        ds_certificate found;
        expect_ok(ds_product_enclose(&found, directions, beta, 1, sublayers, 4, certifier));
        assert_int_equal(found.eigenvalue_count, 1);
        assert_int_equal(found.eigenvalues[0].multiplicity, sublayers);
        expect_close(found.eigenvalues[0].centre.re, -1.5, found.eigenvalues[0].radius);
        print_message("a defective product of %zu: radius %.2g\n", sublayers, found.eigenvalues[0].radius);
        assert_true(found.eigenvalues[0].radius < 1e-12);
        assert_int_equal(found.eigenvalues_in_unit_disk, DS_REFUTED);
    }
    ds_certifier_free(&certifier);
}

/* Gates so near a projection that m beta |k|^2 rounds to 1: the logarithm carried along is within its bound of the proved one,
 * and the bound leaves it digits. */
static void test_determinant_of_near_projections(void **state) {
    enum { HIDDEN = 48, SUBLAYERS = 6, TRIALS = 200 };
    ds_random random = ds_random_init(SEED + 5);
    ds_certifier *certifier = NULL;
    ds_product *product = NULL;
    double k[SUBLAYERS * HIDDEN], c[SUBLAYERS], widest = 0;
    size_t rounded = 0;
    (void)state;
    expect_ok(ds_certifier_new(&certifier, HIDDEN, SUBLAYERS));
    expect_ok(ds_product_new(&product, HIDDEN, SUBLAYERS));
    for (size_t trial = 0; trial < TRIALS; trial++) {
        ds_certificate proved;
        for (size_t s = 0; s < SUBLAYERS; s++) {
            double squares = 0;
            for (size_t i = 0; i < HIDDEN; i++) {
                k[s * HIDDEN + i] = ds_random_normal(&random);
                squares += k[s * HIDDEN + i] * k[s * HIDDEN + i];
            }
            c[s] = 1 / squares;
            for (size_t ulps = ds_random_below(&random, 4); ulps-- > 0;) c[s] = nextafter(c[s], trial % 2 == 0 ? 0 : 1);
            rounded += c[s] * squares == 1;
        }
        expect_ok(ds_product_window(product, k, c, 0, SUBLAYERS));
        expect_ok(ds_product_enclose(&proved, k, c, 1, SUBLAYERS, HIDDEN, certifier));
        double bound = ds_product_log_abs_det_bound(product);
        assert_true(isfinite(proved.log_abs_det.value));
        expect_close(ds_product_log_abs_det(product), proved.log_abs_det.value, bound + proved.log_abs_det.radius);
        widest = ds_max_real(widest, bound);
    }
    print_message("seed %llu: widest bound %.2g, %zu of %d gates round to a projection\n", (unsigned long long)SEED + 5, widest,
                  rounded, TRIALS * SUBLAYERS);
    assert_true(rounded > 0 && widest < 1e-6);
    ds_product_free(&product);
    ds_certifier_free(&certifier);
}

static void test_refusals(void **state) {
    (void)state;
    ds_certifier *certifier = NULL;
    ds_certificate found;
    ds_disc discs[4];
    size_t count;
    double directions[8] = {1, 0, 0, 1}, beta[4] = {1, NAN}, matrix[16] = {0};
    expect_failure(ds_certifier_new(&certifier, 0, 2), DS_ERR_USAGE, "at least 1");
    expect_ok(ds_certifier_new(&certifier, 2, 2));
    expect_failure(ds_product_enclose(&found, directions, beta, 1.0, 2, 2, certifier), DS_ERR_INPUT, "beta of sublayer 1");
    beta[1] = 1.0;
    expect_failure(ds_product_enclose(&found, directions, beta, NAN, 2, 2, certifier), DS_ERR_INPUT, "multiplier");
    expect_failure(ds_product_enclose(&found, directions, beta, 1.0, 3, 2, certifier), DS_ERR_USAGE, "at most 2 on 1 to 2");
    directions[3] = INFINITY;
    expect_failure(ds_product_enclose(&found, directions, beta, 1.0, 2, 2, certifier), DS_ERR_INPUT, "sublayer 1: feature 1");
    expect_failure(ds_eigenvalues_enclose(discs, &count, matrix, 4, certifier), DS_ERR_USAGE, "at most the certifier's 2");
    matrix[2] = NAN;
    expect_failure(ds_eigenvalues_enclose(discs, &count, matrix, 2, certifier), DS_ERR_INPUT, "element [1][0]");
    ds_certifier_free(&certifier);
}

enum { WORKERS = 3, TASKS = 12 };
typedef struct crowd {
    delta_case examples[TASKS];
    ds_certifier *certifiers[WORKERS];
    ds_disc first[TASKS];
} crowd;

static ds_status certify_one(void *context, size_t index, size_t worker) {
    crowd *c = context;
    ds_certificate found;
    const delta_case *e = &c->examples[index];
    ds_status status =
        ds_product_enclose(&found, e->directions, e->beta, e->mult, e->sublayers, e->hidden, c->certifiers[worker]);
    if (status == DS_OK && found.eigenvalue_count > 0) c->first[index] = found.eigenvalues[0];
    return status;
}

/* The same bits from any thread. */
static void test_threads(void **state) {
    (void)state;
    crowd *c = ds_calloc(1, sizeof *c);
    assert_non_null(c);
    ds_disc alone[TASKS];
    ds_random random = ds_random_init(SEED + 3);
    for (size_t i = 0; i < WORKERS; i++) expect_ok(ds_certifier_new(&c->certifiers[i], 24, 12));
    for (size_t i = 0; i < TASKS; i++) make_delta_case(&c->examples[i], 24, 12, false, &random);
    for (size_t i = 0; i < TASKS; i++) expect_ok(certify_one(c, i, 0));
    memcpy(alone, c->first, sizeof alone);
    memset(c->first, 0, sizeof c->first);
    expect_ok(ds_threads_set(WORKERS));
    expect_ok(ds_parallel_for(TASKS, certify_one, c));
    ds_threads_stop();
    assert_memory_equal(alone, c->first, sizeof alone);
    for (size_t i = 0; i < WORKERS; i++) ds_certifier_free(&c->certifiers[i]);
    free(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_reference),  cmocka_unit_test(test_near_defective),
        cmocka_unit_test(test_estimates),          cmocka_unit_test(test_by_hand),
        cmocka_unit_test(test_matrices),           cmocka_unit_test(test_determinant_of_near_projections),
        cmocka_unit_test(test_defective_clusters), cmocka_unit_test(test_defective_products),
        cmocka_unit_test(test_refusals),           cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
