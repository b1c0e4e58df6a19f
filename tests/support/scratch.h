/* A folder for the files a test makes: created on first use, removed with what is in it when the program ends. */
#ifndef DELTASCOPE_TESTS_SCRATCH_H
#define DELTASCOPE_TESTS_SCRATCH_H

#include <stddef.h>

/* Writes a file of that name (which may have one folder in front, made when missing). The path is valid until the end. */
const char *scratch_write(const char *name, const void *bytes, size_t length);
/* The path a file of that name would have. */
const char *scratch_path(const char *name);

#endif
