/* check and diff: what is forged in a report is found, by its digests or by measuring again; what is honest agrees under all
 * kernels of LAPACK; what cannot be checked is not called agreement. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "checking.h"
#include "child.h"
#include "commands/remeasure.h"
#include "core_types.h"
#include "deltascope/claims.h"
#include "deltascope/io.h"
#include "deltascope/report.h"
#include "scratch.h"
#include "support.h"

#define TOKENS "--tokens", "fixtures/data/val.bin"
#define MODEL "fixtures/models/scalar-safetensors"
enum { SEED = 271828 };

static child result;
static json_t *honest; /* a report of MODEL */
static const char *honest_path;

static int make_report(void **state) {
    (void)state;
    char path[512];
    if (setenv("PATH", "/nowhere", 1) != 0) return 1; /* figures are not what is tested */
    CHILD_RUN(&result, (child_limits){0}, "report", TOKENS, "--seq-len", "16", "--sequences", "4", "--quiet", "--out",
              scratch_path("report"), MODEL);
    if (result.status != 0) return 1;
    (void)snprintf(path, sizeof path, "%s/report.json", scratch_path("report"));
    honest_path = ds_strdup(path);
    honest = load_json(path);
    return 0;
}

static int forget_report(void **state) {
    (void)state;
    json_decref(honest);
    free((void *)(uintptr_t)honest_path);
    return 0;
}

#define MEASURE(status, preset, file, ...) check_result(status, preset, file, (const char *const[]){TOKENS, __VA_ARGS__, NULL})

static const json_t *measured_of(const char *command) { return json_object_get(json_object_get(honest, "results"), command); }

/* ---- what is honest ---------------------------------------------------------------------------------------------- */

static void test_agrees_under_all_kernels(void **state) {
    (void)state;
    const char *types[CORE_TYPES];
    const size_t count = core_types(types);
    expect_verdict(MEASURE(0, NULL, honest_path, MODEL), "agrees");
    for (size_t i = 0; i < count; i++) {
        json_t *told = MEASURE(0, types[i], honest_path, MODEL);
        const json_t *sections = ds_json_at(told, "results/sections");
        json_int_t compared = 0;
        for (size_t s = 0; s < json_array_size(sections); s++)
            compared += json_integer_value(json_object_get(json_array_get(sections, s), "compared"));
        assert_in_range(compared, 2000, 100000);
        expect_verdict(told, "agrees");
    }
}

static void test_single_results(void **state) {
    (void)state;
    static const char *const runs[][12] = {
        {"gates", "--shadow", "1", "--regime-tol", "0.07"},
        {"spectrum", "--positions", "0:3,2:7", "--samples", "5", "--certify", "--seed", "9"},
        {"ablate", "--modes", "open", "--scopes", "each", "--spread", "random", "--seed", "5"},
        {"gradflow", "--force", "closed:0.mlp", "--jacobian", "1:2", "--jacobian-sublayers", "0.mlp"},
        {"depth"},
        {"inspect"},
        {"verify", "--only", "update", "--precision", "double"},
    };
    for (size_t i = 0; i < sizeof runs / sizeof runs[0]; i++) {
        const char *arguments[32] = {runs[i][0], TOKENS, "--seq-len", "12", "--sequences", "3", "--quiet"};
        size_t count = 8;
        for (size_t a = 1; a < 12 && runs[i][a] != NULL; a++) arguments[count++] = runs[i][a];
        arguments[count++] = "--json";
        arguments[count++] = scratch_path("single.json");
        arguments[count++] = MODEL;
        child_run(&result, arguments, (child_limits){0});
        if (result.status != 0) fail_msg("%s: %s", runs[i][0], result.err);
        expect_verdict(MEASURE(0, NULL, scratch_path("single.json"), MODEL), "agrees");
    }
}

/* ---- what cannot be checked -------------------------------------------------------------------------------------- */

