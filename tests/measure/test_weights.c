/* Spectra of matrices whose singular values or kind are known, and the words for them. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "deltascope/measure/weight_spectra.h"
#include "matrix_kinds.h"
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

static void solve(room *r, size_t rows, size_t columns, ds_dtype stored) {
    const ds_weight_matrix matrix = {rows, columns, stored};
    const ds_bulk_limits limits = ds_bulk_limits_of(ds_min_size(rows, columns));
    expect_ok(ds_matrix_spectrum_compute(&r->found, r->singular, r->matrix, &matrix, 1, r->svd));
    r->verdict = ds_shape_judge(&r->found, r->singular, &limits);
}

static void expect_word(const ds_shape_verdict *found, ds_shape expected) {
    if (found->shape != expected) fail_msg("\"%s\", expected \"%s\"", ds_shape_name(found->shape), ds_shape_name(expected));
    assert_true(found->stable == (expected != DS_SHAPE_UNDECIDED));
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

static void test_orthogonal(void **state) {
    room *r = *state;
    ds_random random = ds_random_init(41);
    double ones[COLUMNS];
    for (size_t i = 0; i < COLUMNS; i++) ones[i] = 1;
    matrix_of_singular_values(r->matrix, ones, COLUMNS, COLUMNS, &random);
    solve(r, COLUMNS, COLUMNS, DS_DTYPE_F64);
    expect_close(r->found.spectral_norm, 1, r->found.bound + 64 * COLUMNS * U);
    expect_close(r->found.stable_rank, COLUMNS, 256 * COLUMNS * COLUMNS * U);
    expect_close(r->found.effective_rank, COLUMNS, 256 * COLUMNS * COLUMNS * U);
    expect_close(r->found.mp_edge, 2, 256 * COLUMNS * U); /* (1/sqrt n) 2 sqrt n */
    assert_int_equal(r->found.above_mp_edge, 0);
    assert_int_equal(r->found.rank, COLUMNS);
    assert_true(isnan(r->found.tail.alpha));
    expect_word(&r->verdict, DS_SHAPE_ISOMETRY);
    r->matrix[7] += 0.01; /* far beyond rounding */
    solve(r, COLUMNS, COLUMNS, DS_DTYPE_F64);
    assert_true(r->verdict.shape != DS_SHAPE_ISOMETRY);
}

static void test_rank_one(void **state) {
    room *r = *state;
    ds_random random = ds_random_init(42);
    double x[ROWS], y[COLUMNS], x2 = draw(x, ROWS, &random), y2 = draw(y, COLUMNS, &random);
    for (size_t i = 0; i < ROWS * COLUMNS; i++) r->matrix[i] = x[i / COLUMNS] * y[i % COLUMNS];
    solve(r, ROWS, COLUMNS, DS_DTYPE_F64);
    expect_close(r->found.spectral_norm, sqrt(x2 * y2), r->found.bound + 64 * ROWS * U * sqrt(x2 * y2));
    expect_close(r->found.frobenius, sqrt(x2 * y2), 64 * ROWS * U * sqrt(x2 * y2));
    expect_close(r->found.stable_rank, 1, 512 * ROWS * U);
    /* each of the others is at most the bound: it adds -share log share to the entropy */
    double share = r->found.bound / r->found.spectral_norm;
    expect_close(r->found.effective_rank, 1, 2 * COLUMNS * share * (1 - log(share)));
    assert_int_equal(r->found.above_mp_edge, 1);
    assert_int_equal(r->found.bulk.outliers, 1);
    assert_int_equal(r->found.rank, 1);
    assert_true(isnan(r->found.tail.alpha)); /* one value has no tail, and the others are rounding */
    expect_word(&r->verdict, DS_SHAPE_LOW_RANK);
}

/* A matrix of rank r, stored in any type, is told to have that rank: rounding moves no singular value by more than the bound,
 * which is sharp enough to keep all but the smallest of those that are there. */
