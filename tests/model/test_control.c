/* Controls: their names, what configurations say of them, and that the model computes by them, forward and backward. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "deltascope/gradient.h"

#include "support.h"
#include "toy.h"

static const char *const names[] = {"delta",      "closed:attn",    "closed:mlp",     "closed:all",
                                    "write-only", "fixed-gate:0.7", "fixed-gate:0.0", "erase-only"};
static const char *const variants[] = {"additive", "ddl-scalar", "ddl-tc", "ddl-tc-ec", "ddl-cc", "ddl-cc-ec"};
enum { NAMES = sizeof names / sizeof *names, VARIANTS = sizeof variants / sizeof *variants, TOKENS = 2 * 7 };

static bool fits(const ds_rule *rule, const char *name) {
    return ds_rule_has_gates(rule) || strcmp(name, "delta") == 0 || strncmp(name, "closed", 6) == 0;
}

/* ---- names and configurations ----------------------------------------------------------------------------------------- */

static void names_read_back(void **state) {
    (void)state;
    char name[48];
    for (size_t v = 0; v < VARIANTS; v++) {
        ds_spec spec = toy_spec(variants[v]);
        for (size_t i = 0; i < NAMES; i++) {
            if (!fits(spec.rule, names[i])) {
                expect_failure(ds_control_parse(spec.trained, spec.rule, names[i], "here"), DS_ERR_INPUT, "here: \"");
                continue;
            }
            expect_ok(ds_control_parse(spec.trained, spec.rule, names[i], "here"));
            assert_true(ds_spec_is_control(&spec) == (i > 0));
            assert_string_equal(ds_spec_rule_name(name, &spec), i > 0 ? names[i] : ds_rule_name(spec.rule));
        }
    }
}

static void other_names_are_refused(void **state) {
    (void)state;
    static const char *const others[] = {"",
                                         "deltas",
                                         "closed",
                                         "closed:",
                                         "fixed-gate",
                                         "fixed-gate:",
                                         "fixed-gate:inf",
                                         "fixed-gate:0x1",
                                         "fixed-gate: 1",
                                         "fixed-gate:1e999",
                                         "fixed-gate:1,5",
                                         "write-only "};
    ds_spec spec = toy_spec("ddl-scalar");
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        expect_failure(ds_control_parse(spec.trained, spec.rule, others[i], "here"), DS_ERR_INPUT, "is no rule, expected");
}

#define OWN ", \"model_type\": \"deltascope\""
#define RULE(name) ", \"deltascope_rule\": " name

static void configurations_tell_controls(void **state) {
    (void)state;
    static const struct {
        const char *keys, *words; /* words NULL: accepted */
    } cases[] = {
        {"", NULL},
        {OWN RULE("\"write-only\""), NULL},
        {OWN RULE("\"delta\"") ", \"deltascope_backbone\": \"ddl\"", NULL},
        {RULE("\"write-only\""), "deltascope_rule is given, but model_type is not \"deltascope\""},
        {", \"model_type\": \"nanogpt-pro\"" RULE("\"write-only\""), "deltascope_rule is given, but model_type is not"},
        {", \"deltascope_backbone\": \"ddl\"", "deltascope_backbone is given, but model_type"},
        {OWN, "needs deltascope_rule, the name of a rule: found none"},
        {OWN RULE("3"), "found no string"},
        {OWN RULE("\"half-open\""), "\"half-open\" is no rule"},
        {OWN RULE("\"delta\"") ", \"deltascope_backbone\": \"bert\"", "unsupported deltascope_backbone"},
        {OWN RULE("\"delta\"") ", \"num_key_value_heads\": 2, \"deltascope_backbone\": \"qwen3\"",
         "missing tensor model.embed_tokens.weight"},
        {OWN RULE("\"delta\"") ", \"deltascope_backbone\": 1", "unsupported deltascope_backbone"},
    };
    ds_spec spec = toy_spec("ddl-scalar"), found;
    toy_checkpoint toy;
    toy_make(&toy, &spec, DS_F32, 3);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ds_checkpoint *checkpoint = toy_open(&toy, NULL, cases[i].keys);
        if (cases[i].words != NULL)
            expect_failure(ds_spec_detect(&found, checkpoint), DS_ERR_INPUT, cases[i].words);
        else
            expect_ok(ds_spec_detect(&found, checkpoint));
        if (cases[i].words == NULL) assert_true(ds_spec_is_control(&found) == (i == 1));
        ds_checkpoint_close(&checkpoint);
    }
    toy_release(&toy);
}

/* ---- what is computed ------------------------------------------------------------------------------------------------- */

/* A model with high-entropy weights and a batch for it. */
typedef struct control_case {
    ds_model *model;
    uint32_t tokens[TOKENS], targets[TOKENS];
    ds_batch batch;
    double nll[TOKENS];
} control_case;

