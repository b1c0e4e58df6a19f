#include "finite.h"

#include <math.h>

ds_status ds_check_finite_input(const double *matrix, size_t rows, size_t columns) {
    for (size_t i = 0; i < rows * columns; i++) {
        if (!isfinite(matrix[i]))
            return ds_fail(DS_ERR_INPUT, "%zu x %zu matrix: element [%zu][%zu] is %g, expected a finite number", rows, columns,
                           i / columns, i % columns, matrix[i]);
    }
    return DS_OK;
}

ds_status ds_check_lapack(const char *routine, lapack_int info, const double *results, size_t count) {
    if (info != 0) return ds_fail(DS_ERR_SYSTEM, "LAPACK's %s failed with info %ld, expected 0", routine, (long)info);
    for (size_t i = 0; i < count; i++) {
        if (!isfinite(results[i]))
            return ds_fail(DS_ERR_SYSTEM, "LAPACK's %s returned %g as value %zu, expected a finite number", routine, results[i],
                           i);
    }
    return DS_OK;
}

ds_status ds_check_order(size_t order, size_t capacity) {
    if (order > capacity)
        return ds_fail(DS_ERR_USAGE, "matrix with an extent of %zu, expected at most the workspace's %zu", order, capacity);
    return DS_OK;
}

ds_status ds_check_extent(size_t extent) {
    enum { LARGEST = 1 << 20 };
    if (extent > LARGEST)
        return ds_fail(DS_ERR_USAGE, "workspace for a matrix with an extent of %zu, expected at most %d", extent, LARGEST);
    return DS_OK;
}

void ds_transpose(double *target, const double *source, size_t rows, size_t columns) {
    for (size_t i = 0; i < rows; i++) {
        for (size_t j = 0; j < columns; j++) target[j * rows + i] = source[i * columns + j];
    }
}
