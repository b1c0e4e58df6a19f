/* Files that are something else: named, with what to do, wherever weights, a configuration, a shard index or a tokenizer is
 * expected. What stands behind the signature is drawn at random. */
#include <stdlib.h>
#include <string.h>

#include "deltascope/io.h"
#include "io/recognise.h"
#include "scratch.h"
#include "support.h"

static const uint64_t seed = 20261203;

typedef struct sample {
    const char *bytes;
    size_t length;
    const char *words, *advice;
} sample;
#define BYTES(text) (text), sizeof(text) - 1

static const sample samples[] = {
    {BYTES("version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 12\n"), "a Git LFS pointer", "git lfs pull"},
    {BYTES("<!DOCTYPE html>\n<html>"), "an HTML or XML page", "download the file again"},
    {BYTES("\r\n <HTML lang=\"en\">"), "an HTML or XML page", "download the file again"},
    {BYTES("<?xml version=\"1.0\"?><Error>"), "an HTML or XML page", "download the file again"},
    {BYTES("GGUF\3\0\0\0"), "a GGUF file", "the checkpoint it was made from"},
    {BYTES("\x1f\x8b\x08\x08"), "a gzip archive", "unpack it first"},
    {BYTES("\x28\xb5\x2f\xfd"), "a zstd archive", "unpack it first"},
    {BYTES("7z\xbc\xaf\x27\x1c"), "a 7z archive", "unpack it first"},
    {BYTES("\xfd\x37zXZ\0"), "an xz archive", "unpack it first"},
    {BYTES("BZh91AY&SY"), "a bzip2 archive", "unpack it first"},
    {BYTES("Rar!\x1a\x07\x01"), "a rar archive", "unpack it first"},
    {BYTES("\x93NUMPY\1\0"), "an .npy array", "only token ids"},
    {BYTES("\x89HDF\r\n\x1a\n"), "an HDF5 file", "save what it holds"},
    {BYTES("PAR1"), "a Parquet file", "save what it holds"},
    {BYTES("%PDF-1.7"), "a PDF document", "save what it holds"},
};
enum { SAMPLES = sizeof samples / sizeof *samples };
static const sample marks[] = {
    {BYTES("\xef\xbb\xbf{\"hidden_size\": 32}"), "text with a byte order mark in front", "UTF-8 without a byte order mark"},
    {BYTES("\xff\xfe{\0}\0"), "UTF-16 text", "UTF-8 without a byte order mark"},
    {BYTES("\xfe\xff\0{\0}"), "UTF-16 text", "UTF-8 without a byte order mark"},
};

/* The sample and what may follow it. */
static size_t fill(uint8_t bytes[2048], const sample *s, ds_random *random) {
    size_t more = ds_random_below(random, 1500), text = ds_random_below(random, 2);
    memcpy(bytes, s->bytes, s->length);
    for (size_t i = 0; i < more; i++)
        bytes[s->length + i] = (uint8_t)(text ? ' ' + ds_random_below(random, 90) : ds_random_u64(random));
    return s->length + more;
}

static void expect_named(ds_status status, const sample *s, const char *file) {
    if (status != DS_ERR_INPUT || strstr(ds_error_text(), s->words) == NULL || strstr(ds_error_text(), s->advice) == NULL ||
        strstr(ds_error_text(), file) == NULL)
        fail_msg("%s: \"%s\" expected in \"%s\"", file, s->words, ds_error_text());
    ds_error_clear();
}

static ds_status open_checkpoint(const char *path, const char *config) {
    ds_checkpoint *checkpoint = NULL;
    ds_status status = ds_checkpoint_open(&checkpoint, path, config);
    ds_checkpoint_close(&checkpoint);
    return status;
}

static void in_the_place_of_weights(void **state) {
    (void)state;
    static const char *const names[] = {"a/model.safetensors", "b/pytorch_model.bin", "c/ckpt.pt",
                                        "d/model.safetensors.index.json", "e/pytorch_model.bin.index.json"};
    uint8_t bytes[2048];
    ds_random random = ds_random_init(seed);
    for (size_t round = 0; round < 300; round++) {
        const sample *s = &samples[round % SAMPLES];
        size_t length = fill(bytes, s, &random), n = ds_random_below(&random, 5);
        char folder[2] = {names[n][0], '\0'}, config[16];
        (void)snprintf(config, sizeof config, "%s/config.json", folder);
        (void)scratch_write(config, "{}", 2);
        const char *path = scratch_write(names[n], bytes, length);
        expect_named(open_checkpoint(scratch_path(folder), NULL), s, names[n]);
        expect_named(open_checkpoint(path, scratch_path(config)), s, names[n]);
    }
}

static void in_the_place_of_a_configuration(void **state) {
    (void)state;
    uint8_t bytes[2048];
    ds_random random = ds_random_init(seed + 1);
    for (size_t round = 0; round < 200; round++) {
        size_t kind = ds_random_below(&random, SAMPLES + 3);
        const sample *s = kind < SAMPLES ? &samples[kind] : &marks[kind - SAMPLES];
        size_t length = fill(bytes, s, &random);
        const char *path = scratch_write("wrong.json", bytes, length);
        expect_named(open_checkpoint("fixtures/models/scalar-safetensors", path), s, "wrong.json");
    }
}

