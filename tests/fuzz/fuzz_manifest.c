/* report.sha256, the list of a report's files, as it came with a folder from anywhere: '@' in it stands for the digest that the
 * folder's files have, so that lines can be true. Nothing but what a true line names in a place of a report goes. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz.h"
#include "report/manifest.h"

static const char content[] = "drawn\n";

/* "dir/name" of files that a list may take away, and of those no list may. */
static const char *const ours[] = {"report.html", "figures/a.svg", "tables/a.csv", "results/a.json"};
static const char *const theirs[] = {"a.txt", "figures/deep/a.svg", "other/a.svg", "report/a"};
enum { OURS = sizeof ours / sizeof *ours, THEIRS = sizeof theirs / sizeof *theirs };

static const char *inside(const char *name) {
    char path[128];
    (void)snprintf(path, sizeof path, "report-folder/%s", name);
    return relation_path(path);
}

static void put(const char *name) {
    char path[128];
    (void)snprintf(path, sizeof path, "report-folder/%s", name);
    (void)relation_file(path, content, sizeof content - 1);
}

static bool is_there(const char *path) { return access(path, F_OK) == 0; }

static void prepare(void) {
    static const char *const folders[] = {"", "figures", "figures/deep", "tables", "results", "other", "report"};
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) (void)mkdir(inside(folders[i]), 0700);
    for (size_t i = 0; i < OURS; i++) put(ours[i]);
    for (size_t i = 0; i < THEIRS; i++) put(theirs[i]);
    put("report.json");
    (void)relation_file("outside", content, sizeof content - 1);
    (void)unlink(inside("figures/link.svg"));
    MUST(symlink(relation_path("outside"), inside("figures/link.svg")) == 0);
}

/* Whether the list, as it stands, has that line. */
static bool is_listed(const ds_text *list, const char *digest, const char *name) {
    ds_text line = {0};
    bool found = false;
    MUST(ds_text_printf(&line, "%s  %s", digest, name) == DS_OK);
    for (const char *at = list->bytes; at != NULL && (at = strstr(at, line.bytes)) != NULL; at++) {
        char after = at[line.length];
        found = found || ((at == list->bytes || at[-1] == '\n') && (after == '\n' || after == '\0'));
    }
    ds_text_release(&line);
    return found;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char digest[65], expected[256], *written;
    size_t length;
    ds_text list = {0};
    ds_manifest manifest = {.count = 0};
    ds_folder *folder;
    prepare();
    MUST(ds_sha256_file(digest, NULL, inside("report.json"), 1 << 20) == DS_OK);
    for (size_t i = 0; i < size; i++)
        MUST((data[i] == '@' ? ds_text_append(&list, digest, 64) : ds_text_append(&list, (const char *)data + i, 1)) == DS_OK);
    (void)relation_file("report-folder/report.sha256", list.bytes, list.length);
    MUST(ds_folder_open(&folder, inside("")) == DS_OK && ds_manifest_add(&manifest, "report.json") == DS_OK);
    MUST(ds_manifest_replace(&manifest, folder) == DS_OK);
    for (size_t i = 0; i < OURS; i++) MUST(is_there(inside(ours[i])) || is_listed(&list, digest, ours[i]));
    for (size_t i = 0; i < THEIRS; i++) MUST(is_there(inside(theirs[i])));
    MUST(is_there(inside("report.json")) && is_there(relation_path("outside")) && is_there(inside("figures/link.svg")));
    MUST(ds_read_file(&written, &length, inside("report.sha256"), 1 << 20) == DS_OK);
    (void)snprintf(expected, sizeof expected, "%s  report.json\n", digest);
    MUST(strcmp(written, expected) == 0);
    free(written);
    ds_folder_close(&folder);
    ds_manifest_release(&manifest);
    ds_text_release(&list);
    return 0;
}
