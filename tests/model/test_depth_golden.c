/* Attention over depth as its reference code saves it, around Qwen3: golden values of an independent float64 implementation, of
 * the model as it is and with reads and outputs forced. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "deltascope/gradient.h"
#include "deltascope/run.h"

#include "scratch.h"
#include "support.h"

static const char *const models[] = {"attnres-full", "attnres-block", "attnres-cumulative-block", "delta-attnres",
                                     "delta-block"};
enum { MODELS = sizeof models / sizeof *models, TOKENS = 64 };

typedef struct golden_case {
    ds_model *model;
    const ds_spec *spec;
    ds_workspace *workspace;
    uint32_t ids[TOKENS + 1];
    ds_batch batch;
    ds_force *forces;
    json_t *golden;
} golden_case;

static void open_case(golden_case *c, const char *name) {
    ds_checkpoint *checkpoint;
    ds_tokens *tokens;
    char path[256];
    (void)snprintf(path, sizeof path, "fixtures/depth/%s.json", name);
    c->golden = json_load_file(path, 0, NULL);
    assert_non_null(c->golden);
    (void)snprintf(path, sizeof path, "fixtures/depth/%s", name);
    expect_ok(ds_checkpoint_open(&checkpoint, path, NULL));
    expect_ok(ds_model_load(&c->model, checkpoint, DS_F64));
    ds_checkpoint_close(&checkpoint);
    c->spec = ds_model_spec(c->model);
    expect_ok(ds_tokens_open(&tokens, "fixtures/data/val.bin", c->spec->vocab));
    expect_ok(ds_tokens_read(tokens, c->ids, 0, TOKENS + 1));
    ds_tokens_close(&tokens);
    c->batch = (ds_batch){c->ids, c->ids + 1, 2, TOKENS / 2};
    expect_ok(ds_workspace_new(&c->workspace, c->model, 2, TOKENS / 2));
    c->forces = calloc(ds_spec_forces(c->spec), sizeof *c->forces);
    assert_non_null(c->forces);
}

static void close_case(golden_case *c) {
    free(c->forces);
    ds_workspace_free(&c->workspace);
    ds_model_free(&c->model);
    json_decref(c->golden);
}

static double number(const json_t *object, const char *path) {
    double value = ds_json_real_at(object, path);
    assert_true(isfinite(value));
    return value;
}

static void expect_relative(double found, double expected, double relative) {
    expect_close(found, expected, relative * fabs(expected));
}

static double *history_of(const golden_case *c) {
    double *history = malloc(TOKENS * ds_spec_planes(c->spec) * c->spec->hidden * sizeof *history);
    assert_non_null(history);
    expect_ok(ds_embed(c->workspace, c->model, &c->batch, history));
    expect_ok(ds_sublayers(c->workspace, c->model, &c->batch, history, 0, ds_spec_sublayers(c->spec), c->forces, NULL));
    return history;
}

static double *hidden_of(const golden_case *c) {
    double *history = history_of(c), *hidden = malloc(TOKENS * c->spec->hidden * sizeof *hidden);
    assert_non_null(hidden);
    expect_ok(ds_readout(c->workspace, c->model, &c->batch, c->forces, history, hidden));
    free(history);
    return hidden;
}

static double mean(const double *values, size_t count) {
    double sum = 0;
    for (size_t i = 0; i < count; i++) sum += values[i];
    return sum / (double)count;
}

/* ---- as it is --------------------------------------------------------------------------------------------------------- */

