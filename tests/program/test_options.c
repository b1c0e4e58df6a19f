/* The option parser as a user meets it: what it refuses, with which sentence and exit status, before any work is done. */
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <jansson.h>

#include "cli/command.h"
#include "deltascope/io.h"
#include "scratch.h"
#include "support.h"

#define GATES "gates --tokens fixtures/data/val.bin --seq-len 4 --sequences 1 --quiet "
#define SPECTRUM "spectrum --tokens fixtures/data/val.bin --seq-len 4 --sequences 1 --quiet "
#define MODEL " fixtures/models/option-cc-causal"

static char input[512]; /* in front of the program: "<FILE", "cat FILE |" or nothing */

static int run(const char *arguments) {
    const char *program = getenv("DELTASCOPE") != NULL ? getenv("DELTASCOPE") : "build/deltascope";
    char line[1024];
    (void)snprintf(line, sizeof line, "%s %s %s >%s 2>%s", input, program, arguments, scratch_path("out"), scratch_path("err"));
    int status = system(line);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void expect_refusal(const char *arguments, int exit_status, const char *words) {
    char *bytes;
    size_t length;
    if (run(arguments) != exit_status) fail_msg("exit status other than %d: %s", exit_status, arguments);
    expect_ok(ds_read_file(&bytes, &length, scratch_path("err"), 1 << 16));
    if (strstr(bytes, words) == NULL) fail_msg("%s: \"%s\" expected in \"%s\"", arguments, words, bytes);
    free(bytes);
}

static void test_values_out_of_range(void **state) {
    (void)state;
    expect_refusal(GATES "--regime-tol 0.5" MODEL, 2, "--regime-tol takes a number from 0 to below 0.5, not \"0.5\"");
    expect_refusal(GATES "--regime-tol -0.1" MODEL, 2, "not \"-0.1\"");
    expect_refusal(GATES "--regime-tol nan" MODEL, 2, "not \"nan\"");
    expect_refusal(GATES "--regime-tol 0.1x" MODEL, 2, "not \"0.1x\"");
    expect_refusal(GATES "--regime-tol ''" MODEL, 2, "not \"\"");
    expect_refusal(GATES "--seq-len 0" MODEL, 2, "--seq-len takes a whole number of at least 1, not \"0\"");
    expect_refusal(GATES "--sequences +1" MODEL, 2, "not \"+1\"");
    expect_refusal(GATES "--offset -1" MODEL, 2, "not \"-1\"");
    expect_refusal(GATES "--spread odd" MODEL, 2, "--spread takes even|random|consecutive");
    expect_refusal(GATES "--spread even --offset 0" MODEL, 2, "leave out --spread even");
    expect_refusal(GATES "--offset 9 --spread random" MODEL, 2, "leave out --spread random");
    expect_refusal(GATES "--precision half" MODEL, 2, "--precision takes float|double, not \"half\"");
    expect_refusal(GATES "--json ''" MODEL, 2, "--json takes FILE, not an empty word");
    expect_refusal(SPECTRUM "--samples 1000001" MODEL, 2, "--samples takes at most 1000000, not 1000001");
    expect_refusal(SPECTRUM "--samples 18446744073709551615" MODEL, 2, "--samples takes at most 1000000");
    expect_refusal(SPECTRUM "--samples 18446744073709551616" MODEL, 2, "--samples takes a whole number of at least 1");
    assert_int_equal(run(GATES "--regime-tol 0" MODEL), 0);
    assert_int_equal(run(GATES "--regime-tol 0.49" MODEL), 0);
}

static void test_words_out_of_place(void **state) {
    (void)state;
    expect_refusal(GATES, 2, "gates needs CHECKPOINT");
    expect_refusal(GATES MODEL MODEL, 2, "is one argument too many");
    expect_refusal(GATES "--frobnicate" MODEL, 2, "gates does not know the option \"--frobnicate\"");
    expect_refusal("gates --seq-len", 2, "\"--seq-len\" needs a value");
    expect_refusal(GATES "--text fixtures/data/tinyshakespeare.txt" MODEL, 2, "either --tokens FILE or --text FILE");
    expect_refusal("gates" MODEL, 2, "either --tokens FILE or --text FILE");
    expect_refusal("frobnicate", 2, "there is no command \"frobnicate\"");
    expect_refusal("ablate --tokens fixtures/data/val.bin --resume" MODEL, 2, "--resume needs --out DIR");
    assert_int_equal(run("gates -h"), 0);
}

/* Every command that takes token ids takes them in another type, and refuses a raw file of that type where none is named. */
static void test_token_types(void **state) {
    (void)state;
    static const char *const commands[] = {"gates --sequences 1",
                                           "spectrum --sequences 1",
                                           "ablate --sequences 2 --scopes all",
                                           "trace",
                                           "inspect --sequences 1",
                                           "gradflow --sequences 1",
                                           "verify --sequences 1",
                                           "compare --sequences 2 --shut none fixtures/models/option-cc-causal"};
    static uint8_t wide[8 * 120];
    char arguments[512];
    for (size_t i = 0; i < sizeof wide; i += 8) wide[i] = (uint8_t)(1 + i % 60);
    const char *path = scratch_write("wide.bin", wide, sizeof wide);
    for (size_t c = 0; c < sizeof commands / sizeof *commands; c++) {
        (void)snprintf(arguments, sizeof arguments, "%s --seq-len 4 --quiet --tokens %s" MODEL, commands[c], path);
        expect_refusal(arguments, 3, "looks like 64-bit token ids");
        (void)snprintf(arguments, sizeof arguments, "%s --seq-len 4 --quiet --token-type i64 --tokens %s" MODEL, commands[c],
                       path);
        if (run(arguments) != 0) fail_msg("%s", arguments);
        (void)snprintf(arguments, sizeof arguments,
                       "%s --seq-len 4 --token-type i64 --tokens fixtures/hostile/valid/tok_u1.npy" MODEL, commands[c]);
        expect_refusal(arguments, 2, "its header says uint8, but --token-type is i64");
        (void)snprintf(arguments, sizeof arguments,
                       "%s --seq-len 4 --token-type i64 %s --tokenizer fixtures/data/meta.pkl" MODEL, commands[c],
                       c == 3 ? "--text words" : "--text fixtures/data/tinyshakespeare.txt");
        expect_refusal(arguments, 2, "--token-type says what --tokens FILE holds");
    }
    expect_refusal(GATES "--token-type u8" MODEL, 2, "--token-type takes u16|u32|i32|i64, not \"u8\"");
}

/* Too few bytes to tell: read, and told in the result as on standard error. */
static void test_doubtful_tokens_are_told(void **state) {
    (void)state;
    static const char *const commands[] = {"gates --sequences 1", "trace"};
    char arguments[512], *bytes;
    size_t length;
    uint8_t few[4 * 12] = {0};
    for (size_t i = 0; i < sizeof few; i += 4) few[i] = (uint8_t)(3 + i);
    const char *path = scratch_write("few.bin", few, sizeof few);
    for (size_t c = 0; c < 2; c++) {
        (void)snprintf(arguments, sizeof arguments, "%s --seq-len 4 --json %s --tokens %s" MODEL, commands[c],
                       scratch_path("told.json"), path);
        expect_refusal(arguments, 0, "few.bin looks like 32-bit token ids");
        expect_ok(ds_read_file(&bytes, &length, scratch_path("told.json"), 1 << 20));
        assert_non_null(strstr(bytes, "\"warnings\""));
        assert_non_null(strstr(bytes, "though too short to tell"));
        free(bytes);
    }
}

/* Found before the work, whose checkpoint need not even exist. */
static void test_places_that_cannot_take_the_result(void **state) {
    (void)state;
    char arguments[512];
    const char *file = scratch_write("file", "x", 1);
    expect_refusal(GATES "--json absent/result.json absent", 4, "absent/result.json: cannot be written: ");
    expect_refusal(GATES "--json fixtures absent", 4, "fixtures: cannot be written: it is a folder");
    (void)snprintf(arguments, sizeof arguments, GATES "--out %s absent", file);
    expect_refusal(arguments, 4, "exists and is not a folder");
    (void)snprintf(arguments, sizeof arguments, GATES "--json %s absent", scratch_path("result.json"));
    expect_refusal(arguments, 3, "absent: missing");
    (void)snprintf(arguments, sizeof arguments, GATES "--json %s --out %s" MODEL, file, scratch_path("a/b"));
    assert_int_equal(run(arguments), 0); /* a file is replaced, folders are made */
}

/* ---- names of options: parsed here, without the program ------------------------------------------------------------ */

typedef struct name_list {
    const char *names[64];
    size_t count;
} name_list;

static ds_status add_name(void *list, const ds_option *option, bool common) {
    name_list *l = list;
    (void)common;
    assert_true(l->count < 64);
    l->names[l->count++] = option->name;
    return DS_OK;
}

static name_list names_of(const ds_command *command) {
    name_list list = {.count = 0};
    expect_ok(ds_command_each_option(command, add_name, &list));
    list.names[list.count++] = "help";
    return list;
}

/* The sentence that "--WORD" is refused with, "" when it is not. */
static const char *parse(const ds_command *command, const char *word) {
    char name[64], spelled[96], value[] = "1";
    ds_invocation invocation;
    void *own = ds_calloc(1, ds_max_size(command->own_size, 1));
    assert_non_null(own);
    (void)snprintf(name, sizeof name, "%s", command->name);
    (void)snprintf(spelled, sizeof spelled, "--%s", word);
    char *argv[] = {name, spelled, value, NULL};
    ds_error_clear();
    ds_status status = ds_command_parse(&invocation, own, command, 3, argv);
    free(own);
    return status == DS_OK ? "" : ds_error_text();
}

static size_t starting_with(const name_list *list, const char *start) {
    size_t count = 0;
    for (size_t i = 0; i < list->count; i++) {
        if (strcmp(list->names[i], start) == 0) return 1;
        count += strncmp(list->names[i], start, strlen(start)) == 0;
    }
    return count;
}

/* Every start of every name: taken when it is the start of one option, else refused with all it could be. */
static void test_abbreviations(void **state) {
    (void)state;
    for (size_t c = 0; c < ds_command_count; c++) {
        const name_list list = names_of(ds_commands[c]);
        for (size_t i = 0; i < list.count; i++) {
            for (size_t length = 1; length <= strlen(list.names[i]); length++) {
                char start[64];
                (void)snprintf(start, sizeof start, "%.*s", (int)length, list.names[i]);
                const char *said = parse(ds_commands[c], start);
                bool refused = strstr(said, "does not know the option") != NULL, several = strstr(said, "several") != NULL;
                if (refused || several != (starting_with(&list, start) > 1))
                    fail_msg("%s --%s: %s", ds_commands[c]->name, start, said);
                for (size_t j = 0; several && j < list.count; j++) {
                    char wanted[80];
                    (void)snprintf(wanted, sizeof wanted, "--%s", list.names[j]);
                    assert_int_equal(strncmp(list.names[j], start, length) == 0, strstr(said, wanted) != NULL);
                }
            }
        }
    }
}

/* A letter left out, doubled, changed or swapped: the sentence leads to an option at most that far away, and to the help. */
static void test_misspelt_options(void **state) {
    (void)state;
    ds_random random = ds_random_init(31);
    print_message("seed 31\n");
    size_t refused = 0;
    for (size_t trial = 0; trial < 2000; trial++) {
        const ds_command *command = ds_commands[ds_random_below(&random, ds_command_count)];
        const name_list list = names_of(command);
        const char *name = list.names[ds_random_below(&random, list.count)];
        char word[64], wanted[128];
        size_t length = strlen(name), at = 1 + ds_random_below(&random, length - 1), kind = ds_random_below(&random, 4);
        (void)snprintf(word, sizeof word, "%s", name);
        if (kind == 0) memmove(word + at, word + at + 1, length - at);
        if (kind == 1) memmove(word + at + 1, word + at, length - at + 1);
        if (kind == 2) word[at] = 'z';
        if (kind == 3) word[at] = name[at - 1], word[at - 1] = name[at];
        if (starting_with(&list, word) != 0) continue;
        const char *said = parse(command, word);
        (void)snprintf(wanted, sizeof wanted, "; \"deltascope %s --help\" lists them", command->name);
        if (strstr(said, wanted) == NULL) fail_msg("%s --%s: %s", command->name, word, said);
        const char *hint = strstr(said, "(did you mean \"--");
        if (hint == NULL && length < 3) continue;
        if (hint == NULL) fail_msg("%s --%s: %s", command->name, word, said);
        hint += strlen("(did you mean \"--");
        assert_true(ds_word_distance(word, strlen(word), hint, strcspn(hint, "\"")) <= 1 ||
                    strncmp(word, hint, strlen(word)) == 0);
        refused++;
    }
    assert_true(refused > 1000);
}

static void test_forms_of_options(void **state) {
    (void)state;
    assert_int_equal(run(GATES "--regime-tol=0.2 --prec=double --thre 1" MODEL), 0);
    expect_refusal(GATES "--prec=half" MODEL, 2, "--precision takes float|double, not \"half\"");
    expect_refusal(GATES "--precision=doubel" MODEL, 2, "(did you mean \"double\"?)");
    expect_refusal(GATES "--quiet=yes" MODEL, 2, "\"--quiet=yes\": the option takes no value");
    expect_refusal(GATES "--se 1" MODEL, 2, "\"--se\" is the start of several options: --sequences, --seq-len, --seed");
    expect_refusal(GATES "-tokens x" MODEL, 2, "the option \"-tokens\" (did you mean \"--tokens\"?)");
    expect_refusal(GATES "-x" MODEL, 2, "the option \"-x\"; \"deltascope gates --help\" lists them");
    expect_refusal("gtaes", 2, "there is no command \"gtaes\" (did you mean \"gates\"?)");
    expect_refusal("--verson", 2, "(did you mean \"--version\"?)");
    expect_refusal("completion fihs", 2, "(did you mean \"fish\"?)");
    assert_int_equal(run("gates --hel"), 0);
    assert_int_equal(run("trace -h --text"), 0);
}

/* Lists of words. */
static void test_misspelt_words(void **state) {
    (void)state;
#define ABLATE "ablate --tokens fixtures/data/val.bin --seq-len 4 --sequences 1 "
    expect_refusal(ABLATE "--modes closd" MODEL, 2, "not \"closd\" (did you mean \"closed\"?)");
    expect_refusal(ABLATE "--scopes each,atn" MODEL, 2, "not \"atn\" (did you mean \"attn\"?)");
    expect_refusal("plot --figure contrls absent.json", 2, "no figure \"contrls\" (did you mean \"controls\"?)");
    expect_refusal("plot --preset mhc-gian absent.json", 2, "(did you mean \"mhc-gain\"?)");
    expect_refusal("verify --only updtae --tokens fixtures/data/val.bin" MODEL, 2, "(did you mean \"update\"?)");
    expect_refusal("verify --skip operator.spectrm --tokens fixtures/data/val.bin" MODEL, 2, "\"operator.spectrum\"?)");
    expect_refusal("trace --tokens fixtures/data/val.bin --force clsed:0.mlp" MODEL, 2, "(did you mean \"closed:0.mlp\"?)");
    expect_refusal("gradflow --tokens fixtures/data/val.bin --force open:0.atn" MODEL, 2, "(did you mean \"open:0.attn\"?)");
    char arguments[256];
    (void)snprintf(arguments, sizeof arguments, "report --skip gate --out %s --tokens fixtures/data/val.bin" MODEL,
                   scratch_path("report"));
    expect_refusal(arguments, 2, "not \"gate\" (did you mean \"gates\"?)");
}

/* ---- text on standard input ------------------------------------------------------------------------------------------ */

static json_t *data_of(const char *command) {
    json_error_t error;
    char line[512];
    (void)snprintf(line, sizeof line, "%s --quiet --json %s", command, scratch_path("r.json"));
    if (run(line) != 0) fail_msg("fails: %s", line);
    json_t *envelope = json_load_file(scratch_path("r.json"), 0, &error);
    assert_non_null(envelope);
    json_t *data = json_object_get(envelope, "data");
    json_incref(data);
    json_decref(envelope);
    return data;
}

/* Given as "-", a text is what it is in a file, however often it is read. */
static void test_standard_input(void **state) {
    (void)state;
    static const char *const commands[] = {"gates --seq-len 8", "compare --shut none --seq-len 8 fixtures/models/scalar-ckpt",
                                           "trace"};
    for (size_t c = 0; c < 3; c++) {
        for (size_t way = 0; way < 2; way++) { /* a pipe, a file */
            static const char text[] = "To be, or not to be, that is the question";
            const char *file = scratch_write("text", text, sizeof text - 1);
            char line[512];
#define REST "%s --tokenizer fixtures/data/meta.pkl fixtures/models/scalar-ckpt --text"
            (void)snprintf(input, sizeof input, way == 0 ? "<%s" : "cat %s |", file);
            (void)snprintf(line, sizeof line, REST " -", commands[c]);
            json_t *piped = data_of(line);
            input[0] = '\0';
            (void)snprintf(line, sizeof line, REST " %s", commands[c], file);
            json_t *read = data_of(line);
            assert_string_equal(json_string_value(json_object_get(piped, "path")), "/dev/stdin");
            assert_int_equal(json_object_del(piped, "path") + json_object_del(read, "path"), 0);
            assert_true(json_equal(piped, read));
            json_decref(piped);
            json_decref(read);
        }
    }
}

static void test_short_texts(void **state) {
    (void)state;
    const char *file = scratch_write("text", "To be", 5);
    char line[512];
    (void)snprintf(line, sizeof line, "gates --tokenizer fixtures/data/meta.pkl --text %s" MODEL, file);
    expect_refusal(line, 3, "too few tokens: 5 from offset 0 on");
    expect_refusal(line, 3, ": --seq-len 4 or less fits");
    (void)snprintf(line, sizeof line, "gates --seq-len 4 --tokenizer fixtures/data/meta.pkl --text %s" MODEL, file);
    assert_int_equal(run(line), 0);
    (void)snprintf(line, sizeof line, "gates --offset 4 --tokenizer fixtures/data/meta.pkl --text %s" MODEL, file);
    expect_refusal(line, 3, "at least 2 are needed");
    (void)snprintf(line, sizeof line, "gates --seq-len 2 --sequences 3 --tokenizer fixtures/data/meta.pkl --text %s" MODEL,
                   file);
    expect_refusal(line, 3, "(--sequences) or shorter ones (--seq-len)");
}

/* ---- --columns ----------------------------------------------------------------------------------------------------- */

/* It begins with `front` and `part` stands in it. */
static void expect_file(const char *path, const char *front, const char *part) {
    char *bytes;
    size_t length;
    expect_ok(ds_read_file(&bytes, &length, scratch_path(path), 1 << 20));
    if (strncmp(bytes, front, strlen(front)) != 0) fail_msg("%s begins with \"%.80s\", expected \"%s\"", path, bytes, front);
    if (strstr(bytes, part) == NULL) fail_msg("%s has no \"%s\": %s", path, part, bytes);
    free(bytes);
}

static const ds_column *draw_column(const ds_command *command, ds_random *random) {
    const ds_column_set *set = &command->column_sets[ds_random_below(random, command->column_set_count)];
    assert_true(set->count > 0);
    return ds_column_set_at(set, ds_random_below(random, set->count));
}

/* Commands with tables, columns and slips drawn at random: what no table has is refused before any work, with the nearest name;
 * what one has is taken, and the sentence is then of something else, or there is none. */
static void test_columns_of_every_command(void **state) {
    (void)state;
    ds_random random = ds_random_init(20261204);
    char line[512], words[256];
    for (size_t c = 0; c < ds_command_count; c++) {
        const ds_command *command = ds_commands[c];
        if (command->column_set_count == 0) {
            if ((command->takes & DS_TAKES_RUN) == 0) continue;
            (void)snprintf(line, sizeof line, "%s nowhere --columns loss", command->name);
            (void)snprintf(words, sizeof words, "--columns: the tables of %s are written whole", command->name);
            expect_refusal(line, 2, words);
            continue;
        }
        const bool none = command->most_operands == 0; /* bench would begin to work */
        const char *data = command->takes & DS_TAKES_DATA ? "--tokens fixtures/data/val.bin" : "";
        const char *operands = none ? "" : "nowhere", *second = command->least_operands > 1 ? "nowhere" : "";
        const ds_column *known = draw_column(command, &random), *other = draw_column(command, &random);
        (void)snprintf(line, sizeof line, "%s %s --columns %s,%sx %s %s", command->name, data, known->key, other->key, operands,
                       second);
        (void)snprintf(words, sizeof words, "--columns: no table of %s has a column \"%sx\" (did you mean \"", command->name,
                       other->key);
        expect_refusal(line, 2, words);
        (void)snprintf(line, sizeof line, "%s %s --columns %s,%s %s %s", command->name, data, known->key, known->key, operands,
                       second);
        (void)snprintf(words, sizeof words, "--columns names \"%s\" twice", known->key);
        expect_refusal(line, 2, words);
    }
}

/* The same choice in every form. */
static void test_columns_are_chosen(void **state) {
    (void)state;
    char line[512];
    const char *out = scratch_path("columns");
    (void)snprintf(
        line, sizeof line,
        "gates --tokens fixtures/data/val.bin --seq-len 4 --sequences 1 --columns reflection,sublayer --out %s" MODEL, out);
    assert_int_equal(run(line), 0);
    expect_file("columns/tables/gates.csv", "reflection,sublayer\r\n", "0.attn");
    expect_file("columns/tables/gates.tex",
                "% \\usepackage{array,booktabs,graphicx}\n\\begin{table}[htbp]\n\\centering\n"
                "\\caption{Gates by sublayer. Checkpoint: ",
                "}\n\\label{tab:gates-sublayers}\n\\setbox0\\hbox{%\n\\begin{tabular}{@{}rl@{}}\n");
    char *said;
    size_t length;
    expect_ok(ds_read_file(&said, &length, scratch_path("out"), 1 << 20));
    assert_true(strstr(said, "refl  sublayer\n") != NULL && strstr(said, "damp") == NULL);
    free(said);
    /* a table without any of them stays as it is */
    (void)snprintf(line, sizeof line, "inspect --columns share,group --out %s" MODEL, out);
    assert_int_equal(run(line), 0);
    expect_file("columns/tables/inspect.csv", "tensor,dtype,shape,role,nan,inf,zero_rows\r\n", "");
    expect_file("columns/tables/inspect-2.csv", "share,group\r\n", "");
    (void)snprintf(line, sizeof line,
                   "report --quiet --tokens fixtures/data/val.bin --seq-len 4 --sequences 1 --skip spectrum,weights,jacobians,"
                   "verify --columns beta_mean,sublayer,loss,case --out %s-report" MODEL,
                   out);
    assert_int_equal(run(line), 0);
    expect_file("columns-report/tables/gates.csv", "beta_mean,sublayer\r\n", "");
    expect_file("columns-report/tables/cases.csv", "loss,case\r\n", "");
    expect_file("columns-report/tables/findings.csv", "finding,threshold,count,where\r\n", "");
    expect_ok(ds_read_file(&said, &length, scratch_path("columns-report/report.md"), 1 << 22));
    assert_non_null(strstr(said, "| β mean | sublayer |\n"));
    free(said);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_abbreviations),
        cmocka_unit_test(test_misspelt_options),
        cmocka_unit_test(test_forms_of_options),
        cmocka_unit_test(test_misspelt_words),
        cmocka_unit_test(test_standard_input),
        cmocka_unit_test(test_short_texts),
        cmocka_unit_test(test_values_out_of_range),
        cmocka_unit_test(test_words_out_of_place),
        cmocka_unit_test(test_token_types),
        cmocka_unit_test(test_doubtful_tokens_are_told),
        cmocka_unit_test(test_columns_of_every_command),
        cmocka_unit_test(test_columns_are_chosen),
        cmocka_unit_test(test_places_that_cannot_take_the_result),
    };
    return cmocka_run_group_tests_name("options", tests, NULL, NULL);
}
