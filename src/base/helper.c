/* Another program put to work: found by an absolute path, in a private folder that holds what it is given and nothing else (in
 * / when it is given no files), with an environment that tells it to run or load nothing of its own, and ended no later than we
 * are. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "typed_path.h"

enum { MAX_HELPERS = 64, MAX_VARIABLES = 64 };

struct ds_helper {
    char *program;     /* absolute path */
    char *folder;      /* its path, for sentences; NULL: none is needed yet */
    ds_typed_path own; /* the folder; its name, and what holds it */
    int descriptor;    /* of the folder */
    char *names[DS_HELPER_FILES];
    _Atomic size_t count;
    _Atomic pid_t process;                /* the leader of its group; 0: none runs */
    char *environment[MAX_VARIABLES + 1]; /* NULL at the end */
    size_t variables, slot;
};

/* What a signal handler has to end and to remove. */
static _Atomic(ds_helper *) helpers[MAX_HELPERS];

static ds_status system_failure(const char *name, const char *what) {
    return ds_fail(DS_ERR_SYSTEM, "%s: %s: %s", DS_SHOW(name), what, strerror(errno));
}

/* ---- the program and its environment ----------------------------------------------------------------------------- */

/* Appends the absolute parts of PATH. A relative or an empty one would be looked for wherever we happen to be, or in the folder
 * we work on, and a stranger may have filled either. */
static ds_status absolute_parts(ds_text *parts) {
    ds_status status = DS_OK;
    const char *part = getenv("PATH");
    for (; part != NULL && *part != '\0'; part += *part == ':') {
        size_t length = strcspn(part, ":");
        if (*part == '/') {
            if (parts->length > 0) DS_TRY(ds_text_append(parts, ":", 1));
            DS_TRY(ds_text_append(parts, part, length));
        }
        part += length;
    }
done:
    return status;
}

/* *found <- the first regular file of that name there that may be executed, or NULL; an absolute path is its own place. */
static ds_status find_program(char **found, const char *parts, const char *name) {
    ds_status status = DS_OK;
    ds_text path = {0};
    *found = NULL;
    if (name[0] == '/') {
        *found = ds_strdup(name);
        return *found == NULL ? DS_ERR_SYSTEM : DS_OK;
    }
    for (; parts != NULL && *parts != '\0' && *found == NULL; parts += *parts == ':') {
        struct stat info;
        size_t length = strcspn(parts, ":");
        path.length = 0;
        DS_TRY(ds_text_append(&path, parts, length));
        DS_TRY(ds_text_printf(&path, "/%s", name));
        if (stat(path.bytes, &info) == 0 && S_ISREG(info.st_mode) && access(path.bytes, X_OK) == 0) {
            *found = ds_strdup(path.bytes);
            if (*found == NULL) status = DS_ERR_SYSTEM;
        }
        parts += length;
        if (status != DS_OK) break;
    }
done:
    ds_text_release(&path);
    return status;
}

ds_status ds_helper_set(ds_helper *helper, const char *name, const char *value) {
    ds_status status = DS_OK;
    ds_text text = {0};
    if (helper->variables == MAX_VARIABLES)
        return ds_fail(DS_ERR_SYSTEM, "%s: more than %d variables in its environment", DS_SHOW(helper->program), MAX_VARIABLES);
    DS_TRY(ds_text_printf(&text, "%s=%s", name, value));
    helper->environment[helper->variables++] = text.bytes;
done:
    return status;
}

/* Language, libraries and fonts are the user's; the home is the private folder, so that no file of settings is found. The cache
 * of fonts stays where it is: without it every start would look through them all. */
