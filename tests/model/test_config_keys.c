/* Keys of other programs: what asks for other arithmetic is refused, what asks for ours is taken without a word, what is
 * misspelled is told, what means nothing is left alone; and README.md lists the table. */
#include <ctype.h>
#include <string.h>

#include "model/config_keys.h"
#include "model/nearest.h"
#include "support.h"
#include "toy.h"

static const uint64_t seed = 20261202;

/* For each row of the table, by its first key: values that are taken and values that are refused, of the toy model. */
static const struct {
    const char *first, *right[3], *wrong[3];
} values[] = {
    {"hidden_act", {"\"silu\"", "\"SwiGLU\"", "null"}, {"\"gelu\"", "\"sil\"", "3"}},
    {"mlp_type", {"\"swiglu\"", "\"SwiGLU\"", "null"}, {"\"geglu\"", "\"mlp\"", "true"}},
    {"bias", {"false", "0", "null"}, {"true", "1", "\"false\""}},
    {"norm_type", {"\"rmsnorm\"", "\"RMSNorm\"", "\"rms_norm\""}, {"\"layernorm\"", "\"rmsnorm2\"", "1"}},
    {"norm_eps", {"1e-5", "0.00001", "null"}, {"1e-6", "0", "\"1e-5\""}},
    {"pre_norm", {"true", "1", "null"}, {"false", "0", "\"true\""}},
    {"post_norm", {"false", "0", "null"}, {"true", "2", "[]"}},
    {"qk_norm", {"true", "1", "null"}, {"false", "\"rms\"", "0"}},
    {"num_key_value_heads", {"2", "2.0", "null"}, {"1", "4", "\"2\""}},
    {"multi_query", {"false", "0", "null"}, {"true", "1", "{}"}},
    {"n_head", {"2", "2.0", "null"}, {"12", "0", "\"2\""}},
    {"n_layer", {"2", "2.0", "null"}, {"3", "1", "true"}},
    {"d_model", {"10", "10.0", "null"}, {"11", "768", "\"10\""}},
    {"head_size", {"6", "6.0", "null"}, {"5", "64", "[6]"}},
    {"n_vocab", {"11", "11.0", "null"}, {"12", "50304", "false"}},
    {"intermediate_size", {"26", "26.0", "null"}, {"40", "27", "\"26\""}},
    {"rope_theta", {"10000", "10000.0", "null"}, {"500000.0", "10001", "\"10000\""}},
    {"partial_rotary_factor", {"1", "1.0", "null"}, {"0.5", "0.25", "\"1\""}},
    {"rope_scaling",
     {"null", "{\"rope_type\": \"default\", \"rope_theta\": 10000.0}", "{}"},
     {"{\"type\": \"linear\", \"factor\": 2}", "{\"rope_theta\": 500000}", "2"}},
    {"rope_interleaved", {"false", "0", "null"}, {"true", "1", "\"no\""}},
    {"use_wpe", {"false", "0", "null"}, {"true", "1", "\"no\""}},
    {"use_rope", {"true", "1", "null"}, {"false", "0", "\"yes\""}},
    {"position_embedding_type", {"\"rope\"", "\"rotary\"", "null"}, {"\"learned\"", "\"alibi\"", "0"}},
    {"sliding_window", {"null", "4096", "16"}, {"4", "7", "\"16\""}},
    {"use_sliding_window", {"false", "0", "null"}, {"true", "1", "\"no\""}},
    {"layer_types",
     {"[\"full_attention\", \"full_attention\"]", "[]", "null"},
     {"[\"full_attention\", \"sliding_attention\"]", "[1]", "\"full_attention\""}},
    {"is_causal", {"true", "1", "null"}, {"false", "0", "\"true\""}},
    {"attention_multiplier", {"0.408248290463863", "0.40824829", "null"}, {"1", "0.5", "0.4083"}},
    {"query_pre_attn_scalar", {"6", "6.0", "null"}, {"144", "5", "\"6\""}},
    {"attn_logit_softcapping", {"null", "0", "false"}, {"50.0", "30", "true"}},
    {"embedding_multiplier", {"1", "1.0", "null"}, {"12.0", "0", "\"1\""}},
    {"residual_multiplier", {"1", "1.0", "null"}, {"0.22", "2", "\"1\""}},
    {"logit_scale", {"1", "1.0", "null"}, {"0.0625", "2", "[1]"}},
    {"use_mup", {"false", "0", "null"}, {"true", "1", "\"no\""}},
    {"num_experts", {"1", "0", "null"}, {"8", "2", "\"1\""}},
    {"quantization_config", {"null", "{}", "false"}, {"{\"bits\": 4}", "8", "\"gptq\""}},
};
enum { VALUES = sizeof values / sizeof *values };

static toy_checkpoint toy;

