/* Parallel loops from several application threads at once, after fork(), and while the number of threads changes. */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child.h"
#include "deltascope/io.h"
#include "deltascope/model.h"
#include "support.h"

enum { SEQUENCES = 4, LENGTH = 64, TOKENS = SEQUENCES * LENGTH, ROUNDS = 200, SUMS = 64 };

/* Two callers of one model, each with tokens of its own and the losses of a run alone. */
typedef struct caller {
    const ds_model *model;
    uint32_t ids[TOKENS + 1];
    double alone[TOKENS];
    size_t rounds, wrong, failed;
} caller;

static void run_once(double *nll, const caller *c, ds_workspace *workspace) {
    ds_batch batch = {c->ids, c->ids + 1, SEQUENCES, LENGTH};
    expect_ok(ds_forward(workspace, c->model, &batch, NULL, NULL, nll));
}

/* No assertion here: they belong to the test's own thread. */
static void *run_rounds(void *argument) {
    caller *c = argument;
    ds_workspace *workspace = NULL;
    ds_batch batch = {c->ids, c->ids + 1, SEQUENCES, LENGTH};
    double nll[TOKENS];
    if (ds_workspace_new(&workspace, c->model, SEQUENCES, LENGTH) != DS_OK) {
        c->failed = c->rounds;
        return NULL;
    }
    for (size_t i = 0; i < c->rounds; i++) {
        memset(nll, 0xff, sizeof nll);
        if (ds_forward(workspace, c->model, &batch, NULL, NULL, nll) != DS_OK) c->failed++;
        /* NOLINTNEXTLINE(bugprone-suspicious-memory-comparison,cert-exp42-c,cert-flp37-c): the same bits are meant */
        else if (memcmp(nll, c->alone, sizeof nll) != 0)
            c->wrong++;
    }
    ds_workspace_free(&workspace);
    return NULL;
}

static ds_model *open_callers(caller callers[2], size_t rounds) {
    ds_checkpoint *checkpoint;
    ds_tokens *tokens;
    ds_model *model;
    expect_ok(ds_checkpoint_open(&checkpoint, "fixtures/models/ddl-cc-ec", NULL));
    expect_ok(ds_model_load(&model, checkpoint, DS_F32));
    ds_checkpoint_close(&checkpoint);
    expect_ok(ds_tokens_open(&tokens, "fixtures/data/val.bin", ds_model_spec(model)->vocab));
    for (size_t i = 0; i < 2; i++) {
        ds_workspace *workspace;
        callers[i] = (caller){.model = model, .rounds = rounds};
        expect_ok(ds_tokens_read(tokens, callers[i].ids, i * 5000, TOKENS + 1));
        expect_ok(ds_workspace_new(&workspace, model, SEQUENCES, LENGTH));
        run_once(callers[i].alone, &callers[i], workspace);
        ds_workspace_free(&workspace);
    }
    ds_tokens_close(&tokens);
    return model;
}

static void two_threads_share_a_model(void **state) {
    (void)state;
    static caller callers[2];
    for (size_t threads = 1; threads <= 4; threads++) {
        expect_ok(ds_threads_set(threads));
        ds_model *model = open_callers(callers, ROUNDS / threads);
        pthread_t running[2];
        for (size_t i = 0; i < 2; i++) assert_int_equal(pthread_create(&running[i], NULL, run_rounds, &callers[i]), 0);
        for (size_t i = 0; i < 2; i++) assert_int_equal(pthread_join(running[i], NULL), 0);
        for (size_t i = 0; i < 2; i++) {
            assert_int_equal(callers[i].failed, 0);
            assert_int_equal(callers[i].wrong, 0);
        }
        ds_model_free(&model);
    }
}

/* The workspaces are made under other numbers than they are used under, also while they are. */
static void the_number_may_change_meanwhile(void **state) {
    (void)state;
    static caller callers[2];
    expect_ok(ds_threads_set(2));
    ds_model *model = open_callers(callers, ROUNDS);
    pthread_t running[2];
    for (size_t i = 0; i < 2; i++) assert_int_equal(pthread_create(&running[i], NULL, run_rounds, &callers[i]), 0);
    for (size_t i = 0; i < 300; i++) {
        expect_ok(ds_threads_set(1 + i % 5));
        if (i % 50 == 49) ds_threads_stop();
        (void)usleep(300);
    }
    for (size_t i = 0; i < 2; i++) assert_int_equal(pthread_join(running[i], NULL), 0);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(callers[i].failed, 0);
        assert_int_equal(callers[i].wrong, 0);
    }
    ds_model_free(&model);
}

