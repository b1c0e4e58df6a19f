/* tokenize: text to token ids, stored as the raw little-endian uint16 that every other command reads, or as .npy. */
#include <inttypes.h>
#include <string.h>

#include "cli/command.h"
#include "deltascope/io.h"

enum { LARGEST_VOCAB = 1 << 16, CHUNK = 4096 };

typedef struct tokenize_options {
    const char *text, *tokenizer, *output;
    bool quiet;
} tokenize_options;

static const tokenize_options defaults = {0};

static const ds_option options[] = {
    {"text", "FILE", "the text, in UTF-8; - is standard input", DS_OPTION_TEXT, offsetof(tokenize_options, text), 0, NULL},
    {"tokenizer", "PATH", "a nanoGPT meta.pkl, a tokenizer.json, or a folder with one or with vocab.json and merges.txt",
     DS_OPTION_TEXT, offsetof(tokenize_options, tokenizer), 0, NULL},
    {"output", "FILE", "the token ids: raw little-endian uint16, or int32 in a name that ends in .npy", DS_OPTION_TEXT,
     offsetof(tokenize_options, output), 0, NULL},
    {"quiet", NULL, "do not print how many tokens were made", DS_OPTION_FLAG, offsetof(tokenize_options, quiet), 0, NULL},
};

static bool is_npy(const char *path) {
    size_t length = strlen(path);
    return length >= 4 && strcmp(path + length - 4, ".npy") == 0;
}

static ds_status write_ids(const char *path, ds_tokens *tokens) {
    ds_status status = DS_OK;
    ds_outfile *file = NULL;
    char header[DS_NPY_HEADER];
    uint64_t count = ds_tokens_count(tokens);
    size_t size = is_npy(path) ? 4 : 2;
    DS_TRY(ds_outfile_open(&file, path));
    if (size == 4) {
        DS_TRY(ds_npy_header(header, "<i4", count, NULL, 0));
        (void)fwrite(header, 1, sizeof header, ds_outfile_stream(file)); /* committing says why it failed */
    }
    for (uint64_t at = 0; at < count; at += CHUNK) {
        uint32_t ids[CHUNK];
        uint8_t stored[4 * CHUNK];
        size_t here = count - at < CHUNK ? (size_t)(count - at) : CHUNK;
        DS_TRY(ds_tokens_read(tokens, ids, at, here));
        for (size_t i = 0; i < here * size; i++) stored[i] = (uint8_t)(ids[i / size] >> 8 * (i % size));
        if (fwrite(stored, size, here, ds_outfile_stream(file)) != here) break;
    }
    DS_TRY(ds_outfile_commit(&file));
done:
    ds_outfile_discard(&file);
    return status;
}

static ds_status tokenize(const tokenize_options *own) {
    ds_status status = DS_OK;
    ds_tokenizer *tokenizer = NULL;
    ds_tokens *tokens = NULL;
    if (own->text == NULL || own->tokenizer == NULL || own->output == NULL)
        return ds_fail(DS_ERR_USAGE, "tokenize needs --text FILE, --tokenizer PATH and --output FILE");
    DS_TRY(ds_tokenizer_open(&tokenizer, own->tokenizer));
    uint64_t vocab = ds_tokenizer_vocab(tokenizer);
    if (vocab > LARGEST_VOCAB && !is_npy(own->output)) {
        status =
            ds_fail(DS_ERR_USAGE,
                    "%s: a vocabulary of %" PRIu64 " ids, and raw uint16 has room for %d: name an output that ends in .npy",
                    DS_SHOW(own->tokenizer), vocab, LARGEST_VOCAB);
        goto done;
    }
    DS_TRY(ds_tokens_from_text(&tokens, own->text, tokenizer, vocab));
    DS_TRY(write_ids(own->output, tokens));
    if (!own->quiet) (void)printf("%" PRIu64 " tokens of a vocabulary of %" PRIu64 "\n", ds_tokens_count(tokens), vocab);
done:
    ds_tokens_close(&tokens);
    ds_tokenizer_close(&tokenizer);
    return status;
}

static ds_status run_command(const ds_invocation *invocation) { return tokenize(invocation->own); }

const ds_command ds_command_tokenize = {
    .name = "tokenize",
    .operands = "",
    .summary = "Turn text into a file of token ids",
    .description =
        "Characters with a nanoGPT meta.pkl; byte-pair encoding, exact to the last byte, with GPT-2's vocab.json and "
        "merges.txt "
        "(or encoder.json and vocab.bpe), or with a tokenizer.json that cuts texts as GPT-2, LLaMA 3 or Qwen do; what else a "
        "tokenizer.json asks for is refused by name. Spellings of special tokens inside the text, such as <|endoftext|>, are "
        "ordinary text, and none is added. No checkpoint is needed.\n"
        "A vocabulary of more than 65,536 ids needs an output that ends in .npy.",
    .examples = "  deltascope tokenize --text input.txt --tokenizer gpt2/ --output input.bin\n"
                "  deltascope tokenize --text input.txt --tokenizer tokenizer.json --output input.npy\n"
                "  deltascope gates model/ --tokens input.bin\n",
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .defaults = &defaults,
    .own_size = sizeof defaults,
    .run = run_command,
};
