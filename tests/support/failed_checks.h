/* All checks of verify on one model. */
#ifndef DELTASCOPE_TESTS_FAILED_CHECKS_H
#define DELTASCOPE_TESTS_FAILED_CHECKS_H

#include "deltascope/verify.h"

/* How many fail; each is printed with what the model is. */
size_t failed_checks(ds_verify *verify, const char *model);

#endif
