#include "weight_files.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { MOST_ENTRIES = 100000, MOST_SHOWN = 8 };

const char *const ds_usual_names[DS_USUAL_NAMES] = {"model.safetensors", "model.safetensors.index.json", "pytorch_model.bin",
                                                    "pytorch_model.bin.index.json",
                                                    "ckpt.pt" /* what training scripts leave */};

ds_status ds_join(char **out, const char *folder, const char *name) {
    ds_text path = {0};
    size_t length = strlen(folder);
    const char *separator = length > 0 && folder[length - 1] == '/' ? "" : "/";
    ds_status status = ds_text_printf(&path, "%s%s%s", folder, separator, name);
    *out = path.bytes;
    return status;
}

ds_status ds_is_present(bool *present, const char *path) {
    struct stat info;
    *present = lstat(path, &info) == 0;
    if (*present || errno == ENOENT || errno == ENOTDIR) return DS_OK;
    return ds_fail(DS_ERR_SYSTEM, "%s: cannot be examined: %s", DS_SHOW(path), strerror(errno));
}

/* ---- what there is ----------------------------------------------------------------------------------------------- */

typedef struct name_list {
    char **names;
    size_t count, capacity;
} name_list;

static ds_status add_name(name_list *list, const char *name) {
    void *grown = list->names;
    ds_status status = ds_grow(&grown, &list->capacity, list->count + 1, sizeof *list->names);
    list->names = grown;
    if (status != DS_OK) return status;
    list->names[list->count] = ds_strdup(name);
    return list->names[list->count++] == NULL ? DS_ERR_SYSTEM : DS_OK;
}

static void release_names(name_list *list) {
    for (size_t i = 0; i < list->count; i++) free(list->names[i]);
    free(list->names);
}

static int by_text(const void *left, const void *right) { return strcmp(*(char *const *)left, *(char *const *)right); }

/* All names of the folder but hidden ones, in bytewise order. */
static ds_status list_folder(name_list *list, const char *folder) {
    ds_status status = DS_OK;
    DIR *stream = opendir(folder);
    if (stream == NULL) return ds_fail(DS_ERR_SYSTEM, "%s: cannot be listed: %s", DS_SHOW(folder), strerror(errno));
    for (const struct dirent *entry; (entry = readdir(stream)) != NULL && list->count < MOST_ENTRIES;) {
        if (entry->d_name[0] != '.') DS_TRY(add_name(list, entry->d_name));
    }
    if (list->count > 1) qsort(list->names, list->count, sizeof *list->names, by_text);
done:
    (void)closedir(stream);
    return status;
}

/* Files that training scripts leave beside the weights in the same formats. */
static bool is_of_training(const char *name) {
    static const char *const fronts[] = {"scheduler", "scaler", "rng_state", "random_states", "training_args", "sampler"};
    if (strstr(name, "optim") != NULL) return true;
    for (size_t i = 0; i < sizeof fronts / sizeof fronts[0]; i++) {
        if (strncmp(name, fronts[i], strlen(fronts[i])) == 0) return true;
    }
    return false;
}

/* By its name, and, since token files are called .bin as well, by its first bytes. */
static ds_status is_weight_file(bool *is, const char *folder, const char *name) {
    static const char *const pickled[] = {".pt", ".pth", ".bin", ".ckpt"};
    ds_status status = DS_OK;
    char *path = NULL;
    ds_source source = {.descriptor = -1};
    const char *dot = strrchr(name, '.');
    struct stat info;
    char front[4] = "";
    bool torch = false;
    *is = false;
    for (size_t i = 0; dot != NULL && i < sizeof pickled / sizeof pickled[0]; i++) torch |= strcmp(dot, pickled[i]) == 0;
    if (dot == NULL || (!torch && strcmp(dot, ".safetensors") != 0) || is_of_training(name)) return DS_OK;
    DS_TRY(ds_join(&path, folder, name));
    if (stat(path, &info) != 0 || !S_ISREG(info.st_mode)) goto done;
    *is = !torch;
    if (!torch || info.st_size < (off_t)sizeof front) goto done;
    DS_TRY(ds_source_open(&source, path));
    status = ds_source_read(&source, front, 0, sizeof front);
    ds_source_close(&source);
    *is = status == DS_OK && memcmp(front, "PK\3\4", 4) == 0;
done:
    free(path);
    return status;
}

