/* A list of files: what a later one removes, and what no list, whatever it says, may touch. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "deltascope/io.h"
#include "report/manifest.h"
#include "scratch.h"
#include "support.h"

static const char content[] = "drawn\n";

static void put(const char *name) {
    char path[128];
    (void)snprintf(path, sizeof path, "report/%s", name);
    (void)scratch_write(path, content, sizeof content - 1);
}

static bool is_there(const char *name) {
    char path[128];
    struct stat info;
    (void)snprintf(path, sizeof path, "report/%s", name);
    return lstat(scratch_path(path), &info) == 0;
}

static void prepare(void) {
    char path[128];
    static const char *const folders[] = {"figures", "tables", "figures/deep"};
    expect_ok(ds_make_folder(scratch_path("report")));
    for (size_t i = 0; i < 3; i++) {
        (void)snprintf(path, sizeof path, "report/%s", folders[i]);
        expect_ok(ds_make_folder(scratch_path(path)));
    }
}

static void replace(const char *const *paths, size_t count) {
    ds_manifest manifest = {.count = 0};
    ds_folder *folder;
    for (size_t i = 0; i < count; i++) {
        put(paths[i]);
        expect_ok(ds_manifest_add(&manifest, "%s", paths[i]));
    }
    expect_ok(ds_folder_open(&folder, scratch_path("report")));
    expect_ok(ds_manifest_replace(&manifest, folder));
    ds_folder_close(&folder);
    ds_manifest_release(&manifest);
}

static void test_stale_files_go(void **state) {
    (void)state;
    static const char *const first[] = {"report.html", "figures/a.svg", "figures/b.svg", "figures/c.svg", "tables/t.csv"};
    prepare();
    replace(first, 5);
    put("figures/mine.svg");
    (void)scratch_write("report/figures/c.svg", "drawn over\n", 11); /* changed since: somebody's own */
    assert_int_equal(unlink(scratch_path("report/tables/t.csv")), 0);
    assert_int_equal(symlink("../figures/mine.svg", scratch_path("report/tables/t.csv")), 0);
    replace((const char *const[]){"report.html", "figures/a.svg"}, 2);
    assert_true(is_there("report.html") && is_there("figures/a.svg"));
    assert_false(is_there("figures/b.svg"));
    assert_true(is_there("figures/c.svg") && is_there("figures/mine.svg") && is_there("tables/t.csv"));
    replace((const char *const[]){"report.html"}, 1);
    assert_false(is_there("figures/a.svg"));
    assert_true(is_there("figures/c.svg")); /* no longer listed, whatever becomes of it */
}

static void test_no_list_leads_outside(void **state) {
    (void)state;
    static const char *const places[] = {
        "../victim",       "figures/../victim", "figures/deep/victim", "notes.txt", "figures/.hidden",   "/tmp/victim",
        "figures//victim", "figures/",          "report.html ",        "",          "figures/mine.svg\r"};
    char digest[65];
    ds_text list = {0};
    prepare();
    (void)scratch_write("victim", content, sizeof content - 1);
    put("victim");
    put("notes.txt");
    put("figures/.hidden");
    put("figures/deep/victim");
    put("figures/mine.svg");
    put("figures/ours.svg");
    expect_ok(ds_sha256(digest, content, sizeof content - 1));
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) expect_ok(ds_text_printf(&list, "%s  %s\n", digest, places[i]));
    expect_ok(ds_text_printf(&list, "%.60s  figures/mine.svg\n%s figures/mine.svg\n%s\nnonsense\n\n", digest, digest, digest));
    expect_ok(ds_text_printf(&list, "%s  figures/ours.svg", digest)); /* the last line not ended */
    (void)scratch_write("report/report.sha256", list.bytes, list.length);
    replace((const char *const[]){"report.html"}, 1);
    struct stat info;
    assert_int_equal(stat(scratch_path("victim"), &info), 0);
    assert_true(is_there("victim") && is_there("notes.txt") && is_there("figures/.hidden"));
    assert_true(is_there("figures/deep/victim") && is_there("figures/mine.svg") && is_there("report.html"));
    assert_false(is_there("figures/ours.svg"));
    ds_text_release(&list);
}

/* A list with the right digests, and a link in the place of a folder: what lies behind it is not ours to remove. */
static void test_no_link_leads_outside(void **state) {
    (void)state;
    char digest[65], line[128];
    struct stat info;
    prepare();
    (void)scratch_write("home/authorized_keys", content, sizeof content - 1);
    assert_int_equal(symlink("../home", scratch_path("report/results")), 0);
    expect_ok(ds_sha256(digest, content, sizeof content - 1));
    (void)snprintf(line, sizeof line, "%s  results/authorized_keys\n", digest);
    (void)scratch_write("report/report.sha256", line, strlen(line));
    replace((const char *const[]){"report.html"}, 1);
    assert_int_equal(lstat(scratch_path("home/authorized_keys"), &info), 0);
    assert_int_equal(unlink(scratch_path("report/report.sha256")), 0); /* a list that is a link or a pipe lists nothing */
    (void)scratch_write("list", line, strlen(line));
    assert_int_equal(symlink("../list", scratch_path("report/report.sha256")), 0);
    replace((const char *const[]){"report.html"}, 1);
    assert_int_equal(unlink(scratch_path("report/report.sha256")), 0);
    assert_int_equal(mkfifo(scratch_path("report/report.sha256"), 0600), 0);
    replace((const char *const[]){"report.html"}, 1);
    assert_int_equal(lstat(scratch_path("report/report.sha256"), &info), 0);
    assert_true(S_ISREG(info.st_mode));
    assert_int_equal(unlink(scratch_path("report/results")), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_stale_files_go), cmocka_unit_test(test_no_list_leads_outside),
                                       cmocka_unit_test(test_no_link_leads_outside)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
