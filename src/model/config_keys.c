#include "config_keys.h"

#include <math.h>
#include <string.h>
#include <strings.h>

#include "nearest.h"

/* What the specification computes with, as numbers; flags are 0 and 1. */
typedef struct computed {
    double layers, heads, kv_heads, hidden, head_dim, vocab, mlp_hidden;
    double rope_base, rope_ratio, norm_eps, softmax_scale, residual_mult, logit_scale, qk_norm, scales_logits;
} computed;

typedef struct question {
    const json_t *object; /* the whole configuration */
    computed is;
    size_t block_size;
    bool norm_bias;
} question;

/* A row: whether a value asks for what is computed. */
typedef struct foreign_row {
    const char *names, *supported;
    bool (*fits)(const question *q, const json_t *value, const struct foreign_row *row);
    const char *words; /* for is_word */
    size_t member;     /* of `computed`, for is_same */
    double number;     /* for is_number */
} foreign_row;

static bool is_false(const question *q, const json_t *value, const foreign_row *row) {
    (void)q, (void)row;
    return json_is_false(value) || (json_is_number(value) && json_number_value(value) == 0);
}

static bool is_true(const question *q, const json_t *value, const foreign_row *row) {
    (void)q, (void)row;
    return json_is_true(value) || (json_is_number(value) && json_number_value(value) == 1);
}

static bool is_word(const question *q, const json_t *value, const foreign_row *row) {
    (void)q;
    const char *text = json_string_value(value);
    for (const char *word = row->words; text != NULL && word != NULL; word = strchr(word, '|')) {
        word += *word == '|';
        if (strcspn(word, "|") == strlen(text) && strncasecmp(word, text, strlen(text)) == 0) return true;
    }
    return false;
}

/* Counts exactly, others to the digits people write. */
static bool agree(double found, double expected) {
    return found == expected || (fabs(found - expected) <= 1e-6 * fabs(expected) && floor(expected) != expected);
}

static bool is_number(const question *q, const json_t *value, const foreign_row *row) {
    (void)q;
    return json_is_number(value) && agree(json_number_value(value), row->number);
}

static bool is_same(const question *q, const json_t *value, const foreign_row *row) {
    const double *expected = (const double *)(const void *)((const char *)&q->is + row->member);
    if (json_is_boolean(value)) return (double)json_is_true(value) == *expected;
    return json_is_number(value) && agree(json_number_value(value), *expected);
}

static bool is_default_type(const json_t *type) {
    return type == NULL || json_is_null(type) || (json_is_string(type) && strcmp(json_string_value(type), "default") == 0);
}

/* {"rope_type": "default", "rope_theta": ...}, as newer programs write what older ones write as rope_theta. */
static bool is_plain_rotation(const question *q, const json_t *value, const foreign_row *row) {
    (void)row;
    const json_t *theta = json_object_get(value, "rope_theta"), *part = json_object_get(value, "partial_rotary_factor");
    return json_is_object(value) && is_default_type(json_object_get(value, "rope_type")) &&
           is_default_type(json_object_get(value, "type")) &&
           (theta == NULL || agree(json_number_value(theta), q->is.rope_base)) &&
           (part == NULL || agree(json_number_value(part), q->is.rope_ratio));
}

static bool is_all_full(const question *q, const json_t *value, const foreign_row *row) {
    (void)q, (void)row;
    for (size_t i = 0; i < json_array_size(value); i++) {
        const char *type = json_string_value(json_array_get(value, i));
        if (type == NULL || strcmp(type, "full_attention") != 0) return false;
    }
    return json_is_array(value);
}

/* A window no window of tokens reaches beyond, or one that is switched off. */
static bool is_wide_window(const question *q, const json_t *value, const foreign_row *row) {
    (void)row;
    return json_is_false(json_object_get(q->object, "use_sliding_window")) ||
           (json_is_number(value) && json_number_value(value) >= (double)q->block_size);
}

static bool is_norm_bias(const question *q, const json_t *value, const foreign_row *row) {
    (void)row;
    return json_is_boolean(value) && json_is_true(value) == q->norm_bias;
}

static bool is_one_expert(const question *q, const json_t *value, const foreign_row *row) {
    (void)q, (void)row;
    return json_is_number(value) && (json_number_value(value) == 0 || json_number_value(value) == 1);
}

