/* Residual rules and backbones: their tables are complete and agree with each other; updates through the interface do what
 * plain loops do. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/backbone.h"
#include "model/rule_delta.h"
#include "support.h"
#include "toy.h"

/* ---- the tables -------------------------------------------------------------------------------------------------------- */

static void interventions_have_one_meaning_each(void **state) {
    (void)state;
    for (size_t r = 0; r < ds_rule_count(); r++) {
        const ds_rule *rule = ds_rule_at(r);
        size_t count, other_count;
        const ds_intervention *all = ds_rule_interventions(rule, &count);
        assert_true(strlen(ds_rule_name(rule)) > 0 && strlen(ds_rule_title(rule)) > 0 && strlen(ds_rule_limits(rule)) > 0);
        assert_true(count > 0 && all[0].force.mode == DS_FORCE_CLOSED);
        for (size_t i = 0; i < count; i++) {
            assert_true(all[i].scopes != 0 && (all[i].scopes & ~(unsigned)DS_SCOPE_ANY) == 0);
            assert_true(strlen(all[i].help) > 0 && strcspn(all[i].name, ",: \"") == strlen(all[i].name));
            expect_ok(rule->check_force(all[i].force, i));
            for (size_t j = 0; j < i; j++) assert_string_not_equal(all[i].name, all[j].name);
        }
        for (size_t other = 0; other < r; other++) {
            const ds_intervention *theirs = ds_rule_interventions(ds_rule_at(other), &other_count);
            assert_string_not_equal(ds_rule_name(rule), ds_rule_name(ds_rule_at(other)));
            for (size_t i = 0; i < count; i++) {
                for (size_t j = 0; j < other_count; j++) {
                    if (strcmp(all[i].name, theirs[j].name) == 0) assert_int_equal(all[i].force.mode, theirs[j].force.mode);
                }
            }
        }
    }
}

static void unknown_modes_are_refused(void **state) {
    (void)state;
    for (size_t r = 0; r < ds_rule_count(); r++)
        expect_failure(ds_rule_at(r)->check_force((ds_force){1000, 0}, 2), DS_ERR_USAGE, "sublayer 1.attn");
    expect_failure(ds_rule_delta.check_force((ds_force){DS_FORCE_GATE, NAN}, 1), DS_ERR_USAGE,
                   "the gate of sublayer 0.mlp cannot be fixed at nan");
}

/* What leaves the state as it is: both ways of saying that a gate is 0, nothing else. */
static void identities_are_known(void **state) {
    const ds_force none = {.mode = DS_FORCE_NONE};
    (void)state;
    for (size_t r = 0; r < ds_rule_count(); r++) {
        bool mixes = ds_rule_at(r)->kind == DS_KIND_STREAMS; /* without an output as well */
        assert_true(ds_rule_at(r)->is_identity(none, (ds_force){mixes ? DS_FORCE_BYPASS : DS_FORCE_CLOSED, 0}));
        assert_int_equal(ds_rule_at(r)->is_identity(none, (ds_force){DS_FORCE_CLOSED, 0}), !mixes);
        assert_false(ds_rule_at(r)->is_identity(none, (ds_force){DS_FORCE_NONE, 0}));
    }
    assert_true(ds_rule_delta.is_identity(none, (ds_force){DS_FORCE_GATE, 0}));
    assert_false(ds_rule_delta.is_identity(none, (ds_force){DS_FORCE_GATE, 0x1p-1074}));
    assert_false(ds_rule_delta.is_identity(none, (ds_force){DS_FORCE_WRITE_ONLY, 0}));
    assert_false(ds_rule_delta.is_identity(none, (ds_force){DS_FORCE_ERASE_ONLY, 0}));
}

