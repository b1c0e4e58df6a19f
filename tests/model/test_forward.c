/* The forward pass: golden values of every variant and option, and what must hold whatever the numbers are. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "deltascope/model.h"

#include "forward_case.h"
#include "support.h"

/* The golden values are promised to 1e-9 relative; a float pass loses a few roundings per sublayer. */
static double relative_tolerance(const forward_case *c) {
    return c->size == sizeof(double) ? 1e-9 : (32 + 16 * (double)ds_spec_sublayers(c->spec)) * 0x1p-24;
}

static double mean(const double *x, size_t count) {
    double sum = 0;
    for (size_t i = 0; i < count; i++) sum += x[i];
    return sum / (double)count;
}

static double root_mean_square_difference(const double *x, const double *y, size_t count) {
    double sum = 0;
    for (size_t i = 0; i < count; i++) sum += (x[i] - (y != NULL ? y[i] : 0)) * (x[i] - (y != NULL ? y[i] : 0));
    return sqrt(sum / (double)count);
}

static const ds_precision precisions[] = {DS_F64, DS_F32};

/* ---- golden values ----------------------------------------------------------------------------------------------- */

static void expect_golden(double found, const json_t *object, const char *key, double tolerance) {
    double expected = golden_number(object, key);
    expect_close(found, expected, tolerance * fabs(expected));
}

static void expect_statistics(const double *x, size_t count, const json_t *golden, double tolerance) {
    double average = mean(x, count), square = 0, low = INFINITY, high = -INFINITY;
    for (size_t i = 0; i < count; i++) {
        square += (x[i] - average) * (x[i] - average);
        low = fmin(low, x[i]);
        high = fmax(high, x[i]);
    }
    double scale = fmax(fabs(golden_number(golden, "min")), fabs(golden_number(golden, "max")));
    expect_close(average, golden_number(golden, "mean"), tolerance * scale);
    expect_close(sqrt(square / (double)count), golden_number(golden, "std"), tolerance * scale);
    expect_close(low, golden_number(golden, "min"), tolerance * scale);
    expect_close(high, golden_number(golden, "max"), tolerance * scale);
}

static ds_status expect_golden_sublayer(void *context, const ds_observation *seen) {
    const forward_case *c = context;
    const json_t *golden = json_array_get(json_object_get(c->golden, "sublayers"), seen->sublayer);
    const json_t *discrepancy = json_object_get(golden, "discrepancy");
    size_t tokens = seen->sequences * seen->length, values = tokens * seen->delta->value_channels;
    double tolerance = relative_tolerance(c), lowest = 1;
    expect_statistics(seen->delta->beta, tokens, json_object_get(golden, "beta"), tolerance);
    /* 1 - |k|^2 may be about 1e-10: what is left of it in a double next to 1, plus the tolerance relative to itself. */
    for (size_t i = 0; i < tokens; i++) lowest = fmin(lowest, seen->delta->k_norm2[i]);
    double missing = 1 - golden_number(json_object_get(golden, "k_norm2"), "min");
    /* h errs on the scale of 1, |k|^2 by 2 / |h| times that; |h| is about k_eps / sqrt(1 - |k|^2). */
    double sensitivity = fmax(1, 2 * sqrt(missing) / c->spec->k_eps);
    expect_close(1 - lowest, missing, 0x1p-50 + tolerance * sensitivity * missing);
    expect_golden(root_mean_square_difference(seen->delta->readout, seen->delta->target, values), discrepancy, "pre_rms",
                  tolerance);
    expect_golden(root_mean_square_difference(seen->delta->readout_after, seen->delta->target, values), discrepancy, "post_rms",
                  tolerance);
    expect_golden(root_mean_square_difference(seen->delta->readout, NULL, values), golden, "readout_rms", tolerance);
    expect_golden(root_mean_square_difference(seen->delta->target, NULL, values), golden, "target_rms", tolerance);
    expect_golden(mean(seen->edit_norm, tokens), golden, "edit_norm", tolerance);
    double relative = 0;
    for (size_t i = 0; i < tokens; i++) relative += seen->edit_norm[i] / seen->state_norm[i] / (double)tokens;
    expect_golden(relative, golden, "relative_edit", tolerance);
    return DS_OK;
}