static bool is_nothing(const question *q, const json_t *value, const foreign_row *row) {
    return json_is_object(value) ? json_object_size(value) == 0 : is_false(q, value, row);
}

#define OFF(names)                                                                                                             \
    { (names), "false", is_false, NULL, 0, 0 }
#define ON(names)                                                                                                              \
    { (names), "true", is_true, NULL, 0, 0 }
#define WORD(names, supported, words)                                                                                          \
    { (names), (supported), is_word, (words), 0, 0 }
#define SAME(names, supported, field)                                                                                          \
    { (names), (supported), is_same, NULL, offsetof(computed, field), 0 }
#define NUMBER(names, supported, number)                                                                                       \
    { (names), (supported), is_number, NULL, 0, (number) }
#define SPECIAL(names, supported, fits)                                                                                        \
    { (names), (supported), (fits), NULL, 0, 0 }

static const foreign_row rows[] = {
    WORD("hidden_act|hidden_activation|activation|activation_function|act_fn|mlp_activation", "\"silu\" (or \"swiglu\")",
         "silu|swish|swiglu"),
    WORD("mlp_type|ffn_type|mlp_class", "\"swiglu\"", "swiglu"),
    OFF("bias|use_bias|attention_bias|attn_bias|qkv_bias|mlp_bias|lm_head_bias|norm_bias|ln_bias|add_bias_linear|add_qkv_bias"),
    WORD("norm_type|normalization|normalization_type|norm_class|layer_norm_type", "\"rmsnorm\"", "rmsnorm|rms_norm|rms"),
    SAME("norm_eps|norm_epsilon|layer_norm_eps|layer_norm_epsilon", "what the norms use, 1e-5 (additive: rms_norm_eps)",
         norm_eps),
    ON("pre_norm|prenorm|norm_first|normalize_before"),
    OFF("post_norm|postnorm|use_post_norm|sandwich_norm|parallel_residual|use_parallel_residual|parallel_attn|parallel_block"),
    SAME("qk_norm|use_qk_norm|qk_layernorm|qk_rmsnorm", "the value of use_qk_rmsnorm", qk_norm),
    SAME("num_key_value_heads|num_kv_heads|n_kv_heads|n_kv_head|n_query_groups|num_query_groups",
         "as many as num_attention_heads", kv_heads),
    OFF("multi_query|multi_query_attention"),
    SAME("n_head|n_heads|num_heads", "the value of num_attention_heads", heads),
    SAME("n_layer|n_layers|num_layers", "the value of num_hidden_layers", layers),
    SAME("d_model|n_model|emb_dim|embed_dim|model_dim", "the value of hidden_size", hidden),
    SAME("head_size|d_head|d_kv|kv_channels", "the value of head_dim", head_dim),
    SAME("n_vocab|padded_vocab_size", "the value of vocab_size", vocab),
    SAME("intermediate_size|ffn_hidden_size|ffn_dim|d_ff|n_inner", "the rows of mlp.c_fc1", mlp_hidden),
    SAME("rope_theta|rotary_base|rotary_emb_base|rope_freq_base", "the value of rope_base", rope_base),
    SAME("partial_rotary_factor|rotary_pct|rope_pct|rotary_fraction", "the value of rope_ratio", rope_ratio),
    SPECIAL("rope_scaling|rope_parameters", "the type \"default\" with the values of rope_base and rope_ratio",
            is_plain_rotation),
    OFF("rope_interleaved|rotary_interleaved|alibi|use_alibi"),
    OFF("use_wpe|learned_positions|use_position_embeddings"),
    ON("use_rope|use_rotary|rotary"),
    WORD("position_embedding_type|pos_emb_type|positional_encoding|position_encoding", "\"rope\"", "rope|rotary"),
    SPECIAL("sliding_window|attention_window|window_size|local_window", "block_size or more, or use_sliding_window false",
            is_wide_window),
    OFF("use_sliding_window|scale_attn_by_inverse_layer_idx|is_encoder_decoder|add_cross_attention|bidirectional"),
    SPECIAL("layer_types", "\"full_attention\" in every layer", is_all_full),
    ON("is_causal|causal|scale_attn_weights|tie_word_embeddings|tie_embeddings|tie_weights|weight_tying"),
    SAME("attention_multiplier|attn_scale|attention_scale|softmax_scale", "1/sqrt(head_dim)", softmax_scale),
    SAME("query_pre_attn_scalar", "the value of head_dim", head_dim),
    SPECIAL("attn_logit_softcapping|final_logit_softcapping|logit_softcapping|attn_softcap|logit_softcap|logit_cap", "0",
            is_nothing),
    NUMBER("embedding_multiplier|embedding_scale|emb_scale|logits_scaling", "1", 1),
    SAME("residual_multiplier|residual_scale", "the residual multiplier m", residual_mult),
    SAME("logit_scale|logits_multiplier|output_multiplier", "the scale of logits (muP)", logit_scale),
    SAME("use_mup|is_mup", "whether logits are scaled", scales_logits),
    SPECIAL("num_experts|num_local_experts|n_routed_experts|n_experts", "0 or 1", is_one_expert),
    SPECIAL("quantization_config|quantization", "an empty object", is_nothing),
};
enum { ROWS = sizeof rows / sizeof *rows };

