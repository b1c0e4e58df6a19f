/* Paths that somebody typed: they lead where the C library says they lead, except through what others laid where everybody may
 * write. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/typed_path.h"
#include "deltascope/io.h"
#include "scratch.h"
#include "support.h"

static bool same(const struct stat *a, const struct stat *b) { return a->st_dev == b->st_dev && a->st_ino == b->st_ino; }

static void begin(void) {
    char command[1024];
    (void)snprintf(command, sizeof command, "rm -rf '%s'", scratch_path("tree"));
    assert_int_equal(system(command), 0);
    expect_ok(ds_make_folder(scratch_path("tree/a/b")));
    expect_ok(ds_make_folder(scratch_path("tree/c")));
}

/* ---- against realpath -------------------------------------------------------------------------------------------- */

/* A way of one to six parts below the tree. */
static void draw_way(char *way, size_t capacity, ds_random *random) {
    static const char *const parts[] = {"a", "b", "c", "l0", "l1", "l2", "l3", ".", "..", "f", "new"};
    size_t length = 0;
    for (size_t i = 0, n = 1 + ds_random_below(random, 6); i < n; i++) {
        const char *part = parts[ds_random_below(random, sizeof parts / sizeof *parts)];
        const char *slash = ds_random_below(random, 4) == 0 ? "//" : "/";
        length += (size_t)snprintf(way + length, capacity - length, "%s%s", i == 0 ? "" : slash, part);
    }
    if (ds_random_below(random, 8) == 0) (void)snprintf(way + length, capacity - length, "/");
}

static void lay_links(ds_random *random) {
    static const char *const places[] = {"tree/l0", "tree/a/l1", "tree/a/b/l2", "tree/c/l3", "tree/a/b/l0", "tree/c/l1"};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        char way[128], target[512];
        draw_way(way, sizeof way, random);
        const bool absolute = ds_random_below(random, 2) == 0;
        (void)snprintf(target, sizeof target, "%s%s%s", absolute ? scratch_path("tree") : "", absolute ? "/" : "", way);
        assert_int_equal(symlink(target, scratch_path(places[i])), 0);
    }
}

/* Ways with many ".." leave the scratch folder, where nothing is to be made. */
static bool is_outside(int folder) {
    char link[64], path[PATH_MAX], *real = realpath(scratch_path("tree"), NULL);
    assert_non_null(real);
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
    const ssize_t length = readlink(link, path, sizeof path - 1);
    assert_true(length > 0);
    path[length] = '\0';
    const bool outside = strncmp(path, real, strlen(real)) != 0;
    free(real);
    return outside;
}

/* Where an existing file or folder is found, the entry is the kernel's, and the folder that of the path without links. */
static void compare(const char *path) {
    struct stat kernels, ours, holder;
    ds_typed_path found;
    char real[PATH_MAX];
    const bool exists = stat(path, &kernels) == 0;
    const ds_status status = ds_typed_path_of_folder(&found, path, false);
    assert_int_equal(status == DS_OK, exists && S_ISDIR(kernels.st_mode));
    if (status == DS_OK) {
        assert_int_equal(fstat(found.inside, &ours), 0);
        assert_true(same(&ours, &kernels) && !found.made);
        if (found.folder >= 0) {
            assert_int_equal(fstatat(found.folder, found.name, &ours, AT_SYMLINK_NOFOLLOW), 0);
            assert_true(same(&ours, &kernels));
        }
    }
    ds_typed_path_release(&found);
    if (exists && S_ISDIR(kernels.st_mode)) return;
    const ds_status file = ds_typed_path_of_file(&found, path);
    if (file == DS_OK && is_outside(found.folder)) {
        ds_typed_path_release(&found);
        return;
    }
    /* a file, or what would be one: O_CREAT goes the same way as we do */
    const int descriptor = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    const bool possible = descriptor >= 0;
    if (possible) (void)close(descriptor);
    if (possible) assert_non_null(realpath(path, real));
    if (possible && !exists) assert_int_equal(unlink(real), 0);
    if (possible != (file == DS_OK)) fail_msg("%s: %s", path, file == DS_OK ? "found" : ds_error_text());
    if (file != DS_OK) return;
    char *slash = strrchr(real, '/');
    assert_string_equal(found.name, slash + 1);
    *slash = '\0';
    assert_int_equal(stat(real, &holder), 0);
    assert_int_equal(fstat(found.folder, &ours), 0);
    assert_true(same(&ours, &holder) && !found.special);
    ds_typed_path_release(&found);
}

