/* Attention over depth: derivatives against differences and the adjoint for every rule, gate and forced read; what must hold
 * whatever the weights. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "deltascope/gradient.h"
#include "model/rule_depth.h"

#include "support.h"
#include "toy.h"

enum { WINDOWS = 2, LENGTH = 5, TOKENS = WINDOWS * LENGTH };

/* A small model of one of the rules, no weight of it special, and a batch. */
typedef struct depth_case {
    ds_spec spec;
    ds_model *model;
    ds_workspace *workspace;
    uint32_t tokens[TOKENS], targets[TOKENS];
    ds_batch batch;
    ds_force *forces;
    size_t width; /* of a state */
} depth_case;

static ds_spec depth_spec(const ds_rule *rule, ds_depth_gate gate, bool null) {
    ds_spec spec = toy_spec("additive");
    spec.rule = rule;
    spec.layers = 3;
    spec.depth_blocks = 2;
    spec.depth_gate = gate;
    spec.depth_null = null;
    spec.residual_mult = 0.8;
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

static void case_open(depth_case *c, const ds_spec *spec, ds_precision precision, uint64_t seed) {
    ds_random random = ds_random_init(seed);
    *c = (depth_case){.spec = *spec, .batch = {c->tokens, c->targets, WINDOWS, LENGTH}};
    expect_ok(ds_model_random(&c->model, spec, precision, seed));
    move_weights(c->model, 0.3, &random);
    expect_ok(ds_workspace_new(&c->workspace, c->model, WINDOWS, LENGTH));
    for (size_t t = 0; t < TOKENS; t++) {
        c->tokens[t] = (uint32_t)ds_random_below(&random, spec->vocab);
        c->targets[t] = (uint32_t)ds_random_below(&random, spec->vocab);
    }
    c->forces = calloc(ds_spec_forces(spec), sizeof *c->forces);
    assert_non_null(c->forces);
    c->width = TOKENS * ds_spec_planes(spec) * spec->hidden;
}

static void case_close(depth_case *c) {
    free(c->forces);
    ds_workspace_free(&c->workspace);
    ds_model_free(&c->model);
}

/* Every sublayer, and a routed readout, in a mode of its own. */
static void force_at_random(depth_case *c, ds_random *random) {
    size_t count;
    const ds_intervention *modes = ds_rule_interventions(c->spec.rule, &count);
    for (size_t s = 0; s < ds_spec_forces(&c->spec); s++) {
        size_t mode = ds_random_below(random, count + 3);
        c->forces[s] = mode < count ? modes[mode].force : (ds_force){DS_FORCE_NONE, 0};
    }
}

/* Turn by turn over all rules and gates; a null source and forces every other time. */
static void draw_case(depth_case *c, size_t turn, ds_precision precision, ds_random *random) {
    const ds_rule *rule = &ds_depth_rules[turn % DS_DEPTH_RULES];
    const ds_depth_form *form = ds_depth_form_of(&(ds_spec){.rule = rule});
    bool null = form->takes_null && ds_random_below(random, 2) == 0;
    ds_spec spec = depth_spec(rule, (ds_depth_gate)(turn / DS_DEPTH_RULES % 4), null);
    case_open(c, &spec, precision, ds_random_u64(random));
    if (turn / DS_DEPTH_RULES / 4 % 2 == 1) force_at_random(c, random);
}

static double loss_of(const depth_case *c) {
    double nll[TOKENS], sum = 0;
    expect_ok(ds_forward(c->workspace, c->model, &c->batch, c->forces, NULL, nll));
    for (size_t t = 0; t < TOKENS; t++) sum += nll[t];
    return sum / TOKENS;
}

/* ---- the running sum -------------------------------------------------------------------------------------------------- */

/* What the reads from index on send back to P, by the gradient of the sum and by another way. */
typedef struct sum_check {
    double reads[TOKENS * 64]; /* (TOKENS,d): of all reads so far */
    size_t compared;
} sum_check;

static void expect_equal(const double *x, size_t stride, const double *y, size_t d) {
    for (size_t t = 0; t < TOKENS; t++)
        for (size_t i = 0; i < d; i++) expect_close(x[t * stride + i], y[t * d + i], 1e-13 + 1e-11 * fabs(y[t * d + i]));
}

/* Ungated, u = P + r: every read sends its own gradient to P, and P's are all of theirs from here on. */
static ds_status expect_sum_of_reads(void *context, const ds_gradient_event *event) {
    sum_check *check = context;
    const double *read = event->read_gradient;
    assert_true(event->hidden <= 64);
    for (size_t i = 0; read != NULL && i < TOKENS * event->hidden; i++) check->reads[i] += read[i];
    assert_true((event->sum_gradient == NULL) == (event->index == 0));
    if (event->index > 0) expect_equal(check->reads, event->hidden, event->sum_gradient, event->hidden);
    check->compared++;
    return DS_OK;
}

/* Reads that take P alone leave nothing for the outputs as sources: what comes to an output comes through P. */
static ds_status expect_sum_alone(void *context, const ds_gradient_event *event) {
    sum_check *check = context;
    size_t width = event->planes * event->hidden;
    if (event->index > 0)
        expect_equal((const double *)event->gradient + event->index * event->hidden, width, event->sum_gradient, event->hidden);
    check->compared++;
    return DS_OK;
}

static void the_running_sum_has_a_gradient_of_its_own(void **state) {
    ds_random random = ds_random_init(91);
    (void)state;
    for (size_t turn = 0; turn < 12; turn++) {
        bool additive = turn % 2 == 0;
        const ds_rule *rule = &ds_depth_rules[additive ? 4 : 6];
        const ds_spec spec = depth_spec(rule, additive ? DS_DEPTH_UNGATED : (ds_depth_gate)(turn / 2 % 4), turn % 4 == 0);
        const ds_gradient_options options = {.parameters = true};
        sum_check check = {.compared = 0};
        const ds_gradient_observer observer = {additive ? expect_sum_of_reads : expect_sum_alone, &check};
        depth_case c;
        ds_gradient *gradient;
        double nll[TOKENS];
        case_open(&c, &spec, DS_F64, ds_random_u64(&random));
        if (additive && turn >= 6) force_at_random(&c, &random);
        for (size_t s = 0; !additive && s < ds_spec_sublayers(&spec); s++) c.forces[s].mode = DS_FORCE_RECENT;
        expect_ok(ds_gradient_new(&gradient, c.model, WINDOWS, LENGTH, &options));
        expect_ok(ds_backward(gradient, &c.batch, c.forces, 1.0 / TOKENS, &observer, nll));
        assert_int_equal(check.compared, ds_spec_sublayers(&spec) + 1);
        ds_gradient_free(&gradient);
        case_close(&c);
    }
}

/* ---- gradients -------------------------------------------------------------------------------------------------------- */

static ds_gradient *gradient_of(const depth_case *c, double *nll) {
    ds_gradient *gradient;
    const ds_gradient_options options = {.parameters = true, .paths = true};
    expect_ok(ds_gradient_new(&gradient, c->model, WINDOWS, LENGTH, &options));
    expect_ok(ds_backward(gradient, &c->batch, c->forces, 1.0 / TOKENS, NULL, nll));
    return gradient;
}

static double dot(const double *x, const double *y, size_t count) {
    double sum = 0;
    for (size_t i = 0; i < count; i++) sum += x[i] * y[i];
    return sum;
}

/* (4 D(h/2) - D(h)) / 3 with central differences D: truncation h^4 times a fifth derivative, cancellation 2^-50 / h. */
static double slope_along(const depth_case *c, const ds_parameter *parameter, const double *direction) {
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

static void expect_parameter_slopes(const depth_case *c, ds_random *random) {
    double nll[TOKENS];
    ds_gradient *gradient = gradient_of(c, nll);
    for (size_t p = 0; p < ds_model_parameters(c->model); p++) {
        const ds_parameter *parameter = ds_model_parameter(c->model, p);
        const double *exact = ds_gradient_parameter(gradient, p);
        double *direction = malloc(parameter->count * sizeof *direction);
        double size = sqrt(dot(exact, exact, parameter->count));
        assert_non_null(direction);
        for (size_t i = 0; i < parameter->count; i++)
            direction[i] = (size > 0 ? exact[i] / size : 0) + ds_random_normal(random) / sqrt((double)parameter->count);
        double found = slope_along(c, parameter, direction), expected = dot(exact, direction, parameter->count);
        if (!(fabs(found - expected) <= 1e-6 * size + 1e-9))
            print_error("%s, gate %d, %s:\n", c->spec.rule->name, (int)c->spec.depth_gate, parameter->name);
        expect_close(found, expected, 1e-6 * size + 1e-9);
        free(direction);
    }
    ds_gradient_free(&gradient);
}

static void parameters_agree_with_differences(void **state) {
    (void)state;
    ds_random random = ds_random_init(71);
    print_message("seed 71\n");
    for (size_t turn = 0; turn < 2 * 4 * DS_DEPTH_RULES; turn++) {
        depth_case c;
        draw_case(&c, turn, DS_F64, &random);
        expect_parameter_slopes(&c, &random);
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

/* <J v, w> = <v, J^T w>, and J v against differences. Planes that are written on the way do not matter. */
static void expect_jacobian(const depth_case *c, size_t first, ds_random *random) {
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
    expect_close(dot(jv, w, count), dot(v, jtw, count), 64 * 7 * 0x1p-53 * scale);
    for (size_t i = 0; i < count; i++) difference[i] -= jv[i];
    expect_close(sqrt(dot(difference, difference, count) / dot(jv, jv, count)), 0, 1e-7);
    expect_failure(ds_token_jacobian(gradient, jv, first, 0, 0), DS_ERR_USAGE, "adds to its history");
    ds_gradient_free(&gradient);
    free(origin), free(v), free(w), free(jv), free(jtw), free(moved), free(difference);
}

static void tangents_agree_with_differences_and_adjoints(void **state) {
    (void)state;
    ds_random random = ds_random_init(72);
    print_message("seed 72\n");
    for (size_t turn = 0; turn < 2 * 4 * DS_DEPTH_RULES; turn++) {
        depth_case c;
        draw_case(&c, turn, DS_F64, &random);
        expect_jacobian(&c, turn % 3, &random);
        case_close(&c);
    }
}

/* ---- identities ------------------------------------------------------------------------------------------------------- */

/* What the head multiplies. */
static void hidden_of(double *hidden, const depth_case *c) {
    double *history = malloc(c->width * sizeof *history);
    assert_non_null(history);
    expect_ok(ds_embed(c->workspace, c->model, &c->batch, history));
    expect_ok(ds_sublayers(c->workspace, c->model, &c->batch, history, 0, ds_spec_sublayers(&c->spec), c->forces, NULL));
    expect_ok(ds_readout(c->workspace, c->model, &c->batch, c->forces, history, hidden));
    free(history);
}

/* Parameters of one name are the same in both. */
static void copy_parameters(const ds_model *to, const ds_model *from) {
    for (size_t p = 0; p < ds_model_parameters(to); p++)
        for (size_t q = 0; q < ds_model_parameters(from); q++)
            if (strcmp(ds_model_parameter(to, p)->name, ds_model_parameter(from, q)->name) == 0)
                memcpy(ds_model_parameter(to, p)->values, ds_model_parameter(from, q)->values,
                       ds_model_parameter(to, p)->count * sizeof(double));
}

static void force_all(depth_case *c, unsigned mode) {
    for (size_t s = 0; s < ds_spec_forces(&c->spec); s++) c->forces[s].mode = mode;
}

static void expect_same(const double *x, const double *y, double tolerance) {
    for (size_t i = 0; i < TOKENS * (size_t)10; i++) expect_close(x[i], y[i], tolerance);
}

/* A uniform average of everything is a multiple of the sum of everything, and the norm that follows takes the factor out: with
 * no epsilon in it, such reads are those of the additive rule, which RESIDUAL is under any of the rules. */
static void uniform_reads_are_the_plain_residual_network(void **state) {
    (void)state;
    for (size_t i = 0; i < DS_DEPTH_RULES; i++) {
        ds_spec spec = depth_spec(&ds_depth_rules[i], DS_DEPTH_UNGATED, false), plain_spec = spec;
        depth_case c, plain;
        double found[TOKENS * 10], expected[TOKENS * 10];
        bool sums_all = ds_depth_form_of(&spec)->sources == ds_depth_forms[0].sources ||
                        ds_depth_form_of(&spec)->sources == ds_depth_forms[1].sources ||
                        ds_depth_form_of(&spec)->sources == ds_depth_forms[4].sources;
        spec.norm_eps = plain_spec.norm_eps = 0;
        plain_spec.rule = &ds_rule_additive;
        case_open(&c, &spec, DS_F64, 73 + i);
        case_open(&plain, &plain_spec, DS_F64, 73 + i);
        copy_parameters(plain.model, c.model);
        memcpy(plain.tokens, c.tokens, sizeof c.tokens);
        hidden_of(expected, &plain);
        force_all(&c, DS_FORCE_RESIDUAL);
        hidden_of(found, &c);
        expect_same(found, expected, 1e-12);
        force_all(&c, DS_FORCE_UNIFORM);
        hidden_of(found, &c);
        if (sums_all) expect_same(found, expected, 1e-12);
        for (size_t s = 0; s <= ds_spec_sublayers(&spec); s++) {
            ds_depth_weights weights = ds_depth_weights_of(c.model, s);
            if (weights.query != NULL) memset(weights.query->values, 0, weights.query->count * sizeof(double));
            if (weights.bias != NULL) memset(weights.bias->values, 0, sizeof(double));
        }
        double unforced[TOKENS * 10];
        force_all(&c, DS_FORCE_NONE);
        hidden_of(unforced, &c);
        expect_same(unforced, found, 0);
        case_close(&plain);
        case_close(&c);
    }
}

/* With all of them closed the embedding alone is left, whatever the weights of reads; the last is closed for the readout. */
static void a_closed_sublayer_is_as_if_it_were_not_there(void **state) {
    (void)state;
    for (size_t i = 0; i < DS_DEPTH_RULES; i++) {
        ds_spec spec = depth_spec(&ds_depth_rules[i], DS_DEPTH_UNGATED, false);
        depth_case c;
        double all[TOKENS * 10], last[TOKENS * 10], none[TOKENS * 10];
        case_open(&c, &spec, DS_F64, 81 + i);
        for (size_t s = 0; s < ds_spec_sublayers(&spec); s++) c.forces[s].mode = DS_FORCE_CLOSED;
        hidden_of(all, &c);
        double *table = ds_model_parameter(c.model, 0)->values;
        const double *norm = ds_model_parameter(c.model, ds_model_parameters(c.model) - 1)->values;
        for (size_t t = 0; t < TOKENS; t++) {
            const double *x = table + c.tokens[t] * 10;
            double rms = sqrt(dot(x, x, 10) / 10 + spec.norm_eps);
            for (size_t k = 0; k < 10; k++) none[t * 10 + k] = norm[k] * x[k] / rms;
        }
        expect_same(all, none, 1e-12);
        force_all(&c, DS_FORCE_NONE);
        hidden_of(all, &c);
        c.forces[5].mode = DS_FORCE_CLOSED;
        hidden_of(last, &c);
        double moved = 0;
        for (size_t k = 0; k < TOKENS * (size_t)10; k++) moved = fmax(moved, fabs(last[k] - all[k]));
        assert_true(moved > 1e-6);
        case_close(&c);
    }
}

/* ---- bits ------------------------------------------------------------------------------------------------------------- */

/* Every number of threads and either amount of memory gives the bits of one thread. */
static void bits_depend_on_nothing_else(void **state) {
    (void)state;
    ds_random random = ds_random_init(74);
    for (size_t turn = 0; turn < 2 * 4 * DS_DEPTH_RULES; turn += 3) {
        double nll[2][TOKENS];
        ds_gradient *gradients[2];
        depth_case c;
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

/* ---- what a read chooses from ----------------------------------------------------------------------------------------- */

/* sum (d) <- v_first ... v_last of a token's history. */
static void sum_of(double *sum, const double *history, size_t first, size_t last, size_t d) {
    memset(sum, 0, d * sizeof *sum);
    for (size_t i = first; i <= last; i++)
        for (size_t k = 0; k < d; k++) sum[k] += history[i * d + k];
}

/* B_0 is the embedding, B_k = P - B_{k-1} with P up to the first sublayer of block k. */
static void stored_block(double *block, const double *history, size_t number, size_t step, size_t d) {
    double before[64];
    sum_of(block, history, 0, 0, d);
    for (size_t k = 1; k <= number; k++) {
        memcpy(before, block, d * sizeof *block);
        sum_of(block, history, 0, k * step, d);
        for (size_t i = 0; i < d; i++) block[i] -= before[i];
    }
}

/* The source (d) that a name means to read s. */
static void source_named(double *source, const char *name, const depth_case *c, const double *history, size_t s) {
    const ds_depth_form *form = ds_depth_form_of(&c->spec);
    size_t d = c->spec.hidden, step = 2 * ((c->spec.layers + c->spec.depth_blocks - 1) / c->spec.depth_blocks), number = 0;
    char sublayer[32];
    bool after = strncmp(name, "after ", 6) == 0;
    if (strcmp(name, "null") == 0) {
        memcpy(source, ds_depth_weights_of(c->model, s).null->values, d * sizeof *source);
    } else if (strcmp(name, "embed") == 0) {
        sum_of(source, history, 0, 0, d);
    } else if (strcmp(name, "partial") == 0) {
        sum_of(source, history, form->routes_readout ? (s - 1) / step * step + 1 : 0, s, d);
    } else if (sscanf(name, "block%zu", &number) == 1) {
        if (form->additive)
            stored_block(source, history, number + 1, step, d);
        else
            sum_of(source, history, number * step + 1, (number + 1) * step, d);
    } else {
        while (strcmp(name + (after ? 6 : 0), ds_sublayer_name(sublayer, number)) != 0) number++;
        assert_true(number < s);
        sum_of(source, history, after ? 0 : number + 1, number + 1, d);
    }
}

static double norm_of(const double *x, size_t d) {
    double sum = 0;
    for (size_t i = 0; i < d; i++) sum += x[i] * x[i];
    return sqrt(sum);
}

/* One token's weights by the equation, from sources that their names tell. */
static void expect_routing(const double *routing, const depth_case *c, const ds_read_source *sources, size_t count,
                           const double *history, size_t s) {
    ds_depth_weights weights = ds_depth_weights_of(c->model, s);
    const double *query = weights.query->values, *scale = weights.norm->values;
    double values[16][64], alpha[16], highest = -INFINITY, sum = 0, cosine = 0;
    size_t d = c->spec.hidden;
    assert_true(count <= 16 && d <= 64);
    for (size_t j = 0; j < count; j++) {
        source_named(values[j], sources[j].name, c, history, s);
        double norm = norm_of(values[j], d), rms = sqrt(norm * norm / (double)d + c->spec.norm_eps), logit = 0;
        for (size_t i = 0; i < d; i++) logit += query[i] * values[j][i] / rms * scale[i];
        if (j + 1 == count && weights.bias != NULL) logit += ((const double *)weights.bias->values)[0];
        alpha[j] = logit;
        highest = fmax(highest, logit);
        expect_close(routing[count + j], norm, 1e-12 * norm);
        for (size_t k = 0; k < j; k++) {
            double dot = 0;
            for (size_t i = 0; i < d; i++) dot += values[j][i] * values[k][i];
            cosine += dot / (norm * norm_of(values[k], d));
        }
    }
    for (size_t j = 0; j < count; j++) sum += alpha[j] = exp(alpha[j] - highest);
    for (size_t j = 0; j < count; j++) expect_close(routing[j], alpha[j] / sum, 1e-12);
    if (count > 1) expect_close(routing[2 * count], cosine / ((double)(count * (count - 1)) / 2), 1e-12);
    assert_true(isnan(routing[2 * count]) == (count < 2));
    assert_true(isnan(routing[2 * count + 1]) == (c->spec.depth_gate == DS_DEPTH_UNGATED || s == ds_spec_sublayers(&c->spec)));
    expect_close(ds_read_query_norm(c->model, s), norm_of(query, d), 1e-13 * norm_of(query, d));
}

static void expect_families(const ds_read_source *sources, size_t count) {
    for (size_t j = 0; j < count; j++) {
        ds_source_family family = j + 1 == count ? DS_SOURCE_CURRENT : DS_SOURCE_HISTORY;
        if (strcmp(sources[j].name, "embed") == 0) family = DS_SOURCE_EMBEDDING;
        if (strcmp(sources[j].name, "null") == 0) family = DS_SOURCE_NULL;
        assert_int_equal(sources[j].family, family);
    }
}

static void sources_are_what_their_names_say(void **state) {
    (void)state;
    ds_random random = ds_random_init(20261128);
    for (size_t turn = 0; turn < 4 * DS_DEPTH_RULES; turn++) {
        depth_case c;
        draw_case(&c, turn, DS_F64, &random);
        size_t sublayers = ds_spec_sublayers(&c.spec), planes = ds_spec_planes(&c.spec), read = 0;
        double *history = calloc(c.width, sizeof *history), *routing = calloc(TOKENS * 64, sizeof *routing);
        assert_true(history != NULL && routing != NULL);
        expect_ok(ds_embed(c.workspace, c.model, &c.batch, history));
        expect_ok(ds_sublayers(c.workspace, c.model, &c.batch, history, 0, sublayers, NULL, NULL));
        for (size_t s = 0; s <= sublayers; s++) {
            ds_read_source *sources;
            size_t count;
            expect_ok(ds_read_sources(&sources, &count, &c.spec, s));
            read += count;
            expect_families(sources, count);
            if (count > 0) expect_ok(ds_route(c.workspace, c.model, &c.batch, s, history, routing));
            for (size_t t = 0; count > 0 && t < TOKENS; t++)
                expect_routing(routing + t * (2 * count + 2), &c, sources, count, history + t * planes * c.spec.hidden, s);
            free(sources);
        }
        assert_true(read >= sublayers - 1);
        free(history);
        free(routing);
        case_close(&c);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parameters_agree_with_differences),
        cmocka_unit_test(the_running_sum_has_a_gradient_of_its_own),
        cmocka_unit_test(tangents_agree_with_differences_and_adjoints),
        cmocka_unit_test(uniform_reads_are_the_plain_residual_network),
        cmocka_unit_test(a_closed_sublayer_is_as_if_it_were_not_there),
        cmocka_unit_test(bits_depend_on_nothing_else),
        cmocka_unit_test(sources_are_what_their_names_say),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
