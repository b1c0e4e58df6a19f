/* Text for terminals that know ASCII only. */
#include <string.h>

#include "deltascope/base.h"

static const struct {
    const char *symbol, *ascii;
} spellings[] = {
    {"α", "alpha"}, {"β", "beta"}, {"γ", "gamma"}, {"δ", "delta"}, {"Δ", "delta"}, {"ε", "epsilon"}, {"λ", "lambda"},
    {"μ", "mu"},    {"ρ", "rho"},  {"σ", "sigma"}, {"²", "^2"},    {"₂", "_2"},    {"ᵀ", "^T"},      {"‖", "||"},
    {"·", "*"},     {"×", "x"},    {"±", "+-"},    {"≤", "<="},    {"≥", ">="},    {"→", "->"},      {"−", "-"},
    {"–", "-"},     {"—", "--"},   {"…", "..."},   {"∞", "inf"},   {"─", "-"},     {"█", "#"},       {"░", "-"},
    {"␣", "_"},     {"↵", "\\n"},  {"⇥", "\\t"},   {"’", "'"},     {"“", "\""},    {"”", "\""},
};

size_t ds_ascii_spelling(char spelling[DS_ASCII_SPELLING], const char *bytes, size_t length) {
    uint32_t point;
    size_t step = ds_max_size(ds_utf8_decode(&point, bytes, length), 1), used = 0;
    spelling[0] = '\0';
    for (size_t i = 0; i < sizeof spellings / sizeof *spellings; i++) {
        if (!ds_is_word(spellings[i].symbol, bytes, step)) continue;
        (void)snprintf(spelling, DS_ASCII_SPELLING, "%s", spellings[i].ascii);
        return step;
    }
    for (size_t i = 0; i < step; i++) {
        bool plain = (unsigned char)bytes[i] < 0x80;
        used += (size_t)snprintf(spelling + used, DS_ASCII_SPELLING - used, plain ? "%c" : "\\x%02X", (unsigned char)bytes[i]);
    }
    return step;
}

ds_status ds_text_append_ascii(ds_text *text, const char *bytes, size_t length) {
    ds_status status = DS_OK;
    char spelling[DS_ASCII_SPELLING];
    DS_TRY(ds_text_append(text, "", 0)); /* a text even of nothing */
    for (size_t at = 0; at < length;) {
        bool plain = (unsigned char)bytes[at] < 0x80; /* a NUL byte too */
        size_t step = plain ? 1 : ds_ascii_spelling(spelling, bytes + at, length - at);
        DS_TRY(ds_text_append(text, plain ? bytes + at : spelling, plain ? 1 : strlen(spelling)));
        at += step;
    }
done:
    return status;
}
