/* io: checkpoints, configurations, token files and tokenizers. Every reader assumes that an enemy wrote the file.
 *
 * Opening parses and checks structure only (headers, directories, pickles): no tensor data is read before the caller has
 * compared shapes with what the model expects. Reading is then one pass over each file, front to back, that hashes, checks
 * (crc32 of zip records) and converts. All failures are DS_ERR_INPUT with a sentence naming the file, or DS_ERR_SYSTEM. */
#ifndef DELTASCOPE_IO_H
#define DELTASCOPE_IO_H

#include <jansson.h>

#include "deltascope/base.h"

DS_BEGIN_DECLARATIONS

/* ---- JSON from strangers ----------------------------------------------------------------------------------------- */

/* Parses exactly one JSON value (surrounding white space allowed). Stricter than RFC 8259 leaves open: well-formed UTF-8,
 * no duplicate keys (after unescaping), no NaN or infinity, no number beyond double or int64_t, no NUL in names or strings,
 * nesting at most 100, a tree of at most 512 MiB (estimated before parsing), nothing after the value. `where` names the file
 * (or "FILE: header") in the sentence. *out is a new reference. */
ds_status ds_json_parse(json_t **out, const char *bytes, size_t length, const char *where) DS_MUST_CHECK;
/* Reads a whole regular file of at most `limit` bytes (a larger one is an error) into memory; *bytes is NUL-terminated
 * beyond `length` and freed with free(). */
ds_status ds_read_file(char **bytes, size_t *length, const char *path, uint64_t limit) DS_MUST_CHECK;
/* The same below a folder, where no link is followed; folder NULL: as ds_read_file. */
ds_status ds_read_file_in(char **bytes, size_t *length, const ds_folder *folder, const char *path,
                          uint64_t limit) DS_MUST_CHECK;

/* ---- checkpoints ------------------------------------------------------------------------------------------------- */

enum { DS_MAX_RANK = 8 };

/* Element types as stored. Only the four floating ones can be read; the others are listed for `inspect`. */
typedef enum ds_dtype {
    DS_DTYPE_F32,
    DS_DTYPE_F64,
    DS_DTYPE_F16,
    DS_DTYPE_BF16,  /* readable */
    DS_DTYPE_OTHER, /* known to the format, not readable: see dtype_name */
} ds_dtype;

/* A number x is stored with an error of at most relative |x| + absolute: the unit roundoff, and half the distance of the
 * smallest numbers. Those of F32 where the type cannot be read. */
typedef struct ds_rounding {
    double relative, absolute;
} ds_rounding;
ds_rounding ds_dtype_rounding(ds_dtype dtype);

/* One tensor of a checkpoint. Views into the checkpoint: valid until ds_checkpoint_close. */
typedef struct ds_tensor {
    const char *name;        /* without what wrappers ("module.", "_orig_mod.") and enclosing modules ("net.") add */
    const char *stored_name; /* as in the file */
    const char *file;        /* path of the file that holds it, for messages */
    const char *record;      /* zip record ("data/20"), or "" */
    const char *dtype_name;  /* the format-neutral spelling: "F32", "BF16", "I64", ... */
    ds_dtype dtype;
    size_t rank;
    uint64_t shape[DS_MAX_RANK];
    int64_t stride[DS_MAX_RANK]; /* in elements, >= 0; row-major contiguous for safetensors */
    uint64_t count;              /* product of shape */
    size_t file_index;           /* 0 .. ds_checkpoint_files - 1 */
    uint64_t offset;             /* byte offset in the file of element [0,...,0] */
    uint64_t extent;             /* elements from the first to the last addressed one, inclusive; 0 when count is 0 */
} ds_tensor;

typedef struct ds_checkpoint ds_checkpoint;

