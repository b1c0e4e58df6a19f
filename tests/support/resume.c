#include "resume.h"

#include <fcntl.h>
#include <ftw.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "deltascope/io.h"
#include "scratch.h"
#include "support.h"

enum { MOST_OPTIONS = 16 };

/* One run under test: where it writes, and how it is called. */
typedef struct subject {
    const char *command, *const *options;
    char whole[512], pieces[512]; /* folders: of the undisturbed run, of the interrupted one */
    char notes[512];              /* standard error of the interrupted one */
} subject;

static pid_t start(const subject *s, const char *folder, bool resume) {
    const char *built = getenv("DELTASCOPE"), *program = built != NULL ? built : "build/deltascope";
    const char *line[MOST_OPTIONS + 16] = {program,     s->command, "--tokens", "fixtures/data/val.bin",
                                           "--seq-len", "32",       "--out",    folder};
    size_t count = 8;
    for (size_t i = 0; i < MOST_OPTIONS && s->options[i] != NULL; i++) line[count++] = s->options[i];
    if (resume) line[count++] = "--resume";
    line[count] = "fixtures/models/ddl-cc-ec";
    pid_t child = fork();
    if (child != 0) return child;
    int nothing = open("/dev/null", O_WRONLY), notes = open(s->notes, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    (void)dup2(nothing, STDOUT_FILENO);
    (void)dup2(notes, STDERR_FILENO);
    (void)execv(program, (char *const *)(uintptr_t)line);
    _exit(127);
}

static const subject *compared; /* nftw has no context */

static void expect_same_file(const char *found_path, const char *expected_path) {
    char *found, *expected;
    size_t found_length, expected_length;
    expect_ok(ds_read_file(&expected, &expected_length, expected_path, 1 << 26));
    expect_ok(ds_read_file(&found, &found_length, found_path, 1 << 26));
    if (found_length != expected_length || memcmp(found, expected, found_length) != 0)
        fail_msg("%s: not the bytes of the undisturbed run", found_path);
    free(expected);
    free(found);
}

/* Both ways, so that neither folder has a file more. */
static int expect_counterpart(const char *path, const struct stat *info, int kind, struct FTW *walk) {
    char other[1024];
    const subject *s = compared;
    (void)info, (void)walk;
    if (kind != FTW_F) return 0;
    bool whole = strncmp(path, s->whole, strlen(s->whole)) == 0;
    const char *name = path + strlen(whole ? s->whole : s->pieces);
    (void)snprintf(other, sizeof other, "%s%s", whole ? s->pieces : s->whole, name);
    expect_same_file(whole ? other : path, whole ? path : other);
    return 0;
}

static void expect_same_results(const subject *s) {
    compared = s;
    assert_int_equal(nftw(s->whole, expect_counterpart, 8, FTW_PHYS), 0);
    assert_int_equal(nftw(s->pieces, expect_counterpart, 8, FTW_PHYS), 0);
    compared = NULL;
}

/* Whether a step of a report was under way when it was killed. */
static bool is_inside_a_step(const subject *s) {
    static const char *const steps[] = {"spectrum", "ablate", "controls"};
    char path[640];
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        (void)snprintf(path, sizeof path, "%s/results/%s.journal", s->pieces, steps[i]);
        if (access(path, F_OK) == 0) return true;
    }
    return false;
}

/* How many pieces the run found when it was started; `unknown` when it was killed before it could say. */
static size_t pieces_found(const subject *s, size_t unknown) {
    char line[1024] = "";
    FILE *file = fopen(s->notes, "r");
    if (file == NULL) return unknown;
    bool read = fgets(line, sizeof line, file) != NULL;
    (void)fclose(file);
    const char *number = read ? strstr(line, ".journal: ") : NULL;
    return number == NULL ? unknown : (size_t)strtoul(number + strlen(".journal: "), NULL, 10);
}

/* Kills the run after that many seconds; whether it had finished by then. */
static bool run_for(const subject *s, double seconds) {
    const struct timespec moment = {.tv_nsec = 200000};
    double end = ds_seconds() + seconds;
    int outcome = 0;
    pid_t child = start(s, s->pieces, true), ended = 0;
    while (ended == 0 && ds_seconds() < end) {
        (void)nanosleep(&moment, NULL);
        ended = waitpid(child, &outcome, WNOHANG);
    }
    if (ended == 0) {
        (void)kill(child, SIGKILL);
        ended = waitpid(child, &outcome, 0);
    }
    assert_int_equal(ended, child);
    if (WIFEXITED(outcome)) assert_int_equal(WEXITSTATUS(outcome), 0);
    return WIFEXITED(outcome);
}

static void forget(const subject *s) {
    char name[640];
    (void)snprintf(name, sizeof name, "%s/%s.journal", s->pieces, s->command);
    (void)unlink(name);
}

void kill_and_resume(const char *command, const char *const *options, size_t kills, uint64_t seed) {
    subject s = {.command = command, .options = options};
    ds_random random = ds_random_init(seed);
    size_t killed = 0, finished = 0, found = 0, inside = 0;
    int outcome = 0;
    char name[64];
    (void)snprintf(name, sizeof name, "%s-whole", command);
    (void)snprintf(s.whole, sizeof s.whole, "%s", scratch_path(name));
    (void)snprintf(name, sizeof name, "%s-pieces", command);
    (void)snprintf(s.pieces, sizeof s.pieces, "%s", scratch_path(name));
    (void)snprintf(s.notes, sizeof s.notes, "%s", scratch_path("notes"));
    double began = ds_seconds();
    pid_t child = start(&s, s.whole, false);
    assert_int_equal(waitpid(child, &outcome, 0), child);
    assert_true(WIFEXITED(outcome) && WEXITSTATUS(outcome) == 0);
    double undisturbed = ds_seconds() - began;
    /* About six interruptions before a run finishes: most moments fall into the work, some into start and end. */
    while (killed < kills || finished == 0) {
        bool done = run_for(&s, killed < kills ? undisturbed / 3 * ds_random_uniform(&random) : INFINITY);
        size_t before = found;
        found = pieces_found(&s, before);
        if (found < before) fail_msg("a restart found %zu finished pieces, the one before %zu", found, before);
        killed += !done;
        inside += !done && is_inside_a_step(&s);
        if (!done) continue;
        expect_same_results(&s);
        finished++;
        found = 0;
        if (killed < kills) forget(&s);
    }
    (void)printf(
        "%s, %.1f s undisturbed: %zu kills (seed %llu), %zu inside a step with its own journal, %zu runs finished with the "
        "same bytes\n",
        command, undisturbed, killed, (unsigned long long)seed, inside, finished);
}
