/* The library in another program: it changes nothing of the process unless asked, and installs like a library. */
#include <gmp.h>
#include <gsl/gsl_errno.h>
#include <jansson.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "child.h"
#include "deltascope/io.h"
#include "deltascope/model.h"
#include "deltascope/run.h"
#include "deltascope/spectra.h"
#include "deltascope/stats.h"
#include "scratch.h"
#include "support.h"

typedef struct hooks {
    json_malloc_t json_malloc;
    json_free_t json_free;
    void *(*gmp_allocate)(size_t);
    void *(*gmp_resize)(void *, size_t, size_t);
    void (*gmp_free)(void *, size_t);
    gsl_error_handler_t *gsl;
    struct sigaction pipe;
} hooks;

static hooks look(void) {
    hooks h = {0};
    json_get_alloc_funcs(&h.json_malloc, &h.json_free);
    mp_get_memory_functions(&h.gmp_allocate, &h.gmp_resize, &h.gmp_free);
    h.gsl = gsl_set_error_handler(NULL);
    (void)gsl_set_error_handler(h.gsl);
    assert_int_equal(sigaction(SIGPIPE, NULL, &h.pipe), 0);
    return h;
}

static void use_every_room(void) {
    ds_checkpoint *checkpoint;
    ds_certifier *certifier;
    ds_correlation r;
    ds_paired paired;
    const double x[] = {0.25, 3.5, -1.75, 2.125, 9.5}, y[] = {1.5, 2.25, -3.5, 0.75, 4.125};
    expect_ok(ds_checkpoint_open(&checkpoint, "fixtures/models/ddl-cc-ec", NULL));
    ds_checkpoint_close(&checkpoint);
    expect_ok(ds_certifier_new(&certifier, 4, 3));
    ds_certifier_free(&certifier);
    expect_ok(ds_pearson(&r, x, y, 5));
    expect_ok(ds_spearman(&r, x, y, 5));
    expect_ok(ds_paired_bootstrap(&paired, x, 1, 5, 100, 1));
}

static void nothing_is_changed_unasked(void **state) {
    (void)state;
    hooks before = look();
    use_every_room();
    hooks after = look();
    assert_true(before.json_malloc == after.json_malloc && before.json_free == after.json_free);
    assert_true(before.gmp_allocate == after.gmp_allocate && before.gmp_resize == after.gmp_resize);
    assert_true(before.gmp_free == after.gmp_free);
    assert_true(before.gsl == after.gsl);
    assert_true(before.pipe.sa_handler == after.pipe.sa_handler);
}

static void asked_it_changes_what_it_names(void **state) {
    (void)state;
    hooks before = look();
    ds_process_hooks();
    hooks after = look();
    assert_true(before.json_malloc != after.json_malloc && before.json_free == after.json_free);
    assert_true(before.gmp_allocate != after.gmp_allocate);
    assert_true(before.gsl == after.gsl);
    ds_process_hooks();
    hooks again = look();
    assert_true(after.json_malloc == again.json_malloc && after.gmp_allocate == again.gmp_allocate);
    use_every_room();
}

/* Little address space: OpenBLAS would try for ever to start threads that there is no room for. Either an answer, or a
 * sentence; below about 100 MiB the system's loader itself gives up (127). */
static void it_ends_where_no_thread_can_start(void **state) {
    (void)state;
    const char *program = getenv("DELTASCOPE") != NULL ? getenv("DELTASCOPE") : "build/deltascope";
    if (child_under_sanitizer()) skip(); /* shadow memory needs more than any of these limits */
    for (unsigned kib = 90000; kib <= 400000; kib += kib < 200000 ? 20000 : 100000) {
        for (int help = 0; help < 2; help++) {
            char command[4096];
            (void)snprintf(command, sizeof command,
                           "ulimit -v %u; unset OPENBLAS_NUM_THREADS; exec timeout 10 '%s' %s >/dev/null 2>/dev/null", kib,
                           program, help ? "--help" : "--version");
            int outcome = system(command);
            assert_true(WIFEXITED(outcome));
            int status = WEXITSTATUS(outcome);
            if (status != 0 && status != DS_ERR_SYSTEM && !(status == 127 && kib < 120000))
                fail_msg("ulimit -v %u: %s ends with status %d", kib, help ? "--help" : "--version", status);
        }
    }
}

/* tests/install/install.sh says what is wrong; the folder's name has a space. */
static void it_installs(void **state) {
    (void)state;
    const char *program = getenv("DELTASCOPE") != NULL ? getenv("DELTASCOPE") : "build/deltascope";
    char command[4096];
    (void)snprintf(command, sizeof command, "tests/install/install.sh \"$(dirname '%s')\" '%s'", program,
                   scratch_path("a prefix"));
    assert_int_equal(system(command), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_changed_unasked),
        cmocka_unit_test(asked_it_changes_what_it_names),
        cmocka_unit_test(it_ends_where_no_thread_can_start),
        cmocka_unit_test(it_installs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
