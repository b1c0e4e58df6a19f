/* Differences that are as likely to have the other sign: all patterns of signs, or some. */
#include <math.h>

#include "deltascope/stats.h"

enum { HALF = DS_SIGN_FLIP_ENUMERATED / 2 };

/* Sums of values[n] under all 2^n patterns of signs. */
static void signed_sums(double *sums, const double *values, size_t n) {
    sums[0] = 0;
    for (size_t i = 0; i < n; i++) {
        size_t patterns = (size_t)1 << i;
        for (size_t k = 0; k < patterns; k++) {
            sums[patterns + k] = sums[k] - values[i];
            sums[k] += values[i];
        }
    }
}

static uint64_t count_enumerated(const double *d, size_t n, double least) {
    double first[1 << HALF], second[1 << HALF];
    size_t half = n / 2, rest = n - half;
    uint64_t count = 0;
    signed_sums(first, d, half);
    signed_sums(second, d + half, rest);
    for (size_t i = 0; i < (size_t)1 << half; i++) {
        for (size_t k = 0; k < (size_t)1 << rest; k++) count += fabs(first[i] + second[k]) >= least;
    }
    return count;
}

static uint64_t count_drawn(const double *d, size_t n, double least, uint64_t seed) {
    ds_random random = ds_random_init(seed);
    uint64_t count = 0;
    for (size_t k = 0; k < DS_SIGN_FLIP_DRAWS; k++) {
        double sum = 0;
        uint64_t signs = 0;
        for (size_t i = 0; i < n; i++) {
            if (i % 64 == 0) signs = ds_random_u64(&random);
            sum += signs & 1 ? d[i] : -d[i];
            signs >>= 1;
        }
        count += fabs(sum) >= least;
    }
    return count;
}

ds_sign_flip ds_sign_flip_test(const double *d, size_t n, uint64_t seed) {
    double sum = 0, magnitude = 0;
    if (n == 0) return (ds_sign_flip){NAN, 0, NAN};
    for (size_t i = 0; i < n; i++) {
        sum += d[i];
        magnitude += fabs(d[i]);
    }
    /* A sum of n terms is known to n u sum|terms|. */
    double least = fabs(sum) - 2 * (double)n * ds_unit_roundoff(DS_F64) * magnitude;
    if (n <= DS_SIGN_FLIP_ENUMERATED) {
        uint64_t patterns = (uint64_t)1 << n;
        return (ds_sign_flip){(double)count_enumerated(d, n, least) / (double)patterns, patterns, 2 / (double)patterns};
    }
    double all = DS_SIGN_FLIP_DRAWS + 1;
    return (ds_sign_flip){((double)count_drawn(d, n, least, seed) + 1) / all, DS_SIGN_FLIP_DRAWS, 1 / all};
}