static int make(void **state) {
    (void)state;
    ds_spec spec = toy_spec("ddl-scalar");
    toy_make(&toy, &spec, DS_F32, 5);
    return 0;
}

static int release(void **state) {
    (void)state;
    toy_release(&toy);
    return 0;
}

static ds_status collect(void *context, const char *sentence) { return ds_text_printf(context, "%s\n", sentence); }

/* The status of the toy with one more key, and what is told of it. */
static ds_status detect(const char *key, const char *value, ds_text *told) {
    char more[512];
    ds_spec spec;
    (void)snprintf(more, sizeof more, ", \"%s\": %s", key, value);
    ds_checkpoint *checkpoint = toy_open(&toy, NULL, more);
    ds_error_clear();
    ds_status status = ds_spec_detect(&spec, checkpoint);
    expect_ok(ds_text_append(told, "", 0));
    if (status == DS_OK) expect_ok(ds_spec_doubts(checkpoint, collect, told));
    ds_checkpoint_close(&checkpoint);
    return status;
}

static void expect_taken(const char *key, const char *value) {
    ds_text told = {0};
    if (detect(key, value, &told) != DS_OK) fail_msg("%s: %s", key, ds_error_text());
    if (told.length != 0) fail_msg("%s: %s", key, told.bytes);
    ds_text_release(&told);
}

static void expect_refused(const char *key, const char *value, const char *supported) {
    ds_text told = {0};
    char words[96];
    (void)snprintf(words, sizeof words, "config.json: %s is ", key);
    if (detect(key, value, &told) != DS_ERR_INPUT || strstr(ds_error_text(), words) == NULL ||
        strstr(ds_error_text(), supported) == NULL)
        fail_msg("%s: %s is not refused so: \"%s\"", key, value, ds_error_text());
    ds_text_release(&told);
}

static void every_key_of_the_table(void **state) {
    (void)state;
    ds_random random = ds_random_init(seed);
    assert_int_equal(ds_foreign_count(), VALUES);
    for (size_t r = 0; r < VALUES; r++) {
        const ds_foreign_keys row = ds_foreign_at(r);
        assert_memory_equal(row.names, values[r].first, strlen(values[r].first));
        for (const char *at = row.names; *at != '\0'; at += *at == '|') {
            char key[64];
            size_t length = strcspn(at, "|");
            (void)snprintf(key, sizeof key, "%.*s", (int)length, at);
            expect_taken(key, values[r].right[ds_random_below(&random, 3)]);
            expect_refused(key, values[r].wrong[ds_random_below(&random, 3)], row.supported);
            at += length;
        }
        for (size_t v = 0; v < 3; v++) {
            expect_taken(values[r].first, values[r].right[v]);
            expect_refused(values[r].first, values[r].wrong[v], row.supported);
        }
    }
    expect_taken("max_window_layers\": 28, \"sliding_window\": 4, \"use_sliding_window", "false");
}

/* A key of ours that is missing may be there under the other name: then the way to say so is told, and else it is not. */
static void another_name_for_a_missing_key(void **state) {
    (void)state;
    static const char *const pairs[][2] = {{"n_heads", "num_attention_heads"}, {"num_layers", "num_hidden_layers"},
                                           {"embed_dim", "hidden_size"},       {"d_head", "head_dim"},
                                           {"n_vocab", "vocab_size"},          {"rotary_base", "rope_base"}};
    for (size_t p = 0; p < sizeof pairs / sizeof *pairs; p++) {
        const bool ours = strcmp(pairs[p][1], "rope_base") != 0; /* of the toy's own keys */
        for (size_t without = 0; without < 2; without++) {
            char more[64], map[96];
            ds_spec spec;
            (void)snprintf(more, sizeof more, ", \"%s\": 7", pairs[p][0]);
            (void)snprintf(map, sizeof map, "(--map): {\"config\": {\"%s\": \"%s\"}}, as inspect --draft-map", pairs[p][0],
                           pairs[p][1]);
            ds_checkpoint *checkpoint = toy_open(&toy, without && ours ? pairs[p][1] : NULL, more);
            ds_error_clear();
            assert_int_equal(ds_spec_detect(&spec, checkpoint), DS_ERR_INPUT);
            if (strstr(ds_error_text(), "would change what is computed") != NULL)
                assert_int_equal(strstr(ds_error_text(), map) != NULL, without || !ours);
            else
                fail_msg("%s: %s", pairs[p][0], ds_error_text());
            ds_checkpoint_close(&checkpoint);
        }
    }
}

