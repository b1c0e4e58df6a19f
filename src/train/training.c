/* A run in its folder: begun or taken up, then updates, evaluations and checkpoints until the recipe's end. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint.h"
#include "curve.h"
#include "history.h"
#include "log.h"

/* A run has diverged when its smoothed loss stays too far above its least for as many updates as it is smoothed over, or for a
 * twentieth of its updates where that is more; and when a loss is so many times what a uniform guess costs. */
enum { TIMES_UNIFORM = 10 };

typedef struct training {
    ds_trainer *trainer;
    const ds_training_options *options;
    json_t *identity; /* what the run is known by */
    ds_train_log log;
    bool pruned;    /* since the newest checkpoint */
    uint64_t saved; /* N of the newest checkpoint; UINT64_MAX: none */
    ds_loss_watch watch;
    ds_loss_curve curve;
    double began; /* seconds */
    ds_training_mark mark;
    char line[96]; /* progress */
} training;

/* ---- which run it is --------------------------------------------------------------------------------------------- */

static ds_status identify(training *all) {
    ds_status status = DS_OK;
    const ds_trainer *t = all->trainer;
    json_t *recipe = NULL;
    ds_json_builder b = {0};
    DS_TRY(ds_recipe_json(&recipe, &t->recipe));
    ds_json_begin_object(&b, NULL);
    ds_json_put(&b, "recipe", recipe);
    ds_json_put_text(&b, "precision", ds_model_precision(t->run.model) == DS_F64 ? "double" : "float");
    ds_json_put_text(&b, "train_sha256", ds_tokens_sha256(t->tokens));
    ds_json_put_text(&b, "val_sha256", ds_tokens_sha256(t->run.tokens));
    ds_json_put_text(&b, "from_sha256", ds_checkpoint_sha256(t->run.checkpoint));
    ds_json_put(&b, "from_config", ds_json_copy(ds_checkpoint_config(t->run.checkpoint)));
    if (all->options->start != NULL) ds_json_put(&b, "start", ds_json_copy(all->options->start));
    ds_json_put_count(&b, "evaluate", all->options->evaluate);
    if (all->options->audit > 0) ds_json_put_count(&b, "audit", all->options->audit);
    ds_json_end(&b);
    DS_TRY(ds_json_finish(&all->identity, &b));
done:
    return status;
}

/* The first key in which two objects differ, its path appended to `path`; *theirs and *ours end there (NULL: absent). */
static ds_status find_difference(ds_text *path, const json_t **theirs, const json_t **ours) {
    ds_status status = DS_OK;
    while (json_is_object(*theirs) && json_is_object(*ours)) {
        const char *key, *found = NULL;
        json_t *value;
        json_object_foreach((json_t *)(uintptr_t)*ours, key, value) {
            if (found == NULL && !json_equal(value, json_object_get(*theirs, key))) found = key;
        }
        json_object_foreach((json_t *)(uintptr_t)*theirs, key, value) {
            if (found == NULL && json_object_get(*ours, key) == NULL) found = key;
        }
        if (found == NULL) break;
        DS_TRY(ds_text_printf(path, "%s%s", path->length == 0 ? "" : ".", DS_SHOW(found)));
        *theirs = json_object_get(*theirs, found);
        *ours = json_object_get(*ours, found);
    }
done:
    return status;
}

static ds_status append_value(ds_text *text, const json_t *value) {
    ds_status status = DS_OK;
    ds_text printed = {0};
    if (value == NULL) return ds_text_printf(text, "absent");
    DS_TRY(ds_json_print(&printed, value, DS_JSON_CANONICAL));
    DS_TRY(ds_text_printf(text, "%s", DS_SHOW(printed.bytes)));
done:
    ds_text_release(&printed);
    return status;
}

ds_status ds_training_difference(ds_text *clause, const json_t *theirs, const json_t *ours, const char *owner) {
    ds_status status = DS_OK;
    ds_text path = {0};
    DS_TRY(find_difference(&path, &theirs, &ours));
    DS_TRY(ds_text_printf(clause, "its %s is ", path.length == 0 ? "state" : path.bytes));
    DS_TRY(append_value(clause, theirs));
    DS_TRY(ds_text_printf(clause, ", this %s's is ", owner));
    DS_TRY(append_value(clause, ours));
done:
    ds_text_release(&path);
    return status;
}

