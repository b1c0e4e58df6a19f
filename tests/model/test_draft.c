/* Maps: known checkpoints under other names load through the map that leads back, and through the drafted one, to the same
 * bits; maps that do not fit are refused. */
#include <stdlib.h>
#include <string.h>

#include "fork.h"
#include "model/name_likeness.h"
#include "scratch.h"
#include "support.h"
#include "torch_file.h"
#include "toy.h"

static ds_random draws;

static size_t below(size_t bound) { return (size_t)ds_random_below(&draws, bound); }

/* ---- names ------------------------------------------------------------------------------------------------------- */

/* Words that mean nothing, one for each of our names. */
typedef struct gibberish {
    char ours[64][FORK_NAME], theirs[64][FORK_NAME], layers[24];
    size_t count;
} gibberish;

static void draw_word(char *out) {
    static const char consonants[] = "zxjy";
    for (size_t i = 0; i < 4; i++) *out++ = consonants[below(4)];
    *out++ = (char)('0' + below(10));
    *out++ = (char)('a' + below(26));
    *out = '\0';
}

static void rename_to_gibberish(void *context, char out[FORK_NAME], const char *ours) {
    gibberish *names = context;
    size_t i = 0;
    while (i < names->count && strcmp(names->ours[i], ours) != 0) i++;
    if (i == names->count) {
        char word[8], second[8];
        draw_word(word);
        draw_word(second);
        assert_true(names->count++ < 64);
        if (names->layers[0] == '\0') draw_word(names->layers);
        (void)snprintf(names->ours[i], FORK_NAME, "%s", ours);
        (void)snprintf(names->theirs[i], FORK_NAME, "%s%s%s%s%s%zu", strstr(ours, "{L}") == NULL ? "" : names->layers,
                       strstr(ours, "{L}") == NULL ? "" : ".{L}.", word, below(2) == 0 ? "." : "_", second, i);
    }
    (void)snprintf(out, FORK_NAME, "%s", names->theirs[i]);
}

/* Spellings that public code has; of our names, what comes behind the layer. */
static const char *const spellings[][4] = {
    {"transformer.wte.weight", "tok_emb.weight", "embed_tokens.weight", "backbone.embedding.weight"},
    {"ln_1.weight", "blocks.{L}.norm1.gamma", "layers.{L}.attention_norm.weight", "h.{L}.input_layernorm.weight"},
    {"attn.c_q.weight", "blocks.{L}.attn.q_proj.weight", "layers.{L}.attention.wq.weight", "h.{L}.att.query.weight"},
    {"attn.c_k.weight", "blocks.{L}.attn.k_proj.weight", "layers.{L}.attention.wk.weight", "h.{L}.att.key.weight"},
    {"attn.c_v.weight", "blocks.{L}.attn.v_proj.weight", "layers.{L}.attention.wv.weight", "h.{L}.att.value.weight"},
    {"attn.q_rms.weight", "blocks.{L}.attn.q_norm.gamma", "layers.{L}.attention.norm_q.weight", "h.{L}.att.query_norm.weight"},
    {"attn.k_rms.weight", "blocks.{L}.attn.k_norm.gamma", "layers.{L}.attention.norm_k.weight", "h.{L}.att.key_norm.weight"},
    {"attn.c_proj.weight", "blocks.{L}.attn.out_proj.weight", "layers.{L}.attention.wo.weight", "h.{L}.att.output.weight"},
    {"ddl_attn.beta.weight", "blocks.{L}.delta_attn.beta.weight", "layers.{L}.attention_ddl.erase.weight",
     "h.{L}.ddl_att.beta.weight"},
    {"ddl_attn.beta.bias", "blocks.{L}.delta_attn.beta.bias", "layers.{L}.attention_ddl.erase.bias", "h.{L}.ddl_att.beta.bias"},
    {"ddl_attn.v_proj.weight", "blocks.{L}.delta_attn.value.weight", "layers.{L}.attention_ddl.wv.weight",
     "h.{L}.ddl_att.value.weight"},
    {"ddl_attn.v_proj.bias", "blocks.{L}.delta_attn.value.bias", "layers.{L}.attention_ddl.wv.bias",
     "h.{L}.ddl_att.value.bias"},
    {"ln_2.weight", "blocks.{L}.norm2.gamma", "layers.{L}.ffn_norm.weight", "h.{L}.post_attention_layernorm.weight"},
    {"mlp.c_fc1.weight", "blocks.{L}.mlp.gate_proj.weight", "layers.{L}.feed_forward.w1.weight", "h.{L}.ffn.fc1.weight"},
    {"mlp.c_fc2.weight", "blocks.{L}.mlp.up_proj.weight", "layers.{L}.feed_forward.w3.weight", "h.{L}.ffn.fc2.weight"},
    {"mlp.c_proj.weight", "blocks.{L}.mlp.down_proj.weight", "layers.{L}.feed_forward.w2.weight", "h.{L}.ffn.proj.weight"},
    {"ddl_mlp.beta.weight", "blocks.{L}.delta_mlp.beta.weight", "layers.{L}.feed_forward_ddl.erase.weight",
     "h.{L}.ddl_ffn.beta.weight"},
    {"ddl_mlp.beta.bias", "blocks.{L}.delta_mlp.beta.bias", "layers.{L}.feed_forward_ddl.erase.bias",
     "h.{L}.ddl_ffn.beta.bias"},
    {"ddl_mlp.v_proj.weight", "blocks.{L}.delta_mlp.value.weight", "layers.{L}.feed_forward_ddl.wv.weight",
     "h.{L}.ddl_ffn.value.weight"},
    {"ddl_mlp.v_proj.bias", "blocks.{L}.delta_mlp.value.bias", "layers.{L}.feed_forward_ddl.wv.bias",
     "h.{L}.ddl_ffn.value.bias"},
    {"ln_f.weight", "norm_f.gamma", "norm.weight", "final_norm.weight"},
};

