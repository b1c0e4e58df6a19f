/* study.json against what lies in the folder: numbers follow from logs, windows and differences; order changes order only. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "deltascope/claims.h"
#include "deltascope/measure/forced_gates.h"
#include "deltascope/study.h"
#include "interrupted_study.h"
#include "scratch.h"
#include "support.h"
#include "tiny_plan.h"

static ds_study_questions asked = {NAN, NAN};

/* The study of a plan (taken over), run into a folder of the scratch folder where it is not there already. */
static json_t *study_of(json_t *given, const char *folder) {
    ds_plan plan;
    ds_folder *opened = NULL;
    ds_study_progress progress;
    bool stopped;
    json_t *out = NULL;
    expect_ok(ds_plan_read(&plan, tiny_plan_write("plan.json", given)));
    expect_ok(ds_folder_open(&opened, scratch_path(folder)));
    const ds_study_options options = {.folder = opened, .resume = true};
    expect_ok(ds_study_run(&progress, &plan, &options));
    assert_true(progress.finished == progress.cells && !progress.stopped);
    expect_ok(ds_study_tune(&progress, &plan, &options));
    assert_true(progress.finished == progress.cells && !progress.stopped);
    expect_ok(ds_study_audit(&stopped, &plan, &options));
    expect_ok(ds_study_report(&out, &plan, opened, &asked));
    ds_folder_close(&opened);
    ds_plan_release(&plan);
    return out;
}

static double real(const json_t *value, const char *path) { return ds_json_real_at(value, path); }

static const char *word(const json_t *value, const char *path) { return json_string_value(ds_json_at(value, path)); }

/* ---- numbers of a run -------------------------------------------------------------------------------------------- */

/* Lines of log.jsonl with that key, in order. */
static size_t read_log(double *values, uint64_t *steps, const char *path, const char *key) {
    char *bytes;
    size_t length, count = 0;
    expect_ok(ds_read_file(&bytes, &length, path, 1 << 20));
    for (char *state, *line = strtok_r(bytes, "\n", &state); line != NULL; line = strtok_r(NULL, "\n", &state)) {
        json_t *entry = NULL;
        expect_ok(ds_json_parse(&entry, line, strlen(line), path));
        if (json_object_get(entry, key) != NULL) {
            steps[count] = (uint64_t)json_integer_value(json_object_get(entry, "step"));
            values[count++] = json_real_value(json_object_get(entry, key));
        }
        json_decref(entry);
    }
    free(bytes);
    return count;
}

static void runs_tell_what_their_logs_hold(void **state) {
    (void)state;
    json_t *study = study_of(tiny_plan(), "study");
    const json_t *run = ds_json_at(study, "variants/ddl-scalar/runs/1");
    double losses[64], tail = 0;
    uint64_t steps[64];
    size_t count = read_log(losses, steps, scratch_path("study/ddl-scalar/seed-2/log.jsonl"), "val/loss");
    assert_int_equal(count, 5); /* before all updates, and 4 even distances */
    for (size_t i = 0; i < count; i++) assert_int_equal(steps[i], 5 * i);
    for (size_t i = 2; i < 5; i++) tail += losses[i] / 3;
    expect_close(real(run, "final"), losses[4], 0);
    expect_close(real(run, "initial"), losses[0], 0);
    expect_close(real(run, "tail"), tail, 4 * 0x1p-53 * tail);
    expect_close(real(run, "updates"), 20, 0);
    expect_close(real(run, "tokens"), 20 * 4 * 16, 0);
    expect_close(real(run, "flops"), 20 * 4 * 16 * real(study, "variants/ddl-scalar/flops_per_token"), 0);
    assert_string_equal(word(run, "status"), "done");
    assert_string_equal(word(run, "curve"), "ddl-scalar/seed-2/log.jsonl");
    char digest[65];
    expect_ok(ds_sha256_file(digest, NULL, scratch_path("study/ddl-scalar/seed-2/checkpoint-20/model.safetensors"), 1 << 20));
    assert_string_equal(word(run, "weights_sha256"), digest);
    const double *best = losses;
    for (size_t i = 0; i < count; i++) best = losses[i] < *best ? losses + i : best;
    expect_close(real(run, "best/value"), *best, 0);
    expect_close(real(run, "best/update"), (double)steps[best - losses], 0);
    assert_true(real(run, "train_seconds") > 0 && real(run, "eval_seconds") > 0 && real(run, "save_seconds") > 0);
    json_decref(study);
}

