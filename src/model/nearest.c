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

/* Distance of Damerau and Levenshtein (optimal alignment), three rows of its table at a time. */
size_t ds_edits(const char *left, const char *right, size_t most) {
    char a[DS_NEAREST_LONGEST], b[DS_NEAREST_LONGEST];
    size_t rows[3][DS_NEAREST_LONGEST + 1];
    size_t *before = rows[0], *last = rows[1], *row = rows[2];
    const size_t m = simplify(a, left), n = simplify(b, right);
    if (m == SIZE_MAX || n == SIZE_MAX || (m > n ? m - n : n - m) > most) return most + 1;
    for (size_t j = 0; j <= n; j++) last[j] = j;
    for (size_t i = 1; i <= m; i++) {
        row[0] = i;
        size_t least = i;
        for (size_t j = 1; j <= n; j++) {
            size_t replaced = last[j - 1] + (a[i - 1] != b[j - 1]);
            row[j] = ds_min_size(replaced, ds_min_size(last[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) row[j] = ds_min_size(row[j], before[j - 2] + 1);
            least = ds_min_size(least, row[j]);
        }
        if (least > most) return most + 1;
        size_t *free_row = before;
        before = last;
        last = row;
        row = free_row;
    }
    return ds_min_size(last[n], most + 1);
}

size_t ds_likely_edits(const char *name) {
    size_t length = strlen(name);
    return length < 5 ? 0 : length < 12 ? 1 : 2;
}
