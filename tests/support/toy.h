/* Checkpoints made by a test: the parameters of a small random model, changed as the test wishes, written to a folder. */
#ifndef DELTASCOPE_TESTS_TOY_H
#define DELTASCOPE_TESTS_TOY_H

#include "deltascope/model.h"

enum { TOY_MOST_TENSORS = 128 };

/* vocab 11, two layers, two heads of 6, hidden 10; `variant` as ds_spec_variant names it, with three channels. */
ds_spec toy_spec(const char *variant);

typedef struct toy_checkpoint {
    ds_model *model;
    ds_tensor_write tensors[TOY_MOST_TENSORS]; /* views of the model's parameters; change them before toy_open */
    size_t count;
} toy_checkpoint;
void toy_make(toy_checkpoint *toy, const ds_spec *spec, ds_precision precision, uint64_t seed);
void toy_release(toy_checkpoint *toy);
ds_tensor_write *toy_find(toy_checkpoint *toy, const char *name); /* fails the test when absent */
void toy_remove(toy_checkpoint *toy, const char *name);

/* Writes config.json for the model's specification, with `keys` (", \"key\": value ...", or "") after its own, and
 * model.safetensors; opens them. Later keys may not repeat earlier ones: `without` names one to leave out, or is NULL. */
ds_checkpoint *toy_open(const toy_checkpoint *toy, const char *without, const char *keys);

#endif
