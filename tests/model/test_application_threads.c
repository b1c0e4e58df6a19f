/* The library in another program: threads of the application run models at the same time, and a child after fork() goes on.
 * All get the bits that one thread gets alone. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "deltascope/gradient.h"
#include "forward_case.h"
#include "support.h"

enum { CALLERS = 3, ROUNDS = 60, WINDOWS = 4, LENGTH = 48, TOKENS = WINDOWS * LENGTH };

/* One thread of the application. */
typedef struct caller {
    const ds_model *model;
    ds_batch batch;
    double expected[TOKENS];
    size_t rounds, wrong, failed;
} caller;

/* A round makes its own workspace: the number of threads is what it is then. */
static ds_status run_once(double *nll, const caller *c) {
    ds_status status;
    ds_workspace *workspace = NULL;
    DS_TRY(ds_workspace_new(&workspace, c->model, WINDOWS, LENGTH));
    DS_TRY(ds_forward(workspace, c->model, &c->batch, NULL, NULL, nll));
done:
    ds_workspace_free(&workspace);
    return status;
}

static void *run_rounds(void *argument) {
    caller *c = argument;
    double nll[TOKENS];
    for (c->rounds = 0; c->rounds < ROUNDS; c->rounds++) {
        memset(nll, 0xff, sizeof nll);
        if (run_once(nll, c) != DS_OK)
            c->failed++;
        else if (memcmp(nll, c->expected, sizeof nll) != 0)
            c->wrong++;
    }
    return NULL;
}

static void expect_right(const caller *c) {
    assert_int_equal(c->rounds, ROUNDS);
    assert_int_equal(c->failed, 0);
    assert_int_equal(c->wrong, 0);
}

static void run_callers(const char *model, size_t threads) {
    forward_case c = forward_case_open(model, DS_F32, CALLERS * WINDOWS, LENGTH);
    static caller callers[CALLERS];
    pthread_t ids[CALLERS];
    expect_ok(ds_threads_set(1));
    for (size_t i = 0; i < CALLERS; i++) {
        callers[i] = (caller){.model = c.model, .batch = {c.tokens + i * TOKENS, c.targets + i * TOKENS, WINDOWS, LENGTH}};
        expect_ok(run_once(callers[i].expected, &callers[i]));
    }
    expect_ok(ds_threads_set(threads));
    for (size_t i = 0; i < CALLERS; i++) assert_int_equal(pthread_create(&ids[i], NULL, run_rounds, &callers[i]), 0);
    for (size_t round = 0; round < 20; round++) expect_ok(ds_threads_set(threads + round % 2)); /* while they run */
    for (size_t i = 0; i < CALLERS; i++) assert_int_equal(pthread_join(ids[i], NULL), 0);
    for (size_t i = 0; i < CALLERS; i++) expect_right(&callers[i]);
    forward_case_close(&c);
}

static void threads_of_the_application(void **state) {
    (void)state;
    const char *const models[] = {"ddl-cc-ec", "scalar-kvshift", "additive-small"};
    for (size_t m = 0; m < 3; m++) {
        for (size_t threads = 1; threads <= 4; threads++) run_callers(models[m], threads);
    }
}

/* The parent's workers are there when it forks; the child has none of them. */
static void a_child_after_fork(void **state) {
    (void)state;
    forward_case c = forward_case_open("ddl-cc-ec", DS_F32, WINDOWS, LENGTH);
    caller only = {.model = c.model, .batch = {c.tokens, c.targets, WINDOWS, LENGTH}};
    expect_ok(ds_threads_set(3));
    expect_ok(run_once(only.expected, &only));
    for (size_t i = 0; i < 5; i++) {
        int how;
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            (void)alarm(60);
            run_rounds(&only);
            _exit(only.failed != 0 ? 2 : only.wrong != 0);
        }
        run_rounds(&only);
        expect_right(&only);
        assert_int_equal(waitpid(child, &how, 0), child);
        assert_true(WIFEXITED(how));
        assert_int_equal(WEXITSTATUS(how), 0);
    }
    forward_case_close(&c);
}

/* A number of threads of one's own leaves the others' alone. */
static void threads_here(void **state) {
    (void)state;
    expect_ok(ds_threads_set(2));
    ds_threads_here(5);
    assert_int_equal(ds_threads(), 5);
    ds_threads_here(0);
    assert_int_equal(ds_threads(), 2);
    expect_failure(ds_threads_set(1 << 20), DS_ERR_USAGE, "threads asked for");
}

static int stop(void **state) {
    (void)state;
    ds_threads_stop();
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_of_the_application),
        cmocka_unit_test(a_child_after_fork),
        cmocka_unit_test(threads_here),
    };
    return cmocka_run_group_tests(tests, NULL, stop);
}
