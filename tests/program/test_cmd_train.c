/* train as a script sees it: results and files, what is refused, and the same bytes however often a run is interrupted. */
#include <fcntl.h>
#include <ftw.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "deltascope/io.h"
#include "interrupted_training.h"
#include "same_folders.h"
#include "scratch.h"
#include "support.h"
#include "training_run.h"

#define CONTROL "scalar-closed-mlp"
#define DRAWN(folder) "train", "--recipe", recipe, "--config", config, "--tokens", t.train, "--val", t.val, "--out", folder

static const child_limits undrawn = {.seconds = 120, .preset = {"PATH", ""}}; /* no gnuplot: figures take most of a short run */

/* ---- results ----------------------------------------------------------------------------------------------------- */

static void expect_steps(const training_trace *t, const json_t *results) {
    const char *const keys[] = {"lr", "loss", "gradient_norm", "clip_coefficient"};
    char at[64];
    for (uint64_t step = 0; step < t->recipe.steps; step++) {
        for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
            (void)snprintf(at, sizeof at, "steps/%llu/%s", (unsigned long long)step, keys[i]);
            double expected = trace_number(t, at);
            expect_close(ds_json_real_at(results, at), expected, 1e-11 * fabs(expected));
        }
    }
    expect_close(ds_json_real_at(results, "val_before"), trace_number(t, "val_before"), 1e-12);
    expect_close(ds_json_real_at(results, "val_after"), trace_number(t, "val_after"), 1e-12);
}

/* The control's checkpoint is read back as that control: its loss is what training validated. */
static void expect_same_loss(const training_trace *t, const char *checkpoint) {
    const char *result = scratch_path("gates.json");
    CHILD_RUN(&found, usual, "gates", "--precision", "double", "--tokens", t->val, "--seq-len", "32", "--offset", "0",
              "--sequences", "8", "--quiet", "--json", result, checkpoint);
    assert_int_equal(found.status, 0);
    json_t *gates = read_json(result);
    expect_close(ds_json_real_at(gates, "results/loss"), trace_number(t, "val_after"), 1e-12);
    assert_string_equal(json_string_value(ds_json_at(gates, "checkpoint/rule")), "closed:mlp");
    assert_string_equal(json_string_value(ds_json_at(gates, "checkpoint/backbone")), "ddl");
    json_decref(gates);
}

static void a_trace_is_followed(void **state) {
    (void)state;
    training_trace t;
    trace_open(&t, CONTROL);
    train(&t, "run", (const char *const[]){"--precision", "double", "--save", "8", NULL}, usual);
    if (found.status != 0) fail_msg("%s", found.err);
    assert_non_null(strstr(found.out, "after 20 updates"));
    json_t *envelope = read_json(inside("run", "train.json"));
    expect_steps(&t, json_object_get(envelope, "results"));
    assert_true(json_equal(ds_json_at(envelope, "results/untouched"), json_object_get(t.trace, "untouched")));
    assert_string_equal(json_string_value(ds_json_at(envelope, "checkpoint/rule")), "closed:mlp");
    (void)trace_expect_weights(&t, inside("run", "checkpoint-20"), NULL, 1e-12);
    expect_same_loss(&t, inside("run", "checkpoint-20"));
    json_t *config = read_json(inside("run", "checkpoint-20/config.json")), *recipe = read_json(inside("run", "recipe.json"));
    assert_string_equal(json_string_value(json_object_get(config, "model_type")), "deltascope");
    assert_string_equal(json_string_value(json_object_get(config, "deltascope_rule")), "closed:mlp");
    assert_string_equal(json_string_value(json_object_get(recipe, "rule")), "closed:mlp");
    json_t *tick = read_json(inside("run", "checkpoint-16/trainer_state.json"));
    assert_int_equal(json_integer_value(json_object_get(tick, "global_step")), 16);
    assert_int_equal(json_integer_value(json_object_get(tick, "tokens")), 16 * 4 * 32);
    json_decref(tick);
    json_decref(config);
    json_decref(recipe);
    json_decref(envelope);
    trace_close(&t);
}

