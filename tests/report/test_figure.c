/* Figures from made-up results of models with 1 and 24 layers: the files they become, and what is refused. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "deltascope/io.h"
#include "deltascope/report.h"
#include "figure_results.h"
#include "support.h"

static char folder[64];
static ds_folder *place;

static int make_folder(void **state) {
    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/deltascope-test-XXXXXX");
    return mkdtemp(folder) == NULL || ds_folder_open(&place, folder) != DS_OK ? -1 : 0;
}

static int remove_folder(void **state) {
    (void)state;
    static const char *const endings[] = {"tsv", "gp", "svg", "png", "pdf", "tex"};
    char path[160];
    for (size_t f = 0; f < ds_figure_count(); f++) {
        for (size_t e = 0; e < sizeof endings / sizeof *endings; e++) {
            (void)snprintf(path, sizeof path, "%s/%s.%s", folder, ds_figure_id(ds_figure_at(f)), endings[e]);
            (void)unlink(path);
        }
    }
    ds_folder_close(&place);
    return rmdir(folder); /* fails when a temporary was left behind */
}

/* ---- drawing ----------------------------------------------------------------------------------------------------- */

static void read_part(char **bytes, size_t *length, const char *id, const char *ending) {
    char path[160];
    (void)snprintf(path, sizeof path, "%s/%s.%s", folder, id, ending);
    expect_ok(ds_read_file(bytes, length, path, 10 << 20));
}

static void expect_beginning(const char *id, const char *ending, const char *magic) {
    size_t length;
    char *bytes = NULL;
    read_part(&bytes, &length, id, ending);
    assert_true(length > 1000);
    assert_memory_equal(bytes, magic, strlen(magic));
    free(bytes);
}

/* A font whose outlines are in the file has a stream of them: cairo writes one FontFile for every font it describes. (Object
 * streams are not compressed by the cairo of any Debian release.) */
static void expect_fonts_embedded(const char *id) {
    size_t length, described = 0, embedded = 0;
    char *bytes = NULL;
    read_part(&bytes, &length, id, "pdf");
    for (size_t i = 0; i + 16 < length; i++) {
        described += memcmp(bytes + i, "/FontDescriptor\n", 16) == 0;
        embedded += memcmp(bytes + i, "/FontFile", 9) == 0;
    }
    if (described == 0 || embedded < described) fail_msg("%s: %zu fonts, %zu embedded", id, described, embedded);
    free(bytes);
}

/* pdflatex knows no Greek letter beyond ASCII: the picture has to spell them as mathematics. */
static void expect_plain_tikz(const char *id) {
    size_t length;
    char *bytes = NULL;
    expect_beginning(id, "tex", "\\begin{tikzpicture}");
    read_part(&bytes, &length, id, "tex");
    assert_non_null(strstr(bytes, "\\end{tikzpicture}"));
    for (size_t i = 0; i < length; i++) {
        if ((unsigned char)bytes[i] >= 0x80)
            fail_msg("%s.tex: a byte beyond ASCII after \"%.40s\"", id, bytes + (i > 40 ? i - 40 : 0));
    }
    free(bytes);
}

/* What was drawn already: the digest of script and data, which decide the picture. */
static uint64_t seen[256];
static size_t seen_count;

static bool is_drawn_already(const char *id) {
    static const char *const parts[] = {"gp", "tsv"};
    uint64_t digest = 0xCBF29CE484222325u; /* FNV-1a */
    for (size_t p = 0; p < 2; p++) {
        char *bytes = NULL;
        size_t length;
        read_part(&bytes, &length, id, parts[p]);
        for (size_t i = 0; i < length; i++) digest = (digest ^ (unsigned char)bytes[i]) * 0x100000001B3u;
        free(bytes);
    }
    for (size_t i = 0; i < seen_count; i++) {
        if (seen[i] == digest) return true;
    }
    assert_true(seen_count < sizeof seen / sizeof *seen);
    seen[seen_count++] = digest;
    return false;
}

