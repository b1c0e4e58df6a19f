/* The program end to end: gates, spectrum and ablate on every fixture model against float64 reference values, and the same in
 * float. fixtures/golden/NAME.json holds values of an independent float64 implementation of the model; those of option-NAME
 * come from a second one, plain loops over lists in another language written from the model's description alone, with
 * gradients by automatic differentiation. The option models together move every key of config.json that the
 * forward pass reads away from its default. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "scratch.h"
#include "support.h"

static const char *const models[] = {
    "additive-small",
    "cc-bf16",
    "cc-dv3-noqknorm",
    "cc-ec-activations",
    "cc-ec-vlinear",
    "ddl-cc-ec",
    "scalar-ckpt",
    "scalar-kvshift",
    "scalar-safetensors",
    "scalar-two-layer-gate",
    "tc-ec-sharded",
    "tc-newer-names",
    "tc-output-gate",
    "option-additive-eps",
    "option-cc-causal",
    "option-cc-ec-causal",
    "option-cc-ec-one-token",
    "option-cc-even-kernel",
    "option-cc-one-tap",
    "option-scalar-completep",
    "option-scalar-constant",
    "option-tc-ec-constant",
    "option-tc-ec-mixed-names",
    "option-tc-long-kernel",
    "option-tc-one-tap",
};
enum { MODELS = sizeof models / sizeof models[0] };

static json_t *load(const char *path) {
    json_error_t error;
    json_t *root = json_load_file(path, 0, &error);
    if (root == NULL) fail_msg("%s: %s", path, error.text);
    return root;
}

static json_t *golden_of(const char *model) {
    char path[256];
    (void)snprintf(path, sizeof path, "fixtures/golden/%s.json", model);
    return load(path);
}

static double real(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    if (!json_is_number(value)) fail_msg("\"%s\" is not a number", key);
    return json_number_value(value);
}

static const char *checkpoint_of(const char *model) {
    static char path[256];
    (void)snprintf(path, sizeof path, "fixtures/models/%s", model);
    return path;
}

/* Runs a command on the golden's data and returns its "results"; the caller owns the envelope in *envelope. */
static const json_t *run(json_t **envelope, const char *command, const char *model, const json_t *golden, const char *options) {
    const char *program = getenv("DELTASCOPE") != NULL ? getenv("DELTASCOPE") : "build/deltascope";
    const char *result = scratch_path("result.json");
    char line[1024];
    (void)snprintf(line, sizeof line,
                   "%s %s --tokens fixtures/data/val.bin --offset 0 --seq-len %d --sequences %d --quiet --json %s %s %s",
                   program, command, (int)real(golden, "seq_len"), (int)real(golden, "sequences"), result, options,
                   checkpoint_of(model));
    int status = system(line);
    if (status != 0) fail_msg("exit status %d: %s", status, line);
    *envelope = load(result);
    return json_object_get(*envelope, "results");
}

/* Relative to the larger of |expected| and `scale`, the size of the numbers it was computed from. */
static void expect_near(double found, double expected, double relative, double scale, const char *what) {
    double tolerance = relative * fmax(fabs(expected), scale);
    if (!(fabs(found - expected) <= tolerance))
        fail_msg("%s: found %.17g, expected %.17g +- %.3g", what, found, expected, tolerance);
}

static void expect_tree(const json_t *found, const json_t *expected, double relative, double scale, const char *what);

static void expect_object(const json_t *found, const json_t *expected, double relative, double scale, const char *what) {
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)expected, key, value) {
        char name[256];
        (void)snprintf(name, sizeof name, "%s.%s", what, key);
        expect_tree(json_object_get(found, key), value, relative, scale, name);
    }
}

/* Every number of `expected` is found at the same place. */
static void expect_tree(const json_t *found, const json_t *expected, double relative, double scale, const char *what) {
    if (json_is_object(expected)) {
        expect_object(found, expected, relative, scale, what);
    } else if (json_is_array(expected)) {
        assert_int_equal(json_array_size(found), json_array_size(expected));
        for (size_t i = 0; i < json_array_size(expected); i++)
            expect_tree(json_array_get(found, i), json_array_get(expected, i), relative, scale, what);
    } else if (json_is_number(expected)) {
        if (!json_is_number(found)) fail_msg("%s: missing", what);
        expect_near(json_number_value(found), json_number_value(expected), relative, scale, what);
    } else {
        assert_true(json_equal(found, expected));
    }
}

static const json_t *find_case(const json_t *cases, const char *name) {
    size_t i;
    json_t *item;
    json_array_foreach(cases, i, item) {
        if (strcmp(json_string_value(json_object_get(item, "name")), name) == 0) return item;
    }
    fail_msg("no case \"%s\"", name);
    return NULL;
}

