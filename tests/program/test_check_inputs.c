/* check of results that need more than a checkpoint and token ids: references, words, several checkpoints. */
#include <stdlib.h>
#include <string.h>

#include "checking.h"
#include "child.h"
#include "commands/remeasure.h"
#include "deltascope/claims.h"
#include "deltascope/io.h"
#include "scratch.h"
#include "support.h"

#define TOKENS "--tokens", "fixtures/data/val.bin"
#define MODEL "fixtures/models/scalar-safetensors"

static child result;

/* What was made with a reference needs that file again, wherever it lies. */
static void test_reference(void **state) {
    (void)state;
    const char *files[] = {scratch_path("a.safetensors"), scratch_path("elsewhere.safetensors"), scratch_path("b.safetensors")};
    const char *made = scratch_path("referenced.json");
    for (size_t i = 0; i < 3; i++) {
        const double loss = i == 2 ? 5.25 : 5.5;
        const ds_tensor_write tensor = {.name = "loss", .precision = DS_F64, .values = &loss};
        expect_ok(ds_safetensors_write(files[i], &tensor, 1));
    }
    CHILD_RUN(&result, (child_limits){0}, "verify", TOKENS, "--seq-len", "8", "--sequences", "1", "--quiet", "--only", "update",
              "--reference", files[0], "--json", made, MODEL);
    assert_int_equal(result.status, 1); /* the loss is made up */
    expect_incomplete(CHECK(0, made, TOKENS, MODEL), ": give that file with --reference");
    expect_verdict(CHECK(0, made, TOKENS, "--reference", files[1], MODEL), "agrees");
    expect_verdict(CHECK(0, made, TOKENS, "--reference", files[1], "--sample", "0.5", "--seed", "3", MODEL),
                   ds_sample_draws(&(ds_sample){0.5, 3}, "verify") ? "agrees" : "incomplete");
    expect_incomplete(CHECK(0, made, TOKENS, "--reference", files[2], MODEL), "another reference");
    json_t *forged = load_json(made);
    json_t *row =
        json_array_get(ds_json_at(forged, "results/checks"), json_array_size(ds_json_at(forged, "results/checks")) - 1);
    assert_string_equal(json_string_value(json_object_get(row, "id")), "reference.loss");
    assert_int_equal(json_object_set_new(row, "status", json_string("pass")), 0);
    expect_verdict(CHECK(1, write_forged(forged), TOKENS, "--reference", files[0], MODEL), "disagrees");
    json_decref(forged);
    CHILD_RUN(&result, (child_limits){0}, "gates", TOKENS, "--seq-len", "8", "--sequences", "1", "--quiet", "--json", made,
              MODEL);
    CHILD_RUN(&result, (child_limits){0}, "check", "--reference", files[0], made);
    assert_int_equal(result.status, 2);
    assert_non_null(strstr(result.err, "was not made with verify --reference"));
}

/* ---- every command ----------------------------------------------------------------------------------------------- */

/* What a command's own run says, with the fewest options; checked again it agrees. */
static void expect_checkable(const char *command) {
    const bool data = (ds_command_find(command)->takes & DS_TAKES_DATA) != 0;
    const char *made = scratch_path("made.json"), *tokens = data ? "--tokens" : NULL;
    const char *const arguments[] = {command,     "--quiet", "--json",      made, MODEL, tokens, "fixtures/data/val.bin",
                                     "--seq-len", "8",       "--sequences", "2",  NULL};
    child_run(&result, arguments, (child_limits){0});
    if (result.status != 0) fail_msg("%s: %s", command, result.err);
    json_t *told = CHECK(0, made, MODEL, tokens, "fixtures/data/val.bin");
    const char *verdict = json_string_value(ds_json_at(told, "results/verdict"));
    if (strcmp(verdict, "agrees") != 0) fail_msg("%s: %s", command, verdict);
    json_decref(told);
}

/* Of a command without a measurement that could be made again: incomplete and why, also beside a checkpoint; its signature and
 * digests are looked at as any other's. */
static void expect_told_why(const char *command) {
    char text[256];
    const int length =
        snprintf(text, sizeof text, "{\"schema\":\"deltascope/1\",\"command\":\"%s\",\"results\":{\"x\":1}}", command);
    const char *made = scratch_write("made.json", text, (size_t)length);
    expect_incomplete(CHECK(0, made, NULL), ds_claimed_why_unmeasured(command));
    expect_incomplete(CHECK(0, made, TOKENS, MODEL), ds_claimed_why_unmeasured(command));
    CHILD_RUN(&result, (child_limits){0}, "check", "--sections", command, made);
    assert_int_equal(result.status, 2);
    assert_non_null(strstr(result.err, "nothing that --sections and --sample could choose from"));
    json_t *forged = load_json(made), *digests;
    expect_ok(ds_digests_make(&digests, forged));
    assert_int_equal(json_object_set_new(forged, "digests", digests), 0);
    expect_verdict(CHECK(0, write_forged(forged), NULL), "incomplete");
    assert_int_equal(json_object_set_new(json_object_get(forged, "results"), "x", json_integer(2)), 0);
    expect_verdict(CHECK(1, write_forged(forged), NULL), "disagrees");
    json_decref(forged);
}

/* Reports and studies have tests of their own. */
static void test_every_command(void **state) {
    (void)state;
    size_t measured = 0, told = 0;
    for (size_t i = 0; i < ds_command_count; i++) {
        const ds_command *command = ds_commands[i];
        if ((command->takes & DS_TAKES_OUTPUT) == 0 || strcmp(command->name, "report") == 0 ||
            strcmp(command->name, "study") == 0)
            continue;
        if (command->measure != NULL) {
            expect_checkable(command->name);
            measured++;
        } else {
            expect_told_why(command->name);
            told++;
        }
    }
    assert_true(measured >= 7 && told >= 5);
    CHILD_RUN(&result, (child_limits){0}, "check",
              scratch_write("made.json", "{\"schema\":\"deltascope/1\",\"command\":\"colours\",\"results\":{}}", 58));
    assert_int_equal(result.status, 3);
    assert_non_null(strstr(result.err, "no results of deltascope: its command is \"colours\""));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference),
        cmocka_unit_test(test_every_command),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
