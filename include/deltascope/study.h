/* study: a plan (variants, seeds, one recipe) trained to completion, each run in a folder of its own.
 *
 * A cell is one variant under one seed. What a cell ends with is a function of the plan and the data alone: not of the order in
 * which cells ran, of interruptions, or of the number of threads. */
#ifndef DELTASCOPE_STUDY_H
#define DELTASCOPE_STUDY_H

#include <jansson.h>

#include "deltascope/model.h"
#include "deltascope/run.h"
#include "deltascope/train.h"

DS_BEGIN_DECLARATIONS

/* ---- plan -------------------------------------------------------------------------------------------------------- */

typedef struct ds_study_seed {
    uint64_t init, data; /* of initial weights; of batches, in place of the recipe's data_seed */
} ds_study_seed;

enum { DS_PLAN_VARIANTS = 64 }; /* at most */
typedef struct ds_study_variant {
    const char *name;   /* its folder's; borrowed from the plan */
    const char *kind;   /* as ds_spec_variant names it; borrowed */
    json_t *config;     /* borrowed, or the file's */
    bool config_is_own; /* read from a file */
    ds_recipe recipe;   /* the plan's with what the variant overrides; its data_seed is the seed's */
    ds_spec spec;
    size_t given_width; /* of the MLP, before totals of parameters were matched */
} ds_study_variant;

/* a - b of final losses, or (a - b) - (c - d). */
typedef struct ds_study_contrast {
    size_t a, b, c, d; /* variants; c and d SIZE_MAX: the plain difference */
} ds_study_contrast;

/* What ends a run: the recipe's number of updates, or as many as so much pays for. */
typedef enum ds_budget { DS_BUDGET_RECIPE, DS_BUDGET_TOKENS, DS_BUDGET_FLOPS, DS_BUDGET_SECONDS } ds_budget;
extern const char *const ds_budget_names[]; /* what is equal then: "tokens", "flops", "seconds" */

typedef struct ds_plan {
    json_t *given;   /* as the file has it */
    char sha256[65]; /* of the file */
    const char *name;
    const char *recipe_source;  /* who the recipe was tuned for, in the plan's words; NULL: it does not say */
    bool matched;               /* MLPs are so wide that totals of parameters agree */
    ds_study_variant *variants; /* (variant_count), in the plan's order */
    size_t variant_count;
    ds_study_seed *seeds; /* (seed_count), ascending; crossed: row-major */
    size_t seed_count;
    size_t rows, columns;       /* crossed: seeds of weights, of data; 0: both moved together */
    ds_study_seed *sweep_seeds; /* (sweep_seed_count): of a sweep of learning rates, none of them above; 0: no sweep */
    size_t sweep_seed_count;
    uint64_t sweep_points; /* rates that are tried at first */
    char *train, *val;     /* paths of token files */
    char train_sha256[65], val_sha256[65];
    uint64_t train_tokens, val_tokens;
    ds_recipe common; /* of all variants, before what they override */
    ds_precision precision;
    ds_initialisation which;
    ds_budget budget;
    double budget_amount;
    uint64_t evaluations;     /* at so many even distances, and before all updates */
    uint64_t saves;           /* checkpoints in the course of a run, at even distances */
    uint64_t audit_sequences; /* windows on which every trained model is measured; 0: no audit */
    uint64_t order_seed;      /* of the order in which cells run */
    ds_study_contrast *contrasts;
    size_t contrast_count, primary; /* SIZE_MAX: none */
    double margin;                  /* nats */
    bool has_noise_floor;           /* one cell is run once more with one weight moved by one unit in the last place */
    size_t noise_variant;
    ds_study_seed noise_seed;
} ds_plan;

/* Reads and checks a plan and what it names; paths in it start at its own folder. DS_ERR_INPUT names the key. */
ds_status ds_plan_read(ds_plan *plan, const char *path) DS_MUST_CHECK;
void ds_plan_release(ds_plan *plan);
/* Fixes the updates of a plan with a budget of seconds, before anything else is done with it: by the median of 20 updates of
 * each variant, thrown away again. Measured once: with `write` the folder keeps it (speed.json), and what it keeps is taken.
 * `where` names the plan in sentences. Other plans: nothing. */
ds_status ds_study_fix_seconds(ds_plan *plan, const ds_folder *folder, bool write, const char *where) DS_MUST_CHECK;

/* ---- cells ------------------------------------------------------------------------------------------------------- */

enum { DS_CELL_FOLDER = 160 };
typedef struct ds_cell {
    size_t variant;
    ds_study_seed seed;
    bool nudged;                 /* the noise floor's */
    char folder[DS_CELL_FOLDER]; /* below the study's */
} ds_cell;

/* *cells (count) <- every run of the plan, the noise floor's too, in the order they are started: shuffled by the plan's
 * order_seed, whatever order variants and seeds are written in. Free with free(). */
