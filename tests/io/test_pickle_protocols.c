/* One checkpoint under each of pickle's protocols 2 to 5, as Python writes them: the same tensors whatever stands beside. */
#include <stdlib.h>
#include <string.h>

#include "archive.h"
#include "io/catalog.h"
#include "scratch.h"
#include "support.h"

enum { STORED = 64, PROTOCOLS = 4, MOST = 8 };

static float storage[STORED];

typedef struct state {
    size_t count;
    char names[MOST][400];
    size_t ranks[MOST];
    uint64_t shapes[MOST][DS_MAX_RANK];
} state_dict;

/* Reads all tensors; their values are those of the storage where their names say. */
static void load(state_dict *out, const char *pickle, size_t length) {
    ds_text archive = {0};
    ds_catalog catalog = {0};
    archive_build_torch(&archive, pickle, length, storage, sizeof storage);
    expect_ok(ds_catalog_open_file(&catalog, archive_publish(&archive)));
    expect_ok(ds_torch_list(&catalog, &catalog.files[0].source, 0));
    expect_ok(ds_catalog_seal(&catalog));
    *out = (state_dict){.count = catalog.tensor_count};
    assert_in_range(catalog.tensor_count, 1, MOST);
    for (size_t i = 0; i < catalog.tensor_count; i++) {
        const ds_tensor *tensor = &catalog.tensors[i];
        float values[STORED] = {0};
        size_t offset = 0, count = 0;
        const char *dot = strchr(tensor->name, '.');
        assert_true(dot != NULL && sscanf(dot, ".%*u.%zu.%zu", &offset, &count) == 2);
        assert_int_equal(tensor->count, count);
        ds_tensor_read wanted = {.tensor = tensor, .precision = DS_F32, .destination = values};
        expect_ok(ds_catalog_read(&catalog, &wanted, 1));
        assert_memory_equal(values, storage + offset, count * sizeof *values);
        (void)snprintf(out->names[i], sizeof out->names[i], "%s", tensor->name);
        out->ranks[i] = tensor->rank;
        memcpy(out->shapes[i], tensor->shape, tensor->rank * sizeof *tensor->shape);
    }
    ds_catalog_release(&catalog);
    ds_text_release(&archive);
}

/* A file as fixtures/valid/protocols/make.py writes it. */
static size_t expect_same_states(const char *path) {
    char *bytes;
    size_t length, objects = 0;
    expect_ok(ds_read_file(&bytes, &length, path, 1 << 26));
    for (size_t at = 0; at < length; objects++) {
        static state_dict states[PROTOCOLS];
        for (size_t p = 0; p < PROTOCOLS; p++) {
            uint32_t size;
            assert_true(length - at >= sizeof size);
            memcpy(&size, bytes + at, sizeof size);
            at += sizeof size;
            assert_true(size >= 2 && size <= length - at);
            assert_int_equal(bytes[at + 1], p + 2);
            load(&states[p], bytes + at, size);
            at += size;
            if (memcmp(&states[0], &states[p], sizeof states[0]) != 0)
                fail_msg("object %zu: protocol %zu gives another state than protocol 2", objects, p + 2);
        }
    }
    free(bytes);
    return objects;
}

static void test_kept_checkpoints(void **state) {
    (void)state;
    assert_int_equal(expect_same_states("fixtures/valid/protocols/checkpoints"), 6);
}

static void test_random_checkpoints(void **state) {
    (void)state;
    ds_text line = {0};
    if (system("python3 -c pass >/dev/null 2>&1") != 0) {
        print_message("no python3 to write checkpoints with\n");
        skip();
    }
    print_message("seed 46\n");
    expect_ok(ds_text_printf(&line, "python3 fixtures/valid/protocols/make.py 46 200 >%s", scratch_path("checkpoints")));
    assert_int_equal(system(line.bytes), 0);
    assert_int_equal(expect_same_states(scratch_path("checkpoints")), 200);
    ds_text_release(&line);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kept_checkpoints),
        cmocka_unit_test(test_random_checkpoints),
    };
    for (size_t i = 0; i < STORED; i++) storage[i] = (float)i * 0.37f - 11.625f;
    return cmocka_run_group_tests_name("pickle_protocols", tests, NULL, NULL);
}
