/* The spectrum command on every fixture model: whole data sets against listed tokens, null models, windows, certificates. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "scratch.h"
#include "support.h"

static const char *const models[] = {
    "cc-bf16",        "cc-dv3-noqknorm", "cc-ec-activations",  "cc-ec-vlinear",         "ddl-cc-ec",     "scalar-ckpt",
    "scalar-kvshift", "tc-newer-names",  "scalar-safetensors", "scalar-two-layer-gate", "tc-ec-sharded", "tc-output-gate",
};
enum { MODELS = sizeof models / sizeof models[0], WINDOWS = 2, LENGTH = 8, TOKENS = WINDOWS * LENGTH };

static const char *const listed = "--positions 0:0,0:1,0:2,0:3,0:4,0:5,0:6,0:7,1:0,1:1,1:2,1:3,1:4,1:5,1:6,1:7";

static int execute(const char *model, const char *options, const char *result) {
    const char *program = getenv("DELTASCOPE") != NULL ? getenv("DELTASCOPE") : "build/deltascope";
    char line[1024];
    (void)snprintf(line, sizeof line,
                   "%s spectrum --tokens fixtures/data/val.bin --seq-len %d --sequences %d --samples 2 --quiet --json %s %s "
                   "fixtures/models/%s%s 2>/dev/null",
                   program, LENGTH, WINDOWS, result, options, model, strcmp(model, "scalar-ckpt") == 0 ? "/ckpt.pt" : "");
    int status = system(line);
    return status < 0 ? status : status >> 8;
}

/* The "results" of a run; the caller owns them. */
static json_t *run(const char *model, const char *options) {
    const char *path = scratch_path("result.json");
    int status = execute(model, options, path);
    if (status != 0) fail_msg("%s %s: exit status %d", model, options, status);
    json_error_t error;
    json_t *envelope = json_load_file(path, 0, &error);
    if (envelope == NULL) fail_msg("%s", error.text);
    json_t *results = json_incref(json_object_get(envelope, "results"));
    json_decref(envelope);
    return results;
}

static double real(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    if (!json_is_number(value)) fail_msg("\"%s\" is not a number", key);
    return json_number_value(value);
}

static const json_t *item(const json_t *results, const char *key, size_t index) {
    const json_t *found = json_array_get(json_object_get(results, key), index);
    if (found == NULL) fail_msg("no %s[%zu]", key, index);
    return found;
}

/* The end of the distribution over all tokens is the mean of what listing every token gives. */
static void test_all_tokens_are_the_listed_ones(void **state) {
    (void)state;
    static const char *const keys[] = {
        "log_abs_det",      "norm2",        "spectral_radius", "departure_from_normality", "mean_squared_singular_value",
        "frobenius_defect", "complex_share"};
    for (size_t m = 0; m < MODELS; m++) {
        json_t *all = run(models[m], "--positions all"), *some = run(models[m], listed);
        const json_t *distribution = json_object_get(all, "distribution");
        size_t depth = json_array_size(distribution);
        const json_t *end = json_array_get(distribution, depth - 1);
        assert_int_equal(json_array_size(json_object_get(some, "accumulated")), TOKENS);
        assert_true(json_equal(json_object_get(all, "accumulated"), json_object_get(some, "accumulated")));
        for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
            double sum = 0;
            for (size_t t = 0; t < TOKENS; t++) sum += real(item(some, "accumulated", t), keys[i]);
            double mean = real(json_object_get(end, keys[i]), "mean");
            expect_close(mean, sum / TOKENS, 4 * TOKENS * ds_unit_roundoff(DS_F64) * (fabs(mean) + 1)); /* order of a sum */
        }
        assert_true(json_equal(json_object_get(json_object_get(all, "directions"), "coherence"),
                               json_object_get(json_object_get(some, "directions"), "coherence")));
        for (size_t s = 0; s < depth; s++) expect_close(real(json_array_get(distribution, s), "depth"), (double)s + 1, 0);
        json_decref(all);
        json_decref(some);
    }
}

/* Of more tokens than a result should hold, evenly spaced ones are listed, each the token it says it is. */
static void test_many_tokens_are_listed_evenly_spaced(void **state) {
    (void)state;
    enum { LISTED = 1024, MANY_WINDOWS = 20, MANY_LENGTH = 64 };
    json_t *all = run("scalar-safetensors", "--seq-len 64 --sequences 20 --positions all --depths last");
    json_t *one = run("scalar-safetensors", "--seq-len 64 --sequences 20 --positions 7:4");
    const json_t *entries = json_object_get(all, "accumulated");
    assert_int_equal(json_array_size(entries), LISTED);
    for (size_t i = 0; i < LISTED; i++) {
        size_t token = i * MANY_WINDOWS * MANY_LENGTH / LISTED, sequence = token / MANY_LENGTH;
        expect_close(real(json_array_get(entries, i), "sequence"), (double)sequence, 0);
        expect_close(real(json_array_get(entries, i), "position"), (double)(token % MANY_LENGTH), 0);
    }
    /* token 7 * 64 + 4 = 452 is number ceil(452 * 1024 / 1280) = 362 */
    assert_true(json_equal(json_array_get(entries, 362), item(one, "accumulated", 0)));
    json_decref(all);
    json_decref(one);
}

