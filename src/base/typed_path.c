/* A typed path is walked part by part, each opened from the folder above, so that the link that is judged is the link that is
 * followed. */
#include "typed_path.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

enum { MOST_LINKS = 40 }; /* the kernel's own limit */

typedef struct walk {
    const char *typed; /* for sentences */
    int at, above;     /* the folder arrived at; the one that holds it as `name`, -1 where it has no name there */
    char name[NAME_MAX + 1];
    char *rest;          /* still to go */
    const char *trouble; /* what a part that cannot be opened means for the whole */
    size_t links;
    bool make, made;
} walk;

static ds_status system_failure(const walk *w, const char *what) {
    return ds_fail(DS_ERR_SYSTEM, "%s: %s: %s", DS_SHOW(w->typed), what, strerror(errno));
}

bool ds_is_laid_by_others(const struct stat *folder, const struct stat *entry, uid_t user) {
    const mode_t shared = S_ISVTX | S_IWOTH;
    return (folder->st_mode & shared) == shared && entry->st_uid != user && entry->st_uid != folder->st_uid;
}

static ds_status refuse_others(const walk *w, const char *part, const struct stat *entry) {
    struct stat folder;
    if (fstat(w->at, &folder) != 0) return system_failure(w, "cannot be examined");
    if (!ds_is_laid_by_others(&folder, entry, geteuid())) return DS_OK;
    return ds_fail(DS_ERR_SYSTEM,
                   "%s: \"%s\" is a %s of another user in a folder that everybody may write, and is not followed: remove it or "
                   "choose another path",
                   DS_SHOW(w->typed), DS_SHOW(part), S_ISLNK(entry->st_mode) ? "link" : "pipe or device");
}

/* ---- steps ------------------------------------------------------------------------------------------------------- */

static void close_both(walk *w) {
    if (w->at >= 0) (void)close(w->at);
    if (w->above >= 0) (void)close(w->above);
    w->at = w->above = -1;
}

/* To a folder that is not looked for under a name: the root, "..", where a link of the kernel's leads. */
static ds_status jump(walk *w, const char *part, int flags) {
    const int next = openat(w->at, part, O_PATH | O_DIRECTORY | O_CLOEXEC | flags);
    if (next < 0) return system_failure(w, w->trouble);
    close_both(w);
    w->at = next;
    return DS_OK;
}

static void enter(walk *w, const char *part, int next) {
    if (w->above >= 0) (void)close(w->above);
    w->above = w->at;
    w->at = next;
    (void)snprintf(w->name, sizeof w->name, "%s", part);
}

/* Takes the next part off the way: false at its end. *last tells that nothing is behind it, not even a slash. */
static bool take_part(walk *w, char part[NAME_MAX + 1], bool *last) {
    const char *from = w->rest + strspn(w->rest, "/");
    const size_t length = strcspn(from, "/");
    if (length == 0) return false;
    (void)snprintf(part, NAME_MAX + 1, "%.*s", (int)length, from);
    *last = from[length] == '\0';
    memmove(w->rest, from + length, strlen(from + length) + 1);
    return true;
}

/* `way`, freed by the walk, is what is still to go. */
static ds_status set_rest(walk *w, char *way) {
    free(w->rest);
    w->rest = way;
    for (const char *part = way; *part != '\0'; part += strspn(part, "/")) {
        const size_t length = strcspn(part, "/");
        if (length > NAME_MAX)
            return ds_fail(DS_ERR_SYSTEM, "%s: a name on the way is longer than %d bytes", DS_SHOW(w->typed), NAME_MAX);
        part += length;
    }
    return DS_OK;
}

/* The way goes on with what the link says. */
static ds_status follow(walk *w, int link) {
    ds_status status = DS_OK;
    ds_text way = {0};
    char target[PATH_MAX];
    const ssize_t length = readlinkat(link, "", target, sizeof target);
    if (length == (ssize_t)sizeof target) errno = ENAMETOOLONG;
    if (length <= 0 || length == (ssize_t)sizeof target) return system_failure(w, "a link on the way cannot be read");
    if (w->links++ == MOST_LINKS)
        return ds_fail(DS_ERR_SYSTEM, "%s: more than %d links on the way", DS_SHOW(w->typed), MOST_LINKS);
    DS_TRY(ds_text_append(&way, target, (size_t)length));
    DS_TRY(ds_text_append(&way, w->rest, strlen(w->rest))); /* which is empty or begins with a slash */
    char *rest = way.bytes;
    way = (ds_text){0};
    DS_TRY(set_rest(w, rest));
    if (rest[0] == '/') DS_TRY(jump(w, "/", 0));
done:
    ds_text_release(&way);
    return status;
}

/* Links of /proc name what may have no path at all, so the kernel follows them. */
static bool is_magic(int folder) {
    struct statfs system;
    return fstatfs(folder, &system) == 0 && system.f_type == PROC_SUPER_MAGIC;
}

