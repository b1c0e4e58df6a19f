/* plot, and what --out draws, when drawing goes wrong: a gnuplot that fails on one format or on all, results without a number,
 * a width too small for letters. Nothing that fails to be drawn ends a report. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "child.h"
#include "deltascope/io.h"
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_format_that_fails_leaves_the_others),
        cmocka_unit_test(test_a_report_without_a_picture),
        cmocka_unit_test(test_plot_says_what_it_could_not_draw),
        cmocka_unit_test(test_results_without_a_number),
        cmocka_unit_test(test_width),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
