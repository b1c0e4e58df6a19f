/* Files written whole or not at all: a file without a name in the same folder, fsync, a temporary name, rename. Where the file
 * system knows no files without names, the temporary has its name from the start. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "deltascope/base.h"

enum { MAX_OPEN = 64 };

struct ds_outfile {
    FILE *stream;
    char *path, *temporary;
    bool unnamed; /* nothing has the temporary's name yet */
    size_t slot;
};

/* What a signal handler may still have to remove: a slot is filled before the name exists and emptied after it has been renamed
 * or removed. Figures are drawn by several threads. */
static _Atomic(char *) temporaries[MAX_OPEN];

static ds_status system_failure(const char *path, const char *what) {
    return ds_fail(DS_ERR_SYSTEM, "%s: %s: %s", DS_SHOW(path), what, strerror(errno));
}

static ds_status claim_slot(ds_outfile *file) {
    for (size_t i = 0; i < MAX_OPEN; i++) {
        char *empty = NULL;
        if (!atomic_compare_exchange_strong(&temporaries[i], &empty, file->temporary)) continue;
        file->slot = i;
        return DS_OK;
    }
    return ds_fail(DS_ERR_SYSTEM, "%s: more than %d files are being written at once", DS_SHOW(file->path), MAX_OPEN);
}

/* A pipe or a device (/dev/stdout, /dev/null, process substitution) is written straight through: there is nothing to replace.
 */
static bool is_special(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && !S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode);
}

/* The file a symbolic link leads to is what gets replaced, not the link. */
static char *resolve(const char *path) {
    char *target = is_special(path) ? NULL : realpath(path, NULL);
    return target != NULL ? target : ds_strdup(path);
}

/* ---- temporaries ------------------------------------------------------------------------------------------------- */

static const char suffix[] = ".tmp."; /* and 16 hexadecimal digits */

/* Beside the target, with 64 random bits in its name. */
static ds_status name_temporary(char **temporary, const char *path) {
    uint64_t random = 0;
    ds_text name = {0};
    if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random) return system_failure(path, "no random name");
    ds_status status = ds_text_printf(&name, "%s%s%016" PRIx64, path, suffix, random);
    if (status == DS_OK)
        *temporary = name.bytes;
    else
        ds_text_release(&name);
    return status;
}

/* The folder a file lies in, freed with free(); NULL without memory. */
static char *folder_of(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash == NULL ? strdup(".") : strndup(path, (size_t)(slash - path) + 1);
}

/* A file without a name in the folder of `path`, which nothing can leave behind; -1 where there are none, or where one could
 * not be given a name later. */
static int open_unnamed(const char *path) {
    char *folder = access("/proc/self/fd", X_OK) == 0 ? folder_of(path) : NULL;
    int descriptor = folder == NULL ? -1 : open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0666);
    free(folder);
    return descriptor;
}

/* A new file of that name, locked: the lock tells other runs that its writer lives. One of them may have removed the file
 * between its creation and the lock: then it is made again. */
