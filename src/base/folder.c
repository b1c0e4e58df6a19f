/* Folders that results go into. A folder may have come from a stranger, so its path is walked once, when it is opened; what is
 * below is reached from the descriptor, and no link there is followed. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "folder.h"
#include "typed_path.h"

struct ds_folder {
    char *path;
    int descriptor;
    ds_typed_path made; /* by us: closing it takes it away again if nothing was put into it */
};

static ds_status system_failure(const char *path, const char *what) {
    return ds_fail(DS_ERR_SYSTEM, "%s: %s: %s", DS_SHOW(path), what, strerror(errno));
}

/* ---- the way down ------------------------------------------------------------------------------------------------ */

ds_status ds_folder_show(ds_text *text, const ds_folder *folder, const char *path) {
    return folder == NULL ? ds_text_printf(text, "%s", path) : ds_text_printf(text, "%s/%s", folder->path, path);
}

static ds_status refuse(const ds_folder *folder, const char *path, size_t length, const char *what) {
    ds_status status = DS_OK;
    ds_text shown = {0};
    DS_TRY(ds_folder_show(&shown, folder, path));
    shown.bytes[shown.length - (strlen(path) - length)] = '\0';
    status = ds_fail(DS_ERR_SYSTEM, "%s: %s", DS_SHOW(shown.bytes), what);
done:
    ds_text_release(&shown);
    return status;
}