static void expect_complete_steps(const ds_rule *rule, const ds_rule_steps *s) {
    assert_true(s->embed_forward != NULL && s->embed_backward != NULL);
    assert_true(s->readout_forward != NULL && s->readout_backward != NULL);
    assert_true(s->read_forward != NULL && s->read_backward != NULL && s->read_tangent != NULL);
    assert_true(s->write_forward != NULL && s->write_backward != NULL && s->write_tangent != NULL);
    assert_true((s->token_jacobian == NULL) == rule->keeps_history); /* which maps no state to another */
    assert_true((s->read_sums != NULL) == (s->read_parameters != NULL));
    /* coefficients that are computed have derivatives, and a way to what they are computed from, or to the state itself */
    bool coefficients = s->coefficients_forward != NULL, of_state = s->state_coefficients_backward != NULL;
    assert_true(coefficients == (s->coefficients_tangent != NULL));
    assert_true((coefficients || of_state) == (s->coefficient_parameters != NULL));
    assert_true(coefficients == (s->context_backward != NULL || s->input_backward != NULL));
}

static void tables_are_complete(void **state) {
    (void)state;
    for (size_t r = 0; r < ds_rule_count(); r++) {
        const ds_rule *rule = ds_rule_at(r);
        assert_true(rule->planes != NULL && rule->flops != NULL && rule->check_force != NULL && rule->is_identity != NULL);
        assert_true(rule->reads_in_place != NULL);
        assert_true(rule->observe == NULL || rule->observe_gradient != NULL || rule->kind == DS_KIND_STREAMS);
        for (size_t p = 0; p < 2; p++) expect_complete_steps(rule, rule->steps[p]);
        /* both precisions have the same functions */
        const ds_rule_steps *wide = rule->steps[DS_F64], *narrow = rule->steps[DS_F32];
        assert_true((wide->coefficients_forward == NULL) == (narrow->coefficients_forward == NULL));
        assert_true((wide->shortcut_backward == NULL) == (narrow->shortcut_backward == NULL));
        assert_true((rule->partial_count != NULL) == (wide->coefficients_forward != NULL || wide->read_sums != NULL));
        for (size_t i = 0; i < rule->sublayer.count; i++) {
            assert_true(rule->sublayer.rows[i].slot < sizeof((ds_layer_weights *)0)->rule[0]);
            for (size_t j = 0; j < i; j++) assert_int_not_equal(rule->sublayer.rows[i].slot, rule->sublayer.rows[j].slot);
        }
        for (size_t half = 0; half < 2; half++) assert_true((rule->prefixes[half] != NULL) == (rule->sublayer.count > 0));
    }
    for (size_t p = 0; p < 2; p++) {
        const ds_backbone_steps *s = ds_backbone_ddl.steps[p];
        assert_true(s->norm_forward != NULL && s->norm_backward != NULL && s->norm_tangent != NULL);
        assert_true(s->transform_forward != NULL && s->transform_backward != NULL && s->transform_tangent != NULL);
        assert_true(s->mlp_forward != NULL && s->mlp_backward != NULL && s->mlp_tangent != NULL);
        assert_true(s->mlp_parameters != NULL && s->mlp_directions != NULL);
    }
}

static void an_additive_model_can_only_be_closed(void **state) {
    (void)state;
    size_t count;
    const ds_intervention *all = ds_rule_interventions(&ds_rule_delta, &count);
    const ds_spec spec = toy_spec("additive");
    ds_model *model;
    ds_workspace *workspace;
    ds_force forces[4] = {{DS_FORCE_NONE, 0}};
    const uint32_t tokens[] = {3, 1, 4, 1, 5};
    const ds_batch batch = {tokens, tokens, 1, 5};
    double x[5 * 10];
    expect_ok(ds_model_random(&model, &spec, DS_F64, 5));
    expect_ok(ds_workspace_new(&workspace, model, 1, 5));
    expect_ok(ds_embed(workspace, model, &batch, x));
    for (size_t i = 0; i < count; i++) {
        forces[1] = all[i].force;
        if (all[i].force.mode == DS_FORCE_CLOSED)
            expect_ok(ds_sublayers(workspace, model, &batch, x, 0, 4, forces, NULL));
        else
            expect_failure(ds_sublayers(workspace, model, &batch, x, 0, 4, forces, NULL), DS_ERR_USAGE,
                           "sublayer 0.mlp of an additive model has no gate");
    }
    ds_workspace_free(&workspace);
    ds_model_free(&model);
}

