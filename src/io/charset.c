/* nanoGPT's character tokenizer: meta.pkl holds {"vocab_size": V, "stoi": {character: id}, "itos": {id: character}}. Some
 * scripts put markers (<UNK>, <PAD24>) or words beside the characters: those are decoded, and no text is made into them. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "pickle.h"
#include "recognise.h"
#include "tokenizer.h"

struct ds_charset {
    uint32_t *ids;            /* (code points) id + 1 of each, 0 where it has none */
    size_t characters, words; /* keys of one character; longer ones that are no marker */
    char *path;
};

/* What a meta.pkl is read from. */
typedef struct meta {
    const ds_pickle *pickle;
    const char *path;
    ds_value stoi, itos;
    uint64_t vocab;
} meta;

static ds_status find_entry(ds_value *value, const meta *m, const char *key, ds_value_kind kind, const char *expected) {
    ds_value root = ds_pickle_root(m->pickle);
    if (!ds_value_find(value, m->pickle, root, key))
        return ds_fail(DS_ERR_INPUT, "%s: key \"%s\" is missing; vocab_size, stoi and itos are expected", DS_SHOW(m->path),
                       key);
    if (ds_value_kind_of(m->pickle, *value) != kind)
        return ds_fail(DS_ERR_INPUT, "%s: \"%s\" is %s, expected %s", DS_SHOW(m->path), key,
                       ds_value_describe(m->pickle, *value), expected);
    return DS_OK;
}

static ds_status find_entries(meta *m) {
    ds_status status = DS_OK;
    ds_value size;
    int64_t vocab = 0;
    ds_value root = ds_pickle_root(m->pickle);
    if (ds_value_kind_of(m->pickle, root) != DS_VALUE_DICT)
        return ds_fail(DS_ERR_INPUT, "%s: the pickle holds %s, expected a dict with vocab_size, stoi and itos",
                       DS_SHOW(m->path), ds_value_describe(m->pickle, root));
    DS_TRY(find_entry(&size, m, "vocab_size", DS_VALUE_INT, "an integer"));
    DS_TRY(find_entry(&m->stoi, m, "stoi", DS_VALUE_DICT, "a dict from characters to ids"));
    DS_TRY(find_entry(&m->itos, m, "itos", DS_VALUE_DICT, "a dict from ids to characters"));
    if (!ds_value_int(&vocab, m->pickle, size) || vocab < 1 || vocab > DS_CODE_POINTS)
        return ds_fail(DS_ERR_INPUT, "%s: vocab_size is %" PRId64 ", expected 1 to %d", DS_SHOW(m->path), vocab,
                       DS_CODE_POINTS);
    m->vocab = (uint64_t)vocab;
    size_t characters = ds_value_count(m->pickle, m->stoi), ids = ds_value_count(m->pickle, m->itos);
    if (characters != ids)
        return ds_fail(DS_ERR_INPUT, "%s: stoi has %zu keys and itos %zu ids; each must be the inverse of the other",
                       DS_SHOW(m->path), characters, ids);
done:
    return status;
}

/* An id of the vocabulary. */
static ds_status take_id(size_t *id, const meta *m, ds_value value, const char *map) {
    int64_t number;
    if (!ds_value_int(&number, m->pickle, value))
        return ds_fail(DS_ERR_INPUT, "%s: an id in %s is %s, expected an integer", DS_SHOW(m->path), map,
                       ds_value_describe(m->pickle, value));
    if (number < 0 || (uint64_t)number >= m->vocab)
        return ds_fail(DS_ERR_INPUT, "%s: id %" PRId64 " in %s, expected 0 to %" PRIu64 ", one below vocab_size",
                       DS_SHOW(m->path), number, map, m->vocab - 1);
    *id = (size_t)number;
    return DS_OK;
}

/* <UNK>, [PAD], |endoftext|: what no text has a word for. */
static bool is_marker(const char *bytes, size_t length) {
    return strchr("<[{|", bytes[0]) != NULL && strchr(">]}|", bytes[length - 1]) != NULL;
}

static ds_status read_stoi(ds_charset *charset, ds_pieces *pieces, const meta *m) {
    ds_status status = DS_OK;
    for (size_t i = 0; i < ds_value_count(m->pickle, m->stoi); i++) {
        ds_value key = ds_value_key(m->pickle, m->stoi, i);
        const char *bytes;
        size_t length, id;
        uint32_t point;
        if (!ds_value_string(&bytes, &length, m->pickle, key))
            return ds_fail(DS_ERR_INPUT, "%s: a key of stoi is %s, expected a character", DS_SHOW(m->path),
                           ds_value_describe(m->pickle, key));
        if (length == 0 || !ds_is_utf8(bytes, length))
            return ds_fail(DS_ERR_INPUT, "%s: key \"%s\" of stoi is neither a character nor a word", DS_SHOW(m->path),
                           ds_escape(bytes, length).text);
        DS_TRY(take_id(&id, m, ds_value_at(m->pickle, m->stoi, i), "stoi"));
        if (pieces->entries[id].length != 0)
            return ds_fail(DS_ERR_INPUT, "%s: \"%s\" has id %zu in stoi that another key has already", DS_SHOW(m->path),
                           ds_escape(bytes, length).text, id);
        DS_TRY(ds_pieces_set(pieces, id, bytes, length));
        bool character = ds_utf8_decode(&point, bytes, length) == length;
        if (character) charset->ids[point] = (uint32_t)id + 1;
        charset->characters += character;
        charset->words += !character && !is_marker(bytes, length);
    }
done:
    return status;
}

