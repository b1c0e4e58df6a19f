/* Help, manual page, completion, README and the parser tell the same story: all are compared with the command table. */
#include <stdlib.h>
#include <string.h>

#include "cli/command.h"
#include "deltascope/io.h"
#include "scratch.h"
#include "support.h"

/* What the program prints for these arguments; freed by the caller. */
static char *printed(const char *arguments) {
    const char *program = getenv("DELTASCOPE") != NULL ? getenv("DELTASCOPE") : "build/deltascope",
               *path = scratch_path("printed");
    char line[1024], *bytes;
    size_t length;
    (void)snprintf(line, sizeof line, "%s %s >%s", program, arguments, path);
    assert_int_equal(system(line), 0);
    expect_ok(ds_read_file(&bytes, &length, path, 1 << 20));
    return bytes;
}

static void expect_words(const char *text, const char *words, const char *where) {
    if (strstr(text, words) == NULL) fail_msg("%s does not contain \"%s\"", where, words);
}

/* Every character but white space, so that wrapping does not matter. */
static char *squeeze(const char *text) {
    char *out = malloc(strlen(text) + 1);
    size_t length = 0;
    assert_non_null(out);
    for (; *text != '\0'; text++) {
        if (strchr(" \n", *text) == NULL) out[length++] = *text;
    }
    out[length] = '\0';
    return out;
}

static void expect_same_words(const char *text, const char *words, const char *where) {
    char *a = squeeze(text), *b = squeeze(words);
    if (strstr(a, b) == NULL) fail_msg("%s does not say \"%s\"", where, words);
    free(a);
    free(b);
}

/* Examples may be longer: they are to be copied, not wrapped. */
static void expect_lines_fit(const char *text, size_t most, const char *where) {
    while (*text != '\0' && strncmp(text, "examples:", 9) != 0) {
        size_t length = strcspn(text, "\n");
        if (length > most) fail_msg("%s: %zu columns: %.*s", where, length, (int)length, text);
        text += length + (text[length] == '\n');
    }
}

static ds_status option_in_help(void *help, const ds_option *option, bool common) {
    char spelled[128];
    (void)common;
    (void)snprintf(spelled, sizeof spelled, "--%s%s%s", option->name, option->argument != NULL ? " " : "",
                   option->argument != NULL ? option->argument : "");
    expect_words(help, spelled, "the help");
    ds_text said = {0};
    expect_ok(ds_option_help(&said, option));
    assert_true(option->words == NULL || strchr(said.bytes, '*') == NULL);
    expect_same_words(help, said.bytes, "the help");
    ds_text_release(&said);
    return DS_OK;
}

static void test_help_of_every_command(void **state) {
    (void)state;
    char *all = printed("--help");
    expect_lines_fit(all, 79, "--help");
    for (size_t i = 0; i < ds_command_count; i++) {
        const ds_command *command = ds_commands[i];
        char arguments[128], row[256];
        (void)snprintf(arguments, sizeof arguments, "%s --help", command->name);
        (void)snprintf(row, sizeof row, "\n  %-12s %s\n", command->name, command->summary);
        expect_words(all, row, "--help");
        char *help = printed(arguments);
        expect_lines_fit(help, 79, arguments);
        expect_words(help, command->summary, arguments);
        expect_same_words(help, command->description, arguments);
        expect_ok(ds_command_each_option(command, option_in_help, help));
        free(help);
    }
    free(all);
}

/* roff's spelling of a word without backslashes. */
static void spell(char *out, const char *word) {
    for (; *word != '\0'; word++) {
        if (*word == '-') *out++ = '\\';
        *out++ = *word;
    }
    *out = '\0';
}

static ds_status option_in_manual(void *section, const ds_option *option, bool common) {
    char plain[128], words[256];
    (void)common;
    (void)snprintf(plain, sizeof plain, "--%s", option->name);
    spell(words, plain);
    expect_words(section, words, "a command's section of the manual");
    return DS_OK;
}

static ds_status option_described(void *page, const ds_option *option, bool common) {
    char plain[512], words[1024];
    (void)common;
    ds_text said = {0};
    expect_ok(ds_option_help(&said, option));
    (void)snprintf(plain, sizeof plain, "%s\n", said.bytes);
    ds_text_release(&said);
    spell(words, plain);
    expect_words(page, words, "the manual");
    return DS_OK;
}

