/* tokenizer.json, the file of HuggingFace's tokenizers, where it holds a byte-pair encoding that cuts texts by a known pattern.
 * What would change a text before or after that is refused by name, so that ids are those of the library or there are none.
 * Added tokens have ids and are decoded; their spellings inside a text are ordinary text. */
#include <stdlib.h>
#include <string.h>

#include "bpe.h"

enum { MAX_JSON_BYTES = 1 << 27 };

#define INSTEAD "tokenize with the library that made it and give the ids with --tokens"

typedef struct reading {
    const char *path;
    const json_t *model, *added; /* `added`: an array, or NULL */
    json_t *vocabulary;
    bool bytes; /* tokens are spelt in GPT-2's alphabet of bytes */
    ds_bpe_cut cut;
    bool composed; /* its normalizer is NFC */
} reading;

static ds_status wrong(const reading *r, const char *key, const char *expected) {
    return ds_fail(DS_ERR_INPUT, "%s: \"%s\" is not %s", DS_SHOW(r->path), key, expected);
}

static ds_status unread(const reading *r, const char *what, const char *name) {
    return ds_fail(DS_ERR_INPUT, "%s: %s \"%s\" is not read here: " INSTEAD, DS_SHOW(r->path), what, DS_SHOW(name));
}

/* The "type" of a part, "" where there is no such part, NULL where it has none. */
static const char *type_of(const json_t *part) {
    return part == NULL || json_is_null(part) ? "" : json_string_value(json_object_get(part, "type"));
}

static bool is_true(const json_t *object, const char *key, bool otherwise) {
    const json_t *value = json_object_get(object, key);
    return value == NULL ? otherwise : json_is_true(value);
}

/* ---- what is done to a text before it is cut ------------------------------------------------------------------------ */

static ds_status read_normalizer(reading *r, const json_t *part) {
    const char *type = type_of(part);
    if (type == NULL) return wrong(r, "normalizer", "null or an object with a type");
    if (*type == '\0') return DS_OK;
    if (strcmp(type, "NFC") == 0) {
        r->composed = true;
        return DS_OK;
    }
    const json_t *parts = json_object_get(part, "normalizers");
    bool nothing = strcmp(type, "Sequence") == 0 && json_is_array(parts) && json_array_size(parts) == 0;
    return nothing ? DS_OK : unread(r, "the normalizer", type);
}

/* ---- how it is cut ----------------------------------------------------------------------------------------------------- */

static ds_status read_byte_level(reading *r, const json_t *part) {
    if (is_true(part, "add_prefix_space", true))
        return ds_fail(DS_ERR_INPUT, "%s: its \"add_prefix_space\" would put a space in front of a text: " INSTEAD,
                       DS_SHOW(r->path));
    if (is_true(part, "use_regex", true)) {
        if (r->cut != DS_CUT_NOT) return unread(r, "the pre-tokenizer", "two patterns");
        r->cut = DS_CUT_GPT2;
    }
    r->bytes = true;
    return DS_OK;
}

static ds_status read_split(reading *r, const json_t *part) {
    const char *behaviour = json_string_value(json_object_get(part, "behavior")),
               *pattern = json_string_value(ds_json_at(part, "pattern/Regex"));
    if (behaviour == NULL || pattern == NULL) return wrong(r, "pre_tokenizer", "a Split with a pattern (Regex) and a behavior");
    if (strcmp(behaviour, "Isolated") != 0) return unread(r, "a Split of the behavior", behaviour);
    if (is_true(part, "invert", false)) return unread(r, "a Split of the behavior", "inverted");
    if (r->cut != DS_CUT_NOT) return unread(r, "the pre-tokenizer", "two patterns");
    r->cut = ds_bpe_cut_of(pattern);
    return r->cut != DS_CUT_NOT ? DS_OK : unread(r, "cutting by the pattern", pattern);
}

