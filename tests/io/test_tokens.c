/* Token files: every kind, read whole and in windows; every refusal by name. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "deltascope/io.h"
#include "scratch.h"
#include "support.h"

enum { HOSTILE_TOKENS = 600, VOCAB = 65 };

/* The ids all well-formed files of fixtures/hostile/tokens hold. */
static uint32_t hostile_id(size_t position) { return (uint32_t)((13 + 54 * position) % VOCAB); }

static void refuse(const char *path, uint64_t vocab, const char *expected) {
    ds_tokens *tokens = NULL;
    ds_error_clear();
    assert_int_not_equal(ds_tokens_open(&tokens, path, vocab), DS_OK);
    assert_null(tokens);
    if (strstr(ds_error_text(), path) == NULL || strstr(ds_error_text(), expected) == NULL)
        fail_msg("%s: \"%s\" expected in \"%s\"", path, expected, ds_error_text());
}

static void refuse_bytes(const char *name, const void *bytes, size_t length, uint64_t vocab, const char *expected) {
    refuse(scratch_write(name, bytes, length), vocab, expected);
}

static ds_tokens *must_open(const char *path, uint64_t vocab) {
    ds_tokens *tokens = NULL;
    expect_ok(ds_tokens_open(&tokens, path, vocab));
    assert_string_equal(ds_tokens_path(tokens), path);
    return tokens;
}

static void test_every_kind_holds_the_same_ids(void **state) {
    (void)state;
    static const char *const names[] = {"valid/tok_raw.bin", "valid/tok_u1.npy", "policy/tok_2d.npy", "policy/tok_be.npy"};
    for (size_t n = 0; n < 4; n++) {
        char path[128];
        (void)snprintf(path, sizeof path, "fixtures/hostile/%s", names[n]);
        ds_tokens *tokens = must_open(path, VOCAB);
        uint32_t ids[HOSTILE_TOKENS];
        assert_int_equal(ds_tokens_count(tokens), HOSTILE_TOKENS);
        expect_ok(ds_tokens_read(tokens, ids, 0, HOSTILE_TOKENS));
        for (size_t i = 0; i < HOSTILE_TOKENS; i++) assert_int_equal(ids[i], hostile_id(i));
        expect_ok(ds_tokens_read(tokens, ids, 299, 2));
        assert_int_equal(ids[1], hostile_id(300));
        ds_tokens_close(&tokens);
        assert_null(tokens);
    }
}

static void test_hostile_files_are_refused(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"bad_version.npy", "unsupported npy version 9.9"},
        {"count_max.bin", "token count and file size disagree: 2147483647 tokens"},
        {"count_more.bin", "token count and file size disagree: 601 tokens"},
        {"count_negative.bin", "bad token count: the header says -600"},
        {"data_short.npy", "npy data truncated"},
        {"dtype_bad.npy", "npy dtype not supported: \"<u3\""},
        {"dtype_negative.npy", "token -1 at position"},
        {"dtype_object.npy", "npy object arrays are not supported"},
        {"dtype_struct.npy", "npy dtype not supported"},
        {"dtype_u8_big.npy", "token 18446744073709551615 at position"},
        {"fortran_string.npy", "bad npy header"},
        {"header_code.npy", "bad npy header"},
        {"header_cut.bin", "truncated header: 100 bytes"},
        {"header_long.npy", "npy header too large"},
        {"header_not_dict.npy", "bad npy header"},
        {"magic_big_endian.bin", "unsupported token format"},
        {"magic_only.npy", "truncated npy header"},
        {"scalar.npy", "too few tokens"},
        {"shape_float.npy", "bad npy shape"},
        {"shape_int.npy", "bad npy shape"},
        {"shape_overflow.npy", "npy shape overflow"},
        {"token_out_of_vocab.bin", "token 65 at position 300 >= vocab 65"},
        {"zero.npy", "empty token file"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char path[128];
        (void)snprintf(path, sizeof path, "fixtures/hostile/tokens/%s", cases[i][0]);
        refuse(path, VOCAB, cases[i][1]);
    }
    assert_int_not_equal(access("ddl_hostile_pwned", F_OK), 0);
}

