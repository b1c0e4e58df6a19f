/* tokenizer.json: the ids of the two files it was made of, of a second and naive encoder on random tokenizers and texts, and
 * every refusal by name. */
#include <stdlib.h>
#include <string.h>

#include "deltascope/io.h"
#include "scratch.h"
#include "support.h"

static ds_text json; /* the file in the making */

static ds_status open_json(ds_tokenizer **tokenizer) {
    const char *path = scratch_write("tokenizer.json", json.bytes, json.length);
    return ds_tokenizer_open(tokenizer, path);
}

static ds_tokenizer *must_open(void) {
    ds_tokenizer *tokenizer;
    expect_ok(open_json(&tokenizer));
    return tokenizer;
}

static uint32_t *must_encode(const ds_tokenizer *tokenizer, size_t *count, const char *text, size_t length) {
    uint32_t *ids;
    expect_ok(ds_tokenizer_encode(tokenizer, &ids, count, text, length, "text"));
    return ids;
}

#define BYTE_LEVEL "{\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"trim_offsets\": true, \"use_regex\": true}"
#define SPLIT(pattern)                                                                                                         \
    "{\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"Split\", \"pattern\": {\"Regex\": \"" pattern                   \
    "\"}, \"behavior\": \"Isolated\", \"invert\": false}, {\"type\": \"ByteLevel\", \"add_prefix_space\": false, "             \
    "\"use_regex\": false}]}"
#define NEWER(digits)                                                                                                          \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}" digits                                     \
    "| ?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+"

/* ---- GPT-2 in one file ------------------------------------------------------------------------------------------------- */

/* The two files of GPT-2 as one, merges as strings or as pairs. */
static void write_gpt2(bool pairs) {
    char *vocab, *merges, *at;
    size_t length;
    json.length = 0;
    expect_ok(ds_read_file(&vocab, &length, "fixtures/tokenizer/gpt2/vocab.json", 1 << 26));
    expect_ok(ds_text_printf(&json,
                             "{\"version\": \"1.0\", \"added_tokens\": [{\"id\": 50256, \"content\": \"<|endoftext|>\"}], "
                             "\"normalizer\": null, \"pre_tokenizer\": " BYTE_LEVEL ", \"decoder\": {\"type\": "
                             "\"ByteLevel\"}, \"model\": {\"type\": \"BPE\", \"dropout\": null, \"unk_token\": null, "
                             "\"continuing_subword_prefix\": \"\", \"end_of_word_suffix\": \"\", \"merges\": ["));
    expect_ok(ds_read_file(&merges, &length, "fixtures/tokenizer/gpt2/merges.txt", 1 << 26));
    at = strchr(merges, '\n') + 1;
    bool first = true;
    for (char *line; (line = strsep(&at, "\n")) != NULL && *line != '\0'; first = false) {
        json_t *text = json_string(line), *two = json_array();
        char *space = strchr(line, ' ');
        *space = '\0';
        assert_int_equal(json_array_append_new(two, json_string(line)) + json_array_append_new(two, json_string(space + 1)), 0);
        char *spelled = json_dumps(pairs ? two : text, JSON_ENCODE_ANY | JSON_COMPACT);
        assert_non_null(spelled);
        expect_ok(ds_text_printf(&json, "%s%s", first ? "" : ",", spelled));
        free(spelled);
        json_decref(text);
        json_decref(two);
    }
    expect_ok(ds_text_printf(&json, "], \"vocab\": "));
    expect_ok(ds_text_append(&json, vocab, strlen(vocab)));
    expect_ok(ds_text_printf(&json, "}}"));
    free(vocab);
    free(merges);
}

