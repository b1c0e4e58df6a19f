/* Recipes: every key is read, checked, written and read back; schedules and windows by their formulas. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "scratch.h"
#include "support.h"

#include "deltascope/train.h"

static const char whole[] =
    "{\"rule\":\"write-only\",\"seq_len\":32,\"batch\":4,\"accumulation\":3,\"steps\":20,\"order\":\"splitmix64\",\"data_"
    "seed\":7,"
    "\"learning_rate\":0.003,\"min_learning_rate\":0.0003,\"warmup_steps\":5,\"decay_steps\":17,\"warmup\":\"(t+1)/(w+1)\","
    "\"beta1\":0.9,\"beta2\":0.95,\"eps\":1e-8,\"weight_decay\":0.1,\"decay\":\"not-norm\",\"clip\":1.5,"
    "\"hidden_lr_multiplier\":1.25,\"embedding_lr_multiplier\":0.75,\"val_windows\":8}";

static json_t *whole_object(void) {
    json_t *object = NULL;
    expect_ok(ds_json_parse(&object, whole, sizeof whole - 1, "whole"));
    return object;
}

static void keys_are_read_and_written(void **state) {
    (void)state;
    ds_recipe recipe;
    json_t *object = whole_object(), *again = NULL;
    expect_ok(ds_recipe_parse(&recipe, object, "whole"));
    assert_string_equal(recipe.rule, "write-only");
    assert_int_equal(recipe.order, DS_ORDER_SPLITMIX64);
    assert_int_equal(recipe.warmup, DS_WARMUP_FROM_ONE);
    assert_int_equal(recipe.decay, DS_DECAY_NOT_NORM);
    assert_int_equal(recipe.decay_steps, 17);
    expect_close(recipe.hidden_lr_multiplier, 1.25, 0);
    expect_ok(ds_recipe_json(&again, &recipe));
    const char *key;
    json_t *value;
    assert_int_equal(json_object_size(again), json_object_size(object));
    json_object_foreach(object, key, value) {
        const json_t *other = json_object_get(again, key);
        if (json_is_number(value))
            expect_close(json_number_value(other), json_number_value(value), 0);
        else
            assert_true(json_equal(other, value));
    }
    json_decref(object);
    json_decref(again);
}

/* Each key alone: absent, of every other type, and under a name that is none. */
static void every_key_is_needed_and_typed(void **state) {
    (void)state;
    ds_recipe recipe;
    json_t *object = whole_object();
    const char *key;
    json_t *value;
    char words[96];
    json_object_foreach(object, key, value) {
        json_t *copy = json_deep_copy(object);
        json_t *const others[] = {json_null(), json_true(), json_array(), json_object(), json_real(-0.5)};
        (void)json_object_del(copy, key);
        (void)snprintf(words, sizeof words, "the key \"%s\" is missing", key);
        expect_failure(ds_recipe_parse(&recipe, copy, "a.json"), DS_ERR_INPUT, words);
        (void)snprintf(words, sizeof words, "a.json: %s is ", key);
        for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
            (void)json_object_set_new(copy, key, others[i]);
            expect_failure(ds_recipe_parse(&recipe, copy, "a.json"), DS_ERR_INPUT, words);
        }
        (void)json_object_set_new(copy, key, json_is_number(value) ? json_string("3") : json_integer(3));
        expect_failure(ds_recipe_parse(&recipe, copy, "a.json"), DS_ERR_INPUT, words);
        json_decref(copy);
    }
    (void)json_object_set_new(object, "dropout", json_real(0.1));
    expect_failure(ds_recipe_parse(&recipe, object, "a.json"), DS_ERR_INPUT, "\"dropout\" is no key of a recipe");
    json_decref(object);
    json_t *array = json_array();
    expect_failure(ds_recipe_parse(&recipe, array, "a.json"), DS_ERR_INPUT, "expected a JSON object");
    json_decref(array);
}

static void refused(const char *setting, ds_status code, const char *words) {
    ds_recipe recipe;
    const char *path = scratch_write("recipe.json", whole, sizeof whole - 1);
    expect_failure(ds_recipe_read(&recipe, path, &setting, 1), code, words);
}

static void what_no_run_can_do_is_refused(void **state) {
    (void)state;
    refused("accumulation=0", DS_ERR_INPUT, "accumulation is 0, expected a whole number from 1");
    refused("batch=0", DS_ERR_INPUT, "batch is 0");
    refused("batch=16777216", DS_ERR_INPUT, "more than 2^28 tokens");
    refused("seq_len=1.5", DS_ERR_INPUT, "seq_len is 1.5, expected a whole number");
    refused("weight_decay=-0.1", DS_ERR_INPUT, "weight_decay is -0.1");
    refused("beta2=1", DS_ERR_INPUT, "beta2 is 1, expected a number of at least 0 and below 1");
    refused("eps=0", DS_ERR_INPUT, "eps is 0, expected a number greater than 0");
    refused("warmup_steps=18", DS_ERR_INPUT, "the warm-up ends after the decay");
    refused("min_learning_rate=0.01", DS_ERR_INPUT, "min_learning_rate is 0.01, above learning_rate, 0.003");
    refused("decay=norms", DS_ERR_INPUT, "decay is \"norms\", expected \"rank2\" or \"not-norm\" or \"all\"");
    refused("learning_rate=NaN", DS_ERR_USAGE, "--set learning_rate=NaN: expected a number");
    refused("learning_rate=1e999", DS_ERR_USAGE, "expected a number");
    refused("dropout=0.1", DS_ERR_USAGE, "expected KEY=VALUE with a key of the recipe");
    refused("batch", DS_ERR_USAGE, "expected KEY=VALUE");
}