/* A .npy of version `major` with this header and these data. */
static const char *write_npy(const char *name, uint8_t major, const char *header, const void *data, size_t size) {
    uint8_t file[4096] = "\x93NUMPY";
    size_t length = strlen(header), at = 8;
    file[6] = major;
    file[at++] = (uint8_t)length;
    file[at++] = (uint8_t)(length >> 8);
    if (major > 1) file[at++] = 0, file[at++] = 0;
    memcpy(file + at, header, length);
    if (size > 0) memcpy(file + at + length, data, size);
    return scratch_write(name, file, at + length + size);
}

static void test_npy_dtypes_and_versions(void **state) {
    (void)state;
    static const struct {
        const char *dtype;
        size_t width;
        bool big;
    } cases[] = {{"|u1", 1, false}, {"<u1", 1, false}, {"|i1", 1, false}, {"<u2", 2, false}, {">u2", 2, true},
                 {"<i2", 2, false}, {">i2", 2, true},  {"<u4", 4, false}, {">u4", 4, true},  {"<i4", 4, false},
                 {">i4", 4, true},  {"<u8", 8, false}, {">u8", 8, true},  {"<i8", 8, false}, {">i8", 8, true}};
    const uint32_t wanted[] = {101, 7, 64, 0, 127, 33};
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        uint8_t data[48] = {0};
        for (size_t i = 0; i < 6; i++) data[i * cases[c].width + (cases[c].big ? cases[c].width - 1 : 0)] = (uint8_t)wanted[i];
        for (uint8_t major = 1; major <= 3; major++) {
            char header[128];
            (void)snprintf(header, sizeof header, "{\"shape\": (2, 1, 3,), 'fortran_order':False ,'descr': '%s', }  \n",
                           cases[c].dtype);
            ds_tokens *tokens = must_open(write_npy("dtype.npy", major, header, data, 6 * cases[c].width), 128);
            uint32_t ids[6];
            assert_int_equal(ds_tokens_count(tokens), 6);
            expect_ok(ds_tokens_read(tokens, ids, 0, 6));
            assert_memory_equal(ids, wanted, sizeof ids);
            ds_tokens_close(&tokens);
        }
    }
}

static void test_npy_headers_are_refused(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"{'descr': '<u2', 'fortran_order': False, 'shape': (-3,)}", "bad npy shape"},
        {"{'descr': '<u2', 'fortran_order': False, 'shape': (03,)}", "bad npy shape"},
        {"{'descr': '<u2', 'fortran_order': False, 'shape': (,)}", "bad npy shape"},
        {"{'descr': '<u2', 'fortran_order': False, 'shape': (3 3)}", "bad npy shape"},
        {"{'descr': '<u2', 'fortran_order': False, 'shape': [3]}", "bad npy shape"},
        {"{'descr': '<u2', 'fortran_order': False, 'shape': (18446744073709551616,)}", "npy shape overflow"},
        {"{'descr': '<u2', 'fortran_order': False, 'shape': (9223372036854775808,)}", "npy shape overflow"},
        {"{'descr': '<u2', 'fortran_order': True, 'shape': (3, 2)}", "npy Fortran order"},
        {"{'descr': '<u2', 'fortran_order': 0, 'shape': (3,)}", "fortran_order"},
        {"{'descr': '<u2', 'fortran_order': False}", "key \"shape\" is missing"},
        {"{'descr': '<u2', 'fortran_order': False, 'shape': (3,), 'shape': (3,)}", "key \"shape\" is repeated"},
        {"{'descr': '<u2', 'fortran_order': False, 'shape': (3,), 'x': 1}", "key \"x\" is unknown"},
        {"{'descr': '<u2', 'fortran_order': False, 'shape': (3,)} x", "nothing after the dict"},
        {"{'descr': '<u2', 'fortran_order': False 'shape': (3,)}", "a comma or '}'"},
        {"{'descr': '<u2', 'fortran_order': False, 'shape': (3,)", "a comma or '}'"},
        {"{'descr': '<u2", "bad npy header"},
        {"{'descr'", "a colon"},
        {"{", "a key"},
        {"", "a dict"},
        {"{'descr': '\\x3cu2', 'fortran_order': False, 'shape': (3,)}", "the dtype"},
        {"{'descr': '|u2', 'fortran_order': False, 'shape': (3,)}", "npy dtype not supported"},
        {"{'descr': '=u2', 'fortran_order': False, 'shape': (3,)}", "npy dtype not supported"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (3,)}", "npy dtype not supported"},
        {"{'descr': '<u0', 'fortran_order': False, 'shape': (3,)}", "npy dtype not supported"},
        {"{'descr': '', 'fortran_order': False, 'shape': (3,)}", "npy dtype not supported"},
        {"{'descr': '<u2', 'fortran_order': False, 'shape': (2,)}", "followed by other bytes"},
        {"{'descr': '<u2', 'fortran_order': False, 'shape': (4,)}", "npy data truncated"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        refuse(write_npy("bad.npy", 1, cases[i][0], "abcdef", 6), 65536, cases[i][1]);
    /* every truncation of a good file */
    const char *good = "{'descr': '<u2', 'fortran_order': False, 'shape': (3,)}\n";
    uint8_t file[128] = "\x93NUMPY\x02";
    file[8] = (uint8_t)strlen(good);
    memcpy(file + 12, good, strlen(good));
    size_t length = 12 + strlen(good) + 6;
    ds_tokens *tokens = must_open(scratch_write("whole.npy", file, length), 65536);
    ds_tokens_close(&tokens);
    for (size_t cut = 0; cut < length; cut++) refuse_bytes("cut.npy", file, cut, 65536, "");
}

