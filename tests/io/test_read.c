/* Reading: conversions against arithmetic, pieces against whole files, strides, shared storage, checksums and digests. */
#include "support.h"

#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "io/catalog.h"
#include "io/convert.h"
#include "scratch.h"

static ds_tensor tensor_at(const char *name, ds_dtype dtype, uint64_t offset, size_t rank, const uint64_t *shape,
                           const int64_t *stride) {
    ds_tensor tensor = {.stored_name = name, .record = "", .dtype_name = "?", .dtype = dtype, .rank = rank, .offset = offset};
    tensor.count = 1;
    tensor.extent = 1;
    for (size_t i = 0; i < rank; i++) {
        tensor.shape[i] = shape[i];
        tensor.stride[i] = stride[i];
        tensor.count *= shape[i];
        if (shape[i] > 0) tensor.extent += (shape[i] - 1) * (uint64_t)stride[i];
    }
    if (tensor.count == 0) tensor.extent = 0;
    return tensor;
}

static void add(ds_catalog *catalog, const ds_tensor *tensor) {
    expect_ok(ds_catalog_add_tensor(catalog, tensor, strlen(tensor->stored_name)));
}

static void add_vector(ds_catalog *catalog, const char *name, ds_dtype dtype, uint64_t offset, uint64_t count) {
    ds_tensor tensor = tensor_at(name, dtype, offset, 1, (const uint64_t[]){count}, (const int64_t[]){1});
    add(catalog, &tensor);
}

/* A file of `count` pseudo-random bytes, the same for the same seed. */
static uint8_t *random_bytes(size_t count, uint64_t seed) {
    uint8_t *bytes = malloc(count);
    assert_non_null(bytes);
    ds_random random = ds_random_init(seed);
    for (size_t i = 0; i < count; i++) bytes[i] = (uint8_t)ds_random_u64(&random);
    return bytes;
}

