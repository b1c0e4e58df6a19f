/* What every test needs: comparisons that fail on NaN, and errors checked by status and sentence. */
#ifndef DELTASCOPE_TESTS_SUPPORT_H
#define DELTASCOPE_TESTS_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "deltascope/base.h"

/* |found - expected| <= tolerance; prints all three otherwise. */
#define expect_close(found, expected, tolerance) expect_close_at((found), (expected), (tolerance), __FILE__, __LINE__)
void expect_close_at(double found, double expected, double tolerance, const char *file, int line);

/* DS_OK; prints the stored sentence otherwise. */
#define expect_ok(call) expect_status_at((call), DS_OK, "", __FILE__, __LINE__)
/* The call fails with `code`, and its sentence contains `words`. */
#define expect_failure(call, code, words) expect_status_at((call), (code), (words), __FILE__, __LINE__)
void expect_status_at(ds_status found, ds_status expected, const char *words, const char *file, int line);

/* An analyser that sees one file at a time is told that a failed assertion ends the test. */
#ifdef __clang_analyzer__
_Noreturn void test_ends(void);
#undef assert_true
#undef assert_non_null
#undef assert_int_equal
#undef fail_msg
#undef skip
#define assert_true(condition) ((condition) ? (void)0 : test_ends())
#define assert_non_null(pointer) assert_true((pointer) != NULL)
#define assert_int_equal(left, right) assert_true((left) == (right))
#define fail_msg(...) (print_error(__VA_ARGS__), test_ends())
#define skip() test_ends()
#endif

#endif
