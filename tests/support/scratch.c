#include "scratch.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "/tmp/deltascope-test-XXXXXX";
static char *paths[4096];
static size_t path_count;

static void die(const char *what) {
    perror(what);
    abort();
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *walk) {
    (void)info, (void)kind, (void)walk;
    return remove(path);
}

static void clean_up(void) {
    (void)nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    while (path_count > 0) free(paths[--path_count]);
}

const char *scratch_path(const char *name) {
    if (path_count == 0) {
        if (mkdtemp(folder) == NULL) die(folder);
        (void)atexit(clean_up);
    }
    char *path = malloc(sizeof folder + strlen(name) + 1);
    if (path == NULL || path_count == sizeof paths / sizeof paths[0]) die("too many scratch files");
    (void)sprintf(path, "%s/%s", folder, name);
    for (size_t i = 0; i < path_count; i++) {
        if (strcmp(paths[i], path) != 0) continue;
        free(path);
        return paths[i];
    }
    return paths[path_count++] = path;
}

const char *scratch_write(const char *name, const void *bytes, size_t length) {
    const char *path = scratch_path(name);
    char *slash = strrchr(path + sizeof folder, '/');
    if (slash != NULL) {
        *slash = '\0';
        (void)mkdir(path, 0700);
        *slash = '/';
    }
    FILE *file = fopen(path, "wb");
    if (file == NULL || (length > 0 && fwrite(bytes, 1, length, file) != length) || fclose(file) != 0) die(path);
    return path;
}