static void test_threads_leave_no_trace(void **state) {
    (void)state;
    static const char *const kinds[] = {"", "--null shuffled-gates", "--null random-directions", "--null constant-gates",
                                        "--null random-init"};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        char one[128], two[128];
        (void)snprintf(one, sizeof one, "--positions all --threads 1 %s", kinds[i]);
        (void)snprintf(two, sizeof two, "--positions all --threads 3 %s", kinds[i]);
        json_t *a = run("ddl-cc-ec", one), *b = run("ddl-cc-ec", two);
        assert_true(json_equal(a, b));
        json_decref(a);
        json_decref(b);
    }
}

/* What each null model keeps and what it changes. */
static void test_null_models(void **state) {
    (void)state;
    json_t *shuffled = run("ddl-cc-ec", "--positions all --null shuffled-gates");
    json_t *drawn = run("ddl-cc-ec", "--positions all --null random-directions");
    json_t *constant = run("ddl-cc-ec", "--positions all --null constant-gates");
    json_t *initial = run("ddl-cc-ec", "--positions all --null random-init");
    const json_t *directions = json_object_get(shuffled, "directions");
    const json_t *null = json_object_get(shuffled, "null");
    assert_true(json_equal(json_object_get(directions, "coherence"),
                           json_object_get(json_object_get(null, "directions"), "coherence")));
    /* log|det| is a sum over sublayers of log|1 - b|, |k|^2 hardly varies: shuffled over tokens its mean stays, its spread
     * not */
    const json_t *learned_end = item(shuffled, "distribution", 7), *null_end = item(null, "distribution", 7);
    double learned_mean = real(json_object_get(learned_end, "log_abs_det"), "mean");
    expect_close(real(json_object_get(null_end, "log_abs_det"), "mean"), learned_mean, 1e-3 * fabs(learned_mean));
    assert_false(json_equal(json_object_get(learned_end, "smallest"), json_object_get(null_end, "smallest")));
    /* random directions at d = 128: coherence off the diagonal is near its expectation, 16 tokens and 56 pairs apart */
    const json_t *random_directions = json_object_get(json_object_get(drawn, "null"), "directions");
    double sum = 0, expected = real(random_directions, "random_coherence");
    for (size_t a = 0; a < 8; a++) {
        for (size_t b = 0; b < a; b++)
            sum +=
                json_number_value(json_array_get(json_array_get(json_object_get(random_directions, "coherence"), a), b)) / 28;
    }
    expect_close(sum, expected, 5 * expected / sqrt(28.0 * TOKENS)); /* |cos| has a relative deviation below 1 */
    /* one gate per sublayer: every token of depth 1 has the same smallest singular value but for |k|^2 */
    const json_t *first = item(json_object_get(constant, "null"), "distribution", 0);
    assert_true(real(json_object_get(first, "smallest"), "std") < 1e-3);
    assert_true(real(json_object_get(item(constant, "distribution", 0), "smallest"), "std") > 1e-2);
    assert_false(json_equal(json_object_get(initial, "distribution"),
                            json_object_get(json_object_get(initial, "null"), "distribution")));
    json_decref(shuffled);
    json_decref(drawn);
    json_decref(constant);
    json_decref(initial);
}

/* Determinants multiply: log|det| over a window is a difference of those up to its ends. */
static void test_windows(void **state) {
    (void)state;
    json_t *whole = run("ddl-cc-ec", "--positions 1:5 --window 0:6"), *front = run("ddl-cc-ec", "--positions 1:5 --window 0:2");
    json_t *back = run("ddl-cc-ec", "--positions 1:5 --window 3:6");
    double sum = real(item(front, "accumulated", 0), "log_abs_det") + real(item(back, "accumulated", 0), "log_abs_det");
    expect_close(real(item(whole, "accumulated", 0), "log_abs_det"), sum, 64 * ds_unit_roundoff(DS_F64) * fabs(sum));
    assert_int_equal(json_array_size(json_object_get(item(back, "accumulated", 0), "singular_values")), 4);
    json_decref(whole);
    json_decref(front);
    json_decref(back);
    static const char *const refused[] = {"--window 3", "--window 2:1", "--window 0:8", "--window -1:3", "--window 1:3x"};
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
        assert_int_equal(execute("ddl-cc-ec", refused[i], scratch_path("none.json")), 2);
}

