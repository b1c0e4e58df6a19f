/* One run of a study: begun or taken up, trained, and closed by DONE. */
#include "cell.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char identity_file[] = "cell.json", done_file[] = "DONE", windows_file[] = "windows.f32", log_file[] = "log.jsonl";
enum { MOST_JSON = 8 << 20 };

/* ---- what it is made from ---------------------------------------------------------------------------------------- */

static ds_status identify(json_t **out, const ds_plan *plan, const ds_cell *cell) {
    ds_status status = DS_OK;
    const ds_study_variant *variant = &plan->variants[cell->variant];
    const ds_recipe recipe = ds_cell_recipe(plan, cell);
    json_t *told = NULL;
    ds_json_builder b = {0};
    DS_TRY(ds_recipe_json(&told, &recipe));
    ds_json_begin_object(&b, NULL);
    ds_json_put_text(&b, "variant", variant->kind);
    ds_json_put(&b, "config", ds_json_copy(variant->config));
    ds_json_put(&b, "recipe", told);
    ds_json_begin_object(&b, "seed");
    ds_json_put_count(&b, "init", cell->seed.init);
    ds_json_put_count(&b, "data", cell->seed.data);
    ds_json_end(&b);
    ds_json_put_text(&b, "init", plan->which == DS_INIT_OLDER ? "older" : "newer");
    ds_json_put_text(&b, "precision", plan->precision == DS_F64 ? "double" : "float");
    ds_json_put_bool(&b, "nudged", cell->nudged);
    ds_json_put_text(&b, "train_sha256", plan->train_sha256);
    ds_json_put_text(&b, "val_sha256", plan->val_sha256);
    ds_json_put_count(&b, "evaluate", ds_plan_evaluate_every(plan, &recipe));
    ds_json_end(&b);
    DS_TRY(ds_json_finish(out, &b));
done:
    return status;
}

ds_status ds_cell_read_json(json_t **out, const ds_folder *study, const ds_cell *cell, const char *name) {
    ds_status status = DS_OK;
    ds_text path = {0};
    char *bytes = NULL;
    size_t length;
    *out = NULL;
    DS_TRY(ds_text_printf(&path, "%s/%s", cell->folder, name));
    int descriptor = ds_folder_find(study, path.bytes, O_RDONLY);
    bool absent = descriptor < 0 && (errno == ENOENT || errno == ENOTDIR);
    if (descriptor >= 0) (void)close(descriptor);
    if (absent) goto done;
    DS_TRY(ds_read_file_in(&bytes, &length, study, path.bytes, MOST_JSON));
    DS_TRY(ds_json_parse(out, bytes, length, path.bytes));
done:
    free(bytes);
    ds_text_release(&path);
    return status;
}

static ds_status refuse_other(const ds_folder *study, const ds_cell *cell, const json_t *theirs, const json_t *ours) {
    ds_status status = DS_OK;
    ds_text clause = {0};
    DS_TRY(ds_training_difference(&clause, theirs, ours, "plan"));
    status = ds_fail(DS_ERR_INPUT, "%s/%s was made by another plan: %s; runs of two plans are not mixed: choose another folder",
                     DS_SHOW(ds_folder_path(study)), cell->folder, clause.bytes);
done:
    ds_text_release(&clause);
    return status;
}

ds_status ds_cell_done(json_t **done, const ds_folder *folder, const ds_cell *cell) {
    return ds_cell_read_json(done, folder, cell, done_file);
}

ds_status ds_cell_look(ds_cell_state *state, bool *diverged, const ds_plan *plan, const ds_cell *cell, const ds_folder *study) {
    ds_status status = DS_OK;
    json_t *ours = NULL, *theirs = NULL, *end = NULL;
    *state = DS_CELL_ABSENT;
    *diverged = false;
    DS_TRY(ds_cell_read_json(&theirs, study, cell, identity_file));
    if (theirs == NULL) goto done;
    DS_TRY(identify(&ours, plan, cell));
    if (!json_equal(theirs, ours)) DS_TRY(refuse_other(study, cell, theirs, ours));
    DS_TRY(ds_cell_done(&end, study, cell));
    *state = end == NULL ? DS_CELL_BEGUN : DS_CELL_FINISHED;
    const char *how = json_string_value(json_object_get(end, "status"));
    *diverged = how != NULL && strcmp(how, "diverged") == 0;
done:
    json_decref(ours);
    json_decref(theirs);
    json_decref(end);
    return status;
}

