/* The loop over windows: every window once and in order, whatever the batches; records that are found are not computed. */
#include <stdlib.h>
#include <string.h>

#include "deltascope/run.h"
#include "scratch.h"
#include "support.h"
#include "thread_ranks.h"

enum { T = 12, WINDOWS = 9 };

static const ds_run_options sample = {.checkpoint = "fixtures/models/scalar-safetensors",
                                      .tokens = "fixtures/data/val.bin",
                                      .length = T,
                                      .sequences = WINDOWS,
                                      .spread = DS_SPREAD_FROM_OFFSET,
                                      .offset = 3};

/* What one pass saw. */
typedef struct seen {
    size_t computed[WINDOWS], taken[WINDOWS]; /* in the order of the calls */
    size_t computed_count, taken_count, batches, largest;
    double sums[WINDOWS]; /* of the batch in hand, by row */
    double values[WINDOWS];
    size_t stop_after; /* batches; 0: never */
} seen;

static ds_status compute(void *context, const ds_window_batch *now) {
    seen *all = context;
    if (all->stop_after != 0 && all->batches == all->stop_after) return ds_fail(DS_ERR_SYSTEM, "stopped");
    all->batches++;
    all->largest = ds_max_size(all->largest, now->batch.sequences);
    for (size_t b = 0; b < now->batch.sequences; b++) {
        all->computed[all->computed_count++] = now->windows[b];
        all->sums[b] = 0;
        for (size_t t = 0; t < T; t++) {
            all->sums[b] += (double)((t + 1) * now->batch.tokens[b * T + t]);
            if (t + 1 < T) assert_int_equal(now->batch.targets[b * T + t], now->batch.tokens[b * T + t + 1]);
        }
    }
    return DS_OK;
}

static void fill(void *context, double *record, size_t row, size_t rows) {
    const seen *all = context;
    assert_true(row < rows);
    record[0] = all->sums[row];
    record[1] = -all->sums[row];
}

static ds_status take(void *context, size_t window, const double *record) {
    seen *all = context;
    assert_true(record[1] == -record[0]);
    all->values[window] = record[0];
    all->taken[all->taken_count++] = window;
    return DS_OK;
}

static ds_window_pass pass_of(seen *all, size_t most, ds_journal *journal) {
    return (ds_window_pass){.label = "test",
                            .most = most,
                            .batch = compute,
                            .record_length = 2,
                            .fill = fill,
                            .take = take,
                            .journal = journal,
                            .kind = "window",
                            .context = all};
}

static void expect_in_order(const size_t *windows, size_t count, size_t first) {
    assert_int_equal(count, WINDOWS - first);
    for (size_t i = 0; i < count; i++) assert_int_equal(windows[i], first + i);
}

static void test_grouping(void **state) {
    (void)state;
    seen reference = {.batches = 0};
    for (size_t most = 0; most <= WINDOWS; most++) {
        seen all = {.batches = 0};
        ds_run run;
        ds_window_pass pass = pass_of(&all, most, NULL);
        expect_ok(ds_run_open(&run, &sample));
        size_t batch = run.batch;
        expect_ok(ds_run_windows(&run, &pass));
        assert_int_equal(run.batch, batch);
        expect_in_order(all.computed, all.computed_count, 0);
        expect_in_order(all.taken, all.taken_count, 0);
        assert_true(most == 0 || all.largest <= most);
        if (most == 0) reference = all;
        assert_memory_equal(all.values, reference.values, sizeof all.values);
        ds_run_close(&run);
    }
}

static void test_selection(void **state) {
    (void)state;
    const size_t chosen[] = {1, 4, 5, 8};
    seen all = {.batches = 0};
    ds_run run;
    ds_window_pass pass = pass_of(&all, 0, NULL);
    pass.selected = chosen;
    pass.selected_count = 4;
    expect_ok(ds_run_open(&run, &sample));
    expect_ok(ds_run_windows(&run, &pass));
    assert_int_equal(all.computed_count, 4);
    assert_memory_equal(all.computed, chosen, sizeof chosen);
    assert_memory_equal(all.taken, chosen, sizeof chosen);
    ds_run_close(&run);
}

/* A pass that stops after any number of batches goes on where it stopped, and ends with the same numbers. */
static void test_resume(void **state) {
    (void)state;
    json_t *options = json_object();
    for (size_t stop = 1; stop <= 5; stop++) {
        ds_journal_plan plan = {.path = scratch_path("windows.journal")};
        for (int again = 0; again < 2; again++) {
            seen all = {.stop_after = again ? 0 : stop};
            ds_run run;
            ds_journal *journal = NULL;
            expect_ok(ds_run_open(&run, &sample));
            plan.resume = again;
            expect_ok(ds_run_journal(&journal, &run, &plan, "test", options));
            ds_window_pass pass = pass_of(&all, 2, journal);
            ds_status status = ds_run_windows(&run, &pass);
            assert_int_equal(status, again || stop == 5 ? DS_OK : DS_ERR_SYSTEM);
            if (again) {
                expect_in_order(all.taken, all.taken_count, 0);
                expect_in_order(all.computed, all.computed_count, ds_min_size(WINDOWS, 2 * stop));
            }
            ds_journal_close(&journal);
            ds_run_close(&run);
        }
    }
    json_decref(options);
}

