/* Names of tensors: wrappers inserted anywhere, a common prefix in front, tied heads stored alone; the same model comes out. */
#include <stdlib.h>
#include <string.h>

#include "deltascope/model.h"
#include "io/catalog.h"
#include "scratch.h"
#include "support.h"
#include "torch_file.h"
#include "toy.h"

static ds_random draws;

static size_t below(size_t bound) { return (size_t)ds_random_below(&draws, bound); }

static const char *const wrappers[] = {"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module",
                                       "_forward_module"};

/* The name with `count` wrappers, each in front of a random segment. */
static void wrap(char *out, size_t capacity, const char *name, size_t count) {
    (void)snprintf(out, capacity, "%s", name);
    for (; count > 0; count--) {
        char before[512];
        size_t segments = 1, at = 0;
        (void)snprintf(before, sizeof before, "%s", out);
        for (const char *dot = before; (dot = strchr(dot, '.')) != NULL; dot++) segments++;
        for (size_t skip = below(segments); skip > 0; skip--) at += strcspn(before + at, ".") + 1;
        (void)snprintf(out, capacity, "%.*s%s.%s", (int)at, before, wrappers[below(5)], before + at);
    }
}

static void strips_wrappers_wherever_they_stand(void **state) {
    (void)state;
    static const char *const names[] = {
        "w",    "transformer.wte.weight", "transformer.h.11.attn.c_q.weight", "a.module", "modules.x", "my_orig_mod.w", ".",
        "a..b", "_orig_modx.module"};
    draws = ds_random_init(91);
    print_message("seed 91\n");
    for (size_t trial = 0; trial < 2000; trial++) {
        const char *name = names[below(sizeof names / sizeof *names)];
        char wrapped[512], found[512];
        wrap(wrapped, sizeof wrapped, name, below(6));
        ds_strip_wrappers(found, wrapped);
        assert_string_equal(found, name);
    }
}

/* ---- whole checkpoints ------------------------------------------------------------------------------------------- */

static const char *folder;

/* The toy's tensors under other names, as safetensors or as torch.save writes them. */
static void write_model(const toy_checkpoint *toy, const char *const *names, bool torch) {
    ds_tensor_write tensors[TOY_MOST_TENSORS];
    static torch_file file;
    const char *safe = scratch_path("toy/model.safetensors"), *pickled = scratch_path("toy/ckpt.pt");
    for (size_t i = 0; i < toy->count; i++) {
        tensors[i] = toy->tensors[i];
        tensors[i].name = names[i];
    }
    (void)remove(safe);
    if (!torch) {
        expect_ok(ds_safetensors_write(safe, tensors, toy->count));
        return;
    }
    torch_begin(&file);
    TORCH_OPCODES(&file, "}X\x05\0\0\0model");
    torch_state(&file, "", tensors, toy->count);
    TORCH_OPCODES(&file, "s");
    torch_end(&file, pickled);
}

static void expect_same_model(const toy_checkpoint *toy) {
    ds_checkpoint *checkpoint = NULL;
    ds_model *model = NULL;
    expect_ok(ds_checkpoint_open(&checkpoint, folder, NULL));
    expect_ok(ds_model_load(&model, checkpoint, DS_F32));
    assert_int_equal(ds_model_parameters(model), ds_model_parameters(toy->model));
    for (size_t i = 0; i < ds_model_parameters(model); i++) {
        const ds_parameter *found = ds_model_parameter(model, i), *expected = ds_model_parameter(toy->model, i);
        assert_string_equal(found->name, expected->name);
        assert_memory_equal(found->values, expected->values, found->count * sizeof(float));
    }
    ds_model_free(&model);
    ds_checkpoint_close(&checkpoint);
}

static void make_toy(toy_checkpoint *toy, const char *variant) {
    const ds_spec spec = toy_spec(variant);
    toy_make(toy, &spec, DS_F32, 5);
    ds_checkpoint *checkpoint = toy_open(toy, NULL, ""); /* writes config.json */
    ds_checkpoint_close(&checkpoint);
    folder = scratch_path("toy");
}

/* Names, each in memory of its own. */
static void release_names(char **names, size_t count) {
    for (size_t i = 0; i < count; i++) free(names[i]);
}

static void loads_models_whatever_wraps_them(void **state) {
    (void)state;
    static const char *const prefixes[] = {"", "", "net.", "model.", "model.backbone.", "transformer."};
    static const char *const variants[] = {"additive", "ddl-scalar", "ddl-tc-ec", "ddl-cc"};
    draws = ds_random_init(92);
    print_message("seed 92\n");
    for (size_t trial = 0; trial < 40; trial++) {
        toy_checkpoint toy;
        char *names[TOY_MOST_TENSORS];
        const char *prefix = prefixes[below(6)];
        size_t most = below(4);
        make_toy(&toy, variants[trial % 4]);
        for (size_t i = 0; i < toy.count; i++) {
            char plain[256], wrapped[512];
            (void)snprintf(plain, sizeof plain, "%s%s", prefix, toy.tensors[i].name);
            wrap(wrapped, sizeof wrapped, plain, below(most + 1));
            names[i] = strdup(wrapped);
            assert_non_null(names[i]);
        }
        write_model(&toy, (const char *const *)names, trial % 3 == 0);
        expect_same_model(&toy);
        release_names(names, toy.count);
        toy_release(&toy);
    }
}