static void open_case(control_case *c, const char *variant, ds_random *random) {
    ds_spec spec = toy_spec(variant);
    spec.k_shift = ds_random_below(random, 2) == 1;
    spec.value_constant = spec.rule == toy_spec("ddl-scalar").rule && ds_random_below(random, 4) == 0;
    spec.value_constant_value = 1.7;
    spec.gate_two_layer = spec.rule == toy_spec("ddl-scalar").rule && ds_random_below(random, 2) == 1;
    spec.gate_hidden = spec.gate_two_layer ? 5 : 0;
    expect_ok(ds_model_random(&c->model, &spec, DS_F64, ds_random_u64(random)));
    for (size_t i = 0; i < ds_model_parameters(c->model); i++) {
        const ds_parameter *p = ds_model_parameter(c->model, i);
        double *values = p->values;
        for (size_t n = 0; n < p->count; n++) values[n] += 0.3 * ds_random_normal(random);
    }
    ds_model_refresh(c->model);
    for (size_t t = 0; t < TOKENS; t++) {
        c->tokens[t] = (uint32_t)ds_random_below(random, spec.vocab);
        c->targets[t] = (uint32_t)ds_random_below(random, spec.vocab);
    }
    c->batch = (ds_batch){c->tokens, c->targets, 2, TOKENS / 2};
}

static double loss_of(control_case *c, const ds_force *forces) {
    ds_workspace *workspace = NULL;
    double sum = 0;
    expect_ok(ds_workspace_new(&workspace, c->model, c->batch.sequences, c->batch.length));
    expect_ok(ds_forward(workspace, c->model, &c->batch, forces, NULL, c->nll));
    for (size_t t = 0; t < TOKENS; t++) sum += c->nll[t];
    ds_workspace_free(&workspace);
    return sum / TOKENS;
}

/* A control computes what the plain model computes under the same forces, bit for bit. */
static void controls_are_forces_always(void **state) {
    (void)state;
    ds_random random = ds_random_init(0xc047);
    for (size_t v = 0; v < VARIANTS; v++) {
        control_case c;
        open_case(&c, variants[v], &random);
        const ds_spec *spec = ds_model_spec(c.model);
        double plain = loss_of(&c, NULL);
        for (size_t i = 0; i < NAMES; i++) {
            ds_force trained[2], forces[4];
            const ds_force none[2] = {{DS_FORCE_NONE, 0}, {DS_FORCE_NONE, 0}};
            if (!fits(spec->rule, names[i])) continue;
            expect_ok(ds_control_parse(trained, spec->rule, names[i], "here"));
            for (size_t s = 0; s < 4; s++) forces[s] = trained[s % 2];
            double forced = loss_of(&c, forces);
            ds_model_set_control(c.model, trained);
            double control = loss_of(&c, NULL);
            assert_memory_equal(&forced, &control, sizeof control);
            assert_true(i == 0 || control < plain || control > plain);
            for (size_t s = 0; s < 4; s++) forces[s] = (ds_force){DS_FORCE_CLOSED, 0};
            double closed = loss_of(&c, forces); /* a force comes on top */
            ds_model_set_control(c.model, none);
            assert_true(!(closed < loss_of(&c, forces) || closed > loss_of(&c, forces)));
        }
        ds_model_free(&c.model);
    }
}

/* What is left out stays left out; a forced gate wins over a fixed one. */
static void forces_come_on_top(void **state) {
    (void)state;
    ds_spec spec = toy_spec("ddl-cc");
    const ds_force write_only = {DS_FORCE_WRITE_ONLY, 0}, erase_only = {DS_FORCE_ERASE_ONLY, 0};
    expect_ok(ds_control_parse(spec.trained, spec.rule, "write-only", "here"));
    assert_true(ds_sublayer_is_identity(&spec, 1, erase_only));
    assert_false(ds_sublayer_is_identity(&spec, 1, write_only));
    assert_false(ds_sublayer_is_identity(&spec, 1, (ds_force){DS_FORCE_GATE, 1}));
    assert_false(ds_spec_has_operators(&spec));
    expect_ok(ds_control_parse(spec.trained, spec.rule, "closed:mlp", "here"));
    assert_true(ds_sublayer_is_identity(&spec, 1, (ds_force){DS_FORCE_NONE, 0}));
    assert_true(ds_sublayer_is_identity(&spec, 1, write_only));
    assert_false(ds_sublayer_is_identity(&spec, 1, (ds_force){DS_FORCE_GATE, 1}));
    assert_false(ds_sublayer_is_identity(&spec, 0, (ds_force){DS_FORCE_NONE, 0}));
    assert_true(ds_spec_has_operators(&spec));
}

/* ---- derivatives ------------------------------------------------------------------------------------------------------ */

