/* Weights at initialisation: the distributions of both generations, tensor by tensor, and that an element depends on seed, name
 * and index alone. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "deltascope/num.h"
#include "support.h"
#include "toy.h"

static const char *const variants[] = {"additive", "ddl-scalar", "ddl-tc", "ddl-tc-ec", "ddl-cc", "ddl-cc-ec"};
enum { VARIANTS = sizeof variants / sizeof *variants };

/* Large enough for moments; every option that has weights. */
static ds_spec wide_spec(const char *variant, bool newer) {
    ds_spec spec = toy_spec(variant);
    spec.vocab = 97;
    spec.layers = 3;
    spec.depth_init = 3;
    spec.hidden = 48;
    spec.heads = 3;
    spec.head_dim = spec.rotary_dim = 10;
    spec.mlp_hidden = 128;
    spec.k_shift = spec.output_gate = true;
    spec.embedding_init_std = 0.031;
    spec.hidden_init_std_factor = 0.45;
    spec.gate_init = 0.8;
    spec.newer_names = newer;
    return spec;
}

static bool ends(const char *name, const char *ending) {
    size_t length = strlen(name), most = strlen(ending);
    return length >= most && strcmp(name + length - most, ending) == 0;
}

/* What TRAINING.md's table says of a tensor, by its older name. */
typedef struct expectation {
    enum { NORMAL, UNIFORM, CONSTANT, LAST } kind;
    double size; /* standard deviation, half width, value */
} expectation;

static expectation expected_of(const ds_parameter *p, const ds_spec *spec, bool newer) {
    const char *name = p->older_name;
    double f = spec->hidden_init_std_factor, d = (double)spec->hidden, dv = (double)spec->value_channels;
    double L = (double)spec->layers, h = 30, mlp = 128, g = 7;
    if (strcmp(name, "transformer.wte.weight") == 0) return (expectation){NORMAL, spec->embedding_init_std};
    if (strcmp(name, "input_embed.conv.weight") == 0) return (expectation){LAST, 1};
    if (ends(name, "beta.bias") || ends(name, "beta_out.bias")) return (expectation){CONSTANT, log(0.4 / 0.6)};
    if (ends(name, "v_proj.bias")) return (expectation){UNIFORM, 1 / sqrt(d)};
    if (ends(name, ".read")) return (expectation){CONSTANT, 1 / dv};
    if (p->rank == 1) return (expectation){CONSTANT, 1};
    if (strstr(name, "compress.") != NULL || strstr(name, "readout.") != NULL) {
        if (newer) return (expectation){CONSTANT, 1 / (double)spec->state_kernel};
        return (expectation){NORMAL, f / sqrt(d)};
    }
    if (!newer) return (expectation){NORMAL, ends(name, "c_proj.weight") ? f / sqrt(d) / sqrt(L) : f / sqrt(d)};
    if (ends(name, "attn.c_proj.weight")) return (expectation){NORMAL, f / sqrt(h) / L};
    if (ends(name, "mlp.c_proj.weight")) return (expectation){NORMAL, f / sqrt(mlp) * sqrt(d / mlp) / L};
    if (ends(name, "beta.weight")) return (expectation){NORMAL, f / d};
    if (ends(name, "beta_in.weight")) return (expectation){NORMAL, f / sqrt(d) * sqrt(g / d)};
    if (ends(name, "beta_out.weight")) return (expectation){NORMAL, f / g};
    if (ends(name, "v_proj.weight")) return (expectation){NORMAL, f * sqrt(dv) / d};
    if (ends(name, "shift_proj.weight")) return (expectation){NORMAL, f / sqrt(d) * sqrt(3 / d)};
    if (strstr(name, ".attn.") != NULL) return (expectation){NORMAL, f / sqrt(d) * sqrt(h / d)};
    return (expectation){NORMAL, f / sqrt(d)}; /* the MLP's two: wider than their fan-in */
}

/* Mean and mean square within five standard errors of theirs: sd sqrt(1/n), and sd^2 sqrt((kurtosis - 1)/n) with kurtosis 3 for
 * a normal and 9/5 for a uniform distribution. */
