/* What an update's number decides: its learning rate and its windows. */
#include <math.h>

#include "deltascope/train.h"

double ds_recipe_learning_rate(const ds_recipe *recipe, uint64_t update) {
    const double pi = 3.14159265358979323846;
    const double high = recipe->learning_rate, low = recipe->min_learning_rate;
    const double t = (double)update, w = (double)recipe->warmup_steps, end = (double)recipe->decay_steps;
    if (update < recipe->warmup_steps) {
        if (recipe->warmup == DS_WARMUP_FROM_ZERO) return high * t / w;
        return high * (t + 1) / (w + 1);
    }
    if (update >= recipe->decay_steps) return low;
    return low + (high - low) * (1 + cos(pi * (t - w) / (end - w))) / 2;
}

/* floor(a b / 2^64) */
static uint64_t high_product(uint64_t a, uint64_t b) {
    uint64_t a0 = a & 0xffffffff, a1 = a >> 32, b0 = b & 0xffffffff, b1 = b >> 32;
    uint64_t middle = a1 * b0 + (a0 * b0 >> 32), lower = a0 * b1 + (middle & 0xffffffff);
    return a1 * b1 + (middle >> 32) + (lower >> 32);
}

uint64_t ds_recipe_window(const ds_recipe *recipe, uint64_t tokens, uint64_t update, uint64_t micro, uint64_t row) {
    const uint64_t golden = 0x9E3779B97F4A7C15u; /* SplitMix64's step: its output number i is reached without the others */
    uint64_t i = (update * recipe->accumulation + micro) * recipe->batch + row;
    if (recipe->order == DS_ORDER_CONSECUTIVE) return i % ((tokens - 1) / recipe->length) * recipe->length;
    ds_random random = ds_random_init(recipe->data_seed + i * golden);
    return high_product(ds_random_u64(&random), tokens - recipe->length);
}
