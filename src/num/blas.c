#include "blas.h"

#include "deltascope/num.h"

/* Weak, so that a BLAS without these functions links too. */
extern void openblas_set_num_threads(int threads) __attribute__((weak));
extern char *openblas_get_config(void) __attribute__((weak));

void ds_blas_own_threads(size_t threads) {
    if (openblas_set_num_threads != NULL) openblas_set_num_threads((int)threads);
}

const char *ds_blas_name(void) { return openblas_get_config != NULL ? openblas_get_config() : "unknown BLAS"; }
