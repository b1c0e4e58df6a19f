/* trace from the command line: on every fixture model its numbers are those of gates and ablate on the same tokens. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <jansson.h>

#include "deltascope/io.h"
#include "scratch.h"
#include "support.h"

static const char *const models[] = {
    "additive-small", "cc-bf16",        "cc-dv3-noqknorm", "cc-ec-activations",  "cc-ec-vlinear",
    "ddl-cc-ec",      "scalar-ckpt",    "scalar-kvshift",  "scalar-safetensors", "scalar-two-layer-gate",
    "tc-ec-sharded",  "tc-newer-names", "tc-output-gate",
};
enum { MODELS = sizeof models / sizeof models[0], LENGTH = 32 };

static const char *program(void) { return getenv("DELTASCOPE") != NULL ? getenv("DELTASCOPE") : "build/deltascope"; }

static int run(const char *command, const char *model, const char *arguments) {
    char line[2048];
    (void)snprintf(line, sizeof line, "%s %s %s fixtures/models/%s >%s 2>%s", program(), command, arguments, model,
                   scratch_path("out"), scratch_path("err"));
    int status = system(line);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static char *content(const char *name) {
    char *bytes;
    size_t length;
    expect_ok(ds_read_file(&bytes, &length, scratch_path(name), 1 << 24));
    return bytes;
}

static void expect_complaint(const char *words) {
    char *said = content("err");
    if (strstr(said, words) == NULL) fail_msg("complains \"%s\", not \"%s\"", said, words);
    free(said);
}

/* The results of a command in double; the caller owns *envelope. */
static const json_t *results(json_t **envelope, const char *command, const char *model, const char *arguments) {
    char all[1024];
    json_error_t error;
    (void)snprintf(all, sizeof all, "%s --precision double --quiet --json %s", arguments, scratch_path("r.json"));
    if (run(command, model, all) != 0) fail_msg("%s %s: %s", command, model, content("err"));
    *envelope = json_load_file(scratch_path("r.json"), 0, &error);
    assert_non_null(*envelope);
    return json_object_get(*envelope, "results");
}

static double real(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    if (!json_is_number(value)) fail_msg("\"%s\" is not a number", key);
    return json_number_value(value);
}

static double mean(const json_t *array, size_t first, size_t count) {
    double sum = 0;
    for (size_t i = first; i < first + count; i++) {
        assert_true(json_is_number(json_array_get(array, i)));
        sum += json_number_value(json_array_get(array, i));
    }
    return sum / (double)count;
}

/* Both commands run the same arithmetic on the same tokens, and differ in the order of a mean's sum: LENGTH roundings of
 * numbers below 8. A window one token longer changes the shape of matrix products as well: sums of d <= 128 products through 8
 * sublayers of about 10 operations. */
static const double same_window = LENGTH * 8 * 0x1p-53, longer_window = 128 * 80 * 8 * 0x1p-53;

static void expect_gates_of(const char *model) {
    json_t *trace, *gates;
    const json_t *seen = results(&trace, "trace", model, "--tokens fixtures/data/val.bin --offset 7 --seq-len 32");
    const json_t *counted =
        results(&gates, "gates", model, "--tokens fixtures/data/val.bin --offset 7 --seq-len 32 --sequences 1");
    const json_t *sublayers = json_object_get(seen, "sublayers"), *census = json_object_get(counted, "sublayers");
    assert_int_equal(json_array_size(sublayers), json_array_size(census));
    for (size_t s = 0; s < json_array_size(sublayers); s++) {
        const json_t *one = json_array_get(sublayers, s), *all = json_array_get(census, s);
        assert_int_equal(json_array_size(json_object_get(one, "beta")), LENGTH);
        assert_string_equal(json_string_value(json_object_get(one, "name")), json_string_value(json_object_get(all, "name")));
        expect_close(mean(json_object_get(one, "beta"), 0, LENGTH), real(json_object_get(all, "beta"), "mean"), same_window);
        expect_close(mean(json_object_get(one, "eigenvalue"), 0, LENGTH), real(json_object_get(all, "eigenvalue"), "mean"),
                     same_window);
        expect_close(mean(json_object_get(one, "relative_edit"), 0, LENGTH), real(all, "relative_edit"), same_window);
    }
    json_decref(trace);
    json_decref(gates);
}