static void test_signed_ids(void **state) {
    (void)state;
    const char *header = "{'descr': '>i2', 'fortran_order': False, 'shape': (3,)}";
    refuse(write_npy("negative.npy", 1, header, "\x00\x01\x80\x00\x00\x02", 6), 65536,
           "token -32768 at position 1 is negative");
    header = "{'descr': '<i8', 'fortran_order': True, 'shape': (1,)}";
    refuse(write_npy("negative8.npy", 1, header, "\xff\xff\xff\xff\xff\xff\xff\x7f", 8), UINT64_MAX,
           "token 9223372036854775807 at position 0 >= vocab 4294967296");
    refuse(write_npy("negative8.npy", 1, header, "\xfe\xff\xff\xff\xff\xff\xff\xff", 8), 65,
           "token -2 at position 0 is negative");
}

static void put_i32(uint8_t *file, size_t word, int64_t value) {
    for (size_t i = 0; i < 4; i++) file[4 * word + i] = (uint8_t)((uint64_t)value >> 8 * i);
}

static void test_shards(void **state) {
    (void)state;
    uint8_t file[1024 + 12] = {0};
    uint32_t ids[3];
    memcpy(file + 1024, "\x05\x00\x01\x00\xff\xc4\x00\x00\x01\x00\x00\x00", 12);
    put_i32(file, 0, 20240520), put_i32(file, 1, 1), put_i32(file, 2, 6);
    ds_tokens *tokens = must_open(scratch_write("shard16.bin", file, sizeof file), 65536);
    assert_int_equal(ds_tokens_count(tokens), 6);
    expect_ok(ds_tokens_read(tokens, ids, 1, 2));
    assert_int_equal(ids[0], 1);
    assert_int_equal(ids[1], 0xC4FF);
    ds_tokens_close(&tokens);
    refuse_bytes("odd.bin", file, sizeof file - 1, 65536, "disagree");
    put_i32(file, 0, 20240801), put_i32(file, 1, 7), put_i32(file, 2, 3);
    tokens = must_open(scratch_write("shard32.bin", file, sizeof file), 128256);
    assert_int_equal(ds_tokens_count(tokens), 3);
    expect_ok(ds_tokens_read(tokens, ids, 0, 3));
    assert_int_equal(ids[0], 65541);
    assert_int_equal(ids[1], 50431);
    ds_tokens_close(&tokens);
    put_i32(file, 1, 1);
    refuse_bytes("version.bin", file, sizeof file, 128256, "token shard of version 1, expected 7");
    put_i32(file, 1, 7), put_i32(file, 255, 1 << 24);
    refuse_bytes("word.bin", file, sizeof file, 128256, "byte 1023 of the token shard's header is 1");
    put_i32(file, 0, 20240522);
    refuse_bytes("eval.bin", file, sizeof file, 128256, "an evaluation file");
    put_i32(file, 0, 20240326);
    refuse_bytes("model.bin", file, sizeof file, 128256, "a model file (magic 20240326)");
    put_i32(file, 0, 20240327);
    refuse_bytes("state.bin", file, sizeof file, 128256, "a model file (magic 20240327)");
}

