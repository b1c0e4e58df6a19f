/* Several processes under mpirun: the bytes of one, one sentence and its exit status when something is wrong, and what was
 * finished taken up by any number of them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "deltascope/io.h"
#include "interrupted_study.h"
#include "killed_ranks.h"
#include "mpirun.h"
#include "same_folders.h"
#include "scratch.h"
#include "support.h"
#include "tiny_plan.h"

#define DATA "--tokens", "fixtures/data/val.bin", "--seq-len", "16", "--sequences", "7"
#define MODEL "fixtures/models/scalar-safetensors"

static void test_same_results(void **state) {
    (void)state;
    SAME_UNDER_MPIRUN(2, "ablate", "--modes", "closed,mean-gate", "--scopes", "each,all", "--shadow", "1", DATA, MODEL);
    SAME_UNDER_MPIRUN(3, "gates", "--shadow", "2", DATA, MODEL);
    SAME_UNDER_MPIRUN(3, "spectrum", "--positions", "all", "--null", "constant-gates", DATA, MODEL);
    SAME_UNDER_MPIRUN(2, "verify", DATA, MODEL);
    SAME_UNDER_MPIRUN(3, "compare", DATA, MODEL, "fixtures/models/ddl-cc-ec", "fixtures/models/additive-small");
    SAME_UNDER_MPIRUN(2, "trace", "--tokens", "fixtures/data/val.bin", "--seq-len", "16", "--show", "loss", MODEL);
}

static void expect_same(const char *one, const char *other) { expect_same_folders(one, other, NULL); }

/* Whatever lands under --out: number 0 alone writes there. */
static void test_same_report(void **state) {
    (void)state;
    SAME_FOLDER_UNDER_MPIRUN(2, expect_same, "report", "--skip", "weights,jacobians,verify", DATA, MODEL);
}

/* Three micro-batches for two ranks, and for four. */
static void test_same_training(void **state) {
    (void)state;
    json_t *plan = tiny_plan(), *recipe = json_object_get(plan, "recipe");
    assert_int_equal(json_object_set_new(recipe, "accumulation", json_integer(3)), 0);
    assert_int_equal(json_object_set_new(recipe, "val_windows", json_integer(5)), 0);
    char recipe_path[512], config_path[512], train[512], val[512];
    (void)snprintf(train, sizeof train, "%s", scratch_path("plan-train.bin"));
    (void)snprintf(val, sizeof val, "%s", scratch_path("plan-val.bin"));
    (void)snprintf(
        config_path, sizeof config_path, "%s",
        tiny_plan_write("config.json", json_incref((json_t *)(uintptr_t)ds_json_at(plan, "variants/ddl-scalar/config"))));
    (void)snprintf(recipe_path, sizeof recipe_path, "%s", tiny_plan_write("recipe.json", json_incref(recipe)));
    for (unsigned ranks = 2; ranks <= 4; ranks += 2)
        SAME_FOLDER_UNDER_MPIRUN(ranks, expect_same, "train", "--recipe", recipe_path, "--config", config_path, "--variant",
                                 "ddl-scalar", "--tokens", train, "--val", val, "--save", "7", "--evaluate", "5", "--audit",
                                 "5");
    json_decref(plan);
}

static void test_same_study(void **state) {
    (void)state;
    json_t *plan = tiny_plan();
    assert_int_equal(json_object_set_new(plan, "audit", json_pack("{s:i}", "sequences", 3)), 0);
    const char *path = tiny_plan_write("plan.json", plan);
    SAME_FOLDER_UNDER_MPIRUN(3, expect_same_studies, "study", path);
}

/* Number 0 says it once, and mpirun has its exit status. */
static void expect_one_sentence(const child *ran, int status, const char *sentence) {
    const char *first = strstr(ran->err, "deltascope: ");
    assert_int_equal(ran->status, status);
    assert_non_null(first);
    assert_null(strstr(first + 1, "deltascope: "));
    if (strstr(first, sentence) == NULL) fail_msg("\"%s\" is not told: %s", sentence, ran->err);
    assert_string_equal(ran->out, "");
}

static void test_refusal(void **state) {
    (void)state;
    static child ran;
    MPIRUN(&ran, 2, (child_limits){0}, "inspect", MODEL);
    expect_one_sentence(&ran, 2, "inspect runs in one process, and 2 were started together");
}

/* What is wrong on one rank alone is everybody's end: a file that is not there, options of another run. */
static void test_one_rank(void **state) {
    (void)state;
    static child ran;
    const char *given = getenv("DELTASCOPE"), *program = given != NULL ? given : "build/deltascope";
    MPIRUN(&ran, 1, (child_limits){0}, "gates", DATA, MODEL, ":", "-n", "1", program, "gates", "--tokens",
           "fixtures/data/missing.bin", MODEL);
    expect_one_sentence(&ran, 3, "fixtures/data/missing.bin: missing");
    MPIRUN(&ran, 1, (child_limits){0}, "gates", DATA, MODEL, ":", "-n", "1", program, "gates", "--tokens",
           "fixtures/data/val.bin", "--seq-len", "16", "--sequences", "6", MODEL);
    expect_one_sentence(&ran, 4, "rank 1 is at other work than rank 0");
}

static void test_kills(void **state) {
    (void)state;
    kill_ranks_and_resume(24, 3, 2, 20261128);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_results), cmocka_unit_test(test_same_report), cmocka_unit_test(test_same_training),
        cmocka_unit_test(test_same_study),   cmocka_unit_test(test_refusal),     cmocka_unit_test(test_one_rank),
        cmocka_unit_test(test_kills),
    };
    if (!mpirun_is_there()) return 0;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
