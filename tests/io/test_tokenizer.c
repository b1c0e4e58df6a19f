/* Tokenizers: the reference's ids, a second and naive implementation, decoding back, and every refusal by name. */
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "deltascope/io.h"
#include "scratch.h"
#include "support.h"

static const char gpt2_folder[] = "fixtures/tokenizer/gpt2";
static ds_tokenizer *gpt2;

static int open_gpt2(void **state) {
    (void)state;
    if (ds_tokenizer_open(&gpt2, gpt2_folder) == DS_OK) return 0;
    print_error("%s\n", ds_error_text());
    return -1;
}

static int close_gpt2(void **state) {
    (void)state;
    ds_tokenizer_close(&gpt2);
    return 0;
}

static uint32_t *must_encode(const ds_tokenizer *tokenizer, size_t *count, const char *text, size_t length) {
    uint32_t *ids = NULL;
    expect_ok(ds_tokenizer_encode(tokenizer, &ids, count, text, length, "the text"));
    assert_non_null(ids);
    return ids;
}

/* The ids are exactly these. */
static void expect_ids(const ds_tokenizer *tokenizer, const char *text, const uint32_t *wanted, size_t wanted_count) {
    size_t count;
    uint32_t *ids = must_encode(tokenizer, &count, text, strlen(text));
    assert_int_equal(count, wanted_count);
    assert_memory_equal(ids, wanted, count * sizeof *ids);
    free(ids);
}
#define EXPECT_IDS(tokenizer, text, ...)                                                                                       \
    expect_ids(tokenizer, text, (const uint32_t[]){__VA_ARGS__}, sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t))

/* The pieces of the ids, one after the other, are the text. */
static void expect_round_trip(const ds_tokenizer *tokenizer, const uint32_t *ids, size_t count, const char *text,
                              size_t length) {
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        size_t piece_length = 0;
        const char *piece = ds_tokenizer_piece(tokenizer, ids[i], &piece_length);
        assert_non_null(piece);
        assert_true(piece_length > 0 && piece_length <= length - at);
        assert_memory_equal(piece, text + at, piece_length);
        at += piece_length;
    }
    assert_int_equal(at, length);
}

/* ---- against the reference --------------------------------------------------------------------------------------- */

static json_t *must_parse(const char *path) {
    char *bytes;
    size_t length;
    json_t *value;
    expect_ok(ds_read_file(&bytes, &length, path, 1 << 26));
    expect_ok(ds_json_parse(&value, bytes, length, path));
    free(bytes);
    return value;
}

static void test_reference_cases(void **state) {
    (void)state;
    json_t *golden = must_parse("fixtures/golden/gpt2-tokens.json");
    const json_t *cases = json_object_get(golden, "cases");
    assert_true(json_array_size(cases) >= 10);
    for (size_t c = 0; c < json_array_size(cases); c++) {
        const char *text = json_string_value(json_object_get(json_array_get(cases, c), "text"));
        const json_t *wanted = json_object_get(json_array_get(cases, c), "ids");
        size_t count;
        uint32_t *ids = must_encode(gpt2, &count, text, strlen(text));
        assert_int_equal(count, json_array_size(wanted));
        for (size_t i = 0; i < count; i++) assert_int_equal(ids[i], json_integer_value(json_array_get(wanted, i)));
        expect_round_trip(gpt2, ids, count, text, strlen(text));
        free(ids);
    }
    json_decref(golden);
}

