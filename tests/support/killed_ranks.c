#include "killed_ranks.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "deltascope/io.h"
#include "scratch.h"
#include "support.h"

enum { MOST_PIDS = 16, SECONDS_TO_END = 60 };

/* What was struck, and how it ended. */
typedef struct strike {
    unsigned ranks;
    bool struck, launcher; /* before it ended by itself; the launcher, not a rank */
    size_t rank;
    int signal;
    double seconds; /* from the strike to the end */
    int outcome;    /* as waitpid tells it */
} strike;

static void take_place(const char *path, int descriptor) {
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    (void)dup2(file, descriptor);
}

static pid_t start(const char *const *line, const char *notes) {
    pid_t pid = fork();
    if (pid != 0) return pid;
    take_place("/dev/null", STDOUT_FILENO);
    take_place(notes, STDERR_FILENO);
    (void)execv(line[0], (char *const *)(uintptr_t)line);
    _exit(127);
}

/* The processes that `parent` has started, in order. */
static size_t children_of(pid_t *children, pid_t parent) {
    char path[64], text[256] = "";
    size_t count = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)parent, (int)parent);
    FILE *file = fopen(path, "r");
    if (file == NULL) return 0;
    if (fgets(text, sizeof text, file) == NULL) text[0] = '\0';
    (void)fclose(file);
    for (char *at = text, *end; count < MOST_PIDS; at = end) {
        long pid = strtol(at, &end, 10);
        if (end == at) break;
        children[count++] = (pid_t)pid;
    }
    return count;
}

/* Strikes after `seconds`, unless it has ended, and waits for the end. */
static void run_and_strike(strike *s, const char *const *line, const char *notes, double seconds) {
    const struct timespec moment = {.tv_nsec = 500000};
    double began = ds_seconds();
    pid_t pid = start(line, notes), ended = 0;
    while (ended == 0) {
        pid_t pids[MOST_PIDS];
        double now = ds_seconds();
        ended = waitpid(pid, &s->outcome, WNOHANG);
        if (ended != 0) break;
        if (!s->struck && now >= began + seconds) {
            bool alone = s->ranks == 1;
            bool there = alone || s->launcher || children_of(pids, pid) > s->rank;
            if (there) s->struck = kill(alone || s->launcher ? pid : pids[s->rank], s->signal) == 0;
            if (there) began = now;
        }
        if (s->struck && now > began + SECONDS_TO_END) {
            (void)kill(pid, SIGKILL);
            fail_msg("%u ranks hang, %s struck with signal %d", s->ranks, s->launcher ? "the launcher" : "one", s->signal);
        }
        (void)nanosleep(&moment, NULL);
    }
    s->seconds = ds_seconds() - began;
}

static off_t size_of(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 ? info.st_size : 0;
}

/* A rank that was killed is named; before they had met, by the launcher alone, in its own words. */
static void expect_named(const strike *s, const char *notes, bool met) {
    char *text, name[64];
    size_t length;
    if (!s->struck || s->launcher || s->ranks == 1 || s->signal != SIGKILL || WEXITSTATUS(s->outcome) == 0) return;
    expect_ok(ds_read_file(&text, &length, notes, 1 << 20));
    (void)snprintf(name, sizeof name, "deltascope: rank %zu has died; ", s->rank);
    if (length == 0 || (met && strstr(text, name) == NULL)) fail_msg("%u ranks: not \"%s\" but: %s", s->ranks, name, text);
    free(text);
}

static void expect_same_file(const char *path, const char *expected_path) {
    char *found, *expected;
    size_t length, expected_length;
    expect_ok(ds_read_file(&expected, &expected_length, expected_path, 1 << 26));
    expect_ok(ds_read_file(&found, &length, path, 1 << 26));
    assert_int_equal(length, expected_length);
    assert_memory_equal(found, expected, length);
    free(found);
    free(expected);
}

/* What is run, under how many ranks. */
static void compose(const char **line, char *count, const char *windows, const char *folder, unsigned ranks) {
    const char *given = getenv("DELTASCOPE"), *program = given != NULL ? given : "build/deltascope";
    const char *const launcher[] = {"/usr/bin/mpirun", "-n", count};
    const char *const words[] = {program,
                                 "ablate",
                                 "--tokens",
                                 "fixtures/data/val.bin",
                                 "--seq-len",
                                 "32",
                                 "--sequences",
                                 windows,
                                 "--scopes",
                                 "each",
                                 "--out",
                                 folder,
                                 "--resume",
                                 "--quiet",
                                 "fixtures/models/ddl-cc-ec"};
    size_t used = 0;
    (void)snprintf(count, 16, "%u", ranks);
    for (size_t i = 0; ranks > 1 && i < sizeof launcher / sizeof *launcher; i++) line[used++] = launcher[i];
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) line[used++] = words[i];
    line[used] = NULL;
}

/* Who is struck, and when in a run that takes `undisturbed` seconds. */
static strike draw(ds_random *random, unsigned most) {
    strike s = {.ranks = 1 + (unsigned)ds_random_below(random, most)};
    s.launcher = ds_random_below(random, 4) == 0;
    s.rank = (size_t)ds_random_below(random, s.ranks);
    s.signal = ds_random_below(random, 4) == 0 ? SIGTERM : SIGKILL;
    return s;
}

void kill_ranks_and_resume(size_t windows, unsigned most, size_t kills, uint64_t seed) {
    ds_random random = ds_random_init(seed);
    const char *line[24], *notes = scratch_path("notes");
    char count[16], number[16], whole[512], pieces[512], result[640], expected[640], journal[640];
    size_t struck = 0, finished = 0;
    double longest = 0;
    (void)snprintf(number, sizeof number, "%zu", windows);
    (void)snprintf(whole, sizeof whole, "%s", scratch_path("whole"));
    (void)snprintf(pieces, sizeof pieces, "%s", scratch_path("pieces"));
    (void)snprintf(expected, sizeof expected, "%s/ablate.json", whole);
    (void)snprintf(result, sizeof result, "%s/ablate.json", pieces);
    (void)snprintf(journal, sizeof journal, "%s/ablate.journal", pieces);
    strike alone = {.ranks = 1};
    compose(line, count, number, whole, 1);
    run_and_strike(&alone, line, notes, 1e9);
    assert_true(WIFEXITED(alone.outcome) && WEXITSTATUS(alone.outcome) == 0);
    while (struck < kills || finished == 0) {
        strike s = draw(&random, most);
        compose(line, count, number, pieces, s.ranks);
        off_t before = size_of(journal);
        run_and_strike(&s, line, notes, struck < kills ? alone.seconds * ds_random_uniform(&random) : 1e9);
        struck += s.struck;
        if (s.struck && s.seconds > longest) longest = s.seconds;
        expect_named(&s, notes, size_of(journal) > before);
        if (!WIFEXITED(s.outcome) || WEXITSTATUS(s.outcome) != 0) continue;
        expect_same_file(result, expected);
        finished++;
        if (struck < kills) (void)unlink(journal);
    }
    print_message("%zu strikes (seed %llu): the slowest end took %.1f s; %zu runs finished with the bytes of one process\n",
                  struck, (unsigned long long)seed, longest, finished);
}
