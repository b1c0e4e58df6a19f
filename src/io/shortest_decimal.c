/* A double as the shortest decimal that reads back as it, the nearest of those, laid out as Python's repr has it: without an
 * exponent for 1e-4 <= |x| < 1e16, with one of at least two digits beyond. A whole number has no point here. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "deltascope/io.h"

enum { MOST = 17 }; /* digits always suffice */

/* +-D.DDD e EXPONENT */
typedef struct decimal {
    char digits[MOST + 1];
    int exponent;
    bool negative;
} decimal;

/* The nearest decimal of so many digits, without zeros at its end. */
static decimal nearest(double value, int count) {
    decimal out = {.negative = signbit(value) != 0};
    char text[32];
    (void)snprintf(text, sizeof text, "%.*e", count - 1, fabs(value));
    out.digits[0] = text[0];
    char *mark = strchr(text, 'e');
    if (count > 1) memcpy(out.digits + 1, text + 2, (size_t)(mark - text) - 2);
    out.exponent = (int)strtol(mark + 1, NULL, 10);
    for (size_t last = strlen(out.digits) - 1; last > 0 && out.digits[last] == '0'; last--) out.digits[last] = '\0';
    return out;
}

static double read_back(const decimal *d) {
    char text[32];
    (void)snprintf(text, sizeof text, "%s%c.%se%d", d->negative ? "-" : "", d->digits[0], d->digits + 1, d->exponent);
    return strtod(text, NULL);
}

/* Below a power of two the doubles lie twice as close as above it: the nearest decimal of 16 digits can lie below and read back
 * as the neighbour, where the next one above reads back right. A 9 at the end would make that a shorter one, tried before. */
static bool next_above(decimal *out, double value) {
    int exponent;
    if (fabs(frexp(value, &exponent)) != 0.5) return false;
    decimal above = nearest(value, MOST - 1);
    const size_t length = strlen(above.digits);
    memset(above.digits + length, '0', MOST - 1 - length);
    if (above.digits[MOST - 2] == '9') return false;
    above.digits[MOST - 2]++;
    if (read_back(&above) != value) return false;
    *out = above;
    return true;
}

/* Any decimal of up to 15 digits is the only one of its length near its double, so that the nearest is the shortest when it
 * reads back. Subnormals carry fewer digits and are tried from one up. */
static decimal shortest(double value) {
    decimal found;
    int count = fabs(value) < 0x1p-1022 ? 1 : 15;
    do {
        found = nearest(value, count);
    } while (read_back(&found) != value && ++count < MOST);
    if (count == MOST && !next_above(&found, value)) found = nearest(value, MOST);
    return found;
}

char *ds_format_real(char text[32], double value) {
    if (!isfinite(value)) {
        (void)snprintf(text, 32, "%s", isnan(value) ? "nan" : value > 0 ? "inf" : "-inf");
        return text;
    }
    const decimal d = shortest(value);
    const int count = (int)strlen(d.digits), e = d.exponent;
    const char *sign = d.negative ? "-" : "", *rest = d.digits + 1;
    if (e < -4 || e >= 16)
        (void)snprintf(text, 32, "%s%c%s%se%c%02d", sign, d.digits[0], count > 1 ? "." : "", rest, e < 0 ? '-' : '+', abs(e));
    else if (e < 0)
        (void)snprintf(text, 32, "%s0.%.*s%s", sign, -e - 1, "000", d.digits);
    else if (count <= e + 1)
        (void)snprintf(text, 32, "%s%s%.*s", sign, d.digits, e + 1 - count, "000000000000000");
    else
        (void)snprintf(text, 32, "%s%.*s.%s", sign, e + 1, d.digits, d.digits + e + 1);
    return text;
}
