/* What study does beside training: a page from study.json alone, signatures, and plans that are refused, with what they would
 * cost, before anything runs. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "child.h"
#include "deltascope/claims.h"
#include "deltascope/report.h"
#include "deltascope/study.h"
#include "keys.h"
#include "scratch.h"
#include "support.h"
#include "tiny_plan.h"

static const child_limits usual = {.seconds = 120};
static child found;

static void expect_refusal(int status, const char *words) {
    if (found.status != status || strstr(found.err, words) == NULL || found.out[0] != '\0')
        fail_msg("exit status %d and \"%s\", expected %d with \"%s\" and nothing on standard output", found.status, found.err,
                 status, words);
}

static void expect_success(void) {
    if (found.status != 0) fail_msg("exit status %d, signal %d: %s", found.status, found.signal, found.err);
}

static char *content(const char *folder, const char *name) {
    char path[512], *bytes = NULL;
    size_t length;
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    expect_ok(ds_read_file(&bytes, &length, path, 1 << 24));
    return bytes;
}

/* A tiny study in the folder "study", run once. */
static const char *run_study(void) {
    json_t *given = tiny_plan_with(tiny_plan_with(tiny_plan(), "seeds", "[1, 2]"), "noise_floor", "false");
    const char *plan = tiny_plan_write("plan.json", tiny_plan_with(given, "audit", "{\"sequences\": 2}"));
    if (access(scratch_path("study"), F_OK) != 0) {
        CHILD_RUN(&found, usual, "study", plan, "--quiet", "--out", scratch_path("study"));
        expect_success();
    }
    return plan;
}

/* ---- a study.json alone ------------------------------------------------------------------------------------------ */

/* The same tables and figures as from the runs, and nothing written over the file, wherever the page goes. */
static void a_page_comes_from_study_json_alone(void **state) {
    (void)state;
    static const char *const same[] = {"tables/contrasts.csv", "tables/variants.tex", "tables/audit.md", "study.json"};
    char *before[4], *after;
    (void)run_study();
    const char *folder = scratch_path("study"), *page = scratch_path("page"), *study = scratch_path("study/study.json");
    for (size_t i = 0; i < 4; i++) before[i] = content(folder, same[i]);
    CHILD_RUN(&found, usual, "study", study, "--report-only", "--out", page);
    expect_success();
    assert_non_null(strstr(found.out, "ddl-scalar - additive: "));
    for (size_t i = 0; i < 3; i++) {
        after = content(page, same[i]);
        assert_string_equal(before[i], after);
        free(after);
    }
    assert_true(access(scratch_path("page/study.json"), F_OK) != 0);
    CHILD_RUN(&found, usual, "study", study, "--report-only", "--out", folder); /* beside itself */
    expect_success();
    for (size_t i = 0; i < 4; i++) {
        after = content(folder, same[i]);
        assert_string_equal(before[i], after);
        free(after);
        free(before[i]);
    }
}

/* A row for every contrast and mean gate, and for all gates forced, with the numbers of study.json and no others. */
static void contrasts_of_the_audit_are_on_the_page(void **state) {
    (void)state;
    (void)run_study();
    json_t *study = NULL, *contrast, *measure;
    char *bytes = content(scratch_path("study"), "study.json"),
         *table = content(scratch_path("study"), "tables/audit-contrasts.csv");
    const char *name;
    size_t i, rows = 0, at = strcspn(table, "\n") + 1;
    expect_ok(ds_json_parse(&study, bytes, strlen(bytes), "study.json"));
    json_array_foreach(ds_json_at(study, "audit/contrasts"), i, contrast) {
        json_object_foreach(json_object_get(contrast, "measures"), name, measure) {
            char row[256];
            const bool shown = strncmp(name, "beta:", 5) == 0 || strcmp(name + strlen(name) - 4, ":all") == 0;
            if (!shown) continue;
            const int length = snprintf(row, sizeof row, "%s - %s,%s,2,", json_string_value(json_object_get(contrast, "a")),
                                        json_string_value(json_object_get(contrast, "b")), name);
            if (strncmp(table + at, row, (size_t)length) != 0)
                fail_msg("row %zu is \"%.80s\", expected \"%s\"", rows, table + at, row);
            const double mean = ds_json_real_at(measure, "mean");
            expect_close(strtod(table + at + length, NULL), mean, 1e-12 * fabs(mean));
            at += strcspn(table + at, "\n") + 1;
            rows++;
        }
    }
    assert_true(rows > 5 && table[at] == '\0');
    json_decref(study);
    free(bytes);
    free(table);
}