static void test_rank_of_what_was_stored(void **state) {
    static const ds_dtype types[] = {DS_DTYPE_F64, DS_DTYPE_F32, DS_DTYPE_F16, DS_DTYPE_BF16};
    room *r = *state;
    ds_random random = ds_random_init(46);
    for (int trial = 0; trial < 24; trial++) {
        const ds_dtype stored = types[trial % 4];
        size_t rows = 40 + ds_random_below(&random, ROWS - 40), rank = ds_random_below(&random, 13);
        double sigma[COLUMNS] = {0}, exact[COLUMNS];
        size_t count = ds_min_size(rows, COLUMNS);
        for (size_t i = 0; i < rank; i++) sigma[i] = 0.4 + 1.5 * ds_random_uniform(&random);
        matrix_of_singular_values(r->matrix, sigma, rows, COLUMNS, &random);
        const ds_weight_matrix whole = {rows, COLUMNS, DS_DTYPE_F64};
        ds_matrix_spectrum unrounded;
        expect_ok(ds_matrix_spectrum_compute(&unrounded, exact, r->matrix, &whole, 1, r->svd));
        for (size_t i = 0; i < rows * COLUMNS; i++) r->matrix[i] = matrix_round(r->matrix[i], stored);
        solve(r, rows, COLUMNS, stored);
        assert_int_equal(r->found.rank, rank);
        for (size_t i = 0; i < count; i++) expect_close(r->singular[i], exact[i], r->found.rounding);
        expect_word(&r->verdict, rank == 0 ? DS_SHAPE_ZERO : DS_SHAPE_LOW_RANK);
        if (rank < DS_LEAST_TAIL) assert_true(isnan(r->found.tail.alpha) && isnan(r->found.tail.xmin));
    }
}

/* What a type promises of its rounding holds for any number, down to those that have few digits left, and is sharp. */
static void test_rounding_of_types(void **state) {
    (void)state;
    static const ds_dtype types[] = {DS_DTYPE_F64, DS_DTYPE_F32, DS_DTYPE_F16, DS_DTYPE_BF16};
    static const double smallest[] = {0x1p-900, 0x1p-149, 0x1p-24, 0x1p-100};
    ds_random random = ds_random_init(48);
    for (size_t t = 0; t < 4; t++) {
        ds_rounding promised = ds_dtype_rounding(types[t]);
        double most = 0;
        for (int trial = 0; trial < 20000; trial++) {
            double x = ldexp(1 + ds_random_uniform(&random), -(int)ds_random_below(&random, 20));
            if (trial % 4 == 0) x = smallest[t] * 8 * ds_random_uniform(&random);
            double stored = types[t] == DS_DTYPE_F32 ? (double)(float)x : matrix_round(x, types[t]);
            double allowed = promised.relative * fabs(x) + promised.absolute;
            expect_close(stored, x, allowed);
            if (trial % 4 != 0) most = fmax(most, fabs(stored - x) / allowed);
        }
        assert_true(types[t] == DS_DTYPE_F64 || most > 0.9);
    }
}

/* The type is that of the checkpoint, whatever the model computes in; float rounds what was stored in double. */
static void test_stored_type(void **state) {
    (void)state;
    static const struct {
        const char *path;
        double relative;
    } cases[] = {{"fixtures/models/cc-bf16", 0x1p-8}, {"fixtures/models/ddl-cc-ec", 0x1p-24}};
    for (size_t c = 0; c < 2; c++) {
        for (int wide = 0; wide < 2; wide++) {
            ds_checkpoint *checkpoint = NULL;
            ds_model *model = NULL;
            ds_weight_survey survey;
            expect_ok(ds_checkpoint_open(&checkpoint, cases[c].path, NULL));
            expect_ok(ds_model_load(&model, checkpoint, wide ? DS_F64 : DS_F32));
            expect_ok(ds_weight_survey_run(&survey, model, 4));
            for (size_t i = 0; i < survey.count; i++) {
                const ds_matrix_spectrum *found = &survey.spectra[i].shape.learned;
                double expected = cases[c].relative * found->frobenius;
                expect_close(found->rounding, expected, 1e-3 * expected + found->bound);
            }
            ds_weight_survey_release(&survey);
            ds_model_free(&model);
            ds_checkpoint_close(&checkpoint);
        }
    }
}

