/* What commands print when piped: at most 80 columns, no escape sequences, no spaces at the end of a line; in ASCII where the
 * locale is not UTF-8; and what they show on a terminal. */
#include <math.h>
#include <pty.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <jansson.h>

#include "cli/command.h"
#include "cli/text_wrapping.h"
#include "commands/training_line.h"
#include "deltascope/io.h"
#include "deltascope/report.h"
#include "scratch.h"
#include "support.h"

#define DATA " --tokens fixtures/data/val.bin --sequences 2 --seq-len 16"

static const char *const commands[] = {
    "inspect",
    "gates" DATA,
    "spectrum" DATA,
    "spectrum --positions all" DATA,
    "spectrum --certify" DATA,
    "spectrum --positions all --null random-directions --weights --end-to-end 0 --count 2 --by-depth --shadow 1" DATA,
    "ablate" DATA,
    "ablate --modes open,write-only --scopes each" DATA,
    "gradflow" DATA,
    "gradflow --jacobian last --jacobian-sublayers 0.mlp --measure --per-position" DATA,
    "verify" DATA,
    "trace --tokens fixtures/data/val.bin --show loss",
    "compare fixtures/models/additive-small" DATA,
};
static const char *const additive[] = {
    "inspect",
    "gates" DATA,
    "ablate" DATA,
    "gradflow" DATA,
    "verify" DATA,
    "spectrum --weights" DATA,
    "trace --tokens fixtures/data/val.bin",
};

static void expect_ascii(const char *path, const char *line) {
    char *printed;
    size_t length;
    expect_ok(ds_read_file(&printed, &length, path, 1 << 22));
    for (size_t i = 0; i < length; i++) {
        bool plain = printed[i] == '\n' || printed[i] == '\t' || (printed[i] >= ' ' && printed[i] < 0x7F);
        if (!plain) fail_msg("%s\nbyte 0x%02X at %zu", line, (unsigned char)printed[i], i);
    }
    free(printed);
}

static void expect_plain(const char *locale, const char *command, const char *model) {
    const char *program = getenv("DELTASCOPE") != NULL ? getenv("DELTASCOPE") : "build/deltascope",
               *path = scratch_path("printed");
    char line[1024], *printed;
    size_t length;
    (void)snprintf(line, sizeof line, "LC_ALL=%s %s %s fixtures/models/%s >%s 2>%s", locale, program, command, model, path,
                   scratch_path("said"));
    if (system(line) != 0) fail_msg("fails: %s", line);
    if (strcmp(locale, "C") == 0) {
        expect_ascii(path, line);
        expect_ascii(scratch_path("said"), line);
    }
    expect_ok(ds_read_file(&printed, &length, path, 1 << 22));
    if (length == 0) fail_msg("prints nothing: %s", line);
    if (printed[0] == '\n') fail_msg("begins with an empty line: %s", line);
    assert_null(memchr(printed, '\033', length));
    for (char *at = strtok(printed, "\n"); at != NULL; at = strtok(NULL, "\n")) {
        size_t columns = 0;
        for (const char *byte = at; *byte != '\0'; byte++) columns += ((unsigned char)*byte & 0xC0) != 0x80;
        if (columns > 80) fail_msg("%s\n%zu columns: %s", line, columns, at);
        if (at[strlen(at) - 1] == ' ') fail_msg("%s\nends with a space: %s", line, at);
    }
    free(printed);
}

static void test_delta_models(void **state) {
    (void)state;
    static const char *const models[] = {"ddl-cc-ec", "scalar-ckpt", "tc-ec-sharded"};
    for (size_t m = 0; m < 3; m++) {
        for (size_t c = 0; c < sizeof commands / sizeof *commands; c++) expect_plain("C.UTF-8", commands[c], models[m]);
    }
}

static void test_additive_model(void **state) {
    (void)state;
    for (size_t c = 0; c < sizeof additive / sizeof *additive; c++) expect_plain("C.UTF-8", additive[c], "additive-small");
}

static void test_without_unicode(void **state) {
    (void)state;
    for (size_t c = 0; c < sizeof commands / sizeof *commands; c++) expect_plain("C", commands[c], "cc-bf16");
}