/* What a transformer with LayerNorm and learned positions (nanoGPT, GPT-2) answers otherwise; names as above. */
static const foreign_row learned[] = {
    WORD("hidden_act|hidden_activation|activation|activation_function|act_fn|mlp_activation", "\"gelu\"",
         "gelu|gelu_new|gelu_pytorch_tanh"),
    WORD("mlp_type|ffn_type|mlp_class", "\"mlp\"", "mlp|gelu"),
    SPECIAL(
        "bias|use_bias|attention_bias|attn_bias|qkv_bias|mlp_bias|lm_head_bias|norm_bias|ln_bias|add_bias_linear|add_qkv_bias",
        "what the model has, everywhere or nowhere", is_norm_bias),
    WORD("norm_type|normalization|normalization_type|norm_class|layer_norm_type", "\"layernorm\"", "layernorm|layer_norm|ln"),
    ON("use_wpe|learned_positions|use_position_embeddings"),
    OFF("use_rope|use_rotary|rotary"),
    WORD("position_embedding_type|pos_emb_type|positional_encoding|position_encoding", "\"absolute\"", "absolute|learned"),
};

static const foreign_row *row_for(const foreign_row *row, const ds_spec *spec) {
    for (size_t i = 0; spec->positions > 0 && i < sizeof learned / sizeof *learned; i++) {
        if (strcmp(learned[i].names, row->names) == 0) return &learned[i];
    }
    return row;
}

size_t ds_foreign_count(void) { return ROWS; }
ds_foreign_keys ds_foreign_at(size_t index) { return (ds_foreign_keys){rows[index].names, rows[index].supported}; }

/* The next of the names "a|b|c", NUL-terminated in `name`; false at the end. */
static bool next_name(const char **names, char name[64]) {
    if (*names == NULL || **names == '\0') return false;
    size_t length = strcspn(*names, "|");
    (void)snprintf(name, 64, "%.*s", (int)length, *names);
    *names += length + ((*names)[length] == '|');
    return true;
}

static question ask(const json_t *object, const ds_config *config, const ds_spec *spec) {
    return (question){
        .object = object,
        .is = {.layers = (double)spec->layers,
               .heads = (double)spec->heads,
               .kv_heads = (double)ds_spec_kv_heads(spec),
               .hidden = (double)spec->hidden,
               .head_dim = (double)spec->head_dim,
               .vocab = (double)spec->vocab,
               .mlp_hidden = (double)spec->mlp_hidden,
               .rope_base = spec->rope_base,
               .rope_ratio = config->rope_ratio,
               .norm_eps = spec->norm_eps,
               .softmax_scale = 1 / sqrt((double)spec->head_dim),
               .residual_mult = spec->residual_mult,
               .logit_scale = spec->logit_scale,
               .qk_norm = spec->qk_norm,
               .scales_logits = ds_config_scales_logits(config)},
        .block_size = spec->block_size,
        .norm_bias = spec->norm_bias,
    };
}

