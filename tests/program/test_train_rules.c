/* What every rule and control of every variant trains is read as what it is by every command, and computes what the plain rule
 * does with its gates forced. Each is given to one more command, in turn; with TRAIN_RULES=all to all of them. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "deltascope/io.h"
#include "scratch.h"
#include "support.h"
#include "training_run.h"

static const child_limits undrawn = {.seconds = 120, .preset = {"PATH", ""}}; /* no gnuplot */

static const char *const variants[] = {"additive", "ddl-scalar", "ddl-tc", "ddl-tc-ec", "ddl-cc", "ddl-cc-ec"};

/* `mode` and `scope`: what forces the plain rule to do the same; a fixed gate has none among the modes. */
static const struct {
    const char *name, *mode, *scope;
    bool gates;
} rules[] = {
    {"delta", NULL, NULL, false},
    {"closed:attn", "closed", "attn", false},
    {"closed:mlp", "closed", "mlp", false},
    {"closed:all", "closed", "all", false},
    {"write-only", "write-only", "all", true},
    {"erase-only", "erase-only", "all", true},
    {"fixed-gate:0.5", NULL, NULL, true},
};
enum { VARIANTS = sizeof variants / sizeof *variants, RULES = sizeof rules / sizeof *rules };

typedef struct trained {
    size_t variant, rule;
    const char *folder, *checkpoint, *before;
    double loss; /* over the validation windows */
    training_trace trace;
} trained;

static bool has_gates(const trained *m) { return m->variant > 0; }
static bool erases(const trained *m) { return has_gates(m) && strcmp(rules[m->rule].name, "write-only") != 0; }

static const char *config_of(size_t variant) {
    char text[512];
    int length = snprintf(text, sizeof text,
                          "{\"model_type\":\"nanogpt-pro\",\"vocab_size\":65,\"num_hidden_layers\":2,\"num_attention_heads\":2,"
                          "\"hidden_size\":16,\"head_dim\":8,\"block_size\":16%s}",
                          variant < 2 ? "" : ",\"ddl_value_channels\":3,\"ddl_state_shortconv_kernel_size\":2");
    return scratch_write("config.json", text, (size_t)length);
}

static void expect_success(const trained *m, const char *what) {
    if (found.status != 0)
        fail_msg("%s of %s, %s: exit status %d, signal %d: %s", what, variants[m->variant], rules[m->rule].name, found.status,
                 found.signal, found.err);
}

static void train_one(trained *m) {
    char rule[48], name[64];
    const char *recipe = recipe_of(&m->trace), *config = config_of(m->variant);
    (void)snprintf(rule, sizeof rule, "rule=%s", rules[m->rule].name);
    (void)snprintf(name, sizeof name, "%s-%zu", variants[m->variant], m->rule);
    m->folder = scratch_path(name);
    CHILD_RUN(&found, undrawn, "train", "--recipe", recipe, "--set", rule, "--set", "steps=2", "--set", "seq_len=16", "--set",
              "warmup_steps=0", "--config", config, "--variant", variants[m->variant], "--tokens", m->trace.train, "--val",
              m->trace.val, "--save", "1", "--quiet", "--out", m->folder);
    expect_success(m, "training");
    json_t *told = read_json(inside(name, "train.json"));
    m->loss = ds_json_real_at(told, "results/val_after");
    m->checkpoint = inside(name, "checkpoint-2");
    m->before = inside(name, "checkpoint-1");
    json_decref(told);
}

#define ON_VALIDATION "--tokens", m->trace.val, "--seq-len", "16", "--offset", "0", "--sequences", "8", "--quiet"

/* Training validated by the rule that the checkpoint is read by. */
static void expect_rule(const trained *m) {
    const char *path = scratch_path("gates.json"), *expected = rules[m->rule].name;
    CHILD_RUN(&found, undrawn, "gates", ON_VALIDATION, "--json", path, m->checkpoint);
    expect_success(m, "gates");
    json_t *told = read_json(path);
    if (m->rule == 0) expected = has_gates(m) ? "ddl" : "additive";
    assert_string_equal(json_string_value(ds_json_at(told, "checkpoint/rule")), expected);
    assert_string_equal(json_string_value(ds_json_at(told, "checkpoint/variant")), variants[m->variant]);
    /* the same losses of 128 tokens, added in another order */
    expect_close(ds_json_real_at(told, "results/loss"), m->loss, 256 * 0x1p-53 * m->loss);
    json_decref(told);
}

