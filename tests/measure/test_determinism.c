/* What a result may depend on: the inputs. Not on the number of threads, not on how windows are grouped, both bit for bit; on
 * the BLAS and LAPACK behind it no more than the errors that are stated beside the numbers. */
#include <glob.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "child.h"
#include "deltascope/measure.h"
#include "scratch.h"
#include "support.h"

static json_t *load(const char *path) {
    json_error_t error;
    json_t *root = json_load_file(path, 0, &error);
    if (root == NULL) fail_msg("%s: %s", path, error.text);
    return root;
}

/* Runs `environment program words --json FILE`; the envelope, a new reference. */
static json_t *run(const char *environment, const char *words) {
    const char *program = getenv("DELTASCOPE") != NULL ? getenv("DELTASCOPE") : "build/deltascope";
    const char *result = scratch_path("result.json");
    char line[1024];
    (void)snprintf(line, sizeof line, "%s %s %s --quiet --json %s", environment, program, words, result);
    int status = system(line);
    if (status != 0) fail_msg("exit status %d: %s", status, line);
    return load(result);
}

/* The first place, in order of the document, where two texts part; NULL when they are equal. */
static char *difference(const char *a, const char *b) {
    size_t at = 0;
    while (a[at] != '\0' && a[at] == b[at]) at++;
    if (a[at] == b[at]) return NULL;
    size_t from = at < 60 ? 0 : at - 60;
    char *text = malloc(400);
    assert_non_null(text);
    (void)snprintf(text, 400, "...%.120s... against ...%.120s...", a + from, b + from);
    return text;
}

static char *text_of(const json_t *value) {
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(17));
    assert_non_null(text);
    return text;
}

static void expect_equal(const char *expected, const char *found, const char *what, size_t number) {
    char *where = difference(expected, found);
    if (where != NULL) fail_msg("%s %zu: %s", what, number, where);
    free(where);
}

/* ---- threads ----------------------------------------------------------------------------------------------------- */

#define DATA "--tokens fixtures/data/val.bin --sequences 10 --seq-len 128 "
static const char *const command_lines[] = {
    "inspect fixtures/models/tc-ec-sharded",
    "gates " DATA "--shadow 3 fixtures/models/ddl-cc-ec",
    "gates " DATA "fixtures/models/tc-newer-names",
    "gates " DATA "--precision double fixtures/models/scalar-kvshift",
    "gates " DATA "fixtures/models/additive-small",
    "ablate " DATA
    "--modes closed,open,reflect,mean-gate,write-only,erase-only --scopes all,attn,from fixtures/models/ddl-cc-ec",
    "ablate " DATA "fixtures/models/additive-small",
    "spectrum " DATA "--positions 0:3,7:127,9:64 --certify --weights --end-to-end 1 fixtures/models/ddl-cc-ec",
    "spectrum " DATA "--positions all --null shuffled-gates fixtures/models/scalar-kvshift",
    "gradflow " DATA "fixtures/models/ddl-cc-ec",
    "gradflow " DATA "--precision double fixtures/models/tc-output-gate",
    "verify --tokens fixtures/data/val.bin --sequences 2 --seq-len 16 fixtures/models/ddl-cc-ec",
};

/* Eight threads take all 10 windows of 128 tokens in one batch where up to four take 8, so this groups differently as well. */
static void threads_change_no_bit(void **state) {
    (void)state;
    const size_t threads[] = {1, 4, 2, 8};
    const size_t numbers = child_under_sanitizer() ? 2 : 4; /* ten times as slow: the plain build has the whole matrix */
    for (size_t c = 0; c < sizeof command_lines / sizeof command_lines[0]; c++) {
        char *expected = NULL;
        for (size_t i = 0; i < numbers; i++) {
            char words[512];
            (void)snprintf(words, sizeof words, "%s --threads %zu", command_lines[c], threads[i]);
            json_t *envelope = run("", words);
            assert_int_equal(json_integer_value(json_object_get(envelope, "threads")), threads[i]);
            assert_int_equal(json_object_del(envelope, "threads"), 0);
            assert_int_equal(json_object_del(envelope, "seconds"), 0);
            char *found = text_of(envelope);
            if (expected == NULL)
                expected = found;
            else
                expect_equal(expected, found, command_lines[c], threads[i]);
            if (found != expected) free(found);
            json_decref(envelope);
        }
        free(expected);
    }
}