static int open_named(const char *name) {
    for (;;) {
        struct stat info;
        int descriptor = open(name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
        if (descriptor < 0) return -1;
        (void)flock(descriptor, LOCK_EX); /* a file system without locks: leftovers stay */
        if (fstat(descriptor, &info) != 0 || info.st_nlink > 0) return descriptor;
        (void)close(descriptor);
    }
}

/* Whether `name` is what name_temporary calls a temporary of the file `base`. */
static bool is_temporary(const char *name, const char *base) {
    size_t length = strlen(base);
    if (strncmp(name, base, length) != 0 || strncmp(name + length, suffix, sizeof suffix - 1) != 0) return false;
    const char *digits = name + length + sizeof suffix - 1;
    return strlen(digits) == 16 && strspn(digits, "0123456789abcdef") == 16;
}

/* Removes what runs that were killed while they wrote this file left behind: temporaries whose lock nobody holds. */
static void remove_leftovers(const char *path) {
    const char *slash = strrchr(path, '/'), *base = slash == NULL ? path : slash + 1;
    char *folder = folder_of(path);
    DIR *entries = folder == NULL ? NULL : opendir(folder);
    for (struct dirent *entry = NULL; entries != NULL && (entry = readdir(entries)) != NULL;) {
        struct stat info;
        if (!is_temporary(entry->d_name, base)) continue;
        int descriptor = openat(dirfd(entries), entry->d_name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        if (descriptor < 0) continue;
        if (fstat(descriptor, &info) == 0 && S_ISREG(info.st_mode) && flock(descriptor, LOCK_EX | LOCK_NB) == 0)
            (void)unlinkat(dirfd(entries), entry->d_name, 0);
        (void)close(descriptor);
    }
    if (entries != NULL) (void)closedir(entries);
    free(folder);
}

ds_status ds_spool_open(FILE **spool, const char *path) {
    ds_status status = DS_OK;
    char *name = NULL;
    *spool = NULL;
    int descriptor = open_unnamed(path);
    if (descriptor < 0) {
        DS_TRY(name_temporary(&name, path));
        descriptor = open_named(name);
        if (descriptor >= 0) (void)unlink(name);
    }
    if (descriptor >= 0) *spool = fdopen(descriptor, "w+");
    if (*spool == NULL) {
        status = system_failure(path, "no temporary file could be made beside it");
        if (descriptor >= 0) (void)close(descriptor);
    }
done:
    free(name);
    return status;
}

/* ---- files under construction ------------------------------------------------------------------------------------ */

ds_status ds_outfile_open(ds_outfile **out, const char *path) {
    ds_status status = DS_OK;
    ds_outfile *file = NULL;
    int descriptor;
    *out = NULL;
    DS_NEW(file, 1);
    file->slot = MAX_OPEN;
    file->path = resolve(path);
    if (file->path == NULL) {
        status = DS_ERR_SYSTEM;
        goto done;
    }
    if (is_special(path)) {
        file->stream = fopen(path, "we");
        if (file->stream == NULL) status = system_failure(path, "cannot be opened for writing");
        goto done;
    }
    remove_leftovers(file->path);
    DS_TRY(name_temporary(&file->temporary, file->path));
    DS_TRY(claim_slot(file)); /* before the name exists, so that no signal finds it unclaimed */
    descriptor = open_unnamed(file->path);
    file->unnamed = descriptor >= 0;
    if (!file->unnamed) descriptor = open_named(file->temporary);
    if (descriptor < 0) {
        status = system_failure(path, "cannot be written");
        goto done;
    }
    file->stream = fdopen(descriptor, "w");
    if (file->stream == NULL) {
        status = system_failure(path, "cannot be opened");
        (void)close(descriptor);
    }
done:
    if (status != DS_OK) ds_outfile_discard(&file);
    *out = file;
    return status;
}

FILE *ds_outfile_stream(ds_outfile *file) { return file->stream; }

static void release(ds_outfile *file) {
    if (file->slot < MAX_OPEN) atomic_store(&temporaries[file->slot], NULL);
    if (file->stream != NULL) (void)fclose(file->stream);
    free(file->temporary);
    free(file->path);
    free(file);
}

void ds_outfile_discard(ds_outfile **file) {
    if (*file == NULL) return;
    if ((*file)->temporary != NULL && !(*file)->unnamed) (void)unlink((*file)->temporary);
    release(*file);
    *file = NULL;
}

void ds_sync_folder_of(const char *path) {
    char *folder = folder_of(path);
    int descriptor = folder == NULL ? -1 : open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor >= 0) {
        (void)fsync(descriptor);
        (void)close(descriptor);
    }
    free(folder);
}

/* A link cannot replace what is there, a rename can. The descriptor is still open, and with it the lock that keeps the
 * temporary from being taken for a leftover. */
static ds_status put_in_place(ds_outfile *file) {
    if (file->unnamed) {
        char self[64];
        int descriptor = fileno(file->stream);
        (void)snprintf(self, sizeof self, "/proc/self/fd/%d", descriptor);
        (void)flock(descriptor, LOCK_EX);
        if (linkat(AT_FDCWD, self, AT_FDCWD, file->temporary, AT_SYMLINK_FOLLOW) != 0)
            return system_failure(file->path, "could not be given a name");
        file->unnamed = false;
    }
    if (rename(file->temporary, file->path) != 0) return system_failure(file->path, "could not be put in place");
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
        ds_sync_folder_of(file->path);
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
        char *name = atomic_load(&temporaries[i]);
        if (name != NULL) (void)unlink(name);
    }
}

ds_status ds_write_file(const char *path, const char *bytes, size_t length) {
    ds_status status = DS_OK;
    ds_outfile *file = NULL;
    DS_TRY(ds_outfile_open(&file, path));
    if (length != 0 && fwrite(bytes, 1, length, file->stream) != length) {
        status = system_failure(path, "could not be written in full");
        goto done;
    }
    DS_TRY(ds_outfile_commit(&file));
done:
    ds_outfile_discard(&file);
    return status;
}

ds_status ds_outfile_check(const char *path) {
    struct stat info;
    if (stat(path, &info) == 0 && S_ISDIR(info.st_mode))
        return ds_fail(DS_ERR_SYSTEM, "%s: cannot be written: it is a folder", DS_SHOW(path));
    char *folder = ds_strdup(path);
    if (folder == NULL) return DS_ERR_SYSTEM;
    char *slash = strrchr(folder, '/');
    if (slash != NULL) slash[slash == folder] = '\0'; /* the root stays "/" */
    ds_status status = access(slash == NULL ? "." : folder, W_OK) == 0 ? DS_OK : system_failure(path, "cannot be written");
    free(folder);
    return status;
}

ds_status ds_folder_check(const char *path) {
    struct stat info;
    if (stat(path, &info) != 0 || S_ISDIR(info.st_mode)) return DS_OK;
    return ds_fail(DS_ERR_SYSTEM, "%s: exists and is not a folder", DS_SHOW(path));
}

ds_status ds_make_folder(const char *path) {
    ds_status status = DS_OK;
    char *partial = ds_strdup(path);
    if (partial == NULL) return DS_ERR_SYSTEM;
    for (char *at = partial; status == DS_OK; at++) {
        if (*at != '/' && *at != '\0') continue;
        char separator = *at;
        *at = '\0';
        if (partial[0] != '\0' && mkdir(partial, 0777) != 0 && errno != EEXIST)
            status = system_failure(path, "folder cannot be made");
        *at = separator;
        if (separator == '\0') break;
    }
    if (status == DS_OK) status = ds_folder_check(path);
    free(partial);
    return status;
}