static const json_t *find_position(const json_t *entries, int sequence, int position) {
    size_t i;
    json_t *item;
    json_array_foreach(entries, i, item) {
        if ((int)real(item, "sequence") == sequence && (int)real(item, "position") == position) return item;
    }
    fail_msg("no entry for %d:%d", sequence, position);
    return NULL;
}

/* Statistics of 1 - m beta |k|^2 and of |k|^2 are compared on the scale of 1: their own digits below 1e-9 of it are
 * rounding. */
static void expect_sublayers(const json_t *found, const json_t *golden, double relative) {
    size_t i;
    json_t *sublayer;
    json_array_foreach(json_object_get(golden, "sublayers"), i, sublayer) {
        expect_tree(json_array_get(json_object_get(found, "sublayers"), i), sublayer, relative, 1.0,
                    json_string_value(json_object_get(sublayer, "name")));
    }
}

static void test_gates_in_double(void **state) {
    (void)state;
    for (size_t m = 0; m < MODELS; m++) {
        json_t *golden = golden_of(models[m]), *envelope;
        const json_t *results = run(&envelope, "gates", models[m], golden, "--precision double");
        expect_near(real(results, "loss"), real(golden, "loss"), 1e-9, 0, "loss");
        expect_tree(json_object_get(results, "sequence_loss"), json_object_get(golden, "sequence_loss"), 1e-9, 0,
                    "sequence_loss");
        expect_sublayers(results, golden, 1e-9);
        json_decref(envelope);
        json_decref(golden);
    }
}

static void test_spectrum_in_double(void **state) {
    (void)state;
    for (size_t m = 0; m < MODELS; m++) {
        json_t *golden = golden_of(models[m]), *envelope, *item;
        json_t *entries = json_object_get(golden, "accumulated");
        char options[256] = "--precision double --positions ";
        size_t i;
        if (entries == NULL) {
            json_decref(golden);
            continue;
        }
        json_array_foreach(entries, i, item) {
            size_t used = strlen(options);
            (void)snprintf(options + used, sizeof options - used, "%s%d:%d", i == 0 ? "" : ",", (int)real(item, "sequence"),
                           (int)real(item, "position"));
        }
        const json_t *results = run(&envelope, "spectrum", models[m], golden, options);
        json_array_foreach(entries, i, item) {
            const json_t *found = find_position(json_object_get(results, "accumulated"), (int)real(item, "sequence"),
                                                (int)real(item, "position"));
            const json_t *lowest = json_object_get(item, "singular_values_lowest");
            /* on the scale of ||P|| = 1 */
            expect_tree(json_object_get(found, "eigenvalues"), json_object_get(item, "eigenvalues"), 1e-9, 1.0, "eigenvalues");
            for (size_t j = 0; j < json_array_size(lowest); j++)
                expect_near(json_number_value(json_array_get(json_object_get(found, "singular_values"), j)),
                            json_number_value(json_array_get(lowest, j)), 1e-9, 1.0, "singular_values");
            expect_near(real(found, "norm2"), real(item, "norm2"), 1e-9, 0, "norm2");
            expect_near(real(found, "frobenius_defect"), real(item, "frobenius_defect"), 1e-9, 0, "frobenius_defect");
            expect_near(real(found, "log_abs_det"), real(item, "log_abs_det"), 1e-9, 0, "log_abs_det");
        }
        json_decref(envelope);
        json_decref(golden);
    }
}

static void expect_ablations(const char *model, const char *precision, double relative) {
    json_t *golden = golden_of(model), *envelope, *expected;
    const char *name;
    char options[128];
    bool additive = strstr(model, "additive") != NULL;
    (void)snprintf(options, sizeof options, "--precision %s --modes %s", precision,
                   additive ? "closed" : "closed,open,reflect,mean-gate,write-only,erase-only");
    const json_t *results = run(&envelope, "ablate", model, golden, options);
    const json_t *cases = json_object_get(results, "cases");
    double loss = real(golden, "loss");
    expect_near(real(json_object_get(results, "baseline"), "loss"), loss, relative, 0, "baseline");
    json_object_foreach(json_object_get(golden, "ablations"), name, expected) {
        const json_t *found = find_case(cases, name);
        expect_near(real(found, "loss"), real(expected, "loss"), relative, 0, name);
        expect_near(real(found, "delta_loss"), real(expected, "delta_loss"), relative, loss, name); /* a difference of losses */
        expect_near(real(found, "kl"), real(expected, "kl"), relative, loss, name); /* a difference of mean log probabilities */
    }
    json_decref(envelope);
    json_decref(golden);
}

static void test_ablate_in_double(void **state) {
    (void)state;
    for (size_t m = 0; m < MODELS; m++) expect_ablations(models[m], "double", 1e-9);
}

