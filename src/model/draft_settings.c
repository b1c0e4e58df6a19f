#include "draft_settings.h"

#include <ctype.h>
#include <string.h>

/* The sizes every model has, and what others call them, letters alone; the plainest first. */
typedef struct synonyms {
    const char *ours;
    const char *theirs[16];
} synonyms;

static const synonyms sizes[] = {
    {"vocab_size", {"vocabsize", "vocabularysize", "nvocab", "numtokens", "ntokens", "vocab", "paddedvocabsize"}},
    {"num_hidden_layers", {"nlayer", "nlayers", "numlayers", "numhiddenlayers", "numblocks", "nblocks", "layers", "depth"}},
    {"num_attention_heads", {"nhead", "nheads", "numheads", "numattentionheads", "heads", "attentionheads"}},
    {"hidden_size",
     {"dmodel", "nembd", "hiddensize", "dimembedding", "embeddingdim", "embeddim", "embedsize", "embdim", "dimmodel",
      "modeldim", "dembed", "dim", "width", "hiddendim", "hidden"}},
    {"head_dim", {"headdim", "dimhead", "dhead", "headsize"}},
    {"block_size",
     {"blocksize", "seqlength", "seqlen", "sequencelength", "contextlength", "contextsize", "contextlen", "maxseqlen",
      "maxseqlength", "maxsequencelength", "npositions", "nctx", "maxpositionembeddings", "maxlength", "maxlen"}},
    {"ddl_value_channels", {"valuechannels", "nvaluechannels", "numvaluechannels", "dvalue", "dv"}},
    {"rope_base", {"ropetheta", "rotarybase"}},
};
enum { SIZES = sizeof sizes / sizeof sizes[0] };

static bool is_word(const char *key, const char *word) {
    for (; *key != '\0'; key++) {
        if (*key == '_' || *key == '-') continue;
        if (tolower((unsigned char)*key) != *word++) return false;
    }
    return *word == '\0';
}

/* The key of theirs that means `size`; NULL for none. */
static const char *find_synonym(const json_t *theirs, const synonyms *size) {
    const char *key;
    json_t *value;
    for (size_t i = 0; i < sizeof size->theirs / sizeof *size->theirs && size->theirs[i] != NULL; i++) {
        json_object_foreach((json_t *)(uintptr_t)theirs, key, value) {
            if (json_is_number(value) && is_word(key, size->theirs[i])) return key;
        }
    }
    return NULL;
}

static size_t count_known(const json_t *theirs) {
    size_t known = 0;
    for (size_t i = 0; i < SIZES; i++)
        known += json_object_get(theirs, sizes[i].ours) != NULL || find_synonym(theirs, &sizes[i]) != NULL;
    return known;
}

/* The configuration that was found, or else the entry of the training checkpoint that speaks of most sizes. */
static const json_t *choose_theirs(const ds_checkpoint *checkpoint) {
    const json_t *best = ds_checkpoint_config(checkpoint);
    const char *entry;
    json_t *value;
    size_t most = 0;
    if (best != NULL) return best;
    json_object_foreach((json_t *)(uintptr_t)ds_checkpoint_entries(checkpoint), entry, value) {
        size_t known = count_known(value);
        if (known <= most) continue;
        most = known;
        best = value;
    }
    return best;
}

/* ---- what shapes say --------------------------------------------------------------------------------------------- */

/* The tensor that looks most like an embedding: the largest of two dimensions that belongs to no layer. */
static const ds_tensor *find_embedding(const ds_checkpoint *checkpoint) {
    const ds_tensor *best = NULL;
    for (size_t i = 0; i < ds_checkpoint_count(checkpoint); i++) {
        const ds_tensor *tensor = ds_checkpoint_tensor(checkpoint, i);
        bool of_layer = false;
        for (const char *at = strchr(tensor->name, '.'); at != NULL && !of_layer; at = strchr(at + 1, '.'))
            of_layer = isdigit((unsigned char)at[1]) != 0;
        if (of_layer || tensor->rank != 2 || tensor->shape[0] > DS_MOST_VOCAB || tensor->shape[1] > DS_MOST_HIDDEN) continue;
        if (best == NULL || tensor->count > best->count) best = tensor;
    }
    return best;
}