static void test_manual(void **state) {
    (void)state;
    char *page = printed("man");
    expect_words(page, ".TH DELTASCOPE 1", "the manual");
    for (size_t i = 0; i < ds_command_count; i++) {
        char heading[128], summary[256];
        (void)snprintf(heading, sizeof heading, "\n.SS deltascope %s ", ds_commands[i]->name);
        char *start = strstr(page, heading), *end;
        if (start == NULL) fail_msg("the manual has no section for %s", ds_commands[i]->name);
        end = strstr(start + 1, "\n.S");
        char saved = *end;
        *end = '\0';
        spell(summary, ds_commands[i]->summary);
        expect_words(start, summary, ds_commands[i]->name);
        expect_ok(ds_command_each_option(ds_commands[i], option_in_manual, start));
        *end = saved;
        expect_ok(ds_command_each_option(ds_commands[i], option_described, page));
    }
    free(page);
}

/* roff itself finds nothing to complain about. */
static void test_manual_is_good_roff(void **state) {
    (void)state;
    const char *page = scratch_path("page.1"), *complaints = scratch_path("complaints");
    char line[512], *text = printed("man"), *said;
    size_t length;
    if (system("command -v groff >/dev/null") != 0) {
        free(text);
        skip();
    }
    expect_ok(ds_write_file(page, text, strlen(text)));
    (void)snprintf(line, sizeof line, "groff -man -Tutf8 -ww %s >/dev/null 2>%s", page, complaints);
    assert_int_equal(system(line), 0);
    expect_ok(ds_read_file(&said, &length, complaints, 1 << 20));
    assert_string_equal(said, "");
    free(said);
    free(text);
}

static ds_status option_in_completion(void *words, const ds_option *option, bool common) {
    char name[128];
    (void)common;
    (void)snprintf(name, sizeof name, " --%s ", option->name);
    expect_words(words, name, "the completion");
    return DS_OK;
}

typedef struct option_seen {
    const char *before, *script, *shell; /* what stands before the option's name */
} option_seen;

static ds_status option_in_script(void *context, const ds_option *option, bool common) {
    const option_seen *seen = context;
    char wanted[128];
    (void)common;
    bool flag = option->argument == NULL;
    (void)snprintf(wanted, sizeof wanted, "%s%s%s", seen->before, option->name,
                   strcmp(seen->shell, "fish") == 0 ? " "
                   : flag                           ? "["
                                                    : "=[");
    if (strstr(seen->script, wanted) == NULL) fail_msg("%s's completion does not know --%s", seen->shell, option->name);
    char *words = !flag && option->kind == DS_OPTION_CHOICE ? strdup(option->argument) : NULL;
    for (char *at = words; at != NULL && *at != '\0'; at++) {
        if (*at == '|') *at = ' ';
    }
    if (words != NULL && strstr(seen->script, words) == NULL)
        fail_msg("%s does not complete %s", seen->shell, option->argument);
    free(words);
    return DS_OK;
}

/* Every quote that is opened is closed: what a shell would say first. */
static void expect_quotes_closed(const char *script, const char *shell) {
    bool fish = strcmp(shell, "fish") == 0, inside = false;
    for (const char *at = script; *at != '\0'; at++) {
        if (*at == '\\' && at[1] != '\0' && (fish || !inside))
            at++;
        else if (*at == '\'')
            inside = !inside;
        else if (*at == '\n' && inside)
            fail_msg("%s: a quote is open at the end of a line", shell);
    }
    assert_false(inside);
}

static void test_completion_of_other_shells(void **state) {
    (void)state;
    const struct {
        const char *call, *shell, *option;
    } shells[] = {{"completion zsh", "zsh", "'--"}, {"completion fish", "fish", " -l "}};
    for (size_t s = 0; s < 2; s++) {
        char *script = printed(shells[s].call);
        expect_quotes_closed(script, shells[s].shell);
        for (size_t i = 0; i < ds_command_count; i++) {
            char label[64];
            option_seen seen = {shells[s].option, script, shells[s].shell};
            (void)snprintf(label, sizeof label, s == 0 ? "\n    %s)\n" : "from %s' -l help", ds_commands[i]->name);
            if (strstr(script, label) == NULL) fail_msg("%s does not know %s", shells[s].shell, ds_commands[i]->name);
            expect_ok(ds_command_each_option(ds_commands[i], option_in_script, &seen));
        }
        free(script);
    }
}

static void test_completion(void **state) {
    (void)state;
    char *script = printed("completion bash");
    for (size_t i = 0; i < ds_command_count; i++) {
        char label[64], options[4096];
        (void)snprintf(label, sizeof label, "\n    %s)\n", ds_commands[i]->name);
        const char *start = strstr(script, label);
        if (start == NULL) fail_msg("the completion does not know %s", ds_commands[i]->name);
        start = strstr(start, "options='") + strlen("options='");
        (void)snprintf(options, sizeof options, " %.*s ", (int)strcspn(start, "'"), start);
        expect_ok(ds_command_each_option(ds_commands[i], option_in_completion, options));
    }
    free(script);
}

