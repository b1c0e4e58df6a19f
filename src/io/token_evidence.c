#include "token_evidence.h"

#include <math.h>
#include <string.h>

void ds_token_evidence_add(ds_token_evidence *evidence, const uint8_t *bytes, size_t count) {
    evidence->bytes += count;
    size_t whole = count - count % 8;
    for (size_t i = 0; i < whole; i += 8) {
        for (size_t place = 0; place < 8; place++) evidence->seen[place][bytes[i + place]]++;
    }
    for (size_t i = whole; i < count; i++) evidence->seen[i - whole][bytes[i]]++;
}

/* How many bytes with a value of first ... last stood at `place` modulo `step`. */
static uint64_t count_at(const ds_token_evidence *e, size_t place, size_t step, unsigned first, unsigned last) {
    uint64_t count = 0;
    for (size_t p = place; p < 8; p += step) {
        for (unsigned value = first; value <= last; value++) count += e->seen[p][value];
    }
    return count;
}

/* How many different values of first ... last did. */
static unsigned values_at(const ds_token_evidence *e, size_t place, size_t step, unsigned first, unsigned last) {
    unsigned values = 0;
    for (unsigned value = first; value <= last; value++) values += count_at(e, place, step, value, value) != 0;
    return values;
}

/* Ids below V in words of 4 or 8 bytes: their second uint16 is at most (V - 1) / 2^16, all further ones are 0. Call a uint16
 * above that bound large. Were the file uint16, the order of its ids having no part in it, each of n large ones would stand at
 * the first place of a word with chance 1/2 or 1/4: all do with 2^-n or 4^-n. Runs of zeros, of whatever length, add nothing;
 * two large ids side by side clear the file. Counting bytes, not words, finds at most n. Order does have a part where ids
 * alternate, 0 1 0 1: one or two large values alone are never certain. */
static double bits_of_width(const ds_token_evidence *e, uint64_t vocab, size_t width) {
    uint64_t most = (vocab - 1) >> 16;
    if (e->bytes % width != 0 || most > 255) return 0;
    if (count_at(e, 2, width, (unsigned)most + 1, 256 - 1) != 0) return 0;
    for (size_t place = 3; place < width; place++) {
        if (count_at(e, place, width, 1, 255) != 0) return 0;
    }
    uint64_t low = count_at(e, 0, width, (unsigned)most + 1, 255), high = count_at(e, 1, width, 1, 255);
    double bits = (double)(low > high ? low : high) * log2((double)width / 2);
    return values_at(e, 0, width, (unsigned)most + 1, 255) > 2 ? bits : fmin(bits, DS_TOKEN_CERTAIN - 1);
}

/* Every id a multiple of 256: each of the different ids is one with chance 1/256. */
static double bits_of_big_endian(const ds_token_evidence *e) {
    if (count_at(e, 0, 2, 1, 255) != 0) return 0;
    return 8.0 * values_at(e, 1, 2, 1, 255);
}

enum { PRINTABLE = 98 }; /* of 256 values: ASCII from space to tilde, tab, line feed, carriage return */

/* Nineteen of twenty bytes are ASCII that prints, or part of UTF-8 sequences as far as their numbers tell. An id of a
 * vocabulary is made of two such bytes with chance (98/256)^2 at most: taken for as many different ids as both bytes had
 * values. */
static double bits_of_text(const ds_token_evidence *e) {
    uint64_t control = count_at(e, 0, 1, 0, 31) + count_at(e, 0, 1, 127, 127);
    control -= count_at(e, 0, 1, '\t', '\n') + count_at(e, 0, 1, '\r', '\r');
    uint64_t tails = count_at(e, 0, 1, 0x80, 0xBF);
    uint64_t wanted = count_at(e, 0, 1, 0xC2, 0xDF) + 2 * count_at(e, 0, 1, 0xE0, 0xEF) + 3 * count_at(e, 0, 1, 0xF0, 0xF4);
    uint64_t broken = tails > wanted ? tails - wanted : wanted - tails;
    broken += count_at(e, 0, 1, 0xC0, 0xC1) + count_at(e, 0, 1, 0xF5, 0xFF);
    if ((control + broken) > e->bytes / 20) return 0;
    unsigned first = values_at(e, 0, 2, 32, 255), second = values_at(e, 1, 2, 32, 255);
    return 2.0 * (first < second ? first : second) * log2(256.0 / PRINTABLE);
}

/* The lower byte of every id stays at or below M < 255, though ids fill many rows of 256: each row but the lowest and the
 * highest, which a vocabulary may cut, does so with chance (M + 1) / 256. */
static double bits_of_bytes(const ds_token_evidence *e) {
    unsigned most = 255, top = 255;
    while (most > 0 && count_at(e, 0, 2, most, most) == 0) most--;
    while (top > 0 && count_at(e, 1, 2, top, top) == 0) top--;
    return top < 2 ? 0 : values_at(e, 1, 2, 1, top - 1) * log2(256.0 / (most + 1));
}

ds_token_guess ds_token_guess_of(const ds_token_evidence *evidence, uint64_t vocab) {
    const ds_token_guess guesses[] = {
        {"64-bit token ids (of every four uint16 the last three are 0)", "--token-type i64 if they are that",
         bits_of_width(evidence, vocab, 8)},
        {"32-bit token ids (every second uint16 is 0)", "--token-type u32 or i32 if they are that",
         bits_of_width(evidence, vocab, 4)},
        {"big-endian token ids (every uint16 is a multiple of 256)", "write them little-endian", bits_of_big_endian(evidence)},
        {"text (nearly all bytes are printable)", "give it as --text with --tokenizer, or its ids", bits_of_text(evidence)},
        {"token ids of one byte each", "write them as uint16, or as .npy", bits_of_bytes(evidence)},
    };
    for (size_t i = 0; i < sizeof guesses / sizeof *guesses; i++) {
        if (guesses[i].bits >= DS_TOKEN_DOUBTFUL) return guesses[i];
    }
    return (ds_token_guess){NULL, NULL, 0};
}
