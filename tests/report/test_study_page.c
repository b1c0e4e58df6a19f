/* The page of a study from made-up ones: what it says follows from the numbers, and is there in every format. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "deltascope/measure/published_losses.h"
#include "deltascope/measure/seed_contrasts.h"
#include "deltascope/report.h"
#include "scratch.h"
#include "study_results.h"
#include "support.h"

static char *content(const char *name) {
    char *bytes;
    size_t length;
    expect_ok(ds_read_file(&bytes, &length, scratch_path(name), 1 << 24));
    return bytes;
}

static void expect_words(const char *name, const char *words, bool there) {
    char *bytes = content(name);
    if ((strstr(bytes, words) != NULL) != there) fail_msg("%s: \"%s\" is %s", name, words, there ? "missing" : "there");
    free(bytes);
}

static void write_page(const char *where, const json_t *study) {
    ds_folder *folder = NULL;
    expect_ok(ds_folder_open(&folder, scratch_path(where)));
    expect_ok(ds_study_page(folder, study, "deltascope study plan.json --out study"));
    ds_folder_close(&folder);
}

static void test_page(void **state) {
    (void)state;
    json_t *study = make_study(4, 6, 0.008, true);
    write_page("page", study);
    static const char *const words[] = {
        "Study: write-only",
        "is better than",
        "4 of 5 initial tensors are shared by two variants or more, and 4 of these have equal bytes",
        "The unit of inference is the seed",
        "pointwise",
        "the means are given no divergence",
        "Four studies of five with these seeds would find a true difference of",
        "deltascope study plan.json --out study",
        "single run",
        "beta:0.attn"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) expect_words("page/report.html", words[i], true);
    expect_words("page/report.md", "The unit of inference is the seed", true);
    static const char *const nothing[] = {"nan", "(null)", "inf "};
    for (size_t i = 0; i < 3; i++) expect_words("page/report.md", nothing[i], false);
    static const char *const tables[] = {"variants", "contrasts", "targets", "audit", "reference"};
    for (size_t i = 0; i < 5; i++) {
        char name[64];
        static const char *const endings[] = {"csv", "tex", "md"};
        for (size_t e = 0; e < 3; e++) {
            (void)snprintf(name, sizeof name, "page/tables/%s.%s", tables[i], endings[e]);
            free(content(name));
        }
    }
    char *first = content("page/report.html");
    write_page("page", study);
    char *second = content("page/report.html");
    assert_string_equal(first, second);
    free(first);
    free(second);
    json_decref(study);
}

/* The lowest mean, and it alone, is bold. */
static void test_best_is_bold(void **state) {
    (void)state;
    const ds_column columns[] = {{"variant", NULL, NULL, DS_COLUMN_TEXT, 0}, {"loss", NULL, NULL, DS_COLUMN_LOWEST, 3}};
    ds_random random = ds_random_init(17);
    for (int round = 0; round < 20; round++) {
        ds_table *table;
        ds_text markdown = {0}, latex = {0};
        double lowest = INFINITY;
        char expected[32];
        expect_ok(ds_table_new(&table, "t", columns, 2));
        for (size_t i = 0; i < 4; i++) {
            double value = i == 2 ? NAN : ds_random_normal(&random);
            ds_table_text(table, "v");
            ds_table_real(table, value);
            lowest = fmin(lowest, value);
        }
        expect_ok(ds_table_format_text(&markdown, table, DS_TABLE_MARKDOWN, NULL));
        expect_ok(ds_table_format_text(&latex, table, DS_TABLE_LATEX, NULL));
        (void)snprintf(expected, sizeof expected, "**%.3f**", lowest);
        const char *bold = strstr(markdown.bytes, "**");
        assert_true(bold != NULL && strncmp(bold, expected, strlen(expected)) == 0);
        assert_null(strstr(bold + strlen(expected), "**"));
        const char *tex = strstr(latex.bytes, "\\textbf{");
        assert_true(tex != NULL && strstr(tex + 1, "\\textbf{") == NULL);
        ds_text_release(&markdown);
        ds_text_release(&latex);
        ds_table_free(&table);
    }
}

/* A perplexity is the exponential of its loss, both told with four digits; each variant of the published code has one row, a
 * control or another backbone none. */
