#include "matrix.h"

#include <ctype.h>
#include <ftw.h>
#include <glob.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "child.h"
#include "deltascope/io.h"
#include "random_model.h"
#include "scratch.h"
#include "support.h"

enum { MOST_ARGUMENTS = 24 };

/* ---- commands ------------------------------------------------------------------------------------------------------------ */

/* What a command asks of a checkpoint or a run, and refuses otherwise. EVERY_RULE: nothing, and it has a meaning for rules that
 * keep a history or streams as well. */
typedef enum need { EVERY_RULE, ANY_MODEL, DELTA_RULE, FLOAT_RUN } need;

/* Words of each; M is the checkpoint. All but inspect get the data as well. */
typedef struct matrix_command {
    const char *words[8];
    need need;
} matrix_command;

static const matrix_command commands[] = {
    {{"inspect", "M"}, EVERY_RULE},
    {{"gates", "M"}, ANY_MODEL},
    {{"gates", "--shadow", "1", "M"}, FLOAT_RUN},
    {{"spectrum", "--positions", "all", "--null", "shuffled-gates", "M"}, DELTA_RULE},
    {{"spectrum", "--weights", "--certify", "M"}, ANY_MODEL},
    {{"spectrum", "--end-to-end", "0", "--by-depth", "M"}, ANY_MODEL},
    {{"ablate", "--modes", "closed,open,reflect,mean-gate,write-only,erase-only", "M"}, DELTA_RULE},
    {{"ablate", "M"}, EVERY_RULE},
    {{"depth", "M"}, EVERY_RULE},
    {{"gradflow", "--measure", "--per-position", "M"}, DELTA_RULE},
    {{"gradflow", "--jacobian", "last", "M"}, ANY_MODEL},
    {{"gradflow", "M"}, EVERY_RULE},
    {{"verify", "M"}, EVERY_RULE},
    {{"trace", "M"}, EVERY_RULE},
    {{"compare", "--labels", "one,other", "M", "M"}, EVERY_RULE},
    {{"report", "M"}, EVERY_RULE},
};
enum { COMMANDS = sizeof commands / sizeof commands[0] };

/* ---- what was written ---------------------------------------------------------------------------------------------------- */

/* Results hold null where src/report/README.md says so, in the block "null", and nowhere else. */
static bool null_is_documented(const char *path) {
    static char *readme;
    size_t length = strlen(path);
    if (readme == NULL) {
        expect_ok(ds_read_file(&readme, &(size_t){0}, "src/report/README.md", 1 << 20));
        char *block = strstr(readme, "```null\n");
        assert_non_null(block);
        memmove(readme, block, strlen(block) + 1);
        *strstr(readme + 8, "```") = '\0';
    }
    for (const char *at = readme; (at = strstr(at, path)) != NULL; at++)
        if (isspace((unsigned char)at[-1]) && (isspace((unsigned char)at[length]) || at[length] == '\0')) return true;
    return false;
}

/* A number that is none, as C prints it, standing alone. */
static const char *non_number(const char *text) {
    for (const char *at = text; *at != '\0'; at++) {
        if (at > text && (isalnum((unsigned char)at[-1]) || at[-1] == '_')) continue;
        if (strncmp(at, "nan", 3) != 0 && strncmp(at, "inf", 3) != 0) continue;
        bool key = at > text && at[-1] == '"' && at[3] == '"'; /* of counts */
        if (!isalnum((unsigned char)at[3]) && at[3] != '_' && !key) return at;
    }
    return NULL;
}

static char complaint[1024];

static bool complain(const char *what, const char *where) {
    (void)snprintf(complaint, sizeof complaint, "%s: %.400s", what, where);
    return false;
}

static bool walk(json_t *value, const char *path) {
    char below[512];
    const char *key;
    json_t *member;
    size_t at;
    if (json_is_null(value)) return null_is_documented(path) || complain("null", path);
    json_object_foreach(value, key, member) {
        (void)snprintf(below, sizeof below, "%s%s%s", path, *path != '\0' ? "/" : "", key);
        if (!walk(member, below)) return false;
    }
    json_array_foreach(value, at, member) {
        (void)snprintf(below, sizeof below, "%s[]", path);
        if (!walk(member, below)) return false;
    }
    return true;
}

static bool good_json(const char *path) {
    char *bytes = NULL;
    size_t length;
    json_t *value = NULL;
    if (ds_read_file(&bytes, &length, path, 1 << 26) != DS_OK) return complain("no result", path);
    bool good = ds_json_parse(&value, bytes, length, path) == DS_OK && walk(value, "");
    json_decref(value);
    free(bytes);
    return good;
}

