/* What a run reads, and what an earlier run finished, survives whatever the outputs are called. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "child.h"
#include "deltascope/io.h"
#include "scratch.h"
#include "support.h"

#define MODEL "fixtures/models/scalar-safetensors"
#define CHEAP_REPORT "--skip", "spectrum,weights,ablate,controls,gradflow,jacobians,verify"

static const child_limits usual = {.seconds = 120};

static void copy(const char *from, const char *to) {
    char *bytes;
    size_t length;
    expect_ok(ds_read_file(&bytes, &length, from, 1 << 26));
    (void)scratch_write(to, bytes, length);
    free(bytes);
}

/* ---- inputs ------------------------------------------------------------------------------------------------------ */

static const char *const inputs[] = {"model/model.safetensors", "model/config.json", "data/val.bin", "data/meta.pkl",
                                     "data/words.txt"};
enum { INPUTS = sizeof inputs / sizeof *inputs };
static char digests[INPUTS][65];

static void prepare(void) {
    copy(MODEL "/model.safetensors", inputs[0]);
    copy(MODEL "/config.json", inputs[1]);
    copy("fixtures/data/val.bin", inputs[2]);
    copy("fixtures/data/meta.pkl", inputs[3]);
    (void)scratch_write(inputs[4], "To be, or not to be, that is the question.\n", 43);
    for (size_t i = 0; i < INPUTS; i++) expect_ok(ds_sha256_file(digests[i], NULL, scratch_path(inputs[i]), 1 << 26));
}

static void expect_inputs_kept(const char *what) {
    for (size_t i = 0; i < INPUTS; i++) {
        char digest[65];
        expect_ok(ds_sha256_file(digest, NULL, scratch_path(inputs[i]), 1 << 26));
        if (strcmp(digest, digests[i]) != 0) fail_msg("%s: %s is no longer what it was", what, inputs[i]);
    }
}

static void expect_refused(const char *const *arguments, const char *what) {
    child result;
    child_run(&result, arguments, usual);
    if (result.status != 2 || strstr(result.err, "is an input of this run") == NULL)
        fail_msg("%s: status %d: %s", what, result.status, result.err);
    expect_inputs_kept(what);
}

/* Every output option over every input, by its name, by another spelling, by a link, by a second name: drawn at random. */
static void no_output_over_an_input(void **state) {
    (void)state;
    ds_random random = ds_random_init(20261130);
    prepare();
    for (size_t round = 0; round < 60; round++) {
        size_t which = ds_random_below(&random, INPUTS), spelling = ds_random_below(&random, 4),
               way = ds_random_below(&random, 3);
        const char *input = scratch_path(inputs[which]), *output = scratch_path("alias");
        char other[512];
        (void)unlink(output);
        if (spelling == 0) {
            output = input;
        } else if (spelling == 1) {
            (void)snprintf(other, sizeof other, "%s/../%s", scratch_path("data"), inputs[which]);
            output = other;
        } else {
            assert_int_equal(spelling == 2 ? symlink(input, output) : link(input, output), 0);
        }
        const char *model = round % 2 == 0 ? scratch_path("model") : scratch_path(inputs[0]);
        if (way == 0 && which >= 3)
            expect_refused((const char *const[]){"tokenize", "--text", scratch_path(inputs[4]), "--tokenizer",
                                                 scratch_path(inputs[3]), "--output", output, NULL},
                           inputs[which]);
        else if (which >= 3)
            expect_refused((const char *const[]){"gates", "--text", scratch_path(inputs[4]), "--tokenizer",
                                                 scratch_path(inputs[3]), way == 1 ? "--json" : "--per-token", output, model,
                                                 NULL},
                           inputs[which]);
        else if (round % 2 == 0)
            expect_refused((const char *const[]){"gates", "--tokens", scratch_path(inputs[2]),
                                                 way == 1 ? "--json" : "--per-token", output, model, NULL},
                           inputs[which]);
        else
            expect_refused((const char *const[]){"gates", "--tokens", scratch_path(inputs[2]), "--config",
                                                 scratch_path(inputs[1]), way == 1 ? "--json" : "--per-token", output,
                                                 scratch_path(inputs[0]), NULL},
                           inputs[which]);
    }
}

