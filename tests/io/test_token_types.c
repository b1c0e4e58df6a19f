/* A raw token file says nothing about itself. Honest uint16 ids, of whatever kind, load; what is something else
 * is refused by name, and loads when its type is given. Members of every kind are drawn at random. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "deltascope/io.h"
#include "scratch.h"
#include "support.h"

enum { MOST = 6000 };
static const uint64_t seed = 20261201;
static const uint64_t vocabularies[] = {2, 5, 65, 256, 300, 3000, 32000, 50257, 50304, 65536, 100277};
enum { VOCABULARIES = sizeof vocabularies / sizeof *vocabularies };

/* ---- honest ids -------------------------------------------------------------------------------------------------- */

typedef struct honest {
    ds_random *random;
    uint32_t *ids; /* (count) */
    size_t count;
    uint64_t vocab; /* at most 65536 */
} honest;

static uint32_t any(const honest *h) { return (uint32_t)ds_random_below(h->random, h->vocab); }

static void uniform(const honest *h) {
    for (size_t i = 0; i < h->count; i++) h->ids[i] = any(h);
}

/* Frequent ids first, as in byte pairs: id ~ V^u - 1. */
static void by_frequency(const honest *h) {
    for (size_t i = 0; i < h->count; i++)
        h->ids[i] = (uint32_t)fmin(pow((double)h->vocab, ds_random_uniform(h->random)) - 1, (double)h->vocab - 1);
}

static void runs(const honest *h) {
    for (size_t i = 0; i < h->count;) {
        size_t run = 1 + ds_random_below(h->random, 400);
        uint32_t id = ds_random_below(h->random, 2) == 0 ? 0 : any(h);
        for (; run > 0 && i < h->count; run--) h->ids[i++] = id;
    }
}

static void few_among_zeros(const honest *h) {
    uint64_t rarity = 1 + ds_random_below(h->random, 200);
    for (size_t i = 0; i < h->count; i++) h->ids[i] = ds_random_below(h->random, rarity) == 0 ? any(h) : 0;
}

static void padded_windows(const honest *h) {
    size_t window = 2 + ds_random_below(h->random, 300);
    for (size_t start = 0; start < h->count; start += window) {
        size_t length = 1 + ds_random_below(h->random, window);
        for (size_t i = start; i < ds_min_size(start + window, h->count); i++) h->ids[i] = i - start < length ? any(h) : 0;
    }
}

static void narrow_band(const honest *h) {
    uint64_t width = 1 + ds_random_below(h->random, h->vocab < 200 ? h->vocab : 200);
    uint32_t first = (uint32_t)ds_random_below(h->random, h->vocab - width + 1);
    for (size_t i = 0; i < h->count; i++) h->ids[i] = first + (uint32_t)ds_random_below(h->random, width);
}

/* The low ids by far the most, and here and there another: characters sorted by code point. */
static void sorted_characters(const honest *h) {
    uint64_t usual = 1 + ds_random_below(h->random, h->vocab < 90 ? h->vocab : 90);
    for (size_t i = 0; i < h->count; i++)
        h->ids[i] = ds_random_below(h->random, 60) == 0 ? any(h) : (uint32_t)ds_random_below(h->random, usual);
}

static void few_different(const honest *h) {
    uint32_t chosen[4];
    size_t count = 1 + ds_random_below(h->random, 4);
    for (size_t i = 0; i < count; i++) chosen[i] = any(h);
    for (size_t i = 0; i < h->count; i++) h->ids[i] = chosen[ds_random_below(h->random, count)];
}

static void counting(const honest *h) {
    uint64_t first = ds_random_below(h->random, h->vocab);
    for (size_t i = 0; i < h->count; i++) h->ids[i] = (uint32_t)((first + i) % h->vocab);
}

static void (*const kinds[])(const honest *) = {uniform,     by_frequency,      runs,          few_among_zeros, padded_windows,
                                                narrow_band, sorted_characters, few_different, counting};
enum { KINDS = sizeof kinds / sizeof *kinds };

