/* Plans: what they say, the order of their runs, and what is refused before anything runs. */
#include <stdlib.h>
#include <string.h>

#include "deltascope/study.h"
#include "scratch.h"
#include "support.h"
#include "tiny_plan.h"

static ds_status read_with(ds_plan *plan, const char *path, const char *value) {
    return ds_plan_read(plan, tiny_plan_write("plan.json", tiny_plan_with(tiny_plan(), path, value)));
}

static void a_plan_is_read(void **state) {
    (void)state;
    ds_plan plan;
    expect_ok(ds_plan_read(&plan, tiny_plan_write("plan.json", tiny_plan())));
    assert_int_equal(plan.variant_count, 3);
    assert_int_equal(plan.seed_count, 3);
    assert_int_equal(plan.variants[1].recipe.val_windows, 13); /* all of them, not the recipe's */
    assert_string_equal(plan.variants[2].recipe.rule, "write-only");
    assert_true(ds_spec_is_control(&plan.variants[2].spec));
    assert_string_equal(ds_spec_variant(&plan.variants[0].spec), "additive");
    assert_int_equal(plan.contrast_count, 3); /* full - write-only, full - additive, write-only - additive */
    const size_t expected[3][2] = {{1, 2}, {1, 0}, {2, 0}};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(plan.contrasts[i].a, expected[i][0]);
        assert_int_equal(plan.contrasts[i].b, expected[i][1]);
        assert_true(plan.contrasts[i].c == SIZE_MAX);
    }
    assert_true(plan.primary == SIZE_MAX && plan.has_noise_floor);
    assert_int_equal(plan.noise_variant, 0);
    assert_int_equal(plan.noise_seed.init, 1);
    expect_close(plan.margin, 0.005, 0);
    const ds_cell cell = {.variant = 1, .seed = {3, 2}};
    ds_recipe recipe = ds_cell_recipe(&plan, &cell);
    assert_int_equal(recipe.data_seed, 2);
    assert_int_equal(ds_plan_evaluate_every(&plan, &recipe), 5);
    assert_int_equal(ds_plan_save_every(&plan, &recipe), 6);
    ds_plan_release(&plan);
}

static void contrasts_and_crossed_seeds_are_read(void **state) {
    (void)state;
    ds_plan plan;
    json_t *given = tiny_plan_with(tiny_plan(), "seeds", "{\"init\": [4, 9], \"data\": [9, 1, 2]}");
    given = tiny_plan_with(given, "contrasts",
                           "[[\"additive\", \"ddl-scalar\"],"
                           " [[\"ddl-scalar\", \"additive\"], [\"ddl-scalar-write-only\", \"additive\"]]]");
    given = tiny_plan_with(given, "primary", "[\"additive\", \"ddl-scalar\"]");
    expect_ok(ds_plan_read(&plan, tiny_plan_write("plan.json", tiny_plan_with(given, "noise_floor", "\"ddl-scalar\""))));
    assert_int_equal(plan.rows, 2);
    assert_int_equal(plan.columns, 3);
    assert_int_equal(plan.seed_count, 6);
    assert_true(plan.seeds[3].init == 9 && plan.seeds[3].data == 1 && plan.seeds[2].init == 4 && plan.seeds[2].data == 9);
    assert_int_equal(plan.primary, 0);
    assert_int_equal(plan.contrasts[1].d, 0);
    assert_int_equal(plan.noise_variant, 1);
    assert_true(plan.noise_seed.init == 4 && plan.noise_seed.data == 1);
    ds_plan_release(&plan);
}

/* Equal tokens or operations, whatever the recipe says; the schedule ends with the run. */
static void budgets_fix_the_number_of_updates(void **state) {
    (void)state;
    ds_plan plan;
    expect_ok(read_with(&plan, "budget", "{\"tokens\": 1000}"));
    for (size_t v = 0; v < 3; v++) {
        assert_int_equal(plan.variants[v].recipe.steps, 15); /* of 64 tokens each */
        assert_int_equal(plan.variants[v].recipe.decay_steps, 15);
    }
    ds_plan_release(&plan);
    expect_ok(read_with(&plan, "budget", "{\"flops\": 4e7}"));
    /* of a token: heads and matrices as the model has them, and 4 d dv more for each of two edits of the state */
    const double shared = ds_spec_forward_flops_per_token(&plan.variants[0].spec, 16);
    const double more = ds_spec_forward_flops_per_token(&plan.variants[1].spec, 16);
    assert_int_equal(plan.variants[0].recipe.steps, (uint64_t)(4e7 / (64 * 3 * shared)));
    assert_int_equal(plan.variants[1].recipe.steps, (uint64_t)(4e7 / (64 * 3 * more)));
    assert_true(plan.variants[0].recipe.steps > plan.variants[1].recipe.steps);
    assert_int_equal(plan.budget, DS_BUDGET_FLOPS);
    ds_plan_release(&plan);
}