/* Random Unicode: any plane, with much ASCII and white space. */
static void append_random_text(ds_text *text, ds_random *random, size_t characters) {
    static const char common[] = "aeiou tns'  \n\r.,0123456789lveTRESDM!-";
    for (size_t i = 0; i < characters; i++) {
        uint32_t point = (uint32_t)common[ds_random_below(random, sizeof common - 1)];
        uint64_t kind = ds_random_below(random, 8);
        if (kind == 0) point = 0x80 + (uint32_t)ds_random_below(random, 0x2000);
        if (kind == 1) point = 1 + (uint32_t)ds_random_below(random, 0x10FFFE);
        if (point >= 0xD800 && point < 0xE000) point = 0x180E;
        char bytes[4];
        size_t length = point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
        for (size_t b = length; b-- > 1; point >>= 6) bytes[b] = (char)(0x80 | (point & 0x3F));
        bytes[0] = (char)(length == 1 ? point : (0xF00u >> length & 0xF0u) | point);
        expect_ok(ds_text_append(text, bytes, length));
    }
    assert_true(ds_is_utf8(text->bytes == NULL ? "" : text->bytes, text->length));
}

static void expect_round_trip(const ds_tokenizer *tokenizer, const uint32_t *ids, size_t count, const ds_text *text) {
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        size_t length = 0;
        const char *piece = ds_tokenizer_piece(tokenizer, ids[i], &length);
        assert_true(piece != NULL && length <= text->length - at);
        assert_memory_equal(piece, text->bytes + at, length);
        at += length;
    }
    assert_int_equal(at, text->length);
}

static void test_gpt2_in_one_file(void **state) {
    (void)state;
    ds_tokenizer *files, *one;
    ds_random random = ds_random_init(41);
    print_message("seed 41\n");
    expect_ok(ds_tokenizer_open(&files, "fixtures/tokenizer/gpt2"));
    for (size_t pairs = 0; pairs < 2; pairs++) {
        size_t length;
        write_gpt2(pairs == 1);
        one = must_open();
        assert_int_equal(ds_tokenizer_vocab(one), 50257);
        assert_memory_equal(ds_tokenizer_piece(one, 50256, &length), "<|endoftext|>", 13);
        static const char known[] = "Hello world<|endoftext|>"; /* GPT-2's ids; the marker is ordinary text */
        static const uint32_t expected[] = {15496, 995, 27, 91, 437, 1659, 5239, 91, 29};
        size_t count;
        uint32_t *ids = must_encode(one, &count, known, strlen(known));
        assert_int_equal(count, 9);
        assert_memory_equal(ids, expected, sizeof expected);
        free(ids);
        for (size_t trial = 0; trial < 150; trial++) {
            ds_text text = {0};
            append_random_text(&text, &random, 1 + ds_random_below(&random, 200));
            size_t a_count, b_count;
            uint32_t *a = must_encode(files, &a_count, text.bytes, text.length),
                     *b = must_encode(one, &b_count, text.bytes, text.length);
            assert_int_equal(a_count, b_count);
            assert_memory_equal(a, b, a_count * sizeof *a);
            expect_round_trip(one, b, b_count, &text);
            free(a);
            free(b);
            ds_text_release(&text);
        }
        ds_tokenizer_close(&one);
    }
    ds_tokenizer_close(&files);
}

/* ---- a second encoder ------------------------------------------------------------------------------------------------- */

enum { NAIVE_MERGES = 40, PIECE = 32 };

typedef struct naive {
    char token[256 + NAIVE_MERGES][PIECE]; /* of random tokenizers: ids 0 .. 255 are bytes, each merge makes the next */
    size_t length[256 + NAIVE_MERGES];
    size_t left[NAIVE_MERGES], right[NAIVE_MERGES], merges;
    bool whole_first;
    size_t digits; /* in a row: 1 or 3; 0: GPT-2's pattern */
} naive;

static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
static bool is_other(char c) { return c != '\0' && !is_letter(c) && !is_digit(c) && !is_space(c); }
static bool is_line(char c) { return c == '\n' || c == '\r'; }

static size_t run_of(const char *text, bool (*kind)(char c)) {
    size_t length = 0;
    while (text[length] != '\0' && kind(text[length])) length++;
    return length;
}