/* ---- training ---------------------------------------------------------------------------------------------------- */

typedef struct cell_run {
    const ds_plan *plan;
    const ds_cell *cell;
    const ds_study_options *options;
    ds_folder *folder; /* the cell's */
    ds_recipe recipe;
    ds_trainer *trainer;
    ds_cell_clock clock;
    char label[DS_CELL_FOLDER + 128]; /* progress */
} cell_run;

/* One number a window, in their order, as little-endian float32. */
static ds_status write_windows(const cell_run *all) {
    ds_status status = DS_OK;
    const double *losses = ds_trainer_window_losses(all->trainer);
    size_t count = (size_t)all->recipe.val_windows;
    unsigned char *bytes = NULL;
    DS_NEW(bytes, 4 * count);
    for (size_t i = 0; i < count; i++) {
        float value = (float)losses[i];
        uint32_t bits;
        memcpy(&bits, &value, sizeof bits);
        for (size_t k = 0; k < 4; k++) bytes[4 * i + k] = (unsigned char)(bits >> (8 * k));
    }
    DS_TRY(ds_write_file_in(all->folder, windows_file, (const char *)bytes, 4 * count));
done:
    free(bytes);
    return status;
}

static ds_status mark(void *context, const ds_training_mark *now) {
    ds_status status = DS_OK;
    cell_run *all = context;
    if (now->evaluated && now->step == all->recipe.steps) DS_TRY(write_windows(all));
    DS_TRY(ds_cell_clock_mark(&all->clock, now));
done:
    return status;
}

static bool stop(void *context) {
    const cell_run *all = context;
    return all->options->stop != NULL && all->options->stop(all->options->context);
}

/* The cell's name in front of what its training tells. */
static void tell(void *context, const char *label, double done, double total) {
    cell_run *all = context;
    const ds_listener *listener = &all->options->listener;
    if (label != NULL) (void)snprintf(all->label, sizeof all->label, "%s: %s", all->cell->folder, label);
    listener->progress(listener->context, label == NULL ? NULL : all->label, done, total);
}

static ds_status train(bool *stopped, cell_run *all) {
    ds_status status = DS_OK;
    ds_text initial = {0}, config = {0};
    json_t *start = NULL, *results = NULL;
    const ds_plan *plan = all->plan;
    const ds_study_variant *variant = &plan->variants[all->cell->variant];
    const bool told = all->options->listener.progress != NULL;
    DS_TRY(ds_folder_show(&config, all->folder, "config.json"));
    const ds_beginning beginning = {.config = config.bytes,
                                    .variant = variant->kind,
                                    .which = plan->which,
                                    .seed = all->cell->seed.init,
                                    .precision = plan->precision,
                                    .recipe = &all->recipe,
                                    .nudged = all->cell->nudged,
                                    .train = plan->train,
                                    .val = plan->val};
    DS_TRY(ds_training_begin(&initial, &start, all->folder, &beginning, true));
    const ds_trainer_options options = {.checkpoint = initial.bytes,
                                        .train = plan->train,
                                        .val = plan->val,
                                        .precision = plan->precision,
                                        .recipe = all->recipe,
                                        .listener = {.progress = told ? tell : NULL, .context = all}};
    DS_TRY(ds_trainer_new(&all->trainer, &options));
    const ds_training_options training = {.folder = all->folder,
                                          .resume = true,
                                          .start = start,
                                          .save = ds_plan_save_every(plan, &all->recipe),
                                          .keep = 1,
                                          .evaluate = ds_plan_evaluate_every(plan, &all->recipe),
                                          .stop = stop,
                                          .mark = mark,
                                          .context = all};
    DS_TRY(ds_training_run(&results, all->trainer, &training));
    *stopped = results == NULL;
done:
    json_decref(results);
    json_decref(start);
    ds_text_release(&initial);
    ds_text_release(&config);
    return status;
}

