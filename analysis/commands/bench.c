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
     offsetof(bench_options, size), 0},
    {"variant", "additive|ddl-scalar|ddl-tc|ddl-tc-ec|ddl-cc|ddl-cc-ec", "which model (ddl-cc-ec)", DS_OPTION_CHOICE,
     offsetof(bench_options, variant), 0},
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

static const ds_column columns[] = {
    {"what", NULL, NULL, DS_COLUMN_TEXT, 0},
    {"value", NULL, NULL, DS_COLUMN_TEXT, 0},
    {"unit", NULL, NULL, DS_COLUMN_TEXT, 0},
};

static void add_row(ds_table *table, const char *what, double value, const char *unit) {
    char digits[32];
    (void)snprintf(digits, sizeof digits, "%.4g", value);
    ds_table_text(table, what);
    ds_table_text(table, digits);
    ds_table_text(table, unit);
}

static ds_status make_table(ds_table **out, const bench_result *result, bool delta) {
    ds_status status = DS_OK;
    DS_TRY(ds_table_new(out, "Benchmark", columns, sizeof columns / sizeof columns[0]));
    ds_table *table = *out;
    add_row(table, "large cblas_sgemm", result->gemm * 1e-9, "GFLOP/s");
    add_row(table, "forward", (double)result->forward.tokens / result->forward.seconds, "tokens/s");
    add_row(table, "forward, share of sgemm", rate_of(&result->forward) / result->gemm, "of the sgemm rate");
    add_row(table, "forward and backward", (double)result->backward.tokens / result->backward.seconds, "tokens/s");
    add_row(table, "the same, share of sgemm", rate_of(&result->backward) / result->gemm, "of the sgemm rate");
    add_row(table, "single-sublayer sweep", result->sweep.forward_equivalents / (double)result->sweep.cases,
            "forward passes a case");
    add_row(table, "the same, counting operations", result->sweep.operation_equivalents / (double)result->sweep.cases,
            "forward passes a case");
    add_row(table, "the same, done naively", result->sweep.naive_equivalents / (double)result->sweep.cases,
            "forward passes a case");
    if (delta) {
        add_row(table, "accumulated spectrum", result->spectrum.tokens_per_second, "tokens/s");
        add_row(table, "at every prefix depth", result->spectrum.prefix_tokens_per_second, "tokens/s");
        add_row(table, "with proved radii", result->spectrum.certified_tokens_per_second, "tokens/s");
        add_row(table, "over dense LAPACK", result->spectrum.speedup_over_dense, "times faster a token");
        add_row(table, "largest difference", result->spectrum.max_difference, "of any value");
    }
    add_row(table, "load", result->load.bytes / result->load.seconds * 1e-9, "GB/s");
    add_row(table, "peak memory", (double)ds_peak_memory_bytes() * 1e-9, "GB");
done:
    return status;
}

static void put_options(ds_json_builder *b, const ds_invocation *invocation, const ds_run *run) {
    const bench_options *own = invocation->own;
    ds_json_put_text(b, "size", own->size);
    ds_json_put_text(b, "variant", own->variant);
    ds_json_put_count(b, "seq_len", run->length);
}

static ds_status publish(const ds_invocation *invocation, const ds_run *run, const bench_result *result) {
    ds_status status = DS_OK;
    json_t *results = NULL;
    ds_table *table = NULL;
    DS_TRY(make_results(&results, result, ds_rule_has_operators(run->spec.rule)));
    DS_TRY(make_table(&table, result, ds_rule_has_operators(run->spec.rule)));
    DS_TRY(ds_command_publish(invocation, run, results, &table, 1));
    if (invocation->common.table) DS_TRY(ds_table_print(stdout, table));
done:
    json_decref(results);
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
    .put_options = put_options,
    .run = run_command,
};