/* `width` bytes per id. */
static void store(uint8_t *bytes, const uint32_t *ids, size_t count, size_t width, bool big_endian) {
    memset(bytes, 0, count * width);
    for (size_t i = 0; i < count; i++) {
        for (size_t b = 0; b < ds_min_size(width, 4); b++)
            bytes[i * width + (big_endian ? width - 1 - b : b)] = (uint8_t)(ids[i] >> 8 * b);
    }
}

static void expect_ids(const char *path, ds_token_type type, uint64_t vocab, const uint32_t *ids, size_t count) {
    static uint32_t read[MOST];
    ds_tokens *tokens = NULL;
    expect_ok(ds_tokens_open_as(&tokens, path, type, vocab));
    assert_int_equal(ds_tokens_count(tokens), count);
    expect_ok(ds_tokens_read(tokens, read, 0, count));
    assert_memory_equal(read, ids, count * sizeof *ids);
    ds_tokens_close(&tokens);
}

static void honest_ids_load(void **state) {
    (void)state;
    static uint32_t ids[MOST];
    static uint8_t bytes[2 * MOST];
    ds_random random = ds_random_init(seed);
    for (size_t round = 0; round < 2500; round++) {
        size_t kind = round % KINDS, most = round % 3 == 0 ? 40 : MOST;
        const honest h = {&random, ids, 1 + ds_random_below(&random, most),
                          vocabularies[ds_random_below(&random, VOCABULARIES - 1)]};
        kinds[kind](&h);
        store(bytes, ids, h.count, 2, false);
        const char *path = scratch_write("honest.bin", bytes, 2 * h.count);
        ds_tokens *tokens = NULL;
        if (ds_tokens_open(&tokens, path, h.vocab) != DS_OK)
            fail_msg("round %zu, kind %zu, %zu ids below %llu: %s", round, kind, h.count, (unsigned long long)h.vocab,
                     ds_error_text());
        ds_tokens_close(&tokens);
        if (round % 50 == 0) expect_ids(path, DS_TOKENS_ANY, h.vocab, ids, h.count);
    }
}

/* ---- something else ---------------------------------------------------------------------------------------------- */

static void expect_refused(const char *path, uint64_t vocab, const char *words) {
    ds_tokens *tokens = NULL;
    ds_error_clear();
    if (ds_tokens_open(&tokens, path, vocab) != DS_ERR_INPUT || strstr(ds_error_text(), words) == NULL ||
        strstr(ds_error_text(), path) == NULL || strstr(ds_error_text(), "--token-type") == NULL)
        fail_msg("\"%s\" expected in \"%s\"", words, ds_error_text());
    assert_null(tokens);
}

/* Ids of any honest kind with enough that are not 0, in another width. */
static void other_widths_are_named(void **state) {
    (void)state;
    static uint32_t ids[MOST];
    static uint8_t bytes[8 * MOST];
    static const struct {
        ds_token_type type;
        size_t width;
        const char *words;
    } widths[] = {{DS_TOKENS_U32, 4, "32-bit"}, {DS_TOKENS_I32, 4, "32-bit"}, {DS_TOKENS_I64, 8, "64-bit"}};
    ds_random random = ds_random_init(seed + 1);
    size_t tried = 0;
    for (size_t round = 0; round < 1200; round++) {
        size_t w = ds_random_below(&random, 3), large = 0, different = 0;
        bool seen[256] = {false};
        uint64_t vocab = vocabularies[ds_random_below(&random, VOCABULARIES)], most = (vocab - 1) >> 16;
        const honest h = {&random, ids, 1 + ds_random_below(&random, MOST), vocab};
        kinds[round % KINDS](&h);
        for (size_t i = 0; i < h.count; i++) {
            const uint32_t low = ids[i] & 0xFF;
            different += low > most && !seen[low];
            seen[low] = true;
            large += low > most || (ids[i] & 0xFFFF) > 255;
        }
        store(bytes, ids, h.count, widths[w].width, false);
        const char *path = scratch_write("wide.bin", bytes, widths[w].width * h.count);
        expect_ids(path, widths[w].type, vocab, ids, h.count);
        if (large < 48 || different < 3) continue; /* at least half of them count: one of their bytes is found large */
        expect_refused(path, vocab, "-bit token ids");
        bool sparse = true; /* every second id 0: then 32 bits look like 64 */
        for (size_t i = 1; i < h.count; i += 2) sparse = sparse && ids[i] == 0;
        if (!sparse) expect_refused(path, vocab, widths[w].words);
        tried++;
    }
    assert_true(tried > 700);
}

