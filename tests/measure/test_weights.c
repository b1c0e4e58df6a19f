/* Spectra of matrices whose singular values are known: orthogonal, rank one, random, spiked, power law. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "deltascope/delta.h"
#include "deltascope/measure/weight_spectra.h"
#include "support.h"
#include "toy.h"

enum { ROWS = 240, COLUMNS = 120 };
static const double U = 0x1p-53;

typedef struct room {
    double matrix[ROWS * COLUMNS], singular[COLUMNS];
    ds_svd *svd;
    ds_matrix_spectrum found;
    ds_shape_verdict verdict;
} room;

static int set_up(void **state) {
    room *r = ds_calloc(1, sizeof *r);
    *state = r;
    if (r == NULL) return -1;
    expect_ok(ds_svd_new(&r->svd, ROWS, COLUMNS));
    return 0;
}

static int tear_down(void **state) {
    room *r = *state;
    ds_svd_free(&r->svd);
    free(r);
    return 0;
}

static void solve(room *r, size_t rows, size_t columns) {
    expect_ok(ds_matrix_spectrum_compute(&r->found, r->singular, r->matrix, rows, columns, r->svd));
    r->verdict = ds_shape_judge(&r->found, r->singular, ds_min_size(rows, columns));
}

/* x (n) <- normal numbers; returns their sum of squares. */
static double draw(double *x, size_t n, ds_random *random) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        x[i] = ds_random_normal(random);
        sum += x[i] * x[i];
    }
    return sum;
}

/* matrix (rows, COLUMNS) <- diag(sigma) turned by random reflections on both sides: singular values sigma. */
static void turn(double *matrix, const double *sigma, size_t rows, ds_random *random) {
    double k[ROWS];
    memset(matrix, 0, rows * COLUMNS * sizeof *matrix);
    for (size_t i = 0; i < COLUMNS; i++) matrix[i * COLUMNS + i] = sigma[i];
    for (int round = 0; round < 4; round++) {
        double length2 = draw(k, COLUMNS, random);
        ds_delta_apply(matrix, k, 2 / length2, rows, COLUMNS); /* from the right */
        length2 = draw(k, rows, random);
        for (size_t j = 0; j < COLUMNS; j++) {
            double along = 0;
            for (size_t i = 0; i < rows; i++) along += k[i] * matrix[i * COLUMNS + j];
            for (size_t i = 0; i < rows; i++) matrix[i * COLUMNS + j] -= 2 / length2 * along * k[i];
        }
    }
}

static void test_orthogonal(void **state) {
    room *r = *state;
    ds_random random = ds_random_init(41);
    double ones[COLUMNS];
    for (size_t i = 0; i < COLUMNS; i++) ones[i] = 1;
    turn(r->matrix, ones, COLUMNS, &random);
    solve(r, COLUMNS, COLUMNS);
    expect_close(r->found.spectral_norm, 1, r->found.bound + 64 * COLUMNS * U);
    expect_close(r->found.stable_rank, COLUMNS, 256 * COLUMNS * COLUMNS * U);
    expect_close(r->found.effective_rank, COLUMNS, 256 * COLUMNS * COLUMNS * U);
    expect_close(r->found.mp_edge, 2, 256 * COLUMNS * U); /* (1/sqrt n) 2 sqrt n */
    assert_int_equal(r->found.above_mp_edge, 0);
    assert_int_equal(r->verdict.shape, DS_SHAPE_RANDOM);
}

static void test_rank_one(void **state) {
    room *r = *state;
    ds_random random = ds_random_init(42);
    double x[ROWS], y[COLUMNS], x2 = draw(x, ROWS, &random), y2 = draw(y, COLUMNS, &random);
    for (size_t i = 0; i < ROWS * COLUMNS; i++) r->matrix[i] = x[i / COLUMNS] * y[i % COLUMNS];
    solve(r, ROWS, COLUMNS);
    expect_close(r->found.spectral_norm, sqrt(x2 * y2), r->found.bound + 64 * ROWS * U * sqrt(x2 * y2));
    expect_close(r->found.frobenius, sqrt(x2 * y2), 64 * ROWS * U * sqrt(x2 * y2));
    expect_close(r->found.stable_rank, 1, 512 * ROWS * U);
    /* each of the others is at most the bound: it adds -share log share to the entropy */
    double share = r->found.bound / r->found.spectral_norm;
    expect_close(r->found.effective_rank, 1, 2 * COLUMNS * share * (1 - log(share)));
    assert_int_equal(r->found.above_mp_edge, 1);
    assert_int_equal(r->found.outliers, 1);
}

/* Independent entries: the spectrum ends at the Marchenko-Pastur edge to within a few widths, and so says the verdict. */
static void test_random(void **state) {
    room *r = *state;
    ds_random random = ds_random_init(43);
    int unlike = 0;
    for (int trial = 0; trial < 20; trial++) {
        for (size_t i = 0; i < ROWS * COLUMNS; i++) r->matrix[i] = 0.02 * ds_random_normal(&random);
        solve(r, ROWS, COLUMNS);
        expect_close(r->found.mp_edge, 0.02 * (sqrt(ROWS) + sqrt(COLUMNS)), 0.02 * 5); /* of an rms over 28,800 entries */
        expect_close(r->found.spectral_norm, r->found.mp_edge, 6 * r->found.edge_width);
        unlike += r->verdict.shape != DS_SHAPE_RANDOM;
    }
    assert_true(unlike <= 1); /* three widths: the Tracy-Widom law exceeds them once in several hundred */
}