static void paths_lead_where_they_lead(void **state) {
    (void)state;
    ds_random random = ds_random_init(20261128);
    for (size_t round = 0; round < 60; round++) {
        begin();
        (void)scratch_write("tree/f", "f", 1);
        (void)scratch_write("tree/a/b/f", "f", 1);
        lay_links(&random);
        for (size_t i = 0; i < 40; i++) {
            char way[128], path[512];
            draw_way(way, sizeof way, &random);
            (void)snprintf(path, sizeof path, "%s/%s", scratch_path("tree"), way);
            compare(path);
        }
    }
}

/* ---- what others laid -------------------------------------------------------------------------------------------- */

/* The rule of Linux, spelt out case by case. */
static void who_may_have_laid_it(void **state) {
    (void)state;
    static const mode_t modes[] = {0755, 0777, 01755, 01777, 01775};
    for (size_t m = 0; m < sizeof modes / sizeof *modes; m++) {
        for (uid_t folder = 0; folder < 3; folder++) {
            for (uid_t entry = 0; entry < 3; entry++) {
                const struct stat above = {.st_mode = S_IFDIR | modes[m], .st_uid = folder},
                                  link = {.st_mode = S_IFLNK | 0777, .st_uid = entry};
                const bool stranger = entry != 1 && entry != folder;
                assert_int_equal(ds_is_laid_by_others(&above, &link, 1), modes[m] == 01777 && stranger);
            }
        }
    }
}

enum { STRANGER = 54321 };

static void expect_refused(const char *path, const char *sentence) {
    ds_outfile *file;
    ds_folder *folder;
    FILE *spool;
    expect_failure(ds_outfile_check(path), DS_ERR_SYSTEM, sentence);
    expect_failure(ds_outfile_open(&file, path), DS_ERR_SYSTEM, sentence);
    expect_failure(ds_write_file(path, "new", 3), DS_ERR_SYSTEM, sentence);
    expect_failure(ds_spool_open(&spool, path), DS_ERR_SYSTEM, sentence);
    assert_int_equal(ds_folder_find(NULL, path, O_RDWR | O_CREAT), -1);
    if (strstr(sentence, "link") == NULL) return;
    expect_failure(ds_folder_open(&folder, path), DS_ERR_SYSTEM, sentence);
    expect_failure(ds_make_folder(path), DS_ERR_SYSTEM, sentence);
}

/* A link to a file, to a folder, to nothing, on the way or at its end; a pipe. Ours and the folder's owner's are followed. */
static void what_others_laid_is_not_followed(void **state) {
    (void)state;
    static const char *const targets[] = {"../home/victim", "../home", "../home/new"};
    if (geteuid() != 0) {
        print_message("only root can lay what belongs to others\n");
        skip();
    }
    for (size_t i = 0; i < 3; i++) {
        char *bytes;
        size_t length;
        begin();
        (void)scratch_write("tree/home/victim", "precious", 8);
        expect_ok(ds_make_folder(scratch_path("tree/tmp")));
        assert_int_equal(chmod(scratch_path("tree/tmp"), 01777), 0);
        assert_int_equal(symlink(targets[i], scratch_path("tree/tmp/link")), 0);
        assert_int_equal(symlink("tmp/link", scratch_path("tree/way")), 0);
        assert_int_equal(lchown(scratch_path("tree/tmp/link"), STRANGER, STRANGER), 0);
        expect_refused(scratch_path("tree/tmp/link"),
                       "\"link\" is a link of another user in a folder that everybody may write");
        expect_refused(scratch_path("tree/tmp/link/deeper"), "\"link\" is a link of another user");
        expect_refused(scratch_path("tree/way"), "\"link\" is a link of another user");
        assert_int_equal(access(scratch_path("tree/home/new"), F_OK), -1);
        expect_ok(ds_read_file(&bytes, &length, scratch_path("tree/home/victim"), 100));
        assert_int_equal(length, 8);
        free(bytes);
        assert_int_equal(chown(scratch_path("tree/tmp"), STRANGER, STRANGER), 0); /* the owner of the folder may */
        ds_typed_path found;
        expect_ok(ds_typed_path_of_file(&found, scratch_path("tree/tmp/link")));
        ds_typed_path_release(&found);
    }
    assert_int_equal(chown(scratch_path("tree/tmp"), 0, 0), 0);
    assert_int_equal(mkfifo(scratch_path("tree/tmp/pipe"), 0666), 0);
    assert_int_equal(lchown(scratch_path("tree/tmp/pipe"), STRANGER, STRANGER), 0);
    expect_refused(scratch_path("tree/tmp/pipe"), "\"pipe\" is a pipe or device of another user");
}