/* The same, byte for byte, of what is written under --out; --json says in addition how the run went. */
static void folders_hold_the_same_bytes(void **state) {
    (void)state;
    char *kept[2];
    for (size_t i = 0; i < 2; i++) {
        const char *folder = scratch_path(i == 0 ? "one" : "two");
        char words[512], path[256];
        (void)snprintf(words, sizeof words, "ablate " DATA "--out %s --threads %zu fixtures/models/cc-bf16", folder, i + 1);
        json_t *told = run("", words);
        (void)snprintf(path, sizeof path, "%s/ablate.json", folder);
        json_t *written = load(path);
        assert_true(json_is_null(json_object_get(written, "seconds")) && json_is_null(json_object_get(written, "threads")));
        assert_true(json_is_number(json_object_get(told, "seconds")));
        assert_true(json_equal(json_object_get(told, "results"), json_object_get(written, "results")));
        json_decref(told);
        json_decref(written);
        size_t length;
        expect_ok(ds_read_file(&kept[i], &length, path, 1 << 22));
    }
    expect_equal(kept[0], kept[1], "ablate.json", 1);
    free(kept[0]);
    free(kept[1]);
}

/* ---- groups of windows ------------------------------------------------------------------------------------------- */

enum { WINDOWS = 11 };

typedef char *(*measurement)(ds_run *run); /* results as text */

static char *measure_in_groups(measurement measure, const char *model, size_t group) {
    char checkpoint[128];
    (void)snprintf(checkpoint, sizeof checkpoint, "fixtures/models/%s", model);
    const ds_run_options options = {
        .checkpoint = checkpoint, .tokens = "fixtures/data/val.bin", .length = 32, .sequences = WINDOWS, .batch = group};
    ds_run run;
    expect_ok(ds_run_open(&run, &options));
    assert_int_equal(run.batch, group);
    char *text = measure(&run);
    ds_run_close(&run);
    return text; /* cppcheck-suppress returnDanglingLifetime; a text of its own, not a part of the run */
}

/* The text of what was told, which is released. */
static char *told_text(json_t *options, json_t *results) {
    char *text = text_of(results);
    json_decref(options);
    json_decref(results);
    return text;
}

static char *gates_text(ds_run *run) {
    json_t *options, *results;
    expect_ok(ds_gates_results(&options, &results, run, &ds_gates_defaults));
    return told_text(options, results);
}

static char *ablation_text(ds_run *run) {
    ds_ablate_options chosen = ds_ablate_defaults;
    json_t *options, *results;
    chosen.modes = ds_rule_has_gates(run->spec.rule) ? "closed,reflect,write-only,mean-gate" : "closed";
    chosen.scopes = "each,all";
    expect_ok(ds_ablate_results(&options, &results, run, &chosen));
    return told_text(options, results);
}

static char *spectra_text(ds_run *run) {
    ds_spectrum_options chosen = ds_spectrum_defaults;
    json_t *options, *results;
    chosen.positions = "all";
    chosen.null = "shuffled-gates";
    expect_ok(ds_spectrum_results(&options, &results, run, &chosen));
    return told_text(options, results);
}

static void expect_groups_equal(measurement measure, const char *model) {
    char *expected = measure_in_groups(measure, model, WINDOWS);
    for (size_t group = 1; group <= 7; group += group == 3 ? 2 : 1) {
        char *found = measure_in_groups(measure, model, group);
        expect_equal(expected, found, model, group);
        free(found);
    }
    free(expected);
}

static void grouping_changes_no_bit(void **state) {
    (void)state;
    const char *const models[] = {"ddl-cc-ec", "scalar-kvshift", "tc-ec-sharded"};
    for (size_t m = 0; m < 3; m++) {
        expect_groups_equal(gates_text, models[m]);
        expect_groups_equal(ablation_text, models[m]);
    }
    expect_groups_equal(ablation_text, "additive-small");
    expect_groups_equal(spectra_text, "ddl-cc-ec");
}

/* ---- another BLAS and LAPACK ------------------------------------------------------------------------------------- */

/* Every BLAS of the machine but the one we are linked with: put in front of it by the loader. */
static size_t other_libraries(char paths[][512], size_t capacity) {
    glob_t found;
    size_t count = 0;
    const char *const patterns[] = {"/usr/lib/*/blas/libblas.so.3", "/usr/lib/*/blis-*/libblas.so.3",
                                    "/usr/lib/*/atlas/libblas.so.3"};
    for (size_t p = 0; p < 3; p++) {
        if (glob(patterns[p], 0, NULL, &found) == 0) {
            for (size_t i = 0; i < found.gl_pathc && count < capacity; i++)
                (void)snprintf(paths[count++], 512, "%s", found.gl_pathv[i]);
        }
        globfree(&found);
    }
    if (glob("/usr/lib/*/lapack/liblapack.so.3", 0, NULL, &found) == 0) {
        for (size_t i = 0; i < count; i++) {
            size_t length = strlen(paths[i]);
            (void)snprintf(paths[i] + length, 512 - length, ":%s", found.gl_pathv[0]);
        }
    }
    globfree(&found);
    return count;
}

static double real(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    if (!json_is_number(value)) fail_msg("\"%s\" is not a number", key);
    return json_number_value(value);
}

static double at(const json_t *array, size_t index) { return json_number_value(json_array_get(array, index)); }

