/* The backward pass: golden values of every variant and option, central differences, and what must hold whatever the
 * numbers. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "deltascope/gradient.h"

#include "forward_case.h"
#include "support.h"

static ds_gradient *open_gradient(const forward_case *c, bool paths, size_t memory) {
    ds_gradient *gradient;
    const ds_gradient_options options = {.memory = memory, .parameters = true, .paths = paths};
    expect_ok(ds_gradient_new(&gradient, c->model, c->batch.sequences, c->batch.length, &options));
    return gradient;
}

/* Mean loss; its gradient is left in `gradient`. */
static double mean_loss(ds_gradient *gradient, const forward_case *c, const ds_force *gates,
                        const ds_gradient_observer *observer) {
    size_t tokens = forward_case_tokens(c);
    double *nll = calloc(tokens, sizeof *nll), sum = 0;
    assert_non_null(nll);
    expect_ok(ds_backward(gradient, &c->batch, gates, 1 / (double)tokens, observer, nll));
    for (size_t t = 0; t < tokens; t++) sum += nll[t];
    free(nll);
    return sum / (double)tokens;
}

/* Keeps the gradient of every state. */
typedef struct kept_states {
    void **gradients; /* (S+1) */
    size_t bytes;
    double *gate_slope; /* (S), summed over tokens */
} kept_states;

static ds_status keep_state(void *context, const ds_gradient_event *event) {
    kept_states *kept = context;
    size_t tokens = event->sequences * event->length;
    kept->gradients[event->index] = malloc(kept->bytes);
    assert_non_null(kept->gradients[event->index]);
    memcpy(kept->gradients[event->index], event->gradient, kept->bytes);
    for (size_t t = 0; event->delta != NULL && t < tokens; t++) kept->gate_slope[event->index] += event->delta->gate_slope[t];
    return DS_OK;
}

static kept_states keep_states(const forward_case *c) {
    size_t sublayers = ds_spec_sublayers(c->spec);
    kept_states kept = {.bytes = forward_case_state_bytes(c)};
    kept.gradients = calloc(sublayers + 1, sizeof *kept.gradients);
    kept.gate_slope = calloc(sublayers, sizeof *kept.gate_slope);
    assert_true(kept.gradients != NULL && kept.gate_slope != NULL);
    return kept;
}

static void free_states(kept_states *kept, const forward_case *c) {
    for (size_t s = 0; s <= ds_spec_sublayers(c->spec); s++) free(kept->gradients[s]);
    free(kept->gradients);
    free(kept->gate_slope);
}

/* ---- golden values ----------------------------------------------------------------------------------------------- */

/* The golden values are promised to 1e-8 relative. */
static const double golden_tolerance = 1e-8;

static ds_status expect_golden_state(void *context, const ds_gradient_event *event) {
    const forward_case *c = context;
    const json_t *gradflow = json_object_get(c->golden, "gradflow"), *paths = json_object_get(gradflow, "paths");
    size_t tokens = event->sequences * event->length;
    double sum = 0, expected = json_number_value(json_array_get(json_object_get(gradflow, "states"), event->index));
    for (size_t t = 0; t < tokens; t++) sum += event->norm2[t];
    expect_close(sqrt(sum), expected, golden_tolerance * expected);
    if (event->paths == NULL || paths == NULL) return DS_OK;
    const json_t *path = json_array_get(paths, event->index);
    ds_path_squares squares = {0};
    ds_path_squares_add(&squares, event->paths, tokens);
    ds_path_norms norms = ds_path_squares_norms(&squares);
    double value = golden_number(path, "value_norm"), gate = golden_number(path, "gate_norm");
    expect_close(norms.shortcut, golden_number(path, "shortcut_norm"), golden_tolerance * expected);
    expect_close(norms.parts[DS_PATH_BRANCH], golden_number(path, "direction_norm"), golden_tolerance * expected);
    expect_close(norms.parts[DS_PATH_CONTEXT], gate, golden_tolerance * gate);
    expect_close(norms.parts[DS_PATH_INPUT], value, golden_tolerance * value);
    expect_close(norms.total, expected, golden_tolerance * expected);
    expect_close(norms.cosine_shortcut_total, golden_number(path, "cosine_shortcut_total"), golden_tolerance);
    /* five sums of numbers at most a few times the total, each path a dozen roundings after they part */
    expect_close(norms.sum_error, 0, 64 * ds_unit_roundoff(event->precision));
    return DS_OK;
}