static size_t ending(const char *text, bool any_case) {
    static const char *const endings[] = {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"};
    for (size_t i = 0; i < 7; i++) {
        size_t length = strlen(endings[i]);
        if ((any_case ? strncasecmp : strncmp)(text, endings[i], length) == 0) return length;
    }
    return 0;
}

/* White space, of which a word that follows takes the last. */
static size_t spaces(const char *text) {
    size_t length = run_of(text, is_space);
    return text[length] != '\0' && length > 1 ? length - 1 : length;
}

/* The length of the first piece of ASCII text, the alternatives of the patterns written out one by one. */
static size_t first_piece(const char *text, size_t digits) {
    size_t length = ending(text, digits != 0), space = text[0] == ' ';
    if (length != 0) return length;
    if (digits == 0) {
        if ((length = run_of(text + space, is_letter)) != 0) return space + length;
        if ((length = run_of(text + space, is_digit)) != 0) return space + length;
        if ((length = run_of(text + space, is_other)) != 0) return space + length;
        return spaces(text);
    }
    if (is_letter(text[0])) return run_of(text, is_letter);
    if (!is_line(text[0]) && !is_digit(text[0]) && is_letter(text[1])) return 1 + run_of(text + 1, is_letter);
    if ((length = run_of(text, is_digit)) != 0) return length < digits ? length : digits;
    if ((length = run_of(text + space, is_other)) != 0) return space + length + run_of(text + space + length, is_line);
    length = run_of(text, is_space);
    while (length > 0 && !is_line(text[length - 1])) length--;
    return length != 0 ? length : spaces(text);
}

static size_t naive_token(const naive *n, const char *bytes, size_t length) {
    for (size_t id = 0; id < 256 + n->merges; id++) {
        if (n->length[id] == length && memcmp(n->token[id], bytes, length) == 0) return id;
    }
    return SIZE_MAX;
}

/* Appends the ids of one piece. */
static size_t naive_piece(const naive *n, uint32_t *ids, const char *piece, size_t length) {
    size_t count = length, whole = n->whole_first ? naive_token(n, piece, length) : SIZE_MAX;
    for (size_t i = 0; i < length; i++) ids[i] = (unsigned char)piece[i];
    if (whole != SIZE_MAX) {
        ids[0] = (uint32_t)whole;
        return 1;
    }
    for (size_t m = 0; m < n->merges;) { /* the pair of lowest rank that is there, everywhere from the left; then again */
        size_t kept = 0, before = count;
        for (size_t i = 0; i < count; i++, kept++) {
            bool merged = i + 1 < count && ids[i] == n->left[m] && ids[i + 1] == n->right[m];
            ids[kept] = merged ? (uint32_t)(256 + m) : ids[i];
            i += merged;
        }
        count = kept;
        m = count < before ? 0 : m + 1;
    }
    return count;
}

static void spell_byte(unsigned char byte) {
    unsigned next = 256;
    for (unsigned b = 0; b < byte; b++) next += !((b >= 33 && b <= 126) || (b >= 161 && b != 173));
    bool visible = (byte >= 33 && byte <= 126) || (byte >= 161 && byte != 173);
    expect_ok(ds_text_printf(&json, "\\u%04x", visible ? byte : next));
}

static void spell(const char *bytes, size_t length) {
    expect_ok(ds_text_append(&json, "\"", 1));
    for (size_t i = 0; i < length; i++) spell_byte((unsigned char)bytes[i]);
    expect_ok(ds_text_append(&json, "\"", 1));
}

/* A random tokenizer over a small alphabet, as the naive encoder has it and as a file. */
static void make_naive(naive *n, ds_random *random, const char *alphabet) {
    *n = (naive){.digits = (size_t[]){0, 1, 3}[ds_random_below(random, 3)], .whole_first = ds_random_below(random, 2) == 0};
    for (size_t id = 0; id < 256; id++) n->token[id][0] = (char)id, n->length[id] = 1;
    for (size_t trial = 0; trial < 400 && n->merges < NAIVE_MERGES; trial++) {
        size_t part[2];
        for (size_t i = 0; i < 2; i++) {
            uint64_t pick = ds_random_below(random, strlen(alphabet) + n->merges);
            part[i] = pick < n->merges ? 256 + pick : (unsigned char)alphabet[pick - n->merges];
        }
        size_t id = 256 + n->merges, length = n->length[part[0]] + n->length[part[1]];
        if (length > PIECE) continue;
        memcpy(n->token[id], n->token[part[0]], n->length[part[0]]);
        memcpy(n->token[id] + n->length[part[0]], n->token[part[1]], n->length[part[1]]);
        if (naive_token(n, n->token[id], length) != SIZE_MAX) continue;
        n->length[id] = length;
        n->left[n->merges] = part[0];
        n->right[n->merges++] = part[1];
    }
}

static void write_naive(const naive *n, bool pairs) {
    static const char *const cuts[] = {BYTE_LEVEL, SPLIT(NEWER("")), NULL, SPLIT(NEWER("{1,3}"))};
    json.length = 0;
    expect_ok(ds_text_printf(&json, "{\"pre_tokenizer\": %s, \"model\": {\"ignore_merges\": %s, \"vocab\": {", cuts[n->digits],
                             n->whole_first ? "true" : "false"));
    for (size_t id = 256 + n->merges; id-- > 0;) {
        spell(n->token[id], n->length[id]);
        expect_ok(ds_text_printf(&json, ": %zu%s", id, id == 0 ? "}, \"merges\": [" : ", "));
    }
    for (size_t m = 0; m < n->merges; m++) {
        const size_t part[2] = {n->left[m], n->right[m]};
        expect_ok(ds_text_printf(&json, "%s%s", m == 0 ? "" : ", ", pairs ? "[" : ""));
        for (size_t i = 0; i < 2; i++) {
            if (!pairs && i == 1) json.length--; /* one string: the quotes between give way to a space */
            if (i == 1) expect_ok(ds_text_printf(&json, "%s", pairs ? ", " : " "));
            size_t start = json.length;
            spell(n->token[part[i]], n->length[part[i]]);
            if (!pairs && i == 1) memmove(json.bytes + start, json.bytes + start + 1, --json.length - start + 1);
        }
        if (pairs) expect_ok(ds_text_append(&json, "]", 1));
    }
    expect_ok(ds_text_printf(&json, "]}}"));
}

static void test_naive_encoder_agrees(void **state) {
    (void)state;
    static const char alphabet[] = "aB1 '\nstrevml\r2-.\t", *const more[] = {"'S",    "'Ll",  "  \n", "\r\n",
                                                                             "12345", "it's", " 're", "!!\n"};
    const uint64_t seed = 42;
    ds_random random = ds_random_init(seed);
    print_message("seed 42\n");
    for (size_t trial = 0; trial < 60; trial++) {
        static naive n;
        make_naive(&n, &random, alphabet);
        write_naive(&n, trial % 2 == 1);
        ds_tokenizer *tokenizer = must_open();
        for (size_t t = 0; t < 30; t++) {
            ds_text text = {0};
            size_t atoms = 1 + ds_random_below(&random, 60), expected = 0, count;
            for (size_t i = 0; i < atoms; i++) {
                size_t pick = ds_random_below(&random, sizeof alphabet - 1 + 8);
                const char *atom = pick < 8 ? more[pick] : &alphabet[pick - 8];
                expect_ok(ds_text_append(&text, atom, pick < 8 ? strlen(atom) : 1));
            }
            uint32_t *wanted = calloc(text.length, sizeof *wanted);
            assert_non_null(wanted);
            for (size_t at = 0, length; at < text.length; at += length) {
                length = first_piece(text.bytes + at, n.digits);
                assert_true(length > 0);
                expected += naive_piece(&n, wanted + expected, text.bytes + at, length);
            }
            uint32_t *ids = must_encode(tokenizer, &count, text.bytes, text.length);
            if (count != expected || memcmp(ids, wanted, count * sizeof *ids) != 0)
                fail_msg("seed %llu, trial %zu.%zu: \"%s\": %zu tokens, %zu expected", (unsigned long long)seed, trial, t,
                         text.bytes, count, expected);
            expect_round_trip(tokenizer, ids, count, &text);
            free(ids);
            free(wanted);
            ds_text_release(&text);
        }
        ds_tokenizer_close(&tokenizer);
    }
}

/* A million bytes in one piece: no alternative goes back and forth. */
static void test_long_pieces(void **state) {
    (void)state;
    static const char *const units[] = {"a", " ", "\n", " \n", "7", "-", "'s", "\t \r"};
    enum { BYTES = 1 << 20 };
    static naive n;
    char *text = malloc(BYTES);
    assert_non_null(text);
    for (size_t digits = 1; digits <= 3; digits += 2) {
        for (size_t id = 0; id < 256; id++) n.token[id][0] = (char)id, n.length[id] = 1;
        n.digits = digits;
        write_naive(&n, false);
        ds_tokenizer *tokenizer = must_open();
        for (size_t u = 0; u < sizeof units / sizeof *units; u++) {
            size_t count;
            for (size_t i = 0; i < BYTES; i++) text[i] = units[u][i % strlen(units[u])];
            free(must_encode(tokenizer, &count, text, BYTES));
            assert_int_equal(count, BYTES);
        }
        ds_tokenizer_close(&tokenizer);
    }
    free(text);
}

/* ---- small files ------------------------------------------------------------------------------------------------------- */

static void write_small(const char *front, const char *model) {
    json.length = 0;
    expect_ok(ds_text_printf(&json, "{%s\"model\": {%s}}", front, model));
}

#define ABC "\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"b\": 1, \"ab\": 2}, \"merges\": [\"a b\"]"

static void expect_ids(const char *text, const uint32_t *expected, size_t expected_count) {
    size_t count;
    ds_tokenizer *tokenizer = must_open();
    uint32_t *ids = must_encode(tokenizer, &count, text, strlen(text));
    assert_int_equal(count, expected_count);
    assert_memory_equal(ids, expected, count * sizeof *ids);
    free(ids);
    ds_tokenizer_close(&tokenizer);
}
#define EXPECT_IDS(text, ...)                                                                                                  \
    expect_ids(text, (const uint32_t[]){__VA_ARGS__}, sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t))