/* ---- updates ------------------------------------------------------------------------------------------------------------- */

enum { TOKENS = 7 };

/* One sublayer's write, through the interface, of random numbers. */
typedef struct write_case {
    ds_spec spec;
    ds_model *model;
    ds_workspace *workspace;
    ds_batch batch;
    ds_pass pass;
    double *before, *after; /* (T,planes,d) */
    double *h;              /* (T,d) */
} write_case;

static double *random_numbers(size_t count, ds_random *random) {
    double *x = malloc(count * sizeof *x);
    assert_non_null(x);
    for (size_t i = 0; i < count; i++) x[i] = ds_random_normal(random);
    return x;
}

/* `forces` has an entry for each of the model's four sublayers; the second is written. */
static void write_open(write_case *c, const char *variant, const ds_force *forces, unsigned wants, ds_random *random) {
    *c = (write_case){.spec = toy_spec(variant), .batch = {.sequences = 1, .length = TOKENS}};
    c->spec.residual_mult = 0.75;
    expect_ok(ds_model_random(&c->model, &c->spec, DS_F64, 1));
    expect_ok(ds_workspace_new(&c->workspace, c->model, 1, TOKENS));
    size_t count = TOKENS * ds_spec_planes(&c->spec) * c->spec.hidden;
    c->before = random_numbers(count, random);
    c->after = malloc(count * sizeof *c->after);
    assert_non_null(c->after);
    memcpy(c->after, c->before, count * sizeof *c->after);
    c->h = random_numbers(TOKENS * c->spec.hidden, random);
    expect_ok(ds_pass_begin(&c->pass, c->workspace, c->model, &c->batch));
    c->pass.state = c->after;
    c->pass.sublayer = 1;
    c->pass.forces = forces;
    c->pass.wants = wants;
}

/* Overwrites h. */
static size_t write_run(write_case *c) {
    return c->spec.rule->steps[DS_F64]->write_forward(&c->pass, ds_tile_of(&c->pass, 0), c->h);
}

static void write_close(write_case *c) {
    free(c->before), free(c->after), free(c->h);
    ds_workspace_free(&c->workspace);
    ds_model_free(&c->model);
}

/* X + m beta k (w v - e k^T X), k = h / sqrt(|h|^2 + eps^2): three roundings of the edit, one of the sum, and d of each inner
 * product. */
static void expect_delta_update(const write_case *c, const double *h, double write, double erase) {
    const ds_delta_workspace *own = c->workspace->rule;
    size_t d = c->spec.hidden, dv = c->spec.value_channels;
    for (size_t t = 0; t < TOKENS; t++) {
        double squares = c->spec.k_eps * c->spec.k_eps, beta = own->beta[t];
        for (size_t i = 0; i < d; i++) squares += h[t * d + i] * h[t * d + i];
        for (size_t j = 0; j < dv; j++) {
            const double *x = c->before + (t * dv + j) * d;
            double read = 0, size = fabs(own->target[t * dv + j]);
            for (size_t i = 0; i < d; i++) read += h[t * d + i] / sqrt(squares) * x[i];
            for (size_t i = 0; i < d; i++) size += fabs(x[i]);
            for (size_t i = 0; i < d; i++) {
                double edit = c->spec.residual_mult * beta * (write * own->target[t * dv + j] - erase * read);
                double expected = x[i] + edit * (h[t * d + i] / sqrt(squares));
                expect_close(c->after[(t * dv + j) * d + i], expected, 2 * ((double)d + 8) * 0x1p-53 * (1 + beta) * size);
            }
        }
    }
}

