/* verify on controls: what still holds passes, what speaks of a part that is left out is skipped with a reason, and two models
 * that compute by different rules are told apart. */
#include <math.h>
#include <string.h>

#include "verify/checks.h"

#include "forward_case.h"
#include "support.h"

static const struct {
    const char *name, *skipped; /* beginnings of the checks that say nothing, between spaces */
} controls[] = {
    {"write-only", " operator. product. update.overwrite update.contraction "},
    {"erase-only", " update.overwrite update.contraction "},
    {"fixed-gate:0.3", " update.gate "},
    {"fixed-gate:1.9", " update.gate "},
    {"closed:attn", " update.gate "},
    {"closed:mlp", " update.gate "},
    {"closed:all", " update.gate "},
};

/* Whether one of the words of `list` begins `id`. */
static bool is_listed(const char *list, const char *id) {
    for (const char *word = list + 1; *word != '\0'; word += strcspn(word, " ") + 1)
        if (strncmp(id, word, strcspn(word, " ")) == 0) return true;
    return false;
}

static void expect_checks(const char *model, size_t control, ds_verify *verify) {
    for (size_t i = 0; i < ds_check_count(); i++) {
        ds_check_result result;
        expect_ok(ds_verify_check(&result, verify, i));
        if (result.status == DS_CHECK_FAIL)
            fail_msg("%s, %s: %s: measured %g, tolerance %g", model, controls[control].name, ds_check_id(i), result.measured,
                     result.tolerance);
        if (!is_listed(controls[control].skipped, ds_check_id(i))) continue;
        assert_int_equal(result.status, DS_CHECK_SKIP);
        assert_non_null(strstr(result.detail, "model"));
    }
}

static void controls_are_sound(void **state) {
    (void)state;
    static const char *const models[] = {"scalar-safetensors", "cc-ec-vlinear", "tc-newer-names"};
    for (size_t m = 0; m < sizeof models / sizeof *models; m++) {
        forward_case single = forward_case_open(models[m], DS_F32, 1, 12), exact = forward_case_open(models[m], DS_F64, 1, 12);
        for (size_t i = 0; i < sizeof controls / sizeof *controls; i++) {
            ds_force trained[2];
            ds_verify *verify = NULL;
            expect_ok(ds_control_parse(trained, single.spec->rule, controls[i].name, "here"));
            ds_model_set_control(single.model, trained);
            ds_model_set_control(exact.model, trained);
            expect_ok(ds_verify_new(&verify, single.model, exact.model, &single.batch, 5));
            expect_checks(models[m], i, verify);
            ds_verify_free(&verify);
        }
        forward_case_close(&single);
        forward_case_close(&exact);
    }
}

/* The plain rule in float beside a control in double is no agreement. */
static void another_rule_is_found(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof controls / sizeof *controls; i++) {
        forward_case single = forward_case_open("scalar-safetensors", DS_F32, 1, 12);
        forward_case exact = forward_case_open("scalar-safetensors", DS_F64, 1, 12);
        ds_force trained[2];
        ds_verify *verify = NULL;
        size_t failed = 0;
        expect_ok(ds_control_parse(trained, single.spec->rule, controls[i].name, "here"));
        ds_model_set_control(exact.model, trained);
        expect_ok(ds_verify_new(&verify, single.model, exact.model, &single.batch, 5));
        for (size_t c = 0; c < ds_check_count(); c++) {
            ds_check_result result;
            if (strcmp(ds_check_id(c), "pass.precision") != 0) continue;
            expect_ok(ds_verify_check(&result, verify, c));
            failed += result.status == DS_CHECK_FAIL;
        }
        assert_int_equal(failed, 1);
        ds_verify_free(&verify);
        forward_case_close(&single);
        forward_case_close(&exact);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(controls_are_sound),
        cmocka_unit_test(another_rule_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
