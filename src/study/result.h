/* What a run left, read again from its folder. Private to study. */
#ifndef DELTASCOPE_STUDY_RESULT_H
#define DELTASCOPE_STUDY_RESULT_H

#include "cell.h"

/* Losses in nats; what a run that diverged has no number for is NaN. */
typedef struct ds_cell_result {
    ds_cell cell;
    bool finished, diverged;
    json_t *done;   /* what DONE says; NULL: not finished */
    json_t *spikes; /* as ds_training_spikes tells them */
    uint64_t updates, diverged_at;
    char reason[512]; /* why it diverged; "" */
    double *training; /* (updates) loss of each update */
    size_t points;    /* evaluations */
    uint64_t *steps;  /* (points) updates done before each */
    double *losses;   /* (points) */
    double *seconds;  /* (points) of updates until then; NaN where the file of times does not say */
    double *windows;  /* (window_count) last losses; NULL for none */
    size_t window_count;
    double initial, final, tail, best;
    uint64_t best_update;
    double update_seconds, evaluation_seconds, saving_seconds;
    double loads[3]; /* least, mean and largest load average */
} ds_cell_result;

/* What lies in the folder of out->cell, whatever plan it is of; the rest of *out is zeroed. `planned`: updates at its end.
 * `windows`: of validation. */
ds_status ds_cell_result_take(ds_cell_result *out, uint64_t planned, uint64_t windows, const ds_folder *study) DS_MUST_CHECK;
void ds_cell_result_release(ds_cell_result *result);

/* All runs of a plan: of variant v under seed s at [v * seed_count + s], the noise floor's behind them. */
typedef struct ds_study_results {
    const ds_plan *plan;
    const ds_folder *folder;
    ds_cell_result *runs;
    size_t count;
    ds_study_questions questions;
} ds_study_results;
ds_status ds_study_results_read(ds_study_results *out, const ds_plan *plan, const ds_folder *folder) DS_MUST_CHECK;
void ds_study_results_release(ds_study_results *results);
const ds_cell_result *ds_study_result_of(const ds_study_results *results, size_t variant, size_t seed);

/* Operations of one token in training: three times those of a forward pass, the state's traffic among them. */
double ds_study_flops_per_token(const ds_study_variant *variant);
extern const char ds_study_flops_formula[];

void ds_study_put_seed(ds_json_builder *b, const char *key, ds_study_seed seed);
/* [low, high], or null where there is none. */
void ds_study_put_interval(ds_json_builder *b, const char *key, double low, double high);

/* Parts of study.json, each a member of the object that is open. */
ds_status ds_study_put_matching(ds_json_builder *b, const ds_study_results *results) DS_MUST_CHECK;
ds_status ds_study_put_contrasts(ds_json_builder *b, const ds_study_results *results) DS_MUST_CHECK;
ds_status ds_study_put_curves(ds_json_builder *b, const ds_study_results *results) DS_MUST_CHECK;
ds_status ds_study_put_to_target(ds_json_builder *b, const ds_study_results *results) DS_MUST_CHECK;
/* Null where the plan has no audit; measures that no run has yet are left out. */
ds_status ds_study_put_audit(ds_json_builder *b, const ds_study_results *results) DS_MUST_CHECK;
/* One-sided t tests of every variant's final losses against a target; NaN: nothing. */
ds_status ds_study_put_target(ds_json_builder *b, const ds_study_results *results, double loss) DS_MUST_CHECK;
/* How many seeds find an effect of so many nats, where differences vary by `sd`; NaN: nothing. */
void ds_study_put_power(ds_json_builder *b, double sd, double effect);
/* How contrasts are judged: as pairs, or by seeds that are crossed. */
typedef struct ds_study_judging {
    size_t rows, columns; /* seeds of weights, of data; 0: both moved together */
    double margin;        /* nats */
    uint64_t seed;        /* of drawn sign patterns */
} ds_study_judging;
ds_status ds_study_compare(ds_contrast *out, const double *a, const double *b, size_t n,
                           const ds_study_judging *how) DS_MUST_CHECK;

/* Statistics as study.json has them, made from runs and again from the file (derive.c): members of the object that is open.
 * seed_variance: where seeds are crossed, how much of the variance of n final losses either makes. */
void ds_study_put_split(ds_json_builder *b, size_t rows, size_t columns, const double *finals, size_t n);
void ds_study_put_target_test(ds_json_builder *b, const char *variant, const ds_target_test *test);
void ds_study_put_audit_contrast(ds_json_builder *b, const char *measure, const ds_contrast *judged);
/* How a finished run ended and what it left, but for what its plan says of it. */
void ds_study_put_end(ds_json_builder *b, const ds_cell_result *run);
/* *out <- of `value` what `shape` has too, down to its leaves: a new reference. */
ds_status ds_study_select(json_t **out, const json_t *value, const json_t *shape) DS_MUST_CHECK;

/* Final losses of a variant at every rate of a sweep. */
typedef struct ds_sweep_losses {
    const double *grid, *losses, *initial; /* (points); (seeds, stride), NaN of a run that diverged; (seeds) */
    size_t points, seeds, stride;
    bool complete;   /* every run is finished */
    double *scratch; /* (points) */
} ds_sweep_losses;
/* best, within_0_01, sensitivity: members of the object that is open. */
void ds_study_put_sweep(ds_json_builder *b, const ds_sweep_losses *of);
/* sweeps, and tuned once all its runs are finished; nothing without a sweep. */
ds_status ds_study_put_sweeps(ds_json_builder *b, const ds_study_results *results) DS_MUST_CHECK;
/* Calls visit with the plan of every rate of a sweep, then with that of the test at each variant's best, and the folder of
 * each; NULL where there is none yet. Rates that a sweep may still need are not among them. */
typedef ds_status (*ds_study_visit)(void *context, const ds_plan *plan, const ds_folder *folder);
ds_status ds_study_each_rate(const ds_plan *plan, const ds_folder *folder, ds_study_visit visit, void *context) DS_MUST_CHECK;

/* batch_digests: SHA-256 of the starts of all windows of the first `steps` updates, in order, as little-endian uint64, one at
 * each evaluation: each digest is of the one before and the starts since. batch_digest: the last. */
ds_status ds_study_put_batches(ds_json_builder *b, const ds_plan *plan, const ds_cell *cell, uint64_t steps) DS_MUST_CHECK;

#endif