/* An input that has the name of one of our files in the output folder. */
static void no_output_folder_over_an_input(void **state) {
    (void)state;
    static const char *const names[] = {"out/gates.json", "out/tables/gates.csv", "out/figures/tokens.svg"};
    child result;
    prepare();
    for (size_t i = 0; i < 3; i++) {
        char *bytes;
        size_t length;
        expect_ok(ds_make_folder(scratch_path("out")));
        copy("fixtures/data/val.bin", names[i]);
        expect_refused(
            (const char *const[]){"gates", "--tokens", scratch_path(names[i]), "--out", scratch_path("out"), MODEL, NULL},
            names[i]);
        expect_ok(ds_read_file(&bytes, &length, scratch_path(names[i]), 1 << 26));
        free(bytes);
        assert_int_equal(unlink(scratch_path(names[i])), 0);
    }
    copy("fixtures/data/val.bin", "out/val.bin"); /* nobody writes that: the folder of the data takes the results */
    CHILD_RUN(&result, usual, "gates", "--tokens", scratch_path("out/val.bin"), "--seq-len", "16", "--sequences", "2",
              "--quiet", "--out", scratch_path("out"), MODEL);
    assert_int_equal(result.status, 0);
    CHILD_RUN(&result, usual, "inspect", "--quiet", "--json", scratch_path("model/inspect.json"), scratch_path("model"));
    assert_int_equal(result.status, 0);
    CHILD_RUN(&result, usual, "inspect", "--quiet", "--json", scratch_path("model/inspect.json"), scratch_path("model"));
    assert_int_equal(result.status, 0); /* a result that lies beside the weights is no input */
    expect_inputs_kept("results beside inputs");
}

/* ---- what is finished or at work --------------------------------------------------------------------------------- */

static void run_report(child *result, const char *model, const char *option) {
    CHILD_RUN(result, usual, "report", "--tokens", "fixtures/data/val.bin", "--seq-len", "16", "--sequences", "2", "--quiet",
              CHEAP_REPORT, "--out", scratch_path("report"), model, option);
}

static void expect_sums_hold(void) {
    char command[512];
    (void)snprintf(command, sizeof command, "cd '%s' && sha256sum --quiet -c report.sha256", scratch_path("report"));
    assert_int_equal(system(command), 0);
}

static void a_finished_report_stays_whole(void **state) {
    (void)state;
    child result;
    static const char *const inner[] = {"report", "report/figures", "report/tables", "report/results"};
    run_report(&result, MODEL, NULL);
    assert_int_equal(result.status, 0);
    for (size_t i = 0; i < 4; i++) {
        CHILD_RUN(&result, usual, "gates", "--tokens", "fixtures/data/val.bin", "--out", scratch_path(inner[i]), MODEL);
        assert_int_equal(result.status, 2);
        assert_non_null(strstr(result.err, "a finished report lies there"));
    }
    expect_sums_hold();
    run_report(&result, "fixtures/models/additive-small", NULL);
    assert_int_equal(result.status, 2);
    assert_non_null(strstr(result.err, "the finished report of another checkpoint"));
    expect_sums_hold();
    run_report(&result, MODEL, NULL); /* the same checkpoint */
    assert_int_equal(result.status, 0);
    expect_sums_hold();
    run_report(&result, "fixtures/models/additive-small", "--force");
    assert_int_equal(result.status, 0);
    expect_sums_hold();
}

static void one_run_at_a_time(void **state) {
    (void)state;
    static const char *const commands[] = {"gates", "report", "trace", "compare", "ablate"};
    expect_ok(ds_make_folder(scratch_path("held")));
    int held = open(scratch_path("held"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(flock(held, LOCK_EX), 0);
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        child result;
        CHILD_RUN(&result, usual, commands[i], "--tokens", "fixtures/data/val.bin", "--seq-len", "16", "--out",
                  scratch_path("held"), MODEL, i == 3 ? MODEL : NULL);
        if (result.status != 4 || strstr(result.err, "another run is writing into this folder") == NULL)
            fail_msg("%s: status %d: %s", commands[i], result.status, result.err);
    }
    child result;
    const char *saved = scratch_path("gates-for-plot.json");
    CHILD_RUN(&result, usual, "gates", "--tokens", "fixtures/data/val.bin", "--seq-len", "16", "--quiet", "--json", saved,
              MODEL);
    assert_int_equal(result.status, 0);
    CHILD_RUN(&result, usual, "plot", "--figure", "gate-distribution", "--out", scratch_path("held"), saved);
    if (result.status != 4 || strstr(result.err, "another run is writing into this folder") == NULL)
        fail_msg("plot: status %d: %s", result.status, result.err);
    assert_int_equal(rmdir(scratch_path("held")), 0); /* nothing was put there */
    (void)close(held);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_output_over_an_input),
        cmocka_unit_test(no_output_folder_over_an_input),
        cmocka_unit_test(a_finished_report_stays_whole),
        cmocka_unit_test(one_run_at_a_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
