/* What a sublayer, or the readout, reads of an expanded state: TC and CC compressors (MODEL.md "Compressors"). */
#include "tiles.h"

#include "fold.h"

const REAL *REAL_NAME(ds_compress_forward)(REAL *x_in, const void *state, const ds_pass *pass, ds_tile tile) {
    const ds_spec *spec = &pass->model->spec;
    const ds_taps *taps = ds_pass_taps(pass);
    size_t d = spec->hidden, dv = spec->value_channels, rows = tile.rows, kernel = spec->state_kernel;
    const REAL *first = (const REAL *)state + tile.token * dv * d;
    if (spec->compressor == DS_COMPRESS_NONE) return first;
    if (spec->compressor == DS_COMPRESS_CC)
        REAL_NAME(ds_compress_cc_forward)(x_in, first, taps->taps, rows, d, dv);
    else
        REAL_NAME(ds_compress_tc_forward)(x_in, first, taps->taps, VALUES(taps->read), tile.first, rows, d, dv, kernel);
    return x_in;
}

void REAL_NAME(ds_compress_backward)(REAL *dstate, const void *dx_in, const ds_pass *pass, size_t token, size_t future) {
    const ds_spec *spec = &pass->model->spec;
    const ds_taps *taps = ds_pass_taps(pass);
    size_t d = spec->hidden, dv = spec->value_channels;
    const REAL *row = (const REAL *)dx_in + token * d;
    if (spec->compressor == DS_COMPRESS_NONE)
        for (size_t i = 0; i < d; i++) dstate[i] += row[i];
    else if (spec->compressor == DS_COMPRESS_CC)
        REAL_NAME(ds_compress_cc_backward)(dstate, row, taps->taps, 1, d, dv);
    else
        REAL_NAME(ds_compress_tc_backward)
    (dstate, row, taps->taps, VALUES(taps->read), future, 1, d, dv, spec->state_kernel);
}

void REAL_NAME(ds_compress_sums)(const ds_derivative *b, ds_tile tile) {
    const ds_spec *spec = &b->pass.model->spec;
    size_t d = spec->hidden, dv = spec->value_channels;
    double *partial = ds_partial_at(b, tile, b->gradient->layout.taps);
    if (partial == NULL || spec->compressor == DS_COMPRESS_NONE) return;
    const REAL *dx_in = ROWS(b->gradient->dx_in, tile, d), *state = ROWS(b->pass.state, tile, dv * d);
    if (spec->compressor == DS_COMPRESS_CC)
        REAL_NAME(ds_compress_cc_taps_backward)(partial, dx_in, state, tile.rows, d, dv);
    else
        REAL_NAME(ds_compress_tc_taps_backward)(partial, dx_in, state, tile.first, tile.rows, d, dv, spec->state_kernel);
}

/* From the gradient of the taps as kernels want them to that of the weights as stored. */
static void taps_parameters(ds_derivative *b, const ds_taps *taps, size_t kernel, bool folded, size_t left) {
    const ds_spec *spec = &b->pass.model->spec;
    size_t d = spec->hidden, dv = spec->value_channels;
    if (taps->weight == NULL) return;
    REAL *dweight = REAL_NAME(ds_gradient_of)(b, taps->weight);
    REAL *dread = taps->read != NULL ? REAL_NAME(ds_gradient_of)(b, taps->read) : NULL;
    const REAL *read = taps->read != NULL ? VALUES(taps->read) : NULL;
    const double *sums = REAL_NAME(ds_tile_sums)(b, b->gradient->layout.taps, folded ? dv * d : dv * kernel * d);
    if (folded)
        REAL_NAME(ds_fold_channels_backward)(dweight, dread, sums, VALUES(taps->weight), read, dv, kernel, d, left);
    else
        REAL_NAME(ds_unfold_taps_backward)(dweight, dread, sums, taps->taps, read, dv, kernel, d);
}

void REAL_NAME(ds_compress_parameters)(ds_derivative *b) {
    const ds_spec *spec = &b->pass.model->spec;
    size_t kernel = spec->state_kernel, left = spec->state_kernel_causal ? kernel - 1 : (kernel - 1) / 2;
    taps_parameters(b, ds_pass_taps(&b->pass), kernel, spec->compressor == DS_COMPRESS_CC, left);
}

void REAL_NAME(ds_input_taps_parameters)(ds_derivative *b) {
    taps_parameters(b, &b->pass.model->input, b->pass.model->spec.input_kernel, false, 0);
}

double REAL_NAME(ds_compress_own_tap)(const ds_pass *pass, size_t channel, size_t feature) {
    const ds_spec *spec = &pass->model->spec;
    const ds_taps *taps = ds_pass_taps(pass);
    size_t kernel = spec->compressor == DS_COMPRESS_TC ? spec->state_kernel : 1;
    if (spec->compressor == DS_COMPRESS_NONE) return 1;
    double tap = (double)((const REAL *)taps->taps)[(channel * kernel + kernel - 1) * spec->hidden + feature];
    return spec->compressor == DS_COMPRESS_TC ? tap * (double)VALUES(taps->read)[channel] : tap;
}
