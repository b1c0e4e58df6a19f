/* Figures of numbers as they also come: all zero, all equal, none known, tiny, huge, or any of these by chance. Every figure is
 * drawn, or says that there is nothing to draw. */
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

static const double kinds[] = {0, 1, NAN, -1e-300, 1e289, 1.7e308};
enum { KINDS = sizeof kinds / sizeof *kinds, BY_CHANCE = KINDS };

/* Replaces every real number of the results but the edges of bins; NaN becomes null, as results are written. */
static json_t *replaced(json_t *value, size_t kind, ds_random *random) {
    if (json_is_real(value)) {
        size_t chosen = kind == BY_CHANCE ? (size_t)(KINDS * ds_random_uniform(random)) : kind;
        return isnan(kinds[chosen]) ? json_null() : json_real(kinds[chosen]);
    }
    if (json_is_array(value)) {
        json_t *out = json_array();
        for (size_t i = 0; i < json_array_size(value); i++)
            assert_int_equal(json_array_append_new(out, replaced(json_array_get(value, i), kind, random)), 0);
        return out;
    }
    if (!json_is_object(value)) return json_deep_copy(value);
    json_t *out = json_object(), *member;
    const char *key;
    json_object_foreach(value, key, member) {
        bool kept = strcmp(key, "edges") == 0;
        assert_int_equal(json_object_set_new(out, key, kept ? json_deep_copy(member) : replaced(member, kind, random)), 0);
    }
    return out;
}

static const char *const endings[] = {"svg", "png", "pdf", "tex"};

/* Draws with one gnuplot what `work` says. */
static void draw(const ds_text *work) {
    static child said;
    const char *arguments[] = {"-c", "cd \"$0\" && exec gnuplot --default-settings all.gp", scratch_path("pictures"), NULL};
    (void)scratch_write("pictures/all.gp", work->bytes, work->length);
    child_run_program(&said, "/bin/sh", arguments, (child_limits){.seconds = 300});
    if (said.status != 0) fail_msg("gnuplot ended with %d: %s", said.status, said.err);
}

static void expect_picture(const char *id, const char *ending) {
    char name[160];
    size_t length;
    char *bytes;
    (void)snprintf(name, sizeof name, "pictures/%s.%s", id, ending);
    expect_ok(ds_read_file(&bytes, &length, scratch_path(name), 1 << 26));
    assert_true(length > 500);
    free(bytes);
}

/* Each figure of such results: the picture, or the sentence; which of the two there were is counted. One gnuplot draws all. */
static void draw_all(size_t counts[2], const json_t *results, size_t round) {
    ds_text work = {0};
    ds_folder *folder = NULL;
    bool drawn[64] = {false};
    expect_ok(ds_folder_open(&folder, scratch_path("pictures")));
    for (size_t f = 0; f < ds_figure_count(); f++) {
        const ds_figure *figure = ds_figure_at(f);
        const ds_figure_options none = {0};
        ds_figure_outcome outcome;
        char script[80];
        if (!ds_figure_applies(figure, results)) continue;
        expect_ok(ds_figure_write(&outcome, folder, figure, results, &none));
        if (outcome.empty) assert_non_null(strstr(ds_error_text(), "nothing to draw"));
        (void)snprintf(script, sizeof script, "%s.gp", ds_figure_id(figure));
        assert_int_equal(ds_folder_holds(folder, script), !outcome.empty);
        drawn[f] = !outcome.empty;
        counts[outcome.empty]++;
        if (drawn[f])
            expect_ok(ds_text_printf(&work, "format = '%s'\ntarget = '%s.%s'\nload '%s'\nunset multiplot\nset output\nreset\n",
                                     endings[(round + f) % 4], ds_figure_id(figure), endings[(round + f) % 4], script));
    }
    draw(&work);
    ds_text_release(&work);
    for (size_t f = 0; f < ds_figure_count(); f++) {
        const char *id = ds_figure_id(ds_figure_at(f)), *const left[] = {"tsv", "gp", endings[(round + f) % 4]};
        if (drawn[f]) expect_picture(id, endings[(round + f) % 4]);
        for (size_t e = 0; e < sizeof left / sizeof *left; e++) {
            char name[80];
            (void)snprintf(name, sizeof name, "%s.%s", id, left[e]);
            expect_ok(ds_folder_remove(folder, name));
        }
    }
    ds_folder_close(&folder);
}

static void test_extremes(void **state) {
    (void)state;
    ds_random random = ds_random_init(31);
    if (system("gnuplot --version >/dev/null 2>&1") != 0) {
        print_message("gnuplot is not installed: nothing is drawn\n");
        skip();
    }
    for (size_t kind = 0; kind <= BY_CHANCE; kind++) {
        size_t layers = 1 + kind % 2, counts[2] = {0, 0};
        json_t *usual = make_results(layers, 0.1), *results = replaced(usual, kind, &random);
        draw_all(counts, results, kind);
        print_message("numbers of kind %zu: %zu figures drawn, %zu with nothing to draw\n", kind, counts[0], counts[1]);
        if (kind < KINDS && isnan(kinds[kind])) {
            assert_true(counts[1] > counts[0]); /* histograms hold counts, and a coherence is drawn over its own numbers */
        } else if (kind == 0 || kind == 1 || kind == BY_CHANCE) {
            assert_int_equal(counts[1], 0);
        }
        json_decref(results);
        json_decref(usual);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_extremes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