/* Formats drawn by one gnuplot have the bytes each has that is drawn alone. */
static void expect_same_alone(const ds_figure *figure, const json_t *results, const ds_figure_options *all, size_t number) {
    static const struct {
        unsigned flag;
        const char *ending;
    } formats[] = {{DS_FIGURE_SVG, "svg"}, {DS_FIGURE_PNG, "png"}, {DS_FIGURE_PDF, "pdf"}, {DS_FIGURE_TEX, "tex"}};
    const char *id = ds_figure_id(figure), *ending = formats[number % 4].ending;
    ds_figure_options alone = *all;
    ds_figure_outcome outcome;
    char *first = NULL, *second = NULL;
    size_t first_length, second_length;
    alone.formats = formats[number % 4].flag;
    read_part(&first, &first_length, id, ending);
    expect_ok(ds_figure_write(&outcome, place, figure, results, &alone));
    read_part(&second, &second_length, id, ending);
    if (first_length != second_length || memcmp(first, second, first_length) != 0)
        fail_msg("%s.%s has other bytes when it is drawn alone", id, ending);
    free(first);
    free(second);
}

/* Every figure the results (taken over) allow, in every format; the data file's bytes survive saving and reading the results.
 * Returns how many there were. */
static size_t draw_all(json_t *results, bool dark) {
    json_t *back = NULL;
    size_t count = 0;
    ds_text saved = {0};
    expect_ok(ds_json_print(&saved, results, DS_JSON_CANONICAL));
    expect_ok(ds_json_parse(&back, saved.bytes, saved.length, "saved results"));
    for (size_t f = 0; f < ds_figure_count(); f++) {
        const ds_figure *figure = ds_figure_at(f);
        const char *id = ds_figure_id(figure);
        const ds_figure_options all = {DS_FIGURE_SVG | DS_FIGURE_PNG | DS_FIGURE_PDF | DS_FIGURE_TEX, 0, dark},
                                none = {0, 17, dark}, bare = {0, 0, dark};
        ds_figure_outcome outcome;
        size_t first_length, second_length;
        assert_ptr_equal(ds_figure_find(id), figure);
        if (!ds_figure_applies(figure, results)) continue;
        count++;
        expect_ok(ds_figure_write(&outcome, place, figure, results, &bare));
        const bool again = is_drawn_already(id);
        if (!again) expect_ok(ds_figure_write(&outcome, place, figure, results, &all));
        if (!outcome.no_gnuplot && !again) {
            if (outcome.pictures != all.formats) fail_msg("%s", ds_error_text());
            expect_beginning(id, "svg", "<?xml");
            expect_beginning(id, "png", "\x89PNG\r\n");
            expect_beginning(id, "pdf", "%PDF-");
            expect_fonts_embedded(id);
            expect_plain_tikz(id);
            if (f % 5 == 0) expect_same_alone(figure, results, &all, f / 5 + dark);
        } else if (!again) {
            print_message("%s\n", ds_error_text());
        }
        char *first = NULL, *second = NULL;
        read_part(&first, &first_length, id, "tsv");
        expect_ok(ds_figure_write(&outcome, place, figure, back, &none));
        assert_int_equal(outcome.pictures, 0);
        read_part(&second, &second_length, id, "tsv");
        assert_int_equal(first_length, second_length);
        assert_memory_equal(first, second, first_length);
        free(first);
        free(second);
    }
    ds_text_release(&saved);
    json_decref(back);
    json_decref(results);
    return count;
}

static void test_one_layer(void **state) {
    (void)state;
    assert_int_equal(draw_all(make_results(1, NAN), false), ds_figure_count()); /* one sequence: no interval */
}

static void test_many_layers(void **state) {
    (void)state;
    assert_int_equal(draw_all(make_results(24, 0.05), true), ds_figure_count());
}

/* Exponents are null where no tail can be fitted, here for any of the matrices: the others are drawn, and when there is none,
 * nothing is, which the figure says. */
