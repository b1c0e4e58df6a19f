/* Running gnuplot without a shell: the script in, one picture out. */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "figure.h"

/* posix_spawn functions return the error number. */
static ds_status check(int code, const char *what) {
    return code == 0 ? DS_OK : ds_fail(DS_ERR_SYSTEM, "gnuplot: %s: %s", what, strerror(code));
}

/* Standard input empty, the picture to `picture`, complaints to `complaints`, relative names from `folder`. */
static ds_status redirect(posix_spawn_file_actions_t *actions, const char *folder, int picture, int complaints) {
    ds_status status = DS_OK;
    DS_TRY(check(posix_spawn_file_actions_addopen(actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0), "no input"));
    DS_TRY(check(posix_spawn_file_actions_adddup2(actions, picture, STDOUT_FILENO), "no output"));
    DS_TRY(check(posix_spawn_file_actions_adddup2(actions, complaints, STDERR_FILENO), "no output"));
    DS_TRY(check(posix_spawn_file_actions_addchdir_np(actions, folder), "no folder"));
done:
    return status;
}

static ds_status wait_for(pid_t process, const char *script, FILE *complaints) {
    int ended = 0;
    char said[512];
    while (waitpid(process, &ended, 0) < 0) {
        if (errno != EINTR) return ds_fail(DS_ERR_SYSTEM, "gnuplot: %s: %s", script, strerror(errno));
    }
    if (WIFEXITED(ended) && WEXITSTATUS(ended) == 0) return DS_OK;
    rewind(complaints);
    size_t length = fread(said, 1, sizeof said, complaints);
    for (size_t i = 0; i < length; i++) {
        if (said[i] == '\n') said[i] = ' ';
    }
    return ds_fail(DS_ERR_SYSTEM, "gnuplot: %s: ended with %s %d: %s", script, WIFEXITED(ended) ? "status" : "signal",
                   WIFEXITED(ended) ? WEXITSTATUS(ended) : WTERMSIG(ended), ds_escape(said, length).text);
}

static ds_status spawn(bool *missing, const char *folder, const char *script, const char *format, ds_outfile *picture) {
    ds_status status = DS_OK;
    posix_spawn_file_actions_t actions;
    char program[] = "gnuplot", plain[] = "--default-settings", execute[] = "-e",
         assignments[64]; /* not const, as POSIX asks */
    char *arguments[] = {program, plain, execute, assignments, NULL, NULL};
    pid_t process = 0;
    struct stat info;
    FILE *complaints = tmpfile();
    arguments[4] = ds_strdup(script);
    (void)snprintf(assignments, sizeof assignments, "format='%s'; target=''", format);
    if (complaints == NULL || arguments[4] == NULL || posix_spawn_file_actions_init(&actions) != 0) {
        status = ds_fail(DS_ERR_SYSTEM, "gnuplot: %s: cannot be started: %s", script, strerror(errno));
        free(arguments[4]);
        if (complaints != NULL) (void)fclose(complaints);
        return status;
    }
    DS_TRY(redirect(&actions, folder, fileno(ds_outfile_stream(picture)), fileno(complaints)));
    int code = posix_spawnp(&process, arguments[0], &actions, NULL, arguments, environ);
    *missing = code == ENOENT;
    if (!*missing) {
        DS_TRY(check(code, script));
        DS_TRY(wait_for(process, script, complaints));
        if (fstat(fileno(ds_outfile_stream(picture)), &info) != 0 || info.st_size == 0)
            status = ds_fail(DS_ERR_SYSTEM, "gnuplot: %s: drew nothing as %s", script, format);
    }
done:
    (void)posix_spawn_file_actions_destroy(&actions);
    (void)fclose(complaints);
    free(arguments[4]);
    return status;
}

/* cairo writes the time of day into a PDF and can not be asked to leave it out. Equal results give equal bytes: the date
 * becomes the first of 1980, in its place. */
static ds_status settle_date(const char *path, FILE *picture) {
    static const char key[] = "/CreationDate (D:", settled[] = "19800101000000";
    ds_status status = DS_OK;
    struct stat info;
    char *bytes = NULL;
    int descriptor = fileno(picture);
    if (fstat(descriptor, &info) != 0) return ds_fail(DS_ERR_SYSTEM, "%s: %s", DS_SHOW(path), strerror(errno));
    size_t length = (size_t)info.st_size;
    DS_NEW(bytes, length);
    bool failed = pread(descriptor, bytes, length, 0) != (ssize_t)length;
    char *at = failed ? NULL : memmem(bytes, length, key, sizeof key - 1);
    if (at != NULL && (size_t)(bytes + length - at) >= sizeof key + sizeof settled)
        failed = pwrite(descriptor, settled, sizeof settled - 1, at + sizeof key - 1 - bytes) != sizeof settled - 1;
    if (failed) status = ds_fail(DS_ERR_SYSTEM, "%s: could not be written in full: %s", DS_SHOW(path), strerror(errno));
done:
    free(bytes);
    return status;
}

ds_status ds_gnuplot_run(bool *missing, const char *folder, const char *id, const char *format) {
    ds_status status = DS_OK;
    ds_text path = {0}, script = {0};
    ds_outfile *picture = NULL;
    DS_TRY(ds_text_printf(&path, "%s/%s.%s", folder, id, format));
    DS_TRY(ds_text_printf(&script, "%s.gp", id));
    DS_TRY(ds_outfile_open(&picture, path.bytes));
    DS_TRY(spawn(missing, folder, script.bytes, format, picture));
    if (*missing)
        (void)ds_fail(DS_OK, "gnuplot is not installed: %s/%s will draw the figure once it is", DS_SHOW(folder), script.bytes);
    else {
        if (strcmp(format, "pdf") == 0) DS_TRY(settle_date(path.bytes, ds_outfile_stream(picture)));
        DS_TRY(ds_outfile_commit(&picture));
    }
done:
    ds_outfile_discard(&picture);
    ds_text_release(&path);
    ds_text_release(&script);
    return status;
}
