/* Arithmetic of base.h, and what threads are at. */
#include <math.h>

#include "deltascope/activity.h"
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

/* ---- activities -------------------------------------------------------------------------------------------------- */

static void spend(double seconds) {
    for (const double began = ds_seconds(); ds_seconds() - began < seconds;) continue;
}

static ds_status spend_task(void *context, size_t index, size_t worker) {
    (void)context, (void)worker;
    if (index % 2 == 0) (void)ds_activity_turn(DS_ACTIVITY_RULE);
    const ds_activity before = ds_activity_turn(DS_ACTIVITY_PRODUCTS);
    spend(0.002);
    (void)ds_activity_turn(before);
    spend(0.001);
    return before == (index % 2 == 0 ? DS_ACTIVITY_RULE : DS_ACTIVITY_OTHER) ? DS_OK : ds_fail(DS_ERR_SYSTEM, "at another");
}

/* Time goes to what a thread is at, on every thread; what the caller was at it is again after a loop. */
static void test_activities(void **state) {
    (void)state;
    double seconds[DS_ACTIVITIES];
    ds_activity_measure();
    assert_int_equal(ds_activity_turn(DS_ACTIVITY_HEAD), DS_ACTIVITY_OTHER);
    spend(0.002);
    expect_ok(ds_parallel_for(8, spend_task, NULL));
    assert_int_equal(ds_activity_turn(DS_ACTIVITY_OTHER), DS_ACTIVITY_HEAD);
    ds_activity_finish(seconds);
    assert_true(seconds[DS_ACTIVITY_PRODUCTS] >= 0.0159 && seconds[DS_ACTIVITY_RULE] >= 0.0039);
    assert_true(seconds[DS_ACTIVITY_OTHER] >= 0.0039 && seconds[DS_ACTIVITY_HEAD] >= 0.0019);
    assert_true(seconds[DS_ACTIVITY_NONE] + seconds[DS_ACTIVITY_ATTENTION] + seconds[DS_ACTIVITY_OPTIMISER] <= 0);
    (void)ds_activity_turn(DS_ACTIVITY_RULE); /* not measured any more */
    spend(0.001);
    ds_activity_measure();
    ds_activity_finish(seconds);
    assert_true(seconds[DS_ACTIVITY_RULE] + seconds[DS_ACTIVITY_PRODUCTS] <= 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_running_maximum), cmocka_unit_test(test_normal_pairs),
                                       cmocka_unit_test(test_activities)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