static void curves_are_means_of_logs(void **state) {
    (void)state;
    json_t *study = study_of(tiny_plan(), "study");
    const json_t *curve = ds_json_at(study, "curves/tokens/additive");
    ds_seed_summary summary;
    double all[3][64], at[3];
    uint64_t steps[64];
    for (int seed = 1; seed <= 3; seed++) {
        char path[64];
        (void)snprintf(path, sizeof path, "study/additive/seed-%d/log.jsonl", seed);
        (void)read_log(all[seed - 1], steps, scratch_path(path), "val/loss");
    }
    for (size_t i = 0; i < 5; i++) {
        for (size_t s = 0; s < 3; s++) at[s] = all[s][i];
        expect_ok(ds_seed_summarise(&summary, at, 3));
        expect_close(json_real_value(json_array_get(json_object_get(curve, "mean"), i)), summary.mean, 0);
        expect_close(json_real_value(json_array_get(json_object_get(curve, "lo"), i)), summary.low, 0);
        expect_close(json_real_value(json_array_get(json_object_get(curve, "hi"), i)), summary.high, 0);
        expect_close(json_real_value(json_array_get(json_object_get(curve, "x"), i)), (double)(steps[i] * 64), 0);
    }
    json_decref(study);
}

/* ---- contrasts --------------------------------------------------------------------------------------------------- */

/* Everything said of a contrast follows from its differences, but for what needs both sides. */
static void contrasts_follow_from_their_differences(void **state) {
    (void)state;
    const double none[3] = {0, 0, 0};
    json_t *given = tiny_plan_with(tiny_plan(), "contrasts",
                                   "[[\"ddl-scalar\", \"additive\"], [\"ddl-scalar\", \"ddl-scalar-write-only\"],"
                                   " [[\"ddl-scalar\", \"additive\"], [\"ddl-scalar-write-only\", \"additive\"]]]");
    json_t *study = study_of(tiny_plan_with(given, "primary", "[\"ddl-scalar\", \"additive\"]"), "study");
    const json_t *contrast;
    size_t i;
    ds_contrast again[3];
    json_array_foreach(json_object_get(study, "contrasts"), i, contrast) {
        double differences[3];
        for (size_t s = 0; s < 3; s++)
            differences[s] = json_real_value(json_array_get(json_object_get(contrast, "differences"), s));
        expect_ok(ds_contrast_paired(&again[i], differences, none, 3, 0.005, 1));
        double a = real(ds_json_at(study, "variants/ddl-scalar/runs/0"), "final");
        if (i == 0) expect_close(differences[0], a - real(ds_json_at(study, "variants/additive/runs/0"), "final"), 0);
    }
    expect_ok(ds_contrasts_judge(again, 3, 0));
    json_array_foreach(json_object_get(study, "contrasts"), i, contrast) {
        const double close = 1e-12; /* relative: the differences were rounded once on their way here */
        expect_close(real(contrast, "mean"), again[i].t.mean, close * fabs(again[i].t.mean) + 1e-16);
        expect_close(real(contrast, "interval/0"), again[i].t.low, close);
        expect_close(real(contrast, "interval/1"), again[i].t.high, close);
        expect_close(real(contrast, "t/p"), again[i].t.p, close);
        expect_close(real(contrast, "holm_p"), again[i].holm_p, close);
        expect_close(real(contrast, "sign_flip/p"), again[i].sign_flip.p, 0);
        expect_close(real(contrast, "equivalence/p"), again[i].equivalence.p, close);
        expect_close(real(contrast, "detectable_effect/effect"), again[i].detectable.effect, close);
        assert_string_equal(word(contrast, "verdict"), ds_contrast_verdict_names[again[i].verdict]);
        assert_true(real(contrast, "window_se") >= 0);
    }
    contrast = json_array_get(json_object_get(study, "contrasts"), 2);
    assert_string_equal(word(contrast, "name"), "(ddl-scalar - additive) - (ddl-scalar-write-only - additive)");
    json_decref(study);
}