static void what_needs_the_runs_is_refused(void **state) {
    (void)state;
    (void)run_study();
    const char *study = scratch_path("study/study.json"), *page = scratch_path("none"), *key = private_key_file(0);
    const struct {
        int status;
        const char *option, *value, *words;
    } cases[] = {{2, "--quiet", NULL, "is what a study found, no plan"},
                 {2, "--resume", NULL, "is what a study found, no plan"},
                 {2, "--dry-run", NULL, "is what a study found, no plan"},
                 {2, "--at-most", "1h", "is what a study found, no plan"},
                 {2, "--target", "3", "need the plan and the folder of its runs"},
                 {2, "--plan-power", "0.1", "need the plan and the folder of its runs"},
                 {2, "--sign", key, "need the plan and the folder of its runs"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CHILD_RUN(&found, usual, "study", study, "--out", page, i < 4 ? "--quiet" : "--report-only", cases[i].option,
                  cases[i].value);
        expect_refusal(cases[i].status, cases[i].words);
    }
    assert_true(access(page, F_OK) != 0);
}

/* A run's loss moved, any run's: its digests do not hold, and no page is made of it. */
static void a_changed_study_gets_no_page(void **state) {
    (void)state;
    static const char *const names[] = {"additive", "ddl-scalar", "ddl-scalar-write-only"};
    const uint64_t seed = 0x51d;
    ds_random random = ds_random_init(seed);
    (void)run_study();
    char *bytes = content(scratch_path("study"), "study.json");
    for (int trial = 0; trial < 4; trial++) {
        char path[64];
        json_t *study = NULL;
        (void)snprintf(path, sizeof path, "variants/%s/runs/%d", names[ds_random_below(&random, 3)],
                       (int)ds_random_below(&random, 2));
        expect_ok(ds_json_parse(&study, bytes, strlen(bytes), "study.json"));
        json_t *final = json_object_get(ds_json_at(study, path), "final");
        assert_int_equal(json_real_set(final, json_real_value(final) * (1 + 1e-9 * (1 + ds_random_uniform(&random)))), 0);
        expect_ok(ds_json_write(scratch_path("forged.json"), study, DS_JSON_READABLE));
        CHILD_RUN(&found, usual, "study", scratch_path("forged.json"), "--report-only", "--out", scratch_path("none"));
        expect_refusal(3, "its digests do not hold");
        json_decref(study);
    }
    free(bytes);
    assert_true(access(scratch_path("none/report.html"), F_OK) != 0);
}

/* One member or element of a tree, anywhere, is taken away or becomes something else. */
static void damage(json_t *tree, ds_random *random) {
    json_t *at = tree, *inner = tree;
    const char *key = NULL;
    size_t index = 0;
    while ((json_object_size(inner) != 0 || json_array_size(inner) != 0) &&
           (inner == tree || ds_random_below(random, 4) != 0)) {
        at = inner;
        if (json_is_array(at)) {
            index = (size_t)ds_random_below(random, json_array_size(at));
            inner = json_array_get(at, index);
            continue;
        }
        void *member = json_object_iter(at);
        for (uint64_t skip = ds_random_below(random, json_object_size(at)); skip > 0; skip--)
            member = json_object_iter_next(at, member);
        key = json_object_iter_key(member);
        inner = json_object_iter_value(member);
    }
    json_t *others[] = {json_null(),  json_integer(-7), json_string("%s\n\xc3\xa9"),
                        json_array(), json_object(),    json_real(1e300)};
    json_t *other = json_incref(others[ds_random_below(random, 6)]);
    for (size_t i = 0; i < 6; i++) json_decref(others[i]);
    if (json_is_array(at))
        assert_int_equal(json_array_set_new(at, index, other), 0);
    else
        assert_int_equal(json_object_set_new(at, key, other), 0);
}

/* A stranger's file without digests, damaged anywhere: a page or one sentence, never anything else. */
static void a_damaged_study_does_no_harm(void **state) {
    (void)state;
    const uint64_t seed = 0xda3a6e;
    ds_random random = ds_random_init(seed);
    ds_folder *folder = NULL;
    size_t pages = 0, refused = 0;
    (void)run_study();
    char *bytes = content(scratch_path("study"), "study.json");
    expect_ok(ds_folder_open(&folder, scratch_path("damaged")));
    for (int trial = 0; trial < 100; trial++) {
        json_t *study = NULL;
        expect_ok(ds_json_parse(&study, bytes, strlen(bytes), "study.json"));
        for (int times = 0; times <= trial % 3; times++) damage(study, &random);
        ds_status status = ds_study_page(folder, study, "deltascope study plan.json --out study");
        if (status != DS_OK && status != DS_ERR_INPUT)
            fail_msg("trial %d (seed %llu): status %d, %s", trial, (unsigned long long)seed, status, ds_error_text());
        pages += status == DS_OK;
        refused += status == DS_ERR_INPUT;
        ds_error_clear();
        json_decref(study);
    }
    assert_true(pages > 0 && refused > 0);
    ds_folder_close(&folder);
    free(bytes);
}

/* A plan may be called so and lie there: it is not written over. */
static void a_plan_is_not_written_over(void **state) {
    (void)state;
    char before[65], after[65];
    assert_int_equal(mkdir(scratch_path("named"), 0777), 0);
    json_t *given = tiny_plan();
    static const char *const data[] = {"train", "val"};
    for (size_t i = 0; i < 2; i++) {
        char path[64];
        (void)snprintf(path, sizeof path, "../plan-%s.bin", data[i]);
        assert_int_equal(json_object_set_new(json_object_get(given, "data"), data[i], json_string(path)), 0);
    }
    const char *plan = tiny_plan_write("named/study.json", given);
    expect_ok(ds_sha256_file(before, NULL, plan, 1 << 20));
    CHILD_RUN(&found, usual, "study", plan, "--out", scratch_path("named"));
    expect_refusal(2, "study.json: would be written over, and is an input of this run (PLAN)");
    expect_ok(ds_sha256_file(after, NULL, plan, 1 << 20));
    assert_string_equal(before, after);
}

/* ---- signatures -------------------------------------------------------------------------------------------------- */

/* Signed by one key, it is checked by its public half; by another, or with a number changed, it does not hold. */
static void a_study_is_signed(void **state) {
    (void)state;
    const char *plan = run_study(), *folder = scratch_path("study"), *study = scratch_path("study/study.json");
    CHILD_RUN(&found, usual, "study", plan, "--report-only", "--quiet", "--sign", private_key_file(0), "--out", folder);
    expect_success();
    CHILD_RUN(&found, usual, "check", study, folder, "--signer", public_key_file(0));
    expect_success();
    assert_non_null(strstr(found.out, "signature holds, by the key given: "));
    assert_non_null(strstr(found.out, "agrees: every number"));
    CHILD_RUN(&found, usual, "check", study, "--signer", public_key_file(1));
    assert_int_equal(found.status, 1);
    assert_non_null(strstr(found.out, "signature does NOT hold: it is by another key"));
    char *bytes = content(folder, "study.json");
    json_t *tree = NULL;
    expect_ok(ds_json_parse(&tree, bytes, strlen(bytes), "study.json"));
    json_t *run = (json_t *)(uintptr_t)ds_json_at(tree, "variants/additive/runs/0");
    assert_int_equal(json_object_set_new(run, "weights_sha256", json_string("another's")), 0);
    expect_ok(ds_json_write(scratch_path("changed.json"), tree, DS_JSON_READABLE));
    CHILD_RUN(&found, usual, "check", scratch_path("changed.json"), "--signer", public_key_file(0));
    assert_int_equal(found.status, 1);
    assert_non_null(strstr(found.out, "signature does NOT hold: the file was changed"));
    json_decref(tree);
    free(bytes);
    CHILD_RUN(&found, usual, "study", plan, "--report-only", "--quiet", "--out", folder); /* unsigned again */
    expect_success();
    CHILD_RUN(&found, usual, "check", study, "--signer", public_key_file(0));
    assert_int_equal(found.status, 1);
    assert_non_null(strstr(found.out, "the file is not signed"));
}

/* ---- bad plans --------------------------------------------------------------------------------------------------- */

static const struct bad_plan {
    const char *path, *value, *option, *of_option;
    int status;
    const char *words;
} bad_plans[] = {
    {"variants.additive.config.vocab_size", "62", NULL, NULL, 3, "their losses could not be compared"},
    {"variants.additive.recipe", "{\"batch\": 8}", NULL, NULL, 3, "overrides batch, which decides what data a run sees"},
    {"variants.additive.recipe", "{\"data_seed\": 8}", NULL, NULL, 3, "overrides data_seed"},
    {"contrasts", "[[\"additive\", \"nobody\"]]", NULL, NULL, 3, "names \"nobody\", which is no variant of the plan"},
    {"primary", "[\"additive\", \"nobody\"]", NULL, NULL, 3, "names \"nobody\""},
    {"noise_floor", "\"nobody\"", NULL, NULL, 3, "expected the name of a variant"},
    {"seeds", "[4]", NULL, NULL, 3, "one seed: nothing can be said of one run"},
    {"budget", "{\"tokens\": 100}", NULL, NULL, 3, "no schedule can meet it"},
    {"budget", "{\"seconds\": 1e-9}", NULL, NULL, 3, "no schedule can meet it"},
    {"match", "\"bytes\"", NULL, NULL, 3, "match is \"bytes\""},
    {"sweep", "{\"seeds\": [2, 9]}", NULL, NULL, 3, "seed 2 is one of the test's"},
    {"variants.additive.config.hidden_size", "1000000", NULL, NULL, 4, "and this machine has"},
    {"variants.additive.config.hidden_size", "1000000", "--dry-run", NULL, 4, "and this machine has"},
    {"margin", "0.01", "--at-most", "1e-9s", 2, "need about "},
};

/* One sentence, its exit status, and nothing that a run would leave. */
static void bad_plans_are_told_before_anything_runs(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof bad_plans / sizeof *bad_plans; i++) {
        const struct bad_plan *p = &bad_plans[i];
        const char *plan = tiny_plan_write("bad.json", tiny_plan_with(tiny_plan(), p->path, p->value));
        CHILD_RUN(&found, usual, "study", plan, "--out", scratch_path("bad"), p->option, p->of_option);
        expect_refusal(p->status, p->words);
        assert_null(strchr(strchr(found.err, '\n') + 1, '\n')); /* one line */
        if (access(scratch_path("bad"), F_OK) == 0) fail_msg("%s %s left a folder", p->path, p->value);
    }
}