/* ---- several ranks ----------------------------------------------------------------------------------------------- */

/* One rank's view of a pass. Number 0 alone keeps the journal, all have to come to it. */
typedef struct member {
    seen all;
    const char *journal; /* NULL: none */
    json_t *options;
} member;

static ds_status run_member(void *context, ds_ranks *ranks) {
    ds_status status = DS_OK;
    member *me = context;
    ds_run_options options = sample;
    ds_run run = {0};
    ds_journal *journal = NULL;
    ds_journal_plan plan = {.path = me->journal, .resume = true};
    options.ranks = ranks;
    DS_TRY(ds_run_open(&run, &options));
    DS_TRY(ds_run_journal(&journal, &run, ds_ranks_number(ranks) == 0 ? &plan : NULL, "test", me->options));
    ds_window_pass pass = pass_of(&me->all, 2, journal);
    DS_TRY(ds_run_windows(&run, &pass));
done:
    ds_journal_close(&journal);
    ds_run_close(&run);
    return status;
}

static void pass_alone(seen *alone) {
    ds_run run;
    ds_window_pass pass = pass_of(alone, 0, NULL);
    expect_ok(ds_run_open(&run, &sample));
    expect_ok(ds_run_windows(&run, &pass));
    ds_run_close(&run);
}

/* How many windows the members computed together; each took the records of all, in order, and they are those of one alone. */
static size_t expect_all_taken(const member *members, size_t count, const seen *alone) {
    size_t computed = 0;
    for (size_t r = 0; r < count; r++) {
        expect_in_order(members[r].all.taken, members[r].all.taken_count, 0);
        assert_int_equal(members[r].all.taken_count, WINDOWS);
        assert_memory_equal(members[r].all.values, alone->values, sizeof alone->values);
        computed += members[r].all.computed_count;
    }
    return computed;
}

static void test_ranks(void **state) {
    (void)state;
    seen alone = {.batches = 0};
    json_t *options = json_object();
    pass_alone(&alone);
    for (size_t count = 2; count <= 5; count++) {
        member members[5] = {0};
        ds_status statuses[5];
        for (size_t r = 0; r < count; r++) members[r].options = options;
        thread_ranks_run(count, run_member, members, sizeof *members, statuses, 300, count);
        for (size_t r = 0; r < count; r++) assert_int_equal(statuses[r], DS_OK);
        assert_int_equal(expect_all_taken(members, count, &alone), WINDOWS);
    }
    json_decref(options);
}

/* Any of the ranks fails after a batch; what came in is found by another number of ranks, and not computed again. */
static void test_ranks_resume(void **state) {
    (void)state;
    const char *path = scratch_path("ranks.journal");
    seen alone = {.batches = 0};
    json_t *options = json_object();
    pass_alone(&alone);
    for (size_t failing = 0; failing < 3; failing++) {
        member members[3] = {0}, again[4] = {0};
        ds_status statuses[4];
        for (size_t r = 0; r < 3; r++) members[r] = (member){.journal = path, .options = options};
        for (size_t r = 0; r < 4; r++) again[r] = (member){.journal = path, .options = options};
        (void)remove(path);
        members[failing].all.stop_after = 1;
        thread_ranks_run(3, run_member, members, sizeof *members, statuses, 300, failing);
        size_t kept = 0, counts = 2 + failing;
        for (size_t r = 0; r < 3; r++) kept += members[r].all.taken_count;
        if (kept == 3 * WINDOWS) continue; /* it was never given a second batch */
        for (size_t r = 0; r < 3; r++) assert_int_equal(statuses[r], DS_ERR_SYSTEM);
        assert_int_equal(kept, 0);
        thread_ranks_run(counts, run_member, again, sizeof *again, statuses, 300, failing);
        for (size_t r = 0; r < counts; r++) assert_int_equal(statuses[r], DS_OK);
        size_t computed = expect_all_taken(again, counts, &alone);
        assert_true(computed < WINDOWS);
    }
    json_decref(options);
}

static void test_one_window(void **state) {
    (void)state;
    uint32_t inputs[WINDOWS * T], targets[WINDOWS * T];
    ds_run run;
    expect_ok(ds_run_open(&run, &sample));
    expect_ok(ds_run_read_windows(&run, inputs, targets, 0, WINDOWS));
    for (size_t w = WINDOWS; w-- > 0;) {
        ds_batch batch;
        expect_ok(ds_run_window(&run, w, &batch));
        assert_int_equal(batch.sequences, 1);
        assert_memory_equal(batch.tokens, inputs + w * T, T * sizeof *inputs);
        assert_memory_equal(batch.targets, targets + w * T, T * sizeof *inputs);
    }
    ds_run_close(&run);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_grouping), cmocka_unit_test(test_selection),    cmocka_unit_test(test_resume),
        cmocka_unit_test(test_ranks),    cmocka_unit_test(test_ranks_resume), cmocka_unit_test(test_one_window),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