/* Code that a configuration names would compute the plain rule for a control: it is named no more, there alone. */
static void no_other_code_loads_a_control(void **state) {
    (void)state;
    static const char published[] =
        "{\"model_type\":\"nanogpt-pro\",\"vocab_size\":65,\"num_hidden_layers\":2,\"num_attention_heads\":2,\"hidden_size\":"
        "32,"
        "\"head_dim\":16,\"block_size\":32,\"architectures\":[\"GPT\"],\"auto_map\":{\"AutoModelForCausalLM\":\"model.GPT\"}}";
    static const char *const rules[] = {"delta",       "write-only", "erase-only", "fixed-gate:0.5",
                                        "closed:attn", "closed:mlp", "closed:all"};
    training_trace t;
    trace_open(&t, CONTROL);
    const char *recipe = recipe_of(&t), *config = scratch_write("published.json", published, sizeof published - 1);
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        char name[32], setting[48];
        (void)snprintf(name, sizeof name, "loaded-%zu", i);
        (void)snprintf(setting, sizeof setting, "rule=%s", rules[i]);
        CHILD_RUN(&found, undrawn, DRAWN(scratch_path(name)), "--variant", "ddl-scalar", "--set", setting, "--set", "steps=1");
        if (found.status != 0) fail_msg("%s", found.err);
        for (size_t n = 0; n < 2; n++) {
            char path[96];
            (void)snprintf(path, sizeof path, "%s/checkpoint-%zu/config.json", name, n);
            json_t *own = read_json(scratch_path(path));
            const char *type = json_string_value(json_object_get(own, "model_type"));
            assert_string_equal(type, i == 0 ? "nanogpt-pro" : "deltascope");
            assert_true((json_object_get(own, "auto_map") != NULL) == (i == 0));
            assert_true((json_object_get(own, "architectures") != NULL) == (i == 0));
            json_decref(own);
        }
    }
    trace_close(&t);
}

/* A plain model's configuration stays what it was: other programs read it. */
static void plain_models_stay_plain(void **state) {
    (void)state;
    training_trace t;
    trace_open(&t, CONTROL);
    train(&t, "plain", (const char *const[]){"--set", "rule=delta", "--set", "steps=2", NULL}, usual);
    assert_int_equal(found.status, 0);
    json_t *config = read_json(inside("plain", "checkpoint-2/config.json"));
    char path[320];
    (void)snprintf(path, sizeof path, "%s/config.json", t.initial);
    json_t *before = read_json(path);
    assert_true(json_equal(config, before));
    json_decref(config);
    json_decref(before);
    trace_close(&t);
}

/* Without the erase the shortcut is the identity: its eigenvalue is 1, and there is no operator to take apart. */
static void a_write_only_model_is_read_as_one(void **state) {
    (void)state;
    training_trace t;
    trace_open(&t, CONTROL);
    train(&t, "written", (const char *const[]){"--set", "rule=write-only", "--set", "steps=2", NULL}, usual);
    assert_int_equal(found.status, 0);
    const char *result = scratch_path("written.json"), *checkpoint = inside("written", "checkpoint-2");
    CHILD_RUN(&found, usual, "gates", "--tokens", t.val, "--seq-len", "32", "--quiet", "--json", result, checkpoint);
    assert_int_equal(found.status, 0);
    json_t *gates = read_json(result);
    assert_string_equal(json_string_value(ds_json_at(gates, "checkpoint/rule")), "write-only");
    for (size_t s = 0; s < 4; s++) {
        const json_t *sublayer = json_array_get(ds_json_at(gates, "results/sublayers"), s);
        expect_close(ds_json_real_at(sublayer, "eigenvalue/min"), 1, 0);
        expect_close(ds_json_real_at(sublayer, "eigenvalue/max"), 1, 0);
        assert_true(ds_json_real_at(sublayer, "beta/mean") > 0 && ds_json_real_at(sublayer, "edit_norm") > 0);
    }
    json_decref(gates);
    CHILD_RUN(&found, usual, "spectrum", "--tokens", t.val, "--seq-len", "32", "--quiet", checkpoint);
    expect_refusal(2, "a write-only checkpoint has no shortcut operator but the identity");
    CHILD_RUN(&found, usual, "verify", "--tokens", t.val, "--seq-len", "8", "--sequences", "2", checkpoint);
    assert_int_equal(found.status, 0);
    trace_close(&t);
}

