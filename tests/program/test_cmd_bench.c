/* bench at a tiny size: every figure is there, ratios are what their parts say, nothing is left behind however it ends. */
#include <dirent.h>
#include <float.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "child.h"
#include "deltascope/base.h"
#include "deltascope/io.h"
#include "program_json.h"
#include "scratch.h"
#include "support.h"

static double number(const json_t *results, const char *path) {
    const json_t *value = ds_json_at(results, path);
    if (!json_is_number(value)) fail_msg("no number at %s", path);
    return json_number_value(value);
}

static void expect_positive(const json_t *results, const char *path) {
    double value = number(results, path);
    if (!(value > 0) || !isfinite(value)) fail_msg("%s is %g", path, value);
}

static void expect_ratio(const json_t *results, const char *ratio, const char *above, double below) {
    double expected = number(results, above) / below, got = number(results, ratio);
    if (!(fabs(got - expected) <= 4 * 0x1p-53 * expected)) fail_msg("%s is %.17g, expected %.17g", ratio, got, expected);
}

/* The first kernels are the BLAS's own choice; the fastest of all is what everything is compared with. */
static void check_kernels(const json_t *results) {
    const json_t *kernels = json_object_get(results, "kernels"), *entry, *fastest = NULL;
    size_t index;
    assert_true(json_array_size(kernels) >= 1);
    assert_true(json_is_null(json_object_get(json_array_get(kernels, 0), "core_type")));
    json_array_foreach(kernels, index, entry) {
        expect_positive(entry, "gflops");
        if (fastest == NULL || number(entry, "gflops") > number(fastest, "gflops")) fastest = entry;
    }
    assert_true(number(fastest, "gflops") == number(results, "gemm_gflops"));
    assert_string_equal(json_string_value(json_object_get(fastest, "core")),
                        json_string_value(json_object_get(results, "fastest_core")));
}

/* The threads' time is all of it told, none twice; every kind of work is seen where it is done. */
static void check_profile(const json_t *profile) {
    static const char *const parts[] = {"products", "attention", "rule", "head", "optimiser", "other", "waiting"};
    double sum = 0;
    assert_int_equal(json_object_size(profile), sizeof parts / sizeof *parts + 1);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (strcmp(parts[i], "waiting") != 0) expect_positive(profile, parts[i]);
        sum += number(profile, parts[i]);
    }
    assert_true(fabs(sum - 1) < 1e-9);
    expect_positive(profile, "products_at_best");
}

/* A share for every part of an update, together no more than all of it. */
static void check_training(const json_t *results, double rate) {
    static const char *const parts[] = {"windows", "forward", "backward", "norm", "optimiser"};
    const json_t *training = json_object_get(results, "training"), *shares = json_object_get(training, "shares");
    double sum = 0, tokens = number(training, "tokens_per_update");
    expect_ratio(results, "training/fraction_of_gemm", "training/gflops", rate);
    expect_ratio(results, "training/tokens_per_second", "training/tokens_per_update", number(training, "seconds_per_update"));
    assert_true(tokens == 2048);
    assert_true(number(training, "updates") >= 3);
    assert_true(number(training, "fastest_seconds") <= number(training, "seconds_per_update"));
    expect_positive(training, "processor_seconds");
    assert_int_equal(json_object_size(shares), sizeof parts / sizeof *parts);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        expect_positive(shares, parts[i]);
        sum += number(shares, parts[i]);
    }
    assert_true(sum <= 1 + 1e-9 && sum > 0.5);
    check_profile(json_object_get(training, "profile"));
}