/* Any rule is a variant, and costs what it multiplies; of gates that it has not there is no audit. */
static void other_rules_are_variants(void **state) {
    (void)state;
    static const char *const rules[] = {"\"mhc\"", "\"delta-attnres\"", "\"hc-identity\"", "\"attnres-block\""};
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        ds_plan plan;
        expect_ok(read_with(&plan, "variants.additive.variant", rules[i]));
        ds_spec plain = plan.variants[0].spec;
        assert_string_equal(ds_spec_variant(&plain), plan.variants[0].kind);
        plain.rule = &ds_rule_additive;
        expect_close(ds_spec_forward_flops_per_token(&plan.variants[0].spec, 16),
                     ds_spec_forward_flops_per_token(&plain, 16) + ds_spec_rule_flops_per_token(&plan.variants[0].spec), 1e-6);
        assert_true(ds_spec_rule_flops_per_token(&plan.variants[0].spec) > 0);
        ds_plan_release(&plan);
        json_t *audited = tiny_plan_with(tiny_plan_with(tiny_plan(), "variants.additive.variant", rules[i]), "audit", "{}");
        expect_failure(ds_plan_read(&plan, tiny_plan_write("plan.json", audited)), DS_ERR_INPUT,
                       "audit is of gates and of a state that is rewritten, which variant additive (");
    }
}

/* ---- cells ------------------------------------------------------------------------------------------------------- */

static char *order_of(json_t *given) {
    ds_plan plan;
    ds_cell *cells;
    size_t count;
    ds_text text = {0};
    expect_ok(ds_plan_read(&plan, tiny_plan_write("plan.json", given)));
    expect_ok(ds_plan_cells(&cells, &count, &plan));
    assert_int_equal(count, 10);
    for (size_t i = 0; i < count; i++) expect_ok(ds_text_printf(&text, "%s%s ", cells[i].folder, cells[i].nudged ? "*" : ""));
    free(cells);
    ds_plan_release(&plan);
    return text.bytes;
}

/* Every cell once; the order is the plan's seed's, not that in which seeds or variants are written. */
static void cells_are_shuffled_by_the_plans_seed_alone(void **state) {
    (void)state;
    char *order = order_of(tiny_plan()), *again = order_of(tiny_plan_with(tiny_plan(), "seeds", "[3, 1, 2]"));
    char *other = order_of(tiny_plan_with(tiny_plan(), "order_seed", "5"));
    assert_string_equal(order, again);
    assert_true(strcmp(order, other) != 0 && strlen(order) == strlen(other));
    assert_non_null(strstr(other, "noise-floor/additive/seed-1* "));
    const char *const names[] = {"additive", "ddl-scalar", "ddl-scalar-write-only"};
    for (size_t v = 0; v < 3; v++) {
        for (int seed = 1; seed <= 3; seed++) {
            char folder[64];
            (void)snprintf(folder, sizeof folder, "%s/seed-%d ", names[v], seed);
            assert_non_null(strstr(order, folder));
            assert_non_null(strstr(other, folder));
        }
    }
    free(order);
    free(again);
    free(other);
}

/* ---- refused ----------------------------------------------------------------------------------------------------- */