static void test_reference_text(void **state) {
    (void)state;
    json_t *golden = must_parse("fixtures/golden/gpt2-tokens.json");
    const json_t *wanted = json_object_get(golden, "tinyshakespeare");
    ds_tokens *tokens = NULL;
    expect_ok(ds_tokens_from_text(&tokens, "fixtures/data/tinyshakespeare.txt", gpt2, 50257));
    size_t count = ds_tokens_count(tokens);
    assert_int_equal(count, json_integer_value(json_object_get(wanted, "tokens")));
    /* sha256sum of the text */
    assert_string_equal(ds_tokens_sha256(tokens), "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed");
    uint32_t *ids = calloc(count, sizeof *ids);
    uint8_t *stored = calloc(count, 2), digest[32];
    assert_true(ids != NULL && stored != NULL);
    expect_ok(ds_tokens_read(tokens, ids, 0, count));
    for (size_t i = 0; i < count; i++) stored[2 * i] = (uint8_t)ids[i], stored[2 * i + 1] = (uint8_t)(ids[i] >> 8);
    assert_int_equal(EVP_Digest(stored, 2 * count, digest, NULL, EVP_sha256(), NULL), 1);
    char text[65];
    for (size_t i = 0; i < sizeof digest; i++) (void)snprintf(text + 2 * i, 3, "%02x", digest[i]);
    assert_string_equal(text, json_string_value(json_object_get(wanted, "sha256_of_uint16_le")));
    free(stored);
    free(ids);
    ds_tokens_close(&tokens);
    json_decref(golden);
}

/* ---- against a naive implementation ---------------------------------------------------------------------------------------
 */

/* Rank of every merge of GPT-2 by its line "LEFT RIGHT". */
static json_t *naive_ranks(void) {
    char *bytes, *at;
    size_t length;
    json_t *ranks = json_object();
    expect_ok(ds_read_file(&bytes, &length, "fixtures/tokenizer/gpt2/merges.txt", 1 << 26));
    at = strchr(bytes, '\n') + 1;
    for (char *line; (line = strsep(&at, "\n")) != NULL && *line != '\0';)
        assert_int_equal(json_object_set_new(ranks, line, json_integer((json_int_t)json_object_size(ranks))), 0);
    free(bytes);
    return ranks;
}

/* encoder.py's loop, word by word: find the pair of lowest rank, merge it everywhere from left to right, start again. For one
 * piece of letters, which spell themselves in the vocabulary's alphabet. Returns the number of words. */
static size_t naive_merge(char words[][512], size_t count, const json_t *ranks) {
    for (;;) {
        size_t best = SIZE_MAX;
        char pair[1024], first[512], second[512];
        for (size_t i = 0; i + 1 < count; i++) {
            (void)snprintf(pair, sizeof pair, "%s %s", words[i], words[i + 1]);
            const json_t *rank = json_object_get(ranks, pair);
            if (rank == NULL || (size_t)json_integer_value(rank) >= best) continue;
            best = (size_t)json_integer_value(rank);
            memcpy(first, words[i], sizeof first);
            memcpy(second, words[i + 1], sizeof second);
        }
        if (best == SIZE_MAX) return count;
        size_t kept = 0;
        for (size_t i = 0; i < count; i++, kept++) {
            bool merges = i + 1 < count && strcmp(words[i], first) == 0 && strcmp(words[i + 1], second) == 0;
            memmove(words[kept], words[i], sizeof words[i]);
            if (!merges) continue;
            (void)snprintf(words[kept], sizeof words[kept], "%s%s", first, second);
            i++;
        }
        count = kept;
    }
}

static void test_naive_merges_agree(void **state) {
    (void)state;
    static char words[320][512];
    static const char *const alphabets[] = {"a", "ab", "eht", "aehinorst",
                                            "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"};
    const uint64_t seed = 20260108;
    ds_random random = ds_random_init(seed);
    json_t *ranks = naive_ranks();
    assert_int_equal(json_object_size(ranks), 50000);
    for (size_t trial = 0; trial < 150; trial++) {
        const char *alphabet = alphabets[trial % 5];
        size_t length = 1 + ds_random_below(&random, trial % 3 == 0 ? 300 : 24), count;
        char text[320] = "";
        for (size_t i = 0; i < length; i++) {
            text[i] = alphabet[ds_random_below(&random, strlen(alphabet))];
            (void)snprintf(words[i], sizeof words[i], "%c", text[i]);
        }
        size_t wanted = naive_merge(words, length, ranks);
        uint32_t *ids = must_encode(gpt2, &count, text, length);
        if (count != wanted)
            fail_msg("seed %llu, \"%s\": %zu tokens, expected %zu", (unsigned long long)seed, text, count, wanted);
        for (size_t i = 0; i < count; i++) {
            size_t piece_length;
            const char *piece = ds_tokenizer_piece(gpt2, ids[i], &piece_length);
            assert_int_equal(piece_length, strlen(words[i]));
            assert_memory_equal(piece, words[i], piece_length);
        }
        free(ids);
    }
    json_decref(ranks);
}

