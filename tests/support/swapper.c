#include "swapper.h"

#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child.h"
#include "deltascope/io.h"
#include "scratch.h"
#include "support.h"

static const char *const folders[] = {"tables", "figures", "results"};
static const char *const files[] = {"report.json",    "report.html",          "report.md",        "report.sha256",
                                    "report.journal", "results/gates.json",   "tables/gates.csv", "tables/findings.csv",
                                    "ablate.journal", "results/inspect.json", "tables/gates.tex", "results/ablate.journal"};
enum { FOLDERS = sizeof folders / sizeof *folders, FILES = sizeof files / sizeof *files };

/* ---- what has to stay as it is ----------------------------------------------------------------------------------- */

static uint64_t seen; /* of everything in "home", order of the walk included */

static int look_at(const char *path, const struct stat *info, int kind, struct FTW *walk) {
    char words[64];
    size_t length = 0;
    char *bytes = NULL;
    (void)walk;
    if (kind == FTW_F) expect_ok(ds_read_file(&bytes, &length, path, 1 << 16));
    (void)snprintf(words, sizeof words, "%o %lld %lld", (unsigned)info->st_mode, (long long)info->st_mtim.tv_sec,
                   (long long)info->st_mtim.tv_nsec);
    seen = ds_crc32((uint32_t)seen, path, strlen(path)) + (seen << 7);
    seen = ds_crc32((uint32_t)seen, words, strlen(words)) + (seen << 7);
    if (length > 0) seen = ds_crc32((uint32_t)seen, bytes, length) + (seen << 7);
    free(bytes);
    return 0;
}

static uint64_t look_at_home(void) {
    seen = 1;
    assert_int_equal(nftw(scratch_path("home"), look_at, 8, FTW_PHYS), 0);
    return seen;
}

/* Folders and files of the names that a report writes, so that whoever is led there finds something to destroy. */
static void begin(void) {
    char command[1024], name[128];
    (void)snprintf(command, sizeof command, "rm -rf '%s' '%s' '%s'", scratch_path("out"), scratch_path("home"),
                   scratch_path("moved"));
    assert_int_equal(system(command), 0);
    for (size_t i = 0; i < FILES; i++) {
        (void)snprintf(name, sizeof name, "%s/home/%s", scratch_path(""), files[i]);
        char *slash = strrchr(name, '/');
        *slash = '\0';
        expect_ok(ds_make_folder(name));
        *slash = '/';
        expect_ok(ds_write_file(name, "deltascope journal 1\n", 21));
        assert_int_equal(chmod(name, 0600), 0);
    }
    expect_ok(ds_make_folder(scratch_path("home/figures")));
    expect_ok(ds_make_folder(scratch_path("out")));
}

/* ---- the other process: relative to the scratch folder, failures are fine ---------------------------------------- */

static void plant(const char *place, const char *own_name, size_t kind) {
    char target[128];
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const int made = kind == 5 ? socket(AF_UNIX, SOCK_STREAM, 0) : -1;
    (void)snprintf(target, sizeof target, "%s/home/%s", scratch_path(""), own_name);
    switch (kind) {
    case 0:
        (void)!symlink(target, place);
        break;
    case 1:
        (void)!symlink("nowhere", place);
        break;
    case 2:
        (void)!link(target, place);
        break;
    case 3:
        (void)!mkfifo(place, 0666);
        break;
    case 4:
        (void)!mknod(place, S_IFCHR | 0666, makedev(1, 3));
        break;
    case 5:
        (void)snprintf(address.sun_path, sizeof address.sun_path, "%.100s", place);
        (void)!bind(made, (const struct sockaddr *)&address, sizeof address);
        (void)close(made);
        break;
    default:
        (void)!symlink(scratch_path("home"), place);
        break;
    }
}