/* Golden parameters carry the older generation's names. */
static void older_name(char name[128], const ds_parameter *parameter) {
    static const char *const renamed[][2] = {{"attn.o_proj.weight", "attn.c_proj.weight"},
                                             {"mlp.o_proj.weight", "mlp.c_proj.weight"},
                                             {"input_embed.weight", "input_embed.conv.weight"}};
    (void)snprintf(name, 128, "%s", parameter->name);
    for (size_t i = 0; i < sizeof renamed / sizeof renamed[0]; i++) {
        const char *at = strstr(parameter->name, renamed[i][0]);
        if (at != NULL) (void)snprintf(name, 128, "%.*s%s", (int)(at - parameter->name), parameter->name, renamed[i][1]);
    }
    bool compressor = strstr(name, "compress.weight") != NULL || strcmp(name, "readout.weight") == 0;
    if (compressor && parameter->rank == 3)
        (void)snprintf(name, 128, "%.*s.shortconv.weight", (int)(strrchr(parameter->name, '.') - parameter->name),
                       parameter->name);
}

static void golden_gradients(void **state) {
    (void)state;
    for (size_t i = 0; i < forward_model_count; i++) {
        forward_case c = forward_case_open(forward_models[i], DS_F64, 0, 0);
        ds_gradient *gradient = open_gradient(&c, true, 0);
        ds_gradient_observer observer = {expect_golden_state, &c};
        const json_t *parameters = json_object_get(json_object_get(c.golden, "gradflow"), "parameters");
        double loss = golden_number(c.golden, "loss");
        expect_close(mean_loss(gradient, &c, NULL, &observer), loss, 1e-9 * loss); /* as promised for losses */
        for (size_t p = 0; p < ds_model_parameters(c.model); p++) {
            const ds_parameter *parameter = ds_model_parameter(c.model, p);
            const double *values = ds_gradient_parameter(gradient, p);
            char name[128];
            double sum = 0;
            older_name(name, parameter);
            for (size_t v = 0; v < parameter->count; v++) sum += values[v] * values[v];
            double expected = golden_number(parameters, name);
            if (!(fabs(sqrt(sum) - expected) <= golden_tolerance * expected)) print_error("%s %s:\n", c.name, name);
            expect_close(sqrt(sum), expected, golden_tolerance * expected);
        }
        ds_gradient_free(&gradient);
        forward_case_close(&c);
    }
}

/* ---- central differences ----------------------------------------------------------------------------------------- */

/* Loss along a line, extrapolated: with D(h) = (f(h) - f(-h)) / 2h the combination (4 D(h/2) - D(h)) / 3 errs by O(h^4). */
typedef double (*line)(void *context, double step);
static double slope(line f, void *context, double h) {
    double wide = (f(context, h) - f(context, -h)) / (2 * h);
    double narrow = (f(context, h / 2) - f(context, -h / 2)) / h;
    return (4 * narrow - wide) / 3;
}

/* With h = 1e-3 times the scale of what moves: truncation about h^4, cancellation about 2^-50 |f| / h; the slopes compared are
 * of the gradient's size, and derivatives of high order may be a thousand times larger than it. A step across the kink of a
 * relu would compare two different slopes: there h is so small that none is met. */
static const double difference_tolerance = 1e-6;
static double relative_step(const forward_case *c) {
    const ds_spec *spec = c->spec;
    bool kink = spec->q_activation == DS_ACT_RELU || spec->k_activation == DS_ACT_RELU || spec->v_activation == DS_ACT_RELU;
    return kink ? 1e-6 : 1e-3;
}
static double rounding(const forward_case *c, double h) { return 0x1p-50 * log((double)c->spec->vocab) / h; }

static double forward_loss(const forward_case *c, const ds_force *gates) {
    size_t tokens = forward_case_tokens(c);
    double *nll = calloc(tokens, sizeof *nll), sum = 0;
    assert_non_null(nll);
    expect_ok(ds_forward(c->workspace, c->model, &c->batch, gates, NULL, nll));
    for (size_t t = 0; t < tokens; t++) sum += nll[t];
    free(nll);
    return sum / (double)tokens;
}

