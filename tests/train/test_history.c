/* What a run adds up to: spikes against the rule spelt out another way, the history that a state tells, and what a checkpoint
 * says of its run. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "deltascope/io.h"
#include "scratch.h"
#include "support.h"
#include "train/curve.h"
#include "train/history.h"

/* ---- made up runs ------------------------------------------------------------------------------------------------ */

static json_t *updates_of(const double *losses, size_t count) {
    ds_json_builder b = {0};
    json_t *steps;
    ds_json_begin_array(&b, NULL);
    for (size_t i = 0; i < count; i++) {
        ds_json_begin_object(&b, NULL);
        ds_json_put_count(&b, "step", i);
        ds_json_put_real(&b, "lr", 1e-3 * (double)(i + 1));
        ds_json_put_real(&b, "loss", losses[i]);
        ds_json_put_real(&b, "gradient_norm", 2 * losses[i]);
        ds_json_end(&b);
    }
    ds_json_end(&b);
    expect_ok(ds_json_finish(&steps, &b));
    return steps;
}

/* ---- spikes ------------------------------------------------------------------------------------------------------ */

static double rank_of(const double *values, size_t count, size_t rank) {
    for (size_t i = 0; i < count; i++) {
        size_t below = 0, equal = 0;
        for (size_t j = 0; j < count; j++) below += values[j] < values[i], equal += values[j] == values[i];
        if (below <= rank && rank < below + equal) return values[i];
    }
    return NAN;
}

/* Of the 100 values before: the mean of those of ranks 49 and 50, found by counting. */
static double middle_of(const double *values) { return (rank_of(values, 100, 49) + rank_of(values, 100, 50)) / 2; }

static void expect_spikes(const double *losses, size_t count, size_t *seen) {
    json_t *steps = updates_of(losses, count), *spikes;
    size_t at = 0;
    expect_ok(ds_training_spikes(&spikes, steps));
    for (size_t i = 100; i < count; i++) {
        double away[100], middle = middle_of(&losses[i - 100]);
        for (size_t j = 0; j < 100; j++) away[j] = fabs(losses[i - 100 + j] - middle);
        const double deviation = 1.4826 * middle_of(away);
        if (!(losses[i] > middle + 8 * deviation)) continue;
        const json_t *spike = json_array_get(spikes, at++);
        expect_close(ds_json_real_at(spike, "step"), (double)i, 0);
        expect_close(ds_json_real_at(spike, "loss"), losses[i], 0);
        expect_close(ds_json_real_at(spike, "median"), middle, 0);
        expect_close(ds_json_real_at(spike, "deviation"), deviation, 0);
    }
    assert_int_equal(json_array_size(spikes), at);
    *seen += at;
    json_decref(steps);
    json_decref(spikes);
}

/* Falling losses with noise, some of them thrown up by a little or much; values that repeat. */
static void spikes_are_those_of_the_rule(void **state) {
    (void)state;
    ds_random random = ds_random_init(0x5917e);
    size_t seen = 0;
    for (int run = 0; run < 40; run++) {
        double losses[160];
        const double noise = 0.1 * ds_random_uniform(&random), steps = run % 4 == 0 ? 8 : 1e9;
        const size_t count = (size_t)ds_random_below(&random, 61) + 100;
        for (size_t i = 0; i < count; i++) {
            losses[i] = 4 - 0.0005 * (double)i + noise * ds_random_normal(&random);
            if (ds_random_below(&random, 12) == 0) losses[i] += 40 * noise * ds_random_uniform(&random);
            losses[i] = floor(losses[i] * steps) / steps;
        }
        expect_spikes(losses, count, &seen);
    }
    assert_true(seen > 20);
    double flat[101];
    for (size_t i = 0; i < 101; i++) flat[i] = 3;
    expect_spikes(flat, 101, &seen);
}

/* ---- history ----------------------------------------------------------------------------------------------------- */

