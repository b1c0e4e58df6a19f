/* How fast variants train here: a few updates of each, whose weights are thrown away. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "plan.h"
#include "result.h"

static const char speed_file[] = "speed.json", speed_folder[] = "speed";

static int by_value(const void *a, const void *b) {
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

/* *seconds <- the median of so many updates of a trainer. */
static ds_status time_updates(double *seconds, ds_trainer *trainer, size_t updates) {
    ds_status status = DS_OK;
    double *each = NULL;
    ds_update done;
    DS_NEW(each, updates);
    for (size_t i = 0; i < updates; i++) {
        double began = ds_seconds();
        DS_TRY(ds_trainer_update(&done, trainer));
        each[i] = ds_seconds() - began;
    }
    qsort(each, updates, sizeof *each, by_value);
    *seconds = each[updates / 2];
done:
    free(each);
    return status;
}

static ds_status take_away(const ds_folder *folder) {
    static const char *const files[] = {"checkpoint-0/trainer_state.json", "checkpoint-0/config.json",
                                        "checkpoint-0/model.safetensors", "checkpoint-0", "config.json"};
    ds_status status = DS_OK;
    if (!ds_folder_holds(folder, "checkpoint-0")) return DS_OK;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) DS_TRY(ds_folder_remove(folder, files[i]));
done:
    return status;
}

static ds_status time_variant(double *seconds, const ds_plan *plan, const ds_study_variant *variant, const ds_folder *study,
                              size_t updates) {
    ds_status status = DS_OK;
    ds_folder *folder = NULL;
    ds_text initial = {0}, config = {0};
    json_t *start = NULL;
    ds_trainer *trainer = NULL;
    ds_recipe recipe = variant->recipe;
    recipe.val_windows = 1;
    if (recipe.steps < updates) recipe.steps = updates;
    DS_TRY(ds_folder_open_in(&folder, study, speed_folder));
    DS_TRY(take_away(folder)); /* what a killed process left */
    DS_TRY(ds_json_write_in(folder, "config.json", variant->config, DS_JSON_READABLE));
    DS_TRY(ds_folder_show(&config, folder, "config.json"));
    const ds_beginning beginning = {.config = config.bytes,
                                    .variant = variant->kind,
                                    .which = plan->which,
                                    .precision = plan->precision,
                                    .recipe = &recipe,
                                    .train = plan->train,
                                    .val = plan->val};
    DS_TRY(ds_training_begin(&initial, &start, folder, &beginning, false));
    const ds_trainer_options options = {
        .checkpoint = initial.bytes, .train = plan->train, .val = plan->val, .precision = plan->precision, .recipe = recipe};
    DS_TRY(ds_trainer_new(&trainer, &options));
    DS_TRY(time_updates(seconds, trainer, updates));
done:
    ds_trainer_free(&trainer);
    json_decref(start);
    ds_text_release(&initial);
    ds_text_release(&config);
    if (folder != NULL && status == DS_OK) status = take_away(folder);
    ds_folder_close(&folder);
    return status;
}

ds_status ds_study_measure_speed(double *seconds, const ds_plan *plan, const ds_folder *folder, size_t updates) {
    ds_status status = DS_OK;
    for (size_t v = 0; v < plan->variant_count; v++)
        DS_TRY(time_variant(&seconds[v], plan, &plan->variants[v], folder, updates));
    DS_TRY(ds_folder_remove(folder, speed_folder));
done:
    return status;
}

/* ---- a budget of seconds ----------------------------------------------------------------------------------------- */

/* What an earlier process measured, a new reference: an empty object where nothing was. */
static ds_status read_speeds(json_t **out, const ds_folder *folder) {
    const uint64_t most = 1 << 20;
    ds_status status = DS_OK;
    char *bytes = NULL;
    size_t length;
    *out = NULL;
    if (!ds_folder_holds(folder, speed_file)) {
        *out = json_object();
        return *out == NULL ? ds_fail(DS_ERR_SYSTEM, "out of memory for speeds") : DS_OK;
    }
    DS_TRY(ds_read_file_in(&bytes, &length, folder, speed_file, most));
    DS_TRY(ds_json_parse(out, bytes, length, speed_file));
done:
    free(bytes);
    return status;
}

ds_status ds_study_fix_seconds(ds_plan *plan, const ds_folder *folder, bool write, const char *where) {
    enum { UPDATES = 20 };
    ds_status status = DS_OK;
    json_t *known = NULL;
    double *each = NULL;
    bool added = false;
    if (plan->budget != DS_BUDGET_SECONDS) return DS_OK;
    DS_NEW(each, plan->variant_count);
    DS_TRY(read_speeds(&known, folder));
    for (size_t v = 0; v < plan->variant_count; v++) {
        const ds_study_variant *variant = &plan->variants[v];
        const json_t *told = json_object_get(known, variant->name);
        each[v] = json_number_value(told);
        if (told != NULL && each[v] > 0) continue;
        DS_TRY(time_variant(&each[v], plan, variant, folder, UPDATES));
        added = true;
        if (json_object_set_new(known, variant->name, ds_json_number(each[v])) != 0)
            DS_TRY(ds_fail(DS_ERR_SYSTEM, "out of memory for speeds"));
    }
    if (added) DS_TRY(ds_folder_remove(folder, speed_folder));
    DS_TRY(ds_plan_fix_steps(plan, each, where));
    if (added && write) DS_TRY(ds_json_write_in(folder, speed_file, known, DS_JSON_READABLE));
done:
    free(each);
    json_decref(known);
    return status;
}
