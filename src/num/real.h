/* One source, two precisions. A file named *.real.c is compiled with DS_REAL_BITS=32 and =64; REAL is its number type and
 * REAL_NAME(x) names its functions x_f32 or x_f64. */
#ifndef DELTASCOPE_NUM_REAL_H
#define DELTASCOPE_NUM_REAL_H

#include "deltascope/base.h"

#if DS_REAL_BITS == 32
typedef float REAL;
#define REAL_NAME(name) name##_f32
#define REAL_PRECISION DS_F32
#elif DS_REAL_BITS == 64
typedef double REAL;
#define REAL_NAME(name) name##_f64
#define REAL_PRECISION DS_F64
#else
#error "DS_REAL_BITS must be 32 or 64: only *.real.c files, which the build compiles once for each, may include this"
#endif

#endif