static void delta_updates_as_plain_loops_do(void **state) {
    (void)state;
    const struct {
        ds_force force;
        double write, erase;
    } cases[] = {{{DS_FORCE_NONE, 0}, 1, 1},       {{DS_FORCE_GATE, 1.3}, 1, 1},     {{DS_FORCE_GATE, 2}, 1, 1},
                 {{DS_FORCE_WRITE_ONLY, 0}, 1, 0}, {{DS_FORCE_ERASE_ONLY, 0}, 0, 1}, {{DS_FORCE_CLOSED, 0}, 0, 0}};
    const char *const variants[] = {"ddl-scalar", "ddl-tc", "ddl-cc-ec"};
    ds_random random = ds_random_init(20);
    for (size_t i = 0; i < 2 * 3 * sizeof cases / sizeof cases[0]; i++) {
        size_t k = i / 6;
        ds_force forces[4] = {{DS_FORCE_NONE, 0}, cases[k].force};
        write_case c;
        write_open(&c, variants[i % 3], forces, i % 2 == 0 ? DS_OBSERVE_GATES : 0, &random);
        ds_delta_workspace *own = c.workspace->rule;
        ds_delta_form form = ds_delta_form_of((ds_force){.mode = DS_FORCE_NONE}, cases[k].force);
        for (size_t t = 0; t < TOKENS; t++) own->beta[t] = form.learned ? 2 * ds_random_uniform(&random) : form.beta;
        for (size_t j = 0; j < TOKENS * c.spec.value_channels; j++) own->target[j] = 4 * ds_random_uniform(&random);
        double h[TOKENS * 10];
        memcpy(h, c.h, sizeof h);
        assert_int_equal(write_run(&c), TOKENS);
        expect_delta_update(&c, h, cases[k].write, cases[k].erase);
        write_close(&c);
    }
}

static void additive_updates_as_plain_loops_do(void **state) {
    (void)state;
    ds_random random = ds_random_init(21);
    for (size_t i = 0; i < 4; i++) {
        ds_force forces[4] = {{DS_FORCE_NONE, 0}, {i < 2 ? DS_FORCE_NONE : DS_FORCE_CLOSED, 0}};
        write_case c;
        write_open(&c, "additive", forces, i % 2 == 0 ? DS_OBSERVE_GATES : 0, &random);
        assert_int_equal(write_run(&c), TOKENS);
        for (size_t j = 0; j < TOKENS * c.spec.hidden; j++) {
            double edit = i < 2 ? c.spec.residual_mult * c.h[j] : 0;
            expect_close(c.after[j], c.before[j] + edit, i < 2 ? 0x1p-52 * (fabs(c.before[j]) + fabs(edit)) : 0);
        }
        write_close(&c);
    }
}

/* The first row that is not finite is told, whatever comes after it. */
static void states_that_are_not_finite_are_told(void **state) {
    (void)state;
    const char *const variants[] = {"additive", "ddl-scalar", "ddl-cc"};
    ds_random random = ds_random_init(22);
    for (size_t i = 0; i < 6; i++) {
        write_case c;
        write_open(&c, variants[i % 3], NULL, i < 3 ? DS_OBSERVE_GATES : 0, &random);
        ds_delta_workspace *own = c.workspace->rule;
        for (size_t t = 0; own != NULL && t < TOKENS; t++) own->beta[t] = 1;
        for (size_t j = 0; own != NULL && j < TOKENS * c.spec.value_channels; j++) own->target[j] = 1;
        c.h[3 * c.spec.hidden + 2] = NAN;
        c.h[5 * c.spec.hidden] = INFINITY;
        assert_int_equal(write_run(&c), 3);
        write_close(&c);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(interventions_have_one_meaning_each),
        cmocka_unit_test(identities_are_known),
        cmocka_unit_test(unknown_modes_are_refused),
        cmocka_unit_test(tables_are_complete),
        cmocka_unit_test(an_additive_model_can_only_be_closed),
        cmocka_unit_test(delta_updates_as_plain_loops_do),
        cmocka_unit_test(additive_updates_as_plain_loops_do),
        cmocka_unit_test(states_that_are_not_finite_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