/* ---- refused ----------------------------------------------------------------------------------------------------- */

/* A sentence, its exit status, and no folder. */
static void what_cannot_run_is_refused(void **state) {
    (void)state;
    static const struct {
        const char *option, *value;
        int status;
        const char *words;
    } bad[] = {
        {"--save", "often", 2, "--save takes N|log2, not \"often\""},
        {"--save", "-1", 2, "--save takes N|log2, not \"-1\""},
        {"--keep", "0", 2, "--keep takes a whole number of at least 1"},
        {"--set", "rule=half", 3, "\"half\" is no rule"},
        {"--set", "rule=fixed-gate:nan", 3, "\"fixed-gate:nan\" is no rule"},
        {"--set", "accumulation=0", 3, "accumulation is 0"},
        {"--set", "weight_decay=-1", 3, "weight_decay is -1"},
        {"--set", "warmup_steps=21", 3, "the warm-up ends after the decay"},
        {"--set", "learning_rate=NaN", 2, "--set learning_rate=NaN: expected a number"},
        {"--set", "min_learning_rate=1", 3, "min_learning_rate is 1, above learning_rate"},
        {"--set", "dropout=0.1", 2, "expected KEY=VALUE with a key of the recipe"},
        {"--set", "val_windows=10000", 3, "too few tokens"},
        {"--set", "seq_len=100000", 3, "too few tokens"},
    };
    static const struct {
        const char *name;
        unsigned char id;
        size_t count;
        const char *words;
    } tokens[] = {
        {"empty.bin", 0, 0, "empty.bin: empty token file"},
        {"short.bin", 0, 32, "short.bin: too few tokens: 32"},
        {"beyond.bin", 65, 400, "beyond.bin: token 65 at position 0 >= vocab 65"},
    };
    training_trace t;
    trace_open(&t, CONTROL);
    CHILD_RUN(&found, usual, "train");
    expect_refusal(2, "train needs --recipe FILE");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        train(&t, "none", (const char *const[]){bad[i].option, bad[i].value, NULL}, usual);
        expect_refusal(bad[i].status, bad[i].words);
    }
    for (size_t i = 0; i < 2 * sizeof tokens / sizeof *tokens; i++) {
        unsigned char ids[800] = {0};
        training_trace other = t;
        for (size_t k = 0; k < tokens[i / 2].count; k++) ids[2 * k] = tokens[i / 2].id;
        const char *path = scratch_write(tokens[i / 2].name, ids, 2 * tokens[i / 2].count);
        (void)snprintf(i % 2 == 0 ? other.train : other.val, sizeof other.val, "%s", path);
        train(&other, "none", NULL, usual);
        expect_refusal(3, tokens[i / 2].words);
    }
    assert_true(access(scratch_path("none"), F_OK) != 0);
    trace_close(&t);
}

static double number_after(const char *text, const char *words) {
    const char *at = strstr(text, words);
    if (at == NULL) fail_msg("no \"%s\" in: %s", words, text);
    return strtod(at + strlen(words), NULL);
}

/* What a run will cost is told without running, and without a folder. */
static void costs_are_told(void **state) {
    (void)state;
    training_trace t;
    char config[320];
    trace_open(&t, CONTROL);
    (void)snprintf(config, sizeof config, "%s/config.json", t.initial);
    train(&t, "none", (const char *const[]){"--dry-run", "--save", "log2", NULL}, usual);
    if (found.status != 0) fail_msg("%s", found.err);
    assert_non_null(strstr(found.out, "27080 parameters; 20 updates, 2560 tokens\n"));
    /* after 0, 1, 2, 4, 8, 16, 20; 10,560 numbers learn and have moments */
    assert_non_null(strstr(found.out, "disk: 7 checkpoints of 0.1928 MB\nmemory: 0.3012 MB for"));
    train(&t, "none", (const char *const[]){"--dry-run", "--save", "log2", "--set", "rule=delta", NULL}, usual);
    assert_non_null(strstr(found.out, "disk: 7 checkpoints of 0.325 MB\nmemory: 0.4333 MB for"));
    train(&t, "none", (const char *const[]){"--dry-run", "--save", "3", "--keep", "2", NULL}, usual);
    assert_non_null(strstr(found.out, "disk: 3 checkpoints of "));
    CHILD_RUN(&found, usual, "train", "--dry-run", "--recipe", recipe_of(&t), "--config", config, "--variant", "ddl-scalar",
              "--tokens", t.train, "--val", t.val, "--out", scratch_path("none"));
    assert_non_null(strstr(found.out, "27080 parameters; 20 updates"));
    assert_true(access(scratch_path("none"), F_OK) != 0);
    trace_close(&t);
}

