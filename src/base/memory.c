#include <stdlib.h>
#include <string.h>

#include "deltascope/base.h"

static void *out_of_memory(size_t count, size_t size) {
    (void)ds_fail(DS_ERR_SYSTEM, "out of memory: %zu elements of %zu bytes could not be had", count, size);
    return NULL;
}

void *ds_calloc(size_t count, size_t size) {
    size_t bytes;
    if (!ds_mul_size(count, size, &bytes)) return out_of_memory(count, size);
    void *memory = calloc(1, bytes == 0 ? 1 : bytes);
    if (memory == NULL) return out_of_memory(count, size);
    return memory;
}

void *ds_alloc_array(size_t count, size_t size) {
    const size_t alignment = 64; /* a cache line, and the widest vector register */
    size_t bytes;
    if (!ds_mul_size(count, size, &bytes) || !ds_add_size(bytes, alignment - 1, &bytes)) return out_of_memory(count, size);
    bytes = ds_max_size(bytes & ~(alignment - 1), alignment);
    void *memory = aligned_alloc(alignment, bytes);
    if (memory == NULL) return out_of_memory(count, size);
    return memory;
}

ds_status ds_grow(void **array, size_t *capacity, size_t needed, size_t size) {
    if (needed <= *capacity) return DS_OK;
    size_t wanted = ds_max_size(*capacity, 8);
    while (wanted < needed) {
        if (!ds_mul_size(wanted, 2, &wanted)) return ds_fail(DS_ERR_SYSTEM, "out of memory: %zu elements asked for", needed);
    }
    size_t bytes;
    void *grown = ds_mul_size(wanted, size, &bytes) ? realloc(*array, bytes) : NULL;
    if (grown == NULL) return ds_fail(DS_ERR_SYSTEM, "out of memory: %zu elements of %zu bytes could not be had", wanted, size);
    *array = grown;
    *capacity = wanted;
    return DS_OK;
}

char *ds_strdup(const char *text) {
    size_t bytes = strlen(text) + 1;
    char *copy = ds_calloc(bytes, 1);
    if (copy != NULL) memcpy(copy, text, bytes);
    return copy;
}
