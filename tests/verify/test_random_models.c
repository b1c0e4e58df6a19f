/* verify passes on models drawn over every option; long_random_models.c draws more. */
#include "random_model.h"
#include "random_rules.h"
#include "support.h"

static void test_few(void **state) {
    (void)state;
    assert_int_equal(random_models_verify(20261128, 20), 0);
}

static void test_few_backbones(void **state) {
    (void)state;
    assert_int_equal(random_backbones_verify(20261128, 12), 0);
}

static void test_few_histories(void **state) {
    (void)state;
    assert_int_equal(random_depth_verify(20261128, 16), 0);
}

static void test_few_streams(void **state) {
    (void)state;
    assert_int_equal(random_streams_verify(20261128, 15), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_few), cmocka_unit_test(test_few_backbones),
                                       cmocka_unit_test(test_few_histories), cmocka_unit_test(test_few_streams)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    ds_threads_stop();
    return failed;
}
