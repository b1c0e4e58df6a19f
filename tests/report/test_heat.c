/* Heat maps: which step a value gets, what fits on a line, and that pages are well-formed. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "deltascope/io.h"
#include "report/heat.h"
#include "scratch.h"
#include "support.h"

static const ds_terminal plain = {80, false, true}, coloured = {80, true, true}, narrow = {40, false, false};

static void test_widths(void **state) {
    (void)state;
    assert_int_equal(ds_display_width(""), 0);
    assert_int_equal(ds_display_width("abc"), 3);
    assert_int_equal(ds_display_width("naïve"), 5);
    assert_int_equal(ds_display_width("e\xCC\x81"), 1); /* a combining accent */
    assert_int_equal(ds_display_width("東京"), 4);
    assert_int_equal(ds_display_width("🙂"), 2);
    assert_int_equal(ds_display_width("\xFF\xC3"), 2); /* broken: a column a byte */
    assert_int_equal(ds_display_prefix("東京", 3), 3);
    assert_int_equal(ds_display_prefix("abc", 2), 2);
    assert_int_equal(ds_display_prefix("abc", 9), 3);
}

static void test_levels(void **state) {
    (void)state;
    ds_heat heat = {.low = -2, .high = 2};
    assert_int_equal(ds_heat_level(&heat, -2, 4), 0);
    assert_int_equal(ds_heat_level(&heat, -1.01, 4), 0);
    assert_int_equal(ds_heat_level(&heat, -1, 4), 1);
    assert_int_equal(ds_heat_level(&heat, 1.99, 4), 3);
    assert_int_equal(ds_heat_level(&heat, 2, 4), 3);
    assert_int_equal(ds_heat_level(&heat, 7, 4), 3);
    assert_int_equal(ds_heat_level(&heat, -INFINITY, 4), 0);
    assert_int_equal(ds_heat_level(&heat, INFINITY, 4), 3);
    assert_int_equal(ds_heat_level(&heat, NAN, 4), 4);
    heat = (ds_heat){.low = 1, .high = -1};
    assert_int_equal(ds_heat_level(&heat, 1, 4), 0);
    assert_int_equal(ds_heat_level(&heat, -0.9, 4), 3);
}

static const char *const rows[] = {"0.attn", "0.mlp"};

static ds_heat letters(void) {
    static const char *const names[] = {"a", "␣", "b"};
    static const double values[] = {0, 1, 2, NAN, 0.2, 3};
    return (ds_heat){"Gate β", NULL, 2, 3, rows, names, values, 0, 2, true};
}

static void expect_picture(const ds_heat *heat, const ds_terminal *terminal, const char *expected) {
    ds_text text = {0};
    expect_ok(ds_heat_terminal(&text, heat, terminal));
    assert_string_equal(text.bytes, expected);
    ds_text_release(&text);
}

static void test_letters(void **state) {
    (void)state;
    ds_heat heat = letters();
    expect_picture(&heat, &plain, "Gate β\ndigits: 1 is 0, 5 is 1, 9 is ≥ 2\n\n       a␣b\n0.attn 159\n0.mlp   19\n");
    heat.diverging = false;
    heat.unit = "nats";
    expect_picture(&heat, &plain, "Gate β (nats)\ndigits: 0 is 0, 9 is ≥ 2\n\n       a␣b\n0.attn 059\n0.mlp   19\n");
}

static void test_colour(void **state) {
    (void)state;
    ds_heat heat = letters();
    ds_text text = {0};
    expect_ok(ds_heat_terminal(&text, &heat, &coloured));
    assert_non_null(strstr(text.bytes, "0.attn \033[48;5;25m \033[0m\033[48;5;253m \033[0m\033[48;5;166m \033[0m\n"));
    assert_null(strstr(text.bytes, "digits"));
    ds_text_release(&text);
}

static void test_words_hold_numbers(void **state) {
    (void)state;
    static const char *const names[] = {"To", "␣be", "␣antidisestablishmentarianism"};
    static const double values[] = {0.5, 1.25, 123.4, NAN, -0.125, 2};
    ds_heat heat = {"Gate β", NULL, 2, 3, rows, names, values, 0, 2, true};
    expect_picture(&heat, &plain,
                   "Gate β\n\n       To    ␣be   ␣antidisestablishme…\n0.attn 0.50  1.25  123\n0.mlp        -0.12 2.00\n");
    static const char *const ascii[] = {"To", "_be", "_antidisestablishmentarianism"};
    heat.column_names = ascii;
    expect_picture(&heat, &narrow,
                   "Gate beta\n\n       To    _be   _antidisestablishme~\n0.attn 0.50  1.25  123\n0.mlp        -0.12 2.00\n");
}