/* Formulas of the checks: in signs where the locale has them, in ASCII elsewhere, the same in JSON whatever the locale. */
static void test_formulas(void **state) {
    (void)state;
    static const char *const locales[] = {"C.UTF-8", "C"};
    static const char *const formulas[] = {"‖AᵀA − I‖₂ = |(1 − b)² − 1|", "||A^TA - I||_2 = |(1 - b)^2 - 1|"};
    const char *program = getenv("DELTASCOPE") != NULL ? getenv("DELTASCOPE") : "build/deltascope";
    for (size_t i = 0; i < 2; i++) {
        char line[1024], *text;
        size_t length;
        (void)snprintf(line, sizeof line,
                       "LC_ALL=%s %s verify --only operator.orthogonality --tokens fixtures/data/val.bin --seq-len 8 --json %s "
                       "fixtures/models/cc-bf16 >%s",
                       locales[i], program, scratch_path("formulas.json"), scratch_path("printed"));
        assert_int_equal(system(line), 0);
        expect_ok(ds_read_file(&text, &length, scratch_path("printed"), 1 << 20));
        if (strstr(text, formulas[i]) == NULL) fail_msg("%s: %s", locales[i], text);
        free(text);
        expect_ok(ds_read_file(&text, &length, scratch_path("formulas.json"), 1 << 20));
        assert_non_null(strstr(text, formulas[0]));
        free(text);
    }
}

/* Whatever the program prints, help and refusals with names from outside too, and whatever stands for the locale. */
static void test_ascii_alone(void **state) {
    (void)state;
    static const char *const locales[] = {"LC_ALL=C", "LC_ALL=POSIX", "LC_ALL= LC_CTYPE= LANG=", "LC_ALL=de_DE.ISO-8859-1"};
    static const char *const lines[] = {
        /* @ stands for a folder */
        "--help",
        "--version",
        "plot --list",
        "gates --tokens fixtures/data/val.bin --sequences 1 --seq-len 8 --json @/gates.json fixtures/models/scalar-ckpt",
        "plot --figure gate-distribution --out @/ä @/gates.json",
        "verify --list",
        "verify --recipe",
        "completion bash",
        "completion zsh",
        "completion fish",
        "man",
        "gätes",
        "gates --tökens x fixtures/models/cc-bf16",
        "gates --tokens fixtures/data/vål.bin fixtures/models/cc-bf16",
        "inspect 'fixtures/models/β \xFF\x1B'",
        "ablate --modes clösed --tokens fixtures/data/val.bin fixtures/models/cc-bf16",
        "trace --text 'To bé' --tokenizer fixtures/data/meta.pkl fixtures/models/scalar-ckpt",
        "trace --text 'Überall' --tokenizer fixtures/tokenizer/gpt2 fixtures/models/scalar-ckpt",
        "trace --tokens fixtures/data/val.bin --show edit --seq-len 9 fixtures/models/scalar-ckpt",
        "tokenize --text fixtures/data/val.bin --tokenizer fixtures/tokenizer/gpt2 --output @/ids.bin",
        "report --sequences 1 --skip verify,weights --out @/ö --tokens fixtures/data/val.bin fixtures/models/cc-bf16",
    };
    const char *program = getenv("DELTASCOPE") != NULL ? getenv("DELTASCOPE") : "build/deltascope";
    char folder[256], line[1024], command[512];
    (void)snprintf(folder, sizeof folder, "%s", scratch_write("ascii/x", "", 0));
    *strrchr(folder, '/') = '\0';
    size_t count = sizeof lines / sizeof *lines;
    for (size_t i = 0; i < count + ds_command_count; i++) {
        ds_text text = {0};
        for (const char *at = i < count ? lines[i] : ""; *at != '\0'; at++)
            expect_ok(*at == '@' ? ds_text_printf(&text, "%s", folder) : ds_text_append(&text, at, 1));
        if (i < count) (void)snprintf(command, sizeof command, "%s", text.bytes);
        ds_text_release(&text);
        if (i >= count) (void)snprintf(command, sizeof command, "%s --help", ds_commands[i - count]->name);
        const char *locale = locales[i % (sizeof locales / sizeof *locales)];
        (void)snprintf(line, sizeof line, "env %s %s %s >%s 2>%s", locale, program, command, scratch_path("printed"),
                       scratch_path("said"));
        int status = system(line);
        assert_true(WIFEXITED(status));
        expect_ascii(scratch_path("printed"), line);
        expect_ascii(scratch_path("said"), line);
    }
}