static void settings_take_the_place_of_keys(void **state) {
    (void)state;
    ds_recipe recipe;
    const char *settings[] = {"rule=fixed-gate:0.5", "learning_rate=0.01", "order=consecutive", "steps=3"};
    const char *path = scratch_write("recipe.json", whole, sizeof whole - 1);
    expect_ok(ds_recipe_read(&recipe, path, settings, 4));
    assert_string_equal(recipe.rule, "fixed-gate:0.5");
    assert_int_equal(recipe.order, DS_ORDER_CONSECUTIVE);
    assert_int_equal(recipe.steps, 3);
    expect_close(recipe.learning_rate, 0.01, 0);
    expect_failure(ds_recipe_read(&recipe, scratch_path("absent.json"), NULL, 0), DS_ERR_INPUT, "absent.json");
}

/* ---- schedules and windows -------------------------------------------------------------------------------------------- */

static void schedules_follow_their_formulas(void **state) {
    (void)state;
    const double pi = acos(-1.0);
    ds_recipe r = {.learning_rate = 0.0071, .min_learning_rate = 0.0013, .warmup_steps = 6, .decay_steps = 31};
    for (uint64_t t = 0; t < 40; t++) {
        double found = ds_recipe_learning_rate(&r, t), expected = 0.0013;
        if (t < 6) expected = 0.0071 * (double)t / 6;
        if (t >= 6 && t < 31) expected = 0.0013 + 0.0058 * (0.5 + 0.5 * cos(pi * (double)(t - 6) / 25));
        expect_close(found, expected, 8 * 0x1p-53 * 0.0071);
    }
    r.warmup = DS_WARMUP_FROM_ONE;
    expect_close(ds_recipe_learning_rate(&r, 0), 0.0071 / 7, 4 * 0x1p-53 * 0.0071);
    expect_close(ds_recipe_learning_rate(&r, 6), 0.0071, 0);
    r.warmup_steps = 0;
    expect_close(ds_recipe_learning_rate(&r, 0), 0.0071, 0);
    r.warmup_steps = r.decay_steps;
    expect_close(ds_recipe_learning_rate(&r, r.decay_steps), 0.0013, 0);
}

/* Window number i is output i of one SplitMix64 stream, drawn in order; its start is the high word of a product, here by long
 * division of 32-bit pieces. */
static void windows_are_one_stream(void **state) {
    (void)state;
    ds_random seeds = ds_random_init(0x51ab);
    for (int round = 0; round < 50; round++) {
        ds_recipe r = {.order = DS_ORDER_SPLITMIX64,
                       .data_seed = ds_random_u64(&seeds),
                       .length = 1 + ds_random_below(&seeds, 500),
                       .batch = 1 + ds_random_below(&seeds, 5),
                       .accumulation = 1 + ds_random_below(&seeds, 4)};
        ds_random stream = ds_random_init(r.data_seed);
        uint64_t tokens = r.length + 1 + ds_random_below(&seeds, (uint64_t)1 << (1 + ds_random_below(&seeds, 60)));
        for (uint64_t t = 0; t < 5; t++) {
            for (uint64_t a = 0; a < r.accumulation; a++) {
                for (uint64_t b = 0; b < r.batch; b++) {
                    uint64_t start = ds_recipe_window(&r, tokens, t, a, b);
                    double share = (double)ds_random_u64(&stream) * 0x1p-64 * (double)(tokens - r.length);
                    assert_true(start < tokens - r.length);
                    expect_close((double)start, floor(share), 1 + (double)tokens * 0x1p-51);
                }
            }
        }
    }
}

static void consecutive_windows_go_round(void **state) {
    (void)state;
    const ds_recipe r = {.order = DS_ORDER_CONSECUTIVE, .length = 7, .batch = 3, .accumulation = 2};
    const uint64_t tokens = 37; /* 5 windows of 7 fit, the last with its target */
    uint64_t number = 0;
    for (uint64_t t = 0; t < 6; t++)
        for (uint64_t a = 0; a < 2; a++)
            for (uint64_t b = 0; b < 3; b++) assert_int_equal(ds_recipe_window(&r, tokens, t, a, b), number++ % 5 * 7);
    assert_int_equal(ds_recipe_window(&r, 8, 3, 1, 2), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_read_and_written),       cmocka_unit_test(every_key_is_needed_and_typed),
        cmocka_unit_test(what_no_run_can_do_is_refused),   cmocka_unit_test(settings_take_the_place_of_keys),
        cmocka_unit_test(schedules_follow_their_formulas), cmocka_unit_test(windows_are_one_stream),
        cmocka_unit_test(consecutive_windows_go_round),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
