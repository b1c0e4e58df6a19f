/* Training checkpoints written by tests: a pickle put together piece by piece, with the tensors it mentions. */
#ifndef DELTASCOPE_TESTS_TORCH_FILE_H
#define DELTASCOPE_TESTS_TORCH_FILE_H

#include "deltascope/io.h"

/* Zero-initialise, begin, append pieces of the value, write. */
typedef struct torch_file {
    ds_text pickle;
    ds_text archive;
    ds_tensor_write tensors[512]; /* storage i is data/i */
    size_t count;
} torch_file;

void torch_begin(torch_file *file);
void torch_opcodes(torch_file *file, const char *bytes, size_t length);
#define TORCH_OPCODES(file, literal) torch_opcodes((file), (literal), sizeof(literal) - 1)
void torch_string(torch_file *file, const char *text);
void torch_int(torch_file *file, long long value);
/* A tensor, as torch.save writes it. */
void torch_tensor(torch_file *file, const ds_tensor_write *tensor);
/* A dict of them by name, each name with `prefix` in front. */
void torch_state(torch_file *file, const char *prefix, const ds_tensor_write *tensors, size_t count);
/* Ends the pickle and publishes the archive under `path`; releases. */
void torch_end(torch_file *file, const char *path);

#endif