static void test_incomplete(void **state) {
    (void)state;
    const char *const digests[] = {NULL}, *const no_data[] = {MODEL, NULL};
    const char *const other_data[] = {"--tokens", scratch_path("other.bin"), MODEL, NULL};
    const char *const other_model[] = {TOKENS, "fixtures/models/scalar-kvshift", NULL};
    uint16_t ids[2000];
    for (size_t i = 0; i < 2000; i++) ids[i] = (uint16_t)(i % 50);
    (void)scratch_write("other.bin", ids, sizeof ids);
    expect_verdict(check_result(0, NULL, honest_path, digests), "incomplete");
    expect_verdict(check_result(0, NULL, honest_path, no_data), "incomplete");
    expect_verdict(check_result(0, NULL, honest_path, other_data), "incomplete");
    json_t *told = check_result(0, NULL, honest_path, other_model);
    const char *obstacle = json_string_value(ds_json_at(told, "results/sections/1/obstacle"));
    assert_non_null(obstacle);
    assert_non_null(strstr(obstacle, "another checkpoint"));
    expect_verdict(told, "incomplete");
}

static void expect_refused(int status, const char *words, const char *const *arguments) {
    child_run(&result, arguments, (child_limits){0});
    if (result.status != status || strstr(result.err, words) == NULL)
        fail_msg("exit status %d, expected %d and \"%s\" in: %s", result.status, status, words, result.err);
}

static void test_refusals(void **state) {
    (void)state;
    const char *not_ours = scratch_write("not.json", "{\"schema\":\"other\"}", 18);
    expect_refused(3, "deltascope/1", (const char *const[]){"check", not_ours, NULL});
    expect_refused(2, "--sample", (const char *const[]){"check", "--sample", "1.5", honest_path, NULL});
    expect_refused(2, "colours", (const char *const[]){"check", "--sections", "gates,colours", honest_path, NULL});
    expect_refused(2, "go together", (const char *const[]){"check", "--text", "x", honest_path, NULL});
    expect_refused(3, "nowhere", (const char *const[]){"check", honest_path, "/nowhere", NULL});
    expect_refused(3, "deltascope/1", (const char *const[]){"diff", honest_path, not_ours, NULL});
}

/* ---- forgeries --------------------------------------------------------------------------------------------------- */

static void seal(json_t *tree) {
    json_t *made;
    expect_ok(ds_digests_make(&made, tree));
    assert_int_equal(json_object_set_new(tree, "digests", made), 0);
}

/* One of each kind of leaf: where it stands, and what it becomes. */
typedef struct forgery {
    const char *place, *key; /* the key of an object, or an index */
    double factor;           /* of a number; 0: `text` instead */
    const char *text;
} forgery;
static const forgery forgeries[] = {
    {"results/gates", "loss", 1 + 1e-15, NULL},                          /* ours: to the bit */
    {"results/gates/sublayers/0/histogram/counts", "3", 3, "7"},         /* a whole number */
    {"results/gates/sublayers/1", "name", 0, "9.mlp"},                   /* a word */
    {"results/ablate/cases/2", "p_value_holm", 0.5, NULL},               /* a statistic */
    {"results/ablate/cases/0/delta_loss_ci95", "1", 1.001, NULL},        /* of a list */
    {"results/gradflow/jacobians/0/singular_values", "0", 1.0001, NULL}, /* bounded, in absolute terms */
    {"results/gradflow/jacobians/1/eigenvalues/3", "0", 1.001, NULL},    /* a set */
    {"results/gradflow/jacobians/0", "log_abs_det", 1.00001, NULL},      /* derived */
    {"results/gradflow/jacobians/1", "singular_value_bound", 1e9, NULL}, /* a bound, widened */
    {"results/spectrum/accumulated/1", "norm2", 1 + 1e-9, NULL},         /* bounded */
    {"results/spectrum/distribution/1/smallest/quantiles", "0.5", 0.99, NULL},
    {"results/spectrum/weights/0", "verdict", 0, "heavy-tailed indeed"},
    {"results/verify/checks/3", "status", 0, "fail"},
    {"results/verify/checks/4", "measured", 1e9, NULL},
    {"results/verify/checks/1", "tolerance", 5, NULL}, /* widened by more than kernels move it */
    {"results/inspect/tensors/0", "crc32_f32", 0, "00000000"},
    {"checkpoint", "variant", 0, "ddl-cc-ec"},
    {"data/starts", "1", 2, NULL},
};
enum { FORGERIES = sizeof forgeries / sizeof *forgeries };