static void nothing_differs_from_itself(void **state) {
    (void)state;
    json_t *study = study_of(tiny_plan_with(tiny_plan(), "contrasts", "[[\"additive\", \"additive\"]]"), "study");
    const json_t *contrast = ds_json_at(study, "contrasts/0");
    expect_close(real(contrast, "mean"), 0, 0);
    expect_close(real(contrast, "interval/0"), 0, 0);
    expect_close(real(contrast, "interval/1"), 0, 0);
    expect_close(real(contrast, "window_se"), 0, 0);
    assert_string_equal(word(contrast, "verdict"), "equivalent");
    assert_true(json_is_null(ds_json_at(contrast, "t/p")));
    json_decref(study);
}

/* ---- audit ------------------------------------------------------------------------------------------------------- */

static double closed_cost(const char *checkpoint) {
    json_t *options = NULL, *results = NULL;
    ds_run run = {0};
    ds_ablate_options ablate = ds_ablate_defaults;
    const ds_run_options how = {.checkpoint = checkpoint, .tokens = scratch_path("plan-val.bin"), .length = 16, .sequences = 3};
    ablate.scopes = "all";
    expect_ok(ds_run_open(&run, &how));
    expect_ok(ds_ablate_results(&options, &results, &run, &ablate));
    double cost = real(results, "cases/0/delta_loss");
    ds_run_close(&run);
    json_decref(options);
    json_decref(results);
    return cost;
}

/* What is told of a variant is what the measurement alone finds of its checkpoints, the seed being the unit. */
static void every_run_is_audited(void **state) {
    (void)state;
    json_t *study = study_of(tiny_plan_with(tiny_plan(), "audit", "{\"sequences\": 3}"), "study");
    double full[3], written[3];
    ds_contrast contrast;
    ds_seed_summary summary;
    for (size_t s = 0; s < 3; s++) {
        char path[96];
        (void)snprintf(path, sizeof path, "study/ddl-scalar/seed-%zu/checkpoint-20", s + 1);
        full[s] = closed_cost(scratch_path(path));
        (void)snprintf(path, sizeof path, "study/ddl-scalar-write-only/seed-%zu/checkpoint-20", s + 1);
        written[s] = closed_cost(scratch_path(path));
    }
    expect_ok(ds_seed_summarise(&summary, full, 3));
    expect_ok(ds_contrast_paired(&contrast, full, written, 3, 0.005, 1));
    const json_t *told = ds_json_at(study, "audit/variants/ddl-scalar/delta_loss:closed:all");
    for (size_t s = 0; s < 3; s++)
        expect_close(json_real_value(json_array_get(json_object_get(told, "values"), s)), full[s], 0);
    expect_close(real(told, "summary/mean"), summary.mean, 0);
    expect_close(real(told, "summary/interval/1"), summary.high, 0);
    told = ds_json_at(study, "audit/contrasts/0/measures/delta_loss:closed:all");
    expect_close(real(told, "mean"), contrast.t.mean, 0);
    expect_close(real(told, "interval/0"), contrast.t.low, 0);
    expect_close(real(told, "p"), contrast.t.p, 0);
    assert_null(ds_json_at(study, "audit/contrasts/1/measures/beta:0.attn")); /* against a rule without gates */
    assert_non_null(ds_json_at(study, "audit/contrasts/0/measures/beta:0.attn"));
    assert_non_null(ds_json_at(study, "audit/contrasts/1/measures/grad_norm:0"));
    json_decref(study);
}