static void expect_golden_logits(const forward_case *c) {
    size_t tokens = forward_case_tokens(c), vocab = c->spec->vocab, row = (c->batch.length - 1) * vocab;
    void *hidden = forward_case_hidden(c, NULL), *logits = malloc(tokens * vocab * c->size);
    assert_non_null(logits);
    expect_ok(ds_head_logits(c->model, hidden, 0, tokens, logits));
    double square = 0, rms = golden_number(c->golden, "final_logits_rms");
    for (size_t i = 0; i < tokens * vocab; i++) square += forward_case_at(c, logits, i) * forward_case_at(c, logits, i);
    expect_close(sqrt(square / (double)(tokens * vocab)), rms, relative_tolerance(c) * rms);
    const json_t *first = json_object_get(c->golden, "logits_0_last_first8");
    for (size_t i = 0; i < 8; i++)
        expect_close(forward_case_at(c, logits, row + i), json_number_value(json_array_get(first, i)),
                     relative_tolerance(c) * rms);
    free(hidden), free(logits);
}

static void golden_values(void **state) {
    (void)state;
    for (size_t i = 0; i < 2 * forward_model_count; i++) {
        forward_case c = forward_case_open(forward_models[i / 2], precisions[i % 2], 0, 0);
        size_t tokens = forward_case_tokens(&c);
        double *nll = malloc(tokens * sizeof *nll);
        const ds_observer observer = {DS_OBSERVE_GATES, expect_golden_sublayer, &c};
        print_message("%s, %s, %s\n", c.name, ds_spec_variant(c.spec), precisions[i % 2] == DS_F64 ? "double" : "float");
        expect_ok(ds_forward(c.workspace, c.model, &c.batch, NULL, ds_rule_has_gates(c.spec->rule) ? &observer : NULL, nll));
        expect_golden(mean(nll, tokens), c.golden, "loss", relative_tolerance(&c));
        for (size_t s = 0; s < c.batch.sequences; s++) {
            double expected = json_number_value(json_array_get(json_object_get(c.golden, "sequence_loss"), s));
            expect_close(mean(nll + s * c.batch.length, c.batch.length), expected, relative_tolerance(&c) * expected);
        }
        expect_golden_logits(&c);
        free(nll);
        forward_case_close(&c);
    }
}

/* Every gate mode against the golden ablations that force all sublayers, and one sublayer alone. */
static void golden_ablations(void **state) {
    (void)state;
    const struct {
        const char *name;
        ds_force gate;
        size_t first, last;
    } cases[] = {
        {"closed:all", {DS_FORCE_CLOSED, 0}, 0, 99},         {"open:all", {DS_FORCE_GATE, 1}, 0, 99},
        {"reflect:all", {DS_FORCE_GATE, 2}, 0, 99},          {"write-only:all", {DS_FORCE_WRITE_ONLY, 0}, 0, 99},
        {"erase-only:all", {DS_FORCE_ERASE_ONLY, 0}, 0, 99}, {"closed:0.mlp", {DS_FORCE_CLOSED, 0}, 1, 1},
        {"closed-from:2", {DS_FORCE_CLOSED, 0}, 2, 99},      {"closed-upto:2", {DS_FORCE_CLOSED, 0}, 0, 2},
    };
    for (size_t i = 0; i < 2 * forward_model_count; i++) {
        forward_case c = forward_case_open(forward_models[i / 2], precisions[i % 2], 0, 0);
        const json_t *golden = json_object_get(c.golden, "ablations");
        size_t tokens = forward_case_tokens(&c), checked = 0;
        double *nll = malloc(tokens * sizeof *nll), *kl = malloc(tokens * sizeof *kl), tolerance = relative_tolerance(&c);
        void *intact = forward_case_hidden(&c, NULL);
        for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
            const json_t *expected = json_object_get(golden, cases[k].name);
            if (expected == NULL) continue;
            ds_force gates[64] = {{DS_FORCE_NONE, 0}};
            for (size_t s = cases[k].first; s < ds_spec_sublayers(c.spec) && s <= cases[k].last; s++) gates[s] = cases[k].gate;
            void *hidden = forward_case_hidden(&c, gates);
            const void *one = hidden;
            expect_ok(ds_head_compare(c.workspace, c.model, &c.batch, intact, 1, &one, NULL, &nll, &kl));
            expect_golden(mean(nll, tokens), expected, "loss", tolerance);
            expect_golden(mean(kl, tokens), expected, "kl", tolerance);
            free(hidden);
            checked++;
        }
        assert_int_equal(checked, ds_rule_has_gates(c.spec->rule) ? 8
                                  : golden != NULL                ? 4
                                                                  : 0); /* an additive sublayer can only be closed */
        free(nll), free(kl), free(intact);
        forward_case_close(&c);
    }
}

