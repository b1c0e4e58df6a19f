/* What `bench` times, all in one run, so that only ratios need be compared. */
#ifndef DELTASCOPE_BENCH_BENCH_H
#define DELTASCOPE_BENCH_BENCH_H

#include <stdio.h>

#include "deltascope/activity.h"
#include "deltascope/model.h"

/* An additive specification as ds_spec_reported gives it, on the backbone of that name ("ddl": as it is); and the config.json
 * of a bench model, spelt as a checkpoint would. */
void ds_bench_backbone(ds_spec *spec, const char *name);
void ds_bench_config(FILE *stream, const ds_spec *spec);

typedef struct ds_bench_forward {
    double seconds; /* one batch of one or more windows */
    size_t tokens;
    double operations; /* of the batch */
} ds_bench_forward;

/* The rate of a large cblas_sgemm with every set of kernels the BLAS has for this processor. */
typedef struct ds_bench_kernels_entry {
    const char *core_type;        /* what OPENBLAS_CORETYPE said; NULL: not set, the BLAS's own choice */
    char core[32];                /* the kernels it then used, by its own account */
    double operations_per_second; /* 2 n^3 over the best time */
} ds_bench_kernels_entry;
enum { DS_BENCH_CORE_TYPES = 5 };
typedef struct ds_bench_kernels {
    ds_bench_kernels_entry all[DS_BENCH_CORE_TYPES];
    size_t count;   /* the first is the BLAS's own choice; what the processor cannot run is left out */
    size_t fastest; /* index */
} ds_bench_kernels;
/* The BLAS settles on its kernels when it is loaded, so each set is timed in a process of its own: this program, asked for the
 * product alone, with no OPENBLAS_ variable but the core type. */
ds_status ds_bench_kernels_run(ds_bench_kernels *out, const char *size, size_t threads) DS_MUST_CHECK;
/* The word before MAX_THREADS in what OpenBLAS says of itself; "unknown" of another BLAS. */
void ds_bench_core_name(char *name, size_t capacity, const char *blas);

/* Times whole forward passes with loss over batches of `length` tokens: the median of several. */
ds_status ds_bench_forward_run(ds_bench_forward *out, const ds_model *model, size_t length) DS_MUST_CHECK;

/* The same with the backward pass: gradients of every parameter, path split off. Counts 3 x forward operations, whatever is
 * computed again. */
ds_status ds_bench_backward_run(ds_bench_forward *out, const ds_model *model, size_t length) DS_MUST_CHECK;

/* Whole updates by the trainer, over 2,048 tokens each or one longer window. */
enum { DS_BENCH_WINDOWS, DS_BENCH_FORWARD, DS_BENCH_BACKWARD, DS_BENCH_NORM, DS_BENCH_OPTIMISER, DS_BENCH_SHARES };
typedef struct ds_bench_training {
    ds_bench_forward fastest;       /* as the product's rate is its best; counts 3 x forward operations, as above */
    double median_seconds;          /* of an update */
    double processor_seconds;       /* of all threads together, on average: what else runs hardly counts */
    size_t updates;                 /* that were timed */
    double shares[DS_BENCH_SHARES]; /* of their time: what is left of 1 is bookkeeping */
    /* Of some more updates: seconds of all threads in one, by what they were at; NONE: they waited. */
    double profile[DS_ACTIVITIES];
} ds_bench_training;
ds_status ds_bench_training_run(ds_bench_training *out, const ds_model *model, size_t length) DS_MUST_CHECK;

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
/* Writes the model as safetensors into memory and loads it back from there. */
ds_status ds_bench_load_run(ds_bench_load *out, const ds_model *model) DS_MUST_CHECK;

#endif
