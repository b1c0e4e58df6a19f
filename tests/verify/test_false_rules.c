/* verify on rules that are wrong in one place: a copy of a rule, one of whose functions does a little more than it should. What
 * is said of reads of a history, of streams, and of parameters that do nothing has to fail just then. */
#include <stdlib.h>
#include <string.h>

#include "deltascope/verify.h"
#include "model/model_internal.h"
#include "model/rule_streams.h"

#include "support.h"

enum { TOKENS = 16, WINDOWS = 2 };
static const double little = 0x1p-30;

/* The rule that is copied, and the copy. */
static const ds_rule *honest;
static ds_rule false_rule;
static ds_rule_steps false_steps;
static const ds_rule_steps *steps(void) { return honest->steps[DS_F64]; }

/* ---- mistakes --------------------------------------------------------------------------------------------------------- */

/* The last weight of every read is a little larger. */
static void mix_more(const ds_pass *pass, ds_tile tile, double *mix) {
    steps()->mix(pass, tile, mix);
    for (size_t t = 0; t < tile.rows; t++) mix[t * (pass->sublayer + 1) + pass->sublayer] += little;
}

static const void *read_more(const ds_pass *pass, ds_tile tile, void *x_in) {
    double *read = (double *)(uintptr_t)steps()->read_forward(pass, tile, x_in);
    read[0] += little;
    return read;
}

static size_t write_more(const ds_pass *pass, ds_tile tile, void *h) {
    size_t rows = steps()->write_forward(pass, tile, h);
    size_t width = ds_spec_planes(&pass->model->spec) * pass->model->spec.hidden;
    ((double *)pass->state)[tile.token * width] += little;
    return rows;
}

static void read_out_more(const ds_pass *pass, ds_tile tile, void *hidden) {
    steps()->readout_forward(pass, tile, hidden);
    ((double *)hidden)[0] += little;
}

static void embed_more(const ds_pass *pass, ds_tile tile) {
    size_t width = ds_spec_planes(&pass->model->spec) * pass->model->spec.hidden;
    steps()->embed_forward(pass, tile);
    ((double *)pass->state)[tile.token * width + width - 1] += little;
}

/* What the streams are said to have mixed by: R from the first stream to itself. */
static void observe_more(ds_observation *seen, const ds_pass *pass) {
    honest->observe(seen, pass);
    ds_stream_workspace *own = pass->workspace->rule;
    if (seen->streams != NULL) own->mixing[2 * seen->streams->streams] += little;
}

/* The first parameter that the loss does not depend on has a gradient. */
static void dead_more(const ds_derivative *b, ds_tile tile) {
    const ds_model *model = b->pass.model;
    bool reached[256];
    assert_true(ds_model_parameters(model) <= sizeof reached / sizeof *reached);
    steps()->embed_backward(b, tile);
    ds_model_reached(reached, model, b->pass.batch->length);
    for (size_t p = 0; b->parameters && p < ds_model_parameters(model); p++)
        if (!reached[p]) ((double *)b->gradient->parameters[p])[0] = little;
}

static const void *read_less_tangent(const ds_derivative *b, ds_tile tile, void *dx_in) {
    double *read = (double *)(uintptr_t)steps()->read_tangent(b, tile, dx_in);
    for (size_t i = 0; i < tile.rows * b->pass.model->spec.hidden; i++) read[i] *= 0.99;
    return read;
}

static void read_less_backward(const ds_derivative *b, void *dstate, const void *dx_in, size_t token, size_t future) {
    size_t d = b->pass.model->spec.hidden;
    double less[64];
    double *scaled = (double *)(uintptr_t)dx_in;
    assert_true(d <= sizeof less / sizeof *less);
    memcpy(less, scaled + token * d, d * sizeof *less);
    for (size_t i = 0; i < d; i++) scaled[token * d + i] *= 0.99;
    steps()->read_backward(b, dstate, dx_in, token, future);
    memcpy(scaled + token * d, less, d * sizeof *less);
}

static void set_mix(void) { false_steps.mix = mix_more; }
static void set_read(void) { false_steps.read_forward = read_more; }
static void set_write(void) { false_steps.write_forward = write_more; }
static void set_readout(void) { false_steps.readout_forward = read_out_more; }
static void set_embed(void) { false_steps.embed_forward = embed_more; }
static void set_observe(void) { false_rule.observe = observe_more; }
static void set_dead(void) { false_steps.embed_backward = dead_more; }
static void set_tangent(void) { false_steps.read_tangent = read_less_tangent; }
static void set_backward(void) { false_steps.read_backward = read_less_backward; }

