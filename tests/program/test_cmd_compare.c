/* compare from the command line: what it says of each checkpoint is what gates and ablate say of it alone, and its differences
 * are those of their losses. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <jansson.h>

#include "commands/comparison_view.h"
#include "deltascope/io.h"
#include "deltascope/stats.h"
#include "scratch.h"
#include "support.h"
#include "tiny_model.h"

static const char *const models[] = {
    "ddl-cc-ec",     "additive-small", "cc-bf16",        "cc-dv3-noqknorm",    "cc-ec-activations",
    "cc-ec-vlinear", "scalar-ckpt",    "scalar-kvshift", "scalar-safetensors", "scalar-two-layer-gate",
    "tc-ec-sharded", "tc-newer-names", "tc-output-gate",
};
enum { MODELS = sizeof models / sizeof models[0], WINDOWS = 6 };
#define DATA "--tokens fixtures/data/val.bin --seq-len 24 --sequences 6 "

static int run(const char *arguments) {
    const char *program = getenv("DELTASCOPE") != NULL ? getenv("DELTASCOPE") : "build/deltascope";
    char line[4096];
    (void)snprintf(line, sizeof line, "%s %s >%s 2>%s", program, arguments, scratch_path("out"), scratch_path("err"));
    int status = system(line);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static char *content(const char *name) {
    char *bytes;
    size_t length;
    expect_ok(ds_read_file(&bytes, &length, scratch_path(name), 1 << 24));
    return bytes;
}

static void expect_refusal(const char *arguments, int status, const char *words) {
    assert_int_equal(run(arguments), status);
    char *said = content("err");
    if (strstr(said, words) == NULL) fail_msg("complains \"%s\", not \"%s\"", said, words);
    free(said);
}

/* The results of a command; the caller owns *envelope. */
static const json_t *results(json_t **envelope, const char *arguments) {
    char all[4096];
    json_error_t error;
    (void)snprintf(all, sizeof all, "%s --quiet --json %s", arguments, scratch_path("r.json"));
    if (run(all) != 0) fail_msg("%s: %s", arguments, content("err"));
    *envelope = json_load_file(scratch_path("r.json"), 0, &error);
    assert_non_null(*envelope);
    return json_object_get(*envelope, "results");
}

static double number(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    if (!json_is_number(value)) fail_msg("\"%s\" is not a number", key);
    return json_number_value(value);
}

static double element(const json_t *object, const char *key, size_t index) {
    const json_t *value = json_array_get(json_object_get(object, key), index);
    if (!json_is_number(value)) fail_msg("\"%s\"[%zu] is not a number", key, index);
    return json_number_value(value);
}

static const json_t *checkpoint(const json_t *found, size_t index) {
    return json_array_get(json_object_get(found, "checkpoints"), index);
}

/* Equal to the last bit: results do not depend on what else is run. Losses of ablate's cases differ from compare's baseline
 * only in the order of a sum over 24 tokens of losses below 16. */
static const double rounding = 24 * 16 * 0x1p-53;

static void expect_like_alone(const json_t *entry, const char *model) {
    char arguments[512];
    json_t *gates, *ablate;
    (void)snprintf(arguments, sizeof arguments, "gates " DATA "fixtures/models/%s", model);
    const json_t *alone = results(&gates, arguments);
    assert_true(json_equal(json_object_get(entry, "sublayers"), json_object_get(alone, "sublayers")));
    assert_true(json_equal(json_object_get(entry, "sequence_loss"), json_object_get(alone, "sequence_loss")));
    assert_true(number(entry, "loss") == number(alone, "loss"));
    (void)snprintf(arguments, sizeof arguments, "ablate --scopes each " DATA "fixtures/models/%s", model);
    alone = results(&ablate, arguments);
    const json_t *mine = json_object_get(entry, "cases"), *cases = json_object_get(alone, "cases");
    assert_int_equal(json_array_size(mine), json_array_size(cases));
    for (size_t c = 0; c < json_array_size(mine); c++) {
        const json_t *a = json_array_get(mine, c), *b = json_array_get(cases, c);
        assert_string_equal(json_string_value(json_object_get(a, "name")), json_string_value(json_object_get(b, "name")));
        expect_close(number(a, "loss"), number(b, "loss"), rounding);
        expect_close(number(a, "delta_loss"), number(b, "delta_loss"), 2 * rounding);
    }
    json_decref(gates);
    json_decref(ablate);
}

