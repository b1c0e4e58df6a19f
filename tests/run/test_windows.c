/* The loop over windows: every window once and in order, whatever the batches; records that are found are not computed. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "deltascope/run.h"
#include "scratch.h"
#include "support.h"

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

static void take(void *context, size_t window, const double *record) {
    seen *all = context;
    assert_true(record[1] == -record[0]);
    all->values[window] = record[0];
    all->taken[all->taken_count++] = window;
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

/* ---- several processes ------------------------------------------------------------------------------------------- */

enum { PROCESSES = 3 };

/* Threads stand for processes: what one sends lies here until the others have it. */
typedef struct mail {
    pthread_mutex_t lock;
    pthread_cond_t sent;
    double records[WINDOWS][2];
    bool there[WINDOWS];
} mail;

typedef struct process {
    mail *box;
    size_t number;
    seen all;
    ds_status status;
} process;

static ds_status exchange(void *context, size_t owner, size_t window, double *record, size_t length) {
    process *p = context;
    pthread_mutex_lock(&p->box->lock);
    if (owner == p->number) {
        memcpy(p->box->records[window], record, length * sizeof *record);
        p->box->there[window] = true;
        pthread_cond_broadcast(&p->box->sent);
    }
    while (!p->box->there[window]) pthread_cond_wait(&p->box->sent, &p->box->lock);
    memcpy(record, p->box->records[window], length * sizeof *record);
    pthread_mutex_unlock(&p->box->lock);
    return DS_OK;
}

static void *run_share(void *argument) {
    process *p = argument;
    ds_run_options options = sample;
    ds_run run;
    ds_window_pass pass = pass_of(&p->all, 2, NULL);
    options.share = (ds_share){p->number, PROCESSES, exchange, p};
    p->status = ds_run_open(&run, &options);
    if (p->status == DS_OK) p->status = ds_run_windows(&run, &pass);
    ds_run_close(&run);
    return NULL;
}

/* Together they compute every window once, and each gets the records of all, in order. */
static void test_shares(void **state) {
    (void)state;
    mail box = {.lock = PTHREAD_MUTEX_INITIALIZER, .sent = PTHREAD_COND_INITIALIZER};
    process processes[PROCESSES];
    pthread_t threads[PROCESSES];
    seen alone = {.batches = 0};
    ds_run run;
    ds_window_pass pass = pass_of(&alone, 0, NULL);
    size_t computed = 0;
    expect_ok(ds_run_open(&run, &sample));
    expect_ok(ds_run_windows(&run, &pass));
    for (size_t i = 0; i < PROCESSES; i++) {
        processes[i] = (process){.box = &box, .number = i};
        assert_int_equal(pthread_create(&threads[i], NULL, run_share, &processes[i]), 0);
    }
    for (size_t i = 0; i < PROCESSES; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(processes[i].status, DS_OK);
        expect_in_order(processes[i].all.taken, processes[i].all.taken_count, 0);
        assert_memory_equal(processes[i].all.values, alone.values, sizeof alone.values);
        for (size_t w = 0; w < processes[i].all.computed_count; w++) assert_int_equal(processes[i].all.computed[w], computed++);
    }
    assert_int_equal(computed, WINDOWS);
    ds_run_close(&run);
}

static void test_shares_refused(void **state) {
    (void)state;
    ds_run_options options = sample;
    seen all = {.batches = 0};
    ds_run run;
    ds_window_pass pass = pass_of(&all, 0, NULL);
    process one = {.number = 0};
    options.share = (ds_share){3, 2, exchange, &one};
    expect_ok(ds_run_open(&run, &options));
    expect_failure(ds_run_windows(&run, &pass), DS_ERR_USAGE, "process 3 of 2");
    run.options.share = (ds_share){0, 2, exchange, &one};
    pass.record_length = 0;
    expect_failure(ds_run_windows(&run, &pass), DS_ERR_USAGE, "measured by one process, not by 2");
    assert_int_equal(all.batches, 0);
    ds_run_close(&run);
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
        cmocka_unit_test(test_grouping), cmocka_unit_test(test_selection),      cmocka_unit_test(test_resume),
        cmocka_unit_test(test_shares),   cmocka_unit_test(test_shares_refused), cmocka_unit_test(test_one_window),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