static void losses_and_logits(void **state) {
    (void)state;
    for (size_t i = 0; i < MODELS; i++) {
        golden_case c;
        double nll[TOKENS], squares = 0;
        open_case(&c, models[i]);
        assert_string_equal(ds_spec_variant(c.spec), json_string_value(json_object_get(c.golden, "rule")));
        expect_ok(ds_forward(c.workspace, c.model, &c.batch, NULL, NULL, nll));
        expect_relative(mean(nll, TOKENS), number(c.golden, "loss"), 1e-12);
        for (size_t w = 0; w < 2; w++)
            expect_relative(mean(nll + w * TOKENS / 2, TOKENS / 2),
                            json_number_value(json_array_get(json_object_get(c.golden, "sequence_loss"), w)), 1e-12);
        double *hidden = hidden_of(&c), *logits = malloc(TOKENS * c.spec->vocab * sizeof *logits);
        assert_non_null(logits);
        expect_ok(ds_head_logits(c.model, hidden, 0, TOKENS, logits));
        for (size_t k = 0; k < 8; k++)
            expect_close(logits[(TOKENS / 2 - 1) * c.spec->vocab + k],
                         json_number_value(json_array_get(json_object_get(c.golden, "logits_0_last_first8"), k)), 1e-12);
        for (size_t k = 0; k < TOKENS * c.spec->vocab; k++) squares += logits[k] * logits[k];
        expect_relative(sqrt(squares / (double)(TOKENS * c.spec->vocab)), number(c.golden, "final_logits_rms"), 1e-12);
        free(logits);
        free(hidden);
        close_case(&c);
    }
}

static double mean_norm(const double *rows, size_t width, size_t stride) {
    double sum = 0;
    for (size_t t = 0; t < TOKENS; t++) {
        double squares = 0;
        for (size_t k = 0; k < width; k++) squares += rows[t * stride + k] * rows[t * stride + k];
        sum += sqrt(squares);
    }
    return sum / TOKENS;
}

static void norms_of_sources_and_reads(void **state) {
    (void)state;
    for (size_t i = 0; i < MODELS; i++) {
        golden_case c;
        open_case(&c, models[i]);
        size_t d = c.spec->hidden, planes = ds_spec_planes(c.spec);
        double *history = history_of(&c), *read = malloc(TOKENS * d * sizeof *read);
        assert_non_null(read);
        for (size_t s = 0; s < planes; s++) {
            expect_relative(mean_norm(history + s * d, d, planes * d),
                            json_number_value(json_array_get(json_object_get(c.golden, "source_norms"), s)), 1e-12);
            expect_ok(ds_read(c.workspace, c.model, &c.batch, NULL, s, history, read));
            expect_relative(mean_norm(read, d, d),
                            json_number_value(json_array_get(json_object_get(c.golden, "read_norms"), s)), 1e-12);
        }
        expect_failure(ds_read(c.workspace, c.model, &c.batch, NULL, planes, history, read), DS_ERR_USAGE, "the model has");
        free(history);
        free(read);
        close_case(&c);
    }
}

/* ---- forced ----------------------------------------------------------------------------------------------------------- */

/* Whether sublayer `s`, S being the readout, is in the scope of "MODE:SCOPE", "MODE-from:N" or "MODE-upto:N". */
static bool in_scope(const golden_case *c, const char *name, const char *scope, size_t s) {
    char own[32];
    size_t sublayers = ds_spec_sublayers(c->spec), bound = (size_t)atoi(scope);
    if (strstr(name, "-from:") != NULL) return s < sublayers && s >= bound;
    if (strstr(name, "-upto:") != NULL) return s <= bound;
    if (strcmp(scope, "all") == 0) return true;
    if (strcmp(scope, "attn") == 0 || strcmp(scope, "mlp") == 0) return s < sublayers && (s % 2 == 0) == (scope[0] == 'a');
    return strcmp(scope, s < sublayers ? ds_sublayer_name(own, s) : "final") == 0;
}

/* False for what takes a mean over the data first. */
static bool force(const golden_case *c, const char *name) {
    size_t count, length = strcspn(name, ":");
    const ds_intervention *modes = ds_rule_interventions(c->spec->rule, &count);
    for (size_t m = 0; m < count; m++) {
        size_t own = strlen(modes[m].name);
        if (strncmp(modes[m].name, name, own) != 0 || (own != length && strcmp(modes[m].name, "closed") != 0)) continue;
        for (size_t s = 0; s < ds_spec_forces(c->spec); s++)
            c->forces[s] = in_scope(c, name, name + length + 1, s) ? modes[m].force : (ds_force){DS_FORCE_NONE, 0};
        return true;
    }
    assert_memory_equal(name, "mean-route", 10);
    return false;
}