/* context: which column. */
static void rename_as_published(void *context, char out[FORK_NAME], const char *ours) {
    const char *part = strstr(ours, "{L}.");
    part = part == NULL ? ours : part + 4;
    for (size_t i = 0; i < sizeof spellings / sizeof spellings[0]; i++) {
        if (strcmp(spellings[i][0], part) != 0) continue;
        (void)snprintf(out, FORK_NAME, "%s", spellings[i][*(const size_t *)context]);
        return;
    }
    fail_msg("no spelling of %s", ours);
}

/* ---- settings ---------------------------------------------------------------------------------------------------- */

static const char *const settings[][4] = {
    {"vocab_size", "vocab_size", "n_vocab", "vocabulary_size"},
    {"num_hidden_layers", "num_layers", "n_layer", "depth"},
    {"num_attention_heads", "num_heads", "n_head", "n_heads"},
    {"hidden_size", "dim_embedding", "n_embd", "d_model"},
    {"head_dim", "head_size", "d_head", "dim_head"},
    {"block_size", "seq_length", "context_length", "max_seq_len"},
};

/* Renames each at random in the file's text, and tells the map. */
static json_t *rename_settings(const char *path, json_t *map) {
    char *text = NULL;
    size_t length;
    json_t *config, *renamed = json_object(), *map_part = json_object();
    expect_ok(ds_read_file(&text, &length, path, 1 << 20));
    expect_ok(ds_json_parse(&config, text, length, path));
    free(text);
    const char *key;
    json_t *value;
    json_object_foreach(config, key, value) {
        const char *theirs = key;
        for (size_t i = 0; i < 6; i++) {
            if (strcmp(settings[i][0], key) == 0) theirs = settings[i][1 + below(3)];
        }
        assert_int_equal(json_object_set(renamed, theirs, value), 0);
        if (strcmp(theirs, key) != 0) assert_int_equal(json_object_set_new(map_part, theirs, json_string(key)), 0);
    }
    assert_int_equal(json_object_set_new(map, "config", map_part), 0);
    json_decref(config);
    return renamed;
}