/* ---- what has no path -------------------------------------------------------------------------------------------- */

static void write_through(const char *path) {
    ds_outfile *file;
    expect_ok(ds_outfile_check(path));
    expect_ok(ds_outfile_open(&file, path));
    assert_int_equal(fputs("through", ds_outfile_stream(file)), 1);
    expect_ok(ds_outfile_commit(&file));
}

/* Pipes by the kernel's links, a device, a file without a name. */
static void what_the_kernel_alone_can_follow(void **state) {
    (void)state;
    int ends[2];
    char path[64], link[64], got[16] = "";
    begin();
    assert_int_equal(pipe(ends), 0);
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", ends[1]);
    (void)snprintf(link, sizeof link, "/dev/fd/%d", ends[1]);
    assert_int_equal(symlink(path, scratch_path("tree/link")), 0);
    for (size_t i = 0; i < 3; i++) {
        const char *const paths[] = {path, link, scratch_path("tree/link")};
        write_through(paths[i]);
        assert_int_equal(read(ends[0], got, sizeof got), 7);
        assert_memory_equal(got, "through", 7);
    }
    (void)close(ends[0]);
    (void)close(ends[1]);
    write_through("/dev/null");
    const char *gone = scratch_write("tree/gone", "old text", 8);
    const int descriptor = open(gone, O_RDWR | O_CLOEXEC);
    assert_true(descriptor >= 0);
    assert_int_equal(unlink(gone), 0);
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", descriptor);
    write_through(path);
    assert_int_equal(pread(descriptor, got, sizeof got, 0), 7);
    (void)close(descriptor);
    (void)snprintf(path, sizeof path, "/proc/self/cwd/%s", "");
    compare(path);
}

static void paths_that_are_none(void **state) {
    (void)state;
    char longest[NAME_MAX + 32];
    ds_typed_path found;
    begin();
    memset(longest, 'x', sizeof longest);
    longest[NAME_MAX + 1] = '\0';
    expect_failure(ds_typed_path_of_file(&found, ""), DS_ERR_SYSTEM, "no path");
    expect_failure(ds_typed_path_of_folder(&found, "", true), DS_ERR_SYSTEM, "no path");
    expect_failure(ds_typed_path_of_file(&found, "/"), DS_ERR_SYSTEM, "it is a folder");
    expect_failure(ds_typed_path_of_file(&found, longest), DS_ERR_SYSTEM, "longer than 255 bytes");
    assert_int_equal(symlink(longest, scratch_path("tree/link")), 0);
    expect_failure(ds_typed_path_of_file(&found, scratch_path("tree/link")), DS_ERR_SYSTEM, "longer than 255 bytes");
    assert_int_equal(symlink("again", scratch_path("tree/again")), 0);
    expect_failure(ds_typed_path_of_file(&found, scratch_path("tree/again")), DS_ERR_SYSTEM, "more than 40 links");
    (void)scratch_write("tree/f", "f", 1);
    expect_failure(ds_typed_path_of_folder(&found, scratch_path("tree/f/x"), true), DS_ERR_SYSTEM,
                   "\"f\" exists and is not a folder");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_lead_where_they_lead),
        cmocka_unit_test(who_may_have_laid_it),
        cmocka_unit_test(what_others_laid_is_not_followed),
        cmocka_unit_test(what_the_kernel_alone_can_follow),
        cmocka_unit_test(paths_that_are_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
