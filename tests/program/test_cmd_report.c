/* report from the command line: the files it leaves, a page that is well formed, figures that plot redraws to the byte, a
 * digest that does not depend on threads. */
#include <ctype.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <jansson.h>

#include "deltascope/io.h"
#include "deltascope/report.h"
#include "scratch.h"
#include "support.h"

#define DATA "--tokens fixtures/data/val.bin --seq-len 24 --sequences 6 --quiet "

static int run_program(const char *program, const char *arguments) {
    char line[4096];
    (void)snprintf(line, sizeof line, "%s %s >%s 2>%s", program, arguments, scratch_path("out"), scratch_path("err"));
    int status = system(line);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static int run(const char *arguments) {
    return run_program(getenv("DELTASCOPE") != NULL ? getenv("DELTASCOPE") : "build/deltascope", arguments);
}

static char *content_of(const char *path, size_t *length) {
    char *bytes;
    expect_ok(ds_read_file(&bytes, length, path, 1 << 26));
    return bytes;
}

static char *content(const char *folder, const char *name, size_t *length) {
    char path[512];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    return content_of(path, length);
}

static bool exists(const char *folder, const char *name, const char *ending) {
    char path[512];
    struct stat info;
    (void)snprintf(path, sizeof path, "%s/%s.%s", folder, name, ending);
    return stat(path, &info) == 0 && info.st_size > 0;
}

/* A folder under the scratch folder, with a report in it. */
static void report(char folder[256], const char *name, const char *model, const char *options) {
    char arguments[1024];
    size_t length;
    (void)snprintf(folder, 256, "%s", scratch_path(name));
    (void)snprintf(arguments, sizeof arguments, "report " DATA "--skip verify %s --out %s fixtures/models/%s", options, folder,
                   model);
    if (run(arguments) != 0) fail_msg("%s: %s", arguments, content_of(scratch_path("err"), &length));
}

static json_t *results_of(const char *folder) {
    json_error_t error;
    char path[512];
    (void)snprintf(path, sizeof path, "%s/report.json", folder);
    json_t *found = json_load_file(path, 0, &error);
    assert_non_null(found);
    return found;
}

/* ---- the page ---------------------------------------------------------------------------------------------------- */

enum { DEPTH = 64 };

static bool is_void(const char *name, size_t length) {
    static const char *const names[] = {"meta", "br", "hr", "img", "link", "input"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strlen(names[i]) == length && strncmp(names[i], name, length) == 0) return true;
    }
    return false;
}

/* The end of a tag that begins at `at`: quotes are closed, and outside them there is no "<". */
static const char *tag_end(const char *at) {
    char quote = '\0';
    for (at++; *at != '\0' && (quote != '\0' || *at != '>'); at++) {
        if (quote == '\0' && *at == '<') fail_msg("a tag inside a tag: %.60s", at);
        if (quote == '\0' && (*at == '"' || *at == '\''))
            quote = *at;
        else if (*at == quote)
            quote = '\0';
    }
    if (*at == '\0') fail_msg("a tag is not closed");
    return at;
}

/* Every tag is closed by its own, in order; every "&" begins an entity. */
static void expect_balanced(const char *page) {
    struct {
        const char *name;
        size_t length;
    } open[DEPTH];
    size_t depth = 0;
    for (const char *at = page; *at != '\0'; at++) {
        if (*at == '&' && at[1 + strspn(at + 1, "abcdefghijklmnopqrstuvwxyz0123456789#")] != ';') fail_msg("bare &: %.40s", at);
        if (*at != '<' || at[1] == '!') continue;
        const char *end = tag_end(at), *name = at + 1 + (at[1] == '/');
        size_t length = strcspn(name, " \t\r\n/>");
        if (at[1] == '/') {
            if (depth == 0 || open[depth - 1].length != length || strncmp(open[depth - 1].name, name, length) != 0)
                fail_msg("</%.*s> closes <%.*s>", (int)length, name, depth > 0 ? (int)open[depth - 1].length : 0,
                         depth > 0 ? open[depth - 1].name : "");
            depth--;
        } else if (end[-1] != '/' && !is_void(name, length)) {
            assert_true(depth < DEPTH);
            open[depth].name = name;
            open[depth++].length = length;
            if (length == 5 && strncmp(name, "style", 5) == 0) end = strstr(end, "</style>") - 1;
            if (length == 6 && strncmp(name, "script", 6) == 0) end = strstr(end, "</script>") - 1;
        }
        at = end;
    }
    assert_int_equal(depth, 0);
}

