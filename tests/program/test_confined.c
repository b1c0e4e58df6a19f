/* A folder from a stranger given as --out: whatever was planted in it, nothing outside it changes and nothing in it is run. */
#include <dirent.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "child.h"
#include "deltascope/io.h"
#include "scratch.h"
#include "support.h"
#include "swapper.h"

#define MODEL "fixtures/models/option-cc-ec-causal"
#define DATA "--tokens", "fixtures/data/val.bin", "--seq-len", "16", "--sequences", "2", "--quiet"
#define CHEAP_REPORT "--skip", "spectrum,weights,ablate,controls,gradflow,jacobians,verify"

static const child_limits usual = {.seconds = 120};
static const char precious[] = "precious\n";

/* ---- what has to stay as it is ----------------------------------------------------------------------------------- */

static void begin(void) {
    char command[1024];
    (void)snprintf(command, sizeof command, "rm -rf '%s' '%s'", scratch_path("out"), scratch_path("home"));
    assert_int_equal(system(command), 0);
    (void)scratch_write("home/victim", precious, sizeof precious - 1);
    assert_int_equal(chmod(scratch_path("home/victim"), 0600), 0);
    expect_ok(ds_make_folder(scratch_path("out")));
}

static void expect_untouched(const char *what) {
    size_t entries = 0, length;
    struct stat info;
    char *bytes;
    DIR *folder = opendir(scratch_path("home"));
    assert_non_null(folder);
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) entries += entry->d_name[0] != '.';
    (void)closedir(folder);
    expect_ok(ds_read_file(&bytes, &length, scratch_path("home/victim"), 100));
    assert_int_equal(stat(scratch_path("home/victim"), &info), 0);
    if (entries != 1 || strcmp(bytes, precious) != 0 || (info.st_mode & 07777) != 0600)
        fail_msg("%s: something outside the folder was touched", what);
    free(bytes);
}

static void run(child *result, const char *const *arguments, int status, const char *what) {
    child_run(result, arguments, usual);
    if (result->status != status) fail_msg("%s: status %d, signal %d: %s", what, result->status, result->signal, result->err);
}

/* ---- files planted under every name of ours ---------------------------------------------------------------------- */

static char *names[256];
static size_t name_count, root_length;

static int collect(const char *path, const struct stat *info, int kind, struct FTW *walk) {
    (void)info, (void)walk;
    if (kind != FTW_F || name_count == sizeof names / sizeof *names) return 0;
    names[name_count] = strdup(path + root_length + 1);
    return names[name_count++] == NULL;
}

/* The names that the command writes into an empty folder. */
static void collect_names(const char *const *arguments) {
    child result;
    begin();
    while (name_count > 0) free(names[--name_count]);
    run(&result, arguments, 0, "an empty folder");
    root_length = strlen(scratch_path("out"));
    assert_int_equal(nftw(scratch_path("out"), collect, 8, FTW_PHYS), 0);
    assert_true(name_count > 2);
}

static void plant(const char *name, size_t kind) {
    char path[512];
    (void)snprintf(path, sizeof path, "%s/%s", scratch_path("out"), name);
    char *slash = strrchr(path, '/');
    *slash = '\0';
    expect_ok(ds_make_folder(path));
    *slash = '/';
    if (kind == 0)
        assert_int_equal(symlink(scratch_path("home/victim"), path), 0);
    else if (kind == 1)
        assert_int_equal(symlink(scratch_path("home/new"), path), 0);
    else if (kind == 2)
        assert_int_equal(symlink(scratch_path("home"), path), 0);
    else
        assert_int_equal(mkfifo(path, 0600), 0);
}

/* Each round plants a link or a pipe under about half of the names, drawn at random; the run ends well and in time, and every
 * name is a file of ours afterwards. */
static void check_planted_names(const char *const *arguments, size_t rounds, uint64_t seed) {
    ds_random random = ds_random_init(seed);
    collect_names(arguments);
    for (size_t round = 0; round < rounds; round++) {
        child result;
        begin();
        for (size_t i = 0; i < name_count; i++) {
            if (ds_random_below(&random, 2) == 0) plant(names[i], ds_random_below(&random, 4));
        }
        run(&result, arguments, 0, arguments[0]);
        expect_untouched(arguments[0]);
        for (size_t i = 0; i < name_count; i++) {
            struct stat info;
            char path[512];
            (void)snprintf(path, sizeof path, "%s/%s", scratch_path("out"), names[i]);
            if (lstat(path, &info) != 0 || !S_ISREG(info.st_mode))
                fail_msg("%s: %s is no file of ours", arguments[0], names[i]);
        }
    }
}

