#include "nearest.h"

#include <ctype.h>
#include <string.h>

/* The letters that count; `plain` has room for DS_NEAREST_LONGEST. SIZE_MAX when they are too many. */
static size_t simplify(char *plain, const char *name) {
    size_t length = 0;
    for (; *name != '\0'; name++) {
        if (*name == '_' || *name == '-' || *name == '.') continue;
        if (length == DS_NEAREST_LONGEST) return SIZE_MAX;
        plain[length++] = (char)tolower((unsigned char)*name);
    }
    return length;
}

size_t ds_edits(const char *left, const char *right, size_t most) {
    char a[DS_NEAREST_LONGEST], b[DS_NEAREST_LONGEST];
    const size_t m = simplify(a, left), n = simplify(b, right);
    if (m == SIZE_MAX || n == SIZE_MAX || (m > n ? m - n : n - m) > most) return most + 1;
    return ds_min_size(ds_word_distance(a, m, b, n), most + 1);
}

size_t ds_likely_edits(const char *name) {
    size_t length = strlen(name);
    return length < 5 ? 0 : length < 12 ? 1 : 2;
}