typedef struct parameter_line {
    const forward_case *c;
    const ds_force *gates;
    double *values, *origin, *direction;
    size_t count;
} parameter_line;

static double loss_along_parameter(void *context, double step) {
    const parameter_line *l = context;
    for (size_t i = 0; i < l->count; i++) l->values[i] = l->origin[i] + step * l->direction[i];
    ds_model_refresh(l->c->model);
    double loss = forward_loss(l->c, l->gates);
    memcpy(l->values, l->origin, l->count * sizeof *l->values);
    ds_model_refresh(l->c->model);
    return loss;
}

static double norm(const double *x, size_t count) {
    double sum = 0;
    for (size_t i = 0; i < count; i++) sum += x[i] * x[i];
    return sqrt(sum);
}

/* A direction close to the gradient plus noise of its size, so that slopes are never small by chance; and single entries. */
static void expect_parameter_slopes(const forward_case *c, const ds_force *gates, const ds_parameter *parameter,
                                    const double *gradient, ds_random *random) {
    size_t count = parameter->count;
    parameter_line l = {c, gates, parameter->values, malloc(count * sizeof(double)), calloc(count, sizeof(double)), count};
    assert_true(l.origin != NULL && l.direction != NULL);
    memcpy(l.origin, l.values, count * sizeof(double));
    double size = norm(gradient, count), scale = relative_step(c) * fmax(1, norm(l.origin, count) / sqrt((double)count));
    if (size == 0) size = 1; /* then every slope must be 0 */
    for (size_t entry = 0; entry < 4; entry++) {
        double expected = 0;
        size_t chosen = (size_t)ds_random_below(random, count);
        for (size_t i = 0; i < count; i++) {
            double noise = ds_random_normal(random) / sqrt((double)count);
            l.direction[i] = entry == 0 ? gradient[i] / size + noise : i == chosen ? 1 : 0;
            expected += l.direction[i] * gradient[i];
        }
        double found = slope(loss_along_parameter, &l, scale), tolerance = difference_tolerance * size + rounding(c, scale);
        if (!(fabs(found - expected) <= tolerance)) print_error("%s %s:\n", c->name, parameter->name);
        expect_close(found, expected, tolerance);
    }
    free(l.origin);
    free(l.direction);
}

static void expect_all_parameter_slopes(const forward_case *c, const ds_force *gates) {
    const uint64_t seed = 31;
    ds_random random = ds_random_init(seed);
    ds_gradient *gradient = open_gradient(c, false, 0);
    (void)mean_loss(gradient, c, gates, NULL);
    for (size_t p = 0; p < ds_model_parameters(c->model); p++)
        expect_parameter_slopes(c, gates, ds_model_parameter(c->model, p), ds_gradient_parameter(gradient, p), &random);
    ds_gradient_free(&gradient);
}

static void parameters_agree_with_differences(void **state) {
    (void)state;
    print_message("seed 31\n");
    for (size_t i = 0; i + 1 < forward_mild_count; i++) { /* the trained model is large; the small ones cover every option */
        forward_case c = forward_case_open(forward_models[i], DS_F64, 2, 5);
        expect_all_parameter_slopes(&c, NULL);
        forward_case_close(&c);
    }
}

/* What reaches across the edge of a tile of 512 tokens: shifts, the taps of TC and of the input convolution, keys and
 * values. */
static void tiles_join(void **state) {
    (void)state;
    static const char *const names[] = {"scalar-kvshift", "tc-ec-sharded"};
    static const char *const crossing[] = {"0.attn.c_k", "0.attn.c_v.linear", "0.compress.", "input_embed", "0.ln_1"};
    ds_random random = ds_random_init(34);
    print_message("seed 34\n");
    for (size_t i = 0; i < 2; i++) {
        forward_case c = forward_case_open(names[i], DS_F64, 1, 530);
        ds_gradient *gradient = open_gradient(&c, false, 0);
        (void)mean_loss(gradient, &c, NULL, NULL);
        for (size_t p = 0; p < ds_model_parameters(c.model); p++) {
            const ds_parameter *parameter = ds_model_parameter(c.model, p);
            for (size_t k = 0; k < sizeof crossing / sizeof crossing[0]; k++)
                if (strstr(parameter->name, crossing[k]) != NULL)
                    expect_parameter_slopes(&c, NULL, parameter, ds_gradient_parameter(gradient, p), &random);
        }
        ds_gradient_free(&gradient);
        forward_case_close(&c);
    }
}

