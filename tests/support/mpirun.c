#include "mpirun.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support.h"

static const char launcher[] = "/usr/bin/mpirun";

static const char *program(void) {
    const char *given = getenv("DELTASCOPE");
    return given != NULL ? given : "build/deltascope";
}

bool mpirun_is_there(void) {
    static const char *const wanted[][2] = {{"OMPI_ALLOW_RUN_AS_ROOT", "1"},
                                            {"OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"},
                                            {"OMPI_MCA_rmaps_base_oversubscribe", "1"},
                                            {"OMPI_MCA_hwloc_base_binding_policy", "none"},
                                            {"OMPI_MCA_btl", "self,vader"},
                                            {"OMPI_MCA_plm", "isolated"}, /* no ssh is needed on one machine */
                                            {"LSAN_OPTIONS", "suppressions=tests/program/mpi_leaks.supp:print_suppressions=0"}};
    char plugin[512];
    (void)snprintf(plugin, sizeof plugin, "%s-mpi.so", program());
    if (access(launcher, X_OK) != 0 || access(plugin, F_OK) != 0) {
        print_message("no %s or no %s (make deps installs libopenmpi-dev): nothing is run under it\n", launcher, plugin);
        return false;
    }
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) assert_int_equal(setenv(wanted[i][0], wanted[i][1], 1), 0);
    return true;
}

void mpirun(child *result, unsigned ranks, const char *const *arguments, child_limits limits) {
    const char *all[48] = {"-n", NULL, program()};
    char count[16];
    size_t used = 3;
    (void)snprintf(count, sizeof count, "%u", ranks);
    all[1] = count;
    while (*arguments != NULL && used + 1 < sizeof all / sizeof *all) all[used++] = *arguments++;
    child_run_program(result, launcher, all, limits);
}