/* ---- checkpoints ------------------------------------------------------------------------------------------------- */

/* Where a fork is written, and how it is opened. */
typedef struct written {
    const char *path, *config, *map;
} written;

static written write_fork(const forked *f, const json_t *config, const json_t *map, bool torch) {
    static torch_file file;
    written out = {scratch_path(torch ? "fork.pt" : "fork.safetensors"), scratch_path("fork.json"), scratch_path("map.json")};
    expect_ok(ds_json_write(out.config, config, DS_JSON_READABLE));
    expect_ok(ds_json_write(out.map, map, DS_JSON_READABLE));
    if (!torch) {
        expect_ok(ds_safetensors_write(out.path, f->tensors, f->count));
        return out;
    }
    torch_begin(&file);
    TORCH_OPCODES(&file, "}X\x0b\0\0\0model_state");
    torch_state(&file, "", f->tensors, f->count);
    TORCH_OPCODES(&file, "s");
    torch_end(&file, out.path);
    return out;
}

static void expect_loads(const written *at, const ds_model *expected) {
    const ds_checkpoint_options options = {.config = at->config, .map = at->map};
    ds_checkpoint *checkpoint = NULL;
    ds_model *model = NULL;
    expect_ok(ds_checkpoint_open_with(&checkpoint, at->path, &options));
    expect_ok(ds_model_load(&model, checkpoint, ds_model_precision(expected)));
    fork_expect_same(model, expected);
    ds_model_free(&model);
    ds_checkpoint_close(&checkpoint);
}

/* Replaces the map by a draft; returns how many names were guessed. */
static size_t draft(const written *at, size_t expected_missing) {
    const ds_checkpoint_options options = {.config = at->config, .config_optional = true};
    ds_checkpoint *checkpoint = NULL;
    ds_draft made;
    expect_ok(ds_checkpoint_open_with(&checkpoint, at->path, &options));
    expect_ok(ds_draft_make(&made, checkpoint));
    assert_int_equal(json_array_size(made.tensors), ds_checkpoint_count(checkpoint));
    assert_int_equal(made.missing, expected_missing);
    expect_ok(ds_json_write(at->map, made.map, DS_JSON_READABLE));
    size_t guessed = made.guessed;
    ds_draft_release(&made);
    ds_checkpoint_close(&checkpoint);
    return guessed;
}

static void make_toy_of(toy_checkpoint *toy, const ds_spec *spec, uint64_t seed) {
    toy_make(toy, spec, DS_F32, seed);
    ds_checkpoint *checkpoint = toy_open(toy, NULL, ""); /* writes config.json */
    ds_checkpoint_close(&checkpoint);
}

static void make_toy(toy_checkpoint *toy, const char *variant, uint64_t seed) {
    const ds_spec spec = toy_spec(variant);
    make_toy_of(toy, &spec, seed);
}

/* The configuration no longer says whether queries and keys are normed. */
static void hide_qk_norm(json_t *config, json_t *map, const ds_spec *spec) {
    assert_int_equal(json_object_del(config, "use_qk_rmsnorm"), 0);
    json_t *part = json_pack("{sb}", "use_qk_rmsnorm", spec->qk_norm);
    assert_int_equal(json_object_set_new(map, "settings", part), 0);
}

static const char *const variants[] = {"additive", "ddl-scalar", "ddl-tc", "ddl-tc-ec", "ddl-cc", "ddl-cc-ec"};