static size_t count_of(const char *page, const char *words) {
    size_t count = 0;
    for (const char *at = page; (at = strstr(at, words)) != NULL; at += strlen(words)) count++;
    return count;
}

/* Names are defined once, and what is referred to is defined. */
static void expect_linked(const char *page) {
    static const struct { const char *before, *after; } references[] = {{"href=\"#", "\""}, {"href='#", "'"}, {"url(#", ")"}};
    char wanted[256];
    for (const char *at = page; (at = strstr(at, " id=\"")) != NULL; at += 5) {
        (void)snprintf(wanted, sizeof wanted, " id=\"%.*s\"", (int)strcspn(at + 5, "\""), at + 5);
        if (count_of(page, wanted) != 1) fail_msg("%s is defined more than once", wanted);
    }
    for (size_t r = 0; r < sizeof references / sizeof *references; r++) {
        for (const char *at = page; (at = strstr(at, references[r].before)) != NULL; at++) {
            const char *name = at + strlen(references[r].before);
            int length = (int)strcspn(name, references[r].after);
            (void)snprintf(wanted, sizeof wanted, " id=\"%.*s\"", length, name);
            if (strstr(page, wanted) != NULL) continue;
            (void)snprintf(wanted, sizeof wanted, " id='%.*s'", length, name);
            if (strstr(page, wanted) == NULL) fail_msg("%.*s is not defined", length, name);
        }
    }
}

/* A row of headings in Markdown has about as many characters as the page has room for at 1100 pixels. */
static void expect_headings_to_fit(const char *page) {
    enum { ROOM = 160 };
    size_t tables = 0;
    for (const char *end = page; (end = strstr(end, "\n|:--")) != NULL; end++) {
        const char *start = end;
        size_t columns = 0;
        while (start > page && start[-1] != '\n') columns += ((unsigned char)*--start & 0xC0) != 0x80;
        if (columns > ROOM) fail_msg("%zu columns: %.*s", columns, (int)(end - start), start);
        tables++;
    }
    assert_in_range(tables, 3, 20);
}

static void expect_page(const char *folder, size_t figures) {
    size_t length;
    char *page = content(folder, "report.html", &length);
    assert_true(length < 5 << 20);
    assert_memory_equal(page, "<!DOCTYPE html>", 15);
    assert_int_equal(count_of(page, "<script>"), 1);
    assert_null(strstr(page, "src="));
    assert_null(strstr(page, "<?xml"));
    assert_int_equal(count_of(page, "<figure "), figures);
    assert_int_equal(count_of(page, "prefers-color-scheme:dark"), 1);
    expect_balanced(page);
    expect_linked(page);
    free(page);
    page = content(folder, "report.md", &length);
    assert_int_equal(count_of(page, "\nRedraw: `"), figures);
    expect_headings_to_fit(page);
    free(page);
}

/* ---- figures ----------------------------------------------------------------------------------------------------- */

/* How many figures there are; each has all its files, and plot makes the same data of report.json. */
static size_t expect_figures(const char *folder) {
    json_t *envelope = results_of(folder), *results;
    char figures[300], again[300], arguments[1024];
    size_t count = 0;
    expect_ok(ds_figure_results(&results, envelope));
    (void)snprintf(figures, sizeof figures, "%s/figures", folder);
    (void)snprintf(again, sizeof again, "%s/again", folder);
    (void)snprintf(arguments, sizeof arguments, "plot --out %s %s/report.json", again, folder);
    assert_int_equal(run(arguments), 0);
    bool gnuplot = run_program("gnuplot", "--version") == 0;
    for (size_t i = 0; i < ds_figure_count(); i++) {
        static const char *const pictures[] = {"svg", "pdf", "png"};
        const char *id = ds_figure_id(ds_figure_at(i));
        char name[128];
        size_t first_length, second_length;
        if (!ds_figure_applies(ds_figure_at(i), results)) continue;
        (void)snprintf(name, sizeof name, "%s.tsv", id);
        char *first = content(figures, name, &first_length), *second = content(again, name, &second_length);
        assert_int_equal(first_length, second_length);
        assert_memory_equal(first, second, first_length);
        assert_true(first_length > 0);
        for (size_t p = 0; p < 3 && gnuplot; p++) assert_true(exists(figures, id, pictures[p]));
        free(first);
        free(second);
        count++;
    }
    json_decref(results);
    json_decref(envelope);
    return count;
}

/* ---- tests ------------------------------------------------------------------------------------------------------- */

