/* plot, and what --out draws, when drawing goes wrong: a gnuplot that fails on one format or on all, results without a number,
 * a width too small for letters. Nothing that fails to be drawn ends a report. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>

#include "child.h"
#include "deltascope/io.h"
#include "figure_results.h"
#include "scratch.h"
#include "support.h"

#define DATA "--tokens", "fixtures/data/val.bin", "--seq-len", "16", "--sequences", "2"
static const char model[] = "fixtures/models/scalar-safetensors";
static child ran;

static bool exists(const char *name) { return access(scratch_path(name), F_OK) == 0; }

/* PATH with a gnuplot of ours in front, which does what `body` says before the real one takes over. */
static child_limits with_gnuplot(const char *body) {
    static char path[8192];
    char script[512], folder[256];
    (void)snprintf(script, sizeof script, "#!/bin/sh\n%s\nPATH=${PATH#*:} exec gnuplot \"$@\"\n", body);
    const char *file = scratch_write("bin/gnuplot", script, strlen(script));
    assert_int_equal(chmod(file, 0700), 0);
    (void)snprintf(folder, sizeof folder, "%s", file);
    *strrchr(folder, '/') = '\0';
    (void)snprintf(path, sizeof path, "%s:%s", folder, getenv("PATH"));
    return (child_limits){.preset = {"PATH", path}};
}

static bool has_gnuplot(void) {
    child_run_program(&ran, "/bin/sh", (const char *const[]){"-c", "command -v gnuplot", NULL}, (child_limits){0});
    return ran.status == 0;
}

static const char no_cairo[] = "case \"$*\" in *png*|*pdf*) echo 'unknown or ambiguous terminal type' >&2; exit 1;; esac";

static void test_a_format_that_fails_leaves_the_others(void **state) {
    (void)state;
    if (!has_gnuplot()) skip();
    const child_limits limits = with_gnuplot(no_cairo);
    CHILD_RUN(&ran, limits, "gates", DATA, "--out", scratch_path("gates"), model);
    assert_int_equal(ran.status, 0);
    assert_true(exists("gates/figures/regime-shares.svg"));
    assert_false(exists("gates/figures/regime-shares.png"));
    assert_non_null(strstr(ran.err, "regime-shares.png: gnuplot: ended with status 1: unknown or ambiguous terminal"));
}

static void test_a_report_without_a_picture(void **state) {
    (void)state;
    if (!has_gnuplot()) skip();
    const child_limits limits = with_gnuplot("case \"$*\" in *gate-distribution*) kill -SEGV $$;; esac");
    CHILD_RUN(&ran, limits, "report", DATA, "--skip", "verify,ablate,spectrum,gradflow", "--out", scratch_path("report"),
              model);
    if (ran.status != 0) fail_msg("status %d: %s", ran.status, ran.err);
    char *page;
    size_t length;
    expect_ok(ds_read_file(&page, &length, scratch_path("report/report.html"), 1 << 24));
    assert_non_null(strstr(page, "<p class=\"missing\">gate-distribution.svg: gnuplot: ended with signal 11"));
    assert_non_null(strstr(page, "<figure id=\"regime-shares\">\n<div class=\"picture\"><svg"));
    free(page);
    expect_ok(ds_read_file(&page, &length, scratch_path("report/report.sha256"), 1 << 20));
    assert_null(strstr(page, "gate-distribution.svg"));
    assert_non_null(strstr(page, "gate-distribution.tsv"));
    assert_non_null(strstr(page, "regime-shares.svg"));
    free(page);
}

static void test_plot_says_what_it_could_not_draw(void **state) {
    (void)state;
    if (!has_gnuplot()) skip();
    CHILD_RUN(&ran, (child_limits){0}, "gates", DATA, "--json", scratch_path("gates.json"), model);
    assert_int_equal(ran.status, 0);
    const child_limits limits = with_gnuplot("case \"$*\" in *discrepancy*) exit 1;; esac");
    CHILD_RUN(&ran, limits, "plot", "--out", scratch_path("plot"), scratch_path("gates.json"));
    assert_int_equal(ran.status, 4);
    assert_non_null(strstr(ran.err, "1 figure could not be drawn"));
    assert_true(exists("plot/gate-distribution.svg"));
    assert_true(exists("plot/edit-sizes.svg")); /* comes after the one that failed */
    CHILD_RUN(&ran, limits, "plot", "--figure", "discrepancy", "--out", scratch_path("plot"), scratch_path("gates.json"));
    assert_int_equal(ran.status, 4);
}

