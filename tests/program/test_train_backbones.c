/* train on other backbones: what it leaves is read back as the same backbone, the plain model and a control of it alike, and
 * weights that are drawn start as their own code starts them. */
#include <math.h>
#include <string.h>

#include "child.h"
#include "deltascope/model.h"
#include "scratch.h"
#include "support.h"

#define SMALL                                                                                                                  \
    "--recipe", "fixtures/recipes/shakespeare.json", "--tokens", "fixtures/data/val.bin", "--val", "fixtures/data/val.bin",    \
        "--set", "seq_len=8", "--set", "steps=2", "--set", "decay_steps=2", "--set", "warmup_steps=1", "--set", "batch=1",     \
        "--set", "val_windows=1"

static const struct {
    const char *path;
    const ds_backbone *backbone;
} models[] = {
    {"fixtures/backbones/qwen3-additive", &ds_backbone_qwen3},
    {"fixtures/backbones/hf-llama3", &ds_backbone_llama},
    {"fixtures/backbones/hf-qwen2", &ds_backbone_qwen2},
    {"fixtures/backbones/hf-gpt2", &ds_backbone_gpt2},
    {"fixtures/backbones/nanogpt-additive/ckpt.pt", &ds_backbone_nanogpt},
};

static void run(const char *const *line) {
    static child found;
    child_run(&found, line, (child_limits){.seconds = 120});
    if (found.status != 0) fail_msg("exit status %d: %s", found.status, found.err);
}

static ds_model *load(const char *out, const char *checkpoint) {
    char path[256];
    ds_checkpoint *opened;
    ds_model *model;
    (void)snprintf(path, sizeof path, "%s/%s", out, checkpoint);
    expect_ok(ds_checkpoint_open(&opened, scratch_path(path), NULL));
    expect_ok(ds_model_load(&model, opened, DS_F32));
    ds_checkpoint_close(&opened);
    return model;
}

static void checkpoints_keep_their_backbone(void **state) {
    (void)state;
    for (size_t i = 0; i < 2 * sizeof models / sizeof *models; i++) {
        char out[32];
        const bool control = i % 2 == 1;
        (void)snprintf(out, sizeof out, "run-%zu", i);
        run((const char *const[]){"train", SMALL, "--from", models[i / 2].path, "--set",
                                  control ? "rule=closed:attn" : "rule=delta", "--out", scratch_path(out), NULL});
        ds_model *model = load(out, "checkpoint-2");
        assert_ptr_equal(ds_model_spec(model)->backbone, models[i / 2].backbone);
        assert_int_equal(ds_spec_is_control(ds_model_spec(model)), control);
        ds_model_free(&model);
    }
}

/* Matrices of deviation initializer_range, what ends in the residual of GPT-2 less by sqrt(2 layers), norms 1, biases 0. */
static void drawn_weights_start_as_their_own(void **state) {
    (void)state;
    for (size_t m = 0; m < 4; m++) {
        char out[32], config[128];
        (void)snprintf(out, sizeof out, "drawn-%zu", m);
        (void)snprintf(config, sizeof config, "%s/config.json", models[m].path);
        run((const char *const[]){"train", SMALL, "--config", config, "--variant", "additive", "--seed", "3", "--out",
                                  scratch_path(out), NULL});
        ds_model *model = load(out, "checkpoint-0");
        const bool gpt2 = models[m].backbone == &ds_backbone_gpt2;
        for (size_t i = 0; i < ds_model_parameters(model); i++) {
            const ds_parameter *p = ds_model_parameter(model, i);
            const bool bias = strstr(p->name, ".bias") != NULL, output = gpt2 && strstr(p->name, "c_proj.weight") != NULL;
            double squares = 0, std = output ? 0.02 / sqrt(2 * (double)ds_model_spec(model)->layers) : 0.02;
            for (size_t k = 0; k < p->count; k++) {
                double value = ds_real_at(p->values, DS_F32, k);
                if (p->rank == 1) expect_close(value, bias ? 0 : 1, 0);
                squares += value * value;
            }
            /* six standard errors of a variance */
            if (p->rank == 2) expect_close(squares / (double)p->count, std * std, 6 * std * std * sqrt(2 / (double)p->count));
        }
        ds_model_free(&model);
    }
}

/* A rule on a backbone on which no published code has it, read by every command in which it has a meaning. */
static void other_rules_are_read_by_every_command(void **state) {
    (void)state;
    static const char *const configs[] = {
        "fixtures/backbones/qwen3-additive/config.json",
        "{\"vocab_size\": 65, \"n_layer\": 2, \"n_head\": 2, \"n_embd\": 8, \"block_size\": 16}"};
    static const struct {
        const char *variant;
        size_t config;
        const char *commands[7];
    } cases[] = {
        {"ddl-cc-ec", 0, {"inspect", "gates", "spectrum", "ablate", "gradflow", "verify", "depth"}},
        {"ddl-tc-ec", 1, {"inspect", "gates", "spectrum", "ablate", "gradflow", "verify", "depth"}},
        {"delta-attnres", 1, {"inspect", "ablate", "gradflow", "verify", "depth"}},
        {"mhc", 0, {"inspect", "depth"}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char out[32], checkpoint[256];
        const char *text = configs[cases[i].config];
        const char *config = text[0] == '{' ? scratch_write("config.json", text, strlen(text)) : text;
        (void)snprintf(out, sizeof out, "rule-%zu", i);
        run((const char *const[]){"train", SMALL, "--config", config, "--variant", cases[i].variant, "--out", scratch_path(out),
                                  "--quiet", NULL});
        (void)snprintf(checkpoint, sizeof checkpoint, "%s/checkpoint-2", scratch_path(out));
        for (size_t c = 0; c < 7 && cases[i].commands[c] != NULL; c++)
            run((const char *const[]){cases[i].commands[c], "--tokens", "fixtures/data/val.bin", "--seq-len", "8",
                                      "--sequences", "2", "--quiet", checkpoint, NULL});
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(checkpoints_keep_their_backbone),
                                       cmocka_unit_test(drawn_weights_start_as_their_own),
                                       cmocka_unit_test(other_rules_are_read_by_every_command)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
