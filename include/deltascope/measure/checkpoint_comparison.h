/* Several checkpoints on the same windows: what each one's gates do, what its loss is, and what shutting each gate costs it, with
 * paired differences from the first. One model is held in memory at a time. */
#ifndef DELTASCOPE_MEASURE_CHECKPOINT_COMPARISON_H
#define DELTASCOPE_MEASURE_CHECKPOINT_COMPARISON_H

#include "deltascope/measure/ablation.h"
#include "deltascope/stats.h"
#include "deltascope/measure/gates.h"
#include "deltascope/report.h"
#include "deltascope/run.h"
#include "deltascope/stats.h"

typedef struct ds_compared {
    char *label, *path;
    char *warning; /* of the run that measured it; NULL: none */
    char sha256[65];
    ds_spec spec;
    uint64_t parameters;
    size_t sublayers;           /* S */
    double *loss;               /* (windows) intact */
    ds_gate_census census;      /* no sublayers when additive */
    ds_case_list cases;         /* closed, each sublayer alone: S of them; none when gates were not shut */
    double *closed;             /* (S, windows) */
    ds_paired difference;       /* of the loss, from the first checkpoint's; NaN for the first itself */
    double holm;                /* its p-value, adjusted over the checkpoints */
    ds_paired *cost;            /* (S): rise of the loss when a gate is shut */
    ds_paired *cost_difference; /* (S): of the cost, from the first checkpoint's; NaN where there is nothing to pair */
    double *cost_holm;          /* (S): adjusted over all sublayers of all checkpoints */
} ds_compared;

typedef struct ds_comparison {
    ds_compared *entries; /* (count), in the order given */
    size_t count, windows;
    bool shut;     /* whether gates are shut one at a time */
    double *x;     /* (count): the last number in each label when these increase, else 0, 1, 2 ... */
    bool numbered; /* x are those numbers */
} ds_comparison;

/* Looks at the `count` checkpoints without reading weights: their vocabularies must agree. `config` as for
 * ds_checkpoint_open, of all of them. `labels`, comma-separated, may be NULL:
 * as many last parts of each path as tell it from the others. */
ds_status ds_comparison_init(ds_comparison *comparison, const char *const *paths, size_t count, const char *config,
                             const char *labels, bool shut) DS_MUST_CHECK;
void ds_comparison_release(ds_comparison *comparison);
/* Measures what `run` has open as entry `index`; all with the same windows. */
ds_status ds_comparison_measure(ds_comparison *comparison, size_t index, ds_run *run, double regime_tol) DS_MUST_CHECK;
/* Intervals (bootstrap over windows, paired) and p-values of all differences, once everything is measured. */
ds_status ds_comparison_differences(ds_comparison *comparison, uint64_t seed) DS_MUST_CHECK;

#endif
