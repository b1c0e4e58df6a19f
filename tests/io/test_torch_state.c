/* What a checkpoint is found in: states wherever a training script keeps them, configurations beside them, folders without the
 * usual names. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "deltascope/io.h"
#include "scratch.h"
#include "support.h"
#include "torch_file.h"

static ds_random draws;
static torch_file file;

static size_t below(size_t bound) { return (size_t)ds_random_below(&draws, bound); }

static const size_t vector[1] = {3};
static const float values[3] = {0.375f, -2.5f, 1.75f};
static const ds_tensor_write own[] = {{"transformer.wte.weight", DS_F32, 1, vector, values},
                                      {"transformer.h.0.ln_1.weight", DS_F32, 1, vector, values},
                                      {"ln_f.weight", DS_F32, 1, vector, values}};
static const ds_tensor_write wrapped[] = {{"transformer._orig_mod.wte.weight", DS_F32, 1, vector, values},
                                          {"transformer.module.h.0._orig_mod.ln_1.weight", DS_F32, 1, vector, values},
                                          {"_orig_mod.ln_f.weight", DS_F32, 1, vector, values}};
static const ds_tensor_write foreign[] = {{"tok_emb.weight", DS_F32, 1, vector, values},
                                          {"blocks.0.norm.gamma", DS_F32, 1, vector, values}};

/* Opens keys "a", "b" of "a.b" as dicts in dicts; returns how many. */
static size_t open_way(const char *way) {
    size_t depth = 0;
    for (const char *at = way; at != NULL; depth++) {
        char key[64];
        const char *dot = strchr(at, '.');
        (void)snprintf(key, sizeof key, "%.*s", dot == NULL ? (int)strlen(at) : (int)(dot - at), at);
        torch_string(&file, key);
        if (dot != NULL) TORCH_OPCODES(&file, "}");
        at = dot == NULL ? NULL : dot + 1;
    }
    return depth;
}

static void close_way(size_t depth) {
    for (; depth > 0; depth--) TORCH_OPCODES(&file, "s");
}

static void put_state(const char *way, const char *prefix, const ds_tensor_write *tensors, size_t count) {
    size_t depth = open_way(way);
    torch_state(&file, prefix, tensors, count);
    close_way(depth);
}

/* What stands beside a state: an optimizer's tensors by number and by name, a loss, settings, an object. */
static void put_company(size_t kind) {
    static const ds_tensor_write moments[] = {{"exp_avg", DS_F32, 1, vector, values},
                                              {"exp_avg_sq", DS_F32, 1, vector, values}};
    static const ds_tensor_write flat[] = {{"state.transformer.h.0.ln_1.weight.exp_avg", DS_F32, 1, vector, values}};
    switch (kind) {
    case 0:
        torch_string(&file, "optimizer");
        TORCH_OPCODES(&file, "}X\x05\0\0\0state}K\0");
        torch_state(&file, "", moments, 2);
        TORCH_OPCODES(&file, "sss");
        break;
    case 1:
        put_state("optim.state", "", flat, 1);
        break;
    case 2:
        torch_string(&file, "best_val_loss");
        torch_tensor(&file, &moments[0]);
        TORCH_OPCODES(&file, "s");
        break;
    case 3:
        torch_string(&file, "hyper_parameters");
        TORCH_OPCODES(&file, "}X\x02\0\0\0lrG?\xE0\0\0\0\0\0\0ss");
        break;
    default:
        torch_string(&file, "trainer");
        TORCH_OPCODES(&file, "c__main__\nTrainer\n)\x81}X\x04\0\0\0stepK\x07sbs");
        break;
    }
}

static const char *finish(void) {
    const char *path = scratch_path("state.pt");
    torch_end(&file, path);
    return path;
}

static void begin(void) {
    torch_begin(&file);
    TORCH_OPCODES(&file, "}");
}

static void expect_found(const char *path, size_t count, const char *name) {
    ds_checkpoint *checkpoint = NULL;
    const ds_checkpoint_options options = {.config_optional = true};
    expect_ok(ds_checkpoint_open_with(&checkpoint, path, &options));
    assert_int_equal(ds_checkpoint_count(checkpoint), count);
    assert_non_null(ds_checkpoint_find(checkpoint, name));
    ds_checkpoint_close(&checkpoint);
}