static void expect_text_refused(const char *text, const char *words) {
    uint32_t *ids;
    size_t count;
    ds_tokenizer *tokenizer = must_open();
    expect_failure(ds_tokenizer_encode(tokenizer, &ids, &count, text, strlen(text), "file.txt"), DS_ERR_INPUT, words);
    ds_tokenizer_close(&tokenizer);
}

/* Without ByteLevel tokens are spelt in characters, and the text is one piece. */
static void test_characters(void **state) {
    (void)state;
    size_t length;
    write_small("\"version\": \"1.0\", \"added_tokens\": [{\"id\": 3, \"content\": \"<|endoftext|>\", \"special\": true}], ",
                ABC);
    EXPECT_IDS("ab", 2);
    EXPECT_IDS("aabb", 0, 2, 1);
    expect_text_refused("abc", "file.txt: character \"c\" at byte 2 (line 1, column 3) has no token in ");
    expect_text_refused("<|endoftext|>", "character \"<\" at byte 0");
    ds_tokenizer *tokenizer = must_open();
    assert_int_equal(ds_tokenizer_vocab(tokenizer), 4);
    assert_memory_equal(ds_tokenizer_piece(tokenizer, 3, &length), "<|endoftext|>", 13);
    ds_tokenizer_close(&tokenizer);
    write_small("\"pre_tokenizer\": null, \"decoder\": {\"type\": \"Fuse\"}, ",
                "\"vocab\": {\"日\": 0, \"本\": 1, \" \": 2, \"日本\": 3, \"日本 \": 4}, \"merges\": [[\"日\", \"本\"], "
                "[\"日本\", \" \"]]");
    EXPECT_IDS("日本 本日", 4, 1, 0);
    EXPECT_IDS("本日本", 1, 3);
}

