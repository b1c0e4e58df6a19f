/* Every kernel of num.h against a loop that anyone can check by eye, in both precisions. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "deltascope/num.h"

#include "support.h"

static ds_random source;

#define REAL float
#define REAL_NAME(name) name##_f32
#define UNIT 0x1p-24
#include "kernels.inc"
#undef REAL
#undef REAL_NAME
#undef UNIT

#define REAL double
#define REAL_NAME(name) name##_f64
#define UNIT 0x1p-53
#include "kernels.inc"

static int seed_source(void **state) {
    (void)state;
    const uint64_t seed = 20260117;
    source = ds_random_init(seed);
    print_message("seed %llu\n", (unsigned long long)seed);
    return 0;
}

#define BOTH(test) cmocka_unit_test(test##_f32), cmocka_unit_test(test##_f64)

int main(void) {
    const struct CMUnitTest tests[] = {
        BOTH(products), BOTH(product_bits), BOTH(large_products), BOTH(sums),     BOTH(dot_rows),
        BOTH(rmsnorm),  BOTH(layernorm),    BOTH(gelu),           BOTH(rope),     BOTH(shift),
        BOTH(softmax),  BOTH(block),        BOTH(embed),          BOTH(compress), BOTH(direction),
        BOTH(rank_one), BOTH(not_finite),   BOTH(swiglu),         BOTH(streams),
    };
    return cmocka_run_group_tests(tests, seed_source, NULL);
}