/* Results are not translated: the bytes on standard output are those of the file. */
static void test_results_stay_as_they_are(void **state) {
    (void)state;
    const char *program = getenv("DELTASCOPE") != NULL ? getenv("DELTASCOPE") : "build/deltascope";
    char line[1024];
    json_error_t error;
    for (size_t i = 0; i < 2; i++) {
        (void)snprintf(
            line, sizeof line,
            "LC_ALL=C %s trace --text 'To be' --tokenizer fixtures/data/meta.pkl --json %s fixtures/models/scalar-ckpt "
            ">%s",
            program, i == 0 ? "-" : scratch_path("r.json"), i == 0 ? scratch_path("printed") : "/dev/null");
        assert_int_equal(system(line), 0);
    }
    json_t *printed = json_load_file(scratch_path("printed"), 0, &error),
           *written = json_load_file(scratch_path("r.json"), 0, &error);
    assert_true(printed != NULL && written != NULL);
    const json_t *label =
        json_object_get(json_array_get(json_object_get(json_object_get(printed, "results"), "tokens"), 2), "label");
    assert_string_equal(json_string_value(label), "␣");
    assert_true(json_equal(json_object_get(printed, "results"), json_object_get(written, "results")));
    json_decref(printed);
    json_decref(written);
}

/* ---- on a terminal ------------------------------------------------------------------------------------------------- */

