/* LAPACK may return info 0 with NaN results for input that is not finite: looked at before and after. */
#ifndef SPECTRA_FINITE_H
#define SPECTRA_FINITE_H

#include <lapacke.h>

#include "deltascope/base.h"

/* Before LAPACK is called: DS_ERR_SYSTEM when there is no room for what its BLAS maps for each thread. */
ds_status ds_lapack_reserve(void) DS_MUST_CHECK;
/* DS_ERR_INPUT naming the first element that is not finite. */
ds_status ds_check_finite_input(const double *matrix, size_t rows, size_t columns) DS_MUST_CHECK;
/* DS_ERR_SYSTEM when `info` is not 0 or one of the results is not finite. */
ds_status ds_check_lapack(const char *routine, lapack_int info, const double *results, size_t count) DS_MUST_CHECK;
/* DS_ERR_USAGE when the problem is larger than the workspace. */
ds_status ds_check_order(size_t order, size_t capacity) DS_MUST_CHECK;
/* Extents become lapack_int (32 bits), and order^2 must be addressable. */
ds_status ds_check_extent(size_t extent) DS_MUST_CHECK;
/* target (columns, rows) <- source (rows, columns)^T: between row-major and LAPACK's column-major. */
void ds_transpose(double *target, const double *source, size_t rows, size_t columns);

#endif
