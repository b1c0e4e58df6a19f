/* Private to num: keeps every BLAS call on the calling thread. */
#ifndef DELTASCOPE_NUM_BLAS_H
#define DELTASCOPE_NUM_BLAS_H

#include <stddef.h>

/* OpenBLAS gives different bits for different thread counts, and we bring our own threads: one thread per call, set once.
 * Cheap to call before every product. */
void ds_blas_single_thread(void);
/* Lets the BLAS use so many threads of its own, for measuring it; 1 again before any product of ours. */
void ds_blas_own_threads(size_t threads);

#endif