/* Random text of awkward characters decodes back. It starts with a digit and ends with a letter, between which there is always
 * a cut: so the ids of the text twice are the ids twice, the second time from the cache. */
static void test_any_text_comes_back(void **state) {
    (void)state;
    static const char *const atoms[] = {" ",
                                        "  ",
                                        "\n",
                                        "\r\n",
                                        "\t",
                                        "\xC2\xA0",
                                        "\xE2\x80\xA8",
                                        "\xE1\xA0\x8E",
                                        "\xC2\x85",
                                        "'s",
                                        "'",
                                        "'ll",
                                        "a",
                                        "The",
                                        "\xC3\xA9",
                                        "\xE6\x97\xA5",
                                        "\xF0\x9F\x99\x82",
                                        "\xE2\x80\x8D",
                                        "1",
                                        "\xC2\xBD",
                                        "!?",
                                        "<|endoftext|>",
                                        "\xCC\x81",
                                        "\xF4\x8F\xBF\xBF",
                                        "\x7F",
                                        "\x01",
                                        "\xC2\xAD",
                                        "_"};
    ds_random random = ds_random_init(7);
    for (size_t trial = 0; trial < 400; trial++) {
        ds_text text = {0};
        size_t parts = ds_random_below(&random, 60), count, twice;
        expect_ok(ds_text_append(&text, "1", 1));
        for (size_t i = 0; i < parts; i++) {
            const char *atom = atoms[ds_random_below(&random, sizeof atoms / sizeof atoms[0])];
            expect_ok(ds_text_append(&text, atom, strlen(atom)));
        }
        expect_ok(ds_text_append(&text, "x", 1));
        uint32_t *ids = must_encode(gpt2, &count, text.bytes, text.length);
        expect_round_trip(gpt2, ids, count, text.bytes, text.length);
        char *copy = ds_strdup(text.bytes);
        assert_non_null(copy);
        expect_ok(ds_text_append(&text, copy, text.length));
        uint32_t *doubled = must_encode(gpt2, &twice, text.bytes, text.length);
        assert_int_equal(twice, 2 * count);
        assert_memory_equal(doubled, ids, count * sizeof *ids);
        assert_memory_equal(doubled + count, ids, count * sizeof *ids);
        free(copy);
        free(ids);
        free(doubled);
        ds_text_release(&text);
    }
}

/* ---- the pattern ------------------------------------------------------------------------------------------------------------
 */

static void test_special_tokens_are_text(void **state) {
    (void)state;
    EXPECT_IDS(gpt2, "<|endoftext|>", 27, 91, 437, 1659, 5239, 91, 29);
}

/* White space is Unicode's: U+180E is not, so "a" U+180E " b" has no run of two spaces before the b. */
static void test_white_space(void **state) {
    (void)state;
    EXPECT_IDS(gpt2, "\r\n", 201, 198);
    EXPECT_IDS(gpt2, "a\r\nb", 64, 201, 198, 65);
    EXPECT_IDS(gpt2, "a  b", 64, 220, 275);
    size_t count, lone;
    uint32_t *ids = must_encode(gpt2, &count, " \xE1\xA0\x8E", 4); /* one piece: a space and then what is no space */
    uint32_t *alone = must_encode(gpt2, &lone, "\xE1\xA0\x8E", 3);
    assert_int_not_equal(ids[0], 220);
    free(ids);
    free(alone);
}

