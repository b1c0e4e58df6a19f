/* train: a model changed by one update after another (TRAINING.md section 2), from a recipe that names every number.
 *
 * Weights, moments and sums of gradients have the same bits for any number of threads. All sums that decide an update are taken
 * in an order that the recipe and the shapes alone fix; batches are functions of (data seed, update, micro-batch, row). */
#ifndef DELTASCOPE_TRAIN_H
#define DELTASCOPE_TRAIN_H

#include <jansson.h>

#include "deltascope/gradient.h"
#include "deltascope/model.h"
#include "deltascope/run.h"

DS_BEGIN_DECLARATIONS

/* ---- recipe ------------------------------------------------------------------------------------------------------ */

typedef enum ds_window_order { DS_ORDER_CONSECUTIVE, DS_ORDER_SPLITMIX64 } ds_window_order;
typedef enum ds_warmup { DS_WARMUP_FROM_ZERO, DS_WARMUP_FROM_ONE } ds_warmup; /* t/w, (t+1)/(w+1) */
typedef enum ds_decay { DS_DECAY_RANK2, DS_DECAY_NOT_NORM, DS_DECAY_ALL } ds_decay;

/* Every number of a run. The members have the recipe's key names, but for `length` (seq_len) and those that are words there. */
typedef struct ds_recipe {
    char rule[48];                        /* as ds_control_parse takes it */
    uint64_t length, batch, accumulation; /* T, B windows in a micro-batch, A micro-batches in an update */
    uint64_t steps;                       /* updates */
    ds_window_order order;
    uint64_t data_seed;
    double learning_rate, min_learning_rate;
    uint64_t warmup_steps, decay_steps; /* w <= D */
    ds_warmup warmup;
    double beta1, beta2, eps, weight_decay;
    ds_decay decay; /* which tensors decay */
    double clip;    /* largest norm of an update's gradient; 0: any */
    double hidden_lr_multiplier, embedding_lr_multiplier;
    uint64_t val_windows;
} ds_recipe;

/* Reads the keys of `object`: each has to be there, within its range, and none beside them. `where` names it in sentences. */
ds_status ds_recipe_parse(ds_recipe *recipe, const json_t *object, const char *where) DS_MUST_CHECK;
/* The same of a file, after `count` settings "KEY=VALUE" have taken the place of what it says. */
ds_status ds_recipe_read(ds_recipe *recipe, const char *path, const char *const *settings, size_t count) DS_MUST_CHECK;
/* *out <- the object that reads back as this recipe: a new reference. */
ds_status ds_recipe_json(json_t **out, const ds_recipe *recipe) DS_MUST_CHECK;

/* lr(t) of update t = 0, 1, 2, ...: warm-up, then a cosine down to min_learning_rate at decay_steps. */
double ds_recipe_learning_rate(const ds_recipe *recipe, uint64_t update);
/* First token of window `row` of a micro-batch of an update, in a file of `tokens` > T tokens. */
uint64_t ds_recipe_window(const ds_recipe *recipe, uint64_t tokens, uint64_t update, uint64_t micro, uint64_t row);

/* ---- one update after another ------------------------------------------------------------------------------------ */

typedef struct ds_trainer_options {
    const char *checkpoint;  /* to start from: a model folder or a weight file */
    const char *config;      /* of a weight file; NULL: the one beside it */
    const char *train, *val; /* files of token ids */
    ds_precision precision;  /* of weights, moments and arithmetic */
    ds_recipe recipe;
    ds_listener listener;
    ds_ranks *ranks; /* that train together, borrowed: they share micro-batches and validation; NULL: this process alone */
} ds_trainer_options;

/* One update: its loss before it and what led to its size. */
typedef struct ds_update {
    uint64_t step; /* t = 0, 1, 2, ... */
    double learning_rate, loss, gradient_norm, clip_coefficient;
    const double *micro_loss; /* (accumulation), valid until the next update */
} ds_update;

typedef struct ds_trainer ds_trainer;
ds_status ds_trainer_new(ds_trainer **out, const ds_trainer_options *options) DS_MUST_CHECK;
void ds_trainer_free(ds_trainer **trainer); /* sets NULL; NULL is fine */
/* The next update. A loss or a norm that is not finite is DS_ERR_INPUT naming the update, and the weights stay as they were. */
ds_status ds_trainer_update(ds_update *done, ds_trainer *trainer) DS_MUST_CHECK;
/* *loss <- mean loss over the validation windows, by the weights as they are. */
ds_status ds_trainer_evaluate(double *loss, ds_trainer *trainer) DS_MUST_CHECK;
/* (val_windows) of the last evaluation, each window's mean loss; 0 before any. */
const double *ds_trainer_window_losses(const ds_trainer *trainer);
/* Whether what failed last failed by the run's own numbers: they are not finite, or the loss diverges. */
bool ds_trainer_diverged(const ds_trainer *trainer);