static void test_weights_without_exponents(void **state) {
    (void)state;
    const ds_figure *figure = ds_figure_find("weight-spectra");
    const ds_figure_options svg = {DS_FIGURE_SVG, 0, false};
    ds_random random = ds_random_init(61);
    for (int trial = 0; trial < 8; trial++) {
        json_t *results = make_results(2, 0.1), *weight;
        size_t i, left = 0, keep = trial == 0 ? 0 : ds_random_below(&random, 256);
        json_array_foreach(json_object_get(json_object_get(results, "spectrum"), "weights"), i, weight) {
            if ((keep >> i & 1) == 0) {
                json_object_set_new(weight, "alpha", json_null());
                json_object_set_new(weight, "alpha_stderr", json_null());
            }
            left += json_is_number(json_object_get(weight, "alpha"));
        }
        ds_figure_outcome outcome;
        assert_true(ds_figure_applies(figure, results) == (left > 0));
        if (left > 0)
            expect_ok(ds_figure_write(&outcome, place, figure, results, &svg));
        else
            expect_failure(ds_figure_write(&outcome, place, figure, results, &svg), DS_ERR_INPUT, "nothing to draw");
        json_decref(results);
    }
}

/* No gates, no shortcut operators: what remains of the results of an additive checkpoint. */
static void test_additive(void **state) {
    (void)state;
    for (size_t layers = 1; layers <= 24; layers += 23) {
        json_t *results = make_results(layers, 0.05), *spectrum = json_object();
        assert_int_equal(json_object_del(results, "gates"), 0);
        assert_int_equal(json_object_del(results, "study"), 0);
        json_object_set(spectrum, "weights", json_object_get(json_object_get(results, "spectrum"), "weights"));
        assert_int_equal(json_object_set_new(results, "spectrum", spectrum), 0);
        assert_in_range(draw_all(results, layers == 24), 4, ds_figure_count() - 1); /* at least losses, gradients, weights */
    }
}

/* The whole product alone has no course over depth. A Jacobian that comes with its frozen operator is drawn beside that one. */
static void test_what_is_there_decides(void **state) {
    (void)state;
    json_t *results = make_results(2, 0.1);
    const ds_figure *course = ds_figure_find("isometry"), *jacobians = ds_figure_find("frozen-full");
    const ds_figure_options none = {0, 0, false};
    ds_figure_outcome outcome;
    size_t length;
    assert_ptr_equal(course, ds_figure_find("depth-spectrum"));
    json_t *depths = json_object_get(json_object_get(results, "spectrum"), "distribution");
    assert_true(ds_figure_applies(course, results));
    while (json_array_size(depths) > 1) (void)json_array_remove(depths, 1);
    assert_false(ds_figure_applies(course, results));
    json_t *first = json_array_get(json_object_get(json_object_get(results, "gradflow"), "jacobians"), 0);
    json_object_set_new(first, "frozen", json_pack("{s:f}", "eigenvalue", 0.125));
    expect_ok(ds_figure_write(&outcome, place, jacobians, results, &none));
    char *data = NULL;
    read_part(&data, &length, "frozen-full", "tsv");
    assert_non_null(strstr(data, "\t0.125\t0.125\t0.125\n"));
    free(data);
    json_decref(results);
}

static char *data_of(const char *id, const json_t *results) {
    const ds_figure_options none = {0, 0, false};
    ds_figure_outcome outcome;
    size_t length;
    char *data = NULL;
    expect_ok(ds_figure_write(&outcome, place, ds_figure_find(id), results, &none));
    read_part(&data, &length, id, "tsv");
    return data;
}

static size_t count_words(const char *text, const char *word) {
    size_t count = 0;
    for (const char *at = text; (at = strstr(at, word)) != NULL; at++) count++;
    return count;
}

/* Rules side by side: a series a checkpoint, two where there are two gains; where outputs have no gradients of their own,
 * states; captions warn of what a picture does not show. */
