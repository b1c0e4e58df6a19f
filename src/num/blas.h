/* Private to num: the BLAS's own threads, for measuring it. The number is the process's. */
#ifndef DELTASCOPE_NUM_BLAS_H
#define DELTASCOPE_NUM_BLAS_H

#include <stddef.h>

void ds_blas_set_threads(size_t threads);
size_t ds_blas_threads(void);

#endif