/* A window one token longer gives a loss to every token of the shorter one that ablate gives one to. */
static void expect_losses_of(const char *model) {
    json_t *trace, *ablate;
    const json_t *seen = results(&trace, "trace", model, "--tokens fixtures/data/val.bin --seq-len 33 --show loss");
    const json_t *known =
        results(&ablate, "ablate", model, "--tokens fixtures/data/val.bin --seq-len 32 --sequences 1 --scopes each");
    const json_t *cases = json_object_get(seen, "cases"), *wanted = json_object_get(known, "cases");
    expect_close(real(seen, "loss"), real(json_object_get(known, "baseline"), "loss"), longer_window);
    assert_int_equal(json_array_size(cases), json_array_size(wanted));
    for (size_t c = 0; c < json_array_size(cases); c++) {
        const json_t *one = json_array_get(cases, c), *other = json_array_get(wanted, c);
        assert_string_equal(json_string_value(json_object_get(one, "name")), json_string_value(json_object_get(other, "name")));
        expect_close(mean(json_object_get(one, "token_loss"), 1, LENGTH), real(other, "loss"), longer_window);
        expect_close(real(one, "delta_loss"), real(other, "delta_loss"), longer_window);
    }
    assert_true(json_is_null(json_object_get(json_array_get(json_object_get(seen, "tokens"), 0), "loss")));
    json_decref(trace);
    json_decref(ablate);
}

static void test_numbers_of_every_model(void **state) {
    (void)state;
    for (size_t m = 0; m < MODELS; m++) {
        if (strcmp(models[m], "additive-small") != 0) expect_gates_of(models[m]);
        expect_losses_of(models[m]);
    }
}

/* A forced gate shows as forced, and the sublayers before it as they were. */
static void test_gates_under_force(void **state) {
    (void)state;
    json_t *intact, *forced;
    const json_t *before = results(&intact, "trace", "ddl-cc-ec", "--tokens fixtures/data/val.bin --seq-len 32");
    const json_t *after =
        results(&forced, "trace", "ddl-cc-ec", "--tokens fixtures/data/val.bin --seq-len 32 --force reflect:1.attn");
    const json_t *a = json_object_get(before, "sublayers"), *b = json_object_get(after, "sublayers");
    for (size_t s = 0; s < 2; s++) assert_true(json_equal(json_array_get(a, s), json_array_get(b, s)));
    for (size_t t = 0; t < LENGTH; t++)
        assert_true(json_number_value(json_array_get(json_object_get(json_array_get(b, 2), "beta"), t)) == 2.0);
    assert_false(json_equal(json_array_get(a, 3), json_array_get(b, 3)));
    assert_string_equal(json_string_value(json_object_get(after, "forced")), "reflect:1.attn");
    json_decref(intact);
    json_decref(forced);
}

static void test_text_and_labels(void **state) {
    (void)state;
    json_t *envelope;
    const json_t *seen = results(&envelope, "trace", "ddl-cc-ec", "--text 'To be,' --tokenizer fixtures/data/meta.pkl");
    const json_t *tokens = json_object_get(seen, "tokens"), *data = json_object_get(envelope, "data");
    assert_int_equal(json_array_size(tokens), 6);
    assert_string_equal(json_string_value(json_object_get(json_array_get(tokens, 2), "text")), " ");
    assert_string_equal(json_string_value(json_object_get(json_array_get(tokens, 2), "label")), "␣");
    assert_string_equal(json_string_value(json_object_get(data, "path")), "--text");
    /* printf 'To be,' | sha256sum */
    assert_string_equal(json_string_value(json_object_get(data, "sha256")),
                        "40f8d806347f0a7cd6e2b4a8df1b6fc10998decd32cdb93100442422c2225056");
    json_decref(envelope);
    /* the same words from a file */
    char arguments[512];
    json_t *other;
    (void)snprintf(arguments, sizeof arguments, "--text-file %s --tokenizer fixtures/data/meta.pkl",
                   scratch_write("words", "To be,", 6));
    seen = results(&envelope, "trace", "ddl-cc-ec", "--text 'To be,' --tokenizer fixtures/data/meta.pkl");
    assert_true(json_equal(seen, results(&other, "trace", "ddl-cc-ec", arguments)));
    json_decref(envelope);
    json_decref(other);
}

