/* Private to num: exp and its relatives as branch-free scalar code that the compiler turns into vector code. */
#ifndef DELTASCOPE_NUM_ELEMENTARY_H
#define DELTASCOPE_NUM_ELEMENTARY_H

#include "deltascope/num.h"

#if DS_REAL_BITS == 32
typedef uint32_t real_bits;
#define ROUND_MAGIC 0x1.8p23f /* adding it rounds to the nearest integer, left in the low bits */
#define EXPONENT_BIAS 127u
#define MANTISSA_BITS 23
#define EXP_HIGHEST 89.0f          /* exp is infinite from 88.73 on ... */
#define EXP_LOWEST (-104.0f)       /* ... and zero below -103.98 */
#define LN2_HIGH 0x1.63p-1f        /* 9 bits: times an integer below 2^15 it is exact */
#define LN2_LOW (-0x1.bd0106p-13f) /* ln 2 - LN2_HIGH */
#define REAL_C(x) x##f
#define fused(a, b, c) __builtin_fmaf(a, b, c)
#else
typedef uint64_t real_bits;
#define ROUND_MAGIC 0x1.8p52
#define EXPONENT_BIAS 1023u
#define MANTISSA_BITS 52
#define EXP_HIGHEST 710.0
#define EXP_LOWEST (-746.0)
#define LN2_HIGH 0x1.62e42feep-1 /* 32 bits */
#define LN2_LOW 0x1.a39ef35793c76p-33
#define REAL_C(x) x
#define fused(a, b, c) __builtin_fma(a, b, c)
#endif

/* Without the instruction a call to libm would cost more than the last bit is worth. */
#ifndef __FMA__
#undef fused
#define fused(a, b, c) ((a) * (b) + (c))
#endif

static inline REAL real_from_bits(real_bits bits) {
    REAL value;
    __builtin_memcpy(&value, &bits, sizeof value);
    return value;
}

static inline real_bits real_to_bits(REAL value) {
    real_bits bits;
    __builtin_memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* e^r - 1 for |r| <= ln(2)/2 by its Taylor series; the first term left out is below a tenth of the unit roundoff. */
static inline REAL expm1_reduced(REAL r) {
#if DS_REAL_BITS == 32
    REAL p = REAL_C(0x1.a01a02p-13); /* 1/7! */
#else
    REAL p = 0x1.6124613a86d09p-33; /* 1/13! */
    p = fused(p, r, 0x1.1eed8eff8d898p-29);
    p = fused(p, r, 0x1.ae64567f544e4p-26);
    p = fused(p, r, 0x1.27e4fb7789f5cp-22);
    p = fused(p, r, 0x1.71de3a556c734p-19);
    p = fused(p, r, 0x1.a01a01a01a01ap-16);
    p = fused(p, r, 0x1.a01a01a01a01ap-13);
#endif
    p = fused(p, r, (REAL)(1.0 / 720));
    p = fused(p, r, (REAL)(1.0 / 120));
    p = fused(p, r, (REAL)(1.0 / 24));
    p = fused(p, r, (REAL)(1.0 / 6));
    p = fused(p, r, REAL_C(0.5));
    return fused(p * r, r, r);
}

/* 2^n from `magic` = ROUND_MAGIC + n, for n inside the normal exponents: the magic number's own bits are shifted out. */
static inline REAL power_of_two(REAL magic) { return real_from_bits((real_to_bits(magic) + EXPONENT_BIAS) << MANTISSA_BITS); }

/* e^x = 2^n e^r, n = round(x / ln 2), r = x - n ln 2. The power is applied in two halves, so that overflow and the subnormals
 * come out by multiplication. The comparisons let NaN through. */
static inline REAL real_exp(REAL x) {
    x = x > EXP_HIGHEST ? EXP_HIGHEST : x;
    x = x < EXP_LOWEST ? EXP_LOWEST : x;
    REAL n = fused(x, REAL_C(0x1.71547652b82fep0), ROUND_MAGIC) - ROUND_MAGIC;
    REAL r = fused(n, -LN2_LOW, fused(n, -LN2_HIGH, x));
    REAL half = fused(n, REAL_C(0.5), ROUND_MAGIC);
    REAL rest = (n - (half - ROUND_MAGIC)) + ROUND_MAGIC;
    return (REAL_C(1.0) + expm1_reduced(r)) * power_of_two(half) * power_of_two(rest);
}

static inline REAL real_sigmoid(REAL x) {
    REAL e = real_exp(x > 0 ? -x : x); /* at most 1: no overflow, and both tails keep their accuracy */
    return (x > 0 ? REAL_C(1.0) : e) / (REAL_C(1.0) + e);
}

/* tanh|x| = -m / (2 + m), m = e^(-2|x|) - 1 = 2^n (e^r - 1) + (2^n - 1): no cancellation, since |e^r - 1| < 1/2. */
static inline REAL real_tanh(REAL x) {
    REAL y = x > 0 ? REAL_C(-2.0) * x : REAL_C(2.0) * x;
    y = y < REAL_C(-60.0) ? REAL_C(-60.0) : y; /* m is -1 to rounding long before */
    REAL magic = fused(y, REAL_C(0x1.71547652b82fep0), ROUND_MAGIC);
    REAL n = magic - ROUND_MAGIC;
    REAL r = fused(n, -LN2_LOW, fused(n, -LN2_HIGH, y));
    REAL scale = power_of_two(magic);
    REAL m = fused(scale, expm1_reduced(r), scale - REAL_C(1.0));
    REAL t = m / (REAL_C(2.0) + m);
    return x > 0 ? -t : t;
}

#endif