/* A text of many words of all lengths, with markup in it. */
enum { MANY = 700, DEEP = 48 };
static char names[MANY][40], deep[DEEP][16];
static const char *name_of[MANY], *deep_of[DEEP];
static double many_values[MANY * DEEP];

static ds_heat many(size_t longest) {
    for (size_t c = 0; c < MANY; c++) {
        size_t length = c % (longest + 1);
        memset(names[c], c % 7 == 0 ? '<' : c % 7 == 1 ? '&' : 'x', length);
        names[c][length] = '\0';
        name_of[c] = names[c];
    }
    for (size_t r = 0; r < DEEP; r++) {
        (void)snprintf(deep[r], sizeof deep[r], "%zu.%s", r / 2, r % 2 == 0 ? "attn" : "mlp");
        deep_of[r] = deep[r];
    }
    for (size_t i = 0; i < MANY * DEEP; i++) many_values[i] = sin((double)i) + 1;
    return (ds_heat){"Gate β < 2 & more", NULL, DEEP, MANY, deep_of, name_of, many_values, 0, 2, true};
}

static void test_lines_fit(void **state) {
    (void)state;
    const size_t longest[] = {0, 1, 4, 39};
    for (size_t i = 0; i < sizeof longest / sizeof *longest; i++) {
        ds_heat heat = many(longest[i]);
        ds_text text = {0};
        expect_ok(ds_heat_terminal(&text, &heat, &plain));
        for (char *line = strtok(text.bytes, "\n"); line != NULL; line = strtok(NULL, "\n")) {
            if (ds_display_width(line) > 80)
                fail_msg("longest word %zu: a line of %zu columns: %s", longest[i], ds_display_width(line), line);
        }
        ds_text_release(&text);
    }
}

/* Every tag is closed in turn and every attribute quoted; enough XML to catch what string building gets wrong. */
static void expect_well_formed(const char *text, const char *from) {
    const char *open[32];
    size_t depth = 0, length[32];
    for (const char *at = strstr(text, from); *at != '\0'; at++) {
        if (*at == '&') assert_true(strncmp(at, "&lt;", 4) == 0 || strncmp(at, "&gt;", 4) == 0 || strncmp(at, "&amp;", 5) == 0);
        if (*at != '<') continue;
        const char *end = strchr(at, '>');
        size_t quotes = 0, name = strcspn(at + 1, " >/");
        assert_non_null(end);
        for (const char *q = at; q < end; q++) quotes += *q == '"';
        assert_int_equal(quotes % 2, 0);
        if (at[1] == '/') {
            name = strcspn(at + 2, ">");
            assert_true(depth > 0 && length[depth - 1] == name && memcmp(open[depth - 1], at + 2, name) == 0);
            depth--;
        } else if (end[-1] != '/' && strncmp(at, "<meta", 5) != 0) {
            assert_true(depth < 32);
            open[depth] = at + 1;
            length[depth++] = name;
        }
        at = end;
    }
    assert_int_equal(depth, 0);
}

static void test_pages_are_well_formed(void **state) {
    (void)state;
    const ds_heat heats[] = {letters(), many(39)};
    for (size_t i = 0; i < 2; i++) {
        ds_text svg = {0}, page = {0};
        expect_ok(ds_heat_svg(&svg, &heats[i]));
        expect_well_formed(svg.bytes, "<svg ");
        expect_ok(ds_heat_html(&page, &heats[i], "a < b & c"));
        expect_well_formed(page.bytes, "<html ");
        assert_non_null(strstr(page.bytes, "<p>a &lt; b &amp; c</p>"));
        assert_non_null(strstr(page.bytes, svg.bytes));
        assert_null(strstr(page.bytes, "<script"));
        assert_true(page.length < 5u << 20);
        ds_text_release(&svg);
        ds_text_release(&page);
    }
}

/* One rectangle per cell that has a value. */
static void test_every_cell_is_drawn_once(void **state) {
    (void)state;
    ds_heat heat = many(5);
    ds_text svg = {0};
    size_t cells = 0;
    many_values[17] = NAN;
    expect_ok(ds_heat_svg(&svg, &heat));
    for (const char *at = svg.bytes; (at = strstr(at, "M")) != NULL; at++) {
        size_t x, y;
        cells += sscanf(at, "M%zu %zuh", &x, &y) == 2;
    }
    assert_int_equal(cells, MANY * DEEP - 1);
    ds_text_release(&svg);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_widths),
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_letters),
        cmocka_unit_test(test_colour),
        cmocka_unit_test(test_words_hold_numbers),
        cmocka_unit_test(test_lines_fit),
        cmocka_unit_test(test_pages_are_well_formed),
        cmocka_unit_test(test_every_cell_is_drawn_once),
    };
    return cmocka_run_group_tests_name("heat", tests, NULL, NULL);
}
