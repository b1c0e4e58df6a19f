/* The tokenize command as a script sees it: exit status, files, standard output and error. */
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "deltascope/io.h"
#include "scratch.h"
#include "support.h"

/* Runs the program on these arguments; what it prints goes to the scratch files "out" and "err". */
static int run(const char *arguments) {
    const char *program = getenv("DELTASCOPE");
    char command[2048];
    (void)snprintf(command, sizeof command, "%s tokenize %s >%s 2>%s", program == NULL ? "build/deltascope" : program,
                   arguments, scratch_path("out"), scratch_path("err"));
    int status = system(command);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void expect_content(const char *name, const char *wanted) {
    char *bytes;
    size_t length;
    expect_ok(ds_read_file(&bytes, &length, scratch_path(name), 1 << 20));
    assert_string_equal(bytes, wanted);
    free(bytes);
}

static void expect_complaint(const char *words) {
    char *bytes;
    size_t length;
    expect_ok(ds_read_file(&bytes, &length, scratch_path("err"), 1 << 20));
    if (strstr(bytes, words) == NULL) fail_msg("\"%s\" expected in \"%s\"", words, bytes);
    free(bytes);
}

static char arguments[1024];
static const char *with(const char *text, const char *tokenizer, const char *output, const char *more) {
    (void)snprintf(arguments, sizeof arguments, "--text %s --tokenizer %s --output %s %s", text, tokenizer, output, more);
    return arguments;
}

static void test_the_whole_text(void **state) {
    (void)state;
    const char *output = scratch_path("ids.bin");
    assert_int_equal(run(with("fixtures/data/tinyshakespeare.txt", "fixtures/tokenizer/gpt2", output, "")), 0);
    expect_content("out", "338025 tokens of a vocabulary of 50257\n");
    expect_content("err", "");
    ds_tokens *tokens;
    expect_ok(ds_tokens_open(&tokens, output, 50257));
    assert_int_equal(ds_tokens_count(tokens), 338025);
    /* the reference's digest of its ids as uint16 */
    assert_string_equal(ds_tokens_sha256(tokens), "25c01b32b32f41897a6359dd222ec114992dc30c357bcafbfe6c56672f76cd31");
    ds_tokens_close(&tokens);
}

static void test_characters_quietly(void **state) {
    (void)state;
    const char *text = scratch_write("text", "\n az", 4);
    assert_int_equal(run(with(text, "fixtures/data/meta.pkl", scratch_path("ids.bin"), "--quiet")), 0);
    expect_content("out", "");
    char *bytes;
    size_t length;
    expect_ok(ds_read_file(&bytes, &length, scratch_path("ids.bin"), 100));
    assert_int_equal(length, 8);
    assert_memory_equal(bytes, "\x00\x00\x01\x00\x27\x00\x40\x00", 8);
    free(bytes);
    text = scratch_write("text", "", 0);
    assert_int_equal(run(with(text, "fixtures/data/meta.pkl", scratch_path("ids.bin"), "")), 0);
    expect_content("out", "0 tokens of a vocabulary of 65\n");
    expect_content("ids.bin", "");
}

/* What was there before stays when the text cannot be encoded. */
static void test_refusals(void **state) {
    (void)state;
    const char *output = scratch_write("kept.bin", "before", 6), *text = scratch_write("text", "caf\xC3\xA9", 5);
    assert_int_equal(run(with(text, "fixtures/data/meta.pkl", output, "")), 3);
    expect_complaint(
        "text: character \"\xC3\xA9\" (U+00E9) at byte 3 (line 1, column 4) is not among those of fixtures/data/meta.pkl");
    expect_content("out", "");
    text = scratch_write("text", "caf\xC3", 4);
    assert_int_equal(run(with(text, "fixtures/tokenizer/gpt2", output, "")), 3);
    expect_complaint("text: malformed UTF-8 at byte 3");
    assert_int_equal(run(with("fixtures/absent", "fixtures/tokenizer/gpt2", output, "")), 3);
    expect_complaint("fixtures/absent: ");
    assert_int_equal(run(with(text, "fixtures/absent", output, "")), 3);
    expect_complaint("fixtures/absent: ");
    assert_int_equal(run(with(text, "fixtures/data", output, "")), 3);
    expect_complaint("fixtures/data: holds no tokenizer: ");
    assert_int_equal(run("--text a --tokenizer b"), 2);
    expect_complaint("tokenize needs --text FILE, --tokenizer PATH and --output FILE");
    assert_int_equal(run(with(text, "fixtures/data/meta.pkl", output, "model/")), 2);
    expect_content("kept.bin", "before");
}

static void test_a_vocabulary_too_large(void **state) {
    (void)state;
    /* vocab_size 65537, and 65536 */
    const char pickle[] = "\x80\x02}(X\x0A\0\0\0vocab_sizeJ\x01\0\x01\0X\x04\0\0\0stoi}X\x01\0\0\0aJ\xFF\xFF\0\0s"
                          "X\x04\0\0\0itos}J\xFF\xFF\0\0X\x01\0\0\0asu.";
    char fits[sizeof pickle];
    memcpy(fits, pickle, sizeof pickle);
    *strchr(strstr(fits + 12, "sizeJ"), '\x01') = '\0';
    const char *large = scratch_write("large.pkl", pickle, sizeof pickle - 1), *text = scratch_write("text", "a", 1);
    const char *output = scratch_path("ids.bin");
    (void)unlink(output);
    assert_int_equal(run(with(text, large, output, "")), 2);
    expect_complaint(
        "large.pkl: a vocabulary of 65537 ids, and raw uint16 has room for 65536: name an output that ends in .npy");
    assert_int_not_equal(access(output, F_OK), 0);
    assert_int_equal(run(with(text, large, scratch_path("ids.npy"), "")), 0);
    ds_tokens *tokens;
    uint32_t id;
    expect_ok(ds_tokens_open(&tokens, scratch_path("ids.npy"), 65537));
    assert_int_equal(ds_tokens_count(tokens), 1);
    expect_ok(ds_tokens_read(tokens, &id, 0, 1));
    assert_int_equal(id, 65535);
    ds_tokens_close(&tokens);
    assert_int_equal(run(with(text, scratch_write("fits.pkl", fits, sizeof fits - 1), output, "")), 0);
    expect_content("ids.bin", "\xFF\xFF");
}

static void test_an_output_that_cannot_be_written(void **state) {
    (void)state;
    const char *text = scratch_write("text", "a", 1);
    assert_int_equal(run(with(text, "fixtures/data/meta.pkl", scratch_path("no-folder/ids.bin"), "")), 4);
    expect_complaint("no-folder/ids.bin: ");
    assert_int_equal(run(with(text, "fixtures/data/meta.pkl", "/dev/full", "")), 4);
    expect_complaint("/dev/full: ");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_whole_text),
        cmocka_unit_test(test_characters_quietly),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_a_vocabulary_too_large),
        cmocka_unit_test(test_an_output_that_cannot_be_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