/* Opens a model directory or one weight file (MODEL.md "How checkpoints arrive"; in a folder the first of model.safetensors,
 * model.safetensors.index.json, pytorch_model.bin, pytorch_model.bin.index.json and ckpt.pt is the checkpoint, or else the only
 * weight file). `config_path` may be NULL for a directory (its config.json) and for a training checkpoint or weight file with a
 * config.json beside it; otherwise the configuration within a training checkpoint is taken, and a missing one is an error.
 * Checked: everything of FORMATS section 6. Where a file has a usual name, that says which format is expected; any other is
 * known by its content. Limits: safetensors header 32 MiB (280,000 tensors), shard index 32 MiB and 512 shards, configuration
 * 4 MiB. A shard index's total_size is informational and not compared. Dtypes beyond the four are listed; reading such a tensor
 * fails. A path that leads nowhere or to no regular file is DS_ERR_INPUT, one that may not be read DS_ERR_SYSTEM. */
ds_status ds_checkpoint_open(ds_checkpoint **out, const char *path, const char *config_path) DS_MUST_CHECK;
typedef struct ds_checkpoint_options {
    const char *config;   /* path of the configuration, or NULL */
    const char *map;      /* path of a map from the names in the file to ours (src/io/README.md "Maps"), or NULL */
    bool config_optional; /* that there is none is no error: ds_checkpoint_config is NULL then */
} ds_checkpoint_options;
ds_status ds_checkpoint_open_with(ds_checkpoint **out, const char *path, const ds_checkpoint_options *options) DS_MUST_CHECK;
/* One file of tensors that are not a model's: without a configuration, and no common prefix is taken off their names. */
ds_status ds_tensors_open(ds_checkpoint **out, const char *path) DS_MUST_CHECK;
void ds_checkpoint_close(ds_checkpoint **checkpoint); /* sets NULL; NULL is fine */

const char *ds_checkpoint_path(const ds_checkpoint *checkpoint);   /* as given by the caller */
const char *ds_checkpoint_format(const ds_checkpoint *checkpoint); /* "safetensors", "sharded safetensors", "torch zip", ... */
const char *ds_checkpoint_config_path(const ds_checkpoint *checkpoint); /* for messages */
const char *ds_checkpoint_map_path(const ds_checkpoint *checkpoint);    /* NULL: none was given */
const char *ds_checkpoint_map_sha256(const ds_checkpoint *checkpoint);  /* of the map's file; NULL likewise */
/* What in a training checkpoint may be configurations, by the entry, the likeliest first; NULL in other files. */
const json_t *ds_checkpoint_entries(const ds_checkpoint *checkpoint);
/* The entry of a training checkpoint ("model_args") that the configuration is; NULL: it is a file. */
const char *ds_checkpoint_config_entry(const ds_checkpoint *checkpoint);
const json_t *ds_checkpoint_config(const ds_checkpoint *checkpoint);    /* the parsed configuration: an object */
size_t ds_checkpoint_files(const ds_checkpoint *checkpoint);
const char *ds_checkpoint_file(const ds_checkpoint *checkpoint, size_t index); /* path */

/* Tensors in order of name (bytewise). */
size_t ds_checkpoint_count(const ds_checkpoint *checkpoint);
const ds_tensor *ds_checkpoint_tensor(const ds_checkpoint *checkpoint, size_t index);
const ds_tensor *ds_checkpoint_find(const ds_checkpoint *checkpoint, const char *name); /* NULL when absent; O(log n) */

/* Where one tensor's values go, row-major, converted to `precision`. Either `destination` (count elements, written in place:
 * an F32 tensor read as DS_F32 is not copied a second time) or `sink`, called with consecutive chunks in element order. */
typedef struct ds_tensor_read {
    const ds_tensor *tensor;
    ds_precision precision;
    void *destination;
    ds_status (*sink)(void *context, const void *values, uint64_t first, size_t count);
    void *context;
} ds_tensor_read;

/* Reads the wanted tensors in one pass over every file, front to back, hashing all of it. Tensors that share storage (tied
 * heads) are each delivered. Reading with count 0 only hashes. May be called once more for other tensors. Scratch memory is
 * bounded: a few MiB, and a copy of each wanted tensor that is not contiguous. */
ds_status ds_checkpoint_read(ds_checkpoint *checkpoint, const ds_tensor_read *reads, size_t count) DS_MUST_CHECK;

