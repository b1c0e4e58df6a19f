/* A folder from a stranger: whatever lies in it under the names of our files, nothing outside is read, written or removed. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "deltascope/io.h"
#include "scratch.h"
#include "support.h"

static const char precious[] = "precious\n";

/* ---- what is planted --------------------------------------------------------------------------------------------- */

typedef enum planted { NOTHING, OURS, LINK, DEEP_LINK, DANGLING, PIPE, FOLDER_LINK, KINDS } planted;

static void plant(planted kind, const char *name) {
    char path[128];
    (void)snprintf(path, sizeof path, "out/%s", name);
    const char *place = scratch_path(path);
    switch (kind) {
    case OURS:
        (void)scratch_write(path, "old\n", 4);
        assert_int_equal(chmod(place, 0640), 0);
        break;
    case LINK:
        assert_int_equal(symlink(scratch_path("home/victim"), place), 0);
        break;
    case DEEP_LINK: /* through a link of its own */
        (void)unlink(scratch_path("out/aside"));
        assert_int_equal(symlink("../home", scratch_path("out/aside")), 0);
        assert_int_equal(symlink("aside/victim", place), 0);
        break;
    case DANGLING:
        assert_int_equal(symlink(scratch_path("home/new"), place), 0);
        break;
    case PIPE:
        assert_int_equal(mkfifo(place, 0600), 0);
        break;
    case FOLDER_LINK:
        assert_int_equal(symlink(scratch_path("home"), place), 0);
        break;
    default:
        break;
    }
}

static void begin(void) {
    assert_int_equal(system("rm -rf \"$SCRATCH_OUT\" \"$SCRATCH_HOME\""), 0);
    expect_ok(ds_make_folder(scratch_path("out")));
    (void)scratch_write("home/victim", precious, sizeof precious - 1);
    assert_int_equal(chmod(scratch_path("home/victim"), 0600), 0);
}

/* The victim with its mode, and nothing beside it. */
static void expect_untouched(void) {
    struct stat info;
    char *bytes;
    size_t length;
    expect_ok(ds_read_file(&bytes, &length, scratch_path("home/victim"), 100));
    assert_string_equal(bytes, precious);
    free(bytes);
    assert_int_equal(stat(scratch_path("home/victim"), &info), 0);
    assert_int_equal(info.st_mode & 07777, 0600);
    assert_int_equal(access(scratch_path("home/new"), F_OK), -1);
    assert_int_equal(rmdir(scratch_path("home")), -1);
    assert_int_equal(errno, ENOTEMPTY);
}

/* ---- files ------------------------------------------------------------------------------------------------------- */

static void expect_written(const char *name, planted before) {
    struct stat info;
    char path[128];
    char *bytes;
    size_t length;
    (void)snprintf(path, sizeof path, "out/%s", name);
    assert_int_equal(lstat(scratch_path(path), &info), 0);
    assert_true(S_ISREG(info.st_mode));
    mode_t mask = umask(0);
    (void)umask(mask);
    assert_int_equal(info.st_mode & 07777, before == OURS ? 0640 : 0666 & ~mask);
    expect_ok(ds_read_file(&bytes, &length, scratch_path(path), 100));
    assert_string_equal(bytes, "new\n");
    free(bytes);
}

/* Every kind under the name of a file, at the top and below, drawn at random; written, found and removed. */
static void what_has_a_files_name_is_replaced(void **state) {
    (void)state;
    ds_random random = ds_random_init(20261128);
    for (size_t i = 0; i < 200; i++) {
        static const char *const names[] = {"report.html", "tables/gates.csv", "results/deep/gates.json"};
        const char *name = names[ds_random_below(&random, 3)];
        planted kind = (planted)ds_random_below(&random, KINDS);
        ds_folder *folder;
        begin();
        expect_ok(ds_make_folder(scratch_path("out/tables")));
        expect_ok(ds_make_folder(scratch_path("out/results/deep")));
        plant(kind, name);
        expect_ok(ds_folder_open(&folder, scratch_path("out")));
        int found = ds_folder_find(folder, name, O_RDONLY);
        assert_int_equal(ds_folder_holds(folder, name), found >= 0);
        assert_int_equal(found >= 0, kind == OURS || kind == PIPE); /* a pipe is not waited for; the reader looks at its kind */
        if (found >= 0) (void)close(found);
        expect_ok(ds_write_file_in(folder, name, "new\n", 4));
        expect_written(name, kind);
        expect_ok(ds_folder_remove(folder, name));
        plant(kind, name);
        expect_ok(ds_folder_remove(folder, name));
        expect_ok(ds_folder_remove(folder, name)); /* gone already */
        ds_folder_close(&folder);
        expect_untouched();
    }
}