/* Independent entries: the spectrum ends at the Marchenko-Pastur edge to within a few widths, and is the law's within it. */
static void test_random(void **state) {
    room *r = *state;
    ds_random random = ds_random_init(43);
    for (int trial = 0; trial < 20; trial++) {
        for (size_t i = 0; i < ROWS * COLUMNS; i++) r->matrix[i] = 0.02 * ds_random_normal(&random);
        solve(r, ROWS, COLUMNS, DS_DTYPE_F32);
        expect_close(r->found.mp_edge, 0.02 * (sqrt(ROWS) + sqrt(COLUMNS)), 0.02 * 5); /* of an rms over 28,800 entries */
        expect_close(r->found.spectral_norm, r->found.mp_edge, 6 * r->found.bulk.edge_width);
        expect_close(r->found.bulk.edge, r->found.mp_edge, r->found.bulk.outliers > 0 ? r->found.mp_edge : 64 * COLUMNS * U);
        assert_true(r->found.bulk.distance < 5);
    }
}

static void test_spiked(void **state) {
    room *r = *state;
    ds_random random = ds_random_init(44);
    for (size_t i = 0; i < ROWS * COLUMNS; i++) r->matrix[i] = ds_random_normal(&random);
    for (size_t i = 0; i < ROWS; i++) { /* 60 on one pair of axes: twice the edge of 26 */
        r->matrix[i * COLUMNS + 5] += 60 / sqrt(ROWS);
    }
    solve(r, ROWS, COLUMNS, DS_DTYPE_F32);
    assert_int_equal(r->found.bulk.outliers, 1);
    expect_close(r->found.bulk.edge, sqrt(ROWS - 1) + sqrt(COLUMNS - 1), 0.5); /* the spike is not in it */
    expect_word(&r->verdict, DS_SHAPE_SPIKED);
}

/* sigma^2 at the quantiles of a density x^-alpha. */
static void test_power_law(void **state) {
    room *r = *state;
    ds_random random = ds_random_init(45);
    static const double alphas[] = {1.7, 2.6, 3.5};
    for (size_t a = 0; a < 3; a++) {
        double sigma[COLUMNS];
        for (size_t i = 0; i < COLUMNS; i++) sigma[i] = sqrt(pow(((double)i + 0.5) / COLUMNS, -1 / (alphas[a] - 1)));
        matrix_of_singular_values(r->matrix, sigma, ROWS, COLUMNS, &random);
        solve(r, ROWS, COLUMNS, DS_DTYPE_F32);
        expect_close(r->found.spectral_norm, sigma[0], r->found.bound + 256 * ROWS * U * sigma[0]);
        expect_close(r->found.tail.alpha, alphas[a], r->found.alpha_stderr);
        expect_word(&r->verdict, DS_SHAPE_POWER_LAW);
    }
}