static void test_long_pieces(void **state) {
    (void)state;
    static const char *const units[] = {"a", " ", "\n", "ab", "\xE6\x97\xA5", "0", "-", "\x01"};
    enum { BYTES = 1 << 20 };
    char *text = malloc(BYTES);
    assert_non_null(text);
    for (size_t u = 0; u < sizeof units / sizeof units[0]; u++) {
        size_t unit = strlen(units[u]), length = BYTES / unit * unit, count;
        for (size_t i = 0; i < length; i++) text[i] = units[u][i % unit];
        uint32_t *ids = must_encode(gpt2, &count, text, length);
        expect_round_trip(gpt2, ids, count, text, length);
        free(ids);
    }
    free(text);
}

static void test_pieces(void **state) {
    (void)state;
    size_t length = 0;
    assert_int_equal(ds_tokenizer_vocab(gpt2), 50257);
    assert_memory_equal(ds_tokenizer_piece(gpt2, 50256, &length), "<|endoftext|>", 13);
    assert_int_equal(length, 13);
    assert_memory_equal(ds_tokenizer_piece(gpt2, 995, &length), " world", 6);
    assert_null(ds_tokenizer_piece(gpt2, 50257, &length));
}

static void expect_refusal(const ds_tokenizer *tokenizer, const char *text, size_t length, const char *expected) {
    uint32_t *ids;
    size_t count;
    assert_int_equal(ds_tokenizer_encode(tokenizer, &ids, &count, text, length, "file.txt"), DS_ERR_INPUT);
    assert_null(ids);
    if (strstr(ds_error_text(), expected) == NULL) fail_msg("\"%s\" expected in \"%s\"", expected, ds_error_text());
}

static void test_malformed_text(void **state) {
    (void)state;
    expect_refusal(gpt2, "ab\xFF", 3, "file.txt: malformed UTF-8 at byte 2 (line 1, column 3): \"\\xFF\"");
    expect_refusal(gpt2, "\xED\xA0\x80", 3, "at byte 0");
    expect_refusal(gpt2, "a\xC0\xAF", 3, "at byte 1");
    expect_refusal(gpt2, "\xE6\x97\xA5\xE6\x97", 5, "at byte 3");
    ds_tokens *tokens;
    const char *path = scratch_write("text", "Hello world", 11);
    assert_int_equal(ds_tokens_from_text(&tokens, path, gpt2, 996), DS_ERR_INPUT);
    assert_non_null(strstr(ds_error_text(), "token 15496 at position 0 >= vocab 996"));
    assert_null(tokens);
    path = scratch_write("empty", "", 0);
    expect_ok(ds_tokens_from_text(&tokens, path, gpt2, 50257));
    assert_int_equal(ds_tokens_count(tokens), 0);
    ds_tokens_close(&tokens);
}

/* ---- folders that are wrong -------------------------------------------------------------------------------------- */

/* vocab.json with the 256 bytes as ids 0 .. 255 and these entries behind them. */
static ds_text small_vocabulary(const char *more) {
    ds_text json = {0};
    unsigned next = 256;
    for (unsigned byte = 0; byte < 256; byte++) {
        bool visible = (byte >= 33 && byte <= 126) || (byte >= 161 && byte != 173);
        assert_int_equal(ds_text_printf(&json, "%c\"\\u%04x\": %u", byte == 0 ? '{' : ',', visible ? byte : next++, byte),
                         DS_OK);
    }
    expect_ok(ds_text_printf(&json, "%s}", more));
    return json;
}

static ds_status open_folder(ds_tokenizer **tokenizer, const char *more, const char *merges) {
    ds_text json = small_vocabulary(more);
    (void)scratch_write("folder/vocab.json", json.bytes, json.length);
    (void)scratch_write("folder/merges.txt", merges, strlen(merges));
    ds_text_release(&json);
    return ds_tokenizer_open(tokenizer, scratch_path("folder"));
}

