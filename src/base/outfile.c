/* Files written whole or not at all: a file without a name in the same folder, fsync, a temporary name, rename. Where the file
 * system knows no files without names, the temporary has its name from the start. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "folder.h"
#include "typed_path.h"

enum { MAX_OPEN = 64, LOCK_SECONDS = 5, LOCK_TRIES = 100 };

struct ds_outfile {
    FILE *stream;
    char *path;             /* for sentences */
    int folder;             /* that the file lies in */
    char *name, *temporary; /* there */
    bool unnamed;           /* nothing has the temporary's name yet */
    size_t slot;
};

/* Whose temporaries a signal handler may still have to remove: a slot is filled before the name exists and emptied after it has
 * been renamed or removed. Figures are drawn by several threads. */
static _Atomic(ds_outfile *) unfinished[MAX_OPEN];

static ds_status system_failure(const char *path, const char *what) {
    return ds_fail(DS_ERR_SYSTEM, "%s: %s: %s", DS_SHOW(path), what, strerror(errno));
}

static ds_status claim_slot(ds_outfile *file) {
    for (size_t i = 0; i < MAX_OPEN; i++) {
        ds_outfile *empty = NULL;
        if (!atomic_compare_exchange_strong(&unfinished[i], &empty, file)) continue;
        file->slot = i;
        return DS_OK;
    }
    return ds_fail(DS_ERR_SYSTEM, "%s: more than %d files are being written at once", DS_SHOW(file->path), MAX_OPEN);
}

/* ---- temporaries ------------------------------------------------------------------------------------------------- */

static const char suffix[] = ".tmp."; /* and 16 hexadecimal digits */

/* How much of the target's name a temporary has: with the rest it is still a name. */
static size_t base_length(const char *name) { return strnlen(name, NAME_MAX - (sizeof suffix - 1) - 16); }

/* Beside the target, with 64 random bits in its name. */
static ds_status name_temporary(char **temporary, const char *name) {
    uint64_t random = 0;
    ds_text text = {0};
    if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random) return system_failure(name, "no random name");
    ds_status status = ds_text_printf(&text, "%.*s%s%016" PRIx64, (int)base_length(name), name, suffix, random);
    if (status == DS_OK)
        *temporary = text.bytes;
    else
        ds_text_release(&text);
    return status;
}

/* A file without a name in the folder, which nothing can leave behind; -1 where there are none, or where one could not be given
 * a name later. */
static int open_unnamed(int folder) {
    if (access("/proc/self/fd", X_OK) != 0) return -1;
    return openat(folder, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0666);
}

/* Another run that looks whether the file is a leftover holds its lock for a moment; whoever holds it for longer wants us to
 * wait. False where the lock is not to be had; a file system without locks is as good as one: there leftovers stay. */