static void test_published(void **state) {
    (void)state;
    const double half_digit = 0.5e-4;
    for (size_t i = 0; i < ds_published_count(); i++) {
        const ds_published_loss *row = ds_published_at(i);
        ds_spec spec;
        expect_close(log(row->small_perplexity), row->small_loss, 1.1 * half_digit);
        expect_close(log(row->medium_perplexity), row->medium_loss, 1.1 * half_digit);
        expect_ok(ds_spec_reported(&spec, "small", row->variant));
        assert_ptr_equal(ds_published_find(&spec), row);
        expect_ok(ds_control_parse(spec.trained, spec.rule, "closed:mlp", "test"));
        assert_null(ds_published_find(&spec));
        expect_ok(ds_control_parse(spec.trained, spec.rule, "delta", "test"));
        spec.backbone = &ds_backbone_llama;
        assert_null(ds_published_find(&spec));
    }
}

static void expect_sentence(const ds_contrast *contrast, const char *a, const char *const *words) {
    ds_json_builder b = {0};
    ds_text text = {0};
    json_t *json;
    ds_json_begin_object(&b, NULL);
    ds_json_put_text(&b, "a", a);
    ds_json_put_text(&b, "b", "plain");
    ds_json_put_text(&b, "measure", "final");
    ds_json_put_contrast(&b, contrast);
    ds_json_end(&b);
    expect_ok(ds_json_finish(&json, &b));
    expect_ok(ds_contrast_sentence(&text, json));
    for (; *words != NULL; words++) {
        if (strstr(text.bytes, *words) == NULL) fail_msg("\"%s\" does not say \"%s\"", text.bytes, *words);
    }
    assert_null(strstr(text.bytes, "nan"));
    ds_text_release(&text);
    json_decref(json);
}

static void test_sentences(void **state) {
    (void)state;
    enum { N = 6 };
    static const double base[] = {3.1, 3.2, 3.15, 3.3, 3.25, 3.12}, noise[] = {0.001, -0.002, 0.0015, -0.0005, 0.002, -0.001};
    static const struct {
        double shift, scale;
        const char *a, *words[4];
    } cases[] = {
        {-0.05, 1, "gated", {"gated is better than plain: its loss is lower by 0.0498 nats", "6 pairs of seeds", "after Holm"}},
        {0.05, 1, "gated", {"gated is worse than plain: its loss is higher by"}},
        {-0.0035, 0.5, "gated", {"is better than", "It is a small difference: within the margin of 0.005"}},
        {0, 0.1, "gated", {"are equivalent", "lies within the margin of 0.005"}},
        {0, 0, "gated", {"gated and plain do not differ in any seed."}},
        {0.02, 0, "gated", {"is worse than", "for every seed."}},
        {0.02, 40, "gated", {"are not told apart", "in four studies of five"}},
        {-0.05, 1, "x - y", {"(x - y) is lower than (plain) by"}},
        {0.02, 40, "x - y", {"(x - y) and (plain) are not told apart"}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        double a[N];
        ds_contrast c;
        for (size_t k = 0; k < N; k++) a[k] = base[k] + cases[i].shift + cases[i].scale * noise[k];
        expect_ok(ds_contrast_paired(&c, a, base, N, 0.005, 0));
        expect_ok(ds_contrasts_judge(&c, 1, SIZE_MAX));
        expect_sentence(&c, cases[i].a, cases[i].words);
    }
    /* found alone, and not among as many contrasts */
    ds_contrast many[40];
    double near[N];
    for (size_t k = 0; k < N; k++) near[k] = base[k] + 0.02 + 9 * noise[k];
    for (size_t i = 0; i < 40; i++) expect_ok(ds_contrast_paired(&many[i], i == 0 ? near : base, base, N, 0.005, 0));
    for (size_t i = 1; i < 40; i++) many[i].t.p = 0.9;
    expect_ok(ds_contrasts_judge(many, 40, SIZE_MAX));
    assert_true(many[0].t.p < 0.05 && many[0].holm_p > 0.05);
    expect_sentence(&many[0], "gated",
                    (const char *const[]){"are not told apart", "Alone it would count as a difference", "after Holm", NULL});
    ds_contrast c;
    expect_ok(ds_contrast_paired(&c, base, base, 1, 0.005, 0));
    expect_sentence(&c, "gated", (const char *const[]){"fewer than two finished runs", NULL});
    expect_ok(ds_contrast_unpaired(&c, base, 6, noise, 4, 0.005));
    expect_ok(ds_contrasts_judge(&c, 1, SIZE_MAX));
    expect_sentence(&c, "gated", (const char *const[]){"6 and 4 unpaired seeds", NULL});
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_page),
        cmocka_unit_test(test_best_is_bold),
        cmocka_unit_test(test_published),
        cmocka_unit_test(test_sentences),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
