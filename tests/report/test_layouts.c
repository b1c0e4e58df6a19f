/* The layouts that src/report/README.md documents against what the program writes: every key a result has is documented, and
 * every documented key appears in one of the results below. Blocks "keys NAME" hold lines of PREFIX: KEY KEY ...; KEY=SHAPE
 * is an object laid out as the block of that name, KEY? may be missing here. */
#include <stdlib.h>
#include <string.h>
#include <zip.h>

#include "child.h"
#include "deltascope/claims.h"
#include "deltascope/io.h"
#include "deltascope/report.h"
#include "keys.h"
#include "scratch.h"
#include "seed_model.h"
#include "support.h"
#include "tiny_plan.h"

enum { KEYS = 1024, PATH = 256 };

typedef struct layout_key {
    char path[PATH]; /* of the block and the key: "gates sublayers[]/beta=statistics" */
    bool seen, optional;
} layout_key;
static layout_key keys[KEYS];
static size_t key_count;
static char *readme;

/* ---- what is documented ------------------------------------------------------------------------------------------ */

static void add_line(const char *block, char *line) {
    char *rest = strchr(line, ':');
    if (rest == NULL) fail_msg("README: \"%s\" has no colon", line);
    *rest++ = '\0';
    for (char *state, *word = strtok_r(rest, " ", &state); word != NULL; word = strtok_r(NULL, " ", &state)) {
        if (key_count == KEYS) fail_msg("more than %d documented keys", KEYS);
        layout_key *key = &keys[key_count++];
        size_t length = strlen(word);
        key->optional = word[length - 1] == '?';
        if (key->optional) word[length - 1] = '\0';
        (void)snprintf(key->path, PATH, "%s %s%s%s", block, strcmp(line, ".") == 0 ? "" : line,
                       strcmp(line, ".") == 0 ? "" : "/", word);
    }
}

static int read_readme(void **state) {
    (void)state;
    static const char fence[] = "```keys ";
    size_t length;
    if (ds_read_file(&readme, &length, "src/report/README.md", 1 << 20) != DS_OK) return 1;
    for (char *at = readme; (at = strstr(at, fence)) != NULL;) {
        char block[64], line[PATH];
        at += strlen(fence);
        (void)snprintf(block, sizeof block, "%.*s", (int)strcspn(at, "\n"), at);
        for (at += strcspn(at, "\n") + 1; strncmp(at, "```", 3) != 0; at += strcspn(at, "\n") + 1) {
            (void)snprintf(line, sizeof line, "%.*s", (int)strcspn(at, "\n"), at);
            add_line(block, line);
        }
    }
    return key_count == 0;
}

static int forget_readme(void **state) {
    (void)state;
    free(readme);
    return 0;
}

/* ---- what is found ----------------------------------------------------------------------------------------------- */

static void see(const char *block, const char *path, const char *shape, bool must) {
    char whole[PATH];
    (void)snprintf(whole, sizeof whole, "%s %s%s%s", block, path, shape != NULL ? "=" : "", shape != NULL ? shape : "");
    for (size_t i = 0; i < key_count; i++) {
        if (strcmp(keys[i].path, whole) != 0) continue;
        keys[i].seen = true;
        return;
    }
    if (must) fail_msg("src/report/README.md does not document \"%s\"", whole);
}

static bool is_documented(const char *block, const char *path) {
    char whole[PATH];
    (void)snprintf(whole, sizeof whole, "%s %s", block, path);
    for (size_t i = 0; i < key_count; i++) {
        if (strcmp(keys[i].path, whole) == 0) return true;
    }
    return false;
}