static void test_folders_are_refused(void **state) {
    (void)state;
    static const char *const cases[][3] = {
        {", \"ab\": 256", "a c\n", "merges.txt: line 1: token \"ac\" is not in vocab.json"},
        {", \"ab\": 256", "#version: 0.2\na b\nab cd\n", "line 3: token \"cd\" is not"},
        {", \"ab\": 256", "#version: 0.2\n\na b\n", "line 2: \"\" found"},
        {", \"ab\": 256", "a  b\n", "line 1"},
        {", \"ab\": 256", "a b c\n", "line 1"},
        {", \"ab\": 256", "a b\r\r\n", "token \"b\\x0D\" is not"},
        {", \"ab\": 256", "\xEF\xBB\xBF#version: 0.2\na b\n", "text with a byte order mark in front (\\xEF\\xBB\\xBF)"},
        {", \"ab\": 256", "a b\na b\n", "is also that of merge"},
        {", \"ab\": 257", "a b\n", "vocab.json: the id of token \"ab\" is not an integer from 0 to 256"},
        {", \"ab\": -1", "a b\n", "the id of token \"ab\""},
        {", \"ab\": 1.0", "a b\n", "the id of token \"ab\""},
        {", \"ab\": \"1\"", "a b\n", "the id of token \"ab\""},
        {", \"ab\": 255", "a b\n", "that another token has already"},
        {", \"a b\": 256", "a b\n", "outside GPT-2's alphabet"},
        {", \"a\\u2028\": 256", "a b\n", "outside GPT-2's alphabet of bytes (at byte 1)"},
        {", \"\": 256", "a b\n", "the empty string"},
        {", \"ab\": 256, \"ab\": 257", "a b\n", "vocab.json"},
    };
    ds_tokenizer *tokenizer;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(open_folder(&tokenizer, cases[i][0], cases[i][1]), DS_ERR_INPUT);
        assert_null(tokenizer);
        if (strstr(ds_error_text(), cases[i][2]) == NULL) fail_msg("\"%s\" expected in \"%s\"", cases[i][2], ds_error_text());
    }
    (void)scratch_write("folder/vocab.json", "{\"a\": 0}", 8);
    assert_int_equal(ds_tokenizer_open(&tokenizer, scratch_path("folder")), DS_ERR_INPUT);
    assert_non_null(strstr(ds_error_text(), "no token for the single byte 0x00"));
    (void)scratch_write("folder/vocab.json", "[]", 2);
    assert_int_equal(ds_tokenizer_open(&tokenizer, scratch_path("folder")), DS_ERR_INPUT);
    (void)scratch_write("bare/other", "", 0);
    assert_int_not_equal(ds_tokenizer_open(&tokenizer, scratch_path("bare")), DS_OK);
    assert_non_null(strstr(ds_error_text(), "bare: holds no tokenizer: tokenizer.json, vocab.json with"));
}

/* "abc" is made in two ways, and a pair of them has a rank in between: as in the reference, a round merges every (ab, c) before
 * it looks at (abc, ab). */
static void test_rounds(void **state) {
    (void)state;
    ds_tokenizer *tokenizer;
    const char *more = ", \"ab\": 256, \"bc\": 257, \"abc\": 258, \"abcab\": 259";
    expect_ok(open_folder(&tokenizer, more, "#version: 0.2\na b\na bc\nabc ab\nab c"));
    EXPECT_IDS(tokenizer, "abcabc", 258, 258);
    EXPECT_IDS(tokenizer, "abcab", 259);
    EXPECT_IDS(tokenizer, "aab bc", 'a', 256, ' ', 'b', 'c');
    ds_tokenizer_close(&tokenizer);
    expect_ok(open_folder(&tokenizer, "", ""));
    EXPECT_IDS(tokenizer, "\xC3\xA9 ", 0xC3, 0xA9, ' ');
    ds_tokenizer_close(&tokenizer);
}

/* ---- characters -------------------------------------------------------------------------------------------------- */

