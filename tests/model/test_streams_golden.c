/* Parallel streams as their reference codes save them, around nanoGPT: golden values of an independent float64 implementation,
 * of the model as it is, with outputs and mixing forced, and of its gradients. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "deltascope/gradient.h"

#include "scratch.h"
#include "support.h"

static const struct {
    const char *name, *file;
} models[] = {
    {"hc", ""}, {"mhc", "/ckpt.pt"}, {"mhc-lite", "/ckpt.pt"}, {"mhc-static", "/ckpt.pt"}, {"mhc-static-mixed", "/ckpt.pt"}};
enum { MODELS = sizeof models / sizeof *models, TOKENS = 64, MOST_MIXING = 4 * 6 };

typedef struct golden_case {
    ds_model *model;
    const ds_spec *spec;
    ds_workspace *workspace;
    uint32_t ids[TOKENS + 1];
    ds_batch batch;
    ds_force forces[8];
    double means[8 * MOST_MIXING];
    json_t *golden;
} golden_case;

static ds_status add_means(void *context, const ds_observation *seen) {
    golden_case *c = context;
    size_t length = seen->streams->streams * (seen->streams->streams + 2);
    for (size_t t = 0; t < TOKENS; t++)
        for (size_t i = 0; i < length; i++)
            c->means[seen->sublayer * length + i] += seen->streams->mixing[t * length + i] / TOKENS;
    return DS_OK;
}

static void open_case(golden_case *c, size_t index) {
    ds_checkpoint *checkpoint;
    ds_tokens *tokens;
    char path[256];
    double nll[TOKENS];
    const ds_observer observer = {DS_OBSERVE_GATES, add_means, c};
    *c = (golden_case){.batch = {c->ids, c->ids + 1, 2, TOKENS / 2}};
    (void)snprintf(path, sizeof path, "fixtures/streams/%s.json", models[index].name);
    c->golden = json_load_file(path, 0, NULL);
    assert_non_null(c->golden);
    (void)snprintf(path, sizeof path, "fixtures/streams/%s%s", models[index].name, models[index].file);
    expect_ok(ds_checkpoint_open(&checkpoint, path, NULL));
    expect_ok(ds_model_load(&c->model, checkpoint, DS_F64));
    ds_checkpoint_close(&checkpoint);
    c->spec = ds_model_spec(c->model);
    assert_true(ds_spec_forces(c->spec) <= sizeof c->forces / sizeof *c->forces);
    expect_ok(ds_tokens_open(&tokens, "fixtures/data/val.bin", c->spec->vocab));
    expect_ok(ds_tokens_read(tokens, c->ids, 0, TOKENS + 1));
    ds_tokens_close(&tokens);
    expect_ok(ds_workspace_new(&c->workspace, c->model, 2, TOKENS / 2));
    expect_ok(ds_forward(c->workspace, c->model, &c->batch, NULL, &observer, nll));
}

static void close_case(golden_case *c) {
    ds_workspace_free(&c->workspace);
    ds_model_free(&c->model);
    json_decref(c->golden);
}

static double number(const json_t *object, const char *path) {
    double value = ds_json_real_at(object, path);
    assert_true(isfinite(value));
    return value;
}

static double entry(const json_t *object, const char *key, size_t index) {
    const json_t *value = json_array_get(json_object_get(object, key), index);
    assert_true(json_is_number(value));
    return json_number_value(value);
}

static void expect_relative(double found, double expected, double relative) {
    expect_close(found, expected, relative * fabs(expected) + 1e-14);
}

static double mean(const double *values, size_t count) {
    double sum = 0;
    for (size_t i = 0; i < count; i++) sum += values[i];
    return sum / (double)count;
}

static double *state_of(const golden_case *c, size_t sublayers) {
    double *state = malloc(TOKENS * ds_spec_planes(c->spec) * c->spec->hidden * sizeof *state);
    assert_non_null(state);
    expect_ok(ds_embed(c->workspace, c->model, &c->batch, state));
    expect_ok(ds_sublayers(c->workspace, c->model, &c->batch, state, 0, sublayers, c->forces, NULL));
    return state;
}

static double *hidden_of(const golden_case *c) {
    double *state = state_of(c, ds_spec_sublayers(c->spec)), *hidden = malloc(TOKENS * c->spec->hidden * sizeof *hidden);
    assert_non_null(hidden);
    expect_ok(ds_readout(c->workspace, c->model, &c->batch, c->forces, state, hidden));
    free(state);
    return hidden;
}

/* ---- as it is --------------------------------------------------------------------------------------------------------- */

