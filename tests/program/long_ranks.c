/* A rank killed 200 times: never a hang, nothing finished lost, the bytes of one process from any number of ranks. */
#include "killed_ranks.h"
#include "mpirun.h"
#include "same_folders.h"
#include "support.h"

#define DATA "--tokens", "fixtures/data/val.bin", "--seq-len", "32", "--sequences", "13"

static void ranks_survive_two_hundred_kills(void **state) {
    (void)state;
    kill_ranks_and_resume(120, 4, 200, (uint64_t)(ds_seconds() * 1e9)); /* another seed each time, printed */
}

static void expect_same(const char *one, const char *other) { expect_same_folders(one, other, NULL); }

/* Commands that share their windows, a part of them or none, on three models. */
static void ranks_change_no_byte(void **state) {
    (void)state;
    static const char *const models[] = {"fixtures/models/ddl-cc-ec", "fixtures/models/tc-output-gate",
                                         "fixtures/models/additive-small"};
    for (unsigned ranks = 2; ranks <= 4; ranks++) {
        for (size_t m = 0; m < sizeof models / sizeof *models; m++) {
            SAME_UNDER_MPIRUN(ranks, "gates", "--shadow", "2", DATA, models[m]);
            SAME_UNDER_MPIRUN(ranks, "ablate", DATA, models[m]);
            SAME_UNDER_MPIRUN(ranks, "verify", DATA, models[m]);
            SAME_UNDER_MPIRUN(ranks, "compare", DATA, models[m], models[(m + 1) % 3]);
            SAME_UNDER_MPIRUN(ranks, "trace", "--tokens", "fixtures/data/val.bin", "--seq-len", "16", models[m]);
            SAME_FOLDER_UNDER_MPIRUN(ranks, expect_same, "report", DATA, models[m]);
            if (m == 2) continue; /* it has no gates */
            SAME_UNDER_MPIRUN(ranks, "gradflow", "--measure", DATA, models[m]);
            SAME_UNDER_MPIRUN(ranks, "spectrum", "--positions", "all", "--null", "constant-gates", DATA, models[m]);
            SAME_UNDER_MPIRUN(ranks, "ablate", "--modes", "mean-gate,open", "--threads", "3", DATA, models[m]);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(ranks_change_no_byte),
                                       cmocka_unit_test(ranks_survive_two_hundred_kills)};
    if (!mpirun_is_there()) return 0;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