static bool good_folder;
static int look_into(const char *path, const struct stat *about, int type, struct FTW *place) {
    (void)about;
    (void)place;
    char *bytes = NULL;
    size_t length;
    if (type != FTW_F || strstr(path, ".npz") != NULL) return 0;
    if (strstr(path, "/figures/") != NULL && strstr(path, ".tsv") != NULL) return 0; /* there it is a point not drawn */
    if (ds_read_file(&bytes, &length, path, 1 << 26) != DS_OK) good_folder = complain("unreadable", path);
    const char *found = bytes != NULL ? non_number(bytes) : NULL;
    if (found != NULL) good_folder = complain(path, found > bytes + 60 ? found - 60 : bytes);
    free(bytes);
    return good_folder ? 0 : 1;
}

/* One sentence on standard error, begun by the program's name. */
static bool good_refusal(const child *ran) {
    size_t length = strlen(ran->err);
    if (ran->status != DS_ERR_USAGE && ran->status != DS_ERR_INPUT) return complain("exit status", ran->err);
    if (strncmp(ran->err, "deltascope: ", 12) != 0 || length < 30) return complain("no sentence", ran->err);
    return strchr(ran->err, '\n') == ran->err + length - 1 || complain("more than a sentence", ran->err);
}

/* ---- cells --------------------------------------------------------------------------------------------------------------- */

/* A checkpoint as the cells see it. */
typedef struct subject {
    const char *folder, *tokens, *described;
    ds_precision precision;
    size_t block;
    uint64_t seed;
    bool delta;     /* has the delta rule */
    bool neighbour; /* has a rule that keeps a history or streams: not all commands know it, and those refuse */
} subject;

typedef struct cell {
    const subject *of;
    const matrix_command *command;
    size_t length, windows;
} cell;

static bool writes_folder(const cell *c) { return strcmp(c->command->words[0], "report") == 0; }

static bool fits(const cell *c) {
    if (c->command->need == DELTA_RULE) return c->of->delta;
    return c->command->need != FLOAT_RUN || c->of->precision == DS_F32;
}

/* Whether a neighbour's refusal of this command is as good as its result. */
static bool may_refuse(const cell *c) {
    return c->of->neighbour && strcmp(c->command->words[0], "inspect") != 0 && strcmp(c->command->words[0], "depth") != 0;
}

static size_t arguments_of(const char *out[MOST_ARGUMENTS], const cell *c, char numbers[2][24]) {
    size_t count = 0;
    (void)snprintf(numbers[0], 24, "%zu", c->length);
    (void)snprintf(numbers[1], 24, "%zu", c->windows);
    for (size_t i = 0; c->command->words[i] != NULL; i++)
        out[count++] = strcmp(c->command->words[i], "M") == 0 ? c->of->folder : c->command->words[i];
    const char *name = c->command->words[0];
    const char *const data[] = {"--tokens", c->of->tokens, "--seq-len", numbers[0], "--sequences", numbers[1]};
    size_t of_data = strcmp(name, "inspect") == 0 ? 0 : strcmp(name, "trace") == 0 ? 4 : 6;
    for (size_t i = 0; i < of_data; i++) out[count++] = data[i];
    const char *const more[] = {"--threads", "1", "--precision", c->of->precision == DS_F32 ? "float" : "double"};
    for (size_t i = 0; i < 4; i++) out[count++] = more[i];
    out[count++] = writes_folder(c) ? "--out" : "--json";
    out[count++] = writes_folder(c) ? scratch_path("matrix-out") : scratch_path("matrix.json");
    if (writes_folder(c)) out[count++] = "--force";
    out[count] = NULL;
    return count;
}

/* Figures are drawn by another program, which is not what is tested: it is not found. */
static bool run_cell(const cell *c, bool *refused) {
    static child ran;
    const char *arguments[MOST_ARGUMENTS];
    char numbers[2][24];
    (void)arguments_of(arguments, c, numbers);
    (void)remove(scratch_path("matrix.json"));
    child_run(&ran, arguments, (child_limits){.seconds = 300, .preset = {"PATH", "/nonexistent"}});
    *refused = ran.status != 0;
    if (ran.signal != 0) return complain("ended by a signal", ran.err);
    const char *found = non_number(ran.out), *wrong = non_number(ran.err);
    if (found != NULL) return complain("not a number", found - ds_min_size((size_t)(found - ran.out), 60));
    if (wrong != NULL) return complain("not a number", ran.err);
    if (*refused && fits(c) && !may_refuse(c)) return complain("refused", ran.err);
    if (*refused) return good_refusal(&ran);
    if (!fits(c) && !may_refuse(c)) return complain("not refused", c->of->folder);
    if (!writes_folder(c)) return good_json(scratch_path("matrix.json"));
    good_folder = true;
    (void)nftw(scratch_path("matrix-out"), look_into, 8, FTW_PHYS);
    return good_folder;
}