/* A window of one token is not shifted and attends to itself. */
static void one_token_agrees_with_differences(void **state) {
    (void)state;
    static const char *const names[] = {"scalar-kvshift", "tc-output-gate"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        forward_case c = forward_case_open(names[i], DS_F64, 2, 1);
        expect_all_parameter_slopes(&c, NULL);
        forward_case_close(&c);
    }
}

static void forced_gates_agree_with_differences(void **state) {
    (void)state;
    static const char *const names[] = {"scalar-two-layer-gate", "tc-ec-sharded", "cc-bf16"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        forward_case c = forward_case_open(names[i], DS_F64, 2, 4);
        ds_force *gates = calloc(ds_spec_sublayers(c.spec), sizeof *gates);
        assert_non_null(gates);
        static const ds_force forced[] = {
            {DS_FORCE_WRITE_ONLY, 0}, {DS_FORCE_ERASE_ONLY, 0}, {DS_FORCE_GATE, 0.7}, {DS_FORCE_CLOSED, 0}};
        for (size_t turn = 0; turn < 2; turn++) {
            for (size_t s = 0; s < ds_spec_sublayers(c.spec); s++) gates[s] = forced[(s + turn) % 4];
            expect_all_parameter_slopes(&c, gates);
        }
        free(gates);
        forward_case_close(&c);
    }
}

typedef struct state_line {
    const forward_case *c;
    double *origin, *moved, *direction;
    size_t from, count;
} state_line;

static double loss_along_state(void *context, double step) {
    const state_line *l = context;
    size_t tokens = forward_case_tokens(l->c);
    double *hidden = malloc(tokens * l->c->spec->hidden * sizeof *hidden), *nll = calloc(tokens, sizeof *nll), sum = 0;
    assert_true(hidden != NULL && nll != NULL);
    for (size_t i = 0; i < l->count; i++) l->moved[i] = l->origin[i] + step * l->direction[i];
    expect_ok(
        ds_sublayers(l->c->workspace, l->c->model, &l->c->batch, l->moved, l->from, ds_spec_sublayers(l->c->spec), NULL, NULL));
    expect_ok(ds_readout(l->c->workspace, l->c->model, &l->c->batch, NULL, l->moved, hidden));
    expect_ok(ds_head_loss(l->c->workspace, l->c->model, &l->c->batch, hidden, nll));
    for (size_t t = 0; t < tokens; t++) sum += nll[t];
    free(hidden);
    free(nll);
    return sum / (double)tokens;
}

static void states_agree_with_differences(void **state) {
    (void)state;
    ds_random random = ds_random_init(32);
    print_message("seed 32\n");
    for (size_t m = 0; m < forward_mild_count; m++) {
        forward_case c = forward_case_open(forward_models[m], DS_F64, 2, 6);
        ds_gradient *gradient = open_gradient(&c, false, 0);
        kept_states kept = keep_states(&c);
        ds_gradient_observer observer = {keep_state, &kept};
        (void)mean_loss(gradient, &c, NULL, &observer);
        state_line l = {.c = &c, .origin = forward_case_embed(&c), .count = kept.bytes / sizeof(double)};
        l.moved = malloc(kept.bytes);
        l.direction = malloc(kept.bytes);
        assert_true(l.moved != NULL && l.direction != NULL);
        for (l.from = 0; l.from <= ds_spec_sublayers(c.spec); l.from++) {
            const double *g = kept.gradients[l.from];
            double size = norm(g, l.count), expected = 0;
            for (size_t i = 0; i < l.count; i++) {
                l.direction[i] = g[i] / size + ds_random_normal(&random) / sqrt((double)l.count);
                expected += l.direction[i] * g[i];
            }
            double h = relative_step(&c) * norm(l.origin, l.count) / 10; /* the direction has norm about 1.4 */
            expect_close(slope(loss_along_state, &l, h), expected, difference_tolerance * size + rounding(&c, h));
            if (l.from < ds_spec_sublayers(c.spec))
                expect_ok(ds_sublayers(c.workspace, c.model, &c.batch, l.origin, l.from, l.from + 1, NULL, NULL));
        }
        free(l.origin);
        free(l.moved);
        free(l.direction);
        free_states(&kept, &c);
        ds_gradient_free(&gradient);
        forward_case_close(&c);
    }
}