/* Bytes without a token are named where a text has them, not before. */
static void test_bytes_without_tokens(void **state) {
    (void)state;
    write_small("\"pre_tokenizer\": " BYTE_LEVEL ", ",
                "\"vocab\": {\"a\": 0, \"Ã\": 1, \"Ġ\": 2, \"Ġa\": 3}, \"merges\": [\"Ġ a\"]");
    EXPECT_IDS("a a", 0, 3);
    expect_text_refused("a\né", "the value 0x0A of byte 1 (line 1, column 2) has no token");
    expect_text_refused("aé", "the value 0xA9 of byte 2");
}

/* A text is composed before it is cut and merged, and places are those of what is cut. */
static void test_composed_texts(void **state) {
    (void)state;
    static const char model[] = "\"vocab\": {\"\xC3\xA9\": 0, \"a\": 1, \"a\xC3\xA9\": 2}, \"merges\": [[\"a\", \"\xC3\xA9\"]]";
    write_small("\"normalizer\": {\"type\": \"NFC\"}, ", model);
    EXPECT_IDS("ae\xCC\x81"
               "e\xCC\x81",
               2, 0);
    expect_text_refused("ae\xCC\x81\nb",
                        "character \"\\x0A\" at byte 3 (line 1, column 3) of the text in NFC has no token in ");
    static const char *const none[] = {"null", "{\"type\": \"Sequence\", \"normalizers\": []}"};
    for (size_t i = 0; i < 2; i++) {
        char front[80];
        (void)snprintf(front, sizeof front, "\"normalizer\": %s, ", none[i]);
        write_small(front, model);
        expect_text_refused("ae\xCC\x81", "character \"e\" at byte 1 (line 1, column 2) has no token in ");
    }
}

