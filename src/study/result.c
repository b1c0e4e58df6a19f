#include "result.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_BYTES = 1 << 30 };

typedef struct file_path {
    char text[DS_CELL_FOLDER + 32];
} file_path;

static file_path path_of(const ds_cell *cell, const char *name) {
    file_path path;
    (void)snprintf(path.text, sizeof path.text, "%s/%s", cell->folder, name);
    return path;
}

/* What DONE says of a file is what it is: a study is not made of what somebody changed afterwards. */
static ds_status check_digest(const ds_cell_result *out, const char *key, const char *path, const char *bytes, size_t length) {
    ds_status status = DS_OK;
    const char *told = json_string_value(json_object_get(out->done, key));
    char digits[65];
    DS_TRY(ds_sha256(digits, bytes, length));
    if (told == NULL || strcmp(told, digits) != 0)
        status =
            ds_fail(DS_ERR_INPUT,
                    "%s: its SHA-256 is %s, and DONE beside it says %s: it was changed after the run; take that folder away "
                    "and run it again with --resume",
                    DS_SHOW(path), digits, told == NULL ? "nothing" : DS_SHOW(told));
done:
    return status;
}

/* ---- log --------------------------------------------------------------------------------------------------------- */

static ds_status take_updates(ds_cell_result *out, const json_t *steps, const char *where) {
    ds_status status = DS_OK;
    out->updates = json_array_size(steps);
    DS_NEW_ARRAY(out->training, out->updates);
    for (size_t i = 0; i < out->updates; i++) {
        const json_t *entry = json_array_get(steps, i);
        if ((uint64_t)json_integer_value(json_object_get(entry, "step")) != i)
            return ds_fail(DS_ERR_INPUT, "%s: not the log of one run: an update is missing or stands twice", where);
        out->training[i] = ds_json_real_at(entry, "loss");
    }
done:
    return status;
}

static ds_status take_evaluations(ds_cell_result *out, const json_t *evaluations) {
    ds_status status = DS_OK;
    out->points = json_array_size(evaluations);
    DS_NEW_ARRAY(out->steps, out->points);
    DS_NEW_ARRAY(out->losses, out->points);
    DS_NEW_ARRAY(out->seconds, out->points);
    for (size_t i = 0; i < out->points; i++) {
        const json_t *entry = json_array_get(evaluations, i);
        out->steps[i] = (uint64_t)json_integer_value(json_object_get(entry, "step"));
        out->losses[i] = ds_json_real_at(entry, "val_loss");
    }
done:
    return status;
}

static ds_status read_log(ds_cell_result *out, const ds_folder *study) {
    ds_status status = DS_OK;
    const file_path path = path_of(&out->cell, "log.jsonl");
    char *bytes = NULL;
    size_t length;
    json_t *log = NULL;
    DS_TRY(ds_read_file_in(&bytes, &length, study, path.text, MOST_BYTES));
    DS_TRY(check_digest(out, "log_sha256", path.text, bytes, length));
    DS_TRY(ds_training_log_read(&log, bytes, length, path.text));
    DS_TRY(take_updates(out, json_object_get(log, "steps"), path.text));
    DS_TRY(take_evaluations(out, json_object_get(log, "evaluations")));
    out->spikes = json_incref(json_object_get(log, "spikes"));
done:
    json_decref(log);
    free(bytes);
    return status;
}

/* ---- times ------------------------------------------------------------------------------------------------------- */

/* A folder whose file of times was taken away is still a study. */
static ds_status read_times(ds_cell_result *out, const ds_folder *study) {
    ds_status status = DS_OK;
    const file_path path = path_of(&out->cell, "times.jsonl");
    json_t *lines = NULL;
    ds_sum load = {0};
    size_t count = 0;
    for (size_t i = 0; i < out->points; i++) out->seconds[i] = NAN;
    out->update_seconds = out->evaluation_seconds = out->saving_seconds = NAN;
    for (size_t i = 0; i < 3; i++) out->loads[i] = NAN;
    if (!ds_folder_holds(study, path.text)) goto done;
    DS_TRY(ds_cell_clock_read(&lines, study, path.text));
    count = json_array_size(lines);
    for (size_t k = 0; k < count; k++) {
        const json_t *line = json_array_get(lines, k);
        const uint64_t step = (uint64_t)json_integer_value(json_object_get(line, "step"));
        const double now = ds_json_real_at(line, "load");
        for (size_t i = 0; i < out->points; i++) {
            if (out->steps[i] == step) out->seconds[i] = ds_json_real_at(line, "updates");
        }
        ds_sum_add(&load, now);
        out->loads[0] = fmin(out->loads[0], now);
        out->loads[2] = fmax(out->loads[2], now);
        out->update_seconds = ds_json_real_at(line, "updates");
        out->evaluation_seconds = ds_json_real_at(line, "evaluations");
        out->saving_seconds = ds_json_real_at(line, "saving");
    }
    if (count > 0) out->loads[1] = ds_sum_value(&load) / (double)count;
done:
    json_decref(lines);
    return status;
}

/* ---- windows ----------------------------------------------------------------------------------------------------- */

static ds_status read_windows(ds_cell_result *out, size_t expected, const ds_folder *study) {
    ds_status status = DS_OK;
    const file_path path = path_of(&out->cell, "windows.f32");
    char *bytes = NULL;
    size_t length;
    DS_TRY(ds_read_file_in(&bytes, &length, study, path.text, MOST_BYTES));
    DS_TRY(check_digest(out, "windows_sha256", path.text, bytes, length));
    if (length != 4 * expected)
        DS_TRY(ds_fail(DS_ERR_INPUT, "%s: %zu bytes, expected 4 for each of %zu windows", path.text, length, expected));
    DS_NEW(out->windows, expected);
    out->window_count = expected;
    for (size_t i = 0; i < expected; i++) {
        uint32_t bits = ds_load_u32le((const uint8_t *)bytes + 4 * i);
        float value;
        memcpy(&value, &bits, sizeof value);
        out->windows[i] = (double)value;
    }
done:
    free(bytes);
    return status;
}

