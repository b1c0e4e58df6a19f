/* What a training run leaves to be read: its logs, a state's history, audits of gates; figures of saved runs. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "deltascope/io.h"
#include "scratch.h"
#include "support.h"
#include "training_run.h"

/* ---- logs -------------------------------------------------------------------------------------------------------- */

/* The next line of a text, cut off in place; NULL at the end. */
static char *next_line(char **text) {
    char *line = strsep(text, "\n");
    return line == NULL || line[0] == '\0' ? NULL : line;
}

static char *read_text(const char *path) {
    char *bytes = NULL;
    size_t length;
    expect_ok(ds_read_file(&bytes, &length, path, 1 << 24));
    return bytes;
}

/* The next cell of a row, cut off in place; an empty one is NaN. */
static double next_cell(char **row) {
    const char *cell = strsep(row, ",");
    return cell == NULL || cell[0] == '\0' ? NAN : strtod(cell, NULL);
}

static void expect_same(double value, double expected) {
    if (!isnan(value) || !isnan(expected)) expect_close(value, expected, 0);
}

/* log.jsonl, log.csv, main.log and the last state tell the same run as train.json, to the last digit. */
static void logs_tell_the_run(void **state) {
    (void)state;
    static const char *const columns[] = {
        "step", "lr", "train/loss", "train/micro_loss", "train/grad_norm", "train/clip_coefficient", "val/loss"};
    training_trace t;
    char paths[2][64];
    trace_open(&t, "additive-accumulate");
    train(&t, "logged", (const char *const[]){"--evaluate", "3", "--log", "llmc", NULL}, usual);
    if (found.status != 0) fail_msg("%s", found.err);
    json_t *envelope = read_json(inside("logged", "train.json")), *line;
    const json_t *results = json_object_get(envelope, "results");
    char *lines = read_text(inside("logged", "log.jsonl")), *rows = read_text(inside("logged", "log.csv"));
    char *llmc = read_text(inside("logged", "main.log")), *l = lines, *r = rows, *m = llmc, *head = next_line(&r);
    assert_string_equal(head, "step,lr,train/loss,train/micro_loss,train/grad_norm,train/clip_coefficient,val/loss");
    size_t updates = 0, evaluations = 0;
    for (char *text; (text = next_line(&l)) != NULL;) {
        expect_ok(ds_json_parse(&line, text, strlen(text), "log.jsonl"));
        char *row = next_line(&r), *told = next_line(&m);
        for (size_t c = 0; c < sizeof columns / sizeof *columns; c++) {
            const double cell = next_cell(&row);
            if (c != 3) expect_same(cell, ds_json_real_at(json_object_get(line, columns[c]), ""));
        }
        const bool evaluation = json_object_get(line, "val/loss") != NULL;
        (void)snprintf(paths[0], sizeof paths[0], "%s/%zu/%s", evaluation ? "evaluations" : "steps",
                       evaluation ? evaluations : updates, evaluation ? "val_loss" : "loss");
        const double loss = ds_json_real_at(json_object_get(line, evaluation ? "val/loss" : "train/loss"), "");
        expect_close(loss, ds_json_real_at(results, paths[0]), 0);
        (void)snprintf(paths[1], sizeof paths[1], evaluation ? "s:%.0f tel:" : "s:%.0f trl:", ds_json_real_at(line, "step"));
        assert_int_equal(strncmp(told, paths[1], strlen(paths[1])), 0);
        expect_close(strtod(told + strlen(paths[1]), NULL), loss, 0);
        updates += !evaluation;
        evaluations += evaluation;
        json_decref(line);
    }
    assert_int_equal(updates, 20);
    assert_int_equal(evaluations, 8); /* after 0, 3, ... 18, 20 */
    assert_true(next_line(&r) == NULL && next_line(&m) == NULL);
    free(lines);
    free(rows);
    free(llmc);
    json_decref(envelope);
    trace_close(&t);
}