static void names_of_files(void **state) {
    (void)state;
    const char *out = scratch_path("out");
    check_planted_names((const char *const[]){"gates", DATA, "--out", out, MODEL, NULL}, 4, 1);
    check_planted_names((const char *const[]){"ablate", DATA, "--scopes", "all", "--out", out, MODEL, NULL}, 4, 2);
    check_planted_names((const char *const[]){"trace", "--tokens", "fixtures/data/val.bin", "--seq-len", "8", "--quiet",
                                              "--out", out, MODEL, NULL},
                        4, 3);
    check_planted_names((const char *const[]){"report", DATA, CHEAP_REPORT, "--out", out, MODEL, NULL}, 3, 4);
}

/* A journal's name, which no finished run leaves behind in results/. */
static void names_of_journals(void **state) {
    (void)state;
    static const char *const journals[] = {"report.journal", "results/ablate.journal", "results/spectrum.journal"};
    for (size_t i = 0; i < 3; i++) {
        for (size_t kind = 0; kind < 4; kind++) {
            child result;
            begin();
            plant(journals[i], kind);
            run(&result,
                (const char *const[]){"report", DATA, "--skip", "weights,controls,gradflow,jacobians,verify,gates,inspect",
                                      "--out", scratch_path("out"), MODEL, NULL},
                0, journals[i]);
            expect_untouched(journals[i]);
        }
    }
}

/* A file that is no journal is nobody's to empty. */
static void a_foreign_file_is_no_journal(void **state) {
    (void)state;
    child result;
    size_t length;
    char *bytes;
    begin();
    (void)scratch_write("out/ablate.journal", precious, sizeof precious - 1);
    run(&result, (const char *const[]){"ablate", DATA, "--out", scratch_path("out"), MODEL, NULL}, 3, "a foreign journal");
    assert_non_null(strstr(result.err, "ablate.journal: not a journal"));
    expect_ok(ds_read_file(&bytes, &length, scratch_path("out/ablate.journal"), 100));
    assert_string_equal(bytes, precious);
    free(bytes);
}

/* A journal of another run, or an empty file, under a second name: refused before a byte of it changes, with --resume and
 * without; what is made anew and put in place only takes the name. */
static void hard_links_to_victims(void **state) {
    (void)state;
    ds_random random = ds_random_init(0x2a4d);
    static const char *const journals[] = {"report.journal", "results/ablate.journal", "results/spectrum.journal"};
    static const char *const contents[] = {"deltascope journal 1\nwith records", "deltascope journal 1\n", "", precious};
    for (size_t draw = 0; draw < 6; draw++) {
        const char *name = journals[ds_random_below(&random, 3)], *content = contents[ds_random_below(&random, 4)];
        struct stat before, after;
        char path[512], *bytes;
        size_t length;
        child result;
        begin();
        (void)scratch_write("home/victim", content, strlen(content));
        (void)snprintf(path, sizeof path, "%s/%s", scratch_path("out"), name);
        expect_ok(ds_make_folder(scratch_path("out/results")));
        assert_int_equal(link(scratch_path("home/victim"), path), 0);
        assert_int_equal(stat(scratch_path("home/victim"), &before), 0);
        run(&result,
            (const char *const[]){"report", DATA, "--skip", "weights,controls,gradflow,jacobians,verify,gates,inspect", "--out",
                                  scratch_path("out"), MODEL, ds_random_below(&random, 2) == 0 ? "--resume" : NULL, NULL},
            4, name);
        if (strstr(result.err, "has another name (a hard link)") == NULL) fail_msg("%s: %s", name, result.err);
        assert_int_equal(stat(scratch_path("home/victim"), &after), 0);
        assert_int_equal(after.st_mtim.tv_sec, before.st_mtim.tv_sec);
        assert_int_equal(after.st_mtim.tv_nsec, before.st_mtim.tv_nsec);
        expect_ok(ds_read_file(&bytes, &length, scratch_path("home/victim"), 100));
        assert_string_equal(bytes, content);
        free(bytes);
    }
}

/* ---- folders ----------------------------------------------------------------------------------------------------- */

static void places_of_folders(void **state) {
    (void)state;
    static const char *const folders[] = {"tables", "figures", "results"};
    for (size_t i = 0; i < 3; i++) {
        for (size_t kind = 0; kind < 4; kind++) {
            child result;
            char place[64];
            begin();
            plant(folders[i], kind);
            run(&result, (const char *const[]){"report", DATA, CHEAP_REPORT, "--out", scratch_path("out"), MODEL, NULL}, 4,
                folders[i]);
            (void)snprintf(place, sizeof place, "out/%s: a link or a file lies where a folder is needed", folders[i]);
            if (strstr(result.err, place) == NULL) fail_msg("%s: %s", place, result.err);
            expect_untouched(folders[i]);
        }
    }
}