static const struct {
    const char *model;
    void (*set)(void);
    const char *check;
} mistakes[] = {
    {"fixtures/depth/attnres-full", set_mix, "depth.mixing"},
    {"fixtures/depth/attnres-full", set_mix, "depth.weights"},
    {"fixtures/depth/delta-attnres", set_mix, "depth.weights"},
    {"fixtures/depth/attnres-full", set_mix, "depth.slots"},
    {"fixtures/depth/delta-attnres", set_mix, "depth.slots"},
    {"fixtures/depth/delta-block", set_mix, "depth.mixing"},
    {"fixtures/depth/attnres-full", set_read, "depth.uniform"},
    {"fixtures/depth/attnres-block", set_read, "depth.uniform"},
    {"fixtures/depth/attnres-cumulative-block", set_read, "depth.mixing"},
    {"fixtures/depth/attnres-block", set_read, "second.sublayers"},
    {"fixtures/depth/delta-block", set_readout, "second.readout"},
    {"fixtures/depth/attnres-full", set_embed, "second.embedding"},
    {"fixtures/depth/attnres-full", set_dead, "gradient.dead"},
    {"fixtures/depth/attnres-full", set_tangent, "gradient.adjoint"},
    {"fixtures/depth/attnres-full", set_backward, "gradient.states"},
    {"fixtures/streams/hc", set_observe, "streams.reads"},
    {"fixtures/streams/hc", set_observe, "streams.products"},
    {"fixtures/streams/mhc/ckpt.pt", set_observe, "streams.sums"},
    {"fixtures/streams/mhc-lite/ckpt.pt", set_observe, "streams.sums"},
    {"fixtures/streams/mhc-static-mixed/ckpt.pt", set_observe, "streams.sums"},
    {"fixtures/streams/mhc-static-mixed/ckpt.pt", set_observe, "streams.products"},
    {"fixtures/streams/mhc/ckpt.pt", set_read, "streams.reads"},
    {"fixtures/streams/mhc/ckpt.pt", set_write, "streams.products"},
    {"fixtures/streams/mhc-lite/ckpt.pt", set_write, "second.sublayers"},
    {"fixtures/streams/mhc-lite/ckpt.pt", set_write, "update.closed"},
    {"fixtures/streams/mhc-static-mixed/ckpt.pt", set_read, "second.sublayers"},
    {"fixtures/streams/hc", set_readout, "second.readout"},
    {"fixtures/streams/mhc/ckpt.pt", set_embed, "second.embedding"},
    {"fixtures/streams/mhc-static-mixed/ckpt.pt", set_dead, "gradient.dead"},
    {"fixtures/streams/mhc-lite/ckpt.pt", set_tangent, "gradient.adjoint"},
    {"fixtures/streams/mhc-lite/ckpt.pt", set_backward, "gradient.states"},
};

/* ---- the test --------------------------------------------------------------------------------------------------------- */

static ds_model *load(const char *path, uint32_t ids[WINDOWS * TOKENS + 1]) {
    ds_checkpoint *checkpoint;
    ds_tokens *tokens;
    ds_model *model;
    expect_ok(ds_checkpoint_open(&checkpoint, path, NULL));
    expect_ok(ds_model_load(&model, checkpoint, DS_F64));
    ds_checkpoint_close(&checkpoint);
    expect_ok(ds_tokens_open(&tokens, "fixtures/data/val.bin", ds_model_spec(model)->vocab));
    expect_ok(ds_tokens_read(tokens, ids, 0, WINDOWS * TOKENS + 1));
    ds_tokens_close(&tokens);
    return model;
}

static size_t find(const char *id) {
    size_t i = 0;
    while (i < ds_check_count() && strcmp(ds_check_id(i), id) != 0) i++;
    assert_true(i < ds_check_count());
    return i;
}

/* The check passes on the rule as it is, and fails on the copy; the report tells numbers that say so. */
static void each_mistake_fails_its_check(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof mistakes / sizeof *mistakes; i++) {
        uint32_t ids[WINDOWS * TOKENS + 1];
        const ds_batch batch = {ids, ids + 1, WINDOWS, TOKENS};
        ds_model *model = load(mistakes[i].model, ids);
        honest = model->spec.rule;
        false_rule = *honest;
        false_steps = *steps();
        false_rule.steps[DS_F64] = &false_steps;
        for (int turn = 0; turn < 2; turn++) {
            ds_verify *verify;
            ds_check_result result;
            if (turn == 1) mistakes[i].set();
            model->spec.rule = &false_rule;
            expect_ok(ds_verify_new(&verify, model, model, &batch, 20261128));
            expect_ok(ds_verify_check(&result, verify, find(mistakes[i].check)));
            if ((result.status == DS_CHECK_FAIL) != (turn == 1) || result.status == DS_CHECK_SKIP)
                fail_msg("%s: %s, turn %d: %s, %g and %g (%s)", mistakes[i].model, mistakes[i].check, turn,
                         ds_check_status_name(result.status), result.measured, result.tolerance, result.detail);
            assert_int_equal(result.measured > result.tolerance, turn == 1);
            ds_verify_free(&verify);
        }
        ds_model_free(&model);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_mistake_fails_its_check)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    ds_threads_stop();
    return failed;
}
