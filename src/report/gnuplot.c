/* gnuplot at work on one figure: script and data in its private folder, one picture after another out of one process. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "figure.h"

enum { FORMATS = 4 };
static const struct {
    unsigned flag;
    const char *name;
} formats[FORMATS] = {{DS_FIGURE_SVG, "svg"}, {DS_FIGURE_PNG, "png"}, {DS_FIGURE_PDF, "pdf"}, {DS_FIGURE_TEX, "tex"}};

/* What gnuplot prints behind every picture; no label and no number holds it. */
#define END_MARK "<<<< end of picture >>>>\n"

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

static bool is_one(unsigned wanted) { return (wanted & (wanted - 1)) == 0; }

/* All of a file in memory, with a NUL behind. */
static ds_status take_all(char **bytes, size_t *length, int descriptor) {
    ds_status status = DS_OK;
    struct stat info;
    if (fstat(descriptor, &info) != 0) return ds_fail(DS_ERR_SYSTEM, "gnuplot's pictures: %s", strerror(errno));
    *length = (size_t)info.st_size;
    DS_NEW(*bytes, *length + 1);
    for (size_t done = 0; done < *length;) {
        const ssize_t got = pread(descriptor, *bytes + done, *length - done, (off_t)done);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return ds_fail(DS_ERR_SYSTEM, "gnuplot's pictures: %s", got < 0 ? strerror(errno) : "cut short");
        done += (size_t)got;
    }
done:
    return status;
}

/* One process draws all the formats wanted, one after another: starting gnuplot takes longer than most pictures. *bytes <- the
 * pictures, each with the mark behind it, or the only one. *ended: whether gnuplot did it. */
static ds_status draw_into_memory(char **bytes, size_t *length, ds_status *ended, ds_helper *gnuplot, const char *id,
                                  unsigned wanted) {
    enum { MOST_SECONDS = 300 }; /* the largest figures take a few */
    ds_status status = DS_OK;
    /* not const, as POSIX asks */
    char program[] = "gnuplot", plain[] = "--default-settings", execute[] = "-e", assignments[FORMATS][64],
         finish[] =
             "unset multiplot; set terminal unknown; set print '-'; print '<<<< end of picture >>>>'; unset print; reset";
    char *arguments[2 + 5 * FORMATS + 1] = {program, plain};
    size_t count = 2;
    ds_text script = {0};
    int descriptor = memfd_create("pictures", MFD_CLOEXEC);
    if (descriptor < 0) return ds_fail(DS_ERR_SYSTEM, "no memory for gnuplot's pictures: %s", strerror(errno));
    DS_TRY(ds_text_printf(&script, "%s.gp", id));
    for (size_t i = 0; i < FORMATS; i++) {
        if ((wanted & formats[i].flag) == 0) continue;
        (void)snprintf(assignments[i], sizeof assignments[i], "format='%s'; target=''", formats[i].name);
        char *const one[] = {execute, assignments[i], script.bytes, execute, finish};
        memcpy(arguments + count, one, sizeof one);
        count += is_one(wanted) ? 3 : sizeof one / sizeof *one;
        arguments[count] = NULL;
    }
    *ended = ds_helper_run(gnuplot, arguments, descriptor, MOST_SECONDS);
    if (*ended == DS_OK) status = take_all(bytes, length, descriptor);
done:
    (void)close(descriptor);
    ds_text_release(&script);
    return status;
}

/* Behind the first `key` from `at` on; NULL: there is none, or `at` is NULL. */
static char *behind(char *at, const char *end, const char *key) {
    if (at != NULL) at = memmem(at, (size_t)(end - at), key, strlen(key));
    return at == NULL ? NULL : at + strlen(key);
}

/* cairo writes the time of day into a PDF, and the TikZ terminal into a comment, and neither can be asked to leave it out.
 * Equal results give equal bytes: the date becomes the first of 1980, in its place. */
