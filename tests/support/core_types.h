/* The kinds of kernels OpenBLAS has for this processor (OPENBLAS_CORETYPE). */
#ifndef DELTASCOPE_TESTS_CORE_TYPES_H
#define DELTASCOPE_TESTS_CORE_TYPES_H

#include <stddef.h>

enum { CORE_TYPES = 3, EVERY_CORE_TYPE = 6 };

/* types <- those of the families that differ most which it can run; returns how many. */
size_t core_types(const char *types[CORE_TYPES]);
/* types <- all that it can run. */
size_t every_core_type(const char *types[EVERY_CORE_TYPE]);

#endif
