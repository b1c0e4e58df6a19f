/* What the program under test writes with --json, to compare with what the library gives. */
#ifndef DELTASCOPE_TESTS_PROGRAM_JSON_H
#define DELTASCOPE_TESTS_PROGRAM_JSON_H

#include <jansson.h>

/* Runs the program with `arguments` (ending with NULL) and --json; the envelope is a new reference. Anything but success fails
 * the test. */
json_t *program_json(const char *const *arguments);
/* `envelope` has these "options" and "results", which are released with it. */
void expect_same_json(json_t *envelope, json_t *options, json_t *results);

#endif