/* What a run took at most is what was predicted, within 10% and two megabytes, for small windows and for large ones, and where
 * sublayers are closed; and most of it is what --dry-run told. How large the program is that starts it does not count, nor does
 * a sanitizer. */
static void memory_is_predicted(void **state) {
    (void)state;
    training_trace t;
    static const char *const shapes[][3] = {{"seq_len=16", "batch=1", "rule=delta"},
                                            {"seq_len=512", "batch=4", "rule=delta"},
                                            {"seq_len=512", "batch=4", "rule=closed:attn"},
                                            {"seq_len=512", "batch=4", "rule=closed:mlp"},
                                            {"seq_len=512", "batch=4", "rule=closed:all"}};
    enum { SHAPES = sizeof shapes / sizeof *shapes };
    double told[SHAPES], took[SHAPES];
    const size_t ours = (size_t)1 << 26;
    char *large = malloc(ours);
    assert_non_null(large);
    memset(large, 1, ours);
    trace_open(&t, "ddl-cc-ec");
    for (size_t i = 0; i < SHAPES; i++) {
        const char *length = shapes[i][0], *batch = shapes[i][1], *rule = shapes[i][2];
        char folder[32];
        (void)snprintf(folder, sizeof folder, "memory-%zu", i);
#define SHAPE "--set", length, "--set", batch, "--set", rule, "--set", "val_windows=1", "--set", "steps=2"
        train(&t, folder, (const char *const[]){SHAPE, "--dry-run", NULL}, usual);
        told[i] = number_after(found.out, "memory: ") + number_after(found.out, "gradient and moments, ");
        train(&t, folder, (const char *const[]){SHAPE, NULL}, undrawn);
        if (found.status != 0) fail_msg("%s", found.err);
        took[i] = number_after(found.out, "peak memory ");
        double predicted = number_after(strstr(found.out, "peak memory "), "MB, ");
        if (!child_under_sanitizer() && !(fabs(took[i] - predicted) <= 0.1 * took[i] + 2))
            fail_msg("%s, %s: took %g MB, %g MB predicted", length, rule, took[i], predicted);
#undef SHAPE
    }
    for (size_t i = 2; i < SHAPES; i++) assert_true(told[i] < told[1]);
    assert_true(told[1] > 10 * told[0]);
    if (!child_under_sanitizer()) expect_close(took[1] - took[0], told[1] - told[0], 0.1 * told[1] + 2);
    free(large);
    trace_close(&t);
}

static uint32_t crc; /* of a folder's paths and contents; nftw has no context */

static int add_file(const char *path, const struct stat *info, int kind, struct FTW *walk) {
    char digest[65];
    (void)info, (void)walk;
    crc = ds_crc32(crc, path, strlen(path));
    if (kind != FTW_F) return 0;
    expect_ok(ds_sha256_file(digest, NULL, path, 1 << 26));
    crc = ds_crc32(crc, digest, sizeof digest);
    return 0;
}

static uint32_t digest_of(const char *folder) {
    crc = 0;
    assert_int_equal(nftw(folder, add_file, 8, FTW_PHYS), 0);
    return crc;
}