/* Whether a run has opened the folder: it holds the lock then. */
static bool is_locked(const char *path) {
    const int descriptor = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    const bool locked = descriptor >= 0 && flock(descriptor, LOCK_SH | LOCK_NB) != 0;
    if (descriptor >= 0) (void)close(descriptor);
    return locked;
}

/* `gentle`: what is written stays, and only what is not yet there is laid. */
static void swap_once(ds_random *random, bool gentle) {
    char place[128];
    const size_t drawn = ds_random_below(random, 8);
    if (drawn < 4) { /* a file, which stays exchanged until it is written */
        const char *name = files[ds_random_below(random, FILES)];
        (void)snprintf(place, sizeof place, "out/%s", name);
        if (!gentle) (void)unlink(place);
        plant(place, name, ds_random_below(random, 7));
        return;
    }
    const char *name = folders[ds_random_below(random, FOLDERS)];
    if (drawn == 7) { /* not before a run has opened it: then the link would be what somebody typed */
        if (!is_locked("out")) return;
        if (rename("out", "moved") != 0) return;
        (void)!symlink("home", "out");
        (void)usleep((useconds_t)ds_random_below(random, 3000));
        (void)unlink("out");
        (void)!rename("moved", "out");
        return;
    }
    (void)snprintf(place, sizeof place, "out/%s", name);
    if (rename(place, "out/aside") != 0) return;
    plant(place, name, ds_random_below(random, 7));
    (void)usleep((useconds_t)ds_random_below(random, 3000));
    (void)unlink(place);
    (void)!rename("out/aside", place);
}

static pid_t start_swapping(uint64_t seed) {
    const pid_t parent = getpid(), process = fork();
    assert_true(process >= 0);
    if (process > 0) return process;
    ds_random random = ds_random_init(seed);
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent || chdir(scratch_path("")) != 0) _exit(1);
    const bool gentle = ds_random_below(&random, 3) > 0;
    const uint64_t longest = UINT64_C(2000) << ds_random_below(&random, 12); /* microseconds: a run of some peace, or of none */
    for (;;) {
        (void)usleep((useconds_t)ds_random_below(&random, longest));
        swap_once(&random, gentle);
    }
}

/* ---- rounds ------------------------------------------------------------------------------------------------------ */

void swap_while_reporting(size_t rounds, uint64_t seed) {
    ds_random random = ds_random_init(seed);
    size_t ended[5] = {0};
    for (size_t round = 0; round < rounds; round++) {
        child result;
        int how;
        begin();
        const uint64_t before = look_at_home();
        const pid_t swapper = start_swapping(ds_random_u64(&random));
        child_run(&result,
                  (const char *const[]){"report", "--tokens", "fixtures/data/val.bin", "--seq-len", "8", "--sequences", "2",
                                        "--quiet", "--skip", "spectrum,weights,controls,gradflow,jacobians,verify", "--out",
                                        scratch_path("out"), "fixtures/models/option-cc-ec-causal",
                                        ds_random_below(&random, 2) == 0 ? "--resume" : NULL, NULL},
                  (child_limits){.seconds = 120});
        (void)kill(swapper, SIGKILL);
        assert_int_equal(waitpid(swapper, &how, 0), swapper);
        if (!WIFSIGNALED(how)) fail_msg("nobody exchanged anything");
        if (result.status != 0 && result.status != 3 && result.status != 4)
            fail_msg("round %zu of seed %" PRIu64 ": status %d, signal %d: %s", round, seed, result.status, result.signal,
                     result.err);
        if (result.status != 0 && strstr(result.err, "deltascope: ") == NULL) fail_msg("without a sentence: %s", result.err);
        ended[result.status]++;
        if (look_at_home() != before)
            fail_msg("round %zu of seed %" PRIu64 ": something outside the folder was touched", round, seed);
    }
    print_message("%zu rounds, seed %" PRIu64 ": %zu reports were finished, %zu refused what they found, %zu could not write\n",
                  rounds, seed, ended[0], ended[3], ended[4]);
}