/* Of tied tensors, safetensors' save_model keeps the first in the alphabet. */
static void finds_the_embedding_under_the_heads_name(void **state) {
    (void)state;
    for (size_t prefixed = 0; prefixed < 2; prefixed++) {
        toy_checkpoint toy;
        char *names[TOY_MOST_TENSORS];
        make_toy(&toy, "ddl-scalar");
        for (size_t i = 0; i < toy.count; i++) {
            char name[256];
            bool embedding = strcmp(toy.tensors[i].name, "transformer.wte.weight") == 0;
            (void)snprintf(name, sizeof name, "%s%s", prefixed ? "net." : "",
                           embedding ? "lm_head.weight" : toy.tensors[i].name);
            names[i] = strdup(name);
            assert_non_null(names[i]);
        }
        write_model(&toy, (const char *const *)names, prefixed);
        expect_same_model(&toy);
        release_names(names, toy.count);
        toy_release(&toy);
    }
}

static void refuses_names_that_become_one(void **state) {
    (void)state;
    static const char *const pairs[][2] = {
        {"net.ln_f.weight", "ln_f.weight"},
        {"net.module.ln_f.weight", "net._orig_mod.ln_f.weight"},
        {"net.ln_f.weight", "module.net.ln_f.weight"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        const size_t shape[1] = {1};
        const float value[1] = {0.75f};
        const ds_tensor_write tensors[] = {{"net.transformer.h.0.ln_1.weight", DS_F32, 1, shape, value},
                                           {pairs[i][0], DS_F32, 1, shape, value},
                                           {pairs[i][1], DS_F32, 1, shape, value}};
        const char *path = scratch_path("pair.safetensors"), *config = scratch_write("pair.json", "{}", 2);
        ds_checkpoint *checkpoint = NULL;
        expect_ok(ds_safetensors_write(path, tensors, 3));
        expect_failure(ds_checkpoint_open(&checkpoint, path, config), DS_ERR_INPUT, "duplicate tensor ln_f.weight, stored as ");
        for (size_t k = 0; k < 2; k++) {
            char quoted[64];
            (void)snprintf(quoted, sizeof quoted, "\"%s\"", pairs[i][k]);
            assert_non_null(strstr(ds_error_text(), quoted));
        }
    }
}

/* Two models beside each other: neither prefix is taken off, and names without the prefix stay as they are. */
static void leaves_two_prefixes_alone(void **state) {
    (void)state;
    const size_t shape[1] = {1};
    const float value[1] = {0.75f};
    const char *path = scratch_path("two.safetensors"), *config = scratch_write("two.json", "{}", 2);
    const ds_tensor_write tensors[] = {{"net.transformer.wte.weight", DS_F32, 1, shape, value},
                                       {"ema.transformer.wte.weight", DS_F32, 1, shape, value},
                                       {"loss.weight", DS_F32, 1, shape, value}};
    ds_checkpoint *checkpoint = NULL;
    expect_ok(ds_safetensors_write(path, tensors, 3));
    expect_ok(ds_checkpoint_open(&checkpoint, path, config));
    for (size_t i = 0; i < 3; i++) assert_non_null(ds_checkpoint_find(checkpoint, tensors[i].name));
    ds_checkpoint_close(&checkpoint);
    expect_ok(ds_safetensors_write(path, tensors + 1, 2));
    expect_ok(ds_checkpoint_open(&checkpoint, path, config));
    assert_non_null(ds_checkpoint_find(checkpoint, "transformer.wte.weight"));
    assert_non_null(ds_checkpoint_find(checkpoint, "loss.weight"));
    ds_checkpoint_close(&checkpoint);
    expect_ok(ds_tensors_open(&checkpoint, path)); /* of no model: as stored */
    assert_non_null(ds_checkpoint_find(checkpoint, "ema.transformer.wte.weight"));
    assert_null(ds_checkpoint_config(checkpoint));
    ds_checkpoint_close(&checkpoint);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strips_wrappers_wherever_they_stand),
        cmocka_unit_test(loads_models_whatever_wraps_them),
        cmocka_unit_test(finds_the_embedding_under_the_heads_name),
        cmocka_unit_test(refuses_names_that_become_one),
        cmocka_unit_test(leaves_two_prefixes_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
