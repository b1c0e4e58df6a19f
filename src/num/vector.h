/* Private to num: the widest vectors this build may use. */
#ifndef DELTASCOPE_NUM_VECTOR_H
#define DELTASCOPE_NUM_VECTOR_H

#include "deltascope/num.h"

#if defined(__AVX512F__)
#define VECTOR_BYTES 64
#elif defined(__AVX2__) && defined(__FMA__)
#define VECTOR_BYTES 32
#else
#define VECTOR_BYTES 16
#endif
#define VECTOR_LANES (VECTOR_BYTES * 8 / DS_REAL_BITS)

typedef REAL vector __attribute__((vector_size(VECTOR_BYTES)));
typedef REAL unaligned_vector __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(REAL)), may_alias));

/* a b + c, rounded once where the machine can; x in every lane. */
#if VECTOR_BYTES == 16
#define VECTOR_FUSED(a, b, c) ((a) * (b) + (c))
#define VECTOR_FILL(x) ((vector){0} + (x))
#else
#include <immintrin.h>
#if VECTOR_BYTES == 64 && DS_REAL_BITS == 32
#define VECTOR_FUSED(a, b, c) ((vector)_mm512_fmadd_ps(a, b, c))
#define VECTOR_FILL(x) ((vector)_mm512_set1_ps(x))
#elif VECTOR_BYTES == 64
#define VECTOR_FUSED(a, b, c) ((vector)_mm512_fmadd_pd(a, b, c))
#define VECTOR_FILL(x) ((vector)_mm512_set1_pd(x))
#elif DS_REAL_BITS == 32
#define VECTOR_FUSED(a, b, c) ((vector)_mm256_fmadd_ps(a, b, c))
#define VECTOR_FILL(x) ((vector)_mm256_set1_ps(x))
#else
#define VECTOR_FUSED(a, b, c) ((vector)_mm256_fmadd_pd(a, b, c))
#define VECTOR_FILL(x) ((vector)_mm256_set1_pd(x))
#endif
#endif

/* Interleaves two vectors: their first halves, or their last. */
#if VECTOR_LANES == 16
#define VECTOR_ZIP_FIRST(a, b) __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
#define VECTOR_ZIP_LAST(a, b) __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
#elif VECTOR_LANES == 8
#define VECTOR_ZIP_FIRST(a, b) __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11)
#define VECTOR_ZIP_LAST(a, b) __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15)
#elif VECTOR_LANES == 4
#define VECTOR_ZIP_FIRST(a, b) __builtin_shufflevector(a, b, 0, 4, 1, 5)
#define VECTOR_ZIP_LAST(a, b) __builtin_shufflevector(a, b, 2, 6, 3, 7)
#else
#define VECTOR_ZIP_FIRST(a, b) __builtin_shufflevector(a, b, 0, 2)
#define VECTOR_ZIP_LAST(a, b) __builtin_shufflevector(a, b, 1, 3)
#endif

/* For loops whose count is a constant and whose arrays must live in registers. */
#ifdef __clang__
#define UNROLLED _Pragma("clang loop unroll(full)")
#else
#define UNROLLED _Pragma("GCC unroll 16")
#endif

#endif
