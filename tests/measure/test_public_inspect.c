/* Inspection through the library's own door: what it tells is what the program writes, with weights loaded or not. */
#include <stdlib.h>
#include <string.h>

#include "deltascope/measure/checkpoint_inspection.h"

#include "program_json.h"
#include "support.h"

static void test_as_written(void **state) {
    static const char *const models[] = {"fixtures/models/additive-small", "fixtures/models/ddl-cc-ec",
                                         "fixtures/models/tc-ec-sharded", "fixtures/depth/delta-block", "fixtures/streams/hc"};
    (void)state;
    for (size_t m = 0; m < sizeof models / sizeof *models; m++) {
        for (int without_weights = 0; without_weights < 2; without_weights++) {
            const ds_run_options options = {.checkpoint = models[m],
                                            .length = 16,
                                            .precision = DS_F64,
                                            .without_weights = without_weights == 1,
                                            .histories = true,
                                            .streams = true};
            ds_run run;
            json_t *told, *results;
            expect_ok(ds_run_open(&run, &options));
            expect_ok(ds_inspect_results(&told, &results, &run));
            ds_run_close(&run);
            const char *const arguments[] = {"inspect", "--seq-len", "16", "--precision", "double", models[m], NULL};
            expect_as_written(told, results, program_json(arguments));
        }
    }
}

/* The result outlives what it was made of, and the numbers are those of the model. */
static void test_numbers(void **state) {
    (void)state;
    const ds_run_options options = {.checkpoint = "fixtures/models/ddl-cc-ec", .precision = DS_F32};
    ds_run run;
    ds_inspection inspection;
    expect_ok(ds_run_open(&run, &options));
    expect_ok(ds_inspect_measure(&inspection, &run));
    assert_true(inspection.survey->total == run.parameters);
    assert_int_equal(inspection.length, run.spec.block_size);
    assert_true(inspection.notes.count > 0 && inspection.notes.count <= DS_MOST_NOTES);
    ds_inspect_release(&inspection);
    assert_null(inspection.survey);
    ds_run_close(&run);
}

static void test_zero_rows(void **state) {
    (void)state;
    assert_true(ds_zero_rows_are_odd("transformer.wte.weight"));
    assert_true(ds_zero_rows_are_odd("bias"));
    assert_false(ds_zero_rows_are_odd("transformer.h.0.beta.bias"));
}

static void open_without_weights(ds_inspection *inspection, ds_run *run, const char *checkpoint) {
    const ds_run_options options = {
        .checkpoint = checkpoint, .precision = DS_F64, .without_weights = true, .histories = true, .streams = true};
    expect_ok(ds_run_open(run, &options));
    expect_ok(ds_inspect_measure(inspection, run));
}

/* The note of the topic "rule" that holds the phrase; NULL: none does. */
static const char *rule_note(const ds_notes *notes, const char *phrase) {
    for (size_t i = 0; i < notes->count; i++)
        if (strcmp(notes->notes[i].topic, "rule") == 0 && strstr(notes->notes[i].text, phrase) != NULL)
            return notes->notes[i].text;
    return NULL;
}

/* Every rule is told what it is, and of no other. */
static void test_rules(void **state) {
    static const char *const facts[][2] = {
        {"fixtures/depth/delta-block", "alternating sum"},
        {"fixtures/depth/attnres-cumulative-block", "stands twice"},
        {"fixtures/streams/hc", "or hc-identity"},
        {"fixtures/streams/mhc/ckpt.pt", "ends on what a stream sends out"},
        {"fixtures/streams/mhc-lite/ckpt.pt", "mixture of permutations"},
        {"fixtures/streams/mhc-static-mixed/ckpt.pt", "ends on what a stream receives"},
        {"fixtures/streams/mhc-static-mixed/ckpt.pt", "no gradient reaches them"},
        {"fixtures/backbones/qwen3-additive", NULL},
        {"fixtures/models/ddl-cc-ec", NULL},
    };
    (void)state;
    for (size_t m = 0; m < sizeof facts / sizeof *facts; m++) {
        ds_inspection inspection;
        ds_run run;
        open_without_weights(&inspection, &run, facts[m][0]);
        for (size_t i = 0; i < sizeof facts / sizeof *facts; i++) {
            bool own = strcmp(facts[i][0], facts[m][0]) == 0;
            if (facts[i][1] != NULL) assert_true((rule_note(&inspection.notes, facts[i][1]) != NULL) == own);
        }
        ds_inspect_release(&inspection);
        ds_run_close(&run);
    }
}

/* Queries without effect are those that the model itself does not reach. */
static void test_idle_reads(void **state) {
    static const char *const models[] = {"fixtures/depth/attnres-full", "fixtures/depth/attnres-block",
                                         "fixtures/depth/delta-attnres", "fixtures/depth/delta-block",
                                         "fixtures/depth/attnres-cumulative-block"};
    (void)state;
    size_t told = 0;
    for (size_t m = 0; m < sizeof models / sizeof *models; m++) {
        ds_inspection inspection;
        ds_run run;
        open_without_weights(&inspection, &run, models[m]);
        const ds_model *model = inspection.survey->model;
        const char *note = rule_note(&inspection.notes, "one source or none");
        bool *reached = calloc(ds_model_parameters(model), sizeof *reached);
        size_t sublayer = 0, idle = 0;
        assert_non_null(reached);
        ds_model_reached(reached, model, 8);
        for (size_t p = 0; p < ds_model_parameters(model); p++) {
            char name[32];
            const ds_parameter *parameter = ds_model_parameter(model, p);
            if (strstr(parameter->role, "depth query") == NULL || strstr(parameter->role, "readout") != NULL) continue;
            (void)ds_sublayer_name(name, sublayer++);
            if (reached[p]) assert_true(note == NULL || strstr(note, name) == NULL);
            if (!reached[p] && ++idle <= 3) assert_true(note != NULL && strstr(note, name) != NULL);
        }
        assert_true((note != NULL) == (idle > 0));
        told += idle;
        free(reached);
        ds_inspect_release(&inspection);
        ds_run_close(&run);
    }
    assert_true(told > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_as_written), cmocka_unit_test(test_numbers),    cmocka_unit_test(test_zero_rows),
        cmocka_unit_test(test_rules),      cmocka_unit_test(test_idle_reads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
