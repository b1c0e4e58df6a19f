/* Labels of series as words, no two alike, and the words that name a checkpoint in captions. */
#include <string.h>

#include "report/figure.h"
#include "support.h"

static void expect_words(const char *const *labels, size_t count, const char *expected) {
    ds_labels all = {0};
    for (size_t i = 0; i < count; i++) expect_ok(ds_labels_add(&all, labels[i]));
    assert_string_equal(ds_labels_words(&all), expected);
    ds_labels_release(&all);
}
#define EXPECT_WORDS(expected, ...)                                                                                            \
    expect_words((const char *const[]){__VA_ARGS__}, sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *), expected)

static void test_words(void **state) {
    (void)state;
    EXPECT_WORDS("delta write-only ", "delta", "write_only");
    EXPECT_WORDS("a-b a-b.2 a-b.3 ", "a_b", "a-b", "a@b");
    EXPECT_WORDS("a-b a-b.2 a-b.2.2 ", "a_b", "a-b", "a-b.2");
    EXPECT_WORDS("a.2 a-b a.2 ", "a.2", "a_b", "a.2"); /* the same one again */
    EXPECT_WORDS("- -.2 -.3 ", "", "{", "}");
    EXPECT_WORDS("run--seed..checkpoin run--seed..checkpoin.2 ", "run__seed_0_of_the_checkpoin",
                 "run__seed_1_of_the_checkpoin");
    ds_labels none = {0};
    assert_string_equal(ds_labels_words(&none), "");
    ds_labels_release(&none);
}

/* Labels at random of few signs, often alike: equal ones share a word, others do not, and each is one word of plain signs. */
static void test_words_of_random_labels(void **state) {
    (void)state;
    static const char signs[] = "ab_@{}^ '\"\\$%~\n\x01.-";
    ds_random random = ds_random_init(20261129);
    print_message("seed 20261129\n");
    for (size_t round = 0; round < 200; round++) {
        enum { LABELS = 24 };
        char labels[LABELS][40], words[LABELS][48];
        ds_labels all = {0};
        for (size_t i = 0; i < LABELS; i++) {
            size_t length = ds_random_below(&random, round % 4 == 0 ? 38 : 4);
            for (size_t c = 0; c < length; c++) labels[i][c] = signs[ds_random_below(&random, sizeof signs - 1)];
            labels[i][length] = '\0';
            const char *word;
            expect_ok(ds_labels_note(&word, &all, labels[i]));
            assert_true(strlen(word) < sizeof words[i] && *word != '\0');
            (void)snprintf(words[i], sizeof words[i], "%s", word);
            for (const char *at = word; *at != '\0'; at++)
                assert_true((*at >= '0' && *at <= '9') || (*at >= 'a' && *at <= 'z') || strchr(".-", *at) != NULL);
            for (size_t j = 0; j < i; j++) assert_int_equal(strcmp(words[i], words[j]) == 0, strcmp(labels[i], labels[j]) == 0);
        }
        assert_string_equal(ds_labels_words(&all), ""); /* noted, not added */
        ds_labels_release(&all);
    }
}

static void expect_named(const char *json, const char *expected) {
    ds_text text = {0};
    json_t *checkpoint = json_loads(json, 0, NULL);
    assert_non_null(checkpoint);
    expect_ok(ds_text_append(&text, "", 0));
    expect_ok(ds_checkpoint_words(&text, checkpoint));
    assert_string_equal(text.bytes, expected);
    json_decref(checkpoint);
    ds_text_release(&text);
}

#define REST "\"variant\": \"ddl-cc\", \"layers\": 2, \"hidden\": 64, \"value_channels\": 4"
static void test_checkpoint_words(void **state) {
    (void)state;
    expect_named("{\"variant\": null, \"path\": \"a\"}", "");
    expect_named("{" REST "}", " Checkpoint: ddl-cc, 2 layers, d = 64, 4 value channels.");
    expect_named("{\"path\": \"runs/a\", " REST "}", " Checkpoint: runs/a (ddl-cc, 2 layers, d = 64, 4 value channels).");
    expect_named("{\"path\": \"\\u001b[31m\", \"variant\": \"\\u001b\", \"layers\": 1}",
                 " Checkpoint: \\x1B[31m (\\x1B, 1 layer, d = 0, 0 value channels).");
    expect_named("{\"path\": \"/home/somebody/experiments/2026/delta/seed-3/checkpoint-1000\", " REST "}",
                 " Checkpoint: /home/somebody/exp…d-3/checkpoint-1000 (ddl-cc, 2 layers, d = 64, 4 value channels).");
}

/* Both ends, whole characters, never more than allowed. */
static void test_short_paths(void **state) {
    (void)state;
    static const char *const parts[] = {"a", "/", "é", "漢", "run_7", "𝛽"};
    ds_random random = ds_random_init(20261130);
    for (size_t round = 0; round < 300; round++) {
        ds_text path = {0}, made = {0};
        const size_t most = 8 + ds_random_below(&random, 60);
        expect_ok(ds_text_append(&path, "", 0));
        for (size_t i = ds_random_below(&random, 50); i > 0; i--)
            expect_ok(ds_text_printf(&path, "%s", parts[ds_random_below(&random, sizeof parts / sizeof *parts)]));
        expect_ok(ds_text_append(&made, "", 0));
        expect_ok(ds_short_path(&made, path.bytes, most));
        const char *cut = strstr(made.bytes, "…");
        assert_true(ds_is_utf8(made.bytes, made.length));
        assert_int_equal(cut == NULL, path.length <= most);
        if (cut == NULL) {
            assert_string_equal(made.bytes, path.bytes);
        } else {
            const size_t tail = strlen(cut + strlen("…"));
            assert_true(made.length <= most);
            assert_memory_equal(made.bytes, path.bytes, (size_t)(cut - made.bytes));
            assert_string_equal(cut + strlen("…"), path.bytes + path.length - tail);
        }
        ds_text_release(&path);
        ds_text_release(&made);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_words_of_random_labels),
        cmocka_unit_test(test_checkpoint_words),
        cmocka_unit_test(test_short_paths),
    };
    return cmocka_run_group_tests_name("figure_series", tests, NULL, NULL);
}
