#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "forward_case.h"
#include "support.h"

const char *const forward_models[] = {
    "additive-small",
    "scalar-safetensors",
    "scalar-ckpt",
    "scalar-kvshift",
    "scalar-two-layer-gate",
    "tc-output-gate",
    "tc-newer-names",
    "tc-ec-sharded",
    "cc-bf16",
    "cc-dv3-noqknorm",
    "cc-ec-activations",
    "cc-ec-vlinear",
    "ddl-cc-ec",
    "option-additive-eps",
    "option-cc-causal",
    "option-cc-ec-causal",
    "option-cc-ec-one-token",
    "option-cc-even-kernel",
    "option-cc-one-tap",
    "option-scalar-completep",
    "option-scalar-constant",
    "option-tc-ec-constant",
    "option-tc-ec-mixed-names",
    "option-tc-long-kernel",
    "option-tc-one-tap",
};
const size_t forward_model_count = sizeof forward_models / sizeof forward_models[0], forward_mild_count = 13;

double golden_number(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    assert_true(json_is_number(value));
    return json_number_value(value);
}

forward_case forward_case_open(const char *name, ds_precision precision, size_t sequences, size_t length) {
    forward_case c = {.name = name, .size = ds_precision_size(precision)};
    char path[256];
    json_error_t error;
    ds_checkpoint *checkpoint;
    ds_tokens *tokens;
    (void)snprintf(path, sizeof path, "fixtures/golden/%s.json", name);
    c.golden = json_load_file(path, 0, &error);
    assert_non_null(c.golden);
    if (length == 0) {
        sequences = (size_t)golden_number(c.golden, "sequences");
        length = (size_t)golden_number(c.golden, "seq_len");
    }
    const char *file = strcmp(name, "scalar-ckpt") == 0 ? "/ckpt.pt" : ""; /* a training checkpoint is named as a file */
    (void)snprintf(path, sizeof path, "fixtures/models/%s%s", name, file);
    expect_ok(ds_checkpoint_open(&checkpoint, path, NULL));
    expect_ok(ds_model_load(&c.model, checkpoint, precision));
    ds_checkpoint_close(&checkpoint);
    c.spec = ds_model_spec(c.model);
    c.tokens = malloc((sequences * length + 1) * sizeof *c.tokens);
    assert_non_null(c.tokens);
    c.targets = c.tokens + 1;
    expect_ok(ds_tokens_open(&tokens, "fixtures/data/val.bin", c.spec->vocab));
    expect_ok(ds_tokens_read(tokens, c.tokens, 0, sequences * length + 1));
    ds_tokens_close(&tokens);
    c.batch = (ds_batch){.tokens = c.tokens, .targets = c.targets, .sequences = sequences, .length = length};
    expect_ok(ds_workspace_new(&c.workspace, c.model, sequences, length));
    return c;
}

void forward_case_close(forward_case *c) {
    ds_workspace_free(&c->workspace);
    ds_model_free(&c->model);
    json_decref(c->golden);
    free(c->tokens);
}

size_t forward_case_tokens(const forward_case *c) { return c->batch.sequences * c->batch.length; }

size_t forward_case_state_bytes(const forward_case *c) {
    return forward_case_tokens(c) * c->spec->value_channels * c->spec->hidden * c->size;
}

void *forward_case_embed(const forward_case *c) {
    void *state = malloc(forward_case_state_bytes(c));
    assert_non_null(state);
    expect_ok(ds_embed(c->workspace, c->model, &c->batch, state));
    return state;
}

void *forward_case_state(const forward_case *c, const ds_force *gates) {
    void *state = forward_case_embed(c);
    expect_ok(ds_sublayers(c->workspace, c->model, &c->batch, state, 0, ds_spec_sublayers(c->spec), gates, NULL));
    return state;
}

void *forward_case_hidden(const forward_case *c, const ds_force *gates) {
    void *state = forward_case_state(c, gates), *hidden = malloc(forward_case_tokens(c) * c->spec->hidden * c->size);
    assert_non_null(hidden);
    expect_ok(ds_readout(c->workspace, c->model, &c->batch, gates, state, hidden));
    free(state);
    return hidden;
}

double forward_case_at(const forward_case *c, const void *array, size_t i) {
    return c->size == sizeof(float) ? (double)((const float *)array)[i] : ((const double *)array)[i];
}
