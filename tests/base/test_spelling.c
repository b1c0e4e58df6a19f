/* Words: how far apart they are, by a second and naive count; what a misspelt one was meant to be; text in ASCII. */
#include <string.h>

#include "deltascope/base.h"
#include "support.h"

static size_t smallest(size_t a, size_t b) { return a < b ? a : b; }

/* The definition, by recursion. */
static size_t naive_distance(const char *a, size_t m, const char *b, size_t n) {
    if (m == 0 || n == 0) return m + n;
    size_t best = naive_distance(a, m - 1, b, n - 1) + (a[m - 1] != b[n - 1]);
    best = smallest(best, naive_distance(a, m - 1, b, n) + 1);
    best = smallest(best, naive_distance(a, m, b, n - 1) + 1);
    if (m > 1 && n > 1 && a[m - 1] == b[n - 2] && a[m - 2] == b[n - 1])
        best = smallest(best, naive_distance(a, m - 2, b, n - 2) + 1);
    return best;
}

static void test_distances(void **state) {
    (void)state;
    ds_random random = ds_random_init(20);
    print_message("seed 20\n");
    for (size_t trial = 0; trial < 3000; trial++) {
        char a[8], b[8];
        size_t m = ds_random_below(&random, 7), n = ds_random_below(&random, 7);
        for (size_t i = 0; i < 8; i++) {
            a[i] = (char)('a' + ds_random_below(&random, 3));
            b[i] = (char)('a' + ds_random_below(&random, 3));
        }
        size_t found = ds_word_distance(a, m, b, n);
        assert_int_equal(found, naive_distance(a, m, b, n));
        assert_int_equal(found, ds_word_distance(b, n, a, m));
        for (size_t i = 0; i < m; i += 2) a[i] = (char)(a[i] - 'a' + 'A');
        assert_int_equal(ds_word_distance(a, m, b, n), found);
    }
    char word[129];
    memset(word, 'x', sizeof word);
    assert_int_equal(ds_word_distance(word, 128, word, 0), 128);
    assert_int_equal(ds_word_distance(word, 128, word, 128), 0);
    assert_int_equal(ds_word_distance(word, 129, word, 129), 129);
    assert_int_equal(ds_word_distance(word, 1, word, 129), 129);
}

static const char *guessed(const char *word) {
    static const char *const known[] = {"gates", "spectrum", "gradflow", "all", "to"};
    static ds_name hint;
    ds_guess guess = {.word = word, .length = strlen(word)};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) ds_guess_offer(&guess, known[i], strlen(known[i]));
    hint = ds_guess_hint(&guess, "--");
    return hint.text;
}

static void test_guesses(void **state) {
    (void)state;
    assert_string_equal(guessed("gtaes"), " (did you mean \"--gates\"?)");
    assert_string_equal(guessed("GATES"), " (did you mean \"--gates\"?)");
    assert_string_equal(guessed("spec"), " (did you mean \"--spectrum\"?)");
    assert_string_equal(guessed("gra"), " (did you mean \"--gradflow\"?)");
    assert_string_equal(guessed("al"), " (did you mean \"--all\"?)");
    assert_string_equal(guessed("xylophone"), "");
    assert_string_equal(guessed(""), "");
    assert_string_equal(guessed("q"), "");
}

/* Any bytes become ASCII; ASCII stays; what is no symbol of ours can be read back from its \xNN. */
static void test_ascii(void **state) {
    (void)state;
    ds_text text = {0};
    static const char words[] = "β mean, |ΔX| ≤ 2σ, ‖W‖₂ … é\xFF\n";
    expect_ok(ds_text_append_ascii(&text, words, sizeof words - 1));
    assert_string_equal(text.bytes, "beta mean, |deltaX| <= 2sigma, ||W||_2 ... \\xC3\\xA9\\xFF\n");
    ds_random random = ds_random_init(21);
    print_message("seed 21\n");
    for (size_t trial = 0; trial < 500; trial++) {
        char bytes[32], spelling[DS_ASCII_SPELLING];
        size_t length = ds_random_below(&random, sizeof bytes + 1), plain = 0, at = 0;
        for (size_t i = 0; i < length; i++) {
            bytes[i] = (char)(ds_random_below(&random, 2) == 0 ? ds_random_below(&random, 128) : ds_random_below(&random, 256));
            plain += (unsigned char)bytes[i] < 0x80;
        }
        text.length = 0;
        expect_ok(ds_text_append_ascii(&text, bytes, length));
        for (size_t i = 0; i < text.length; i++) assert_true((unsigned char)text.bytes[i] < 0x80);
        assert_true(text.length >= length && (plain < length || memcmp(text.bytes, bytes, length) == 0));
        while (at < length) at += ds_ascii_spelling(spelling, bytes + at, length - at);
        assert_int_equal(at, length);
    }
    ds_text_release(&text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_distances),
        cmocka_unit_test(test_guesses),
        cmocka_unit_test(test_ascii),
    };
    return cmocka_run_group_tests_name("spelling", tests, NULL, NULL);
}
