/* Other programs at work: which one is found, what it gets to see, and that nothing of it remains, however it or we end. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "deltascope/io.h"
#include "scratch.h"
#include "support.h"

static int prepare(void **state) {
    (void)state;
    expect_ok(ds_make_folder(scratch_path("tmp")));
    assert_int_equal(setenv("TMPDIR", scratch_path("tmp"), 1), 0);
    assert_int_equal(setenv("PATH", "/usr/local/bin:/usr/bin:/bin", 1), 0);
    return 0;
}

/* Private folders that are there. */
static size_t count_private(void) {
    size_t count = 0;
    DIR *folder = opendir(scratch_path("tmp"));
    assert_non_null(folder);
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) count += entry->d_name[0] != '.';
    (void)closedir(folder);
    return count;
}

/* What sh makes of `command`; its output in *said, freed by the caller. */
static ds_status run_shell(char **said, ds_helper *helper, const char *command, double seconds) {
    char name[] = "sh", option[] = "-c", *words = strdup(command);
    char *arguments[] = {name, option, words, NULL};
    size_t length;
    int output = open(scratch_path("said"), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(output >= 0);
    ds_status status = ds_helper_run(helper, arguments, output, seconds);
    (void)close(output);
    free(words);
    if (said != NULL) expect_ok(ds_read_file(said, &length, scratch_path("said"), 1 << 16));
    return status;
}

/* ---- which program ----------------------------------------------------------------------------------------------- */

static void only_absolute_parts_of_the_path(void **state) {
    (void)state;
    static const char *const hidden[] = {"", ".", ":", "planted", ":planted:", "./planted:../planted", "planted/../planted"};
    char before[4096], path[8192];
    ds_helper *helper;
    assert_non_null(getcwd(before, sizeof before));
    (void)scratch_write("planted/tool", "#!/bin/sh\n", 10);
    assert_int_equal(chmod(scratch_path("planted/tool"), 0755), 0);
    assert_int_equal(chdir(scratch_path("")), 0);
    for (size_t i = 0; i < sizeof hidden / sizeof *hidden; i++) {
        assert_int_equal(setenv("PATH", hidden[i], 1), 0);
        expect_ok(ds_helper_open(&helper, "tool"));
        assert_null(helper);
        (void)snprintf(path, sizeof path, "%s:%s", hidden[i], scratch_path("planted"));
        assert_int_equal(setenv("PATH", path, 1), 0);
        expect_ok(ds_helper_open(&helper, "tool"));
        assert_non_null(helper);
        ds_helper_close(&helper);
    }
    assert_int_equal(chmod(scratch_path("planted/tool"), 0644), 0); /* no program */
    expect_ok(ds_helper_open(&helper, "tool"));
    assert_null(helper);
    assert_int_equal(chdir(before), 0);
    assert_int_equal(count_private(), 0);
}

/* ---- what it sees ------------------------------------------------------------------------------------------------ */

static void it_sees_what_it_is_given(void **state) {
    (void)state;
    static const char *const dropped[] = {"GNUTERM",    "GNUPLOT_LIB", "GNUPLOT_LUA_DIR", "GNUPLOT_DRIVER_DIR", "GDFONTPATH",
                                          "FIT_SCRIPT", "LUA_INIT",    "LUA_PATH",        "LD_PRELOAD_SCOPE",   "BASH_ENV"};
    ds_helper *helper;
    ds_text content = {0};
    char *said;
    for (size_t i = 0; i < sizeof dropped / sizeof *dropped; i++) assert_int_equal(setenv(dropped[i], "planted", 1), 0);
    assert_int_equal(setenv("LC_NUMERIC", "C", 1), 0);
    expect_ok(ds_text_printf(&content, "given\n"));
    expect_ok(ds_helper_open(&helper, "sh"));
    expect_ok(ds_helper_put(helper, "a.gp", &content));
    expect_failure(ds_helper_put(helper, "a.gp", &content), DS_ERR_SYSTEM, "cannot be written into");
    expect_ok(run_shell(&said, helper, "env; echo PLACE=$(pwd -P); echo FILES=$(ls -A); cat a.gp; cat", 60));
    for (size_t i = 0; i < sizeof dropped / sizeof *dropped; i++) assert_null(strstr(said, dropped[i]));
    assert_non_null(strstr(said, "LC_NUMERIC=C\n"));
    assert_non_null(strstr(said, "FILES=a.gp\n"));
    assert_non_null(strstr(said, "\ngiven\n"));
    char *real = realpath(scratch_path("tmp"), NULL), place[4096 + 32];
    assert_non_null(real);
    (void)snprintf(place, sizeof place, "PLACE=%s/deltascope-", real);
    free(real);
    assert_non_null(strstr(said, place));
    assert_non_null(strstr(said, "\nHOME=.\n")); /* not by a path, which others may come to own */
    assert_non_null(strstr(said, "\nTMPDIR=.\n"));
    assert_int_equal(count_private(), 1);
    ds_helper_close(&helper);
    assert_int_equal(count_private(), 0);
    free(said);
    ds_text_release(&content);
}

/* In a place where anybody may rename what lies there no folder is made; a program whose private folder was moved and replaced
 * before it runs sees what it was given, and the other folder stays. */
static void others_lead_it_nowhere(void **state) {
    (void)state;
    ds_helper *helper;
    ds_text content = {0};
    char *said;
    expect_ok(ds_text_printf(&content, "given\n"));
    assert_int_equal(chmod(scratch_path("tmp"), 0777), 0);
    expect_ok(ds_helper_open(&helper, "sh"));
    expect_ok(ds_helper_put(helper, "a", &content));
    assert_int_equal(count_private(), 0);
    ds_helper_close(&helper);
    assert_int_equal(chmod(scratch_path("tmp"), 01777), 0);
    expect_ok(ds_helper_open(&helper, "sh"));
    expect_ok(ds_helper_put(helper, "a", &content));
    assert_int_equal(system("cd \"$TMPDIR\" && own=$(echo deltascope-*) && [ $(stat -c %a $own) = 700 ] && mv $own moved && "
                            "mkdir $own && echo precious > $own/.gnuplot && echo precious > $own/a"),
                     0);
    expect_ok(
        run_shell(&said, helper, "cat a; ls -A . \"$HOME\" \"$TMPDIR\" | grep gnuplot; cat .gnuplot 2>/dev/null; true", 60));
    assert_string_equal(said, "given\n");
    free(said);
    ds_helper_close(&helper);
    assert_int_equal(
        system("cd \"$TMPDIR\" && [ -z \"$(ls -A moved)\" ] && [ $(cat deltascope-*/a deltascope-*/.gnuplot | grep -c "
               "precious) = 2 ] && rm -r moved deltascope-*"),
        0);
    assert_int_equal(setenv("TMPDIR", scratch_path("nowhere"), 1), 0);
    expect_ok(ds_helper_open(&helper, "sh"));
    expect_failure(ds_helper_put(helper, "a", &content), DS_ERR_SYSTEM, "the folder for temporary files (TMPDIR): ");
    ds_helper_close(&helper);
    assert_int_equal(chmod(scratch_path("tmp"), 0700), 0);
    ds_text_release(&content);
}

/* By an absolute path it is that program or none; without files no folder is made for it. */
static void without_files(void **state) {
    (void)state;
    ds_helper *helper;
    char *said;
    assert_int_equal(setenv("PATH", "/nowhere", 1), 0);
    expect_ok(ds_helper_open(&helper, "/bin/sh"));
    expect_ok(ds_helper_set(helper, "KIND", "of its own"));
    expect_ok(run_shell(&said, helper, "echo $KIND, $PWD", 60));
    assert_string_equal(said, "of its own, /\n");
    free(said);
    assert_int_equal(count_private(), 0);
    ds_helper_close(&helper);
    expect_ok(ds_helper_open(&helper, "/nowhere/sh"));
    expect_failure(run_shell(NULL, helper, "true", 60), DS_ERR_SYSTEM, "cannot be started");
    ds_helper_close(&helper);
}

/* ---- how it ends ------------------------------------------------------------------------------------------------- */

static void what_goes_wrong_is_told(void **state) {
    (void)state;
    static const struct {
        const char *command, *sentence;
    } cases[] = {
        {"echo no such font >&2; exit 3", "sh: ended with status 3: no such font"},
        {"kill -11 $$", "sh: ended with signal 11: "},
        {"mkdir -p a/b; echo x > a/b/c; mkfifo pipe; ln -s / root; exec sleep 300", "sh: not done after 0.2 seconds"},
        {"exec 2>&-; exec sleep 300", "sh: not done after 0.2 seconds"},
        {"sleep 300 & wait", "sh: not done after 0.2 seconds"},
        {"trap '' TERM INT HUP; while :; do sleep 1; done", "sh: not done after 0.2 seconds"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ds_helper *helper;
        expect_ok(ds_helper_open(&helper, "sh"));
        double started = ds_seconds();
        expect_failure(run_shell(NULL, helper, cases[i].command, strstr(cases[i].sentence, "0.2") != NULL ? 0.2 : 60),
                       DS_ERR_SYSTEM, cases[i].sentence);
        assert_true(ds_seconds() - started < 30);
        expect_ok(run_shell(NULL, helper, "true", 60)); /* the helper is as good as before */
        ds_helper_close(&helper);
        assert_int_equal(count_private(), 0);
    }
}

static void clean_up_and_die(int signal_number) {
    ds_helper_discard_all();
    (void)signal(signal_number, SIG_DFL);
    (void)raise(signal_number);
}

/* Whether the process that wrote its number to the file still runs. */
static bool lives(pid_t process) { return kill(process, 0) == 0 || errno != ESRCH; }

/* We end while a program is at work: after SIGTERM nothing remains, after SIGKILL the program has ended too. */
static void it_ends_with_us(void **state) {
    (void)state;
    static const int signals[] = {SIGTERM, SIGKILL};
    ds_random random = ds_random_init(20261129);
    for (size_t i = 0; i < 20; i++) {
        int signal_number = signals[i % 2], outcome;
        int numbers[2];
        pid_t program = 0;
        ds_text content = {0};
        assert_int_equal(pipe(numbers), 0);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            ds_helper *helper = NULL;
            char name[] = "sh", option[] = "-c", words[] = "echo $$; exec sleep 300";
            char *arguments[] = {name, option, words, NULL};
            (void)signal(SIGTERM, clean_up_and_die);
            bool ready = ds_text_printf(&content, "x") == DS_OK && ds_helper_open(&helper, "sh") == DS_OK &&
                         ds_helper_put(helper, "a", &content) == DS_OK;
            if (ready) (void)!ds_helper_run(helper, arguments, numbers[1], 300);
            _exit(1);
        }
        (void)close(numbers[1]);
        char text[32] = "";
        assert_true(read(numbers[0], text, sizeof text - 1) > 0);
        program = (pid_t)strtol(text, NULL, 10);
        assert_true(program > 1 && lives(program));
        (void)usleep((useconds_t)ds_random_below(&random, 2000));
        assert_int_equal(kill(child, signal_number), 0);
        assert_int_equal(waitpid(child, &outcome, 0), child);
        assert_true(WIFSIGNALED(outcome) && WTERMSIG(outcome) == signal_number);
        assert_int_equal(read(numbers[0], text, 1), 0); /* nobody holds the other end: the program is gone */
        (void)close(numbers[0]);
        assert_int_equal(count_private(), signal_number == SIGKILL);
        assert_int_equal(system("rm -rf \"$TMPDIR\"/*"), 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(only_absolute_parts_of_the_path, prepare),
        cmocka_unit_test_setup(it_sees_what_it_is_given, prepare),
        cmocka_unit_test_setup(others_lead_it_nowhere, prepare),
        cmocka_unit_test_setup(without_files, prepare),
        cmocka_unit_test_setup(what_goes_wrong_is_told, prepare),
        cmocka_unit_test_setup(it_ends_with_us, prepare),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
