/* study as a script sees it: every run of a plan in its folder, the same bytes however often it is interrupted, and runs of two
 * plans never mixed. */
#include <ftw.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "child.h"
#include "deltascope/claims.h"
#include "deltascope/study.h"
#include "interrupted_study.h"
#include "scratch.h"
#include "support.h"
#include "tiny_plan.h"

static const child_limits usual = {.seconds = 120};
static child found;

static void expect_refusal(int status, const char *words) {
    if (found.status != status || strstr(found.err, words) == NULL)
        fail_msg("exit status %d and \"%s\", expected %d with \"%s\"", found.status, found.err, status, words);
}

static void expect_success(void) {
    if (found.status != 0) fail_msg("exit status %d, signal %d: %s", found.status, found.signal, found.err);
}

static const char *inside(const char *folder, const char *name) {
    char path[256];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    return scratch_path(path);
}

static json_t *read_json(const char *path) {
    char *bytes;
    size_t length;
    json_t *tree;
    expect_ok(ds_read_file(&bytes, &length, path, 1 << 24));
    expect_ok(ds_json_parse(&tree, bytes, length, path));
    free(bytes);
    return tree;
}

/* The plan run once without a break. */
static const char *run_whole(void) {
    const char *plan = tiny_plan_write("plan.json", tiny_plan_with(tiny_plan(), "audit", "{\"sequences\": 2}"));
    if (access(scratch_path("whole"), F_OK) != 0) {
        CHILD_RUN(&found, usual, "study", plan, "--quiet", "--out", scratch_path("whole"));
        expect_success();
    }
    return plan;
}

/* ---- a plan run -------------------------------------------------------------------------------------------------- */

static double last_loss(const char *folder) {
    char *bytes, *at;
    size_t length;
    expect_ok(ds_read_file(&bytes, &length, inside(folder, "log.jsonl"), 1 << 20));
    bytes[length - 1] = '\0';
    at = strrchr(bytes, '\n');
    json_t *line = NULL;
    expect_ok(ds_json_parse(&line, at + 1, strlen(at + 1), folder));
    assert_int_equal(json_integer_value(json_object_get(line, "step")), 20);
    double loss = json_real_value(json_object_get(line, "val/loss"));
    json_decref(line);
    free(bytes);
    return loss;
}

/* The mean of windows.f32 is the last loss of the log. */
static void expect_windows(const char *folder) {
    char *bytes;
    size_t length;
    double sum = 0;
    expect_ok(ds_read_file(&bytes, &length, inside(folder, "windows.f32"), 1 << 20));
    assert_int_equal(length, 4 * 13);
    for (size_t i = 0; i < 13; i++) {
        float value;
        memcpy(&value, bytes + 4 * i, sizeof value);
        sum += (double)value;
    }
    double mean = sum / 13;
    expect_close(mean, last_loss(folder), 0x1p-24 * mean); /* each window is rounded once */
    free(bytes);
}

static void a_plan_runs_to_completion(void **state) {
    (void)state;
    const char *plan = run_whole();
    const char *const cells[] = {"whole/additive/seed-1", "whole/ddl-scalar/seed-3", "whole/ddl-scalar-write-only/seed-2",
                                 "whole/noise-floor/additive/seed-1"};
    for (size_t i = 0; i < 4; i++) {
        json_t *done = read_json(inside(cells[i], "DONE"));
        assert_string_equal(json_string_value(json_object_get(done, "status")), "done");
        assert_int_equal(json_integer_value(json_object_get(done, "updates")), 20);
        json_decref(done);
        expect_windows(cells[i]);
        assert_true(access(inside(cells[i], "checkpoint-20/optimizer.safetensors"), F_OK) == 0);
        assert_true(access(inside(cells[i], "checkpoint-18"), F_OK) != 0);
    }
    /* one unit in the last place of one weight: another start, nearly the same end */
    double nudged = last_loss("whole/noise-floor/additive/seed-1"), plain = last_loss("whole/additive/seed-1");
    expect_close(nudged, plain, 1e-4);
    json_t *start = read_json(inside("whole/noise-floor/additive/seed-1", "DONE")),
           *other = read_json(inside(cells[0], "DONE"));
    assert_false(json_equal(json_object_get(start, "initial_sha256"), json_object_get(other, "initial_sha256")));
    json_decref(start);
    json_decref(other);
    char before[65], after[65];
    const char *study = inside("whole", "study.json");
    expect_ok(ds_sha256_file(before, NULL, study, 1 << 20));
    CHILD_RUN(&found, usual, "study", plan, "--report-only", "--quiet", "--out", scratch_path("whole"));
    expect_success();
    expect_ok(ds_sha256_file(after, NULL, study, 1 << 20));
    assert_string_equal(before, after);
    CHILD_RUN(&found, usual, "study", plan, "--report-only", "--json", "-", "--out", scratch_path("whole"));
    expect_success();
    if (strncmp(found.out, "{\n  \"format\": \"study-1\"", 23) != 0) fail_msg("no study on standard output: %.40s", found.out);
    assert_null(strstr(found.out, "runs finished"));                         /* nor a table behind it */
    CHILD_RUN(&found, usual, "study", plan, "--out", scratch_path("whole")); /* finished: nothing is run again */
    expect_success();
    assert_non_null(strstr(found.out, "ddl-scalar - ddl-scalar-write-only: "));
    assert_non_null(strstr(found.out, "10 of 10 runs finished, none of them diverged"));
}

