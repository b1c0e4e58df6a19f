/* When the system fails: no memory, no disk, nobody listening, a signal. The previous result stays or the new one is whole, the
 * exit status says what happened, and no temporary is left. And when the numbers fail: NaN and infinity are named. */
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "child.h"
#include "deltascope/io.h"
#include "scratch.h"
#include "support.h"
#include "sweep.h"
#include "tiny_model.h"

static child ran;

static int prepare(void **state) {
    (void)state;
    sweep_prepare();
    return 0;
}

/* A sample of what the long test does for every allocation. */
static void test_memory_runs_out(void **state) {
    (void)state;
    size_t runs = 0;
    for (size_t command = 0; command < sweep_commands(); command++)
        runs += sweep_allocations(command, 16, command % 2 == 1).runs;
    print_message("%zu runs\n", runs);
    assert_true(runs > 20);
}

static void expect_system_failure(const char *what, const char *words) {
    if (ran.status != 4 || strstr(ran.err, words) == NULL)
        fail_msg("%s: status %d, signal %d, \"%s\" expected in \"%s\"", what, ran.status, ran.signal, words, ran.err);
}

/* Nobody reads any more, as behind "| head": that is no failure. */
static void expect_quiet_end(const char *what) {
    bool complains = strstr(ran.err, "written") != NULL || strstr(ran.err, "pipe") != NULL;
    if ((ran.status != 0 && ran.signal != SIGPIPE) || complains)
        fail_msg("%s: status %d, signal %d, \"%s\"", what, ran.status, ran.signal, ran.err);
}

static void test_the_disk_is_full(void **state) {
    (void)state;
    for (size_t command = 0; command < sweep_commands(); command++) {
        const char *what = sweep_name(command);
        const child_limits no_limits = {0};
        sweep_reset_result();
        child_run(&ran, sweep_arguments(command), no_limits);
        if (ran.status == 2) continue; /* the program has no such command */
        size_t length;
        char *bytes;
        expect_ok(ds_read_file(&bytes, &length, sweep_result(), 1 << 24));
        bool writes = strcmp(bytes, "the previous result\n") != 0;
        free(bytes);
        sweep_reset_result();
        child_run(&ran, sweep_arguments(command), (child_limits){.file_size = 4});
        if (writes) expect_system_failure(what, "could not be written in full");
        sweep_expect_untouched(what);
        sweep_reset_result();
        child_run(&ran, sweep_arguments(command), (child_limits){.out = "/dev/full"});
        if (ran.status != 0) expect_system_failure(what, "could not be written in full");
        child_run(&ran, sweep_arguments(command), (child_limits){.closed_out = true});
        expect_quiet_end(what);
    }
}

/* FLINT aborts and OpenBLAS tries for ever, if they are let. With room for little more than the program itself, any command
 * still ends soon and says why; with every size in between it ends too. */
static void test_libraries_without_memory(void **state) {
    (void)state;
    if (child_under_sanitizer()) return; /* its shadow needs more than any limit */
    size_t refused = 0;
    assert_int_equal(setenv("OPENBLAS_NUM_THREADS", "1", 1), 0); /* its own threads map blocks before main */
    for (uint64_t mebibytes = 112; mebibytes <= 352; mebibytes += 12) {
        const child_limits limits = {.address_space = mebibytes << 20, .seconds = 20};
        sweep_reset_result();
        CHILD_RUN(&ran, limits, "spectrum", "--certify", "--quiet", "--tokens", scratch_path("ids.bin"), "--seq-len", "8",
                  "--threads", "1", "--json", sweep_result(), scratch_path("tiny"));
        if (ran.status == 0) continue;
        if (ran.status == 127) continue; /* the libraries themselves cannot be loaded */
        expect_system_failure("little memory", "out of memory");
        sweep_expect_untouched("little memory");
        refused++;
    }
    assert_int_equal(unsetenv("OPENBLAS_NUM_THREADS"), 0);
    print_message("%zu of 21 limits were too small\n", refused);
    assert_int_equal(ran.status, 0);
}

static bool has_argument(size_t command, const char *word) {
    const char *const *arguments = sweep_arguments(command);
    for (size_t i = 0; arguments[i] != NULL; i++) {
        if (strcmp(arguments[i], word) == 0) return true;
    }
    return false;
}

/* Where FLINT would abort: a sentence, status 4, no signal, no temporary. */
static void test_ball_arithmetic_without_memory(void **state) {
    (void)state;
    if (child_under_sanitizer()) return; /* whose build fails the program's own calls only */
    for (size_t command = 0; command < sweep_commands(); command++) {
        if (!has_argument(command, "--certify")) continue;
        sweep_count count = sweep_allocations(command, 160, false);
        print_message("%zu of %zu runs ended inside ball arithmetic\n", count.given_up, count.runs);
        assert_true(count.given_up > 5);
    }
}

static void test_devices_and_missing_folders_as_results(void **state) {
    (void)state;
    const char *model = scratch_path("tiny"), *ids = scratch_path("ids.bin");
    CHILD_RUN(&ran, (child_limits){0}, "gates", "--quiet", "--tokens", ids, "--seq-len", "8", "--json", "/dev/full", model);
    expect_system_failure("/dev/full", "/dev/full: could not be written in full");
    CHILD_RUN(&ran, (child_limits){0}, "gates", "--quiet", "--tokens", ids, "--seq-len", "8", "--json",
              scratch_path("absent/result"), model);
    expect_system_failure("absent folder", "absent/result");
    CHILD_RUN(&ran, (child_limits){0}, "gates", "--quiet", "--tokens", ids, "--seq-len", "8", "--out", ids, model);
    expect_system_failure("a file as --out", "exists and is not a folder");
    CHILD_RUN(&ran, (child_limits){.closed_out = true}, "gates", "--tokens", ids, "--seq-len", "8", model);
    expect_quiet_end("closed pipe");
    assert_int_equal(ran.signal, SIGPIPE);
    CHILD_RUN(&ran, (child_limits){.closed_out = true}, "gates", "--tokens", ids, "--seq-len", "8", "--json", "-", model);
    expect_quiet_end("closed pipe for a result");
    assert_int_equal(ran.signal, SIGPIPE);
}