/* What bash makes of a command line whose last word is unfinished. */
static void expect_completion(const char *words, const char *expected) {
    char line[1024], *said;
    size_t length;
    (void)snprintf(line, sizeof line,
                   "bash -c '. %s; COMP_WORDS=(deltascope %s); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _deltascope; "
                   "echo \"${COMPREPLY[@]}\"' >%s",
                   scratch_path("completion"), words, scratch_path("completed"));
    assert_int_equal(system(line), 0);
    expect_ok(ds_read_file(&said, &length, scratch_path("completed"), 1 << 16));
    if (strstr(said, expected) == NULL) fail_msg("%s: \"%s\" expected in \"%s\"", words, expected, said);
    free(said);
}

/* Every word that a table knows is offered: figures, presets, checks and steps too, and behind a comma in a list. */
static void test_words_are_completed(void **state) {
    (void)state;
    if (system("command -v bash >/dev/null") != 0) skip();
    char *script = printed("completion bash");
    (void)scratch_write("completion", script, strlen(script));
    free(script);
    expect_completion("spec", "spectrum");
    expect_completion("help grad", "gradflow");
    expect_completion("gates --tok", "--tokens --token-type --tokenizer");
    expect_completion("gates --precision = d", "double");
    expect_completion("gates --precision =", "float double");
    expect_completion("ablate --modes \"\"", "closed open reflect mean-gate write-only erase-only");
    expect_completion("ablate --modes closed,mean-gate,re", "closed,mean-gate,reflect");
    expect_completion("ablate --scopes = each,u", "each,upto");
    expect_completion("plot --figure contr", "controls");
    expect_completion("plot --preset mh", "mhc-gain");
    expect_completion("verify --only operator.spectrum,product.n", "operator.spectrum,product.norm");
    expect_completion("report --skip gates,gradf", "gates,gradflow");
    expect_completion("gates --per-token READ", "README.md");
}

/* Splits one example in place at its spaces; quotation marks hold a word together. */
static int split(char **words, int most, char *line) {
    int count = 0;
    while (*line != '\0' && strchr("|>", *line) == NULL && count < most) {
        char close = *line == '"' ? '"' : ' ';
        if (*line == ' ') {
            line++;
            continue;
        }
        line += close == '"';
        words[count++] = line;
        while (*line != '\0' && *line != close) line++;
        if (*line != '\0') *line++ = '\0';
    }
    words[count] = NULL;
    return count;
}

static void test_examples_parse(void **state) {
    (void)state;
    for (size_t i = 0; i < ds_command_count; i++) {
        const char *at = ds_commands[i]->examples;
        while (at != NULL && *at != '\0') {
            char line[512], *words[64];
            size_t length = strcspn(at, "\n");
            (void)snprintf(line, sizeof line, "%.*s", (int)length, at);
            int count = split(words, 63, line);
            assert_true(count >= 2);
            assert_string_equal(words[0], "deltascope");
            const ds_command *command = ds_command_find(words[1]);
            assert_non_null(command);
            ds_invocation invocation;
            void *own = ds_calloc(1, ds_max_size(command->own_size, 1));
            assert_non_null(own);
            expect_ok(ds_command_parse(&invocation, own, command, count - 1, words + 1));
            free(own);
            at += length + (at[length] == '\n');
        }
    }
}

/* README.md lists every command with its summary between two marks. */
static void test_readme_table(void **state) {
    (void)state;
    static const char open[] = "<!-- commands -->\n", close[] = "<!-- /commands -->";
    char *readme;
    size_t length;
    ds_text expected = {0};
    expect_ok(ds_read_file(&readme, &length, "README.md", 1 << 22));
    expect_ok(ds_text_printf(&expected, "| command | question |\n|---|---|\n"));
    for (size_t i = 0; i < ds_command_count; i++)
        expect_ok(ds_text_printf(&expected, "| `%s` | %s |\n", ds_commands[i]->name, ds_commands[i]->summary));
    char *start = strstr(readme, open);
    if (start == NULL) fail_msg("README.md has no line %s", open);
    start += sizeof open - 1;
    char *end = strstr(start, close);
    assert_non_null(end);
    *end = '\0';
    if (strcmp(start, expected.bytes) != 0) fail_msg("README.md: between the marks there should be\n%s", expected.bytes);
    ds_text_release(&expected);
    free(readme);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_help_of_every_command),
        cmocka_unit_test(test_manual),
        cmocka_unit_test(test_manual_is_good_roff),
        cmocka_unit_test(test_completion),
        cmocka_unit_test(test_completion_of_other_shells),
        cmocka_unit_test(test_words_are_completed),
        cmocka_unit_test(test_examples_parse),
        cmocka_unit_test(test_readme_table),
    };
    return cmocka_run_group_tests_name("help", tests, NULL, NULL);
}
