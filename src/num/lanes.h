/* Private to num: sums in double over explicit lanes, so that the order of summation is written down and vectorises. */
#ifndef DELTASCOPE_NUM_LANES_H
#define DELTASCOPE_NUM_LANES_H

#include "deltascope/num.h"

#define LANES ((size_t)8)

/* Eight consecutive numbers, widened to double. */
typedef REAL real_lanes __attribute__((vector_size(LANES * sizeof(REAL)), aligned(sizeof(REAL)), may_alias));
typedef double double_lanes __attribute__((vector_size(LANES * sizeof(double))));
#if defined(__AVX512F__) && DS_REAL_BITS == 32
#include <immintrin.h>
/* gcc 12 widens the halves one by one and joins them. */
#define LOAD_LANES(pointer) ((double_lanes)_mm512_cvtps_pd(_mm256_loadu_ps(pointer)))
#else
#define LOAD_LANES(pointer) __builtin_convertvector(*(const real_lanes *)(pointer), double_lanes)
#endif

#define SUM_LANES(v) ((((v)[0] + (v)[1]) + ((v)[2] + (v)[3])) + (((v)[4] + (v)[5]) + ((v)[6] + (v)[7])))

#endif