static void questions_are_answered(void **state) {
    (void)state;
    asked = (ds_study_questions){.target = 3.9, .effect = 0.02};
    json_t *study = study_of(tiny_plan(), "study");
    double finals[3];
    ds_target_test test;
    for (size_t s = 0; s < 3; s++) finals[s] = real(json_array_get(ds_json_at(study, "variants/ddl-scalar/runs"), s), "final");
    expect_ok(ds_target_compare(&test, finals, 3, 3.9));
    expect_close(real(study, "target/variants/ddl-scalar/p"), test.p, 0);
    expect_close(real(study, "target/variants/ddl-scalar/mean"), test.runs.mean, 0);
    const json_t *contrast = ds_json_at(study, "contrasts/1");
    size_t needed = ds_seeds_needed(0.02 / real(contrast, "sd"), 0.8, 0.05);
    assert_true(needed > 2);
    expect_close(real(contrast, "planned/seeds_needed"), (double)needed, 0);
    asked = (ds_study_questions){NAN, NAN};
    json_decref(study);
}

/* How many leaves of what a study says differ from what follows from its runs. */
static double disagreements(const json_t *study) {
    json_t *told = NULL, *derived = NULL, *section = NULL;
    expect_ok(ds_study_derive(&told, &derived, study));
    expect_ok(ds_claims_compare(&section, "derived", "derived", "", told, derived, 0));
    const double disagreed = real(section, "disagreed");
    assert_true(real(section, "compared") > 50);
    json_decref(told);
    json_decref(derived);
    json_decref(section);
    return disagreed;
}

/* ---- sweeps ------------------------------------------------------------------------------------------------------ */

static double last_loss(const char *folder, const char *variant, int seed) {
    char path[160];
    double losses[64];
    uint64_t steps[64];
    (void)snprintf(path, sizeof path, "%s/%s/seed-%d/log.jsonl", folder, variant, seed);
    const size_t count = read_log(losses, steps, scratch_path(path), "val/loss");
    return losses[count - 1];
}

/* One grid for all, on seeds of its own; the test is at each variant's best, and where that is the plan's rate its runs are the
 * study's. */
static void rates_are_swept_on_other_seeds(void **state) {
    (void)state;
    json_t *given = tiny_plan_with(tiny_plan(), "sweep", "{\"seeds\": [12, 11], \"points\": 5}");
    given = tiny_plan_with(tiny_plan_with(given, "recipe.learning_rate", "0.064"), "recipe.min_learning_rate", "0.016");
    given = tiny_plan_with(given, "variants.additive.recipe", "{\"learning_rate\": 0.02}");
    json_t *study = study_of(given, "swept"), *sweeps = json_object_get(study, "sweeps"), *sweep;
    const char *name;
    assert_int_equal(json_object_size(sweeps), 3);
    json_object_foreach(sweeps, name, sweep) {
        const json_t *grid = json_object_get(sweep, "grid");
        const size_t points = json_array_size(grid);
        double means[32], best = INFINITY, lost = 0;
        size_t at = 0;
        assert_true(points >= 5 && json_equal(grid, ds_json_at(sweeps, "additive/grid")));
        assert_int_equal(json_integer_value(ds_json_at(sweep, "seeds/0")), 11);
        for (size_t g = 0; g < points; g++) {
            char folder[64], rate[32];
            const double value = json_real_value(json_array_get(grid, g));
            (void)snprintf(folder, sizeof folder, "swept/sweep/learning_rate-%s", ds_format_real(rate, value));
            if (g > 0) expect_close(value, json_real_value(json_array_get(grid, g - 1)) * sqrt(2), 1e-12);
            means[g] = 0;
            for (size_t k = 0; k < 2; k++) {
                const json_t *loss = json_array_get(json_array_get(json_object_get(sweep, "loss"), k), g);
                const double initial = json_real_value(json_array_get(json_object_get(sweep, "initial"), k));
                const double last = last_loss(folder, name, 11 + (int)k);
                if (json_is_null(loss))
                    assert_true(last > initial); /* it rose */
                else
                    expect_close(json_real_value(loss), last, 0);
                means[g] += fmin(last, initial) / 2;
            }
            at = means[g] < best ? g : at;
            best = fmin(best, means[g]);
        }
        for (size_t g = 0; g < points; g++) lost += (means[g] - best) / (double)points;
        expect_close(real(sweep, "best"), json_real_value(json_array_get(grid, at)), 0);
        expect_close(real(sweep, "sensitivity"), lost, 1e-12);
        assert_true(json_is_true(json_object_get(sweep, "inside")) && at > 0 && at + 1 < points);
        const json_t *tuned = json_object_get(json_object_get(json_object_get(study, "tuned"), "variants"), name);
        expect_close(real(tuned, "learning_rate"), real(sweep, "best"), 0);
        const bool moved = fabs(real(sweep, "best") - (strcmp(name, "additive") == 0 ? 0.02 : 0.064)) > 1e-9;
        for (size_t s = 0; s < 3; s++)
            expect_close(real(json_array_get(json_object_get(tuned, "runs"), s), "final"),
                         last_loss(moved ? "swept/tuned" : "swept", name, (int)s + 1), 0);
    }
    expect_close(disagreements(study), 0, 0);
    assert_string_equal(word(study, "tuned/contrasts/0/name"), word(study, "contrasts/0/name"));
    json_decref(study);
}