/* Each as a file would say it that has nothing but nulls. */
static void test_results_without_a_number(void **state) {
    (void)state;
    static const struct {
        const char *figure, *result;
    } nulls[] = {
        {"trajectory-loss", "\"compare\",\"results\":{\"trajectory\":true,\"x\":\"number\",\"checkpoints\":[{\"label\":\"a\","
                            "\"x\":1,\"loss\":null,"
                            "\"difference\":null,\"difference_ci95\":[null,null]}]}"},
        {"training-curves", "\"train\",\"results\":{\"clip\":1,\"steps\":[{\"step\":0,\"lr\":null,\"loss\":null,\"gradient_"
                            "norm\":null}],\"evaluations\":["
                            "{\"step\":0,\"val_loss\":null}]}"},
        {"gates-over-training", "\"train\",\"results\":{\"audits\":[{\"step\":0,\"gates\":[{\"name\":\"0.attn\",\"beta_mean\":"
                                "null}]},{\"step\":9,\"gates\":"
                                "[]}]}"},
    };
    for (size_t i = 0; i < sizeof nulls / sizeof *nulls; i++) {
        char text[512], words[80], script[80];
        const int length = snprintf(text, sizeof text, "{\"schema\":\"deltascope/1\",\"command\":%s}", nulls[i].result);
        const char *saved = scratch_write("nulls.json", text, (size_t)length);
        (void)snprintf(words, sizeof words, "%s: nothing to draw", nulls[i].figure);
        (void)snprintf(script, sizeof script, "none/%s.gp", nulls[i].figure);
        for (int named = 0; named < 2; named++) {
            const char *const all[] = {"plot", "--out", scratch_path("none"), saved, NULL};
            const char *const one[] = {"plot", "--figure", nulls[i].figure, "--out", scratch_path("none"), saved, NULL};
            child_run(&ran, named ? one : all, (child_limits){0});
            assert_int_equal(ran.status, 3);
            assert_non_null(strstr(ran.err, words));
            assert_false(exists(script));
        }
    }
}

static void test_width(void **state) {
    (void)state;
    for (int i = 0; i < 3; i++) {
        static const char *const widths[] = {"7.9", "61", "nan"};
        CHILD_RUN(&ran, (child_limits){0}, "plot", "--width", widths[i], "--out", scratch_path("none"), "no.json");
        assert_int_equal(ran.status, 2);
    }
}

/* ---- several checkpoints ----------------------------------------------------------------------------------------- */

enum { MOST = 7 };

/* A report of made-up results, as --json would have written it; its path is valid until the end. */
static const char *write_report(size_t number, size_t layers, const char *data, json_t **results) {
    char name[32], digest[16];
    ds_text text = {0};
    (void)snprintf(name, sizeof name, "merged-%zu.json", number);
    (void)snprintf(digest, sizeof digest, "c%zu", number);
    *results = make_results(layers, 0.25);
    json_t *envelope =
        json_pack("{s:s, s:s, s:{s:s}, s:{s:s, s:i, s:[i]}, s:O}", "schema", "deltascope/1", "command", "report", "checkpoint",
                  "sha256", digest, "data", "sha256", data, "seq_len", 8, "starts", 0, "results", *results);
    assert_non_null(envelope);
    expect_ok(ds_json_print(&text, envelope, DS_JSON_CANONICAL));
    const char *path = scratch_write(name, text.bytes, text.length);
    json_decref(envelope);
    ds_text_release(&text);
    return path;
}

static size_t count_blocks(const char *data) {
    size_t count = 0;
    for (const char *at = data; (at = strstr(at, "# checkpoint\n")) != NULL; at++) count++;
    return count;
}

/* Row `row` of block `block`, the x in front of it. */
static void expect_row(const char *data, size_t block, size_t row, double x, double value) {
    char expected[96], number[2][32];
    for (size_t i = 0; i <= block; i++) data = strstr(data, "# x\tvalue\tlow\thigh\n") + 19;
    for (size_t i = 0; i < row; i++) data = strchr(data, '\n') + 1;
    (void)snprintf(expected, sizeof expected, "%s\t%s\t", ds_format_real(number[0], x), ds_format_real(number[1], value));
    if (strncmp(data, expected, strlen(expected)) != 0) fail_msg("\"%.60s\", expected \"%s\"", data, expected);
}