/* --text is a file, words where there is no such file, or standard input; what does not fit is said wherever it is shown. */
static void test_sources_of_text(void **state) {
    (void)state;
#define META " --tokenizer fixtures/data/meta.pkl "
    json_t *words, *file;
    char arguments[512];
    const char *path = scratch_write("said", "To be, or not to be", 19);
    const json_t *expected = results(&words, "trace", "ddl-cc-ec", META "--text 'To be, or not to be'");
    (void)snprintf(arguments, sizeof arguments, META "--text %s", path);
    assert_true(json_equal(results(&file, "trace", "ddl-cc-ec", arguments), expected));
    assert_string_equal(json_string_value(json_object_get(json_object_get(file, "data"), "path")), path);
    json_decref(words);
    json_decref(file);
}

static void expect_cut(const char *arguments, const char *said) {
    char all[512];
    (void)snprintf(all, sizeof all, "%s --out %s", arguments, scratch_path("cut"));
    for (size_t quiet = 0; quiet < 2; quiet++) {
        if (quiet == 1) (void)snprintf(all, sizeof all, "%s --quiet", arguments);
        assert_int_equal(run("trace", "ddl-cc-ec", all), 0);
        char *printed = content(quiet == 1 ? "err" : "out"), *page = content("cut/trace.html");
        for (char *at = printed; *at != '\0'; at++) *at = *at == '\n' ? ' ' : *at;
        bool shown = strstr(printed, said != NULL ? said : "there are") != NULL,
             captioned = strstr(page, said != NULL ? said : "there are") != NULL;
        if (shown != (said != NULL) || captioned != (said != NULL)) fail_msg("%s: %s", all, printed);
        free(printed);
        free(page);
    }
}

static void test_what_is_left_out(void **state) {
    (void)state;
    expect_cut("--text 'To be, or not to be'" META, NULL);
    expect_cut("--text 'To be, or not to be' --seq-len 19" META, NULL);
    expect_cut("--text 'To be, or not to be' --seq-len 5" META,
               "tokens 0 to 4 of the 19 there are: --seq-len 19 shows all, --offset O another part");
    expect_cut("--text 'To be, or not to be' --offset 7" META,
               "tokens 7 to 18 of the 19 there are: --offset 0 --seq-len 19 shows all, --offset O another part");
    expect_cut("--tokens fixtures/data/val.bin --seq-len 9",
               "tokens 0 to 8 of the 111540 there are: --seq-len 111540 shows all");
}

static void test_one_token(void **state) {
    (void)state;
    json_t *envelope;
    const json_t *seen = results(&envelope, "trace", "ddl-cc-ec", "--text T --tokenizer fixtures/data/meta.pkl");
    assert_true(json_is_null(json_object_get(seen, "loss")));
    assert_int_equal(json_array_size(json_object_get(seen, "tokens")), 1);
    json_decref(envelope);
    assert_int_equal(run("trace", "ddl-cc-ec", "--text T --tokenizer fixtures/data/meta.pkl --show loss"), 0);
}

