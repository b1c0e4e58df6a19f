#include "deltascope/report.h"

#include <stdlib.h>
#include <string.h>

#include "deltascope/io.h"
#include "deltascope/train.h"

ds_status ds_envelope_load(json_t **out, const ds_folder *folder, const char *path) {
    ds_status status = DS_OK;
    char *bytes = NULL;
    size_t length;
    *out = NULL;
    DS_TRY(ds_read_file_in(&bytes, &length, folder, path, DS_RESULTS_MOST_BYTES));
    DS_TRY(ds_json_parse(out, bytes, length, path));
    const char *schema = json_string_value(json_object_get(*out, "schema"));
    if (schema == NULL || strcmp(schema, "deltascope/1") != 0)
        status = ds_fail(DS_ERR_INPUT, "%s: key \"schema\" is %s, expected \"deltascope/1\"", DS_SHOW(path),
                         schema == NULL ? "missing" : DS_SHOW(schema));
done:
    if (status != DS_OK) {
        json_decref(*out);
        *out = NULL;
    }
    free(bytes);
    return status;
}

static const char *checkpoint_digest(const json_t *envelope) {
    const char *digest = json_string_value(json_object_get(json_object_get(envelope, "checkpoint"), "sha256"));
    return digest == NULL ? "" : digest;
}

/* ---- runs of train, side by side ------------------------------------------------------------------------------------- */

/* What a run is called by where its file lies: "runs/a/train.json" is "a". */
static json_t *label_of(const char *path) {
    const char *end = strrchr(path, '/'), *start = end;
    while (start != NULL && start > path && start[-1] != '/') start--;
    if (end == NULL || end == start) { /* the file's name without its ending */
        start = end == NULL ? path : end + 1;
        end = strrchr(start, '.') == NULL ? start + strlen(start) : strrchr(start, '.');
    }
    const ds_name name = ds_escape(start, (size_t)(end - start));
    return json_string(name.text);
}

/* Nothing but the results of a run. */
static bool is_run(const json_t *part) { return json_is_object(json_object_get(part, "train")) && json_object_size(part) == 1; }

/* Adds the results of a run, if `part` is one's, to the list of runs. */
static ds_status take_run(json_t *runs, json_t *part, const char *path) {
    json_t *run = json_object_get(part, "train");
    int failed = 0;
    if (!is_run(part)) return DS_OK;
    run = json_copy(run);
    failed |= run == NULL || json_object_set_new(run, "label", label_of(path)) != 0 || json_array_append(runs, run) != 0;
    json_decref(run);
    return failed ? ds_fail(DS_ERR_SYSTEM, "out of memory for the results of runs") : DS_OK;
}

/* Several runs take the place of the last of them. */
static ds_status join_runs(json_t *results, json_t *runs) {
    if (json_array_size(runs) < 2) return DS_OK;
    if (json_object_set_new(results, "train", json_pack("{s:O}", "runs", runs)) == 0) return DS_OK;
    return ds_fail(DS_ERR_SYSTEM, "out of memory for the results of runs");
}

/* ---- files ----------------------------------------------------------------------------------------------------------- */

/* The log of a run that may be at work is as good as its results. */
static ds_status load_log(json_t **envelope, const char *path) {
    ds_status status = DS_OK;
    char *bytes = NULL;
    size_t length;
    json_t *results = NULL;
    *envelope = NULL;
    DS_TRY(ds_read_file(&bytes, &length, path, DS_RESULTS_MOST_BYTES));
    DS_TRY(ds_training_log_read(&results, bytes, length, path));
    *envelope = json_pack("{s:s, s:O}", "command", "train", "results", results);
    if (*envelope == NULL) status = ds_fail(DS_ERR_SYSTEM, "%s: out of memory", DS_SHOW(path));
done:
    json_decref(results);
    free(bytes);
    return status;
}

static ds_status load(json_t **envelope, const char *path) {
    const char *ending = strrchr(path, '.');
    if (ending != NULL && strcmp(ending, ".jsonl") == 0) return load_log(envelope, path);
    return ds_envelope_load(envelope, NULL, path);
}