/* Names that mean nothing, in the order of the model's own: through the map that leads back, then through a draft. */
static void loads_models_of_any_names(void **state) {
    (void)state;
    draws = ds_random_init(111);
    print_message("seed 111\n");
    for (size_t trial = 0; trial < 48; trial++) {
        toy_checkpoint toy;
        static forked f;
        static gibberish names;
        memset(&names, 0, sizeof names);
        const fork_style style = {rename_to_gibberish, &names, below(2) == 0, below(3) == 0};
        ds_spec spec = toy_spec(variants[trial % 6]);
        spec.qk_norm = below(2) == 0;
        make_toy_of(&toy, &spec, trial);
        fork_make(&f, toy.model, &style);
        json_t *map = json_object(), *config = rename_settings(scratch_path("toy/config.json"), map);
        assert_int_equal(json_object_set(map, "tensors", f.map), 0);
        if (below(2) == 0) hide_qk_norm(config, map, &spec);
        const written at = write_fork(&f, config, map, true);
        expect_loads(&at, toy.model);
        (void)draft(&at, 0);
        expect_loads(&at, toy.model);
        json_decref(config);
        json_decref(map);
        fork_release(&f);
        toy_release(&toy);
    }
}

/* Names as public code has them, in a file that sorts them: nothing is left to guess. */
static void drafts_from_published_spellings(void **state) {
    (void)state;
    draws = ds_random_init(112);
    print_message("seed 112\n");
    for (size_t trial = 0; trial < 24; trial++) {
        toy_checkpoint toy;
        static forked f;
        size_t column = 1 + trial % 3;
        const fork_style style = {rename_as_published, &column, below(2) == 0, false};
        make_toy(&toy, variants[trial / 3 % 2], 200 + trial);
        fork_make(&f, toy.model, &style);
        for (size_t i = f.count; i > 1; i--) { /* the order says nothing */
            size_t other = below(i);
            ds_tensor_write kept = f.tensors[i - 1];
            f.tensors[i - 1] = f.tensors[other];
            f.tensors[other] = kept;
        }
        json_t *map = json_object(), *config = rename_settings(scratch_path("toy/config.json"), map);
        const written at = write_fork(&f, config, map, false);
        assert_int_equal(draft(&at, 0), 0);
        expect_loads(&at, toy.model);
        json_decref(config);
        json_decref(map);
        fork_release(&f);
        toy_release(&toy);
    }
}

/* A checkpoint of the fixtures, renamed at random; the configuration stands within it, in the fork's words. */
static void loads_a_known_checkpoint_renamed(void **state) {
    (void)state;
    static const char *const fixtures[] = {"scalar-safetensors", "ddl-cc-ec", "tc-newer-names", "additive-small"};
    draws = ds_random_init(113);
    print_message("seed 113\n");
    for (size_t i = 0; i < sizeof fixtures / sizeof fixtures[0]; i++) {
        char folder[64], config_path[96];
        ds_checkpoint *known = NULL;
        ds_model *model = NULL;
        static forked f;
        static gibberish names;
        memset(&names, 0, sizeof names);
        const fork_style style = {rename_to_gibberish, &names, i % 2 == 1, false};
        (void)snprintf(folder, sizeof folder, "fixtures/models/%s", fixtures[i]);
        (void)snprintf(config_path, sizeof config_path, "%s/config.json", folder);
        expect_ok(ds_checkpoint_open(&known, folder, NULL));
        expect_ok(ds_model_load(&model, known, DS_F32));
        fork_make(&f, model, &style);
        json_t *map = json_object(), *config = rename_settings(config_path, map);
        const written at = write_fork(&f, config, map, true);
        (void)draft(&at, 0);
        expect_loads(&at, model);
        json_decref(config);
        json_decref(map);
        fork_release(&f);
        ds_model_free(&model);
        ds_checkpoint_close(&known);
    }
}

/* ---- maps that do not fit ---------------------------------------------------------------------------------------- */

