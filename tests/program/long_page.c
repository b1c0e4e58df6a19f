/* The page of a report in a browser: Chromium without a window opens it 400, 800 and 1,400 px wide, light and dark. It does
 * not scroll sideways, no two texts of a picture overlap or leave it, every text has contrast enough, every table sorts, and
 * nothing is said on the console. Beside it all figures of made-up results, of 1, 3 and 24 layers and of several checkpoints,
 * at the least width and at usual ones. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "child.h"
#include "deltascope/io.h"
#include "deltascope/report.h"
#include "figure_results.h"
#include "scratch.h"
#include "support.h"

static child ran;

/* The picture from its <svg on, in an element that names it. */
static void append_picture(ds_text *page, const ds_folder *folder, const char *id, const char *of) {
    char name[128], *svg;
    size_t length;
    (void)snprintf(name, sizeof name, "%s.svg", id);
    expect_ok(ds_read_file_in(&svg, &length, folder, name, 1 << 24));
    expect_ok(ds_text_printf(page, "<figure id=\"%s of %s\">%s</figure>\n", id, of, strstr(svg, "<svg")));
    free(svg);
}

/* Those that show several checkpoints, of 1, 3 and 24 layers in turn: of one panel, and of two. */
static void append_merged(ds_text *page, const ds_folder *folder) {
    static const size_t layers[] = {1, 3, 24}, counts[] = {2, 9};
    for (size_t i = 0; i < 2; i++) {
        json_t *list = json_array(), *runs = make_results(layers[1], 0.1); /* training runs have their own list */
        char of[64];
        for (size_t c = 0; c < counts[i]; c++) {
            json_t *part = make_results(layers[c % 3], 0.1);
            (void)snprintf(of, sizeof of, "a long label of seed %zu", c);
            assert_int_equal(json_object_set_new(part, "label", json_string(of)), 0);
            assert_int_equal(json_array_append_new(list, part), 0);
        }
        json_t *results = json_pack("{s:o, s:b, s:O}", "merged", list, "same_data", 1, "train", json_object_get(runs, "train"));
        json_decref(runs);
        const ds_figure_options options = {.formats = DS_FIGURE_SVG, .width_cm = i == 0 ? 8 : 8.5};
        (void)snprintf(of, sizeof of, "%zu checkpoints", counts[i]);
        for (size_t f = 0; f < ds_figure_count(); f++) {
            const ds_figure *figure = ds_figure_merged(ds_figure_at(f));
            ds_figure_outcome outcome;
            if (figure == NULL) continue;
            expect_ok(ds_figure_write(&outcome, folder, figure, results, &options));
            if (outcome.no_gnuplot) skip();
            append_picture(page, folder, ds_figure_id(figure), of);
        }
        json_decref(results);
    }
}

static void append_figures(ds_text *page) {
    static const size_t layers[] = {1, 3, 24};
    static const double widths[] = {8, 8.5, 17};
    ds_folder *folder = NULL;
    expect_ok(ds_folder_open(&folder, scratch_path("figures")));
    for (size_t i = 0; i < 9; i++) {
        json_t *results = make_results(layers[i / 3], i % 3 == 0 ? NAN : 0.1);
        const ds_figure_options options = {.formats = DS_FIGURE_SVG, .width_cm = widths[i % 3]};
        char of[64];
        (void)snprintf(of, sizeof of, "%zu layers, %g cm", layers[i / 3], widths[i % 3]);
        for (size_t f = 0; f < ds_figure_count(); f++) {
            ds_figure_outcome outcome;
            if (!ds_figure_applies(ds_figure_at(f), results)) continue;
            expect_ok(ds_figure_write(&outcome, folder, ds_figure_at(f), results, &options));
            if (outcome.no_gnuplot) skip();
            append_picture(page, folder, ds_figure_id(ds_figure_at(f)), of);
        }
        json_decref(results);
    }
    append_merged(page, folder);
    ds_folder_close(&folder);
}

static const char *find_browser(void) {
    static char path[256];
    child_run_program(&ran, "/bin/sh", (const char *const[]){"-c", "command -v chromium || command -v chromium-browser", NULL},
                      (child_limits){0});
    (void)snprintf(path, sizeof path, "%.*s", (int)strcspn(ran.out, "\n"), ran.out);
    return ran.status == 0 ? path : NULL;
}

static void test_page(void **state) {
    (void)state;
    char folder[300], *script;
    size_t length;
    ds_text harness = {0}, address = {0};
    const char *browser = find_browser();
    if (browser == NULL) skip();
    const child_limits minutes = {.seconds = 600};
    (void)snprintf(folder, sizeof folder, "%s", scratch_path("report"));
    CHILD_RUN(&ran, minutes, "report", "--quiet", "--tokens", "fixtures/data/val.bin", "--sequences", "4", "--out", folder,
              "fixtures/models/ddl-cc-ec");
    if (ran.status != 0) fail_msg("status %d: %s", ran.status, ran.err);
    expect_ok(ds_read_file(&script, &length, "tests/program/page_checks.js", 1 << 20));
    expect_ok(ds_text_printf(&harness, "<!DOCTYPE html><meta charset=utf-8><body><pre id=said></pre>\n"));
    append_figures(&harness);
    expect_ok(ds_text_printf(&harness, "<script>const PAGE = 'report/report.html';\n%s</script>\n", script));
    expect_ok(ds_text_printf(&address, "file://%s", scratch_write("harness.html", harness.bytes, harness.length)));
    const char *const arguments[] = {"--headless",
                                     "--no-sandbox",
                                     "--disable-gpu",
                                     "--allow-file-access-from-files",
                                     "--enable-logging=stderr",
                                     "--virtual-time-budget=60000",
                                     "--timeout=300000",
                                     "--dump-dom",
                                     address.bytes,
                                     NULL};
    child_run_program(&ran, browser, arguments, minutes);
    const char *said = strstr(ran.out, "<pre id=\"said\">");
    if (said == NULL || strncmp(strchr(said, '>') + 1, "NO FAULT", 8) != 0)
        fail_msg("%.6000s\n%.2000s", said == NULL ? ran.out : said, ran.err);
    if (strstr(ran.err, ":CONSOLE(") != NULL) fail_msg("the console: %s", strstr(ran.err, ":CONSOLE("));
    free(script);
    ds_text_release(&harness);
    ds_text_release(&address);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_page)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
