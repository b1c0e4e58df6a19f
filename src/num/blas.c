#include <pthread.h>
#include <stddef.h>

#include "blas.h"
#include "deltascope/num.h"

/* Weak, so that a BLAS without these functions links too. */
extern void openblas_set_num_threads(int threads) __attribute__((weak));
extern char *openblas_get_config(void) __attribute__((weak));

static void set_once(void) {
    if (openblas_set_num_threads != NULL) openblas_set_num_threads(1);
}

void ds_blas_single_thread(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, set_once);
}

void ds_blas_own_threads(size_t threads) {
    ds_blas_single_thread();
    if (openblas_set_num_threads != NULL) openblas_set_num_threads((int)threads);
}

const char *ds_blas_name(void) { return openblas_get_config != NULL ? openblas_get_config() : "unknown BLAS"; }