static ds_status refuse_other(const training *all, uint64_t step, const json_t *theirs) {
    ds_status status = DS_OK;
    ds_text clause = {0};
    DS_TRY(ds_training_difference(&clause, theirs, all->identity, "run"));
    status = ds_fail(DS_ERR_INPUT,
                     "%s/checkpoint-%llu is of another run: %s; choose another folder, or go on with what that run was started "
                     "with",
                     DS_SHOW(ds_folder_path(all->options->folder)), (unsigned long long)step, clause.bytes);
done:
    ds_text_release(&clause);
    return status;
}

/* ---- beginning --------------------------------------------------------------------------------------------------- */

static ds_status refuse_held(const training *all, uint64_t step) {
    return ds_fail(DS_ERR_USAGE, "%s holds a run already (checkpoint-%llu): --resume goes on with it, or choose another folder",
                   DS_SHOW(ds_folder_path(all->options->folder)), (unsigned long long)step);
}

/* The highest complete checkpoint is taken up, if there is one of this run. Initial weights alone are no run. */
static ds_status take_up(training *all) {
    ds_status status = DS_OK;
    ds_checkpoint_list list;
    json_t *state = NULL;
    DS_TRY(ds_checkpoint_find_all(&list, all->options->folder));
    for (size_t i = list.count; i-- > 0 && all->saved == UINT64_MAX;) {
        json_decref(state);
        DS_TRY(ds_checkpoint_state(&state, all->options->folder, list.steps[i]));
        const json_t *run = json_object_get(state, "run");
        if (!all->options->resume && (list.steps[i] > 0 || run != NULL)) DS_TRY(refuse_held(all, list.steps[i]));
        if (run == NULL && json_object_get(state, "start") != NULL && all->options->start == NULL)
            DS_TRY(ds_fail(DS_ERR_INPUT,
                           "%s/checkpoint-%llu holds the initial weights of a run from a configuration, this run starts from a "
                           "checkpoint: choose another folder",
                           DS_SHOW(ds_folder_path(all->options->folder)), (unsigned long long)list.steps[i]));
        if (run == NULL) continue;
        if (!json_equal(run, all->identity)) DS_TRY(refuse_other(all, list.steps[i], run));
        DS_TRY(ds_trainer_tell(all->trainer, DS_ACT_RESTORE, list.steps[i]));
        DS_TRY(ds_checkpoint_restore(all->trainer, all->options->folder, list.steps[i]));
        all->saved = list.steps[i];
    }
done:
    ds_checkpoint_list_release(&list);
    json_decref(state);
    return status;
}

static ds_status write_recipe(const training *all) {
    return ds_json_write_in(all->options->folder, "recipe.json", json_object_get(all->identity, "recipe"), DS_JSON_READABLE);
}

/* ---- divergence -------------------------------------------------------------------------------------------------- */

static void note_loss(training *all, double loss) {
    ds_loss_watch_add(&all->watch, loss);
    ds_loss_curve_add(&all->curve, loss);
}

static ds_status check_divergence(training *all, const ds_update *done) {
    const uint64_t steps = all->trainer->recipe.steps, patience = ds_max_size(steps / 20, DS_LOSS_SMOOTHED);
    const double uniform = log((double)all->trainer->run.spec.vocab);
    note_loss(all, done->loss);
    if (!(done->loss <= TIMES_UNIFORM * uniform))
        return ds_fail(DS_ERR_INPUT, "update %llu of %llu: the loss diverges: it is %g, and a uniform guess costs %g",
                       (unsigned long long)done->step, (unsigned long long)steps, done->loss, uniform);
    if (all->watch.risen >= patience)
        return ds_fail(DS_ERR_INPUT,
                       "update %llu of %llu: the loss diverges: the median of its last %d values has been above %g, its least "
                       "one and %g nats, for %llu updates",
                       (unsigned long long)done->step, (unsigned long long)steps, DS_LOSS_SMOOTHED,
                       all->watch.least + ds_loss_most_rise, ds_loss_most_rise, (unsigned long long)all->watch.risen);
    return DS_OK;
}

/* ---- checkpoints ------------------------------------------------------------------------------------------------- */

uint64_t ds_training_next_save(const ds_training_options *options, uint64_t steps, uint64_t done) {
    const uint64_t doubling = 512, regular = 1000;
    uint64_t next = steps;
    if (options->save_log2) {
        next = done == 0 ? 0 : 1;
        while (next < done && next < doubling) next *= 2;
        if (next < done) next = (done + regular - 1) / regular * regular;
    } else if (options->save > 0) {
        next = (done + options->save - 1) / options->save * options->save;
        if (next == 0) next = options->save;
    }
    return next < steps ? next : steps;
}

