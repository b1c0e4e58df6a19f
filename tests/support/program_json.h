/* What the program writes with --json beside what the library's measurements tell. */
#ifndef DELTASCOPE_TESTS_PROGRAM_JSON_H
#define DELTASCOPE_TESTS_PROGRAM_JSON_H

#include <jansson.h>

/* The envelope that the program writes, a new reference; `arguments` ends with NULL. Fails the test unless it exits with 0. */
json_t *program_json(const char *const *arguments);

/* `options` and `results` equal those of the envelope once they are written too. Releases all three. */
void expect_as_written(json_t *options, json_t *results, json_t *envelope);

#endif
