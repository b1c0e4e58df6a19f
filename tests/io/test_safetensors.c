/* safetensors headers: every rule of the format broken once, and legal oddities read to the same values. */
#include "support.h"

#include <stdlib.h>
#include <string.h>

#include "io/catalog.h"
#include "scratch.h"

/* Writes length, header and `data_bytes` bytes 0, 1, 2, ... and lists the file into a sealed catalog. */
static ds_status list(ds_catalog *catalog, const char *header, size_t data_bytes) {
    size_t length = strlen(header), total = 8 + length + data_bytes;
    uint8_t *bytes = malloc(total);
    assert_non_null(bytes);
    for (size_t i = 0; i < 8; i++) bytes[i] = (uint8_t)((uint64_t)length >> 8 * i);
    memcpy(bytes + 8, header, length);
    for (size_t i = 0; i < data_bytes; i++) bytes[8 + length + i] = (uint8_t)i;
    const char *path = scratch_write("t.safetensors", bytes, total);
    free(bytes);
    *catalog = (ds_catalog){0};
    ds_status status = ds_catalog_open_file(catalog, path);
    if (status == DS_OK) status = ds_safetensors_list(catalog, &catalog->files[0].source, 0);
    if (status == DS_OK) status = ds_catalog_seal(catalog);
    return status;
}

static const struct {
    const char *header;
    size_t data_bytes;
    const char *words;
} broken_rules[] = {
    {"", 0, "invalid JSON"},
    {"[]", 0, "header is not a JSON object"},
    {"null", 0, "header is not a JSON object"},
    {"{}", 4, "file has bytes no tensor covers"},
    {"{\"a\":null}", 0, "entry of a is not an object"},
    {"{\"a\":[\"F32\",[1],[0,4]]}", 4, "entry of a is not an object"},
    {"{\"a\":{\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "missing dtype for a"},
    {"{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4, "missing shape for a"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, "missing data_offsets for a"},
    {"{\"a\":{\"dtype\":\"F33\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "unknown dtype F33 of a"},
    {"{\"a\":{\"dtype\":\"f32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "unknown dtype f32 of a"},
    {"{\"a\":{\"dtype\":{\"F32\":null},\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "dtype of a is not a string"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":1,\"data_offsets\":[0,4]}}", 4, "shape of a is not a list"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1.0],\"data_offsets\":[0,4]}}", 4, "dimension 0 of a is not an integer"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[-0,4]}}", 4, "\"-0\" in the header"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-0],\"data_offsets\":[0,0]}}", 0, "\"-0\" in the header"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[true],\"data_offsets\":[0,4]}}", 4, "dimension 0 of a is not an integer"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-1,-1],\"data_offsets\":[0,4]}}", 4, "negative dimension 1 of a: -1"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,4]}}", 4, "too many dimensions"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}}", 0, "shape overflow"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[0,9223372036854775807,9223372036854775807],\"data_offsets\":[0,0]}}", 0,
     "shape overflow"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2305843009213693952],\"data_offsets\":[0,0]}}", 0, "shape overflow"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", 4, "invalid data_offsets of a"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,4]}}", 4, "invalid data_offsets of a"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[-4,0]}}", 4, "invalid data_offsets of a"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}", 4, "begin 4 is beyond end 0"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4, "shape and data_offsets disagree for a"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}", 8, "invalid data_offsets: a begins at byte 4"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
     "\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
     4, "overlapping data_offsets"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
     "\"b\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[2,2]}}",
     4, "overlapping data_offsets"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 3, "truncated: a ends at byte 4"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 5, "file has bytes no tensor covers"},
    {"{\"a\":{\"dtype\":\"F4\",\"shape\":[3],\"data_offsets\":[0,2]}}", 2, "a is not a whole number of bytes"},
    {"{\"a\":{\"dtype\":\"F6_E2M3\",\"shape\":[2],\"data_offsets\":[0,2]}}", 2, "a is not a whole number of bytes"},
    {"{\"__metadata__\":[]}", 0, "__metadata__ must be an object"},
    {"{\"__metadata__\":{\"format\":1}}", 0, "__metadata__ values must be strings: \"format\""},
    {"{\"\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}", 4, "empty name"},
    {"{\"module.\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}", 4, "empty name"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]},"
     "\"\\u0061\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[4,8]}}",
     8, "duplicate key"},
    {"{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}", 4, "duplicate key"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]},"
     "\"_orig_mod.a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[4,8]}}",
     8, "duplicate tensor a"},
};

static void refuses_what_breaks_a_rule(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof broken_rules / sizeof *broken_rules; i++) {
        ds_catalog catalog;
        expect_failure(list(&catalog, broken_rules[i].header, broken_rules[i].data_bytes), DS_ERR_INPUT, broken_rules[i].words);
        if (strstr(ds_error_text(), "t.safetensors: ") == NULL) fail_msg("no file name in \"%s\"", ds_error_text());
        ds_catalog_release(&catalog);
    }
}

