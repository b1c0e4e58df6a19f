/* match: totals of parameters that agree, whatever the variants, and models that are trained at the widths the plan chose. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "deltascope/study.h"
#include "scratch.h"
#include "support.h"
#include "tiny_plan.h"

enum { VARIANTS = 3 };
static const char *const names[VARIANTS] = {"additive", "ddl-scalar", "ddl-scalar-write-only"};
static const char *const kinds[] = {"ddl-scalar", "ddl-tc", "ddl-tc-ec", "ddl-cc", "ddl-cc-ec"};

/* A plan whose MLPs are small parts of its models, the second variant being of that kind; asks for equal parameters. */
static json_t *plan_of(size_t hidden, size_t layers, const char *kind) {
    json_t *given = tiny_plan_with(tiny_plan(), "match", "\"parameters\"");
    for (size_t v = 0; v < VARIANTS; v++) {
        char path[96], value[32];
        (void)snprintf(path, sizeof path, "variants.%s.config.hidden_size", names[v]);
        (void)snprintf(value, sizeof value, "%zu", hidden);
        given = tiny_plan_with(given, path, value);
        (void)snprintf(path, sizeof path, "variants.%s.config.num_hidden_layers", names[v]);
        (void)snprintf(value, sizeof value, "%zu", layers);
        given = tiny_plan_with(given, path, value);
        (void)snprintf(path, sizeof path, "variants.%s.variant", names[v]);
        (void)snprintf(value, sizeof value, "\"%s\"", kind);
        if (v > 0) given = tiny_plan_with(given, path, value);
    }
    return given;
}

static uint64_t total_of(const ds_spec *spec) {
    uint64_t total;
    expect_ok(ds_spec_parameter_count(&total, spec));
    return total;
}

/* No other width comes nearer to the smallest total, and the configuration says the width. */
static void expect_nearest(const ds_study_variant *v, uint64_t least) {
    ds_spec other = v->spec, said;
    const double distance = fabs((double)total_of(&v->spec) - (double)least);
    for (size_t i = 0; i < 2; i++) {
        other.mlp_hidden = v->spec.mlp_hidden + 2 * i - 1;
        assert_true(fabs((double)total_of(&other) - (double)least) >= distance);
    }
    expect_ok(ds_spec_from_config(&said, v->config, "plan.json", v->kind, false));
    assert_int_equal(said.mlp_hidden, v->spec.mlp_hidden);
}

static void totals_agree(void **state) {
    (void)state;
    const uint64_t seed = 0x3a7c;
    ds_random random = ds_random_init(seed);
    for (int trial = 0; trial < 20; trial++) {
        ds_plan plan;
        const char *kind = kinds[ds_random_below(&random, 5)];
        const size_t hidden = 32 + 2 * (size_t)ds_random_below(&random, 17), layers = 1 + (size_t)ds_random_below(&random, 3);
        uint64_t least = UINT64_MAX, low = UINT64_MAX, high = 0;
        expect_ok(ds_plan_read(&plan, tiny_plan_write("plan.json", plan_of(hidden, layers, kind))));
        assert_true(plan.matched);
        for (size_t v = 0; v < VARIANTS; v++) {
            ds_spec given = plan.variants[v].spec;
            given.mlp_hidden = plan.variants[v].given_width;
            assert_int_equal(given.mlp_hidden, (size_t)(8.0 / 3.0 * (double)hidden));
            least = total_of(&given) < least ? total_of(&given) : least;
        }
        for (size_t v = 0; v < VARIANTS; v++) {
            const uint64_t total = total_of(&plan.variants[v].spec);
            low = total < low ? total : low;
            high = total > high ? total : high;
            expect_nearest(&plan.variants[v], least);
        }
        if (200 * (high - low) > low)
            fail_msg("trial %d (seed %llu): totals from %llu to %llu", trial, (unsigned long long)seed, (unsigned long long)low,
                     (unsigned long long)high);
        ds_plan_release(&plan);
    }
}

/* Without being asked for, nothing is matched. */
static void configurations_stay(void **state) {
    (void)state;
    ds_plan plan;
    expect_ok(ds_plan_read(&plan, tiny_plan_write("plan.json", tiny_plan_with(plan_of(32, 2, "ddl-cc"), "match", "false"))));
    assert_false(plan.matched);
    for (size_t v = 0; v < VARIANTS; v++) assert_int_equal(plan.variants[v].spec.mlp_hidden, 85);
    ds_plan_release(&plan);
}

