/* What a misspelt word was meant to be. */
#include <string.h>

#include "deltascope/base.h"

enum { LONGEST = 128, NEVER = LONGEST + 1 };

static int lower(char byte) { return byte >= 'A' && byte <= 'Z' ? byte - 'A' + 'a' : (unsigned char)byte; }

static bool is_same(char a, char b) { return lower(a) == lower(b); }

static size_t least(size_t a, size_t b, size_t c) { return ds_min_size(ds_min_size(a, b), c); }

/* d(i,j), between the first i letters of a and j of b, is the least of d(i-1,j) + 1, d(i,j-1) + 1, d(i-1,j-1) + [a_i != b_j],
 * and of d(i-2,j-2) + 1 where the last two letters are swapped: row i needs the two rows above it. */
size_t ds_word_distance(const char *a, size_t a_length, const char *b, size_t b_length) {
    size_t rows[3][LONGEST + 1];
    if (a_length > LONGEST || b_length > LONGEST) return NEVER;
    for (size_t i = 0; i <= a_length; i++) {
        size_t *row = rows[i % 3], *above = rows[(i + 2) % 3], *before = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= b_length; j++) {
            if (i == 0) {
                row[j] = j;
                continue;
            }
            row[j] = least(above[j] + 1, row[j - 1] + 1, above[j - 1] + !is_same(a[i - 1], b[j - 1]));
            bool swapped = i > 1 && j > 1 && is_same(a[i - 1], b[j - 2]) && is_same(a[i - 2], b[j - 1]);
            if (swapped) row[j] = ds_min_size(row[j], before[j - 2] + 1);
        }
    }
    return rows[a_length % 3][b_length];
}

static bool continues(const char *known, size_t known_length, const char *word, size_t length) {
    size_t i = 0;
    while (i < length && i < known_length && is_same(known[i], word[i])) i++;
    return length >= 3 && i == length;
}

void ds_guess_offer(ds_guess *guess, const char *known, size_t length) {
    size_t allowed = (ds_max_size(guess->length, length) + 1) / 3;
    size_t distance = ds_word_distance(guess->word, guess->length, known, length);
    if (distance > 1 && continues(known, length, guess->word, guess->length)) distance = 1;
    if (distance > allowed || (guess->best != NULL && distance >= guess->distance)) return;
    guess->best = known;
    guess->best_length = length;
    guess->distance = distance;
}

ds_name ds_guess_hint(const ds_guess *guess, const char *before) {
    ds_name hint = {""};
    if (guess->best != NULL)
        (void)snprintf(hint.text, sizeof hint.text, " (did you mean \"%s%.*s\"?)", before, (int)guess->best_length,
                       guess->best);
    return hint;
}