/* What makes it another run is named, and nothing of the folder is touched. */
static void another_run_is_not_touched(void **state) {
    (void)state;
    static const struct {
        const char *option, *value, *words;
    } others[] = {
        {"--set", "steps=4", "its recipe.steps is 3, this run's is 4"},
        {"--set", "data_seed=9", "its recipe.data_seed is 0, this run's is 9"},
        {"--set", "rule=closed:attn", "its recipe.rule is \"closed:mlp\", this run's is \"closed:attn\""},
        {"--precision", "double", "its precision is \"float\", this run's is \"double\""},
        {"--evaluate", "2", "its evaluate is 0, this run's is 2"},
        {"--audit", "2", "its audit is absent, this run's is 2"},
    };
    training_trace t;
    char config[320];
    trace_open(&t, CONTROL);
    const char *recipe = recipe_of(&t), *held = scratch_path("held");
    (void)snprintf(config, sizeof config, "%s/config.json", t.initial);
    train(&t, "held", (const char *const[]){"--set", "steps=3", NULL}, usual);
    assert_int_equal(found.status, 0);
    const uint32_t before = digest_of(held);
    train(&t, "held", (const char *const[]){"--set", "steps=3", NULL}, usual);
    expect_refusal(2, "holds a run already (checkpoint-3)");
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        train(&t, "held", (const char *const[]){"--resume", "--set", "steps=3", others[i].option, others[i].value, NULL},
              usual);
        expect_refusal(3, others[i].words);
    }
    CHILD_RUN(&found, usual, DRAWN(held), "--variant", "ddl-scalar", "--set", "steps=3", "--resume");
    expect_refusal(3, "checkpoint-3 is of a run that started from a checkpoint, this run starts from a configuration");
    training_trace mixed = t;
    (void)snprintf(mixed.train, sizeof mixed.train, "%s", t.val);
    train(&mixed, "held", (const char *const[]){"--set", "steps=3", "--resume", NULL}, usual);
    expect_refusal(3, "its train_sha256 is ");
    mixed = t;
    (void)snprintf(mixed.initial, sizeof mixed.initial, "%s", inside("held", "checkpoint-3"));
    train(&mixed, "held", (const char *const[]){"--set", "steps=3", "--resume", NULL}, usual);
    expect_refusal(3, "its from_sha256 is ");
    int folder = open(held, O_RDONLY | O_DIRECTORY);
    assert_int_equal(flock(folder, LOCK_EX), 0);
    train(&t, "held", (const char *const[]){"--set", "steps=3", "--resume", NULL}, usual);
    expect_refusal(4, "another run is writing into this folder");
    (void)close(folder);
    assert_int_equal(digest_of(held), before);
    train(&t, "held", (const char *const[]){"--set", "steps=3", "--resume", NULL}, usual); /* finished: nothing is left to do */
    assert_int_equal(found.status, 0);
    trace_close(&t);
}

/* ---- divergence -------------------------------------------------------------------------------------------------- */

/* Weights thrown about by a huge learning rate: the update is named, and the checkpoint that is named is there and is good. */
static void a_diverging_run_keeps_its_last_good_checkpoint(void **state) {
    (void)state;
    training_trace t;
    trace_open(&t, CONTROL);
    train(&t, "diverged",
          (const char *const[]){"--set", "warmup_steps=20", "--set", "learning_rate=30000", "--save", "1", "--keep", "1", NULL},
          usual);
    expect_refusal(3, "update ");
    const char *named = strstr(found.err, "the last good checkpoint is ");
    assert_non_null(named);
    char path[256];
    assert_int_equal(sscanf(named, "the last good checkpoint is %255[^:]:", path), 1);
    CHILD_RUN(&found, usual, "gates", "--tokens", t.val, "--seq-len", "32", "--quiet", path);
    assert_int_equal(found.status, 0);
    trace_close(&t);
}

/* ---- interruptions ----------------------------------------------------------------------------------------------- */

static const char *const interrupted[] = {"--save",  "7", "--evaluate", "9",    "--keep", "3",
                                          "--audit", "6", "--log",      "llmc", NULL};

static void kills_change_no_byte(void **state) {
    (void)state;
    interrupt_training(CONTROL, interrupted, SIGKILL, 20, 0x4b11);
}

static void signals_save_and_stop(void **state) {
    (void)state;
    interrupt_training(CONTROL, interrupted, SIGTERM, 5, 0x7e);
    interrupt_training(CONTROL, interrupted, SIGINT, 3, 0x17);
}

/* ---- from a configuration alone ---------------------------------------------------------------------------------- */

