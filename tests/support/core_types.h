/* The kinds of kernels OpenBLAS has for this processor (OPENBLAS_CORETYPE). */
#ifndef DELTASCOPE_TESTS_CORE_TYPES_H
#define DELTASCOPE_TESTS_CORE_TYPES_H

#include <stddef.h>

enum { CORE_TYPES = 4 };

/* types <- those it can run; returns how many. */
size_t core_types(const char *types[CORE_TYPES]);

#endif