static void test_rules(void **state) {
    (void)state;
    json_t *results = make_results(2, 0.125);
    static const struct {
        const char *id, *by, *words;
        size_t blocks;
    } figures[] = {{"contribution-maps", "2603.15031", "takes its scale away", 2},
                   {"largest-share", "2605.18855", "chooses nothing", 2},
                   {"rule-gains", "2512.24880", "by construction", 4},
                   {"effective-sources", NULL, "one standard deviation", 2},
                   {"mass-cause", NULL, "Mass is not cause", 2},
                   {"source-gradients", NULL, "over its mean", 2},
                   {"source-sizes", NULL, "dilution", 2}};
    for (size_t i = 0; i < sizeof figures / sizeof *figures; i++) {
        const ds_figure *figure = ds_figure_find(figures[i].id);
        ds_text caption = {0};
        if (figures[i].by != NULL) assert_ptr_equal(figure, ds_figure_find(figures[i].by));
        assert_true(ds_figure_applies(figure, results));
        json_t *envelope = json_pack("{s:s,s:O}", "command", "compare", "results", json_object_get(results, "compare"));
        expect_ok(ds_figure_caption(&caption, figure, results, envelope));
        if (strstr(caption.bytes, figures[i].words) == NULL) fail_msg("%s: \"%s\"", figures[i].id, caption.bytes);
        assert_non_null(strstr(caption.bytes, "The backbones differ (nanogpt, ddl)"));
        char *data = data_of(figures[i].id, results);
        assert_int_equal(count_words(data, "\n\n\n#") + 1, figures[i].blocks);
        free(data);
        json_decref(envelope);
        ds_text_release(&caption);
    }
    json_t *checkpoints = json_object_get(json_object_get(results, "compare"), "checkpoints");
    for (size_t c = 0; c < 2; c++) assert_int_equal(json_object_del(json_array_get(checkpoints, c), "rules"), 0);
    for (size_t i = 0; i < sizeof figures / sizeof *figures; i++)
        assert_false(ds_figure_applies(ds_figure_find(figures[i].id), results));
    json_decref(results);
}

/* The first rows of data, from the results by another route. */
static void test_data(void **state) {
    (void)state;
    json_t *results = make_results(2, 0.125);
    ds_figure_outcome outcome;
    size_t length;
    const ds_figure_options none = {0, 0, false};
    expect_ok(ds_figure_write(&outcome, place, ds_figure_find("closed-gate-loss"), results, &none));
    char *data = NULL, expected[200], number[4][32];
    read_part(&data, &length, "closed-gate-loss", "tsv");
    const json_t *cases = json_object_get(json_object_get(results, "ablate"), "cases");
    double delta = json_real_value(json_object_get(json_array_get(cases, 3), "delta_loss"));
    const double row[] = {delta, delta - 0.125, delta + 0.125, fabs(delta)};
    for (int i = 0; i < 4; i++) ds_format_real(number[i], row[i]);
    (void)snprintf(expected, sizeof expected, "\n1\t%s\t%s\t%s\t%s\n", number[0], number[1], number[2], number[3]);
    const char *mlp = strstr(data, "\n\n\n# MLP\n");
    assert_non_null(mlp);
    assert_non_null(strstr(mlp, expected));
    size_t rows = 0;
    for (const char *at = data; *at != '\0'; at++) rows += *at == '\n' && at[1] >= '0' && at[1] <= '9';
    assert_int_equal(rows, 4); /* neither closed:attn nor open: nor closed-from: */
    free(data);
    json_decref(results);
}

/* Gradients of an additive checkpoint have two paths, and neither key nor caption speaks of gates. */
static void test_gradients_without_gates(void **state) {
    (void)state;
    json_t *results = make_results(2, 0.1), *sublayer;
    const ds_figure *figure = ds_figure_find("gradient-paths");
    const ds_figure_options none = {0, 0, false};
    for (int gates = 1; gates >= 0; gates--) {
        ds_figure_outcome outcome;
        size_t length, index;
        char *script = NULL;
        ds_text caption = {0};
        json_array_foreach(json_object_get(json_object_get(results, "gradflow"), "sublayers"), index, sublayer) {
            if (gates) continue;
            json_object_set_new(sublayer, "gate_norm", json_real(0));
            json_object_set_new(sublayer, "value_norm", json_real(0));
        }
        expect_ok(ds_figure_write(&outcome, place, figure, results, &none));
        read_part(&script, &length, "gradient-paths", "gp");
        assert_non_null(strstr(script, gates ? "\ngates = 1\n" : "\ngates = 0\n"));
        expect_ok(ds_figure_caption(&caption, figure, results, NULL));
        assert_true((strstr(caption.bytes, "the gate β") != NULL) == gates);
        assert_true((strstr(caption.bytes, "and the branch") != NULL) == !gates);
        ds_text_release(&caption);
        free(script);
    }
    json_decref(results);
}

