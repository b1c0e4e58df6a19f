/* Token files: raw ids, headered shards (uint16 or uint32) and .npy, recognised by content; and ids made from text. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "digest.h"
#include "recognise.h"
#include "token_evidence.h"
#include "token_layout.h"

enum {
    SHARD_MAGIC_U16 = 20240520,  /* version 1, uint16 ids (GPT-2) */
    SHARD_MAGIC_U32 = 20240801,  /* version 7, uint32 ids (Llama 3) */
    SHARD_MAGIC_EVAL = 20240522, /* multiple-choice evaluations, not a token stream */
    MODEL_MAGIC = 20240326,      /* a model of the same programs, and one more: its state */
    SHARD_HEADER = 1024,         /* 256 int32: magic, version, count, zeros */
    CHUNK = 1 << 16,             /* bytes read at once; a multiple of every width */
};
static const uint64_t MAX_TEXT = UINT64_C(1) << 31; /* bytes of text tokenised in memory */

struct ds_tokens {
    ds_source source;
    ds_token_layout layout;
    char *path;
    uint64_t vocab;
    uint32_t *ids; /* (layout.count) ids made from text; NULL for a file of ids */
    ds_text doubt; /* what ds_tokens_doubt says; bytes NULL: nothing */
    char sha256[DS_DIGEST_TEXT];
};

/* ---- what kind of file ------------------------------------------------------------------------------------------- */

static ds_status shard_layout(ds_token_layout *layout, const ds_source *source, size_t width, int32_t expected_version) {
    uint8_t header[SHARD_HEADER];
    const char *path = source->path;
    if (source->size < SHARD_HEADER)
        return ds_fail(DS_ERR_INPUT, "%s: truncated header: %" PRIu64 " bytes found, a token shard starts with %d",
                       DS_SHOW(path), source->size, SHARD_HEADER);
    ds_status status = ds_source_read(source, header, 0, sizeof header);
    if (status != DS_OK) return status;
    int32_t version = (int32_t)ds_load_u32le(header + 4), count = (int32_t)ds_load_u32le(header + 8);
    if (version != expected_version)
        return ds_fail(DS_ERR_INPUT, "%s: token shard of version %" PRId32 ", expected %" PRId32, DS_SHOW(path), version,
                       expected_version);
    if (count <= 0)
        return ds_fail(DS_ERR_INPUT, "%s: bad token count: the header says %" PRId32 ", expected 1 or more", DS_SHOW(path),
                       count);
    for (size_t i = 12; i < SHARD_HEADER; i++) {
        if (header[i] != 0)
            return ds_fail(DS_ERR_INPUT, "%s: byte %zu of the token shard's header is %u, expected 0", DS_SHOW(path), i,
                           header[i]);
    }
    uint64_t wanted = SHARD_HEADER + (uint64_t)count * width;
    if (source->size != wanted)
        return ds_fail(DS_ERR_INPUT,
                       "%s: token count and file size disagree: %" PRId32
                       " tokens of %zu bytes after a header of %d bytes make "
                       "%" PRIu64 " bytes, the file has %" PRIu64,
                       DS_SHOW(path), count, width, SHARD_HEADER, wanted, source->size);
    *layout = (ds_token_layout){.offset = SHARD_HEADER, .count = (uint64_t)count, .width = width};
    return DS_OK;
}

/* In the order of ds_token_type. */
static const struct {
    const char *name, *meaning;
    size_t width;
    bool is_signed;
} types[] = {{NULL, "uint16", 2, false},
             {"u16", "uint16", 2, false},
             {"u32", "uint32", 4, false},
             {"i32", "int32", 4, true},
             {"i64", "int64", 8, true}};

ds_token_type ds_token_type_find(const char *word) {
    for (size_t i = 1; word != NULL && i < sizeof types / sizeof *types; i++) {
        if (strcmp(word, types[i].name) == 0) return (ds_token_type)i;
    }
    return DS_TOKENS_ANY;
}

const char *ds_token_type_name(ds_token_type type) { return types[type].name; }

/* Bytes beyond the last whole id are refused once it is known whether the file holds ids at all. */
static void raw_layout(ds_token_layout *layout, const ds_source *source, ds_token_type type) {
    *layout = (ds_token_layout){
        .count = source->size / types[type].width, .width = types[type].width, .is_signed = types[type].is_signed, .raw = true};
}

