/* verify --reference: another framework's tensors compared one by one, the worst element named, what does not fit refused. The
 * other framework is here the plain second computation for states and logits, and the backward pass for gradients. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "deltascope/gradient.h"
#include "deltascope/verify.h"
#include "verify/plain_model.h"

#include "forward_case.h"
#include "scratch.h"
#include "support.h"

enum { B = 2, T = 12, MOST = 64 };
static const char model_name[] = "cc-ec-vlinear";

/* A file under construction. */
typedef struct dump {
    ds_tensor_write tensors[MOST];
    size_t shapes[MOST][4];
    char names[MOST][96];
    size_t count;
} dump;

static double *add(dump *d, const char *name, size_t rank, const size_t *shape) {
    size_t count = 1, i = d->count++;
    assert_true(i < MOST);
    for (size_t a = 0; a < rank; a++) count *= d->shapes[i][a] = shape[a];
    double *values = malloc(count * sizeof *values);
    assert_non_null(values);
    (void)snprintf(d->names[i], sizeof d->names[i], "%s", name);
    d->tensors[i] = (ds_tensor_write){d->names[i], DS_F64, rank, d->shapes[i], values};
    return values;
}

static void dump_release(dump *d) {
    for (size_t i = 0; i < d->count; i++) free((void *)(uintptr_t)d->tensors[i].values);
}

/* States and logits by plain loops, loss from the logits. */
static void add_forward(dump *d, const forward_case *c) {
    const ds_spec *spec = c->spec;
    size_t sublayers = ds_spec_sublayers(spec), state = T * spec->hidden * spec->value_channels;
    const size_t state_shape[] = {B, T, spec->hidden, spec->value_channels}, logits_shape[] = {B, T, spec->vocab};
    double *logits = add(d, "logits", 3, logits_shape), *loss = add(d, "loss", 0, NULL), *states[16];
    for (size_t s = 0; s <= sublayers; s++) {
        char name[32];
        (void)snprintf(name, sizeof name, "states.%zu", s);
        states[s] = add(d, name, 4, state_shape);
    }
    ds_bounded x = {malloc(state * sizeof(double)), malloc(state * sizeof(double))};
    ds_bounded hidden = {malloc(T * spec->hidden * sizeof(double)), malloc(T * spec->hidden * sizeof(double))};
    assert_true(x.x != NULL && x.e != NULL && hidden.x != NULL && hidden.e != NULL);
    ds_plain plain;
    expect_ok(ds_plain_init(&plain, c->model, T));
    const double *table = ds_plain_find(c->model, "transformer.wte.weight", NULL);
    *loss = 0;
    for (size_t b = 0; b < B; b++) {
        ds_plain_embed(x, &plain, c->tokens + b * T);
        for (size_t s = 0; s <= sublayers; s++) {
            memcpy(states[s] + b * state, x.x, state * sizeof *x.x);
            if (s < sublayers) expect_ok(ds_plain_sublayer(&plain, x, s));
        }
        expect_ok(ds_plain_readout(&plain, hidden, x));
        expect_ok(ds_plain_linear(logits + b * T * spec->vocab, hidden.x, table, T, spec->vocab, spec->hidden));
    }
    for (size_t t = 0; t < B * T; t++) {
        double sum = 0;
        for (size_t k = 0; k < spec->vocab; k++) sum += exp(logits[t * spec->vocab + k]);
        /* cppcheck-suppress invalidFunctionArg; no vocabulary is empty */
        *loss += (log(sum) - logits[t * spec->vocab + c->targets[t]]) / (B * T);
    }
    ds_plain_release(&plain);
    free(x.x), free(x.e), free(hidden.x), free(hidden.e);
}

static void add_gradients(dump *d, const forward_case *c) {
    const ds_gradient_options options = {.parameters = true};
    ds_gradient *gradient = NULL;
    double nll[B * T];
    expect_ok(ds_gradient_new(&gradient, c->model, B, T, &options));
    expect_ok(ds_backward(gradient, &c->batch, NULL, 1.0 / (B * T), NULL, nll));
    for (size_t i = 0; i < ds_model_parameters(c->model); i++) {
        const ds_parameter *p = ds_model_parameter(c->model, i);
        char name[96];
        (void)snprintf(name, sizeof name, "grad.%s", p->name);
        double *out = add(d, name, p->rank, p->shape);
        memcpy(out, ds_gradient_parameter(gradient, i), p->count * sizeof(double));
    }
    ds_gradient_free(&gradient);
}

static void compare(ds_check_result *results, ds_reference *reference, const forward_case *c) {
    forward_case moved = forward_case_open(model_name, DS_F64, B, T);
    expect_ok(ds_reference_compare(results, reference, c->model, moved.model, &c->batch, 9));
    forward_case_close(&moved);
}

static void test_agreement(void **state) {
    (void)state;
    forward_case c = forward_case_open(model_name, DS_F64, B, T);
    static dump d;
    ds_reference *reference = NULL;
    ds_check_result results[MOST];
    size_t sequences, length;
    const char *path = scratch_path("sound.safetensors");
    add_forward(&d, &c);
    add_gradients(&d, &c);
    expect_ok(ds_safetensors_write(path, d.tensors, d.count));
    expect_ok(ds_reference_open(&reference, path, c.model));
    assert_int_equal(ds_reference_count(reference), d.count);
    ds_reference_windows(reference, &sequences, &length);
    assert_true(sequences == B && length == T);
    compare(results, reference, &c);
    for (size_t i = 0; i < d.count; i++) {
        if (results[i].status != DS_CHECK_PASS)
            fail_msg("%s: %g > %g (%s)", ds_reference_name(reference, i), results[i].measured, results[i].tolerance,
                     results[i].detail);
    }
    ds_reference_close(&reference);
    dump_release(&d);
    forward_case_close(&c);
}