static void losses_and_logits(void **state) {
    (void)state;
    for (size_t i = 0; i < MODELS; i++) {
        golden_case c;
        double nll[TOKENS], squares = 0;
        open_case(&c, i);
        assert_string_equal(ds_spec_variant(c.spec), json_string_value(json_object_get(c.golden, "rule")));
        assert_int_equal(c.spec->streams.count, json_integer_value(json_object_get(c.golden, "streams")));
        expect_ok(ds_forward(c.workspace, c.model, &c.batch, NULL, NULL, nll));
        expect_relative(mean(nll, TOKENS), number(c.golden, "loss"), 1e-12);
        for (size_t w = 0; w < 2; w++)
            expect_relative(mean(nll + w * TOKENS / 2, TOKENS / 2), entry(c.golden, "sequence_loss", w), 1e-12);
        double *hidden = hidden_of(&c), *logits = malloc(TOKENS * c.spec->vocab * sizeof *logits);
        assert_non_null(logits);
        expect_ok(ds_head_logits(c.model, hidden, 0, TOKENS, logits));
        for (size_t k = 0; k < 8; k++)
            expect_close(logits[(TOKENS / 2 - 1) * c.spec->vocab + k], entry(c.golden, "logits_0_last_first8", k), 1e-11);
        for (size_t k = 0; k < TOKENS * c.spec->vocab; k++) squares += logits[k] * logits[k];
        expect_relative(sqrt(squares / (double)(TOKENS * c.spec->vocab)), number(c.golden, "final_logits_rms"), 1e-12);
        free(logits);
        free(hidden);
        close_case(&c);
    }
}

/* In float as well as the reference code does. */
static void float_follows(void **state) {
    (void)state;
    for (size_t i = 0; i < MODELS; i++) {
        golden_case c;
        double nll[TOKENS];
        ds_checkpoint *checkpoint;
        ds_model *model;
        ds_workspace *workspace;
        char path[256];
        open_case(&c, i);
        (void)snprintf(path, sizeof path, "fixtures/streams/%s%s", models[i].name, models[i].file);
        expect_ok(ds_checkpoint_open(&checkpoint, path, NULL));
        expect_ok(ds_model_load(&model, checkpoint, DS_F32));
        ds_checkpoint_close(&checkpoint);
        expect_ok(ds_workspace_new(&workspace, model, 2, TOKENS / 2));
        expect_ok(ds_forward(workspace, model, &c.batch, NULL, NULL, nll));
        expect_relative(mean(nll, TOKENS), number(c.golden, "loss"), 3e-6);
        ds_workspace_free(&workspace);
        ds_model_free(&model);
        close_case(&c);
    }
}

static double mean_norm(const double *rows, size_t width) {
    double sum = 0;
    for (size_t t = 0; t < TOKENS; t++) {
        double squares = 0;
        for (size_t k = 0; k < width; k++) squares += rows[t * width + k] * rows[t * width + k];
        sum += sqrt(squares);
    }
    return sum / TOKENS;
}

static ds_status expect_source(void *context, const ds_observation *seen) {
    const golden_case *c = context;
    expect_relative(mean(seen->streams->output_norm, TOKENS), entry(c->golden, "source_norms", seen->sublayer + 1), 1e-12);
    expect_relative(mean(seen->state_norm, TOKENS), entry(c->golden, "state_norms", seen->sublayer), 1e-12);
    return DS_OK;
}