/* ---- folders ----------------------------------------------------------------------------------------------------- */

/* Anything but a folder in the place of one is refused with its name, by every way in. */
static void what_has_a_folders_name_is_refused(void **state) {
    (void)state;
    for (planted kind = OURS; kind < KINDS; kind++) {
        ds_folder *folder, *inner;
        ds_outfile *file;
        begin();
        expect_ok(ds_make_folder(scratch_path("out/a")));
        plant(kind, "a/b");
        expect_ok(ds_folder_open(&folder, scratch_path("out")));
        expect_failure(ds_write_file_in(folder, "a/b/victim", "new\n", 4), DS_ERR_SYSTEM,
                       "out/a/b: a link or a file lies where");
        expect_failure(ds_outfile_open_in(&file, folder, "a/b/c/victim"), DS_ERR_SYSTEM,
                       "out/a/b: a link or a file lies where");
        expect_failure(ds_folder_open_in(&inner, folder, "a/b"), DS_ERR_SYSTEM, "out/a/b: a link or a file lies where");
        expect_failure(ds_folder_remove(folder, "a/b/victim"), DS_ERR_SYSTEM, "out/a/b: a link or a file lies where");
        assert_int_equal(ds_folder_find(folder, "a/b/victim", O_RDONLY), -1);
        assert_false(ds_folder_holds(folder, "a/b/victim"));
        ds_folder_close(&folder);
        expect_untouched();
    }
}

static void paths_stay_below(void **state) {
    (void)state;
    static const char *const outside[] = {
        "../home/victim", "/etc/passwd", "a/../../home/victim", "a//b", "", ".", "..", "a/", "./a"};
    ds_folder *folder;
    begin();
    expect_ok(ds_folder_open(&folder, scratch_path("out")));
    for (size_t i = 0; i < sizeof outside / sizeof *outside; i++) {
        expect_failure(ds_write_file_in(folder, outside[i], "new\n", 4), DS_ERR_SYSTEM, "not a path below the folder");
        assert_int_equal(ds_folder_find(folder, outside[i], O_RDONLY), -1);
    }
    ds_folder_close(&folder);
    expect_untouched();
}

/* The folder that was opened is the one written to, whatever takes its name afterwards. */
static void the_folder_is_opened_once(void **state) {
    (void)state;
    ds_folder *folder;
    begin();
    expect_ok(ds_folder_open(&folder, scratch_path("out")));
    assert_int_equal(rename(scratch_path("out"), scratch_path("moved")), 0);
    assert_int_equal(symlink("home", scratch_path("out")), 0);
    expect_ok(ds_write_file_in(folder, "victim", "new\n", 4));
    ds_folder_close(&folder);
    expect_untouched();
    assert_int_equal(access(scratch_path("moved/victim"), F_OK), 0);
    assert_int_equal(unlink(scratch_path("moved/victim")), 0);
    assert_int_equal(rmdir(scratch_path("moved")), 0);
    assert_int_equal(unlink(scratch_path("out")), 0);
}