static void test_every_figure(void **state) {
    static const char *const variants[] = {"additive", "ddl-scalar", "ddl-tc-ec", "ddl-cc-ec"};
    (void)state;
    for (size_t i = 0; i < sizeof variants / sizeof *variants; i++) {
        const char *arguments[] = {"bench", "--size", "tiny", "--variant", variants[i], "--threads", "2", NULL};
        json_t *envelope = program_json(arguments);
        const json_t *results = json_object_get(envelope, "results");
        double rate = number(results, "gemm_gflops"), cases = number(results, "ablation_sweep/cases");
        check_kernels(results);
        expect_positive(results, "forward/tokens_per_second");
        expect_positive(results, "forward_backward/tokens_per_second");
        expect_ratio(results, "forward/fraction_of_gemm", "forward/gflops", rate);
        expect_ratio(results, "forward_backward/fraction_of_gemm", "forward_backward/gflops", rate);
        check_training(results, rate);
        assert_true(cases == 4);
        expect_ratio(results, "ablation_sweep/forward_equivalents_per_case", "ablation_sweep/forward_equivalents", cases);
        expect_positive(results, "load/bytes_per_second");
        bool delta = i > 0;
        assert_int_equal(json_object_get(results, "spectrum") != NULL, delta);
        if (delta) {
            expect_positive(results, "spectrum/speedup_over_dense");
            expect_positive(results, "spectrum/certified_tokens_per_second");
            /* LAPACK's acceptance tests let a backward error be 20 n eps; four random directions in 64 dimensions leave
             * eigenvalues with condition numbers well below 100. */
            assert_true(number(results, "spectrum/max_difference") < 100 * 20 * 64 * DBL_EPSILON);
        }
        json_decref(envelope);
    }
}

/* Plain transformers are timed alike, loading included, which reads back what the configuration says. */
static void test_backbones(void **state) {
    static const char *const backbones[] = {"qwen3", "llama", "qwen2", "nanogpt", "gpt2"};
    (void)state;
    for (size_t i = 0; i < sizeof backbones / sizeof *backbones; i++) {
        const char *arguments[] = {"bench", "--size", "tiny", "--backbone", backbones[i], "--threads", "2", NULL};
        json_t *envelope = program_json(arguments);
        const json_t *results = json_object_get(envelope, "results");
        assert_string_equal(json_string_value(ds_json_at(envelope, "options/backbone")), backbones[i]);
        assert_string_equal(json_string_value(ds_json_at(envelope, "options/variant")), "additive");
        expect_positive(results, "forward/tokens_per_second");
        expect_positive(results, "forward_backward/tokens_per_second");
        expect_positive(results, "load/bytes_per_second");
        json_decref(envelope);
    }
}

/* The product alone is one process's own kernels; a core type in the environment decides them where the BLAS listens. */
static void test_product_alone(void **state) {
    const char *arguments[] = {"bench", "--size", "tiny", "--product-alone", NULL};
    (void)state;
    json_t *envelope = program_json(arguments);
    const json_t *results = json_object_get(envelope, "results");
    expect_positive(results, "gemm_gflops");
    assert_null(json_object_get(results, "kernels"));
    assert_null(json_object_get(results, "forward"));
    json_decref(envelope);
}

static size_t entries(const char *folder) {
    DIR *listing = opendir(folder);
    size_t count = 0;
    assert_non_null(listing);
    while (readdir(listing) != NULL) count++;
    (void)closedir(listing);
    return count;
}

static void test_leaves_nothing(void **state) {
    const char *folder = scratch_path("temporary");
    child result;
    (void)state;
    ds_random random = ds_random_init(11);
    (void)mkdir(folder, 0700);
    for (size_t i = 0; i < 24; i++) {
        child_limits limits = {.preset = {"TMPDIR", folder},
                               .kill_with = i % 2 == 0 ? SIGKILL : SIGTERM,
                               .kill_after = (unsigned)ds_random_below(&random, 400000)};
        CHILD_RUN(&result, limits, "bench", "--size", "tiny", "--threads", "1");
        assert_int_equal(entries(folder), 2);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_figure),
        cmocka_unit_test(test_backbones),
        cmocka_unit_test(test_product_alone),
        cmocka_unit_test(test_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