/* Whether a folder in this one is a checkpoint by the look of it. */
static ds_status is_checkpoint_folder(bool *is, const char *folder, const char *name) {
    ds_status status = DS_OK;
    char *path = NULL, *inside = NULL;
    struct stat info;
    *is = false;
    DS_TRY(ds_join(&path, folder, name));
    if (stat(path, &info) != 0 || !S_ISDIR(info.st_mode)) goto done;
    for (size_t i = 0; i < DS_USUAL_NAMES && !*is; i++) {
        free(inside);
        inside = NULL;
        DS_TRY(ds_join(&inside, path, ds_usual_names[i]));
        DS_TRY(ds_is_present(is, inside));
    }
done:
    free(inside);
    free(path);
    return status;
}

/* Keeps what passes. */
static ds_status sift(name_list *list, const name_list *all, const char *folder,
                      ds_status (*passes)(bool *is, const char *folder, const char *name)) {
    ds_status status = DS_OK;
    for (size_t i = 0; i < all->count; i++) {
        bool is;
        DS_TRY(passes(&is, folder, all->names[i]));
        if (is) DS_TRY(add_name(list, all->names[i]));
    }
done:
    return status;
}

/* ---- choosing ---------------------------------------------------------------------------------------------------- */

static ds_status append_names(ds_text *text, const name_list *list) {
    ds_status status = DS_OK;
    for (size_t i = 0; i < list->count && i < MOST_SHOWN; i++)
        DS_TRY(ds_text_printf(text, "%s%s", i == 0 ? "" : ", ", DS_SHOW(list->names[i])));
    if (list->count > MOST_SHOWN) DS_TRY(ds_text_printf(text, " and %zu more", list->count - MOST_SHOWN));
done:
    return status;
}

static ds_status refuse(const char *folder, const name_list *files, const name_list *folders) {
    ds_status status = DS_OK;
    ds_text found = {0};
    if (files->count > 0)
        DS_TRY(append_names(&found, files));
    else
        DS_TRY(append_names(&found, folders));
    if (files->count > 0)
        status =
            ds_fail(DS_ERR_INPUT,
                    "%s: several weight files in the folder: %s; pass the one you mean, with --config where no config.json "
                    "is beside it",
                    DS_SHOW(folder), found.bytes);
    else
        status = ds_fail(DS_ERR_INPUT,
                         "%s: no checkpoint file in the folder, expected %s, %s, %s, %s, %s or one other .safetensors, .pt, "
                         ".pth, .bin or .ckpt file%s%s",
                         DS_SHOW(folder), ds_usual_names[0], ds_usual_names[1], ds_usual_names[2], ds_usual_names[3],
                         ds_usual_names[4], folders->count > 0 ? "; pass one of the folders in it: " : "",
                         folders->count > 0 ? found.bytes : "");
done:
    ds_text_release(&found);
    return status;
}

ds_status ds_only_weight_file(char **path, const char *folder) {
    ds_status status = DS_OK;
    name_list all = {0}, files = {0}, folders = {0};
    *path = NULL;
    DS_TRY(list_folder(&all, folder));
    DS_TRY(sift(&files, &all, folder, is_weight_file));
    if (files.count == 1) {
        status = ds_join(path, folder, files.names[0]);
        goto done;
    }
    DS_TRY(sift(&folders, &all, folder, is_checkpoint_folder));
    status = refuse(folder, &files, &folders);
done:
    release_names(&folders);
    release_names(&files);
    release_names(&all);
    return status;
}
