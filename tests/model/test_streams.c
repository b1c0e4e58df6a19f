/* Parallel streams: derivatives against differences and the adjoint for every rule and force; what must hold whatever the
 * weights. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "deltascope/gradient.h"
#include "model/rule_streams.h"

#include "support.h"
#include "toy.h"

enum { WINDOWS = 2, LENGTH = 4, TOKENS = WINDOWS * LENGTH, HIDDEN_SIZE = 10, TURNS = 4 * DS_STREAM_RULES };

/* A small model of one of the rules, no weight of it special, and a batch. */
typedef struct stream_case {
    ds_spec spec;
    ds_model *model;
    ds_workspace *workspace;
    uint32_t tokens[TOKENS], targets[TOKENS];
    ds_batch batch;
    ds_force forces[6];
    double *means;
    size_t width; /* of a state */
} stream_case;

static ds_spec stream_spec(size_t rule, size_t streams) {
    ds_spec spec = toy_spec("additive");
    spec.rule = &ds_stream_rules[rule];
    spec.layers = 2;
    spec.residual_mult = 0.8;
    spec.streams = (ds_stream_spec){.count = streams, .dynamic = true, .rounds = 6, .temperature = 1};
    return spec;
}

static void move_weights(ds_model *model, double deviation, ds_random *random) {
    for (size_t p = 0; p < ds_model_parameters(model); p++) {
        const ds_parameter *parameter = ds_model_parameter(model, p);
        for (size_t i = 0; i < parameter->count; i++) {
            double noise = deviation * ds_random_normal(random);
            if (ds_model_precision(model) == DS_F32)
                ((float *)parameter->values)[i] += (float)noise;
            else
                ((double *)parameter->values)[i] += noise;
        }
    }
}

static void case_open(stream_case *c, const ds_spec *spec, ds_precision precision, uint64_t seed) {
    ds_random random = ds_random_init(seed);
    size_t means = ds_spec_sublayers(spec) * ds_stream_mixing(spec->streams.count);
    *c = (stream_case){.spec = *spec, .batch = {c->tokens, c->targets, WINDOWS, LENGTH}};
    expect_ok(ds_model_random(&c->model, spec, precision, seed));
    move_weights(c->model, 0.3, &random);
    expect_ok(ds_workspace_new(&c->workspace, c->model, WINDOWS, LENGTH));
    for (size_t t = 0; t < TOKENS; t++) {
        c->tokens[t] = (uint32_t)ds_random_below(&random, spec->vocab);
        c->targets[t] = (uint32_t)ds_random_below(&random, spec->vocab);
    }
    c->means = malloc(means * sizeof *c->means);
    assert_non_null(c->means);
    for (size_t i = 0; i < means; i++) c->means[i] = 0.3 * ds_random_normal(&random);
    ds_workspace_set_mean_mixing(c->workspace, c->means);
    c->width = TOKENS * ds_spec_planes(spec) * spec->hidden;
}

static void case_close(stream_case *c) {
    free(c->means);
    ds_workspace_free(&c->workspace);
    ds_model_free(&c->model);
}

/* Turn by turn over all rules, with and without maps; every other time every sublayer in a mode of its own, but those of means,
 * which a gradient's own workspace does not have. */
static void draw_case(stream_case *c, size_t turn, ds_precision precision, ds_random *random) {
    size_t rule = turn % DS_STREAM_RULES, count;
    ds_spec spec = stream_spec(rule, 2 + ds_random_below(random, 3));
    spec.streams.dynamic = turn / DS_STREAM_RULES % 4 != 3;
    spec.streams.temperature = rule == 4 ? 0.5 : 1;
    spec.streams.orthostochastic = rule == 4 && turn / DS_STREAM_RULES % 4 == 2;
    if (spec.streams.orthostochastic)
        spec.streams = (ds_stream_spec){spec.streams.count, true, 6, 0.5, true, 3, 1e-7, {3, -3.2, 1.2}};
    case_open(c, &spec, precision, ds_random_u64(random));
    const ds_intervention *modes = ds_rule_interventions(spec.rule, &count);
    for (size_t s = 0; turn / DS_STREAM_RULES % 2 == 1 && s < ds_spec_sublayers(&spec); s++) {
        size_t mode = ds_random_below(random, count + 2);
        if (mode < count && !modes[mode].needs_mean) c->forces[s] = modes[mode].force;
    }
}