/* ---- looked at again --------------------------------------------------------------------------------------------- */

/* Moves the number at place *left among those that `derived` has too, in order; false when there are fewer. */
static bool forge(json_t *value, const json_t *derived, size_t *left) {
    const char *key;
    json_t *member, *of = (json_t *)(uintptr_t)derived;
    size_t i;
    if (json_is_object(derived)) {
        json_object_foreach(of, key, member) {
            if (forge(json_object_get(value, key), member, left)) return true;
        }
    } else if (json_is_array(derived)) {
        json_array_foreach(derived, i, member) {
            if (forge(json_array_get(value, i), member, left)) return true;
        }
    } else if (json_is_number(derived) && (*left)-- == 0) {
        if (json_is_integer(value)) return json_integer_set(value, json_integer_value(value) + 1) == 0;
        const double was = json_real_value(value);
        return json_real_set(value, was == 0 ? 1e-6 : was * (1 + 1e-6)) == 0;
    }
    return false;
}

/* Whatever number that follows from others is moved, wherever it stands, it is seen; so is a run's own. */
static void a_forged_number_is_seen(void **state) {
    (void)state;
    asked = (ds_study_questions){.target = 3.9, .effect = 0.02};
    json_t *crossed = tiny_plan_with(tiny_plan(), "seeds", "{\"init\": [5, 2], \"data\": [1, 7, 3]}");
    json_t *const studies[] = {study_of(tiny_plan_with(tiny_plan(), "audit", "{\"sequences\": 3}"), "study"),
                               study_of(tiny_plan_with(crossed, "noise_floor", "false"), "crossed")};
    ds_random random = ds_random_init(0xf06e);
    for (size_t i = 0; i < 2; i++) {
        json_t *told = NULL, *derived = NULL, *run;
        expect_close(disagreements(studies[i]), 0, 0);
        expect_ok(ds_study_derive(&told, &derived, studies[i]));
        for (size_t draw = 0; draw < 60; draw++) {
            json_t *forged = ds_json_copy(studies[i]);
            size_t place = (size_t)ds_random_below(&random, 400), left = place;
            while (!forge(forged, derived, &left)) left = left % 97; /* there are fewer */
            if (disagreements(forged) == 0) fail_msg("number %zu of study %zu was moved, and nobody sees it", place, i);
            json_decref(forged);
        }
        run = (json_t *)(uintptr_t)ds_json_at(studies[i], "variants/ddl-scalar/runs/1");
        assert_int_equal(json_real_set(json_object_get(run, "final"), real(run, "final") + 1e-7), 0);
        assert_true(disagreements(studies[i]) > 10);
        json_decref(told);
        json_decref(derived);
        json_decref(studies[i]);
    }
    asked = (ds_study_questions){NAN, NAN};
}

/* ---- order ------------------------------------------------------------------------------------------------------- */

/* The same members, the last first. */
static json_t *reversed(const json_t *object) {
    json_t *out = json_object();
    const char *names[8], *name;
    json_t *value;
    size_t count = 0;
    json_object_foreach((json_t *)(uintptr_t)object, name, value) names[count++] = name;
    while (count-- > 0) assert_int_equal(json_object_set(out, names[count], json_object_get(object, names[count])), 0);
    return out;
}

