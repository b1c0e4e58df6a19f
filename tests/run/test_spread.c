/* How windows lie in the file: the stated formula, draws without replacement, what goes with an offset, and what a journal and
 * an envelope keep of it. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "deltascope/run.h"
#include "scratch.h"
#include "support.h"

/* Only windows are cut: no weights are read. */
static const ds_run_options sample = {
    .checkpoint = "fixtures/models/scalar-safetensors", .tokens = "fixtures/data/val.bin", .without_weights = true};

static void open_with(ds_run *run, ds_spread spread, size_t length, size_t windows, uint64_t seed) {
    ds_run_options options = sample;
    options.spread = spread;
    options.length = length;
    options.sequences = windows;
    options.seed = seed;
    expect_ok(ds_run_open(run, &options));
}

/* W: all windows that fit with one further id as the last target. */
static uint64_t fitting_of(const ds_run *run) { return (ds_tokens_count(run->tokens) - 1) / run->length; }

static void expect_ascending(const ds_run *run) {
    for (size_t w = 0; w < run->sequences; w++) {
        assert_true(w == 0 || run->starts[w] > run->starts[w - 1]);
        assert_int_equal(run->starts[w] % run->length, 0);
        assert_true(run->starts[w] + run->length < ds_tokens_count(run->tokens));
    }
}

/* Lengths and counts drawn at random, the largest count among them: floor(iW/N), ascending, within the file. */
static void even_windows_follow_the_formula(void **state) {
    (void)state;
    ds_random random = ds_random_init(11);
    for (int trial = 0; trial < 60; trial++) {
        ds_run run;
        size_t length = 1 + (size_t)ds_random_below(&random, 700);
        open_with(&run, DS_SPREAD_EVEN, length, 1, 0);
        uint64_t fitting = fitting_of(&run);
        ds_run_close(&run);
        size_t windows = trial % 4 == 0 ? (size_t)fitting : 1 + (size_t)ds_random_below(&random, fitting);
        open_with(&run, DS_SPREAD_EVEN, length, windows, 0);
        for (size_t i = 0; i < windows; i++) assert_int_equal(run.starts[i], i * fitting / windows * length);
        expect_ascending(&run);
        assert_false(run.stretch);
        ds_run_close(&run);
    }
}

static void consecutive_windows_follow_one_another(void **state) {
    (void)state;
    ds_run_options options = sample;
    ds_run run;
    options.spread = DS_SPREAD_FROM_OFFSET;
    options.offset = 7;
    options.length = 31;
    options.sequences = 5;
    expect_ok(ds_run_open(&run, &options));
    for (size_t i = 0; i < 5; i++) assert_int_equal(run.starts[i], 7 + 31 * i);
    assert_true(run.stretch);
    ds_run_close(&run);
    open_with(&run, DS_SPREAD_CONSECUTIVE, 31, 5, 0);
    for (size_t i = 0; i < 5; i++) assert_int_equal(run.starts[i], 31 * i);
    assert_true(run.stretch);
    uint64_t fitting = fitting_of(&run);
    ds_run_close(&run);
    open_with(&run, DS_SPREAD_CONSECUTIVE, 31, (size_t)fitting, 0); /* all that fit are the file, not a stretch */
    assert_false(run.stretch);
    ds_run_close(&run);
}

/* Every window is in a draw of N of W with probability N/W, whatever its place: a chi-square of the counts, W - 1 degrees of
 * freedom, within six standard deviations. */
static void random_windows_are_a_fair_draw(void **state) {
    (void)state;
    enum { LENGTH = 4096, DRAWS = 400, WINDOWS = 7, MOST = 64 };
    size_t counts[MOST] = {0};
    uint64_t fitting = 0;
    for (uint64_t seed = 0; seed < DRAWS; seed++) {
        ds_run run;
        open_with(&run, DS_SPREAD_RANDOM, LENGTH, WINDOWS, seed);
        fitting = fitting_of(&run);
        assert_in_range(fitting, WINDOWS + 1, MOST);
        expect_ascending(&run);
        for (size_t w = 0; w < WINDOWS; w++) counts[run.starts[w] / LENGTH]++;
        assert_false(run.stretch);
        ds_run_close(&run);
    }
    double p = (double)WINDOWS / (double)fitting, variance = DRAWS * p * (1 - p), freedom = (double)(fitting - 1), sum = 0;
    for (uint64_t i = 0; i < fitting; i++) {
        double distance = (double)counts[i] - DRAWS * p;
        sum += distance * distance / variance * freedom / (double)fitting;
    }
    if (!(sum < freedom + 6 * sqrt(2 * freedom))) fail_msg("chi-square %g with %g degrees of freedom", sum, freedom);
    if (!(sum > freedom - 6 * sqrt(2 * freedom))) fail_msg("chi-square %g with %g degrees of freedom", sum, freedom);
}