static uint32_t bits_of(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* Every one of the 65,536 halves, by the definition of the format: (-1)^s 2^(e-15) (1 + m/1024), subnormal 2^-14 m/1024. */
static void converts_every_half(void **state) {
    (void)state;
    for (uint32_t half = 0; half < 65536; half++) {
        uint8_t bytes[2] = {(uint8_t)half, (uint8_t)(half >> 8)};
        float single;
        double wide;
        ds_convert(&single, DS_F32, bytes, DS_DTYPE_F16, 1);
        ds_convert(&wide, DS_F64, bytes, DS_DTYPE_F16, 1);
        int exponent = (int)(half >> 10 & 31), significand = (int)(half & 1023);
        double sign = half >> 15 != 0 ? -1.0 : 1.0;
        double expected = exponent == 0 ? sign * ldexp(significand, -24) : sign * ldexp(1024 + significand, exponent - 25);
        if (exponent == 31 && significand == 0) expected = sign * HUGE_VAL;
        if (exponent == 31 && significand != 0) {
            assert_true(isnan(single) && isnan(wide));
            assert_int_equal(bits_of(single), (half >> 15) << 31 | 0x7F800000u | (half & 1023) << 13);
        } else if (!(single == expected && wide == expected) || (signbit(single) == 0) != (signbit(expected) == 0)) {
            fail_msg("half %04x is %.17g and %.17g, expected %.17g", half, (double)single, wide, expected);
        }
        ds_convert(&single, DS_F32, bytes, DS_DTYPE_BF16, 1);
        assert_int_equal(bits_of(single), half << 16);
        ds_convert(&wide, DS_F64, bytes, DS_DTYPE_BF16, 1);
        assert_true(wide == (double)single || (isnan(wide) && isnan(single)));
    }
}

static void converts_between_float_and_double(void **state) {
    (void)state;
    const double doubles[] = {1.0 / 3, -0x1p-149, 0x1.fffffffp127, 1e300, -0.0};
    const float floats[] = {1.0f / 3, -0x1p-149f, 0x1.fffffep127f, HUGE_VALF, -0.0f};
    uint8_t bytes[1 + sizeof doubles]; /* one byte off every alignment */
    float single[5];
    double wide[5];
    memcpy(bytes + 1, doubles, sizeof doubles);
    ds_convert(single, DS_F32, bytes + 1, DS_DTYPE_F64, 5);
    ds_convert(wide, DS_F64, bytes + 1, DS_DTYPE_F64, 5);
    for (size_t i = 0; i < 5; i++) assert_int_equal(bits_of(single[i]), bits_of((float)doubles[i]));
    assert_memory_equal(wide, doubles, sizeof doubles);
    memcpy(bytes + 1, floats, sizeof floats);
    ds_convert(single, DS_F32, bytes + 1, DS_DTYPE_F32, 5);
    ds_convert(wide, DS_F64, bytes + 1, DS_DTYPE_F32, 5);
    assert_memory_equal(single, floats, sizeof floats);
    for (size_t i = 0; i < 5; i++) assert_true(wide[i] == (double)floats[i]);
}

typedef struct collected {
    uint8_t *bytes;
    size_t item;
    uint64_t next;
} collected;

static ds_status collect(void *context, const void *values, uint64_t first, size_t count) {
    collected *c = context;
    assert_int_equal(first, c->next);
    memcpy(c->bytes + first * c->item, values, count * c->item);
    c->next += count;
    return DS_OK;
}

/* Tensors of every kind scattered over a file of several pieces (overlapping, at odd offsets, crossing the ends of pieces),
 * each read into place and through a sink in both precisions, against conversion of the whole file at once. */
static void reads_any_layout(void **state) {
    (void)state;
    enum { FILE_BYTES = (5 << 19) + 12345, TENSORS = 40 };
    const uint64_t seed = 20260107;
    print_message("seed %llu\n", (unsigned long long)seed);
    uint8_t *bytes = random_bytes(FILE_BYTES, seed);
    ds_random random = ds_random_init(seed + 1);
    ds_catalog catalog = {0};
    expect_ok(ds_catalog_open_file(&catalog, scratch_write("layout", bytes, FILE_BYTES)));
    for (size_t i = 0; i < TENSORS; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "t%zu", i);
        ds_dtype dtype = (ds_dtype)ds_random_below(&random, 4);
        uint64_t offset = ds_random_below(&random, FILE_BYTES);
        uint64_t room = (FILE_BYTES - offset) / ds_dtype_size(dtype);
        add_vector(&catalog, name, dtype, offset, i % 3 == 0 ? room : ds_random_below(&random, room + 1));
    }
    expect_ok(ds_catalog_seal(&catalog));
    for (int pass = 0; pass < 4; pass++) {
        ds_tensor_read reads[TENSORS];
        collected sinks[TENSORS];
        ds_precision precision = pass % 2 == 0 ? DS_F32 : DS_F64;
        for (size_t i = 0; i < TENSORS; i++) {
            uint8_t *values = malloc(catalog.tensors[i].count * 8 + 1);
            assert_non_null(values);
            sinks[i] = (collected){values, ds_precision_size(precision), 0};
            reads[i] = (ds_tensor_read){.tensor = &catalog.tensors[i], .precision = precision};
            if (pass < 2) {
                reads[i].destination = values;
            } else {
                reads[i].sink = collect;
                reads[i].context = &sinks[i];
            }
        }
        expect_ok(ds_catalog_read(&catalog, reads, TENSORS));
        for (size_t i = 0; i < TENSORS; i++) {
            const ds_tensor *tensor = &catalog.tensors[i];
            uint8_t *expected = malloc(tensor->count * 8 + 1);
            assert_non_null(expected);
            ds_convert(expected, precision, bytes + tensor->offset, tensor->dtype, tensor->count);
            if (pass >= 2) assert_int_equal(sinks[i].next, tensor->count);
            assert_memory_equal(sinks[i].bytes, expected, tensor->count * ds_precision_size(precision));
            free(expected);
            free(sinks[i].bytes);
        }
    }
    ds_catalog_release(&catalog);
    free(bytes);
}

