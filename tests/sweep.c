#include "sweep.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "child.h"
#include "deltascope/io.h"
#include "scratch.h"
#include "support.h"
#include "tiny_model.h"

enum { MOST_ARGUMENTS = 24, COMMANDS = 12 };

/* MODEL, TOKENS and RESULT stand for paths in the scratch folder. */
static const char *const commands[COMMANDS][MOST_ARGUMENTS] = {
    {"gates", "--tokens", "TOKENS", "--seq-len", "8", "--sequences", "2", "--threads", "1", "--json", "RESULT", "MODEL"},
    {"gates", "--tokens", "TOKENS", "--seq-len", "8", "--sequences", "2", "--threads", "2", "--json", "RESULT", "TORCH"},
    {"inspect", "--json", "RESULT", "MODEL"},
    {"spectrum", "--tokens", "TOKENS", "--seq-len", "8", "--sequences", "1", "--threads", "1", "--json", "RESULT", "MODEL"},
    {"ablate", "--tokens", "TOKENS", "--seq-len", "8", "--sequences", "3", "--threads", "1", "--json", "RESULT", "MODEL"},
    {"tokenize", "--text", "TEXT", "--tokenizer", "fixtures/data/meta.pkl", "--output", "RESULT"},
    {"tokenize", "--text", "TEXT", "--tokenizer", "fixtures/tokenizer/gpt2", "--output", "RESULT"},
    {"gradflow", "--tokens", "TOKENS", "--seq-len", "8", "--sequences", "1", "--threads", "1", "--json", "RESULT", "MODEL"},
    {"verify", "--tokens", "TOKENS", "--seq-len", "8", "--sequences", "1", "--threads", "1", "--json", "RESULT", "MODEL"},
    {"gates", "--text", "TEXT", "--tokenizer", "fixtures/data/meta.pkl", "--seq-len", "8", "--threads", "1", "--json", "RESULT",
     "fixtures/models/scalar-ckpt"},
    {"completion", "bash"},
    {"--help"},
};

static const char before[] = "the previous result\n";
static child ran;

const char *sweep_result(void) { return scratch_path("result"); }
size_t sweep_commands(void) { return COMMANDS; }
const char *sweep_name(size_t command) { return commands[command][0]; }

void sweep_reset_result(void) { (void)scratch_write("result", before, sizeof before - 1); }

void sweep_prepare(void) {
    const char *config = tiny_config("ddl-cc-ec");
    uint8_t ids[64];
    for (size_t i = 0; i < sizeof ids; i++) ids[i] = i % 2 == 0 ? (uint8_t)(i * 7 % TINY_VOCAB) : 0;
    (void)scratch_write("ids.bin", ids, sizeof ids);
    (void)scratch_write("text.txt", "First Citizen: speak\n", 21);
    (void)scratch_write("tiny/config.json", config, strlen(config));
    expect_ok(tiny_write(scratch_path("tiny/model.safetensors"), "ddl-cc-ec"));
}

static const char *fill_in(const char *word) {
    static const char *const names[][2] = {
        {"TOKENS", "ids.bin"}, {"RESULT", "result"}, {"MODEL", "tiny"}, {"TEXT", "text.txt"}};
    if (strcmp(word, "TORCH") == 0) return "fixtures/hostile/valid/pt_f16";
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(word, names[i][0]) == 0) return scratch_path(names[i][1]);
    }
    return word;
}

const char *const *sweep_arguments(size_t command) {
    static const char *filled[COMMANDS][MOST_ARGUMENTS];
    for (size_t i = 0; commands[command][i] != NULL && filled[command][i] == NULL; i++)
        filled[command][i] = fill_in(commands[command][i]);
    return filled[command];
}

static void expect_no_temporary(const char *what) {
    DIR *folder = opendir(scratch_path("."));
    assert_non_null(folder);
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        if (strstr(entry->d_name, ".tmp.") != NULL) fail_msg("%s: left %s behind", what, entry->d_name);
    }
    (void)closedir(folder);
}