static void forge(json_t *tree, const forgery *what) {
    json_t *holder = (json_t *)(uintptr_t)ds_json_at(tree, what->place), *value;
    if (holder == NULL) fail_msg("there is no %s", what->place);
    const json_t *before =
        json_is_array(holder) ? json_array_get(holder, strtoul(what->key, NULL, 10)) : json_object_get(holder, what->key);
    if (before == NULL) fail_msg("%s has no %s", what->place, what->key);
    if (what->factor == 0)
        value = json_string(what->text);
    else if (json_is_integer(before))
        value = json_integer(json_integer_value(before) * (json_int_t)what->factor + 1);
    else
        value = json_real(json_real_value(before) * what->factor);
    assert_non_null(value);
    assert_false(json_equal(value, before));
    assert_int_equal(json_is_array(holder) ? json_array_set_new(holder, strtoul(what->key, NULL, 10), value)
                                           : json_object_set_new(holder, what->key, value),
                     0);
}

/* By digests alone, each forgery by itself; a verdict in other words too. */
static void test_digests_find_every_forgery(void **state) {
    (void)state;
    bool hold;
    json_t *told;
    for (size_t i = 0; i <= FORGERIES; i++) {
        json_t *forged = json_deep_copy(honest);
        if (i < FORGERIES)
            forge(forged, &forgeries[i]);
        else
            assert_int_equal(json_object_set_new(forged, "verdict", json_string("All is well.")), 0);
        expect_ok(ds_digests_check(&told, &hold, forged));
        assert_false(hold);
        json_decref(told);
        if (i + 1 >= FORGERIES)
            expect_verdict(check_result(1, NULL, write_forged(forged), (const char *const[]){NULL}), "disagrees");
        json_decref(forged);
    }
}

static bool is_listed(const json_t *told, const char *path) {
    const json_t *sections = ds_json_at(told, "results/sections");
    for (size_t s = 0; s < json_array_size(sections); s++) {
        const json_t *list = json_object_get(json_array_get(sections, s), "differences");
        for (size_t i = 0; i < json_array_size(list); i++) {
            const char *found = json_string_value(json_object_get(json_array_get(list, i), "path"));
            if (strncmp(found, path, strlen(path)) == 0) return true;
        }
    }
    return false;
}

/* Forged along, the digests hold: then measuring again finds each, and nothing else. */
static void test_measuring_finds_what_was_sealed(void **state) {
    (void)state;
    json_t *forged = json_deep_copy(honest);
    json_int_t disagreed = 0;
    for (size_t i = 0; i < FORGERIES; i++) forge(forged, &forgeries[i]);
    seal(forged);
    json_t *told = MEASURE(1, NULL, write_forged(forged), MODEL);
    assert_true(json_is_true(ds_json_at(told, "results/digests/all/holds")));
    for (size_t i = 0; i < FORGERIES; i++) {
        char path[256];
        const char *place = strstr(forgeries[i].place, "/eigenvalues") != NULL ? "results/gradflow/jacobians/1/eigenvalues"
                                                                               : forgeries[i].place;
        (void)snprintf(path, sizeof path, "%s%s%s", place, place == forgeries[i].place ? "/" : "",
                       place == forgeries[i].place ? forgeries[i].key : "");
        if (!is_listed(told, path)) fail_msg("the forged %s is not found", path);
    }
    const json_t *sections = ds_json_at(told, "results/sections");
    for (size_t s = 0; s < json_array_size(sections); s++)
        disagreed += json_integer_value(json_object_get(json_array_get(sections, s), "disagreed"));
    assert_in_range(disagreed, FORGERIES, FORGERIES + 3); /* a forged check also changes findings and verdict */
    expect_verdict(told, "disagrees");
    json_decref(forged);
}