/* Models so unlike that no MLP makes up for it, and families that are not told how wide theirs is. */
static void what_cannot_match_is_refused(void **state) {
    (void)state;
    static const char other[] = "{\"model_type\": \"gpt2\", \"vocab_size\": 61, \"n_layer\": 2, \"n_head\": 2, \"n_embd\": 32, "
                                "\"n_positions\": 16}",
                      untold[] = "{\"vocab_size\": 61, \"n_layer\": 3, \"n_head\": 2, \"n_embd\": 32, \"block_size\": 16}";
    ds_plan plan;
    json_t *given = tiny_plan_with(plan_of(64, 1, "ddl-scalar"), "variants.additive.config.hidden_size", "8");
    expect_failure(ds_plan_read(&plan, tiny_plan_write("plan.json", given)), DS_ERR_INPUT,
                   "whatever the widths of MLPs, expected within 0.5% of each other");
    given = tiny_plan_with(plan_of(32, 1, "ddl-scalar"), "variants.additive.config", other);
    expect_ok(ds_plan_read(&plan, tiny_plan_write("plan.json", given)));
    assert_true(json_is_integer(json_object_get(plan.variants[0].config, "n_inner")));
    ds_plan_release(&plan);
    given = tiny_plan_with(plan_of(32, 1, "ddl-scalar"), "variants.additive.config", untold);
    expect_failure(ds_plan_read(&plan, tiny_plan_write("plan.json", given)), DS_ERR_INPUT,
                   "variant additive: \"match\" would make its MLP narrower, and no key of its configuration says how wide");
}

/* What the study says of a variant's parameters is what its checkpoint holds. */
static void expect_trained(const json_t *study, const char *name) {
    char path[160];
    ds_checkpoint *checkpoint;
    double total = 0;
    (void)snprintf(path, sizeof path, "matched/%s/seed-2/checkpoint-4/model.safetensors", name);
    expect_ok(ds_tensors_open(&checkpoint, scratch_path(path)));
    for (size_t i = 0; i < ds_checkpoint_count(checkpoint); i++) total += (double)ds_checkpoint_tensor(checkpoint, i)->count;
    const ds_tensor *gate = ds_checkpoint_find(checkpoint, "transformer.h.0.mlp.c_fc1.weight");
    assert_non_null(gate);
    (void)snprintf(path, sizeof path, "variants/%s/parameters", name);
    expect_close(ds_json_real_at(study, path), total, 0);
    (void)snprintf(path, sizeof path, "matching/parameters/mlp_widths/%s/trained", name);
    expect_close(ds_json_real_at(study, path), (double)gate->shape[0], 0);
    assert_true(total <= ds_json_real_at(study, "matching/parameters/greatest"));
    assert_true(total >= ds_json_real_at(study, "matching/parameters/least"));
    ds_checkpoint_close(&checkpoint);
}

static void matched_models_are_trained(void **state) {
    (void)state;
    json_t *given = plan_of(32, 2, "ddl-cc"), *study;
    ds_plan plan;
    ds_folder *folder;
    ds_study_progress progress;
    given = tiny_plan_with(tiny_plan_with(given, "recipe.steps", "4"), "recipe.decay_steps", "4");
    given = tiny_plan_with(tiny_plan_with(given, "seeds", "[1, 2]"), "noise_floor", "false");
    expect_ok(ds_plan_read(&plan, tiny_plan_write("plan.json", given)));
    expect_ok(ds_folder_open(&folder, scratch_path("matched")));
    expect_ok(ds_study_run(&progress, &plan, &(ds_study_options){.folder = folder}));
    assert_int_equal(progress.finished, 6);
    expect_ok(ds_study_report(&study, &plan, folder, &(ds_study_questions){NAN, NAN}));
    for (size_t v = 0; v < VARIANTS; v++) expect_trained(study, names[v]);
    assert_true(ds_json_real_at(study, "matching/parameters/greatest") <=
                1.005 * ds_json_real_at(study, "matching/parameters/least"));
    expect_close(ds_json_real_at(study, "matching/parameters/mlp_widths/ddl-scalar/given"), 85, 0);
    assert_true(ds_json_real_at(study, "matching/parameters/mlp_widths/ddl-scalar/trained") < 85);
    json_decref(study);
    ds_folder_close(&folder);
    ds_plan_release(&plan);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(totals_agree),
        cmocka_unit_test(configurations_stay),
        cmocka_unit_test(what_cannot_match_is_refused),
        cmocka_unit_test(matched_models_are_trained),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