static void an_empty_folder_of_ours_goes(void **state) {
    (void)state;
    ds_folder *folder;
    begin();
    expect_ok(ds_folder_open(&folder, scratch_path("out/own")));
    ds_folder_close(&folder);
    assert_int_equal(access(scratch_path("out/own"), F_OK), -1);
    expect_ok(ds_folder_open(&folder, scratch_path("out")));
    ds_folder_close(&folder);
    assert_int_equal(access(scratch_path("out"), F_OK), 0);      /* was there before */
    expect_ok(ds_folder_open(&folder, scratch_path("out/own"))); /* another folder has its name meanwhile */
    assert_int_equal(rename(scratch_path("out/own"), scratch_path("out/moved")), 0);
    expect_ok(ds_make_folder(scratch_path("out/own")));
    ds_folder_close(&folder);
    assert_int_equal(access(scratch_path("out/own"), F_OK), 0);
    expect_ok(ds_folder_open(&folder, scratch_path("out/deep/own"))); /* the way to it is another's */
    assert_int_equal(rename(scratch_path("out/deep"), scratch_path("out/kept")), 0);
    expect_ok(ds_make_folder(scratch_path("out/deep/own")));
    ds_folder_close(&folder);
    assert_int_equal(access(scratch_path("out/deep/own"), F_OK), 0);
    assert_int_equal(access(scratch_path("out/kept/own"), F_OK), -1);
}

/* The lock of a process that was killed is free again. */
static void one_run_at_a_time(void **state) {
    (void)state;
    ds_folder *folder;
    int ready[2], outcome;
    char byte;
    begin();
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        bool held = ds_folder_open(&folder, scratch_path("out")) == DS_OK && ds_folder_lock(folder) == DS_OK;
        (void)!write(ready[1], held ? "y" : "n", 1);
        for (;;) (void)pause();
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_int_equal(byte, 'y');
    expect_ok(ds_folder_open(&folder, scratch_path("out")));
    expect_failure(ds_folder_lock(folder), DS_ERR_SYSTEM, "out: another run is writing into this folder");
    (void)kill(child, SIGKILL);
    assert_int_equal(waitpid(child, &outcome, 0), child);
    expect_ok(ds_folder_lock(folder));
    ds_folder_close(&folder);
    (void)close(ready[0]);
    (void)close(ready[1]);
}

/* What lies there, every name once; folders go when they are empty. */
static ds_status note_name(void *context, const char *name) {
    unsigned *seen = context;
    static const char *const names[] = {"first", "second", "inner"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(name, names[i]) != 0) continue;
        assert_int_equal(*seen & 1u << i, 0);
        *seen |= 1u << i;
        return DS_OK;
    }
    return ds_fail(DS_ERR_INPUT, "%s: another name", name);
}

static void folders_are_listed(void **state) {
    (void)state;
    ds_folder *folder = NULL;
    unsigned seen = 0;
    expect_ok(ds_folder_open(&folder, scratch_path("listed")));
    expect_ok(ds_folder_each(folder, note_name, &seen));
    assert_int_equal(seen, 0);
    expect_ok(ds_write_file_in(folder, "first", "1", 1));
    expect_ok(ds_write_file_in(folder, "second", "2", 1));
    expect_ok(ds_write_file_in(folder, "inner/file", "3", 1));
    expect_ok(ds_folder_each(folder, note_name, &seen));
    assert_int_equal(seen, 7);
    expect_failure(ds_folder_remove(folder, "inner"), DS_ERR_SYSTEM, "listed/inner");
    expect_ok(ds_folder_remove(folder, "inner/file"));
    expect_ok(ds_folder_remove(folder, "inner"));
    seen = 0;
    expect_ok(ds_folder_each(folder, note_name, &seen));
    assert_int_equal(seen, 3);
    expect_ok(ds_write_file_in(folder, "fourth", "4", 1));
    seen = 0;
    expect_failure(ds_folder_each(folder, note_name, &seen), DS_ERR_INPUT, "fourth: another name");
    ds_folder_close(&folder);
}

int main(void) {
    assert_int_equal(setenv("SCRATCH_OUT", scratch_path("out"), 1), 0);
    assert_int_equal(setenv("SCRATCH_HOME", scratch_path("home"), 1), 0);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_has_a_files_name_is_replaced),
        cmocka_unit_test(what_has_a_folders_name_is_refused),
        cmocka_unit_test(paths_stay_below),
        cmocka_unit_test(the_folder_is_opened_once),
        cmocka_unit_test(an_empty_folder_of_ours_goes),
        cmocka_unit_test(one_run_at_a_time),
        cmocka_unit_test(folders_are_listed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