/* Puts something of another kind in the place of a node drawn at random. */
static void break_node(json_t *tree, ds_random *random) {
    static const char *const others[] = {"null",
                                         "true",
                                         "-7",
                                         "1e300",
                                         "\"x\"",
                                         "[]",
                                         "{}",
                                         "[[1],{\"path\":2}]",
                                         "{\"name\":3,\"quantiles\":[],\"steps\":{\"gates\":4}}"};
    json_t *holder = tree, *node = tree;
    const char *key = NULL;
    size_t index = 0;
    for (size_t depth = 1 + ds_random_below(random, 7); depth > 0; depth--) {
        const size_t n = json_is_object(node) ? json_object_size(node) : json_array_size(node);
        if (n == 0) break;
        holder = node;
        index = ds_random_below(random, n);
        void *at = json_object_iter(holder);
        for (size_t i = 0; i < index && at != NULL; i++) at = json_object_iter_next(holder, at);
        key = at == NULL ? NULL : json_object_iter_key(at);
        node = json_is_object(holder) ? json_object_iter_value(at) : json_array_get(holder, index);
    }
    json_t *value = json_loads(others[ds_random_below(random, sizeof others / sizeof *others)], JSON_DECODE_ANY, NULL);
    assert_non_null(value);
    assert_int_equal(key != NULL ? json_object_set_new(holder, key, value) : json_array_set_new(holder, index, value), 0);
}

/* Whatever a file's nodes are, the program ends with a verdict that is not agreement, or with a sentence. */
static void test_broken_files(void **state) {
    (void)state;
    ds_random random = ds_random_init(SEED);
    for (size_t i = 0; i < 30; i++) {
        json_t *broken = json_deep_copy(honest), *told;
        bool hold;
        for (size_t n = 1 + i % 3; n > 0; n--) break_node(broken, &random);
        if (i % 2 == 0 && json_is_object(broken)) seal(broken);
        const char *file = write_forged(broken);
        if (i % 6 == 0) /* the costly way now and then */
            CHILD_RUN(&result, (child_limits){0}, "check", "--quiet", TOKENS, "--sections", "gates,inspect", file, MODEL);
        else
            CHILD_RUN(&result, (child_limits){0}, "check", "--quiet", file);
        if (result.signal != 0 || result.status < 0 || result.status > 3 || (result.status >= 2) != (result.err[0] != '\0'))
            fail_msg("file %zu: signal %d, exit status %d, \"%s\"", i, result.signal, result.status, result.err);
        expect_ok(ds_digests_check(&told, &hold, broken));
        if (!hold) assert_int_not_equal(result.status, 0);
        json_decref(told);
        json_decref(broken);
    }
}

/* What is added, left out or cut short. */
static void test_what_is_missing(void **state) {
    (void)state;
    json_t *forged = json_deep_copy(honest);
    json_t *gates = (json_t *)(uintptr_t)ds_json_at(forged, "results/gates");
    assert_int_equal(json_object_set_new(gates, "praise", json_real(1.5)), 0);
    assert_int_equal(json_object_del(json_array_get(json_object_get(gates, "sublayers"), 0), "edit_norm"), 0);
    assert_int_equal(json_array_remove(json_object_get(gates, "sequence_loss"), 3), 0);
    seal(forged);
    json_t *told = MEASURE(1, NULL, write_forged(forged), "--sections", "gates", MODEL);
    assert_true(is_listed(told, "results/gates/praise") && is_listed(told, "results/gates/sublayers/0/edit_norm") &&
                is_listed(told, "results/gates/sequence_loss"));
    expect_verdict(told, "disagrees");
    json_decref(forged);
}

/* The terminal says in words what differs. */
static void test_words(void **state) {
    (void)state;
    json_t *forged = json_deep_copy(honest);
    assert_int_equal(json_object_set_new((json_t *)(uintptr_t)ds_json_at(forged, "results/gates"), "loss", json_real(1.25)), 0);
    seal(forged);
    CHILD_RUN(&result, (child_limits){0}, "check", TOKENS, "--sections", "gates", write_forged(forged), MODEL);
    assert_int_equal(result.status, 1);
    assert_non_null(strstr(result.out, "results/gates/loss\n    claimed 1.25, measured "));
    assert_non_null(strstr(result.out, ", may differ by 0\n"));
    assert_non_null(strstr(result.out, "DISAGREES"));
    CHILD_RUN(&result, (child_limits){0}, "diff", honest_path, scratch_path("forged.json"));
    assert_int_equal(result.status, 1);
    assert_non_null(strstr(result.out, "second 1.25, may differ by 0\n"));
    CHILD_RUN(&result, (child_limits){0}, "diff", honest_path, honest_path);
    assert_int_equal(result.status, 0);
    json_decref(forged);
}

