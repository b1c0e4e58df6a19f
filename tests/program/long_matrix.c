/* Every command on three models of every variant, with all options drawn, at windows of 1, 2, 3 tokens and the whole
 * block, one window and two: `make check-matrix` runs it under sanitizers. MATRIX_MODELS of each variant from MATRIX_SEED
 * on choose others, an argument one part ("test_all_backbones"). */
#include <stdlib.h>

#include "matrix.h"
#include "support.h"

static uint64_t number(const char *name, uint64_t otherwise) {
    const char *text = getenv(name);
    return text != NULL ? strtoull(text, NULL, 10) : otherwise;
}

static void test_all(void **state) {
    (void)state;
    matrix_result result = matrix_run(number("MATRIX_SEED", 1), (size_t)number("MATRIX_MODELS", 3), 1);
    print_message("%zu cells, %zu of them refused as they should be, %zu failed\n", result.cells, result.refused,
                  result.failed);
    assert_int_equal(result.failed, 0);
    assert_true(result.cells > 0);
}

static void test_all_backbones(void **state) {
    (void)state;
    matrix_result result = matrix_run_backbones(number("MATRIX_SEED", 1), (size_t)number("MATRIX_MODELS", 3), 1);
    print_message("plain transformers: %zu cells, %zu of them refused as they should be, %zu failed\n", result.cells,
                  result.refused, result.failed);
    assert_int_equal(result.failed, 0);
    assert_true(result.cells > 0);
}

static void test_all_neighbours(void **state) {
    (void)state;
    matrix_result result = matrix_run_neighbours(number("MATRIX_SEED", 1), 1);
    print_message("attention over depth and streams: %zu cells, %zu of them refused as they should be, %zu failed\n",
                  result.cells, result.refused, result.failed);
    assert_int_equal(result.failed, 0);
    assert_true(result.cells > 0);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_all), cmocka_unit_test(test_all_backbones),
                                       cmocka_unit_test(test_all_neighbours)};
    cmocka_set_test_filter(argc > 1 ? argv[1] : "*");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