static void a_forked_child_has_workers(void **state) {
    (void)state;
    static caller callers[2];
    expect_ok(ds_threads_set(3));
    ds_model *model = open_callers(callers, ROUNDS);
    pthread_t other;
    /* Another thread runs a model while this one forks. A sanitizer's allocator is not made for that: a lock that the other
     * thread holds stays taken in the child. */
    bool busy = !child_under_sanitizer();
    if (!busy) (void)run_rounds(&callers[1]);
    if (busy) assert_int_equal(pthread_create(&other, NULL, run_rounds, &callers[1]), 0);
    for (size_t i = 0; i < 5; i++) {
        pid_t forked = fork();
        assert_true(forked >= 0);
        if (forked == 0) {
            (void)alarm(60);
            callers[0].rounds = 10;
            (void)run_rounds(&callers[0]);
            ds_threads_stop();
            _exit(callers[0].failed + callers[0].wrong == 0 ? 0 : 1);
        }
        int outcome;
        assert_int_equal(waitpid(forked, &outcome, 0), forked);
        assert_true(WIFEXITED(outcome) && WEXITSTATUS(outcome) == 0);
    }
    if (busy) assert_int_equal(pthread_join(other, NULL), 0);
    assert_int_equal(callers[1].failed + callers[1].wrong, 0);
    ds_model_free(&model);
}

/* ---- loops alone --------------------------------------------------------------------------------------------------- */

typedef struct tally {
    atomic_size_t calls[SUMS], inside[8], clashes;
    size_t workers, bad_index;
} tally;

static ds_status count_call(void *context, size_t index, size_t worker) {
    tally *t = context;
    if (worker >= t->workers || atomic_fetch_add(&t->inside[worker], 1) != 0) {
        atomic_fetch_add(&t->clashes, 1);
        return DS_OK;
    }
    atomic_fetch_add(&t->calls[index], 1);
    atomic_fetch_sub(&t->inside[worker], 1);
    return index >= t->bad_index ? ds_fail(DS_ERR_INPUT, "index %zu", index) : DS_OK;
}

static void *count_often(void *argument) {
    tally *t = argument;
    for (size_t i = 0; i < 2000; i++) {
        if (ds_parallel_for_within(t->workers, SUMS, count_call, t) != DS_OK) atomic_fetch_add(&t->clashes, 1);
    }
    return NULL;
}

/* Every index once, and no worker number twice at a time within a call. */
static void callers_have_workers_of_their_own(void **state) {
    (void)state;
    enum { CALLERS = 4 };
    static tally tallies[CALLERS];
    pthread_t running[CALLERS];
    expect_ok(ds_threads_set(4));
    for (size_t i = 0; i < CALLERS; i++) {
        tallies[i].workers = 1 + i;
        tallies[i].bad_index = SIZE_MAX;
        assert_int_equal(pthread_create(&running[i], NULL, count_often, &tallies[i]), 0);
    }
    for (size_t i = 0; i < CALLERS; i++) {
        assert_int_equal(pthread_join(running[i], NULL), 0);
        assert_int_equal(atomic_load(&tallies[i].clashes), 0);
        for (size_t k = 0; k < SUMS; k++) assert_int_equal(atomic_load(&tallies[i].calls[k]), 2000);
    }
    static tally failing = {.workers = 4, .bad_index = 23};
    for (size_t i = 0; i < 500; i++) expect_failure(ds_parallel_for(SUMS, count_call, &failing), DS_ERR_INPUT, "index 23");
}

static ds_status nest(void *context, size_t index, size_t worker) {
    tally *t = context;
    (void)index, (void)worker;
    return ds_parallel_for(SUMS, count_call, &t[index]);
}

static void a_task_may_have_a_loop_of_its_own(void **state) {
    (void)state;
    static tally inner[6];
    expect_ok(ds_threads_set(3));
    for (size_t i = 0; i < 6; i++) inner[i] = (tally){.workers = 3, .bad_index = SIZE_MAX};
    expect_ok(ds_parallel_for(6, nest, inner));
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(atomic_load(&inner[i].clashes), 0);
        for (size_t k = 0; k < SUMS; k++) assert_int_equal(atomic_load(&inner[i].calls[k]), 1);
    }
}

static void a_number_of_this_thread_alone(void **state) {
    (void)state;
    expect_ok(ds_threads_set(2));
    expect_ok(ds_threads_set_here(5));
    assert_int_equal(ds_threads(), 5);
    assert_int_equal(ds_threads_here(), 5);
    expect_ok(ds_threads_set(3));
    assert_int_equal(ds_threads(), 5);
    expect_ok(ds_threads_set_here(0));
    assert_int_equal(ds_threads(), 3);
    expect_failure(ds_threads_set(257), DS_ERR_USAGE, "at most 256");
    expect_failure(ds_threads_set_here(257), DS_ERR_USAGE, "at most 256");
    ds_threads_stop();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_threads_share_a_model),         cmocka_unit_test(the_number_may_change_meanwhile),
        cmocka_unit_test(a_forked_child_has_workers),        cmocka_unit_test(callers_have_workers_of_their_own),
        cmocka_unit_test(a_task_may_have_a_loop_of_its_own), cmocka_unit_test(a_number_of_this_thread_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