static void norms_of_sources_states_and_reads(void **state) {
    (void)state;
    for (size_t i = 0; i < MODELS; i++) {
        golden_case c;
        double nll[TOKENS];
        open_case(&c, i);
        const ds_observer observer = {DS_OBSERVE_GATES, expect_source, &c};
        size_t d = c.spec->hidden, sublayers = ds_spec_sublayers(c.spec);
        double *read = malloc(TOKENS * d * sizeof *read);
        assert_non_null(read);
        expect_ok(ds_forward(c.workspace, c.model, &c.batch, NULL, &observer, nll));
        for (size_t s = 0; s <= sublayers; s++) {
            double *streams = state_of(&c, s);
            expect_relative(mean_norm(streams, ds_spec_planes(c.spec) * d), entry(c.golden, "state_norms", s), 1e-12);
            expect_ok(ds_read(c.workspace, c.model, &c.batch, NULL, s, streams, read));
            expect_relative(mean_norm(read, d), entry(c.golden, "read_norms", s), 1e-12);
            free(streams);
        }
        free(read);
        close_case(&c);
    }
}

/* ---- forced ----------------------------------------------------------------------------------------------------------- */

/* Whether sublayer `s` is in the scope of "MODE:SCOPE", "MODE-from:N" or "MODE-upto:N". */
static bool in_scope(const char *name, const char *scope, size_t s) {
    char own[32];
    size_t bound = (size_t)atoi(scope);
    if (strstr(name, "-from:") != NULL) return s >= bound;
    if (strstr(name, "-upto:") != NULL) return s <= bound;
    if (strcmp(scope, "all") == 0) return true;
    if (strcmp(scope, "attn") == 0 || strcmp(scope, "mlp") == 0) return (s % 2 == 0) == (scope[0] == 'a');
    return strcmp(scope, ds_sublayer_name(own, s)) == 0;
}

static void force(golden_case *c, const char *name) {
    size_t count, length = strcspn(name, ":"), found = 0;
    const ds_intervention *modes = ds_rule_interventions(c->spec->rule, &count);
    for (size_t m = 0; m < count; m++) {
        size_t own = strlen(modes[m].name);
        if (strncmp(modes[m].name, name, own) != 0 || (own != length && strcmp(modes[m].name, "closed") != 0)) continue;
        for (size_t s = 0; s < ds_spec_sublayers(c->spec); s++)
            c->forces[s] = in_scope(name, name + length + 1, s) ? modes[m].force : (ds_force){DS_FORCE_NONE, 0};
        found++;
    }
    assert_int_equal(found, 1);
}

static void forced_outputs_and_mixing(void **state) {
    (void)state;
    for (size_t i = 0; i < MODELS; i++) {
        golden_case c;
        const char *name;
        json_t *expected;
        double *hidden;
        open_case(&c, i);
        double *intact = hidden_of(&c);
        c.forces[0].mode = DS_FORCE_MEAN_MIX;
        expect_failure(ds_sublayers(c.workspace, c.model, &c.batch, intact, 0, 1, c.forces, NULL), DS_ERR_USAGE,
                       "means that were not given");
        c.forces[0].mode = DS_FORCE_NONE;
        free(intact);
        intact = hidden_of(&c);
        ds_workspace_set_mean_mixing(c.workspace, c.means);
        json_object_foreach(json_object_get(c.golden, "ablations"), name, expected) {
            double nll[TOKENS], kl[TOKENS], *const losses[] = {nll}, *const divergences[] = {kl};
            force(&c, name);
            hidden = hidden_of(&c);
            const void *const cases[] = {hidden};
            expect_ok(ds_head_compare(c.workspace, c.model, &c.batch, intact, 1, cases, NULL, losses, divergences));
            if (!(fabs(mean(nll, TOKENS) - number(expected, "loss")) <= 1e-11)) print_error("%s, %s:\n", models[i].name, name);
            expect_close(mean(nll, TOKENS), number(expected, "loss"), 1e-11);
            expect_close(mean(kl, TOKENS), number(expected, "kl"), 1e-11);
            free(hidden);
        }
        free(intact);
        close_case(&c);
    }
}