static json_t *told(const json_t *steps, const json_t *evaluations, uint64_t total, uint64_t evaluate) {
    ds_json_builder b = {0};
    json_t *tale;
    ds_json_begin_object(&b, NULL);
    ds_history_put(&b, steps, evaluations, total, evaluate);
    ds_json_end(&b);
    expect_ok(ds_json_finish(&tale, &b));
    return tale;
}

static json_t *evaluations_of(size_t done, size_t every, size_t total) {
    json_t *list = json_array();
    for (size_t step = 0; step <= done; step++) {
        if (step % every == 0 || step == total)
            assert_int_equal(json_array_append_new(list, json_pack("{s:i, s:f}", "step", (int)step, "val_loss",
                                                                   fabs((double)step - 0.7 * (double)total))),
                             0);
    }
    return list;
}

/* Every update's loss counts once, in the mean of the entry that ends with it or comes next; entries stay few. */
static void expect_history(size_t done, size_t total, size_t every) {
    double *losses = ds_calloc(done + 1, sizeof *losses), sum = 0, entries = 0, last = 0;
    size_t updates = 0, evaluated = 0;
    assert_non_null(losses);
    for (size_t i = 0; i < done; i++) losses[i] = 1 / (double)(i + 1);
    json_t *steps = updates_of(losses, done), *evaluations = evaluations_of(done, every, total);
    json_t *tale = told(steps, evaluations, total, every);
    const json_t *history = json_object_get(tale, "log_history");
    const double logging = ds_json_real_at(tale, "logging_steps");
    for (size_t i = 0; i < json_array_size(history); i++) {
        const json_t *entry = json_array_get(history, i);
        const double step = ds_json_real_at(entry, "step");
        assert_true(step >= last);
        if (json_object_get(entry, "eval_loss") != NULL) {
            expect_close(ds_json_real_at(entry, "eval_loss"), fabs(step - 0.7 * (double)total), 0);
            evaluated++;
        } else {
            assert_true(updates == 0 || step > entries);
            sum += ds_json_real_at(entry, "loss") * (step - entries);
            entries = step;
            expect_close(ds_json_real_at(entry, "learning_rate"), 1e-3 * step, 0);
            expect_close(ds_json_real_at(entry, "grad_norm"), 2 / step, 0);
            updates++;
        }
        last = step;
    }
    double expected = 0;
    for (size_t i = 0; i < (size_t)entries; i++) expected += losses[i];
    expect_close(sum, expected, 1e-12 * (expected + 1));
    assert_true((double)done - entries < logging && updates <= 1001 && evaluated <= 1003);
    if (done == total) expect_close(entries, (double)total, 0);
    if (total <= 1000) assert_int_equal(updates, done);
    if (json_array_size(evaluations) <= 1000) assert_int_equal(evaluated, json_array_size(evaluations));
    assert_true(json_equal(json_object_get(tale, "best_global_step"), json_object_get(ds_history_best(evaluations), "step")));
    json_decref(tale);
    json_decref(steps);
    json_decref(evaluations);
    free(losses);
}

static void histories_stay_small_and_lose_no_loss(void **state) {
    (void)state;
    ds_random random = ds_random_init(0x415);
    expect_history(0, 10, 3);
    for (int i = 0; i < 40; i++) {
        const size_t total = (size_t)ds_random_below(&random, i % 2 == 0 ? 40 : 4000) + 1;
        const size_t done = i % 3 == 0 ? total : (size_t)ds_random_below(&random, total + 1);
        expect_history(done, total, (size_t)ds_random_below(&random, 20) + 1);
    }
}

/* ---- origin ------------------------------------------------------------------------------------------------------ */

static const char usual[] =
    "{\"global_step\": 40, \"max_steps\": 160, \"tokens\": 5120, \"best_metric\": 2.5, \"best_global_step\": "
    "30, \"run\": {\"recipe\": {\"rule\": \"delta\", \"learning_rate\": 0.003, \"data_seed\": 1}, "
    "\"train_sha256\": \"6ec3\"}}";
static const char recipe[] = "{\"data_seed\": 1, \"rule\": \"delta\", \"learning_rate\": 0.003}";