/* The part, a descriptor of what it is and its kind; *entry < 0: nothing of that name is there. */
static ds_status look(int *entry, struct stat *info, walk *w, const char *part) {
    *entry = openat(w->at, part, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (*entry < 0 && errno == ENOENT && w->make) {
        if (mkdirat(w->at, part, 0777) == 0)
            w->made = true;
        else if (errno != EEXIST)
            return system_failure(w, "folder cannot be made");
        *entry = openat(w->at, part, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    }
    if (*entry < 0) return errno == ENOENT ? DS_OK : system_failure(w, w->trouble);
    if (fstat(*entry, info) == 0) return DS_OK;
    const ds_status status = system_failure(w, "cannot be examined");
    (void)close(*entry);
    *entry = -1;
    return status;
}

/* Into the folder `part`, or wherever a link of that name leads. */
static ds_status go_on(walk *w, const char *part) {
    struct stat info;
    int entry;
    w->made = false;
    if (strcmp(part, ".") == 0) return DS_OK;
    if (strcmp(part, "..") == 0) return jump(w, part, O_NOFOLLOW);
    ds_status status = look(&entry, &info, w, part);
    if (status != DS_OK) return status;
    if (entry < 0) {
        errno = ENOENT;
        return system_failure(w, w->make ? "folder cannot be made" : w->trouble);
    }
    if (S_ISDIR(info.st_mode)) {
        enter(w, part, entry);
        return DS_OK;
    }
    if (!S_ISLNK(info.st_mode)) {
        status = ds_fail(DS_ERR_SYSTEM, "%s: \"%s\" exists and is not a folder", DS_SHOW(w->typed), DS_SHOW(part));
    } else {
        status = refuse_others(w, part, &info);
        if (status == DS_OK) status = is_magic(w->at) ? jump(w, part, 0) : follow(w, entry);
    }
    (void)close(entry);
    return status;
}

static ds_status begin(walk *w, const char *path, const char *trouble, bool make) {
    *w = (walk){.typed = path, .at = -1, .above = -1, .trouble = trouble, .make = make};
    char *way = ds_strdup(path);
    if (way == NULL) return DS_ERR_SYSTEM;
    ds_status status = set_rest(w, way);
    if (status != DS_OK) return status;
    if (path[0] == '\0') {
        errno = ENOENT;
        return system_failure(w, "no path");
    }
    w->at = open(path[0] == '/' ? "/" : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    return w->at < 0 ? system_failure(w, w->trouble) : DS_OK;
}

/* ---- ends -------------------------------------------------------------------------------------------------------- */

static ds_status arrive(ds_typed_path *found, walk *w, const char *name) {
    found->name = ds_strdup(name);
    if (found->name == NULL) return DS_ERR_SYSTEM;
    found->folder = w->at;
    w->at = -1;
    return DS_OK;
}

/* At the last part of the way to a file: *there, or the way goes on behind a link. */
static ds_status end_at(bool *there, ds_typed_path *found, walk *w, const char *part) {
    struct stat info, behind;
    int entry;
    ds_status status = look(&entry, &info, w, part);
    *there = true;
    if (status != DS_OK) return status;
    if (entry < 0 || S_ISREG(info.st_mode) || S_ISDIR(info.st_mode)) goto done;
    DS_TRY(refuse_others(w, part, &info));
    if (!S_ISLNK(info.st_mode)) {
        found->special = true;
    } else if (is_magic(w->at) && fstatat(w->at, part, &behind, 0) == 0 && (!S_ISREG(behind.st_mode) || behind.st_nlink == 0)) {
        found->special = found->magic = true;
    } else {
        *there = false;
        status = follow(w, entry);
    }
done:
    if (entry >= 0) (void)close(entry);
    if (status == DS_OK && *there) status = arrive(found, w, part);
    return status;
}

ds_status ds_typed_path_of_file(ds_typed_path *found, const char *path) {
    ds_status status = DS_OK;
    char part[NAME_MAX + 1];
    bool last, there = false;
    walk w;
    *found = (ds_typed_path){.folder = -1, .inside = -1};
    DS_TRY(begin(&w, path, "cannot be written", false));
    while (!there && take_part(&w, part, &last)) {
        if (last && strcmp(part, ".") != 0 && strcmp(part, "..") != 0)
            DS_TRY(end_at(&there, found, &w, part));
        else
            DS_TRY(go_on(&w, part));
    }
    if (!there) status = ds_fail(DS_ERR_SYSTEM, "%s: cannot be written: it is a folder", DS_SHOW(path));
done:
    close_both(&w);
    free(w.rest);
    if (status != DS_OK) ds_typed_path_release(found);
    return status;
}

ds_status ds_typed_path_of_folder(ds_typed_path *found, const char *path, bool make) {
    ds_status status = DS_OK;
    char part[NAME_MAX + 1];
    bool last;
    walk w;
    *found = (ds_typed_path){.folder = -1, .inside = -1};
    DS_TRY(begin(&w, path, "cannot be opened", make));
    while (take_part(&w, part, &last)) DS_TRY(go_on(&w, part));
    found->inside = w.at;
    found->folder = w.above;
    found->made = w.made && w.above >= 0;
    w.at = w.above = -1;
    found->name = ds_strdup(w.name);
    if (found->name == NULL) status = DS_ERR_SYSTEM;
done:
    close_both(&w);
    free(w.rest);
    if (status != DS_OK) ds_typed_path_release(found);
    return status;
}

void ds_typed_path_release(ds_typed_path *found) {
    if (found->folder >= 0) (void)close(found->folder);
    if (found->inside >= 0) (void)close(found->inside);
    free(found->name);
    *found = (ds_typed_path){.folder = -1, .inside = -1};
}

void ds_typed_path_remove(const ds_typed_path *found) {
    struct stat named, ours;
    if (fstatat(found->folder, found->name, &named, AT_SYMLINK_NOFOLLOW) == 0 && fstat(found->inside, &ours) == 0 &&
        named.st_dev == ours.st_dev && named.st_ino == ours.st_ino)
        (void)unlinkat(found->folder, found->name, AT_REMOVEDIR);
}
