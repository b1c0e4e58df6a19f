/* What a reader sees of a token. */
#include <stdlib.h>
#include <string.h>

#include "deltascope/io.h"
#include "support.h"

static void expect_labels(const char *tokenizer_path, const char *text, bool unicode, const char *joined) {
    ds_tokenizer *tokenizer;
    uint32_t *ids;
    size_t count;
    ds_text labels = {0};
    expect_ok(ds_tokenizer_open(&tokenizer, tokenizer_path));
    expect_ok(ds_tokenizer_encode(tokenizer, &ids, &count, text, strlen(text), "text"));
    for (size_t i = 0; i < count; i++) {
        if (i > 0) expect_ok(ds_text_append(&labels, "|", 1));
        expect_ok(ds_token_label(&labels, tokenizer, ids[i], unicode));
    }
    assert_string_equal(labels.bytes, joined);
    ds_text_release(&labels);
    free(ids);
    ds_tokenizer_close(&tokenizer);
}

static void test_white_space_is_visible(void **state) {
    (void)state;
    expect_labels("fixtures/data/meta.pkl", "a b\n", true, "a|␣|b|↵");
    expect_labels("fixtures/data/meta.pkl", "a b\n", false, "a|_|b|\\n");
    expect_labels("fixtures/tokenizer/gpt2", "To be\tor\r\nnot", true, "To|␣be|⇥|or|\\r|↵|not");
    expect_labels("fixtures/tokenizer/gpt2", "To be\tor", false, "To|_be|\\t|or");
}

/* GPT-2 has no token for these characters: their bytes are split among several. */
static void test_pieces_of_characters(void **state) {
    (void)state;
    expect_labels("fixtures/tokenizer/gpt2", "naïve café", true, "na|ïve|␣café");
    expect_labels("fixtures/tokenizer/gpt2", "naïve", false, "na|\\xC3\\xAFve");
    expect_labels("fixtures/tokenizer/gpt2", "東", true, "\\xE6\\x9D|\\xB1");
}

/* Nothing a text holds reaches the terminal as a control or turns the line around. */
static void test_controls_are_spelled(void **state) {
    (void)state;
    expect_labels("fixtures/tokenizer/gpt2", "\x1B", true, "\\x1B");
    /* NOLINTNEXTLINE(misc-misleading-bidirectional): the attack itself */
    expect_labels("fixtures/tokenizer/gpt2", "\xE2\x80\xAE", true, "\\xE2\\x80|\\xAE"); /* right-to-left override */
    expect_labels("fixtures/tokenizer/gpt2", "\x7F", true, "\\x7F");
}

static void test_ids_without_words(void **state) {
    (void)state;
    ds_text label = {0};
    ds_tokenizer *tokenizer;
    expect_ok(ds_tokenizer_open(&tokenizer, "fixtures/data/meta.pkl"));
    expect_ok(ds_token_label(&label, NULL, 7, true));
    expect_ok(ds_token_label(&label, tokenizer, 65, true));
    assert_string_equal(label.bytes, "#7#65");
    ds_text_release(&label);
    ds_tokenizer_close(&tokenizer);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_white_space_is_visible),
        cmocka_unit_test(test_pieces_of_characters),
        cmocka_unit_test(test_controls_are_spelled),
        cmocka_unit_test(test_ids_without_words),
    };
    return cmocka_run_group_tests_name("token_label", tests, NULL, NULL);
}
