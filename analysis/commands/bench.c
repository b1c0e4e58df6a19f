/* bench: the speed of every stage beside the machine's own matrix product, all in one run. */
#include <stdlib.h>

#include "bench/bench.h"
#include "deltascope/num.h"
#include "model_command.h"

typedef struct bench_options {
    const char *size, *variant;
} bench_options;

static const ds_option options[] = {
    {"size", "small|medium", "124M or 353M parameters, the sizes reported for the architecture (small)", DS_OPTION_CHOICE,
     offsetof(bench_options, size), 0, NULL},
    {"variant", "additive|ddl-scalar|ddl-tc|ddl-tc-ec|ddl-cc|ddl-cc-ec", "which model (ddl-cc-ec)", DS_OPTION_CHOICE,
     offsetof(bench_options, variant), 0, NULL},
};
static const bench_options defaults = {"small", "ddl-cc-ec"};

typedef struct bench_result {
    double gemm; /* operations a second */
    ds_bench_forward forward, backward;
    ds_bench_sweep sweep;
    ds_bench_spectrum spectrum;
    ds_bench_load load;
} bench_result;

/* Random weights take a checkpoint's place in the run. */
static ds_status measure(bench_result *result, const ds_invocation *invocation, ds_run *run) {
    ds_status status = DS_OK;
    const bench_options *own = invocation->own;
    const ds_common *common = &invocation->common;
    const size_t gemm_order = 4096;
    DS_TRY(ds_spec_reported(&run->spec, own->size, own->variant));
    run->length = common->seq_len.given ? common->seq_len.value : run->spec.block_size;
    DS_TRY(ds_gemm_rate(&result->gemm, gemm_order));
    DS_TRY(ds_model_random(&run->model, &run->spec, DS_F32, common->seed.value));
    const ds_model *model = run->model;
    DS_TRY(ds_bench_forward_run(&result->forward, model, run->length));
    DS_TRY(ds_bench_backward_run(&result->backward, model, run->length));
    DS_TRY(
        ds_bench_sweep_run(&result->sweep, model, run->length, result->forward.seconds / (double)result->forward.tokens));
    DS_TRY(ds_bench_load_run(&result->load, model));
    if (ds_rule_has_operators(run->spec.rule)) DS_TRY(ds_bench_spectrum_run(&result->spectrum, &run->spec, common->seed.value));
done:
    return status;
}

static double rate_of(const ds_bench_forward *pass) { return pass->operations / pass->seconds; }

static void put_pass(ds_json_builder *b, const char *key, const ds_bench_forward *pass, double gemm) {
    ds_json_begin_object(b, key);
    ds_json_put_real(b, "tokens_per_second", (double)pass->tokens / pass->seconds);
    ds_json_put_real(b, "gflops", rate_of(pass) * 1e-9);
    ds_json_put_real(b, "fraction_of_gemm", rate_of(pass) / gemm);
    ds_json_end(b);
}

static void put_per_case(ds_json_builder *b, const ds_bench_sweep *sweep) {
    double cases = (double)sweep->cases;
    ds_json_put_real(b, "forward_equivalents_per_case", sweep->forward_equivalents / cases);
    ds_json_put_real(b, "operation_equivalents_per_case", sweep->operation_equivalents / cases);
    ds_json_put_real(b, "naive_equivalents_per_case", sweep->naive_equivalents / cases);
}

static ds_status make_results(json_t **results, const bench_result *result, bool delta) {
    ds_json_builder b = {0};
    ds_json_begin_object(&b, NULL);
    ds_json_put_text(&b, "blas", ds_blas_name());
    ds_json_put_real(&b, "gemm_gflops", result->gemm * 1e-9);
    put_pass(&b, "forward", &result->forward, result->gemm);
    put_pass(&b, "forward_backward", &result->backward, result->gemm);
    ds_json_begin_object(&b, "ablation_sweep");
    ds_json_put_count(&b, "cases", result->sweep.cases);
    ds_json_put_real(&b, "forward_equivalents", result->sweep.forward_equivalents);
    ds_json_put_real(&b, "operation_equivalents", result->sweep.operation_equivalents);
    ds_json_put_real(&b, "naive_equivalents", result->sweep.naive_equivalents);
    put_per_case(&b, &result->sweep);
    ds_json_end(&b);
    if (delta) {
        ds_json_begin_object(&b, "spectrum");
        ds_json_put_real(&b, "tokens_per_second", result->spectrum.tokens_per_second);
        ds_json_put_real(&b, "prefix_tokens_per_second", result->spectrum.prefix_tokens_per_second);
        ds_json_put_real(&b, "certified_tokens_per_second", result->spectrum.certified_tokens_per_second);
        ds_json_put_real(&b, "speedup_over_dense", result->spectrum.speedup_over_dense);
        ds_json_put_real(&b, "max_difference", result->spectrum.max_difference);
        ds_json_end(&b);
    }
    ds_json_begin_object(&b, "load");
    ds_json_put_real(&b, "seconds", result->load.seconds);
    ds_json_put_real(&b, "bytes_per_second", result->load.bytes / result->load.seconds);
    ds_json_end(&b);
    ds_json_put_count(&b, "peak_memory_bytes", ds_peak_memory_bytes());
    ds_json_end(&b);
    return ds_json_finish(results, &b);
}

