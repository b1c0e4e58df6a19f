#include <math.h>

#include "deltascope/base.h"

uint64_t ds_random_u64(ds_random *random) {
    uint64_t z = (random->state += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

double ds_random_uniform(ds_random *random) { return (double)(ds_random_u64(random) >> 11) * 0x1p-53; }

/* Box and Muller: a normal pair is this radius times the angle's cosine and sine. */
static double polar_normal(double *angle, ds_random *random) {
    const double two_pi = 6.283185307179586476925286766559;
    double u = 1.0 - ds_random_uniform(random); /* (0, 1]: the logarithm is finite */
    *angle = two_pi * ds_random_uniform(random);
    return sqrt(-2.0 * log(u));
}

double ds_random_normal(ds_random *random) {
    double angle, radius = polar_normal(&angle, random);
    return radius * cos(angle);
}

void ds_random_normal_pair(double normal[2], ds_random *random) {
    double angle, radius = polar_normal(&angle, random);
    normal[0] = radius * cos(angle);
    normal[1] = radius * sin(angle);
}

uint64_t ds_random_below(ds_random *random, uint64_t bound) {
    uint64_t threshold = -bound % bound; /* values below it would make the first residues likelier */
    for (;;) {
        uint64_t value = ds_random_u64(random);
        if (value >= threshold) return value % bound;
    }
}