/* Where our key of the same meaning is not there at all, the other is likely to be it under another name. */
static ds_name missing_twin(const json_t *object, const foreign_row *row, const char *name) {
    static const char front[] = "the value of ";
    const char *ours = row->supported + sizeof front - 1;
    ds_name text = {""};
    if (strncmp(row->supported, front, sizeof front - 1) != 0 || json_object_get(object, ours) != NULL) return text;
    (void)snprintf(text.text, sizeof text.text,
                   ", which is not there: where it means the same, rename it, or say so in a map (--map): {\"config\": "
                   "{\"%s\": \"%s\"}}, as inspect --draft-map FILE drafts it",
                   name, ours);
    return text;
}

ds_status ds_foreign_check(const json_t *object, const ds_config *config, const ds_spec *spec, const char *where) {
    const question q = ask(object, config, spec);
    for (size_t r = 0; r < ROWS; r++) {
        const foreign_row *row = row_for(&rows[r], spec);
        const char *names = row->names;
        for (char name[64]; next_name(&names, name);) {
            const json_t *value = json_object_get(object, name);
            if (value == NULL || json_is_null(value) || ds_config_reads(config->family, name)) continue;
            if (row->fits(&q, value, row)) continue;
            return ds_fail(DS_ERR_INPUT,
                           "%s: %s is %s, which would change what is computed: supported is %s%s; remove the key if the model "
                           "was not trained so",
                           DS_SHOW(where), name, ds_config_describe(value).text, row->supported,
                           missing_twin(object, row, name).text);
        }
    }
    return DS_OK;
}

/* ---- misspellings ---------------------------------------------------------------------------------------------------- */

/* Keys of Hugging Face and of training scripts that change nothing here and come near to one that does. */
static const char *const harmless[] = {"init_std", "num_labels", "hidden_sizes", "is_decoder", "max_seq_len", "hidden_dropout"};

typedef struct nearest {
    const char *key;
    char name[64];
    size_t edits;
} nearest;

static void consider(nearest *best, const char *name) {
    if (best->edits == 0) return;
    size_t edits = ds_edits(best->key, name, best->edits - 1);
    if (edits >= best->edits) return;
    best->edits = edits;
    (void)snprintf(best->name, sizeof best->name, "%s", name);
}

/* The nearest key that means something, within what a slip of the hand explains; its `name` is "" when there is none. */
static nearest find_nearest(const char *key) {
    nearest best = {.key = key, .edits = ds_likely_edits(key) + 1};
    const char *name;
    for (size_t i = 0; (name = ds_config_key(i)) != NULL; i++) consider(&best, name);
    for (size_t r = 0; r < ROWS; r++) {
        const char *names = rows[r].names;
        for (char word[64]; next_name(&names, word);) consider(&best, word);
    }
    return best;
}

static bool is_known(const char *key) {
    const char *name;
    for (size_t i = 0; i < sizeof harmless / sizeof *harmless; i++) {
        if (strcmp(key, harmless[i]) == 0) return true;
    }
    for (size_t i = 0; (name = ds_config_key(i)) != NULL; i++) {
        if (strcmp(key, name) == 0) return true;
    }
    for (size_t r = 0; r < ROWS; r++) {
        const char *names = rows[r].names;
        for (char word[64]; next_name(&names, word);) {
            if (strcmp(key, word) == 0) return true;
        }
    }
    return false;
}

ds_status ds_config_misspellings(const json_t *object, ds_tell tell, void *context) {
    enum { MOST_TOLD = 8, MOST_KEYS = 1000 /* honest files have a hundred; a search is no place to wait */ };
    ds_status status = DS_OK;
    const char *key;
    json_t *value;
    size_t told = 0, seen = 0;
    union {
        const json_t *in;
        json_t *out;
    } plain = {.in = object}; /* the loop only reads it */
    json_object_foreach(plain.out, key, value) {
        (void)value;
        if (told == MOST_TOLD || ++seen > MOST_KEYS) break;
        if (is_known(key)) continue;
        const nearest best = find_nearest(key);
        if (best.name[0] == '\0') continue;
        char sentence[DS_NAME_CAPACITY + 160];
        (void)snprintf(sentence, sizeof sentence, "the configuration's key %s means nothing and is ignored: did you mean %s?",
                       DS_SHOW(key), best.name);
        DS_TRY(tell(context, sentence));
        told++;
    }
done:
    return status;
}
