/* bench: the speed of every stage beside the machine's own matrix product, all in one run. */
#include <stdlib.h>
#include <string.h>

#include "bench/bench.h"
#include "cli/standard_streams.h"
#include "deltascope/num.h"
#include "model_command.h"

typedef struct bench_options {
    const char *size, *variant, *backbone; /* variant NULL: the usual one of the backbone */
    bool product_alone;
} bench_options;

static const ds_option options[] = {
    {"size", "tiny|demo|small|medium",
     "124M or 353M parameters, the sizes reported for the architecture; 0.8M, that of make train-demo; tiny shows in seconds "
     "that everything runs (small)",
     DS_OPTION_CHOICE, offsetof(bench_options, size), 0, NULL},
    {"variant", "additive|ddl-scalar|ddl-tc|ddl-tc-ec|ddl-cc|ddl-cc-ec", "which model (ddl-cc-ec)", DS_OPTION_CHOICE,
     offsetof(bench_options, variant), 0, NULL},
    {"backbone", "ddl|qwen3|llama|qwen2|nanogpt|gpt2", "the transformer around the rule: a plain one is additive (ddl)",
     DS_OPTION_CHOICE, offsetof(bench_options, backbone), 0, NULL},
    {"product-alone", NULL, "time the matrix product alone, with the kernels that the BLAS picks in this process",
     DS_OPTION_FLAG, offsetof(bench_options, product_alone), 0, NULL},
};
static const bench_options defaults = {"small", NULL, "ddl", false};

static bool is_plain(const bench_options *own) { return strcmp(own->backbone, "ddl") != 0; }

static const char *variant_of(const bench_options *own) {
    if (own->variant != NULL) return own->variant;
    return is_plain(own) ? "additive" : "ddl-cc-ec";
}

typedef struct bench_result {
    double gemm; /* operations a second: the fastest kernels' */
    ds_bench_kernels kernels;
    ds_bench_forward forward, backward;
    ds_bench_training training;
    ds_bench_sweep sweep;
    ds_bench_spectrum spectrum;
    ds_bench_load load;
} bench_result;

