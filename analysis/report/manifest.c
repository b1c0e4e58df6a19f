#include "manifest.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "deltascope/io.h"

enum { DIGITS = 64, MOST_BYTES = 1 << 30 };

static const char list_name[] = "report.sha256";

void ds_manifest_release(ds_manifest *manifest) {
    for (size_t i = 0; i < manifest->count; i++) free(manifest->paths[i]);
    free(manifest->paths);
    *manifest = (ds_manifest){0};
}

ds_status ds_manifest_add(ds_manifest *manifest, const char *format, ...) {
    ds_status status = DS_OK;
    char path[256];
    void *storage = manifest->paths;
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(path, sizeof path, format, arguments);
    va_end(arguments);
    DS_TRY(ds_grow(&storage, &manifest->capacity, manifest->count + 1, sizeof *manifest->paths));
    manifest->paths = storage;
    manifest->paths[manifest->count] = ds_strdup(path);
    if (manifest->paths[manifest->count] == NULL) return DS_ERR_SYSTEM;
    manifest->count++;
done:
    return status;
}

static bool has(const ds_manifest *manifest, const char *path) {
    for (size_t i = 0; i < manifest->count; i++) {
        if (strcmp(manifest->paths[i], path) == 0) return true;
    }
    return false;
}

/* The list may have come with the folder from anywhere: no path of it leads out of the places a report writes to. */
static bool is_ours(const char *path) {
    static const char *const places[] = {"figures/", "tables/", "results/", "report."};
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        const char *name = path + strlen(places[i]);
        if (strncmp(path, places[i], strlen(places[i])) == 0) return name[0] != '.' && name[strspn(name, plain)] == '\0';
    }
    return false;
}

/* What is no longer as it was listed has become somebody's own, and so has what is no file any more. */
static ds_status remove_listed(const ds_folder *folder, const char *name, const char *listed) {
    char digest[DIGITS + 1];
    if (ds_sha256_file(digest, folder, name, MOST_BYTES) != DS_OK) {
        ds_error_clear();
        return DS_OK;
    }
    return memcmp(digest, listed, DIGITS) == 0 ? ds_folder_remove(folder, name) : DS_OK;
}

/* Lines of 64 digits, two spaces and a path; others are passed over. A list that cannot be read lists nothing. */
static ds_status remove_stale(const ds_manifest *manifest, const ds_folder *folder) {
    ds_status status = DS_OK;
    char *lines = NULL, *rest = NULL;
    size_t length;
    if (ds_read_file_in(&lines, &length, folder, list_name, MOST_BYTES) != DS_OK) {
        ds_error_clear();
        return DS_OK;
    }
    for (char *line = strtok_r(lines, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest)) {
        bool whole = strspn(line, "0123456789abcdef") == DIGITS && strncmp(line + DIGITS, "  ", 2) == 0;
        const char *name = line + DIGITS + 2;
        if (whole && is_ours(name) && !has(manifest, name)) DS_TRY(remove_listed(folder, name, line));
    }
done:
    free(lines);
    return status;
}

ds_status ds_manifest_replace(const ds_manifest *manifest, const ds_folder *folder) {
    ds_status status = DS_OK;
    ds_text lines = {0};
    DS_TRY(remove_stale(manifest, folder));
    for (size_t i = 0; i < manifest->count; i++) {
        char digest[DIGITS + 1];
        DS_TRY(ds_sha256_file(digest, folder, manifest->paths[i], MOST_BYTES));
        DS_TRY(ds_text_printf(&lines, "%s  %s\n", digest, manifest->paths[i]));
    }
    DS_TRY(ds_write_file_in(folder, list_name, lines.bytes, lines.length));
done:
    ds_text_release(&lines);
    return status;
}
