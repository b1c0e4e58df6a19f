/* compare --group: what it says of groups follows from what it says of each checkpoint, and what is no group is refused in a
 * sentence. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "child.h"
#include "deltascope/io.h"
#include "deltascope/stats.h"
#include "program_json.h"
#include "scratch.h"
#include "seed_model.h"
#include "support.h"

enum { SEED = 4099, MOST = 4, GROUPS = 3 };
#define DATA "--tokens", "fixtures/training/val-tokens.bin", "--seq-len", "16", "--sequences", "8", "--quiet"
static const char *const rules[GROUPS] = {"delta", "write-only", "erase-only"};

static json_t *compare(const size_t counts[GROUPS]) {
    char words[GROUPS][2048];
    const char *arguments[32] = {"compare", DATA};
    size_t at = 8;
    for (size_t g = 0; g < GROUPS; g++) {
        size_t length = (size_t)snprintf(words[g], sizeof words[g], "%s=", rules[g]);
        for (unsigned seed = 1; seed <= counts[g]; seed++)
            length += (size_t)snprintf(words[g] + length, sizeof words[g] - length, "%s%s", seed == 1 ? "" : ",",
                                       seed_model(rules[g], seed));
        arguments[at++] = "--group";
        arguments[at++] = words[g];
    }
    return program_json(arguments);
}

static void expect_summary(const json_t *found, const double *values, size_t count) {
    ds_seed_summary expected;
    expect_ok(ds_seed_summarise(&expected, values, count));
    assert_true(json_integer_value(json_object_get(found, "n")) == (json_int_t)expected.n);
    assert_true(ds_json_real_at(found, "mean") == expected.mean && ds_json_real_at(found, "sd") == expected.sd);
    assert_true(ds_json_real_at(found, "interval/0") == expected.low);
    assert_true(ds_json_real_at(found, "interval/1") == expected.high);
}

/* The numbers at `path` of a group's checkpoints. */
static size_t member_values(double *values, const json_t *results, size_t first, size_t count, const char *path) {
    const json_t *all = json_object_get(results, "checkpoints");
    for (size_t i = 0; i < count; i++) values[i] = ds_json_real_at(json_array_get(all, first + i), path);
    return count;
}

static void expect_group(const json_t *results, size_t g, size_t first, size_t count) {
    const json_t *group = json_array_get(json_object_get(results, "groups"), g);
    double values[MOST];
    char path[64], at[64];
    assert_string_equal(json_string_value(json_object_get(group, "name")), rules[g]);
    (void)member_values(values, results, first, count, "loss");
    expect_summary(ds_json_at(group, "loss"), values, count);
    (void)member_values(values, results, first, count, "overall/beta_mean");
    expect_summary(ds_json_at(group, "gates/beta_mean"), values, count);
    (void)member_values(values, results, first, count, "overall/regimes/projection");
    expect_summary(ds_json_at(group, "gates/regimes/2/share"), values, count);
    for (size_t s = 0; s <= json_array_size(json_object_get(group, "sublayers")); s++) {
        (void)snprintf(path, sizeof path, "state_gradients/%zu", s);
        (void)snprintf(at, sizeof at, "states/%zu/gradient", s);
        (void)member_values(values, results, first, count, path);
        assert_true(values[0] > 0);
        expect_summary(ds_json_at(group, at), values, count);
    }
    for (size_t s = 0; s < json_array_size(json_object_get(group, "sublayers")); s++) {
        static const char *const both[][2] = {
            {"discrepancy/pre_rms", "discrepancy_before"}, {"discrepancy/post_rms", "discrepancy_after"},
            {"regimes/identity", "regimes/0/share"},      {"regimes/damped", "regimes/1/share"},
            {"regimes/projection", "regimes/2/share"},  {"regimes/over_relaxed", "regimes/3/share"},
            {"regimes/reflection", "regimes/4/share"}};
        for (size_t k = 0; k < sizeof both / sizeof *both; k++) {
            (void)snprintf(path, sizeof path, "sublayers/%zu/%s", s, both[k][0]);
            (void)snprintf(at, sizeof at, "sublayers/%zu/%s", s, both[k][1]);
            (void)member_values(values, results, first, count, path);
            expect_summary(ds_json_at(group, at), values, count);
        }
        (void)snprintf(path, sizeof path, "cases/%zu/delta_loss", s);
        (void)snprintf(at, sizeof at, "sublayers/%zu/closed_cost", s);
        (void)member_values(values, results, first, count, path);
        expect_summary(ds_json_at(group, at), values, count);
        (void)snprintf(path, sizeof path, "sublayers/%zu/beta/mean", s);
        (void)snprintf(at, sizeof at, "sublayers/%zu/beta_mean", s);
        (void)member_values(values, results, first, count, path);
        expect_summary(ds_json_at(group, at), values, count);
    }
}

