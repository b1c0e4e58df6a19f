/* Files written whole or not at all: a temporary in the same folder, fsync, rename. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "deltascope/base.h"

enum { MAX_OPEN = 64 };

struct ds_outfile {
    FILE *stream;
    char *path, *temporary;
    size_t slot;
};

/* What a signal handler may still have to remove: a slot is filled before the file exists and emptied after it has been renamed
 * or removed. */
static char *volatile temporaries[MAX_OPEN];

static ds_status system_failure(const char *path, const char *what) {
    return ds_fail(DS_ERR_SYSTEM, "%s: %s: %s", DS_SHOW(path), what, strerror(errno));
}

static ds_status claim_slot(ds_outfile *file) {
    for (size_t i = 0; i < MAX_OPEN; i++) {
        if (temporaries[i] == NULL) {
            temporaries[i] = file->temporary;
            file->slot = i;
            return DS_OK;
        }
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

/* Beside the target, with 64 random bits in its name. */
static ds_status name_temporary(ds_outfile *file) {
    uint64_t random = 0;
    ds_text name = {0};
    if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random) return system_failure(file->path, "no random name");
    ds_status status = ds_text_printf(&name, "%s.tmp.%016" PRIx64, file->path, random);
    if (status == DS_OK)
        file->temporary = name.bytes;
    else
        ds_text_release(&name);
    return status;
}

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
    DS_TRY(name_temporary(file));
    DS_TRY(claim_slot(file)); /* before the file exists, so that no signal finds it unclaimed */
    descriptor = open(file->temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
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
    if (file->slot < MAX_OPEN) temporaries[file->slot] = NULL;
    if (file->stream != NULL) (void)fclose(file->stream);
    free(file->temporary);
    free(file->path);
    free(file);
}

void ds_outfile_discard(ds_outfile **file) {
    if (*file == NULL) return;
    if ((*file)->temporary != NULL) (void)unlink((*file)->temporary);
    release(*file);
    *file = NULL;
}

void ds_sync_folder_of(const char *path) {
    const char *slash = strrchr(path, '/');
    char *folder = slash == NULL ? strdup(".") : strndup(path, (size_t)(slash - path) + 1);
    int descriptor = folder == NULL ? -1 : open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor >= 0) {
        (void)fsync(descriptor);
        (void)close(descriptor);
    }
    free(folder);
}

ds_status ds_outfile_commit(ds_outfile **pointer) {
    ds_outfile *file = *pointer;
    ds_status status = DS_OK;
    bool replaces = file->temporary != NULL;
    if (fflush(file->stream) != 0 || ferror(file->stream) || (replaces && fsync(fileno(file->stream)) != 0))
        status = system_failure(file->path, "could not be written in full");
    if (fclose(file->stream) != 0 && status == DS_OK) status = system_failure(file->path, "could not be closed");
    file->stream = NULL;
    if (status == DS_OK && replaces && rename(file->temporary, file->path) != 0)
        status = system_failure(file->path, "could not be put in place");
    if (status != DS_OK) {
        ds_outfile_discard(pointer);
        return status;
    }
    if (replaces) ds_sync_folder_of(file->path);
    release(file);
    *pointer = NULL;
    return DS_OK;
}

void ds_outfile_discard_all(void) {
    for (size_t i = 0; i < MAX_OPEN; i++) {
        char *name = temporaries[i];
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