/* What the plan's order of variants and seeds may change: nothing but the plan itself, and the order of members. */
static void order_changes_order_only(void **state) {
    (void)state;
    json_t *study = study_of(tiny_plan(), "study"), *given = tiny_plan_with(tiny_plan(), "seeds", "[2, 3, 1]");
    assert_int_equal(json_object_set_new(given, "variants", reversed(json_object_get(given, "variants"))), 0);
    json_t *other = study_of(given, "permuted"); /* run by itself */
    drop_study_times(study);
    drop_study_times(other);
    const char *const own[] = {"plan", "plan_sha256", "digests"}; /* what it was, and where its variants stood */
    for (size_t i = 0; i < 3; i++) {
        assert_false(json_equal(json_object_get(study, own[i]), json_object_get(other, own[i])));
        assert_int_equal(json_object_del(study, own[i]) | json_object_del(other, own[i]), 0);
    }
    assert_true(json_equal(study, other));
    json_decref(study);
    json_decref(other);
}

/* ---- matching ---------------------------------------------------------------------------------------------------- */

static void what_is_shared_is_proved_equal(void **state) {
    (void)state;
    json_t *study = study_of(tiny_plan(), "study");
    const json_t *matching = json_object_get(study, "matching"), *tensor;
    size_t i, owned_by_all = 0, tensors = (size_t)real(matching, "tensor_count");
    assert_true(json_is_true(json_object_get(matching, "tensors_equal")));
    assert_true(json_is_true(json_object_get(matching, "batches_equal")));
    assert_int_equal(json_array_size(json_object_get(matching, "tensors")), tensors);
    json_array_foreach(json_object_get(matching, "tensors"), i, tensor) {
        size_t owners = json_array_size(json_object_get(tensor, "variants"));
        owned_by_all += owners == 3;
        assert_true(owners == 3 || owners == 2); /* all, or those with gates */
        assert_int_equal(json_object_size(json_object_get(tensor, "sha256")), 3);
    }
    assert_true(owned_by_all > 5 && owned_by_all < tensors);
    expect_close(real(matching, "tensors_shared"), (double)tensors, 0);
    /* other seeds, other weights and batches */
    const json_t *embedding = json_array_get(json_object_get(matching, "tensors"), 0);
    assert_string_not_equal(word(ds_json_at(study, "variants/additive/runs/0"), "batch_digest"),
                            word(ds_json_at(study, "variants/additive/runs/1"), "batch_digest"));
    assert_non_null(embedding);
    /* a running digest at each evaluation after the first */
    const json_t *run = ds_json_at(study, "variants/additive/runs/0"), *digests = json_object_get(run, "batch_digests");
    assert_int_equal(json_array_size(digests), 4);
    assert_string_equal(json_string_value(json_array_get(digests, 3)), word(run, "batch_digest"));
    assert_true(json_equal(digests, ds_json_at(study, "variants/ddl-scalar/runs/0/batch_digests")));
    assert_false(json_equal(digests, ds_json_at(study, "variants/additive/runs/1/batch_digests")));
    const double a = real(matching, "noise_floor/final_a"), b = real(matching, "noise_floor/final_b");
    expect_close(real(matching, "noise_floor/difference"), b - a, 0);
    assert_true(fabs(b - a) < 1e-3 * real(matching, "noise_floor/seed_sd"));
    json_decref(study);
}

/* ---- crossed seeds, divergence, what is missing ------------------------------------------------------------------ */