static ds_status fill_environment(ds_helper *helper, const char *parts) {
    static const char *const kept[] = {"LANG=", "LANGUAGE=", "LC_", "LD_LIBRARY_PATH=", "FONTCONFIG_", "XDG_DATA_DIRS="};
    const size_t own = 5; /* PATH, XDG_CACHE_HOME, HOME, TMPDIR, and one that is set */
    ds_status status = DS_OK;
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    ds_text usual = {0};
    for (char **variable = environ; *variable != NULL && helper->variables + own < MAX_VARIABLES; variable++) {
        for (size_t i = 0; i < sizeof kept / sizeof *kept; i++) {
            if (strncmp(*variable, kept[i], strlen(kept[i])) != 0) continue;
            DS_NEW(helper->environment[helper->variables], strlen(*variable) + 1);
            (void)strcpy(helper->environment[helper->variables++], *variable);
            break;
        }
    }
    DS_TRY(ds_helper_set(helper, "PATH", parts));
    if (cache == NULL || cache[0] != '/') {
        if (home == NULL || home[0] != '/') goto done;
        DS_TRY(ds_text_printf(&usual, "%s/.cache", home));
        cache = usual.bytes;
    }
    DS_TRY(ds_helper_set(helper, "XDG_CACHE_HOME", cache));
done:
    ds_text_release(&usual);
    return status;
}

/* ---- the private folder ------------------------------------------------------------------------------------------ */

static ds_status claim_slot(ds_helper *helper) {
    for (size_t i = 0; i < MAX_HELPERS; i++) {
        ds_helper *empty = NULL;
        if (!atomic_compare_exchange_strong(&helpers[i], &empty, helper)) continue;
        helper->slot = i;
        return DS_OK;
    }
    return ds_fail(DS_ERR_SYSTEM, "%s: more than %d programs at work at once", DS_SHOW(helper->program), MAX_HELPERS);
}

/* TMPDIR, or /tmp where there is none or where anybody may rename what lies in it. */
static ds_status open_place(ds_typed_path *place, const char **path) {
    struct stat info;
    *path = getenv("TMPDIR");
    if (*path != NULL && (*path)[0] != '\0') {
        const ds_status status = ds_typed_path_of_folder(place, *path, false);
        if (status != DS_OK) return ds_fail_prefix(status, "the folder for temporary files (TMPDIR)");
        if (fstat(place->inside, &info) == 0 && (info.st_mode & (S_IWOTH | S_ISVTX)) != S_IWOTH) return DS_OK;
        ds_typed_path_release(place);
    }
    *path = "/tmp";
    return ds_typed_path_of_folder(place, *path, false);
}

/* Under a name that nobody can foresee; open to nobody else, or it is not the folder that was made. */
static ds_status make_in(ds_helper *helper, int place) {
    struct stat info;
    const ds_typed_path *own = &helper->own;
    if (mkdirat(place, own->name, 0700) != 0) return system_failure(helper->folder, "no private folder could be made");
    helper->own.inside = openat(place, own->name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (own->inside < 0 || fstat(own->inside, &info) != 0) return system_failure(helper->folder, "cannot be opened");
    if (info.st_uid != geteuid() || (info.st_mode & 077) != 0)
        return ds_fail(DS_ERR_SYSTEM, "%s: is not the private folder that was made there: set TMPDIR to a folder of your own",
                       DS_SHOW(helper->folder));
    helper->descriptor = openat(own->inside, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return helper->descriptor < 0 ? system_failure(helper->folder, "cannot be opened") : DS_OK;
}

/* Reached by descriptors alone, from the program's side as ".": whoever moves it or what holds it leads nobody elsewhere. */
static ds_status make_private_folder(ds_helper *helper) {
    ds_status status = DS_OK;
    ds_typed_path place;
    ds_text path = {0}, name = {0};
    const char *where;
    uint64_t random;
    status = open_place(&place, &where);
    if (status != DS_OK) return status;
    if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random) {
        status = system_failure(where, "no random name");
        goto done;
    }
    DS_TRY(ds_text_printf(&name, "deltascope-%016" PRIx64, random));
    DS_TRY(ds_text_printf(&path, "%s/%s", where, name.bytes));
    helper->folder = path.bytes; /* before it exists, so that no signal finds it unclaimed */
    helper->own.name = name.bytes;
    helper->own.folder = place.inside;
    path = name = (ds_text){0};
    place.inside = -1;
    DS_TRY(make_in(helper, helper->own.folder));
    DS_TRY(ds_helper_set(helper, "HOME", "."));
    DS_TRY(ds_helper_set(helper, "TMPDIR", "."));
done:
    ds_text_release(&path);
    ds_text_release(&name);
    ds_typed_path_release(&place);
    return status;
}

static void remove_private_folder(const ds_helper *helper) {
    if (helper->own.name != NULL) (void)unlinkat(helper->own.folder, helper->own.name, AT_REMOVEDIR);
}

/* With whatever the program left there; `folder` is closed. Deeper than anybody has reason to go, things stay. */
static void empty_folder(int folder, size_t depth) {
    DIR *entries = folder < 0 ? NULL : fdopendir(folder);
    if (entries == NULL && folder >= 0) (void)close(folder);
    for (struct dirent *entry = NULL; entries != NULL && (entry = readdir(entries)) != NULL;) {
        const char *name = entry->d_name;
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || unlinkat(folder, name, 0) == 0 || depth == 0) continue;
        empty_folder(openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), depth - 1);
        (void)unlinkat(folder, name, AT_REMOVEDIR);
    }
    if (entries != NULL) (void)closedir(entries);
}

