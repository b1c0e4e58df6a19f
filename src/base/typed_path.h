/* Where a path that somebody typed leads: links are followed, but not those that a stranger can have laid there. */
#ifndef DELTASCOPE_BASE_TYPED_PATH_H
#define DELTASCOPE_BASE_TYPED_PATH_H

#include <sys/stat.h>

#include "deltascope/base.h"

typedef struct ds_typed_path {
    int folder; /* O_PATH: holds the entry `name`; -1: nothing that could be named does */
    char *name;
    int inside;   /* of a folder: itself (O_PATH) */
    bool made;    /* its last part was missing and has been made */
    bool special; /* of a file: a pipe or a device, and nothing to replace */
    bool magic;   /* the kernel alone knows where the entry leads (/proc/self/fd/1) */
} ds_typed_path;

/* What the path of one file leads to, whether or not it is there: `name` is no link. */
ds_status ds_typed_path_of_file(ds_typed_path *found, const char *path) DS_MUST_CHECK;
/* What the path of a folder leads to; with `make`, missing parts are made. */
ds_status ds_typed_path_of_folder(ds_typed_path *found, const char *path, bool make) DS_MUST_CHECK;
void ds_typed_path_release(ds_typed_path *found);
/* Removes the folder if it is empty and still has its name. */
void ds_typed_path_remove(const ds_typed_path *found);

/* Whether `entry` of `folder` may be a trap: in a sticky folder that everybody may write, such as /tmp, what neither `user` nor
 * the folder's owner laid there. The rule of Linux for links and pipes (fs.protected_symlinks), which not every system has on,
 * and which reading a link and opening what it names goes around. */
bool ds_is_laid_by_others(const struct stat *folder, const struct stat *entry, uid_t user);

#endif
