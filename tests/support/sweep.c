#include "sweep.h"

#include <ftw.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "child.h"
#include "deltascope/io.h"
#include "scratch.h"
#include "support.h"
#include "tiny_model.h"

enum { MOST_ARGUMENTS = 24 };

#define DATA "--tokens", "TOKENS", "--seq-len", "8", "--threads", "1"
/* MODEL, TOKENS, RESULT and FOLDER (where results go) and the like stand for paths in the scratch folder. `bench` is left out:
 * it takes minutes, and the stages it times are other commands'. */
static const char *const commands[][MOST_ARGUMENTS] = {
    {"gates", DATA, "--sequences", "2", "--per-token", "NPZ", "--json", "RESULT", "MODEL"},
    {"gates", "--tokens", "TOKENS", "--seq-len", "8", "--sequences", "2", "--threads", "2", "--json", "RESULT", "TORCH"},
    {"inspect", "--json", "RESULT", "MODEL"},
    {"inspect", "--draft-map", "RESULT", "TORCH"},
    {"inspect", "--map", "MAP", "--json", "RESULT", "TORCH"},
    {"spectrum", DATA, "--sequences", "1", "--json", "RESULT", "MODEL"},
    {"spectrum", DATA, "--sequences", "1", "--certify", "--json", "RESULT", "MODEL"},
    {"spectrum", DATA, "--sequences", "2", "--positions", "all", "--null", "shuffled-gates", "--out", "FOLDER", "MODEL"},
    {"spectrum", DATA, "--weights", "--end-to-end", "0", "--by-depth", "--json", "RESULT", "MODEL"},
    {"ablate", DATA, "--sequences", "3", "--shadow", "1", "--json", "RESULT", "MODEL"},
    {"ablate", DATA, "--sequences", "2", "--modes", "closed,mean-gate", "--scopes", "each", "--out", "FOLDER", "MODEL"},
    {"depth", DATA, "--sequences", "1", "--json", "RESULT", "MODEL"},
    {"trace", DATA, "--json", "RESULT", "MODEL"},
    {"compare", DATA, "--sequences", "2", "--json", "RESULT", "MODEL", "MODEL"},
    {"gradflow", DATA, "--sequences", "1", "--json", "RESULT", "MODEL"},
    {"gradflow", DATA, "--sequences", "3", "--measure", "--jacobian", "0:7", "--json", "RESULT", "MODEL"},
    {"verify", DATA, "--sequences", "1", "--json", "RESULT", "MODEL"},
    {"report", DATA, "--sequences", "2", "--json", "RESULT", "--out", "FOLDER", "MODEL"},
    {"check", "--tokens", "TOKENS", "--threads", "1", "--json", "RESULT", "SAVED", "MODEL"},
    {"check", "--json", "RESULT", "REPORT"},
    {"diff", "--json", "RESULT", "SAVED", "SAVED"},
    {"plot", "--figure", "regime-shares", "--out", "FOLDER", "SAVED"},
    {"tokenize", "--text", "TEXT", "--tokenizer", "fixtures/data/meta.pkl", "--output", "RESULT"},
    {"tokenize", "--text", "TEXT", "--tokenizer", "fixtures/tokenizer/gpt2", "--output", "RESULT"},
    {"gates", "--text", "TEXT", "--tokenizer", "fixtures/data/meta.pkl", "--seq-len", "8", "--threads", "1", "--json", "RESULT",
     "fixtures/models/scalar-ckpt"},
    {"completion", "bash"},
    {"man"},
    {"--help"},
};
enum { COMMANDS = sizeof commands / sizeof *commands };

static const char before[] = "the previous result\n";
static child ran;
static const char *usual_path; /* gnuplot is found for `plot` alone: drawing takes long, and is the same for all */

const char *sweep_result(void) { return scratch_path("result"); }
size_t sweep_commands(void) { return COMMANDS; }
const char *sweep_name(size_t command) { return commands[command][0]; }

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *walk) {
    (void)info, (void)kind, (void)walk;
    return remove(path);
}

static void remove_folder(const char *path) { (void)nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS); }

void sweep_reset_result(void) {
    (void)scratch_write("result", before, sizeof before - 1);
    remove_folder(scratch_path("folder"));
    (void)unlink(scratch_path("rows.npz"));
}