/* Values at the quantiles of the law but one, which crosses each threshold in turn. */
static void test_thresholds(void **state) {
    (void)state;
    enum { N = 60 };
    double singular[N];
    const ds_bulk_limits limits = ds_bulk_limits_of(N);
    ds_matrix_spectrum s = {.matrix = {N, N, DS_DTYPE_F64}, .frobenius = 1, .rank = N, .singular_values = {.max = 1}};
    s.whole = (ds_power_law){.alpha = 4, .ks = 0.01, .tail = N};
    for (size_t i = 0; i < N; i++) { /* bisection: the law's quantile (i + 1/2) / N */
        double low = 0, high = 4;
        for (int step = 0; step < 60; step++) {
            double middle = 0.5 * (low + high), share = ds_marchenko_pastur(middle, 1);
            *(share < ((double)i + 0.5) / N ? &low : &high) = middle;
        }
        singular[i] = sqrt(low * N);
    }
    ds_bulk bulk;
    ds_bulk_fit(&bulk, singular, N, N, DS_EDGE_WIDTHS);
    assert_true(bulk.distance < 0.2 && bulk.outliers == 0);
    ds_shape_verdict verdict = ds_shape_judge(&s, singular, &limits);
    expect_word(&verdict, DS_SHAPE_RANDOM);
    singular[N - 1] = bulk.edge + 4 * bulk.edge_width; /* raises the edge a little, too */
    verdict = ds_shape_judge(&s, singular, &limits);
    expect_word(&verdict, DS_SHAPE_SPIKED);
    singular[N - 1] = bulk.edge + 3.2 * bulk.edge_width;
    verdict = ds_shape_judge(&s, singular, &limits);
    expect_word(&verdict, DS_SHAPE_UNDECIDED);
    assert_true(verdict.alternatives[DS_SHAPE_SPIKED] && verdict.alternatives[DS_SHAPE_RANDOM] &&
                !verdict.alternatives[DS_SHAPE_POWER_LAW] && !verdict.alternatives[DS_SHAPE_UNDECIDED]);
    for (size_t i = 0; i < N; i++) singular[i] = 1 + 0.01 * (double)i; /* no bulk */
    verdict = ds_shape_judge(&s, singular, &limits);
    expect_word(&verdict, DS_SHAPE_POWER_LAW);
    s.whole.ks = 1.094 / (sqrt(N) + 0.26);
    verdict = ds_shape_judge(&s, singular, &limits);
    expect_word(&verdict, DS_SHAPE_UNDECIDED);
    assert_true(verdict.alternatives[DS_SHAPE_POWER_LAW] && verdict.alternatives[DS_SHAPE_NO_FIT]);
    s.whole.ks = 0.5;
    verdict = ds_shape_judge(&s, singular, &limits);
    expect_word(&verdict, DS_SHAPE_NO_FIT);
    s.rank = N / 2; /* a count, nothing to be moved */
    verdict = ds_shape_judge(&s, singular, &limits);
    expect_word(&verdict, DS_SHAPE_LOW_RANK);
    s.matrix.rows = DS_LEAST_VALUES - 1;
    s.rank = DS_LEAST_VALUES - 1;
    verdict = ds_shape_judge(&s, singular, &limits);
    expect_word(&verdict, DS_SHAPE_TOO_SMALL);
}

/* Matrices of every kind get the right word, or none; the long test has the rates. */
static void test_words(void **state) {
    (void)state;
    enum { EACH = 12 };
    static matrix_words seen;
    const uint64_t seed = 47;
    size_t right = 0, wrong = 0, all = 0;
    matrix_words_count(&seen, &(ds_weight_matrix){64, 48, DS_DTYPE_F32}, EACH, seed);
    matrix_words_count(&seen, &(ds_weight_matrix){48, 72, DS_DTYPE_BF16}, EACH, seed + 1);
    for (int kind = 0; kind < MATRIX_KINDS; kind++) {
        size_t good = seen.words[kind][matrix_kind_word((matrix_kind)kind)], bad = seen.drawn[kind] - good;
        bad -= seen.words[kind][DS_SHAPE_UNDECIDED];
        if (bad > 4 || good < EACH) /* of 24: a rate of 5% leads to more than 4 once in 500 */
            fail_msg("seed %llu: %s: %zu right, %zu wrong of %d", (unsigned long long)seed, matrix_kind_name((matrix_kind)kind),
                     good, bad, 2 * EACH);
        right += good;
        wrong += bad;
        all += seen.drawn[kind];
    }
    print_message("seed %llu: of %zu matrices %zu got the right word, %zu a wrong one\n", (unsigned long long)seed, all, right,
                  wrong);
    assert_true(100 * wrong <= 4 * all && 100 * right >= 85 * all);
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
        double frobenius = a->shape.learned.frobenius;
        expect_close(a->shape.shuffled.frobenius, frobenius, 4 * (double)a->parameter->count * U * frobenius);
        expect_close(b->shape.shuffled.spectral_norm, a->shape.shuffled.spectral_norm, 0);
        expect_close(b->shape.learned.effective_rank, a->shape.learned.effective_rank, 0);
        assert_int_equal(b->shape.verdict.shape, a->shape.verdict.shape);
    }
    ds_weight_survey_release(&one);
    ds_weight_survey_release(&two);
    ds_model_free(&model);
}

