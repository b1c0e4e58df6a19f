/* HTML and SVG made of the worst strings: what comes from outside is text there, whatever it says, and nothing hidden is passed
 * on. */
#include <stdlib.h>
#include <string.h>

#include "deltascope/report.h"
#include "report/markup.h"
#include "support.h"

/* A random string: marks of markup, hidden characters, broken UTF-8, letters. Freed by the caller. */
static char *nasty(ds_random *random) {
    static const char *const atoms[] = {"<script>",
                                        "</p>",
                                        "<b a=\"x\">",
                                        "'",
                                        "\"",
                                        "&",
                                        "&amp;",
                                        "]]>",
                                        "<!--",
                                        "-->",
                                        "a",
                                        "é",
                                        "\x1B]0;pwn\x07",
                                        "\xFF",
                                        "\xC3",
                                        "\xE2\x80\xAE",
                                        "\xC2\x85",
                                        "\xE2\x80\x8B",
                                        "%s",
                                        "%n",
                                        " onload=\"x\"",
                                        "\n",
                                        "\\",
                                        "日"};
    ds_text text = {0};
    size_t count = 1 + ds_random_below(random, 8);
    for (size_t i = 0; i < count; i++) {
        const char *atom = atoms[ds_random_below(random, sizeof atoms / sizeof *atoms)];
        expect_ok(ds_text_append(&text, atom, strlen(atom)));
    }
    return text.bytes;
}

/* Everything between angle brackets is as in the reference, a page of harmless strings: the same tags in the same order,
 * whatever their attributes hold; and no character is hidden. */
static void expect_same_tags(const ds_text *text, const ds_text *reference) {
    const char *at = text->bytes, *other = reference->bytes;
    assert_true(ds_is_utf8(text->bytes, text->length));
    for (size_t i = 0, step; i < text->length; i += step) {
        uint32_t point = 0;
        step = ds_utf8_decode(&point, text->bytes + i, text->length - i);
        assert_true(!ds_is_hidden(point) || point == '\n' || point == '\t');
    }
    for (size_t tags = 0;; tags++) {
        at = strchr(at, '<');
        other = strchr(other, '<');
        if (at == NULL || other == NULL) break;
        size_t length = strcspn(at, " >"), expected = strcspn(other, " >"), quotes = 0, other_quotes = 0;
        if (length != expected || memcmp(at, other, length) != 0)
            fail_msg("tag %zu is %.*s, expected %.*s", tags, (int)length, at, (int)expected, other);
        for (; *at != '>'; at++) quotes += *at == '"';
        for (; *other != '>'; other++) other_quotes += *other == '"';
        assert_int_equal(quotes, other_quotes);
    }
    assert_true(at == NULL && other == NULL);
}

enum { STRINGS = 24 };

/* A page whose strings are all different ones of these. */
static void make_page(ds_text *html, char *const *s) {
    static const ds_column columns[] = {{"name", NULL, NULL, DS_COLUMN_TEXT, 0}, {"x", NULL, NULL, DS_COLUMN_REAL, 3}};
    ds_column named[2] = {columns[0], columns[1]};
    ds_table *table;
    named[0].title = s[0];
    named[1].title = s[1];
    named[1].unit = s[2];
    expect_ok(ds_table_new(&table, s[3], named, 2));
    ds_table_text(table, s[4]);
    ds_table_real(table, 1.5);
    const ds_finding findings[] = {{s[5], s[6], 3, s[7], "figure", true}, {s[8], s[9], 0, s[10], "elsewhere", false}};
    const ds_page_section section = {
        .id = "part",
        .title = s[11],
        .lead = s[12],
        .figures = {{.id = "figure", .title = s[13], .caption = s[14], .command = s[15], .missing = s[14]}},
        .figure_count = 1,
        .tables = {{"table", s[16], s[17], table}},
        .table_count = 1};
    const ds_page page = {s[18], s[19], findings, 2, &section, 1, s[20]};
    expect_ok(ds_page_html(html, &page));
    ds_table_free(&table);
}

static void make_heat(ds_text *html, char *const *s) {
    const char *const rows[] = {s[0], s[1]}, *const columns[] = {s[2], s[3], s[4]};
    static const double values[] = {0, 0.5, 1, 1.5, 2, 3};
    const ds_heat heat = {s[5], s[6], 2, 3, rows, columns, values, 0, 2, true};
    expect_ok(ds_heat_html(html, &heat, s[7]));
}

static void test_strings_stay_text(void **state) {
    (void)state;
    static void (*const makers[])(ds_text * html, char *const *s) = {make_page, make_heat};
    ds_random random = ds_random_init(51);
    char *strings[STRINGS], plain[] = "abcdefgh", *harmless[STRINGS];
    print_message("seed 51\n");
    for (size_t i = 0; i < STRINGS; i++) harmless[i] = plain;
    for (size_t m = 0; m < 2; m++) {
        ds_text reference = {0};
        makers[m](&reference, harmless);
        for (size_t trial = 0; trial < 200; trial++) {
            ds_text html = {0};
            for (size_t i = 0; i < STRINGS; i++) strings[i] = nasty(&random);
            makers[m](&html, strings);
            if (m == 0) expect_same_tags(&html, &reference); /* a heat map's tags depend on the widths of its words */
            for (size_t i = 0; m == 1 && i < html.length; i++)
                assert_true((unsigned char)html.bytes[i] >= ' ' || html.bytes[i] == '\n');
            const char *script = strstr(html.bytes, "<script"); /* the page's own at its end, and no other */
            assert_true((script != NULL) == (m == 0) && (script == NULL || strstr(script + 1, "<script") == NULL));
            assert_null(strstr(html.bytes, "<b a"));
            assert_null(strstr(html.bytes, "<!--"));
            assert_true(ds_is_utf8(html.bytes, html.length));
            ds_text_release(&html);
            for (size_t i = 0; i < STRINGS; i++) free(strings[i]);
        }
        ds_text_release(&reference);
    }
}

static void test_markup(void **state) {
    (void)state;
    ds_text text = {0};
    expect_ok(ds_markup(&text, "<a b=\"%s\">%.*s|%zu|%d|%.3g|100%%</a>", "\"<&'>", 3, "x&yz", (size_t)7, -2, 0.125));
    assert_string_equal(text.bytes, "<a b=\"&quot;&lt;&amp;&#39;&gt;\">x&amp;y|7|-2|0.125|100%</a>");
    text.length = 0;
    expect_ok(ds_markup(&text, "%s", "\x1B\xC2\x85\xFFé\t\n"));
    assert_string_equal(text.bytes, "\\x1B\\xC2\\x85\\xFFé\t\n");
    expect_failure(ds_markup(&text, "%u", 1u), DS_ERR_SYSTEM, "\"%u\" cannot be made");
    ds_text_release(&text);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_strings_stay_text), cmocka_unit_test(test_markup)};
    return cmocka_run_group_tests_name("page", tests, NULL, NULL);
}
