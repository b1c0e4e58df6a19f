/* Arithmetic of base.h. */
#include <math.h>

#include "support.h"

/* Wherever a NaN stands in a row of numbers, it is the row's maximum. */
static void test_running_maximum(void **state) {
    (void)state;
    const double numbers[] = {0.25, 3.5, 1.75};
    double largest = 0;
    for (size_t i = 0; i < 3; i++) largest = ds_max_real(largest, numbers[i]);
    expect_close(largest, 3.5, 0);
    expect_close(ds_max_real(-2.5, -7.25), -2.5, 0);
    assert_true(isinf(ds_max_real(1.25, INFINITY)));
    for (size_t at = 0; at < 3; at++) {
        largest = 0;
        for (size_t i = 0; i < 3; i++) largest = ds_max_real(largest, i == at ? NAN : numbers[i]);
        assert_true(isnan(largest));
    }
}

/* A pair is one draw: its first number is what ds_random_normal gives from the same place, and both move on alike. */
static void test_normal_pairs(void **state) {
    (void)state;
    enum { PAIRS = 4000 };
    ds_random single = ds_random_init(31), paired = single;
    double sum = 0, squares = 0, product = 0, pair[2];
    for (size_t i = 0; i < PAIRS; i++) {
        ds_random_normal_pair(pair, &paired);
        expect_close(ds_random_normal(&single), pair[0], 0);
        assert_true(single.state == paired.state);
        sum += pair[0] + pair[1];
        squares += pair[0] * pair[0] + pair[1] * pair[1];
        product += pair[0] * pair[1];
    }
    /* five standard errors of mean 0, variance 1, correlation 0 */
    expect_close(sum / (2 * PAIRS), 0, 5 / sqrt(2.0 * PAIRS));
    expect_close(squares / (2 * PAIRS), 1, 5 * sqrt(2 / (2.0 * PAIRS)));
    expect_close(product / PAIRS, 0, 5 / sqrt((double)PAIRS));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_running_maximum), cmocka_unit_test(test_normal_pairs)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