/* Random weights take a checkpoint's place in the run. */
static ds_status measure(bench_result *result, const ds_invocation *invocation, ds_run *run) {
    ds_status status = DS_OK;
    const bench_options *own = invocation->own;
    const ds_common *common = &invocation->common;
    if (is_plain(own) && strcmp(variant_of(own), "additive") != 0)
        DS_TRY(ds_fail(DS_ERR_USAGE, "--backbone %s is additive: leave out --variant %s", own->backbone, own->variant));
    DS_TRY(ds_spec_reported(&run->spec, own->size, variant_of(own)));
    ds_bench_backbone(&run->spec, own->backbone);
    run->length = common->seq_len.given ? common->seq_len.value : run->spec.block_size;
    if (own->product_alone) return ds_gemm_rate(&result->gemm, strcmp(own->size, "tiny") == 0 ? 512 : 4096);
    DS_TRY(ds_bench_kernels_run(&result->kernels, own->size, ds_threads()));
    result->gemm = result->kernels.all[result->kernels.fastest].operations_per_second;
    DS_TRY(ds_model_random(&run->model, &run->spec, DS_F32, common->seed.value));
    const ds_model *model = run->model;
    DS_TRY(ds_bench_forward_run(&result->forward, model, run->length));
    DS_TRY(ds_bench_backward_run(&result->backward, model, run->length));
    DS_TRY(ds_bench_training_run(&result->training, model, run->length));
    DS_TRY(ds_bench_sweep_run(&result->sweep, model, run->length, result->forward.seconds / (double)result->forward.tokens));
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

/* Shares of the time of all threads; beside them that of the products if they ran as fast as the large one, what is computed
 * again not counted. */
static void put_profile(ds_json_builder *b, const ds_bench_training *training, double gemm) {
    static const char *const names[DS_ACTIVITIES] = {
        [DS_ACTIVITY_NONE] = "waiting", [DS_ACTIVITY_PRODUCTS] = "products", [DS_ACTIVITY_ATTENTION] = "attention",
        [DS_ACTIVITY_RULE] = "rule",    [DS_ACTIVITY_HEAD] = "head",         [DS_ACTIVITY_OPTIMISER] = "optimiser",
        [DS_ACTIVITY_OTHER] = "other"};
    double all = 0;
    for (size_t i = 0; i < DS_ACTIVITIES; i++) all += training->profile[i];
    ds_json_begin_object(b, "profile");
    for (size_t i = 0; i < DS_ACTIVITIES; i++) ds_json_put_real(b, names[i], training->profile[i] / all);
    ds_json_put_real(b, "products_at_best", training->fastest.operations / gemm * (double)ds_threads() / all);
    ds_json_end(b);
}

static void put_training(ds_json_builder *b, const ds_bench_training *training, double gemm) {
    static const char *const shares[DS_BENCH_SHARES] = {"windows", "forward", "backward", "norm", "optimiser"};
    const ds_bench_forward *fastest = &training->fastest;
    ds_json_begin_object(b, "training");
    ds_json_put_count(b, "updates", training->updates);
    ds_json_put_count(b, "tokens_per_update", fastest->tokens);
    ds_json_put_real(b, "seconds_per_update", training->median_seconds);
    ds_json_put_real(b, "fastest_seconds", fastest->seconds);
    ds_json_put_real(b, "processor_seconds", training->processor_seconds);
    ds_json_put_real(b, "tokens_per_second", (double)fastest->tokens / training->median_seconds);
    ds_json_put_real(b, "gflops", rate_of(fastest) * 1e-9);
    ds_json_put_real(b, "fraction_of_gemm", rate_of(fastest) / gemm);
    ds_json_begin_object(b, "shares");
    for (size_t i = 0; i < DS_BENCH_SHARES; i++) ds_json_put_real(b, shares[i], training->shares[i]);
    ds_json_end(b);
    put_profile(b, training, gemm);
    ds_json_end(b);
}

static void put_per_case(ds_json_builder *b, const ds_bench_sweep *sweep) {
    double cases = (double)sweep->cases;
    ds_json_put_real(b, "forward_equivalents_per_case", sweep->forward_equivalents / cases);
    ds_json_put_real(b, "operation_equivalents_per_case", sweep->operation_equivalents / cases);
    ds_json_put_real(b, "naive_equivalents_per_case", sweep->naive_equivalents / cases);
}

static void put_kernels(ds_json_builder *b, const ds_bench_kernels *kernels) {
    ds_json_begin_array(b, "kernels");
    for (size_t i = 0; i < kernels->count; i++) {
        const ds_bench_kernels_entry *entry = &kernels->all[i];
        ds_json_begin_object(b, NULL);
        ds_json_put_text(b, "core_type", entry->core_type);
        ds_json_put_text(b, "core", entry->core);
        ds_json_put_real(b, "gflops", entry->operations_per_second * 1e-9);
        ds_json_end(b);
    }
    ds_json_end(b);
    ds_json_put_text(b, "fastest_core", kernels->all[kernels->fastest].core);
}

static void put_sweep(ds_json_builder *b, const ds_bench_sweep *sweep) {
    ds_json_begin_object(b, "ablation_sweep");
    ds_json_put_count(b, "cases", sweep->cases);
    ds_json_put_real(b, "forward_equivalents", sweep->forward_equivalents);
    ds_json_put_real(b, "operation_equivalents", sweep->operation_equivalents);
    ds_json_put_real(b, "naive_equivalents", sweep->naive_equivalents);
    put_per_case(b, sweep);
    ds_json_end(b);
}

static void put_spectrum(ds_json_builder *b, const ds_bench_spectrum *spectrum) {
    ds_json_begin_object(b, "spectrum");
    ds_json_put_real(b, "tokens_per_second", spectrum->tokens_per_second);
    ds_json_put_real(b, "prefix_tokens_per_second", spectrum->prefix_tokens_per_second);
    ds_json_put_real(b, "certified_tokens_per_second", spectrum->certified_tokens_per_second);
    ds_json_put_real(b, "speedup_over_dense", spectrum->speedup_over_dense);
    ds_json_put_real(b, "max_difference", spectrum->max_difference);
    ds_json_end(b);
}

/* "blas" is what this process runs on, LAPACK included; "kernels" what it was compared with. */
static ds_status make_results(json_t **results, const bench_result *result, const ds_run *run, bool product_alone) {
    ds_json_builder b = {0};
    ds_json_begin_object(&b, NULL);
    ds_json_put_text(&b, "blas", ds_blas_name());
    ds_json_put_real(&b, "gemm_gflops", result->gemm * 1e-9);
    if (!product_alone) {
        put_kernels(&b, &result->kernels);
        put_pass(&b, "forward", &result->forward, result->gemm);
        put_pass(&b, "forward_backward", &result->backward, result->gemm);
        put_training(&b, &result->training, result->gemm);
        put_sweep(&b, &result->sweep);
        if (ds_rule_has_operators(run->spec.rule)) put_spectrum(&b, &result->spectrum);
        ds_json_begin_object(&b, "load");
        ds_json_put_real(&b, "seconds", result->load.seconds);
        ds_json_put_real(&b, "bytes_per_second", result->load.bytes / result->load.seconds);
        ds_json_end(&b);
    }
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
    {"update of training", "training/seconds_per_update", 1, "s"},
    {"the fastest", "training/fastest_seconds", 1, "s"},
    {"the fastest, share of sgemm", "training/fraction_of_gemm", 1, "of the sgemm rate"},
    {"one, in processor time", "training/processor_seconds", 1, "s of all threads"},
    {"training", "training/tokens_per_second", 1, "tokens/s"},
    {"reading its windows", "training/shares/windows", 100, "% of its time"},
    {"forward pass", "training/shares/forward", 100, "% of its time"},
    {"backward pass", "training/shares/backward", 100, "% of its time"},
    {"norm of the gradient", "training/shares/norm", 100, "% of its time"},
    {"optimiser", "training/shares/optimiser", 100, "% of its time"},
    {"matrix products", "training/profile/products", 100, "% of its threads' time"},
    {"the same at the sgemm rate", "training/profile/products_at_best", 100, "% of its threads' time"},
    {"attention's scores", "training/profile/attention", 100, "% of its threads' time"},
    {"residual rule and state", "training/profile/rule", 100, "% of its threads' time"},
    {"loss over the vocabulary", "training/profile/head", 100, "% of its threads' time"},
    {"norm and optimiser", "training/profile/optimiser", 100, "% of its threads' time"},
    {"norms, activations, sums", "training/profile/other", 100, "% of its threads' time"},
    {"waiting", "training/profile/waiting", 100, "% of its threads' time"},
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
    const char *fastest = json_string_value(json_object_get(results, "fastest_core"));
    DS_TRY(ds_table_new(table, "Benchmark", columns, sizeof columns / sizeof columns[0]));
    ds_table_describe(*table, "bench-rates", NULL);
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        const json_t *value = ds_json_at(results, lines[i].path);
        char digits[32];
        if (!json_is_number(value)) continue;
        (void)snprintf(digits, sizeof digits, "%.4g", json_number_value(value) * lines[i].scale);
        ds_table_text(*table, lines[i].what);
        ds_table_text(*table, digits);
        ds_table_text(*table, lines[i].unit);
    }
    if (fastest != NULL) {
        ds_table_text(*table, "kernels of that cblas_sgemm");
        ds_table_text(*table, fastest);
        ds_table_text(*table, "the fastest here");
    }
done:
    return status;
}