/* The lines of the README's table, in the order of the program's. */
static void the_readme_lists_them(void **state) {
    (void)state;
    char *readme, line[1024];
    size_t length, rows = 0;
    expect_ok(ds_read_file(&readme, &length, "src/model/README.md", 1 << 16));
    const char *at = strstr(readme, "| keys of other programs | supported |");
    assert_non_null(at);
    for (size_t r = 0; r < ds_foreign_count(); r++) {
        const ds_foreign_keys row = ds_foreign_at(r);
        size_t used = (size_t)snprintf(line, sizeof line, "| `");
        for (const char *name = row.names; *name != '\0'; name++)
            used += (size_t)snprintf(line + used, sizeof line - used, *name == '|' ? "`, `" : "%c", *name);
        (void)snprintf(line + used, sizeof line - used, "` | %s |\n", row.supported);
        const char *found = strstr(at, line);
        if (found == NULL) fail_msg("src/model/README.md lacks, or has elsewhere: %s", line);
        at = found;
    }
    for (at = strstr(readme, "| keys of other programs |"); at != NULL && *at == '|'; at = strchr(at, '\n') + 1) rows++;
    assert_int_equal(rows, ds_foreign_count() + 2); /* the heading and the line below */
    free(readme);
}

/* One slip of the hand in a key: a letter left out, put in, another, or two swapped. */
static void slip(char word[96], const char *key, ds_random *random) {
    size_t length = strlen(key), at = ds_random_below(random, length - 1);
    char other = (char)('a' + ds_random_below(random, 26));
    switch (ds_random_below(random, 4)) {
    case 0:
        (void)snprintf(word, 96, "%.*s%s", (int)at, key, key + at + 1);
        return;
    case 1:
        (void)snprintf(word, 96, "%.*s%c%s", (int)at, key, other, key + at);
        return;
    case 2:
        (void)snprintf(word, 96, "%.*s%c%s", (int)at, key, other, key + at + 1);
        return;
    default:
        (void)snprintf(word, 96, "%.*s%c%c%s", (int)at, key, key[at + 1], key[at], key + at + 2);
    }
}

static bool is_key(const char *word) {
    for (size_t i = 0; ds_config_key(i) != NULL; i++) {
        if (strcmp(word, ds_config_key(i)) == 0) return true;
    }
    for (size_t r = 0; r < ds_foreign_count(); r++) {
        const char *names = ds_foreign_at(r).names, *found = strstr(names, word);
        size_t length = strlen(word);
        for (; found != NULL; found = strstr(found + 1, word)) {
            if ((found == names || found[-1] == '|') && (found[length] == '|' || found[length] == '\0')) return true;
        }
    }
    return false;
}

static void slips_are_told(void **state) {
    (void)state;
    ds_random random = ds_random_init(seed + 1);
    size_t keys = 0, tried = 0;
    while (ds_config_key(keys) != NULL) keys++;
    for (size_t round = 0; round < 1500; round++) {
        const char *key = ds_config_key(ds_random_below(&random, keys));
        char word[96], asked[160];
        ds_text told = {0};
        slip(word, key, &random);
        if (strlen(word) < 5 || is_key(word)) continue;
        json_t *object = json_pack("{s:n}", word);
        expect_ok(ds_config_misspellings(object, collect, &told));
        (void)snprintf(asked, sizeof asked, "key %s means nothing and is ignored: did you mean ", word);
        if (told.bytes == NULL || strstr(told.bytes, asked) == NULL) fail_msg("%s: nothing is told", word);
        json_decref(object);
        ds_text_release(&told);
        tried++;
    }
    assert_true(tried > 1000);
}

/* What Hugging Face's and training scripts' configurations are full of. */
static const char other_keys[] =
    "_name_or_path,add_cross_attention,architectures,auto_map,bad_words_ids,begin_suppress_tokens,bos_token_id,"
    "chunk_size_feed_forward,cross_attention_hidden_size,decoder_start_token_id,diversity_penalty,do_sample,"
    "early_stopping,encoder_no_repeat_ngram_size,eos_token_id,exponential_decay_length_penalty,finetuning_task,"
    "forced_bos_token_id,forced_eos_token_id,id2label,is_decoder,label2id,length_penalty,max_length,min_length,"
    "no_repeat_ngram_size,num_beam_groups,num_beams,num_return_sequences,output_attentions,output_hidden_states,"
    "output_scores,pad_token_id,prefix,problem_type,pruned_heads,remove_invalid_values,repetition_penalty,"
    "return_dict,return_dict_in_generate,sep_token_id,suppress_tokens,task_specific_params,temperature,"
    "tf_legacy_loss,tokenizer_class,top_k,top_p,torch_dtype,torchscript,transformers_version,typical_p,use_bfloat16,"
    "use_cache,dtype,initializer_range,dropout,attn_pdrop,embd_pdrop,resid_pdrop,attention_dropout,hidden_dropout,"
    "max_position_embeddings,n_positions,n_ctx,max_seq_len,max_sequence_length,seq_length,seq_len,batch_size,"
    "learning_rate,weight_decay,beta1,beta2,grad_clip,warmup_iters,lr_decay_iters,min_lr,device,compile,backend,"
    "seed,init_from,out_dir,eval_interval,log_interval,eval_iters,gradient_accumulation_steps,wandb_log,"
    "wandb_project,dataset,max_iters,decay_lr,ddl_state_read_init,gradient_checkpointing,pretraining_tp,"
    "max_window_layers,rms_norm,summary_type,summary_use_proj,summary_activation,summary_first_dropout,"
    "summary_proj_to_labels,reorder_and_upcast_attn,unk_token_id,classifier_dropout,flash_attn,attn_implementation,"
    "_attn_implementation,fused_norm,name,vocab_file,num_labels,layer_norm,mlp_ratio,init_std,foo,bar,big,uni";