static void test_each_as_alone(void **state) {
    (void)state;
    ds_text arguments = {0};
    json_t *envelope;
    expect_ok(ds_text_printf(&arguments, "compare " DATA));
    for (size_t m = 0; m < MODELS; m++) expect_ok(ds_text_printf(&arguments, " fixtures/models/%s", models[m]));
    const json_t *found = results(&envelope, arguments.bytes);
    assert_int_equal(json_array_size(json_object_get(found, "checkpoints")), MODELS);
    for (size_t m = 0; m < MODELS; m++) {
        assert_string_equal(json_string_value(json_object_get(checkpoint(found, m), "label")), models[m]);
        expect_like_alone(checkpoint(found, m), models[m]);
    }
    json_decref(envelope);
    ds_text_release(&arguments);
}

/* The paired statistics once more, from the losses that gates and ablate report. */
static void test_differences(void **state) {
    (void)state;
    json_t *envelope, *first, *second;
    const json_t *found = results(&envelope, "compare " DATA "fixtures/models/cc-bf16 fixtures/models/scalar-ckpt");
    const json_t *a = results(&first, "ablate --scopes each " DATA "fixtures/models/cc-bf16");
    const json_t *b = results(&second, "ablate --scopes each " DATA "fixtures/models/scalar-ckpt");
    const json_t *base_a = json_object_get(a, "baseline"), *base_b = json_object_get(b, "baseline"),
                 *entry = checkpoint(found, 1);
    double differences[WINDOWS];
    ds_paired expected;
    for (size_t w = 0; w < WINDOWS; w++)
        differences[w] = element(base_b, "sequence_loss", w) - element(base_a, "sequence_loss", w);
    expect_ok(ds_paired_bootstrap(&expected, differences, 1, WINDOWS, 0, 0));
    expect_close(number(entry, "difference"), expected.mean, 2 * rounding);
    expect_close(element(entry, "difference_ci95", 0), expected.low, 2 * rounding);
    expect_close(element(entry, "difference_ci95", 1), expected.high, 2 * rounding);
    expect_close(number(entry, "p_value_holm"), expected.p_value, 0);
    for (size_t c = 0; c < 4; c++) {
        const json_t *in_a = json_array_get(json_object_get(a, "cases"), c),
                     *in_b = json_array_get(json_object_get(b, "cases"), c);
        const json_t *mine = json_array_get(json_object_get(entry, "cases"), c);
        for (size_t w = 0; w < WINDOWS; w++)
            differences[w] = element(in_b, "sequence_loss", w) - element(base_b, "sequence_loss", w) -
                             (element(in_a, "sequence_loss", w) - element(base_a, "sequence_loss", w));
        expect_ok(ds_paired_bootstrap(&expected, differences, 1, WINDOWS, 0, 0));
        expect_close(number(mine, "difference"), expected.mean, 4 * rounding);
        expect_close(element(mine, "difference_ci95", 0), expected.low, 4 * rounding);
        expect_close(element(mine, "difference_ci95", 1), expected.high, 4 * rounding);
        assert_true(number(mine, "p_value_holm") >= number(mine, "p_value"));
    }
    assert_true(json_is_null(json_object_get(checkpoint(found, 0), "difference")));
    assert_true(json_is_null(json_object_get(json_array_get(json_object_get(checkpoint(found, 0), "cases"), 0), "difference")));
    json_decref(envelope);
    json_decref(first);
    json_decref(second);
}

