/* Honest checkpoints drawn at random over every option of the model: variant, channels, taps, gates, values, shifts,
 * norms, activations, positions, multipliers, generation of names, element type, stored head; widths from 1, windows from
 * one token. */
#ifndef DELTASCOPE_TESTS_RANDOM_MODEL_H
#define DELTASCOPE_TESTS_RANDOM_MODEL_H

#include "deltascope/model.h"

typedef struct random_model {
    uint64_t seed;
    ds_spec spec;
    ds_dtype dtype;         /* of the weights stored */
    bool with_head;         /* the output head is stored as well */
    double gain;            /* of matrices, times 1 / sqrt(inputs) */
    double embedding;       /* deviation of the embedding */
    bool has_zeros;         /* one tensor is all zeros */
    bool same_tokens;       /* one token repeated */
    size_t length, windows; /* of the data */
    ds_precision precision; /* of a run */
} random_model;

/* The seed says all. */
void random_model_draw(random_model *m, uint64_t seed);
/* The same of a plain transformer: Qwen3, LLaMA, Qwen2, GPT-2 or nanoGPT with options of its own, as its class writes them. In
 * random_backbone.c. */
void random_backbone_draw(random_model *m, uint64_t seed);
void random_backbone_config(ds_text *text, const random_model *m);
/* Options that the model has, one line. */
const char *random_model_describe(const random_model *m);
/* config.json, model.safetensors and tokens.bin (windows * length + 1 ids of 16 bits) into a folder of the scratch space;
 * its path. */
const char *random_model_write(const random_model *m, const char *folder);

/* Draws `count` models from the seed on, and expects every check of verify to pass or skip: as many failures as models
 * have one. Prints seed and options of each that fails. */
size_t random_models_verify(uint64_t seed, size_t count);
size_t random_backbones_verify(uint64_t seed, size_t count);

#endif