static void other_keys_are_left_alone(void **state) {
    (void)state;
    const char *list = other_keys, *word;
    size_t length;
    ds_text told = {0};
    json_t *object = json_object();
    while (ds_next_word(&list, &word, &length)) assert_int_equal(json_object_setn_new(object, word, length, json_null()), 0);
    expect_ok(ds_config_misspellings(object, collect, &told));
    if (told.length != 0) fail_msg("%s", told.bytes);
    json_decref(object);
    expect_taken("rope_base\": 10000, \"torch_dtype", "\"bfloat16\"");
}

static void many_keys_take_no_time(void **state) {
    (void)state;
    ds_text told = {0};
    size_t lines = 0;
    json_t *object = json_object();
    for (size_t i = 0; i < 60000; i++) {
        char key[64];
        (void)snprintf(key, sizeof key, i % 2 == 0 ? "hidden_siz%zu" : "num_hidden_layers_of_another_kind_%zu", i);
        assert_int_equal(json_object_set_new(object, key, json_null()), 0);
    }
    double start = ds_seconds();
    expect_ok(ds_config_misspellings(object, collect, &told));
    assert_true(ds_seconds() - start < 2);
    for (const char *at = told.bytes; at != NULL && (at = strchr(at, '\n')) != NULL; at++) lines++;
    assert_true(lines <= 8);
    ds_text_release(&told);
    json_decref(object);
}

static void edits_are_counted(void **state) {
    (void)state;
    static const struct {
        const char *left, *right;
        size_t edits;
    } cases[] = {{"use_kshift", "use_k_shift", 0},
                 {"ddl_value_chanels", "ddl_value_channels", 1},
                 {"Rope-Base", "rope_base", 0},
                 {"hidden_szie", "hidden_size", 1},
                 {"hidden_siez", "hidden_size", 1},
                 {"kitten", "sitting", 3},
                 {"", "abc", 3},
                 {"abc", "cba", 2},
                 {"num_heads", "hidden_size", 4}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(ds_edits(cases[i].left, cases[i].right, 3), cases[i].edits);
        assert_int_equal(ds_edits(cases[i].right, cases[i].left, 3), cases[i].edits);
    }
    char longest[DS_NEAREST_LONGEST + 2];
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    assert_int_equal(ds_edits(longest, longest, 1), 2);
    assert_int_equal(ds_edits(longest + 1, longest + 1, 1), 0);
}

/* Every model kept here is one of ours: nothing is refused, nothing is told. */
static void our_models_are_taken(void **state) {
    (void)state;
    static const char *const names[] = {"additive-small",
                                        "cc-bf16",
                                        "cc-dv3-noqknorm",
                                        "cc-ec-activations",
                                        "ddl-cc-ec",
                                        "option-additive-eps",
                                        "option-scalar-completep",
                                        "option-tc-long-kernel",
                                        "scalar-ckpt",
                                        "scalar-kvshift",
                                        "scalar-two-layer-gate",
                                        "tc-ec-sharded",
                                        "tc-newer-names",
                                        "tc-output-gate"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[128];
        ds_checkpoint *checkpoint;
        ds_spec spec;
        ds_text told = {0};
        (void)snprintf(path, sizeof path, "fixtures/models/%s", names[i]);
        expect_ok(ds_checkpoint_open(&checkpoint, path, NULL));
        expect_ok(ds_spec_detect(&spec, checkpoint));
        expect_ok(ds_spec_doubts(checkpoint, collect, &told));
        if (told.length != 0) fail_msg("%s: %s", path, told.bytes);
        ds_checkpoint_close(&checkpoint);
    }
}

int main(void) {
    (void)printf("seed %llu\n", (unsigned long long)seed);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_key_of_the_table),    cmocka_unit_test(another_name_for_a_missing_key),
        cmocka_unit_test(the_readme_lists_them),     cmocka_unit_test(slips_are_told),
        cmocka_unit_test(other_keys_are_left_alone), cmocka_unit_test(many_keys_take_no_time),
        cmocka_unit_test(edits_are_counted),         cmocka_unit_test(our_models_are_taken),
    };
    return cmocka_run_group_tests(tests, make, release);
}