/* The block that lays out an object, told by a key that no other has; NULL: none, its keys belong to the block it stands in. */
static const char *shape_of(const json_t *object) {
    static const char *const marks[][2] = {
        {"quantile_rank_error", "statistics"},
        {"fraction_over_30", "range"},
        {"std", "moments"}, /* of what is no statistics object */
        {"edges", "histogram"},
        {"over_relaxed", "regimes"},
        {"largest_window_loss_error", "shadow"},
        {"limit", "limit"},
        {"public_key", "signature"},
        {"signer", "judged"},
        {"holds", "digest"},
        {"allowed", "difference"},
        {"windows_needed", "intervals"},
        {"median", "seeds"},
        {"depth_rows", "depth"},
        {"members", NULL}, /* a group of checkpoints has states too */
        {"states", "gradflow"},
        {"baseline", "ablate"},
        {"sweep", "spectrum"},
        {"detectable_effect", "contrast"},
    };
    for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++) {
        if (json_object_get(object, marks[i][0]) != NULL) return marks[i][1];
    }
    return NULL;
}

/* Whether this is a null model or a shuffled matrix: but for its kind it is laid out as what it stands beside. */
static bool is_control(const char *block, const char *key, json_t *value) {
    if (!json_is_object(value) || (strcmp(key, "null") != 0 && strcmp(key, "randomised") != 0)) return false;
    if (json_object_del(value, "kind") == 0) see(block, "null/kind", NULL, true);
    return true;
}

static void walk(const char *block, const char *path, json_t *value, bool within) {
    char below[PATH];
    const char *shape = json_is_object(value) && within ? shape_of(value) : NULL;
    if (shape != NULL) {
        see(block, path, shape, true);
        walk(shape, "", value, false);
    } else if (json_is_object(value)) {
        const char *key;
        json_t *member;
        json_object_foreach(value, key, member) {
            (void)snprintf(below, sizeof below, "%s%s%s", path, *path != '\0' ? "/" : "", key);
            walk(block, is_control(block, key, member) ? path : below, member, true);
        }
    } else if (json_is_array(value)) {
        size_t at;
        json_t *element;
        (void)snprintf(below, sizeof below, "%s[]", path);
        if (json_array_size(value) == 0) see(block, below, NULL, false);
        json_array_foreach(value, at, element) walk(block, below, element, true);
    } else if (json_is_null(value)) {
        (void)snprintf(below, sizeof below, "%s[]", path); /* an array that does not apply */
        if (strcmp(path, "data") != 0 && !is_documented(block, below)) see(block, path, NULL, true);
    } else {
        see(block, path, NULL, true);
    }
}

/* Every leaf has a row of the table that says how far two honest runs may differ. */
static void expect_in_table(const char *path, json_t *value) {
    char below[PATH];
    const ds_leaf *leaf = json_is_object(value) ? NULL : ds_leaf_find(path);
    if (json_is_array(value) && leaf != NULL && leaf->kind == DS_LEAF_SET) return;
    if (json_is_object(value)) {
        const char *key;
        json_t *member;
        json_object_foreach(value, key, member) {
            (void)snprintf(below, sizeof below, "%s/%s", path, key);
            expect_in_table(below, member);
        }
    } else if (json_is_array(value)) {
        size_t at;
        json_t *element;
        json_array_foreach(value, at, element) {
            (void)snprintf(below, sizeof below, "%s/%zu", path, at);
            expect_in_table(below, element);
        }
    } else if (leaf == NULL) {
        fail_msg("src/claims/leaves.c does not say how \"%s\" is compared", path);
    }
}

/* ---- the program's results --------------------------------------------------------------------------------------- */