/* SHA-256 of `count` bytes as 64 hexadecimal digits. */
ds_status ds_sha256(char digits[65], const void *bytes, size_t count) DS_MUST_CHECK;
/* The same of a regular file of at most `limit` bytes. */
ds_status ds_sha256_file(char digits[65], const ds_folder *folder, const char *path, uint64_t limit) DS_MUST_CHECK;

/* CRC-32 (zlib's) of bytes that arrive in pieces: start with 0. */
uint32_t ds_crc32(uint32_t crc, const void *bytes, size_t count);

/* The bytes of all weight files together. */
uint64_t ds_checkpoint_bytes(const ds_checkpoint *checkpoint);

/* 64 hexadecimal digits, after ds_checkpoint_read. One file: its SHA-256, as `sha256sum` prints. Shards: the SHA-256 of the
 * lines "<digest>  <file name>\n" in order of file name, as `sha256sum SHARDS | sha256sum` prints from inside the folder. */
const char *ds_checkpoint_sha256(const ds_checkpoint *checkpoint);
const char *ds_checkpoint_file_sha256(const ds_checkpoint *checkpoint, size_t index);

/* One tensor to write, row-major. */
typedef struct ds_tensor_write {
    const char *name;
    ds_precision precision; /* stored as F32 or F64 */
    size_t rank;
    const size_t *shape; /* (rank) */
    const void *values;
} ds_tensor_write;
/* Writes a safetensors file, whole or not at all: tensors in the order given, header padded to a multiple of 8 bytes. */
ds_status ds_safetensors_write(const char *path, const ds_tensor_write *tensors, size_t count) DS_MUST_CHECK;
/* The same into an open stream, from where it stands; a failed write is the stream's to remember (ferror). */
ds_status ds_safetensors_write_to(FILE *stream, const ds_tensor_write *tensors, size_t count) DS_MUST_CHECK;

/* ---- tokens ------------------------------------------------------------------------------------------------------ */

/* Token ids behind one interface: raw, llm.c shard or .npy (FORMATS section 4), or ids made from text. */
typedef struct ds_tokens ds_tokens;

/* How a raw file stores its ids, little-endian. Nothing in such a file says so: by default it is uint16, and refused when its
 * bytes betray something else. */
typedef enum ds_token_type { DS_TOKENS_ANY, DS_TOKENS_U16, DS_TOKENS_U32, DS_TOKENS_I32, DS_TOKENS_I64 } ds_token_type;
/* "u16", "u32", "i32", "i64"; DS_TOKENS_ANY for NULL and for another word. */
ds_token_type ds_token_type_find(const char *word);
const char *ds_token_type_name(ds_token_type type); /* NULL for DS_TOKENS_ANY */

/* Opening is one pass over the file: it hashes it and checks every id, so that one that is negative or >= vocab is refused by
 * its position (counted from 0) whether or not it will be asked for. A file without ids is refused. What is then read comes
 * from the file again, window by window; nothing of its size is kept in memory. */
ds_status ds_tokens_open(ds_tokens **out, const char *path, uint64_t vocab) DS_MUST_CHECK;
/* The same of a file whose ids are of `type`, whatever its bytes look like. A shard or .npy says its own type: that another was
 * asked for is DS_ERR_USAGE. */
ds_status ds_tokens_open_as(ds_tokens **out, const char *path, ds_token_type type, uint64_t vocab) DS_MUST_CHECK;
/* What a raw file looks like that has too few bytes to tell, as a clause ("every second id is 0, as in ..."); NULL: nothing. */
const char *ds_tokens_doubt(const ds_tokens *tokens);
void ds_tokens_close(ds_tokens **tokens); /* sets NULL; NULL is fine */
const char *ds_tokens_path(const ds_tokens *tokens);
const char *ds_tokens_sha256(const ds_tokens *tokens); /* of the file as stored (for text: of the text), 64 digits */
uint64_t ds_tokens_count(const ds_tokens *tokens);
/* ids[0 .. count) <- ids first .. first + count - 1. Asking beyond the end, or of a file that has changed since, is an
 * error. */
ds_status ds_tokens_read(ds_tokens *tokens, uint32_t *ids, uint64_t first, size_t count) DS_MUST_CHECK;

