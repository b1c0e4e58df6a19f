/* Files written whole or not at all, whatever ends the writer: kill -9 leaves the folder as it was or with the new result, and
 * a temporary that it can leave between naming and renaming goes when the file is written again. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "deltascope/io.h"
#include "scratch.h"
#include "support.h"

enum { LENGTH = 1 << 18 };

/* ---- the system, made to misbehave: the library's calls come here first ------------------------------------------ */

static bool no_unnamed_files, die_before_renaming;
static size_t locks_taken; /* how often another holds the lock of a new file first */
static int other_lock = -1;

int open_or_refuse(int folder, const char *path, int flags, ...) __asm__("openat");
int open_or_refuse(int folder, const char *path, int flags, ...) {
    mode_t mode = 0;
    if ((flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE) {
        va_list arguments;
        va_start(arguments, flags);
        mode = va_arg(arguments, mode_t);
        va_end(arguments);
    }
    if (no_unnamed_files && (flags & O_TMPFILE) == O_TMPFILE) {
        errno = EOPNOTSUPP;
        return -1;
    }
    const int descriptor = (int)syscall(SYS_openat, folder, path, flags, mode);
    if (descriptor >= 0 && (flags & O_EXCL) != 0 && (flags & O_TMPFILE) != O_TMPFILE && locks_taken > 0) {
        locks_taken--;
        other_lock = (int)syscall(SYS_openat, folder, path, O_RDONLY | O_CLOEXEC, 0);
        (void)flock(other_lock, LOCK_EX);
    }
    return descriptor;
}

int rename_or_die(int from_folder, const char *from, int to_folder, const char *to) __asm__("renameat");
int rename_or_die(int from_folder, const char *from, int to_folder, const char *to) {
    if (die_before_renaming) (void)raise(SIGKILL);
    return (int)syscall(SYS_renameat2, from_folder, from, to_folder, to, 0);
}

/* ---- what is there ----------------------------------------------------------------------------------------------- */

static const char *target(void) { return scratch_path("files/result"); }

/* Files of the folder whose names hold `words`. */
static size_t count_files(const char *words) {
    size_t count = 0;
    DIR *folder = opendir(scratch_path("files"));
    assert_non_null(folder);
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder))
        count += entry->d_name[0] != '.' && strstr(entry->d_name, words) != NULL;
    (void)closedir(folder);
    return count;
}

static char contents[LENGTH];

static void write_version(char version) {
    memset(contents, version, LENGTH);
    expect_ok(ds_write_file(target(), contents, LENGTH));
}

/* The letter the target is full of. */
static char version_there(void) {
    size_t length;
    char *bytes;
    expect_ok(ds_read_file(&bytes, &length, target(), 1 << 20));
    assert_int_equal(length, LENGTH);
    for (size_t i = 1; i < length; i++) assert_int_equal(bytes[i], bytes[0]);
    char version = bytes[0];
    free(bytes);
    return version;
}

static int prepare(void **state) {
    (void)state;
    (void)scratch_write("files/result", "", 0);
    no_unnamed_files = die_before_renaming = false;
    write_version('a');
    assert_int_equal(count_files(""), 1);
    return 0;
}

/* ---- kill -9 ----------------------------------------------------------------------------------------------------- */

static void end_child(pid_t child, int signal_number) {
    int outcome;
    if (signal_number != 0) (void)kill(child, signal_number);
    assert_int_equal(waitpid(child, &outcome, 0), child);
    assert_true(WIFSIGNALED(outcome) && WTERMSIG(outcome) == SIGKILL);
}

/* A child writes version after version until it is killed. Returns how often it left a temporary. */
static size_t kill_often(size_t kills, uint64_t seed) {
    ds_random random = ds_random_init(seed);
    size_t left = 0, replaced = 0;
    for (size_t i = 0; i < kills; i++) {
        char before = version_there();
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            for (size_t version = 0;; version++) write_version((char)('b' + version % 25));
        }
        const struct timespec moment = {.tv_nsec = (long)(4e6 * ds_random_uniform(&random))};
        (void)nanosleep(&moment, NULL);
        end_child(child, SIGKILL);
        replaced += version_there() != before;
        size_t temporaries = count_files(".tmp.");
        assert_true(temporaries <= 1);
        assert_int_equal(count_files(""), 1 + temporaries);
        left += temporaries;
        write_version('a');
        assert_int_equal(count_files(""), 1);
    }
    print_message("%zu kills (seed %llu): the result was the new one %zu times, a temporary was left %zu times\n", kills,
                  (unsigned long long)seed, replaced, left);
    return left;
}

static void killed_at_any_moment(void **state) {
    (void)state;
    /* between the link and the rename, two calls without waiting, lies less than a tenth of a version's time */
    assert_true(kill_often(200, 20260701) <= 20);
}

static void killed_where_files_need_names(void **state) {
    (void)state;
    no_unnamed_files = true;
    (void)kill_often(200, 20260702);
}

static void killed_between_naming_and_renaming(void **state) {
    (void)state;
    for (int named = 0; named < 2; named++) {
        no_unnamed_files = named != 0;
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            die_before_renaming = true;
            write_version('b');
            _exit(0);
        }
        end_child(child, 0);
        assert_int_equal(version_there(), 'a');
        assert_int_equal(count_files("result.tmp."), 1);
        write_version('a');
        assert_int_equal(count_files(""), 1);
    }
}

/* ---- what is not a leftover -------------------------------------------------------------------------------------- */

