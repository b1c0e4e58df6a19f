/* Transformers other than the published one, as additive baselines: golden values of an independent float64 implementation,
 * differentials against one another, and results that no number of threads changes. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "deltascope/gradient.h"
#include "deltascope/model.h"

#include "support.h"

static const struct {
    const char *name, *file; /* file: "" for a folder */
    const ds_backbone *backbone;
} models[] = {
    {"qwen3-additive", "", &ds_backbone_qwen3},
    {"hf-llama3", "", &ds_backbone_llama},
    {"hf-qwen2", "", &ds_backbone_qwen2},
    {"hf-gpt2", "", &ds_backbone_gpt2},
    {"nanogpt-additive", "/ckpt.pt", &ds_backbone_nanogpt},
};
enum { MODELS = sizeof models / sizeof models[0] };

typedef struct golden_case {
    ds_model *model;
    const ds_spec *spec;
    ds_gradient *gradient;
    ds_workspace *workspace;
    uint32_t ids[65];
    ds_batch batch;
    json_t *golden;
} golden_case;

static void open_case(golden_case *c, size_t index, ds_precision precision) {
    const ds_gradient_options options = {.parameters = true};
    ds_checkpoint *checkpoint;
    ds_tokens *tokens;
    char path[256];
    (void)snprintf(path, sizeof path, "fixtures/backbones/%s.json", models[index].name);
    c->golden = json_load_file(path, 0, NULL);
    assert_non_null(c->golden);
    (void)snprintf(path, sizeof path, "fixtures/backbones/%s%s", models[index].name, models[index].file);
    expect_ok(ds_checkpoint_open(&checkpoint, path, NULL));
    expect_ok(ds_model_load(&c->model, checkpoint, precision));
    ds_checkpoint_close(&checkpoint);
    c->spec = ds_model_spec(c->model);
    expect_ok(ds_tokens_open(&tokens, "fixtures/data/val.bin", c->spec->vocab));
    expect_ok(ds_tokens_read(tokens, c->ids, 0, 65));
    ds_tokens_close(&tokens);
    c->batch = (ds_batch){c->ids, c->ids + 1, 2, 32};
    expect_ok(ds_workspace_new(&c->workspace, c->model, 2, 32));
    expect_ok(ds_gradient_new(&c->gradient, c->model, 2, 32, &options));
}

