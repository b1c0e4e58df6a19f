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

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_running_maximum)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