static void expect_moments(const ds_parameter *p, double deviation, double kurtosis) {
    const double *values = p->values, n = (double)p->count;
    double sum = 0, squares = 0;
    for (size_t i = 0; i < p->count; i++) {
        sum += values[i];
        squares += values[i] * values[i];
    }
    if (!(fabs(sum / n) <= 5 * deviation / sqrt(n)) ||
        !(fabs(squares / n - deviation * deviation) <= 5 * deviation * deviation * sqrt((kurtosis - 1) / n)))
        fail_msg("%s: mean %g, deviation %g of %zu numbers, expected 0 and %g", p->name, sum / n, sqrt(squares / n), p->count,
                 deviation);
}

static void expect_distribution(const ds_parameter *p, const ds_spec *spec, bool newer) {
    expectation e = expected_of(p, spec, newer);
    const double *values = p->values;
    for (size_t i = 0; i < p->count; i++) {
        if (e.kind == CONSTANT) expect_close(values[i], e.size, 4 * 0x1p-53 * fabs(e.size));
        if (e.kind == LAST) expect_close(values[i], i % spec->input_kernel == spec->input_kernel - 1 ? 1 : 0, 0);
        if (e.kind == UNIFORM) assert_true(fabs(values[i]) <= e.size);
    }
    if (e.kind == NORMAL) expect_moments(p, e.size, 3);
    if (e.kind == UNIFORM) expect_moments(p, e.size / sqrt(3), 1.8);
}

static void tensors_are_distributed_as_published(void **state) {
    (void)state;
    for (size_t v = 0; v < VARIANTS; v++) {
        for (int turn = 0; turn < 4; turn++) {
            bool newer = turn % 2 == 1;
            ds_spec spec = wide_spec(variants[v], newer);
            ds_model *model = NULL;
            spec.gate_two_layer = turn >= 2 && v > 0;
            spec.gate_hidden = spec.gate_two_layer ? 7 : 0;
            expect_ok(ds_model_initial(&model, &spec, DS_F64, newer ? DS_INIT_NEWER : DS_INIT_OLDER, 11 + v));
            for (size_t i = 0; i < ds_model_parameters(model); i++)
                expect_distribution(ds_model_parameter(model, i), &spec, newer);
            ds_model_free(&model);
        }
    }
}

static const ds_parameter *find(const ds_model *model, const char *name) {
    for (size_t i = 0; i < ds_model_parameters(model); i++)
        if (strcmp(ds_model_parameter(model, i)->older_name, name) == 0) return ds_model_parameter(model, i);
    return NULL;
}

static ds_model *initial(const char *variant, ds_precision precision, uint64_t seed) {
    ds_model *model = NULL;
    ds_spec spec = wide_spec(variant, false);
    expect_ok(ds_model_initial(&model, &spec, precision, DS_INIT_OLDER, seed));
    return model;
}

/* Whatever else a variant owns, and however many threads draw. */
static void variants_share_what_they_share(void **state) {
    (void)state;
    size_t shared = 0;
    ds_model *first = initial("ddl-tc-ec", DS_F64, 5);
    for (size_t v = 0; v < VARIANTS; v++) {
        expect_ok(ds_threads_set(1 + v));
        ds_model *other = initial(variants[v], DS_F64, 5);
        for (size_t i = 0; i < ds_model_parameters(first); i++) {
            const ds_parameter *a = ds_model_parameter(first, i), *b = find(other, a->older_name);
            if (b == NULL || b->count != a->count) continue;
            assert_memory_equal(a->values, b->values, a->count * sizeof(double));
            shared++;
        }
        ds_model_free(&other);
    }
    expect_ok(ds_threads_set(0));
    assert_true(shared > 200);
    ds_model_free(&first);
}

/* Another seed, another tensor: other numbers. Correlations of independent ones are within five of their standard errors. */
static void seeds_and_names_draw_apart(void **state) {
    (void)state;
    ds_model *first = initial("ddl-scalar", DS_F64, 5), *second = initial("ddl-scalar", DS_F64, 6);
    const ds_parameter *a = find(first, "transformer.h.0.mlp.c_fc1.weight");
    const ds_parameter *others[] = {find(second, "transformer.h.0.mlp.c_fc1.weight"),
                                    find(first, "transformer.h.1.mlp.c_fc1.weight"),
                                    find(first, "transformer.h.0.mlp.c_fc2.weight")};
    for (size_t o = 0; o < sizeof others / sizeof *others; o++) {
        double product = ds_dot_f64(a->values, others[o]->values, a->count);
        double sizes = ds_dot_f64(a->values, a->values, a->count) * ds_dot_f64(others[o]->values, others[o]->values, a->count);
        assert_true(fabs(product) <= 5 * sqrt(sizes / (double)a->count));
    }
    ds_model_free(&first);
    ds_model_free(&second);
}