ds_status ds_helper_open(ds_helper **out, const char *program) {
    ds_status status = DS_OK;
    ds_helper *helper = NULL;
    ds_text parts = {0};
    *out = NULL;
    DS_NEW(helper, 1);
    helper->descriptor = helper->own.folder = helper->own.inside = -1;
    helper->slot = MAX_HELPERS;
    DS_TRY(absolute_parts(&parts));
    DS_TRY(find_program(&helper->program, parts.bytes, program));
    if (helper->program == NULL) {
        ds_helper_close(&helper);
        goto done;
    }
    DS_TRY(claim_slot(helper));
    DS_TRY(fill_environment(helper, parts.bytes));
done:
    if (status != DS_OK) ds_helper_close(&helper);
    ds_text_release(&parts);
    *out = helper;
    return status;
}

ds_status ds_helper_put(ds_helper *helper, const char *name, const ds_text *content) {
    ds_status status = DS_OK;
    int descriptor = -1;
    size_t count = atomic_load(&helper->count);
    if (count == DS_HELPER_FILES) return ds_fail(DS_ERR_SYSTEM, "%s: no room for a file more", DS_SHOW(name));
    if (helper->folder == NULL) {
        status = make_private_folder(helper);
        if (status != DS_OK) return status;
    }
    helper->names[count] = ds_strdup(name);
    if (helper->names[count] == NULL) return DS_ERR_SYSTEM;
    atomic_store(&helper->count, count + 1);
    descriptor = openat(helper->descriptor, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (descriptor < 0) return system_failure(helper->folder, "cannot be written into");
    for (size_t done = 0; done < content->length;) {
        ssize_t written = write(descriptor, content->bytes + done, content->length - done);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) {
            status = system_failure(helper->folder, "a file in it could not be written in full");
            break;
        }
        done += (size_t)written;
    }
    (void)close(descriptor);
    return status;
}

void ds_helper_close(ds_helper **pointer) {
    ds_helper *helper = *pointer;
    if (helper == NULL) return;
    if (helper->descriptor >= 0) empty_folder(helper->descriptor, 64);
    remove_private_folder(helper);
    if (helper->slot < MAX_HELPERS) atomic_store(&helpers[helper->slot], NULL);
    ds_typed_path_release(&helper->own);
    for (size_t i = 0; i < DS_HELPER_FILES; i++) free(helper->names[i]);
    for (size_t i = 0; i < helper->variables; i++) free(helper->environment[i]);
    free(helper->folder);
    free(helper->program);
    free(helper);
    *pointer = NULL;
}

void ds_helper_discard_all(void) {
    for (size_t i = 0; i < MAX_HELPERS; i++) {
        ds_helper *helper = atomic_load(&helpers[i]);
        if (helper == NULL) continue;
        pid_t process = atomic_load(&helper->process);
        if (process > 0) {
            (void)kill(-process, SIGKILL);
            (void)kill(process, SIGKILL); /* before it has a group of its own */
        }
        for (size_t f = 0; f < atomic_load(&helper->count); f++) (void)unlinkat(helper->descriptor, helper->names[f], 0);
        remove_private_folder(helper);
    }
}

/* ---- at work ----------------------------------------------------------------------------------------------------- */