/* The "name" of an entry decides, not its place. */
static const json_t *find_named(const json_t *entries, const char *name) {
    size_t i;
    json_t *item;
    json_array_foreach(entries, i, item) {
        if (strcmp(json_string_value(json_object_get(item, "name")), name) == 0) return item;
    }
    fail_msg("no entry named \"%s\"", name);
    return NULL;
}

static void expect_flow(const json_t *results, const json_t *golden) {
    const json_t *flow = json_object_get(golden, "gradflow");
    const char *name;
    json_t *item;
    size_t i;
    json_array_foreach(json_object_get(flow, "states"), i, item) {
        const json_t *found = json_array_get(json_object_get(results, "states"), i);
        expect_near(real(found, "grad_norm"), json_number_value(item), 1e-8, 0, "states");
    }
    json_object_foreach(json_object_get(flow, "parameters"), name, item) {
        const json_t *found = find_named(json_object_get(results, "parameters"), name);
        expect_near(real(found, "grad_norm"), json_number_value(item), 1e-8, 0, name);
    }
    json_array_foreach(json_object_get(flow, "paths"), i, item) {
        const json_t *found = json_array_get(json_object_get(results, "sublayers"), i);
        const char *const keys[] = {"shortcut_norm", "direction_norm", "gate_norm",
                                    "value_norm",    "total_norm",     "cosine_shortcut_total"};
        for (size_t k = 0; k < sizeof keys / sizeof *keys; k++)
            expect_near(real(found, keys[k]), real(item, keys[k]), 1e-8, 0, keys[k]);
        expect_near(real(found, "sum_error"), 0, 1, 64 * ds_unit_roundoff(DS_F64),
                    "sum_error"); /* a few roundings of five parts */
    }
}

static void expect_jacobians(const json_t *results, const json_t *golden) {
    json_t *item;
    size_t i;
    json_array_foreach(json_object_get(golden, "block_jacobians"), i, item) {
        const json_t *found =
            find_named(json_object_get(results, "jacobians"), json_string_value(json_object_get(item, "name")));
        const char *const keys[] = {"norm2", "smallest", "frobenius", "spectral_radius", "log_abs_det", "trace"};
        for (size_t k = 0; k < sizeof keys / sizeof *keys; k++)
            expect_near(real(found, keys[k]), real(item, keys[k]), 1e-6, 0, keys[k]);
    }
}

static void test_gradflow_in_double(void **state) {
    (void)state;
    for (size_t m = 0; m < MODELS; m++) {
        json_t *golden = golden_of(models[m]), *envelope;
        const json_t *blocks = json_object_get(golden, "block_jacobians"), *first = json_array_get(blocks, 0);
        char options[256] = "--precision double";
        if (first != NULL) /* all blocks of a model are at one token */
            (void)snprintf(options, sizeof options, "--precision double --jacobian %d:%d --jacobian-sublayers %s,%s",
                           (int)real(first, "sequence"), (int)real(first, "position"),
                           json_string_value(json_object_get(first, "name")),
                           json_string_value(json_object_get(json_array_get(blocks, 1), "name")));
        const json_t *results = run(&envelope, "gradflow", models[m], golden, options);
        expect_near(real(results, "loss"), real(golden, "loss"), 1e-9, 0, "loss");
        expect_flow(results, golden);
        expect_jacobians(results, golden);
        json_decref(envelope);
        json_decref(golden);
    }
}

/* What float allows: a loss is a difference of log-sum-exp and logit, each a sum of d products of numbers that went through S
 * sublayers of about 10 roundings: errors of size u sqrt(d) per product and u sqrt(10 S) along the depth, relative to the
 * logits' size (below 16 here); c = 16 covers their adding up in one direction for the worst token, means being better. */
static double float_tolerance(const json_t *golden, size_t hidden) {
    double sublayers = (double)json_array_size(json_object_get(golden, "sublayers"));
    return 16 * ds_unit_roundoff(DS_F32) * (sqrt((double)hidden) + sqrt(10 * fmax(sublayers, 4)));
}

static void test_float_agrees_with_double(void **state) {
    (void)state;
    for (size_t m = 0; m < MODELS; m++) {
        json_t *golden = golden_of(models[m]), *envelope;
        size_t hidden = strcmp(models[m], "ddl-cc-ec") == 0 ? 128 : 32;
        const json_t *results = run(&envelope, "gates", models[m], golden, "");
        expect_near(real(results, "loss"), real(golden, "loss"), float_tolerance(golden, hidden), 1, models[m]);
        json_decref(envelope);
        expect_ablations(models[m], "float", float_tolerance(golden, hidden));
        json_decref(golden);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gates_in_double),          cmocka_unit_test(test_spectrum_in_double),
        cmocka_unit_test(test_ablate_in_double),         cmocka_unit_test(test_gradflow_in_double),
        cmocka_unit_test(test_float_agrees_with_double),
    };
    return cmocka_run_group_tests_name("audit", tests, NULL, NULL);
}
