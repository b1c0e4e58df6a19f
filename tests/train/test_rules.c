/* Every rule trained on every backbone that takes rules: from a configuration alone to checkpoints which are read back as that
 * rule, go on where they stopped with the bytes of an unbroken run, and decay what the recipe says. */
#include <stdlib.h>
#include <string.h>

#include "deltascope/train.h"

#include "scratch.h"
#include "support.h"

static const char *const backbones[] = {"ddl", "qwen3", "nanogpt"};
enum { BACKBONES = 3, STEPS = 4 };

static const char *config_of(size_t backbone) {
    static const char *const texts[BACKBONES] = {
        "{\"vocab_size\": 65, \"num_hidden_layers\": 2, \"num_attention_heads\": 2, \"head_dim\": 4, \"hidden_size\": 8, "
        "\"block_size\": 8, \"hyper_conn_n\": 3, \"attnres_num_blocks\": 2}",
        "{\"model_type\": \"qwen3\", \"vocab_size\": 65, \"num_hidden_layers\": 2, \"num_attention_heads\": 2, "
        "\"num_key_value_heads\": 1, \"head_dim\": 4, \"hidden_size\": 8, \"intermediate_size\": 12, "
        "\"max_position_embeddings\": 8, \"tie_word_embeddings\": true, \"hyper_conn_n\": 3, \"attnres_num_blocks\": 2}",
        "{\"vocab_size\": 65, \"n_layer\": 2, \"n_head\": 2, \"n_embd\": 8, \"block_size\": 8, \"bias\": false, "
        "\"hyper_conn_n\": 3, \"attnres_num_blocks\": 2}"};
    return scratch_write("config.json", texts[backbone], strlen(texts[backbone]));
}

static ds_recipe recipe_of(const char *rule) {
    ds_recipe recipe = {.length = 8,
                        .batch = 2,
                        .accumulation = 1,
                        .steps = STEPS,
                        .order = DS_ORDER_SPLITMIX64,
                        .data_seed = 1,
                        .learning_rate = 0.01,
                        .min_learning_rate = 0.001,
                        .warmup_steps = 1,
                        .decay_steps = STEPS,
                        .warmup = DS_WARMUP_FROM_ONE,
                        .beta1 = 0.9,
                        .beta2 = 0.95,
                        .eps = 1e-8,
                        .weight_decay = 0.1,
                        .clip = 1,
                        .hidden_lr_multiplier = 1,
                        .embedding_lr_multiplier = 1,
                        .val_windows = 2};
    (void)snprintf(recipe.rule, sizeof recipe.rule, "%s", rule);
    return recipe;
}

/* What is trained, and where. */
typedef struct run_of_rule {
    const char *variant, *rule;
    size_t backbone;
    ds_precision precision;
    ds_folder *folder;
    ds_spec spec; /* that it began as */
} run_of_rule;

static bool after_two(void *context) {
    (void)context;
    return true;
}

static void run(run_of_rule *r, bool resume, bool stop) {
    static const char tokens[] = "fixtures/data/val.bin";
    const ds_recipe recipe = recipe_of(r->rule);
    const ds_beginning beginning = {.config = config_of(r->backbone),
                                    .variant = r->variant,
                                    .which = r->backbone == 0 ? DS_INIT_NEWER : DS_INIT_OLDER,
                                    .seed = 5,
                                    .precision = r->precision,
                                    .recipe = &recipe,
                                    .train = tokens,
                                    .val = tokens};
    ds_text path = {0};
    json_t *start = NULL, *results = NULL;
    ds_trainer *trainer;
    expect_ok(ds_beginning_spec(&r->spec, &beginning));
    expect_ok(ds_training_begin(&path, &start, r->folder, &beginning, resume));
    const ds_trainer_options options = {
        .checkpoint = path.bytes, .train = tokens, .val = tokens, .precision = r->precision, .recipe = recipe};
    const ds_training_options training = {
        .folder = r->folder, .resume = resume, .start = start, .save = 2, .evaluate = 2, .stop = stop ? after_two : NULL};
    expect_ok(ds_trainer_new(&trainer, &options));
    expect_ok(ds_training_run(&results, trainer, &training));
    assert_int_equal(results == NULL, stop);
    ds_trainer_free(&trainer);
    json_decref(start);
    json_decref(results);
    ds_text_release(&path);
}

static char *read_file(const ds_folder *folder, const char *name, size_t *length) {
    ds_text path = {0};
    char *bytes = NULL;
    expect_ok(ds_folder_show(&path, folder, name));
    expect_ok(ds_read_file(&bytes, length, path.bytes, 1 << 24));
    ds_text_release(&path);
    return bytes;
}