/* An audit's numbers are those that gates has of the same checkpoint on the same windows. */
static void expect_audit(const training_trace *t, const json_t *audit, const char *checkpoint) {
    static const char *const pairs[][2] = {{"beta_mean", "beta/mean"},
                                           {"k_norm2_mean", "k_norm2/mean"},
                                           {"eigenvalue_mean", "eigenvalue/mean"},
                                           {"relative_edit", "relative_edit"}};
    const char *result = scratch_path("gates.json");
    CHILD_RUN(&found, usual, "gates", "--tokens", t->val, "--seq-len", "32", "--offset", "0", "--sequences", "8", "--quiet",
              "--json", result, checkpoint);
    if (found.status != 0) fail_msg("%s", found.err);
    json_t *gates = read_json(result);
    const json_t *sublayers = ds_json_at(gates, "results/sublayers"), *audited = json_object_get(audit, "gates");
    assert_true(json_array_size(audited) > 0);
    assert_int_equal(json_array_size(audited), json_array_size(sublayers));
    for (size_t s = 0; s < json_array_size(audited); s++) {
        const json_t *ours = json_array_get(audited, s), *theirs = json_array_get(sublayers, s);
        for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
            expect_close(ds_json_real_at(ours, pairs[i][0]), ds_json_real_at(theirs, pairs[i][1]), 0);
        assert_true(json_equal(json_object_get(ours, "regimes"), json_object_get(theirs, "regimes")));
        assert_string_equal(json_string_value(json_object_get(ours, "name")),
                            json_string_value(json_object_get(theirs, "name")));
    }
    json_decref(gates);
}

/* gates.csv has a row for each of them. */
static void expect_gate_rows(const json_t *audits) {
    char *rows = read_text(inside("audited", "gates.csv")), *r = rows;
    const char *head = next_line(&r);
    assert_int_equal(strncmp(head, "step,sublayer,beta_mean,", 24), 0);
    for (size_t i = 0; i < json_array_size(audits); i++) {
        const json_t *audit = json_array_get(audits, i), *gates = json_object_get(audit, "gates");
        for (size_t s = 0; s < json_array_size(gates); s++) {
            const json_t *sublayer = json_array_get(gates, s);
            char *row = next_line(&r);
            expect_close(next_cell(&row), ds_json_real_at(audit, "step"), 0);
            assert_string_equal(strsep(&row, ","), json_string_value(json_object_get(sublayer, "name")));
            expect_close(next_cell(&row), ds_json_real_at(sublayer, "beta_mean"), 0);
            expect_close(strtod(strrchr(row, ',') + 1, NULL), ds_json_real_at(sublayer, "regimes/reflection"), 0);
        }
    }
    assert_null(next_line(&r));
    free(rows);
}

static void gates_are_audited_on_the_way(void **state) {
    (void)state;
    training_trace t;
    trace_open(&t, "ddl-cc-ec");
    train(&t, "audited", (const char *const[]){"--audit", "5", "--save", "5", NULL}, usual);
    if (found.status != 0) fail_msg("%s", found.err);
    json_t *envelope = read_json(inside("audited", "train.json"));
    const json_t *audits = ds_json_at(envelope, "results/audits");
    assert_int_equal(json_array_size(audits), 5); /* after 0, 5, 10, 15, 20 */
    expect_audit(&t, json_array_get(audits, 0), t.initial);
    expect_audit(&t, json_array_get(audits, 2), inside("audited", "checkpoint-10"));
    expect_audit(&t, json_array_get(audits, 4), inside("audited", "checkpoint-20"));
    expect_gate_rows(audits);
    json_decref(envelope);
    trace_close(&t);
}