static void big_endian_is_named(void **state) {
    (void)state;
    static uint32_t ids[MOST];
    static uint8_t bytes[8 * MOST];
    ds_random random = ds_random_init(seed + 2);
    for (size_t round = 0; round < 500; round++) {
        const honest h = {&random, ids, 200 + ds_random_below(&random, MOST - 200), 5 + ds_random_below(&random, 250)};
        size_t width = (size_t)2 << ds_random_below(&random, 3);
        uniform(&h);
        store(bytes, ids, h.count, width, true);
        expect_refused(scratch_write("big.bin", bytes, width * h.count), 65536, "big-endian");
    }
}

/* Pieces of a real text, lists of numbers as numpy.savetxt and JSON write them, and text beyond ASCII. */
static size_t some_text(char *text, const char *real, size_t length, ds_random *random) {
    size_t at = 0, wanted = 600 + ds_random_below(random, 3000), kind = ds_random_below(random, 4);
    static const char *const words[] = {"Straße ", "naïveté ", "déjà vu ", "Ελλάδα ", "текст ", "本文 ", "code; "};
    if (kind == 0) {
        memcpy(text, real + ds_random_below(random, length - wanted), wanted);
        return wanted;
    }
    while (at < wanted) {
        unsigned number = (unsigned)ds_random_below(random, 50304);
        if (kind == 1) at += (size_t)sprintf(text + at, "%u\n", number);
        if (kind == 2) at += (size_t)sprintf(text + at, "%s%u, ", at == 0 ? "[" : "", number);
        if (kind == 3) at += (size_t)sprintf(text + at, "%s", words[ds_random_below(random, 7)]);
    }
    return at;
}

static void text_is_named(void **state) {
    (void)state;
    static char text[8000];
    char *real;
    size_t length;
    ds_random random = ds_random_init(seed + 3);
    expect_ok(ds_read_file(&real, &length, "fixtures/data/tinyshakespeare.txt", 1 << 24));
    for (size_t round = 0; round < 500; round++) {
        size_t count = some_text(text, real, length, &random);
        const char *path = scratch_write("text.bin", text, count);
        expect_refused(path, 50304, "text");
        expect_refused(path, 65, "text");
        ds_tokens *tokens = NULL;
        if (count % 2 == 0) expect_ok(ds_tokens_open_as(&tokens, path, DS_TOKENS_U16, 65536));
        ds_tokens_close(&tokens);
    }
    free(real);
}

static void single_bytes_are_named(void **state) {
    (void)state;
    static uint8_t bytes[2 * MOST];
    ds_random random = ds_random_init(seed + 4);
    for (size_t round = 0; round < 500; round++) {
        size_t count = 1000 + ds_random_below(&random, MOST), values = 20 + ds_random_below(&random, 180);
        for (size_t i = 0; i < count; i++) bytes[i] = (uint8_t)ds_random_below(&random, values);
        expect_refused(scratch_write("bytes.bin", bytes, count), 65536, "one byte each");
    }
}

static void signatures_are_named(void **state) {
    (void)state;
    static const struct {
        const char *magic;
        size_t length;
        const char *words;
    } cases[] = {
        {"PK\3\4", 4, "zip archive"},
        {"\x1f\x8b\x08\x00\x67\x5f\x0b\x6b\x02\xff", 10, "gzip"},
        {"\x1f\x8b\x08\x08\x00\x00\x00\x00\x00\x03", 10, "gzip"},
        {"\x28\xb5\x2f\xfd", 4, "zstd"},
        {"GGUF\3\0\0\0", 8, "GGUF"},
        {"\x80\x04\x95\x10\0\0\0\0\0\0\0", 11, "a pickle"},
        {"\x80\x02}q\0", 5, "a pickle"},
        {"\x20\x01\0\0\0\0\0\0{\"a", 11, "safetensors"},
        {"version https://git-lfs.github.com/spec/v1\n", 43, "git lfs pull"},
        {"\n<!DOCTYPE html><html>", 22, "HTML"},
        {"MMIDIDX\0\0", 9, "Megatron"},
    };
    uint8_t bytes[1000];
    ds_random random = ds_random_init(seed + 5);
    for (size_t round = 0; round < 200; round++) {
        size_t c = ds_random_below(&random, sizeof cases / sizeof *cases), count = 64 + 2 * ds_random_below(&random, 400);
        for (size_t i = 0; i < count; i++) bytes[i] = (uint8_t)ds_random_below(&random, 190);
        memcpy(bytes, cases[c].magic, cases[c].length);
        const char *path = scratch_write("kind.bin", bytes, count);
        expect_refused(path, 65536, cases[c].words);
        ds_tokens *tokens = NULL;
        expect_ok(ds_tokens_open_as(&tokens, path, DS_TOKENS_U16, 65536));
        ds_tokens_close(&tokens);
    }
}