static void expect_within(double a, double b, double bound, const char *what, size_t index) {
    if (!(fabs(a - b) <= bound)) fail_msg("%s %zu: %.17g against %.17g, further apart than %g", what, index, a, b, bound);
}

/* Each library's eigenvalue lies within its own stated bound of an exact one. */
static void expect_eigenvalues(const json_t *a, const json_t *b) {
    const json_t *ours = json_object_get(a, "eigenvalues"), *theirs = json_object_get(b, "eigenvalues");
    assert_int_equal(json_array_size(ours), json_array_size(theirs));
    for (size_t i = 0; i < json_array_size(ours); i++) {
        const json_t *one = json_array_get(ours, i);
        double bound = at(json_object_get(a, "eigenvalue_bounds"), i), nearest = INFINITY;
        for (size_t j = 0; j < json_array_size(theirs); j++) { /* rounding may order equal real parts differently */
            const json_t *other = json_array_get(theirs, j);
            double distance = hypot(at(one, 0) - at(other, 0), at(one, 1) - at(other, 1));
            nearest = fmin(nearest, distance - at(json_object_get(b, "eigenvalue_bounds"), j));
        }
        expect_within(fmax(nearest, 0), 0, bound, "eigenvalue", i);
    }
}

static void expect_spectra(const json_t *a, const json_t *b) {
    const json_t *ours = json_object_get(a, "accumulated"), *theirs = json_object_get(b, "accumulated");
    for (size_t i = 0; i < json_array_size(ours); i++) {
        const json_t *one = json_array_get(ours, i), *other = json_array_get(theirs, i);
        double bound = real(one, "singular_value_bound") + real(other, "singular_value_bound");
        const json_t *sigma = json_object_get(one, "singular_values"), *tau = json_object_get(other, "singular_values");
        for (size_t j = 0; j < json_array_size(sigma); j++) expect_within(at(sigma, j), at(tau, j), bound, "singular value", j);
        expect_eigenvalues(one, other);
    }
    const json_t *operators[] = {json_object_get(a, "operator"), json_object_get(b, "operator")};
    double tolerance = real(operators[0], "tolerance");
    for (size_t side = 0; side < 2; side++) {
        assert_true(real(operators[side], "max_eigenvalue_error") <= tolerance);
        assert_true(real(operators[side], "max_determinant_error") <= tolerance);
        assert_true(real(operators[side], "max_orthogonality_error") <= tolerance);
    }
    for (size_t i = 0; i < json_array_size(json_object_get(a, "sweep")); i++)
        expect_within(real(json_array_get(json_object_get(a, "sweep"), i), "eigenvalue_lapack"),
                      real(json_array_get(json_object_get(b, "sweep"), i), "eigenvalue_lapack"), 2 * tolerance, "sweep", i);
}

static void expect_same_results(const json_t *a, const json_t *b, const char *what) {
    char *ours = text_of(json_object_get(a, "results")), *theirs = text_of(json_object_get(b, "results"));
    expect_equal(ours, theirs, what, 0);
    free(ours);
    free(theirs);
}

static void other_libraries_agree(void **state) {
    (void)state;
    const char *const spectrum = "spectrum " DATA "--positions 0:3,7:127,9:64 fixtures/models/ddl-cc-ec";
    const char *const model_only[] = {"gates " DATA "fixtures/models/ddl-cc-ec",
                                      "ablate " DATA "--scopes all,attn fixtures/models/cc-bf16"};
    char paths[8][512], environment[1024];
    size_t count = other_libraries(paths, 8);
    if (count == 0) skip();
    json_t *ours = run("", spectrum);
    for (size_t i = 0; i < count; i++) {
        /* the sanitizer wants to be loaded first and says so unless told otherwise */
        (void)snprintf(environment, sizeof environment, "ASAN_OPTIONS=verify_asan_link_order=0:detect_leaks=0 LD_PRELOAD=%s",
                       paths[i]);
        json_t *theirs = run(environment, spectrum);
        expect_spectra(json_object_get(ours, "results"), json_object_get(theirs, "results"));
        char *a = text_of(json_object_get(ours, "results")), *b = text_of(json_object_get(theirs, "results"));
        (void)printf("%s: within the stated errors%s\n", paths[i], strcmp(a, b) == 0 ? ", to the last bit" : "");
        free(a);
        free(b);
        json_decref(theirs);
        for (size_t c = 0; c < 2; c++) { /* the model itself does not go through BLAS */
            json_t *one = run("", model_only[c]), *other = run(environment, model_only[c]);
            expect_same_results(one, other, model_only[c]);
            json_decref(one);
            json_decref(other);
        }
    }
    json_decref(ours);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_change_no_bit),
        cmocka_unit_test(folders_hold_the_same_bytes),
        cmocka_unit_test(grouping_changes_no_bit),
        cmocka_unit_test(other_libraries_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