static void crossed_seeds_split_the_variance(void **state) {
    (void)state;
    json_t *given = tiny_plan_with(tiny_plan(), "seeds", "{\"init\": [5, 2], \"data\": [1, 7, 3]}");
    json_t *study = study_of(tiny_plan_with(given, "noise_floor", "false"), "crossed");
    const json_t *variant = ds_json_at(study, "variants/additive");
    double finals[6];
    for (size_t i = 0; i < 6; i++) {
        const json_t *run = json_array_get(json_object_get(variant, "runs"), i);
        static const double init[] = {2, 2, 2, 5, 5, 5}, data[] = {1, 3, 7, 1, 3, 7};
        finals[i] = real(run, "final");
        expect_close(real(run, "seed/init"), init[i], 0);
        expect_close(real(run, "seed/data"), data[i], 0);
    }
    const ds_two_way split = ds_two_way_split(finals, 2, 3);
    expect_close(real(variant, "seed_variance/init"), split.rows, 0);
    expect_close(real(variant, "seed_variance/data"), split.columns, 0);
    expect_close(real(variant, "seed_variance/rest"), split.rest, 0);
    assert_true(json_is_true(ds_json_at(study, "matching/tensors_equal"))); /* of one seed of weights, whatever the data's */
    assert_true(json_is_null(ds_json_at(study, "matching/noise_floor")));
    assert_true(json_is_null(ds_json_at(study, "contrasts/0/sign_flip/p")));
    json_decref(study);
}

/* Listed, counted, in no mean, and the worst by rank. */
static void a_diverged_run_is_not_dropped(void **state) {
    (void)state;
    json_t *given = tiny_plan_with(tiny_plan(), "variants.additive.recipe", "{\"learning_rate\": 3e30, \"clip\": 0}");
    json_t *study = study_of(tiny_plan_with(given, "noise_floor", "false"), "wild");
    const json_t *run = ds_json_at(study, "variants/additive/runs/2");
    assert_string_equal(word(run, "status"), "diverged");
    assert_true(json_is_null(json_object_get(run, "final")) && json_is_null(json_object_get(run, "windows")));
    assert_true(real(run, "diverged_at") >= 0 && strlen(word(run, "reason")) > 10);
    expect_close(real(study, "variants/additive/summary/diverged"), 3, 0);
    expect_close(real(study, "variants/additive/summary/n"), 0, 0);
    const json_t *contrast = ds_json_at(study, "contrasts/0"); /* full against a rule without gates, or write-only */
    for (size_t i = 0; strcmp(word(contrast, "b"), "additive") != 0; i++)
        contrast = json_array_get(json_object_get(study, "contrasts"), i);
    expect_close(real(contrast, "diverged/b"), 3, 0);
    expect_close(real(contrast, "diverged/p"), 0.25, 1e-15); /* three seeds, one side alone: 2 / 2^3 */
    assert_true(json_is_null(json_array_get(json_object_get(contrast, "differences"), 0)));
    json_decref(study);
}

static void what_is_missing_is_listed(void **state) {
    (void)state;
    ds_plan plan;
    ds_folder *folder = NULL;
    json_t *study = study_of(tiny_plan(), "study"), *more = NULL;
    expect_ok(ds_plan_read(&plan, tiny_plan_write("plan.json", tiny_plan_with(tiny_plan(), "seeds", "[1, 2, 3, 9]"))));
    expect_ok(ds_folder_open(&folder, scratch_path("study")));
    expect_ok(ds_study_report(&more, &plan, folder, &asked));
    assert_string_equal(word(ds_json_at(more, "variants/additive/runs/3"), "status"), "stopped");
    assert_true(json_equal(ds_json_at(more, "contrasts"), ds_json_at(study, "contrasts")));
    ds_folder_close(&folder);
    ds_plan_release(&plan);
    json_decref(study);
    json_decref(more);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runs_tell_what_their_logs_hold),
        cmocka_unit_test(curves_are_means_of_logs),
        cmocka_unit_test(contrasts_follow_from_their_differences),
        cmocka_unit_test(nothing_differs_from_itself),
        cmocka_unit_test(every_run_is_audited),
        cmocka_unit_test(questions_are_answered),
        cmocka_unit_test(rates_are_swept_on_other_seeds),
        cmocka_unit_test(a_forged_number_is_seen),
        cmocka_unit_test(order_changes_order_only),
        cmocka_unit_test(what_is_shared_is_proved_equal),
        cmocka_unit_test(crossed_seeds_split_the_variance),
        cmocka_unit_test(a_diverged_run_is_not_dropped),
        cmocka_unit_test(what_is_missing_is_listed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