/* Counts at random: equal ones are paired, others are not, and Holm counts all contrasts with the first. */
static void test_groups_follow_from_members(void **state) {
    (void)state;
    ds_random random = ds_random_init(SEED);
    for (int round = 0; round < 4; round++) {
        size_t counts[GROUPS], first[GROUPS + 1] = {0};
        double losses[GROUPS][MOST];
        ds_contrast expected[GROUPS - 1];
        for (size_t g = 0; g < GROUPS; g++) {
            counts[g] = 2 + ds_random_below(&random, MOST - 1);
            first[g + 1] = first[g] + counts[g];
        }
        json_t *envelope = compare(counts);
        const json_t *results = json_object_get(envelope, "results");
        for (size_t g = 0; g < GROUPS; g++) {
            expect_group(results, g, first[g], counts[g]);
            (void)member_values(losses[g], results, first[g], counts[g], "loss");
            if (g > 0 && counts[g] == counts[0])
                expect_ok(ds_contrast_paired(&expected[g - 1], losses[g], losses[0], counts[0], 0.005, 0));
            else if (g > 0)
                expect_ok(ds_contrast_unpaired(&expected[g - 1], losses[g], counts[g], losses[0], counts[0], 0.005));
        }
        expect_ok(ds_contrasts_judge(expected, GROUPS - 1, SIZE_MAX));
        for (size_t c = 0; c + 1 < GROUPS; c++) {
            const json_t *found = json_array_get(json_object_get(results, "contrasts"), c);
            assert_true(ds_json_real_at(found, "mean") == expected[c].t.mean);
            assert_true(ds_json_real_at(found, "interval/0") == expected[c].t.low);
            assert_true(ds_json_real_at(found, "holm_p") == expected[c].holm_p);
            assert_true(json_is_true(json_object_get(found, "paired")) == expected[c].paired);
            assert_true(json_array_size(json_object_get(found, "differences")) == (expected[c].paired ? counts[0] : 0));
            assert_string_equal(json_string_value(json_object_get(found, "verdict")),
                                ds_contrast_verdict_names[expected[c].verdict]);
            assert_true(ds_json_real_at(found, "window_se") > 0);
        }
        json_decref(envelope);
    }
}

static void expect_refusal(const char *group, const char *other, int status, const char *words) {
    static child ran;
    const char *arguments[16] = {"compare", DATA, "--group", group};
    if (other != NULL) {
        arguments[10] = "--group";
        arguments[11] = other;
    }
    child_run(&ran, arguments, (child_limits){0});
    if (ran.status != status || strstr(ran.err, words) == NULL || ran.out[0] != '\0')
        fail_msg("%s: exit status %d, \"%s\"; not \"%s\"", group, ran.status, ran.err, words);
}

