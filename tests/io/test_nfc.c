/* Composed texts: Unicode's own examples, and Python's normalization of random texts. */
#include <stdlib.h>
#include <string.h>

#include "io/tokenizer.h"
#include "scratch.h"
#include "support.h"

static void expect_composed(const char *text, size_t length, const char *expected, size_t expected_length) {
    char *made;
    size_t made_length;
    expect_ok(ds_nfc(&made, &made_length, text, length));
    if (made_length != expected_length || memcmp(made, expected, made_length) != 0)
        fail_msg("\"%s\" becomes \"%s\"", ds_escape(text, length).text, ds_escape(made, made_length).text);
    free(made);
}

/* A character and its composed form, as Unicode's charts and its NormalizationTest have them. */
static const char *const composed[][2] = {
    {"", ""},
    {"a\n 1", "a\n 1"},
    {"e\xCC\x81", "\xC3\xA9"},                                                        /* e, acute */
    {"\xE2\x84\xAB", "\xC3\x85"},                                                     /* Angstrom sign */
    {"\xEF\xA4\x80", "\xE8\xB1\x88"},                                                 /* a compatibility ideograph */
    {"\xE1\x84\x80\xE1\x85\xA1\xE1\x86\xA8", "\xEA\xB0\x81"},                         /* letters of Hangul */
    {"\xEA\xB0\x80\xE1\x86\xA8", "\xEA\xB0\x81"},                                     /* a syllable and a letter */
    {"\xE0\xA5\x98", "\xE0\xA4\x95\xE0\xA4\xBC"},                                     /* excluded from composition */
    {"\xCD\x84", "\xCC\x88\xCC\x81"},                                                 /* a mark of two marks */
    {"\xF0\x9D\x85\x9E", "\xF0\x9D\x85\x97\xF0\x9D\x85\xA5"},                         /* a half note */
    {"q\xCC\x87\xCC\xA3", "q\xCC\xA3\xCC\x87"},                                       /* marks in their order */
    {"D\xCC\x87\xCC\xA3", "\xE1\xB8\x8C\xCC\x87"},                                    /* the inner mark composes */
    {"a\xCC\x95\xCC\x80\xD6\xAE\xCC\x80z", "\xC3\xA0\xD6\xAE\xCC\x80\xCC\x95z"},      /* blocked by its like */
    {"\xEF\xAC\x9D", "\xD7\x99\xD6\xB4"},                                             /* Hebrew */
    {"\xE1\xBA\x9B\xCC\xA3", "\xE1\xBA\x9B\xCC\xA3"},                                 /* stays: NFKC would change it */
    {"\xEF\xAC\x81", "\xEF\xAC\x81"},                                                 /* the ligature fi stays */
    {"\xCD\xB8\xEF\xBF\xBF\xF4\x8F\xBF\xBD", "\xCD\xB8\xEF\xBF\xBF\xF4\x8F\xBF\xBD"}, /* nothing is known of these */
};

static void test_known(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof composed / sizeof *composed; i++) {
        for (size_t form = 0; form < 2; form++)
            expect_composed(composed[i][form], strlen(composed[i][form]), composed[i][1], strlen(composed[i][1]));
    }
    expect_composed("e\0\xCC\x81", 4, "e\0\xCC\x81", 4);
}

/* Marks by the hundred thousand, out of order: sorted, not gone over again for each. */
static void test_many_marks(void **state) {
    (void)state;
    enum { MARKS = 300000 };
    char *text = malloc(2 * MARKS + 1), *sorted = malloc(2 * MARKS + 1);
    assert_true(text != NULL && sorted != NULL);
    for (size_t i = 0; i < MARKS; i++) { /* a mark below (class 220) after one above (230): no letter x has either */
        bool below = i % 2 == 1;
        memcpy(text + 1 + 2 * i, below ? "\xCC\x96" : "\xCC\x80", 2);
        memcpy(sorted + 1 + 2 * i, i < MARKS / 2 ? "\xCC\x96" : "\xCC\x80", 2);
    }
    text[0] = sorted[0] = 'x';
    expect_composed(text, 2 * MARKS + 1, sorted, 2 * MARKS + 1);
    free(text);
    free(sorted);
}

/* Random texts of Unicode 3.2's characters, whose composed form no later version changes: any, marks, what decomposes, whole or
 * apart, letters of Hangul; each with what Python makes of it, an 0xFF behind both. */
static const char script[] =
    "import random, sys, unicodedata\n"
    "random.seed(44)\n"
    "known = [c for c in map(chr, range(0x110000)) if unicodedata.ucd_3_2_0.category(c) not in ('Cn', 'Cs', 'Co')]\n"
    "marks = [c for c in known if unicodedata.combining(c)]\n"
    "whole = [c for c in known if unicodedata.normalize('NFD', c) != c and not '\\uac00' <= c < '\\ud7a4']\n"
    "apart = [unicodedata.normalize('NFD', c) for c in whole]\n"
    "hangul = [chr(c) for c in range(0x1100, 0x1200)] + [chr(c) for c in range(0xAC00, 0xD7A4, 7)]\n"
    "for i in range(1500):\n"
    "    pools = random.choices([known, marks, whole, apart, hangul, list('aeinouy AEO\\n')], k=random.randint(1, 30))\n"
    "    text = ''.join(random.choice(pool) for pool in pools)\n"
    "    for t in text, unicodedata.normalize('NFC', text):\n"
    "        sys.stdout.buffer.write(t.encode() + b'\\xff')\n";

static void test_as_python(void **state) {
    (void)state;
    char *bytes;
    size_t length, cases = 0, changed = 0;
    ds_text line = {0};
    if (system("python3 -c pass >/dev/null 2>&1") != 0) {
        print_message("no python3 to compare composed texts with\n");
        skip();
    }
    (void)scratch_write("compose.py", script, sizeof script - 1);
    expect_ok(ds_text_printf(&line, "python3 %s", scratch_path("compose.py")));
    expect_ok(ds_text_printf(&line, " >%s", scratch_path("composed")));
    assert_int_equal(system(line.bytes), 0);
    expect_ok(ds_read_file(&bytes, &length, scratch_path("composed"), 1 << 24));
    print_message("seed 44\n");
    for (char *at = bytes; at < bytes + length; cases++) {
        char *middle = memchr(at, 0xFF, length - (size_t)(at - bytes));
        assert_non_null(middle);
        char *end = memchr(middle + 1, 0xFF, length - (size_t)(middle + 1 - bytes));
        assert_non_null(end);
        size_t before = (size_t)(middle - at), after = (size_t)(end - middle - 1);
        expect_composed(at, before, middle + 1, after);
        changed += before != after || memcmp(at, middle + 1, after) != 0;
        at = end + 1;
    }
    print_message("%zu of %zu texts change\n", changed, cases);
    assert_int_equal(cases, 1500);
    assert_true(changed > cases / 2);
    ds_text_release(&line);
    free(bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known),
        cmocka_unit_test(test_many_marks),
        cmocka_unit_test(test_as_python),
    };
    return cmocka_run_group_tests_name("nfc", tests, NULL, NULL);
}