/* With as many entries as stoi, itos is its inverse when every entry agrees. */
static ds_status check_itos(const ds_pieces *pieces, const meta *m) {
    for (size_t i = 0; i < ds_value_count(m->pickle, m->itos); i++) {
        ds_value value = ds_value_at(m->pickle, m->itos, i);
        const char *bytes;
        size_t length, id;
        ds_status status = take_id(&id, m, ds_value_key(m->pickle, m->itos, i), "itos");
        if (status != DS_OK) return status;
        if (!ds_value_string(&bytes, &length, m->pickle, value))
            return ds_fail(DS_ERR_INPUT, "%s: id %zu in itos is %s, expected a character", DS_SHOW(m->path), id,
                           ds_value_describe(m->pickle, value));
        const ds_piece *piece = &pieces->entries[id];
        if (piece->length != length || memcmp(pieces->bytes.bytes + piece->offset, bytes, length) != 0)
            return ds_fail(DS_ERR_INPUT, "%s: id %zu is \"%s\" in itos, but that is not its key in stoi", DS_SHOW(m->path), id,
                           ds_escape(bytes, length).text);
    }
    return DS_OK;
}

ds_status ds_charset_open(ds_charset **out, ds_pieces *pieces, uint64_t *vocab, const char *path) {
    ds_status status = DS_OK;
    ds_charset *charset = NULL;
    ds_pickle *pickle = NULL;
    char *bytes = NULL;
    size_t length;
    DS_NEW(charset, 1);
    DS_NEW(charset->ids, DS_CODE_POINTS);
    charset->path = ds_strdup(path);
    if (charset->path == NULL) {
        status = DS_ERR_SYSTEM;
        goto done;
    }
    DS_TRY(ds_read_file(&bytes, &length, path, DS_PICKLE_LIMIT));
    if (length == 0 || (uint8_t)bytes[0] != 0x80) /* how a pickle of protocol 2 or later begins */
        DS_TRY(ds_kind_refuse(path, bytes, length, "nanoGPT's meta.pkl, a pickle"));
    DS_TRY(ds_pickle_parse(&pickle, bytes, length, DS_PICKLE_PLAIN, DS_SHOW(path)));
    meta m = {.pickle = pickle, .path = path};
    DS_TRY(find_entries(&m));
    pieces->count = m.vocab;
    DS_NEW(pieces->entries, pieces->count);
    DS_TRY(read_stoi(charset, pieces, &m));
    DS_TRY(check_itos(pieces, &m));
    *vocab = m.vocab;
done:
    ds_pickle_free(&pickle);
    free(bytes);
    if (status != DS_OK) ds_charset_close(&charset);
    *out = charset;
    return status;
}

void ds_charset_close(ds_charset **charset) {
    if (*charset == NULL) return;
    free((*charset)->ids);
    free((*charset)->path);
    free(*charset);
    *charset = NULL;
}

/* How a text becomes words is nowhere in the file. */
static ds_status refuse_words(const ds_charset *charset) {
    return ds_fail(
        DS_ERR_INPUT,
        "%s: a table of %zu words beside %zu characters, and nothing that says how a text is cut into them: tokenize "
        "with the script that made it and give the ids with --tokens",
        DS_SHOW(charset->path), charset->words, charset->characters);
}

static ds_status no_character(const ds_charset *charset, const char *text, size_t at, size_t step, const char *where) {
    uint32_t point = 0;
    (void)ds_utf8_decode(&point, text + at, step);
    return ds_fail(DS_ERR_INPUT, "%s: character \"%s\" (U+%04" PRIX32 "%s) at %s is not among those of %s", DS_SHOW(where),
                   ds_escape(text + at, step).text, point, point == 0xFEFF ? ", a byte order mark" : "",
                   ds_text_place(text, at).text, DS_SHOW(charset->path));
}

ds_status ds_charset_encode(ds_ids *ids, const ds_charset *charset, const char *text, size_t length, const char *where) {
    uint32_t point = 0;
    if (charset->words > charset->characters) return refuse_words(charset);
    ds_status status = ds_ids_reserve(ids, length);
    for (size_t at = 0, step; status == DS_OK && at < length; at += step) {
        step = ds_utf8_decode(&point, text + at, length - at);
        uint32_t id = charset->ids[point];
        if (id == 0) return no_character(charset, text, at, step, where);
        ids->ids[ids->count++] = id - 1;
    }
    return status;
}