/* Of many tokens as many lines are drawn as can be told apart, evenly spaced, and the caption counts those. */
static void test_lines_can_be_told_apart(void **state) {
    (void)state;
    json_t *results = make_results(2, 0.1);
    json_t *tokens = json_object_get(json_object_get(results, "spectrum"), "accumulated");
    json_t *one = json_deep_copy(json_array_get(tokens, 0)), *last = json_array();
    const ds_figure *figure = ds_figure_find("singular-values");
    const ds_figure_options none = {0, 0, false};
    while (json_array_size(tokens) < 127) assert_int_equal(json_array_append(tokens, one), 0);
    assert_int_equal(json_array_append_new(last, json_real(0.0625)), 0);
    json_t *end = json_deep_copy(one);
    assert_int_equal(json_object_set_new(end, "singular_values", last), 0);
    assert_int_equal(json_array_insert_new(tokens, 126, end), 0); /* number floor(63 * 128 / 64) of 128 */
    ds_figure_outcome outcome;
    size_t length, blocks = 0;
    char *data = NULL;
    ds_text caption = {0};
    expect_ok(ds_figure_write(&outcome, place, figure, results, &none));
    read_part(&data, &length, "singular-values", "tsv");
    for (const char *at = data; (at = strstr(at, "# token\n")) != NULL; at++) blocks++;
    assert_int_equal(blocks, 64);
    assert_non_null(strstr(data, "1\t0.0625\n"));
    expect_ok(ds_figure_caption(&caption, figure, results, NULL));
    assert_non_null(strstr(caption.bytes, "each of 64 tokens"));
    caption.length = 0;
    json_t *envelope = json_pack("{s:{s:s}}", "checkpoint", "variant", "\x1b[31m");
    expect_ok(ds_figure_caption(&caption, figure, results, envelope));
    assert_non_null(strstr(caption.bytes, "Checkpoint: \\x1B[31m, ")); /* fit to be printed, whoever wrote the result */
    json_decref(envelope);
    ds_text_release(&caption);
    free(data);
    json_decref(one);
    json_decref(results);
}

static void check_captions(int channels) {
    json_t *results = make_results(2, 0.1);
    char said[160];
    (void)snprintf(said, sizeof said,
                   " Checkpoint: ddl-cc, 2 layers, d = 64, %d value channel%s. Data: 3 windows of 128 tokens.", channels,
                   channels == 1 ? "" : "s");
    json_t *envelope = json_pack("{s:s, s:{s:s, s:i, s:i, s:i}, s:{s:i, s:i}, s:O}", "command", "report", "checkpoint",
                                 "variant", "ddl-cc", "layers", 2, "hidden", 64, "value_channels", channels, "data",
                                 "sequences", 3, "seq_len", 128, "results", results);
    json_t *same = NULL, *wrapped = NULL;
    expect_ok(ds_figure_results(&same, envelope));
    assert_true(json_equal(same, results));
    json_decref(same);
    json_object_set_new(envelope, "command", json_string("gates"));
    expect_ok(ds_figure_results(&wrapped, envelope));
    assert_true(json_equal(json_object_get(wrapped, "gates"), results));
    for (size_t f = 0; f < ds_figure_count(); f++) {
        ds_text caption = {0};
        expect_ok(ds_figure_caption(&caption, ds_figure_at(f), results, envelope));
        assert_non_null(strstr(caption.bytes, said));
        assert_true(caption.length > 100); /* at least one sentence of its own */
        ds_text_release(&caption);
    }
    json_t *nothing = json_object();
    expect_failure(ds_figure_results(&same, nothing), DS_ERR_INPUT, "expected an envelope");
    json_decref(nothing);
    json_decref(wrapped);
    json_decref(results);
    json_decref(envelope);
}