ds_status ds_plan_cells(ds_cell **cells, size_t *count, const ds_plan *plan) DS_MUST_CHECK;
/* What a cell trains by: the seed's recipe. */
ds_recipe ds_cell_recipe(const ds_plan *plan, const ds_cell *cell);
/* Updates between evaluations, and between checkpoints. */
uint64_t ds_plan_evaluate_every(const ds_plan *plan, const ds_recipe *recipe);
uint64_t ds_plan_save_every(const ds_plan *plan, const ds_recipe *recipe);

/* ---- running ----------------------------------------------------------------------------------------------------- */

typedef struct ds_study_options {
    const ds_folder *folder;     /* locked by the caller, by number 0 of several ranks; all see the same files */
    ds_ranks *ranks;             /* that share the runs, borrowed; NULL: this process alone */
    bool resume;                 /* go on with what lies there */
    const char *label;           /* in front of what the listener is told of a run; NULL: nothing */
    bool (*stop)(void *context); /* asked after every update: true saves a checkpoint and ends; may be NULL */
    void *context;
    ds_listener listener;
} ds_study_options;

typedef struct ds_study_progress {
    size_t cells, finished, diverged; /* diverged ones are finished too */
    bool stopped;
} ds_study_progress;

/* Runs every cell that is not finished, from its newest checkpoint. All that lies in the folder is looked at before anything
 * runs: a cell that was made by another recipe, configuration or data is DS_ERR_INPUT naming what differs; unfinished cells
 * without `resume` are DS_ERR_USAGE. A run that diverges is finished, and told as such. Of several ranks number 0 looks, each
 * takes the next run when it is free, and *progress is right on number 0; the next two share runs likewise. */
ds_status ds_study_run(ds_study_progress *progress, const ds_plan *plan, const ds_study_options *options) DS_MUST_CHECK;
/* Measures every finished run on the plan's windows, where that has not been done. *stopped: it was asked to stop before. */
ds_status ds_study_audit(bool *stopped, const ds_plan *plan, const ds_study_options *options) DS_MUST_CHECK;
/* Runs the sweep of the plan, wider until every variant's best rate has others on both sides, and then the test at each
 * variant's best; adds to *progress what it did. Nothing without a sweep. */
ds_status ds_study_tune(ds_study_progress *progress, const ds_plan *plan, const ds_study_options *options) DS_MUST_CHECK;
/* ds_study_run and ds_study_tune without running anything. */
ds_status ds_study_look(ds_study_progress *progress, const ds_plan *plan, const ds_folder *folder, bool resume) DS_MUST_CHECK;
/* *done <- what a finished cell says of its end, a new reference; NULL: not finished. */
ds_status ds_cell_done(json_t **done, const ds_folder *folder, const ds_cell *cell) DS_MUST_CHECK;

/* What may be asked of a study beside its plan; NaN: not asked. Nats. */
typedef struct ds_study_questions {
    double target; /* whether the mean final loss of a variant is below it */
    double effect; /* how many seeds would find a difference of that size, by the deviations seen */
} ds_study_questions;
/* *out <- study.json, a new reference: what the runs that are finished say, read from their logs and windows alone. Unfinished
 * ones are listed, and seeds that lack a run stand in no contrast. Equal folders give equal bytes but for "tool" and "machine";
 * folders of one plan but for seconds and load too. */
ds_status ds_study_report(json_t **out, const ds_plan *plan, const ds_folder *folder,
                          const ds_study_questions *questions) DS_MUST_CHECK;

/* What a study.json holds, looked at again: *told is what the file says of that, *found what it has to say, both new references
 * with the same keys in the same places; what the file lacks is missing in *told. The file may be anyone's: DS_ERR_INPUT where
 * it is no study.
 *   derive: statistics, computed from the runs' numbers that the file itself records. */
ds_status ds_study_derive(json_t **told, json_t **found, const json_t *study) DS_MUST_CHECK;
/*   reread: how every run ended, its curve and the digests of its weights, as they lie in the study's folder. Nothing is
 * trained. DS_ERR_INPUT where a run is missing or not what its own DONE says. */
ds_status ds_study_reread(json_t **told, json_t **found, const json_t *study, const ds_folder *folder) DS_MUST_CHECK;

/* ---- what it will cost ------------------------------------------------------------------------------------------- */

typedef struct ds_study_cost {
    size_t runs, left;
    double operations;           /* of updates, evaluations and audits of the runs that are left */
    double seconds, longest;     /* of those runs, and of the longest; NaN without speeds */
    double bytes, free_bytes;    /* on disk in the end; free there now */
    double memory, total_memory; /* of the largest cell's weights, gradient and moments; of the machine */
} ds_study_cost;
/* seconds (variants) <- the median of so many updates of each variant, thrown away again. */
ds_status ds_study_measure_speed(double *seconds, const ds_plan *plan, const ds_folder *folder, size_t updates) DS_MUST_CHECK;
/* speeds (variants): seconds of an update; NULL: not known. */
ds_status ds_study_estimate(ds_study_cost *cost, const ds_plan *plan, const ds_folder *folder,
                            const double *speeds) DS_MUST_CHECK;

DS_END_DECLARATIONS

#endif