static void expect_origin(const char *state, size_t length, const char *checkpoint, const char *expected) {
    ds_text text = {0};
    (void)scratch_write("checkpoint-40/trainer_state.json", state, length);
    expect_ok(ds_training_origin(&text, scratch_path(checkpoint)));
    const char *found = text.bytes == NULL ? "" : text.bytes;
    if (expected != NULL && strcmp(found, expected) != 0) fail_msg("\"%s\", expected \"%s\"", found, expected);
    if (expected == NULL && text.length > 0) assert_int_equal(strncmp(found, "It comes from a training run", 28), 0);
    ds_text_release(&text);
}

/* Of a folder and of a weight file in it; of other trainers' states; of bytes changed anywhere, without a fault. */
static void an_origin_is_told_where_there_is_one(void **state) {
    (void)state;
    static const char progress[] =
        "It comes from a training run, by the trainer_state.json that lies with it: 40 of 160 updates done, 5120 tokens; the "
        "least validation loss until then is 2.5000, after update 30. Its recipe: rule \"delta\", learning rate 0.003, data "
        "seed "
        "1, tokens of SHA-256 6ec3.";
    static const char other[] = "{\"global_step\": 7, \"epoch\": 1.5, \"best_metric\": null, \"log_history\": []}";
    ds_random random = ds_random_init(0x0419);
    char told[640], changed[sizeof usual];
    expect_origin(usual, sizeof usual - 1, "checkpoint-40", progress);
    (void)scratch_write("recipe.json", recipe, sizeof recipe - 1);
    (void)snprintf(told, sizeof told, "%s recipe.json in the folder above is the same recipe.", progress);
    expect_origin(usual, sizeof usual - 1, "checkpoint-40", told);
    expect_origin(usual, sizeof usual - 1, "checkpoint-40/model.safetensors", told);
    (void)scratch_write("recipe.json", "{}", 2);
    (void)snprintf(told, sizeof told, "%s recipe.json in the folder above is another recipe.", progress);
    expect_origin(usual, sizeof usual - 1, "checkpoint-40", told);
    expect_origin(other, sizeof other - 1, "checkpoint-40",
                  "It comes from a training run, by the trainer_state.json that lies with it: 7 updates done.");
    expect_origin("[1]", 3, "checkpoint-40", "");
    expect_origin(usual, sizeof usual - 1, "elsewhere", "");
    for (int i = 0; i < 300; i++) {
        memcpy(changed, usual, sizeof usual);
        for (size_t k = ds_random_below(&random, 4) + 1; k-- > 0;)
            changed[ds_random_below(&random, sizeof usual - 1)] = "{}[]\":,0 9-e.nul\\x\xff"[ds_random_below(&random, 20)];
        expect_origin(changed, sizeof usual - 1, "checkpoint-40", NULL);
    }
}

/* ---- curves ------------------------------------------------------------------------------------------------------ */

/* However many losses there are, each counts in one point, and all but the last have as many. */
static void curves_have_every_loss_once(void **state) {
    (void)state;
    ds_random random = ds_random_init(0xc04e);
    ds_loss_curve curve = {.count = 0};
    double losses[1000];
    for (size_t n = 0; n < 1000; n++) {
        losses[n] = 10 * ds_random_uniform(&random);
        ds_loss_curve_add(&curve, losses[n]);
        assert_true(curve.count <= DS_CURVE_POINTS && (n < DS_CURVE_POINTS / 2 || curve.count > DS_CURVE_POINTS / 2));
        for (size_t i = 0; i < curve.count; i++) {
            size_t first = i * curve.stretch, end = i + 1 < curve.count ? first + curve.stretch : n + 1;
            double sum = 0;
            for (size_t k = first; k < end; k++) sum += losses[k];
            expect_close(curve.mean[i], sum / (double)(end - first), 1e-12);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spikes_are_those_of_the_rule),
        cmocka_unit_test(histories_stay_small_and_lose_no_loss),
        cmocka_unit_test(an_origin_is_told_where_there_is_one),
        cmocka_unit_test(curves_have_every_loss_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
