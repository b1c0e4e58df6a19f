/* Inspection through the library's own door: what it tells is what the program writes, with weights loaded or not. */
#include <stdlib.h>

#include "deltascope/measure/checkpoint_inspection.h"

#include "program_json.h"
#include "support.h"

static void test_as_written(void **state) {
    static const char *const models[] = {"fixtures/models/additive-small", "fixtures/models/ddl-cc-ec",
                                         "fixtures/models/tc-ec-sharded"};
    (void)state;
    for (size_t m = 0; m < 3; m++) {
        for (int without_weights = 0; without_weights < 2; without_weights++) {
            const ds_run_options options = {
                .checkpoint = models[m], .length = 16, .precision = DS_F64, .without_weights = without_weights == 1};
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_as_written),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_zero_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
