#include "interrupted_training.h"

#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "deltascope/io.h"
#include "same_folders.h"
#include "scratch.h"
#include "support.h"
#include "training_run.h"

/* ---- striking ---------------------------------------------------------------------------------------------------- */

enum { UPDATES = 40, MOST_OPTIONS = 24 };

/* N + 1 of the newest complete checkpoint; 0: there is none. */
static size_t newest(const char *folder) {
    size_t highest = 0;
    for (size_t n = 0; n <= UPDATES; n++) {
        char name[64];
        (void)snprintf(name, sizeof name, "checkpoint-%zu/trainer_state.json", n);
        if (access(inside(folder, name), F_OK) == 0) highest = n + 1;
    }
    return highest;
}

typedef struct subject {
    training_trace trace;
    const char *const *options;
    int strike;
    ds_random random;
    double undisturbed; /* seconds of the longest run that was left alone */
} subject;

static void run(subject *s, const char *folder, bool struck) {
    const char *line[MOST_OPTIONS] = {"--resume", "--threads", NULL, "--set", "steps=40", "--quiet"};
    char threads[8];
    size_t count = 6;
    child_limits limits = usual;
    (void)snprintf(threads, sizeof threads, "%d", 1 + (int)ds_random_below(&s->random, 3));
    line[2] = threads;
    if (s->strike == FULL_DISK) { /* a limit on files holds for gnuplot's pictures in memory too, which no disk would */
        limits.preset[0] = "PATH";
        limits.preset[1] = "";
    }
    for (size_t i = 0; s->options[i] != NULL && count + 1 < MOST_OPTIONS; i++) line[count++] = s->options[i];
    const double delay = 1e6 * s->undisturbed * ds_random_uniform(&s->random) * ds_random_uniform(&s->random);
    if (struck && s->strike != FULL_DISK) {
        limits.kill_with = s->strike;
        limits.kill_after = 1000 + (unsigned)delay;
    } else if (struck) { /* sizes from those of a state to those of the moments */
        limits.file_size = 1 + (uint64_t)(2000 * exp(5 * ds_random_uniform(&s->random)));
        limits.full_after = 1000 + (unsigned)delay;
    }
    train(&s->trace, folder, line, limits);
}

/* Whether the strike told; then by what it should. */
static bool was_struck(const subject *s) {
    if (s->strike == FULL_DISK) {
        if (found.status == 4 && strstr(found.err, "could not be written in full") == NULL) fail_msg("\"%s\"", found.err);
        return found.status == 4;
    }
    if (found.signal != 0) assert_int_equal(found.signal, s->strike);
    return found.signal != 0;
}

void interrupt_training(const char *trace, const char *const *options, int strike, size_t times, uint64_t seed) {
    subject s = {.options = options, .strike = strike, .random = ds_random_init(seed), .undisturbed = 0.3};
    size_t struck = 0, finished = 0, before = 0;
    trace_open(&s.trace, trace);
    run(&s, "whole", false);
    if (found.status != 0) fail_msg("seed %llu: %s", (unsigned long long)seed, found.err);
    for (bool pending = true; struck < times || pending;) { /* a run that was struck has to be finished */
        run(&s, "pieces", struck < times);
        if (was_struck(&s)) {
            size_t now = newest("pieces");
            if (now < before)
                fail_msg("seed %llu: checkpoint-%zu is gone, %zu is left", (unsigned long long)seed, before - 1, now);
            before = now;
            struck++;
            pending = true;
            continue;
        }
        if (found.status != 0) fail_msg("after %zu strikes (seed %llu): %s", struck, (unsigned long long)seed, found.err);
        s.undisturbed = ds_max_real(found.seconds, s.undisturbed);
        expect_same_folders(scratch_path("whole"), scratch_path("pieces"), NULL);
        remove_folder(scratch_path("pieces"));
        finished++;
        before = 0;
        pending = false;
    }
    (void)printf("%s, strike %d: %zu times (seed %llu), %zu runs finished with the same bytes\n", trace, strike, struck,
                 (unsigned long long)seed, finished);
    remove_folder(scratch_path("whole"));
    trace_close(&s.trace);
}

#define ONE_OF(r, ...)                                                                                                         \
    (((const char *const[]){__VA_ARGS__})[ds_random_below((r), sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))])

void interrupt_training_drawn(int strike, size_t times, uint64_t seed) {
    ds_random r = ds_random_init(seed);
    size_t traces = 0, count = 0;
    while (trace_names()[traces] != NULL) traces++;
    const char *trace = trace_names()[ds_random_below(&r, traces)], *options[MOST_OPTIONS] = {NULL};
    const char *const drawn[][2] = {
        {"--precision", ONE_OF(&r, "float", "double")}, {"--save", ONE_OF(&r, "log2", "log2", "1", "7", "0")},
        {"--keep", ONE_OF(&r, "1", "2", "3", NULL)},    {"--evaluate", ONE_OF(&r, "1", "9", NULL)},
        {"--audit", ONE_OF(&r, "1", "6", NULL)},        {"--log", ONE_OF(&r, "llmc", NULL)}};
    for (size_t i = 0; i < sizeof drawn / sizeof *drawn; i++) {
        const bool gateless = strncmp(trace, "additive", 8) == 0 && strcmp(drawn[i][0], "--audit") == 0;
        if (drawn[i][1] == NULL || gateless) continue;
        options[count++] = drawn[i][0];
        options[count++] = drawn[i][1];
    }
    for (size_t i = 0; i < count; i++) (void)printf("%s ", options[i]);
    interrupt_training(trace, options, strike, times, seed);
}
