/* Private to num: the threads of the BLAS, for measuring it. */
#ifndef DELTASCOPE_NUM_BLAS_H
#define DELTASCOPE_NUM_BLAS_H

#include <stddef.h>

/* So many threads of its own from now on, in the whole process; nothing for a BLAS that is not OpenBLAS. */
void ds_blas_own_threads(size_t threads);

#endif