/* Element [i,j,k] of a strided tensor is the file's element i*s0 + j*s1 + k*s2. */
static void reads_strided_tensors(void **state) {
    (void)state;
    enum { ELEMENTS = 600000, D0 = 7, D1 = 300, D2 = 11 };
    static const int64_t strides[][3] = {{D1 * D2, 1, D1}, {1, D0, D0 * D1}, {0, D2, 1}, {2 * D1 * D2, 2 * D2, 2}, {1, 1, 1}};
    float *stored = malloc(ELEMENTS * sizeof *stored);
    assert_non_null(stored);
    for (size_t i = 0; i < ELEMENTS; i++) stored[i] = (float)i;
    ds_catalog catalog = {0};
    expect_ok(ds_catalog_open_file(&catalog, scratch_write("strided", stored, ELEMENTS * sizeof *stored)));
    enum { CASES = sizeof strides / sizeof *strides };
    for (size_t i = 0; i < CASES; i++) {
        ds_tensor tensor = tensor_at((const char[]){(char)('a' + i), 0}, DS_DTYPE_F32, 4 * 5000, 3,
                                     (const uint64_t[]){D0, D1, D2}, strides[i]);
        add(&catalog, &tensor);
    }
    expect_ok(ds_catalog_seal(&catalog));
    ds_tensor_read reads[CASES];
    static double values[CASES][D0][D1][D2];
    for (size_t i = 0; i < CASES; i++)
        reads[i] = (ds_tensor_read){.tensor = &catalog.tensors[i], .precision = DS_F64, .destination = values[i]};
    expect_ok(ds_catalog_read(&catalog, reads, CASES));
    for (size_t c = 0; c < CASES; c++) {
        for (int64_t i = 0; i < D0; i++) {
            for (int64_t j = 0; j < D1; j++) {
                for (int64_t k = 0; k < D2; k++) {
                    int64_t expected = 5000 + i * strides[c][0] + j * strides[c][1] + k * strides[c][2];
                    if (!(values[c][i][j][k] == (double)expected))
                        fail_msg("case %zu [%d,%d,%d]: %g, expected %d", c, (int)i, (int)j, (int)k, values[c][i][j][k],
                                 (int)expected);
                }
            }
        }
    }
    ds_catalog_release(&catalog);
    free(stored);
}

/* A few elements far apart cost what they take, not the bytes between them, however many tensors span these. */
static void bounds_memory_of_strided_tensors(void **state) {
    (void)state;
    enum { TENSORS = 20, ROWS = 3, COLUMNS = 2 };
    const int64_t row = 8 << 20; /* elements: 32 MiB */
    const char *path = scratch_write("sparse", "", 0);
    assert_int_equal(truncate(path, (ROWS - 1) * 4 * row + 4096), 0);
    int descriptor = open(path, O_WRONLY | O_CLOEXEC);
    assert_true(descriptor >= 0);
    for (int i = 0; i < ROWS; i++) {
        const float values[] = {(float)i + 0.25F, (float)i + 0.5F, (float)i + 0.75F};
        assert_int_equal(pwrite(descriptor, values, sizeof values, i * 4 * row), sizeof values);
    }
    (void)close(descriptor);
    ds_catalog catalog = {0};
    ds_tensor_read reads[TENSORS];
    float values[TENSORS * ROWS * COLUMNS] = {0};
    expect_ok(ds_catalog_open_file(&catalog, path));
    for (size_t i = 0; i < TENSORS; i++) {
        ds_tensor tensor = tensor_at((const char[]){(char)('a' + i), 0}, DS_DTYPE_F32, 0, 2, (const uint64_t[]){ROWS, COLUMNS},
                                     (const int64_t[]){row, 2});
        add(&catalog, &tensor);
    }
    expect_ok(ds_catalog_seal(&catalog));
    for (size_t i = 0; i < TENSORS; i++)
        reads[i] =
            (ds_tensor_read){.tensor = &catalog.tensors[i], .precision = DS_F32, .destination = values + i * ROWS * COLUMNS};
    size_t before = ds_peak_memory_bytes();
    expect_ok(ds_catalog_read(&catalog, reads, TENSORS));
    assert_true(ds_peak_memory_bytes() - before < (size_t)16 << 20);
    for (size_t i = 0; i < TENSORS * ROWS * COLUMNS; i++) {
        float found = values[i], wanted = (float)(i / COLUMNS % ROWS) + (i % COLUMNS == 0 ? 0.25F : 0.75F);
        if (!(found == wanted)) fail_msg("element %zu: %g, expected %g", i, (double)found, (double)wanted);
    }
    ds_catalog_release(&catalog);
    (void)unlink(path);
}

