/* Several checkpoints on the same windows: what each one's gates do, what its loss is, and what shutting each gate costs it,
 * with paired differences from the first (CONTRACT "compare"). One model is held in memory at a time. */
#ifndef DELTASCOPE_MEASURE_CHECKPOINT_COMPARISON_H
#define DELTASCOPE_MEASURE_CHECKPOINT_COMPARISON_H

#include <jansson.h>

#include "deltascope/measure/ablation.h"
#include "deltascope/measure/gates.h"
#include "deltascope/run.h"
#include "deltascope/stats.h"

DS_BEGIN_DECLARATIONS

struct ds_comparison;

typedef struct ds_compare_options {
    const char *const *checkpoints; /* (count) paths, at least two */
    size_t count;
    const char *labels; /* comma separated, one a checkpoint; NULL: as many last parts of a path as tell it from the others */
    const char *shut;   /* "each": every gate alone; "none" */
    double regime_tolerance; /* how near 0, 1 and 2 a gate must be to count as identity, projection and reflection */
    bool gradients;          /* how large a gradient reaches each state */
    bool rules;              /* what rules are compared by, of each checkpoint (rule_measures.h) */
    bool trajectory;         /* steps of one training run, sorted by the last number of each label: figures draw curves */
    /* Called with each run once it is open, before it is measured, last checkpoint first; may be NULL. */
    void (*opened)(void *context, const ds_run *run);
    void *context;
    /* Whether these belong together: asked once all structures are known (`index` is their count), and again when a checkpoint
     * is open and its digest known. What it refuses is refused. May be NULL. */
    ds_status (*accept)(const void *context, const struct ds_comparison *comparison, size_t index);
    const void *accept_context;
} ds_compare_options;
extern const ds_compare_options ds_compare_defaults;

/* Of a checkpoint's gates over all its sublayers and tokens; NaN without gates. */
typedef struct ds_overall_gates {
    double beta, edit, shares[DS_REGIME_COUNT];
} ds_overall_gates;
ds_overall_gates ds_overall_gates_of(const ds_gate_census *census);

typedef struct ds_compared {
    char *label, *path;
    json_t *warnings; /* of the run that measured it; NULL: none */
    char sha256[65];
    ds_spec spec;
    uint64_t parameters;
    size_t sublayers;           /* S */
    double *loss;               /* (windows) intact */
    ds_gate_census census;      /* no sublayers when additive */
    double *state_gradient;     /* (S+1) |dloss/dX_s| over all windows; NULL: not measured */
    ds_case_list cases;         /* closed, each sublayer alone: S of them; none when gates were not shut */
    double *closed;             /* (S, windows) */
    ds_paired difference;       /* of the loss, from the first checkpoint's; NaN for the first itself */
    double holm;                /* its p-value, adjusted over the checkpoints */
    ds_paired *cost;            /* (S): rise of the loss when a gate is shut */
    ds_paired *cost_difference; /* (S): of the cost, from the first checkpoint's; NaN where there is nothing to pair */
    double *cost_holm;          /* (S): adjusted over all sublayers of all checkpoints */
    json_t *rules;              /* or NULL */
} ds_compared;

typedef struct ds_comparison {
    size_t cost_hypotheses; /* differences of costs that are judged together */
    ds_compared *entries; /* (count), in the order given, those of a trajectory in that of their steps */
    size_t count, windows;
    bool shut;       /* whether gates are shut one at a time */
    bool gradients;  /* whether gradients were measured */
    bool trajectory; /* as in the options */
    double *x;       /* (count): the last number in each label when these increase, else 0, 1, 2 ... */
    bool numbered;   /* x are those numbers */
    bool sorted;     /* a trajectory was given in another order */
} ds_comparison;

/* Opens every checkpoint as `base` says (its own `checkpoint` is not looked at) and measures it; length 0 is the first one's
 * block size. Before weights are read, structures are looked at: vocabularies must agree. Windows are resampled by the
 * seed of `base`.
 *
 * *first <- the run of the first checkpoint, still open, whose envelope is that of the comparison; closed by the caller, also
 * after a failure. */
ds_status ds_compare_measure(ds_comparison *out, ds_run *first, const ds_run_options *base,
                             const ds_compare_options *options) DS_MUST_CHECK;
void ds_compare_release(ds_comparison *comparison);
/* CONTRACT's results of `compare`; a new reference. */
ds_status ds_compare_json(json_t **results, ds_comparison *comparison) DS_MUST_CHECK;
/* The options as the program writes them; a new reference. */
ds_status ds_compare_options_json(json_t **out, const ds_run_options *base, const ds_compare_options *options) DS_MUST_CHECK;
/* Measures, and tells options and results as the program writes them; new references. */
ds_status ds_compare_results(json_t **options_json, json_t **results, ds_run *first, const ds_run_options *base,
                             const ds_compare_options *options) DS_MUST_CHECK;

DS_END_DECLARATIONS

#endif