static void forced_reads_and_outputs(void **state) {
    (void)state;
    for (size_t i = 0; i < MODELS; i++) {
        golden_case c;
        const char *name;
        json_t *expected;
        size_t forced = 0;
        open_case(&c, models[i]);
        double *intact = hidden_of(&c);
        json_object_foreach(json_object_get(c.golden, "ablations"), name, expected) {
            double nll[TOKENS], kl[TOKENS], *const losses[] = {nll}, *const divergences[] = {kl};
            if (!force(&c, name)) continue;
            double *hidden = hidden_of(&c);
            const void *const cases[] = {hidden};
            expect_ok(ds_head_compare(c.workspace, c.model, &c.batch, intact, 1, cases, NULL, losses, divergences));
            if (!(fabs(mean(nll, TOKENS) - number(expected, "loss")) <= 1e-11)) print_error("%s, %s:\n", models[i], name);
            expect_close(mean(nll, TOKENS), number(expected, "loss"), 1e-11);
            expect_close(mean(kl, TOKENS), number(expected, "kl"), 1e-11);
            free(hidden);
            forced++;
        }
        assert_true(forced + 1 == json_object_size(json_object_get(c.golden, "ablations")));
        free(intact);
        close_case(&c);
    }
}

/* ---- gradients -------------------------------------------------------------------------------------------------------- */

/* dloss/dv_i is whole once the gradient has come back to X_i. */
static ds_status expect_source(void *context, const ds_gradient_event *event) {
    const golden_case *c = context;
    size_t width = event->planes * event->hidden;
    const double *gradient = event->gradient;
    double squares = 0;
    for (size_t t = 0; t < TOKENS; t++)
        for (size_t k = 0; k < event->hidden; k++) {
            double x = gradient[t * width + event->index * event->hidden + k];
            squares += x * x;
        }
    const json_t *sources = json_object_get(json_object_get(c->golden, "gradflow"), "sources");
    expect_relative(sqrt(squares), json_number_value(json_array_get(sources, event->index)), 1e-10);
    return DS_OK;
}

static void gradients_of_sources_and_parameters(void **state) {
    (void)state;
    for (size_t i = 0; i < MODELS; i++) {
        const ds_gradient_options options = {.parameters = true};
        ds_gradient *gradient;
        golden_case c;
        double nll[TOKENS];
        open_case(&c, models[i]);
        const ds_gradient_observer observer = {expect_source, &c};
        const json_t *parameters = json_object_get(json_object_get(c.golden, "gradflow"), "parameters");
        expect_ok(ds_gradient_new(&gradient, c.model, 2, TOKENS / 2, &options));
        expect_ok(ds_backward(gradient, &c.batch, NULL, 1.0 / TOKENS, &observer, nll));
        assert_int_equal(json_object_size(parameters), ds_model_parameters(c.model));
        for (size_t p = 0; p < ds_model_parameters(c.model); p++) {
            const ds_parameter *parameter = ds_model_parameter(c.model, p);
            const json_t *expected = json_object_get(parameters, parameter->name);
            const double *values = ds_gradient_parameter(gradient, p);
            double squares = 0;
            for (size_t k = 0; k < parameter->count; k++) squares += values[k] * values[k];
            if (!json_is_number(expected) ||
                !(fabs(sqrt(squares) - json_number_value(expected)) <= 1e-10 * json_number_value(expected) + 1e-14))
                print_error("%s, %s:\n", models[i], parameter->name);
            assert_true(json_is_number(expected));
            expect_close(sqrt(squares), json_number_value(expected), 1e-10 * json_number_value(expected) + 1e-14);
        }
        ds_gradient_free(&gradient);
        close_case(&c);
    }
}

/* ---- recognition ------------------------------------------------------------------------------------------------------ */

/* A configuration with one key changed (NULL: left out), and what is said of it. */
static const struct {
    const char *model, *key, *value, *sentence;
} twins[] = {
    {"attnres-full", "attnres_mode", "\"delta\"",
     "final_res_norm.weight of a readout that is routed, which delta-attnres has not"},
    {"delta-attnres", "attnres_mode", "\"full\"", "final_res_proj.weight"},
    {"delta-attnres", "attnres_mode", "\"delta_centered\"", "unsupported attnres_mode \"delta_centered\""},
    {"delta-attnres", "attnres_mode", NULL, "final_res_proj.weight"}, /* "block" unless it is given */
    {"attnres-cumulative-block", "attnres_mode", "\"delta\"", "of a recency bias, expected \"full\" or \"block\""},
    {"attnres-block", "attnres_use_null_source", "true",
     "attnres_use_null_source is true, which attnres-block has no place for"},
    {"delta-block", "attnres_use_null_source", "true", "attn_null_source"},
    {"attnres-full", "attnres_gate_type", "\"sigmoid_scalar\"", "no tensor is a gate of it"},
    {"attnres-full", "model_type", "\"qwen3\"", "which neither model_type \"qwen3_attnres\" nor deltascope_rule asks for"},
};