/* ---- invariances, bit for bit ------------------------------------------------------------------------------------ */

enum { LONG = 1100 }; /* more than two tiles */

static void threads_and_grouping_do_not_matter(void **state) {
    (void)state;
    for (size_t i = 0; i < forward_model_count; i++) {
        forward_case c = forward_case_open(forward_models[i], precisions[i % 2], 3, LONG);
        size_t tokens = forward_case_tokens(&c), window = forward_case_state_bytes(&c) / 3;
        double *nll = malloc(tokens * sizeof *nll), *alone = malloc(LONG * sizeof *alone);
        expect_ok(ds_threads_set(1));
        char *one = forward_case_state(&c, NULL);
        expect_ok(ds_forward(c.workspace, c.model, &c.batch, NULL, NULL, nll));
        expect_ok(ds_threads_set(4));
        ds_workspace *workspace;
        expect_ok(ds_workspace_new(&workspace, c.model, 1, LONG));
        char *again = malloc(window);
        for (size_t s = 0; s < 3; s++) {
            ds_batch batch = {c.tokens + s * LONG, c.targets + s * LONG, 1, LONG};
            expect_ok(ds_embed(workspace, c.model, &batch, again));
            expect_ok(ds_sublayers(workspace, c.model, &batch, again, 0, ds_spec_sublayers(c.spec), NULL, NULL));
            assert_memory_equal(again, one + s * window, window);
            expect_ok(ds_forward(workspace, c.model, &batch, NULL, NULL, alone));
            assert_memory_equal(alone, nll + s * LONG, LONG * sizeof *alone);
        }
        ds_workspace_free(&workspace);
        /* a workspace made for fewer threads goes on with as many as it was made for */
        double *later = malloc(tokens * sizeof *later);
        expect_ok(ds_threads_set(7));
        expect_ok(ds_forward(c.workspace, c.model, &c.batch, NULL, NULL, later));
        assert_memory_equal(later, nll, tokens * sizeof *later);
        free(later);
        expect_ok(ds_threads_set(2));
        free(nll), free(alone), free(one), free(again);
        forward_case_close(&c);
    }
}

static void later_tokens_do_not_matter(void **state) {
    (void)state;
    const size_t changes[] = {LONG - 1, 600, 512, 1};
    for (size_t i = 0; i < forward_model_count; i++) {
        forward_case c = forward_case_open(forward_models[i], precisions[i % 2], 1, LONG);
        size_t token = forward_case_state_bytes(&c) / LONG;
        char *before = forward_case_state(&c, NULL);
        for (size_t k = 0; k < 4; k++) {
            size_t at = changes[k];
            uint32_t kept = c.tokens[at];
            c.tokens[at] = (kept + 17) % (uint32_t)c.spec->vocab;
            char *after = forward_case_state(&c, NULL);
            assert_memory_equal(before, after, at * token);
            assert_true(memcmp(before + at * token, after + at * token, token) != 0);
            c.tokens[at] = kept;
            free(after);
        }
        free(before);
        forward_case_close(&c);
    }
}