static void test_characters(void **state) {
    (void)state;
    ds_tokenizer *tokenizer;
    expect_ok(ds_tokenizer_open(&tokenizer, "fixtures/data/meta.pkl"));
    assert_int_equal(ds_tokenizer_vocab(tokenizer), 65);
    EXPECT_IDS(tokenizer, "\n !az", 0, 1, 2, 39, 64);
    expect_refusal(tokenizer, "to\xC3\xA9", 4,
                   "file.txt: character \"\xC3\xA9\" (U+00E9) at byte 2 (line 1, column 3) is not among those of fixtures");
    expect_refusal(tokenizer, "to\r\n", 4, "character \"\\x0D\" (U+000D) at byte 2");
    expect_refusal(tokenizer, "to\nb\xC3\xA9", 6, "at byte 4 (line 2, column 2)");
    expect_refusal(tokenizer, "\xEF\xBB\xBFto", 5, "character \"\\xEF\\xBB\\xBF\" (U+FEFF, a byte order mark) at byte 0");
    expect_refusal(tokenizer, "to\xC3", 3, "malformed UTF-8 at byte 2");
    /* the last tenth of the text is the validation file */
    ds_tokens *text, *stored;
    enum { VALIDATION = 111540 };
    expect_ok(ds_tokens_from_text(&text, "fixtures/data/tinyshakespeare.txt", tokenizer, 65));
    expect_ok(ds_tokens_open(&stored, "fixtures/data/val.bin", 65));
    assert_int_equal(ds_tokens_count(stored), VALIDATION);
    uint32_t *a = calloc(VALIDATION, sizeof *a), *b = calloc(VALIDATION, sizeof *b);
    assert_true(a != NULL && b != NULL);
    expect_ok(ds_tokens_read(text, a, ds_tokens_count(text) - VALIDATION, VALIDATION));
    expect_ok(ds_tokens_read(stored, b, 0, VALIDATION));
    assert_memory_equal(a, b, VALIDATION * sizeof *a);
    free(a);
    free(b);
    ds_tokens_close(&text);
    ds_tokens_close(&stored);
    ds_tokenizer_close(&tokenizer);
}

/* A protocol 2 pickle of {"vocab_size": .., "stoi": {..}, "itos": {..}}: the parts are opcodes. */
static const char *write_meta(const char *vocab, size_t vocab_length, const char *stoi, size_t stoi_length, const char *itos,
                              size_t itos_length) {
    ds_text pickle = {0};
    static const char front[] = "\x80\x02}(X\x0A\0\0\0vocab_size", second[] = "X\x04\0\0\0stoi}(",
                      third[] = "uX\x04\0\0\0itos}(";
    expect_ok(ds_text_append(&pickle, front, sizeof front - 1));
    expect_ok(ds_text_append(&pickle, vocab, vocab_length));
    expect_ok(ds_text_append(&pickle, second, sizeof second - 1));
    expect_ok(ds_text_append(&pickle, stoi, stoi_length));
    expect_ok(ds_text_append(&pickle, third, sizeof third - 1));
    expect_ok(ds_text_append(&pickle, itos, itos_length));
    expect_ok(ds_text_append(&pickle, "uu.", 3));
    const char *path = scratch_write("meta.pkl", pickle.bytes, pickle.length);
    ds_text_release(&pickle);
    return path;
}
#define META(vocab, stoi, itos) write_meta(vocab, sizeof(vocab) - 1, stoi, sizeof(stoi) - 1, itos, sizeof(itos) - 1)
#define CHAR(c) "X\x01\0\0\0" c
#define TWO(c) "X\x02\0\0\0" c

static void expect_bad_meta(const char *path, const char *expected) {
    ds_tokenizer *tokenizer;
    assert_int_equal(ds_tokenizer_open(&tokenizer, path), DS_ERR_INPUT);
    assert_null(tokenizer);
    if (strstr(ds_error_text(), path) == NULL || strstr(ds_error_text(), expected) == NULL)
        fail_msg("\"%s\" expected in \"%s\"", expected, ds_error_text());
}