static void expect_same_files(const ds_folder *a, const ds_folder *b) {
    static const char *const names[] = {"checkpoint-4/model.safetensors", "checkpoint-4/optimizer.safetensors",
                                        "checkpoint-4/config.json", "checkpoint-0/model.safetensors", "log.jsonl"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        size_t lengths[2];
        char *bytes[2] = {read_file(a, names[i], &lengths[0]), read_file(b, names[i], &lengths[1])};
        assert_int_equal(lengths[0], lengths[1]);
        assert_memory_equal(bytes[0], bytes[1], lengths[0]);
        for (size_t k = 0; k < 2; k++) free(bytes[k]);
    }
}

static ds_model *load(const ds_folder *folder, const char *name, ds_precision precision) {
    ds_text path = {0};
    ds_checkpoint *checkpoint;
    ds_model *model;
    expect_ok(ds_folder_show(&path, folder, name));
    expect_ok(ds_checkpoint_open(&checkpoint, path.bytes, NULL));
    expect_ok(ds_model_load(&model, checkpoint, precision));
    ds_checkpoint_close(&checkpoint);
    ds_text_release(&path);
    return model;
}

/* Streams are equal at first: a mixture of them is what they are; and a cumulative form may choose between the embedding and
 * itself. The gradient of what that is made by is 0, or rounding. */
static bool may_stay(const run_of_rule *r, const char *name) {
    const bool cumulative = strncmp(r->variant, "attnres-cumulative", 18) == 0;
    return strstr(name, ".0.hc_attn.residual_scale") != NULL || (cumulative && strstr(name, "_res_") != NULL);
}

/* It is what it began as; all that the loss depends on has moved, and nothing else. */
static void expect_trained(const run_of_rule *r) {
    char names[2][48];
    bool reached[256];
    ds_model *before = load(r->folder, "checkpoint-0", r->precision), *after = load(r->folder, "checkpoint-4", r->precision);
    const ds_spec *spec = ds_model_spec(after);
    assert_string_equal(ds_spec_variant(spec), r->variant);
    assert_string_equal(ds_spec_backbone_name(spec), backbones[r->backbone]);
    assert_string_equal(ds_spec_rule_name(names[0], spec), ds_spec_rule_name(names[1], &r->spec));
    assert_true(ds_model_parameters(after) == ds_model_parameters(before) && ds_model_parameters(after) <= 256);
    ds_model_reached(reached, after, 8);
    for (size_t i = 0; i < ds_model_parameters(after); i++) {
        const ds_parameter *p = ds_model_parameter(after, i);
        const size_t bytes = p->count * ds_precision_size(r->precision);
        const bool moved = memcmp(p->values, ds_model_parameter(before, i)->values, bytes) != 0;
        if (moved && !reached[i]) fail_msg("%s on %s: %s moved", r->variant, backbones[r->backbone], p->name);
        if (!moved && reached[i] && r->precision == DS_F64 && !may_stay(r, p->name))
            fail_msg("%s on %s: %s did not move", r->variant, backbones[r->backbone], p->name);
    }
    ds_model_free(&before);
    ds_model_free(&after);
}

static void runs_go_on_and_are_read_back(void **state) {
    (void)state;
    static const char *const controls[] = {"delta", "closed:attn", "closed:mlp"};
    ds_random random = ds_random_init(20261129);
    for (size_t v = 0; ds_variant_at(v) != NULL; v++) {
        for (size_t b = 0; b < BACKBONES; b++) {
            char names[2][32];
            run_of_rule whole = {.variant = ds_variant_at(v),
                                 .rule = controls[ds_random_below(&random, 2) == 0 ? 0 : ds_random_below(&random, 3)],
                                 .backbone = b,
                                 .precision = ds_random_below(&random, 4) == 0 ? DS_F32 : DS_F64};
            run_of_rule broken = whole;
            for (size_t k = 0; k < 2; k++) (void)snprintf(names[k], sizeof names[k], "%zu-%zu-%s", v, b, k == 0 ? "w" : "b");
            expect_ok(ds_folder_open(&whole.folder, scratch_path(names[0])));
            expect_ok(ds_folder_open(&broken.folder, scratch_path(names[1])));
            run(&whole, false, false);
            run(&broken, false, true);
            run(&broken, true, false);
            expect_same_files(whole.folder, broken.folder);
            expect_trained(&whole);
            ds_folder_close(&whole.folder);
            ds_folder_close(&broken.folder);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(runs_go_on_and_are_read_back)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    ds_threads_stop();
    return failed;
}
