/* Private to the *.real.c sources of the forward pass: what they offer each other. */
#ifndef DELTASCOPE_MODEL_FORWARD_TILES_H
#define DELTASCOPE_MODEL_FORWARD_TILES_H

#include "deltascope/num.h"

#include "forward.h"

const REAL *REAL_NAME(ds_tile_compress)(REAL *x_in, const ds_pass *pass, ds_tile tile, const ds_taps *taps);
void REAL_NAME(ds_tile_enter)(const ds_pass *pass, ds_tile tile, REAL *context, REAL *gate_hidden, const REAL *x_in,
                              size_t half);
void REAL_NAME(ds_tile_shape_heads)(REAL *x, const ds_pass *pass, ds_tile tile, ds_activation activation, bool rotate,
                                    const ds_parameter *norm);
void REAL_NAME(ds_tile_finish_heads)(REAL *heads, const REAL *gate, const ds_pass *pass, ds_tile tile);
ds_status REAL_NAME(ds_tile_project)(void *context, size_t task, size_t worker);
ds_status REAL_NAME(ds_tile_shift)(void *context, size_t task, size_t worker);
ds_status REAL_NAME(ds_tile_attend)(void *context, size_t task, size_t worker);
ds_status REAL_NAME(ds_tile_compress_mlp)(void *context, size_t task, size_t worker);
ds_status REAL_NAME(ds_tile_mlp)(void *context, size_t task, size_t worker);

/* Logits (rows,columns) of vocabulary entries first .. first + columns - 1, scaled. */
void REAL_NAME(ds_logits_block)(REAL *logits, size_t ld, const ds_model *model, const REAL *hidden, size_t rows, size_t first,
                                size_t columns);
double REAL_NAME(ds_absorb_block)(ds_online *online, double *shrink, REAL *weights, const REAL *logits, size_t columns);
void REAL_NAME(ds_note_target)(ds_online *online, const REAL *logits, size_t target, size_t first, size_t columns);

#endif
