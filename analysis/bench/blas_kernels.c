/* The machine's own matrix product, with the fastest kernels its BLAS has. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench/bench.h"
#include "deltascope/io.h"

static const char *const core_types[DS_BENCH_CORE_TYPES] = {NULL, "Haswell", "Zen", "SkylakeX", "Cooperlake"};

void ds_bench_core_name(char *name, size_t capacity, const char *blas) {
    const char *end = strstr(blas, " MAX_THREADS"), *start = end;
    while (start != NULL && start > blas && start[-1] != ' ') start--;
    (void)snprintf(name, capacity, "%.*s", start == NULL ? 7 : (int)(end - start), start == NULL ? "unknown" : start);
}

/* This program in a process of its own, whose environment has nothing of OpenBLAS but the core type; its JSON goes to
 * `output`. */
static ds_status run_alone(const char *core_type, const char *size, size_t threads, int output) {
    enum { MOST_SECONDS = 300 }; /* eight products of two times 4096^3 operations, on one slow core */
    ds_status status = DS_OK;
    ds_helper *helper = NULL;
    char count[32], size_word[16];
    char program[] = "deltascope", command[] = "bench", alone[] = "--product-alone", size_option[] = "--size",
         threads_option[] = "--threads", json[] = "--json", standard_output[] = "-"; /* not const, as POSIX asks */
    char *arguments[] = {program, command, alone, size_option, size_word, threads_option, count, json, standard_output, NULL};
    (void)snprintf(count, sizeof count, "%zu", threads);
    (void)snprintf(size_word, sizeof size_word, "%s", size);
    DS_TRY(ds_helper_open(&helper, "/proc/self/exe"));
    if (core_type != NULL) DS_TRY(ds_helper_set(helper, "OPENBLAS_CORETYPE", core_type));
    DS_TRY(ds_helper_run(helper, arguments, output, MOST_SECONDS));
done:
    ds_helper_close(&helper);
    return status;
}

static ds_status read_entry(ds_bench_kernels_entry *entry, int output) {
    ds_status status = DS_OK;
    char bytes[1 << 14];
    json_t *root = NULL;
    ssize_t length = pread(output, bytes, sizeof bytes, 0);
    if (length < 0) return ds_fail(DS_ERR_SYSTEM, "the timing of the matrix product was lost: %s", strerror(errno));
    DS_TRY(ds_json_parse(&root, bytes, (size_t)length, "the timing of the matrix product"));
    entry->operations_per_second = json_number_value(ds_json_at(root, "results/gemm_gflops")) * 1e9;
    const char *blas = json_string_value(ds_json_at(root, "results/blas"));
    ds_bench_core_name(entry->core, sizeof entry->core, blas == NULL ? "" : blas);
    if (!(entry->operations_per_second > 0)) status = ds_fail(DS_ERR_SYSTEM, "the timing of the matrix product has no rate");
done:
    json_decref(root);
    return status;
}

/* The result of one core type; *ran is false where the processor cannot run it. The BLAS's own choice has to run. */
static ds_status time_kernels(ds_bench_kernels_entry *entry, bool *ran, const char *core_type, const char *size,
                              size_t threads) {
    int output = memfd_create("product", MFD_CLOEXEC);
    if (output < 0) return ds_fail(DS_ERR_SYSTEM, "a file in memory cannot be made: %s", strerror(errno));
    ds_status status = run_alone(core_type, size, threads, output);
    *ran = status == DS_OK;
    *entry = (ds_bench_kernels_entry){.core_type = core_type};
    if (*ran) {
        status = read_entry(entry, output);
    } else if (core_type != NULL) {
        ds_error_clear();
        status = DS_OK;
    }
    (void)close(output);
    return status;
}

ds_status ds_bench_kernels_run(ds_bench_kernels *out, const char *size, size_t threads) {
    ds_status status = DS_OK;
    *out = (ds_bench_kernels){.count = 0};
    for (size_t i = 0; i < DS_BENCH_CORE_TYPES; i++) {
        bool ran = false;
        ds_bench_kernels_entry *entry = &out->all[out->count];
        DS_TRY(time_kernels(entry, &ran, core_types[i], size, threads));
        if (!ran) continue;
        if (entry->operations_per_second > out->all[out->fastest].operations_per_second) out->fastest = out->count;
        out->count++;
    }
done:
    return status;
}
