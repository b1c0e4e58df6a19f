/* Arrays owned together: each is asked for by one line, and all are freed at once. Private to the model room. */
#ifndef DELTASCOPE_MODEL_ARRAYS_H
#define DELTASCOPE_MODEL_ARRAYS_H

#include "deltascope/base.h"

typedef struct ds_arrays {
    void **memory;
    size_t count, capacity;
    size_t bytes; /* of those that are written to */
    bool idle;    /* what is added meanwhile no pass will write to: it takes addresses, no memory */
} ds_arrays;

/* *array <- rows * width elements, 64-byte aligned, not zeroed; `array` is the address of a pointer. The extents may come
 * from a file and not fit together. */
ds_status ds_arrays_add(ds_arrays *arrays, void *array, size_t rows, size_t width, size_t size) DS_MUST_CHECK;
void ds_arrays_release(ds_arrays *arrays);

#endif