/* In the child, where only what a signal handler may call is allowed. */
static _Noreturn void become(const ds_helper *helper, char *const *arguments, int output, int complaints, pid_t parent,
                             const sigset_t *mask) {
    static const int ours[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGXFSZ};
    static const struct rlimit no_core = {0, 0};
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++) (void)signal(ours[i], SIG_DFL);
    int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
    (void)setrlimit(RLIMIT_CORE, &no_core);
    bool ready = prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == parent && setpgid(0, 0) == 0 && nothing >= 0 &&
                 dup2(nothing, STDIN_FILENO) >= 0 && dup2(output, STDOUT_FILENO) >= 0 && dup2(complaints, STDERR_FILENO) >= 0 &&
                 (helper->folder == NULL ? chdir("/") : fchdir(helper->descriptor)) == 0 &&
                 sigprocmask(SIG_SETMASK, mask, NULL) == 0;
    if (ready) (void)execve(helper->program, arguments, helper->environment);
    static const char sentence[] = "cannot be started";
    (void)!write(STDERR_FILENO, sentence, sizeof sentence - 1);
    for (;;) (void)kill(getpid(), SIGKILL); /* a copy of us has nothing else to do or to undo */
}

static pid_t start(ds_helper *helper, char *const *arguments, int output, int complaints) {
    sigset_t all, before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before); /* our handlers must not run in the child */
    pid_t parent = getpid(), process = _Fork();
    if (process == 0) become(helper, arguments, output, complaints, parent, &before);
    if (process > 0) atomic_store(&helper->process, process);
    int error = errno;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = error;
    return process;
}

/* Its first complaints, until it closes its end; false when the time is over before. */
static bool listen_to(int complaints, char *said, size_t capacity, size_t *length, double until) {
    *length = 0;
    for (;;) {
        char more[512];
        struct pollfd watched = {.fd = complaints, .events = POLLIN};
        double left = until - ds_seconds();
        if (left <= 0) return false;
        int ready = poll(&watched, 1, left > 3600 ? 3600000 : (int)(left * 1e3) + 1);
        if (ready < 0 && errno != EINTR) return false;
        if (ready <= 0) continue;
        ssize_t got = read(complaints, more, sizeof more);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return true;
        size_t kept = ds_min_size((size_t)got, capacity - *length);
        memcpy(said + *length, more, kept);
        *length += kept;
    }
}

/* *ended <- how. A program that lives on with its complaints closed is given the rest of the time. */
static bool wait_for(pid_t process, int *ended, double until) {
    for (;;) {
        pid_t got = waitpid(process, ended, WNOHANG);
        if (got == process || (got < 0 && errno != EINTR)) return got == process;
        if (ds_seconds() > until) return false;
        (void)poll(NULL, 0, 1);
    }
}

static ds_status judge(const char *name, int ended, char *said, size_t length) {
    if (WIFEXITED(ended) && WEXITSTATUS(ended) == 0) return DS_OK;
    for (size_t i = 0; i < length; i++) {
        if (said[i] == '\n') said[i] = ' ';
    }
    return ds_fail(DS_ERR_SYSTEM, "%s: ended with %s %d: %s", name, WIFEXITED(ended) ? "status" : "signal",
                   WIFEXITED(ended) ? WEXITSTATUS(ended) : WTERMSIG(ended), ds_escape(said, length).text);
}

ds_status ds_helper_run(ds_helper *helper, char *const *arguments, int output, double seconds) {
    ds_status status = DS_OK;
    char said[512];
    size_t length;
    int ends[2], ended = 0;
    double until = ds_seconds() + seconds;
    if (pipe2(ends, O_CLOEXEC) != 0) return system_failure(helper->program, "no pipe for its complaints");
    pid_t process = start(helper, arguments, output, ends[1]);
    if (process < 0) status = system_failure(helper->program, "cannot be started");
    (void)close(ends[1]);
    if (process > 0) {
        if (listen_to(ends[0], said, sizeof said, &length, until) && wait_for(process, &ended, until)) {
            status = judge(arguments[0], ended, said, length);
        } else {
            (void)kill(-process, SIGKILL);
            (void)kill(process, SIGKILL);
            while (waitpid(process, &ended, 0) < 0 && errno == EINTR) {
            }
            status = ds_fail(DS_ERR_SYSTEM, "%s: not done after %g seconds, ended", arguments[0], seconds);
        }
        atomic_store(&helper->process, 0);
    }
    (void)close(ends[0]);
    return status;
}