static const struct refusal {
    const char *path, *value, *words;
} refusals[] = {
    {"name", "3", "plan.json: name is 3, expected a word for the study"},
    {"name", NULL, "name is missing"},
    {"recipes", "{}", "\"recipes\" is no key of a plan (did you mean \"recipe\"?)"},
    {"seeds", "[1]", "one seed: nothing can be said of one run"},
    {"seeds", "[1, 2, 1]", "seeds: seed 1 stands there twice"},
    {"seeds", "[1, -2]", "expected whole numbers from 0 to 2^53"},
    {"seeds", "{\"init\": [1, 2]}", "seeds.data is missing"},
    {"seeds", "{\"init\": [1, 2], \"data\": [1], \"order\": [1]}", "\"order\" is no key of seeds"},
    {"seeds", NULL, "seeds is missing"},
    {"recipe", NULL, "recipe is missing, expected an object or the path"},
    {"recipe", "\"none.json\"", "none.json"},
    {"recipe.steps", NULL, "recipe: the key \"steps\" is missing"},
    {"recipe.batch", "0", "batch is 0"},
    {"variants", "{}", "variants is {}, expected"},
    {"variants.additive.rule", "\"write-only\"", "variant additive: \"write-only\" is no rule for a model without gates"},
    {"variants.additive.variant", "\"ddl-best\"", "ddl-best"},
    {"variants.additive.variant", NULL, "variant additive: variant is missing"},
    {"variants.additive.config", "3", "variant additive: config is 3"},
    {"variants.additive.steps", "3", "\"steps\" is no key of variant additive"},
    {"variants.additive.recipe", "{\"seq_len\": 8}", "variant additive overrides seq_len, which decides what data a run sees"},
    {"variants.additive.recipe", "{\"rule\": \"delta\"}", "its rule is the variant's own key \"rule\""},
    {"variants.additive.recipe", "{\"clip\": -1}", "variant additive: recipe: clip is -1"},
    {"variants.additive.config.vocab_size", "62", "a vocabulary of 61, additive one of 62: their losses could not be compared"},
    {"variants.../x", "{}", "\"../x\" is no name of a variant"},
    {"variants.noise-floor", "{}", "\"noise-floor\" is no name of a variant"},
    {"variants.speed", "{}", "\"speed\" is no name of a variant"},
    {"margin", "-0.1", "margin is -0.1, expected"},
    {"data", "[]", "data is [], expected"},
    {"data.val", NULL, "data.val is missing, expected a file of token ids"},
    {"data.val", "\"none.bin\"", "none.bin"},
    {"data.test", "\"a\"", "\"test\" is no key of data"},
    {"contrasts", "[[\"additive\", \"ddl-scaler\"]]",
     "contrasts names \"ddl-scaler\", which is no variant of the plan (did you mean \"ddl-scalar\"?)"},
    {"contrasts", "[[\"additive\"]]", "expected [A, B] with names of variants"},
    {"contrasts", "[[\"additive\", \"ddl-scalar\"], [\"additive\", \"ddl-scalar\"]]", "expected every contrast once"},
    {"primary", "[\"additive\", \"ddl-scalar\"]", "expected one of the plan's contrasts"},
    {"margin", "0", "margin is 0, expected a number of nats above 0"},
    {"evaluations", "0", "evaluations is 0, expected a whole number from 1 to 10000"},
    {"saves", "1.5", "saves is 1.5"},
    {"order_seed", "\"a\"", "order_seed is \"a\""},
    {"noise_floor", "true", "noise_floor is true, expected the name of a variant, or false"},
    {"budget", "{\"tokens\": 100}", "a budget of 100 tokens is 1 updates of 64 each, and the warm-up alone has 3"},
    {"budget", "{\"flops\": 10}", "is 0 updates of "},
    {"budget", "{\"tokens\": 1000, \"flops\": 10}", "expected one of {\"tokens\": N}"},
    {"budget", "{\"token\": 1000}", "\"token\" is no key of budget (did you mean \"tokens\"?)"},
    {"budget", "{\"seconds\": -1}", "budget is {\"seconds\":-1}, expected a number above 0"},
    {"audit", "{\"sequences\": 14}", "expected at least one window, and no more than the validation tokens have"},
    {"audit", "{\"windows\": 4}", "\"windows\" is no key of audit"},
    {"sweep", "{\"seeds\": [5, 3]}", "seed 3 is one of the test's"},
    {"sweep", "{\"seeds\": [5]}", "sweep.seeds is [5], expected at least 2 seeds"},
    {"sweep", "{\"seeds\": [5, 6], \"points\": 4}", "sweep.points is 4, expected a whole number from 5 to 15"},
    {"sweep", "{\"seeds\": [5, 6], \"point\": 7}", "\"point\" is no key of sweep (did you mean \"points\"?)"},
    {"sweep", "[5, 6]", "sweep is [5,6], expected {\"seeds\": [...]"},
    {"audit", "3", "audit is 3, expected {\"sequences\": N}"},
    {"match", "\"size\"", "match is \"size\", expected \"parameters\", or false"},
    {"recipe_source", "3", "recipe_source is 3, expected words that say where the recipe is from"},
    {"variants.additive.config.intermediate_size", "0", "intermediate_size is 0, expected a whole number from 1"},
    {"precision", "\"half\"", "precision is \"half\", expected \"float\" or \"double\""},
    {"init", "\"newest\"", "init is \"newest\", expected \"older\" or \"newer\""},
};