/* ---- tokenizers -------------------------------------------------------------------------------------------------- */

typedef struct ds_tokenizer ds_tokenizer;
/* `path`: a nanoGPT meta.pkl (characters); or byte-pair encoding: a tokenizer.json (GPT-2's, LLaMA-3's or Qwen's way of cutting
 * texts), or a folder with one, with vocab.json and merges.txt, or with encoder.json and vocab.bpe. What a tokenizer.json asks
 * for beyond that is DS_ERR_INPUT by name. */
ds_status ds_tokenizer_open(ds_tokenizer **out, const char *path) DS_MUST_CHECK;
void ds_tokenizer_close(ds_tokenizer **tokenizer); /* sets NULL; NULL is fine */
uint64_t ds_tokenizer_vocab(const ds_tokenizer *tokenizer);
/* Encodes UTF-8 text; *ids is freed with free(). Special-token spellings are ordinary text. A character that has no id,
 * or malformed UTF-8, is an error naming `where` and the place: byte, line and column. */
ds_status ds_tokenizer_encode(const ds_tokenizer *tokenizer, uint32_t **ids, size_t *count, const char *text, size_t length,
                              const char *where) DS_MUST_CHECK;
/* The bytes one id stands for (not always well-formed UTF-8 alone); NULL when the id does not exist. */
const char *ds_tokenizer_piece(const ds_tokenizer *tokenizer, uint32_t id, size_t *length);
/* Appends one token as a word without white space or control characters. Spaces, line ends and tabs are visible (as symbols, or
 * with `unicode` false as _, \n, \t); bytes that are not whole characters (a byte-pair piece may end within one), control
 * and direction characters, and without `unicode` everything beyond ASCII are \xNN. An id the tokenizer does not know, and
 * every id without a tokenizer (NULL), is "#ID". */
ds_status ds_token_label(ds_text *text, const ds_tokenizer *tokenizer, uint32_t id, bool unicode) DS_MUST_CHECK;
/* Tokens of a text file of at most 2 GiB through a tokenizer, kept in memory; ids are bounded by vocab as in ds_tokens_open,
 * but there may be none. */
ds_status ds_tokens_from_text(ds_tokens **out, const char *text_path, const ds_tokenizer *tokenizer,
                              uint64_t vocab) DS_MUST_CHECK;
/* The same of a text in memory, which is not kept; `where` stands for its path. */
ds_status ds_tokens_from_string(ds_tokens **out, const char *text, size_t length, const char *where,
                                const ds_tokenizer *tokenizer, uint64_t vocab) DS_MUST_CHECK;

/* ---- building JSON ----------------------------------------------------------------------------------------------- */

enum { DS_JSON_DEPTH = 16 };

/* Grows one JSON value. Zero-initialise; begin with ds_json_begin_object(b, NULL) (or _array). Inside an object every call
 * names a key, inside an array the key is NULL. The first failure (DS_ERR_SYSTEM) is kept and later calls do nothing. */
typedef struct ds_json_builder {
    json_t *open[DS_JSON_DEPTH]; /* open[0] is the root; the builder owns it, it owns the rest */
    size_t depth;
    ds_status status;
} ds_json_builder;

void ds_json_begin_object(ds_json_builder *b, const char *key);
void ds_json_begin_array(ds_json_builder *b, const char *key);
void ds_json_end(ds_json_builder *b); /* closes the innermost object or array */
/* Takes over one reference to `value`; NULL means that making it failed. */
void ds_json_put(ds_json_builder *b, const char *key, json_t *value);
void ds_json_put_real(ds_json_builder *b, const char *key, double value); /* null for NaN and infinities */
void ds_json_put_count(ds_json_builder *b, const char *key, uint64_t value);
void ds_json_put_bool(ds_json_builder *b, const char *key, bool value);
void ds_json_put_text(ds_json_builder *b, const char *key, const char *text); /* NULL: null; broken UTF-8 is escaped */
void ds_json_put_reals(ds_json_builder *b, const char *key, const double *values, size_t count);
void ds_json_put_counts(ds_json_builder *b, const char *key, const uint64_t *values, size_t count);
/* *out <- the finished value (a new reference), or NULL and the first failure. The builder is empty again in both cases. */
ds_status ds_json_finish(json_t **out, ds_json_builder *b) DS_MUST_CHECK;
void ds_json_discard(ds_json_builder *b);

