#include <cblas.h>

#include "deltascope/num.h"

#include "blas.h"

#if DS_REAL_BITS == 32
#define GEMM cblas_sgemm
#else
#define GEMM cblas_dgemm
#endif

/* Extents are those of tiles and weights: far below INT_MAX, which the model's validation guarantees. */
static void gemm(REAL *c, size_t ldc, const REAL *a, size_t lda, const REAL *b, size_t ldb, CBLAS_TRANSPOSE transpose_b,
                 size_t m, size_t n, size_t k) {
    if (m == 0 || n == 0) return;
    ds_blas_single_thread();
    GEMM(CblasRowMajor, CblasNoTrans, transpose_b, (int)m, (int)n, (int)k, 1, a, (int)lda, b, (int)ldb, 0, c, (int)ldc);
}

void REAL_NAME(ds_gemm_nt)(REAL *c, size_t ldc, const REAL *a, size_t lda, const REAL *b, size_t ldb, size_t m, size_t n,
                           size_t k) {
    gemm(c, ldc, a, lda, b, ldb, CblasTrans, m, n, k);
}

void REAL_NAME(ds_gemm_nn)(REAL *c, size_t ldc, const REAL *a, size_t lda, const REAL *b, size_t ldb, size_t m, size_t n,
                           size_t k) {
    gemm(c, ldc, a, lda, b, ldb, CblasNoTrans, m, n, k);
}