static void contradictions_are_refused_by_name(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof twins / sizeof *twins; i++) {
        ds_checkpoint *checkpoint;
        ds_spec spec;
        char path[256], weights[256];
        (void)snprintf(path, sizeof path, "fixtures/depth/%s/config.json", twins[i].model);
        (void)snprintf(weights, sizeof weights, "fixtures/depth/%s/model.safetensors", twins[i].model);
        json_t *config = json_load_file(path, 0, NULL);
        assert_non_null(config);
        if (twins[i].value == NULL)
            assert_int_equal(json_object_del(config, twins[i].key), 0);
        else
            assert_int_equal(json_object_set_new(config, twins[i].key, json_loads(twins[i].value, JSON_DECODE_ANY, NULL)), 0);
        char *text = json_dumps(config, 0);
        assert_non_null(text);
        const char *changed = scratch_write("config.json", text, strlen(text));
        expect_ok(ds_checkpoint_open(&checkpoint, weights, changed));
        expect_failure(ds_spec_detect(&spec, checkpoint), DS_ERR_INPUT, twins[i].sentence);
        ds_checkpoint_close(&checkpoint);
        free(text);
        json_decref(config);
    }
}

/* A rule by its own name, around the backbone it says. */
static void rules_go_by_their_own_names_too(void **state) {
    (void)state;
    for (size_t i = 0; i < MODELS; i++) {
        ds_checkpoint *checkpoint;
        ds_spec spec, named;
        char path[256], weights[256];
        (void)snprintf(path, sizeof path, "fixtures/depth/%s/config.json", models[i]);
        (void)snprintf(weights, sizeof weights, "fixtures/depth/%s/model.safetensors", models[i]);
        json_t *config = json_load_file(path, 0, NULL);
        assert_non_null(config);
        expect_ok(ds_checkpoint_open(&checkpoint, weights, path));
        expect_ok(ds_spec_detect(&spec, checkpoint));
        ds_checkpoint_close(&checkpoint);
        json_object_set_new(config, "model_type", json_string("deltascope"));
        json_object_set_new(config, "deltascope_rule", json_string(ds_rule_name(spec.rule)));
        json_object_set_new(config, "deltascope_backbone", json_string("qwen3"));
        json_object_del(config, "attnres_mode");
        char *text = json_dumps(config, 0);
        assert_non_null(text);
        expect_ok(ds_checkpoint_open(&checkpoint, weights, scratch_write("config.json", text, strlen(text))));
        expect_ok(ds_spec_detect(&named, checkpoint));
        assert_ptr_equal(named.rule, spec.rule);
        assert_int_equal(named.depth_blocks, spec.depth_blocks);
        ds_checkpoint_close(&checkpoint);
        free(text);
        json_decref(config);
    }
}

/* What counts on a state that is rewritten says what such a rule has instead. */
static void other_measurements_are_refused(void **state) {
    (void)state;
    for (size_t i = 0; i < MODELS; i++) {
        char path[256];
        ds_run run;
        (void)snprintf(path, sizeof path, "fixtures/depth/%s", models[i]);
        ds_run_options options = {.checkpoint = path, .tokens = "fixtures/data/val.bin", .length = 8, .sequences = 1};
        expect_failure(ds_run_open(&run, &options), DS_ERR_USAGE, "has no state that is rewritten");
        options.histories = true;
        expect_ok(ds_run_open(&run, &options));
        ds_run_close(&run);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(losses_and_logits),
        cmocka_unit_test(norms_of_sources_and_reads),
        cmocka_unit_test(forced_reads_and_outputs),
        cmocka_unit_test(gradients_of_sources_and_parameters),
        cmocka_unit_test(contradictions_are_refused_by_name),
        cmocka_unit_test(rules_go_by_their_own_names_too),
        cmocka_unit_test(other_measurements_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
