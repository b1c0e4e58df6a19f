/* Weights as the kernels want them, derived from the weights as stored (MODEL.md "Compressors"). Private to model. */
#ifndef DELTASCOPE_MODEL_FOLD_H
#define DELTASCOPE_MODEL_FOLD_H

#include <stddef.h>

/* taps (channels,kernel,hidden)[j][s][i] <- weight (hidden,channels,kernel)[i][j][s]. */
void ds_unfold_taps_f32(float *taps, const float *weight, size_t channels, size_t kernel, size_t hidden);
void ds_unfold_taps_f64(double *taps, const double *weight, size_t channels, size_t kernel, size_t hidden);

/* taps (channels,hidden)[v][i] <- w_eff[i,v] = sum_a read[a] weight[i, left+v-a], terms out of range absent;
 * weight (hidden,kernel), read (channels). Summed in double. */
void ds_fold_channels_f32(float *taps, const float *weight, const float *read, size_t channels, size_t kernel, size_t hidden,
                          size_t left);
void ds_fold_channels_f64(double *taps, const double *weight, const double *read, size_t channels, size_t kernel, size_t hidden,
                          size_t left);

/* dweight and dread gain what comes from the gradient dtaps (channels,hidden) of folded taps. */
void ds_fold_channels_backward_f32(float *dweight, float *dread, const double *dtaps, const float *weight, const float *read,
                                   size_t channels, size_t kernel, size_t hidden, size_t left);
void ds_fold_channels_backward_f64(double *dweight, double *dread, const double *dtaps, const double *weight,
                                   const double *read, size_t channels, size_t kernel, size_t hidden, size_t left);
/* dweight and dread gain what comes from products (channels,kernel,hidden), which times read[j] are the gradient of taps[j];
 * read NULL: they are the gradient itself, and there is no dread. */
void ds_unfold_taps_backward_f32(float *dweight, float *dread, const double *products, const float *taps, const float *read,
                                 size_t channels, size_t kernel, size_t hidden);
void ds_unfold_taps_backward_f64(double *dweight, double *dread, const double *products, const double *taps, const double *read,
                                 size_t channels, size_t kernel, size_t hidden);

/* Index of the first value that is NaN or infinite; `count` when all are finite. */
size_t ds_first_nonfinite_f32(const float *values, size_t count);
size_t ds_first_nonfinite_f64(const double *values, size_t count);

#endif