static ds_status read_pre_tokenizer(reading *r, const json_t *part, bool inside) {
    ds_status status = DS_OK;
    const char *type = type_of(part);
    if (type == NULL) return wrong(r, "pre_tokenizer", "null or an object with a type");
    if (*type == '\0') return DS_OK;
    if (r->bytes) return unread(r, "behind ByteLevel the pre-tokenizer", type);
    if (strcmp(type, "ByteLevel") == 0) return read_byte_level(r, part);
    if (strcmp(type, "Split") == 0) return read_split(r, part);
    if (strcmp(type, "Sequence") != 0 || inside) return unread(r, "the pre-tokenizer", type);
    const json_t *parts = json_object_get(part, "pretokenizers"), *one;
    size_t i;
    if (!json_is_array(parts)) return wrong(r, "pre_tokenizer", "a Sequence of pretokenizers");
    json_array_foreach(parts, i, one) DS_TRY(read_pre_tokenizer(r, one, true));
done:
    return status;
}

static ds_status check_decoder(const reading *r, const json_t *part) {
    const char *type = type_of(part), *fits = r->bytes ? "ByteLevel" : "Fuse";
    if (type == NULL) return wrong(r, "decoder", "null or an object with a type");
    return *type == '\0' || strcmp(type, fits) == 0 ? DS_OK : unread(r, "the decoder", type);
}

/* ---- the model ----------------------------------------------------------------------------------------------------- */

static ds_status check_model(reading *r, const json_t *root) {
    static const char *const endings[] = {"continuing_subword_prefix", "end_of_word_suffix"};
    const json_t *model = r->model = json_object_get(root, "model");
    if (!json_is_object(model))
        return ds_fail(DS_ERR_INPUT,
                       "%s: its \"model\" is missing: a tokenizer.json is expected, or the folder of vocab.json and merges.txt",
                       DS_SHOW(r->path));
    const char *type = type_of(model); /* older files do not say it */
    if (type != NULL && strcmp(type, "BPE") != 0) return unread(r, "a model of the kind", type);
    r->vocabulary = json_object_get(model, "vocab");
    if (!json_is_object(r->vocabulary) || json_object_size(r->vocabulary) == 0)
        return type == NULL ? unread(r, "a model of the kind", "Unigram") : wrong(r, "vocab", "an object from tokens to ids");
    if (is_true(model, "byte_fallback", false)) return unread(r, "SentencePiece's byte fallback,", "byte_fallback");
    for (size_t i = 0; i < 2; i++) {
        const char *ending = json_string_value(json_object_get(model, endings[i]));
        if (ending != NULL && *ending != '\0') return unread(r, endings[i], ending);
    }
    const json_t *dropout = json_object_get(model, "dropout");
    if (dropout != NULL && !json_is_null(dropout) && !(json_number_value(dropout) == 0))
        return ds_fail(DS_ERR_INPUT, "%s: with \"dropout\" a text has other ids each time: " INSTEAD, DS_SHOW(r->path));
    return DS_OK;
}

/* ---- added tokens -------------------------------------------------------------------------------------------------- */

static const char *content_of(const json_t *token) { return json_string_value(json_object_get(token, "content")); }

/* pieces->count <- how many tokens there are with those that the vocabulary does not have. */
static ds_status count_tokens(reading *r, ds_pieces *pieces, const json_t *root) {
    size_t i;
    const json_t *token;
    r->added = json_object_get(root, "added_tokens");
    pieces->count = json_object_size(r->vocabulary);
    if (r->added != NULL && !json_is_null(r->added) && !json_is_array(r->added)) return wrong(r, "added_tokens", "a list");
    json_array_foreach(r->added, i, token) {
        const char *content = content_of(token);
        if (content == NULL || *content == '\0' || !json_is_integer(json_object_get(token, "id")))
            return ds_fail(DS_ERR_INPUT, "%s: entry %zu (counted from 0) of \"added_tokens\" has no content and integer id",
                           DS_SHOW(r->path), i);
        const json_t *known = json_object_get(r->vocabulary, content);
        if (known != NULL && !json_equal(known, json_object_get(token, "id")))
            return ds_fail(DS_ERR_INPUT, "%s: token \"%s\" has one id in \"vocab\" and another in \"added_tokens\"",
                           DS_SHOW(r->path), DS_SHOW(content));
        pieces->count += known == NULL;
    }
    return DS_OK;
}