static void test_no_groups(void **state) {
    (void)state;
    static child ran;
    char one[1024], two[1024], twice[2048], again[2048], mixed[2048], copy[2048];
    const char *first = seed_model("delta", 1), *second = seed_model("delta", 2);
    (void)snprintf(one, sizeof one, "a=%s", first);
    (void)snprintf(two, sizeof two, "a=%s,%s", first, second);
    (void)snprintf(twice, sizeof twice, "a=%s,%s", first, first);
    (void)snprintf(again, sizeof again, "b=%s,%s", seed_model("write-only", 1), second);
    (void)snprintf(mixed, sizeof mixed, "a=%s,%s", first, seed_model("write-only", 1));
    (void)snprintf(copy, sizeof copy, "a=%s,%s/../checkpoint-2", first, first);
    expect_refusal(one, NULL, 2, "group \"a\" has one checkpoint: two seeds would give a mean and its 95% interval");
    expect_refusal(twice, NULL, 2, "is named twice");
    expect_refusal(two, again, 2, "group \"b\": ");
    expect_refusal(two, two, 2, "two groups are called \"a\"");
    expect_refusal("a", NULL, 2, "expected NAME=CHECKPOINT");
    expect_refusal("=x,y", NULL, 2, "expected NAME=CHECKPOINT");
    expect_refusal("a=x,,y", NULL, 2, "checkpoint 2 has no name");
    expect_refusal("a=", NULL, 2, "checkpoint 1 has no name");
    expect_refusal(mixed, NULL, 3, "a group is one variant");
    expect_refusal(copy, NULL, 3, "the same bytes as");
    expect_refusal("a=nowhere,elsewhere", NULL, 3, "nowhere");
    CHILD_RUN(&ran, (child_limits){0}, "compare", DATA, "--group", two, first);
    assert_true(ran.status == 2 && strstr(ran.err, "--group names everything") != NULL);
    CHILD_RUN(&ran, (child_limits){0}, "compare", DATA, "--group", two, "--trajectory");
    assert_true(ran.status == 2 && strstr(ran.err, "--trajectory is of the steps of one run") != NULL);
}

/* The weights of a group's checkpoint are an input, which no output may be. */
static void test_outputs_spare_groups(void **state) {
    (void)state;
    static child ran;
    char two[2048], weights[1024];
    (void)snprintf(two, sizeof two, "a=%s,%s", seed_model("delta", 1), seed_model("delta", 2));
    (void)snprintf(weights, sizeof weights, "%s/model.safetensors", seed_model("delta", 2));
    CHILD_RUN(&ran, (child_limits){0}, "compare", DATA, "--group", two, "--json", weights);
    assert_true(ran.status == 2 && strstr(ran.err, "is an input of this run (--group)") != NULL);
}

/* The gradient that reaches every state is what gradflow finds, and is left out where nobody asks. */
static void test_gradients(void **state) {
    (void)state;
    static child ran;
    char two[2048];
    const char *first = seed_model("delta", 1);
    (void)snprintf(two, sizeof two, "a=%s,%s", first, seed_model("delta", 2));
    const char *const arguments[] = {"compare", DATA, "--group", two, NULL}, *const flow[] = {"gradflow", DATA, first, NULL};
    json_t *compared = program_json(arguments), *alone = program_json(flow);
    const json_t *states = ds_json_at(alone, "results/states"), *found = ds_json_at(compared, "results/checkpoints/0");
    assert_true(json_array_size(states) > 2);
    for (size_t s = 0; s < json_array_size(states); s++) {
        char path[64];
        (void)snprintf(path, sizeof path, "state_gradients/%zu", s);
        assert_true(ds_json_real_at(found, path) == ds_json_real_at(json_array_get(states, s), "grad_norm"));
    }
    json_decref(compared);
    json_decref(alone);
    CHILD_RUN(&ran, (child_limits){0}, "compare", DATA, "--group", two, "--gradients", "none", "--json", "-");
    assert_int_equal(ran.status, 0);
    assert_null(strstr(ran.out, "state_gradients"));
    assert_null(strstr(ran.out, "\"states\""));
}

/* Tables and sentences, to be read. */
static void test_printed(void **state) {
    (void)state;
    static child ran;
    char two[2048], three[2048];
    (void)snprintf(two, sizeof two, "plain=%s,%s", seed_model("delta", 1), seed_model("delta", 2));
    (void)snprintf(three, sizeof three, "write-only=%s,%s,%s", seed_model("write-only", 1), seed_model("write-only", 2),
                   seed_model("write-only", 3));
    CHILD_RUN(&ran, (child_limits){0}, "compare", "--tokens", "fixtures/training/val-tokens.bin", "--seq-len", "16",
              "--sequences", "4", "--group", two, "--group", three, "--out", scratch_path("out"));
    assert_int_equal(ran.status, 0);
    assert_non_null(strstr(ran.out, "2 groups on the same 4 windows"));
    assert_non_null(strstr(ran.out, "3 and 2 unpaired seeds"));
    assert_non_null(strstr(ran.out, "of other seeds on"));
    assert_null(strstr(ran.out, "nan"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_groups_follow_from_members),
        cmocka_unit_test(test_no_groups),
        cmocka_unit_test(test_outputs_spare_groups),
        cmocka_unit_test(test_gradients),
        cmocka_unit_test(test_printed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
