/* Tiny models of every variant, written as a configuration and a safetensors file: what fuzz targets and fault tests break. */
#ifndef DELTASCOPE_TESTS_TINY_H
#define DELTASCOPE_TESTS_TINY_H

#include "deltascope/model.h"

enum { TINY_VARIANTS = 6, TINY_VOCAB = 16 };
extern const char *const tiny_variants[TINY_VARIANTS];

/* 2 layers, 2 heads of 4, d = 8, dv = 2, V = 16, at initialisation. */
ds_spec tiny_spec(const char *variant);
/* The configuration that describes it; a static string. */
const char *tiny_config(const char *variant);
/* Writes the weights (float32). */
ds_status tiny_write(const char *path, const char *variant) DS_MUST_CHECK;

#endif