/* Piped: no escape sequences, lines of at most 80 columns. Every quantity of every model prints and writes its pictures. */
static void test_pictures(void **state) {
    (void)state;
    static const char *const shows[] = {"beta", "eigenvalue", "edit", "loss"};
    for (size_t m = 0; m < MODELS; m++) {
        for (size_t q = 0; q < 4; q++) {
            char arguments[512], name[64];
            if (strcmp(models[m], "additive-small") == 0 && q < 3) continue;
            (void)snprintf(name, sizeof name, "%s-%s", models[m], shows[q]);
            (void)snprintf(arguments, sizeof arguments,
                           "--tokens fixtures/data/val.bin --tokenizer fixtures/data/meta.pkl --show %s --out %s", shows[q],
                           scratch_path(name));
            assert_int_equal(run("trace", models[m], arguments), 0);
            char *printed = content("out");
            assert_null(strchr(printed, '\033'));
            for (char *line = strtok(printed, "\n"); line != NULL; line = strtok(NULL, "\n")) {
                size_t width = 0;
                for (const char *at = line; *at != '\0'; at++) width += ((unsigned char)*at & 0xC0) != 0x80;
                if (width > 80) fail_msg("%s: %zu columns: %s", name, width, line);
            }
            free(printed);
            static const char *const files[] = {"trace.svg", "trace.html", "trace.json", "tables/trace.csv"};
            for (size_t f = 0; f < 4; f++) {
                char path[128];
                (void)snprintf(path, sizeof path, "%s/%s", name, files[f]);
                char *bytes = content(path);
                assert_true(strlen(bytes) > 500);
                free(bytes);
            }
        }
    }
}

static void test_refusals(void **state) {
    (void)state;
    const char *tokens = "--tokens fixtures/data/val.bin ";
    char arguments[512];
    assert_int_equal(run("trace", "ddl-cc-ec", ""), 2);
    expect_complaint("one of --text FILE, --text WORDS and --tokens FILE");
    assert_int_equal(run("trace", "ddl-cc-ec", "--text a --text-file b --tokenizer c"), 2);
    assert_int_equal(run("trace", "ddl-cc-ec", "--text a"), 2);
    expect_complaint("needs --tokenizer PATH");
    assert_int_equal(run("trace", "ddl-cc-ec", "--text '' --tokenizer fixtures/data/meta.pkl"), 2);
    expect_complaint("not an empty word");
    assert_int_equal(run("trace", "ddl-cc-ec", "--text '[' --tokenizer fixtures/data/meta.pkl"), 3);
    expect_complaint("--text: character \"[\"");
    assert_int_equal(run("trace", "cc-bf16", "--text committee --tokenizer fixtures/tokenizer/gpt2"), 3);
    expect_complaint(">= vocab 65");
    static const char *const bad[] = {"closed:9.mlp", "closed", "shut:each", "closed:", "", "closed-from:99", "closed:each,"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        (void)snprintf(arguments, sizeof arguments, "%s --show loss --force '%s'", tokens, bad[i]);
        assert_int_equal(run("trace", "ddl-cc-ec", arguments), 2);
        expect_complaint(bad[i][0] == '\0' ? "not an empty word" : "--force: no case \"");
    }
    (void)snprintf(arguments, sizeof arguments, "%s --force closed:each", tokens);
    assert_int_equal(run("trace", "ddl-cc-ec", arguments), 2);
    expect_complaint("has room for one case");
    (void)snprintf(arguments, sizeof arguments, "%s --show beta", tokens);
    assert_int_equal(run("trace", "additive-small", arguments), 2);
    expect_complaint("an additive checkpoint has no gates");
    (void)snprintf(arguments, sizeof arguments, "%s --show loss --force open:0.mlp", tokens);
    assert_int_equal(run("trace", "additive-small", arguments), 2);
    (void)snprintf(arguments, sizeof arguments, "%s --offset 99999999", tokens);
    assert_int_equal(run("trace", "ddl-cc-ec", arguments), 3);
    expect_complaint("but the window starts at token 99999999");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers_of_every_model),
        cmocka_unit_test(test_gates_under_force),
        cmocka_unit_test(test_text_and_labels),
        cmocka_unit_test(test_sources_of_text),
        cmocka_unit_test(test_what_is_left_out),
        cmocka_unit_test(test_one_token),
        cmocka_unit_test(test_pictures),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests_name("cmd_trace", tests, NULL, NULL);
}
