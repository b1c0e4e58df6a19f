#include "mpirun.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "same_folders.h"
#include "scratch.h"
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
                                            {"PMIX_MCA_gds", "hash"},     /* no locks in memory shared with who is killed */
                                            /* it leaks, and unloads what did before a report could name it */
                                            {"LSAN_OPTIONS", "detect_leaks=0"}};
    char plugin[512];
    (void)snprintf(plugin, sizeof plugin, "%s-mpi.so", program());
    if (access(launcher, X_OK) != 0 || access(plugin, F_OK) != 0) {
        print_message("no %s or no %s (make deps installs libopenmpi-dev): nothing is run under it\n", launcher, plugin);
        return false;
    }
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) assert_int_equal(setenv(wanted[i][0], wanted[i][1], 1), 0);
    static child probe;
    child_run_program(&probe, launcher, (const char *const[]){"-n", "2", "true", NULL}, (child_limits){0});
    if (probe.status != 0) print_message("mpirun starts no two processes here, nothing is run under it: %s\n", probe.err);
    return probe.status == 0;
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

/* The result at the path, without how the run went; *ranks <- how many it took. */
static json_t *load(unsigned *ranks, const char *path) {
    json_t *envelope = json_load_file(path, 0, NULL);
    assert_non_null(json_object_get(envelope, "results"));
    (void)json_object_del(envelope, "threads");
    *ranks = (unsigned)json_integer_value(json_object_get(envelope, "ranks"));
    (void)json_object_del(envelope, "ranks");
    (void)json_object_del(envelope, "seconds");
    return envelope;
}

void same_under_mpirun(unsigned ranks, const char *const *arguments) {
    static child alone, together;
    const char *line[40], *paths[] = {scratch_path("alone.json"), scratch_path("together.json")};
    json_t *results[2];
    unsigned counts[2];
    size_t used = 0;
    while (*arguments != NULL && used + 3 < sizeof line / sizeof *line) line[used++] = *arguments++;
    line[used] = "--json";
    line[used + 2] = NULL;
    line[used + 1] = paths[0];
    child_run(&alone, line, (child_limits){0});
    assert_int_equal(alone.status, 0);
    line[used + 1] = paths[1];
    mpirun(&together, ranks, line, (child_limits){0});
    assert_string_equal(together.err, alone.err);
    assert_int_equal(together.status, 0);
    assert_string_equal(together.out, alone.out);
    for (size_t i = 0; i < 2; i++) results[i] = load(&counts[i], paths[i]);
    assert_int_equal(counts[0], 1);
    assert_int_equal(counts[1], ranks);
    assert_true(json_equal(results[0], results[1]));
    for (size_t i = 0; i < 2; i++) json_decref(results[i]);
}

void same_folder_under_mpirun(unsigned ranks, void (*expect_same)(const char *one, const char *other),
                              const char *const *arguments) {
    static child ran;
    const char *line[40] = {NULL}, *folder = scratch_path("out"), *alone = scratch_path("alone");
    size_t used = 0;
    while (*arguments != NULL && used + 4 < sizeof line / sizeof *line) line[used++] = *arguments++;
    line[used++] = "--quiet";
    line[used++] = "--out";
    line[used++] = folder;
    child_run(&ran, line, (child_limits){0});
    if (ran.status != 0) fail_msg("%s", ran.err);
    assert_int_equal(rename(folder, alone), 0);
    mpirun(&ran, ranks, line, (child_limits){0});
    if (ran.status != 0) fail_msg("%u ranks: %s", ranks, ran.err);
    expect_same(folder, alone);
    remove_folder(folder);
    remove_folder(alone);
}