static void refuses_maps_that_do_not_fit(void **state) {
    (void)state;
    static const struct {
        const char *map, *words;
    } cases[] = {
        {"{\"tensors\":{\"absent\":\"x\"}}", "no tensor of the checkpoint is called absent"},
        {"{\"tensors\":{\"transformer.h.{L}.absent\":\"x.{L}\"}}",
         "no tensor of the checkpoint is called transformer.h.{L}.absent"},
        {"{\"tensors\":{\"ln_f.weight\":\"a\",\"ln_f.weight\":\"b\"}}", "duplicate key"},
        {"{\"tensors\":{\"transformer.h.0.ln_1.weight\":\"a\",\"transformer.h.{L}.ln_1.weight\":\"b.{L}\"}}",
         "tensor transformer.h.0.ln_1.weight is named twice, as transformer.h.0.ln_1.weight and as "
         "transformer.h.{L}.ln_1.weight"},
        {"{\"tensors\":{\"ln_f.weight\":\"transformer.h.0.ln_1.weight\"}}", "duplicate tensor transformer.h.0.ln_1.weight"},
        {"{\"tensors\":{\"transformer.h.{L}.attn.c_q.weight\":[\"x.{L}\",\"x.{L}\"]}}", "duplicate tensor x.0"},
        {"{\"tensors\":{\"transformer.h.{L}.ln_1.weight\":\"transformer.h.0.ln_1.weight\"}}",
         "expected {L} once in both or in neither"},
        {"{\"tensors\":{\"ln_f.weight\":\"x.{L}\"}}", "expected {L} once in both or in neither"},
        {"{\"tensors\":{\"transformer.h.{L}.ln_1.weight\":\"{L}.{L}\"}}", "expected {L} once"},
        {"{\"tensors\":{\"ln_f.weight\":{\"to\":\"x\",\"transposed\":true}}}",
         "ln_f.weight is to be transposed, but has 1 dimensions"},
        {"{\"tensors\":{\"transformer.wte.weight\":[\"x\",\"y\"]}}", "is to be cut into 2 parts, but has 11 rows"},
        {"{\"tensors\":{\"ln_f.weight\":[]}}", "mapped to 0 names"},
        {"{\"tensors\":{\"ln_f.weight\":7}}", "ln_f.weight is mapped to no name"},
        {"{\"tensors\":{\"ln_f.weight\":\"\"}}", "ln_f.weight is mapped to no name"},
        {"{\"tensors\":{\"ln_f.weight\":{\"to\":\"x\",\"turned\":true}}}", "unknown member \"turned\""},
        {"{\"tensors\":{\"ln_f.weight\":{\"to\":\"x\",\"transposed\":1}}}", "neither true nor false"},
        {"{\"tensors\":[]}", "\"tensors\" is not an object"},
        {"{\"tensor\":{}}", "unknown member \"tensor\""},
        {"[]", "a map is a JSON object"},
        {"{\"state\":3}", "\"state\" is not a string"},
        {"{\"config\":{\"seq_length\":\"block_size\"}}", "has no setting seq_length"},
        {"{\"config\":{\"head_dim\":\"block_size\"}}", "head_dim is mapped to block_size, which "},
        {"{\"config\":{\"a\":\"block_size\",\"b\":\"block_size\"}}", "both mapped to block_size"},
        {"{\"config\":{\"head_dim\":7}}", "the setting head_dim is mapped to no name"},
        {"{\"settings\":{\"block_size\":7}}", "the setting block_size stands in "},
        {"{\"tensors\":{\"transformer.h.{L}.attn.c_q.weight\":\"transformer.h.{L}.attn.c_v.weight\",\"transformer.h.{L}.attn.c_"
         "v.weight\":"
         "\"other.{L}\"}}",
         "missing tensor transformer.h.0.attn.c_q.weight"},
        {"{\"tensors\":{\"transformer.h.{L}.attn.c_q.weight\":{\"to\":\"transformer.h.{L}.attn.c_q.weight\",\"transposed\":"
         "true}}}",
         "wrong shape of tensor transformer.h.0.attn.c_q.weight: found (10, 12), expected (12, 10)"},
        {"{\"tensors\":{\"transformer.h.{L}.attn.c_q.weight\":\"transformer.h.{L}.attn.c_proj.weight\","
         "\"transformer.h.{L}.attn.c_proj.weight\":\"transformer.h.{L}.attn.c_q.weight\"}}",
         "wrong shape of tensor transformer.h.0.attn.c_q.weight, stored as transformer.h.0.attn.c_proj.weight,"},
    };
    toy_checkpoint toy;
    make_toy(&toy, "ddl-scalar", 3);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *map = scratch_write("bad.json", cases[i].map, strlen(cases[i].map));
        const ds_checkpoint_options options = {.map = map};
        ds_checkpoint *checkpoint = NULL;
        ds_spec spec;
        ds_status status = ds_checkpoint_open_with(&checkpoint, scratch_path("toy"), &options);
        if (status == DS_OK) status = ds_spec_detect(&spec, checkpoint);
        expect_failure(status, DS_ERR_INPUT, cases[i].words);
        ds_checkpoint_close(&checkpoint);
    }
    toy_release(&toy);
}