static void settle_date(char *bytes, const char *end, bool pdf) {
    const char *settled = pdf ? "19800101000000" : "Tue Jan  1 00:00:00 1980\n";
    char *at = pdf ? behind(bytes, end, "/CreationDate (D:") : behind(behind(bytes, end, "\n%% generated with "), end, "\n%% ");
    if (at != NULL && (pdf ? (size_t)(end - at) >= strlen(settled) : behind(at, end, "\n") == at + strlen(settled)))
        memcpy(at, settled, strlen(settled));
}

/* Where the picture at `at` ends; NULL when there is none, or nothing in it. Of one format all is picture. */
static char *end_of(char *at, const char *end, unsigned wanted) {
    const size_t left = (size_t)(end - at);
    char *mark = is_one(wanted) ? at + left : memmem(at, left, END_MARK, strlen(END_MARK));
    return mark == at ? NULL : mark;
}

/* Whether there is a picture of every format. */
static bool is_complete(char *bytes, size_t length, unsigned wanted) {
    char *at = bytes, *end;
    for (size_t i = 0; i < FORMATS; i++) {
        if ((wanted & formats[i].flag) == 0) continue;
        if ((end = end_of(at, bytes + length, wanted)) == NULL) return false;
        at = end + strlen(END_MARK);
    }
    return true;
}

/* FOLDER/ID.FORMAT for every format, of what is complete. */
static ds_status write_pictures(const ds_folder *folder, const char *id, unsigned wanted, char *bytes, size_t length) {
    ds_status status = DS_OK;
    ds_text name = {0};
    char *at = bytes;
    for (size_t i = 0; i < FORMATS; i++) {
        if ((wanted & formats[i].flag) == 0) continue;
        char *end = end_of(at, bytes + length, wanted);
        if (formats[i].flag == DS_FIGURE_PDF || formats[i].flag == DS_FIGURE_TEX)
            settle_date(at, end, formats[i].flag == DS_FIGURE_PDF);
        name.length = 0;
        DS_TRY(ds_text_printf(&name, "%s.%s", id, formats[i].name));
        DS_TRY(ds_write_file_in(folder, name.bytes, at, (size_t)(end - at)));
        at = end + strlen(END_MARK);
    }
done:
    ds_text_release(&name);
    return status;
}

/* The name of the only format wanted. */
static const char *name_of(unsigned wanted) {
    size_t i = 0;
    while (formats[i].flag != wanted) i++;
    return formats[i].name;
}

/* Each by itself, so that a format gnuplot cannot draw costs no other; the first that fails says why. */
static ds_status draw_apart(unsigned *drawn, ds_helper *gnuplot, const ds_folder *folder, const char *id, unsigned wanted) {
    ds_status status = DS_OK;
    ds_text complaint = {0};
    for (size_t i = 0; i < FORMATS; i++) {
        unsigned one = 0;
        if ((wanted & formats[i].flag) == 0) continue;
        DS_TRY(ds_gnuplot_draw(&one, gnuplot, folder, id, formats[i].flag));
        *drawn |= one;
        if (one == 0 && complaint.length == 0) DS_TRY(ds_text_printf(&complaint, "%s", ds_error_text()));
    }
    if (complaint.length > 0) (void)ds_fail(DS_OK, "%s", complaint.bytes);
done:
    ds_text_release(&complaint);
    return status;
}

ds_status ds_gnuplot_draw(unsigned *drawn, ds_helper *gnuplot, const ds_folder *folder, const char *id, unsigned wanted) {
    ds_status status = DS_OK;
    char *bytes = NULL;
    size_t length = 0;
    *drawn = 0;
    ds_status ended = DS_OK;
    DS_TRY(draw_into_memory(&bytes, &length, &ended, gnuplot, id, wanted));
    if (ended == DS_OK && !is_complete(bytes, length, wanted)) ended = ds_fail(DS_ERR_SYSTEM, "gnuplot: drew nothing");
    if (ended != DS_OK && is_one(wanted)) {
        (void)ds_fail_prefix(ended, "%s.%s", id, name_of(wanted));
    } else if (ended != DS_OK) {
        status = draw_apart(drawn, gnuplot, folder, id, wanted);
    } else {
        status = write_pictures(folder, id, wanted, bytes, length);
        if (status == DS_OK) *drawn = wanted;
    }
done:
    free(bytes);
    return status;
}