static void test_inconsistent_characters(void **state) {
    (void)state;
    ds_tokenizer *tokenizer;
    size_t length;
    const char *path = META("K\x04", CHAR("a") "K\x02" TWO("\xC3\xA9") "K\0", "K\0" TWO("\xC3\xA9") "K\x02" CHAR("a"));
    expect_ok(ds_tokenizer_open(&tokenizer, path));
    assert_int_equal(ds_tokenizer_vocab(tokenizer), 4);
    EXPECT_IDS(tokenizer,
               "a\xC3\xA9"
               "a",
               2, 0, 2);
    assert_null(ds_tokenizer_piece(tokenizer, 1, &length));
    assert_null(ds_tokenizer_piece(tokenizer, 4, &length));
    ds_tokenizer_close(&tokenizer);
    expect_bad_meta(META("K\x02", CHAR("a") "K\0", "K\0" CHAR("b")), "id 0 is \"b\" in itos");
    expect_bad_meta(META("K\x02", CHAR("a") "K\0", "K\x01" CHAR("a")), "id 1 is \"a\" in itos");
    expect_bad_meta(META("K\x02", CHAR("a") "K\0" CHAR("b") "K\0", "K\0" CHAR("a") "K\x01" CHAR("b")),
                    "\"b\" has id 0 in stoi that another key has already");
    expect_bad_meta(META("K\x02", CHAR("a") "K\0" CHAR("b") "K\x01", "K\0" CHAR("a")), "stoi has 2 keys and itos 1 ids");
    expect_bad_meta(META("K\x01", CHAR("a") "K\x01", "K\x01" CHAR("a")), "id 1 in stoi, expected 0 to 0");
    expect_bad_meta(META("K\x01", CHAR("a") "J\xFF\xFF\xFF\xFF", "K\0" CHAR("a")), "id -1 in stoi");
    expect_bad_meta(META("K\x01", "X\0\0\0\0K\0", "K\0X\0\0\0\0"), "key \"\" of stoi is neither a character nor a word");
    expect_bad_meta(META("K\x01", CHAR("a") CHAR("b"), "K\0" CHAR("a")), "an id in stoi is");
    expect_bad_meta(META("K\x01", "K\x61K\0", "K\0" CHAR("a")), "a key of stoi is");
    expect_bad_meta(META("K\x01", CHAR("a") "K\0", "K\0K\x61"), "id 0 in itos is");
    expect_bad_meta(META("K\0", CHAR("a") "K\0", "K\0" CHAR("a")), "vocab_size is 0");
    expect_bad_meta(META("J\xFF\xFF\xFF\x7F", CHAR("a") "K\0", "K\0" CHAR("a")), "vocab_size is 2147483647");
    expect_bad_meta(META("N", CHAR("a") "K\0", "K\0" CHAR("a")), "\"vocab_size\" is");
    expect_bad_meta(scratch_write("meta.pkl", "\x80\x02}.", 4), "key \"vocab_size\" is missing");
    expect_bad_meta(scratch_write("meta.pkl", "\x80\x02].", 4), "expected a dict");
    expect_bad_meta(scratch_write("meta.pkl", "{}", 2), "");
}

