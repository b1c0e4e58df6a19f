/* FLINT and GMP abort the process when memory runs out. A process that wants it has their allocators replaced by ones that
 * give up with a sentence. */
#include <flint/flint.h>
#include <gmp.h>
#include <stdlib.h>

#include "deltascope/spectra.h"

static void *had(void *block, size_t size) {
    if (block == NULL) ds_give_up("out of memory: %zu bytes for ball arithmetic could not be had", size);
    return block;
}

static void *allocate(size_t size) { return had(malloc(size == 0 ? 1 : size), size); }
static void *allocate_zeroed(size_t count, size_t size) {
    return had(calloc(count == 0 ? 1 : count, size == 0 ? 1 : size), size);
}
static void *resize(void *block, size_t size) { return had(realloc(block, size == 0 ? 1 : size), size); }
static void *resize_known(void *block, size_t old, size_t size) {
    (void)old;
    return resize(block, size);
}
static void release_known(void *block, size_t size) {
    (void)size;
    free(block);
}

static FLINT_NORETURN void end(void) { ds_give_up("ball arithmetic could not go on: FLINT ended it"); }

void ds_spectra_hooks(void) {
    __flint_set_memory_functions(allocate, allocate_zeroed, resize, free);
    mp_set_memory_functions(allocate, resize_known, release_known);
    flint_set_abort(end);
}