/* ---- the border -------------------------------------------------------------------------------------------------- */

/* n ids and a 0 after each: uint16 with chance 2^-n. */
static void too_short_to_tell(void **state) {
    (void)state;
    for (size_t n = 1; n < 40; n++) {
        uint32_t ids[40];
        uint8_t bytes[160];
        ds_tokens *tokens = NULL;
        for (size_t i = 0; i < n; i++) ids[i] = 7 + (uint32_t)(i * 11) % 50;
        store(bytes, ids, n, 4, false);
        const char *path = scratch_write("short.bin", bytes, 4 * n);
        ds_status status = ds_tokens_open(&tokens, path, 65);
        assert_int_equal(status, n < 24 ? DS_OK : DS_ERR_INPUT);
        if (status != DS_OK) continue;
        assert_int_equal(ds_tokens_count(tokens), 2 * n);
        assert_int_equal(ds_tokens_doubt(tokens) != NULL, n >= 6);
        if (n >= 6) assert_non_null(strstr(ds_tokens_doubt(tokens), "32-bit"));
        ds_tokens_close(&tokens);
        expect_ids(path, DS_TOKENS_U32, 65, ids, n);
    }
}

static void forced_types_must_fit(void **state) {
    (void)state;
    static const char npy[] = "\x93NUMPY\x01\0\x37\0{'descr': '<u2', 'fortran_order': False, 'shape': (2,)}\5\0\6\0";
    ds_tokens *tokens = NULL;
    const char *path = scratch_write("six.bin", "\1\0\2\0\3\0", 6);
    assert_int_equal(ds_tokens_open_as(&tokens, path, DS_TOKENS_U32, 65536), DS_ERR_INPUT);
    assert_non_null(strstr(ds_error_text(), "6 bytes are not a whole number of uint32 token ids"));
    path = scratch_write("minus.bin", "\1\0\0\0\xff\xff\xff\xff", 8);
    assert_int_equal(ds_tokens_open_as(&tokens, path, DS_TOKENS_I32, 65536), DS_ERR_INPUT);
    assert_non_null(strstr(ds_error_text(), "token -1 at position 1 is negative"));
    path = scratch_write("typed.npy", npy, sizeof npy - 1);
    const ds_token_type others[] = {DS_TOKENS_U32, DS_TOKENS_I32, DS_TOKENS_I64};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(ds_tokens_open_as(&tokens, path, others[i], 65536), DS_ERR_USAGE);
        assert_non_null(strstr(ds_error_text(), "its header says uint16, but --token-type is "));
    }
    expect_ids(path, DS_TOKENS_U16, 65536, (const uint32_t[]){5, 6}, 2);
    for (size_t t = 1; t <= DS_TOKENS_I64; t++) assert_int_equal(ds_token_type_find(ds_token_type_name((ds_token_type)t)), t);
    assert_int_equal(ds_token_type_find("u8"), DS_TOKENS_ANY);
    assert_null(ds_token_type_name(ds_token_type_find(NULL)));
}

int main(void) {
    (void)printf("seed %llu\n", (unsigned long long)seed);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(honest_ids_load),   cmocka_unit_test(other_widths_are_named), cmocka_unit_test(big_endian_is_named),
        cmocka_unit_test(text_is_named),     cmocka_unit_test(single_bytes_are_named), cmocka_unit_test(signatures_are_named),
        cmocka_unit_test(too_short_to_tell), cmocka_unit_test(forced_types_must_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
