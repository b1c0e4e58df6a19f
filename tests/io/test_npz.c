/* Archives written row by row, read back entry by entry. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zip.h>

#include "deltascope/io.h"
#include "deltascope/report.h"
#include "support.h"

static char folder[64], path[96];

static int make_folder(void **state) {
    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/deltascope-test-XXXXXX");
    if (mkdtemp(folder) == NULL) return -1;
    (void)snprintf(path, sizeof path, "%s/tokens.npz", folder);
    return 0;
}

static int remove_folder(void **state) {
    (void)state;
    (void)unlink(path);
    return rmdir(folder); /* fails when a temporary was left behind */
}

/* The entry's bytes, freed by the caller. */
static char *read_entry(const char *name, size_t *length) {
    int code = 0;
    zip_t *archive = zip_open(path, ZIP_RDONLY | ZIP_CHECKCONS, &code);
    assert_non_null(archive);
    zip_stat_t info;
    assert_int_equal(zip_stat(archive, name, 0, &info), 0);
    assert_int_equal(info.comp_method, ZIP_CM_STORE);
    *length = info.size;
    char *bytes = malloc(info.size + 1);
    zip_file_t *file = zip_fopen(archive, name, 0);
    assert_true(bytes != NULL && file != NULL);
    assert_int_equal(zip_fread(file, bytes, info.size), info.size);
    zip_fclose(file);
    zip_discard(archive);
    return bytes;
}

static void expect_entry(const char *name, const char *dictionary, const void *values, size_t bytes) {
    size_t length;
    char *entry = read_entry(name, &length);
    assert_memory_equal(entry, "\x93NUMPY\x01\x00", 8);
    size_t header = 10 + ds_load_u16le((const uint8_t *)entry + 8);
    assert_true(header % 64 == 0 && entry[header - 1] == '\n');
    assert_int_equal(length, header + bytes);
    assert_memory_equal(entry + 10, dictionary, strlen(dictionary));
    assert_memory_equal(entry + header, values, bytes);
    free(entry);
}

static void write_archive(void) {
    const double beta[2][3] = {{0.1, 0.2, 0.3}, {1.1, 1.2, 1.3}};
    const uint32_t tokens[] = {7, 11, 50303};
    const float cube[2][2][2] = {{{1, 2}, {3, 4}}, {{5, 6}, {7, 8.5f}}};
    const size_t three[] = {3}, two_two[] = {2, 2};
    ds_npz *npz = NULL;
    const uint32_t texts[2][6] = {{'0', '.', 'a', 't', 't', 'n'}, {'0', '.', 'm', 'l', 'p'}};
    size_t b, t, c, e, u;
    expect_ok(ds_npz_open(&npz, path));
    expect_ok(ds_npz_array(npz, &b, "beta", "<f8", three, 1));
    expect_ok(ds_npz_array(npz, &t, "tokens", "<u4", NULL, 0));
    expect_ok(ds_npz_array(npz, &c, "cube", "<f4", two_two, 2));
    expect_ok(ds_npz_array(npz, &e, "empty", "|u1", three, 1));
    expect_ok(ds_npz_array(npz, &u, "names", "<U6", NULL, 0));
    expect_ok(ds_npz_append(npz, u, texts, 2));
    assert_true(b == 0 && t == 1 && c == 2 && e == 3);
    expect_ok(ds_npz_append(npz, b, beta[0], 1));
    expect_ok(ds_npz_append(npz, t, tokens, 3));
    expect_ok(ds_npz_append(npz, c, cube, 2));
    expect_ok(ds_npz_append(npz, b, beta[1], 1));
    expect_ok(ds_npz_commit(&npz));
    assert_null(npz);
    expect_entry("beta.npy", "{'descr': '<f8', 'fortran_order': False, 'shape': (2, 3), }", beta, sizeof beta);
    expect_entry("tokens.npy", "{'descr': '<u4', 'fortran_order': False, 'shape': (3,), }", tokens, sizeof tokens);
    expect_entry("cube.npy", "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2, 2), }", cube, sizeof cube);
    expect_entry("names.npy", "{'descr': '<U6', 'fortran_order': False, 'shape': (2,), }", texts, sizeof texts);
    expect_entry("empty.npy", "{'descr': '|u1', 'fortran_order': False, 'shape': (0, 3), }", "", 0);
}