static json_int_t number_of(const ds_draft_settings *draft, const json_t *theirs, const char *ours) {
    const char *key;
    json_t *value;
    if (json_is_integer(json_object_get(theirs, ours))) return json_integer_value(json_object_get(theirs, ours));
    json_object_foreach(draft->renamed, key, value) {
        if (strcmp(json_string_value(value), ours) == 0) return json_integer_value(json_object_get(theirs, key));
    }
    return json_integer_value(json_object_get(draft->settings, ours));
}

static ds_status add_setting(ds_draft_settings *draft, const char *ours, uint64_t value) {
    if (json_object_set_new(draft->settings, ours, json_integer((json_int_t)value)) == 0) return DS_OK;
    return ds_fail(DS_ERR_SYSTEM, "out of memory for a draft");
}

static ds_status infer(ds_draft_settings *draft, const ds_checkpoint *checkpoint, const json_t *theirs, size_t layers) {
    ds_status status = DS_OK;
    const ds_tensor *embedding = find_embedding(checkpoint);
    if (embedding != NULL && number_of(draft, theirs, "vocab_size") == 0)
        DS_TRY(add_setting(draft, "vocab_size", embedding->shape[0]));
    if (embedding != NULL && number_of(draft, theirs, "hidden_size") == 0)
        DS_TRY(add_setting(draft, "hidden_size", embedding->shape[1]));
    if (layers != 0 && number_of(draft, theirs, "num_hidden_layers") == 0)
        DS_TRY(add_setting(draft, "num_hidden_layers", layers));
    json_int_t hidden = number_of(draft, theirs, "hidden_size"), heads = number_of(draft, theirs, "num_attention_heads");
    if (number_of(draft, theirs, "head_dim") == 0 && hidden > 0 && heads > 0 && hidden % heads == 0)
        DS_TRY(add_setting(draft, "head_dim", (uint64_t)(hidden / heads)));
done:
    return status;
}

/* ---- both -------------------------------------------------------------------------------------------------------- */

/* As a map with these entries would have it; a configuration that cannot be read leaves only what shapes say. */
static ds_status read_both(ds_draft_settings *draft, const json_t *theirs) {
    ds_status status = DS_OK;
    json_t *both = theirs == NULL ? json_object() : json_copy((json_t *)(uintptr_t)theirs);
    const char *key;
    json_t *value;
    bool starved = both == NULL;
    json_object_foreach(draft->renamed, key, value) {
        starved = starved || json_object_set(both, json_string_value(value), json_object_get(theirs, key)) != 0 ||
                  json_object_del(both, key) != 0;
    }
    starved = starved || json_object_update(both, draft->settings) != 0;
    if (starved) {
        status = ds_fail(DS_ERR_SYSTEM, "out of memory for a draft");
        goto done;
    }
    if (ds_config_read(&draft->config, both, "") != DS_OK) DS_TRY(ds_config_read(&draft->config, draft->settings, ""));
done:
    json_decref(both);
    return status;
}

ds_status ds_draft_settings_make(ds_draft_settings *out, const ds_checkpoint *checkpoint, size_t layers) {
    ds_status status = DS_OK;
    const json_t *theirs = choose_theirs(checkpoint);
    *out = (ds_draft_settings){.renamed = json_object(), .settings = json_object()};
    bool starved = out->renamed == NULL || out->settings == NULL;
    for (size_t i = 0; i < SIZES && !starved; i++) {
        const char *key = json_object_get(theirs, sizes[i].ours) != NULL ? NULL : find_synonym(theirs, &sizes[i]);
        if (key != NULL) starved = json_object_set_new(out->renamed, key, json_string(sizes[i].ours)) != 0;
    }
    if (starved) return ds_fail(DS_ERR_SYSTEM, "out of memory for a draft");
    out->qk_norm_said = json_object_get(theirs, "use_qk_rmsnorm") != NULL;
    DS_TRY(infer(out, checkpoint, theirs, layers));
    DS_TRY(read_both(out, theirs));
done:
    return status;
}

void ds_draft_settings_release(ds_draft_settings *settings) {
    json_decref(settings->renamed);
    json_decref(settings->settings);
    *settings = (ds_draft_settings){0};
}