/* Another descriptor of `at`, closed, becomes that of its folder `name`. */
static int step(int at, const char *name, bool make) {
    int next = openat(at, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (next < 0 && errno == ENOENT && make && (mkdirat(at, name, 0777) == 0 || errno == EEXIST))
        next = openat(at, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    int error = errno;
    (void)close(at);
    errno = error;
    return next;
}

ds_status ds_folder_descend(int *descriptor, const char **name, const ds_folder *folder, const char *path, bool make) {
    ds_status status = DS_OK;
    const char *part = path;
    int at = fcntl(folder->descriptor, F_DUPFD_CLOEXEC, 0);
    *descriptor = -1;
    *name = path;
    if (at < 0) return system_failure(folder->path, "cannot be opened");
    for (;;) {
        size_t length = strcspn(part, "/");
        char own[NAME_MAX + 1];
        if (length == 0 || length > NAME_MAX || strspn(part, ".") == length) {
            status = refuse(folder, path, strlen(path), "not a path below the folder");
            break;
        }
        if (part[length] == '\0') {
            *descriptor = at;
            *name = part;
            return DS_OK;
        }
        memcpy(own, part, length);
        own[length] = '\0';
        at = step(at, own, make);
        part += length + 1;
        if (at >= 0) continue;
        bool other = errno == ENOTDIR || errno == ELOOP;
        status = refuse(folder, path, (size_t)(part - 1 - path),
                        other ? "a link or a file lies where a folder is needed, and links are not followed below the output "
                                "folder: remove it or choose another folder"
                              : strerror(errno));
        break;
    }
    if (at >= 0) (void)close(at);
    return status;
}

/* ---- opening ----------------------------------------------------------------------------------------------------- */

ds_status ds_folder_check(const char *path) {
    struct stat info;
    if (stat(path, &info) != 0 || S_ISDIR(info.st_mode)) return DS_OK;
    return ds_fail(DS_ERR_SYSTEM, "%s: exists and is not a folder", DS_SHOW(path));
}

ds_status ds_make_folder(const char *path) {
    ds_typed_path found;
    const ds_status status = ds_typed_path_of_folder(&found, path, true);
    ds_typed_path_release(&found);
    return status;
}

static ds_status new_folder(ds_folder **out, const ds_folder *parent, const char *path) {
    ds_status status = DS_OK;
    ds_folder *folder = NULL;
    ds_text shown = {0};
    DS_NEW(folder, 1);
    folder->descriptor = folder->made.folder = folder->made.inside = -1;
    DS_TRY(ds_folder_show(&shown, parent, path));
    folder->path = shown.bytes;
done:
    if (status != DS_OK) ds_folder_close(&folder);
    *out = folder;
    return status;
}

ds_status ds_folder_open(ds_folder **out, const char *path) {
    ds_status status = DS_OK;
    ds_folder *folder = NULL;
    *out = NULL;
    DS_TRY(new_folder(&folder, NULL, path));
    DS_TRY(ds_typed_path_of_folder(&folder->made, path, true));
    folder->descriptor = openat(folder->made.inside, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder->descriptor < 0) status = system_failure(path, "cannot be opened");
done:
    if (status != DS_OK) ds_folder_close(&folder);
    *out = folder;
    return status;
}

ds_status ds_folder_open_in(ds_folder **out, const ds_folder *parent, const char *path) {
    ds_status status = DS_OK;
    ds_folder *folder = NULL;
    ds_text inside = {0};
    const char *name;
    *out = NULL;
    DS_TRY(new_folder(&folder, parent, path));
    DS_TRY(ds_text_printf(&inside, "%s/x", path)); /* the folder is on the way to what is in it */
    DS_TRY(ds_folder_descend(&folder->descriptor, &name, parent, inside.bytes, true));
done:
    if (status != DS_OK) ds_folder_close(&folder);
    ds_text_release(&inside);
    *out = folder;
    return status;
}

void ds_folder_close(ds_folder **pointer) {
    ds_folder *folder = *pointer;
    if (folder == NULL) return;
    if (folder->made.made) ds_typed_path_remove(&folder->made); /* fails, as it should, where there is something in it */
    ds_typed_path_release(&folder->made);
    if (folder->descriptor >= 0) (void)close(folder->descriptor);
    free(folder->path);
    free(folder);
    *pointer = NULL;
}

const char *ds_folder_path(const ds_folder *folder) { return folder->path; }

ds_status ds_folder_lock(const ds_folder *folder) {
    if (flock(folder->descriptor, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) return DS_OK;
    return ds_fail(DS_ERR_SYSTEM, "%s: another run is writing into this folder: wait for its end or choose another folder",
                   DS_SHOW(folder->path));
}

/* ---- what is there ----------------------------------------------------------------------------------------------- */

/* A file with a second name would be changed wherever that one lies. -1 with EMLINK for one. */
static int refuse_shared(int descriptor) {
    struct stat info;
    if (descriptor < 0 || fstat(descriptor, &info) != 0 || !S_ISREG(info.st_mode) || info.st_nlink < 2) return descriptor;
    (void)close(descriptor);
    errno = EMLINK;
    return -1;
}

static int find_in(int parent, const char *name, int flags) {
    int descriptor = openat(parent, name, flags | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY, 0666);
    if ((flags & O_PATH) == 0 && (flags & O_ACCMODE) != O_RDONLY) descriptor = refuse_shared(descriptor);
    return descriptor;
}

/* By a typed path, to write. */
static int find_typed(const char *path, int flags) {
    ds_typed_path found;
    if (ds_typed_path_of_file(&found, path) != DS_OK) {
        errno = ENOTDIR;
        return -1;
    }
    const int descriptor = find_in(found.folder, found.name, flags), error = errno;
    ds_typed_path_release(&found);
    errno = error;
    return descriptor;
}

int ds_folder_find(const ds_folder *folder, const char *path, int flags) {
    const char *name;
    int parent;
    if (folder == NULL && (flags & O_ACCMODE) == O_RDONLY) return open(path, flags | O_NONBLOCK | O_CLOEXEC | O_NOCTTY, 0666);
    if (folder == NULL) return find_typed(path, flags);
    if (ds_folder_descend(&parent, &name, folder, path, (flags & O_CREAT) != 0) != DS_OK) {
        errno = ENOTDIR;
        return -1;
    }
    const int descriptor = find_in(parent, name, flags), error = errno;
    (void)close(parent);
    errno = error;
    return descriptor;
}

bool ds_folder_holds(const ds_folder *folder, const char *path) {
    int descriptor = ds_folder_find(folder, path, O_RDONLY);
    if (descriptor >= 0) (void)close(descriptor);
    return descriptor >= 0;
}

ds_status ds_folder_each(const ds_folder *folder, ds_status (*visit)(void *context, const char *name), void *context) {
    ds_status status = DS_OK;
    int descriptor = openat(folder->descriptor, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *entries = descriptor < 0 ? NULL : fdopendir(descriptor);
    if (entries == NULL) {
        status = system_failure(folder->path, "cannot be listed");
        if (descriptor >= 0) (void)close(descriptor);
        return status;
    }
    for (struct dirent *entry; status == DS_OK && (entry = readdir(entries)) != NULL;) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) status = visit(context, entry->d_name);
    }
    (void)closedir(entries);
    return status;
}

ds_status ds_folder_remove(const ds_folder *folder, const char *path) {
    ds_status status = DS_OK;
    const char *name;
    int parent;
    DS_TRY(ds_folder_descend(&parent, &name, folder, path, false));
    int failed = unlinkat(parent, name, 0);
    if (failed != 0 && errno == EISDIR) failed = unlinkat(parent, name, AT_REMOVEDIR);
    if (failed != 0 && errno != ENOENT) status = refuse(folder, path, strlen(path), strerror(errno));
    (void)close(parent);
done:
    return status;
}