static ds_status take_added(const reading *r, ds_pieces *pieces) {
    ds_status status = DS_OK;
    size_t i;
    const json_t *token;
    json_array_foreach(r->added, i, token) {
        const char *content = content_of(token);
        json_int_t id = json_integer_value(json_object_get(token, "id"));
        if (id < 0 || (uint64_t)id >= pieces->count)
            return ds_fail(DS_ERR_INPUT,
                           "%s: added token \"%s\" has id %" JSON_INTEGER_FORMAT
                           ", expected 0 to %zu, one below the number of tokens",
                           DS_SHOW(r->path), DS_SHOW(content), id, pieces->count - 1);
        if (pieces->entries[id].length != 0)
            return ds_fail(DS_ERR_INPUT, "%s: added token \"%s\" has id %" JSON_INTEGER_FORMAT " that another has already",
                           DS_SHOW(r->path), DS_SHOW(content), id);
        DS_TRY(ds_pieces_set(pieces, (size_t)id, content, strlen(content)));
    }
done:
    return status;
}

/* ---- merges ------------------------------------------------------------------------------------------------------ */

/* "LEFT RIGHT", or ["LEFT", "RIGHT"]. */
static ds_status take_merge(ds_bpe *bpe, const json_t *merge, const ds_merge_source *source) {
    ds_status status = DS_OK;
    const char *line = json_string_value(merge), *left = json_string_value(json_array_get(merge, 0)),
               *right = json_string_value(json_array_get(merge, 1));
    char *copy = NULL;
    if (line != NULL) {
        copy = ds_strdup(line);
        if (copy == NULL) return DS_ERR_SYSTEM;
        DS_TRY(ds_bpe_add_line(bpe, copy, source));
    } else if (json_array_size(merge) == 2 && left != NULL && right != NULL) {
        DS_TRY(ds_bpe_add_merge(bpe, left, right, source));
    } else {
        status = ds_fail(DS_ERR_INPUT, "%s: merge %zu (counted from 0) is neither \"LEFT RIGHT\" nor a list of two tokens",
                         DS_SHOW(source->path), source->number);
    }
done:
    free(copy);
    return status;
}

static ds_status take_merges(ds_bpe *bpe, const reading *r, size_t vocab) {
    ds_status status = DS_OK;
    const json_t *merges = json_object_get(r->model, "merges"), *merge;
    size_t i;
    ds_merge_source source = {.vocabulary = r->vocabulary, .path = r->path, .listed = "\"vocab\"", .unit = "merge"};
    if (!json_is_array(merges)) return wrong(r, "merges", "a list of merges");
    json_array_foreach(merges, i, merge) {
        source.number = i;
        DS_TRY(take_merge(bpe, merge, &source));
    }
    DS_TRY(ds_bpe_index_merges(bpe, vocab, r->path));
done:
    return status;
}

/* ---- the whole file -------------------------------------------------------------------------------------------------- */

static ds_status fill(ds_bpe *bpe, ds_pieces *pieces, reading *r, const json_t *root) {
    ds_status status = DS_OK;
    DS_TRY(check_model(r, root));
    DS_TRY(read_normalizer(r, json_object_get(root, "normalizer")));
    DS_TRY(read_pre_tokenizer(r, json_object_get(root, "pre_tokenizer"), false));
    DS_TRY(check_decoder(r, json_object_get(root, "decoder")));
    DS_TRY(count_tokens(r, pieces, root));
    DS_NEW(pieces->entries, pieces->count);
    DS_TRY(take_added(r, pieces));
    bpe->characters = !r->bytes;
    DS_TRY(ds_bpe_take_vocabulary(bpe, pieces, r->vocabulary, is_true(r->model, "ignore_merges", false)));
    DS_TRY(take_merges(bpe, r, pieces->count));
    DS_TRY(ds_bpe_set_cut(bpe, r->cut));
    bpe->composed = r->composed;
done:
    return status;
}

ds_status ds_bpe_open_json(ds_bpe **out, ds_pieces *pieces, const char *path) {
    ds_status status = DS_OK;
    ds_bpe *bpe = NULL;
    char *bytes = NULL;
    size_t length;
    json_t *root = NULL;
    reading r = {.path = path, .cut = DS_CUT_NOT};
    DS_TRY(ds_bpe_new(&bpe, path));
    DS_TRY(ds_read_file(&bytes, &length, path, MAX_JSON_BYTES));
    DS_TRY(ds_json_parse(&root, bytes, length, path));
    DS_TRY(fill(bpe, pieces, &r, root));
done:
    free(bytes);
    json_decref(root);
    if (status != DS_OK) ds_bpe_close(&bpe);
    *out = bpe;
    return status;
}