static void test_captions(void **state) {
    (void)state;
    check_captions(1);
    check_captions(4);
}

/* Without gnuplot: data and script are there, no picture, also none of before, no error, and the sentence says what is missing.
 */
static void test_without_gnuplot(void **state) {
    (void)state;
    json_t *results = make_results(1, 0.1);
    const char *before = getenv("PATH");
    char *path = strdup(before != NULL ? before : ""), svg[160];
    ds_figure_outcome outcome;
    size_t length;
    const ds_figure_options options = {DS_FIGURE_SVG, 0, false};
    assert_int_equal(setenv("PATH", folder, 1), 0);
    expect_ok(ds_write_file_in(place, "eigenvalue-beta.svg", "<svg/>", 6));
    ds_status status = ds_figure_write(&outcome, place, ds_figure_find("eigenvalue-beta"), results, &options);
    assert_int_equal(setenv("PATH", path, 1), 0);
    expect_ok(status);
    assert_true(outcome.no_gnuplot);
    assert_int_equal(outcome.pictures, 0);
    assert_non_null(strstr(ds_error_text(), "gnuplot is not installed"));
    (void)snprintf(svg, sizeof svg, "%s/eigenvalue-beta.svg", folder);
    assert_int_equal(access(svg, F_OK), -1);
    char *script = NULL;
    read_part(&script, &length, "eigenvalue-beta", "gp");
    assert_non_null(strstr(script, "set terminal svg"));
    assert_non_null(strstr(script, "theory"));
    free(script);
    free(path);
    json_decref(results);
}

/* An additive checkpoint has nothing to draw; damaged results are refused by name. */
static void test_refused(void **state) {
    (void)state;
    ds_figure_outcome outcome;
    const ds_figure_options none = {0, 0, false};
    json_t *additive = json_pack("{s:{s:f, s:[]}}", "gates", "loss", 1.5, "sublayers");
    for (size_t f = 0; f < ds_figure_count(); f++) {
        assert_false(ds_figure_applies(ds_figure_at(f), additive));
        expect_failure(ds_figure_write(&outcome, place, ds_figure_at(f), additive, &none), DS_ERR_INPUT, "nothing to draw");
    }
    json_decref(additive);
    assert_null(ds_figure_find("no-such-figure"));
    json_t *results = make_results(1, 0.1);
    json_t *first = json_array_get(json_object_get(json_object_get(results, "gates"), "sublayers"), 0);
    json_array_append_new(json_object_get(json_object_get(first, "histogram"), "edges"), json_real(9));
    expect_failure(ds_figure_write(&outcome, place, ds_figure_find("gate-distribution"), results, &none), DS_ERR_INPUT,
                   "66 edges");
    expect_failure(ds_figure_write(&outcome, place, ds_figure_find("eigenvalue-beta"), results, &none), DS_ERR_INPUT,
                   "other bins");
    json_object_del(first, "histogram");
    expect_failure(ds_figure_write(&outcome, place, ds_figure_find("gate-distribution"), results, &none), DS_ERR_INPUT,
                   "\"histogram\"");
    json_object_set_new(first, "name", json_string("0.gate"));
    expect_failure(ds_figure_write(&outcome, place, ds_figure_find("gate-distribution"), results, &none), DS_ERR_INPUT,
                   "0.gate");
    json_t *ablate = json_object_get(results, "ablate");
    json_object_del(json_array_get(json_object_get(ablate, "cases"), 1), "delta_loss_ci95");
    expect_failure(ds_figure_write(&outcome, place, ds_figure_find("closed-gate-loss"), results, &none), DS_ERR_INPUT,
                   "delta_loss_ci95");
    json_decref(results);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_one_layer, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_many_layers, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_weights_without_exponents, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_additive, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_what_is_there_decides, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_rules, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_data, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_gradients_without_gates, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_lines_can_be_told_apart, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_captions, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_without_gnuplot, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_refused, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