/* ---- the end ----------------------------------------------------------------------------------------------------- */

static ds_status put_digest(ds_json_builder *b, const char *key, const ds_folder *folder, const char *path) {
    char digits[65];
    ds_status status = ds_sha256_file(digits, folder, path, UINT64_MAX);
    if (status == DS_OK) ds_json_put_text(b, key, digits);
    return status;
}

/* `reason`: why it diverged; NULL: it did not. */
static ds_status write_done(const cell_run *all, const char *reason) {
    ds_status status = DS_OK;
    json_t *end = NULL;
    ds_json_builder b = {0};
    char weights[64];
    uint64_t step = ds_trainer_step(all->trainer);
    ds_json_begin_object(&b, NULL);
    ds_json_put_text(&b, "status", reason == NULL ? "done" : "diverged");
    ds_json_put_count(&b, "updates", step);
    ds_json_put_text(&b, "reason", reason);
    DS_TRY(put_digest(&b, "initial_sha256", all->folder, "checkpoint-0/model.safetensors"));
    DS_TRY(put_digest(&b, "log_sha256", all->folder, log_file));
    if (reason == NULL) {
        (void)snprintf(weights, sizeof weights, "checkpoint-%llu/model.safetensors", (unsigned long long)step);
        DS_TRY(put_digest(&b, "weights_sha256", all->folder, weights));
        DS_TRY(put_digest(&b, "windows_sha256", all->folder, windows_file));
    }
    ds_json_end(&b);
    DS_TRY(ds_json_finish(&end, &b));
    DS_TRY(ds_json_write_in(all->folder, done_file, end, DS_JSON_READABLE));
done:
    ds_json_discard(&b);
    json_decref(end);
    return status;
}

/* The sentence of a run that diverged, without where its folder lies. */
static ds_status close_diverged(const cell_run *all) {
    char reason[2048];
    (void)snprintf(reason, sizeof reason, "%s", ds_error_text());
    char *place = strstr(reason, "; the last good checkpoint"), *none = strstr(reason, "; no checkpoint");
    if (place != NULL) *place = '\0';
    if (none != NULL) *none = '\0';
    ds_error_clear();
    return write_done(all, reason);
}

static ds_status prepare(cell_run *all) {
    ds_status status = DS_OK;
    json_t *identity = NULL;
    DS_TRY(identify(&identity, all->plan, all->cell));
    DS_TRY(ds_folder_open_in(&all->folder, all->options->folder, all->cell->folder));
    DS_TRY(ds_json_write_in(all->folder, identity_file, identity, DS_JSON_READABLE));
    DS_TRY(ds_json_write_in(all->folder, "config.json", json_object_get(identity, "config"), DS_JSON_READABLE));
    all->clock.folder = all->folder;
done:
    json_decref(identity);
    return status;
}

ds_status ds_cell_run(bool *stopped, const ds_plan *plan, const ds_cell *cell, const ds_study_options *options) {
    ds_status status = DS_OK;
    cell_run all = {.plan = plan, .cell = cell, .options = options, .recipe = ds_cell_recipe(plan, cell)};
    *stopped = false;
    DS_TRY(prepare(&all));
    status = train(stopped, &all);
    if (status == DS_ERR_INPUT && all.trainer != NULL && ds_trainer_diverged(all.trainer)) {
        status = close_diverged(&all);
    } else if (status == DS_OK && !*stopped) {
        status = write_done(&all, NULL);
    } else if (status != DS_OK) {
        status = ds_fail_prefix(status, "%s", cell->folder);
    }
done:
    ds_trainer_free(&all.trainer);
    ds_cell_clock_release(&all.clock);
    ds_folder_close(&all.folder);
    return status;
}