/* Cost and smallest effect, before anything runs and with nothing left; a refusal for time tells both as well. */
static void a_dry_run_tells_cost_and_effect(void **state) {
    (void)state;
    static const struct {
        const char *seeds, *effect;
    } cases[] = {{"[1, 2, 3]", "3.26"}, {"[1, 2, 3, 4, 5, 6]", "1.43"}, {"[1, 2, 3, 4, 5, 6, 7, 8]", "1.16"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char words[64];
        const char *plan = tiny_plan_write("dry.json", tiny_plan_with(tiny_plan(), "seeds", cases[i].seeds));
        CHILD_RUN(&found, usual, "study", plan, "--dry-run", "--out", scratch_path("dry"));
        expect_success();
        (void)snprintf(words, sizeof words, "%s standard deviations", cases[i].effect);
        static const char *const told[] = {"runs, ", "floating-point operations", "seconds", "disk: ", "memory: "};
        for (size_t k = 0; k < sizeof told / sizeof *told; k++) assert_non_null(strstr(found.out, told[k]));
        assert_non_null(strstr(found.out, words));
        assert_true((strstr(found.out, "no sign-flip p below") != NULL) == (i == 0));
        CHILD_RUN(&found, usual, "study", plan, "--at-most", "1e-6", "--out", scratch_path("dry"));
        expect_refusal(2, words);
        assert_true(access(scratch_path("dry"), F_OK) != 0);
    }
}

/* The number in front of such words. */
static double told_before(const char *words) {
    const char *at = strstr(found.out, words);
    assert_non_null(at);
    while (at > found.out && at[-1] != '\n') at--;
    return strtod(at, NULL);
}

/* An audit costs what it adds: gates, cases and a gradient over its windows, of every run. */
static void audits_are_in_the_cost(void **state) {
    (void)state;
    double operations[3];
    for (int i = 0; i < 3; i++) {
        char audit[32];
        (void)snprintf(audit, sizeof audit, "{\"sequences\": %d}", 5 * i);
        json_t *given = tiny_plan_with(tiny_plan(), "audit", i == 0 ? "false" : audit);
        CHILD_RUN(&found, usual, "study", tiny_plan_write("dry.json", given), "--dry-run", "--out", scratch_path("dry"));
        expect_success();
        operations[i] = told_before(" floating-point operations");
    }
    assert_true(operations[1] > operations[0]);
    /* told with three digits */
    expect_close(operations[2] - operations[1], operations[1] - operations[0], 0.02 * operations[2]);
}

/* What is drawn has tests of its own. */
static int hide_gnuplot(void **state) {
    (void)state;
    return setenv("PATH", "/nowhere", 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_page_comes_from_study_json_alone),
        cmocka_unit_test(contrasts_of_the_audit_are_on_the_page),
        cmocka_unit_test(what_needs_the_runs_is_refused),
        cmocka_unit_test(a_changed_study_gets_no_page),
        cmocka_unit_test(a_damaged_study_does_no_harm),
        cmocka_unit_test(a_plan_is_not_written_over),
        cmocka_unit_test(a_study_is_signed),
        cmocka_unit_test(bad_plans_are_told_before_anything_runs),
        cmocka_unit_test(a_dry_run_tells_cost_and_effect),
        cmocka_unit_test(audits_are_in_the_cost),
    };
    return cmocka_run_group_tests(tests, hide_gnuplot, NULL);
}
