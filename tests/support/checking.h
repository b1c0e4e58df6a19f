/* The command check as a test runs it. */
#ifndef DELTASCOPE_TESTS_CHECKING_H
#define DELTASCOPE_TESTS_CHECKING_H

#include <jansson.h>

/* A file of JSON; a new reference. */
json_t *load_json(const char *path);
/* What check says of a file with --json, a new reference; it must exit with `status`. `preset` names kernels of OpenBLAS or is
 * NULL; `more` are its other arguments, the last NULL. */
json_t *check_result(int status, const char *preset, const char *file, const char *const *more);
#define CHECK(status, file, ...) check_result(status, NULL, file, (const char *const[]){__VA_ARGS__, NULL})
/* The verdict; releases what check said. */
void expect_verdict(json_t *told, const char *verdict);
/* The same of "incomplete", for a section whose obstacle has these words. */
void expect_incomplete(json_t *told, const char *words);
/* Writes what somebody made of a result; its path. */
const char *write_forged(const json_t *tree);

#endif