/* A file that says its own type is not to be read as another. */
static ds_status check_type(const ds_token_layout *layout, const ds_source *source, ds_token_type type) {
    if (type == DS_TOKENS_ANY || layout->raw) return DS_OK;
    if (layout->width == types[type].width && layout->is_signed == types[type].is_signed) return DS_OK;
    return ds_fail(DS_ERR_USAGE, "%s: its header says %sint%zu, but --token-type is %s: leave that out, it is for raw files",
                   DS_SHOW(source->path), layout->is_signed ? "" : "u", 8 * layout->width, types[type].name);
}

static bool ends_with(const char *text, const char *ending) {
    size_t length = strlen(text), tail = strlen(ending);
    return length >= tail && strcmp(text + length - tail, ending) == 0;
}

static uint32_t load_u32be(const uint8_t *b) {
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

/* By content first. Read as uint16, the shards' magic numbers would be ids above 55,000, beyond GPT-2's vocabulary. */
static ds_status find_layout(ds_token_layout *layout, const ds_source *source, ds_token_type type) {
    uint8_t front[DS_KIND_HEAD] = {0};
    const char *path = source->path;
    size_t known = source->size < sizeof front ? (size_t)source->size : sizeof front;
    ds_status status = ds_source_read(source, front, 0, known);
    if (status != DS_OK) return status;
    if (source->size == 0) return ds_fail(DS_ERR_INPUT, "%s: empty token file", DS_SHOW(path));
    if (memcmp(front, "\x93NUMPY", 6) == 0) return ds_npy_layout(layout, source);
    /* Four bytes are two ids: honest ones are those with a chance of 2^-32. Shorter signatures are none here. */
    const ds_kind kind = ds_kind_of(front, known);
    if (type == DS_TOKENS_ANY && kind.what != NULL && kind.evidence >= 4)
        return ds_fail(DS_ERR_INPUT, "%s: this is %s, expected token ids: %s; --token-type u16 reads it as ids all the same",
                       DS_SHOW(path), kind.what, kind.advice);
    if (ends_with(path, ".npy"))
        return ds_fail(DS_ERR_INPUT, "%s: does not start with \\x93NUMPY as a .npy file does", DS_SHOW(path));
    uint32_t magic = ds_load_u32le(front);
    if (magic == SHARD_MAGIC_U16) return shard_layout(layout, source, 2, 1);
    if (magic == SHARD_MAGIC_U32) return shard_layout(layout, source, 4, 7);
    if (magic == SHARD_MAGIC_EVAL)
        return ds_fail(DS_ERR_INPUT, "%s: unsupported token format: an evaluation file (magic %d), expected a token stream",
                       DS_SHOW(path), SHARD_MAGIC_EVAL);
    if (magic == MODEL_MAGIC || magic == MODEL_MAGIC + 1)
        return ds_fail(DS_ERR_INPUT, "%s: unsupported token format: a model file (magic %" PRIu32 "), expected a token stream",
                       DS_SHOW(path), magic);
    uint32_t swapped = load_u32be(front), version = load_u32be(front + 4);
    if ((swapped == SHARD_MAGIC_U16 && version == 1) || (swapped == SHARD_MAGIC_U32 && version == 7))
        return ds_fail(DS_ERR_INPUT, "%s: unsupported token format: a token shard written big-endian", DS_SHOW(path));
    raw_layout(layout, source, type);
    return DS_OK;
}

/* ---- ids --------------------------------------------------------------------------------------------------------- */

static uint64_t load_id(const uint8_t *bytes, size_t width, bool big_endian) {
    uint64_t value = 0;
    for (size_t i = 0; i < width; i++) value |= (uint64_t)bytes[big_endian ? width - 1 - i : i] << (8 * i);
    return value;
}

static ds_status outside_vocabulary(const ds_tokens *tokens, uint64_t id, uint64_t position) {
    return ds_fail(DS_ERR_INPUT, "%s: token %" PRIu64 " at position %" PRIu64 " >= vocab %" PRIu64, DS_SHOW(tokens->path), id,
                   position, tokens->vocab);
}

/* Checks `count` stored ids, of which the first is at `position`; ids may be NULL. */
static ds_status decode(const ds_tokens *tokens, uint32_t *ids, const uint8_t *bytes, uint64_t position, size_t count) {
    size_t width = tokens->layout.width, top_bit = 8 * width - 1;
    bool plain = width == 2 && !tokens->layout.big_endian, is_signed = tokens->layout.is_signed;
    for (size_t i = 0; i < count; i++, bytes += width) {
        uint64_t id = plain ? ds_load_u16le(bytes) : load_id(bytes, width, tokens->layout.big_endian);
        if (is_signed && (id >> top_bit) != 0) {
            int64_t negative = (int64_t)(id | -(UINT64_C(1) << top_bit));
            return ds_fail(DS_ERR_INPUT, "%s: token %" PRId64 " at position %" PRIu64 " is negative", DS_SHOW(tokens->path),
                           negative, position + i);
        }
        if (id >= tokens->vocab) return outside_vocabulary(tokens, id, position + i);
        if (ids != NULL) ids[i] = (uint32_t)id;
    }
    return DS_OK;
}

ds_status ds_tokens_read(ds_tokens *tokens, uint32_t *ids, uint64_t first, size_t count) {
    ds_status status = DS_OK;
    uint8_t *chunk = NULL;
    uint64_t total = tokens->layout.count;
    if (first > total || count > total - first)
        return ds_fail(DS_ERR_INPUT, "%s: too few tokens: %zu from position %" PRIu64 " on are asked for, there are %" PRIu64,
                       DS_SHOW(tokens->path), count, first, total);
    if (tokens->ids != NULL) {
        memcpy(ids, tokens->ids + first, count * sizeof *ids);
        return DS_OK;
    }
    size_t width = tokens->layout.width, step = CHUNK / width;
    DS_NEW_ARRAY(chunk, ds_min_size(count, step) * width);
    for (size_t at = 0; at < count; at += step) {
        size_t here = ds_min_size(step, count - at);
        DS_TRY(ds_source_read(&tokens->source, chunk, tokens->layout.offset + (first + at) * width, here * width));
        DS_TRY(decode(tokens, ids + at, chunk, first + at, here));
    }
    DS_TRY(ds_source_check_unchanged(&tokens->source)); /* or the digest would be that of other ids */
done:
    free(chunk);
    return status;
}

/* ---- opening: one pass over the file ----------------------------------------------------------------------------- */

/* What the whole of a raw file looks like. `status` is that of its ids: the file is refused when they are unusable, or when no
 * honest ids look so; its reader is warned when it is too short to tell. */
static ds_status judge(ds_tokens *tokens, const ds_token_evidence *evidence, ds_status ids) {
    const ds_token_layout *layout = &tokens->layout;
    const ds_token_guess guess = ds_token_guess_of(evidence, tokens->vocab);
    const char *path = tokens->path;
    const bool usable = ids == DS_OK && tokens->source.size % layout->width == 0;
    char found[2 * DS_NAME_CAPACITY];
    if (guess.like == NULL) return ids;
    if (guess.bits >= DS_TOKEN_CERTAIN || (ids == DS_OK && !usable))
        return ds_fail(DS_ERR_INPUT,
                       "%s: looks like %s, expected uint16 ids: %s; --token-type u16 reads it as uint16 all the same",
                       DS_SHOW(path), guess.like, guess.advice);
    if (usable)
        return ds_text_printf(&tokens->doubt, "looks like %s, though too short to tell, and is read as uint16: %s", guess.like,
                              guess.advice);
    (void)snprintf(found, sizeof found, "%s", ds_error_text());
    return ds_fail(ids, "%s; the file looks like %s: %s", found, guess.like, guess.advice);
}

/* Hashes the whole file and checks every id on the way, whether or not it will be asked for. */
static ds_status scan(ds_tokens *tokens, bool suspicious) {
    ds_status status = DS_OK, ids = DS_OK;
    ds_digest digest = {0};
    ds_token_evidence *evidence = NULL;
    uint8_t *chunk = NULL;
    const ds_token_layout *layout = &tokens->layout;
    uint64_t end = tokens->source.size;
    DS_NEW_ARRAY(chunk, CHUNK);
    if (suspicious) DS_NEW(evidence, 1);
    DS_TRY(ds_digest_init(&digest));
    for (uint64_t at = 0; at < end;) {
        uint64_t stop = at < layout->offset ? layout->offset : end; /* the header apart: then chunks hold whole ids */
        size_t here = stop - at < CHUNK ? (size_t)(stop - at) : CHUNK;
        DS_TRY(ds_source_read(&tokens->source, chunk, at, here));
        DS_TRY(ds_digest_update(&digest, chunk, here));
        if (at >= layout->offset && ids == DS_OK)
            ids = decode(tokens, NULL, chunk, (at - layout->offset) / layout->width, here / layout->width);
        if (suspicious) ds_token_evidence_add(evidence, chunk, here);
        if (!suspicious) DS_TRY(ids);
        at += here;
    }
    DS_TRY(ds_source_check_unchanged(&tokens->source));
    DS_TRY(ds_digest_final(&digest, tokens->sha256));
    if (suspicious) status = judge(tokens, evidence, ids);
done:
    ds_digest_release(&digest);
    free(evidence);
    free(chunk);
    return status;
}

/* An empty object: no file, no ids. Ids are kept as uint32, so a larger vocabulary bounds nothing more. */
static ds_status new_tokens(ds_tokens **out, const char *path, uint64_t vocab) {
    ds_status status = DS_OK;
    DS_NEW(*out, 1);
    (*out)->source.descriptor = -1;
    (*out)->vocab = vocab < UINT64_C(1) << 32 ? vocab : UINT64_C(1) << 32;
    (*out)->path = ds_strdup(path);
    if ((*out)->path == NULL) status = DS_ERR_SYSTEM;
done:
    return status;
}

/* A raw file ends with a whole id. */
static ds_status check_end(const ds_tokens *tokens, ds_token_type type) {
    if (!tokens->layout.raw || tokens->source.size % tokens->layout.width == 0) return DS_OK;
    return ds_fail(DS_ERR_INPUT, "%s: %" PRIu64 " bytes are not a whole number of %s token ids", DS_SHOW(tokens->path),
                   tokens->source.size, types[type].meaning);
}

ds_status ds_tokens_open(ds_tokens **out, const char *path, uint64_t vocab) {
    return ds_tokens_open_as(out, path, DS_TOKENS_ANY, vocab);
}

ds_status ds_tokens_open_as(ds_tokens **out, const char *path, ds_token_type type, uint64_t vocab) {
    ds_status status = DS_OK;
    ds_tokens *tokens = NULL;
    *out = NULL;
    DS_TRY(new_tokens(&tokens, path, vocab));
    DS_TRY(ds_source_open(&tokens->source, path));
    DS_TRY(find_layout(&tokens->layout, &tokens->source, type));
    DS_TRY(check_type(&tokens->layout, &tokens->source, type));
    if (tokens->layout.count == 0 && !tokens->layout.raw) {
        status = ds_fail(DS_ERR_INPUT, "%s: empty token file: no tokens after its header", DS_SHOW(path));
        goto done;
    }
    const bool suspicious = tokens->layout.raw && type == DS_TOKENS_ANY;
    if (!suspicious) DS_TRY(check_end(tokens, type));
    DS_TRY(scan(tokens, suspicious));
    DS_TRY(check_end(tokens, type));
done:
    if (status != DS_OK) ds_tokens_close(&tokens);
    *out = tokens;
    return status;
}

ds_status ds_tokens_from_string(ds_tokens **out, const char *text, size_t length, const char *where,
                                const ds_tokenizer *tokenizer, uint64_t vocab) {
    ds_status status = DS_OK;
    ds_tokens *tokens = NULL;
    ds_digest digest = {0};
    size_t count = 0;
    *out = NULL;
    DS_TRY(new_tokens(&tokens, where, vocab));
    DS_TRY(ds_digest_init(&digest));
    DS_TRY(ds_digest_update(&digest, text, length));
    DS_TRY(ds_digest_final(&digest, tokens->sha256));
    DS_TRY(ds_tokenizer_encode(tokenizer, &tokens->ids, &count, text, length, where));
    tokens->layout.count = count;
    for (size_t i = 0; i < count && status == DS_OK; i++) {
        if (tokens->ids[i] >= tokens->vocab) status = outside_vocabulary(tokens, tokens->ids[i], i);
    }
done:
    ds_digest_release(&digest);
    if (status != DS_OK) ds_tokens_close(&tokens);
    *out = tokens;
    return status;
}

ds_status ds_tokens_from_text(ds_tokens **out, const char *text_path, const ds_tokenizer *tokenizer, uint64_t vocab) {
    ds_status status = DS_OK;
    char *text = NULL;
    size_t length = 0;
    *out = NULL;
    DS_TRY(ds_read_file(&text, &length, text_path, MAX_TEXT));
    const ds_kind kind = ds_kind_of((const uint8_t *)text, ds_min_size(length, DS_KIND_HEAD));
    if (!kind.is_text) DS_TRY(ds_kind_refuse(text_path, text, length, "text"));
    DS_TRY(ds_tokens_from_string(out, text, length, text_path, tokenizer, vocab));
done:
    free(text);
    return status;
}

void ds_tokens_close(ds_tokens **tokens) {
    if (*tokens == NULL) return;
    ds_source_close(&(*tokens)->source);
    ds_text_release(&(*tokens)->doubt);
    free((*tokens)->ids);
    free((*tokens)->path);
    free(*tokens);
    *tokens = NULL;
}

const char *ds_tokens_path(const ds_tokens *tokens) { return tokens->path; }
const char *ds_tokens_doubt(const ds_tokens *tokens) { return tokens->doubt.bytes; }
const char *ds_tokens_sha256(const ds_tokens *tokens) { return tokens->sha256; }
uint64_t ds_tokens_count(const ds_tokens *tokens) { return tokens->layout.count; }
