#include <pthread.h>
#include <stddef.h>

#include "blas.h"

/* Weak, so that a BLAS without these functions links too. */
extern void openblas_set_num_threads(int threads) __attribute__((weak));

static void set_once(void) {
    if (openblas_set_num_threads != NULL) openblas_set_num_threads(1);
}

void ds_blas_single_thread(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, set_once);
}