static void leaves_alone_what_is_not_its_own(void **state) {
    (void)state;
    static const char *const names[] = {"files/result.tmp.note", "files/result.tmp.0123456789abcdeg",
                                        "files/result.tmp.0123456789abcdef0", "files/other.tmp.0123456789abcdef",
                                        "files/result2.tmp.0123456789abcdef"};
    enum { NAMES = sizeof names / sizeof *names };
    for (size_t i = 0; i < NAMES; i++) (void)scratch_write(names[i], "mine", 4);
    assert_int_equal(mkdir(scratch_path("files/result.tmp.00000000000000ff"), 0700), 0);
    write_version('b');
    assert_int_equal(count_files(""), 1 + NAMES + 1);
    for (size_t i = 0; i < NAMES; i++) assert_int_equal(unlink(scratch_path(names[i])), 0);
    assert_int_equal(rmdir(scratch_path("files/result.tmp.00000000000000ff")), 0);
}

/* Its writer lives as long as somebody holds the lock. */
static void leaves_alone_what_is_being_written(void **state) {
    (void)state;
    const char *path = scratch_write("files/result.tmp.0123456789abcdef", "half", 4);
    int descriptor = open(path, O_RDWR | O_CLOEXEC);
    assert_int_equal(flock(descriptor, LOCK_EX), 0);
    write_version('b');
    assert_int_equal(count_files(".tmp."), 1);
    (void)close(descriptor);
    write_version('c');
    assert_int_equal(count_files(".tmp."), 0);
}

/* Two files under construction do not take each other's temporaries for leftovers, with names and without. */
static void two_writers_of_one_file(void **state) {
    (void)state;
    for (int named = 0; named < 2; named++) {
        ds_outfile *one, *two;
        no_unnamed_files = named != 0;
        expect_ok(ds_outfile_open(&one, target()));
        expect_ok(ds_outfile_open(&two, target()));
        assert_int_equal(count_files(".tmp."), named ? 2 : 0);
        memset(contents, 'd', LENGTH);
        assert_int_equal(fwrite(contents, 1, LENGTH, ds_outfile_stream(one)), LENGTH);
        memset(contents, 'e', LENGTH);
        assert_int_equal(fwrite(contents, 1, LENGTH, ds_outfile_stream(two)), LENGTH);
        expect_ok(ds_outfile_commit(&two));
        assert_int_equal(version_there(), 'e');
        expect_ok(ds_outfile_commit(&one));
        assert_int_equal(version_there(), 'd');
        assert_int_equal(count_files(""), 1);
    }
}

static void discarded_files_leave_nothing(void **state) {
    (void)state;
    for (int named = 0; named < 2; named++) {
        ds_outfile *file;
        no_unnamed_files = named != 0;
        expect_ok(ds_outfile_open(&file, target()));
        assert_true(fputs("half", ds_outfile_stream(file)) >= 0);
        ds_outfile_discard(&file);
        assert_null(file);
        assert_int_equal(version_there(), 'a');
        assert_int_equal(count_files(""), 1);
    }
}

static void a_spool_has_no_name(void **state) {
    (void)state;
    for (int named = 0; named < 2; named++) {
        FILE *spool;
        char back[5] = "";
        no_unnamed_files = named != 0;
        expect_ok(ds_spool_open(&spool, target()));
        assert_int_equal(count_files(""), 1);
        assert_true(fputs("rows", spool) >= 0);
        rewind(spool);
        assert_int_equal(fread(back, 1, 4, spool), 4);
        assert_string_equal(back, "rows");
        (void)fclose(spool);
        assert_int_equal(count_files(""), 1);
    }
}

/* A name may have any length that the file system takes: its temporary is a name too. */
static void names_of_any_length(void **state) {
    (void)state;
    static const size_t lengths[] = {1, 200, 233, 234, 235, 236, 250, 254, 255};
    for (size_t i = 0; i < 2 * sizeof lengths / sizeof *lengths; i++) {
        char name[300] = "files/";
        size_t length;
        char *bytes;
        no_unnamed_files = i % 2 != 0;
        memset(name + 6, '-', lengths[i / 2]);
        for (size_t again = 0; again < 2; again++) expect_ok(ds_write_file(scratch_path(name), "new", 3));
        expect_ok(ds_read_file(&bytes, &length, scratch_path(name), 10));
        assert_int_equal(length, 3);
        free(bytes);
        assert_int_equal(unlink(scratch_path(name)), 0);
        assert_int_equal(count_files(""), 1);
    }
}

/* Whoever takes the lock of our temporary holds us up for seconds, not for ever. */
static void a_lock_that_is_not_given_up(void **state) {
    (void)state;
    ds_outfile *file;
    no_unnamed_files = true;
    locks_taken = 1;
    const double started = ds_seconds();
    expect_failure(ds_outfile_open(&file, target()), DS_ERR_SYSTEM,
                   "another process keeps taking the temporary file beside it");
    assert_true(ds_seconds() - started >= 5 && ds_seconds() - started < 20);
    (void)close(other_lock);
    assert_int_equal(version_there(), 'a');
    assert_int_equal(count_files(""), 1);
    write_version('b');
    assert_int_equal(version_there(), 'b');
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(killed_at_any_moment, prepare),
        cmocka_unit_test_setup(killed_where_files_need_names, prepare),
        cmocka_unit_test_setup(killed_between_naming_and_renaming, prepare),
        cmocka_unit_test_setup(leaves_alone_what_is_not_its_own, prepare),
        cmocka_unit_test_setup(leaves_alone_what_is_being_written, prepare),
        cmocka_unit_test_setup(two_writers_of_one_file, prepare),
        cmocka_unit_test_setup(discarded_files_leave_nothing, prepare),
        cmocka_unit_test_setup(a_spool_has_no_name, prepare),
        cmocka_unit_test_setup(names_of_any_length, prepare),
        cmocka_unit_test_setup(a_lock_that_is_not_given_up, prepare),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
