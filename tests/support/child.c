#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "deltascope/base.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(memory_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED true
#endif
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED true
#endif
#ifndef SANITIZED
#define SANITIZED false
#endif

bool child_under_sanitizer(void) { return SANITIZED; }

static void die(const char *what) {
    perror(what);
    _exit(127);
}

static void limit(__rlimit_resource_t resource, uint64_t value) {
    const struct rlimit bound = {value, value};
    if (value != 0 && setrlimit(resource, &bound) != 0) die("setrlimit");
}

static _Noreturn void become(const char *program, char **argv, child_limits limits, const int *out, const int *err) {
    if (!SANITIZED) limit(RLIMIT_AS, limits.address_space);
    /* whoever runs the tests may ignore them: nohup, a background job */
    const int reset[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGXFSZ};
    for (size_t i = 0; i < sizeof reset / sizeof reset[0]; i++) (void)signal(reset[i], SIG_DFL);
    if (limits.full_after == 0) limit(RLIMIT_FSIZE, limits.file_size);
    limit(RLIMIT_CORE, 0);
    if (limits.preset[0] != NULL && setenv(limits.preset[0], limits.preset[1], 1) != 0) die("setenv");
    int target = limits.out == NULL ? out[1] : open(limits.out, O_WRONLY | O_CLOEXEC);
    if (target < 0 || dup2(target, STDOUT_FILENO) < 0 || dup2(err[1], STDERR_FILENO) < 0) die("dup2");
    (void)execv(program, argv);
    die(program);
    abort();
}

/* Appends what there is to read; false at the end. */
static bool drain(int descriptor, char *text, size_t capacity, size_t *used) {
    char chunk[4096];
    ssize_t got = read(descriptor, chunk, sizeof chunk);
    if (got < 0) return errno == EINTR;
    size_t kept = ds_min_size((size_t)got, capacity - 1 - *used);
    memcpy(text + *used, chunk, kept);
    *used += kept;
    text[*used] = '\0';
    return got > 0;
}

/* What is due so many microseconds after the start, of a signal and of a disk that fills. */
static void strike_child(pid_t pid, child_limits limits) {
    const struct rlimit bound = {limits.file_size, limits.file_size};
    if (limits.kill_with != 0) (void)kill(pid, limits.kill_with);
    if (limits.full_after != 0) (void)prlimit(pid, RLIMIT_FSIZE, &bound, NULL);
}

/* Reads both pipes until they close, and strikes when that is due. */
static void follow(child *result, pid_t pid, child_limits limits, int out, int err, double start) {
    struct pollfd fds[2] = {{.fd = out, .events = POLLIN}, {.fd = err, .events = POLLIN}};
    size_t used[2] = {0, 0};
    double deadline = start + (limits.seconds == 0 ? 60 : limits.seconds);
    double strike = start + 1e-6 * (limits.full_after != 0 ? limits.full_after : limits.kill_after);
    bool struck = limits.kill_with == 0 && limits.full_after == 0;
    while (fds[0].fd >= 0 || fds[1].fd >= 0) {
        double now = ds_seconds(), next = struck ? deadline : strike;
        int wait_ms = next > now ? (int)(1000 * (next - now)) : 0;
        (void)poll(fds, 2, struck ? wait_ms + 1 : wait_ms);
        now = ds_seconds();
        if (!struck && now >= strike) {
            strike_child(pid, limits);
            struck = true;
        }
        if (now >= deadline) (void)kill(pid, SIGKILL);
        if (fds[0].revents != 0 && !drain(out, result->out, sizeof result->out, &used[0])) fds[0].fd = -1;
        if (fds[1].revents != 0 && !drain(err, result->err, sizeof result->err, &used[1])) fds[1].fd = -1;
    }
}

void child_run_program(child *result, const char *program, const char *const *arguments, child_limits limits) {
    int out[2], err[2], status;
    size_t count = 0;
    while (arguments[count] != NULL) count++;
    char **argv = ds_calloc(count + 2, sizeof *argv);
    if (argv == NULL) die("no memory for arguments");
    argv[0] = (char *)(uintptr_t)program;
    memcpy(argv + 1, arguments, count * sizeof *argv);
    result->out[0] = result->err[0] = '\0';
    double start = ds_seconds();
    if (pipe2(out, O_CLOEXEC) != 0 || pipe2(err, O_CLOEXEC) != 0) die("pipe");
    if (limits.closed_out) (void)close(out[0]);
    (void)fflush(NULL);
    pid_t pid = fork();
    if (pid < 0) die("fork");
    if (pid == 0) become(program, argv, limits, out, err);
    free(argv);
    (void)close(out[1]);
    (void)close(err[1]);
    follow(result, pid, limits, limits.closed_out ? -1 : out[0], err[0], start);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (!limits.closed_out) (void)close(out[0]);
    (void)close(err[0]);
    result->seconds = ds_seconds() - start;
    result->status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    result->signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

void child_run(child *result, const char *const *arguments, child_limits limits) {
    const char *program = getenv("DELTASCOPE");
    child_run_program(result, program == NULL ? "build/deltascope" : program, arguments, limits);
}