static double loss_of(const stream_case *c) {
    double nll[TOKENS], sum = 0;
    expect_ok(ds_forward(c->workspace, c->model, &c->batch, c->forces, NULL, nll));
    for (size_t t = 0; t < TOKENS; t++) sum += nll[t];
    return sum / TOKENS;
}

/* ---- gradients -------------------------------------------------------------------------------------------------------- */

/* The paths that a state's gradient came by add up to it. */
static ds_status expect_paths(void *context, const ds_gradient_event *event) {
    ds_path_squares sum = {0};
    (void)context;
    if (event->paths == NULL) return DS_OK;
    ds_path_squares_add(&sum, event->paths, TOKENS);
    ds_path_norms norms = ds_path_squares_norms(&sum);
    expect_close(norms.sum_error, 0, event->precision == DS_F64 ? 1e-13 : 1e-4);
    return DS_OK;
}

static ds_gradient *gradient_of(const stream_case *c, double *nll) {
    ds_gradient *gradient;
    const ds_gradient_options options = {.parameters = true, .paths = true};
    const ds_gradient_observer observer = {expect_paths, NULL};
    expect_ok(ds_gradient_new(&gradient, c->model, WINDOWS, LENGTH, &options));
    expect_ok(ds_backward(gradient, &c->batch, c->forces, 1.0 / TOKENS, &observer, nll));
    return gradient;
}

static double dot(const double *x, const double *y, size_t count) {
    double sum = 0;
    for (size_t i = 0; i < count; i++) sum += x[i] * y[i];
    return sum;
}

/* (4 D(h/2) - D(h)) / 3 with central differences D: truncation h^4 times a fifth derivative, cancellation 2^-50 / h. */
static double slope_along(const stream_case *c, const ds_parameter *parameter, const double *direction) {
    const double h = 2e-4, steps[] = {h / 2, -h / 2, h, -h}, factors[] = {4 / (3 * h), -4 / (3 * h), -1 / (6 * h), 1 / (6 * h)};
    double *values = parameter->values, *origin = malloc(parameter->count * sizeof *origin), slope = 0;
    assert_non_null(origin);
    memcpy(origin, values, parameter->count * sizeof *origin);
    for (size_t k = 0; k < 4; k++) {
        for (size_t i = 0; i < parameter->count; i++) values[i] = origin[i] + steps[k] * direction[i];
        slope += factors[k] * loss_of(c);
    }
    memcpy(values, origin, parameter->count * sizeof *origin);
    free(origin);
    return slope;
}

static void parameters_agree_with_differences(void **state) {
    (void)state;
    ds_random random = ds_random_init(91);
    print_message("seed 91\n");
    for (size_t turn = 0; turn < TURNS; turn++) {
        stream_case c;
        double nll[TOKENS];
        draw_case(&c, turn, DS_F64, &random);
        ds_gradient *gradient = gradient_of(&c, nll);
        for (size_t p = 0; p < ds_model_parameters(c.model); p++) {
            const ds_parameter *parameter = ds_model_parameter(c.model, p);
            const double *exact = ds_gradient_parameter(gradient, p);
            double *direction = malloc(parameter->count * sizeof *direction);
            double size = sqrt(dot(exact, exact, parameter->count));
            assert_non_null(direction);
            for (size_t i = 0; i < parameter->count; i++)
                direction[i] = (size > 0 ? exact[i] / size : 0) + ds_random_normal(&random) / sqrt((double)parameter->count);
            double found = slope_along(&c, parameter, direction), expected = dot(exact, direction, parameter->count);
            if (!(fabs(found - expected) <= 1e-6 * size + 1e-9)) print_error("%s, %s:\n", c.spec.rule->name, parameter->name);
            expect_close(found, expected, 1e-6 * size + 1e-9);
            free(direction);
        }
        ds_gradient_free(&gradient);
        case_close(&c);
    }
}