static const json_t *weight_of(const json_t *results, size_t index) {
    return json_array_get(json_object_get(results, "weights"), index);
}

/* What results say of matrices that have no exponent: null, the rank, and the word. */
static void test_matrices_without_an_exponent(void **state) {
    (void)state;
    static const char *const words[] = {"zero", "low rank", "isometry"};
    ds_spec spec = toy_spec("ddl-cc-ec");
    ds_model *model = NULL;
    ds_weight_survey survey;
    expect_ok(ds_model_random(&model, &spec, DS_F32, 10));
    for (size_t i = 0, kind = 0; i < ds_model_parameters(model); i++) {
        const ds_parameter *p = ds_model_parameter(model, i);
        if (p->rank != 2 || p->shape[0] < 2 || p->shape[1] < 2) continue;
        for (size_t at = 0; at < p->count; at++) {
            size_t row = at / p->shape[1], column = at % p->shape[1];
            float rank_one = (float)(1 + row) * (float)(3 + column);
            ((float *)p->values)[at] = kind % 3 == 0 ? 0 : kind % 3 == 1 ? rank_one : row == column ? 0.7F : 0;
        }
        kind++;
    }
    expect_ok(ds_weight_survey_run(&survey, model, 4));
    ds_json_builder b = {0};
    json_t *results = NULL;
    ds_json_begin_object(&b, NULL);
    ds_weight_survey_put(&b, &survey);
    ds_json_end(&b);
    expect_ok(ds_json_finish(&results, &b));
    assert_true(survey.count > 10);
    for (size_t i = 0; i < survey.count; i++) {
        static const char *const nulls[] = {"alpha", "alpha_stderr", "ks", "xmin", "alpha_weightwatcher", "xmin_weightwatcher"};
        const json_t *weight = weight_of(results, i);
        for (size_t n = 0; n < sizeof nulls / sizeof *nulls; n++) assert_true(json_is_null(json_object_get(weight, nulls[n])));
        assert_string_equal(json_string_value(json_object_get(weight, "verdict")), words[i % 3]);
        const size_t *shape = survey.spectra[i].parameter->shape;
        json_int_t rank = i % 3 < 2 ? (json_int_t)(i % 3) : (json_int_t)ds_min_size(shape[0], shape[1]);
        assert_int_equal(json_integer_value(json_object_get(weight, "rank")), rank);
    }
    json_decref(results);
    ds_weight_survey_release(&survey);
    ds_model_free(&model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_orthogonal, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_rank_one, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_rank_of_what_was_stored, set_up, tear_down),
        cmocka_unit_test(test_rounding_of_types),
        cmocka_unit_test(test_stored_type),
        cmocka_unit_test_setup_teardown(test_random, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_spiked, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_power_law, set_up, tear_down),
        cmocka_unit_test(test_thresholds),
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_survey_of_a_model),
        cmocka_unit_test(test_matrices_without_an_exponent),
    };
    return cmocka_run_group_tests_name("weights", tests, NULL, NULL);
}