/* The signal comes when the temporary is complete and the result not yet replaced. */
static void test_signals_while_writing(void **state) {
    (void)state;
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    const char *built = getenv("DELTASCOPE");
    char program[512], number[16];
    (void)snprintf(program, sizeof program, "%s-faults", built == NULL ? "build/deltascope" : built);
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        (void)snprintf(number, sizeof number, "%d", signals[i]);
        sweep_reset_result();
        child_run_program(&ran, program, sweep_arguments(0), (child_limits){.preset = {"FAULT_SIGNAL", number}});
        if (ran.signal != signals[i])
            fail_msg("signal %d: ended with status %d, signal %d", signals[i], ran.status, ran.signal);
        sweep_expect_untouched("a signal");
    }
}

/* ... and at any moment. */
static void test_signals_at_any_moment(void **state) {
    (void)state;
    enum { MOMENTS = 60 };
    size_t killed = 0;
    child_run(&ran, sweep_arguments(0), (child_limits){0});
    double whole_run = 1e6 * ran.seconds;
    for (unsigned i = 0; i < MOMENTS; i++) {
        sweep_reset_result();
        child_run(&ran, sweep_arguments(0),
                  (child_limits){.kill_with = i % 2 == 0 ? SIGTERM : SIGINT,
                                 .kill_after = (unsigned)(1.2 * whole_run * i / MOMENTS)});
        if (ran.signal == 0) {
            assert_int_equal(ran.status, 0);
        } else {
            assert_true(ran.signal == SIGTERM || ran.signal == SIGINT);
            killed++;
        }
        size_t length;
        char *bytes;
        expect_ok(ds_read_file(&bytes, &length, sweep_result(), 1 << 24));
        if (strcmp(bytes, "the previous result\n") == 0) {
            sweep_expect_untouched("a signal");
        } else {
            json_t *whole;
            expect_ok(ds_json_parse(&whole, bytes, length, "result"));
            json_decref(whole);
        }
        free(bytes);
    }
    print_message("%zu of %d runs were cut short\n", killed, MOMENTS);
    assert_true(killed > 0);
}

/* ---- numbers ----------------------------------------------------------------------------------------------------- */

/* The tiny model with `count` values of one tensor, from element `first` on, replaced. */
static void spoil(const char *tensor_name, size_t first, size_t count, float value) {
    const char *path = scratch_path("tiny/model.safetensors");
    ds_checkpoint *checkpoint;
    char *bytes;
    size_t length;
    expect_ok(tiny_write(path, "ddl-cc-ec"));
    expect_ok(ds_checkpoint_open(&checkpoint, path, NULL));
    const ds_tensor *tensor = ds_checkpoint_find(checkpoint, tensor_name);
    assert_non_null(tensor);
    assert_true(first + count <= tensor->count);
    expect_ok(ds_read_file(&bytes, &length, path, 1 << 20));
    for (size_t i = 0; i < count; i++) memcpy(bytes + tensor->offset + (first + i) * sizeof value, &value, sizeof value);
    (void)scratch_write("tiny/model.safetensors", bytes, length);
    ds_checkpoint_close(&checkpoint);
    free(bytes);
}

static void expect_named(const char *words, bool needs_loss) {
    static const char *const each[] = {"gates", "ablate", "spectrum"}; /* the last one has no use for the output head */
    for (size_t i = 0; i < (needs_loss ? 2 : 3); i++) {
        sweep_reset_result();
        CHILD_RUN(&ran, (child_limits){0}, each[i], "--tokens", scratch_path("ids.bin"), "--seq-len", "8", "--json",
                  sweep_result(), scratch_path("tiny"));
        if (ran.status != 3 || strstr(ran.err, words) == NULL)
            fail_msg("%s: status %d, \"%s\" expected in \"%s\"", each[i], ran.status, words, ran.err);
        sweep_expect_untouched(each[i]);
    }
}

static void test_numbers_that_are_none_are_named(void **state) {
    (void)state;
    spoil("transformer.h.1.mlp.c_fc1.weight", 17, 1, (float)NAN);
    expect_named("transformer.h.1.mlp.c_fc1.weight", false);
    spoil("transformer.h.0.ln_1.weight", 7, 1, -INFINITY);
    expect_named("transformer.h.0.ln_1.weight", false);
    /* finite weights, infinite products: h of the second layer's MLP, then the logits */
    spoil("transformer.h.1.mlp.c_fc1.weight", 0, 64, 3e38F);
    expect_named("sublayer 1.mlp leaves a NaN or an infinity in the state of sequence 0 at position 0", false);
    spoil("ln_f.weight", 0, 8, 3e38F);
    expect_named("the output head gives", true);
    expect_ok(tiny_write(scratch_path("tiny/model.safetensors"), "ddl-cc-ec"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory_runs_out),
        cmocka_unit_test(test_ball_arithmetic_without_memory),
        cmocka_unit_test(test_libraries_without_memory),
        cmocka_unit_test(test_the_disk_is_full),
        cmocka_unit_test(test_devices_and_missing_folders_as_results),
        cmocka_unit_test(test_signals_while_writing),
        cmocka_unit_test(test_signals_at_any_moment),
        cmocka_unit_test(test_numbers_that_are_none_are_named),
    };
    return cmocka_run_group_tests(tests, prepare, NULL);
}