/* ---- what holds whatever the numbers are ------------------------------------------------------------------------- */

static void *copy_parameters(const ds_gradient *gradient, const forward_case *c, size_t *bytes) {
    *bytes = 0;
    for (size_t p = 0; p < ds_model_parameters(c->model); p++) *bytes += ds_model_parameter(c->model, p)->count * c->size;
    assert_true(*bytes > 0);
    char *all = malloc(*bytes), *at = all;
    assert_non_null(all);
    for (size_t p = 0; p < ds_model_parameters(c->model); p++) {
        size_t size = ds_model_parameter(c->model, p)->count * c->size;
        memcpy(at, ds_gradient_parameter(gradient, p), size);
        at += size;
    }
    return all;
}

/* The losses are those of the forward pass, bit for bit. */
static void losses_are_the_forward_pass(void **state) {
    (void)state;
    for (size_t i = 0; i < forward_model_count; i++) {
        for (size_t precision = 0; precision < 2; precision++) {
            forward_case c = forward_case_open(forward_models[i], precision == 0 ? DS_F32 : DS_F64, 2, 13);
            ds_gradient *gradient = open_gradient(&c, false, 0);
            double found[2 * 13], expected[2 * 13];
            expect_ok(ds_backward(gradient, &c.batch, NULL, 1, NULL, found));
            expect_ok(ds_forward(c.workspace, c.model, &c.batch, NULL, NULL, expected));
            assert_memory_equal(found, expected, sizeof found);
            ds_gradient_free(&gradient);
            forward_case_close(&c);
        }
    }
}

/* Threads, and how much of the tape is kept, change no bit. */
static void threads_and_memory_change_nothing(void **state) {
    (void)state;
    for (size_t i = 0; i < forward_model_count; i++) {
        void *first = NULL, *states = NULL;
        for (size_t turn = 0; turn < 4; turn++) {
            expect_ok(ds_threads_set(turn == 1 ? 3 : 1));
            forward_case c = forward_case_open(forward_models[i], DS_F32, 2, 19);
            ds_gradient *gradient = open_gradient(&c, turn == 3, turn == 2 ? 1 : 0);
            kept_states kept = keep_states(&c);
            ds_gradient_observer observer = {keep_state, &kept};
            size_t bytes;
            (void)mean_loss(gradient, &c, NULL, &observer);
            void *now = copy_parameters(gradient, &c, &bytes);
            if (turn == 0) {
                first = now;
                states = malloc(kept.bytes);
                assert_non_null(states);
                memcpy(states, kept.gradients[0], kept.bytes);
            } else {
                assert_memory_equal(first, now, bytes);
                assert_memory_equal(states, kept.gradients[0], kept.bytes);
                free(now);
            }
            free_states(&kept, &c);
            ds_gradient_free(&gradient);
            forward_case_close(&c);
        }
        free(first);
        free(states);
    }
    expect_ok(ds_threads_set(0));
}

/* Float against double: a rounding error of 2^-24 enters at each of some twenty steps of a sublayer and is carried along by
 * Jacobians whose norms are of order one; sums over rows of a few hundred terms add their square root. */
