/* Regular files from strangers: opened without waiting for a peer, sized once, read at given offsets. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "catalog.h"

/* A path that leads nowhere is a wrong input; anything else the system refuses is the system's failure. */
static ds_status open_failure(const char *path, int error) {
    switch (error) {
    case ENOENT:
    case ENOTDIR:
        return ds_fail(DS_ERR_INPUT, "%s: missing: no such file", DS_SHOW(path));
    case ELOOP:
        return ds_fail(DS_ERR_INPUT, "%s: symbolic links lead in a circle or are not followed here, expected a regular file",
                       DS_SHOW(path));
    case ENAMETOOLONG:
        return ds_fail(DS_ERR_INPUT, "%s: file name too long", DS_SHOW(path));
    case ENXIO:
        return ds_fail(DS_ERR_INPUT, "%s: not a regular file but a socket or device", DS_SHOW(path));
    default:
        return ds_fail(DS_ERR_SYSTEM, "%s: cannot be opened: %s", DS_SHOW(path), strerror(error));
    }
}

static const char *kind_of(mode_t mode) {
    return S_ISDIR(mode)    ? "a folder"
           : S_ISFIFO(mode) ? "a FIFO"
           : S_ISCHR(mode)  ? "a character device"
           : S_ISBLK(mode)  ? "a block device"
                            : "something else";
}

/* Shards stay open, so that what is read is what was checked, and there may be more than the usual limit of 1,024 allows. */
static bool raise_descriptor_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return false;
    limit.rlim_cur = limit.rlim_max;
    return setrlimit(RLIMIT_NOFILE, &limit) == 0;
}

/* Without waiting: a FIFO that has no writer must be refused. */
static int open_to_read(const ds_folder *folder, const char *path) { return ds_folder_find(folder, path, O_RDONLY); }

static ds_status examine(ds_source *source, const ds_folder *folder, const char *name, const char *path) {
    ds_status status = DS_OK;
    struct stat info;
    source->descriptor = open_to_read(folder, name);
    if (source->descriptor < 0 && errno == EMFILE && raise_descriptor_limit()) source->descriptor = open_to_read(folder, name);
    if (source->descriptor < 0) {
        status = open_failure(path, errno);
    } else if (fstat(source->descriptor, &info) != 0) {
        status = ds_fail(DS_ERR_SYSTEM, "%s: cannot be examined: %s", DS_SHOW(path), strerror(errno));
    } else if (!S_ISREG(info.st_mode)) {
        status = ds_fail(DS_ERR_INPUT, "%s: not a regular file but %s", DS_SHOW(path), kind_of(info.st_mode));
    } else {
        source->size = (uint64_t)info.st_size;
        source->modified = info.st_mtim;
        source->path = ds_strdup(path);
        if (source->path == NULL) status = DS_ERR_SYSTEM;
    }
    return status;
}

ds_status ds_source_open_in(ds_source *source, const ds_folder *folder, const char *path) {
    ds_status status = DS_OK;
    ds_text shown = {0};
    *source = (ds_source){.descriptor = -1};
    DS_TRY(ds_folder_show(&shown, folder, path));
    DS_TRY(examine(source, folder, path, shown.bytes));
done:
    if (status != DS_OK) ds_source_close(source);
    ds_text_release(&shown);
    return status;
}

ds_status ds_source_open(ds_source *source, const char *path) { return ds_source_open_in(source, NULL, path); }

void ds_source_close(ds_source *source) {
    if (source->descriptor >= 0) (void)close(source->descriptor);
    free(source->path);
    *source = (ds_source){.descriptor = -1};
}

ds_status ds_source_read(const ds_source *source, void *bytes, uint64_t offset, size_t count) {
    uint64_t end;
    if (!ds_add_u64(offset, count, &end) || end > source->size)
        return ds_fail(DS_ERR_INPUT, "%s: truncated: %zu bytes expected at byte %llu of %llu", DS_SHOW(source->path), count,
                       (unsigned long long)offset, (unsigned long long)source->size);
    for (size_t done = 0; done < count;) {
        ssize_t got = pread(source->descriptor, (char *)bytes + done, count - done, (off_t)(offset + done));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return ds_fail(DS_ERR_SYSTEM, "%s: cannot be read: %s", DS_SHOW(source->path), strerror(errno));
        if (got == 0)
            return ds_fail(DS_ERR_INPUT, "%s: became shorter while it was read: it ends at byte %llu, expected %llu bytes",
                           DS_SHOW(source->path), (unsigned long long)(offset + done), (unsigned long long)source->size);
        done += (size_t)got;
    }
    return DS_OK;
}

ds_status ds_source_check_unchanged(const ds_source *source) {
    struct stat info;
    if (fstat(source->descriptor, &info) != 0)
        return ds_fail(DS_ERR_SYSTEM, "%s: cannot be examined: %s", DS_SHOW(source->path), strerror(errno));
    if ((uint64_t)info.st_size == source->size && info.st_mtim.tv_sec == source->modified.tv_sec &&
        info.st_mtim.tv_nsec == source->modified.tv_nsec)
        return DS_OK;
    return ds_fail(DS_ERR_INPUT, "%s: changed while it was read: %llu bytes now, %llu when it was opened",
                   DS_SHOW(source->path), (unsigned long long)info.st_size, (unsigned long long)source->size);
}

ds_status ds_read_file_in(char **bytes, size_t *length, const ds_folder *folder, const char *path, uint64_t limit) {
    ds_status status = DS_OK;
    ds_source source = {.descriptor = -1};
    char *content = NULL;
    *bytes = NULL;
    *length = 0;
    DS_TRY(ds_source_open_in(&source, folder, path));
    if (source.size > limit || source.size >= SIZE_MAX) {
        status = ds_fail(DS_ERR_INPUT, "%s: too large: %llu bytes, expected at most %llu", DS_SHOW(source.path),
                         (unsigned long long)source.size, (unsigned long long)limit);
        goto done;
    }
    DS_NEW_ARRAY(content, (size_t)source.size + 1);
    DS_TRY(ds_source_read(&source, content, 0, (size_t)source.size));
    content[source.size] = '\0';
    *length = (size_t)source.size;
    *bytes = content;
    content = NULL;
done:
    free(content);
    ds_source_close(&source);
    return status;
}

ds_status ds_read_file(char **bytes, size_t *length, const char *path, uint64_t limit) {
    return ds_read_file_in(bytes, length, NULL, path, limit);
}