/* As many blocks as checkpoints, each with its own numbers, whatever their depths. */
static void test_several_checkpoints(void **state) {
    (void)state;
    static const char *const ids[] = {"gate-distribution", "eigenvalue-beta", "edit-sizes",     "closed-gate-loss",
                                      "depth-spectrum",    "depth-gain",      "gradient-paths", "weight-spectra"};
    ds_random random = ds_random_init(20261206);
    for (size_t count = 2; count <= MOST; count += MOST - 2) {
        const char *arguments[MOST + 8] = {"plot", "--out", NULL, "--labels", NULL, "--format", "pdf"};
        char out[300], labels[64] = "";
        json_t *results[MOST];
        (void)snprintf(out, sizeof out, "%s", scratch_path(count == 2 ? "two" : "many"));
        for (size_t c = 0; c < count; c++) {
            const size_t layers = 1 + ds_random_below(&random, 5), used = strlen(labels);
            arguments[7 + c] = write_report(c, layers, count == 2 ? "same" : c == 3 ? "other" : "same", &results[c]);
            (void)snprintf(labels + used, sizeof labels - used, "%ss%zu", c == 0 ? "" : ",", c);
        }
        arguments[2] = out;
        arguments[4] = labels;
        child_run(&ran, arguments, (child_limits){0});
        if (ran.status != 0) fail_msg("status %d: %s", ran.status, ran.err);
        assert_int_equal(strstr(ran.out, "not all of them measured on the same windows") != NULL, count > 2);
        assert_non_null(
            strstr(ran.out, count == 2 ? " of s0, s1, a series each." : " of s0, s1, s2, s3, s4, s5, s6, a series each,"));
        for (size_t f = 0; f < sizeof ids / sizeof *ids; f++) {
            char name[300], *data;
            size_t length;
            (void)snprintf(name, sizeof name, "%s/%s.tsv", out, ids[f]);
            expect_ok(ds_read_file(&data, &length, name, 1 << 20));
            assert_int_equal(count_blocks(data), count);
            const size_t c = ds_random_below(&random, count);
            const json_t *gates = ds_json_at(results[c], "gates/sublayers"), *cases = ds_json_at(results[c], "ablate/cases");
            const size_t s = ds_random_below(&random, json_array_size(gates));
            if (f == 0) expect_row(data, c, s, (double)s, ds_json_real_at(json_array_get(gates, s), "beta/mean"));
            if (f == 1) expect_row(data, c, s, (double)s, ds_json_real_at(json_array_get(gates, s), "eigenvalue/mean"));
            if (f == 3) expect_row(data, c, s, (double)s, ds_json_real_at(json_array_get(cases, s), "delta_loss"));
            (void)snprintf(name, sizeof name, "%s/%s.pdf", out, ids[f]);
            assert_int_equal(access(name, F_OK) == 0, has_gnuplot());
            free(data);
        }
        for (size_t c = 0; c < count; c++) json_decref(results[c]);
    }
}

static void test_labels(void **state) {
    (void)state;
    static const struct {
        const char *labels, *figure, *words;
        int status;
    } cases[] = {
        {"a", NULL, "--labels: 1 label for 2 results, one is needed for each", 2},
        {"a,b,c", NULL, "--labels: 3 labels for 2 results", 2},
        {"a,", NULL, "--labels: a label is empty", 2},
        {"seed 1,seed 1", NULL, "--labels: \"seed 1\" names two results", 2},
        {"a,b", "coherence", "coherence: the figure does not show several checkpoints; those that do: gate-distribution", 2},
        {"a,b", "no-such", "there is no figure \"no-such\"", 2},
        {NULL, NULL, "measures another checkpoint than", 3}};
    json_t *results[2];
    char file[2][300];
    for (size_t i = 0; i < 2; i++) (void)snprintf(file[i], sizeof file[i], "%s", write_report(i, 2, "same", &results[i]));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *arguments[12] = {"plot", "--out", scratch_path("none"), file[0], file[1]};
        size_t count = 5;
        if (cases[i].labels != NULL) arguments[count++] = "--labels";
        if (cases[i].labels != NULL) arguments[count++] = cases[i].labels;
        if (cases[i].figure != NULL) arguments[count++] = "--figure";
        if (cases[i].figure != NULL) arguments[count++] = cases[i].figure;
        child_run(&ran, arguments, (child_limits){0});
        if (ran.status != cases[i].status || strstr(ran.err, cases[i].words) == NULL) fail_msg("%zu: %s", i, ran.err);
        assert_false(exists("none/gate-distribution.tsv"));
    }
    for (size_t i = 0; i < 2; i++) json_decref(results[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_format_that_fails_leaves_the_others),
        cmocka_unit_test(test_a_report_without_a_picture),
        cmocka_unit_test(test_plot_says_what_it_could_not_draw),
        cmocka_unit_test(test_results_without_a_number),
        cmocka_unit_test(test_width),
        cmocka_unit_test(test_several_checkpoints),
        cmocka_unit_test(test_labels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
