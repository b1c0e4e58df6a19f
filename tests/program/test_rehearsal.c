/* --dry-run: every command that has it tells what it would take and leaves nothing behind; --budget chooses windows. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "child.h"
#include "cli/command.h"
#include "deltascope/io.h"
#include "scratch.h"
#include "support.h"

#define DATA "--tokens", "fixtures/data/val.bin", "--seq-len", "16", "--sequences", "9"
#define MODEL "fixtures/models/scalar-safetensors"

static bool is_there(const char *path) {
    struct stat info;
    return stat(path, &info) == 0;
}

static json_t *rehearse(const char *command, const char *more, const char *value) {
    static child ran;
    json_t *told;
    CHILD_RUN(&ran, (child_limits){0}, command, "--dry-run", DATA, "--out", scratch_path("nothing"), "--json", "-", MODEL,
              strcmp(command, "compare") == 0 ? "fixtures/models/cc-bf16" : more, value);
    if (ran.status != 0) fail_msg("%s: %s", command, ran.err);
    expect_ok(ds_json_parse(&told, ran.out, strlen(ran.out), command));
    return told;
}

static double real_at(const json_t *value, const char *path) {
    const json_t *found = ds_json_at(value, path);
    if (!json_is_number(found)) fail_msg("%s is no number", path);
    return json_number_value(found);
}

/* The steps add up to no more than the whole, and more ranks never take longer. */
static void expect_cost(const json_t *told, const char *command) {
    const json_t *cost = json_object_get(told, "dry_run"), *step;
    size_t i;
    double steps = 0, before = HUGE_VAL;
    assert_string_equal(json_string_value(json_object_get(told, "command")), command);
    assert_int_equal(real_at(cost, "windows"), 9);
    assert_int_equal(real_at(cost, "seq_len"), 16);
    assert_true(real_at(cost, "forward_operations") > 0 && real_at(cost, "bytes_read") > 1e5);
    assert_true(real_at(cost, "peak_memory_bytes") > 1e6);
    json_array_foreach(json_object_get(cost, "steps"), i, step) {
        assert_true(real_at(step, "seconds") >= real_at(step, "fixed_seconds") && real_at(step, "fixed_seconds") >= 0);
        steps += real_at(step, "seconds");
    }
    assert_true(i > 0 && steps > 0 && steps <= 1.000001 * real_at(cost, "seconds"));
    json_array_foreach(json_object_get(cost, "ranks"), i, step) {
        assert_true(real_at(step, "seconds") <= before && real_at(step, "seconds") > 0);
        before = real_at(step, "seconds");
    }
}

static void every_command_tells_its_cost(void **state) {
    (void)state;
    size_t commands = 0;
    for (size_t c = 0; c < ds_command_count; c++) {
        const ds_command *command = ds_commands[c];
        if ((command->takes & DS_TAKES_REHEARSAL) == 0) continue;
        assert_non_null(command->dry_run);
        json_t *told = rehearse(command->name, NULL, NULL);
        expect_cost(told, command->name);
        json_decref(told);
        commands++;
    }
    assert_true(commands >= 8);
    assert_false(is_there(scratch_path("nothing")));
}

/* What else a command would write is not written either. */
static void nothing_is_written(void **state) {
    (void)state;
    json_t *told = rehearse("gates", "--per-token", scratch_path("tokens.npz"));
    json_decref(told);
    assert_false(is_there(scratch_path("tokens.npz")));
}

static void a_place_beyond_the_rehearsal_is_told(void **state) {
    (void)state;
    static child ran;
    CHILD_RUN(&ran, (child_limits){0}, "spectrum", "--dry-run", "--positions", "8:15", DATA, MODEL);
    assert_int_equal(ran.status, 2);
    assert_non_null(strstr(ran.err, "--dry-run rehearses on"));
}

/* Where the budget is ample all windows are taken; where it is not, the refusal tells what would do. */
static void a_budget_is_kept(void **state) {
    (void)state;
    static child ran;
    const char *skip = "inspect,gates,spectrum,weights,ablate,controls,jacobians,verify", *report = scratch_path("report");
    CHILD_RUN(&ran, (child_limits){0}, "report", "--budget", "1h", "--skip", skip, DATA, "--out", report, MODEL);
    assert_int_equal(ran.status, 0);
    assert_non_null(strstr(ran.out, "9 windows of 16 tokens"));
    assert_null(strstr(ran.out, "windows fit into"));
    CHILD_RUN(&ran, (child_limits){0}, "report", "--budget", "0.000001", "--skip", skip, DATA, "--out", scratch_path("none"),
              MODEL);
    assert_int_equal(ran.status, 2);
    assert_non_null(strstr(ran.err, "not enough for 4 windows"));
    assert_false(is_there(scratch_path("none")));
    CHILD_RUN(&ran, (child_limits){0}, "report", "--budget", "soon", DATA, "--out", scratch_path("none"), MODEL);
    assert_int_equal(ran.status, 2);
    assert_non_null(strstr(ran.err, "--budget takes seconds, or a number with s, m or h"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_command_tells_its_cost),
        cmocka_unit_test(nothing_is_written),
        cmocka_unit_test(a_place_beyond_the_rehearsal_is_told),
        cmocka_unit_test(a_budget_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
