/* A tenth of the matrix of commands, options and shortest windows for two models of every variant; long_matrix.c has all
 * of more. */
#include "matrix.h"
#include "support.h"

static void test_tenth(void **state) {
    (void)state;
    matrix_result result = matrix_run(20261128, 2, 10);
    print_message("%zu cells, %zu refused as they should be\n", result.cells - result.failed, result.refused);
    assert_int_equal(result.failed, 0);
    assert_true(result.cells > 80 && result.refused > 0);
}

static void test_backbones(void **state) {
    (void)state;
    matrix_result result = matrix_run_backbones(20261128, 1, 16);
    print_message("%zu cells, %zu refused as they should be\n", result.cells - result.failed, result.refused);
    assert_int_equal(result.failed, 0);
    assert_true(result.cells > 15 && result.refused > 0);
}

static void test_neighbours(void **state) {
    (void)state;
    matrix_result result = matrix_run_neighbours(20261128, 10);
    print_message("%zu cells, %zu refused as they should be\n", result.cells - result.failed, result.refused);
    assert_int_equal(result.failed, 0);
    assert_true(result.cells > 15);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_tenth), cmocka_unit_test(test_backbones),
                                       cmocka_unit_test(test_neighbours)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