/* The control's weights as the plain rule's, forced to do what the control does. */
static void expect_forced_rule(const trained *m) {
    char name[48], weights[512], *bytes;
    size_t length;
    const char *path = scratch_path("ablate.json");
    if (rules[m->rule].mode == NULL) return;
    (void)snprintf(weights, sizeof weights, "%s/model.safetensors", m->checkpoint);
    expect_ok(ds_read_file(&bytes, &length, weights, 1 << 24));
    const char *plain = scratch_write("plain.safetensors", bytes, length), *config = config_of(m->variant);
    free(bytes);
    CHILD_RUN(&found, undrawn, "ablate", ON_VALIDATION, "--modes", rules[m->rule].mode, "--scopes", rules[m->rule].scope,
              "--json", path, "--config", config, plain);
    expect_success(m, "ablate of the plain rule");
    json_t *told = read_json(path);
    const json_t *cases = ds_json_at(told, "results/cases");
    (void)snprintf(name, sizeof name, "%s:%s", rules[m->rule].mode, rules[m->rule].scope);
    assert_string_equal(json_string_value(ds_json_at(cases, "0/name")), name);
    /* forward passes in float, of which nothing but where the rule is asked for differs */
    expect_close(ds_json_real_at(cases, "0/loss"), m->loss, 256 * 0x1p-53 * m->loss);
    json_decref(told);
}

static const char *const commands[][3] = {
    {"inspect"},
    {"ablate"},
    {"gradflow"},
    {"spectrum"},
    {"spectrum", "--weights"},
    {"depth"},
    {"verify"},
    {"compare"},
    {"report", "--skip", "verify"},
    {"gradflow", "--jacobian", "last"},
    {"ablate", "--modes", "closed"},
};
enum { COMMANDS = sizeof commands / sizeof *commands };

/* The verdict says that it is a control, and only of those. */
static void expect_verdict(const trained *m, const char *folder) {
    char words[96], *bytes;
    size_t length;
    expect_ok(ds_read_file(&bytes, &length, inside(folder, "report.md"), 1 << 24));
    (void)snprintf(words, sizeof words, "trained as the control %s", m->rule == 0 ? "" : rules[m->rule].name);
    assert_true((strstr(bytes, words) != NULL) == (m->rule != 0));
    free(bytes);
}

static void run_command(const trained *m, size_t c) {
    const char *line[32] = {commands[c][0], commands[c][1], commands[c][2]};
    size_t count = commands[c][1] == NULL ? 1 : commands[c][2] == NULL ? 2 : 3;
    const char *const data[] = {ON_VALIDATION}, *name = commands[c][0];
    for (size_t i = 0; i < sizeof data / sizeof *data; i++) line[count++] = data[i];
    if (strcmp(name, "compare") == 0) {
        line[count++] = "--trajectory";
        line[count++] = m->before;
    }
    char folder[64] = "";
    if (strcmp(name, "report") == 0) {
        (void)snprintf(folder, sizeof folder, "report-%zu-%zu", m->variant, m->rule);
        line[count++] = "--out";
        line[count++] = scratch_path(folder);
    }
    line[count++] = m->checkpoint;
    line[count] = NULL;
    child_run(&found, line, undrawn);
    if (strcmp(name, "spectrum") == 0 && count == sizeof data / sizeof *data + 2 && !erases(m))
        expect_refusal(2, has_gates(m) ? "a write-only checkpoint has no shortcut operator"
                                       : "an additive checkpoint has no shortcut operator");
    else
        expect_success(m, name);
    if (folder[0] != '\0') expect_verdict(m, folder);
}

static void every_rule_is_read_as_what_it_is(void **state) {
    (void)state;
    const char *all = getenv("TRAIN_RULES");
    const size_t step = all != NULL && strcmp(all, "all") == 0 ? 1 : COMMANDS;
    size_t turn = 0;
    for (size_t variant = 0; variant < VARIANTS; variant++) {
        for (size_t rule = 0; rule < RULES; rule++) {
            trained m = {.variant = variant, .rule = rule};
            if (rules[rule].gates && variant == 0) continue;
            trace_open(&m.trace, trace_names()[0]);
            train_one(&m);
            expect_rule(&m);
            expect_forced_rule(&m);
            for (size_t c = turn++ % step; c < COMMANDS; c += step) run_command(&m, c);
            trace_close(&m.trace);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_rule_is_read_as_what_it_is)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