static ds_status tell_mark(training *all, bool evaluated) {
    all->mark.step = all->trainer->step;
    all->mark.evaluated = evaluated;
    return all->options->mark == NULL ? DS_OK : all->options->mark(all->options->context, &all->mark);
}

static ds_status save(training *all, bool interrupted) {
    ds_status status = DS_OK;
    const bool initial = all->trainer->step == 0 && all->options->start != NULL; /* those lie there already */
    const ds_checkpoint_tale tale = {.identity = all->identity,
                                     .steps = all->log.steps,
                                     .evaluations = all->log.evaluations,
                                     .evaluate = all->options->evaluate,
                                     .interrupted = interrupted};
    if (all->saved == all->trainer->step || initial) return DS_OK;
    double began = ds_seconds();
    DS_TRY(ds_train_log_sync(&all->log));
    DS_TRY(ds_checkpoint_save(all->trainer, all->options->folder, &tale));
    all->saved = all->trainer->step;
    all->pruned = false;
    all->mark.saving += ds_seconds() - began;
    DS_TRY(tell_mark(all, false));
done:
    return status;
}

static ds_status was_interrupted(bool *interrupted, const training *all, uint64_t step) {
    ds_status status = DS_OK;
    json_t *state = NULL;
    DS_TRY(ds_checkpoint_state(&state, all->options->folder, step));
    *interrupted = state == NULL || json_is_true(json_object_get(state, "interrupted"));
done:
    json_decref(state);
    return status;
}

/* Once the newest checkpoint has proved good, takes away those before it that are too many, that an interruption left, or that
 * are not complete; never initial weights. What is taken away anyway is not one of the --keep: an interruption between the last
 * two would cost the oldest. */
static ds_status prune(training *all) {
    ds_status status = DS_OK;
    ds_checkpoint_list list = {.steps = NULL};
    uint64_t kept = 1; /* the newest */
    if (all->pruned || all->saved == UINT64_MAX) return DS_OK;
    DS_TRY(ds_checkpoint_find_all(&list, all->options->folder));
    for (size_t i = list.count; i-- > 0;) {
        bool superfluous = all->options->keep > 0 && kept >= all->options->keep;
        if (list.steps[i] == 0 || list.steps[i] >= all->saved) continue;
        if (!superfluous) DS_TRY(was_interrupted(&superfluous, all, list.steps[i]));
        if (superfluous)
            DS_TRY(ds_checkpoint_remove(all->options->folder, list.steps[i]));
        else
            kept++;
    }
    all->pruned = true;
done:
    ds_checkpoint_list_release(&list);
    return status;
}

/* Adds to the sentence of a loss that diverged in update `step` which checkpoint is the last that is good: not the one of this
 * update's weights. */
static ds_status name_last_good(const training *all, uint64_t step) {
    char sentence[2048];
    ds_checkpoint_list list = {.steps = NULL};
    ds_status status = DS_OK;
    size_t good = 0;
    (void)snprintf(sentence, sizeof sentence, "%s", ds_error_text());
    if (all->saved == step && step > 0) DS_TRY(ds_checkpoint_remove(all->options->folder, step));
    DS_TRY(ds_checkpoint_find_all(&list, all->options->folder));
    while (good + 1 < list.count && list.steps[good + 1] + all->watch.risen <= step) good++;
    if (list.count == 0)
        status = ds_fail(DS_ERR_INPUT, "%s; no checkpoint had been written: lower the learning rate", sentence);
    else
        status = ds_fail(DS_ERR_INPUT, "%s; the last good checkpoint is %s/checkpoint-%llu: lower the learning rate", sentence,
                         DS_SHOW(ds_folder_path(all->options->folder)), (unsigned long long)list.steps[good]);
done:
    ds_checkpoint_list_release(&list);
    return status;
}

/* ---- the run ----------------------------------------------------------------------------------------------------- */

/* Whether something done every so many updates and at the two ends is due, and its list does not have it yet. */
static bool is_due(const training *all, uint64_t every, const json_t *list) {
    const uint64_t step = all->trainer->step;
    const json_t *last = json_array_get(list, json_array_size(list) - 1);
    if (step != 0 && step != all->trainer->recipe.steps && (every == 0 || step % every != 0)) return false;
    return last == NULL || (uint64_t)json_integer_value(json_object_get(last, "step")) < step;
}