static char *read_result(size_t *length) {
    char *bytes;
    expect_ok(ds_read_file(&bytes, length, sweep_result(), 1 << 24));
    return bytes;
}

void sweep_expect_untouched(const char *what) {
    size_t length;
    char *bytes = read_result(&length);
    if (length != sizeof before - 1 || memcmp(bytes, before, length) != 0) fail_msg("%s: the previous result is gone", what);
    free(bytes);
    expect_no_temporary(what);
}

/* What the command has made: "results" of its JSON, or all bytes as a string; a new reference. */
static json_t *take_results(const char *what) {
    size_t length;
    char *bytes = read_result(&length);
    json_t *value = NULL;
    if (bytes[0] == '{') {
        expect_ok(ds_json_parse(&value, bytes, length, what));
        json_t *results = json_incref(json_object_get(value, "results"));
        json_decref(value);
        value = results;
    } else {
        value = json_integer(ds_crc32(0, bytes, length));
    }
    free(bytes);
    assert_non_null(value);
    return value;
}

/* Where a run with one fault ended. */
static void check_run(const char *what, const json_t *expected, const char *printed) {
    if (ran.status == 0) {
        json_t *found = take_results(what);
        if (!json_equal(found, (json_t *)(uintptr_t)expected)) fail_msg("%s: status 0 with other results", what);
        json_decref(found);
        if (strcmp(ran.out, printed) != 0) fail_msg("%s: status 0, but printed \"%s\"", what, ran.out);
        expect_no_temporary(what);
        return;
    }
    if (ran.status != 3 && ran.status != 4) fail_msg("%s: status %d, signal %d, \"%s\"", what, ran.status, ran.signal, ran.err);
    if (strncmp(ran.err, "deltascope: ", 12) != 0 || strlen(ran.err) < 20) fail_msg("%s: no sentence: \"%s\"", what, ran.err);
    /* a result is there before the table is printed, which may still fail: then it is whole */
    size_t length;
    char *bytes = read_result(&length);
    bool previous = length == sizeof before - 1 && memcmp(bytes, before, length) == 0;
    free(bytes);
    json_t *found = previous ? NULL : take_results(what);
    if (!previous && !json_equal(found, (json_t *)(uintptr_t)expected)) fail_msg("%s: a partial result", what);
    json_decref(found);
    expect_no_temporary(what);
}

static void run_at(size_t command, size_t at, bool persistent) {
    char number[32];
    (void)snprintf(number, sizeof number, "%zu", at);
    assert_int_equal(setenv("FAULT_ON", persistent ? "1" : "0", 1), 0);
    sweep_reset_result();
    const char *built = getenv("DELTASCOPE");
    char program[512];
    (void)snprintf(program, sizeof program, "%s-faults", built == NULL ? "build/deltascope" : built);
    child_run_program(&ran, program, sweep_arguments(command), (child_limits){.seconds = 20, .preset = {"FAULT_AT", number}});
}

size_t sweep_allocations(size_t command, size_t most, bool persistent) {
    size_t runs = 0;
    run_at(command, (size_t)-1, false);
    if (ran.status == 2) return 0;
    if (ran.status != 0) fail_msg("%s: status %d without a fault: %s", sweep_name(command), ran.status, ran.err);
    json_t *expected = take_results(sweep_name(command));
    char *printed = ds_strdup(ran.out);
    assert_int_equal(setenv("FAULT_COUNT", scratch_path("count"), 1), 0);
    run_at(command, (size_t)-1, false);
    assert_int_equal(unsetenv("FAULT_COUNT"), 0);
    FILE *file = fopen(scratch_path("count"), "r");
    unsigned long long count;
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%llu", &count), 1);
    (void)fclose(file);
    size_t step = 1 + (size_t)count / most;
    for (size_t at = 0; at <= count; at += step, runs++) {
        char what[128];
        (void)snprintf(what, sizeof what, "%s (command %zu) with allocation %zu of %llu failing%s", sweep_name(command),
                       command, at, count, persistent ? " and all after it" : "");
        run_at(command, at, persistent);
        check_run(what, expected, printed);
    }
    free(printed);
    json_decref(expected);
    return runs;
}