static void test_with_itself(void **state) {
    (void)state;
    json_t *envelope;
    const json_t *found = results(&envelope, "compare " DATA "fixtures/models/cc-bf16 fixtures/models/../models/cc-bf16");
    const json_t *entry = checkpoint(found, 1);
    assert_string_equal(json_string_value(json_object_get(entry, "label")), "../models/cc-bf16");
    assert_true(number(entry, "difference") == 0 && element(entry, "difference_ci95", 0) == 0 &&
                element(entry, "difference_ci95", 1) == 0);
    assert_true(number(entry, "p_value") == 1);
    for (size_t c = 0; c < 4; c++) assert_true(number(json_array_get(json_object_get(entry, "cases"), c), "difference") == 0);
    json_decref(envelope);
}

/* Seeds of one run differ in the middle of their paths: labels reach back to where they do. */
static void test_labels_tell_apart(void **state) {
    (void)state;
    char line[2048];
    json_t *envelope;
    (void)snprintf(line, sizeof line,
                   "cd %s && mkdir -p seed-1 seed-2 && ln -s $OLDPWD/fixtures/models/cc-bf16 seed-1/final && "
                   "ln -s $OLDPWD/fixtures/models/cc-bf16 seed-2/final",
                   scratch_path("."));
    assert_int_equal(system(line), 0);
    (void)snprintf(line, sizeof line, "compare --shut none " DATA "%s ", scratch_path("seed-1/final"));
    (void)snprintf(line + strlen(line), sizeof line - strlen(line), "%s/ fixtures/models/scalar-ckpt",
                   scratch_path("seed-2/final"));
    const json_t *found = results(&envelope, line);
    static const char *const labels[] = {"seed-1/final", "seed-2/final", "scalar-ckpt"};
    for (size_t i = 0; i < 3; i++)
        assert_string_equal(json_string_value(json_object_get(checkpoint(found, i), "label")), labels[i]);
    json_decref(envelope);
}

/* Models of different depths have nothing to pair sublayer by sublayer; their losses have. */
static void test_different_depths(void **state) {
    (void)state;
    json_t *envelope;
    const json_t *found = results(&envelope, "compare " DATA "fixtures/models/ddl-cc-ec fixtures/models/additive-small");
    const json_t *entry = checkpoint(found, 1);
    assert_true(number(entry, "difference") > 0);
    for (size_t c = 0; c < 4; c++) {
        const json_t *item = json_array_get(json_object_get(entry, "cases"), c);
        assert_true(json_is_null(json_object_get(item, "difference")));
        assert_true(json_is_number(json_object_get(item, "delta_loss")));
    }
    json_decref(envelope);
}

static void expect_x(const char *labels, double first, double second, const char *kind) {
    char arguments[512];
    json_t *envelope;
    (void)snprintf(arguments, sizeof arguments,
                   "compare --shut none --trajectory --labels %s " DATA "fixtures/models/cc-bf16 fixtures/models/scalar-ckpt",
                   labels);
    const json_t *found = results(&envelope, arguments);
    assert_true(number(checkpoint(found, 0), "x") == first && number(checkpoint(found, 1), "x") == second);
    assert_string_equal(json_string_value(json_object_get(found, "x")), kind);
    assert_int_equal(json_array_size(json_object_get(checkpoint(found, 0), "cases")), 0);
    json_decref(envelope);
}

static void test_steps_from_labels(void **state) {
    (void)state;
    expect_x("step-100,step-2000", 100, 2000, "number");
    expect_x("v2-000100.pt,v2-002000.pt", 100, 2000, "number");
    expect_x("s2000,s100", 100, 2000, "number");
}