static void expect_refused(const char *path, const char *words) {
    ds_checkpoint *checkpoint = NULL;
    const ds_checkpoint_options options = {.config_optional = true};
    expect_failure(ds_checkpoint_open_with(&checkpoint, path, &options), DS_ERR_INPUT, words);
    assert_null(checkpoint);
    assert_non_null(strstr(ds_error_text(), path));
}

/* ---- states ------------------------------------------------------------------------------------------------------ */

static const char *const ways[] = {
    "model", "state_dict", "model_state_dict", "module",  "model_state",        "app.model",      "state.model",
    "net",   "ema",        "generator",        "a.b.c.d", "checkpoint.weights", "optimizer.model"};
enum { WAYS = sizeof ways / sizeof ways[0] };

static void finds_the_model_wherever_it_is_kept(void **state) {
    (void)state;
    draws = ds_random_init(101);
    print_message("seed 101\n");
    for (size_t trial = 0; trial < 300; trial++) {
        size_t before = below(6), after = below(6), way = below(WAYS);
        if (strncmp(ways[way], "opt", 3) == 0) before = after = 2; /* no second entry of that name */
        begin();
        if (before < 5) put_company(before);
        put_state(ways[way], below(2) == 0 ? "" : "net.", below(3) == 0 ? wrapped : own, 3);
        if (after < 5 && after != before) put_company(after);
        expect_found(finish(), 3, "transformer.wte.weight");
    }
}

/* A fork's names say nothing: usual places before others, never the optimizer's. */
static void finds_states_of_other_names(void **state) {
    (void)state;
    for (size_t way = 0; way < WAYS; way++) {
        for (size_t company = 0; company < 5; company++) {
            if (strncmp(ways[way], "opt", 3) == 0 || company == 1) continue;
            begin();
            put_company(company);
            put_state(ways[way], "", foreign, 2);
            expect_found(finish(), 2, "tok_emb.weight");
        }
    }
    begin();
    put_state("probe", "", foreign, 2);
    put_state("model_state", "", foreign, 2);
    expect_found(finish(), 2, "tok_emb.weight");
}

static void lists_candidates_when_there_are_several(void **state) {
    (void)state;
    draws = ds_random_init(102);
    print_message("seed 102\n");
    for (size_t trial = 0; trial < 100; trial++) {
        size_t first = below(5), second = 5 + below(WAYS - 6);
        char words[96];
        begin();
        put_company(below(5));
        put_state(ways[first], "", own, 3);
        put_state(ways[second], "", own, 2);
        (void)snprintf(words, sizeof words, "ambiguous: '%s' (3 tensors), '%s' (2 tensors) hold", ways[first], ways[second]);
        if (strchr(ways[second], '.') != NULL) /* found one level later, in the same order */
            expect_refused(finish(), "(2 tensors) hold");
        else
            expect_refused(finish(), words);
        assert_non_null(strstr(ds_error_text(), "torch.save(checkpoint["));
        assert_non_null(strstr(ds_error_text(), "(--map): {\"state\": "));
    }
}

static void says_what_there_is_instead(void **state) {
    (void)state;
    begin();
    put_company(0);
    put_company(3);
    expect_refused(finish(), "no 'model' entry: ");
    assert_non_null(strstr(ds_error_text(), "it has 'optimizer', 'hyper_parameters'"));
    begin();
    TORCH_OPCODES(&file, "X\x05\0\0\0modelc__main__\nGPT\n)\x81}bs");
    expect_refused(finish(), "the entry 'model' is not a state dict: it holds no tensors but is __main__.GPT; ");
    assert_non_null(strstr(ds_error_text(), "torch.save(checkpoint[\"model\"].state_dict(), \"weights.pt\")"));
    torch_begin(&file);
    TORCH_OPCODES(&file, "c__main__\nGPT\n)\x81}b");
    expect_refused(finish(), "not a state dict but a whole __main__.GPT; ");
}

/* ---- configurations ---------------------------------------------------------------------------------------------- */