/* ---- gradients -------------------------------------------------------------------------------------------------------- */

static double norm(const double *values, size_t count) {
    double squares = 0;
    for (size_t i = 0; i < count; i++) squares += values[i] * values[i];
    return sqrt(squares);
}

static ds_status expect_gradients(void *context, const ds_gradient_event *event) {
    const golden_case *c = context;
    const json_t *golden = json_object_get(c->golden, "gradflow");
    size_t d = event->hidden;
    expect_relative(norm(event->gradient, TOKENS * event->planes * d), entry(golden, "states", event->index), 1e-10);
    expect_relative(norm(event->read_gradient, TOKENS * d), entry(golden, "reads", event->index), 1e-10);
    if (event->output_gradient != NULL)
        expect_relative(norm(event->output_gradient, TOKENS * d), entry(golden, "sources", event->index + 1), 1e-10);
    assert_true((event->output_gradient == NULL) == (event->index == ds_spec_sublayers(c->spec)));
    return DS_OK;
}

static void gradients(void **state) {
    (void)state;
    for (size_t i = 0; i < MODELS; i++) {
        const ds_gradient_options options = {.parameters = true};
        ds_gradient *gradient;
        golden_case c;
        double nll[TOKENS];
        open_case(&c, i);
        const ds_gradient_observer observer = {expect_gradients, &c};
        const json_t *golden = json_object_get(c.golden, "gradflow"), *parameters = json_object_get(golden, "parameters");
        expect_ok(ds_gradient_new(&gradient, c.model, 2, TOKENS / 2, &options));
        expect_ok(ds_backward(gradient, &c.batch, NULL, 1.0 / TOKENS, &observer, nll));
        expect_relative(norm(ds_gradient_embeddings(gradient), TOKENS * c.spec->hidden), entry(golden, "sources", 0), 1e-10);
        assert_int_equal(json_object_size(parameters), ds_model_parameters(c.model));
        for (size_t p = 0; p < ds_model_parameters(c.model); p++) {
            const ds_parameter *parameter = ds_model_parameter(c.model, p);
            const json_t *expected = json_object_get(parameters, parameter->name);
            double found = norm(ds_gradient_parameter(gradient, p), parameter->count), wanted = json_number_value(expected);
            if (!json_is_number(expected) || !(fabs(found - wanted) <= 1e-10 * wanted + 1e-14))
                print_error("%s, %s:\n", models[i].name, parameter->name);
            assert_true(json_is_number(expected));
            expect_relative(found, wanted, 1e-10);
        }
        ds_gradient_free(&gradient);
        close_case(&c);
    }
}

/* ---- recognition ------------------------------------------------------------------------------------------------------ */

static json_t *config_of(const char *model) {
    char path[256];
    ds_checkpoint *checkpoint;
    (void)snprintf(path, sizeof path, "fixtures/streams/%s%s", model, strcmp(model, "hc") == 0 ? "" : "/ckpt.pt");
    expect_ok(ds_checkpoint_open(&checkpoint, path, NULL));
    json_t *config = json_deep_copy(ds_checkpoint_config(checkpoint));
    ds_checkpoint_close(&checkpoint);
    assert_non_null(config);
    return config;
}

/* What is found with the model's configuration changed: keys of `change` put in. */
static ds_status detect_changed(ds_spec *spec, const char *model, const char *change) {
    char path[256];
    ds_checkpoint *checkpoint;
    json_t *config = config_of(model), *keys = json_loads(change, 0, NULL);
    assert_non_null(keys);
    assert_int_equal(json_object_update(config, keys), 0);
    char *text = json_dumps(config, 0);
    assert_non_null(text);
    (void)snprintf(path, sizeof path, "fixtures/streams/%s%s", model,
                   strcmp(model, "hc") == 0 ? "/model.safetensors" : "/ckpt.pt");
    expect_ok(ds_checkpoint_open(&checkpoint, path, scratch_write("config.json", text, strlen(text))));
    ds_status status = ds_spec_detect(spec, checkpoint);
    ds_checkpoint_close(&checkpoint);
    free(text);
    json_decref(keys);
    json_decref(config);
    return status;
}

