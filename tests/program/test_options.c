/* The option parser as a user meets it: what it refuses, with which sentence and exit status, before any work is done. */
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "deltascope/io.h"
#include "scratch.h"
#include "support.h"

#define GATES "gates --tokens fixtures/data/val.bin --seq-len 4 --sequences 1 --quiet "
#define SPECTRUM "spectrum --tokens fixtures/data/val.bin --seq-len 4 --sequences 1 --quiet "
#define MODEL " fixtures/models/option-cc-causal"

static int run(const char *arguments) {
    const char *program = getenv("DELTASCOPE") != NULL ? getenv("DELTASCOPE") : "build/deltascope";
    char line[1024];
    (void)snprintf(line, sizeof line, "%s %s >%s 2>%s", program, arguments, scratch_path("out"), scratch_path("err"));
    int status = system(line);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void expect_refusal(const char *arguments, int exit_status, const char *words) {
    char *bytes;
    size_t length;
    if (run(arguments) != exit_status) fail_msg("exit status other than %d: %s", exit_status, arguments);
    expect_ok(ds_read_file(&bytes, &length, scratch_path("err"), 1 << 16));
    if (strstr(bytes, words) == NULL) fail_msg("%s: \"%s\" expected in \"%s\"", arguments, words, bytes);
    free(bytes);
}

static void test_values_out_of_range(void **state) {
    (void)state;
    expect_refusal(GATES "--regime-tol 0.5" MODEL, 2, "--regime-tol takes a number from 0 to below 0.5, not \"0.5\"");
    expect_refusal(GATES "--regime-tol -0.1" MODEL, 2, "not \"-0.1\"");
    expect_refusal(GATES "--regime-tol nan" MODEL, 2, "not \"nan\"");
    expect_refusal(GATES "--regime-tol 0.1x" MODEL, 2, "not \"0.1x\"");
    expect_refusal(GATES "--regime-tol ''" MODEL, 2, "not \"\"");
    expect_refusal(GATES "--seq-len 0" MODEL, 2, "--seq-len takes a whole number of at least 1, not \"0\"");
    expect_refusal(GATES "--sequences +1" MODEL, 2, "not \"+1\"");
    expect_refusal(GATES "--offset -1" MODEL, 2, "not \"-1\"");
    expect_refusal(GATES "--spread odd" MODEL, 2, "--spread takes even|random|consecutive");
    expect_refusal(GATES "--spread even --offset 0" MODEL, 2, "leave out --spread even");
    expect_refusal(GATES "--offset 9 --spread random" MODEL, 2, "leave out --spread random");
    expect_refusal(GATES "--precision half" MODEL, 2, "--precision takes float|double, not \"half\"");
    expect_refusal(GATES "--json ''" MODEL, 2, "--json takes FILE, not an empty word");
    expect_refusal(SPECTRUM "--samples 1000001" MODEL, 2, "--samples takes at most 1000000, not 1000001");
    expect_refusal(SPECTRUM "--samples 18446744073709551615" MODEL, 2, "--samples takes at most 1000000");
    expect_refusal(SPECTRUM "--samples 18446744073709551616" MODEL, 2, "--samples takes a whole number of at least 1");
    assert_int_equal(run(GATES "--regime-tol 0" MODEL), 0);
    assert_int_equal(run(GATES "--regime-tol 0.49" MODEL), 0);
}

static void test_words_out_of_place(void **state) {
    (void)state;
    expect_refusal(GATES, 2, "gates needs CHECKPOINT");
    expect_refusal(GATES MODEL MODEL, 2, "is one argument too many");
    expect_refusal(GATES "--frobnicate" MODEL, 2, "gates does not know the option \"--frobnicate\"");
    expect_refusal("gates --seq-len", 2, "\"--seq-len\" needs a value");
    expect_refusal(GATES "--text fixtures/data/tinyshakespeare.txt" MODEL, 2, "either --tokens FILE or --text FILE");
    expect_refusal("gates" MODEL, 2, "either --tokens FILE or --text FILE");
    expect_refusal("frobnicate", 2, "there is no command \"frobnicate\"");
    expect_refusal("ablate --tokens fixtures/data/val.bin --resume" MODEL, 2, "--resume needs --out DIR");
    assert_int_equal(run("gates -h"), 0);
}

/* Every command that takes token ids takes them in another type, and refuses a raw file of that type where none is named. */
static void test_token_types(void **state) {
    (void)state;
    static const char *const commands[] = {"gates --sequences 1",
                                           "spectrum --sequences 1",
                                           "ablate --sequences 2 --scopes all",
                                           "trace",
                                           "inspect --sequences 1",
                                           "gradflow --sequences 1",
                                           "verify --sequences 1",
                                           "compare --sequences 2 --shut none fixtures/models/option-cc-causal"};
    static uint8_t wide[8 * 120];
    char arguments[512];
    for (size_t i = 0; i < sizeof wide; i += 8) wide[i] = (uint8_t)(1 + i % 60);
    const char *path = scratch_write("wide.bin", wide, sizeof wide);
    for (size_t c = 0; c < sizeof commands / sizeof *commands; c++) {
        (void)snprintf(arguments, sizeof arguments, "%s --seq-len 4 --quiet --tokens %s" MODEL, commands[c], path);
        expect_refusal(arguments, 3, "looks like 64-bit token ids");
        (void)snprintf(arguments, sizeof arguments, "%s --seq-len 4 --quiet --token-type i64 --tokens %s" MODEL, commands[c],
                       path);
        if (run(arguments) != 0) fail_msg("%s", arguments);
        (void)snprintf(arguments, sizeof arguments,
                       "%s --seq-len 4 --token-type i64 --tokens fixtures/hostile/valid/tok_u1.npy" MODEL, commands[c]);
        expect_refusal(arguments, 2, "its header says uint8, but --token-type is i64");
        (void)snprintf(arguments, sizeof arguments,
                       "%s --seq-len 4 --token-type i64 %s --tokenizer fixtures/data/meta.pkl" MODEL, commands[c],
                       c == 3 ? "--text words" : "--text fixtures/data/tinyshakespeare.txt");
        expect_refusal(arguments, 2, "--token-type says what --tokens FILE holds");
    }
    expect_refusal(GATES "--token-type u8" MODEL, 2, "--token-type takes u16|u32|i32|i64, not \"u8\"");
}

/* Too few bytes to tell: read, and told in the result as on standard error. */
static void test_doubtful_tokens_are_told(void **state) {
    (void)state;
    static const char *const commands[] = {"gates --sequences 1", "trace"};
    char arguments[512], *bytes;
    size_t length;
    uint8_t few[4 * 12] = {0};
    for (size_t i = 0; i < sizeof few; i += 4) few[i] = (uint8_t)(3 + i);
    const char *path = scratch_write("few.bin", few, sizeof few);
    for (size_t c = 0; c < 2; c++) {
        (void)snprintf(arguments, sizeof arguments, "%s --seq-len 4 --json %s --tokens %s" MODEL, commands[c],
                       scratch_path("told.json"), path);
        expect_refusal(arguments, 0, "few.bin looks like 32-bit token ids");
        expect_ok(ds_read_file(&bytes, &length, scratch_path("told.json"), 1 << 20));
        assert_non_null(strstr(bytes, "\"warnings\""));
        assert_non_null(strstr(bytes, "though too short to tell"));
        free(bytes);
    }
}

/* Found before the work, whose checkpoint need not even exist. */
static void test_places_that_cannot_take_the_result(void **state) {
    (void)state;
    char arguments[512];
    const char *file = scratch_write("file", "x", 1);
    expect_refusal(GATES "--json absent/result.json absent", 4, "absent/result.json: cannot be written: ");
    expect_refusal(GATES "--json fixtures absent", 4, "fixtures: cannot be written: it is a folder");
    (void)snprintf(arguments, sizeof arguments, GATES "--out %s absent", file);
    expect_refusal(arguments, 4, "exists and is not a folder");
    (void)snprintf(arguments, sizeof arguments, GATES "--json %s absent", scratch_path("result.json"));
    expect_refusal(arguments, 3, "absent: missing");
    (void)snprintf(arguments, sizeof arguments, GATES "--json %s --out %s" MODEL, file, scratch_path("a/b"));
    assert_int_equal(run(arguments), 0); /* a file is replaced, folders are made */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values_out_of_range),
        cmocka_unit_test(test_words_out_of_place),
        cmocka_unit_test(test_token_types),
        cmocka_unit_test(test_doubtful_tokens_are_told),
        cmocka_unit_test(test_places_that_cannot_take_the_result),
    };
    return cmocka_run_group_tests_name("options", tests, NULL, NULL);
}
