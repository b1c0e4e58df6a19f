/* The machine's own matrix product, with the fastest kernels its BLAS has. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/bench.h"
#include "deltascope/io.h"

static const char *const core_types[DS_BENCH_CORE_TYPES] = {NULL, "Haswell", "Zen", "SkylakeX", "Cooperlake"};

void ds_bench_core_name(char *name, size_t capacity, const char *blas) {
    const char *end = strstr(blas, " MAX_THREADS"), *start = end;
    while (start != NULL && start > blas && start[-1] != ' ') start--;
    (void)snprintf(name, capacity, "%.*s", start == NULL ? 7 : (int)(end - start), start == NULL ? "unknown" : start);
}

/* The environment without OpenBLAS's variables, and `setting` (NULL: nothing) instead; freed by the caller. */
static char **clean_environment(char *setting) {
    size_t count = 0, kept = 0;
    while (environ[count] != NULL) count++;
    char **clean = ds_calloc(count + 2, sizeof *clean);
    for (size_t i = 0; clean != NULL && i < count; i++) {
        if (strncmp(environ[i], "OPENBLAS_", strlen("OPENBLAS_")) != 0) clean[kept++] = environ[i];
    }
    if (clean != NULL) clean[kept] = setting;
    return clean;
}

/* In the child, between fork and exec: ends with its parent, leaves no core file, says only what was asked. */
static _Noreturn void become(char *const *arguments, char *const *environment, int output, pid_t parent) {
    const struct rlimit none = {0, 0};
    int nowhere = open("/dev/null", O_RDWR);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)setrlimit(RLIMIT_CORE, &none);
    if (getppid() != parent || nowhere < 0 || dup2(nowhere, STDIN_FILENO) < 0 || dup2(output, STDOUT_FILENO) < 0 ||
        dup2(nowhere, STDERR_FILENO) < 0)
        _exit(DS_ERR_SYSTEM);
    (void)execve("/proc/self/exe", arguments, environment);
    _exit(DS_ERR_SYSTEM);
}

/* Everything the child says until it ends; *ran tells whether it ended well. */
static ds_status listen_to(ds_text *said, bool *ran, pid_t child, int input) {
    ds_status status = DS_OK;
    char bytes[4096];
    int ended = 0;
    ssize_t count = 0;
    while ((count = read(input, bytes, sizeof bytes)) > 0 || (count < 0 && errno == EINTR)) {
        if (count > 0 && status == DS_OK) status = ds_text_append(said, bytes, (size_t)count);
    }
    while (waitpid(child, &ended, 0) < 0) {
        if (errno != EINTR) return ds_fail(DS_ERR_SYSTEM, "the timing of the matrix product was lost: %s", strerror(errno));
    }
    *ran = WIFEXITED(ended) && WEXITSTATUS(ended) == 0;
    return status;
}

static ds_status run_alone(ds_text *said, bool *ran, const char *core_type, const char *size, size_t threads) {
    ds_status status = DS_OK;
    char setting[64], count[32], size_word[16];
    char program[] = "deltascope", command[] = "bench", alone[] = "--product-alone", size_option[] = "--size",
         threads_option[] = "--threads", json[] = "--json", standard_output[] = "-"; /* not const, as POSIX asks */
    char *arguments[] = {program, command, alone, size_option, size_word, threads_option, count, json, standard_output, NULL};
    int ends[2] = {-1, -1};
    (void)snprintf(setting, sizeof setting, "OPENBLAS_CORETYPE=%s", core_type == NULL ? "" : core_type);
    (void)snprintf(count, sizeof count, "%zu", threads);
    (void)snprintf(size_word, sizeof size_word, "%s", size);
    char **environment = clean_environment(core_type == NULL ? NULL : setting);
    if (environment == NULL) return DS_ERR_SYSTEM;
    pid_t parent = getpid(), child = pipe2(ends, O_CLOEXEC) == 0 ? fork() : -1;
    if (child == 0) become(arguments, environment, ends[1], parent);
    if (ends[1] >= 0) (void)close(ends[1]);
    if (child > 0)
        status = listen_to(said, ran, child, ends[0]);
    else
        status = ds_fail(DS_ERR_SYSTEM, "the matrix product cannot be timed in a process of its own: %s", strerror(errno));
    if (ends[0] >= 0) (void)close(ends[0]);
    free(environment);
    return status;
}

static ds_status read_entry(ds_bench_kernels_entry *entry, const ds_text *said) {
    ds_status status = DS_OK;
    json_t *root = NULL;
    DS_TRY(ds_json_parse(&root, said->bytes, said->length, "the timing of the matrix product"));
    entry->operations_per_second = json_number_value(ds_json_at(root, "results/gemm_gflops")) * 1e9;
    const char *blas = json_string_value(ds_json_at(root, "results/blas"));
    ds_bench_core_name(entry->core, sizeof entry->core, blas == NULL ? "" : blas);
done:
    json_decref(root);
    return status;
}

ds_status ds_bench_kernels_run(ds_bench_kernels *out, const char *size, size_t threads) {
    ds_status status = DS_OK;
    ds_text said = {0};
    *out = (ds_bench_kernels){.count = 0};
    for (size_t i = 0; i < DS_BENCH_CORE_TYPES; i++) {
        bool ran = false;
        ds_bench_kernels_entry *entry = &out->all[out->count];
        said.length = 0;
        DS_TRY(run_alone(&said, &ran, core_types[i], size, threads));
        if (!ran && i == 0) status = ds_fail(DS_ERR_SYSTEM, "the timing of the matrix product failed in a process of its own");
        if (status != DS_OK) goto done;
        if (!ran) continue; /* not for this processor */
        *entry = (ds_bench_kernels_entry){.core_type = core_types[i]};
        DS_TRY(read_entry(entry, &said));
        if (entry->operations_per_second > out->all[out->fastest].operations_per_second) out->fastest = out->count;
        out->count++;
    }
done:
    ds_text_release(&said);
    return status;
}