static void test_raw_files(void **state) {
    (void)state;
    refuse_bytes("odd.bin", "abc", 3, 65536, "3 bytes are not a whole number of uint16");
    refuse_bytes("empty.bin", "", 0, 65536, "empty token file");
    refuse_bytes("named.npy", "abcd", 4, 65536, "does not start with");
    refuse_bytes("one.bin", "\x00\x01", 2, 256, "token 256 at position 0 >= vocab 256");
    ds_tokens *tokens = must_open(scratch_write("one.bin", "\x00\x01", 2), 257);
    uint32_t id = 0;
    expect_ok(ds_tokens_read(tokens, &id, 0, 1));
    assert_int_equal(id, 256);
    expect_ok(ds_tokens_read(tokens, &id, 1, 0));
    assert_int_equal(ds_tokens_read(tokens, &id, 0, 2), DS_ERR_INPUT);
    assert_non_null(strstr(ds_error_text(), "too few tokens"));
    assert_int_equal(ds_tokens_read(tokens, &id, UINT64_MAX, 2), DS_ERR_INPUT);
    assert_int_equal(ds_tokens_read(tokens, &id, 2, 0), DS_ERR_INPUT);
    ds_tokens_close(&tokens);
    ds_tokens_close(&tokens);
}

static void test_what_is_no_file(void **state) {
    (void)state;
    refuse("fixtures/data", 65, "");
    refuse("fixtures/data/absent.bin", 65, "");
    const char *path = scratch_path("fifo");
    assert_int_equal(mkfifo(path, 0600), 0);
    refuse(path, 65, "");
}

/* Opening fixes what the digest says; a file that is no longer that one is an error when it is read, not other ids. */
static void test_a_file_that_changes(void **state) {
    (void)state;
    uint16_t stored[1000] = {0};
    uint32_t ids[1000];
    const char *path = scratch_write("changing.bin", stored, sizeof stored);
    ds_tokens *tokens = must_open(path, 65);
    expect_ok(ds_tokens_read(tokens, ids, 0, 1000));
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    stored[3] = 1;
    assert_int_equal(fwrite(stored, 1, sizeof stored, file), sizeof stored);
    assert_int_equal(fclose(file), 0);
    const struct timespec later[2] = {{.tv_nsec = UTIME_NOW}, {.tv_sec = 4000000000}}; /* clocks of files are coarse */
    assert_int_equal(utimensat(AT_FDCWD, path, later, 0), 0);
    assert_int_equal(ds_tokens_read(tokens, ids, 0, 1000), DS_ERR_INPUT);
    assert_non_null(strstr(ds_error_text(), "changed while it was read"));
    assert_int_equal(truncate(path, 1000), 0);
    assert_int_equal(ds_tokens_read(tokens, ids, 499, 2), DS_ERR_INPUT);
    assert_non_null(strstr(ds_error_text(), path));
    ds_tokens_close(&tokens);
}

static void test_validation_tokens(void **state) {
    (void)state;
    ds_tokens *tokens = must_open("fixtures/data/val.bin", VOCAB);
    /* what sha256sum prints */
    assert_string_equal(ds_tokens_sha256(tokens), "d37d30cc0c8327c270d493299c3dca54135f6d5f1c9ef60cda78076e311204b1");
    size_t count = ds_tokens_count(tokens);
    assert_int_equal(count, 111540);
    uint32_t *whole = calloc(count, sizeof *whole), window[257];
    assert_non_null(whole);
    expect_ok(ds_tokens_read(tokens, whole, 0, count)); /* more than one chunk */
    for (size_t at = 0; at + 257 <= count; at += 256) {
        expect_ok(ds_tokens_read(tokens, window, at, 257));
        assert_memory_equal(window, whole + at, sizeof window);
    }
    free(whole);
    ds_tokens_close(&tokens);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_kind_holds_the_same_ids),
        cmocka_unit_test(test_hostile_files_are_refused),
        cmocka_unit_test(test_npy_dtypes_and_versions),
        cmocka_unit_test(test_npy_headers_are_refused),
        cmocka_unit_test(test_signed_ids),
        cmocka_unit_test(test_shards),
        cmocka_unit_test(test_raw_files),
        cmocka_unit_test(test_what_is_no_file),
        cmocka_unit_test(test_a_file_that_changes),
        cmocka_unit_test(test_validation_tokens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
