#include "same_folders.h"

#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "deltascope/io.h"
#include "support.h"

/* nftw has no context. */
static const char *here, *there;
static bool (*bytes_may_differ)(const char *path);

static int expect_counterpart(const char *path, const struct stat *info, int kind, struct FTW *walk) {
    char other[512], ours[65], theirs[65];
    (void)info, (void)walk;
    if (kind != FTW_F) return 0;
    (void)snprintf(other, sizeof other, "%s%s", there, path + strlen(here));
    if (access(other, F_OK) != 0) fail_msg("%s is missing", other);
    if (bytes_may_differ != NULL && bytes_may_differ(path)) return 0;
    expect_ok(ds_sha256_file(ours, NULL, path, 1 << 26));
    expect_ok(ds_sha256_file(theirs, NULL, other, 1 << 26));
    if (strcmp(ours, theirs) != 0) fail_msg("%s and %s differ", path, other);
    return 0;
}

void expect_same_folders(const char *one, const char *other, bool (*may_differ)(const char *path)) {
    bytes_may_differ = may_differ;
    for (int i = 0; i < 2; i++) {
        here = i == 0 ? one : other;
        there = i == 0 ? other : one;
        assert_int_equal(nftw(here, expect_counterpart, 8, FTW_PHYS), 0);
    }
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *walk) {
    (void)info, (void)kind, (void)walk;
    return remove(path);
}

void remove_folder(const char *path) { assert_int_equal(nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0); }