/* A map may say where the state is, and all of the settings. */
static void maps_state_and_settings(void **state) {
    (void)state;
    static torch_file file;
    toy_checkpoint toy, other;
    ds_checkpoint *checkpoint = NULL;
    ds_model *model = NULL;
    char *config = NULL;
    size_t length;
    ds_text map = {0};
    make_toy(&other, "ddl-scalar", 4);
    make_toy(&toy, "ddl-scalar", 3);
    expect_ok(ds_read_file(&config, &length, scratch_path("toy/config.json"), 1 << 20));
    expect_ok(ds_text_printf(&map, "{\"state\": \"ema.shadow\", \"settings\": %s}", config));
    const char *path = scratch_path("two/model.pt");
    (void)scratch_write("two/note", "", 0);
    torch_begin(&file);
    TORCH_OPCODES(&file, "}X\x05\0\0\0model");
    torch_state(&file, "", other.tensors, other.count);
    TORCH_OPCODES(&file, "sX\x03\0\0\0ema}X\x06\0\0\0shadow");
    torch_state(&file, "", toy.tensors, toy.count);
    TORCH_OPCODES(&file, "ss");
    torch_end(&file, path);
    const ds_checkpoint_options options = {.map = scratch_write("two/map.json", map.bytes, map.length)};
    expect_failure(ds_checkpoint_open(&checkpoint, path, NULL), DS_ERR_INPUT, "ambiguous: 'model' (");
    expect_ok(ds_checkpoint_open_with(&checkpoint, path, &options));
    assert_string_equal(ds_checkpoint_config_path(checkpoint), options.map);
    assert_string_equal(ds_checkpoint_map_path(checkpoint), options.map);
    expect_ok(ds_model_load(&model, checkpoint, DS_F32));
    fork_expect_same(model, toy.model);
    ds_model_free(&model);
    ds_checkpoint_close(&checkpoint);
    ds_text_release(&map);
    free(config);
    toy_release(&toy);
    toy_release(&other);
}

static void tells_words_apart(void **state) {
    (void)state;
    ds_notions query = ds_notions_of("transformer.h.0.attn.c_q.weight");
    assert_true(ds_likeness(query, ds_notions_of("blocks.3.attention.wq.weight")) > 0);
    assert_true(ds_likeness(query, ds_notions_of("blocks.3.attention.wk.weight")) <
                ds_likeness(query, ds_notions_of("blocks.3.attention.wq.weight")));
    assert_true(ds_likeness(query, ds_notions_of("blocks.3.mlp.w1.weight")) < 0);
    assert_int_equal(ds_likeness(query, ds_notions_of("zzxy.7.jjyx")), 0);
    assert_true(ds_notions_fused(ds_notions_of("h.1.attn.c_attn.weight")));
    assert_true(ds_notions_head(ds_notions_of("lm_head.weight")));
    assert_int_equal(ds_notions_of("normQuery"), ds_notions_of("norm_query"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loads_models_of_any_names),        cmocka_unit_test(drafts_from_published_spellings),
        cmocka_unit_test(loads_a_known_checkpoint_renamed), cmocka_unit_test(refuses_maps_that_do_not_fit),
        cmocka_unit_test(maps_state_and_settings),          cmocka_unit_test(tells_words_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