/* The trajectory of the checkpoints of a run, in a shell's order, is that of its audits and evaluations. */
static void a_trajectory_is_what_was_audited(void **state) {
    (void)state;
    training_trace t;
    char paths[5][256];
    static const char *const folders[] = {"checkpoint-10", "checkpoint-15", "checkpoint-20", "checkpoint-5"};
    trace_open(&t, "ddl-cc-ec");
    for (size_t i = 0; i < 4; i++) (void)snprintf(paths[i], sizeof paths[i], "%s", inside("audited", folders[i]));
    CHILD_RUN(&found, usual, "compare", "--trajectory", "--tokens", t.val, "--seq-len", "32", "--offset", "0", "--sequences",
              "8", "--quiet", "--out", scratch_path("trajectory"), paths[0], paths[1], paths[2], paths[3]);
    if (found.status != 0) fail_msg("%s", found.err);
    json_t *compared = read_json(inside("trajectory", "compare.json")), *envelope = read_json(inside("audited", "train.json"));
    for (size_t i = 0; i < 4; i++) {
        char at[2][96];
        (void)snprintf(at[0], sizeof at[0], "results/checkpoints/%zu/x", i);
        expect_close(ds_json_real_at(compared, at[0]), 5 * (double)(i + 1), 0);
        for (size_t s = 0; s < 4; s++) {
            (void)snprintf(at[0], sizeof at[0], "results/checkpoints/%zu/sublayers/%zu/beta/mean", i, s);
            (void)snprintf(at[1], sizeof at[1], "results/audits/%zu/gates/%zu/beta_mean", i + 1, s);
            expect_close(ds_json_real_at(compared, at[0]), ds_json_real_at(envelope, at[1]), 0);
        }
    }
    expect_close(ds_json_real_at(compared, "results/checkpoints/3/loss"), ds_json_real_at(envelope, "results/val_after"),
                 1e-12);
    assert_true(access(inside("trajectory", "figures/trajectory-gates.tsv"), F_OK) == 0);
    assert_true(access(inside("trajectory", "figures/trajectory-loss.tsv"), F_OK) == 0);
    json_decref(compared);
    json_decref(envelope);
    trace_close(&t);
}

/* Where there are no gates, that is said before anything is made. */
static void what_has_no_gates_is_not_audited(void **state) {
    (void)state;
    training_trace t;
    char config[320];
    trace_open(&t, "additive-accumulate");
    train(&t, "none", (const char *const[]){"--audit", "5", NULL}, usual);
    expect_refusal(2, "--audit: an additive model has no gates: each of its sublayers adds its output as it is");
    (void)snprintf(config, sizeof config, "%s/config.json", t.initial);
    CHILD_RUN(&found, usual, "train", "--recipe", recipe_of(&t), "--config", config, "--variant", "additive", "--audit", "1",
              "--tokens", t.train, "--val", t.val, "--out", scratch_path("none"));
    expect_refusal(2, "--audit: an additive model has no gates");
    assert_true(access(scratch_path("none"), F_OK) != 0);
    trace_close(&t);
}

/* trainer_state.json as other programs read it. */
static void a_state_tells_its_history(void **state) {
    (void)state;
    json_t *envelope = read_json(inside("logged", "train.json"));
    json_t *told = read_json(inside("logged", "checkpoint-20/trainer_state.json"));
    const json_t *history = json_object_get(told, "log_history");
    double best = INFINITY, best_step = -1;
    char at[64];
    size_t updates = 0;
    for (size_t i = 0; i < json_array_size(history); i++) {
        const json_t *entry = json_array_get(history, i);
        const double value = ds_json_real_at(entry, "eval_loss");
        if (value < best) best_step = ds_json_real_at(entry, "step");
        best = fmin(best, isnan(value) ? INFINITY : value);
        if (!isnan(value)) continue;
        static const char *const pairs[][2] = {{"loss", "loss"}, {"grad_norm", "gradient_norm"}, {"learning_rate", "lr"}};
        for (size_t k = 0; k < 3; k++) {
            (void)snprintf(at, sizeof at, "results/steps/%zu/%s", updates, pairs[k][1]);
            expect_close(ds_json_real_at(entry, pairs[k][0]), ds_json_real_at(envelope, at), 0);
        }
        expect_close(ds_json_real_at(entry, "step"), (double)++updates, 0);
    }
    assert_int_equal(updates, 20);
    expect_close(ds_json_real_at(told, "best_metric"), best, 0);
    expect_close(ds_json_real_at(told, "best_global_step"), best_step, 0);
    expect_close(ds_json_real_at(envelope, "results/best/val_loss"), best, 0);
    expect_close(ds_json_real_at(told, "max_steps"), 20, 0);
    json_decref(told);
    json_decref(envelope);
}