/* One element is changed, in each kind of tensor: that tensor fails, that element is named, the others pass. */
static void test_worst_element(void **state) {
    (void)state;
    const struct {
        const char *name, *place;
        size_t element;
        double change;
    } cases[] = {
        {"logits", "worst at [1,0,7]", T * 65 + 7, 1e-9},
        {"loss", "worst at []", 0, 1e-9},
        {"states.2", "worst at [0,3,5,1]", (3 * 32 + 5) * 4 + 1, 1e-9},
        {"grad.transformer.h.1.mlp.c_fc2.weight", "worst at [2,3]", 2 * 32 + 3, NAN},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        forward_case c = forward_case_open(model_name, DS_F64, B, T);
        static dump d;
        ds_reference *reference = NULL;
        ds_check_result results[MOST];
        d.count = 0;
        add_forward(&d, &c);
        add_gradients(&d, &c);
        for (size_t j = 0; j < d.count; j++) {
            if (strcmp(d.names[j], cases[i].name) == 0)
                ((double *)(uintptr_t)d.tensors[j].values)[cases[i].element] += cases[i].change;
        }
        const char *path = scratch_path("changed.safetensors");
        expect_ok(ds_safetensors_write(path, d.tensors, d.count));
        expect_ok(ds_reference_open(&reference, path, c.model));
        compare(results, reference, &c);
        for (size_t j = 0; j < d.count; j++) {
            bool changed = strcmp(ds_reference_name(reference, j), cases[i].name) == 0;
            assert_int_equal(results[j].status, changed ? DS_CHECK_FAIL : DS_CHECK_PASS);
            if (changed && strncmp(results[j].detail, cases[i].place, strlen(cases[i].place)) != 0)
                fail_msg("%s: \"%s\", expected \"%s\"", cases[i].name, results[j].detail, cases[i].place);
        }
        ds_reference_close(&reference);
        dump_release(&d);
        forward_case_close(&c);
    }
}

static void test_refusals(void **state) {
    (void)state;
    const struct {
        const char *name;
        size_t rank, shape[4];
        const char *words;
    } cases[] = {
        {"logits", 3, {B, T, 64}, "has shape (2,12,64), expected (B,T,65)"},
        {"states.2", 3, {B, T, 32}, "has shape (2,12,32), expected (B,T,32,4)"},
        {"states.5", 4, {B, T, 32, 4}, "expected states.0 to states.4"},
        {"states.x", 4, {B, T, 32, 4}, "no state of that number"},
        {"grad.transformer.h.9.ln_1.weight", 1, {32}, "no parameter of that name"},
        {"grad.transformer.h.0.ln_1.weight", 1, {31}, "has shape (31), expected (32)"},
        {"loss", 1, {2}, "has shape (2), expected (1)"},
        {"attention", 1, {2}, "found tensor attention"},
    };
    forward_case c = forward_case_open(model_name, DS_F64, B, T);
    ds_reference *none = NULL;
    const char *empty = scratch_path("empty.safetensors");
    expect_ok(ds_safetensors_write(empty, NULL, 0));
    expect_failure(ds_reference_open(&none, empty, c.model), DS_ERR_INPUT, "empty.safetensors: no tensors, expected");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        static dump d;
        ds_reference *reference = NULL;
        d.count = 0;
        size_t count = 1;
        double *values = add(&d, cases[i].name, cases[i].rank, cases[i].shape);
        for (size_t a = 0; a < cases[i].rank; a++) count *= cases[i].shape[a];
        memset(values, 0, count * sizeof *values);
        const char *path = scratch_path("refused.safetensors");
        expect_ok(ds_safetensors_write(path, d.tensors, d.count));
        expect_failure(ds_reference_open(&reference, path, c.model), DS_ERR_INPUT, cases[i].words);
        assert_null(reference);
        dump_release(&d);
    }
    forward_case_close(&c);
}

/* The exit status is 1, and the JSON names the tensor. */
static void test_command(void **state) {
    (void)state;
    const char *program = getenv("DELTASCOPE") != NULL ? getenv("DELTASCOPE") : "build/deltascope";
    forward_case c = forward_case_open(model_name, DS_F64, B, T);
    for (int wrong = 0; wrong < 2; wrong++) {
        static dump d;
        char line[512];
        d.count = 0;
        add_forward(&d, &c);
        ((double *)(uintptr_t)d.tensors[0].values)[3] += wrong;
        const char *path = scratch_path("command.safetensors");
        expect_ok(ds_safetensors_write(path, d.tensors, d.count));
        (void)snprintf(line, sizeof line,
                       "%s verify --quiet --only pass.batch --reference %s --tokens fixtures/data/val.bin --seq-len %d "
                       "fixtures/models/%s",
                       program, path, T, model_name);
        assert_int_equal(system(line), wrong * 256);
        dump_release(&d);
    }
    forward_case_close(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_agreement),
        cmocka_unit_test(test_worst_element),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_command),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    ds_threads_stop();
    return failed;
}
