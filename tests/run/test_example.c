/* The program in include/deltascope/README.md compiles against the library and says what deltascope says. */
#include <stdlib.h>
#include <string.h>

#include "child.h"
#include "deltascope/io.h"
#include "scratch.h"
#include "support.h"

#define MODEL "fixtures/models/cc-bf16"
#define TOKENS "fixtures/data/val.bin"

static json_t *read_json(const char *path) {
    json_t *tree;
    char *bytes;
    size_t length;
    expect_ok(ds_read_file(&bytes, &length, path, 1 << 22));
    expect_ok(ds_json_parse(&tree, bytes, length, path));
    free(bytes);
    return tree;
}

/* The first fenced block of C. */
static const char *write_example(void) {
    static const char fence[] = "```c\n";
    char *text, *start, *end;
    size_t length;
    expect_ok(ds_read_file(&text, &length, "include/deltascope/README.md", 1 << 20));
    start = strstr(text, fence);
    assert_non_null(start);
    start += strlen(fence);
    end = strstr(start, "```");
    assert_non_null(end);
    const char *path = scratch_write("example.c", start, (size_t)(end - start));
    free(text);
    return path;
}

static void test_example(void **state) {
    (void)state;
    static child found;
    const char *source = write_example(), *program = scratch_path("example"), *mine = scratch_path("example.json"),
               *theirs = scratch_path("gates.json");
    char line[1024], loss[64];
    (void)snprintf(line, sizeof line, "%s -o %s %s %s", EXAMPLE_COMPILE, program, source, EXAMPLE_LIBRARIES);
    assert_int_equal(system(line), 0);
    child_run_program(&found, program, (const char *const[]){MODEL, TOKENS, mine, NULL}, (child_limits){0});
    if (found.status != 0) fail_msg("the example: exit status %d: %s", found.status, found.err);
    (void)snprintf(loss, sizeof loss, "%s", found.out);
    CHILD_RUN(&found, (child_limits){0}, "gates", "--tokens", TOKENS, "--sequences", "2", "--quiet", "--json", theirs, MODEL);
    assert_int_equal(found.status, 0);
    json_t *a = read_json(mine), *b = read_json(theirs);
    assert_int_equal(json_object_del(a, "seconds") + json_object_del(b, "seconds"), 0);
    assert_true(json_equal(a, b));
    (void)snprintf(line, sizeof line, "loss %.6f nats\n", json_real_value(ds_json_at(b, "results/loss")));
    assert_string_equal(loss, line);
    json_decref(a);
    json_decref(b);
}

/* What it says when it cannot: one sentence, and the status of the library. */
static void test_refusal(void **state) {
    (void)state;
    static child found;
    child_run_program(&found, scratch_path("example"),
                      (const char *const[]){"nowhere", TOKENS, scratch_path("none.json"), NULL}, (child_limits){0});
    assert_int_equal(found.status, DS_ERR_INPUT);
    assert_non_null(strstr(found.err, "nowhere"));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_example), cmocka_unit_test(test_refusal)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