static ds_status evaluate(training *all) {
    ds_status status = DS_OK;
    const uint64_t step = all->trainer->step;
    double loss;
    if (!is_due(all, all->options->evaluate, all->log.evaluations)) return DS_OK;
    double began = ds_seconds();
    DS_TRY(ds_trainer_evaluate(&loss, all->trainer));
    all->mark.evaluations += ds_seconds() - began;
    DS_TRY(tell_mark(all, true));
    DS_TRY(ds_train_log_evaluation(&all->log, step, loss));
done:
    if (status == DS_ERR_INPUT) status = ds_fail_prefix(status, "validation after %llu updates", (unsigned long long)step);
    return status;
}

static ds_status audit(training *all) {
    ds_status status = DS_OK;
    const uint64_t step = all->trainer->step, every = all->options->audit;
    json_t *gates = NULL;
    if (every == 0 || !is_due(all, every, all->log.audits)) return DS_OK;
    DS_TRY(ds_trainer_tell(all->trainer, DS_ACT_AUDIT, step));
    DS_TRY(all->options->measure_gates(&gates, ds_trainer_run(all->trainer)));
    DS_TRY(ds_train_log_audit(&all->log, step, gates));
done:
    json_decref(gates);
    if (status == DS_ERR_INPUT) status = ds_fail_prefix(status, "gates after %llu updates", (unsigned long long)step);
    return status;
}

static void tell_progress(training *all, const ds_update *done) {
    const ds_trainer *t = all->trainer;
    const ds_recipe *recipe = &t->recipe;
    const ds_listener *listener = &t->options.listener;
    const char *label = all->line;
    if (listener->progress == NULL) return;
    const double seconds = ds_seconds() - all->began;
    const double tokens = (double)(t->step - all->mark.first) * (double)(recipe->accumulation * recipe->batch * recipe->length);
    const double operations = 3 * ds_spec_forward_flops_per_token(&t->run.spec, recipe->length) * tokens;
    const ds_training_progress now = {.update = done,
                                      .done = t->step,
                                      .updates = recipe->steps,
                                      .tokens_per_second = tokens / seconds,
                                      .operations_per_second = operations / seconds,
                                      .curve = all->curve.mean,
                                      .curve_count = all->curve.count};
    if (all->options->describe != NULL)
        label = all->options->describe(all->options->context, &now);
    else
        (void)snprintf(all->line, sizeof all->line, "update %llu: loss %.4f, learning rate %.2e, %.0f tokens/s,",
                       (unsigned long long)t->step, done->loss, done->learning_rate, now.tokens_per_second);
    listener->progress(listener->context, label, (double)t->step, (double)recipe->steps);
}

static ds_status one_update(training *all) {
    ds_status status = DS_OK;
    ds_update done;
    double began = ds_seconds();
    status = ds_trainer_update(&done, all->trainer);
    all->mark.updates += ds_seconds() - began;
    if (status == DS_ERR_INPUT && all->trainer->diverged) return name_last_good(all, done.step);
    DS_TRY(status);
    DS_TRY(ds_train_log_update(&all->log, &done, all->trainer->recipe.accumulation));
    status = check_divergence(all, &done);
    all->trainer->diverged = status == DS_ERR_INPUT;
    if (status == DS_ERR_INPUT) return name_last_good(all, done.step);
    DS_TRY(prune(all));
    tell_progress(all, &done);
done:
    return status;
}

/* Until the end, or until it is stopped. */
static ds_status run_updates(training *all, bool *stopped) {
    ds_status status = DS_OK;
    ds_trainer *t = all->trainer;
    const ds_training_options *options = all->options;
    for (*stopped = false;;) {
        DS_TRY(evaluate(all));
        DS_TRY(audit(all));
        *stopped =
            t->step < t->recipe.steps && t->step > all->mark.first && options->stop != NULL && options->stop(options->context);
        bool due = ds_training_next_save(options, t->recipe.steps, t->step) == t->step;
        if (*stopped || due) DS_TRY(save(all, !due));
        if (*stopped || t->step == t->recipe.steps) break;
        DS_TRY(one_update(all));
    }
    if (!*stopped) DS_TRY(prune(all));
done:
    if (t->options.listener.progress != NULL) t->options.listener.progress(t->options.listener.context, NULL, 0, 0);
    return status;
}