/* ---- figures of saved runs --------------------------------------------------------------------------------------- */

static void expect_in_file(const char *path, const char *words) {
    char *text = read_text(path);
    if (strstr(text, words) == NULL) fail_msg("%s has no \"%s\"", path, words);
    free(text);
}

/* Runs of different starts on common axes, over tokens where their updates differ in them; names by folder or as asked for. */
static void runs_are_laid_over_each_other(void **state) {
    (void)state;
    char one[256], other[256], out[256];
    (void)snprintf(one, sizeof one, "%s", inside("logged", "train.json"));
    (void)snprintf(other, sizeof other, "%s", inside("audited", "train.json"));
    (void)snprintf(out, sizeof out, "%s", scratch_path("drawn"));
    CHILD_RUN(&found, usual, "plot", "--out", out, one, other);
    if (found.status != 0) fail_msg("%s", found.err);
    expect_in_file(inside("drawn", "training-curves.gp"), "\nruns = 2\n");
    expect_in_file(inside("drawn", "training-curves.gp"), "\nnames = 'logged audited '\n");
    expect_in_file(inside("drawn", "training-curves.gp"), "tokens'\n");
    expect_in_file(inside("drawn", "gates-over-training.gp"), "\nruns = 1\n"); /* the additive one has no gates */
    assert_null(strstr(found.out, "Checkpoint:"));
    CHILD_RUN(&found, usual, "plot", "--labels", "first,second", "--figure", "training-curves", "--out", out, one, other);
    assert_int_equal(found.status, 0);
    expect_in_file(inside("drawn", "training-curves.gp"), "\nnames = 'first second '\n");
    CHILD_RUN(&found, usual, "plot", "--labels", "first", "--out", out, one, other);
    expect_refusal(2, "--labels: 1 label for 2 results, one is needed for each");
    CHILD_RUN(&found, usual, "plot", "--labels", "first,second", "--out", out, one);
    expect_refusal(2, "--labels: 2 labels for 1 result, one is needed for each");
}

/* A log draws the same points as the results made of it, as far as it has come; a line that is cut is not there yet. */
static void a_log_is_as_good_as_its_results(void **state) {
    (void)state;
    char whole[256], log[256], out[256];
    (void)snprintf(whole, sizeof whole, "%s", inside("audited", "train.json"));
    (void)snprintf(out, sizeof out, "%s", scratch_path("drawn"));
    char *lines = read_text(inside("audited", "log.jsonl")), *data[2];
    (void)snprintf(log, sizeof log, "%s", scratch_write("copy/log.jsonl", lines, strlen(lines)));
    for (int i = 0; i < 2; i++) {
        CHILD_RUN(&found, usual, "plot", "--out", out, i == 0 ? whole : log);
        if (found.status != 0) fail_msg("%s", found.err);
        data[i] = read_text(inside("drawn", "training-curves.tsv"));
    }
    assert_string_equal(data[0], data[1]);
    (void)scratch_write("copy/log.jsonl", lines, strlen(lines) / 2);
    CHILD_RUN(&found, usual, "plot", "--out", out, log);
    assert_int_equal(found.status, 0);
    (void)scratch_write("copy/log.jsonl", "{\"step\":0}\n", 11);
    CHILD_RUN(&found, usual, "plot", "--out", out, log);
    expect_refusal(3, "lacks a key, expected those of train's log.jsonl");
    free(lines);
    free(data[0]);
    free(data[1]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logs_tell_the_run),
        cmocka_unit_test(a_state_tells_its_history),
        cmocka_unit_test(gates_are_audited_on_the_way),
        cmocka_unit_test(a_trajectory_is_what_was_audited),
        cmocka_unit_test(what_has_no_gates_is_not_audited),
        cmocka_unit_test(runs_are_laid_over_each_other),
        cmocka_unit_test(a_log_is_as_good_as_its_results),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