static bool lock_soon(int descriptor) {
    const struct timespec pause = {.tv_nsec = 10000000};
    for (double until = ds_seconds() + LOCK_SECONDS; flock(descriptor, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;) {
        if (ds_seconds() > until) return false;
        (void)nanosleep(&pause, NULL);
    }
    return true;
}

/* A new file of that name, locked: the lock tells other runs that its writer lives. One of them may have removed the file
 * between its creation and the lock: then it is made again. -1 with EDEADLK for a lock that is not given up. */
static int open_named(int folder, const char *name) {
    for (size_t tries = 0; tries < LOCK_TRIES; tries++) {
        struct stat info;
        int descriptor = openat(folder, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
        if (descriptor < 0) return -1;
        const bool locked = lock_soon(descriptor);
        if (locked && (fstat(descriptor, &info) != 0 || info.st_nlink > 0)) return descriptor;
        (void)close(descriptor);
        if (locked) continue;
        (void)unlinkat(folder, name, 0);
        break;
    }
    errno = EDEADLK;
    return -1;
}

static ds_status refuse_temporary(const char *path, const char *what) {
    if (errno != EDEADLK) return system_failure(path, what);
    return ds_fail(DS_ERR_SYSTEM,
                   "%s: %s: another process keeps taking the temporary file beside it or its lock: end that process or "
                   "choose another folder",
                   DS_SHOW(path), what);
}

/* Whether `name` is what name_temporary calls a temporary of the file `base`. */
static bool is_temporary(const char *name, const char *base) {
    size_t length = base_length(base);
    if (strncmp(name, base, length) != 0 || strncmp(name + length, suffix, sizeof suffix - 1) != 0) return false;
    const char *digits = name + length + sizeof suffix - 1;
    return strlen(digits) == 16 && strspn(digits, "0123456789abcdef") == 16;
}

/* Removes what runs that were killed while they wrote this file left behind: temporaries whose lock nobody holds. */
static void remove_leftovers(int folder, const char *base) {
    int listed = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *entries = listed < 0 ? NULL : fdopendir(listed);
    if (entries == NULL && listed >= 0) (void)close(listed);
    for (struct dirent *entry = NULL; entries != NULL && (entry = readdir(entries)) != NULL;) {
        struct stat info;
        if (!is_temporary(entry->d_name, base)) continue;
        int descriptor = openat(folder, entry->d_name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        if (descriptor < 0) continue;
        if (fstat(descriptor, &info) == 0 && S_ISREG(info.st_mode) && flock(descriptor, LOCK_EX | LOCK_NB) == 0)
            (void)unlinkat(folder, entry->d_name, 0);
        (void)close(descriptor);
    }
    if (entries != NULL) (void)closedir(entries);
}

ds_status ds_spool_open(FILE **spool, const char *path) {
    ds_status status = DS_OK;
    ds_typed_path place;
    char *name = NULL;
    int descriptor = -1;
    *spool = NULL;
    DS_TRY(ds_typed_path_of_file(&place, path));
    descriptor = open_unnamed(place.folder);
    if (descriptor < 0) {
        DS_TRY(name_temporary(&name, place.name));
        descriptor = open_named(place.folder, name);
        if (descriptor >= 0) (void)unlinkat(place.folder, name, 0);
    }
    if (descriptor >= 0) *spool = fdopen(descriptor, "w+");
    if (*spool == NULL) {
        status = refuse_temporary(path, "no temporary file could be made beside it");
        if (descriptor >= 0) (void)close(descriptor);
    }
done:
    ds_typed_path_release(&place);
    free(name);
    return status;
}

/* ---- files under construction ------------------------------------------------------------------------------------ */

/* Where the file goes below a folder: file->path, folder and name. */
static ds_status find_place(ds_outfile *file, const ds_folder *folder, const char *path) {
    ds_status status = DS_OK;
    ds_text shown = {0};
    const char *name;
    DS_TRY(ds_folder_show(&shown, folder, path));
    file->path = shown.bytes;
    DS_TRY(ds_folder_descend(&file->folder, &name, folder, path, true));
    file->name = ds_strdup(name);
    if (file->name == NULL) status = DS_ERR_SYSTEM;
done:
    return status;
}

/* A pipe or a device (/dev/stdout, /dev/null, process substitution) is written straight through: there is nothing to replace.
 */
static ds_status open_special(ds_outfile *file, const ds_typed_path *place) {
    const int descriptor =
        openat(place->folder, place->name, O_WRONLY | O_TRUNC | O_NOCTTY | O_CLOEXEC | (place->magic ? 0 : O_NOFOLLOW));
    if (descriptor >= 0) file->stream = fdopen(descriptor, "w");
    if (file->stream != NULL) return DS_OK;
    const ds_status status = system_failure(file->path, "cannot be opened for writing");
    if (descriptor >= 0) (void)close(descriptor);
    return status;
}

/* Where it goes by a typed path: the file a link leads to is what gets replaced, not the link. */
static ds_status find_typed_place(ds_outfile *file, const char *path) {
    ds_status status = DS_OK;
    ds_typed_path place;
    DS_TRY(ds_typed_path_of_file(&place, path));
    file->path = ds_strdup(path);
    if (file->path == NULL) {
        status = DS_ERR_SYSTEM;
        goto done;
    }
    if (place.special) {
        status = open_special(file, &place);
        goto done;
    }
    file->folder = place.folder;
    file->name = place.name;
    place.folder = -1;
    place.name = NULL;
done:
    ds_typed_path_release(&place);
    return status;
}

static ds_status open_temporary(ds_outfile *file) {
    ds_status status = DS_OK;
    remove_leftovers(file->folder, file->name);
    DS_TRY(name_temporary(&file->temporary, file->name));
    DS_TRY(claim_slot(file)); /* before the name exists, so that no signal finds it unclaimed */
    int descriptor = open_unnamed(file->folder);
    file->unnamed = descriptor >= 0;
    if (!file->unnamed) descriptor = open_named(file->folder, file->temporary);
    if (descriptor < 0) return refuse_temporary(file->path, "cannot be written");
    file->stream = fdopen(descriptor, "w");
    if (file->stream == NULL) {
        status = system_failure(file->path, "cannot be opened");
        (void)close(descriptor);
    }
done:
    return status;
}

ds_status ds_outfile_open_in(ds_outfile **out, const ds_folder *folder, const char *path) {
    ds_status status = DS_OK;
    ds_outfile *file = NULL;
    *out = NULL;
    DS_NEW(file, 1);
    file->slot = MAX_OPEN;
    file->folder = -1;
    DS_TRY(folder == NULL ? find_typed_place(file, path) : find_place(file, folder, path));
    if (file->stream == NULL) DS_TRY(open_temporary(file));
done:
    if (status != DS_OK) ds_outfile_discard(&file);
    *out = file;
    return status;
}

ds_status ds_outfile_open(ds_outfile **out, const char *path) { return ds_outfile_open_in(out, NULL, path); }

FILE *ds_outfile_stream(ds_outfile *file) { return file->stream; }

static void release(ds_outfile *file) {
    if (file->slot < MAX_OPEN) atomic_store(&unfinished[file->slot], NULL);
    if (file->stream != NULL) (void)fclose(file->stream);
    if (file->folder >= 0) (void)close(file->folder);
    free(file->temporary);
    free(file->name);
    free(file->path);
    free(file);
}

void ds_outfile_discard(ds_outfile **file) {
    if (*file == NULL) return;
    if ((*file)->temporary != NULL && !(*file)->unnamed) (void)unlinkat((*file)->folder, (*file)->temporary, 0);
    release(*file);
    *file = NULL;
}

static void sync_folder(int folder) {
    int descriptor = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor < 0) return;
    (void)fsync(descriptor);
    (void)close(descriptor);
}

/* The folder a path leads into, -1 where there is none. */
static int open_folder_of(const char *path) {
    const char *slash = strrchr(path, '/');
    char *folder = slash == NULL ? strdup(".") : strndup(path, (size_t)(slash - path) + 1);
    int descriptor = folder == NULL ? -1 : open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    free(folder);
    return descriptor;
}

void ds_sync_folder_of(const char *path) {
    int folder = open_folder_of(path);
    if (folder < 0) return;
    sync_folder(folder);
    (void)close(folder);
}

/* A link cannot replace what is there, a rename can. The descriptor is still open, and with it the lock that keeps the
 * temporary from being taken for a leftover. */
static ds_status put_in_place(ds_outfile *file) {
    struct stat before;
    int descriptor = fileno(file->stream);
    if (fstatat(file->folder, file->name, &before, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(before.st_mode) &&
        fchmod(descriptor, before.st_mode & 0777) != 0)
        return system_failure(file->path, "could not be given the mode of the file it replaces");
    if (file->unnamed) {
        char self[64];
        (void)snprintf(self, sizeof self, "/proc/self/fd/%d", descriptor);
        (void)flock(descriptor, LOCK_EX | LOCK_NB); /* nobody else has it before it has a name */
        if (linkat(AT_FDCWD, self, file->folder, file->temporary, AT_SYMLINK_FOLLOW) != 0)
            return system_failure(file->path, "could not be given a name");
        file->unnamed = false;
    }
    if (renameat(file->folder, file->temporary, file->folder, file->name) != 0)
        return system_failure(file->path, "could not be put in place");
    return DS_OK;
}

ds_status ds_outfile_commit(ds_outfile **pointer) {
    ds_outfile *file = *pointer;
    ds_status status = DS_OK;
    bool replaces = file->temporary != NULL;
    if (fflush(file->stream) != 0 || ferror(file->stream) || (replaces && fsync(fileno(file->stream)) != 0)) {
        status = system_failure(file->path, "could not be written in full");
        goto done;
    }
    if (replaces) {
        DS_TRY(put_in_place(file));
        file->unnamed = true; /* nothing has that name any more */
        sync_folder(file->folder);
    } else {
        int outcome = fclose(file->stream);
        file->stream = NULL;
        if (outcome != 0) status = system_failure(file->path, "could not be closed");
    }
done:
    ds_outfile_discard(pointer);
    return status;
}

void ds_outfile_discard_all(void) {
    for (size_t i = 0; i < MAX_OPEN; i++) {
        const ds_outfile *file = atomic_load(&unfinished[i]);
        if (file != NULL) (void)unlinkat(file->folder, file->temporary, 0);
    }
}

ds_status ds_write_file_in(const ds_folder *folder, const char *path, const char *bytes, size_t length) {
    ds_status status = DS_OK;
    ds_outfile *file = NULL;
    DS_TRY(ds_outfile_open_in(&file, folder, path));
    if (length != 0 && fwrite(bytes, 1, length, file->stream) != length) {
        status = system_failure(file->path, "could not be written in full");
        goto done;
    }
    DS_TRY(ds_outfile_commit(&file));
done:
    ds_outfile_discard(&file);
    return status;
}

ds_status ds_write_file(const char *path, const char *bytes, size_t length) {
    return ds_write_file_in(NULL, path, bytes, length);
}

ds_status ds_outfile_check(const char *path) {
    ds_status status = DS_OK;
    struct stat info;
    ds_typed_path place;
    DS_TRY(ds_typed_path_of_file(&place, path));
    if (place.special) goto done;
    if (fstatat(place.folder, place.name, &info, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(info.st_mode))
        status = ds_fail(DS_ERR_SYSTEM, "%s: cannot be written: it is a folder", DS_SHOW(path));
    else if (faccessat(place.folder, ".", W_OK, 0) != 0)
        status = system_failure(path, "cannot be written");
done:
    ds_typed_path_release(&place);
    return status;
}