static void float_follows_double(void **state) {
    (void)state;
    for (size_t i = 0; i < forward_mild_count; i++) {
        forward_case narrow = forward_case_open(forward_models[i], DS_F32, 2, 16);
        forward_case wide = forward_case_open(forward_models[i], DS_F64, 2, 16);
        ds_gradient *g32 = open_gradient(&narrow, false, 0), *g64 = open_gradient(&wide, false, 0);
        (void)mean_loss(g32, &narrow, NULL, NULL);
        (void)mean_loss(g64, &wide, NULL, NULL);
        double tolerance = 20 * 16 * (double)ds_spec_sublayers(wide.spec) * ds_unit_roundoff(DS_F32);
        for (size_t p = 0; p < ds_model_parameters(wide.model); p++) {
            size_t count = ds_model_parameter(wide.model, p)->count;
            const float *found = ds_gradient_parameter(g32, p);
            const double *expected = ds_gradient_parameter(g64, p);
            double difference = 0;
            for (size_t v = 0; v < count; v++)
                difference += ((double)found[v] - expected[v]) * ((double)found[v] - expected[v]);
            expect_close(sqrt(difference), 0, tolerance * norm(expected, count));
        }
        ds_gradient_free(&g32);
        ds_gradient_free(&g64);
        forward_case_close(&narrow);
        forward_case_close(&wide);
    }
}

/* Two batches of one window add up to one batch of two; states' gradients keep every bit. */
static void batches_accumulate(void **state) {
    (void)state;
    forward_case c = forward_case_open("cc-ec-activations", DS_F64, 2, 12);
    ds_gradient *together = open_gradient(&c, false, 0), *apart = open_gradient(&c, false, 0);
    kept_states whole = keep_states(&c);
    ds_gradient_observer observer = {keep_state, &whole};
    (void)mean_loss(together, &c, NULL, &observer);
    size_t length = c.batch.length, half = whole.bytes / 2;
    double nll[12];
    for (size_t window = 0; window < 2; window++) {
        ds_batch one = {c.tokens + window * length, c.targets + window * length, 1, length};
        kept_states kept = keep_states(&c);
        kept.bytes = half;
        ds_gradient_observer single = {keep_state, &kept};
        expect_ok(ds_backward(apart, &one, NULL, 1 / (2 * (double)length), &single, nll));
        for (size_t s = 0; s <= ds_spec_sublayers(c.spec); s++)
            assert_memory_equal(kept.gradients[s], (char *)whole.gradients[s] + window * half, half);
        free_states(&kept, &c);
    }
    for (size_t p = 0; p < ds_model_parameters(c.model); p++) {
        size_t count = ds_model_parameter(c.model, p)->count;
        const double *a = ds_gradient_parameter(together, p), *b = ds_gradient_parameter(apart, p);
        double size = norm(a, count);
        /* sums of at most 24 terms in another order */
        for (size_t i = 0; i < count; i++) expect_close(b[i], a[i], 48 * ds_unit_roundoff(DS_F64) * size);
    }
    ds_gradient_zero(apart);
    for (size_t p = 0; p < ds_model_parameters(c.model); p++)
        assert_true(norm(ds_gradient_parameter(apart, p), ds_model_parameter(c.model, p)->count) == 0);
    free_states(&whole, &c);
    ds_gradient_free(&together);
    ds_gradient_free(&apart);
    forward_case_close(&c);
}

/* gate_slope is the derivative when the applied gate is scaled: against gates fixed at what they are, scaled. One token. */
typedef struct gate_line {
    const forward_case *c;
    ds_force *gates;
    double beta;
    size_t sublayer;
} gate_line;
static double loss_along_gate(void *context, double step) {
    const gate_line *l = context;
    l->gates[l->sublayer].value = l->beta * (1 + step);
    return forward_loss(l->c, l->gates);
}

static void gate_slope_agrees_with_differences(void **state) {
    (void)state;
    forward_case c = forward_case_open("cc-bf16", DS_F64, 2, 8);
    size_t sublayers = ds_spec_sublayers(c.spec);
    ds_force *gates = calloc(sublayers, sizeof *gates);
    assert_non_null(gates);
    for (size_t s = 0; s < sublayers; s++) gates[s] = (ds_force){DS_FORCE_GATE, 0.4 + 0.3 * (double)s};
    ds_gradient *gradient = open_gradient(&c, false, 0);
    kept_states kept = keep_states(&c);
    ds_gradient_observer observer = {keep_state, &kept};
    (void)mean_loss(gradient, &c, gates, &observer);
    for (size_t s = 0; s < sublayers; s++) {
        gate_line l = {&c, gates, gates[s].value, s};
        double found = slope(loss_along_gate, &l, relative_step(&c));
        gates[s].value = l.beta;
        expect_close(kept.gate_slope[s], found, difference_tolerance * fmax(fabs(found), 0.01));
    }
    free(gates);
    free_states(&kept, &c);
    ds_gradient_free(&gradient);
    forward_case_close(&c);
}

