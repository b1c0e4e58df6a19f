/* What intervals over windows speak of, and the sentences about it. */
#include <math.h>
#include <string.h>

#include "deltascope/run.h"
#include "scratch.h"
#include "support.h"

/* Against the definition written another way: by covariances, in long double. */
static double lag1_by_definition(const double *x, size_t n) {
    long double mean = 0, products = 0, squares = 0;
    for (size_t i = 0; i < n; i++) mean += x[i] / (long double)n;
    for (size_t i = n; i-- > 0;) squares += (x[i] - mean) * (x[i] - mean);
    for (size_t i = n - 1; i-- > 0;) products += (x[i] - mean) * (x[i + 1] - mean);
    return (double)(products / squares);
}

static void neighbours_of_a_series(void **state) {
    (void)state;
    enum { MOST = 200 };
    double x[MOST];
    ds_random random = ds_random_init(31);
    for (int trial = 0; trial < 200; trial++) {
        size_t n = 8 + (size_t)ds_random_below(&random, MOST - 8);
        double rho = 2 * ds_random_uniform(&random) - 1, scale = pow(10, 300 * (2 * ds_random_uniform(&random) - 1));
        for (size_t i = 0; i < n; i++) x[i] = (i > 0 ? rho * x[i - 1] : 0) + scale * ds_random_normal(&random);
        double expected = lag1_by_definition(x, n);
        ds_serial found = ds_serial_correlation(x, n);
        expect_close(found.lag1, expected, 8 * (double)n * 0x1p-53);
        double effective = (double)n * (1 - expected) / (1 + expected);
        expect_close(found.effective, fmin(fmax(effective, 1), (double)n), 1e-9 * (double)n);
        for (size_t i = 0; i < n; i++) x[i] = scale; /* nothing varies */
        assert_true(isnan(ds_serial_correlation(x, n).lag1));
        assert_true(isnan(ds_serial_correlation(x, 7).effective));
    }
}

/* Independent values say as much as the effective ones of an AR(1) series: n (1 - rho) / (1 + rho), which the estimate tends
 * to. The standard error of r is sqrt((1 - rho^2) / n); four of them. */
static void effective_number_of_a_long_series(void **state) {
    (void)state;
    enum { N = 20000 };
    static double x[N];
    ds_random random = ds_random_init(32);
    for (double rho = 0; rho < 0.95; rho += 0.3) {
        x[0] = ds_random_normal(&random);
        for (size_t i = 1; i < N; i++) x[i] = rho * x[i - 1] + sqrt(1 - rho * rho) * ds_random_normal(&random);
        expect_close(ds_serial_correlation(x, N).lag1, rho, 4 * sqrt((1 - rho * rho) / N));
    }
}

static char *note_of(ds_text *text, size_t windows, bool stretch, double lag1, double effective) {
    const ds_inference inference = {windows, stretch, {lag1, effective}};
    ds_text_release(text);
    expect_ok(ds_text_printf(text, "%s", ""));
    expect_ok(ds_inference_note(text, &inference));
    return text->bytes;
}

static void sentences(void **state) {
    (void)state;
    ds_text text = {0};
    assert_string_equal(note_of(&text, 64, false, 0.5, 21.3), "");
    assert_string_equal(note_of(&text, 1, true, NAN, NAN), "");
    const char *alone = "Intervals speak of this stretch of 64 consecutive windows, not of the whole file.";
    assert_string_equal(note_of(&text, 64, true, NAN, NAN), alone);
    assert_string_equal(note_of(&text, 64, true, 0.1, 52.4), alone); /* chance does as much */
    assert_non_null(strstr(note_of(&text, 64, true, 0.5, 21.3), "correlate (0.50): they are worth about 21 independent ones."));
    assert_string_equal(note_of(&text, 64, true, -0.5, 64), alone);
    ds_text_release(&text);
}

/* What an envelope says is read back; another's, without these keys, speaks of the file. */
static void from_run_to_envelope_and_back(void **state) {
    (void)state;
    enum { WINDOWS = 12 };
    const ds_run_options options = {.checkpoint = "fixtures/models/scalar-safetensors",
                                    .tokens = "fixtures/data/val.bin",
                                    .length = 20,
                                    .sequences = WINDOWS,
                                    .spread = DS_SPREAD_CONSECUTIVE,
                                    .without_weights = true};
    static const char *const places[] = {"{s:o}", "{s:{s:o}}"};
    double losses[WINDOWS];
    ds_random random = ds_random_init(33);
    ds_run run;
    expect_ok(ds_run_open(&run, &options));
    for (size_t p = 0; p < 2; p++) {
        json_t *list = json_array(), *envelope = NULL;
        for (size_t i = 0; i < WINDOWS; i++) {
            losses[i] = ds_random_normal(&random);
            assert_int_equal(json_array_append_new(list, json_real(losses[i])), 0);
        }
        json_t *results =
            p == 0 ? json_pack(places[0], "sequence_loss", list) : json_pack(places[1], "baseline", "sequence_loss", list);
        expect_ok(ds_run_envelope(&envelope, &run, "test", NULL, results));
        ds_inference found = ds_inference_of(json_object_get(envelope, "data"));
        ds_serial expected = ds_serial_correlation(losses, WINDOWS);
        assert_int_equal(found.windows, WINDOWS);
        assert_true(found.stretch);
        assert_true(found.losses.lag1 == expected.lag1 && found.losses.effective == expected.effective);
        json_decref(envelope);
        json_decref(results);
    }
    json_t *other = json_pack("{s:i}", "sequences", 3);
    ds_inference found = ds_inference_of(other);
    assert_true(found.windows == 3 && !found.stretch && isnan(found.losses.lag1) && isnan(found.losses.effective));
    json_decref(other);
    ds_run_close(&run);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(neighbours_of_a_series),
        cmocka_unit_test(effective_number_of_a_long_series),
        cmocka_unit_test(sentences),
        cmocka_unit_test(from_run_to_envelope_and_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
