#include "resume.h"

#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

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
    const char *program = getenv("DELTASCOPE") != NULL ? getenv("DELTASCOPE") : "build/deltascope";
    const char *line[MOST_OPTIONS + 16] = {program,     s->command, "--tokens", "fixtures/data/val.bin",
                                           "--seq-len", "32",       "--out",    folder};
    size_t count = 8;
    for (size_t i = 0; s->options[i] != NULL && i < MOST_OPTIONS; i++) line[count++] = s->options[i];
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

static char *contents(size_t *length, const char *folder, const char *name) {
    char path[640];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    if (file == NULL) fail_msg("%s: cannot be opened", path);
    char *bytes = malloc(1 << 22);
    assert_non_null(bytes);
    *length = fread(bytes, 1, 1 << 22, file);
    (void)fclose(file);
    return bytes;
}

static void expect_same_file(const subject *s, const char *name) {
    size_t expected_length, found_length;
    char *expected = contents(&expected_length, s->whole, name), *found = contents(&found_length, s->pieces, name);
    if (found_length != expected_length || memcmp(found, expected, found_length) != 0)
        fail_msg("%s/%s: not the bytes of the undisturbed run", s->pieces, name);
    free(expected);
    free(found);
}

static void expect_same_results(const subject *s) {
    char name[128];
    (void)snprintf(name, sizeof name, "%s.json", s->command);
    expect_same_file(s, name);
    (void)snprintf(name, sizeof name, "%s.journal", s->command);
    expect_same_file(s, name);
    (void)snprintf(name, sizeof name, "tables/%s.csv", s->command);
    expect_same_file(s, name);
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
    size_t killed = 0, finished = 0, found = 0;
    int outcome = 0;
    (void)snprintf(s.whole, sizeof s.whole, "%s", scratch_path("whole"));
    (void)snprintf(s.pieces, sizeof s.pieces, "%s", scratch_path("pieces"));
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
        if (!done) continue;
        expect_same_results(&s);
        finished++;
        found = 0;
        if (killed < kills) forget(&s);
    }
    (void)printf("%s, %.1f s undisturbed: %zu kills (seed %llu), %zu runs finished with the same bytes\n", command, undisturbed,
                 killed, (unsigned long long)seed, finished);
}