/* Digests of known texts (FIPS 180-4 examples), of one file and of two. */
static void hashes_files(void **state) {
    (void)state;
    ds_catalog catalog = {0};
    expect_ok(ds_catalog_open_file(&catalog, scratch_write("a", "abc", 3)));
    expect_ok(ds_catalog_seal(&catalog));
    assert_string_equal(catalog.digest, "");
    expect_ok(ds_catalog_read(&catalog, NULL, 0));
    assert_string_equal(catalog.digest, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    expect_ok(ds_catalog_open_file(&catalog, scratch_write("b", "", 0)));
    expect_ok(ds_catalog_read(&catalog, NULL, 0));
    assert_string_equal(catalog.files[1].digest, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    /* printf abc >a; : >b; sha256sum a b | sha256sum */
    assert_string_equal(catalog.digest, "09c7e0b8a02d027d95ec0375a600ed4ad4d6b26a1c93f16d9150cab5fec761a6");
    ds_catalog_release(&catalog);
}

/* Records beside, inside and across the pieces and the tensors that are read in place; then each damaged in turn. */
static void checks_every_record(void **state) {
    (void)state;
    enum { FILE_BYTES = (3 << 20) + 77, RECORDS = 4 };
    static const uint64_t ranges[RECORDS][2] = {{3, 1}, {10, (1 << 20) + 1}, {(1 << 20) + 11, 0}, {2 << 20, (1 << 20) + 77}};
    uint8_t *bytes = random_bytes(FILE_BYTES, 5);
    for (int damaged = -1; damaged < RECORDS; damaged++) {
        ds_catalog catalog = {0};
        expect_ok(ds_catalog_open_file(&catalog, scratch_write("records", bytes, FILE_BYTES)));
        for (int i = RECORDS - 1; i >= 0; i--) {
            uLong crc = crc32(0, bytes + ranges[i][0], (uInt)ranges[i][1]);
            ds_record record = {"data/0", 0, ranges[i][0], ranges[i][1], (uint32_t)crc ^ (i == damaged ? 0x80u : 0)};
            expect_ok(ds_catalog_add_record(&catalog, &record));
        }
        add_vector(&catalog, "w", DS_DTYPE_F32, 12, 1 << 18);
        expect_ok(ds_catalog_seal(&catalog));
        float *values = malloc(sizeof *values << 18);
        ds_tensor_read read = {.tensor = &catalog.tensors[0], .precision = DS_F32, .destination = values};
        if (damaged < 0) {
            expect_ok(ds_catalog_read(&catalog, &read, 1));
            assert_memory_equal(values, bytes + 12, sizeof *values << 18);
        } else {
            expect_failure(ds_catalog_read(&catalog, &read, 1), DS_ERR_INPUT,
                           "crc mismatch in data/0: the record is damaged, its crc32 is ");
        }
        free(values);
        ds_catalog_release(&catalog);
    }
    free(bytes);
}

static ds_status cut_file(void *context, const void *values, uint64_t first, size_t count) {
    (void)values, (void)first, (void)count;
    assert_int_equal(truncate(context, 2 << 20), 0);
    return DS_OK;
}

static ds_status refuse_values(void *context, const void *values, uint64_t first, size_t count) {
    (void)context, (void)values;
    return ds_fail(DS_ERR_INPUT, "%zu values from %d are not wanted", count, (int)first);
}

/* A file that shrinks, grows or is exchanged behind our back is an error, never a crash and never a mixture. */
static void refuses_a_file_that_changes(void **state) {
    (void)state;
    enum { FILE_BYTES = 4 << 20 };
    uint8_t *bytes = random_bytes(FILE_BYTES, 9);
    ds_catalog catalog = {0};
    const char *path = scratch_write("changing", bytes, FILE_BYTES);
    expect_ok(ds_catalog_open_file(&catalog, path));
    add_vector(&catalog, "w", DS_DTYPE_BF16, 0, 100);
    expect_ok(ds_catalog_seal(&catalog));
    char *name = ds_strdup(path);
    ds_tensor_read read = {.tensor = &catalog.tensors[0], .precision = DS_F32, .sink = refuse_values};
    expect_failure(ds_catalog_read(&catalog, &read, 1), DS_ERR_INPUT, "100 values from 0 are not wanted");
    read.sink = cut_file;
    read.context = name;
    expect_failure(ds_catalog_read(&catalog, &read, 1), DS_ERR_INPUT,
                   "became shorter while it was read: it ends at byte 2097152");
    ds_catalog_release(&catalog);
    path = scratch_write("changing", bytes, FILE_BYTES);
    expect_ok(ds_catalog_open_file(&catalog, path));
    expect_ok(ds_catalog_read(&catalog, NULL, 0));
    bytes[FILE_BYTES - 1] ^= 1;
    (void)scratch_write("changing", bytes, FILE_BYTES);
    expect_failure(ds_catalog_read(&catalog, NULL, 0), DS_ERR_INPUT, "changed");
    ds_catalog_release(&catalog);
    free(name);
    free(bytes);
}

static void refuses_what_cannot_be_read(void **state) {
    (void)state;
    ds_catalog catalog = {0};
    expect_ok(ds_catalog_open_file(&catalog, scratch_write("tiny", "0123456789", 10)));
    add_vector(&catalog, "beyond", DS_DTYPE_F32, 4, 2);
    add_vector(&catalog, "integers", DS_DTYPE_OTHER, 0, 2);
    add_vector(&catalog, "none", DS_DTYPE_F32, 10, 0);
    expect_ok(ds_catalog_seal(&catalog));
    float values[2] = {7, 7};
    ds_tensor_read read = {.tensor = &catalog.tensors[0], .precision = DS_F32, .destination = values};
    expect_failure(ds_catalog_read(&catalog, &read, 1), DS_ERR_INPUT, "beyond the file's 10 bytes");
    read.tensor = &catalog.tensors[1];
    expect_failure(ds_catalog_read(&catalog, &read, 1), DS_ERR_INPUT, "unsupported for integers");
    read.tensor = &catalog.tensors[2];
    expect_ok(ds_catalog_read(&catalog, &read, 1));
    assert_true(values[0] == 7 && values[1] == 7);
    ds_catalog_release(&catalog);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(converts_every_half),
        cmocka_unit_test(converts_between_float_and_double),
        cmocka_unit_test(reads_any_layout),
        cmocka_unit_test(reads_strided_tensors),
        cmocka_unit_test(bounds_memory_of_strided_tensors),
        cmocka_unit_test(hashes_files),
        cmocka_unit_test(checks_every_record),
        cmocka_unit_test(refuses_a_file_that_changes),
        cmocka_unit_test(refuses_what_cannot_be_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
