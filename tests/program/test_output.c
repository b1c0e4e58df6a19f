/* What commands print when piped: at most 80 columns, no escape sequences, no spaces at the end of a line; the same without
 * UTF-8. */
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

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

static void expect_plain(const char *locale, const char *command, const char *model) {
    const char *program = getenv("DELTASCOPE") != NULL ? getenv("DELTASCOPE") : "build/deltascope",
               *path = scratch_path("printed");
    char line[1024], *printed;
    size_t length;
    (void)snprintf(line, sizeof line, "LC_ALL=%s %s %s fixtures/models/%s >%s", locale, program, command, model, path);
    if (system(line) != 0) fail_msg("fails: %s", line);
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
        cmocka_unit_test(test_gradients),
        cmocka_unit_test(test_one_of_each),
        cmocka_unit_test(test_figures_are_listed_whole),
        cmocka_unit_test(test_results_on_standard_output),
        cmocka_unit_test(test_report),
    };
    return cmocka_run_group_tests_name("output", tests, NULL, NULL);
}