ds_status ds_results_load(json_t **results, json_t **envelope, const char *const *paths, size_t count,
                          ds_status (*loaded)(const char *path, const json_t *envelope)) {
    ds_status status = DS_OK;
    json_t *next = NULL, *part = NULL, *runs = json_array();
    *envelope = NULL;
    *results = json_object();
    if (*results == NULL || runs == NULL) DS_TRY(ds_fail(DS_ERR_SYSTEM, "out of memory"));
    for (size_t i = 0; i < count; i++) {
        DS_TRY(load(&next, paths[i]));
        if (loaded != NULL) DS_TRY(loaded(paths[i], next));
        status = ds_figure_results(&part, next);
        if (status != DS_OK) {
            status = ds_fail_prefix(status, "%s", DS_SHOW(paths[i]));
            goto done;
        }
        const bool run = is_run(part), others = json_array_size(runs) < i;
        status = take_run(runs, part, paths[i]);
        if (json_object_update(*results, part) != 0) status = ds_fail(DS_ERR_SYSTEM, "out of memory");
        json_decref(part);
        if (status != DS_OK) goto done;
        if (*envelope == NULL) *envelope = json_incref(next);
        if ((!run || others) && strcmp(checkpoint_digest(next), checkpoint_digest(*envelope)) != 0)
            status = ds_fail(DS_ERR_INPUT, "%s: measures another checkpoint than %s: --labels A,B draws them beside each other",
                             DS_SHOW(paths[i]), DS_SHOW(paths[0]));
        if (status != DS_OK) goto done;
        json_decref(next);
        next = NULL;
    }
    status = join_runs(*results, runs);
done:
    json_decref(runs);
    json_decref(next);
    if (status != DS_OK) {
        json_decref(*results);
        json_decref(*envelope);
        *results = *envelope = NULL;
    }
    return status;
}

/* ---- several checkpoints ----------------------------------------------------------------------------------------- */

/* {"label": label, COMMAND: results} of one file; *envelope <- the file's. New references. */
static ds_status load_labelled(json_t **part, json_t **envelope, const char *path, const char *label,
                               ds_status (*loaded)(const char *path, const json_t *envelope)) {
    ds_status status = DS_OK;
    DS_TRY(load(envelope, path));
    if (loaded != NULL) DS_TRY(loaded(path, *envelope));
    status = ds_figure_results(part, *envelope);
    if (status != DS_OK) return ds_fail_prefix(status, "%s", DS_SHOW(path));
    if (json_object_set_new(*part, "label", json_string(label)) != 0) status = ds_fail(DS_ERR_SYSTEM, "out of memory");
done:
    return status;
}

/* Whether two results are of the same windows of the same tokens. */
static bool same_data(const json_t *a, const json_t *b) {
    static const char *const keys[] = {"sha256", "token_type", "seq_len", "starts"};
    const json_t *of_a = json_object_get(a, "data"), *of_b = json_object_get(b, "data");
    bool same = true;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const json_t *x = json_object_get(of_a, keys[i]), *y = json_object_get(of_b, keys[i]);
        same = same && (x == y || (x != NULL && y != NULL && json_equal(x, y)));
    }
    return same;
}

/* *results <- the runs side by side where all are of train; otherwise it stays as it is. */
static ds_status label_runs(json_t **results, const json_t *list) {
    ds_status status = DS_OK;
    json_t *runs = json_array(), *part;
    size_t i;
    json_array_foreach(list, i, part) {
        json_t *run = json_object_get(part, "train");
        if (run == NULL || json_object_size(part) != 2) goto done; /* it and the label */
        if (json_object_set(run, "label", json_object_get(part, "label")) != 0 || json_array_append(runs, run) != 0)
            DS_TRY(ds_fail(DS_ERR_SYSTEM, "out of memory for the results of runs"));
    }
    *results = json_pack("{s:{s:O}}", "train", "runs", runs);
done:
    json_decref(runs);
    return status;
}

ds_status ds_results_merge(json_t **results, json_t **envelope, const char *const *paths, const char *const *labels,
                           size_t count, ds_status (*loaded)(const char *path, const json_t *envelope)) {
    ds_status status = DS_OK;
    json_t *list = json_array(), *first = NULL, *next = NULL, *part = NULL;
    bool same = true;
    *results = *envelope = NULL;
    for (size_t i = 0; i < count; i++) {
        DS_TRY(load_labelled(&part, &next, paths[i], labels[i], loaded));
        if (json_array_append(list, part) != 0) status = ds_fail(DS_ERR_SYSTEM, "out of memory");
        if (status != DS_OK) goto done;
        if (first == NULL) first = json_incref(next);
        same = same && same_data(first, next);
        json_decref(part);
        json_decref(next);
        part = next = NULL;
    }
    DS_TRY(label_runs(results, list));
    if (*results == NULL) *results = json_pack("{s:O, s:b}", "merged", list, "same_data", (int)same);
    json_t *data = json_object_get(first, "data");
    *envelope = same && json_is_object(data) ? json_pack("{s:O}", "data", data) : json_object();
    if (*results == NULL || *envelope == NULL) status = ds_fail(DS_ERR_SYSTEM, "out of memory");
done:
    json_decref(list);
    json_decref(first);
    json_decref(next);
    json_decref(part);
    return status;
}