#define DATA "--tokens", "fixtures/data/val.bin", "--seq-len", "16", "--quiet"
#define FEW "--sequences", "4"
static const char *const runs[][24] = {
    {"inspect", "--quiet", "fixtures/models/cc-bf16"},
    {"inspect", "--quiet", "fixtures/hostile/config/qk_off"},
    {"gates", DATA, FEW, "--shadow", "1", "fixtures/models/option-cc-even-kernel"},
    {"gates", DATA, FEW, "fixtures/models/additive-small"},
    {"ablate", DATA, FEW, "--shadow", "1", "fixtures/models/cc-bf16"},
    {"spectrum", DATA, FEW, "--shadow", "1", "--positions", "all", "--null", "shuffled-gates", "--weights",
     "fixtures/models/cc-bf16"},
    {"spectrum", DATA, FEW, "--positions", "0:3,1:15", "--certify", "--end-to-end", "0:3", "--by-depth", "--count", "2",
     "fixtures/models/cc-bf16"},
    {"gradflow", DATA, FEW, "--measure", "--jacobian", "last", "--per-position", "fixtures/models/ddl-cc-ec"},
    {"gradflow", DATA, FEW, "fixtures/models/additive-small"},
    {"gradflow", DATA, FEW, "fixtures/depth/delta-attnres"},
    {"depth", DATA, FEW, "fixtures/models/cc-bf16"},
    {"depth", DATA, FEW, "fixtures/models/additive-small"},
    {"depth", DATA, FEW, "fixtures/depth/attnres-full"},
    {"depth", DATA, FEW, "fixtures/streams/mhc/ckpt.pt"},
    {"trace", DATA, "--force", "closed:all", "fixtures/models/cc-bf16"},
    {"trace", DATA, "fixtures/models/additive-small"},
    {"trace", DATA, "fixtures/depth/attnres-full"},
    {"trace", DATA, "fixtures/streams/mhc/ckpt.pt"},
    {"compare", DATA, FEW, "fixtures/models/cc-bf16", "fixtures/models/scalar-safetensors"},
    {"compare", DATA, FEW, "--rules", "fixtures/streams/mhc-lite/ckpt.pt", "fixtures/models/cc-bf16"},
    {"verify", DATA, FEW, "fixtures/models/additive-small"},
};

static json_t *result_of(const char *const *arguments, const char *file) {
    static child found;
    const char *line[32] = {0};
    size_t count = 0, length;
    char *bytes;
    json_t *tree;
    line[count++] = arguments[0];
    line[count++] = "--json";
    line[count++] = file;
    for (size_t i = 1; arguments[i] != NULL; i++) line[count++] = arguments[i];
    child_run(&found, line, (child_limits){0});
    if (found.status != 0) fail_msg("%s: exit status %d: %s", arguments[0], found.status, found.err);
    expect_ok(ds_read_file(&bytes, &length, file, 1 << 24));
    expect_ok(ds_json_parse(&tree, bytes, length, file));
    free(bytes);
    return tree;
}

static void test_json(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof runs / sizeof runs[0]; i++) {
        json_t *tree = result_of(runs[i], scratch_path("result.json"));
        expect_in_table(runs[i][0], json_object_get(tree, "results"));
        walk(runs[i][0], "", json_object_get(tree, "results"), false);
        assert_int_equal(json_object_del(tree, "results"), 0);
        assert_int_equal(json_object_del(tree, "options"), 0); /* the command line's own names */
        expect_in_table("envelope", tree);
        walk("envelope", "", tree, true);
        json_decref(tree);
    }
}

static void test_training(void **state) {
    (void)state;
    const char *const arguments[] = {"train",    "--quiet",
                                     "--recipe", "fixtures/recipes/shakespeare.json",
                                     "--from",   "fixtures/training/scalar-closed-mlp/initial",
                                     "--tokens", "fixtures/training/train-tokens.bin",
                                     "--val",    "fixtures/training/val-tokens.bin",
                                     "--set",    "rule=erase-only",
                                     "--audit",  "1",
                                     "--set",    "steps=2",
                                     "--set",    "seq_len=16",
                                     "--set",    "val_windows=2",
                                     "--out",    scratch_path("training"),
                                     NULL};
    json_t *tree = result_of(arguments, scratch_path("result.json"));
    expect_in_table("train", json_object_get(tree, "results"));
    walk("train", "", json_object_get(tree, "results"), true);
    json_decref(tree);
}

