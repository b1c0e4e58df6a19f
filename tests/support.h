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

#endif
