/* Private to num: keeps every BLAS call on the calling thread. */
#ifndef DELTASCOPE_NUM_BLAS_H
#define DELTASCOPE_NUM_BLAS_H

/* OpenBLAS gives different bits for different thread counts, and we bring our own threads: one thread per call, set once.
 * Cheap to call before every product. */
void ds_blas_single_thread(void);

#endif