static void a_seed_repeats_its_draw(void **state) {
    (void)state;
    ds_run run, same, other;
    open_with(&run, DS_SPREAD_RANDOM, 16, 64, 3);
    open_with(&same, DS_SPREAD_RANDOM, 16, 64, 3);
    open_with(&other, DS_SPREAD_RANDOM, 16, 64, 4);
    assert_memory_equal(run.starts, same.starts, 64 * sizeof *run.starts);
    assert_memory_not_equal(run.starts, other.starts, 64 * sizeof *run.starts);
    ds_run_close(&run);
    ds_run_close(&same);
    ds_run_close(&other);
}

static void an_offset_goes_with_no_spread(void **state) {
    (void)state;
    const ds_spread others[] = {DS_SPREAD_EVEN, DS_SPREAD_RANDOM, DS_SPREAD_CONSECUTIVE};
    for (size_t i = 0; i < 3; i++) {
        ds_run run;
        ds_run_options options = sample;
        options.spread = others[i];
        options.offset = 5;
        expect_failure(ds_run_open(&run, &options), DS_ERR_USAGE, "no other spread goes with an offset");
    }
}

static json_t *data_of(const ds_run *run) {
    json_t *envelope = NULL;
    expect_ok(ds_run_envelope(&envelope, run, "test", NULL, NULL));
    json_t *data = json_incref(json_object_get(envelope, "data"));
    json_decref(envelope);
    return data;
}

/* The envelope lists what was read, and "offset" only where one was given. */
static void the_envelope_tells_the_windows(void **state) {
    (void)state;
    static const char *const names[] = {"even", "random", "consecutive", "consecutive"};
    for (int spread = DS_SPREAD_EVEN; spread <= DS_SPREAD_FROM_OFFSET; spread++) {
        ds_run run;
        open_with(&run, (ds_spread)spread, 50, 6, 1);
        json_t *data = data_of(&run), *starts = json_object_get(data, "starts");
        assert_string_equal(json_string_value(json_object_get(data, "spread")), names[spread]);
        assert_int_equal(json_array_size(starts), 6);
        for (size_t w = 0; w < 6; w++) assert_int_equal(json_integer_value(json_array_get(starts, w)), run.starts[w]);
        assert_int_equal(json_is_null(json_object_get(data, "offset")), spread != DS_SPREAD_FROM_OFFSET);
        assert_string_equal(json_string_value(json_object_get(data, "inference")),
                            spread >= DS_SPREAD_CONSECUTIVE ? "stretch" : "file");
        json_decref(data);
        ds_run_close(&run);
    }
}

/* Finished pieces of other windows are not taken up: whichever two of these runs meet. */
static void a_journal_is_of_one_spread(void **state) {
    (void)state;
    static const struct {
        ds_spread spread;
        uint64_t seed;
    } runs[] = {{DS_SPREAD_EVEN, 1}, {DS_SPREAD_RANDOM, 1}, {DS_SPREAD_RANDOM, 2}, {DS_SPREAD_CONSECUTIVE, 1}};
    enum { RUNS = sizeof runs / sizeof *runs };
    json_t *options = json_object();
    for (size_t first = 0; first < RUNS; first++) {
        for (size_t second = 0; second < RUNS; second++) {
            ds_journal_plan plan = {.path = scratch_path("spread.journal")};
            ds_journal *journal = NULL;
            ds_run run;
            open_with(&run, runs[first].spread, 40, 5, runs[first].seed);
            expect_ok(ds_run_journal(&journal, &run, &plan, "test", options));
            ds_journal_close(&journal);
            ds_run_close(&run);
            plan.resume = true;
            open_with(&run, runs[second].spread, 40, 5, runs[second].seed);
            ds_status status = ds_run_journal(&journal, &run, &plan, "test", options);
            assert_int_equal(status, first == second ? DS_OK : DS_ERR_INPUT);
            if (status != DS_OK) assert_non_null(strstr(ds_error_text(), "its data.s"));
            ds_journal_close(&journal);
            ds_run_close(&run);
        }
    }
    json_decref(options);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(even_windows_follow_the_formula), cmocka_unit_test(consecutive_windows_follow_one_another),
        cmocka_unit_test(random_windows_are_a_fair_draw),  cmocka_unit_test(a_seed_repeats_its_draw),
        cmocka_unit_test(an_offset_goes_with_no_spread),   cmocka_unit_test(the_envelope_tells_the_windows),
        cmocka_unit_test(a_journal_is_of_one_spread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