uint64_t ds_trainer_step(const ds_trainer *trainer); /* updates done */

/* Where the time of all updates so far went. */
typedef struct ds_trainer_seconds {
    double windows, forward, backward, norm, optimiser;
} ds_trainer_seconds;
ds_trainer_seconds ds_trainer_spent(const ds_trainer *trainer);
/* The run it was opened as, over the validation windows; its model is the one being trained. */
ds_run *ds_trainer_run(ds_trainer *trainer);
const ds_tokens *ds_trainer_tokens(const ds_trainer *trainer); /* to train on */
/* Tensors of the checkpoint that the loss does not depend on and no update touches: their names in bytewise order. */
const char *const *ds_trainer_untouched(const ds_trainer *trainer, size_t *count);

/* ---- AdamW on a model in memory ------------------------------------------------------------------------------------- */

typedef struct ds_optimiser ds_optimiser;
/* Borrows both. Moments start at 0. */
ds_status ds_optimiser_new(ds_optimiser **out, ds_model *model, const ds_recipe *recipe) DS_MUST_CHECK;
void ds_optimiser_free(ds_optimiser **optimiser); /* sets NULL; NULL is fine */
/* Update number done->step, of a loss of done->loss whose gradient is given: learning rate, norm, clipping, moments, weights. A
 * loss or a norm that is not finite is DS_ERR_INPUT, and all stays as it was. */
ds_status ds_optimiser_step(ds_update *done, ds_optimiser *optimiser, const ds_gradient *gradient) DS_MUST_CHECK;
/* Of parameter `index`, laid out and of the precision of its values; NULL: the loss does not depend on it. */
void *ds_optimiser_mean(const ds_optimiser *optimiser, size_t index);
void *ds_optimiser_square(const ds_optimiser *optimiser, size_t index);

/* ---- initial weights ----------------------------------------------------------------------------------------------- */

typedef struct ds_beginning {
    const char *config;  /* a configuration's path */
    const char *variant; /* as ds_spec_variant names it */
    ds_initialisation which;
    uint64_t seed;
    ds_precision precision;
    const ds_recipe *recipe;
    bool nudged;             /* one weight, the first that is not 0, is moved up by one unit in its last place */
    const char *train, *val; /* looked at first, so that nothing is made for a run that cannot be */
} ds_beginning;
/* The specification that a beginning gives; nothing is made. */
ds_status ds_beginning_spec(ds_spec *spec, const ds_beginning *beginning) DS_MUST_CHECK;
/* Makes checkpoint-0 of initial weights in the run's folder, or finds there the one made from the same. *path <- where it lies,
 * appended; *start <- what it was made from, a new reference, for ds_training_options. A folder that holds something else is
 * refused as ds_training_run does, and left as it is. */
ds_status ds_training_begin(ds_text *path, json_t **start, const ds_folder *folder, const ds_beginning *beginning,
                            bool resume) DS_MUST_CHECK;

/* ---- a run in a folder ------------------------------------------------------------------------------------------- */

/* How far a run has come when a checkpoint or an evaluation of it is there. */
typedef struct ds_training_mark {
    uint64_t first, step;                /* update that this process began with; updates done */
    bool evaluated;                      /* by the weights as they are; what is done with it is done before the log has it */
    double updates, evaluations, saving; /* seconds of this process */
} ds_training_mark;

/* DIR holds recipe.json; log.jsonl, an object a line for every update, evaluation and audit of gates; log.csv with the same
 * columns, and gates.csv; and folders checkpoint-N, N updates done, as CONTRACT.md has them. Their trainer_state.json is
 * written last and makes them complete. All bytes depend on the run alone: not on when it was interrupted and resumed. */
/* How it goes, after an update. */
typedef struct ds_training_progress {
    const ds_update *update;
    uint64_t done, updates;                          /* of the recipe's */
    double tokens_per_second, operations_per_second; /* of this process, all that it does counted */
    const double *curve;                             /* (curve_count) means of the losses of equal stretches so far */
    size_t curve_count;
} ds_training_progress;

