#include "interrupted_study.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "child.h"
#include "deltascope/io.h"
#include "same_folders.h"
#include "scratch.h"
#include "support.h"

/* ---- comparing --------------------------------------------------------------------------------------------------- */

/* Files in which it stands how long something took. */
static bool tells_times(const char *path) {
    static const char *const files[] = {"/times.jsonl",     "/study.json",     "/report.html",          "/report.md",
                                        "/tables/variants", "/tables/targets", "/figures/study-seconds"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        if (strstr(path, files[i]) != NULL) return true;
    }
    return false;
}

static json_t *read_study(const char *folder) {
    char path[512], *bytes;
    size_t length;
    json_t *study;
    (void)snprintf(path, sizeof path, "%s/study.json", folder);
    expect_ok(ds_read_file(&bytes, &length, path, 1 << 24));
    expect_ok(ds_json_parse(&study, bytes, length, path));
    free(bytes);
    return study;
}

void drop_study_times(json_t *study) {
    static const char *const times[] = {"train_seconds", "eval_seconds", "save_seconds", "load"};
    json_t *variant, *run, *targets = json_object_get(study, "to_target");
    const char *name;
    size_t i;
    json_object_foreach(json_object_get(study, "variants"), name, variant) {
        json_array_foreach(json_object_get(variant, "runs"), i, run) {
            for (size_t k = 0; k < 4; k++) assert_int_equal(json_object_del(run, times[k]), 0);
        }
    }
    assert_int_equal(json_object_del(json_object_get(study, "curves"), "seconds"), 0);
    for (i = json_array_size(targets); i-- > 0;) {
        const char *axis = json_string_value(json_object_get(json_array_get(targets, i), "axis"));
        if (strcmp(axis, "seconds") == 0) assert_int_equal(json_array_remove(targets, i), 0);
    }
}

static json_t *without_times(const char *folder) {
    json_t *study = read_study(folder);
    drop_study_times(study);
    assert_int_equal(json_object_del(json_object_get(study, "tool"), "threads"), 0);
    assert_int_equal(json_object_del(json_object_get(study, "digests"), "all"), 0); /* of those too; "own" is not */
    return study;
}

void expect_same_studies(const char *one, const char *other) {
    expect_same_folders(one, other, tells_times);
    json_t *ours = without_times(one), *theirs = without_times(other);
    assert_true(json_equal(ours, theirs));
    json_decref(ours);
    json_decref(theirs);
}

/* ---- striking ---------------------------------------------------------------------------------------------------- */

static void expect_success(const child *found) {
    if (found->status != 0) fail_msg("exit status %d, signal %d: %s", found->status, found->signal, found->err);
}

void interrupt_study(const char *plan, size_t times, uint64_t seed) {
    static child found;
    const child_limits usual = {.seconds = 300};
    ds_random random = ds_random_init(seed);
    size_t struck = 0, finished = 0;
    const char *whole = scratch_path("whole"), *pieces = scratch_path("pieces");
    CHILD_RUN(&found, usual, "study", plan, "--quiet", "--resume", "--out", whole);
    expect_success(&found);
    while (struck < times || finished == 0) {
        char threads[8];
        child_limits limits = usual;
        (void)snprintf(threads, sizeof threads, "%d", 1 + (int)ds_random_below(&random, 3));
        limits.kill_with = struck >= times ? 0 : struck % 2 == 0 ? SIGKILL : SIGTERM;
        limits.kill_after = 20000 + (unsigned)(3e5 * ds_random_uniform(&random));
        CHILD_RUN(&found, limits, "study", plan, "--threads", threads, "--quiet", "--resume", "--out", pieces);
        struck += found.signal != 0;
        if (found.signal != 0) continue;
        expect_success(&found);
        expect_same_studies(whole, pieces);
        finished++;
        remove_folder(pieces);
    }
    (void)printf("struck %zu times (seed %llu), %zu studies finished with the same bytes\n", struck, (unsigned long long)seed,
                 finished);
}