static void what_a_plan_costs_is_told(void **state) {
    (void)state;
    const char *plan = tiny_plan_write("plan.json", tiny_plan()), *none = scratch_path("none");
    CHILD_RUN(&found, usual, "study", plan, "--dry-run", "--out", none);
    expect_success();
    assert_non_null(strstr(found.out, "10 runs, 10 of them to do: 3 variants, 3 seeds, one run for the noise floor\n"));
    assert_non_null(strstr(found.out, "3.26 standard deviations"));
    CHILD_RUN(&found, usual, "study", plan, "--at-most", "1e-9s", "--out", none);
    expect_refusal(2, "its 10 runs need about ");
    CHILD_RUN(&found, usual, "study", plan, "--at-most", "soon", "--out", none);
    expect_refusal(2, "--at-most takes seconds, or a number with s, m or h");
    CHILD_RUN(&found, usual, "study", plan);
    expect_refusal(2, "study needs --out DIR");
    CHILD_RUN(&found, usual, "study", plan, "--seed", "3", "--out", none); /* seeds are the plan's */
    expect_refusal(2, "study does not know the option \"--seed\"");
    CHILD_RUN(&found, usual, "study",
              tiny_plan_write("large.json", tiny_plan_with(tiny_plan(), "variants.additive.config.hidden_size", "1000000")),
              "--out", none);
    expect_refusal(4, "one run needs ");
    assert_true(access(none, F_OK) != 0);
}

/* A budget of seconds is turned into updates once, and stays what it was. */
static void a_budget_of_seconds_is_fixed_before_the_run(void **state) {
    (void)state;
    char first[65], again[65];
    json_t *given = tiny_plan_with(tiny_plan_with(tiny_plan(), "budget", "{\"seconds\": 0.05}"), "seeds", "[1, 2]");
    const char *plan = tiny_plan_write("timed.json", given), *folder = scratch_path("timed");
    CHILD_RUN(&found, usual, "study", plan, "--quiet", "--out", folder);
    expect_success();
    json_t *speeds = read_json(inside("timed", "speed.json")), *study = read_json(inside("timed", "study.json"));
    assert_int_equal(json_object_size(speeds), 3);
    double each = ds_json_real_at(speeds, "additive"), updates = ds_json_real_at(study, "variants/additive/runs/0/updates");
    assert_true(updates <= 0.05 / each && updates + 1 > 0.05 / each);
    json_t *recipe = read_json(inside("timed", "additive/seed-1/recipe.json"));
    expect_close(ds_json_real_at(recipe, "decay_steps"), updates, 0);
    assert_string_equal(json_string_value(ds_json_at(study, "contrasts/0/budget")), "seconds");
    assert_true(json_is_true(ds_json_at(study, "matching/batches_equal"))); /* as far as all go */
    assert_true(access(inside("timed", "speed"), F_OK) != 0);
    expect_ok(ds_sha256_file(first, NULL, inside("timed", "study.json"), 1 << 20));
    CHILD_RUN(&found, usual, "study", plan, "--quiet", "--out", folder);
    expect_success();
    expect_ok(ds_sha256_file(again, NULL, inside("timed", "study.json"), 1 << 20));
    assert_string_equal(first, again);
    json_decref(speeds);
    json_decref(study);
    json_decref(recipe);
}

/* ---- plans are not mixed ----------------------------------------------------------------------------------------- */