static void test_groups(void **state) {
    (void)state;
    char plain[PATH * 4], write_only[PATH * 4];
    (void)snprintf(plain, sizeof plain, "plain=%s,%s", seed_model("delta", 1), seed_model("delta", 2));
    (void)snprintf(write_only, sizeof write_only, "write-only=%s,%s", seed_model("write-only", 1), seed_model("write-only", 2));
    const char *const arguments[] = {"compare", DATA, FEW, "--group", plain, "--group", write_only, NULL};
    json_t *tree = result_of(arguments, scratch_path("result.json"));
    expect_in_table("compare", json_object_get(tree, "results"));
    walk("compare", "", json_object_get(tree, "results"), true);
    json_decref(tree);
}

/* Members that go by names of a plan, which `path` calls "{}", one after another; then there are none. */
static void walk_named(const char *path, json_t *object) {
    const char *name;
    json_t *member;
    json_object_foreach(object, name, member) walk("study", path, member, true);
    if (object != NULL) assert_int_equal(json_object_clear(object), 0); /* a plan may ask for none */
}

static void walk_audit(json_t *audit) {
    const char *name;
    json_t *variants = json_object_get(audit, "variants"), *member;
    size_t i;
    json_object_foreach(variants, name, member) walk_named("audit/variants{}{}", member);
    json_array_foreach(json_object_get(audit, "contrasts"), i, member)
        walk_named("audit/contrasts[]/measures{}", json_object_get(member, "measures"));
}

static void walk_study(json_t *study) {
    json_t *curves = json_object_get(study, "curves"), *matching = json_object_get(study, "matching"), *tensor;
    size_t i;
    assert_int_equal(json_object_del(study, "plan") | json_object_del(study, "recipe"), 0); /* as given */
    assert_int_equal(json_object_del(matching, "overrides"), 0);
    json_array_foreach(json_object_get(matching, "tensors"), i, tensor)
        walk_named("matching/tensors[]/sha256{}", json_object_get(tensor, "sha256"));
    walk_named("matching/parameters/mlp_widths{}", json_object_get(json_object_get(matching, "parameters"), "mlp_widths"));
    walk_named("variants{}", json_object_get(study, "variants"));
    walk_named("target/variants{}", json_object_get(json_object_get(study, "target"), "variants"));
    walk_named("curves/tokens{}", json_object_get(curves, "tokens"));
    walk_named("curves/flops{}", json_object_get(curves, "flops"));
    walk_named("curves/seconds{}", json_object_get(curves, "seconds"));
    walk_named("curves/differences{}", json_object_get(curves, "differences"));
    walk_named("sweeps{}", json_object_get(study, "sweeps"));
    walk_named("tuned/variants{}", json_object_get(json_object_get(study, "tuned"), "variants"));
    walk_audit(json_object_get(study, "audit"));
    walk("study", "", study, true);
}

static void test_study(void **state) {
    (void)state;
    const char *const seeds[] = {"[1, 2]", "{\"init\": [1, 2], \"data\": [1, 2]}"};
    for (size_t i = 0; i < 2; i++) {
        json_t *given = tiny_plan_with(tiny_plan_with(tiny_plan(), "seeds", seeds[i]), "audit", "{\"sequences\": 1}");
        if (i == 0) given = tiny_plan_with(given, "sweep", "{\"seeds\": [3, 4]}");
        if (i == 0) given = tiny_plan_with(given, "match", "\"parameters\"");
        const char *plan = tiny_plan_write("plan.json", given);
        const char *const arguments[] = {"study",        "--quiet", "--target", "3.9",
                                         "--plan-power", "0.1",     "--out",    scratch_path(i == 0 ? "study" : "crossed"),
                                         plan,           NULL};
        json_t *tree = result_of(arguments, scratch_path("result.json")), *results = NULL;
        expect_ok(ds_figure_results(&results, tree));
        expect_in_table("study", json_object_get(results, "study"));
        json_decref(results);
        walk_study(tree);
        json_decref(tree);
    }
}