/* Estimated values lie, within their own bounds, in the proved enclosures. */
static void expect_certified(const json_t *entry) {
    const json_t *certified = json_object_get(entry, "certified"), *values = json_object_get(entry, "eigenvalues");
    const json_t *discs = json_object_get(certified, "eigenvalues"), *verdicts = json_object_get(certified, "verdicts");
    size_t order = json_array_size(values), counted = 0;
    for (size_t j = 0; j < json_array_size(discs); j++) counted += (size_t)real(json_array_get(discs, j), "multiplicity");
    assert_int_equal(counted, order);
    for (size_t i = 0; i < order; i++) {
        const json_t *value = json_array_get(values, i);
        double re = json_number_value(json_array_get(value, 0)), im = json_number_value(json_array_get(value, 1));
        double beyond = INFINITY, bound = json_number_value(json_array_get(json_object_get(entry, "eigenvalue_bounds"), i));
        for (size_t j = 0; j < json_array_size(discs); j++) {
            const json_t *disc = json_array_get(discs, j);
            beyond = fmin(beyond, hypot(re - real(disc, "re"), im - real(disc, "im")) - real(disc, "radius"));
        }
        expect_close(fmax(beyond, 0), 0, bound);
    }
    const json_t *intervals = json_object_get(certified, "singular_values");
    size_t at = 0;
    for (size_t j = 0; j < json_array_size(intervals); j++) {
        const json_t *interval = json_array_get(intervals, j);
        for (size_t i = 0; i < (size_t)real(interval, "multiplicity"); i++)
            expect_close(json_number_value(json_array_get(json_object_get(entry, "singular_values"), at++)),
                         real(interval, "value"), real(interval, "radius") + real(entry, "singular_value_bound"));
    }
    /* log|1 - b| carries b's rounding times b / |1 - b|, below 1e3 in these models */
    const json_t *log_abs_det = json_object_get(certified, "log_abs_det");
    expect_close(real(entry, "log_abs_det"), real(log_abs_det, "value"),
                 real(log_abs_det, "radius") + 16e3 * ds_unit_roundoff(DS_F64) * fabs(real(entry, "log_abs_det")));
    /* m beta |k|^2 is below 2 in every fixture model */
    assert_string_equal(json_string_value(json_object_get(verdicts, "contraction")), "proved");
    assert_string_equal(json_string_value(json_object_get(verdicts, "eigenvalues_in_unit_disk")), "proved");
}

static void test_certificates(void **state) {
    (void)state;
    for (size_t m = 0; m < MODELS; m++) {
        json_t *some = run(models[m], "--positions 0:0,0:3,1:7 --certify"), *all = run(models[m], "--positions all --certify");
        static const size_t among_all[] = {0, 3, 15};
        for (size_t i = 0; i < 3; i++) {
            expect_certified(item(some, "accumulated", i));
            assert_true(json_equal(item(some, "accumulated", i), item(all, "accumulated", among_all[i])));
        }
        const json_t *certified = json_object_get(all, "certified");
        expect_close(real(certified, "tokens"), TOKENS, 0);
        const json_t *contraction = json_object_get(json_object_get(certified, "verdicts"), "contraction");
        expect_close(real(contraction, "proved"), TOKENS, 0);
        json_decref(some);
        json_decref(all);
    }
}

static int refuse(const char *model, const char *options) { return execute(model, options, scratch_path("none.json")); }

static void test_an_additive_checkpoint_has_weights_and_a_jacobian_only(void **state) {
    (void)state;
    assert_int_equal(refuse("additive-small", ""), 2);
    json_t *results = run("additive-small", "--weights --end-to-end 1 --count 3");
    assert_int_equal(json_array_size(json_object_get(json_object_get(results, "end_to_end"), "singular_values")), 3);
    assert_true(json_array_size(json_object_get(results, "weights")) > 10);
    assert_null(json_object_get(results, "accumulated"));
    json_decref(results);
}

/* Identities of every matrix, and verdicts that name themselves. */
static void test_weights(void **state) {
    (void)state;
    for (size_t m = 0; m < MODELS; m++) {
        json_t *results = run(models[m], "--weights");
        const json_t *weights = json_object_get(results, "weights");
        size_t i;
        json_t *w;
        json_array_foreach(weights, i, w) {
            double rows = real(w, "rows"), columns = real(w, "columns"), norm = real(w, "spectral_norm");
            double ratio = real(w, "frobenius") / norm, least = fmin(rows, columns), u = ds_unit_roundoff(DS_F64);
            expect_close(real(w, "stable_rank"), ratio * ratio, 64 * rows * columns * u * ratio * ratio);
            assert_true(real(w, "effective_rank") >= 1 && real(w, "effective_rank") <= least * (1 + 64 * u));
            expect_close(real(w, "mp_edge"), real(w, "frobenius") * (1 / sqrt(rows) + 1 / sqrt(columns)),
                         64 * u * real(w, "mp_edge"));
            expect_close(real(json_object_get(w, "singular_values"), "max"), norm, 0);
            assert_true(json_is_string(json_object_get(w, "verdict")) && json_is_string(json_object_get(w, "tensor")));
        }
        json_decref(results);
    }
}

