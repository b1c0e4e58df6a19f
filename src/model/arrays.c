#include <stdlib.h>
#include <string.h>

#include "arrays.h"

ds_status ds_arrays_add(ds_arrays *arrays, void *array, size_t rows, size_t width, size_t size) {
    ds_status status = DS_OK;
    size_t total, bytes;
    void *storage = arrays->memory;
    if (!ds_mul_size(rows, width, &total) || !ds_mul_size(total, size, &bytes))
        return ds_fail(DS_ERR_SYSTEM, "out of memory: a buffer of %zu x %zu numbers cannot be addressed", rows, width);
    DS_TRY(ds_grow(&storage, &arrays->capacity, arrays->count + 1, sizeof *arrays->memory));
    arrays->memory = storage;
    void *memory = ds_alloc_array(total, size);
    if (memory == NULL) return DS_ERR_SYSTEM;
    arrays->memory[arrays->count++] = memory;
    if (!arrays->idle) arrays->bytes += bytes;
    memcpy(array, &memory, sizeof memory);
done:
    return status;
}

void ds_arrays_release(ds_arrays *arrays) {
    for (size_t i = 0; i < arrays->count; i++) free(arrays->memory[i]);
    free(arrays->memory);
    *arrays = (ds_arrays){0};
}
