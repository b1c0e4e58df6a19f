#include "deltascope/report.h"

#include <stdlib.h>
#include <string.h>

#include "deltascope/io.h"

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

ds_status ds_results_load(json_t **results, json_t **envelope, const char *const *paths, size_t count,
                          ds_status (*loaded)(const char *path, const json_t *envelope)) {
    ds_status status = DS_OK;
    json_t *next = NULL, *part = NULL;
    *envelope = NULL;
    *results = json_object();
    if (*results == NULL) return ds_fail(DS_ERR_SYSTEM, "out of memory");
    for (size_t i = 0; i < count; i++) {
        DS_TRY(ds_envelope_load(&next, NULL, paths[i]));
        if (loaded != NULL) DS_TRY(loaded(paths[i], next));
        status = ds_figure_results(&part, next);
        if (status != DS_OK) {
            status = ds_fail_prefix(status, "%s", DS_SHOW(paths[i]));
            goto done;
        }
        if (json_object_update(*results, part) != 0) status = ds_fail(DS_ERR_SYSTEM, "out of memory");
        json_decref(part);
        if (*envelope == NULL) *envelope = json_incref(next);
        if (strcmp(checkpoint_digest(next), checkpoint_digest(*envelope)) != 0)
            status = ds_fail(DS_ERR_INPUT, "%s: measures another checkpoint than %s: --labels A,B draws them beside each other",
                             DS_SHOW(paths[i]), DS_SHOW(paths[0]));
        if (status != DS_OK) goto done;
        json_decref(next);
        next = NULL;
    }
done:
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
    DS_TRY(ds_envelope_load(envelope, NULL, path));
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
    *results = json_pack("{s:O, s:b}", "merged", list, "same_data", (int)same);
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