static void close_case(golden_case *c) {
    ds_gradient_free(&c->gradient);
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

static double mean_loss(const golden_case *c, const ds_force *forces) {
    double nll[64], sum = 0;
    expect_ok(ds_forward(c->workspace, c->model, &c->batch, forces, NULL, nll));
    for (size_t t = 0; t < 64; t++) sum += nll[t];
    return sum / 64;
}

/* Golden losses are promised to 1e-14, gradients to 4e-11; in float single roundings of 2^-24 add up over some hundred
 * operations. */
static double loss_tolerance(ds_precision precision) { return precision == DS_F64 ? 1e-9 : 1e-5; }

/* ---- golden values ------------------------------------------------------------------------------------------------------ */

static void expect_losses(const golden_case *c, ds_precision precision) {
    double nll[64], relative = loss_tolerance(precision);
    expect_ok(ds_forward(c->workspace, c->model, &c->batch, NULL, NULL, nll));
    for (size_t w = 0; w < 2; w++) {
        double sum = 0;
        for (size_t t = 0; t < 32; t++) sum += nll[w * 32 + t];
        expect_relative(sum / 32, number(c->golden, w == 0 ? "sequence_loss/0" : "sequence_loss/1"), relative);
    }
    expect_relative(mean_loss(c, NULL), number(c->golden, "loss"), relative);
}

static void expect_logits(const golden_case *c, ds_precision precision) {
    size_t d = c->spec->hidden, size = ds_precision_size(precision), states = 64 * ds_spec_planes(c->spec) * d;
    void *state = malloc(states * size), *hidden = malloc(64 * d * size), *logits = malloc(c->spec->vocab * size);
    assert_true(state != NULL && hidden != NULL && logits != NULL);
    expect_ok(ds_embed(c->workspace, c->model, &c->batch, state));
    expect_ok(ds_sublayers(c->workspace, c->model, &c->batch, state, 0, ds_spec_sublayers(c->spec), NULL, NULL));
    expect_ok(ds_readout(c->workspace, c->model, &c->batch, NULL, state, hidden));
    expect_ok(ds_head_logits(c->model, hidden, 31, 1, logits));
    const json_t *expected = json_object_get(c->golden, "logits_0_last_first8");
    for (size_t i = 0; i < 8; i++) {
        double value = json_number_value(json_array_get(expected, i));
        expect_close(ds_real_at(logits, precision, i), value, loss_tolerance(precision) * fmax(1, fabs(value)));
    }
    free(state);
    free(hidden);
    free(logits);
}

/* Whether the case "closed:attn", "closed:3.mlp", "closed-from:2", ... closes sublayer s. */
static bool closes(const char *name, size_t s) {
    char own[32];
    (void)ds_sublayer_name(own, s);
    if (strncmp(name, "closed-from:", 12) == 0) return s >= strtoul(name + 12, NULL, 10);
    if (strncmp(name, "closed-upto:", 12) == 0) return s <= strtoul(name + 12, NULL, 10);
    const char *scope = name + strlen("closed:");
    return strcmp(scope, "all") == 0 || strcmp(scope, own) == 0 || strcmp(scope, s % 2 == 0 ? "attn" : "mlp") == 0;
}

static void expect_closed(const golden_case *c, ds_precision precision) {
    ds_force forces[64];
    const char *name;
    json_t *expected;
    size_t cases = 0, sublayers = ds_spec_sublayers(c->spec);
    json_object_foreach(json_object_get(c->golden, "ablations"), name, expected) {
        if (strncmp(name, "closed", 6) != 0) continue;
        for (size_t s = 0; s < sublayers; s++)
            forces[s] = (ds_force){.mode = closes(name, s) ? DS_FORCE_CLOSED : DS_FORCE_NONE};
        expect_relative(mean_loss(c, forces), number(expected, "loss"), loss_tolerance(precision));
        cases++;
    }
    assert_true(cases > sublayers + 3);
}

static ds_status keep_norm(void *context, const ds_gradient_event *event) {
    double sum = 0;
    for (size_t t = 0; t < event->sequences * event->length; t++) sum += event->norm2[t];
    ((double *)context)[event->index] = sqrt(sum);
    return DS_OK;
}

static double frobenius(const void *values, size_t count, ds_precision precision) {
    double sum = 0;
    for (size_t i = 0; i < count; i++) sum += ds_real_at(values, precision, i) * ds_real_at(values, precision, i);
    return sqrt(sum);
}

static void expect_gradients(const golden_case *c, ds_precision precision) {
    double nll[64], norms[65] = {0}, relative = precision == DS_F64 ? 1e-9 : 1e-4;
    const ds_gradient_observer observer = {.state = keep_norm, .context = norms};
    const json_t *parameters = ds_json_at(c->golden, "gradflow/parameters");
    ds_gradient_zero(c->gradient);
    expect_ok(ds_backward(c->gradient, &c->batch, NULL, 1.0 / 64, &observer, nll));
    for (size_t i = 0; i <= ds_spec_sublayers(c->spec); i++)
        expect_relative(norms[i], json_number_value(json_array_get(ds_json_at(c->golden, "gradflow/states"), i)), relative);
    assert_int_equal(ds_model_parameters(c->model), json_object_size(parameters));
    for (size_t i = 0; i < ds_model_parameters(c->model); i++) {
        const ds_parameter *p = ds_model_parameter(c->model, i);
        const json_t *expected = json_object_get(parameters, p->name);
        if (expected == NULL) fail_msg("no golden gradient of %s", p->name);
        double found = frobenius(ds_gradient_parameter(c->gradient, i), p->count, precision);
        /* What cancels exactly (a bias of keys adds the same to every score) leaves roundings of the loss's own gradient. */
        expect_close(found, json_number_value(expected), relative * json_number_value(expected) + 1e-2 * relative);
    }
}

static void golden_values(void **state) {
    (void)state;
    for (size_t m = 0; m < MODELS; m++) {
        for (ds_precision precision = DS_F32; precision <= DS_F64; precision++) {
            golden_case c;
            open_case(&c, m, precision);
            assert_ptr_equal(c.spec->backbone, models[m].backbone);
            assert_ptr_equal(c.spec->rule, &ds_rule_additive);
            expect_losses(&c, precision);
            expect_logits(&c, precision);
            expect_closed(&c, precision);
            expect_gradients(&c, precision);
            close_case(&c);
        }
    }
}

/* ---- derivatives against one another ------------------------------------------------------------------------------------ */

static double *random_vector(size_t count, ds_random *random) {
    double *values = malloc(count * sizeof *values);
    assert_non_null(values);
    for (size_t i = 0; i < count; i++) values[i] = ds_random_normal(random);
    return values;
}

static double inner(const double *x, const double *y, size_t count) {
    double sum = 0;
    for (size_t i = 0; i < count; i++) sum += x[i] * y[i];
    return sum;
}

/* <w, J v> = <J^T w, v>, for each sublayer and for all of them. */
static void tangents_are_adjoint(void **state) {
    (void)state;
    for (size_t m = 0; m < MODELS; m++) {
        golden_case c;
        open_case(&c, m, DS_F64);
        ds_random random = ds_random_init(m + 5);
        size_t sublayers = ds_spec_sublayers(c.spec), count = 64 * ds_spec_planes(c.spec) * c.spec->hidden;
        double *x = malloc(count * sizeof *x);
        assert_non_null(x);
        for (size_t s = 0; s <= sublayers; s++) {
            size_t first = s == sublayers ? 0 : s, last = s == sublayers ? sublayers : s + 1;
            double *v = random_vector(count, &random), *w = random_vector(count, &random);
            double *jv = malloc(count * sizeof *jv), *jw = malloc(count * sizeof *jw);
            assert_true(jv != NULL && jw != NULL);
            memcpy(jv, v, count * sizeof *v);
            memcpy(jw, w, count * sizeof *w);
            expect_ok(ds_embed(c.workspace, c.model, &c.batch, x));
            expect_ok(ds_sublayers(c.workspace, c.model, &c.batch, x, 0, first, NULL, NULL));
            expect_ok(ds_linearise(c.gradient, &c.batch, x, first, last, NULL));
            expect_ok(ds_tangent(c.gradient, jv));
            expect_ok(ds_adjoint(c.gradient, jw));
            double scale = sqrt(inner(jv, jv, count) * inner(w, w, count));
            expect_close(inner(w, jv, count), inner(jw, v, count), 1e-12 * scale);
            free(v);
            free(w);
            free(jv);
            free(jw);
        }
        free(x);
        close_case(&c);
    }
}

/* Column i of a token's Jacobian is the tangent along feature i of that token, seen at that token. */
static void token_jacobians_are_tangents(void **state) {
    (void)state;
    for (size_t m = 0; m < MODELS; m++) {
        golden_case c;
        open_case(&c, m, DS_F64);
        size_t d = c.spec->hidden, count = 64 * d, token = 32 + 17;
        double *x = malloc(count * sizeof *x), *v = malloc(count * sizeof *v), *jacobian = malloc(d * d * sizeof *jacobian);
        assert_true(x != NULL && v != NULL && jacobian != NULL);
        for (size_t s = 0; s < 2; s++) {
            expect_ok(ds_embed(c.workspace, c.model, &c.batch, x));
            expect_ok(ds_linearise(c.gradient, &c.batch, x, s, s + 1, NULL));
            expect_ok(ds_token_jacobian(c.gradient, jacobian, s, 1, 17));
            for (size_t i = 0; i < d; i += 7) {
                memset(v, 0, count * sizeof *v);
                v[token * d + i] = 1;
                expect_ok(ds_tangent(c.gradient, v));
                for (size_t j = 0; j < d; j++) expect_close(jacobian[j * d + i], v[token * d + j], 1e-12);
            }
        }
        free(x);
        free(v);
        free(jacobian);
        close_case(&c);
    }
}

/* ---- threads ------------------------------------------------------------------------------------------------------------ */

/* Loss and every gradient, bit for bit. */
static void threads_change_nothing(void **state) {
    (void)state;
    size_t before = ds_threads();
    for (size_t m = 0; m < MODELS; m++) {
        double nll[2][64];
        golden_case c[2];
        for (size_t i = 0; i < 2; i++) {
            expect_ok(ds_threads_set(i == 0 ? 1 : 3));
            open_case(&c[i], m, DS_F32);
            expect_ok(ds_backward(c[i].gradient, &c[i].batch, NULL, 1.0 / 64, NULL, nll[i]));
        }
        assert_memory_equal(nll[0], nll[1], sizeof nll[0]);
        for (size_t p = 0; p < ds_model_parameters(c[0].model); p++)
            assert_memory_equal(ds_gradient_parameter(c[0].gradient, p), ds_gradient_parameter(c[1].gradient, p),
                                ds_model_parameter(c[0].model, p)->count * sizeof(float));
        close_case(&c[0]);
        close_case(&c[1]);
    }
    expect_ok(ds_threads_set(before));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_values),
        cmocka_unit_test(tangents_are_adjoint),
        cmocka_unit_test(token_jacobians_are_tangents),
        cmocka_unit_test(threads_change_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