/* What stands in front of the model, what in it, what is said. */
static const char *const refused[][3] = {
    {"\"normalizer\": {\"type\": \"Lowercase\"}, ", ABC, "the normalizer \"Lowercase\" is not read here: tokenize with the"},
    {"\"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"NFC\"}, {\"type\": \"Prepend\"}]}, ", ABC,
     "the normalizer \"Sequence\""},
    {"\"normalizer\": 1, ", ABC, "\"normalizer\" is not null or an object with a type"},
    {"\"pre_tokenizer\": {\"type\": \"Metaspace\"}, ", ABC, "the pre-tokenizer \"Metaspace\""},
    {"\"pre_tokenizer\": {\"type\": \"ByteLevel\"}, ", ABC, "\"add_prefix_space\" would put a space"},
    {"\"pre_tokenizer\": {\"type\": \"Sequence\", \"pretokenizers\": 1}, ", ABC, "a Sequence of pretokenizers"},
    {"\"pre_tokenizer\": {\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"Sequence\"}]}, ", ABC,
     "the pre-tokenizer \"Sequence\""},
    {"\"pre_tokenizer\": " SPLIT("(a+)+$") ", ", ABC, "cutting by the pattern \"(a+)+$\""},
    {"\"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"String\": \" \"}, \"behavior\": \"Isolated\"}, ", ABC,
     "a Split with a pattern (Regex)"},
    {"\"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"Regex\": \" \"}, \"behavior\": \"Removed\"}, ", ABC,
     "a Split of the behavior \"Removed\""},
    {"\"pre_tokenizer\": {\"type\": \"Sequence\", \"pretokenizers\": [" BYTE_LEVEL ", " BYTE_LEVEL "]}, ", ABC,
     "behind ByteLevel the pre-tokenizer \"ByteLevel\""},
    {"\"decoder\": {\"type\": \"Metaspace\"}, ", ABC, "the decoder \"Metaspace\""},
    {"", "\"type\": \"WordPiece\", \"vocab\": {\"a\": 0}", "a model of the kind \"WordPiece\""},
    {"", "\"type\": \"Unigram\", \"vocab\": [[\"a\", 0.5]]", "a model of the kind \"Unigram\""},
    {"", "\"vocab\": [[\"a\", 0.5]]", "a model of the kind \"Unigram\""},
    {"", "\"type\": \"WordLevel\", \"vocab\": {\"a\": 0}", "a model of the kind \"WordLevel\""},
    {"", "\"byte_fallback\": true, " ABC, "SentencePiece's byte fallback"},
    {"", "\"dropout\": 0.1, " ABC, "with \"dropout\""},
    {"", "\"continuing_subword_prefix\": \"##\", " ABC, "continuing_subword_prefix \"##\""},
    {"", "\"end_of_word_suffix\": \"</w>\", " ABC, "end_of_word_suffix \"</w>\""},
    {"", "\"type\": \"BPE\", \"vocab\": {}, \"merges\": []", "\"vocab\" is not an object from tokens to ids"},
    {"", "\"vocab\": {\"a\": 0}", "\"merges\" is not a list of merges"},
    {"", "\"vocab\": {\"a\": 1}, \"merges\": []", "the id of token \"a\" is not an integer from 0 to 0"},
    {"", "\"vocab\": {\"a\": -1}, \"merges\": []", "the id of token \"a\""},
    {"", "\"vocab\": {\"a\": 9223372036854775807}, \"merges\": []", "the id of token \"a\""},
    {"", "\"vocab\": {\"a\": 0.0}, \"merges\": []", "the id of token \"a\""},
    {"", "\"vocab\": {\"a\": 0, \"b\": 0}, \"merges\": []", "that another token has already"},
    {"", "\"vocab\": {\"a\": 0, \"a\": 1}, \"merges\": []", "duplicate key"},
    {"", "\"vocab\": {\"\": 0}, \"merges\": []", "the empty string"},
    {"", "\"vocab\": {\"a\": 0, \"b\": 1}, \"merges\": [\"a b\"]", "merge 0: token \"ab\" is not in \"vocab\""},
    {"", "\"vocab\": {\"a\": 0, \"aa\": 1}, \"merges\": [\"a a\", [\"a\", \"c\"]]", "merge 1: token \"c\" is not in"},
    {"", "\"vocab\": {\"a\": 0}, \"merges\": [\"a\"]", "two tokens with one space between them expected"},
    {"", "\"vocab\": {\"a\": 0}, \"merges\": [[\"a\"]]", "merge 0 (counted from 0) is neither"},
    {"", "\"vocab\": {\"a\": 0}, \"merges\": [[\"a\", 1]]", "merge 0 (counted from 0) is neither"},
    {"", "\"vocab\": {\"a\": 0, \"aa\": 1}, \"merges\": [\"a a\", \"a a\"]", "is also that of merge"},
    {"\"added_tokens\": {}, ", ABC, "\"added_tokens\" is not a list"},
    {"\"added_tokens\": [{\"content\": \"x\"}], ", ABC, "entry 0 (counted from 0) of \"added_tokens\""},
    {"\"added_tokens\": [{\"content\": \"x\", \"id\": 4}], ", ABC, "added token \"x\" has id 4, expected 0 to 3"},
    {"\"added_tokens\": [{\"content\": \"x\", \"id\": -1}], ", ABC, "added token \"x\" has id -1"},
    {"\"added_tokens\": [{\"content\": \"x\", \"id\": 3}, {\"content\": \"y\", \"id\": 3}], ", ABC, "that another has already"},
    {"\"added_tokens\": [{\"content\": \"x\", \"id\": 0}], ", ABC, "that another token has already"},
    {"\"added_tokens\": [{\"content\": \"a\", \"id\": 1}], ", ABC, "one id in \"vocab\" and another in \"added_tokens\""},
    {"\"pre_tokenizer\": " BYTE_LEVEL ", ", "\"vocab\": {\"a b\": 0}, \"merges\": []", "outside GPT-2's alphabet of bytes"},
};