static void put_settings(const char *key, long long hidden) {
    torch_string(&file, key);
    TORCH_OPCODES(&file, "}X\x0b\0\0\0hidden_size");
    torch_int(&file, hidden);
    TORCH_OPCODES(&file, "ss");
}

static void expect_config(const char *path, const char *entry, long long hidden) {
    ds_checkpoint *checkpoint = NULL;
    char where[512];
    expect_ok(ds_checkpoint_open(&checkpoint, path, NULL));
    assert_string_equal(ds_checkpoint_config_entry(checkpoint), entry);
    (void)snprintf(where, sizeof where, "%s: %s", path, entry);
    assert_string_equal(ds_checkpoint_config_path(checkpoint), where);
    assert_int_equal(json_integer_value(json_object_get(ds_checkpoint_config(checkpoint), "hidden_size")), hidden);
    ds_checkpoint_close(&checkpoint);
}

#define CONTAINER "comegaconf.dictconfig\nDictConfig\n)\x81}X\x07\0\0\0_parentNsX\x08\0\0\0_content}"
#define NODE "comegaconf.nodes\nAnyNode\n)\x81}X\x04\0\0\0_val"

static void takes_the_configuration_within(void **state) {
    (void)state;
    static const char *const keys[] = {"args", "hparams", "hyper_parameters", "cfg", "config", "model_config", "model_args"};
    begin();
    put_state("model", "", own, 3);
    const char *path = finish();
    ds_checkpoint *checkpoint = NULL;
    expect_failure(ds_checkpoint_open(&checkpoint, path, NULL), DS_ERR_INPUT, "no configuration");
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) { /* every later one wins over those before it */
        begin();
        put_state("model", "", own, 3);
        for (size_t k = 0; k <= i; k++) put_settings(keys[k], 100 + (long long)k);
        expect_config(finish(), keys[i], 100 + (long long)i);
    }
    begin(); /* of a training run: names no size of the model */
    put_state("model", "", own, 3);
    TORCH_OPCODES(&file, "X\x06\0\0\0config}X\x02\0\0\0lrG?\xE0\0\0\0\0\0\0ss");
    expect_failure(ds_checkpoint_open(&checkpoint, finish(), NULL), DS_ERR_INPUT, "no configuration");
    begin(); /* an object's attributes, and one level down */
    put_state("model", "", own, 3);
    TORCH_OPCODES(&file, "X\x06\0\0\0config}X\x05\0\0\0modelc__main__\nConfig\n)\x81}X\x0b\0\0\0hidden_sizeK\x28sbss");
    expect_config(finish(), "config.model", 40);
    begin(); /* containers and values of OmegaConf */
    put_state("model", "", own, 3);
    TORCH_OPCODES(&file, "X\x06\0\0\0config" CONTAINER "X\x05\0\0\0model" CONTAINER "X\x0b\0\0\0hidden_size" NODE "K\x28sb"
                         "ssbssbs");
    expect_config(finish(), "config.model", 40);
}

static void a_file_of_settings_wins(void **state) {
    (void)state;
    ds_checkpoint *checkpoint = NULL;
    const char *config = scratch_write("inner/config.json", "{\"hidden_size\":7}", 17), *path = scratch_path("inner/ckpt.pt");
    begin();
    put_state("model", "", own, 3);
    put_settings("model_args", 40);
    torch_end(&file, path);
    for (size_t given = 0; given < 2; given++) {
        expect_ok(ds_checkpoint_open(&checkpoint, path, given ? config : NULL));
        assert_null(ds_checkpoint_config_entry(checkpoint));
        assert_int_equal(json_integer_value(json_object_get(ds_checkpoint_config(checkpoint), "hidden_size")), 7);
        ds_checkpoint_close(&checkpoint);
    }
}