/* ---- the run ----------------------------------------------------------------------------------------------------- */

static void summarise(ds_cell_result *out, uint64_t planned) {
    const size_t shown = out->points;
    size_t tail = (shown + 19) / 20 > 3 ? (shown + 19) / 20 : 3;
    ds_sum sum = {0};
    out->initial = out->final = out->tail = out->best = NAN;
    if (shown == 0) return;
    out->initial = out->losses[0];
    for (size_t i = 0; i < shown; i++) {
        if (out->losses[i] >= out->best) continue;
        out->best = out->losses[i];
        out->best_update = out->steps[i];
    }
    if (out->steps[shown - 1] != planned) return; /* it did not come to its end */
    if (tail > shown) tail = shown;
    for (size_t i = shown - tail; i < shown; i++) ds_sum_add(&sum, out->losses[i]);
    out->final = out->losses[shown - 1];
    out->tail = ds_sum_value(&sum) / (double)tail;
}

/* Whether the smoothed loss is too far above its least for the last twentieth of the updates. */
static bool ends_high(const ds_cell_result *run) {
    ds_loss_watch watch = {.seen = 0};
    for (uint64_t i = 0; i < run->updates; i++) ds_loss_watch_add(&watch, run->training[i]);
    return run->updates > DS_LOSS_SMOOTHED && watch.risen >= (run->updates + 19) / 20;
}

static void judge(ds_cell_result *out) {
    const char *how = json_string_value(json_object_get(out->done, "status"));
    const char *why = json_string_value(json_object_get(out->done, "reason"));
    out->diverged = how != NULL && strcmp(how, "diverged") == 0;
    out->diverged_at = out->updates;
    if (out->diverged) {
        (void)snprintf(out->reason, sizeof out->reason, "%s", why == NULL ? "" : why);
        out->diverged_at = (uint64_t)json_integer_value(json_object_get(out->done, "updates"));
    } else if (out->final > out->initial) {
        out->diverged = true;
        (void)snprintf(out->reason, sizeof out->reason, "the last loss is above the first");
    } else if (ends_high(out)) {
        out->diverged = true;
        (void)snprintf(out->reason, sizeof out->reason,
                       "the median of 21 losses stays 0.5 nats above its least for the last twentieth of the updates");
    }
}

ds_status ds_cell_result_take(ds_cell_result *out, uint64_t planned, uint64_t windows, const ds_folder *study) {
    ds_status status = DS_OK;
    summarise(out, 0);
    out->update_seconds = out->evaluation_seconds = out->saving_seconds = NAN;
    DS_TRY(ds_cell_done(&out->done, study, &out->cell));
    if (out->done == NULL) goto done;
    out->finished = true;
    DS_TRY(read_log(out, study));
    DS_TRY(read_times(out, study));
    summarise(out, planned);
    judge(out);
    const char *how = json_string_value(json_object_get(out->done, "status"));
    if (how == NULL || strcmp(how, "diverged") != 0) DS_TRY(read_windows(out, (size_t)windows, study));
done:
    if (status != DS_OK) ds_cell_result_release(out);
    return status;
}

static ds_status read_cell(ds_cell_result *out, const ds_plan *plan, const ds_cell *cell, const ds_folder *study) {
    ds_status status = DS_OK;
    ds_cell_state state;
    bool diverged;
    *out = (ds_cell_result){.cell = *cell};
    DS_TRY(ds_cell_look(&state, &diverged, plan, cell, study));
    DS_TRY(ds_cell_result_take(out, ds_cell_recipe(plan, cell).steps, plan->variants[cell->variant].recipe.val_windows, study));
done:
    return status;
}

void ds_cell_result_release(ds_cell_result *result) {
    json_decref(result->done);
    json_decref(result->spikes);
    free(result->training);
    free(result->steps);
    free(result->losses);
    free(result->seconds);
    free(result->windows);
    *result = (ds_cell_result){.done = NULL};
}

/* ---- all of them ------------------------------------------------------------------------------------------------- */

/* Where a cell stands among the results. */
static size_t place_of(const ds_plan *plan, const ds_cell *cell) {
    size_t s = 0;
    if (cell->nudged) return plan->variant_count * plan->seed_count;
    while (plan->seeds[s].init != cell->seed.init || plan->seeds[s].data != cell->seed.data) s++;
    return cell->variant * plan->seed_count + s;
}

ds_status ds_study_results_read(ds_study_results *out, const ds_plan *plan, const ds_folder *folder) {
    ds_status status = DS_OK;
    ds_cell *cells = NULL;
    *out = (ds_study_results){.plan = plan, .folder = folder};
    DS_TRY(ds_plan_cells(&cells, &out->count, plan));
    DS_NEW(out->runs, out->count);
    for (size_t i = 0; i < out->count; i++) DS_TRY(read_cell(&out->runs[place_of(plan, &cells[i])], plan, &cells[i], folder));
done:
    free(cells);
    return status;
}

void ds_study_results_release(ds_study_results *results) {
    for (size_t i = 0; results->runs != NULL && i < results->count; i++) ds_cell_result_release(&results->runs[i]);
    free(results->runs);
    *results = (ds_study_results){.plan = NULL};
}

const ds_cell_result *ds_study_result_of(const ds_study_results *results, size_t variant, size_t seed) {
    return &results->runs[variant * results->plan->seed_count + seed];
}
