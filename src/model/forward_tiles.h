/* Private to the *.real.c sources of the forward pass: what they offer each other. */
#ifndef DELTASCOPE_MODEL_FORWARD_TILES_H
#define DELTASCOPE_MODEL_FORWARD_TILES_H

#include "deltascope/num.h"

#include "forward.h"

const REAL *REAL_NAME(ds_tile_compress)(REAL *x_in, const ds_pass *pass, ds_tile tile, const ds_taps *taps);
ds_status REAL_NAME(ds_tile_project)(void *context, size_t task, size_t worker);
ds_status REAL_NAME(ds_tile_shift)(void *context, size_t task, size_t worker);
ds_status REAL_NAME(ds_tile_attend)(void *context, size_t task, size_t worker);
ds_status REAL_NAME(ds_tile_compress_mlp)(void *context, size_t task, size_t worker);
ds_status REAL_NAME(ds_tile_mlp)(void *context, size_t task, size_t worker);

#endif
