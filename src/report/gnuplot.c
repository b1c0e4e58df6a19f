/* gnuplot at work on one figure: script and data in its private folder, one picture after another out. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "figure.h"

/* cairo writes the time of day into a PDF and can not be asked to leave it out. Equal results give equal bytes: the date
 * becomes the first of 1980, in its place. */
static ds_status settle_date(const char *name, FILE *picture) {
    static const char key[] = "/CreationDate (D:", settled[] = "19800101000000";
    ds_status status = DS_OK;
    struct stat info;
    char *bytes = NULL;
    int descriptor = fileno(picture);
    if (fstat(descriptor, &info) != 0) return ds_fail(DS_ERR_SYSTEM, "%s: %s", name, strerror(errno));
    size_t length = (size_t)info.st_size;
    DS_NEW(bytes, length);
    bool failed = pread(descriptor, bytes, length, 0) != (ssize_t)length;
    char *at = failed ? NULL : memmem(bytes, length, key, sizeof key - 1);
    if (at != NULL && (size_t)(bytes + length - at) >= sizeof key + sizeof settled)
        failed = pwrite(descriptor, settled, sizeof settled - 1, at + sizeof key - 1 - bytes) != sizeof settled - 1;
    if (failed) status = ds_fail(DS_ERR_SYSTEM, "%s: could not be written in full: %s", name, strerror(errno));
done:
    free(bytes);
    return status;
}

ds_status ds_gnuplot_open(ds_helper **gnuplot, const char *id, const ds_text *script, const ds_text *data) {
    ds_status status = DS_OK;
    ds_text name = {0};
    DS_TRY(ds_helper_open(gnuplot, "gnuplot"));
    if (*gnuplot == NULL) goto done;
    DS_TRY(ds_text_printf(&name, "%s.gp", id));
    DS_TRY(ds_helper_put(*gnuplot, name.bytes, script));
    name.length = 0;
    DS_TRY(ds_text_printf(&name, "%s.tsv", id));
    DS_TRY(ds_helper_put(*gnuplot, name.bytes, data));
done:
    if (status != DS_OK) ds_helper_close(gnuplot);
    ds_text_release(&name);
    return status;
}

/* A full disk also shows as a gnuplot that fails: whether the picture's file would take more tells the two apart. */
static ds_status check_room(const char *name, int descriptor) {
    enum { BYTES = 1 << 20 };
    const int error = posix_fallocate(descriptor, 0, BYTES);
    return error == 0 ? DS_OK : ds_fail(DS_ERR_SYSTEM, "%s: could not be written in full: %s", name, strerror(error));
}

ds_status ds_gnuplot_draw(bool *drawn, ds_helper *gnuplot, const ds_folder *folder, const char *id, const char *format) {
    enum { MOST_SECONDS = 300 }; /* the largest figures take a few */
    ds_status status = DS_OK;
    /* not const, as POSIX asks */
    char program[] = "gnuplot", plain[] = "--default-settings", execute[] = "-e", assignments[64];
    ds_text name = {0}, script = {0};
    ds_outfile *picture = NULL;
    struct stat info;
    *drawn = false;
    (void)snprintf(assignments, sizeof assignments, "format='%s'; target=''", format);
    DS_TRY(ds_text_printf(&name, "%s.%s", id, format));
    DS_TRY(ds_text_printf(&script, "%s.gp", id));
    DS_TRY(ds_outfile_open_in(&picture, folder, name.bytes));
    int descriptor = fileno(ds_outfile_stream(picture));
    char *arguments[] = {program, plain, execute, assignments, script.bytes, NULL};
    ds_status ended = ds_helper_run(gnuplot, arguments, descriptor, MOST_SECONDS);
    if (ended == DS_OK && (fstat(descriptor, &info) != 0 || info.st_size == 0))
        ended = ds_fail(DS_ERR_SYSTEM, "gnuplot: drew nothing");
    if (ended != DS_OK) {
        (void)ds_fail_prefix(ended, "%s", name.bytes);
        status = check_room(name.bytes, descriptor);
        goto done;
    }
    if (strcmp(format, "pdf") == 0) DS_TRY(settle_date(name.bytes, ds_outfile_stream(picture)));
    DS_TRY(ds_outfile_commit(&picture));
    *drawn = true;
done:
    ds_outfile_discard(&picture);
    ds_text_release(&name);
    ds_text_release(&script);
    return status;
}