/* Who works on with a changed report is warned; of an honest one nothing is said. */
static void test_warnings(void **state) {
    (void)state;
    static const char words[] = "its digest does not hold";
    json_t *forged = json_deep_copy(honest);
    assert_int_equal(json_object_set_new(forged, "verdict", json_string("All is well.")), 0);
    const char *path = write_forged(forged);
    CHILD_RUN(&result, (child_limits){0}, "plot", "--figure", "regime-shares", "--out", scratch_path("drawn"), path);
    assert_int_equal(result.status, 0);
    assert_non_null(strstr(result.err, words));
    CHILD_RUN(&result, (child_limits){0}, "plot", "--figure", "regime-shares", "--out", scratch_path("drawn"), honest_path);
    assert_int_equal(result.status, 0);
    assert_null(strstr(result.err, words));
    for (int changed = 1; changed >= 0; changed--) { /* the first resumption puts right what the second finds in order */
        if (changed) expect_ok(ds_json_write(honest_path, forged, DS_JSON_CANONICAL));
        CHILD_RUN(&result, (child_limits){0}, "report", TOKENS, "--seq-len", "16", "--sequences", "4", "--quiet", "--resume",
                  "--out", scratch_path("report"), MODEL);
        assert_int_equal(result.status, 0);
        assert_true((strstr(result.err, words) != NULL) == (changed == 1));
    }
    json_t *again = load_json(honest_path);
    assert_true(json_equal(again, honest));
    json_decref(again);
    json_decref(forged);
}

/* ---- sampling ---------------------------------------------------------------------------------------------------- */

/* Each claim is drawn as often as was said, independently of the others. */
static void test_rate_of_a_sample(void **state) {
    (void)state;
    enum { DRAWS = 20000, CLAIMS = 4 };
    static const char *const claims[CLAIMS] = {"verify", "verify/checks/update.contraction", "ablate/cases/closed:0.attn",
                                               "ablate/cases/closed:1.attn"};
    const double share = 0.3;
    size_t drawn[CLAIMS] = {0}, both = 0;
    for (uint64_t seed = 0; seed < DRAWS; seed++) {
        const ds_sample sample = {share, SEED + seed};
        for (size_t i = 0; i < CLAIMS; i++) drawn[i] += ds_sample_draws(&sample, claims[i]);
        both += ds_sample_draws(&sample, claims[2]) && ds_sample_draws(&sample, claims[3]);
    }
    for (size_t i = 0; i < CLAIMS; i++) /* four standard errors */
        assert_true(fabs((double)drawn[i] / DRAWS - share) <= 4 * sqrt(share * (1 - share) / DRAWS));
    assert_true(fabs((double)both / DRAWS - share * share) <= 4 * sqrt(share * share * (1 - share * share) / DRAWS));
}

/* What is drawn of results and of what was measured, here the honest results: how many leaves disagree. */
static json_int_t disagreements(const ds_sample *sample, const char *name, const json_t *results) {
    const ds_command *command = ds_command_find(name);
    json_t *a = json_incref((json_t *)(uintptr_t)results), *b = json_incref((json_t *)(uintptr_t)measured_of(name)), *section;
    if (command->rows == NULL && !ds_sample_draws(sample, name)) json_decref(b), b = json_incref(a);
    if (command->rows != NULL) {
        json_decref(a);
        json_decref(b);
        expect_ok(ds_sample_cut(&a, &b, sample, command, results, measured_of(name)));
    }
    expect_ok(ds_claims_compare(&section, name, name, "results", a, b, 0));
    const json_int_t count = json_integer_value(json_object_get(section, "disagreed"));
    json_decref(section);
    json_decref(a);
    json_decref(b);
    return count;
}