/* The program on a terminal of that kind and width. */
static pid_t start_on_terminal(int *terminal, unsigned short width, const char *const *variables,
                               const char *const *arguments) {
    const char *program = getenv("DELTASCOPE") != NULL ? getenv("DELTASCOPE") : "build/deltascope";
    const char *argv[32] = {program};
    const struct winsize size = {.ws_row = 24, .ws_col = width};
    for (size_t i = 0; arguments[i] != NULL; i++) argv[i + 1] = arguments[i];
    (void)fflush(NULL);
    pid_t pid = forkpty(terminal, NULL, NULL, &size);
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)unsetenv("NO_COLOR");
        for (size_t i = 0; variables[i] != NULL; i += 2) (void)setenv(variables[i], variables[i + 1], 1);
        (void)execv(program, (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    return pid;
}

/* What the program writes to it; cut after `capacity`. */
static size_t on_terminal(char *shown, size_t capacity, const char *const *variables, const char *const *arguments) {
    int terminal, status;
    size_t used = 0;
    pid_t pid = start_on_terminal(&terminal, 80, variables, arguments);
    for (ssize_t got; used < capacity && (got = read(terminal, shown + used, capacity - used)) > 0;) used += (size_t)got;
    (void)close(terminal);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    return used;
}

/* Colour where the terminal has it and nobody asked for none; without it no escapes at all, progress included. */
static void test_terminals(void **state) {
    (void)state;
    static const struct {
        const char *variables[7];
        bool colour, ascii;
    } cases[] = {
        {{"TERM", "xterm-256color", "LC_ALL", "C.UTF-8", NULL}, true, false},
        {{"TERM", "xterm-256color", "LC_ALL", "C", NULL}, true, true},
        {{"TERM", "xterm-256color", "LC_ALL", "C.UTF-8", "NO_COLOR", "1", NULL}, false, false},
        {{"TERM", "xterm-256color", "LC_ALL", "C.UTF-8", "NO_COLOR", "", NULL}, true, false},
        {{"TERM", "dumb", "LC_ALL", "C.UTF-8", NULL}, false, false},
        {{"TERM", "dumb", "LC_ALL", "C", NULL}, false, true},
        {{"TERM", "", "LC_ALL", "C", NULL}, false, true},
    };
    /* long enough for a progress line: more than half a second */
    static const char *const shows[][14] = {
        {"gates", "--tokens", "fixtures/data/val.bin", "--sequences", "1", "fixtures/models/cc-bf16", NULL},
        {"trace", "--tokens", "fixtures/data/val.bin", "--seq-len", "16", "fixtures/models/cc-bf16", NULL},
        {"verify", "--tokens", "fixtures/data/val.bin", "--sequences", "1", "--seq-len", "16", "fixtures/models/cc-bf16", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t count = sizeof shows / sizeof *shows - (i != 5); /* the long one once, where neither is wanted */
        for (size_t c = 0; c < count; c++) {
            static char shown[1 << 18];
            size_t length = on_terminal(shown, sizeof shown, cases[i].variables, shows[c]);
            bool escapes = memchr(shown, '\033', length) != NULL;
            if (length < 100) fail_msg("%s, case %zu: shows nothing", shows[c][0], i);
            if (escapes && !cases[i].colour) fail_msg("%s, case %zu: escapes", shows[c][0], i);
            if (!escapes && cases[i].colour && c < 2) fail_msg("%s, case %zu: no colour", shows[c][0], i);
            for (size_t at = 0; cases[i].ascii && at < length; at++) {
                if ((unsigned char)shown[at] >= 0x80) fail_msg("%s, case %zu: byte %zu", shows[c][0], i, at);
            }
        }
    }
}

/* The line of a training is narrower than the terminal, whatever it has to tell, and ASCII where that is wanted. */
static void test_lines_of_a_training(void **state) {
    (void)state;
    ds_random random = ds_random_init(0x11e);
    for (size_t i = 0; i < 2000; i++) {
        double curve[12];
        const size_t count = 1 + ds_random_below(&random, 12);
        ds_training_line line = {
            {40 + ds_random_below(&random, 120), false, i % 2 == 0}, 1e11 * ds_random_uniform(&random), ""};
        const ds_update update = {.loss = exp(30 * ds_random_uniform(&random) - 10),
                                  .learning_rate = ds_random_uniform(&random)};
        const ds_training_progress now = {.update = &update,
                                          .done = ds_random_below(&random, 1000000),
                                          .updates = 1000000,
                                          .tokens_per_second = exp(20 * ds_random_uniform(&random)),
                                          .operations_per_second = 1e10,
                                          .curve = curve,
                                          .curve_count = count};
        for (size_t k = 0; k < count; k++) curve[k] = i % 7 == 0 ? 1 : ds_random_uniform(&random);
        const char *text = ds_training_line_text(&line, &now);
        const size_t columns = ds_text_columns(text, strlen(text));
        assert_true(ds_is_utf8(text, strlen(text)) && strncmp(text, "loss ", 5) == 0);
        if (columns + strlen(" 100%, 1:23:45 left ") >= line.terminal.width) fail_msg("%zu: %s", line.terminal.width, text);
        if (columns != strlen(text) && !line.terminal.unicode) fail_msg("not ASCII: %s", text);
        if (line.terminal.width > 120) assert_non_null(strstr(text, " of 1000000"));
    }
}

/* So it is drawn, over and over, until Ctrl-C ends the run with what it has. */
static void test_a_training_on_a_terminal(void **state) {
    (void)state;
    static const char *const variables[] = {"TERM", "xterm-256color", "LC_ALL", "C.UTF-8", NULL};
    const char *const arguments[] = {"train",
                                     "--recipe",
                                     "fixtures/recipes/shakespeare.json",
                                     "--set",
                                     "seq_len=16",
                                     "--set",
                                     "batch=2",
                                     "--set",
                                     "val_windows=1",
                                     "--from",
                                     "fixtures/training/ddl-cc-ec/initial",
                                     "--tokens",
                                     "fixtures/training/train-tokens.bin",
                                     "--val",
                                     "fixtures/training/val-tokens.bin",
                                     "--set",
                                     "steps=1000000",
                                     "--threads",
                                     "1",
                                     "--out",
                                     scratch_path("drawn"),
                                     NULL};
    char shown[8192];
    int terminal, status;
    size_t used = 0, lines = 0;
    bool asked = false;
    pid_t pid = start_on_terminal(&terminal, 80, variables, arguments);
    for (ssize_t got; used + 1 < sizeof shown && (got = read(terminal, shown + used, sizeof shown - 1 - used)) > 0;) {
        for (const char *at = shown + used; at < shown + used + got; at++) lines += *at == '\r';
        used += (size_t)got;
        if (lines < 2 || asked) continue;
        asked = true;
        assert_int_equal(write(terminal, "\003", 1), 1);
    }
    shown[used] = '\0';
    (void)close(terminal);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    char *rest = shown, *line = strtok_r(shown, "\r\n", &rest);
    if (line == NULL || strstr(line, " left") == NULL) fail_msg("no progress: %s", line);
    assert_true(ds_text_columns(line, strlen(line)) < 80);
    const char *const words[] = {"loss ", "tok/s", "% gemm", "lr ", "▁"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strstr(line, words[i]) == NULL) fail_msg("no \"%s\" in: %s", words[i], line);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGINT) fail_msg("status %#x: %s", (unsigned)status, rest);
}

static void expect_words(const char *command, const char *words, const char *other) {
    char *printed;
    size_t length;
    expect_plain("C.UTF-8", command, strstr(words, "branch") != NULL ? "additive-small" : "cc-bf16");
    expect_ok(ds_read_file(&printed, &length, scratch_path("printed"), 1 << 22));
    if (strstr(printed, words) == NULL) fail_msg("%s: no \"%s\" in\n%s", command, words, printed);
    if (other != NULL && strstr(printed, other) != NULL) fail_msg("%s: \"%s\" in\n%s", command, other, printed);
    free(printed);
}

/* What was asked for is shown; what a checkpoint has not got is not. */
static void test_gradients(void **state) {
    (void)state;
    expect_words("gradflow --jacobian 1:3" DATA, "1.mlp          1         3", NULL);
    expect_words("gradflow" DATA, "est. Δ", "Jacobians");
    expect_words("gradflow --force closed:0.mlp" DATA, "|P'g|", "est. Δ");
    expect_words("gradflow" DATA, "branch", "gate");
}

static void test_one_of_each(void **state) {
    (void)state;
#define ONE " --tokens fixtures/data/val.bin --sequences 1 --seq-len 1"
    expect_words("inspect" ONE, "1 window of 1 spread", NULL);
    expect_words("gates" ONE, "over 1 window of 1 token\n", NULL);
    expect_words("ablate" ONE, "over 1 window of 1 token\n", NULL);
    expect_words("gradflow" ONE, "over 1 window of 1 token\n", NULL);
    expect_words("compare fixtures/models/scalar-ckpt" ONE, "same 1 window of 1 token\n", NULL);
    expect_words("trace --tokens fixtures/data/val.bin --seq-len 1", "1 token\n", NULL);
    expect_words("spectrum --positions all --null shuffled-gates --end-to-end 0:0" ONE, "token 0:0", NULL);
    expect_words("verify" ONE, " 0 failed", NULL);
}

/* A figure that is listed can be asked for: its whole name is there. */
static void test_figures_are_listed_whole(void **state) {
    (void)state;
    for (size_t i = 0; i < ds_figure_count(); i++) {
        char word[64];
        (void)snprintf(word, sizeof word, "\n%s  ", ds_figure_id(ds_figure_at(i)));
        expect_words("plot --list", word, "…");
    }
}

/* A result on standard output stands there alone, so that other programs can read it. */
static void expect_json(const char *command, const char *model) {
    const char *program = getenv("DELTASCOPE") != NULL ? getenv("DELTASCOPE") : "build/deltascope";
    char line[1024];
    json_error_t error;
    (void)snprintf(line, sizeof line, "%s %s --json - fixtures/models/%s >%s", program, command, model,
                   scratch_path("printed"));
    if (system(line) != 0) fail_msg("fails: %s", line);
    json_t *envelope = json_load_file(scratch_path("printed"), 0, &error);
    if (envelope == NULL) fail_msg("%s: %s, line %d", line, error.text, error.line);
    assert_string_equal(json_string_value(json_object_get(envelope, "schema")), "deltascope/1");
    json_decref(envelope);
}

static void test_results_on_standard_output(void **state) {
    (void)state;
    for (size_t c = 0; c < sizeof commands / sizeof *commands; c++) expect_json(commands[c], "scalar-ckpt");
    for (size_t c = 0; c < sizeof additive / sizeof *additive; c++) expect_json(additive[c], "additive-small");
}

static void test_report(void **state) {
    (void)state;
    char command[256];
    (void)snprintf(command, sizeof command, "report --skip inspect,weights,controls,gradflow,jacobians,verify --out %s" DATA,
                   scratch_path("report"));
    expect_plain("C.UTF-8", command, "cc-bf16");
    expect_json(command, "cc-bf16");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_delta_models),
        cmocka_unit_test(test_additive_model),
        cmocka_unit_test(test_without_unicode),
        cmocka_unit_test(test_formulas),
        cmocka_unit_test(test_ascii_alone),
        cmocka_unit_test(test_results_stay_as_they_are),
        cmocka_unit_test(test_terminals),
        cmocka_unit_test(test_lines_of_a_training),
        cmocka_unit_test(test_a_training_on_a_terminal),
        cmocka_unit_test(test_gradients),
        cmocka_unit_test(test_one_of_each),
        cmocka_unit_test(test_figures_are_listed_whole),
        cmocka_unit_test(test_results_on_standard_output),
        cmocka_unit_test(test_report),
    };
    return cmocka_run_group_tests_name("output", tests, NULL, NULL);
}