/* Mean loss with `step` times `direction` added to one parameter. */
static double moved_loss(control_case *c, const ds_parameter *p, const double *direction, double step) {
    double *values = p->values, *kept = malloc(p->count * sizeof *kept);
    assert_non_null(kept);
    memcpy(kept, values, p->count * sizeof *kept);
    for (size_t n = 0; n < p->count; n++) values[n] += step * direction[n];
    ds_model_refresh(c->model);
    double loss = loss_of(c, NULL);
    memcpy(values, kept, p->count * sizeof *kept);
    ds_model_refresh(c->model);
    free(kept);
    return loss;
}

static double difference(control_case *c, const ds_parameter *p, const double *direction, double h) {
    return (moved_loss(c, p, direction, h) - moved_loss(c, p, direction, -h)) / (2 * h);
}

/* Along one random direction of a parameter. Two central differences with steps h and h/2 tell their own error: that of the
 * extrapolated one is below their distance, but for the rounding of losses of order 3, a few hundred u over h. */
static void expect_derivative(control_case *c, const ds_parameter *p, const double *gradient, ds_random *random) {
    const double h = 0x1p-10;
    double *direction = malloc(p->count * sizeof *direction), found = 0;
    assert_non_null(direction);
    for (size_t n = 0; n < p->count; n++) {
        direction[n] = ds_random_normal(random) / sqrt((double)p->count);
        found += gradient[n] * direction[n];
    }
    double coarse = difference(c, p, direction, h), fine = difference(c, p, direction, h / 2);
    expect_close(found, fine + (fine - coarse) / 3, fabs(fine - coarse) + 300 * 0x1p-53 / h);
    free(direction);
}

/* The loss changes along what is reached as the gradient says; what is not reached does not change it, and has no gradient. */
static void gradients_are_those_of_the_control(void **state) {
    (void)state;
    const uint64_t seed = 0xd1ff;
    ds_random random = ds_random_init(seed);
    (void)printf("seed %llu\n", (unsigned long long)seed);
    for (size_t v = 0; v < VARIANTS; v++) {
        for (size_t i = 0; i < NAMES; i++) {
            control_case c;
            ds_gradient *gradient = NULL;
            ds_force trained[2];
            bool reached[TOY_MOST_TENSORS];
            const ds_gradient_options options = {.parameters = true};
            open_case(&c, variants[v], &random);
            if (fits(ds_model_spec(c.model)->rule, names[i])) {
                expect_ok(ds_control_parse(trained, ds_model_spec(c.model)->rule, names[i], "here"));
                ds_model_set_control(c.model, trained);
                expect_ok(ds_gradient_new(&gradient, c.model, c.batch.sequences, c.batch.length, &options));
                expect_ok(ds_backward(gradient, &c.batch, NULL, 1.0 / TOKENS, NULL, c.nll));
                ds_model_reached(reached, c.model, c.batch.length);
                double loss = loss_of(&c, NULL);
                for (size_t n = 0; n < ds_model_parameters(c.model); n++) {
                    const ds_parameter *p = ds_model_parameter(c.model, n);
                    const double *g = ds_gradient_parameter(gradient, n);
                    if (reached[n]) {
                        expect_derivative(&c, p, g, &random);
                        continue;
                    }
                    double away = moved_loss(&c, p, p->values, 2.5);
                    assert_memory_equal(&away, &loss, sizeof loss);
                    for (size_t e = 0; e < p->count; e++) expect_close(g[e], 0, 0);
                }
                ds_gradient_free(&gradient);
            }
            ds_model_free(&c.model);
        }
    }
}

/* One token is not shifted: what would shift it has no part in the loss. */
static void single_tokens_have_no_shift(void **state) {
    (void)state;
    ds_spec spec = toy_spec("additive");
    ds_model *model = NULL;
    bool reached[TOY_MOST_TENSORS];
    spec.k_shift = spec.v_shift = true;
    expect_ok(ds_model_random(&model, &spec, DS_F32, 1));
    for (size_t length = 1; length <= 2; length++) {
        size_t left = 0;
        ds_model_reached(reached, model, length);
        for (size_t i = 0; i < ds_model_parameters(model); i++) {
            assert_true(reached[i] || strstr(ds_model_parameter(model, i)->name, "shift_proj") != NULL);
            left += !reached[i];
        }
        assert_int_equal(left, length == 1 ? 2 * spec.layers : 0);
    }
    ds_model_free(&model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_read_back),
        cmocka_unit_test(other_names_are_refused),
        cmocka_unit_test(configurations_tell_controls),
        cmocka_unit_test(controls_are_forces_always),
        cmocka_unit_test(forces_come_on_top),
        cmocka_unit_test(gradients_are_those_of_the_control),
        cmocka_unit_test(single_tokens_have_no_shift),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