static ds_status ignore(void *context, const ds_observation *seen) {
    (void)context, (void)seen;
    return DS_OK;
}

static void closed_gates_are_the_identity(void **state) {
    (void)state;
    const ds_observer observers[] = {{0, ignore, NULL}, {DS_OBSERVE_GATES | DS_OBSERVE_DIRECTIONS, ignore, NULL}};
    ds_force closed[64];
    for (size_t s = 0; s < 64; s++) closed[s] = (ds_force){DS_FORCE_CLOSED, 0};
    for (size_t i = 0; i < forward_model_count; i++) {
        forward_case c = forward_case_open(forward_models[i], precisions[i % 2], 0, 0);
        size_t bytes = forward_case_state_bytes(&c), last = ds_spec_sublayers(c.spec);
        void *start = forward_case_embed(&c), *now = forward_case_embed(&c);
        /* Negative zeros, which adding a zero would turn positive, must stay too. */
        for (size_t k = 0; k < bytes / c.size; k += 5) {
            if (c.size == sizeof(float))
                ((float *)start)[k] = ((float *)now)[k] = -0.0f;
            else
                ((double *)start)[k] = ((double *)now)[k] = -0.0;
        }
        expect_ok(ds_sublayers(c.workspace, c.model, &c.batch, now, 0, last, closed, NULL));
        assert_memory_equal(start, now, bytes);
        for (size_t o = 0; o < 2; o++) {
            expect_ok(ds_sublayers(c.workspace, c.model, &c.batch, now, 0, last, closed, &observers[o]));
            assert_memory_equal(start, now, bytes);
        }
        free(start), free(now);
        forward_case_close(&c);
    }
}

static void splitting_or_watching_does_not_matter(void **state) {
    (void)state;
    const ds_observer observers[] = {
        {DS_OBSERVE_GATES, ignore, NULL},
        {DS_OBSERVE_GATES | DS_OBSERVE_DIRECTIONS | DS_OBSERVE_STATES, ignore, NULL},
    };
    for (size_t i = 0; i < forward_model_count; i++) {
        forward_case c = forward_case_open(forward_models[i], precisions[i % 2], 2, 700);
        size_t bytes = forward_case_state_bytes(&c), last = ds_spec_sublayers(c.spec);
        void *whole = forward_case_state(&c, NULL);
        for (size_t s = 0; s <= last; s++) {
            void *split = forward_case_embed(&c);
            expect_ok(ds_sublayers(c.workspace, c.model, &c.batch, split, 0, s, NULL, NULL));
            expect_ok(ds_sublayers(c.workspace, c.model, &c.batch, split, s, last, NULL, &observers[s % 2]));
            assert_memory_equal(whole, split, bytes);
            free(split);
        }
        free(whole);
        forward_case_close(&c);
    }
}

/* ---- observations ------------------------------------------------------------------------------------------------ */

