/* num: the kernels of the computation, each in float (ds_name_f32) and double (ds_name_f64) from one source.
 *
 * Conventions: outputs first; matrices are row-major with a row stride in elements where one is named (ldc, lda, ...); "rows"
 * are tokens. Sums are taken in a fixed order that depends on the extents alone, never on threads. Nothing here allocates,
 * starts threads or fails; NaN and infinity propagate as IEEE arithmetic has it.
 *
 * A source named *.real.c is compiled with DS_REAL_BITS = 32 and 64; for it this header also defines REAL, the number type,
 * and REAL_NAME(x), which names x_f32 or x_f64. */
#ifndef DELTASCOPE_NUM_H
#define DELTASCOPE_NUM_H

#include "deltascope/base.h"

DS_BEGIN_DECLARATIONS

#define REAL float
#define REAL_NAME(name) name##_f32
#include "deltascope/num_kernels.inc"
#undef REAL
#undef REAL_NAME

#define REAL double
#define REAL_NAME(name) name##_f64
#include "deltascope/num_kernels.inc"
#undef REAL
#undef REAL_NAME

/* out (count) <- elements first .. of an array of a precision. */
void ds_widen(double *out, const void *array, size_t first, size_t count, ds_precision precision);

/* matrix (n,n) <- exp(logits) with its columns, then its rows (or, without rows_last, the other way round) made to add up to
 * 1, `rounds` > 0 times, in logarithms (Sinkhorn and Knopp 1967): only the last sums are exact. history (2 rounds,n,n), unless
 * NULL, gets the matrix after every half of a round. matrix may be logits. */
void ds_sinkhorn_forward(double *matrix, double *history, const double *logits, size_t n, size_t rounds, bool rows_last);
/* In place: the matrix's gradient to that of the logits; the logits' tangent to that of the matrix. */
void ds_sinkhorn_backward(double *d, const double *history, size_t n, size_t rounds, bool rows_last);
void ds_sinkhorn_tangent(double *d, const double *history, size_t n, size_t rounds, bool rows_last);
/* matrix (n,n) <- Y Y elementwise, Y = logits / (|logits|_F + eps) after `steps` times Y <- a Y + (b G + c G^2) Y with
 * G = Y Y^T and (a,b,c) = coefficients: near an orthogonal matrix, whose squares have rows and columns of sum 1. history
 * (steps + 6,n,n). */
void ds_orthostochastic_forward(double *matrix, double *history, const double *logits, size_t n, size_t steps, double eps,
                                const double coefficients[3]);
/* In place: the matrix's gradient to that of the logits. */
void ds_orthostochastic_backward(double *d, double *history, const double *logits, size_t n, size_t steps, double eps,
                                 const double coefficients[3]);

/* Rate of a large cblas_sgemm, n x n x n, on ds_threads() threads, in floating-point operations (2 n^3) a second: the better of
 * the BLAS's own threads and of ours over tiles of rows, each the best of several runs. What every other rate is measured
 * against. Not while a ds_parallel_for runs. */
ds_status ds_gemm_rate(double *operations_per_second, size_t n) DS_MUST_CHECK;
/* The BLAS in use, e.g. "OpenBLAS 0.3.21 ... Haswell"; "unknown BLAS" when it does not say. */
const char *ds_blas_name(void);

#ifdef DS_REAL_BITS
#if DS_REAL_BITS == 32
#define REAL float
#define REAL_NAME(name) name##_f32
#define REAL_PRECISION DS_F32
#else
#define REAL double
#define REAL_NAME(name) name##_f64
#define REAL_PRECISION DS_F64
#endif
#endif

DS_END_DECLARATIONS

#endif
