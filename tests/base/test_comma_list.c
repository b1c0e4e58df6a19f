/* Lists of words: taken apart one way, put together again. */
#include <string.h>

#include "deltascope/base.h"
#include "support.h"

static void expect_words(const char *list, const char *const *expected, size_t count) {
    const char *word, *rest = list;
    size_t length, index = 0;
    for (; ds_next_word(&rest, &word, &length); index++) {
        assert_true(index < count);
        assert_int_equal(length, strlen(expected[index]));
        assert_true(ds_is_word(expected[index], word, length));
    }
    assert_int_equal(index, count);
}

static void test_words(void **state) {
    (void)state;
    expect_words(NULL, (const char *const[]){""}, 0);
    expect_words("", (const char *const[]){""}, 1);
    expect_words("attn", (const char *const[]){"attn"}, 1);
    expect_words("attn,,mlp,", (const char *const[]){"attn", "", "mlp", ""}, 4);
}

static void test_word(void **state) {
    (void)state;
    assert_true(ds_is_word("attn", "attn,mlp", 4));
    assert_false(ds_is_word("attn", "attn,mlp", 3));
    assert_false(ds_is_word("att", "attn,mlp", 4));
    assert_false(ds_is_word("", "attn", 4));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_words), cmocka_unit_test(test_word)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
