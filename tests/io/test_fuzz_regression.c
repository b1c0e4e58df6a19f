/* Every committed input of every fuzz target, run without an engine: seeds, what fuzzing has kept, and past findings. A
 * relation that does not hold aborts. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "deltascope/io.h"
#include "support.h"

typedef int (*fuzz_target)(const uint8_t *data, size_t size);
int fuzz_bpe(const uint8_t *data, size_t size);
int fuzz_config(const uint8_t *data, size_t size);
int fuzz_index(const uint8_t *data, size_t size);
int fuzz_journal(const uint8_t *data, size_t size);
int fuzz_json(const uint8_t *data, size_t size);
int fuzz_key(const uint8_t *data, size_t size);
int fuzz_map(const uint8_t *data, size_t size);
int fuzz_manifest(const uint8_t *data, size_t size);
int fuzz_meta(const uint8_t *data, size_t size);
int fuzz_model(const uint8_t *data, size_t size);
int fuzz_npy(const uint8_t *data, size_t size);
int fuzz_pickle(const uint8_t *data, size_t size);
int fuzz_results(const uint8_t *data, size_t size);
int fuzz_safetensors(const uint8_t *data, size_t size);
int fuzz_tokenizer_json(const uint8_t *data, size_t size);
int fuzz_tokens(const uint8_t *data, size_t size);
int fuzz_torch(const uint8_t *data, size_t size);
int fuzz_zip(const uint8_t *data, size_t size);

/* Runs the files of fixtures/fuzz/NAME, the empty input, and every file with its end missing. */
static void run_folder(const char *name, fuzz_target target) {
    char path[512];
    size_t files = 0;
    (void)snprintf(path, sizeof path, "fixtures/fuzz/%s", name);
    DIR *folder = opendir(path);
    assert_non_null(folder);
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        if (entry->d_name[0] == '.') continue;
        (void)snprintf(path, sizeof path, "fixtures/fuzz/%s/%s", name, entry->d_name);
        char *bytes;
        size_t length;
        expect_ok(ds_read_file(&bytes, &length, path, 1 << 24));
        (void)target((const uint8_t *)bytes, length);
        (void)target((const uint8_t *)bytes, length / 2);
        (void)target((const uint8_t *)bytes, 0);
        free(bytes);
        files++;
    }
    (void)closedir(folder);
    assert_true(files > 0);
}

#define TARGET(name)                                                                                                           \
    static void test_##name(void **state) {                                                                                    \
        (void)state;                                                                                                           \
        run_folder(#name, fuzz_##name);                                                                                        \
    }
TARGET(bpe)
TARGET(config)
TARGET(index)
TARGET(journal)
TARGET(json)
TARGET(key)
TARGET(map)
TARGET(manifest)
TARGET(meta)
TARGET(model)
TARGET(npy)
TARGET(pickle)
TARGET(results)
TARGET(safetensors)
TARGET(tokenizer_json)
TARGET(tokens)
TARGET(torch)
TARGET(zip)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bpe),     cmocka_unit_test(test_config),      cmocka_unit_test(test_index),
        cmocka_unit_test(test_journal), cmocka_unit_test(test_json),        cmocka_unit_test(test_manifest),
        cmocka_unit_test(test_key),     cmocka_unit_test(test_map),         cmocka_unit_test(test_meta),
        cmocka_unit_test(test_model),   cmocka_unit_test(test_npy),         cmocka_unit_test(test_pickle),
        cmocka_unit_test(test_results), cmocka_unit_test(test_safetensors), cmocka_unit_test(test_tokenizer_json),
        cmocka_unit_test(test_tokens),  cmocka_unit_test(test_torch),       cmocka_unit_test(test_zip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