/* Puts a word in the place of a leaf drawn at random below; false where the leaf is not compared. */
static bool forge_leaf(json_t *root, const char *name, ds_random *random) {
    json_t *node = root, *holder = NULL;
    char path[256];
    size_t index = 0, used = (size_t)snprintf(path, sizeof path, "%s", name);
    void *at = NULL;
    while (json_is_object(node) || json_is_array(node)) {
        const size_t n = json_is_object(node) ? json_object_size(node) : json_array_size(node);
        if (n == 0) return false;
        holder = node;
        index = ds_random_below(random, n);
        at = json_object_iter(holder);
        for (size_t i = 0; i < index && at != NULL; i++) at = json_object_iter_next(holder, at);
        node = at != NULL ? json_object_iter_value(at) : json_array_get(holder, index);
        used += (size_t)(at != NULL ? snprintf(path + used, sizeof path - used, "/%s", json_object_iter_key(at))
                                    : snprintf(path + used, sizeof path - used, "/%zu", index));
    }
    const ds_leaf *leaf = ds_leaf_find(path);
    if (holder == NULL || (leaf != NULL && isinf(leaf->relative))) return false;
    const char *key = at == NULL ? NULL : json_object_iter_key(at);
    assert_int_equal(key != NULL ? json_object_set_new(holder, key, json_string("forged"))
                                 : json_array_set_new(holder, index, json_string("forged")),
                     0);
    return true;
}

/* Of single forgeries anywhere, a sample finds the share that is stated, and of the honest file nothing. */
static void test_share_of_forgeries_caught(void **state) {
    (void)state;
    enum { DRAWS = 500 };
    static const char *const names[] = {"inspect", "gates", "ablate", "gradflow", "verify"};
    const double share = 0.3;
    ds_random random = ds_random_init(SEED);
    size_t caught = 0, made = 0;
    while (made < DRAWS) {
        const char *name = names[ds_random_below(&random, sizeof names / sizeof *names)];
        const ds_sample sample = {share, ds_random_u64(&random)};
        json_t *forged = json_deep_copy(measured_of(name));
        assert_int_equal(disagreements(&sample, name, forged), 0);
        if (forge_leaf(forged, name, &random)) {
            caught += disagreements(&sample, name, forged) > 0;
            made++;
        }
        json_decref(forged);
    }
    assert_true(fabs((double)caught / DRAWS - share) <= 4 * sqrt(share * (1 - share) / DRAWS));
}

/* Rows taken away, added, renamed, repeated or put in another order: found where one of them is drawn. */
static void test_rows_that_are_not_as_they_were(void **state) {
    (void)state;
    enum { DRAWS = 200, KINDS = 5 };
    ds_random random = ds_random_init(SEED);
    for (size_t i = 0; i < DRAWS; i++) {
        const ds_sample sample = {0.5, i};
        json_t *forged = json_deep_copy(measured_of("ablate")), *cases = json_object_get(forged, "cases");
        const size_t n = json_array_size(cases), first = ds_random_below(&random, n - 1), kind = i % KINDS;
        char *name = ds_strdup(json_string_value(json_object_get(json_array_get(cases, first), "name")));
        bool drawn;
        assert_non_null(name);
        expect_ok(ds_sample_draws_row(&drawn, &sample, ds_command_find("ablate"), name));
        if (kind == 0) {
            assert_int_equal(json_array_remove(cases, first), 0);
        } else if (kind == 1) { /* a stranger is found where it is drawn itself */
            assert_int_equal(json_array_insert_new(cases, first, json_pack("{s:s}", "name", "closed:9.mlp")), 0);
            expect_ok(ds_sample_draws_row(&drawn, &sample, ds_command_find("ablate"), "closed:9.mlp"));
        } else if (kind == 2) {
            assert_int_equal(json_object_set_new(json_array_get(cases, first), "name", json_string("closed:nobody")), 0);
        } else if (kind == 3) {
            assert_int_equal(json_array_append(cases, json_array_get(cases, first)), 0);
        } else { /* a row that has no name is always looked at */
            assert_int_equal(json_object_del(json_array_get(cases, first), "name"), 0);
            drawn = true;
        }
        const json_int_t count = disagreements(&sample, "ablate", forged);
        if (drawn && count == 0) fail_msg("kind %zu of %s is not seen by a sample that has it", kind, name);
        free(name);
        json_decref(forged);
    }
}