static const struct {
    const char *model, *change, *sentence;
} twins[] = {
    {"hc", "{\"hyper_conn_type\": \"mhc\"}", "hyper_conn_type asks for rule mhc, but"},
    {"mhc", "{\"hyper_conn_type\": \"hc\"}", "static_alpha as rule mhc has it"},
    {"mhc", "{\"hyper_conn_type\": \"mhc_lite\"}", "hyper_conn_type asks for rule mhc-lite, but"},
    {"mhc-lite", "{\"hyper_conn_type\": \"mhc\"}", "static_alpha as rule mhc-lite has it"},
    {"mhc", "{\"hyper_conn_n\": 3}", "hyper_conn_n is 3, but"},
    {"mhc", "{\"hyper_conn_n\": 1}", "by hyper_conn_type there are no hyper-connections, but"},
    {"mhc", "{\"hyper_conn_type\": \"none\"}", "by hyper_conn_type there are no hyper-connections, but"},
    {"mhc", "{\"hyper_conn_type\": \"mhc2\"}", "unsupported hyper_conn_type \"mhc2\""},
    {"mhc-static-mixed", "{\"hc_num_streams\": 3}", "hc_num_streams is 3, but"},
    {"mhc-static-mixed", "{\"hc_num_fracs\": 2}", "unsupported hc_num_fracs 2, expected 1"},
    {"mhc-static-mixed", "{\"hc_disable\": true}", "by hc_num_streams there are no hyper-connections, but"},
    {"mhc-static-mixed", "{\"mhc\": false}", "mhc asks for rule hc-identity, but"},
    {"mhc-static-mixed", "{\"v_residual\": true}", "unsupported v_residual true"},
    {"mhc-static-mixed", "{\"mhc_h_res_proj\": \"cayley\"}", "unsupported mhc_h_res_proj \"cayley\""},
    {"mhc-static-mixed", "{\"sinkhorn_iters\": 0}", "sinkhorn_iters is out of range"},
    {"mhc-static-mixed", "{\"sinkhorn_tau\": 0}", "sinkhorn_tau is out of range"},
    {"mhc-static-mixed", "{\"ns_coeffs\": [1, 2]}", "ns_coeffs is an array, expected an array of three numbers"},
};

static void contradictions_are_refused_by_name(void **state) {
    (void)state;
    ds_spec spec;
    for (size_t i = 0; i < sizeof twins / sizeof *twins; i++)
        expect_failure(detect_changed(&spec, twins[i].model, twins[i].change), DS_ERR_INPUT, twins[i].sentence);
}

/* A file with these names cannot tell whether its code mixed the streams: the layout decides, a name overrides. */
static void what_files_do_not_tell_a_name_does(void **state) {
    (void)state;
    static const char change[] = "{\"model_type\": \"deltascope\", \"deltascope_backbone\": \"nanogpt\", "
                                 "\"deltascope_rule\": \"hc-identity\"}";
    ds_spec spec;
    expect_ok(detect_changed(&spec, "hc", "{}"));
    assert_string_equal(ds_rule_name(spec.rule), "hc");
    expect_ok(detect_changed(&spec, "hc", change));
    assert_string_equal(ds_rule_name(spec.rule), "hc-identity");
    expect_failure(detect_changed(&spec, "mhc", change), DS_ERR_INPUT, "deltascope_rule asks for rule hc-identity, but");
    expect_ok(detect_changed(&spec, "mhc-static-mixed", "{\"mhc_h_res_proj\": \"orthostochastic\", \"ns_steps\": 3}"));
    assert_true(spec.streams.orthostochastic && spec.streams.steps == 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(losses_and_logits),
        cmocka_unit_test(float_follows),
        cmocka_unit_test(norms_of_sources_states_and_reads),
        cmocka_unit_test(forced_outputs_and_mixing),
        cmocka_unit_test(gradients),
        cmocka_unit_test(contradictions_are_refused_by_name),
        cmocka_unit_test(what_files_do_not_tell_a_name_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