/* Checkpoints in any order come out in that of their steps, with what is theirs; an order nobody can tell is refused. */
static void test_trajectories_are_sorted(void **state) {
    (void)state;
    static const char *const paths[] = {"fixtures/models/cc-bf16", "fixtures/models/scalar-ckpt",
                                        "fixtures/models/tc-newer-names"};
    static const unsigned steps[] = {2000, 10000, 999};
    static const size_t sorted[] = {2, 0, 1};
    ds_random random = ds_random_init(20261205);
    for (size_t round = 0; round < 6; round++) {
        size_t order[] = {0, 1, 2};
        char arguments[640];
        json_t *envelope;
        for (size_t i = 2; i > 0; i--) {
            size_t j = ds_random_below(&random, i + 1), kept = order[i];
            order[i] = order[j];
            order[j] = kept;
        }
        (void)snprintf(arguments, sizeof arguments, "compare --shut none --trajectory --labels s-%u,s-%u,s-%u " DATA "%s %s %s",
                       steps[order[0]], steps[order[1]], steps[order[2]], paths[order[0]], paths[order[1]], paths[order[2]]);
        const json_t *found = results(&envelope, arguments);
        for (size_t i = 0; i < 3; i++) {
            assert_true(number(checkpoint(found, i), "x") == steps[sorted[i]]);
            assert_string_equal(json_string_value(json_object_get(checkpoint(found, i), "path")), paths[sorted[i]]);
        }
        assert_string_equal(json_string_value(ds_json_at(envelope, "checkpoint/path")), paths[2]);
        const char *said = json_string_value(json_array_get(json_object_get(envelope, "warnings"), 0));
        const bool given = order[0] == 2 && order[1] == 0;
        assert_int_equal(said == NULL, given);
        if (!given) assert_non_null(strstr(said, "were sorted: s-999, s-2000, s-10000"));
        json_decref(envelope);
    }
#define TWO DATA "fixtures/models/cc-bf16 fixtures/models/scalar-ckpt"
    expect_refusal("compare --trajectory --labels before,after " TWO, 2, "no number in \"before\" tells its step");
    expect_refusal("compare --trajectory --labels 1,last " TWO, 2, "no number in \"last\" tells its step");
    expect_refusal("compare --trajectory --labels a-7,b-007 " TWO, 2, "\"a-7\" and \"b-007\" are the same step");
    expect_refusal("compare --labels a,b,a " TWO " fixtures/models/cc-bf16", 2, "\"a\" names two checkpoints");
}