/* What people read of it. */
static const struct {
    const char *what, *path;
    double scale;
    const char *unit;
} lines[] = {
    {"large cblas_sgemm", "gemm_gflops", 1, "GFLOP/s"},
    {"forward", "forward/tokens_per_second", 1, "tokens/s"},
    {"forward, share of sgemm", "forward/fraction_of_gemm", 1, "of the sgemm rate"},
    {"forward and backward", "forward_backward/tokens_per_second", 1, "tokens/s"},
    {"the same, share of sgemm", "forward_backward/fraction_of_gemm", 1, "of the sgemm rate"},
    {"single-sublayer sweep", "ablation_sweep/forward_equivalents_per_case", 1, "forward passes a case"},
    {"the same, counting operations", "ablation_sweep/operation_equivalents_per_case", 1, "forward passes a case"},
    {"the same, done naively", "ablation_sweep/naive_equivalents_per_case", 1, "forward passes a case"},
    {"accumulated spectrum", "spectrum/tokens_per_second", 1, "tokens/s"},
    {"at every prefix depth", "spectrum/prefix_tokens_per_second", 1, "tokens/s"},
    {"with proved radii", "spectrum/certified_tokens_per_second", 1, "tokens/s"},
    {"over dense LAPACK", "spectrum/speedup_over_dense", 1, "times faster a token"},
    {"largest difference", "spectrum/max_difference", 1, "of any value"},
    {"load", "load/bytes_per_second", 1e-9, "GB/s"},
    {"peak memory", "peak_memory_bytes", 1e-9, "GB"},
};
static const ds_column columns[] = {
    {"what", NULL, NULL, DS_COLUMN_TEXT, 0},
    {"value", NULL, NULL, DS_COLUMN_TEXT, 0},
    {"unit", NULL, NULL, DS_COLUMN_TEXT, 0},
};

/* A row for each line the results have a number for. */
static ds_status make_table(ds_table **table, const json_t *results) {
    ds_status status = DS_OK;
    DS_TRY(ds_table_new(table, "Benchmark", columns, sizeof columns / sizeof columns[0]));
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        const json_t *value = ds_json_at(results, lines[i].path);
        char digits[32];
        if (!json_is_number(value)) continue;
        (void)snprintf(digits, sizeof digits, "%.4g", json_number_value(value) * lines[i].scale);
        ds_table_text(*table, lines[i].what);
        ds_table_text(*table, digits);
        ds_table_text(*table, lines[i].unit);
    }
done:
    return status;
}

static ds_status tell_options(json_t **out, const bench_options *own, const ds_run *run) {
    ds_json_builder b = {0};
    ds_json_begin_object(&b, NULL);
    ds_json_put_text(&b, "size", own->size);
    ds_json_put_text(&b, "variant", own->variant);
    ds_json_put_count(&b, "seq_len", run->length);
    ds_json_end(&b);
    return ds_json_finish(out, &b);
}

static ds_status publish(const ds_invocation *invocation, const ds_run *run, const bench_result *result) {
    ds_status status = DS_OK;
    ds_told told = {NULL, NULL};
    ds_table *table = NULL;
    DS_TRY(tell_options(&told.options, invocation->own, run));
    DS_TRY(make_results(&told.results, result, ds_rule_has_operators(run->spec.rule)));
    DS_TRY(make_table(&table, told.results));
    DS_TRY(ds_command_publish_tables(invocation, run, &told, &table, 1));
    if (invocation->common.table) DS_TRY(ds_table_print(stdout, table));
done:
    ds_told_release(&told);
    ds_table_free(&table);
    return status;
}

static ds_status run_command(const ds_invocation *invocation) {
    ds_status status = DS_OK;
    ds_run run = {.started = ds_seconds()};
    bench_result result = {0};
    DS_TRY(measure(&result, invocation, &run));
    DS_TRY(publish(invocation, &run, &result));
done:
    ds_run_close(&run);
    return status;
}

const ds_command ds_command_bench = {
    .name = "bench",
    .operands = "",
    .summary = "Speed of every stage beside the machine's own matrix product",
    .description =
        "Random weights of the sizes reported for the architecture, window length 1024; everything is timed in one run, so "
        "that the ratios mean something on any machine.",
    .examples = "  deltascope bench --size small --json bench.json\n",
    .takes = DS_TAKES_LENGTH | DS_TAKES_RUN,
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .defaults = &defaults,
    .own_size = sizeof defaults,
    .run = run_command,
};