/* Of the program: a forged case is found by the samples that draw it and by no other; what they draw of the honest file agrees,
 * adjusted p-values included, and costs no more claims than are told. */
static void test_samples_of_the_program(void **state) {
    (void)state;
    json_t *forged = json_deep_copy(honest);
    json_t *row = json_array_get(ds_json_at(forged, "results/ablate/cases"), 3);
    const char *name = json_string_value(json_object_get(row, "name"));
    char seed[8];
    assert_int_equal(json_object_set_new(row, "kl", json_real(json_real_value(json_object_get(row, "kl")) * (1 + 1e-15))), 0);
    seal(forged);
    size_t found = 0;
    for (uint64_t i = 1; i <= 6; i++) {
        const ds_sample sample = {0.4, i};
        bool drawn;
        expect_ok(ds_sample_draws_row(&drawn, &sample, ds_command_find("ablate"), name));
        (void)snprintf(seed, sizeof seed, "%d", (int)i);
        json_t *told = MEASURE(drawn, NULL, write_forged(forged), "--sample", "0.4", "--seed", seed, "--sections",
                               "ablate,gradflow", MODEL);
        assert_int_equal(is_listed(told, "results/ablate/cases/3/kl"), drawn);
        const json_t *claims = ds_json_at(told, "results/claims/0");
        assert_string_equal(json_string_value(json_object_get(claims, "name")), "ablate");
        assert_int_equal(json_integer_value(json_object_get(claims, "claims")),
                         json_array_size(ds_json_at(honest, "results/ablate/cases")) + 1);
        assert_in_range(json_integer_value(json_object_get(claims, "drawn")), 1, 27);
        found += drawn;
        json_decref(told);
    }
    assert_in_range(found, 1, 5);
    json_decref(forged);
}

/* A result of one command, of which nothing may be drawn. */
static void test_sample_of_a_single_result(void **state) {
    (void)state;
    CHILD_RUN(&result, (child_limits){0}, "gates", TOKENS, "--seq-len", "12", "--sequences", "6", "--quiet", "--json",
              scratch_path("single.json"), MODEL);
    assert_int_equal(result.status, 0);
    for (uint64_t i = 0, drawn = 0; i < 8 && drawn < 3; i++) {
        const ds_sample sample = {0.5, i};
        char seed[8];
        (void)snprintf(seed, sizeof seed, "%d", (int)i);
        drawn |= ds_sample_draws(&sample, "gates") ? 1 : 2; /* until both have been seen */
        expect_verdict(MEASURE(0, NULL, scratch_path("single.json"), "--sample", "0.5", "--seed", seed, MODEL),
                       ds_sample_draws(&sample, "gates") ? "agrees" : "incomplete");
    }
}

/* The seed that is told draws the same again. */
static void test_sample_repeats(void **state) {
    (void)state;
    char seed[32];
    json_t *first = MEASURE(0, NULL, honest_path, "--sample", "0.4", MODEL);
    (void)snprintf(seed, sizeof seed, "%lld", (long long)json_integer_value(ds_json_at(first, "options/seed")));
    json_t *again = MEASURE(0, NULL, honest_path, "--sample", "0.4", "--seed", seed, MODEL);
    assert_true(json_equal(ds_json_at(first, "results"), ds_json_at(again, "results")));
    assert_true(ds_json_real_at(first, "results/caught_with_probability") == 0.4);
    json_decref(first);
    json_decref(again);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_agrees_under_all_kernels),
        cmocka_unit_test(test_single_results),
        cmocka_unit_test(test_incomplete),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_digests_find_every_forgery),
        cmocka_unit_test(test_measuring_finds_what_was_sealed),
        cmocka_unit_test(test_what_is_missing),
        cmocka_unit_test(test_broken_files),
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_warnings),
        cmocka_unit_test(test_rate_of_a_sample),
        cmocka_unit_test(test_share_of_forgeries_caught),
        cmocka_unit_test(test_rows_that_are_not_as_they_were),
        cmocka_unit_test(test_samples_of_the_program),
        cmocka_unit_test(test_sample_of_a_single_result),
        cmocka_unit_test(test_sample_repeats),
    };
    return cmocka_run_group_tests(tests, make_report, forget_report);
}