/* Only where the package is installed; long_latex compiles far more. */
static void compile_tables(const char *folder) {
    static const char before[] = "\\documentclass{article}\\usepackage{array,booktabs,graphicx}\\begin{document}\n";
    ds_text source = {0};
    char arguments[1024];
    if (run_program("kpsewhich", "booktabs.sty") != 0) return;
    expect_ok(ds_text_printf(&source, "%s", before));
    for (size_t i = 0; i <= 7; i++) {
        static const char *const names[] = {"findings", "parameters", "gates",   "depths",
                                            "cases",    "gradient",   "weights", "checks"};
        char path[300];
        (void)snprintf(path, sizeof path, "%s/tables", folder);
        if (exists(path, names[i], "tex"))
            expect_ok(ds_text_printf(&source, "\\input{%s/%s.tex}\\clearpage\n", path, names[i]));
    }
    expect_ok(ds_text_printf(&source, "\\end{document}\n"));
    (void)snprintf(arguments, sizeof arguments, "-interaction=nonstopmode -halt-on-error -output-directory %s %s", folder,
                   scratch_write("tables.tex", source.bytes, source.length));
    if (run_program("pdflatex", arguments) != 0) {
        size_t length;
        char *said = content_of(scratch_path("out"), &length);
        fail_msg("pdflatex: %s", length > 1500 ? said + length - 1500 : said);
    }
    ds_text_release(&source);
}

static void expect_front(const char *folder, const char *name, const char *front) {
    size_t length;
    char *bytes = content(folder, name, &length);
    if (strncmp(bytes, front, strlen(front)) != 0) fail_msg("%s begins with \"%.100s\", expected \"%s\"", name, bytes, front);
    free(bytes);
}

static void writes_a_complete_report(void **state) {
    (void)state;
    char folder[256];
    report(folder, "gated", "cc-bf16", "");
    size_t figures = expect_figures(folder);
    assert_true(figures >= 12);
    expect_page(folder, figures);
    expect_front(folder, "tables/gradient.csv", "sublayer,total,shortcut,direction,gate,value,cosine\r\n");
    compile_tables(folder);
    json_t *found = results_of(folder);
    assert_non_null(strstr(json_string_value(json_object_get(found, "verdict")), " Left out on request: verify."));
    json_decref(found);
}

static void leaves_out_what_an_additive_model_has_not(void **state) {
    (void)state;
    char folder[256];
    report(folder, "additive", "additive-small", "");
    json_t *found = results_of(folder);
    assert_null(json_object_get(json_object_get(json_object_get(found, "results"), "spectrum"), "distribution"));
    size_t figures = expect_figures(folder);
    assert_true(figures >= 2);
    expect_page(folder, figures);
    expect_front(folder, "tables/gradient.csv", "sublayer,total,shortcut,branch,cosine\r\n");
    compile_tables(folder);
    json_decref(found);
}

static char *digest_of(const char *folder) {
    json_t *found = results_of(folder);
    char *digest = ds_strdup(json_string_value(ds_json_at(found, "digests/all")));
    assert_non_null(digest);
    assert_int_equal(strlen(digest), 64);
    json_decref(found);
    return digest;
}

static void has_one_digest_for_equal_numbers(void **state) {
    (void)state;
    char one[256], two[256], other[256];
    report(one, "one", "scalar-safetensors", "--threads 1");
    report(two, "two", "scalar-safetensors", "--threads 2");
    report(other, "other", "scalar-safetensors", "--offset 1");
    char *a = digest_of(one), *b = digest_of(two), *c = digest_of(other);
    assert_string_equal(a, b);
    assert_string_not_equal(a, c);
    free(a);
    free(b);
    free(c);
}

static char *step_bytes(const char *folder) {
    size_t length;
    return content(folder, "results/gates.json", &length);
}

/* A finished step is kept: its file is not written again. One that was changed since is measured anew. */
static void keeps_what_was_measured(void **state) {
    (void)state;
    char folder[256], path[512], other[512];
    struct stat before, after;
    report(folder, "kept", "scalar-safetensors", "");
    char *measured = step_bytes(folder);
    (void)snprintf(path, sizeof path, "%s/results/gates.json", folder);
    (void)snprintf(other, sizeof other, "%s/results/ablate.json", folder);
    (void)scratch_write("kept.json", "{}", 2);
    assert_int_equal(stat(other, &before), 0);
    assert_int_equal(rename(scratch_path("kept.json"), path), 0);
    report(folder, "kept", "scalar-safetensors", "--resume");
    assert_int_equal(stat(other, &after), 0);
    assert_int_equal(before.st_ino, after.st_ino);
    char *again = step_bytes(folder);
    assert_string_equal(again, measured);
    free(measured);
    free(again);
}