static void float_is_double_rounded(void **state) {
    (void)state;
    ds_model *exact = initial("ddl-cc-ec", DS_F64, 5), *single = initial("ddl-cc-ec", DS_F32, 5);
    for (size_t i = 0; i < ds_model_parameters(exact); i++) {
        const ds_parameter *a = ds_model_parameter(exact, i), *b = ds_model_parameter(single, i);
        for (size_t n = 0; n < a->count; n++)
            expect_close((double)((const float *)b->values)[n], (double)(float)((const double *)a->values)[n], 0);
    }
    ds_model_free(&exact);
    ds_model_free(&single);
}

/* ---- configurations alone --------------------------------------------------------------------------------------------- */

static ds_status read_spec(ds_spec *spec, const char *text, const char *variant) {
    json_t *config = NULL;
    expect_ok(ds_json_parse(&config, text, strlen(text), "c.json"));
    ds_status status = ds_spec_from_config(spec, config, "c.json", variant, true);
    json_decref(config);
    return status;
}

static void configurations_give_specifications(void **state) {
    (void)state;
    ds_spec spec;
    static const char common[] = "{\"hidden_size\": 30, \"num_hidden_layers\": 6, \"head_dim\": 8";
    char text[512];
    for (size_t v = 0; v < VARIANTS; v++) {
        (void)snprintf(text, sizeof text, "%s}", common);
        expect_ok(read_spec(&spec, text, variants[v]));
        assert_string_equal(ds_spec_variant(&spec), variants[v]);
        assert_int_equal(spec.mlp_hidden, 80);
        assert_int_equal(spec.value_channels, v < 2 ? 1 : 4);
        (void)snprintf(text, sizeof text, "%s, \"intermediate_size\": %zu}", common, 11 + v);
        expect_ok(read_spec(&spec, text, variants[v]));
        assert_int_equal(spec.mlp_hidden, 11 + v);
        assert_int_equal(spec.depth_init, 6);
        assert_true(isnan(spec.read_init) && spec.newer_names);
    }
    (void)snprintf(text, sizeof text,
                   "%s, \"parameterization\": \"completeP\", \"num_hidden_layers_base\": 3, \"ddl_state_read_init\": 0.7}",
                   common);
    expect_ok(read_spec(&spec, text, "ddl-tc"));
    assert_int_equal(spec.depth_init, 3);
    expect_close(spec.read_init, 0.7, 0);
    ds_model *model = NULL;
    spec.vocab = 5;
    expect_ok(ds_model_initial(&model, &spec, DS_F64, DS_INIT_NEWER, 1));
    expect_close(*(const double *)find(model, "readout.read")->values, 0.7, 0);
    ds_model_free(&model);
    (void)snprintf(text, sizeof text, "%s, \"ddl_value_channels\": 1}", common);
    expect_failure(read_spec(&spec, text, "ddl-cc"), DS_ERR_INPUT,
                   "c.json: ddl_value_channels is 1, but ddl-cc has an expanded");
    (void)snprintf(text, sizeof text, "%s, \"ddl_value_channels\": 4}", common);
    expect_failure(read_spec(&spec, text, "ddl-scalar"), DS_ERR_INPUT, "a scalar state: expected 1");
    static const char *const widths[] = {"0", "-3", "2.5", "\"80\"", "1e3", "99999999999"};
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
        (void)snprintf(text, sizeof text, "%s, \"intermediate_size\": %s}", common, widths[i]);
        expect_failure(read_spec(&spec, text, "additive"), DS_ERR_INPUT, "expected a whole number from 1 to ");
    }
    static const char *const none[] = {"ddl", "ddl-", "ddl-tc-", "ddl-cc-ec-", "delta", "", "ddl-tcec"};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        expect_failure(read_spec(&spec, "{}", none[i]), DS_ERR_USAGE, "no variant is called");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tensors_are_distributed_as_published), cmocka_unit_test(variants_share_what_they_share),
        cmocka_unit_test(seeds_and_names_draw_apart),           cmocka_unit_test(float_is_double_rounded),
        cmocka_unit_test(configurations_give_specifications),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