/* The same rows give the same bytes, and nothing is left beside the archive. */
static void test_round_trip(void **state) {
    (void)state;
    char *first = NULL, *second = NULL;
    size_t first_length, second_length;
    write_archive();
    expect_ok(ds_read_file(&first, &first_length, path, 1 << 20));
    write_archive();
    expect_ok(ds_read_file(&second, &second_length, path, 1 << 20));
    assert_int_equal(first_length, second_length);
    assert_memory_equal(first, second, first_length);
    free(first);
    free(second);
}

/* More than any buffer on the way. */
static void test_large(void **state) {
    (void)state;
    enum { ROWS = 1 << 18 };
    double *values = ds_alloc_array(ROWS, sizeof *values);
    assert_non_null(values);
    ds_random random = ds_random_init(31);
    for (size_t i = 0; i < ROWS; i++) values[i] = ds_random_uniform(&random);
    ds_npz *npz = NULL;
    size_t index;
    expect_ok(ds_npz_open(&npz, path));
    expect_ok(ds_npz_array(npz, &index, "values", "<f8", NULL, 0));
    for (size_t i = 0; i < ROWS; i += 1024) expect_ok(ds_npz_append(npz, index, values + i, 1024));
    expect_ok(ds_npz_commit(&npz));
    expect_entry("values.npy", "{'descr': '<f8', 'fortran_order': False, 'shape': (262144,), }", values, ROWS * sizeof *values);
    free(values);
}

/* Given up: the archive that was there stays, byte for byte. */
static void test_discard(void **state) {
    (void)state;
    char *bytes = NULL;
    size_t length, index;
    ds_npz *npz = NULL;
    expect_ok(ds_write_file(path, "before", 6));
    expect_ok(ds_npz_open(&npz, path));
    expect_ok(ds_npz_array(npz, &index, "x", "<f8", NULL, 0));
    expect_ok(ds_npz_append(npz, index, &(double){1.5}, 1));
    ds_npz_discard(&npz);
    ds_npz_discard(&npz);
    expect_ok(ds_npz_open(&npz, path));
    expect_failure(ds_npz_commit(&npz), DS_ERR_USAGE, "without arrays");
    assert_null(npz);
    expect_ok(ds_read_file(&bytes, &length, path, 100));
    assert_string_equal(bytes, "before");
    free(bytes);
}

static void test_refused(void **state) {
    (void)state;
    ds_npz *npz = NULL;
    size_t index;
    const size_t huge[] = {SIZE_MAX / 2, 3}, seven[7] = {1, 1, 1, 1, 1, 1, 1};
    expect_failure(ds_npz_open(&npz, "/nowhere/at/all.npz"), DS_ERR_SYSTEM, "/nowhere/at/all.npz");
    expect_ok(ds_npz_open(&npz, path));
    const char *const types[] = {">f8", "<f1", "<u1", "|f4", "O",    "<c8",  "<f16",
                                 "",    "<U",  "<U0", "U7",  "<U-1", "<U7x", "<U1234567"};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        expect_failure(ds_npz_array(npz, &index, "x", types[i], NULL, 0), DS_ERR_USAGE, "expected one like <f8");
    expect_failure(ds_npz_array(npz, &index, "x", "<f8", huge, 2), DS_ERR_USAGE, "too large");
    expect_failure(ds_npz_array(npz, &index, "x", "<f8", seven, 7), DS_ERR_USAGE, "7 trailing dimensions");
    expect_ok(ds_npz_array(npz, &index, "x", "<f8", NULL, 0));
    expect_failure(ds_npz_array(npz, &index, "x", "<f8", NULL, 0), DS_ERR_USAGE, "declared twice");
    ds_npz_discard(&npz);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_round_trip, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_large, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_discard, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_refused, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