static ds_status tell_options(json_t **out, const bench_options *own, const ds_run *run) {
    ds_json_builder b = {0};
    ds_json_begin_object(&b, NULL);
    ds_json_put_text(&b, "size", own->size);
    ds_json_put_text(&b, "variant", variant_of(own));
    ds_json_put_text(&b, "backbone", own->backbone);
    ds_json_put_count(&b, "seq_len", run->length);
    ds_json_end(&b);
    return ds_json_finish(out, &b);
}

static ds_status publish(const ds_invocation *invocation, const ds_run *run, const bench_result *result) {
    ds_status status = DS_OK;
    ds_told told = {NULL, NULL};
    ds_table *table = NULL;
    DS_TRY(tell_options(&told.options, invocation->own, run));
    DS_TRY(make_results(&told.results, result, run, ((const bench_options *)invocation->own)->product_alone));
    DS_TRY(make_table(&table, told.results));
    DS_TRY(ds_command_publish_tables(invocation, run, &told, &table, 1));
    if (invocation->common.table) DS_TRY(ds_print_table(table));
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

static const ds_column_set column_sets[] = {DS_COLUMN_SET(columns)};

const ds_command ds_command_bench = {
    .name = "bench",
    .operands = "",
    .summary = "Speed of every stage beside the machine's own matrix product",
    .description =
        "Random weights of the sizes reported for the architecture, window length 1024; everything is timed in one run, so "
        "that the ratios mean something on any machine. The matrix product is timed with every set of kernels that OpenBLAS "
        "has for the processor, each in a process of its own, and the fastest is what the ratios compare with.",
    .examples = "  deltascope bench --size small --json bench.json\n",
    .takes = DS_TAKES_LENGTH | DS_TAKES_RUN,
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .defaults = &defaults,
    .own_size = sizeof defaults,
    .column_sets = column_sets,
    .column_set_count = sizeof column_sets / sizeof column_sets[0],
    .run = run_command,
};