/* `log` has "steps", "evaluations" and "audits". */
static ds_status make_results(json_t **results, const ds_trainer *trainer, const json_t *log) {
    ds_status status = DS_OK;
    ds_json_builder b = {0};
    json_t *spikes = NULL, *steps = json_object_get(log, "steps"), *evaluations = json_object_get(log, "evaluations");
    const ds_recipe *recipe = &trainer->recipe;
    size_t count, last = json_array_size(evaluations) - 1;
    const char *const *untouched = ds_trainer_untouched(trainer, &count);
    DS_TRY(ds_training_spikes(&spikes, steps));
    ds_json_begin_object(&b, NULL);
    ds_json_begin_array(&b, "untouched");
    for (size_t i = 0; i < count; i++) ds_json_put_text(&b, NULL, untouched[i]);
    ds_json_end(&b);
    ds_json_put_real(&b, "val_before", ds_json_real_at(json_array_get(evaluations, 0), "val_loss"));
    ds_json_put_real(&b, "val_after", ds_json_real_at(json_array_get(evaluations, last), "val_loss"));
    ds_json_put(&b, "best", ds_json_copy(ds_history_best(evaluations)));
    ds_json_put_count(&b, "tokens_per_update", recipe->accumulation * recipe->batch * recipe->length);
    ds_json_put_real(&b, "clip", recipe->clip);
    ds_json_put(&b, "spikes", spikes);
    ds_json_put(&b, "steps", json_incref(steps));
    ds_json_put(&b, "evaluations", json_incref(evaluations));
    ds_json_put(&b, "audits", json_incref(json_object_get(log, "audits")));
    ds_json_end(&b);
    DS_TRY(ds_json_finish(results, &b));
done:
    return status;
}

ds_status ds_training_so_far(json_t **results, const ds_trainer *trainer, const ds_folder *folder) {
    ds_status status = DS_OK;
    char *bytes = NULL;
    size_t length;
    json_t *log = NULL;
    *results = NULL;
    DS_TRY(ds_train_log_read(&bytes, &length, folder));
    DS_TRY(ds_training_log_read(&log, bytes, length, ds_folder_path(folder)));
    if (json_array_size(json_object_get(log, "steps")) > 0) DS_TRY(make_results(results, trainer, log));
done:
    json_decref(log);
    free(bytes);
    return status;
}

/* On other ranks than number 0: what it tells, until the end. Nothing is written. */
static ds_status follow(ds_trainer *t, const ds_training_options *options) {
    ds_status status = DS_OK;
    ds_trainer_call call = {.act = DS_ACT_UPDATE};
    while (call.act != DS_ACT_END) {
        ds_update done;
        json_t *gates = NULL;
        void *bytes = NULL;
        double loss;
        size_t length = 0;
        DS_TRY(ds_ranks_share(t->run.options.ranks, &bytes, &length));
        memcpy(&call, bytes, sizeof call);
        free(bytes);
        if (call.act == DS_ACT_RESTORE) status = ds_checkpoint_restore(t, options->folder, call.step);
        if (call.act == DS_ACT_UPDATE) status = ds_trainer_update(&done, t);
        if (call.act == DS_ACT_EVALUATE) status = ds_trainer_evaluate(&loss, t);
        if (call.act == DS_ACT_AUDIT) status = options->measure_gates(&gates, &t->run);
        json_decref(gates);
        DS_TRY(status);
    }
done:
    return status;
}

ds_status ds_training_run(json_t **results, ds_trainer *trainer, const ds_training_options *options) {
    ds_status status = DS_OK;
    bool stopped;
    json_t *log = NULL;
    training all = {.trainer = trainer, .options = options, .log = ds_train_log_closed, .saved = UINT64_MAX};
    *results = NULL;
    if (ds_ranks_number(trainer->run.options.ranks) > 0) return follow(trainer, options);
    DS_TRY(identify(&all));
    DS_TRY(take_up(&all));
    if (all.saved == UINT64_MAX) DS_TRY(write_recipe(&all));
    DS_TRY(ds_train_log_open(&all.log, options, trainer->step));
    for (size_t i = 0; i < trainer->step; i++) note_loss(&all, ds_json_real_at(json_array_get(all.log.steps, i), "loss"));
    all.mark.first = trainer->step;
    all.began = ds_seconds();
    DS_TRY(run_updates(&all, &stopped));
    DS_TRY(ds_trainer_tell(trainer, DS_ACT_END, trainer->step));
    if (stopped) goto done;
    log = json_pack("{s:O, s:O, s:O}", "steps", all.log.steps, "evaluations", all.log.evaluations, "audits", all.log.audits);
    status =
        log == NULL ? ds_fail(DS_ERR_SYSTEM, "out of memory for the results of a run") : make_results(results, trainer, log);
done:
    ds_train_log_close(&all.log);
    json_decref(all.identity);
    json_decref(log);
    return status;
}