static void runs_of_two_plans_are_not_mixed(void **state) {
    (void)state;
    const char *folder = scratch_path("whole");
    (void)run_whole();
    const struct {
        const char *path, *value, *words;
    } changes[] = {
        {"recipe.learning_rate", "0.0131", "its recipe.learning_rate is 0.013, this plan's is 0.0131"},
        {"evaluations", "2", "its evaluate is 5, this plan's is 10"},
        {"precision", "\"double\"", "its precision is \"float\", this plan's is \"double\""},
        {"variants.additive.config.num_attention_heads", "1", "its config.num_attention_heads is 2, this plan's is 1"},
        {"data.val", "\"plan-train.bin\"", "its recipe.val_windows is 13, this plan's is 62"},
    };
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        json_t *given = tiny_plan_with(tiny_plan(), changes[i].path, changes[i].value);
        if (i == 3) given = tiny_plan_with(given, "variants.additive.config.head_dim", "16");
        CHILD_RUN(&found, usual, "study", tiny_plan_write("other.json", given), "--resume", "--out", folder);
        expect_refusal(3, changes[i].words);
        assert_non_null(strstr(found.err, "was made by another plan"));
    }
    /* more seeds of the same plan are no other plan, but have to be asked for */
    const char *more = tiny_plan_write("more.json", tiny_plan_with(tiny_plan(), "seeds", "[4, 1, 3, 2]"));
    CHILD_RUN(&found, usual, "study", more, "--out", folder);
    expect_refusal(2, "holds 10 of this plan's 13 runs, 10 of them finished: --resume goes on");
}

static void runs_are_added_to_a_study(void **state) {
    (void)state;
    const char *folder = scratch_path("grown");
    const char *two = tiny_plan_write("two.json", tiny_plan_with(tiny_plan(), "seeds", "[2, 3]"));
    CHILD_RUN(&found, usual, "study", two, "--quiet", "--out", folder);
    expect_success();
    json_t *given = tiny_plan_with(tiny_plan(), "noise_floor", "false");
    CHILD_RUN(&found, usual, "study", tiny_plan_write("three.json", given), "--resume", "--out", folder);
    expect_success();
    assert_non_null(strstr(found.err, "run 9 of 9"));
    assert_null(strstr(found.err, "run 6 of 9")); /* those were there */
    (void)run_whole();
    char ours[65], theirs[65];
    expect_ok(ds_sha256_file(ours, NULL, inside("grown", "ddl-scalar/seed-2/checkpoint-20/model.safetensors"), 1 << 20));
    expect_ok(ds_sha256_file(theirs, NULL, inside("whole", "ddl-scalar/seed-2/checkpoint-20/model.safetensors"), 1 << 20));
    assert_string_equal(ours, theirs);
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *walk) {
    (void)info, (void)kind, (void)walk;
    return remove(path);
}

/* Digests, statistics and, with the folder, the runs themselves: what somebody changes is seen, whatever he seals anew. */
static void what_a_study_says_is_checked(void **state) {
    (void)state;
    (void)run_whole();
    const char *file = inside("whole", "study.json"), *folder = scratch_path("whole"), *forged = scratch_path("forged.json");
    CHILD_RUN(&found, usual, "check", file);
    expect_success();
    assert_non_null(strstr(found.out, "digest of all holds"));
    assert_non_null(strstr(found.out, "incomplete: nothing disagrees"));
    CHILD_RUN(&found, usual, "check", file, folder);
    expect_success();
    assert_non_null(strstr(found.out, "agrees: every number"));
    CHILD_RUN(&found, usual, "diff", file, file);
    expect_success();
    json_t *study = read_json(file), *run = (json_t *)(uintptr_t)ds_json_at(study, "variants/additive/runs/2"), *digests;
    expect_ok(ds_json_write(forged, study, DS_JSON_READABLE));
    assert_int_equal(json_object_set_new(run, "weights_sha256", json_string("no digest of anything")), 0);
    expect_ok(ds_digests_make(&digests, study));
    assert_int_equal(json_object_set_new(study, "digests", digests), 0);
    expect_ok(ds_json_write(forged, study, DS_JSON_READABLE));
    json_decref(study);
    CHILD_RUN(&found, usual, "check", forged); /* nothing follows from that digest */
    expect_success();
    CHILD_RUN(&found, usual, "check", forged, folder);
    assert_int_equal(found.status, 1);
    assert_non_null(strstr(found.out, "variants/additive/runs/2/weights_sha256"));
    CHILD_RUN(&found, usual, "diff", forged, file);
    assert_int_equal(found.status, 1);
    CHILD_RUN(&found, usual, "check", "--sample", "0.5", file);
    expect_refusal(2, "is a study: check takes the folder of its runs");
    CHILD_RUN(&found, usual, "check", file, scratch_path("nobody"));
    expect_refusal(3, "there is no such folder");
    CHILD_RUN(&found, usual, "check", "fixtures/studies/write-only/study.json"); /* of a real study, its runs not kept */
    expect_success();
    assert_non_null(strstr(found.out, "digest of own holds"));
    assert_non_null(strstr(found.out, "incomplete: nothing disagrees"));
}