static void test_spiked(void **state) {
    room *r = *state;
    ds_random random = ds_random_init(44);
    for (size_t i = 0; i < ROWS * COLUMNS; i++) r->matrix[i] = ds_random_normal(&random);
    for (size_t i = 0; i < ROWS; i++) { /* 60 on one pair of axes: twice the edge of 26 */
        r->matrix[i * COLUMNS + 5] += 60 / sqrt(ROWS);
    }
    solve(r, ROWS, COLUMNS);
    assert_int_equal(r->found.outliers, 1);
    assert_true(r->verdict.shape == DS_SHAPE_SPIKED);
}

/* sigma^2 at the quantiles of a density x^-alpha. */
static void test_power_law(void **state) {
    room *r = *state;
    ds_random random = ds_random_init(45);
    static const double alphas[] = {1.7, 2.6, 3.5};
    for (size_t a = 0; a < 3; a++) {
        double sigma[COLUMNS];
        for (size_t i = 0; i < COLUMNS; i++) sigma[i] = sqrt(pow(((double)i + 0.5) / COLUMNS, -1 / (alphas[a] - 1)));
        turn(r->matrix, sigma, ROWS, &random);
        solve(r, ROWS, COLUMNS);
        expect_close(r->found.spectral_norm, sigma[0], r->found.bound + 256 * ROWS * U * sigma[0]);
        expect_close(r->found.tail.alpha, alphas[a], r->found.tail.alpha_stderr);
        assert_int_equal(r->verdict.shape, alphas[a] < 2 ? DS_SHAPE_VERY_HEAVY : DS_SHAPE_HEAVY);
    }
}

static void test_sensitivity_of_the_verdict(void **state) {
    (void)state;
    double singular[20];
    ds_matrix_spectrum s = {.mp_edge = 2, .edge_width = 0.1, .tail = {.alpha = 4, .ks = 0.05, .tail = 18}};
    for (size_t i = 0; i < 20; i++) singular[i] = i < 19 ? 1 : 3;
    ds_shape_verdict verdict = ds_shape_judge(&s, singular, 20);
    assert_true(verdict.shape == DS_SHAPE_HEAVY && verdict.stable);
    s.tail.alpha = 6.2; /* within a tenth of 6 */
    verdict = ds_shape_judge(&s, singular, 20);
    assert_true(verdict.shape == DS_SHAPE_SPIKED && !verdict.stable && verdict.alternatives[DS_SHAPE_HEAVY]);
    s.tail.alpha = 4;
    s.tail.tail = 11; /* of 20: a tenth above the half */
    verdict = ds_shape_judge(&s, singular, 20);
    assert_true(verdict.shape == DS_SHAPE_HEAVY && verdict.stable);
    s.tail.tail = 10;
    verdict = ds_shape_judge(&s, singular, 20);
    assert_true(verdict.shape == DS_SHAPE_HEAVY && !verdict.stable && verdict.alternatives[DS_SHAPE_SPIKED]);
    s.tail.tail = 18;
    singular[19] = 2.31; /* 3.1 widths above the edge */
    s.tail.alpha = 4;
    verdict = ds_shape_judge(&s, singular, 20);
    assert_true(verdict.shape == DS_SHAPE_HEAVY && !verdict.stable && verdict.alternatives[DS_SHAPE_RANDOM]);
    assert_int_equal(ds_shape_judge(&s, singular, DS_LEAST_VALUES - 1).shape, DS_SHAPE_UNDETERMINED);
}

/* Shuffling keeps the entries: Frobenius norm and edge stay to rounding, in any order of threads. */
static void test_survey_of_a_model(void **state) {
    (void)state;
    ds_spec spec = toy_spec("ddl-cc-ec");
    ds_model *model = NULL;
    ds_weight_survey one, two;
    expect_ok(ds_model_random(&model, &spec, DS_F32, 9));
    expect_ok(ds_threads_set(1));
    expect_ok(ds_weight_survey_run(&one, model, 4));
    expect_ok(ds_threads_set(3));
    expect_ok(ds_weight_survey_run(&two, model, 4));
    assert_int_equal(one.count, two.count);
    assert_true(one.count > 10);
    for (size_t i = 0; i < one.count; i++) {
        const ds_weight_spectrum *a = &one.spectra[i], *b = &two.spectra[i];
        double frobenius = a->learned.frobenius;
        expect_close(a->shuffled.frobenius, frobenius, 4 * (double)a->parameter->count * U * frobenius);
        expect_close(b->shuffled.spectral_norm, a->shuffled.spectral_norm, 0);
        expect_close(b->learned.effective_rank, a->learned.effective_rank, 0);
    }
    ds_weight_survey_release(&one);
    ds_weight_survey_release(&two);
    ds_model_free(&model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_orthogonal, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_rank_one, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_random, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_spiked, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_power_law, set_up, tear_down),
        cmocka_unit_test(test_sensitivity_of_the_verdict),
        cmocka_unit_test(test_survey_of_a_model),
    };
    return cmocka_run_group_tests_name("weights", tests, NULL, NULL);
}