static void report(const cell *c) {
    const char *arguments[MOST_ARGUMENTS];
    char numbers[2][24];
    size_t count = arguments_of(arguments, c, numbers);
    print_message("%s\n ", c->of->described);
    for (size_t i = 0; i < count; i++) print_message(" %s", arguments[i]);
    print_message("\n  %s\n", complaint);
}

/* All windows and commands of one checkpoint. A choice of seed, checkpoint and cell alone says whether a cell is among those
 * run. */
static void run_subject(matrix_result *result, const subject *of, uint64_t seed, size_t share) {
    const size_t lengths[] = {1, 2, 3, of->block};
    ds_random random = ds_random_init(seed ^ of->seed);
    for (size_t at = 0; at < COMMANDS * 8; at++) {
        cell c = {.of = of, .command = &commands[at / 8], .length = lengths[at % 8 / 2], .windows = 1 + at % 2};
        bool refused = false;
        if (of->neighbour && c.command->need != EVERY_RULE) continue;
        if (ds_random_below(&random, share) != 0) continue;
        bool good = run_cell(&c, &refused);
        result->cells++;
        result->refused += refused;
        if (good) continue;
        result->failed++;
        report(&c);
    }
}

static void run_model(matrix_result *result, const random_model *m, uint64_t seed, size_t share) {
    const subject of = {.folder = random_model_write(m, "matrix-model"),
                        .tokens = scratch_path("matrix-model/tokens.bin"),
                        .described = random_model_describe(m),
                        .precision = m->precision,
                        .block = m->spec.block_size,
                        .seed = m->seed,
                        .delta = m->spec.rule == &ds_rule_delta};
    run_subject(result, &of, seed, share);
}

/* Small enough for every command, at two windows of a block of 8. */
static void fit(random_model *m) {
    m->spec.block_size = m->length = 8;
    if (m->spec.positions > 0) m->spec.positions = 8;
    m->spec.layers = ds_min_size(m->spec.layers, 2);
    m->windows = 2;
}

matrix_result matrix_run(uint64_t seed, size_t models, size_t share) {
    static const char *const variants[] = {"additive", "ddl-scalar", "ddl-tc", "ddl-tc-ec", "ddl-cc", "ddl-cc-ec"};
    matrix_result result = {0};
    uint64_t next = seed;
    for (size_t i = 0; i < models * 6; i++) {
        random_model m;
        do random_model_draw(&m, next++);
        while (strcmp(ds_spec_variant(&m.spec), variants[i % 6]) != 0);
        fit(&m);
        run_model(&result, &m, seed, share);
    }
    return result;
}

matrix_result matrix_run_backbones(uint64_t seed, size_t models, size_t share) {
    static const ds_backbone *const backbones[] = {&ds_backbone_qwen3, &ds_backbone_llama, &ds_backbone_qwen2,
                                                   &ds_backbone_gpt2, &ds_backbone_nanogpt};
    matrix_result result = {0};
    uint64_t next = seed;
    for (size_t i = 0; i < models * 5; i++) {
        random_model m;
        do random_backbone_draw(&m, next++);
        while (m.spec.backbone != backbones[i % 5]);
        fit(&m);
        run_model(&result, &m, seed, share);
    }
    return result;
}

matrix_result matrix_run_neighbours(uint64_t seed, size_t share) {
    static const char *const kinds[] = {"fixtures/depth/*/config.json", "fixtures/streams/*/config.json"};
    matrix_result result = {0};
    glob_t found = {0};
    for (size_t i = 0; i < 2; i++) assert_int_equal(glob(kinds[i], i > 0 ? GLOB_APPEND : 0, NULL, &found), 0);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        *strrchr(found.gl_pathv[i], '/') = '\0';
        const subject of = {.folder = found.gl_pathv[i],
                            .tokens = "fixtures/data/val.bin",
                            .described = found.gl_pathv[i],
                            .precision = (seed + i) % 2 == 0 ? DS_F32 : DS_F64,
                            .block = 8,
                            .seed = i,
                            .neighbour = true};
        run_subject(&result, &of, seed, share);
    }
    globfree(&found);
    return result;
}