/* The update's own algebra (MODEL.md "Delta update"), from the arrays alone. */
static ds_status expect_consistent(void *context, const ds_observation *seen) {
    const forward_case *c = context;
    size_t d = seen->hidden, dv = seen->planes;
    /* Sums of d products of numbers rounded to the precision, the state's own size setting the scale. */
    double unit = (double)(d + 16) * ds_unit_roundoff(seen->precision);
    for (size_t t = 0; t < seen->sequences * seen->length; t++) {
        double k2 = 0, b = c->spec->residual_mult * seen->delta->beta[t] * seen->delta->k_norm2[t], before2 = 0, edit2 = 0;
        for (size_t i = 0; i < d; i++) k2 += pow(forward_case_at(c, seen->delta->k, t * d + i), 2);
        expect_close(k2, seen->delta->k_norm2[t], unit);
        assert_true(seen->delta->beta[t] > 0 && seen->delta->beta[t] < 2);
        for (size_t j = 0; j < dv; j++) {
            double read = 0, read_after = 0, target = seen->delta->target[t * dv + j];
            for (size_t i = 0; i < d; i++) {
                double k = forward_case_at(c, seen->delta->k, t * d + i);
                double x = forward_case_at(c, seen->before, (t * dv + j) * d + i);
                double y = forward_case_at(c, seen->after, (t * dv + j) * d + i);
                read += k * x;
                read_after += k * y;
                before2 += x * x;
                edit2 += (y - x) * (y - x);
            }
            double scale = seen->state_norm[t] + fabs(target);
            expect_close(seen->delta->readout[t * dv + j], read, 0x1p-45 * scale);
            expect_close(seen->delta->readout_after[t * dv + j], read_after, 0x1p-45 * scale);
            expect_close(read_after - target, (1 - b) * (read - target), unit * scale); /* Eq. 2.4 */
        }
        expect_close(seen->state_norm[t], sqrt(before2), 0x1p-45 * sqrt(before2));
        expect_close(seen->edit_norm[t], sqrt(edit2), 0x1p-45 * sqrt(edit2));
    }
    return DS_OK;
}

static void observations_agree_with_each_other(void **state) {
    (void)state;
    for (size_t i = 0; i < 2 * forward_model_count; i++) {
        forward_case c = forward_case_open(forward_models[i / 2], precisions[i % 2], 0, 0);
        const ds_observer all = {DS_OBSERVE_GATES | DS_OBSERVE_DIRECTIONS | DS_OBSERVE_STATES, expect_consistent, &c};
        void *start = forward_case_embed(&c);
        if (ds_rule_has_gates(c.spec->rule))
            expect_ok(ds_sublayers(c.workspace, c.model, &c.batch, start, 0, ds_spec_sublayers(c.spec), NULL, &all));
        free(start);
        forward_case_close(&c);
    }
}

/* ---- head -------------------------------------------------------------------------------------------------------- */

/* log sum exp of a row of logits, in double. */
static double log_sum_exp(const forward_case *c, const void *logits, size_t row) {
    double high = -INFINITY, sum = 0;
    size_t vocab = c->spec->vocab;
    for (size_t v = 0; v < vocab; v++) high = fmax(high, forward_case_at(c, logits, row * vocab + v));
    for (size_t v = 0; v < vocab; v++) sum += exp(forward_case_at(c, logits, row * vocab + v) - high);
    return high + log(sum); /* cppcheck-suppress invalidFunctionArg; no vocabulary is empty */
}