static void test_refusals(void **state) {
    (void)state;
    ds_tokenizer *tokenizer;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        write_small(refused[i][0], refused[i][1]);
        if (open_json(&tokenizer) != DS_ERR_INPUT) fail_msg("case %zu is read", i);
        assert_null(tokenizer);
        if (strstr(ds_error_text(), refused[i][2]) == NULL || strstr(ds_error_text(), "tokenizer.json: ") == NULL)
            fail_msg("\"%s\" expected in \"%s\"", refused[i][2], ds_error_text());
    }
    expect_failure(ds_tokenizer_open(&tokenizer, scratch_write("x.json", "{\"a\": 0}", 8)), DS_ERR_INPUT,
                   "its \"model\" is missing");
    expect_failure(ds_tokenizer_open(&tokenizer, scratch_write("x.json", "{", 1)), DS_ERR_INPUT, "invalid JSON");
    json.length = 0;
    for (size_t i = 0; i < 100000; i++) expect_ok(ds_text_printf(&json, "{\"model\":"));
    expect_failure(open_json(&tokenizer), DS_ERR_INPUT, "nesting too deep");
}

/* Any byte of a good file changed, left out or doubled: a tokenizer that keeps its promises, or a sentence. */
static void test_broken_files(void **state) {
    (void)state;
    static naive n;
    ds_random random = ds_random_init(43);
    print_message("seed 43\n");
    size_t refusals = 0;
    for (size_t trial = 0; trial < 400; trial++) {
        if (trial % 100 == 0) make_naive(&n, &random, "ab 1'");
        write_naive(&n, trial % 2 == 0);
        for (size_t faults = 1 + ds_random_below(&random, 2); faults > 0; faults--) {
            size_t at = ds_random_below(&random, json.length), kind = ds_random_below(&random, 3);
            if (kind == 0) json.bytes[at] = "\"[]{}:,0a\\"[ds_random_below(&random, 10)];
            if (kind == 1) memmove(json.bytes + at, json.bytes + at + 1, json.length-- - at);
            if (kind == 2) json.bytes[at] = json.bytes[ds_random_below(&random, json.length)];
        }
        ds_tokenizer *tokenizer;
        ds_status status = open_json(&tokenizer);
        refusals += status != DS_OK;
        assert_true(status == DS_OK || (status == DS_ERR_INPUT && strstr(ds_error_text(), "tokenizer.json: ") != NULL));
        uint32_t *ids = NULL;
        size_t count;
        ds_text text = {0};
        expect_ok(ds_text_printf(&text, "ab a1b 'ab"));
        if (status == DS_OK && ds_tokenizer_encode(tokenizer, &ids, &count, text.bytes, text.length, "text") == DS_OK)
            expect_round_trip(tokenizer, ids, count, &text);
        free(ids);
        ds_text_release(&text);
        ds_tokenizer_close(&tokenizer);
    }
    assert_true(refusals > 100 && refusals < 400);
}

static int release(void **state) {
    (void)state;
    ds_text_release(&json);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gpt2_in_one_file),
        cmocka_unit_test(test_naive_encoder_agrees),
        cmocka_unit_test(test_long_pieces),
        cmocka_unit_test(test_characters),
        cmocka_unit_test(test_bytes_without_tokens),
        cmocka_unit_test(test_composed_texts),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_broken_files),
    };
    return cmocka_run_group_tests_name("bpe_json", tests, NULL, release);
}
