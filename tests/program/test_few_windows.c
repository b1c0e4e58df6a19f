/* With any small number of windows: what does not exist is told nowhere as a number, and every table, page and verdict says
 * when so many windows cannot decide, and how many could. */
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "child.h"
#include "deltascope/io.h"
#include "deltascope/stats.h"
#include "scratch.h"
#include "support.h"

#define MODEL "fixtures/models/scalar-safetensors"
#define DATA "--tokens", "fixtures/data/val.bin", "--seq-len", "8", "--threads", "1", "--sequences"
enum { SEED = 31337 };
static const char cannot[] = "cannot", takes[] = "takes at least";

/* No word of the text is a number's way to say that it is none. */
static void expect_no_nan(const char *what, const char *text) {
    static const char *const words[] = {"nan", "inf", "-nan"};
    for (size_t w = 0; w < 3; w++) {
        size_t length = strlen(words[w]);
        for (const char *at = text; (at = strstr(at, words[w])) != NULL; at += length) {
            bool begins = at == text || !(isalnum((unsigned char)at[-1]) || strchr("-_/", at[-1]) != NULL);
            if (begins && !isalnum((unsigned char)at[length])) fail_msg("%s: \"%.60s\"", what, at);
        }
    }
}

/* Every interval is null or two numbers with its estimate between; none for too few windows. */
static void expect_intervals(const json_t *object, const char *interval, const char *of, size_t windows) {
    const json_t *found = json_object_get(object, interval);
    assert_non_null(found);
    if (windows < DS_PAIRED_LEAST) assert_true(json_is_null(found));
    if (json_is_null(found)) return;
    assert_int_equal(json_array_size(found), 2);
    double low = ds_json_real_at(found, "0"), high = ds_json_real_at(found, "1"), estimate = ds_json_real_at(object, of);
    assert_true(low <= estimate && estimate <= high);
}

static json_t *results_at(const char *name) {
    char *bytes;
    size_t length;
    json_t *tree;
    expect_ok(ds_read_file(&bytes, &length, scratch_path(name), 1 << 26));
    expect_ok(ds_json_parse(&tree, bytes, length, name));
    free(bytes);
    return tree;
}

static void expect_told(const json_t *told, size_t hypotheses, size_t windows) {
    double smallest = ds_json_real_at(told, "smallest_p_holm");
    assert_int_equal(json_integer_value(json_object_get(told, "hypotheses")), hypotheses);
    assert_int_equal(json_integer_value(json_object_get(told, "windows_needed")), ds_paired_needed(hypotheses));
    assert_int_equal(smallest < DS_SIGNIFICANCE, windows >= ds_paired_needed(hypotheses));
    assert_int_equal(json_is_null(json_object_get(told, "resamples")), windows <= DS_PAIRED_ENUMERATED);
    assert_string_equal(json_string_value(json_object_get(told, "method")), ds_paired_method);
}

static void expect_said(const char *what, const char *text, bool said) {
    bool found = strstr(text, cannot) != NULL && (strstr(text, takes) != NULL || strstr(text, "takes at\nleast") != NULL);
    if (found != said) fail_msg("%s: expected %s about too few windows in: %s", what, said ? "a sentence" : "nothing", text);
}

static void run_commands(size_t windows) {
    static child ran;
    char number[16];
    (void)snprintf(number, sizeof number, "%zu", windows);
    const char *json = scratch_path("result.json");
    const child_limits usual = {.seconds = 600};
    CHILD_RUN(&ran, usual, "ablate", DATA, number, "--json", json, MODEL);
    assert_int_equal(ran.status, 0);
    expect_no_nan("ablate", ran.out);
    json_t *tree = results_at("result.json");
    const json_t *results = json_object_get(tree, "results"), *cases = json_object_get(results, "cases");
    size_t hypotheses = (size_t)json_integer_value(ds_json_at(results, "intervals/hypotheses"));
    assert_in_range(hypotheses, 1, json_array_size(cases));
    expect_told(json_object_get(results, "intervals"), hypotheses, windows);
    expect_said("ablate", ran.out, windows < ds_paired_needed(hypotheses));
    for (size_t c = 0; c < json_array_size(cases); c++)
        expect_intervals(json_array_get(cases, c), "delta_loss_ci95", "delta_loss", windows);
    json_decref(tree);
    CHILD_RUN(&ran, usual, "compare", DATA, number, "--json", json, MODEL, "fixtures/models/cc-bf16");
    assert_int_equal(ran.status, 0);
    expect_no_nan("compare", ran.out);
    expect_said("compare", ran.out, windows < DS_PAIRED_LEAST);
    tree = results_at("result.json");
    results = json_object_get(tree, "results");
    expect_told(json_object_get(results, "intervals"), 1, windows);
    expect_told(json_object_get(results, "cost_intervals"), 4, windows);
    expect_intervals(ds_json_at(results, "checkpoints/1"), "difference_ci95", "difference", windows);
    assert_true(json_is_null(ds_json_at(results, "checkpoints/0/difference_ci95")));
    json_decref(tree);
    CHILD_RUN(&ran, usual, "gradflow", "--measure", DATA, number, MODEL); /* four sublayers: no interval of a correlation */
    assert_int_equal(ran.status, 0);
    expect_no_nan("gradflow", ran.out);
    assert_true(strstr(ran.out, "Spearman") != NULL && strchr(strstr(ran.out, "Pearson"), '[') == NULL);
}

static void expect_file(const char *name, size_t windows, bool verdict) {
    char path[300], *bytes;
    size_t length;
    (void)snprintf(path, sizeof path, "report-%zu/%s", windows, name);
    expect_ok(ds_read_file(&bytes, &length, scratch_path(path), 1 << 26));
    expect_no_nan(path, bytes);
    if (verdict) expect_said(path, bytes, windows < 5);
    if (verdict) assert_int_equal(strstr(bytes, "not decided: that takes at least 5 windows") != NULL, windows < 5);
    free(bytes);
}

/* The 15 cases of four sublayers are 11 hypotheses, which take 5 windows. */
static void run_report(size_t windows, const char *path) {
    static child ran;
    char number[16], folder[300];
    (void)snprintf(number, sizeof number, "%zu", windows);
    (void)snprintf(folder, sizeof folder, "report-%zu", windows);
    const child_limits limits = {.seconds = 600, .preset = {path == NULL ? NULL : "PATH", path}};
    CHILD_RUN(&ran, limits, "report", "--quiet", "--skip", "verify,jacobians", DATA, number, "--out", scratch_path(folder),
              MODEL);
    if (ran.status != 0) fail_msg("report of %zu windows: status %d, signal %d: %s", windows, ran.status, ran.signal, ran.err);
    expect_file("report.html", windows, true);
    expect_file("report.md", windows, true);
    expect_file("tables/cases.csv", windows, false);
    expect_file("tables/cases.tex", windows, false);
}

static void test_commands(void **state) {
    (void)state;
    ds_random random = ds_random_init(SEED);
    size_t done = 1; /* bit n: n windows */
    run_commands(1);
    for (int i = 0; i < 4; i++) {
        size_t windows = 2 + ds_random_below(&random, 9);
        if ((done >> windows & 1) == 0) run_commands(windows);
        done |= (size_t)1 << windows;
    }
}

/* One window with pictures, where gnuplot is; some others without. */
static void test_reports(void **state) {
    (void)state;
    ds_random random = ds_random_init(SEED);
    run_report(1, NULL);
    run_report(2 + ds_random_below(&random, 3), "/nonexistent");
    run_report(5 + ds_random_below(&random, 6), "/nonexistent");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_commands),
        cmocka_unit_test(test_reports),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