typedef struct ds_training_options {
    const ds_folder *folder; /* locked by the caller */
    bool resume;             /* go on from the highest complete checkpoint, which has to be of this run */
    const json_t *start;     /* what tells where the weights come from, beside `checkpoint`; NULL: nothing more */
    uint64_t save;           /* a checkpoint every so many updates, and one at the end; 0: at the end alone */
    bool save_log2;          /* checkpoints 0, 1, 2, 4, ... 512, then every 1,000, instead */
    uint64_t keep;           /* how many of the newest are kept; 0: all */
    uint64_t evaluate;       /* an evaluation every so many updates, beside those at the two ends; 0: none */
    uint64_t audit;          /* gates are measured every so many updates, beside the two ends; 0: never */
    /* *gates <- what an audit logs of the run's gates, by the weights as they are: an array of objects, each with a
     * "name"; a new reference. */
    ds_status (*measure_gates)(json_t **gates, ds_run *run);
    bool llmc;                   /* main.log too, the lines of llm.c; a run that has one goes on writing it */
    bool (*stop)(void *context); /* asked after every update: true saves a checkpoint and ends; may be NULL */
    ds_status (*mark)(void *context, const ds_training_mark *mark); /* after every evaluation and checkpoint; may be NULL */
    /* What the trainer's listener is told as the label of its progress, valid until the next; NULL: in plain words. */
    const char *(*describe)(void *context, const ds_training_progress *now);
    void *context;
} ds_training_options;

/* Runs what is left of the recipe's updates. *results <- a new reference, {"untouched", "val_before", "val_after", "best",
 * "tokens_per_update", "clip", "spikes", "steps", "evaluations", "audits"}; NULL when it was stopped before the end. A folder
 * that holds another run, or without `resume` any, is refused (DS_ERR_INPUT, DS_ERR_USAGE) before anything is written. A loss
 * that diverges is DS_ERR_INPUT naming the update and the last good checkpoint, which is there. Where ranks train together all
 * come here with the same folder: number 0 decides and writes, the others have no results. */
ds_status ds_training_run(json_t **results, ds_trainer *trainer, const ds_training_options *options) DS_MUST_CHECK;
/* *results <- the same of a run in the folder that was stopped or diverged, as far as its log goes, "val_after" being that of
 * the last evaluation; NULL where it has done no update. */
ds_status ds_training_so_far(json_t **results, const ds_trainer *trainer, const ds_folder *folder) DS_MUST_CHECK;
/* What tells a training loss that diverges: the median of its last 21 values against the least that median has been.
 * Zero-initialise; one loss an update, in order. */
enum { DS_LOSS_SMOOTHED = 21 };
extern const double ds_loss_most_rise; /* nats */
typedef struct ds_loss_watch {
    double recent[DS_LOSS_SMOOTHED], least; /* least: of the median, once there is one */
    uint64_t seen, risen;                   /* losses; updates in succession whose median is further above the least */
} ds_loss_watch;
void ds_loss_watch_add(ds_loss_watch *watch, double loss);
/* *spikes <- of an array of updates {"step", "loss", ...} those whose loss is above the median of the 100 before by more than 8
 * scaled median deviations: {"step", "loss", "median", "deviation"} each, a new reference. */
ds_status ds_training_spikes(json_t **spikes, const json_t *steps) DS_MUST_CHECK;
/* Appends where two objects that say what a run is differ first: "its recipe.steps is 3, this OWNER's is 4". */
ds_status ds_training_difference(ds_text *clause, const json_t *theirs, const json_t *ours, const char *owner) DS_MUST_CHECK;
/* *results <- what the lines of a log.jsonl tell, of a run that may be at work, a last one that is cut left out: {"spikes",
 * "steps", "evaluations", "audits"}, a new reference. `where` names the file. */
ds_status ds_training_log_read(json_t **results, const char *bytes, size_t length, const char *where) DS_MUST_CHECK;
/* Updates after which a checkpoint is written, in order: the first at `done` or later. */
uint64_t ds_training_next_save(const ds_training_options *options, uint64_t steps, uint64_t done);

/* Appends which run a checkpoint (a folder or a weight file) comes from, as the trainer_state.json with it and the recipe.json
 * above tell, in whole sentences; nothing where there is no such state. */
ds_status ds_training_origin(ds_text *text, const char *checkpoint) DS_MUST_CHECK;

/* ---- what it will cost ------------------------------------------------------------------------------------------- */

typedef struct ds_training_cost {
    uint64_t parameters, updates, tokens;   /* tokens of all updates */
    double operations;                      /* floating-point ones of all updates: three forward passes a token */
    uint64_t checkpoints, checkpoint_bytes; /* that lie in the folder at most, each with weights and moments of what learns */
    uint64_t memory_bytes;                  /* of weights, gradient, the sum of micro-batches so far, moments of what learns */
    uint64_t activation_bytes;              /* of all else, of passes and of what they leave for the way back */
} ds_training_cost;
ds_status ds_training_estimate(ds_training_cost *cost, const ds_spec *spec, const ds_recipe *recipe, ds_precision precision,
                               const ds_training_options *options) DS_MUST_CHECK;

DS_END_DECLARATIONS

#endif