static void expect_lines_fit(void) {
    char *printed = content("out");
    assert_null(strchr(printed, '\033'));
    for (char *line = strtok(printed, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        size_t width = 0;
        for (const char *at = line; *at != '\0'; at++) width += ((unsigned char)*at & 0xC0) != 0x80;
        if (width > 80) fail_msg("%zu columns: %s", width, line);
    }
    free(printed);
}

static void expect_absent(const char *name) { assert_int_not_equal(access(scratch_path(name), F_OK), 0); }

static void test_tables_and_files(void **state) {
    (void)state;
    ds_text arguments = {0};
    expect_ok(ds_text_printf(&arguments, "compare --trajectory --labels "));
    for (size_t m = 0; m < MODELS; m++) expect_ok(ds_text_printf(&arguments, "%sstep-%zu", m == 0 ? "" : ",", m));
    expect_ok(ds_text_printf(&arguments, " --out %s " DATA, scratch_path("compared")));
    for (size_t m = 0; m < MODELS; m++) expect_ok(ds_text_printf(&arguments, " fixtures/models/%s", models[m]));
    assert_int_equal(run(arguments.bytes), 0);
    expect_lines_fit();
    assert_int_equal(run("compare " DATA "fixtures/models/cc-bf16 fixtures/models/scalar-ckpt"), 0);
    expect_lines_fit();
    char set[512];
    (void)snprintf(set, sizeof set,
                   "compare --quiet --labels \"it's,b_1\" --out %s " DATA
                   "fixtures/models/cc-bf16 fixtures/models/additive-small",
                   scratch_path("set"));
    assert_int_equal(run(set), 0);
    char *script = content("set/figures/compare-costs.gp");
    assert_non_null(strstr(script, "names = 'it-s b-1 '")); /* nothing a label holds is read by gnuplot */
    free(script);
    free(content("set/figures/compare-gates.tsv"));
    expect_absent("set/figures/trajectory-loss.tsv");
    char *table = content("compared/tables/compare-3.csv");
    size_t lines = 0;
    for (const char *at = table; *at != '\0'; at++) lines += *at == '\n';
    assert_int_equal(lines, 1 + 8 + 4 * (MODELS - 1)); /* ddl-cc-ec has 4 layers, the others 2 */
    free(table);
    free(content("compared/compare.json"));
    /* curves for a run only */
    free(content("compared/figures/trajectory-loss.tsv"));
    free(content("compared/figures/trajectory-gates.tsv"));
    script = content("compared/figures/trajectory-gates.gp");
    assert_non_null(strstr(script, "'attention'")); /* solid and dashed lines are told apart in the picture itself */
    assert_non_null(strstr(script, "'MLP'"));
    free(script);
    ds_text_release(&arguments);
}

/* A curve shows the last checkpoint however many there are: rising gates end at the top. */
static void test_curves_of_many_checkpoints(void **state) {
    (void)state;
    static const ds_terminal terminal = {80, false, true};
    for (size_t count = 2; count <= 40; count++) {
        json_t *all = json_array(), *results = json_pack("{s:o}", "checkpoints", all);
        ds_table *table = NULL;
        ds_text text = {0};
        for (size_t i = 0; i < count; i++) {
            json_t *one = json_pack("{s:o, s:i, s:[{s:s, s:{s:f}}]}", "label", json_sprintf("%zu", i), "layers", 1, "sublayers",
                                    "name", "0.attn", "beta", "mean", 0.1 + 0.01 * (double)i);
            assert_int_equal(json_array_append_new(all, one), 0);
        }
        expect_ok(ds_comparison_mean_gates(&table, results, true));
        expect_ok(ds_table_format_text(&text, table, DS_TABLE_TERMINAL, &terminal));
        const char *row = strstr(text.bytes, "0.attn"), *from = strstr(row, "▁"), *to = strstr(row, "█");
        assert_true(from != NULL && to != NULL && to < strchr(row, '\n'));
        assert_int_equal((size_t)(to - from) / strlen("▁") + 1, count < 12 ? count : 12);
        assert_int_equal(to[strlen("█")], ' ');
        ds_text_release(&text);
        ds_table_free(&table);
        json_decref(results);
    }
}

/* Checkpoints of other rules stand beside each other, and what is not comparable is said. */
static void test_rules_side_by_side(void **state) {
    (void)state;
    json_t *envelope, *alone;
    const json_t *found = results(&envelope, "compare " DATA "fixtures/streams/mhc-lite/ckpt.pt fixtures/depth/delta-attnres "
                                             "fixtures/models/ddl-cc-ec fixtures/streams/hc");
    static const char *const variants[] = {"mhc-lite", "delta-attnres", "ddl-cc-ec", "hc"};
    const json_t *costs =
        ds_json_at(results(&alone, "ablate --modes closed --scopes each " DATA "fixtures/streams/mhc-lite/ckpt.pt"), "cases");
    for (size_t i = 0; i < 4; i++) {
        const json_t *entry = json_array_get(json_object_get(found, "checkpoints"), i);
        assert_string_equal(json_string_value(json_object_get(entry, "variant")), variants[i]);
        assert_int_equal(json_array_size(json_object_get(entry, "sublayers")) > 0, i == 2); /* gates */
        assert_true(json_array_size(json_object_get(entry, "cases")) > 0);
        for (size_t c = 0; i == 0 && c < json_array_size(costs); c++)
            expect_close(ds_json_real_at(json_array_get(json_object_get(entry, "cases"), c), "delta_loss"),
                         ds_json_real_at(json_array_get(costs, c), "delta_loss"), 1e-12);
    }
    json_decref(envelope);
    json_decref(alone);
    assert_int_equal(run("compare " DATA "fixtures/streams/mhc-lite/ckpt.pt fixtures/models/ddl-cc-ec"), 0);
    char *said = content("err");
    assert_non_null(strstr(said, "stands on backbone nanogpt, ddl-cc-ec on ddl"));
    free(said);
    assert_int_equal(run("compare " DATA "fixtures/streams/mhc-lite/ckpt.pt fixtures/streams/hc"), 0);
    said = content("err");
    assert_null(strstr(said, "backbone"));
    free(said);
}

/* What stands under rules is what the commands say of each checkpoint alone; masses and concentration by other loops. */
static void test_page_of_rules(void **state) {
    (void)state;
    static const char *const paths[] = {"fixtures/streams/mhc-lite/ckpt.pt", "fixtures/models/ddl-cc-ec"};
    char line[512];
    json_t *envelope, *alone;
    (void)snprintf(line, sizeof line, "compare --rules " DATA "%s %s", paths[0], paths[1]);
    const json_t *found = results(&envelope, line);
    assert_int_equal(json_array_size(json_object_get(found, "rule_parts")), 5 + 2); /* of streams; mean-gate, write-only */
    for (size_t i = 0; i < 2; i++) {
        const json_t *entry = json_array_get(json_object_get(found, "checkpoints"), i);
        const json_t *rules = json_object_get(entry, "rules"), *mass = json_object_get(rules, "mass");
        const char *const commands[] = {"depth", "gradflow"};
        for (size_t c = 0; c < 2; c++) {
            (void)snprintf(line, sizeof line, "%s " DATA "%s", commands[c], paths[i]);
            assert_true(json_equal(results(&alone, line), json_object_get(rules, commands[c])));
            json_decref(alone);
        }
        size_t sublayers = json_array_size(mass);
        double total = 0, largest = 0, ranked = 0;
        for (size_t s = 0; s < sublayers; s++) {
            double sum = 0, cost = fmax(0, ds_json_real_at(json_array_get(json_object_get(entry, "cases"), s), "delta_loss"));
            for (size_t read = sublayers; read > s; read--) {
                const json_t *row = json_array_get(ds_json_at(rules, "depth/depth_rows"), read);
                sum += json_number_value(json_array_get(json_object_get(row, "contribution"), s + 1));
            }
            expect_close(json_number_value(json_array_get(mass, s)), sum / (double)(sublayers - s), 1e-14);
            total += cost;
            largest = fmax(largest, cost);
            for (size_t o = 0; o < sublayers; o++) {
                double other = fmax(0, ds_json_real_at(json_array_get(json_object_get(entry, "cases"), o), "delta_loss"));
                ranked += fmax(cost, other); /* twice the sum of all pairs' larger ones: Gini by another formula */
            }
        }
        expect_close(ds_json_real_at(rules, "largest_cost_share"), largest / total, 1e-12);
        expect_close(ds_json_real_at(rules, "cost_gini"), ranked / ((double)sublayers * total) - 1, 1e-12);
    }
    json_decref(envelope);
}

static void test_refusals(void **state) {
    (void)state;
    expect_refusal("compare " DATA "fixtures/models/cc-bf16", 2, "needs CHECKPOINT CHECKPOINT");
    expect_refusal("compare " DATA "--labels a fixtures/models/cc-bf16 fixtures/models/scalar-ckpt", 2,
                   "1 labels for 2 checkpoints");
    expect_refusal("compare " DATA "--labels a,b,c fixtures/models/cc-bf16 fixtures/models/scalar-ckpt", 2, "3 labels for 2");
    expect_refusal("compare " DATA "fixtures/models/cc-bf16 fixtures/models/absent", 3, "fixtures/models/absent: ");
    /* another vocabulary */
    const char *config = tiny_config("ddl-cc");
    char arguments[512];
    (void)scratch_write("tiny/config.json", config, strlen(config));
    expect_ok(tiny_write(scratch_path("tiny/model.safetensors"), "ddl-cc"));
    (void)snprintf(arguments, sizeof arguments, "compare " DATA "fixtures/models/cc-bf16 %s", scratch_path("tiny"));
    expect_refusal(arguments, 3, "a vocabulary of 16, but that of fixtures/models/cc-bf16 is 65");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_as_alone),
        cmocka_unit_test(test_differences),
        cmocka_unit_test(test_with_itself),
        cmocka_unit_test(test_labels_tell_apart),
        cmocka_unit_test(test_different_depths),
        cmocka_unit_test(test_steps_from_labels),
        cmocka_unit_test(test_trajectories_are_sorted),
        cmocka_unit_test(test_tables_and_files),
        cmocka_unit_test(test_curves_of_many_checkpoints),
        cmocka_unit_test(test_rules_side_by_side),
        cmocka_unit_test(test_page_of_rules),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests_name("cmd_compare", tests, NULL, NULL);
}
