/* The entry point every fuzz_NAME.c defines: libFuzzer's. The regression test compiles the same files with the name replaced by
 * fuzz_NAME, and runs the committed inputs without an engine. */
#ifndef DELTASCOPE_TESTS_FUZZ_H
#define DELTASCOPE_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

#include "relations.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