void sweep_prepare(void) {
    const char *config = tiny_config("ddl-cc-ec");
    if (usual_path == NULL) usual_path = ds_strdup(getenv("PATH") == NULL ? "" : getenv("PATH"));
    assert_non_null(usual_path);
    uint8_t ids[64];
    for (size_t i = 0; i < sizeof ids; i++) ids[i] = i % 2 == 0 ? (uint8_t)(i * 7 % TINY_VOCAB) : 0;
    (void)scratch_write("ids.bin", ids, sizeof ids);
    (void)scratch_write("text.txt", "First Citizen: speak\n", 21);
    static const char map[] = "{\"tensors\": {\"ln_f.weight\": \"ln_f.weight\", \"transformer.h.{L}.mlp.c_fc1.weight\": "
                              "{\"to\": [\"transformer.h.{L}.mlp.c_fc1.weight\"], \"transposed\": false}}, "
                              "\"settings\": {\"rms_norm_eps\": 1e-5}}";
    (void)scratch_write("map.json", map, sizeof map - 1);
    (void)scratch_write("tiny/config.json", config, strlen(config));
    expect_ok(tiny_write(scratch_path("tiny/model.safetensors"), "ddl-cc-ec"));
    assert_int_equal(setenv("PATH", "", 1), 0);
    CHILD_RUN(&ran, (child_limits){0}, "gates", "--quiet", "--tokens", scratch_path("ids.bin"), "--seq-len", "8", "--json",
              scratch_path("saved.json"), scratch_path("tiny"));
    if (ran.status != 0) fail_msg("no saved result: %s", ran.err);
    CHILD_RUN(&ran, (child_limits){0}, "report", "--quiet", "--tokens", scratch_path("ids.bin"), "--seq-len", "8", "--skip",
              "inspect,spectrum,weights,controls,gradflow,jacobians,verify", "--out", scratch_path("report"),
              scratch_path("tiny"));
    if (ran.status != 0) fail_msg("no report: %s", ran.err);
}