/* Markers and words beside characters are decoded and never made; a table of words makes nothing. */
static void test_longer_keys(void **state) {
    (void)state;
    ds_tokenizer *tokenizer;
    size_t length = 0;
#define UNK "X\x05\0\0\0<UNK>"
    const char *path = META("K\x05", UNK "K\x01" CHAR("a") "K\0" CHAR("<") "K\x02" CHAR("U") "K\x03" TWO("ab") "K\x04",
                            "K\x01" UNK "K\0" CHAR("a") "K\x02" CHAR("<") "K\x03" CHAR("U") "K\x04" TWO("ab"));
    expect_ok(ds_tokenizer_open(&tokenizer, path));
    assert_int_equal(ds_tokenizer_vocab(tokenizer), 5);
    assert_memory_equal(ds_tokenizer_piece(tokenizer, 1, &length), "<UNK>", 5);
    assert_int_equal(length, 5);
    assert_memory_equal(ds_tokenizer_piece(tokenizer, 4, &length), "ab", 2);
    EXPECT_IDS(tokenizer, "a<Ua", 0, 2, 3, 0);
    expect_refusal(tokenizer, "a<UNK>", 6, "character \"N\" (U+004E) at byte 3");
    ds_tokenizer_close(&tokenizer);
    path = META("K\x04", UNK "K\0" TWO("to") "K\x01" TWO("be") "K\x02" CHAR("a") "K\x03",
                "K\0" UNK "K\x01" TWO("to") "K\x02" TWO("be") "K\x03" CHAR("a"));
    expect_ok(ds_tokenizer_open(&tokenizer, path));
    assert_memory_equal(ds_tokenizer_piece(tokenizer, 1, &length), "to", 2);
    expect_refusal(tokenizer, "a", 1,
                   "a table of 2 words beside 1 characters, and nothing that says how a text is cut into them");
    ds_tokenizer_close(&tokenizer);
}

static void copy_file(const char *from, const char *to, bool windows) {
    char *bytes;
    size_t length;
    ds_text out = {0};
    expect_ok(ds_read_file(&bytes, &length, from, 1 << 26));
    for (size_t i = 0; i < length; i++) {
        if (windows && bytes[i] == '\n') expect_ok(ds_text_append(&out, "\r", 1));
        expect_ok(ds_text_append(&out, bytes + i, 1));
    }
    (void)scratch_write(to, out.bytes, out.length);
    ds_text_release(&out);
    free(bytes);
}

/* The names OpenAI gave the two files, and lines that end as on Windows. A tokenizer.json beside them decides. */
static void test_other_names_and_line_ends(void **state) {
    (void)state;
    ds_tokenizer *tokenizer;
    copy_file("fixtures/tokenizer/gpt2/vocab.json", "openai/encoder.json", false);
    copy_file("fixtures/tokenizer/gpt2/merges.txt", "openai/vocab.bpe", true);
    expect_ok(ds_tokenizer_open(&tokenizer, scratch_path("openai")));
    EXPECT_IDS(tokenizer, "Hello world", 15496, 995);
    ds_tokenizer_close(&tokenizer);
    (void)scratch_write("openai/vocab.bpe", "a qzqz\n", 7);
    assert_int_equal(ds_tokenizer_open(&tokenizer, scratch_path("openai")), DS_ERR_INPUT);
    assert_non_null(strstr(ds_error_text(), "openai/vocab.bpe: line 1: token \"qzqz\" is not in encoder.json"));
    static const char one[] = "{\"model\": {\"vocab\": {\"a\": 0}, \"merges\": []}}";
    (void)scratch_write("openai/tokenizer.json", one, sizeof one - 1);
    expect_ok(ds_tokenizer_open(&tokenizer, scratch_path("openai")));
    EXPECT_IDS(tokenizer, "aa", 0, 0);
    ds_tokenizer_close(&tokenizer);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference_cases),
        cmocka_unit_test(test_reference_text),
        cmocka_unit_test(test_naive_merges_agree),
        cmocka_unit_test(test_any_text_comes_back),
        cmocka_unit_test(test_special_tokens_are_text),
        cmocka_unit_test(test_white_space),
        cmocka_unit_test(test_long_pieces),
        cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_malformed_text),
        cmocka_unit_test(test_folders_are_refused),
        cmocka_unit_test(test_rounds),
        cmocka_unit_test(test_characters),
        cmocka_unit_test(test_inconsistent_characters),
        cmocka_unit_test(test_longer_keys),
        cmocka_unit_test(test_other_names_and_line_ends),
    };
    return cmocka_run_group_tests(tests, open_gpt2, close_gpt2);
}
