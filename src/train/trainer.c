/* One update after another, and evaluations between them, by one process or by ranks together. */
#include "trainer.h"

#include <stdlib.h>
#include <string.h>

/* Windows that go through the model at once hold about so many tokens, so that what they leave for the way back stays in the
 * cache; long windows come at least in twos, so that there is work for several threads. How the sums of gradients are taken
 * depends on the recipe alone, and memory does not grow with its batch. */
enum { TOKENS_AT_ONCE = 1024, LONG_TOKENS_AT_ONCE = 2048, LONG_WINDOWS_AT_ONCE = 4 };

/* ---- opening ----------------------------------------------------------------------------------------------------- */

static ds_status open_run(ds_trainer *t) {
    ds_status status = DS_OK;
    const ds_trainer_options *options = &t->options;
    const ds_run_options run = {.checkpoint = options->checkpoint,
                                .config = options->config,
                                .tokens = options->val,
                                .length = t->recipe.length,
                                .sequences = t->recipe.val_windows,
                                .spread = DS_SPREAD_CONSECUTIVE,
                                .histories = true,
                                .streams = true,
                                .precision = options->precision,
                                .ranks = options->ranks,
                                .listener = options->listener};
    DS_TRY(ds_run_open(&t->run, &run));
    DS_TRY(ds_control_parse(t->run.spec.trained, t->run.spec.rule, t->recipe.rule, "recipe: rule"));
    ds_model_set_control(t->run.model, t->run.spec.trained);
done:
    return status;
}

static ds_status open_tokens(ds_trainer *t) {
    ds_status status = DS_OK;
    DS_TRY(ds_tokens_open(&t->tokens, t->options.train, t->run.spec.vocab));
    uint64_t found = ds_tokens_count(t->tokens);
    if (found <= t->recipe.length)
        status = ds_fail(DS_ERR_INPUT, "%s: too few tokens: %llu, but a window of seq_len %llu and its last target need %llu",
                         DS_SHOW(t->options.train), (unsigned long long)found, (unsigned long long)t->recipe.length,
                         (unsigned long long)t->recipe.length + 1);
done:
    return status;
}