/* dloss/dx_emb: moving the embedding of a token that occurs once, at the input only, is moving X_0 through the input stage. The
 * tied table's gradient is the scattered sum of these plus the head's part, whose rows of tokens not in the input have none. */
static void embeddings_are_scattered(void **state) {
    (void)state;
    forward_case c = forward_case_open("cc-ec-vlinear", DS_F64, 2, 9);
    ds_gradient *gradient = open_gradient(&c, false, 0);
    kept_states kept = keep_states(&c);
    ds_gradient_observer observer = {keep_state, &kept};
    (void)mean_loss(gradient, &c, NULL, &observer);
    size_t d = c.spec->hidden, tokens = forward_case_tokens(&c);
    const double *embeddings = ds_gradient_embeddings(gradient), *g0 = kept.gradients[0];
    ds_random random = ds_random_init(33);
    double *table = ds_model_parameter(c.model, 0)->values, inner = 0, along = 0;
    assert_string_equal(ds_model_parameter(c.model, 0)->role, "token embedding");
    double *before = forward_case_embed(&c), *direction = calloc(c.spec->vocab * d, sizeof *direction);
    assert_non_null(direction);
    for (size_t i = 0; i < c.spec->vocab * d; i++) table[i] += direction[i] = ds_random_normal(&random);
    double *after = forward_case_embed(&c); /* linear in the table: the difference is exact but for rounding */
    for (size_t i = 0; i < kept.bytes / sizeof *g0; i++) inner += g0[i] * (after[i] - before[i]);
    for (size_t t = 0; t < tokens; t++)
        for (size_t i = 0; i < d; i++) along += embeddings[t * d + i] * direction[c.tokens[t] * d + i];
    double scale = norm(g0, kept.bytes / sizeof *g0) * norm(after, kept.bytes / sizeof *g0);
    expect_close(along, inner, 64 * (double)d * ds_unit_roundoff(DS_F64) * scale);
    free(before);
    free(after);
    free(direction);
    free_states(&kept, &c);
    ds_gradient_free(&gradient);
    forward_case_close(&c);
}

static void misuse_is_refused(void **state) {
    (void)state;
    forward_case c = forward_case_open("additive-small", DS_F64, 1, 4);
    ds_gradient *gradient = open_gradient(&c, false, 0);
    ds_batch large = {c.tokens, c.targets, 2, 4};
    ds_force gates[2 * 64] = {{DS_FORCE_WRITE_ONLY, 0}};
    uint32_t target = c.targets[0];
    double nll[8];
    expect_failure(ds_backward(gradient, &large, NULL, 1, NULL, nll), DS_ERR_USAGE, "does not fit");
    expect_failure(ds_backward(gradient, &c.batch, gates, 1, NULL, nll), DS_ERR_USAGE, "has no gate");
    expect_failure(ds_tangent(gradient, NULL), DS_ERR_USAGE, "linearised");
    c.targets[0] = (uint32_t)c.spec->vocab;
    expect_failure(ds_backward(gradient, &c.batch, NULL, 1, NULL, nll), DS_ERR_INPUT, "target 0");
    c.targets[0] = target;
    ds_gradient_free(&gradient);
    forward_case_close(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_gradients),
        cmocka_unit_test(parameters_agree_with_differences),
        cmocka_unit_test(tiles_join),
        cmocka_unit_test(one_token_agrees_with_differences),
        cmocka_unit_test(forced_gates_agree_with_differences),
        cmocka_unit_test(states_agree_with_differences),
        cmocka_unit_test(losses_are_the_forward_pass),
        cmocka_unit_test(threads_and_memory_change_nothing),
        cmocka_unit_test(float_follows_double),
        cmocka_unit_test(batches_accumulate),
        cmocka_unit_test(gate_slope_agrees_with_differences),
        cmocka_unit_test(embeddings_are_scattered),
        cmocka_unit_test(misuse_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