static const char *fill_in(const char *word) {
    static const char *const names[][2] = {
        {"TOKENS", "ids.bin"}, {"RESULT", "result"}, {"MODEL", "tiny"},       {"TEXT", "text.txt"},
        {"FOLDER", "folder"},  {"NPZ", "rows.npz"},  {"SAVED", "saved.json"}, {"REPORT", "report/report.json"},
        {"MAP", "map.json"}};
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

static size_t complaints;

/* A long sweep goes on, so that all findings are seen at once. */
static void complain(const char *format, ...) DS_PRINTF(1, 2);
static void complain(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    (void)vfprintf(stderr, format, arguments);
    va_end(arguments);
    (void)fputc('\n', stderr);
    complaints++;
}

static void expect_no_complaints(const char *what) {
    size_t count = complaints;
    complaints = 0;
    if (count > 0) fail_msg("%s: %zu complaints", what, count);
}

static const char *walked; /* nftw has no context */

static int expect_name(const char *path, const struct stat *info, int kind, struct FTW *walk) {
    (void)info, (void)kind, (void)walk;
    if (strstr(path, ".tmp") != NULL) complain("%s: left %s behind", walked, path);
    return 0;
}

static void expect_no_temporary(const char *what) {
    walked = what;
    (void)nftw(scratch_path("."), expect_name, 8, FTW_PHYS);
}

static char *read_result(size_t *length) {
    char *bytes;
    expect_ok(ds_read_file(&bytes, length, sweep_result(), 1 << 24));
    return bytes;
}

void sweep_expect_untouched(const char *what) {
    size_t length;
    char *bytes = read_result(&length);
    if (length != sizeof before - 1 || memcmp(bytes, before, length) != 0) complain("%s: the previous result is gone", what);
    free(bytes);
    expect_no_temporary(what);
    expect_no_complaints(what);
}

/* What the command has made: "results" of its JSON, or all of it, or all bytes as a checksum; a new reference. */
static json_t *take_results(const char *what) {
    size_t length;
    char *bytes = read_result(&length);
    json_t *value = NULL;
    if (bytes[0] == '{') {
        expect_ok(ds_json_parse(&value, bytes, length, what));
        json_t *results = json_object_get(value, "results");
        if (results != NULL) {
            (void)json_incref(results);
            json_decref(value);
            value = results;
        }
    } else {
        value = json_integer(ds_crc32(0, bytes, length));
    }
    free(bytes);
    assert_non_null(value);
    return value;
}

/* Every file under --out is one of the undisturbed run's, byte for byte; a journal holds what is finished so far. */
static int expect_whole_file(const char *path, const struct stat *info, int kind, struct FTW *walk) {
    char other[512], *found, *expected;
    size_t length, expected_length, prefix = strlen(scratch_path("folder"));
    (void)info, (void)walk;
    if (kind != FTW_F || strstr(path, ".journal") != NULL) return 0;
    (void)snprintf(other, sizeof other, "%s%s", scratch_path("whole"), path + prefix);
    expect_ok(ds_read_file(&found, &length, path, 1 << 24));
    expect_ok(ds_read_file(&expected, &expected_length, other, 1 << 24));
    if (length != expected_length || memcmp(found, expected, length) != 0) complain("%s: %s is not whole", walked, path);
    free(found);
    free(expected);
    return 0;
}

static void expect_whole_files(const char *what) {
    walked = what;
    (void)nftw(scratch_path("folder"), expect_whole_file, 8, FTW_PHYS);
}

/* Where a run with one fault ended. */
static void check_run(const char *what, const json_t *expected, const char *printed) {
    expect_no_temporary(what);
    expect_whole_files(what);
    if (ran.status == 0) {
        json_t *found = take_results(what);
        if (!json_equal(found, (json_t *)(uintptr_t)expected)) complain("%s: status 0 with other results", what);
        json_decref(found);
        if (strcmp(ran.out, printed) != 0) complain("%s: status 0, but printed \"%.2000s\"", what, ran.out);
        return;
    }
    if (ran.status != 3 && ran.status != 4) complain("%s: status %d, signal %d, \"%s\"", what, ran.status, ran.signal, ran.err);
    if (strncmp(ran.err, "deltascope: ", 12) != 0 || strlen(ran.err) < 20) complain("%s: no sentence: \"%s\"", what, ran.err);
    /* a result is there before the table is printed, which may still fail: then it is whole */
    size_t length;
    char *bytes = read_result(&length);
    bool previous = length == sizeof before - 1 && memcmp(bytes, before, length) == 0;
    free(bytes);
    json_t *found = previous ? NULL : take_results(what);
    if (!previous && !json_equal(found, (json_t *)(uintptr_t)expected)) complain("%s: a partial result", what);
    json_decref(found);
}

static void run_at(size_t command, uint64_t at, bool persistent) {
    char number[32];
    (void)snprintf(number, sizeof number, "%llu", (unsigned long long)at);
    assert_int_equal(setenv("FAULT_ON", persistent ? "1" : "0", 1), 0);
    sweep_reset_result();
    assert_int_equal(setenv("PATH", strcmp(sweep_name(command), "plot") == 0 ? usual_path : "", 1), 0);
    const char *built = getenv("DELTASCOPE");
    char program[512];
    (void)snprintf(program, sizeof program, "%s-faults", built == NULL ? "build/deltascope" : built);
    child_run_program(&ran, program, sweep_arguments(command), (child_limits){.seconds = 20, .preset = {"FAULT_AT", number}});
}

static int by_value(const void *left, const void *right) {
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

/* points <- the first and the last allocation of every call path, ascending, each once. */
static void find_points(sweep_count *count, uint64_t **points, size_t command) {
    unsigned long long total, first, last;
    uint64_t *found = NULL;
    size_t length = 0, capacity = 0, kept = 0;
    assert_int_equal(setenv("FAULT_COUNT", scratch_path("count"), 1), 0);
    run_at(command, UINT64_MAX, false);
    assert_int_equal(unsetenv("FAULT_COUNT"), 0);
    FILE *file = fopen(scratch_path("count"), "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%llu", &total), 1);
    while (fscanf(file, "%llu %llu", &first, &last) == 2) {
        void *storage = found;
        expect_ok(ds_grow(&storage, &capacity, length + 2, sizeof *found));
        found = storage;
        found[length++] = first;
        found[length++] = last;
    }
    (void)fclose(file);
    *count = (sweep_count){.allocations = total, .paths = length / 2};
    assert_true(length > 0);
    qsort(found, length, sizeof *found, by_value);
    const char *asked = getenv("DELTASCOPE_SWEEP");
    if (asked != NULL && strcmp(asked, "every") == 0) {
        free(found);
        found = ds_alloc_array(total, sizeof *found);
        assert_non_null(found);
        for (length = 0; length < total; length++) found[length] = length;
    }
    for (size_t i = 0; i < length; i++) {
        if (kept == 0 || found[i] != found[kept - 1]) found[kept++] = found[i];
    }
    count->points = kept;
    *points = found;
}

sweep_count sweep_allocations(size_t command, size_t most, bool persistent) {
    sweep_count count;
    uint64_t *points;
    run_at(command, UINT64_MAX, false);
    if (ran.status != 0) fail_msg("%s: status %d without a fault: %s", sweep_name(command), ran.status, ran.err);
    remove_folder(scratch_path("whole"));
    (void)rename(scratch_path("folder"), scratch_path("whole"));
    json_t *expected = take_results(sweep_name(command));
    char *printed = ds_strdup(ran.out);
    find_points(&count, &points, command);
    for (size_t i = 0; i < most && i < count.points; i++, count.runs++) {
        uint64_t at = points[count.points <= most ? i : i * count.points / most];
        char what[128];
        (void)snprintf(what, sizeof what, "%s (command %zu) with allocation %llu of %llu failing%s", sweep_name(command),
                       command, (unsigned long long)at, (unsigned long long)count.allocations,
                       persistent ? " and all after it" : "");
        run_at(command, at, persistent);
        check_run(what, expected, printed);
        count.given_up += strstr(ran.err, "for ball arithmetic could not be had") != NULL;
    }
    free(points);
    free(printed);
    json_decref(expected);
    expect_no_complaints(sweep_name(command));
    return count;
}