/* What the loss is said not to depend on has no gradient, and what it depends on has one. */
static void unreached_parameters_have_no_gradient(void **state) {
    (void)state;
    for (size_t turn = 0; turn < 3 * DS_STREAM_RULES; turn++) {
        const ds_force closed = {DS_FORCE_CLOSED, 0}, none = {DS_FORCE_NONE, 0};
        const ds_force trained[2] = {turn / DS_STREAM_RULES == 1 ? closed : none, turn / DS_STREAM_RULES == 2 ? closed : none};
        ds_spec spec = stream_spec(turn % DS_STREAM_RULES, 3);
        stream_case c;
        double nll[TOKENS];
        bool reached[128];
        case_open(&c, &spec, DS_F64, 300 + turn);
        ds_model_set_control(c.model, trained);
        assert_true(ds_model_parameters(c.model) <= 128);
        ds_model_reached(reached, c.model, LENGTH);
        ds_gradient *gradient = gradient_of(&c, nll);
        for (size_t p = 0; p < ds_model_parameters(c.model); p++) {
            const double *exact = ds_gradient_parameter(gradient, p);
            size_t count = ds_model_parameter(c.model, p)->count;
            /* of equal streams, as they are at first, some coefficients cancel */
            bool first = strstr(ds_model_parameter(c.model, p)->name, ".0.hc_") != NULL, moves = dot(exact, exact, count) > 0;
            if (reached[p] != moves && !(reached[p] && first))
                print_error("%s, turn %zu, %s:\n", spec.rule->name, turn, ds_model_parameter(c.model, p)->name);
            assert_true(reached[p] == moves || (reached[p] && first));
        }
        ds_gradient_free(&gradient);
        case_close(&c);
    }
}

/* ---- tangents --------------------------------------------------------------------------------------------------------- */

static double *random_numbers(size_t count, ds_random *random) {
    double *x = malloc(count * sizeof *x);
    assert_non_null(x);
    for (size_t i = 0; i < count; i++) x[i] = ds_random_normal(random);
    return x;
}

/* <J v, w> = <v, J^T w>, and J v against differences. */
static void expect_jacobian(const stream_case *c, size_t first, ds_random *random) {
    size_t last = ds_spec_sublayers(&c->spec), count = c->width;
    const double h = 1e-4, steps[] = {h / 2, -h / 2, h, -h}, factors[] = {4 / (3 * h), -4 / (3 * h), -1 / (6 * h), 1 / (6 * h)};
    const ds_gradient_options options = {.memory = first % 2};
    ds_gradient *gradient;
    double *origin = random_numbers(count, random), *v = random_numbers(count, random), *w = random_numbers(count, random);
    double *jv = malloc(count * sizeof *jv), *jtw = malloc(count * sizeof *jtw), *moved = malloc(count * sizeof *moved);
    double *difference = calloc(count, sizeof *difference);
    assert_true(jv != NULL && jtw != NULL && moved != NULL && difference != NULL);
    for (size_t k = 0; k < 4; k++) {
        for (size_t i = 0; i < count; i++) moved[i] = origin[i] + steps[k] * v[i];
        expect_ok(ds_sublayers(c->workspace, c->model, &c->batch, moved, first, last, c->forces, NULL));
        for (size_t i = 0; i < count; i++) difference[i] += factors[k] * moved[i];
    }
    memcpy(jv, v, count * sizeof *v);
    memcpy(jtw, w, count * sizeof *w);
    expect_ok(ds_gradient_new(&gradient, c->model, WINDOWS, LENGTH, &options));
    expect_ok(ds_linearise(gradient, &c->batch, origin, first, last, c->forces));
    expect_ok(ds_tangent(gradient, jv));
    expect_ok(ds_adjoint(gradient, jtw));
    double scale = sqrt(dot(jv, jv, count) * dot(w, w, count)) + sqrt(dot(v, v, count) * dot(jtw, jtw, count));
    expect_close(dot(jv, w, count), dot(v, jtw, count), 1024 * 0x1p-53 * scale);
    for (size_t i = 0; i < count; i++) difference[i] -= jv[i];
    expect_close(sqrt(dot(difference, difference, count) / dot(jv, jv, count)), 0, 1e-7);
    ds_gradient_free(&gradient);
    free(origin), free(v), free(w), free(jv), free(jtw), free(moved), free(difference);
}

