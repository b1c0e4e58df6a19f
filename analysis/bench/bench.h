/* What `bench` times, all in one run, so that only ratios need be compared. */
#ifndef DELTASCOPE_BENCH_BENCH_H
#define DELTASCOPE_BENCH_BENCH_H

#include "deltascope/model.h"

typedef struct ds_bench_forward {
    double seconds; /* one batch of one or more windows */
    size_t tokens;
    double operations; /* of the batch */
} ds_bench_forward;

/* Times whole forward passes with loss over batches of `length` tokens: the median of several. */
ds_status ds_bench_forward_run(ds_bench_forward *out, const ds_model *model, size_t length) DS_MUST_CHECK;

/* The same with the backward pass: gradients of every parameter, path split off. Counts 3 x forward operations, whatever is
 * computed again. */
ds_status ds_bench_backward_run(ds_bench_forward *out, const ds_model *model, size_t length) DS_MUST_CHECK;

typedef struct ds_bench_sweep {
    size_t cases;                 /* S: every sublayer closed alone */
    double forward_equivalents;   /* the sweep's time over that of one intact pass with loss, same windows */
    double operation_equivalents; /* what it would be were time in proportion to operations: the head is run for every case */
    double naive_equivalents;     /* the same had every case run from the start and recomputed the intact logits for its KL */
} ds_bench_sweep;
ds_status ds_bench_sweep_run(ds_bench_sweep *out, const ds_model *model, size_t length,
                             double forward_seconds_per_token) DS_MUST_CHECK;

typedef struct ds_bench_spectrum {      /* beyond the forward pass, all threads */
    double tokens_per_second;           /* statistics of the whole product: values, scalars, gains */
    double prefix_tokens_per_second;    /* the same at every prefix depth */
    double certified_tokens_per_second; /* proved enclosures of the whole product */
    double speedup_over_dense;          /* values, against building P and solving it d x d by LAPACK, one token, one thread */
    double max_difference;              /* largest difference of a singular value or eigenvalue between the two */
} ds_bench_spectrum;
ds_status ds_bench_spectrum_run(ds_bench_spectrum *out, const ds_spec *spec, uint64_t seed) DS_MUST_CHECK;

typedef struct ds_bench_load {
    double seconds, bytes;
} ds_bench_load;
/* Writes the model as safetensors into a temporary folder, loads it back and removes it. */
ds_status ds_bench_load_run(ds_bench_load *out, const ds_model *model) DS_MUST_CHECK;

#endif