/* A deep copy, or NULL when out of memory: jansson's own is then silently without what there was no memory for. */
json_t *ds_json_copy(const json_t *value);
json_t *ds_json_number(double value); /* a new reference: null for NaN and infinities; NULL when out of memory */

/* What a path like "beta/quantiles/0.05" or "delta_loss_ci95/0" leads to, keys and indices separated by slashes; NULL for
 * nothing. */
const json_t *ds_json_at(const json_t *value, const char *path);
double ds_json_real_at(const json_t *value, const char *path); /* NaN where no number is found */

/* ---- writing JSON ------------------------------------------------------------------------------------------------ */

/* READABLE: two-space indentation, short lists on one line, keys in the order of insertion. CANONICAL: no white space, keys
 * sorted bytewise: equal contents give equal bytes, those of Python's json.dumps(value, sort_keys=True, separators=(",", ":"),
 * ensure_ascii=False) in UTF-8. Both: every real number is the shortest decimal that reads back as the same double, always with
 * a point or an exponent. READABLE escapes hidden characters (ds_is_hidden) as \uNNNN. */
typedef enum ds_json_style { DS_JSON_READABLE, DS_JSON_CANONICAL } ds_json_style;
ds_status ds_json_print(ds_text *text, const json_t *value, ds_json_style style) DS_MUST_CHECK; /* appends */
/* With a final newline. */
ds_status ds_json_write(const char *path, const json_t *value, ds_json_style style) DS_MUST_CHECK;
ds_status ds_json_write_in(const ds_folder *folder, const char *path, const json_t *value,
                           ds_json_style style) DS_MUST_CHECK;
/* The shortest decimal that reads back as `value`, as Python's repr spells it but for the ".0" of a whole number; "nan", "inf",
 * "-inf" otherwise. In at least 32 bytes. Returns `text`. */
char *ds_format_real(char text[32], double value);

/* ---- npz archives ------------------------------------------------------------------------------------------------ */

/* numpy.load's archive of named arrays, stored, zip64 where needed, equal contents giving equal bytes. Rows are appended to any
 * array at any time and wait in unlinked temporary files, so that memory does not grow with them. */
typedef struct ds_npz ds_npz;
ds_status ds_npz_open(ds_npz **out, const char *path) DS_MUST_CHECK;
/* Declares an array of shape (rows, trailing[0], ..., trailing[rank - 1]); dtype is numpy's little-endian spelling: "<f8",
 * "<f4", "<u4", "<i8", "|u1", ..., or "<U7" for texts of at most 7 characters. Indices count up from 0. */
ds_status ds_npz_array(ds_npz *npz, size_t *index, const char *name, const char *dtype, const size_t *trailing,
                       size_t rank) DS_MUST_CHECK;
/* Appends `rows` rows, row-major, host byte order; a character of a text is its code point in 32 bits, 0 fills up. */
ds_status ds_npz_append(ds_npz *npz, size_t index, const void *values, size_t rows) DS_MUST_CHECK;
ds_status ds_npz_commit(ds_npz **npz) DS_MUST_CHECK; /* frees and sets NULL, also on failure */
void ds_npz_discard(ds_npz **npz);                   /* leaves what was there before; NULL is fine */
/* The front of an .npy file (format version 1.0) of such an array, at most 6 trailing extents; its rows follow. */
enum { DS_NPY_HEADER = 256 };
ds_status ds_npy_header(char header[DS_NPY_HEADER], const char *dtype, uint64_t rows, const size_t *trailing,
                        size_t rank) DS_MUST_CHECK;

/* This room's part of ds_process_hooks (run.h): jansson's allocator notes failures. */
void ds_io_hooks(void);
/* Appends "NAME VERSION" lines of the libraries this room runs with. */
ds_status ds_io_libraries(ds_text *text) DS_MUST_CHECK;

DS_END_DECLARATIONS

#endif