static void tangents_agree_with_differences_and_adjoints(void **state) {
    (void)state;
    ds_random random = ds_random_init(92);
    print_message("seed 92\n");
    for (size_t turn = 0; turn < TURNS; turn++) {
        stream_case c;
        draw_case(&c, turn, DS_F64, &random);
        expect_jacobian(&c, turn % 3, &random);
        case_close(&c);
    }
}

/* The Jacobian of one token, column by column, is what a tangent that moves this token alone gives at this token. */
static void token_jacobians_are_tangents(void **state) {
    (void)state;
    ds_random random = ds_random_init(93);
    for (size_t turn = 0; turn < TURNS; turn += 1) {
        const ds_gradient_options options = {.memory = 0};
        ds_gradient *gradient;
        stream_case c;
        draw_case(&c, turn, DS_F64, &random);
        size_t n = ds_spec_planes(&c.spec), d = c.spec.hidden, size = n * d, s = turn % 4, token = 1 * LENGTH + turn % LENGTH;
        double *origin = random_numbers(c.width, &random), *v = calloc(c.width, sizeof *v),
               *all = calloc(size * size, sizeof *all);
        assert_true(v != NULL && all != NULL);
        expect_ok(ds_gradient_new(&gradient, c.model, WINDOWS, LENGTH, &options));
        expect_ok(ds_linearise(gradient, &c.batch, origin, s, s + 1, c.forces));
        expect_ok(ds_token_jacobian(gradient, all, s, 1, turn % LENGTH));
        for (size_t at = 0; at < size; at += 7) {
            memset(v, 0, c.width * sizeof *v);
            v[token * size + at] = 1;
            expect_ok(ds_tangent(gradient, v));
            for (size_t i = 0; i < size; i++) {
                double found = all[(i % d * n + i / d) * size + at % d * n + at / d];
                expect_close(found, v[token * size + i], 1e-12 * (1 + fabs(found)));
            }
        }
        ds_gradient_free(&gradient);
        free(origin), free(v), free(all);
        case_close(&c);
    }
}

/* ---- identities ------------------------------------------------------------------------------------------------------- */

static ds_status expect_stochastic(void *context, const ds_observation *seen) {
    const stream_case *c = context;
    size_t n = seen->streams->streams, length = ds_stream_mixing(n), rule = (size_t)(c->spec.rule - ds_stream_rules);
    for (size_t t = 0; t < TOKENS; t++) {
        const double *mixing = seen->streams->mixing + t * length, *res = mixing + 2 * n;
        double post = 0;
        for (size_t s = 0; s < n; s++) post += mixing[n + s];
        if (rule == 4) expect_close(post, 1, 1e-14);
        for (size_t i = 0; i < n; i++) {
            double row = 0, column = 0;
            for (size_t k = 0; k < n; k++) row += res[i * n + k];
            for (size_t k = 0; k < n; k++) column += res[k * n + i];
            if (rule == 1) expect_close(res[i * n + i], 1, 0);
            if (rule == 2 || rule == 3) expect_close(column, 1, 1e-14); /* what a stream sends out */
            if (rule == 4 || rule == 3) expect_close(row, 1, 1e-14);    /* what a stream receives */
        }
    }
    return DS_OK;
}

/* Which sums of R are exact follows from how it is made. */
static void matrices_are_stochastic_where_their_rule_says(void **state) {
    (void)state;
    for (size_t rule = 1; rule < DS_STREAM_RULES; rule++) {
        ds_spec spec = stream_spec(rule, 4);
        stream_case c;
        double nll[TOKENS];
        case_open(&c, &spec, DS_F64, 400 + rule);
        const ds_observer observer = {DS_OBSERVE_GATES, expect_stochastic, &c};
        expect_ok(ds_forward(c.workspace, c.model, &c.batch, NULL, &observer, nll));
        case_close(&c);
    }
}

/* With pre 1/n, post 1 and R = I all streams are the residual of the additive rule: means that say so make any rule it, but for
 * the sum over streams after the last norm. */
