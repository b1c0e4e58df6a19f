/* The program as built: position independent, relocations read-only before main, no executable stack, stack protector and
 * fortified calls. */
#include <stdlib.h>
#include <string.h>

#include "child.h"
#include "support.h"

static child found;

static const char *program(void) {
    const char *built = getenv("DELTASCOPE");
    return built == NULL ? "build/deltascope" : built;
}

static const char *read_elf(const char *what) {
    child_run_program(&found, "/usr/bin/readelf", (const char *const[]){"--wide", what, program(), NULL}, (child_limits){0});
    assert_int_equal(found.status, 0);
    return found.out;
}

static void expect(const char *text, const char *words) {
    if (strstr(text, words) == NULL) fail_msg("%s: no \"%s\"", program(), words);
}

static void test_layout(void **state) {
    (void)state;
    expect(read_elf("--file-header"), "DYN (Position-Independent Executable file)");
    const char *segments = read_elf("--program-headers");
    expect(segments, "GNU_RELRO");
    const char *stack = strstr(segments, "GNU_STACK");
    assert_non_null(stack);
    char line[256] = "";
    memcpy(line, stack, strcspn(stack, "\n"));
    if (strstr(line, "RWE") != NULL) fail_msg("%s: an executable stack", program());
    expect(read_elf("--dynamic"), "NOW");
    assert_null(strstr(found.out, "RPATH"));
    assert_null(strstr(found.out, "RUNPATH"));
}

static void test_checks(void **state) {
    (void)state;
    if (child_under_sanitizer()) skip(); /* built without the flags: sanitizers check more */
    const char *symbols = read_elf("--dyn-syms");
    expect(symbols, "__stack_chk_fail");
    expect(symbols, "_chk@GLIBC");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_layout), cmocka_unit_test(test_checks)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
