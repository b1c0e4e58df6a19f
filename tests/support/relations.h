/* What must hold between a file and what was read from it, whatever the bytes: the assertions of the fuzz targets. A relation
 * that does not hold ends the program with a sentence, which a fuzzing engine records as a finding. */
#ifndef DELTASCOPE_TESTS_RELATIONS_H
#define DELTASCOPE_TESTS_RELATIONS_H

#include "deltascope/io.h"

#define MUST(condition)                                                                                                        \
    do {                                                                                                                       \
        if (!(condition)) relation_broken(#condition, __FILE__, __LINE__);                                                     \
    } while (0)
_Noreturn void relation_broken(const char *condition, const char *file, int line);

/* A folder in memory, made on first use and removed at exit; `name` below it, valid until the end. */
const char *relation_path(const char *name);
/* Replaces the content of that file (name in memory, no temporary): the path. */
const char *relation_file(const char *name, const void *bytes, size_t length);

/* A refusal names a file of the folder or of fixtures/ in a sentence fit for a terminal; running out of memory is none of its
 * reasons. */
void refusal_is_a_sentence(ds_status status);

/* Tensors are in order, unique, found by name, within their file; their values are the same read in place, through a sink, and
 * written with ds_safetensors_write and read again. Tensors of more than 2^16 elements are left out. */
void checkpoint_is_consistent(ds_checkpoint *checkpoint);
/* Windows hold what the whole holds, and so does a raw file written from it. */
void tokens_are_consistent(ds_tokens *tokens);
/* The pieces of the ids of a text are the text, or the text in NFC; an encoder may refuse characters. */
void tokenizer_is_consistent(const ds_tokenizer *tokenizer, const char *text, size_t length);

#endif
