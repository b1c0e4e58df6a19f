#include "blas.h"

#include "deltascope/num.h"

/* Weak, so that a BLAS without these functions links too. */
extern void openblas_set_num_threads(int threads) __attribute__((weak));
extern int openblas_get_num_threads(void) __attribute__((weak));
extern char *openblas_get_config(void) __attribute__((weak));

void ds_blas_set_threads(size_t threads) {
    if (openblas_set_num_threads != NULL) openblas_set_num_threads((int)threads);
}

size_t ds_blas_threads(void) { return openblas_get_num_threads != NULL ? (size_t)openblas_get_num_threads() : 1; }

void ds_num_install_hooks(void) { ds_blas_set_threads(1); }

const char *ds_blas_name(void) { return openblas_get_config != NULL ? openblas_get_config() : "unknown BLAS"; }