/* The same seed gives the same bytes, once unbroken and once killed and resumed; another seed or variant is another run. */
static void a_configuration_is_enough(void **state) {
    (void)state;
    training_trace t;
    char config[320];
    ds_random random = ds_random_init(0xc0f);
    trace_open(&t, CONTROL);
    const char *recipe = recipe_of(&t);
    (void)snprintf(config, sizeof config, "%s/config.json", t.initial);
    const char *whole = scratch_path("drawn-whole"), *pieces = scratch_path("drawn");
    CHILD_RUN(&found, usual, DRAWN(pieces), "--variant", "ddl-scalar", "--seed", "3", "--save", "log2");
    if (found.status != 0) fail_msg("%s", found.err);
    assert_int_equal(rename(pieces, whole), 0); /* train.json tells the path of checkpoint-0 */
    for (int kills = 0; kills < 6;) {
        child_limits limits = usual;
        limits.kill_with = SIGKILL;
        limits.kill_after = (unsigned)(1e6 * 0.05 * ds_random_uniform(&random));
        CHILD_RUN(&found, limits, DRAWN(pieces), "--variant", "ddl-scalar", "--seed", "3", "--save", "log2", "--resume");
        kills += found.signal != 0;
        if (found.signal == 0) break;
    }
    CHILD_RUN(&found, usual, DRAWN(pieces), "--variant", "ddl-scalar", "--seed", "3", "--save", "log2", "--resume");
    if (found.status != 0) fail_msg("%s", found.err);
    expect_same_folders(whole, pieces, NULL);
    assert_true(access(inside("drawn", "checkpoint-16/model.safetensors"), F_OK) == 0);
    json_t *first = read_json(inside("drawn", "checkpoint-0/config.json"));
    assert_string_equal(json_string_value(json_object_get(first, "deltascope_rule")), "closed:mlp"); /* from the beginning */
    json_decref(first);
    CHILD_RUN(&found, usual, DRAWN(pieces), "--variant", "ddl-scalar", "--seed", "4", "--save", "log2", "--resume");
    expect_refusal(3, "checkpoint-0 is of another run: of what it started from, its seed is 3, this run's is 4");
    CHILD_RUN(&found, usual, DRAWN(pieces), "--variant", "ddl-scalar", "--seed", "3");
    expect_refusal(2, "holds a run already");
    train(&t, "drawn", (const char *const[]){"--resume", NULL}, usual);
    expect_refusal(3, "checkpoint-20 is of another run: its from_sha256 is ");
    assert_int_equal(rename(inside("drawn", "checkpoint-0"), inside("held", "checkpoint-0")), 0);
    train(&t, "held", (const char *const[]){"--set", "steps=3", NULL}, usual);
    expect_refusal(2, "holds a run already");
    CHILD_RUN(&found, usual, DRAWN(scratch_path("none")), "--seed", "3");
    expect_refusal(2, "train needs --variant NAME");
    CHILD_RUN(&found, usual, DRAWN(scratch_path("none")), "--from", t.initial, "--variant", "ddl-scalar");
    expect_refusal(2, "give one");
    CHILD_RUN(&found, usual, DRAWN(scratch_path("none")), "--variant", "additive", "--set", "val_windows=9999");
    expect_refusal(3, "too few tokens");
    assert_true(access(scratch_path("none"), F_OK) != 0);
    trace_close(&t);
}

/* A disk that is full from some moment on: what was complete stays, and the run goes on from there. */
static void a_full_disk_keeps_the_last_checkpoint(void **state) {
    (void)state;
    interrupt_training(CONTROL, interrupted, FULL_DISK, 6, 0xd15c);
    interrupt_training_drawn(FULL_DISK, 4, 0xd15d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_trace_is_followed),
        cmocka_unit_test(no_other_code_loads_a_control),
        cmocka_unit_test(plain_models_stay_plain),
        cmocka_unit_test(a_write_only_model_is_read_as_one),
        cmocka_unit_test(what_cannot_run_is_refused),
        cmocka_unit_test(costs_are_told),
        cmocka_unit_test(memory_is_predicted),
        cmocka_unit_test(another_run_is_not_touched),
        cmocka_unit_test(a_diverging_run_keeps_its_last_good_checkpoint),
        cmocka_unit_test(kills_change_no_byte),
        cmocka_unit_test(signals_save_and_stop),
        cmocka_unit_test(a_configuration_is_enough),
        cmocka_unit_test(a_full_disk_keeps_the_last_checkpoint),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