static void in_the_place_of_a_tokenizer(void **state) {
    (void)state;
    static const char *const names[] = {"meta.pkl", "f/vocab.json", "g/merges.txt"};
    uint8_t bytes[2048];
    char *vocabulary;
    size_t length;
    ds_random random = ds_random_init(seed + 2);
    expect_ok(ds_read_file(&vocabulary, &length, "fixtures/tokenizer/gpt2/vocab.json", 1 << 24));
    (void)scratch_write("g/vocab.json", vocabulary, length);
    (void)scratch_write("f/merges.txt", "#version: 0.2\n", 14);
    free(vocabulary);
    for (size_t round = 0; round < 60; round++) {
        size_t n = round % 15 == 0 ? 2 : ds_random_below(&random, 2); /* GPT-2's vocabulary takes its time */
        size_t kind = ds_random_below(&random, SAMPLES + (n == 0 ? 0 : 3));
        const sample *s = kind < SAMPLES ? &samples[kind] : &marks[kind - SAMPLES];
        const char *path = scratch_write(names[n], bytes, fill(bytes, s, &random));
        ds_tokenizer *tokenizer = NULL;
        expect_named(ds_tokenizer_open(&tokenizer, n == 0 ? path : scratch_path(n == 1 ? "f" : "g")), s, names[n]);
    }
}

/* Text that is about markup is text; a pointer or an archive is none. */
static void in_the_place_of_text(void **state) {
    (void)state;
    ds_tokenizer *tokenizer = NULL;
    ds_tokens *tokens = NULL;
    expect_ok(ds_tokenizer_open(&tokenizer, "fixtures/tokenizer/gpt2"));
    for (size_t i = 0; i < SAMPLES; i++) {
        const sample *s = &samples[i];
        const char *path = scratch_write("words.txt", s->bytes, s->length);
        ds_status status = ds_tokens_from_text(&tokens, path, tokenizer, 50257);
        if (strchr("<\r", s->bytes[0]) != NULL)
            expect_ok(status);
        else
            expect_named(status, s, "words.txt");
        ds_tokens_close(&tokens);
    }
    ds_tokenizer_close(&tokenizer);
}

/* A path alone, with or without a line end; text and names may be one, and what goes on is none. */
static void links_stored_as_text(void **state) {
    (void)state;
    static const char *const fronts[] = {"/", "./", "../", "../../"};
    static const char signs[] = "abc_-./@09";
    const sample said = {NULL, 0, "a link that was stored as text", "put the file it names in its place"};
    ds_random random = ds_random_init(seed + 4);
    for (size_t round = 0; round < 100; round++) {
        ds_text path = {0};
        expect_ok(ds_text_printf(&path, "%s", fronts[ds_random_below(&random, 4)]));
        for (size_t i = 12 + ds_random_below(&random, 200); i > 0; i--)
            expect_ok(ds_text_append(&path, &signs[ds_random_below(&random, sizeof signs - 1)], 1));
        if (round % 2 == 0) expect_ok(ds_text_append(&path, "\n", 1));
        (void)scratch_write("l/config.json", "{}", 2);
        const char *weights = scratch_write("l/model.safetensors", path.bytes, path.length);
        expect_named(open_checkpoint(scratch_path("l"), NULL), &said, "model.safetensors");
        expect_named(open_checkpoint("fixtures/models/scalar-safetensors", weights), &said, "model.safetensors");
        assert_true(ds_kind_of((const uint8_t *)path.bytes, path.length).is_text);
        expect_ok(ds_text_printf(&path, "%s", round % 3 == 0 ? " x" : "\n\n"));
        assert_null(ds_kind_of((const uint8_t *)path.bytes, path.length).what);
        ds_text_release(&path);
    }
    assert_null(ds_kind_of((const uint8_t *)"/etc/x", 6).what);
}

static void nothing_else_bears_a_signature(void **state) {
    (void)state;
    uint8_t bytes[600];
    ds_random random = ds_random_init(seed + 3);
    for (size_t round = 0; round < 20000; round++) {
        size_t count = ds_random_below(&random, sizeof bytes);
        for (size_t i = 0; i < ds_min_size(count, 300); i++) bytes[i] = (uint8_t)ds_random_u64(&random);
        if (count > 0) bytes[0] = (uint8_t)(' ' + ds_random_below(&random, 95)); /* marks are two bytes long */
        assert_null(ds_kind_of(bytes, count).what);
    }
    for (size_t i = 0; i < SAMPLES; i++) {
        for (size_t cut = 0; cut < 3; cut++) assert_null(ds_kind_of((const uint8_t *)samples[i].bytes, cut).what);
    }
}

int main(void) {
    (void)printf("seed %llu\n", (unsigned long long)seed);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_the_place_of_weights),     cmocka_unit_test(in_the_place_of_a_configuration),
        cmocka_unit_test(in_the_place_of_a_tokenizer), cmocka_unit_test(in_the_place_of_text),
        cmocka_unit_test(links_stored_as_text),        cmocka_unit_test(nothing_else_bears_a_signature),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