/* A log or windows changed afterwards are found; the run, done again, has the bytes it had. */
static void what_was_changed_is_refused(void **state) {
    (void)state;
    const char *plan = run_whole(), *const files[] = {"log.jsonl", "windows.f32"};
    for (size_t i = 0; i < 2; i++) {
        char place[64], before[65], after[65];
        (void)snprintf(place, sizeof place, "whole/ddl-scalar/seed-1/%s", files[i]);
        const char *path = scratch_path(place);
        char *bytes;
        size_t length;
        expect_ok(ds_read_file(&bytes, &length, path, 1 << 20));
        expect_ok(ds_sha256(before, bytes, length));
        bytes[length / 2] = (char)(bytes[length / 2] ^ 1);
        expect_ok(ds_write_file(path, bytes, length));
        free(bytes);
        CHILD_RUN(&found, usual, "study", plan, "--report-only", "--out", scratch_path("whole"));
        expect_refusal(3, "it was changed after the run");
        assert_int_equal(nftw(scratch_path("whole/ddl-scalar/seed-1"), remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
        CHILD_RUN(&found, usual, "study", plan, "--resume", "--quiet", "--out", scratch_path("whole"));
        expect_success();
        expect_ok(ds_sha256_file(after, NULL, path, 1 << 20));
        assert_string_equal(before, after);
    }
}

/* ---- divergence -------------------------------------------------------------------------------------------------- */

static void a_diverged_run_is_listed(void **state) {
    (void)state;
    json_t *given = tiny_plan_with(tiny_plan(), "variants.additive.recipe", "{\"learning_rate\": 3e30, \"clip\": 0}");
    given = tiny_plan_with(tiny_plan_with(given, "seeds", "[1, 2]"), "noise_floor", "false");
    const char *plan = tiny_plan_write("wild.json", given);
    CHILD_RUN(&found, usual, "study", plan, "--out", scratch_path("wild"));
    expect_success();
    assert_non_null(strstr(found.out, "6 of 6 runs finished, 2 of them diverged"));
    assert_non_null(strstr(found.err, "additive/seed-1 diverged"));
    json_t *done = read_json(inside("wild", "additive/seed-1/DONE"));
    assert_string_equal(json_string_value(json_object_get(done, "status")), "diverged");
    assert_true(json_integer_value(json_object_get(done, "updates")) < 20);
    assert_non_null(strstr(json_string_value(json_object_get(done, "reason")), "update "));
    json_decref(done);
    CHILD_RUN(&found, usual, "study", plan, "--out", scratch_path("wild")); /* and not run again */
    assert_non_null(strstr(found.out, "6 of 6 runs finished, 2 of them diverged"));
    assert_null(strstr(found.err, "run "));
}

/* ---- interruptions ----------------------------------------------------------------------------------------------- */

static void interruptions_change_no_byte(void **state) {
    (void)state;
    interrupt_study(tiny_plan_write("plan.json", tiny_plan_with(tiny_plan(), "audit", "{\"sequences\": 2}")), 3, 0x57d);
}

/* What is drawn has tests of its own; here gnuplot is not found, and every figure is left as its data and its script. */
static int hide_gnuplot(void **state) {
    (void)state;
    return setenv("PATH", "/nowhere", 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plan_runs_to_completion),
        cmocka_unit_test(what_a_plan_costs_is_told),
        cmocka_unit_test(a_budget_of_seconds_is_fixed_before_the_run),
        cmocka_unit_test(runs_of_two_plans_are_not_mixed),
        cmocka_unit_test(runs_are_added_to_a_study),
        cmocka_unit_test(what_a_study_says_is_checked),
        cmocka_unit_test(what_was_changed_is_refused),
        cmocka_unit_test(a_diverged_run_is_listed),
        cmocka_unit_test(interruptions_change_no_byte),
    };
    return cmocka_run_group_tests(tests, hide_gnuplot, NULL);
}