static void test_report(void **state) {
    (void)state;
    const char *const arguments[] = {"report",
                                     "--out",
                                     scratch_path("report"),
                                     DATA,
                                     FEW,
                                     "--skip",
                                     "inspect,spectrum,weights,controls,gradflow,jacobians,verify",
                                     "--sign",
                                     private_key_file(0),
                                     "fixtures/models/cc-bf16",
                                     NULL};
    json_t *tree = result_of(arguments, scratch_path("result.json"));
    json_t *own = json_pack("{s:O, s:O, s:O}", "findings", json_object_get(tree, "findings"), "verdict",
                            json_object_get(tree, "verdict"), "digests", json_object_get(tree, "digests"));
    assert_non_null(own);
    const char *const check[] = {
        "check", "--tokens", "fixtures/data/val.bin", scratch_path("report/report.json"), "fixtures/models/cc-bf16", NULL};
    const char *const diff[] = {"diff", scratch_path("report/report.json"), scratch_path("report/report.json"), NULL};
    walk("report", "", own, true);
    walk("envelope", "signature", json_object_get(tree, "signature"), true); /* of other results too */
    expect_in_table("envelope/signature", json_object_get(tree, "signature"));
    expect_in_table("envelope/findings", json_object_get(own, "findings"));
    expect_in_table("envelope/verdict", json_object_get(own, "verdict"));
    json_decref(own);
    json_decref(tree);
    for (size_t i = 0; i < 2; i++) {
        tree = result_of(i == 0 ? check : diff, scratch_path("result.json"));
        walk(i == 0 ? "check" : "diff", "", json_object_get(tree, "results"), true);
        json_decref(tree);
    }
}

/* ---- the arrays of --per-token ----------------------------------------------------------------------------------- */

/* "npz NAME.npy/DTYPE/RANK" */
static void see_array(zip_t *archive, zip_uint64_t index) {
    const char *name = zip_get_name(archive, index, 0);
    char header[129] = "", path[PATH];
    zip_file_t *file = zip_fopen_index(archive, index, 0);
    assert_non_null(file);
    assert_int_equal(zip_fread(file, header, 128), 128);
    assert_int_equal(zip_fclose(file), 0);
    const char *dtype = strstr(header + 10, "'descr': '"), *shape = strstr(header + 10, "'shape': (");
    assert_true(dtype != NULL && shape != NULL);
    int rank = 1;
    for (const char *c = shape; *c != ')'; c++) rank += *c == ',' && c[1] != ')';
    (void)snprintf(path, sizeof path, "%s/%.3s/%d", name, dtype + 10, rank);
    see("npz", path, NULL, true);
}

static void test_npz(void **state) {
    (void)state;
    const char *file = scratch_path("tokens.npz");
    json_decref(result_of((const char *const[]){"gates", DATA, FEW, "--per-token", file, "fixtures/models/cc-bf16", NULL},
                          scratch_path("result.json")));
    zip_t *archive = zip_open(file, ZIP_RDONLY, NULL);
    assert_non_null(archive);
    for (zip_int64_t i = 0; i < zip_get_num_entries(archive, 0); i++) see_array(archive, (zip_uint64_t)i);
    zip_discard(archive);
}

static void test_all_appear(void **state) {
    (void)state;
    for (size_t i = 0; i < key_count; i++) {
        if (!keys[i].seen && !keys[i].optional) fail_msg("no result has the documented key \"%s\"", keys[i].path);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_json),      cmocka_unit_test(test_training),
                                       cmocka_unit_test(test_study),     cmocka_unit_test(test_groups),
                                       cmocka_unit_test(test_report),    cmocka_unit_test(test_npz),
                                       cmocka_unit_test(test_all_appear)};
    (void)setenv("PATH", "/nowhere", 1); /* keys are what is tested: gnuplot is not found, and nothing is drawn */
    return cmocka_run_group_tests(tests, read_readme, forget_readme);
}
