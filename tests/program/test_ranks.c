/* Several processes under mpirun: the bytes of one, one sentence and its exit status when something is wrong, and what was
 * finished taken up by any number of them. */
#include "killed_ranks.h"
#include "mpirun.h"
#include "support.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DATA "--tokens", "fixtures/data/val.bin", "--seq-len", "16", "--sequences", "7"
#define MODEL "fixtures/models/scalar-safetensors"

static void test_same_results(void **state) {
    (void)state;
    SAME_UNDER_MPIRUN(2, "ablate", "--modes", "closed,mean-gate", "--scopes", "each,all", "--shadow", "1", DATA, MODEL);
    SAME_UNDER_MPIRUN(3, "gates", "--shadow", "2", DATA, MODEL);
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
    MPIRUN(&ran, 2, (child_limits){0}, "verify", DATA, MODEL);
    expect_one_sentence(&ran, 2, "verify runs in one process, and 2 were started together");
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
        cmocka_unit_test(test_same_results),
        cmocka_unit_test(test_refusal),
        cmocka_unit_test(test_one_rank),
        cmocka_unit_test(test_kills),
    };
    if (!mpirun_is_there()) return 0;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