static void equal_streams_are_the_plain_residual_network(void **state) {
    (void)state;
    for (size_t rule = 0; rule < DS_STREAM_RULES; rule++) {
        ds_spec spec = stream_spec(rule, 3), plain_spec = spec;
        stream_case c;
        ds_model *plain;
        ds_workspace *workspace;
        plain_spec.rule = &ds_rule_additive;
        case_open(&c, &spec, DS_F64, 500 + rule);
        expect_ok(ds_model_random(&plain, &plain_spec, DS_F64, 1));
        for (size_t p = 0; p < ds_model_parameters(plain); p++)
            for (size_t q = 0; q < ds_model_parameters(c.model); q++)
                if (strcmp(ds_model_parameter(plain, p)->name, ds_model_parameter(c.model, q)->name) == 0)
                    memcpy(ds_model_parameter(plain, p)->values, ds_model_parameter(c.model, q)->values,
                           ds_model_parameter(plain, p)->count * sizeof(double));
        for (size_t s = 0; s < ds_spec_sublayers(&spec); s++) {
            double *mean = c.means + s * ds_stream_mixing(3);
            for (size_t i = 0; i < ds_stream_mixing(3); i++)
                mean[i] = i < 3 ? 1.0 / 3 : i < 6 ? 1 : (i - 6) / 3 == (i - 6) % 3 ? 1 : 0;
            c.forces[s].mode = DS_FORCE_MEAN_MIX;
        }
        expect_ok(ds_workspace_new(&workspace, plain, WINDOWS, LENGTH));
        double *streams = malloc(c.width * sizeof *streams), hidden[TOKENS * HIDDEN_SIZE], expected[TOKENS * HIDDEN_SIZE];
        double residual[TOKENS * HIDDEN_SIZE];
        assert_non_null(streams);
        expect_ok(ds_embed(c.workspace, c.model, &c.batch, streams));
        expect_ok(ds_sublayers(c.workspace, c.model, &c.batch, streams, 0, 4, c.forces, NULL));
        expect_ok(ds_readout(c.workspace, c.model, &c.batch, c.forces, streams, hidden));
        expect_ok(ds_embed(workspace, plain, &c.batch, residual));
        expect_ok(ds_sublayers(workspace, plain, &c.batch, residual, 0, 4, NULL, NULL));
        expect_ok(ds_readout(workspace, plain, &c.batch, NULL, residual, expected));
        for (size_t i = 0; i < TOKENS * HIDDEN_SIZE; i++) expect_close(hidden[i], 3 * expected[i], 1e-11);
        free(streams);
        ds_workspace_free(&workspace);
        ds_model_free(&plain);
        case_close(&c);
    }
}

/* ---- bits ------------------------------------------------------------------------------------------------------------- */

/* Every number of threads gives the bits of one thread. */
static void bits_depend_on_nothing_else(void **state) {
    (void)state;
    ds_random random = ds_random_init(94);
    for (size_t turn = 0; turn < TURNS; turn += 3) {
        double nll[2][TOKENS];
        ds_gradient *gradients[2];
        stream_case c;
        draw_case(&c, turn, turn % 2 == 0 ? DS_F32 : DS_F64, &random);
        for (size_t i = 0; i < 2; i++) {
            expect_ok(ds_threads_set(i == 0 ? 1 : 3));
            gradients[i] = gradient_of(&c, nll[i]);
        }
        assert_memory_equal(nll[0], nll[1], sizeof nll[0]);
        for (size_t p = 0; p < ds_model_parameters(c.model); p++)
            assert_memory_equal(ds_gradient_parameter(gradients[0], p), ds_gradient_parameter(gradients[1], p),
                                ds_model_parameter(c.model, p)->count * ds_precision_size(ds_model_precision(c.model)));
        for (size_t i = 0; i < 2; i++) ds_gradient_free(&gradients[i]);
        case_close(&c);
    }
    expect_ok(ds_threads_set(0));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parameters_agree_with_differences),
        cmocka_unit_test(unreached_parameters_have_no_gradient),
        cmocka_unit_test(tangents_agree_with_differences_and_adjoints),
        cmocka_unit_test(token_jacobians_are_tangents),
        cmocka_unit_test(matrices_are_stochastic_where_their_rule_says),
        cmocka_unit_test(equal_streams_are_the_plain_residual_network),
        cmocka_unit_test(bits_depend_on_nothing_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