/* Weights need no data, and do not depend on them. */
static void test_weights_without_data(void **state) {
    (void)state;
    const char *program = getenv("DELTASCOPE") != NULL ? getenv("DELTASCOPE") : "build/deltascope";
    const char *path = scratch_path("weights.json");
    char line[512];
    json_t *with = run("cc-bf16", "--weights");
    (void)snprintf(line, sizeof line, "%s spectrum --weights --quiet --json %s fixtures/models/cc-bf16", program, path);
    assert_int_equal(system(line), 0);
    json_t *envelope = json_load_file(path, 0, NULL);
    const json_t *without = json_object_get(envelope, "results");
    assert_true(json_is_null(json_object_get(envelope, "data")));
    assert_true(json_equal(json_object_get(without, "weights"), json_object_get(with, "weights")));
    assert_null(json_object_get(without, "accumulated"));
    json_decref(envelope);
    json_decref(with);
    (void)snprintf(line, sizeof line, "%s spectrum --quiet fixtures/models/cc-bf16 2>/dev/null", program);
    assert_int_equal(system(line) >> 8, 2);
}

/* Matrices too small for an exponent, some or all of them: tables and figures of what there is; a figure of nothing says so. */
static void test_weights_without_exponents(void **state) {
    (void)state;
    static const char *const small[] = {"option-tc-long-kernel", "option-scalar-completep", "option-scalar-constant"};
    const char *program = getenv("DELTASCOPE") != NULL ? getenv("DELTASCOPE") : "build/deltascope";
    char line[512];
    for (size_t m = 0; m < 3; m++) {
        (void)snprintf(line, sizeof line, "%s spectrum --weights --out %s fixtures/models/%s >%s 2>&1", program,
                       scratch_path("small"), small[m], scratch_path("said"));
        if (system(line) != 0) fail_msg("%s: exit status is not 0", line);
    }
    (void)snprintf(line, sizeof line, "%s plot --figure weight-spectra --out %s %s >/dev/null 2>%s", program,
                   scratch_path("plot"), scratch_path("small/spectrum.json"), scratch_path("said"));
    assert_int_equal(system(line) >> 8, 3);
    (void)snprintf(line, sizeof line, "grep -q 'nothing to draw' %s", scratch_path("said"));
    assert_int_equal(system(line), 0);
}

/* By depth the last value is that of the whole; frozen shortcuts with gates below 2 never exceed 1. */
static void test_end_to_end(void **state) {
    (void)state;
    for (size_t m = 0; m < MODELS; m++) {
        json_t *results = run(models[m], "--precision double --end-to-end 1 --count 2 --by-depth");
        const json_t *found = json_object_get(results, "end_to_end"), *depths = json_object_get(found, "by_depth");
        const json_t *largest = json_array_get(json_object_get(found, "singular_values"), 0);
        const json_t *last = json_array_get(depths, json_array_size(depths) - 1);
        expect_close(real(last, "norm2"), real(largest, "value"), real(last, "residual") + real(largest, "residual"));
        assert_int_equal((int)real(found, "converged"), 2);
        size_t s;
        json_t *depth;
        json_array_foreach(depths, s, depth) {
            expect_close(real(depth, "frozen_norm2"), 1, 1e3 * ds_unit_roundoff(DS_F64));
            assert_true(real(depth, "norm2") > 0);
        }
        json_decref(results);
    }
    assert_int_equal(refuse("ddl-cc-ec", "--end-to-end 2"), 2); /* there are windows 0 and 1 */
    assert_int_equal(refuse("ddl-cc-ec", "--by-depth"), 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_tokens_are_the_listed_ones),
        cmocka_unit_test(test_many_tokens_are_listed_evenly_spaced),
        cmocka_unit_test(test_threads_leave_no_trace),
        cmocka_unit_test(test_null_models),
        cmocka_unit_test(test_windows),
        cmocka_unit_test(test_certificates),
        cmocka_unit_test(test_an_additive_checkpoint_has_weights_and_a_jacobian_only),
        cmocka_unit_test(test_weights),
        cmocka_unit_test(test_weights_without_data),
        cmocka_unit_test(test_weights_without_exponents),
        cmocka_unit_test(test_end_to_end),
    };
    return cmocka_run_group_tests_name("cmd_spectrum", tests, NULL, NULL);
}
