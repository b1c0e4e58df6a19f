/* verify passes on 1,000 models drawn over every option: no tolerance is too small for honest arithmetic. RANDOM_MODELS and
 * RANDOM_SEED choose others; a model that fails is printed with the seed that draws it alone. */
#include <stdlib.h>

#include "random_model.h"
#include "random_rules.h"
#include "support.h"

static uint64_t number(const char *name, uint64_t otherwise) {
    const char *text = getenv(name);
    return text != NULL ? strtoull(text, NULL, 10) : otherwise;
}

static void test_many(void **state) {
    (void)state;
    uint64_t seed = number("RANDOM_SEED", 1), count = number("RANDOM_MODELS", 1000);
    size_t failed = random_models_verify(seed, (size_t)count);
    print_message("%llu models from seed %llu on: %zu fail\n", (unsigned long long)count, (unsigned long long)seed, failed);
    assert_int_equal(failed, 0);
}

static void test_many_backbones(void **state) {
    (void)state;
    uint64_t seed = number("RANDOM_SEED", 1), count = number("RANDOM_MODELS", 1000);
    size_t failed = random_backbones_verify(seed, (size_t)count);
    print_message("%llu plain transformers from seed %llu on: %zu fail\n", (unsigned long long)count, (unsigned long long)seed,
                  failed);
    assert_int_equal(failed, 0);
}

static void test_many_histories(void **state) {
    (void)state;
    uint64_t seed = number("RANDOM_SEED", 1), count = number("RANDOM_MODELS", 1000);
    size_t failed = random_depth_verify(seed, (size_t)count);
    print_message("%llu models of attention over depth from seed %llu on: %zu fail\n", (unsigned long long)count,
                  (unsigned long long)seed, failed);
    assert_int_equal(failed, 0);
}

static void test_many_streams(void **state) {
    (void)state;
    uint64_t seed = number("RANDOM_SEED", 1), count = number("RANDOM_MODELS", 1000);
    size_t failed = random_streams_verify(seed, (size_t)count);
    print_message("%llu models of parallel streams from seed %llu on: %zu fail\n", (unsigned long long)count,
                  (unsigned long long)seed, failed);
    assert_int_equal(failed, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_many), cmocka_unit_test(test_many_backbones),
                                       cmocka_unit_test(test_many_histories), cmocka_unit_test(test_many_streams)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    ds_threads_stop();
    return failed;
}