/* What JSON cannot hold is no setting; what is too large is left out as a whole. */
static void bounds_configurations(void **state) {
    (void)state;
    ds_checkpoint *checkpoint = NULL;
    begin();
    put_state("model", "", own, 3);
    TORCH_OPCODES(&file, "X\x0a\0\0\0model_args}q\x05(X\x0b\0\0\0hidden_sizeK\x28X\x03\0\0\0nanG\x7F\xF8\0\0\0\0\0\0"
                         "X\x04\0\0\0selfh\x05X\x04\0\0\0listK\x01K\x02\x86X\x06\0\0\0objectc__main__\nE\n)\x81NK\x01us");
    expect_ok(ds_checkpoint_open(&checkpoint, finish(), NULL));
    const json_t *config = ds_checkpoint_config(checkpoint), *inner = config;
    assert_string_equal(json_string_value(json_object_get(json_object_get(config, "nan"), "class")), "a float");
    assert_string_equal(json_string_value(json_object_get(json_object_get(config, "object"), "class")), "__main__.E");
    assert_int_equal(json_array_size(json_object_get(config, "list")), 2);
    for (size_t depth = 0; depth < 7; depth++) inner = json_object_get(inner, "self");
    assert_string_equal(json_string_value(json_object_get(json_object_get(inner, "self"), "class")), "a dict");
    ds_checkpoint_close(&checkpoint);
    begin(); /* a list of itself, twice at every level */
    put_state("model", "", own, 3);
    TORCH_OPCODES(&file, "X\x0a\0\0\0model_args}(X\x0b\0\0\0hidden_sizeK\x28X\x01\0\0\0x]q\x05(h\x05h\x05h\x05h\x05h\x05h\x05"
                         "eus");
    expect_failure(ds_checkpoint_open(&checkpoint, finish(), NULL), DS_ERR_INPUT, "no configuration");
}

/* ---- folders ----------------------------------------------------------------------------------------------------- */

static void write_state(const char *name) {
    begin();
    put_state("state_dict", "", own, 3);
    torch_end(&file, scratch_path(name));
}

static void takes_the_only_weight_file(void **state) {
    (void)state;
    static const char *const names[] = {"last.ckpt", "step-1000.pt", "final.pth", "weights.bin"};
    const char *folder = scratch_path("only");
    (void)scratch_write("only/config.json", "{\"hidden_size\":7}", 17);
    (void)scratch_write("only/val.bin", "\1\0\2\0\3\0", 6);
    (void)scratch_write("only/notes.txt", "none", 4);
    expect_refused(folder, "no checkpoint file in the folder, expected model.safetensors, ");
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[64];
        (void)snprintf(path, sizeof path, "only/%s", names[i]);
        write_state(path);
        write_state("only/optimizer.pt");
        write_state("only/rng_state_0.pth");
        expect_found(folder, 3, "ln_f.weight");
        assert_int_equal(unlink(scratch_path(path)), 0);
    }
    write_state("only/b.pt");
    expect_ok(ds_safetensors_write(scratch_path("only/a.safetensors"), own, 3));
    expect_refused(folder, "several weight files in the folder: a.safetensors, b.pt; pass the one you mean");
    assert_int_equal(unlink(scratch_path("only/b.pt")), 0);
    expect_found(folder, 3, "ln_f.weight");
    write_state("only/ckpt.pt"); /* a usual name wins */
    expect_found(folder, 3, "ln_f.weight");
}

static void names_the_folders_to_pass(void **state) {
    (void)state;
    const char *folder = scratch_path("runs");
    (void)scratch_write("runs/train.log", "", 0);
    assert_int_equal(mkdir(scratch_path("runs/checkpoint-500"), 0700), 0);
    assert_int_equal(mkdir(scratch_path("runs/checkpoint-1000"), 0700), 0);
    assert_int_equal(mkdir(scratch_path("runs/tensorboard"), 0700), 0);
    expect_ok(ds_safetensors_write(scratch_path("runs/checkpoint-500/model.safetensors"), own, 3));
    write_state("runs/checkpoint-1000/ckpt.pt");
    expect_refused(folder, "; pass one of the folders in it: checkpoint-1000, checkpoint-500");
    assert_null(strstr(ds_error_text(), "tensorboard"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_the_model_wherever_it_is_kept),
        cmocka_unit_test(finds_states_of_other_names),
        cmocka_unit_test(lists_candidates_when_there_are_several),
        cmocka_unit_test(says_what_there_is_instead),
        cmocka_unit_test(takes_the_configuration_within),
        cmocka_unit_test(a_file_of_settings_wins),
        cmocka_unit_test(bounds_configurations),
        cmocka_unit_test(takes_the_only_weight_file),
        cmocka_unit_test(names_the_folders_to_pass),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