static void refuses_wrong_lengths(void **state) {
    (void)state;
    static const struct {
        uint64_t length;
        size_t file_bytes;
        const char *words;
    } cases[] = {
        {0, 0, "file too small: 0 bytes"},
        {0, 7, "file too small: 7 bytes"},
        {60, 8, "header length exceeds file: 60 bytes, 0 are left"},
        {3, 10, "header length exceeds file: 3 bytes, 2 are left"},
        {(32u << 20) + 1, 16, "header too large"},
        {UINT64_C(1) << 63, 16, "header too large"},
        {UINT64_MAX, 16, "header too large"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t bytes[16] = {0};
        for (size_t j = 0; j < 8; j++) bytes[j] = (uint8_t)(cases[i].length >> 8 * j);
        ds_catalog catalog = {0};
        expect_ok(ds_catalog_open_file(&catalog, scratch_write("short.safetensors", bytes, cases[i].file_bytes)));
        expect_failure(ds_safetensors_list(&catalog, &catalog.files[0].source, 0), DS_ERR_INPUT, cases[i].words);
        ds_catalog_release(&catalog);
    }
}

static void reads_legal_oddities(void **state) {
    (void)state;
    ds_catalog catalog;
    expect_ok(list(&catalog, "{}", 0));
    assert_int_equal(catalog.tensor_count, 0);
    assert_null(ds_catalog_find(&catalog, "a"));
    ds_catalog_release(&catalog);
    expect_ok(list(&catalog,
                   "\n\t {\"__metadata__\":null,\"module._orig_mod.z\":{\"data_offsets\":[8,14],\"extra\":{\"x\":[1]},"
                   "\"shape\":[3,1,1],\"dtype\":\"BF16\"},\"e\":{\"dtype\":\"F32\",\"shape\":[2,0],\"data_offsets\":[8,8]},"
                   "\"\\u0062\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[0,8]},"
                   "\"f\":{\"dtype\":\"F6_E3M2\",\"shape\":[2,2],\"data_offsets\":[14,17]}} \r\n",
                   17));
    assert_int_equal(catalog.tensor_count, 4);
    const ds_tensor *b = ds_catalog_find(&catalog, "b"), *e = ds_catalog_find(&catalog, "e"),
                    *z = ds_catalog_find(&catalog, "z");
    assert_true(b == &catalog.tensors[0] && e == &catalog.tensors[1] && z == &catalog.tensors[3]);
    assert_true(b->rank == 0 && b->count == 1 && b->dtype == DS_DTYPE_OTHER);
    assert_string_equal(b->dtype_name, "I64");
    assert_true(e->rank == 2 && e->count == 0 && e->extent == 0);
    assert_string_equal(z->stored_name, "module._orig_mod.z");
    assert_true(z->rank == 3 && z->shape[0] == 3 && z->count == 3 && z->stride[0] == 1 && z->dtype == DS_DTYPE_BF16);
    assert_true(z->offset == catalog.files[0].source.size - 9);
    float value;
    ds_tensor_read integer = {.tensor = b, .precision = DS_F32, .destination = &value};
    expect_failure(ds_catalog_read(&catalog, &integer, 1), DS_ERR_INPUT, "dtype I64 unsupported for b");
    ds_catalog_release(&catalog);
}

/* A header of 100,000 tensors is listed in time that grows with its length, not its square: under the sanitizers as well this
 * takes seconds where comparing all pairs of names would take hours. */
static void lists_many_tensors(void **state) {
    (void)state;
    enum { TENSORS = 100000 };
    ds_text header = {0};
    for (size_t i = 0; i < TENSORS; i++)
        expect_ok(ds_text_printf(&header, "%s\"t%zu\":{\"dtype\":\"F16\",\"shape\":[1],\"data_offsets\":[%zu,%zu]}",
                                 i == 0 ? "{" : ",", i, 2 * i, 2 * i + 2));
    expect_ok(ds_text_append(&header, "}", 1));
    ds_catalog catalog;
    double begin = ds_seconds();
    expect_ok(list(&catalog, header.bytes, 2 * TENSORS));
    double seconds = ds_seconds() - begin;
    if (!(seconds < 30)) fail_msg("listing took %.1f s", seconds);
    assert_int_equal(catalog.tensor_count, TENSORS);
    const ds_tensor *last = ds_catalog_find(&catalog, "t99999");
    assert_non_null(last);
    assert_int_equal(last->offset, 8 + header.length + 2 * (TENSORS - 1));
    ds_catalog_release(&catalog);
    ds_text_release(&header);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_what_breaks_a_rule),
        cmocka_unit_test(refuses_wrong_lengths),
        cmocka_unit_test(reads_legal_oddities),
        cmocka_unit_test(lists_many_tensors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
