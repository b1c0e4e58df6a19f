/* The bulk of the spectrum of a random matrix. */
#include <math.h>

#include "deltascope/stats.h"

static double arcsine(double x) { return asin(fmax(-1, fmin(1, x))); }

/* The density sqrt((b - x)(x - a)) / (2 pi ratio x), integrated; a b = (1 - ratio)^2, (a + b) / 2 = 1 + ratio. */
double ds_marchenko_pastur(double x, double ratio) {
    double a = (1 - sqrt(ratio)) * (1 - sqrt(ratio)), b = (1 + sqrt(ratio)) * (1 + sqrt(ratio));
    if (x <= a) return 0;
    if (x >= b) return 1;
    double root = sqrt((b - x) * (x - a)), middle = 1 + ratio, inner = 1 - ratio;
    double first = middle * arcsine((x - middle) / (2 * sqrt(ratio)));
    double second = inner > 0 ? inner * arcsine((middle * x - inner * inner) / (2 * sqrt(ratio) * x)) : 0;
    double share = 0.5 + (root + first - second) / (2 * M_PI * ratio);
    return share < 0 ? 0 : share > 1 ? 1 : share; /* near the ends it cancels to the root of rounding */
}