/* ---- names ------------------------------------------------------------------------------------------------------- */

/* A checkpoint's folder named to drive terminals, or in no UTF-8: no page passes the name on as it is. */
static void names_of_strangers(void **state) {
    (void)state;
    static const char *const folders[] = {"a\x1b]0;own\x07", "a\xff\xfe",
                                          "a\xc2\x9b"
                                          "31m",
                                          "a\xe2\x80\xae"
                                          "lmth"};
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        child result;
        const char *const pages[] = {"out/trace.html", "out/trace.svg", "out/trace.json", "out/tables/trace.csv"};
        begin();
        char *target = realpath(MODEL, NULL);
        assert_non_null(target);
        (void)unlink(scratch_path(folders[i]));
        assert_int_equal(symlink(target, scratch_path(folders[i])), 0);
        free(target);
        run(&result,
            (const char *const[]){"trace", "--tokens", "fixtures/data/val.bin", "--seq-len", "8", "--out", scratch_path("out"),
                                  scratch_path(folders[i]), NULL},
            0, folders[i]);
        for (size_t p = 0; p < sizeof pages / sizeof *pages; p++) {
            size_t length;
            char *bytes;
            expect_ok(ds_read_file(&bytes, &length, scratch_path(pages[p]), 1 << 24));
            for (size_t at = 0, step; at < length; at += step) {
                uint32_t point;
                step = ds_utf8_decode(&point, bytes + at, length - at);
                if (step == 0) fail_msg("%s: not UTF-8 at byte %zu", pages[p], at);
                if (ds_is_hidden(point) && strchr("\t\r\n", (int)point) == NULL) fail_msg("%s: U+%04X", pages[p], point);
            }
            free(bytes);
        }
    }
}

/* ---- programs and scripts ---------------------------------------------------------------------------------------- */

/* What gnuplot, its terminals or a shell would load or run, in the folder that is worked on. */
static void plant_programs(void) {
    static const struct {
        const char *name, *before, *after;
    } planted[] = {{"out/gnuplot", "#!/bin/sh\ntouch '", "'\n"},
                   {"out/gnuplot-tikz.lua", "os.execute(\"touch '", "'\")\n"},
                   {"out/.gnuplot", "system(\"touch '", "'\")\n"},
                   {"out/gnuplotrc", "system(\"touch '", "'\")\n"},
                   {"out/gate-distribution.gp", "system(\"touch '", "'\")\n"}};
    for (size_t i = 0; i < sizeof planted / sizeof *planted; i++) {
        char text[512];
        int length = snprintf(text, sizeof text, "%s%s%s", planted[i].before, scratch_path("home/new"), planted[i].after);
        (void)scratch_write(planted[i].name, text, (size_t)length);
        assert_int_equal(chmod(scratch_path(planted[i].name), 0755), 0);
    }
}

/* From within the folder, with relative and empty parts in PATH, and variables that send gnuplot there. */
static void nothing_there_is_run(void **state) {
    (void)state;
    static const char *const formats[] = {"svg", "pdf", "png", "tex"};
    const char *program = getenv("DELTASCOPE") != NULL ? getenv("DELTASCOPE") : "build/deltascope";
    char *absolute = realpath(program, NULL), command[8192];
    child result;
    assert_non_null(absolute);
    run(&result, (const char *const[]){"gates", DATA, "--json", scratch_path("g.json"), MODEL, NULL}, 0, "gates");
    for (size_t f = 0; f < 4; f++) {
        begin();
        plant_programs();
        (void)snprintf(command, sizeof command,
                       "cd '%s' && PATH=\".:out::$PATH\" HOME=. GNUTERM=qt GNUPLOT_LUA_DIR=. GNUPLOT_LIB=. '%s' plot --figure "
                       "gate-distribution --format %s --out . '%s' >/dev/null",
                       scratch_path("out"), absolute, formats[f], scratch_path("g.json"));
        assert_int_equal(system(command), 0);
        expect_untouched(formats[f]);
    }
    free(absolute);
}

static void exchanged_at_any_moment(void **state) {
    (void)state;
    swap_while_reporting(6, 20261128);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_of_files),
        cmocka_unit_test(names_of_journals),
        cmocka_unit_test(a_foreign_file_is_no_journal),
        cmocka_unit_test(hard_links_to_victims),
        cmocka_unit_test(places_of_folders),
        cmocka_unit_test(names_of_strangers),
        cmocka_unit_test(nothing_there_is_run),
        cmocka_unit_test(exchanged_at_any_moment),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    while (name_count > 0) free(names[--name_count]);
    return failed;
}