static void comparison_equals_what_logits_say(const forward_case *c) {
    size_t tokens = forward_case_tokens(c), vocab = c->spec->vocab, last = ds_spec_sublayers(c->spec) - 1;
    ds_force gates[64] = {{DS_FORCE_NONE, 0}};
    gates[last] = (ds_force){DS_FORCE_CLOSED, 0};
    void *hidden[3] = {forward_case_hidden(c, NULL), forward_case_hidden(c, NULL), forward_case_hidden(c, gates)};
    void *p = malloc(tokens * vocab * c->size), *q = malloc(tokens * vocab * c->size);
    double *nll[2], *kl[2], *loss = malloc(tokens * sizeof *loss), *intact_nll = malloc(tokens * sizeof *intact_nll);
    for (size_t k = 0; k < 2; k++) {
        nll[k] = malloc(tokens * sizeof *nll[k]);
        kl[k] = malloc(tokens * sizeof *kl[k]);
    }
    expect_ok(
        ds_head_compare(c->workspace, c->model, &c->batch, hidden[0], 2, (const void *const *)&hidden[1], intact_nll, nll, kl));
    expect_ok(ds_head_loss(c->workspace, c->model, &c->batch, hidden[0], loss));
    assert_memory_equal(loss, intact_nll, tokens * sizeof *loss);
    expect_ok(ds_head_loss(c->workspace, c->model, &c->batch, hidden[2], loss));
    assert_memory_equal(loss, nll[1], tokens * sizeof *loss);
    expect_ok(ds_head_logits(c->model, hidden[0], 0, tokens, p));
    expect_ok(ds_head_logits(c->model, hidden[2], 0, tokens, q));
    for (size_t t = 0; t < tokens; t++) {
        double of_p = log_sum_exp(c, p, t), of_q = log_sum_exp(c, q, t), divergence = 0, spread = 0;
        for (size_t v = 0; v < vocab; v++) {
            double z = forward_case_at(c, p, t * vocab + v), y = forward_case_at(c, q, t * vocab + v);
            divergence += exp(z - of_p) * ((z - of_p) - (y - of_q));
            spread = fmax(spread, fmax(fabs(z), fabs(y)));
        }
        /* Logits from products of other shapes differ by their summation order, d terms; exp makes that absolute. */
        double tolerance = (2 * (double)c->spec->hidden + 16) * ds_unit_roundoff(ds_model_precision(c->model)) * (1 + spread);
        expect_close(nll[0][t], of_p - forward_case_at(c, p, t * vocab + c->targets[t]), tolerance);
        expect_close(nll[1][t], of_q - forward_case_at(c, q, t * vocab + c->targets[t]), tolerance);
        assert_true(kl[0][t] == 0); /* equal hidden states: no divergence, not merely a small one */
        expect_close(kl[1][t], divergence, tolerance * (1 + spread));
    }
    double *before = malloc(tokens * sizeof *before);
    memcpy(before, nll[1], tokens * sizeof *before);
    expect_ok(
        ds_head_compare(c->workspace, c->model, &c->batch, NULL, 1, (const void *const *)&hidden[2], NULL, &nll[1], NULL));
    assert_memory_equal(before, nll[1], tokens * sizeof *before);
    for (size_t k = 0; k < 3; k++) free(hidden[k]);
    for (size_t k = 0; k < 2; k++) free(nll[k]), free(kl[k]);
    free(loss), free(intact_nll), free(before), free(p), free(q);
}

static void comparisons(void **state) {
    (void)state;
    for (size_t i = 0; i < 2 * forward_model_count; i++) {
        forward_case c = forward_case_open(forward_models[i / 2], precisions[i % 2], 0, 0);
        comparison_equals_what_logits_say(&c);
        forward_case_close(&c);
    }
}

/* A vocabulary of several blocks, the last one short, and a logit scale: a random model of the reported small shape, cut
 * down. */
static void several_vocabulary_blocks(void **state) {
    (void)state;
    const char *variants[] = {"ddl-cc-ec", "additive"};
    for (size_t i = 0; i < 4; i++) {
        ds_spec spec;
        expect_ok(ds_spec_reported(&spec, "small", variants[i / 2]));
        spec.layers = 1;
        spec.hidden = spec.head_dim = spec.rotary_dim = 32;
        spec.heads = 1;
        spec.mlp_hidden = 40;
        spec.vocab = 2500;
        spec.logit_scale = 1.7;
        forward_case c = {.spec = &spec, .size = ds_precision_size(precisions[i % 2])};
        uint32_t ids[41];
        for (size_t t = 0; t < 41; t++) ids[t] = (uint32_t)(t * 997 % spec.vocab);
        c.batch = (ds_batch){ids, ids + 1, 2, 20};
        c.tokens = ids;
        c.targets = ids + 1;
        expect_ok(ds_model_random(&c.model, &spec, precisions[i % 2], 11));
        expect_ok(ds_workspace_new(&c.workspace, c.model, 2, 20));
        comparison_equals_what_logits_say(&c);
        ds_workspace_free(&c.workspace);
        ds_model_free(&c.model);
    }
}