static int by_name(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

static ds_status list_untouched(ds_trainer *t) {
    ds_status status = DS_OK;
    const ds_model *model = t->run.model;
    const ds_tensor **unused = NULL;
    size_t unused_count, count = ds_model_parameters(model);
    DS_TRY(ds_model_unused(&unused, &unused_count, model, t->run.checkpoint));
    DS_NEW(t->untouched, count + unused_count);
    for (size_t i = 0; i < count; i++)
        if (!t->optimiser.reached[i]) t->untouched[t->untouched_count++] = ds_model_parameter(model, i)->name;
    for (size_t i = 0; i < unused_count; i++) t->untouched[t->untouched_count++] = unused[i]->name;
    qsort(t->untouched, t->untouched_count, sizeof *t->untouched, by_name);
done:
    free(unused);
    return status;
}

static ds_status keep_tensor(ds_tensor_write *other, ds_trainer *t, const ds_tensor *tensor) {
    ds_status status = DS_OK;
    size_t *shape = NULL;
    DS_NEW(shape, tensor->rank);
    for (size_t i = 0; i < tensor->rank; i++) shape[i] = (size_t)tensor->shape[i];
    *other = (ds_tensor_write){.name = tensor->name,
                               .precision = ds_model_precision(t->run.model),
                               .rank = tensor->rank,
                               .shape = shape,
                               .values = ds_alloc_array(tensor->count, ds_precision_size(ds_model_precision(t->run.model)))};
    if (other->values == NULL) status = DS_ERR_SYSTEM;
done:
    return status;
}

static ds_status keep_others(ds_trainer *t) {
    ds_status status = DS_OK;
    const ds_tensor **unused = NULL;
    ds_tensor_read *reads = NULL;
    size_t count = 0;
    DS_TRY(ds_model_unused(&unused, &count, t->run.model, t->run.checkpoint));
    DS_NEW(t->others, count);
    DS_NEW(reads, count);
    for (size_t i = 0; i < count; i++) {
        if (unused[i]->dtype == DS_DTYPE_OTHER) continue;
        DS_TRY(keep_tensor(&t->others[t->other_count++], t, unused[i]));
        reads[t->other_count - 1] = (ds_tensor_read){.tensor = unused[i],
                                                     .precision = ds_model_precision(t->run.model),
                                                     .destination = (void *)(uintptr_t)t->others[t->other_count - 1].values};
    }
    if (t->other_count > 0) DS_TRY(ds_checkpoint_read(t->run.checkpoint, reads, t->other_count));
    t->stores_head = !t->run.spec.own_head && ds_checkpoint_find(t->run.checkpoint, "lm_head.weight") != NULL;
done:
    free(reads);
    free(unused);
    return status;
}

size_t ds_windows_at_once(const ds_recipe *recipe) {
    size_t few = ds_min_size(LONG_WINDOWS_AT_ONCE, LONG_TOKENS_AT_ONCE / recipe->length);
    return ds_min_size(recipe->batch, ds_max_size(1, ds_max_size(few, TOKENS_AT_ONCE / recipe->length)));
}

ds_status ds_trainer_new(ds_trainer **out, const ds_trainer_options *options) {
    ds_status status = DS_OK;
    const ds_gradient_options gradient = {.parameters = true};
    ds_trainer *t = NULL;
    *out = NULL;
    DS_NEW(t, 1);
    t->options = *options;
    t->recipe = options->recipe;
    DS_TRY(open_run(t));
    DS_TRY(open_tokens(t));
    t->at_once = ds_windows_at_once(&t->recipe);
    DS_TRY(ds_gradient_new(&t->gradient, t->run.model, t->at_once, t->recipe.length, &gradient));
    DS_TRY(ds_optimiser_init(&t->optimiser, t->run.model, &t->recipe));
    DS_TRY(list_untouched(t));
    DS_TRY(keep_others(t));
    DS_NEW(t->inputs, t->at_once * t->recipe.length);
    DS_NEW(t->targets, t->at_once * t->recipe.length);
    DS_NEW(t->nll, t->at_once * t->recipe.length);
    DS_NEW(t->micro_loss, t->recipe.accumulation);
    DS_NEW(t->window_losses, t->run.sequences);
    *out = t;
    t = NULL;
done:
    ds_trainer_free(&t);
    return status;
}

void ds_trainer_free(ds_trainer **trainer) {
    ds_trainer *t = *trainer;
    if (t == NULL) return;
    ds_optimiser_release(&t->optimiser);
    ds_gradient_free(&t->gradient);
    ds_tokens_close(&t->tokens);
    ds_run_close(&t->run);
    for (size_t i = 0; i < t->other_count; i++) {
        free((void *)(uintptr_t)t->others[i].values);
        free((void *)(uintptr_t)t->others[i].shape);
    }
    free(t->others);
    free(t->untouched);
    free(t->inputs);
    free(t->targets);
    free(t->nll);
    free(t->micro_loss);
    free(t->window_losses);
    free(t->micro_gradients);
    free(t);
    *trainer = NULL;
}

uint64_t ds_trainer_step(const ds_trainer *trainer) { return trainer->step; }
const ds_tokens *ds_trainer_tokens(const ds_trainer *trainer) { return trainer->tokens; }
ds_run *ds_trainer_run(ds_trainer *trainer) { return &trainer->run; }
const double *ds_trainer_window_losses(const ds_trainer *trainer) { return trainer->window_losses; }
bool ds_trainer_diverged(const ds_trainer *trainer) { return trainer->diverged; }

ds_trainer_seconds ds_trainer_spent(const ds_trainer *trainer) {
    ds_trainer_seconds spent = {.windows = trainer->windows_seconds,
                                .norm = trainer->optimiser.norm_seconds,
                                .optimiser = trainer->optimiser.update_seconds};
    ds_gradient_seconds(trainer->gradient, &spent.forward, &spent.backward);
    return spent;
}

const char *const *ds_trainer_untouched(const ds_trainer *trainer, size_t *count) {
    *count = trainer->untouched_count;
    return trainer->untouched;
}

/* ---- an update --------------------------------------------------------------------------------------------------- */

static ds_status update(ds_update *done, ds_trainer *t) {
    ds_status status = DS_OK;
    *done = (ds_update){.step = t->step};
    DS_TRY(ds_micro_batches_sum(done, t));
    status = ds_optimiser_step(done, &t->optimiser, t->gradient);
    t->diverged = status == DS_ERR_INPUT;
    DS_TRY(status);
    t->step++;
done:
    if (status == DS_ERR_INPUT)
        status =
            ds_fail_prefix(status, "update %llu of %llu", (unsigned long long)done->step, (unsigned long long)t->recipe.steps);
    return status;
}

/* ---- evaluation -------------------------------------------------------------------------------------------------- */

typedef struct evaluation {
    ds_trainer *trainer;
    double *nll;  /* (batch, T) */
    double *mean; /* (batch): of each window of the batch in hand */
    double sum;   /* of the windows' means */
} evaluation;

static ds_status evaluate_batch(void *context, const ds_window_batch *now) {
    ds_status status = DS_OK;
    evaluation *all = context;
    DS_TRY(ds_forward(now->run->workspace, now->run->model, &now->batch, NULL, NULL, all->nll));
    for (size_t b = 0; b < now->batch.sequences; b++) {
        double window = 0;
        for (size_t i = 0; i < now->batch.length; i++) window += all->nll[b * now->batch.length + i];
        all->mean[b] = window / (double)now->batch.length;
    }
done:
    return status;
}

static void fill_mean(void *context, double *record, size_t row, size_t rows) {
    (void)rows;
    *record = ((const evaluation *)context)->mean[row];
}

static ds_status take_mean(void *context, size_t window, const double *record) {
    evaluation *all = context;
    all->trainer->window_losses[window] = *record;
    all->sum += *record;
    return DS_OK;
}

static ds_status evaluate(double *loss, ds_trainer *t) {
    ds_status status = DS_OK;
    evaluation all = {.trainer = t};
    const ds_window_pass pass = {.label = "validation",
                                 .batch = evaluate_batch,
                                 .record_length = 1,
                                 .fill = fill_mean,
                                 .take = take_mean,
                                 .context = &all};
    DS_NEW(all.nll, t->run.batch * t->run.length);
    DS_NEW(all.mean, t->run.batch);
    status = ds_run_windows(&t->run, &pass);
    t->diverged = status == DS_ERR_INPUT;
    DS_TRY(status);
    *loss = all.sum / (double)t->run.sequences;
done:
    free(all.nll);
    free(all.mean);
    return status;
}

/* ---- several ranks ----------------------------------------------------------------------------------------------- */

ds_status ds_trainer_tell(ds_trainer *t, ds_trainer_act act, uint64_t step) {
    ds_trainer_call call = {act, step};
    void *bytes = &call;
    size_t length = sizeof call;
    ds_ranks *ranks = t->run.options.ranks;
    return ds_ranks_count(ranks) == 1 || ds_ranks_number(ranks) > 0 ? DS_OK : ds_ranks_share(ranks, &bytes, &length);
}

ds_status ds_trainer_update(ds_update *done, ds_trainer *t) {
    ds_status status = DS_OK;
    DS_TRY(ds_trainer_tell(t, DS_ACT_UPDATE, 0));
    DS_TRY(update(done, t));
done:
    return status;
}

ds_status ds_trainer_evaluate(double *loss, ds_trainer *t) {
    ds_status status = DS_OK;
    DS_TRY(ds_trainer_tell(t, DS_ACT_EVALUATE, 0));
    DS_TRY(evaluate(loss, t));
done:
    return status;
}