static void what_is_wrong_is_named(void **state) {
    (void)state;
    ds_plan plan;
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        const struct refusal *r = &refusals[i];
        json_t *given = tiny_plan();
        if (strncmp(r->path, "variants...", 11) == 0) { /* a name with points of its own */
            assert_int_equal(json_object_set_new(json_object_get(given, "variants"), "../x", json_object()), 0);
        } else {
            given = tiny_plan_with(given, r->path, r->value);
        }
        ds_status status = ds_plan_read(&plan, tiny_plan_write("plan.json", given));
        if (status != DS_ERR_INPUT || strstr(ds_error_text(), r->words) == NULL)
            fail_msg("%s: status %d and \"%s\", expected \"%s\"", r->path, status, ds_error_text(), r->words);
    }
}

/* One letter of one key changed anywhere: never read as if nothing were wrong. */
static void no_misspelt_key_passes(void **state) {
    (void)state;
    const uint64_t seed = 0x9d1;
    ds_random random = ds_random_init(seed);
    ds_plan plan;
    for (int trial = 0; trial < 60; trial++) {
        json_t *given = tiny_plan(), *object = given, *child = NULL;
        const char *key = NULL;
        for (int depth = 0; depth < 4 && json_object_size(object) > 0; depth++) {
            size_t chosen = (size_t)ds_random_below(&random, json_object_size(object));
            void *at = json_object_iter(object);
            while (chosen-- > 0) at = json_object_iter_next(object, at);
            key = json_object_iter_key(at);
            child = json_object_iter_value(at);
            bool names = depth == 0 && strcmp(key, "variants") == 0; /* below it any name is good */
            if (names) {
                object = json_object_get(child, "ddl-scalar");
                continue;
            }
            if (!json_is_object(child) || strcmp(key, "config") == 0 || ds_random_below(&random, 3) == 0) break;
            object = child;
        }
        char misspelt[64];
        (void)snprintf(misspelt, sizeof misspelt, "%s", key);
        misspelt[ds_random_below(&random, strlen(misspelt))] = 'x';
        if (strcmp(misspelt, key) == 0) {
            json_decref(given);
            continue;
        }
        json_t *value = json_incref(child);
        assert_int_equal(json_object_del(object, key), 0);
        assert_int_equal(json_object_set_new(object, misspelt, value), 0);
        if (ds_plan_read(&plan, tiny_plan_write("plan.json", given)) == DS_OK)
            fail_msg("trial %d (seed %llu): \"%s\" was read", trial, (unsigned long long)seed, misspelt);
    }
}

static void too_few_tokens_are_refused(void **state) {
    (void)state;
    ds_plan plan;
    json_t *given = tiny_plan_with(tiny_plan(), "data.val", "\"few.bin\"");
    (void)scratch_write("few.bin", "\1\0\2\0\3\0\4\0", 8);
    expect_failure(ds_plan_read(&plan, tiny_plan_write("plan.json", given)), DS_ERR_INPUT, "too few tokens: 4");
    expect_failure(read_with(&plan, "variants.additive.config.vocab_size", "30"), DS_ERR_INPUT, "additive");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plan_is_read),
        cmocka_unit_test(contrasts_and_crossed_seeds_are_read),
        cmocka_unit_test(budgets_fix_the_number_of_updates),
        cmocka_unit_test(other_rules_are_variants),
        cmocka_unit_test(cells_are_shuffled_by_the_plans_seed_alone),
        cmocka_unit_test(what_is_wrong_is_named),
        cmocka_unit_test(no_misspelt_key_passes),
        cmocka_unit_test(too_few_tokens_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