static void expect_refused(const char *folder, const char *model, const char *options, const char *words) {
    char arguments[1024];
    size_t length;
    (void)snprintf(arguments, sizeof arguments, "report " DATA "%s --resume --out %s fixtures/models/%s", options, folder,
                   model);
    int status = run(arguments);
    char *said = content_of(scratch_path("err"), &length);
    if (status != 3 || strstr(said, words) == NULL)
        fail_msg("%s: status %d, \"%s\" expected in %s", arguments, status, words, said);
    free(said);
}

/* Going on with another checkpoint, other data or other options would mix two runs. */
static void refuses_the_folder_of_another_run(void **state) {
    (void)state;
    char folder[256];
    report(folder, "mine", "scalar-safetensors", "");
    char *measured = step_bytes(folder);
    expect_refused(folder, "scalar-kvshift", "--skip verify", "its checkpoint.");
    expect_refused(folder, "scalar-safetensors", "--skip verify --offset 3", "its data.offset is null, this run's is 3");
    expect_refused(folder, "scalar-safetensors", "--skip verify --seed 7", "its options.seed is 0, this run's is 7");
    expect_refused(folder, "scalar-safetensors", "", "its options.skip is \"verify\", this run's is null");
    expect_refused(folder, "scalar-safetensors", "--skip verify --precision double", "its precision is \"float\"");
    char *still = step_bytes(folder);
    assert_string_equal(still, measured);
    free(measured);
    free(still);
}

static void refuses_what_it_cannot_do(void **state) {
    (void)state;
    char arguments[512];
    size_t length;
    assert_int_equal(run("report " DATA "fixtures/models/additive-small"), 2);
    (void)snprintf(arguments, sizeof arguments, "report " DATA "--skip gates,colours --out %s fixtures/models/additive-small",
                   scratch_path("refused"));
    assert_int_equal(run(arguments), 2);
    char *said = content_of(scratch_path("err"), &length);
    assert_non_null(strstr(said, "\"colours\""));
    free(said);
}

/* ---- the folder of an earlier report ----------------------------------------------------------------------------- */

static const char *walked, *beside; /* nftw has no context */
static size_t files_found;

/* Every file of the folder `walked` is also in `beside`. */
static int expect_beside(const char *path, const struct stat *info, int kind, struct FTW *walk) {
    char other[1024];
    struct stat found;
    (void)info, (void)walk;
    if (kind != FTW_F) return 0;
    (void)snprintf(other, sizeof other, "%s%s", beside, path + strlen(walked));
    if (stat(other, &found) != 0) fail_msg("%s is not in %s", path, beside);
    files_found++;
    return 0;
}

static size_t expect_all_beside(const char *folder, const char *other) {
    walked = folder;
    beside = other;
    files_found = 0;
    assert_int_equal(nftw(folder, expect_beside, 8, FTW_PHYS), 0);
    walked = beside = NULL;
    return files_found;
}

/* A file of somebody's own, and one of ours that somebody has changed. */
static void own(const char *folder, const char *name, bool remove_it) {
    char path[512];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "a");
    assert_non_null(file);
    (void)fputs("# mine\n", file);
    assert_int_equal(fclose(file), 0);
    if (remove_it) assert_int_equal(remove(path), 0);
}

static void removes_what_an_earlier_report_left(void **state) {
    (void)state;
    char used[256], fresh[256], arguments[640];
    report(used, "used", "cc-bf16", "");
    own(used, "figures/mine.svg", false);
    own(used, "tables/gates.csv", false);
    own(used, "notes.txt", false);
    report(used, "used", "additive-small", "--force");
    report(fresh, "fresh", "additive-small", "");
    size_t expected = expect_all_beside(fresh, used);
    (void)snprintf(arguments, sizeof arguments, "%s; sha256sum --quiet -c report.sha256", used);
    if (run_program("cd", arguments) != 0) fail_msg("sha256sum finds other files than those listed");
    own(used, "figures/mine.svg", true);
    own(used, "tables/gates.csv", true);
    own(used, "notes.txt", true);
    assert_int_equal(expect_all_beside(used, fresh), expected);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_a_complete_report),          cmocka_unit_test(leaves_out_what_an_additive_model_has_not),
        cmocka_unit_test(has_one_digest_for_equal_numbers),  cmocka_unit_test(keeps_what_was_measured),
        cmocka_unit_test(refuses_the_folder_of_another_run), cmocka_unit_test(removes_what_an_earlier_report_left),
        cmocka_unit_test(refuses_what_it_cannot_do),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