/* ---- refusals ---------------------------------------------------------------------------------------------------- */

static void refusals(void **state) {
    (void)state;
    forward_case c = forward_case_open("cc-bf16", DS_F32, 2, 300), additive = forward_case_open("additive-small", DS_F32, 0, 0);
    double *nll = malloc(forward_case_tokens(&c) * sizeof *nll);
    void *start = forward_case_embed(&c);
    ds_batch larger = c.batch, none = c.batch;
    larger.sequences = 3;
    expect_failure(ds_forward(c.workspace, c.model, &larger, NULL, NULL, nll), DS_ERR_USAGE, "batch of 3 windows");
    none.length = 0;
    expect_failure(ds_forward(c.workspace, c.model, &none, NULL, NULL, nll), DS_ERR_USAGE, "empty");
    expect_failure(ds_workspace_new(&c.workspace, c.model, 0, 1), DS_ERR_USAGE, "0 windows");
    expect_failure(ds_sublayers(c.workspace, c.model, &c.batch, start, 0, 5, NULL, NULL), DS_ERR_USAGE, "sublayers 0 to 5");
    uint32_t kept = c.tokens[307];
    c.tokens[307] = (uint32_t)c.spec->vocab;
    expect_failure(ds_forward(c.workspace, c.model, &c.batch, NULL, NULL, nll), DS_ERR_INPUT, "token 7 of sequence 1");
    expect_failure(ds_head_loss(c.workspace, c.model, &c.batch, start, nll), DS_ERR_INPUT, "target 6 of sequence 1");
    c.tokens[307] = kept;
    ds_force gates[4] = {{DS_FORCE_NONE, 0}, {DS_FORCE_GATE, NAN}};
    expect_failure(ds_forward(c.workspace, c.model, &c.batch, gates, NULL, nll), DS_ERR_USAGE, "0.mlp");
    gates[1] = (ds_force){DS_FORCE_GATE, 1};
    expect_failure(ds_forward(additive.workspace, additive.model, &additive.batch, gates, NULL, nll), DS_ERR_USAGE, "no gate");
    free(nll), free(start);
    forward_case_close(&c);
    forward_case_close(&additive);
}

/* An infinity that a sublayer makes, or meets, is reported where it first appears, whoever watches. */
static void states_that_are_not_finite(void **state) {
    (void)state;
    const ds_observer watch = {DS_OBSERVE_GATES, ignore, NULL};
    for (size_t i = 0; i < 2; i++) {
        forward_case c = forward_case_open(i == 0 ? "additive-small" : "cc-bf16", precisions[i], 2, 700);
        size_t token = forward_case_state_bytes(&c) / c.size / forward_case_tokens(&c);
        for (int watched = 0; watched < 2; watched++) {
            void *now = forward_case_embed(&c);
            size_t at = (700 + 571) * token + 3;
            if (c.size == sizeof(float))
                ((float *)now)[at] = INFINITY;
            else
                ((double *)now)[at] = INFINITY;
            expect_failure(ds_sublayers(c.workspace, c.model, &c.batch, now, 1, 4, NULL, watched ? &watch : NULL), DS_ERR_INPUT,
                           "sublayer 0.mlp leaves a NaN or an infinity in the state of sequence 1 at position 571");
            free(now);
        }
        forward_case_close(&c);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_values),
        cmocka_unit_test(golden_ablations),
        cmocka_unit_test(threads_and_grouping_do_not_matter),
        cmocka_unit_test(later_tokens_do_not_matter),
        cmocka_unit_test(closed_gates_are_the_identity),
        cmocka_unit_test(splitting_or_watching_does_not_matter),
        cmocka_unit_test(observations_agree_with_each_other),
        cmocka_unit_test(comparisons),
        cmocka_unit_test(several_vocabulary_blocks),
        cmocka_unit_test(refusals),
        cmocka_unit_test(states_that_are_not_finite),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
